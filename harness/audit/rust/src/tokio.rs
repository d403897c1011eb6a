//! tokio's own listener, as its documentation writes a server.

#[allow(dead_code)]
mod talk;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (stream, _) = listener.accept().await?; // as in the documentation: an error, EMFILE too, ends the server
        tokio::spawn(converse(stream));
    }
}

async fn converse(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let closing = talk::asks_to_close(&head);
        stream.write_all(if closing { talk::CLOSING } else { talk::KEEPING }).await?;
        if closing {
            return Ok(());
        }
    }
}
