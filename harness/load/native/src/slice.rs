//! What one agent drives, as `harness.plan.slices.Slice` says it.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// A slice of a load: every `stride`-th client from `first_client` on. What this engine does not know it refuses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    pub agent: usize,
    pub clients: usize,
    pub first_client: usize,
    pub stride: usize,
    pub requests_per_client: usize,
    pub concurrency: Option<usize>,
    pub rate: Option<f64>,
    pub planned_clients: usize,
    pub timeout_s: f64,
    pub target: IpAddr,
    pub port: u16,
    pub path: String,
    /// None: the kernel chooses.
    pub source: Option<SourcePool>,
    pub cpus: Vec<usize>,
    pub rows_path: PathBuf,
    pub fast_open: bool,
    /// How many connections its requests share; None: each client has its own.
    pub pool: Option<usize>,
    pub spread_ms: f64,
    pub http2: bool,
    pub retries: Retries,
}

/// What clients do when an attempt has failed.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    pub attempts: u32,
    pub attempt_timeout_s: Option<f64>,
    pub backoff_ms: f64,
    pub backoff_cap_ms: f64,
    pub jitter: Jitter,
    pub retry_budget: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jitter {
    None,
    Full,
}

/// The source addresses, and the ports usable on each, as [first, last + 1] of their spans.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePool {
    pub addresses: Vec<IpAddr>,
    ports: Vec<(u32, u32)>,
    #[serde(skip)]
    each_port: Vec<u16>,
}

impl SourcePool {
    /// Lay out what [`SourcePool::pair`] looks up.
    pub fn lay_out(&mut self) {
        self.each_port = self
            .ports
            .iter()
            .flat_map(|&(first, end)| first..end)
            .map(|port| port as u16)
            .collect();
    }

    /// Return the index of the address, and the port, of a connection's number; beyond the pool it starts over.
    pub fn pair(&self, number: usize) -> (usize, u16) {
        let ports = self.each_port.len();
        (
            number / ports % self.addresses.len(),
            self.each_port[number % ports],
        )
    }
}

impl Slice {
    pub fn requests(&self) -> usize {
        self.clients * self.requests_per_client
    }

    /// How many connections it may have at a time.
    pub fn places(&self) -> usize {
        self.pool.unwrap_or(self.clients)
    }

    /// Whether a connection carries one request and is closed.
    pub fn carries_one(&self) -> bool {
        self.requests_per_client == 1 && self.pool.is_none()
    }

    /// Whether, moreover, each request has one connection: then its row is the request's.
    pub fn one_each(&self) -> bool {
        self.carries_one() && self.retries.attempts == 1
    }

    /// At worst every attempt needs a connection of its own.
    pub fn connection_rows(&self) -> usize {
        self.requests() * self.retries.attempts as usize
    }

    pub fn request_rows(&self) -> usize {
        if self.one_each() { 0 } else { self.requests() }
    }

    pub fn timeout_ns(&self) -> i64 {
        (self.timeout_s * 1e9) as i64
    }
}
