//! An agent: drives one slice of a load from a start time on, and leaves rows.
//!
//! It does what `harness/load/python/agent.py` does, behind the same contract: it reads a slice and then a start time
//! from standard input, says `ready` between, and a report at the end.

mod answer;
mod client;
mod connecting;
mod frames;
mod hpack;
mod http1;
mod http2;
mod record;
mod rows;
mod schedule;
mod slice;
mod storm;
mod sys;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use connecting::Connector;
use http1::Http1;
use http2::Http2;
use record::ConnectionRecord;
use rows::{Header, Rows};
use slice::Slice;
use storm::{Driver, Storm};
use sys::now_ns;

/// What an agent says of itself.
#[derive(Serialize)]
struct Report {
    agent: usize,
    pid: u32,
    cpu_user_s: f64,
    cpu_system_s: f64,
    ran_s: f64,
    /// Of `ran_s`, how long it had nothing to do.
    waited_s: f64,
    /// (lag in µs, events handled with at most that lag)
    late_us: Vec<(u64, u64)>,
    protocol: String,
    frames: BTreeMap<&'static str, u64>,
    library: &'static str,
    /// The most resident memory that it had, rows included.
    peak_rss_bytes: Option<u64>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut slice: Slice = serde_json::from_str(&line()?)?;
    if let Some(source) = &mut slice.source {
        source.lay_out();
    }
    sys::stay_on(&slice.cpus).map_err(io::Error::from_raw_os_error)?;
    sys::open_as_many_as_allowed().map_err(io::Error::from_raw_os_error)?;
    let slice = Rc::new(slice);
    let rows = Rows::open(
        &slice.rows_path,
        slice.connection_rows(),
        slice.request_rows(),
    )?;
    let record = ConnectionRecord::new(&slice, rows.connection);
    let connector = Connector::new(&slice, record, rows.header.connections)
        .map_err(io::Error::from_raw_os_error)?;
    if slice.http2 {
        drive(
            &slice,
            Http2::new(&slice, connector, rows.request),
            rows.header,
        )
    } else {
        drive(
            &slice,
            Http1::new(&slice, connector, rows.request),
            rows.header,
        )
    }
}

fn drive(slice: &Slice, driver: impl Driver, header: Header) -> Result<ExitCode, Box<dyn Error>> {
    let mut storm = Storm::new(driver, header, slice.requests());
    println!("ready");
    let start = line()?;
    if start.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let start_ns: i64 = start.trim().parse()?;
    loop {
        match start_ns - now_ns() {
            ..=0 => break,
            left_ns @ 1_000_001.. => thread::sleep(Duration::from_nanos(left_ns as u64 / 2)),
            _ => thread::yield_now(),
        }
    }
    storm.run(start_ns);
    let (cpu_user_s, cpu_system_s) = sys::cpu_seconds();
    let (waited_ns, late_us) = (storm.waited_ns, storm.late_us());
    let heard = storm.driver.heard();
    let report = Report {
        agent: slice.agent,
        pid: std::process::id(),
        cpu_user_s,
        cpu_system_s,
        ran_s: (now_ns() - start_ns) as f64 / 1e9,
        waited_s: waited_ns as f64 / 1e9,
        late_us,
        protocol: heard.protocol,
        frames: heard.frames,
        library: heard.library,
        peak_rss_bytes: peak_rss_bytes(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(ExitCode::SUCCESS)
}

fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

fn line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line)
}
