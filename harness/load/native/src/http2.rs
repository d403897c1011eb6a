//! HTTP/2 with prior knowledge (RFC 9113, section 3.3): many requests share a connection.
//!
//! Links that have room take turns with the requests that wait, each a stream. What a stream suffers is its request's;
//! what its connection suffers, all its streams'.

use std::rc::Rc;

use crate::answer::{MOST_HEAD_BYTES, protocol_of};
use crate::client::{Client, State};
use crate::connecting::{Begun, Connector, RECEIVE_BYTES, authority, outcome_of};
use crate::frames::{self, Broken, Frame, GIVEN_BACK_FROM, Request, Settings, Table, flag, kind};
use crate::hpack::Decoder;
use crate::record::{End, RequestRecord};
use crate::rows::{Outcome, Requests};
use crate::schedule::Schedule;
use crate::slice::Slice;
use crate::storm::{Counts, Driver, Heard};
use crate::sys::{self, Errno, HUNG_UP, READABLE, UNTIL_CONNECTED, now_ns, tcp_info};

/// On a connection at a time, unless the server takes fewer: RFC 9113, section 6.5.2, recommends to allow that many.
const MOST_STREAMS: usize = 100;
/// Streams a link begins in one turn, written to the socket together.
const MOST_AT_ONCE: usize = 16;
/// A flood of the smallest frames must leave the loop its turn.
const READ_AT_ONCE: usize = 1 << 14;
const READS_IN_A_ROW: usize = 2;
/// Of replies to a server that sends, and takes none: more than a hundred requests are, less than a flood makes.
const MOST_UNSENT_BYTES: usize = 1 << 18;

/// One request under way.
struct Stream {
    id: u32,
    request: usize,
    deadline_ns: i64,
    status: u16,
    accepted_ns: i64,
    /// What is left of the body, if its head said how long it is.
    left: Option<u64>,
    headed: bool,
    unreturned_bytes: u32,
}

/// What a place of the pool has beside what every client has.
struct Link {
    /// Whether it is with the schedule, to take requests, or to wait for some.
    queued: bool,
    most_streams: usize,
    streams: Vec<Stream>,
    next_id: u32,
    table: Table,
    decoder: Decoder,
    unsent: Vec<u8>,
    /// Of a frame, what has come.
    pieces: Vec<u8>,
    /// The block of fields that goes on: (stream, whether it ends the stream, what has come).
    block: Option<(u32, bool, Vec<u8>)>,
    unreturned_bytes: u32,
}

impl Link {
    fn new(queued: bool) -> Self {
        Self {
            queued,
            most_streams: MOST_STREAMS,
            streams: Vec::new(),
            next_id: 1,
            table: Table::Empty,
            decoder: Decoder::new(),
            unsent: Vec::new(),
            pieces: Vec::new(),
            block: None,
            unreturned_bytes: 0,
        }
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }

    /// A stream that the server may speak of: it is under way, or was.
    fn check(&self, id: u32) -> Result<(), Broken> {
        if id % 2 == 1 && id < self.next_id {
            Ok(())
        } else {
            Err(Broken)
        }
    }
}

pub struct Http2 {
    schedule: Schedule,
    connector: Connector,
    places: Vec<Client>,
    links: Vec<Link>,
    requests: RequestRecord,
    request: Request,
    buffer: Box<[u8]>,
    /// Frames heard, by name: there are so few names that looking through them is fastest.
    frames: Vec<(&'static str, u64)>,
    counts: Counts,
}

impl Http2 {
    pub fn new(slice: &Rc<Slice>, connector: Connector, requests: Requests) -> Self {
        Self {
            schedule: Schedule::new(slice),
            connector,
            places: (0..slice.places()).map(Client::new).collect(),
            links: (0..slice.places()).map(|_| Link::new(true)).collect(),
            requests: RequestRecord::new(slice, requests),
            request: Request::new(&authority(slice.target, slice.port), &slice.path),
            buffer: vec![0; RECEIVE_BYTES].into(),
            frames: Vec::new(),
            counts: Counts::default(),
        }
    }

    // ---- requests begin ----

