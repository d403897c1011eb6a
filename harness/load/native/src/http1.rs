//! HTTP/1.1 over the clients' connections: what is asked and answered, and which outcome that has.
//!
//! Each client has connections of its own or is a place of a pool; a failed attempt may be followed by another.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::answer::{self, Known, protocol_of, request_bytes};
use crate::client::{Client, NEVER_NS, State};
use crate::connecting::{
    Begun, Connector, RECEIVE_BYTES, RECEIVES_IN_A_ROW, authority, outcome_of,
};
use crate::record::{ConnectionRecord, End, RequestRecord};
use crate::rows::{Outcome, Requests};
use crate::schedule::{Backoff, Schedule};
use crate::slice::Slice;
use crate::storm::{Counts, Driver, Heard};
use crate::sys::{
    self, CLOSE, Errno, HUNG_UP, READABLE, SYN_SENT, TcpInfo, UNTIL_ANSWERED, now_ns, tcp_info,
};

/// What comes so soon after an answer could as well come after the next request; to look for it costs a system call.
const SOON_NS: i64 = 1_000_000;

pub struct Http1 {
    schedule: Schedule,
    connector: Connector,
    clients: Vec<Client>,
    /// None: each connection carries one request, and its row is the request's.
    requests: Option<RequestRecord>,
    /// Where a request may take several attempts, or a place: it ends with its last attempt.
    retrying: Option<Retrying>,
    pooled: bool,
    fast_open: bool,
    per_client: usize,
    request: Vec<u8>,
    buffer: Box<[u8]>,
    known: Known,
    protocol: String,
    counts: Counts,
}

struct Retrying {
    backoff: Backoff,
    /// What each attempt may take.
    attempt_ns: i64,
}

impl Http1 {
    pub fn new(slice: &Rc<Slice>, connector: Connector, requests: Requests) -> Self {
        let schedule = Schedule::new(slice);
        let pooled = slice.pool.is_some();
        let attempt_ns = slice
            .retries
            .attempt_timeout_s
            .map_or(schedule.timeout_ns, |seconds| (seconds * 1e9) as i64);
        Self {
            retrying: (pooled || slice.retries.attempts > 1).then(|| Retrying {
                backoff: Backoff::new(slice.retries.clone()),
                attempt_ns,
            }),
            schedule,
            connector,
            clients: (0..slice.places()).map(Client::new).collect(),
            requests: (!slice.one_each()).then(|| RequestRecord::new(slice, requests)),
            pooled,
            fast_open: slice.fast_open,
            per_client: if pooled {
                usize::MAX
            } else {
                slice.requests_per_client
            },
            request: request_bytes(
                &authority(slice.target, slice.port),
                &slice.path,
                slice.carries_one(),
            ),
            buffer: vec![0; RECEIVE_BYTES].into(),
            known: Known::default(),
            protocol: String::new(),
            counts: Counts::default(),
        }
    }

    fn record(&self) -> &ConnectionRecord {
        &self.connector.record
    }

    // ---- a request begins ----

    fn issued(&mut self, place: usize, scheduled_ns: i64, issued_ns: i64) {
        let client = &mut self.clients[place];
        if client.tries > 1 {
            if let Some(requests) = &self.requests {
                requests.tried_again(client);
            }
        } else {
            self.counts.issued += 1;
            // In a pool it was said when the request was taken; its wait is part of it.
            let scheduled_ns = if self.pooled {
                client.final_ns - self.schedule.timeout_ns
            } else {
                scheduled_ns
            };
            let wanted_ns = if scheduled_ns == 0 {
                issued_ns
            } else {
                scheduled_ns
            };
            client.final_ns = wanted_ns + self.schedule.timeout_ns;
            if let Some(requests) = &self.requests {
                requests.begun(client.request, client.row, scheduled_ns, issued_ns);
            }
            if let Some(retrying) = &mut self.retrying {
                retrying.backoff.earn();
            }
        }
        let attempt_ns = self
            .retrying
            .as_ref()
            .map(|retrying| issued_ns + retrying.attempt_ns);
        client.deadline_ns = client.final_ns.min(attempt_ns.unwrap_or(NEVER_NS));
        self.schedule.expect(client);
    }

    fn connect(&mut self, place: usize, scheduled_ns: i64) {
        match self
            .connector
            .connect(&mut self.clients[place], scheduled_ns)
        {
            Begun::NotIssued(errno) => self.end(place, Outcome::NotIssued, now_ns(), errno),
            Begun::Failed(issued_ns, errno) => {
                self.issued(place, scheduled_ns, issued_ns);
                self.end(place, outcome_of(errno), now_ns(), errno);
            }
            Begun::Issued(issued_ns) => {
                self.issued(place, scheduled_ns, issued_ns);
                // On loopback the handshake is mostly over when connect() returns, though it says EINPROGRESS.
                self.try_established(place);
                self.connector.watch(&self.clients[place]);
            }
        }
    }

    // ---- it goes on ----

