//! hyper 1.x, written as hyper's own guide writes a server.

use std::convert::Infallible;
use std::time::Duration;

use clap::Parser;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use storm_servers::{Error, Http, RuntimeOptions, STAMP, announce, spin};

fn main() -> Result<(), Error> {
    let options = RuntimeOptions::parse();
    options.run(serve(options))
}

async fn serve(options: RuntimeOptions) -> Result<(), Error> {
    let listener = options.listen().await?;
    announce(listener.local_addr()?, "hyper");

    let body = Bytes::from(vec![b'x'; options.shared.body_bytes]);
    let work = options.shared.work();
    let http = options.shared.http;
    loop {
        // As in the guide: an error of accept(), EMFILE too, ends the server.
        let (stream, _) = listener.accept().await?;
        let accepted = options.shared.stamps.take();
        let io = TokioIo::new(stream);
        let body = body.clone();
        tokio::spawn(async move {
            let stamp = accepted.map(HeaderValue::from);
            let service =
                service_fn(move |request| answer(request, body.clone(), work, stamp.clone()));
            // The guide prints the error. Here it is a client that gave up: its
            // side of the storm counts it, and a line each would be load.
            let _ = match http {
                Http::One => http1::Builder::new().serve_connection(io, service).await,
                Http::Two => {
                    let executor = TokioExecutor::new();
                    http2::Builder::new(executor).serve_connection(io, service).await
                }
            };
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
