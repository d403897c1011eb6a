//! HPACK (RFC 7541) as a client reads it: fields come one after the other, each is shown and forgotten.
//!
//! The crates that were tried build a table of Huffman's codes for each string (13 µs an answer), or come only with all
//! of HTTP/2.

use std::collections::VecDeque;
use std::sync::LazyLock;

use crate::frames::Broken;

/// What the table holds at most where a client has not asked for another size (RFC 9113, section 6.5.2).
const TABLE_BYTES: usize = 4096;
/// What a field takes beside its name and value (RFC 7541, section 4.1).
pub const FIELD_BYTES: usize = 32;

type Field = (Box<[u8]>, Box<[u8]>);

pub struct Decoder {
    /// The dynamic table, newest first.
    fields: VecDeque<Field>,
    bytes: usize,
    most_bytes: usize,
}

impl Decoder {
    pub fn new() -> Self {
        Self {
            fields: VecDeque::new(),
            bytes: 0,
            most_bytes: TABLE_BYTES,
        }
    }

    /// Show each field of a whole block, (name, value).
    pub fn read(
        &mut self,
        block: &[u8],
        mut show: impl FnMut(&[u8], &[u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let mut rest = block;
        while let Some(&first) = rest.first() {
            match first {
                0x80.. => {
                    let (name, value) = self.field(integer(&mut rest, 7)?)?;
                    show(name, value)?;
                }
                0x40.. => {
                    let (name, value) = self.literal(&mut rest, 6)?;
                    show(&name, &value)?;
                    self.insert((name, value));
                }
                0x20.. => {
                    self.most_bytes = integer(&mut rest, 5)?;
                    if self.most_bytes > TABLE_BYTES {
                        return Err(Broken);
                    }
                    self.evict(0);
                }
                _ => {
                    let (name, value) = self.literal(&mut rest, 4)?;
                    show(&name, &value)?;
                }
            }
        }
        Ok(())
    }

    fn field(&self, place: usize) -> Result<(&[u8], &[u8]), Broken> {
        match place.checked_sub(1).ok_or(Broken)? {
            place if place < STATIC.len() => {
                Ok((STATIC[place].0.as_bytes(), STATIC[place].1.as_bytes()))
            }
            place => self
                .fields
                .get(place - STATIC.len())
                .map(|(name, value)| (&**name, &**value))
                .ok_or(Broken),
        }
    }

    fn literal(&self, rest: &mut &[u8], prefix_bits: u8) -> Result<Field, Broken> {
        let name = match integer(rest, prefix_bits)? {
            0 => string(rest)?,
            place => self.field(place)?.0.into(),
        };
        Ok((name, string(rest)?))
    }

    fn insert(&mut self, field: Field) {
        let bytes = field.0.len() + field.1.len() + FIELD_BYTES;
        self.evict(bytes);
        if bytes <= self.most_bytes {
            self.bytes += bytes;
            self.fields.push_front(field);
        }
    }

    /// Make room for so much.
    fn evict(&mut self, bytes: usize) {
        while self.bytes + bytes > self.most_bytes
            && let Some((name, value)) = self.fields.pop_back()
        {
            self.bytes -= name.len() + value.len() + FIELD_BYTES;
        }
    }
}

/// Take an integer with a prefix of so many bits (section 5.1); what does not fit into 28 bits more is an attack.
fn integer(rest: &mut &[u8], prefix_bits: u8) -> Result<usize, Broken> {
    let (&first, mut bytes) = rest.split_first().ok_or(Broken)?;
    let most = (1usize << prefix_bits) - 1;
    let mut value = usize::from(first) & most;
    if value == most {
        for shift in [0, 7, 14, 21] {
            let (&byte, after) = bytes.split_first().ok_or(Broken)?;
            bytes = after;
            value += usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                *rest = bytes;
                return Ok(value);
            }
        }
        return Err(Broken);
    }
    *rest = bytes;
    Ok(value)
}

fn string(rest: &mut &[u8]) -> Result<Box<[u8]>, Broken> {
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let size = integer(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(size).ok_or(Broken)?;
    *rest = after;
    if is_coded {
        decode(bytes)
    } else {
        Ok(bytes.into())
    }
}

/// Huffman's code, which is canonical: ordered by length, then by symbol, each code is the one before it plus one.
struct Code {
    /// Of each length: (its bits, the end of its codes as the first of 32 bits, the first one, the place of its symbol)
    lengths: Vec<(u32, u64, u64, usize)>,
    symbols: Vec<u16>,
}

const END_OF_STRING: u16 = 256;

static CODE: LazyLock<Code> = LazyLock::new(|| {
    let mut symbols: Vec<u16> = (0..=END_OF_STRING).collect();
    symbols.sort_by_key(|&symbol| (BITS[usize::from(symbol)], symbol));
    let (mut lengths, mut next, mut place) = (Vec::new(), 0u64, 0);
    for same in symbols.chunk_by(|&one, &other| BITS[usize::from(one)] == BITS[usize::from(other)])
    {
        let bits = u32::from(BITS[usize::from(same[0])]);
        let end = next + ((same.len() as u64) << (32 - bits));
        lengths.push((bits, end, next, place));
        (next, place) = (end, place + same.len());
    }
    Code { lengths, symbols }
});

fn decode(bytes: &[u8]) -> Result<Box<[u8]>, Broken> {
    let code = &*CODE;
    let mut out = Vec::with_capacity(bytes.len() * 8 / 5);
    let (mut bits, mut held, mut rest) = (0u64, 0u32, bytes.iter());
    loop {
        while held < 32
            && let Some(&byte) = rest.next()
        {
            bits = bits << 8 | u64::from(byte);
            held += 8;
        }
        // The next 32 bits, ones where there are no more: what fills the last byte is the beginning of the end.
        let next = if held < 32 {
            (bits << (32 - held) | ((1 << (32 - held)) - 1)) & 0xFFFF_FFFF
        } else {
            bits >> (held - 32) & 0xFFFF_FFFF
        };
        let &(length, _, first, place) = code
            .lengths
            .iter()
            .find(|&&(_, end, ..)| next < end)
            .ok_or(Broken)?;
        if length > held {
            let left = bits & ((1 << held) - 1);
            return if held < 8 && left == (1 << held) - 1 {
                Ok(out.into())
            } else {
                Err(Broken)
            };
        }
        let symbol = code.symbols[place + ((next - first) >> (32 - length)) as usize];
        out.push(u8::try_from(symbol).map_err(|_| Broken)?);
        held -= length;
    }
}

/// Bits of each symbol's code (RFC 7541, appendix B).
#[rustfmt::skip]
const BITS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The static table (appendix A).
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(decoder: &mut Decoder, hex: &str) -> Option<Vec<String>> {
        let digits: Vec<u8> = hex
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let block: Vec<u8> = digits
            .chunks(2)
            .map(|two| {
                u8::from_str_radix(str::from_utf8(two).expect("ASCII"), 16).expect("hexadecimal")
            })
            .collect();
        let mut found = Vec::new();
        let read = decoder.read(&block, |name, value| {
            found.push(format!(
                "{}: {}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            ));
            Ok(())
        });
        read.ok().map(|()| found)
    }

    #[test]
    fn answers_are_read_as_in_the_standard() {
        // RFC 7541, appendix C.6, three answers on one connection, whose table has 256 bytes there.
        let mut decoder = Decoder::new();
        decoder.most_bytes = 256;
        let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
            1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
        let second = "4883 640e ffc1 c0bf";
        let third = "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
            e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07";
        let date = |second: u8| format!("date: Mon, 21 Oct 2013 20:13:{second} GMT");
        let rest = [
            "cache-control: private".to_owned(),
            date(21),
            "location: https://www.example.com".to_owned(),
        ];
        assert_eq!(
            fields(&mut decoder, first).expect("fields"),
            [&[":status: 302".to_owned()], &rest[..]].concat()
        );
        assert_eq!(
            fields(&mut decoder, second).expect("fields"),
            [&[":status: 307".to_owned()], &rest[..]].concat()
        );
        let found = fields(&mut decoder, third).expect("fields");
        assert_eq!(
            found[..3],
            [
                ":status: 200".to_owned(),
                "cache-control: private".to_owned(),
                date(22)
            ]
        );
        assert_eq!(
            found[4..],
            [
                "content-encoding: gzip",
                "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
            ]
        );
        assert_eq!((decoder.fields.len(), decoder.bytes), (3, 215));
    }

    #[test]
    fn what_cannot_be_is_broken() {
        let broken = [
            "80",                   // place 0
            "ff 00",                // a place that is empty
            "ff ff ff ff ff 00",    // a number without end
            "40 05 61",             // a string that goes on
            "3f e2 1f",             // a table larger than was allowed
            "00 81 00 01 61",       // a code that is not filled with ones
            "00 84 ff ff ff ff 00", // the end of the string in the string
        ];
        for hex in broken {
            assert_eq!(fields(&mut Decoder::new(), hex), None, "{hex}");
        }
    }
}