    /// Send the request if the connection is there to take it; the kernel takes nothing before.
    fn try_established(&mut self, place: usize) {
        if self.fast_open {
            return self.try_established_fast(place);
        }
        let client = &self.clients[place];
        // Asked before sending: the request's own acknowledgement may come at once.
        let info = self
            .record()
            .is_late(client.row)
            .then(|| tcp_info(client.file));
        match sys::send(client.file, &self.request) {
            Ok(_) => self.established(place, info),
            Err(libc::EAGAIN) => {}
            Err(errno) => self.fail(place, errno),
        }
    }

    fn established(&mut self, place: usize, info: Option<TcpInfo>) {
        self.record().established(self.clients[place].row, info);
        self.clients[place].state = State::Waiting;
    }

    /// With TCP Fast Open (RFC 7413) the kernel takes a request before a connection is there, so it is asked for that.
    fn try_established_fast(&mut self, place: usize) {
        let file = self.clients[place].file;
        if !self.clients[place].in_syn {
            let before = tcp_info(file);
            match sys::send(file, &self.request) {
                Ok(_) if before.state != SYN_SENT => {
                    return self.established_fast(place, before); // without a cookie: the handshake was over before
                }
                Ok(_) => self.clients[place].in_syn = true,
                Err(libc::EAGAIN) => return, // without a cookie: the SYN, which has left, asks for one
                Err(errno) => return self.fail(place, errno),
            }
        }
        let mut info = tcp_info(file);
        if info.state == SYN_SENT {
            return;
        }
        self.clients[place].in_syn = false;
        if info.state == CLOSE {
            return self.fail(place, sys::error_of(file));
        }
        if !info.data_in_syn {
            // A SYN is sent again without its data, which follow once it is answered: they are no SYN.
            info.retransmits = info.retransmits.saturating_sub(1);
        }
        self.established_fast(place, info);
    }

    fn established_fast(&mut self, place: usize, info: TcpInfo) {
        let late = self.record().is_late(self.clients[place].row);
        self.established(place, late.then_some(info));
    }

    fn fail(&mut self, place: usize, errno: Errno) {
        self.end(place, outcome_of(errno), now_ns(), errno);
    }

    /// Read until the answer is complete or nothing is left: with edges, what is left unread stays unread.
    fn receive(&mut self, place: usize) {
        for _ in 0..RECEIVES_IN_A_ROW {
            let client = &mut self.clients[place];
            let received = sys::receive(client.file, &mut self.buffer);
            if received == Err(libc::EAGAIN) {
                return;
            }
            if client.state == State::Idle {
                // The server ends it, or speaks unasked: of no use for another request.
                return self.connector.close(client, Outcome::Answered, now_ns(), 0);
            }
            let data = match received {
                Ok(0) => return self.stream_ended(place),
                Ok(received) => &self.buffer[..received],
                Err(errno) => return self.fail(place, errno),
            };
            let now_ns = now_ns();
            if client.unheard {
                client.unheard = false;
                if client.received == 0 {
                    self.connector.record.first_byte(client, now_ns);
                    if self.protocol.is_empty() {
                        self.protocol = protocol_of(data);
                    }
                }
                if let Some(requests) = &self.requests {
                    requests.first_byte(client.request, now_ns);
                }
            }
            client.received += data.len() as u64;
            if self.known.take(&mut client.answer, data).is_err() {
                return self.end(place, Outcome::BadAnswer, now_ns, 0);
            }
            if client.answer.complete() {
                let outcome = judge(client.answer.status);
                return self.end(place, outcome, now_ns, 0);
            }
        }
        let client = &self.clients[place];
        self.connector
            .epoll
            .modify(client.file, UNTIL_ANSWERED, place);
    }

    fn stream_ended(&mut self, place: usize) {
        let answer = &mut self.clients[place].answer;
        let outcome = if answer.ends_with_stream() {
            judge(answer.status)
        } else {
            Outcome::ClosedEarly
        };
        self.end(place, outcome, now_ns(), 0);
    }

    // ---- it ends ----

    /// The attempt under way has ended; its request too, unless there may be another.
    fn end(&mut self, place: usize, outcome: Outcome, now_ns: i64, errno: Errno) {
        let client = &mut self.clients[place];
        let own = matches!(outcome, Outcome::NotIssued | Outcome::OtherError);
        let late = now_ns > client.deadline_ns && !own;
        let outcome = if late {
            self.connector.timeout(client.row, client.deadline_ns)
        } else {
            outcome
        };
        if let Some(retrying) = &mut self.retrying {
            if outcome == Outcome::NotIssued
                && client.tries > 1
                && let Some(requests) = &self.requests
            {
                requests.tried_again(client); // it ended before it was written down as begun
            }
            let next_ns = now_ns + retrying.backoff.wait_ns(client.tries);
            if is_retried(outcome)
                && next_ns < client.final_ns
                && retrying.backoff.allows(client.tries)
            {
                if let Some(requests) = &self.requests {
                    requests.failed(client.request, outcome, errno);
                }
                self.connector.close(client, outcome, now_ns, errno);
                client.begun -= 1;
                client.deadline_ns = NEVER_NS;
                return self.schedule.again(place, next_ns);
            }
            client.tries = 0;
        }
        self.finish(place, outcome, now_ns, errno);
    }

