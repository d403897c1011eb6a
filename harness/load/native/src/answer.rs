//! One HTTP/1.1 answer on its way in; heads, chunk sizes and trailers are parsed by httparse.
//!
//! The first final answer is the request's. What comes after it unasked, in the same read or a later one, says nothing
//! of it, and leaves a connection that no other request may use (RFC 9112, section 9.2). Where a length stands beside a
//! coding, an attack is likelier than an answer: it is none (section 6.3).

use std::mem::{self, MaybeUninit};
use std::ops::Range;

use httparse::{Header, ParserConfig, Response, Status};

pub const LIBRARY: &str = "httparse 1.10.1";
/// The header in which the lab's servers say when they got the connection.
pub const ACCEPT_STAMP: &[u8] = b"x-accept-ns";
/// What a head may have, and a chunk's line, and trailers: nobody sends more.
pub const MOST_HEAD_BYTES: usize = 1 << 16;
/// No head of that size has more: a field takes four bytes.
const MOST_FIELDS: usize = MOST_HEAD_BYTES / 4;
const FEW_FIELDS: usize = 32;
/// A head that comes in pieces is parsed again with each, until it is that long; then when it has doubled or ends.
const PARSED_EACH_TIME_BYTES: usize = 1 << 12;

/// No longer answer is kept to compare others with.
const MOST_KNOWN_BYTES: usize = 1 << 10;

/// What comes next.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Head,
    /// So many bytes of the body.
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// Lacking a length, the end of the stream ends the answer (RFC 9112, section 6.3, rule 8).
    UntilEnd,
    Nothing,
}

/// Not an HTTP answer, or one whose head is too long.
pub struct Bad;

pub struct Answer {
    part: Part,
    /// Of a head, or of another part that is taken as a whole, what has come.
    pieces: Vec<u8>,
    parsed: usize,
    /// Known with the last of the headers; 0 before.
    pub status: u16,
    /// When the server got the connection, CLOCK_MONOTONIC, if it says so.
    pub accepted_ns: i64,
    pub keep_alive: bool,
}

impl Answer {
    pub const fn new() -> Self {
        Self {
            part: Part::Head,
            pieces: Vec::new(),
            parsed: 0,
            status: 0,
            accepted_ns: 0,
            keep_alive: true,
        }
    }

    /// Get ready for the next answer on the same connection.
    pub fn next(&mut self) {
        self.part = Part::Head;
        self.status = 0;
    }

    /// Whether nothing of it has been read.
    fn is_new(&self) -> bool {
        self.part == Part::Head && self.pieces.is_empty()
    }

    pub fn complete(&self) -> bool {
        self.part == Part::Nothing
    }

    pub fn ends_with_stream(&self) -> bool {
        self.part == Part::UntilEnd
    }

    /// Take in what was read.
    pub fn take(&mut self, data: &[u8]) -> Result<(), Bad> {
        if self.pieces.is_empty() {
            return self.read(data);
        }
        let mut whole = mem::take(&mut self.pieces);
        let seen = whole.len();
        whole.extend_from_slice(data);
        if whole.len() > PARSED_EACH_TIME_BYTES
            && whole.len() < 2 * self.parsed
            && !ends_in(&whole[seen - 2..])
        {
            return self.keep(whole);
        }
        self.read(&whole)
    }

    fn read(&mut self, data: &[u8]) -> Result<(), Bad> {
        let mut rest = data;
        while !rest.is_empty() {
            let taken = match self.part {
                Part::Head => self.head(rest)?,
                Part::Body(left) => {
                    let taken = left.min(rest.len() as u64);
                    self.part = if taken == left {
                        Part::Nothing
                    } else {
                        Part::Body(left - taken)
                    };
                    Some(taken as usize)
                }
                Part::ChunkSize => match httparse::parse_chunk_size(rest).map_err(|_| Bad)? {
                    Status::Complete((taken, size)) => {
                        lines(&rest[..taken])?;
                        fits(taken)?;
                        self.part = if size == 0 {
                            Part::Trailers
                        } else {
                            Part::Chunk(size)
                        };
                        Some(taken)
                    }
                    Status::Partial => None,
                },
                Part::Chunk(left) => {
                    let taken = left.min(rest.len() as u64);
                    self.part = if taken == left {
                        Part::ChunkEnd
                    } else {
                        Part::Chunk(left - taken)
                    };
                    Some(taken as usize)
                }
                Part::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        self.part = Part::ChunkSize;
                        Some(2)
                    }
                    b"\r" => None,
                    _ => return Err(Bad),
                },
                Part::Trailers => self.trailers(rest)?,
                Part::UntilEnd => Some(rest.len()),
                Part::Nothing => {
                    let unasked = rest.iter().any(|byte| !b"\r\n".contains(byte));
                    self.keep_alive &= !unasked;
                    return Ok(());
                }
            };
            match taken {
                Some(taken) => rest = &rest[taken..],
                None => return self.keep(rest.to_vec()),
            }
        }
        Ok(())
    }

    /// Until the rest of it comes, if that may be.
    fn keep(&mut self, pieces: Vec<u8>) -> Result<(), Bad> {
        if pieces.len() >= MOST_HEAD_BYTES {
            return Err(Bad);
        }
        self.pieces = pieces;
        Ok(())
    }
}