    /// A link that has room and a connection takes its turn.
    fn queue(&mut self, place: usize) {
        let (client, link) = (&self.places[place], &mut self.links[place]);
        let has_room = client.state == State::Waiting && link.streams.len() < link.most_streams;
        if !link.queued && (client.state == State::Closed || has_room) {
            link.queued = true;
            self.schedule.ended(client);
        }
    }

    /// Connect for one request; the others wait until that has succeeded.
    fn connect_with_one(&mut self, place: usize) {
        self.links[place] = Link::new(self.links[place].queued);
        frames::put_preface(&mut self.links[place].unsent);
        match self.connector.connect(&mut self.places[place], 0) {
            Begun::NotIssued(errno) => {
                // No stream was begun: the request that it was made for ends here.
                let (request, _) = self.schedule.next_waiting();
                self.counts.finished += 1;
                self.requests.ended(
                    request,
                    0,
                    0,
                    End {
                        outcome: Outcome::NotIssued,
                        now_ns: now_ns(),
                        errno,
                    },
                );
                self.end(place, Outcome::NotIssued, errno);
            }
            Begun::Failed(issued_ns, errno) => {
                self.ask(place, issued_ns);
                self.end(place, outcome_of(errno), errno);
            }
            Begun::Issued(issued_ns) => {
                self.ask(place, issued_ns);
                self.try_established(place);
                self.connector.watch(&self.places[place]);
            }
        }
    }

    /// The oldest request that waits becomes a stream.
    fn ask(&mut self, place: usize, issued_ns: i64) {
        let (client, link) = (&mut self.places[place], &mut self.links[place]);
        let (request, deadline_ns) = self.schedule.next_waiting();
        let id = link.next_id;
        link.next_id += 2;
        self.request.put(&mut link.unsent, id, link.table);
        link.table = match link.table {
            Table::None { .. } => Table::None { told: true },
            _ => Table::Filled,
        };
        link.streams.push(Stream {
            id,
            request,
            deadline_ns,
            status: 0,
            accepted_ns: 0,
            left: None,
            headed: false,
            unreturned_bytes: 0,
        });
        self.counts.issued += 1;
        self.requests.begun(
            request,
            client.row,
            deadline_ns - self.schedule.timeout_ns,
            issued_ns,
        );
        // Requests come in order: the oldest stream is the first whose time is over.
        if !client.under_way {
            client.under_way = true;
            client.deadline_ns = deadline_ns;
        }
        self.schedule.expect(client);
    }

    // ---- bytes go and come ----

