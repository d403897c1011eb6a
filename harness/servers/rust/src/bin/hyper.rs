//! hyper 1.x, written as hyper's own guide writes a server.

use std::convert::Infallible;
use std::time::Duration;

use clap::Parser;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
#[cfg(feature = "http2")]
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
#[cfg(feature = "http2")]
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use storm_servers::{Error, Http, RuntimeOptions, STAMP, announce, spin};
use tokio::net::TcpStream;

fn main() -> Result<(), Error> {
    let options = RuntimeOptions::parse();
    options.run(serve(options))
}

async fn serve(options: RuntimeOptions) -> Result<(), Error> {
    let http = options.shared.http;
    if http == Http::Two && !cfg!(feature = "http2") {
        return Err(storm_servers::NO_HTTP2.into());
    }
    let listener = options.listen().await?;
    announce(listener.local_addr()?, "hyper");

    let body = Bytes::from(vec![b'x'; options.shared.body_bytes]);
    let work = options.shared.work();
    loop {
        // As in the guide: an error of accept(), EMFILE too, ends the server.
        let (stream, _) = listener.accept().await?;
        let accepted = options.shared.stamps.take();
        let io = TokioIo::new(stream);
        let body = body.clone();
        // A task of its own for each: in one, every connection would have room for both.
        match http {
            Http::One => tokio::spawn(async move {
                let stamp = accepted.map(HeaderValue::from);
                let service =
                    service_fn(|request| answer(request, body.clone(), work, stamp.clone()));
                // The guide prints the error. Here it is a client that gave up: its
                // side of the storm counts it, and a line each would be load.
                let _ = http1::Builder::new().serve_connection(io, service).await;
            }),
            #[cfg(feature = "http2")]
            Http::Two => tokio::spawn(in_frames(io, body, work, accepted)),
            #[cfg(not(feature = "http2"))]
            Http::Two => unreachable!("it was refused before anything was listened to"),
        };
    }
}

#[cfg(feature = "http2")]
async fn in_frames(io: TokioIo<TcpStream>, body: Bytes, work: Duration, accepted: Option<u64>) {
    let stamp = accepted.map(HeaderValue::from);
    let service = service_fn(|request| answer(request, body.clone(), work, stamp.clone()));
    let connection = http2::Builder::new(TokioExecutor::new());
    let _ = connection.serve_connection(io, service).await;
}

async fn answer(
    _: Request<Incoming>,
    body: Bytes,
    work: Duration,
    stamp: Option<HeaderValue>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    spin(work);
    let mut response = Response::new(Full::new(body));
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, text);
    if let Some(stamp) = stamp {
        let name = HeaderName::from_static(STAMP);
        response.headers_mut().insert(name, stamp);
    }
    Ok(response)
}
