//! Actix Web, written as its documentation writes a server.

use actix_web::http::header::HeaderValue;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use clap::Parser;
use storm_servers::{Asked, Error, Http, Options, STAMP, Stamps, announce, monotonic_ns, spin};
use tokio::signal::unix::{SignalKind, signal};

#[actix_web::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    // Actix tells of failed accepts through `log` only. The level is fixed: a
    // RUST_LOG left over in a reader's shell must not slow the server.
    env_logger::Builder::new().parse_filters("error").init();

    let address = options.address();
    let body = Bytes::from(vec![b'x'; options.body_bytes]);
    let work = options.work();
    let mut server = HttpServer::new(move || {
        let body = body.clone();
        App::new().default_service(web::to(move |request: HttpRequest| {
            let body = body.clone();
            async move {
                spin(work);
                let mut response = HttpResponse::Ok();
                if let Some(stamp) = request.conn_data::<HeaderValue>() {
                    response.insert_header((STAMP, stamp.clone()));
                }
                response.content_type("text/plain").body(body)
            }
        }))
    });
    if options.stamps == Stamps::On {
        // Called by the worker, once it has the connection from the thread that accepts.
        server = server.on_connect(|_, connection| {
            connection.insert(HeaderValue::from(monotonic_ns()));
        });
    }
    if let Asked(Some(backlog)) = options.backlog {
        server = server.backlog(backlog);
    }
    if let Asked(Some(workers)) = options.workers {
        server = server.workers(workers as usize);
    }

    let mut terminate = signal(SignalKind::terminate())?;
    let bound = match options.http {
        Http::One => server.bind(address),
        #[cfg(feature = "http2")]
        Http::Two => server.bind_auto_h2c(address),
        #[cfg(not(feature = "http2"))]
        Http::Two => return Err(storm_servers::NO_HTTP2.into()),
    };
    let server = bound.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let bound = server.addrs()[0];
    // Actix answers SIGTERM by waiting up to 30 s for open connections to end.
    let server = server.disable_signals().run();
    announce(bound, "actix");

    let handle = server.handle();
    actix_web::rt::spawn(async move {
        terminate.recv().await;
        handle.stop(false).await;
    });
    Ok(server.await?)
}
