//! Just enough HTTP/1.1 for the programs here that have no library for it.

pub const KEEPING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub const CLOSING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

pub fn asks_to_close(head: &str) -> bool {
    head.to_ascii_lowercase().contains("\r\nconnection: close")
}
