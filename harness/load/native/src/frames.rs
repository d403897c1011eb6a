//! HTTP/2 frames (RFC 9113, sections 4 and 6) as a client of simple requests needs them.

use crate::answer::{ACCEPT_STAMP, MOST_HEAD_BYTES, number, stamp};
use crate::hpack::{Decoder, FIELD_BYTES};

pub const LIBRARY: &str = concat!("storm-agent ", env!("CARGO_PKG_VERSION"));
pub const HEAD_BYTES: usize = 9;
/// What a frame's payload has at most, unless its receiver allows more.
pub const MOST_PAYLOAD_BYTES: usize = 16_384;
/// The largest window there is: answers are read as they come, and no flow control is to be measured.
pub const WINDOW: u32 = (1 << 31) - 1;
const FIRST_WINDOW: u32 = 65_535;
/// What has been read is given back to a window before it is half empty.
pub const GIVEN_BACK_FROM: u32 = 1 << 30;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CANCEL: u32 = 8;

pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

pub mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// The other side does not keep to the protocol.
#[derive(Debug)]
pub struct Broken;

#[derive(Clone, Copy)]
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Return the frame that begins here, or None where it goes on.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, Broken> {
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if size > MOST_PAYLOAD_BYTES {
            return Err(Broken);
        }
        let stream = u32::from_be_bytes([head[5] & 0x7F, head[6], head[7], head[8]]);
        let payload = bytes.get(HEAD_BYTES..HEAD_BYTES + size);
        Ok(payload.map(|payload| Self {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        }))
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What it holds without padding and priority.
    pub fn content(&self) -> Result<&'a [u8], Broken> {
        let mut content = self.payload;
        let mut padding = 0;
        if self.has(flag::PADDED) {
            let (&pads, rest) = content.split_first().ok_or(Broken)?;
            (padding, content) = (usize::from(pads), rest);
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..).ok_or(Broken)?;
        }
        content
            .len()
            .checked_sub(padding)
            .map(|end| &content[..end])
            .ok_or(Broken)
    }

    /// The number that a WINDOW_UPDATE or an RST_STREAM holds.
    pub fn number(&self) -> Result<u32, Broken> {
        self.payload
            .try_into()
            .map(u32::from_be_bytes)
            .map_err(|_| Broken)
    }
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// What a client says first: pushes are not wanted, windows are as large as can be.
pub fn put_preface(out: &mut Vec<u8>) {
    out.extend_from_slice(PREFACE);
    let settings = [
        (setting::ENABLE_PUSH, 0),
        (setting::INITIAL_WINDOW_SIZE, WINDOW),
        (setting::MAX_HEADER_LIST_SIZE, MOST_HEAD_BYTES as u32),
    ];
    let mut payload = Vec::with_capacity(18);
    for (name, value) in settings {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    put(out, kind::SETTINGS, 0, 0, &payload);
    put_window_update(out, 0, WINDOW - FIRST_WINDOW);
}

pub fn put_window_update(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    put(out, kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
}

/// Tell the server that a stream is over.
pub fn put_cancel(out: &mut Vec<u8>, stream: u32) {
    put(out, kind::RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
}

pub fn put_ack(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    put(out, kind, flag::ACK, 0, payload);
}

/// What a server's SETTINGS mean to a client of simple requests.
#[derive(Default)]
pub struct Settings {
    pub most_streams: Option<u32>,
    pub header_table_bytes: Option<u32>,
}

impl Settings {
    pub fn read(payload: &[u8]) -> Result<Self, Broken> {
        let mut found = Self::default();
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Broken);
        }
        for &[a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(value);
            match u16::from_be_bytes([a, b]) {
                setting::HEADER_TABLE_SIZE => found.header_table_bytes = Some(value),
                setting::MAX_CONCURRENT_STREAMS => found.most_streams = Some(value),
                setting::INITIAL_WINDOW_SIZE if value > WINDOW => return Err(Broken),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The fields of a GET, the same for each request: the first of a connection has them put into the table of the other
/// side, later ones name their places in it (RFC 7541, section 6).
pub struct Request {
    first: Vec<u8>,
    again: Vec<u8>,
    /// Where the other side has no table.
    plain: Vec<u8>,
}

/// Places in HPACK's static table (RFC 7541, appendix A).
const AUTHORITY: u8 = 1;
const GET: u8 = 2;
const PATH: u8 = 4;
const SLASH: u8 = 4;
const SCHEME_HTTP: u8 = 6;
const USER_AGENT: u8 = 58;
/// The place of what was put into the dynamic table last.
const LAST_PUT: u8 = 62;
const INDEXED: u8 = 0x80;
const TO_BE_INDEXED: u8 = 0x40;
const NO_TABLE: u8 = 0x20;

impl Request {
    pub fn new(authority: &str, path: &str) -> Self {
        let named = [
            (AUTHORITY, authority),
            (PATH, path),
            (USER_AGENT, "stormlab"),
        ];
        let named: Vec<_> = named
            .into_iter()
            .filter(|&field| field != (PATH, "/"))
            .collect();
        let mut always = vec![INDEXED | GET, INDEXED | SCHEME_HTTP];
        if named.len() == 2 {
            always.push(INDEXED | SLASH);
        }
        let literal = |prefix: u8, bits: u8| {
            let mut block = always.clone();
            for &(name, value) in &named {
                put_integer(&mut block, prefix, bits, usize::from(name));
                put_integer(&mut block, 0, 7, value.len());
                block.extend_from_slice(value.as_bytes());
            }
            block
        };
        let mut again = always.clone();
        again.extend(
            (0..named.len() as u8)
                .rev()
                .map(|place| INDEXED | (LAST_PUT + place)),
        );
        Self {
            first: literal(TO_BE_INDEXED, 6),
            again,
            plain: literal(0, 4),
        }
    }

    pub fn put(&self, out: &mut Vec<u8>, stream: u32, table: Table) {
        let block = match table {
            Table::Empty => &self.first,
            Table::Filled => &self.again,
            Table::None { told: true } => &self.plain,
            Table::None { told: false } => &[&[NO_TABLE], self.plain.as_slice()].concat(),
        };
        put(
            out,
            kind::HEADERS,
            flag::END_STREAM | flag::END_HEADERS,
            stream,
            block,
        );
    }
}

/// What the other side's table has of this request.
#[derive(Clone, Copy, PartialEq)]
pub enum Table {
    Empty,
    Filled,
    /// It keeps less than this client uses, and has to be told that nothing is put there (RFC 7541, section 4.2).
    None {
        told: bool,
    },
}

/// An integer with a prefix of so many bits (RFC 7541, section 5.1).
fn put_integer(out: &mut Vec<u8>, pattern: u8, bits: u8, value: usize) {
    let most = (1usize << bits) - 1;
    if value < most {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// What an answer's head says.
#[derive(Default)]
pub struct Head {
    /// The one `:status`, three digits (RFC 9113, section 8.3.2); 0: there is none, or another.
    pub status: u16,
    /// It announces the answer, and is not it.
    pub interim: bool,
    pub accepted_ns: i64,
    pub length: Option<u64>,
}

/// Take in a whole block of fields.
pub fn read_head(decoder: &mut Decoder, block: &[u8]) -> Result<Head, Broken> {
    let mut head = Head::default();
    let (mut statuses, mut bytes) = (0, 0);
    decoder.read(block, |name, value| {
        bytes += name.len() + value.len() + FIELD_BYTES;
        match name {
            b":status" => {
                statuses += 1;
                head.status = status_of(value);
                head.interim = value.starts_with(b"1");
            }
            name if name == ACCEPT_STAMP => {
                head.accepted_ns = stamp(value).unwrap_or(head.accepted_ns)
            }
            b"content-length" => head.length = number(value),
            _ => {}
        }
        if bytes > MOST_HEAD_BYTES {
            Err(Broken)
        } else {
            Ok(())
        }
    })?;
    if statuses != 1 {
        head.status = 0;
    }
    Ok(head)
}

fn status_of(value: &[u8]) -> u16 {
    match value {
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => number(value).unwrap_or(0) as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_request_says_the_same() {
        for path in ["/", "/some/path"] {
            let request = Request::new("127.0.0.1:8080", path);
            let mut decoder = Decoder::new();
            let mut said = |table| {
                let mut out = Vec::new();
                request.put(&mut out, 1, table);
                let frame = Frame::read(&out).expect("a frame").expect("whole");
                let mut fields = Vec::new();
                let read = decoder.read(frame.payload, |name, value| {
                    fields.push((name.to_vec(), value.to_vec()));
                    Ok(())
                });
                read.expect("fields");
                fields.sort();
                fields
            };
            let first = said(Table::Empty);
            assert_eq!(first.len(), 5);
            assert!(first.contains(&(b":path".to_vec(), path.as_bytes().to_vec())));
            assert_eq!(said(Table::Filled), first);
            assert_eq!(said(Table::None { told: false }), first);
            assert_eq!(said(Table::None { told: true }), first);
        }
    }

    #[test]
    fn a_status_has_three_digits_and_comes_once() {
        let head = |block: &[u8]| {
            read_head(&mut Decoder::new(), block)
                .expect("a block")
                .status
        };
        assert_eq!(head(&[0x88]), 200);
        assert_eq!(head(&[0x88, 0x88]), 0);
        for wrong in [
            b"70000".as_slice(),
            b"abc",
            b"",
            b"2_00",
            b"+200",
            b" 200",
            b"999",
        ] {
            let mut block = vec![0x08, wrong.len() as u8]; // a literal whose name is that of place 8
            block.extend_from_slice(wrong);
            assert_eq!(head(&block), 0);
        }
    }

    #[test]
    fn a_bomb_of_fields_is_broken() {
        let mut block = vec![0x40, 1, b'a'];
        put_integer(&mut block, 0, 7, 3000);
        block.extend(std::iter::repeat_n(b'x', 3000));
        block.extend(std::iter::repeat_n(INDEXED | LAST_PUT, 10_000));
        assert!(read_head(&mut Decoder::new(), &block).is_err());
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let payload = [2, 0, 0, 0, 0, 7, 0x88, 0, 0];
        let frame = Frame {
            kind: kind::HEADERS,
            flags: flag::PADDED | flag::PRIORITY,
            stream: 1,
            payload: &payload,
        };
        assert_eq!(frame.content().expect("fields"), &[0x88]);
        let frame = Frame {
            kind: kind::DATA,
            flags: flag::PADDED,
            stream: 1,
            payload: &[3, 0, 0],
        };
        assert!(frame.content().is_err());
    }
}
