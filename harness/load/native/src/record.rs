//! What an agent writes down about a connection, and what it asks the kernel for that.
//!
//! Each value goes to its place the moment it is known. The rows file begins as zeros, so that only what happened is
//! written.

use crate::client::{Client, State};
use crate::rows::{Connections, NOT_READ, Outcome, Requests};
use crate::slice::Slice;
use crate::sys::{ESTABLISHED, RESOLUTION_NS, TcpInfo, now_ns, tcp_info};

/// Sooner than that nothing was sent again: `RESENT_FROM_US` of `harness.events.kernel`.
const RESENT_FROM_NS: i64 = 190_000_000;

/// As it fits into a `u16` column.
fn counted(segments: u32) -> u16 {
    segments.min(u32::from(NOT_READ) - 1) as u16
}

fn ms_ago(ms: i64) -> i64 {
    now_ns() - ms * 1_000_000
}

/// The columns of the connections, by row.
pub struct ConnectionRecord {
    pub rows: Connections,
    carries_one: bool,
    resolution_ns: i64,
}

impl Connections {
    /// Of the columns that every row of a connection with one request has values in.
    fn find_pages(&self, slice: &Slice) {
        if slice.rate.is_some() {
            self.scheduled_ns.find_pages();
        }
        for column in [
            &self.issued_ns,
            &self.established_ns,
            &self.accepted_ns,
            &self.first_byte_ns,
            &self.closed_ns,
            &self.bytes_received,
        ] {
            column.find_pages();
        }
        for column in [&self.attempt, &self.address, &self.connect_us] {
            column.find_pages();
        }
        self.local_port.find_pages();
        self.status.find_pages();
        self.outcome.find_pages();
    }
}

impl ConnectionRecord {
    /// Write before the storm what does not depend on it; rows that were never tried are null in the tables.
    pub fn new(slice: &Slice, rows: Connections) -> Self {
        for column in [
            &rows.syn_retransmits,
            &rows.total_retransmits,
            &rows.unacked,
        ] {
            column.fill(NOT_READ);
        }
        if slice.one_each() {
            rows.find_pages(slice);
            (0..slice.clients).for_each(|index| {
                rows.client
                    .set(index, (slice.first_client + index * slice.stride) as i32)
            });
        }
        Self {
            rows,
            carries_one: slice.carries_one(),
            resolution_ns: *RESOLUTION_NS,
        }
    }

    /// Whether so much time has passed since connect() that TCP_INFO can tell when the SYN-ACK came.
    pub fn is_late(&self, row: usize) -> bool {
        now_ns() - self.rows.issued_ns.get(row) > self.resolution_ns
    }

    /// The connection took a request just now; `info`, read before, where that was long after connect().
    pub fn established(&self, row: usize, info: Option<TcpInfo>) {
        let now_ns = now_ns();
        self.rows.established_ns.set(row, now_ns);
        self.rows
            .syn_retransmits
            .set(row, info.map_or(0, |info| counted(info.retransmits)));
        if let Some(info) = info {
            self.rows
                .synack_ns
                .set(row, now_ns - info.last_ack_ms_ago * 1_000_000);
        }
    }

    pub fn first_byte(&self, client: &Client, now_ns: i64) {
        self.rows.first_byte_ns.set(client.row, now_ns);
        if !self.carries_one && now_ns - self.rows.established_ns.get(client.row) > RESENT_FROM_NS {
            self.resent(client.row, &tcp_info(client.file)); // later it would be another request's
        }
    }

    /// What the kernel knows of a connection about to end, and when what was not read in time had come.
    pub fn last_words(&self, client: &Client, now_ns: i64, outcome: Outcome) {
        let info = tcp_info(client.file);
        let (rows, row) = (&self.rows, client.row);
        rows.unacked.set(row, counted(info.unacked));
        rows.total_retransmits.set(row, counted(info.retransmits));
        rows.closed_ns.set(row, now_ns);
        if client.state == State::Connecting && info.state == ESTABLISHED {
            rows.synack_ns.set(row, ms_ago(info.last_ack_ms_ago)); // but this loop did not come to see it
        }
        if client.state != State::Waiting {
            return;
        }
        if info.retransmits > 0 && (self.carries_one || rows.first_byte_ns.get(row) == 0) {
            self.resent(row, &info);
        }
        // The end of the stream counts as a byte.
        let came_ms_ago = if client.answer.complete() || info.bytes_received > client.received + 1 {
            info.last_received_ms_ago
        } else if matches!(outcome, Outcome::Answered | Outcome::ClosedEarly) {
            info.last_ack_ms_ago // ended by the end of the stream, which is no data
        } else {
            return;
        };
        if came_ms_ago * 1_000_000 > self.resolution_ns {
            let arrived_ns = ms_ago(came_ms_ago);
            if now_ns - arrived_ns > self.resolution_ns {
                rows.arrived_ns.set(row, arrived_ns);
            }
        }
    }

