//! What the Rust servers share: the command line, the listener, the end of a run.

mod allocator;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A setting the command line gives a number, or leaves to the stack.
#[derive(Clone, Copy)]
pub struct Asked(pub Option<u32>);

/// The header that carries a connection's accept stamp.
pub const STAMP: &str = "x-accept-ns";

/// Whether answers say when their connection was accepted.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Stamps {
    On,
    Off,
}

/// What a program says that was built without the feature `http2`.
pub const NO_HTTP2: &str = "this program is built without HTTP/2";

/// Which HTTP is spoken: 2 means with prior knowledge, without TLS.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Http {
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
}

#[derive(Clone, Copy, Parser)]
pub struct Options {
    /// IP address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// TCP port to listen on
    #[arg(long)]
    pub port: u16,
    /// Number passed to listen(2)
    #[arg(long, value_name = "N|default", default_value = "default", value_parser = number_or_default::<0>)]
    pub backlog: Asked,
    /// Length of the answer's body
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub body_bytes: usize,
    /// Busy work per request, in microseconds
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub work_us: u64,
    /// Worker threads
    #[arg(long, value_name = "N|default", default_value = "default", value_parser = number_or_default::<1>)]
    pub workers: Asked,
    /// Whether answers carry their connection's accept time
    #[arg(long, default_value = "on")]
    pub stamps: Stamps,
    /// The version of HTTP
    #[arg(long, default_value = "1")]
    pub http: Http,
}

/// The options of a server that makes its own listener.
#[derive(Clone, Copy, Parser)]
pub struct RuntimeOptions {
    #[command(flatten)]
    pub shared: Options,
    /// Whose listener accepts the connections: tokio's or std's
    #[arg(long, default_value = "runtime")]
    pub listener: Listener,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Listener {
    Runtime,
    Std,
}

fn number_or_default<const LEAST: i64>(text: &str) -> Result<Asked, String> {
    if text == "default" {
        return Ok(Asked(None));
    }
    // listen(2) takes a C int.
    match text.parse::<i32>() {
        Ok(number) if i64::from(number) >= LEAST => Ok(Asked(Some(number.unsigned_abs()))),
        _ => Err(format!(
            "not `default` or a number of {LEAST}..={}",
            i32::MAX
        )),
    }
}

impl Options {
    pub fn address(&self) -> SocketAddr {
        (self.host, self.port).into()
    }

    pub fn work(&self) -> Duration {
        Duration::from_micros(self.work_us)
    }
}

impl RuntimeOptions {
    pub async fn listen(&self) -> Result<TcpListener, Error> {
        let (address, Asked(backlog)) = (self.shared.address(), self.shared.backlog);
        match self.listener {
            Listener::Runtime => runtime_listener(address, backlog).await,
            Listener::Std => std_listener(address, backlog),
        }
        .map_err(|error| format!("cannot listen on {address}: {error}").into())
    }

    /// Serves on a multi-threaded runtime until `serve` fails or SIGTERM arrives.
    pub fn run(&self, serve: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Asked(Some(workers)) = self.shared.workers {
            runtime.worker_threads(workers as usize);
        }
        runtime.enable_all().build()?.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                result = serve => result,
                _ = terminate.recv() => Ok(()),
            }
        })
    }
}

async fn runtime_listener(address: SocketAddr, backlog: Option<u32>) -> io::Result<TcpListener> {
    let Some(backlog) = backlog else {
        return TcpListener::bind(address).await;
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // TcpListener::bind sets it; TcpSocket leaves it to its user.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

fn std_listener(address: SocketAddr, backlog: Option<u32>) -> io::Result<TcpListener> {
    let listener = match backlog {
        None => std::net::TcpListener::bind(address)?,
        Some(backlog) => {
            let domain = Domain::for_address(address);
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            // std::net::TcpListener::bind sets it too.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(backlog.cast_signed())?;
            socket.into()
        }
    };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

impl Stamps {
    /// What the clock says now, in nanoseconds; with `off` it is not read.
    pub fn take(self) -> Option<u64> {
        (self == Stamps::On).then(monotonic_ns)
    }
}

/// `CLOCK_MONOTONIC`, as other programs on this machine see it. `Instant` reads
/// the same clock but does not give the number away.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Keeps the calling thread busy; a duration of zero does not even read the clock.
pub fn spin(work: Duration) {
    if work.is_zero() {
        return;
    }
    let started = Instant::now();
    while started.elapsed() < work {
        std::hint::spin_loop();
    }
}

/// Rust's stdout is line-buffered, also into a pipe: the line is flushed when it ends.
pub fn announce(address: SocketAddr, name: &str) {
    if let Some(allocator) = allocator::in_charge() {
        println!("allocator {allocator}");
    }
    println!("ready {address} {name}");
}