    fn try_established(&mut self, place: usize) {
        let client = &self.places[place];
        let info = self
            .connector
            .record
            .is_late(client.row)
            .then(|| tcp_info(client.file));
        if !self.flush(place) {
            return;
        }
        let client = &mut self.places[place];
        self.connector.record.established(client.row, info);
        client.state = State::Waiting;
        // A request does not wait until the one before it is acknowledged (Nagle's algorithm).
        let _ = sys::set_option(client.file, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    }

    /// Write what there is for the server; whether anything could be written.
    fn flush(&mut self, place: usize) -> bool {
        let (client, link) = (&self.places[place], &mut self.links[place]);
        let mut sent = 0;
        while sent < link.unsent.len() {
            match sys::send(client.file, &link.unsent[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(libc::EAGAIN) => break,
                Err(errno) => {
                    self.end(place, outcome_of(errno), errno);
                    return false;
                }
            }
        }
        link.unsent.drain(..sent);
        if !link.unsent.is_empty() && client.state == State::Waiting {
            self.connector
                .epoll
                .modify(client.file, UNTIL_CONNECTED, place);
        }
        sent > 0
    }

    fn receive(&mut self, place: usize) {
        for _ in 0..READS_IN_A_ROW {
            let client = &mut self.places[place];
            let received = match sys::receive(client.file, &mut self.buffer[..READ_AT_ONCE]) {
                Ok(0) => return self.end(place, Outcome::ClosedEarly, 0),
                Ok(received) => received,
                Err(libc::EAGAIN) => return,
                Err(errno) => return self.end(place, outcome_of(errno), errno),
            };
            let now_ns = now_ns();
            if client.received == 0 {
                self.connector.record.first_byte(client, now_ns);
                if !protocol_of(&self.buffer[..received]).is_empty() {
                    return self.end(place, Outcome::BadAnswer, 0); // else its rest is waited for as a frame's
                }
            }
            client.received += received as u64;
            if !self.understand(place, received, now_ns) {
                return;
            }
            if received < READ_AT_ONCE {
                return; // that was all there is: what comes now makes another edge
            }
        }
        self.connector
            .epoll
            .modify(self.places[place].file, UNTIL_CONNECTED, place);
    }

    /// Take in the frames of what was read just now; false where that was the connection's end.
    fn understand(&mut self, place: usize, received: usize, now_ns: i64) -> bool {
        let mut pieces = std::mem::take(&mut self.links[place].pieces);
        // Taken out while it is read from, since what is read changes everything else.
        let buffer = std::mem::take(&mut self.buffer);
        let bytes = if pieces.is_empty() {
            &buffer[..received]
        } else {
            pieces.extend_from_slice(&buffer[..received]);
            &pieces[..]
        };
        let mut at = 0;
        let outcome = loop {
            match Frame::read(&bytes[at..]) {
                Ok(None) => break None,
                Ok(Some(frame)) => {
                    at += frames::HEAD_BYTES + frame.payload.len();
                    match self.take(place, frame, now_ns) {
                        Ok(true) => {}
                        Ok(false) => break Some(Outcome::ClosedEarly),
                        Err(Broken) => break Some(Outcome::BadAnswer),
                    }
                }
                Err(Broken) => break Some(Outcome::BadAnswer),
            }
        };
        self.links[place].pieces = bytes[at..].to_vec();
        self.buffer = buffer;
        if let Some(outcome) = outcome {
            self.end(place, outcome, 0);
            return false;
        }
        if !self.flush(place) && self.places[place].state != State::Waiting {
            return false;
        }
        if self.links[place].unsent.len() > MOST_UNSENT_BYTES {
            self.end(place, Outcome::BadAnswer, 0);
            return false;
        }
        true
    }

    fn count(&mut self, name: &'static str) {
        match self.frames.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => *times += 1,
            None => self.frames.push((name, 1)),
        }
    }

    /// Take in a frame; false: the server retires the connection.
    fn take(&mut self, place: usize, frame: Frame, now_ns: i64) -> Result<bool, Broken> {
        let link = &mut self.links[place];
        if link.block.is_some() && frame.kind != kind::CONTINUATION {
            return Err(Broken);
        }
        match frame.kind {
            kind::DATA => {
                link.check(frame.stream)?;
                self.count("DATA");
                self.data(place, frame, now_ns)?;
            }
            kind::HEADERS => {
                link.check(frame.stream)?;
                self.block(
                    place,
                    frame.stream,
                    frame.has(flag::END_STREAM),
                    frame.content()?,
                    frame.flags,
                    now_ns,
                )?;
            }
            kind::CONTINUATION => {
                let (stream, ends, mut block) = link.block.take().ok_or(Broken)?;
                if stream != frame.stream || block.len() + frame.payload.len() > MOST_HEAD_BYTES {
                    return Err(Broken);
                }
                block.extend_from_slice(frame.payload);
                self.block(place, stream, ends, &block, frame.flags, now_ns)?;
            }
            kind::RST_STREAM => {
                link.check(frame.stream)?;
                frame.number()?;
                if let Some(position) = link.position(frame.stream) {
                    self.count("RST_STREAM");
                    self.end_stream(place, position, Outcome::Reset, 0, now_ns);
                }
            }
            kind::SETTINGS if frame.stream != 0 => return Err(Broken),
            kind::SETTINGS if frame.has(flag::ACK) => self.count("SETTINGS ACK"),
            kind::SETTINGS => {
                let settings = Settings::read(frame.payload)?;
                if let Some(most) = settings.most_streams {
                    link.most_streams = MOST_STREAMS.min(most as usize);
                }
                if settings
                    .header_table_bytes
                    .is_some_and(|bytes| bytes < 4096)
                    && link.table != (Table::None { told: true })
                {
                    link.table = Table::None { told: false };
                }
                frames::put_ack(&mut link.unsent, kind::SETTINGS, &[]);
                self.count("SETTINGS");
            }
            kind::PUSH_PROMISE => return Err(Broken),
            kind::PING if frame.payload.len() != 8 || frame.stream != 0 => return Err(Broken),
            kind::PING if !frame.has(flag::ACK) => {
                frames::put_ack(&mut link.unsent, kind::PING, frame.payload);
                self.count("PING");
            }
            kind::GOAWAY => {
                self.count("GOAWAY"); // streams might still end; none of them is waited for
                return Ok(false);
            }
            kind::WINDOW_UPDATE => {
                if frame.number()? & frames::WINDOW == 0 {
                    return Err(Broken);
                }
                self.count("WINDOW_UPDATE");
            }
            _ => {}
        }
        Ok(true)
    }

    fn data(&mut self, place: usize, frame: Frame, now_ns: i64) -> Result<(), Broken> {
        let link = &mut self.links[place];
        let size = frame.payload.len() as u32;
        let content = frame.content()?.len() as u64;
        // Windows are given back, or the connection stands still once that has come to their size.
        link.unreturned_bytes += size;
        if link.unreturned_bytes >= GIVEN_BACK_FROM {
            frames::put_window_update(
                &mut link.unsent,
                0,
                std::mem::take(&mut link.unreturned_bytes),
            );
        }
        let Some(position) = link.position(frame.stream) else {
            return Ok(());
        };
        let stream = &mut link.streams[position];
        stream.unreturned_bytes += size;
        if stream.unreturned_bytes >= GIVEN_BACK_FROM {
            frames::put_window_update(
                &mut link.unsent,
                stream.id,
                std::mem::take(&mut stream.unreturned_bytes),
            );
        }
        if let Some(left) = &mut stream.left {
            *left = left.checked_sub(content).ok_or(Broken)?;
        }
        if frame.has(flag::END_STREAM) {
            self.stream_ended(place, position, now_ns)
        } else {
            Ok(())
        }
    }

    /// Take in a block of fields, or what there is of it.
    fn block(
        &mut self,
        place: usize,
        id: u32,
        ends: bool,
        block: &[u8],
        flags: u8,
        now_ns: i64,
    ) -> Result<(), Broken> {
        let link = &mut self.links[place];
        if flags & flag::END_HEADERS == 0 {
            link.block = Some((id, ends, block.to_vec()));
            return Ok(());
        }
        let head = frames::read_head(&mut link.decoder, block)?;
        let Some(position) = link.position(id) else {
            return Ok(());
        }; // it was given up
        let stream = &mut link.streams[position];
        if stream.headed {
            return if ends {
                self.stream_ended(place, position, now_ns)
            } else {
                Err(Broken)
            }; // trailers
        }
        if head.interim {
            // What announces the answer is skipped; 101 does not (RFC 9113, section 8.6), nor does `1abc`.
            if ends {
                return Err(Broken);
            }
            if matches!(head.status, 0 | 101) {
                frames::put_cancel(&mut link.unsent, id);
                self.end_stream(place, position, Outcome::BadAnswer, 0, now_ns);
            }
            return Ok(());
        }
        stream.headed = true;
        stream.status = head.status;
        stream.left = head.length;
        let client = &mut self.places[place];
        client.answer.status = head.status;
        if head.accepted_ns != 0 {
            stream.accepted_ns = head.accepted_ns;
            client.answer.accepted_ns = head.accepted_ns;
        }
        self.requests.first_byte(stream.request, now_ns);
        self.count("HEADERS");
        if ends {
            self.stream_ended(place, position, now_ns)
        } else {
            Ok(())
        }
    }

    fn stream_ended(&mut self, place: usize, position: usize, now_ns: i64) -> Result<(), Broken> {
        let stream = &self.links[place].streams[position];
        if stream.left.is_some_and(|left| left > 0) {
            return Err(Broken);
        }
        let right = (200..300).contains(&stream.status);
        self.end_stream(
            place,
            position,
            if right {
                Outcome::Answered
            } else {
                Outcome::BadAnswer
            },
            0,
            now_ns,
        );
        Ok(())
    }

    // ---- requests end, and connections ----

    fn end_stream(
        &mut self,
        place: usize,
        position: usize,
        outcome: Outcome,
        errno: Errno,
        now_ns: i64,
    ) {
        let client = &mut self.places[place];
        let stream = self.links[place].streams.remove(position);
        let late = now_ns > stream.deadline_ns && outcome != Outcome::OtherError;
        let outcome = if late {
            self.connector.timeout(client.row, stream.deadline_ns)
        } else {
            outcome
        };
        self.counts.finished += 1;
        self.counts.answered += usize::from(outcome == Outcome::Answered);
        self.requests.ended(
            stream.request,
            stream.status,
            stream.accepted_ns,
            End {
                outcome,
                now_ns,
                errno,
            },
        );
        let oldest = self.links[place].streams.first();
        client.under_way = oldest.is_some();
        client.deadline_ns = oldest.map_or(0, |stream| stream.deadline_ns);
    }

    /// A connection has ended, and all its streams with it.
    fn end(&mut self, place: usize, outcome: Outcome, errno: Errno) {
        let idle = outcome == Outcome::ClosedEarly && self.links[place].streams.is_empty();
        let now_ns = now_ns();
        while !self.links[place].streams.is_empty() {
            self.end_stream(place, 0, outcome, errno, now_ns);
        }
        let outcome = if idle { Outcome::Answered } else { outcome };
        self.connector
            .close(&mut self.places[place], outcome, now_ns, errno);
        self.queue(place);
    }
}

impl Driver for Http2 {
    fn start(&mut self, start_ns: i64) {
        self.schedule.start(start_ns);
    }