    fn resent(&self, row: usize, info: &TcpInfo) {
        if info.retransmits > u32::from(self.rows.syn_retransmits.get(row)) {
            self.rows.resent_ns.set(row, ms_ago(info.last_sent_ms_ago));
        }
    }

    /// The last that is written into a connection's row.
    pub fn ended(&self, client: &Client, outcome: Outcome, errno: i32) {
        let (rows, row) = (&self.rows, client.row);
        if client.received > 0 {
            rows.bytes_received.set(row, client.received as i64);
            rows.status.set(row, client.answer.status as i16);
            if client.answer.accepted_ns != 0 {
                rows.accepted_ns.set(row, client.answer.accepted_ns);
            }
        }
        if errno != 0 {
            rows.errno.set(row, errno as i16);
        }
        rows.outcome.set(row, outcome as u8);
    }
}

/// What came of a request.
#[derive(Clone, Copy)]
pub struct End {
    pub outcome: Outcome,
    pub now_ns: i64,
    pub errno: i32,
}

/// The columns of the requests, where they have rows of their own.
pub struct RequestRecord {
    rows: Requests,
}

impl RequestRecord {
    pub fn new(slice: &Slice, rows: Requests) -> Self {
        if slice.rate.is_some() || slice.pool.is_some() {
            rows.scheduled_ns.find_pages();
        }
        for column in [
            &rows.issued_ns,
            &rows.accepted_ns,
            &rows.first_byte_ns,
            &rows.last_byte_ns,
        ] {
            column.find_pages();
        }
        rows.connection.find_pages();
        rows.status.find_pages();
        rows.outcome.find_pages();
        Self { rows }
    }

    /// The request has left or is leaving the client.
    pub fn begun(&self, request: usize, row: usize, scheduled_ns: i64, issued_ns: i64) {
        if scheduled_ns != 0 {
            self.rows.scheduled_ns.set(request, scheduled_ns);
        }
        self.rows.issued_ns.set(request, issued_ns);
        self.rows.connection.set(request, row as i32);
    }

    /// An attempt has failed; unless there is another, so has the request.
    pub fn failed(&self, request: usize, outcome: Outcome, errno: i32) {
        self.rows.errno.set(request, errno as i16);
        self.rows.outcome.set(request, outcome as u8);
    }

    /// From here on it is another attempt's that is written down, its outcome too; when it was issued stays.
    pub fn tried_again(&self, client: &Client) {
        let (rows, request) = (&self.rows, client.request);
        rows.connection.set(request, client.row as i32);
        rows.attempts.set(request, client.tries as i16);
        rows.accepted_ns.set(request, 0);
        rows.first_byte_ns.set(request, 0);
        rows.status.set(request, 0);
        rows.errno.set(request, 0);
        rows.outcome.set(request, 0);
    }

    pub fn first_byte(&self, request: usize, now_ns: i64) {
        self.rows.first_byte_ns.set(request, now_ns);
    }

    /// With the status of its answer and the server's accept stamp, if there are any.
    pub fn ended(&self, request: usize, status: u16, accepted_ns: i64, end: End) {
        let rows = &self.rows;
        if status != 0 {
            rows.status.set(request, status as i16);
        }
        if accepted_ns != 0 {
            rows.accepted_ns.set(request, accepted_ns);
        }
        if end.outcome == Outcome::Answered {
            rows.last_byte_ns.set(request, end.now_ns);
        }
        if end.errno != 0 {
            rows.errno.set(request, end.errno as i16);
        }
        rows.outcome.set(request, end.outcome as u8);
    }
}
