//! A task's side of a connection, as `talk.rs` has a thread's.

use super::http::{asks_to_close, CLOSING, KEEPING};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub async fn converse(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let closing = asks_to_close(&head);
        stream.write_all(if closing { CLOSING } else { KEEPING }).await?;
        if closing {
            return Ok(());
        }
    }
}
