//! actix-server without actix-web, whose `HttpServer` makes listeners of its own.

#[allow(dead_code)]
mod talk;

use actix_server::Server;
use actix_service::fn_service;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    Server::build()
        .bind("audit", format!("127.0.0.1:{port}"), || fn_service(converse))?
        .run()
        .await
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