    /// The request under way has ended, and its connection too unless it can carry another.
    fn finish(&mut self, place: usize, outcome: Outcome, now_ns: i64, errno: Errno) {
        let client = &mut self.clients[place];
        client.under_way = false;
        self.counts.finished += 1;
        self.counts.answered += usize::from(outcome == Outcome::Answered);
        if let Some(requests) = &self.requests {
            let heard = client.state != State::Closed && client.received > 0;
            let (status, accepted_ns) = if heard {
                (client.answer.status, client.answer.accepted_ns)
            } else {
                (0, 0)
            };
            requests.ended(
                client.request,
                status,
                accepted_ns,
                End {
                    outcome,
                    now_ns,
                    errno,
                },
            );
        }
        let timed_out = matches!(outcome, Outcome::ConnectTimeout | Outcome::AnswerTimeout);
        let complete =
            client.state != State::Closed && client.answer.complete() && client.answer.keep_alive;
        if client.begun < self.per_client && complete && !timed_out {
            client.answer.next();
            client.state = State::Idle;
            client.idle_ns = now_ns;
        } else {
            self.connector.close(client, outcome, now_ns, errno);
        }
        self.schedule.ended(client);
    }
}

fn judge(status: u16) -> Outcome {
    if (200..300).contains(&status) {
        Outcome::Answered
    } else {
        Outcome::BadAnswer
    }
}

/// A wrong answer is an answer, and what could not be issued or was interrupted is the client's own affair.
fn is_retried(outcome: Outcome) -> bool {
    use Outcome::{AnswerTimeout, ClosedEarly, ConnectTimeout, Refused, Reset};
    matches!(
        outcome,
        ConnectTimeout | AnswerTimeout | Refused | Reset | ClosedEarly
    )
}

impl Driver for Http1 {
    fn start(&mut self, start_ns: i64) {
        self.schedule.start(start_ns);
    }

    fn schedule(&mut self) -> (&mut Schedule, &mut [Client]) {
        (&mut self.schedule, &mut self.clients)
    }

    fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Issue a client's next request, over the connection it has or a new one.
    fn begin(&mut self, place: usize) {
        let client = &mut self.clients[place];
        if !self.schedule.offers(client) {
            return;
        }
        if self.retrying.is_some() {
            client.tries += 1;
        }
        client.begun += 1;
        client.under_way = true;
        client.unheard = true;
        let scheduled_ns = if client.tries > 1 {
            0
        } else if self.pooled {
            (client.request, client.final_ns) = self.schedule.next_waiting();
            0
        } else {
            client.request = self.schedule.request_of(client);
            if self.schedule.paced {
                self.schedule.slot_of(client)
            } else {
                0
            }
        };
        if client.state == State::Idle {
            let now_ns = now_ns();
            if now_ns - client.idle_ns < SOON_NS || !sys::has_unread(client.file) {
                let file = client.file;
                client.state = State::Waiting;
                self.issued(place, scheduled_ns, now_ns);
                if let Err(errno) = sys::send(file, &self.request) {
                    self.fail(place, errno);
                }
                return;
            }
            self.connector.close(client, Outcome::Answered, now_ns, 0); // it has spoken unasked
        }
        self.connect(place, scheduled_ns);
    }

    fn advance(&mut self, place: usize, events: u32) {
        if self.clients[place].state == State::Connecting {
            self.try_established(place);
        }
        if events & READABLE != 0
            && matches!(self.clients[place].state, State::Waiting | State::Idle)
        {
            self.receive(place);
        }
        if events & HUNG_UP != 0 && self.clients[place].state == State::Idle {
            self.connector
                .close(&mut self.clients[place], Outcome::Answered, now_ns(), 0); // that was its last answer
        }
    }

    fn expire(&mut self, now_ns: i64) {
        self.schedule.waiting(now_ns); // also where no place ever comes to be free
        while let Some(place) = self.schedule.overdue(now_ns, &mut self.clients) {
            let client = &self.clients[place];
            let outcome = self.connector.timeout(client.row, client.deadline_ns);
            self.end(place, outcome, crate::sys::now_ns(), 0);
        }
    }

    fn give_up(&mut self) {
        let now_ns = now_ns();
        for place in 0..self.clients.len() {
            let client = &mut self.clients[place];
            if client.state == State::Closed {
                continue;
            }
            if client.under_way {
                self.end(place, Outcome::OtherError, now_ns, libc::ECANCELED);
            } else {
                self.connector.close(client, Outcome::Answered, now_ns, 0);
            }
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            never_issued: self.schedule.never_issued,
            ..self.counts
        }
    }

    fn heard(self) -> Heard {
        Heard {
            protocol: self.protocol,
            frames: BTreeMap::new(),
            library: answer::LIBRARY,
        }
    }
}
