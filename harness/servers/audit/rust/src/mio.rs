//! mio alone: its listener and its events; connections are handed to threads, which are of no interest here.

mod http;
mod talk;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use std::io::ErrorKind;
use std::os::fd::{FromRawFd, IntoRawFd};

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    let mut listener = TcpListener::bind(format!("127.0.0.1:{port}").parse().expect("an address"))?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(128);
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        // As in the documentation: until it would block; any other error, EMFILE too, ends the server.
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    // SAFETY: the descriptor was given up by its owner in the same expression.
                    let stream = unsafe { std::net::TcpStream::from_raw_fd(stream.into_raw_fd()) };
                    stream.set_nonblocking(false)?;
                    std::thread::spawn(move || talk::converse(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}
