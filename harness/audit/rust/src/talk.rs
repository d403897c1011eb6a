//! Just enough HTTP/1.1 for the programs here that have no library for it: read heads, answer each, close if asked to.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::TcpStream;

pub const KEEPING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub const CLOSING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

pub fn asks_to_close(head: &str) -> bool {
    head.to_ascii_lowercase().contains("\r\nconnection: close")
}

#[allow(dead_code)]
pub fn converse(stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(&stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let closing = asks_to_close(&head);
        (&stream).write_all(if closing { CLOSING } else { KEEPING })?;
        if closing {
            return Ok(());
        }
    }
}
