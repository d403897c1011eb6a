//! hyper 1.x, written as hyper's own guide writes a server.

use std::convert::Infallible;
use std::time::Duration;

use clap::Parser;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use storm_servers::{Door, Error, RuntimeOptions, STAMP, spin};

fn main() -> Result<(), Error> {
    let options = RuntimeOptions::parse();
    options.run("hyper", serve)
}

async fn serve(options: RuntimeOptions, mut door: Door) -> Result<(), Error> {
    let body = Bytes::from(vec![b'x'; options.shared.body_bytes]);
    let work = options.shared.work();
    loop {
        // As in the guide: an error of accept(), EMFILE too, ends the server.
        let (stream, accepted) = door.accept().await?;
        let io = TokioIo::new(stream);
        let body = body.clone();
        tokio::spawn(async move {
            let stamp = accepted.map(HeaderValue::from);
            let service = service_fn(|request| answer(request, body.clone(), work, stamp.clone()));
            // The guide prints the error. Here it is a client that gave up: its
            // side of the storm counts it, and a line each would be load.
            let _ = http1::Builder::new().serve_connection(io, service).await;
        });
    }
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