/// An answer that came whole in one read. What its like says is known without parsing it: the answers of a server to
/// one request differ in their accept stamp, and once a second in their date.
#[derive(Default)]
pub struct Known {
    bytes: Vec<u8>,
    /// Where its accept stamp is; empty where it has none.
    stamp: Range<usize>,
    status: u16,
    keep_alive: bool,
    /// Answers in a row that were others.
    others: u32,
}

impl Known {
    /// Take in what was read, as [`Answer::take`] does.
    pub fn take(&mut self, answer: &mut Answer, data: &[u8]) -> Result<(), Bad> {
        if !answer.is_new() {
            return answer.take(data);
        }
        if let Some(accepted_ns) = self.read(data) {
            self.others = 0;
            answer.part = Part::Nothing;
            answer.status = self.status;
            answer.keep_alive = self.keep_alive;
            answer.accepted_ns = accepted_ns.unwrap_or(answer.accepted_ns);
            return Ok(());
        }
        let before_ns = mem::take(&mut answer.accepted_ns);
        let taken = answer.take(data);
        // Where each answer is another, they are seldom kept.
        self.others = self.others.wrapping_add(1);
        if self.others.is_power_of_two() && answer.complete() {
            self.keep(answer, data);
        }
        if answer.accepted_ns == 0 {
            answer.accepted_ns = before_ns;
        }
        taken
    }

    /// Return the accept stamp, if there is one, of an answer that is like this one.
    fn read(&self, data: &[u8]) -> Option<Option<i64>> {
        let Range { start, end } = self.stamp;
        let alike = !data.is_empty()
            && data.len() == self.bytes.len()
            && data[..start] == self.bytes[..start]
            && data[end..] == self.bytes[end..];
        if !alike {
            None
        } else if start == end {
            Some(None)
        } else {
            stamp(&data[start..end]).map(Some)
        }
    }

    /// Remember a complete answer, if there is no doubt where its stamp is.
    fn keep(&mut self, answer: &Answer, data: &[u8]) {
        if data.len() > MOST_KNOWN_BYTES {
            return;
        }
        let mut named = data
            .windows(ACCEPT_STAMP.len())
            .enumerate()
            .filter(|(_, name)| name.eq_ignore_ascii_case(ACCEPT_STAMP))
            .map(|(at, _)| at + ACCEPT_STAMP.len());
        self.stamp = match (named.next(), named.next()) {
            (None, _) => 0..0,
            (Some(named), None) => {
                let Some(start) = data[named..].iter().position(u8::is_ascii_digit) else {
                    return;
                };
                let start = named + start;
                let digits = data[start..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit());
                let end = start + digits.count();
                if answer.accepted_ns == 0 || stamp(&data[start..end]) != Some(answer.accepted_ns) {
                    return; // the name is not a field's
                }
                start..end
            }
            _ => return,
        };
        self.bytes.clear();
        self.bytes.extend_from_slice(data);
        self.status = answer.status;
        self.keep_alive = answer.keep_alive;
    }
}

/// The fields of a head that matter.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    /// Whether the last coding is chunked; another goes on until the stream ends.
    chunked: Option<bool>,
    close: bool,
    keep_alive: bool,
    accepted_ns: Option<i64>,
}

impl Fields {
    fn of(headers: &[Header]) -> Result<Self, Bad> {
        let mut found = Self::default();
        for header in headers {
            let value = header.value.trim_ascii();
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    let length = number(value).ok_or(Bad)?;
                    // Said twice alike it is said once (RFC 9110, section 8.6).
                    if *found.length.get_or_insert(length) != length {
                        return Err(Bad);
                    }
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    let last = value
                        .rsplit(|&byte| byte == b',')
                        .next()
                        .unwrap_or_default();
                    found.chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                        found.close |= option.eq_ignore_ascii_case(b"close");
                        found.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                11 if header.name.as_bytes().eq_ignore_ascii_case(ACCEPT_STAMP) => {
                    found.accepted_ns = stamp(value).or(found.accepted_ns);
                }
                _ => {}
            }
        }
        if found.length.is_some() && found.chunked.is_some() {
            Err(Bad)
        } else {
            Ok(found)
        }
    }
}