    fn schedule(&mut self) -> (&mut Schedule, &mut [Client]) {
        (&mut self.schedule, &mut self.places)
    }

    fn connector(&self) -> &Connector {
        &self.connector
    }

    /// A link takes its share of what waits, as far as it has room.
    fn begin(&mut self, place: usize) {
        if !self.schedule.offers(&self.places[place]) {
            return;
        }
        if self.places[place].state == State::Closed {
            self.connect_with_one(place);
        } else {
            let now_ns = now_ns(); // they leave together
            let share = self.schedule.waiting(now_ns).div_ceil(self.places.len());
            for _ in 0..share.min(MOST_AT_ONCE) {
                let link = &self.links[place];
                if link.streams.len() >= link.most_streams || self.schedule.waiting(now_ns) == 0 {
                    break;
                }
                self.ask(place, now_ns);
            }
            self.flush(place);
        }
        self.links[place].queued = false;
        self.queue(place);
    }

    fn advance(&mut self, place: usize, events: u32) {
        if self.places[place].state == State::Connecting {
            self.try_established(place);
        } else if !self.links[place].unsent.is_empty() {
            self.flush(place);
        }
        if events & (READABLE | HUNG_UP) != 0 && self.places[place].state == State::Waiting {
            self.receive(place);
        }
        self.queue(place);
    }

