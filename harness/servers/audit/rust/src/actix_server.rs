//! actix-server without actix-web, whose `HttpServer` makes listeners of its own.

mod http;
mod talk_async;

use actix_server::Server;
use actix_service::fn_service;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    Server::build()
        .bind("audit", format!("127.0.0.1:{port}"), || fn_service(talk_async::converse))?
        .run()
        .await
}
