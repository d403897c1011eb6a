//! tokio's own listener, as its documentation writes a server.

mod http;
mod talk_async;

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (stream, _) = listener.accept().await?; // as in the documentation: an error, EMFILE too, ends the server
        tokio::spawn(talk_async::converse(stream));
    }
}
