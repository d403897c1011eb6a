//! From connect() to close(): what is the same of a connection whatever is spoken over it.

use std::net::IpAddr;
use std::rc::Rc;

use crate::answer::Answer;
use crate::client::{Client, State};
use crate::record::ConnectionRecord;
use crate::rows::{Column, Outcome};
use crate::slice::Slice;
use crate::sys::{self, Address, Epoll, Errno, File, UNTIL_ANSWERED, UNTIL_CONNECTED, now_ns};

/// Then it is the others' turn: an answer without end must not hold up the rest.
pub const RECEIVES_IN_A_ROW: usize = 8;
pub const RECEIVE_BYTES: usize = 1 << 18;

/// The outcome of what a connection or its request came to.
pub fn outcome_of(errno: Errno) -> Outcome {
    match errno {
        libc::ECONNREFUSED => Outcome::Refused,
        libc::ECONNRESET | libc::EPIPE => Outcome::Reset,
        _ => Outcome::OtherError,
    }
}

/// How a connection has begun.
pub enum Begun {
    /// It never left the client.
    NotIssued(Errno),
    Issued(i64),
    /// It was issued and has failed at once.
    Failed(i64, Errno),
}

/// The sockets of a slice and their rows.
pub struct Connector {
    pub record: ConnectionRecord,
    pub epoll: Epoll,
    /// Connections tried, which is also the next row where a connection's is not its request's.
    pub made: usize,
    made_so_far: Column<i64>,
    target: Address,
    slice: Rc<Slice>,
    one_each: bool,
}

impl Connector {
    pub fn new(
        slice: &Rc<Slice>,
        record: ConnectionRecord,
        made_so_far: Column<i64>,
    ) -> sys::Result<Self> {
        Ok(Self {
            record,
            epoll: Epoll::new()?,
            made: 0,
            made_so_far,
            target: Address::new(slice.target, slice.port),
            one_each: slice.one_each(),
            slice: slice.clone(),
        })
    }

    /// Begin a connection in a row of its own.
    pub fn connect(&mut self, client: &mut Client, scheduled_ns: i64) -> Begun {
        let row = self.new_row(client.index);
        client.row = row;
        client.received = 0;
        client.answer = Answer::new();
        client.attempts += 1;
        let rows = &self.record.rows;
        rows.attempt.set(row, client.attempts);
        if scheduled_ns != 0 {
            rows.scheduled_ns.set(row, scheduled_ns);
        }
        let (file, begun_ns) = match self.new_socket(row) {
            Ok(made) => made,
            Err(errno) => return Begun::NotIssued(errno),
        };
        let issued_ns = now_ns();
        let connected = self.target.connect(file);
        rows.connect_us
            .set(row, ((now_ns() - begun_ns) / 1000) as i32);
        let failed = match connected {
            Ok(()) | Err(libc::EINPROGRESS) => None,
            Err(errno) if outcome_of(errno) == Outcome::OtherError => {
                sys::close(file);
                return Begun::NotIssued(errno);
            }
            Err(errno) => Some(errno),
        };
        client.file = file;
        client.state = State::Connecting;
        rows.issued_ns.set(row, issued_ns);
        if self.slice.source.is_none() {
            rows.local_port.set(row, sys::local_port(file));
        }
        failed.map_or(Begun::Issued(issued_ns), |errno| {
            Begun::Failed(issued_ns, errno)
        })
    }

    /// Return a socket that can connect, and since when it has been on its way.
    fn new_socket(&self, row: usize) -> sys::Result<(File, i64)> {
        let file = sys::new_socket(self.target.family)?;
        let begun_ns = now_ns();
        self.prepare(file, row).inspect_err(|_| sys::close(file))?;
        Ok((file, begun_ns))
    }

    fn prepare(&self, file: File, row: usize) -> sys::Result<()> {
        if self.slice.fast_open {
            // connect() puts the SYN off until there is something to send, and asks for a cookie where there is none.
            sys::set_option(file, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)?;
        }
        if let Some(source) = &self.slice.source {
            let (address, port) = source.pair(row * self.slice.stride + self.slice.agent);
            Address::new(source.addresses[address], port).bind(file)?;
            self.record.rows.address.set(row, address as i32);
            self.record.rows.local_port.set(row, port);
        }
        Ok(())
    }

    fn new_row(&mut self, index: usize) -> usize {
        self.made += 1;
        if self.one_each {
            return index;
        }
        let row = self.made - 1;
        self.record.rows.client.set(
            row,
            (self.slice.first_client + index * self.slice.stride) as i32,
        );
        // At once: rows beyond this number are none, and those of an agent that is killed now must not be lost.
        self.made_so_far.set(0, self.made as i64);
        row
    }

    /// Have the kernel say from now on what a connection that is still there allows.
    pub fn watch(&self, client: &Client) {
        // A socket that can be written to is an event at once, of no use to who has sent all there is to send.
        match client.state {
            State::Closed => {}
            State::Connecting => self.epoll.add(client.file, UNTIL_CONNECTED, client.index),
            State::Waiting | State::Idle => {
                self.epoll.add(client.file, UNTIL_ANSWERED, client.index)
            }
        }
    }

    /// Which timeout it is: by what there was at the deadline, not when this loop came to see it.
    pub fn timeout(&self, row: usize, deadline_ns: i64) -> Outcome {
        let established_ns = self.record.rows.established_ns.get(row);
        if 0 < established_ns && established_ns <= deadline_ns {
            Outcome::AnswerTimeout
        } else {
            Outcome::ConnectTimeout
        }
    }

    /// End a client's connection, if it has one, and its row.
    pub fn close(&self, client: &mut Client, outcome: Outcome, now_ns: i64, errno: Errno) {
        if client.state != State::Closed {
            self.record.last_words(client, now_ns, outcome);
            sys::close(client.file);
            client.state = State::Closed;
            client.file = -1;
        }
        self.record.ended(client, outcome, errno);
    }
}

/// What a target is called in requests.
pub fn authority(target: IpAddr, port: u16) -> String {
    match target {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}
