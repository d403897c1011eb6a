//! hyper 0.14 with its own `Server`, as its documentation writes it.

use hyper::service::{make_service_fn, service_fn};
use hyper::{Body, Request, Response, Server};
use std::convert::Infallible;
use std::net::SocketAddr;

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("ok")))
}

#[tokio::main]
async fn main() -> Result<(), hyper::Error> {
    let port = std::env::args().nth(1).expect("a port").parse().expect("a number");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let service = make_service_fn(|_| async { Ok::<_, Infallible>(service_fn(answer)) });
    Server::bind(&address).serve(service).await
}
