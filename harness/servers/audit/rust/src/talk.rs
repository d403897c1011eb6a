//! A thread's side of a connection: read heads, answer each, close if asked to.

use super::http::{asks_to_close, CLOSING, KEEPING};
use std::io::{BufRead, BufReader, Result, Write};
use std::net::TcpStream;

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