/// A number of at most 18 digits, and nothing else.
pub fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        value
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}

/// What an accept stamp says, in nanoseconds.
pub fn stamp(value: &[u8]) -> Option<i64> {
    number(value).map(|stamp| stamp as i64)
}

/// A line ends with both of its bytes: another reader might take one for no end (RFC 9112, section 11.1).
fn lines(bytes: &[u8]) -> Result<(), Bad> {
    let mut ends = memchr::memchr_iter(b'\n', bytes);
    if ends.all(|end| end > 0 && bytes[end - 1] == b'\r') {
        Ok(())
    } else {
        Err(Bad)
    }
}

fn fits(bytes: usize) -> Result<(), Bad> {
    if bytes > MOST_HEAD_BYTES {
        Err(Bad)
    } else {
        Ok(())
    }
}

/// Whether an empty line may end in there.
fn ends_in(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

struct Head {
    bytes: usize,
    minor_version: u8,
    status: u16,
    fields: Result<Fields, Bad>,
}

/// Return a head, or None where it goes on.
fn parse<const FIELDS: usize>(data: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut fields = [const { MaybeUninit::<Header>::uninit() }; FIELDS];
    let mut head = Response::new(&mut []);
    match ParserConfig::default().parse_response_with_uninit_headers(
        &mut head,
        data,
        &mut fields,
    )? {
        Status::Partial => Ok(None),
        Status::Complete(bytes) => Ok(Some(Head {
            bytes,
            minor_version: head.version.unwrap_or_default(),
            status: head.code.unwrap_or_default(),
            fields: Fields::of(head.headers),
        })),
    }
}

/// Return the bytes that trailers take, or None where they go on.
fn parse_trailers<const FIELDS: usize>(data: &[u8]) -> Result<Option<usize>, httparse::Error> {
    match httparse::parse_headers(data, &mut [httparse::EMPTY_HEADER; FIELDS])? {
        Status::Partial => Ok(None),
        Status::Complete((bytes, _)) => Ok(Some(bytes)),
    }
}

/// Most have few fields, and none has more than fit into its bytes.
fn however_many<T>(
    few: Result<Option<T>, httparse::Error>,
    many: impl FnOnce() -> Result<Option<T>, httparse::Error>,
) -> Result<Option<T>, Bad> {
    match few {
        Err(httparse::Error::TooManyHeaders) => many(),
        parsed => parsed,
    }
    .map_err(|_| Bad)
}

impl Answer {
    /// Take in a head, and return its bytes; None where it goes on.
    fn head(&mut self, data: &[u8]) -> Result<Option<usize>, Bad> {
        self.parsed = data.len();
        let parsed = however_many(parse::<FEW_FIELDS>(data), || parse::<MOST_FIELDS>(data))?;
        let Some(head) = parsed else {
            return lines(data).map(|()| None);
        };
        lines(&data[..head.bytes])?;
        fits(head.bytes)?;
        let fields = head.fields?;
        self.accepted_ns = fields.accepted_ns.unwrap_or(self.accepted_ns);
        match head.status {
            ..100 | 101 => return Err(Bad), // nobody has asked for another protocol
            100..200 => return Ok(Some(head.bytes)), // it announces the answer, and is not it
            204 | 304 => self.part = Part::Nothing,
            _ => {
                self.part = match (fields.chunked, fields.length) {
                    (Some(true), _) => Part::ChunkSize,
                    (Some(false), _) | (None, None) => Part::UntilEnd,
                    (None, Some(0)) => Part::Nothing,
                    (None, Some(length)) => Part::Body(length),
                }
            }
        }
        self.status = head.status;
        let kept = if head.minor_version == 1 {
            !fields.close
        } else {
            fields.keep_alive
        };
        self.keep_alive = kept && self.part != Part::UntilEnd;
        Ok(Some(head.bytes))
    }

    fn trailers(&mut self, data: &[u8]) -> Result<Option<usize>, Bad> {
        self.parsed = data.len();
        let parsed = however_many(parse_trailers::<FEW_FIELDS>(data), || {
            parse_trailers::<MOST_FIELDS>(data)
        })?;
        let Some(bytes) = parsed else {
            return lines(data).map(|()| None);
        };
        lines(&data[..bytes])?;
        fits(bytes)?;
        self.part = Part::Nothing;
        Ok(Some(bytes))
    }
}

/// The version with which an answer begins, as `HTTP/1.1`; empty where it is no HTTP.
pub fn protocol_of(answer: &[u8]) -> String {
    let begins = &answer[..answer.len().min(8)];
    if begins.starts_with(b"HTTP/") {
        String::from_utf8_lossy(begins).into_owned()
    } else {
        String::new()
    }
}

/// A GET as it goes over the wire; `close` asks the server to end the connection after the answer.
pub fn request_bytes(authority: &str, path: &str, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: stormlab\r\n{connection}\r\n")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feed an answer in pieces of every size; return (status, complete, keep-alive), or None where it is none.
    fn answers(bytes: &[u8]) -> Option<(u16, bool, bool)> {
        let mut found = (1..=bytes.len()).map(|size| {
            let mut answer = Answer::new();
            for piece in bytes.chunks(size) {
                answer.take(piece).ok()?;
            }
            Some((answer.status, answer.complete(), answer.keep_alive))
        });
        let first = found.next().expect("bytes");
        assert!(
            found.all(|another| another == first),
            "pieces of another size make another answer"
        );
        first
    }

    #[test]
    fn an_answer_is_the_same_in_whatever_pieces_it_comes() {
        assert_eq!(
            answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            Some((200, true, true))
        );
        assert_eq!(
            answers(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            Some((200, true, false))
        );
        assert_eq!(
            answers(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
            Some((200, true, false))
        );
        assert_eq!(answers(b"HTTP/1.1 204 No\r\n\r\n"), Some((204, true, true)));
        assert_eq!(
            answers(b"HTTP/1.1 503 No\r\n\r\nuntil the end"),
            Some((503, false, false))
        );
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\n";
        assert_eq!(answers(chunked), Some((200, true, true)));
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(answers(interim), Some((200, true, true)));
    }

    #[test]
    fn a_known_answer_says_what_parsing_it_does() {
        let answers: &[&[u8]] = &[
            b"HTTP/1.1 200 OK\r\nX-Accept-NS: 123\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX-Accept-NS: 456\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX-Accept-NS: 4x6\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX-Accept-NS: 789\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX-Accept-NS: 789\r\nContent-Length: 1\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX-Accept-NS: 789\r\nContent-Length: 3\r\n\r\nok",
            b"HTTP/1.1 503 No\r\nX-Accept-NS: 789\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX-Accept-NS: 789\r\nX-Accept-NS: 5\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX-Accept-NS: 780\r\nX-Accept-NS: 5\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nx-accept-ns: 7",
            b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nx-accept-ns: 8",
            b"HTTP/1.1 200 OK\r\nNot-X-Accept-NS: 0\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nNot-X-Accept-NS: 7\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n",
        ];
        let said = |answer: &Answer, taken: Result<(), Bad>| {
            let found = (answer.status, answer.complete(), answer.keep_alive);
            taken.ok().map(|()| (found, answer.accepted_ns))
        };
        // In every order of three, so that each is learnt before each other, and each twice.
        for one in answers {
            for two in answers {
                for three in answers {
                    let mut known = Known::default();
                    for bytes in [one, two, one, three, two, three] {
                        let (mut parsed, mut compared) = (Answer::new(), Answer::new());
                        (parsed.accepted_ns, compared.accepted_ns) = (42, 42);
                        let plainly = parsed.take(bytes);
                        let known = known.take(&mut compared, bytes);
                        assert_eq!(said(&compared, known), said(&parsed, plainly));
                    }
                }
            }
        }
    }

    #[test]
    fn a_length_that_is_said_twice_must_be_said_alike() {
        assert_eq!(
            answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\nx"),
            Some((200, true, true))
        );
        assert_eq!(
            answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
            None
        );
        assert_eq!(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), None);
        assert_eq!(
            answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\nx"),
            None
        );
    }

    #[test]
    fn what_comes_unasked_leaves_a_connection_of_no_use() {
        let twice = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 No\r\n\r\n";
        assert_eq!(answers(twice), Some((200, true, false)));
        assert_eq!(
            answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n"),
            Some((200, true, true))
        );
    }

    #[test]
    fn what_is_no_http_is_none() {
        assert_eq!(answers(b"SSH-2.0-OpenSSH\r\n"), None);
        assert_eq!(answers(b"HTTP/1.1 099 No\r\n\r\n"), None);
        assert_eq!(answers(b"HTTP/1.1 101 Switching\r\n\r\n"), None);
    }

    #[test]
    fn a_head_without_end_is_none() {
        let mut answer = Answer::new();
        assert!(answer.take(b"HTTP/1.1 200 OK\r\n").is_ok());
        let taken = (0..MOST_HEAD_BYTES)
            .take_while(|_| answer.take(b"a: b\r\n").is_ok())
            .count();
        assert!(taken < MOST_HEAD_BYTES / 6 + 1);
        let whole = [
            b"HTTP/1.1 200 OK\r\n".as_slice(),
            &b"a: b\r\n".repeat(20_000),
            b"\r\n",
        ]
        .concat();
        assert!(Answer::new().take(&whole).is_err());
    }
}
