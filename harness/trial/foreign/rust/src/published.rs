//! Hyper in the manner of the published benchmark: 127.0.0.1 only, a worker for each physical core, and whatever goes
//! wrong is unwrapped: an error of accept(), EMFILE too, ends the server, one of a connection panics in its task.
//!
//! `published PORT [LISTENER]`: `bind` is Tokio's own listener, as published. The others are the remedy, a backlog of
//! 4096 through socket2: `socket2` as it is meant, `socket2-blocking` with the line left out that makes the socket
//! non-blocking, `socket2-std` handed to std, with a thread for each connection.

#[path = "../../../../servers/audit/rust/src/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../../../../servers/audit/rust/src/talk.rs"]
#[allow(dead_code)]
mod talk;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

const REMEDY: i32 = 4096;

pub fn main() {
    let mut words = std::env::args().skip(1);
    let port = words.next().expect("a port").parse().expect("a number");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = words.next().unwrap_or("bind".to_string());
    if listener == "socket2-std" {
        return serve_threads(listen(address, false));
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(num_cpus::get_physical())
        .build()
        .unwrap()
        .block_on(async {
            serve(match listener.as_str() {
                "bind" => TcpListener::bind(address).await.unwrap(),
                "socket2" => TcpListener::from_std(listen(address, true)).unwrap(),
                "socket2-blocking" => TcpListener::from_std(listen(address, false)).unwrap(),
                other => panic!("no listener is called {other}"),
            })
            .await
        });
}

fn listen(address: SocketAddr, nonblocking: bool) -> std::net::TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(REMEDY).unwrap();
    socket.set_nonblocking(nonblocking).unwrap();
    socket.into()
}

async fn serve(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await
                .unwrap();
        });
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from("Hello, World!\n"))))
}

fn serve_threads(listener: std::net::TcpListener) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        std::thread::spawn(move || talk::converse(stream));
    }
}