    /// A stream that has had its time is cancelled, and its connection stays, unless it never came to be.
    fn expire(&mut self, now_ns: i64) {
        self.schedule.waiting(now_ns); // also where no place ever comes to be free
        while let Some(place) = self.schedule.overdue(now_ns, &mut self.places) {
            let stream = &self.links[place].streams[0];
            let (id, outcome) = (
                stream.id,
                self.connector
                    .timeout(self.places[place].row, stream.deadline_ns),
            );
            self.end_stream(place, 0, outcome, 0, now_ns);
            match self.places[place].state {
                State::Connecting => self.end(place, Outcome::ConnectTimeout, 0),
                State::Waiting => {
                    frames::put_cancel(&mut self.links[place].unsent, id);
                    self.flush(place);
                }
                _ => {}
            }
            if self.places[place].under_way {
                self.schedule.expect(&mut self.places[place]);
            }
            self.queue(place);
        }
    }

    fn give_up(&mut self) {
        for place in 0..self.places.len() {
            if self.places[place].state == State::Closed {
                continue;
            }
            if self.links[place].streams.is_empty() {
                self.connector
                    .close(&mut self.places[place], Outcome::Answered, now_ns(), 0);
            } else {
                self.end(place, Outcome::OtherError, libc::ECANCELED);
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
        let protocol = if self.frames.is_empty() {
            String::new()
        } else {
            "HTTP/2".to_owned()
        };
        Heard {
            protocol,
            frames: self.frames.into_iter().collect(),
            library: frames::LIBRARY,
        }
    }
}
