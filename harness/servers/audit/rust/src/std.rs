//! Rust's standard library, as its documentation writes a server: a thread for each connection.

mod http;
mod talk;

use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    for stream in listener.incoming() {
        let stream = stream?; // as in the documentation: an error of accept(), EMFILE too, ends the server
        std::thread::spawn(move || talk::converse(stream));
    }
    Ok(())
}
