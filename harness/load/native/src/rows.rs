//! The rows an agent leaves behind: fixed-width columns in one shared file, laid out as `harness.events.rows` says.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;

use crate::sys;

/// What the client saw; the numbers are those of the rows file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    NotIssued = 0,
    Answered = 1,
    ConnectTimeout = 2,
    AnswerTimeout = 3,
    Refused = 4,
    Reset = 5,
    ClosedEarly = 6,
    BadAnswer = 7,
    OtherError = 8,
}

/// Stands in a `u16` column for a field of TCP_INFO that was not read.
pub const NOT_READ: u16 = 0xFFFF;

/// One column of the shared file. Others read it while it is written, each value whole.
#[derive(Clone, Copy)]
pub struct Column<T> {
    start: *mut T,
    rows: usize,
}

impl<T: Copy> Column<T> {
    pub fn set(&self, row: usize, value: T) {
        assert!(row < self.rows);
        // SAFETY: the row lies in the mapping, which lives as long as the process.
        unsafe { ptr::write_volatile(self.start.add(row), value) }
    }

    pub fn get(&self, row: usize) -> T {
        assert!(row < self.rows);
        // SAFETY: as above.
        unsafe { ptr::read_volatile(self.start.add(row)) }
    }

    pub fn fill(&self, value: T) {
        (0..self.rows).for_each(|row| self.set(row, value));
    }

    /// Have the kernel find the pages now, not in the storm: a hole of a file takes it 4 µs, and longer where its file
    /// system is busy.
    pub fn find_pages(&self) {
        let page = sys::page_bytes();
        let before = self.start.addr() % page;
        // SAFETY: the mapping begins on a page, so that the one this column begins on is its own; nothing is changed.
        unsafe {
            let start = self.start.cast::<u8>().sub(before);
            sys::populate(start, before + size_of::<T>() * self.rows);
        }
    }
}

/// Hands out the columns of the mapping one after the other.
struct Layout {
    start: *mut u8,
    used: usize,
}

impl Layout {
    fn column<T>(&mut self, rows: usize) -> Column<T> {
        // SAFETY: `open` has compared the size of the mapping with that of all columns.
        let start = unsafe { self.start.add(self.used) }.cast();
        self.used += padded(size_of::<T>() * rows);
        Column { start, rows }
    }
}

/// Columns start on 8 bytes.
fn padded(width: usize) -> usize {
    width.next_multiple_of(8)
}

macro_rules! columns {
    ($(#[$about:meta])* $name:ident { $($column:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[allow(dead_code, reason = "others write some of them: packets counted, a wish to stop")]
        pub struct $name { $(pub $column: Column<$type>,)* }

        impl $name {
            fn lay_out(layout: &mut Layout, rows: usize) -> Self {
                Self { $($column: layout.column(rows),)* }
            }

            fn size(rows: usize) -> usize {
                [$(padded(size_of::<$type>() * rows)),*].iter().sum()
            }
        }
    };
}

columns! {
    /// Counters that others follow, and their wish that this agent stop.
    Header {
        issued: i64,
        answered: i64,
        failed: i64,
        connections: i64,
        asked_to_stop: i64,
        ledger: i64,
    }
}

columns! {
    /// Times are CLOCK_MONOTONIC nanoseconds; 0 did not happen.
    Connections {
        scheduled_ns: i64,
        issued_ns: i64,
        synack_ns: i64,
        established_ns: i64,
        resent_ns: i64,
        accepted_ns: i64,
        first_byte_ns: i64,
        arrived_ns: i64,
        closed_ns: i64,
        bytes_received: i64,
        client: i32,
        attempt: i32,
        address: i32,
        connect_us: i32,
        local_port: u16,
        syn_retransmits: u16,
        total_retransmits: u16,
        unacked: u16,
        syns_left: u16,
        syns_arrived: u16,
        synacks_sent: u16,
        requests_arrived: u16,
        status: i16,
        errno: i16,
        outcome: u8,
    }
}

columns! {
    /// Empty where a connection carries one request, because then its row is the request's.
    Requests {
        scheduled_ns: i64,
        issued_ns: i64,
        accepted_ns: i64,
        first_byte_ns: i64,
        last_byte_ns: i64,
        connection: i32,
        attempts: i16,
        status: i16,
        errno: i16,
        outcome: u8,
    }
}

pub struct Rows {
    pub header: Header,
    pub connection: Connections,
    pub request: Requests,
}

impl Rows {
    /// Map the file, which is there with room for every row.
    pub fn open(path: &Path, connections: usize, requests: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let size = Header::size(1) + Connections::size(connections) + Requests::size(requests);
        let found = file.metadata()?.len();
        if found != size as u64 {
            return Err(io::Error::other(format!(
                "{} has {found} bytes of rows, not {size}",
                path.display()
            )));
        }
        // SAFETY: a new mapping of a file of that size; nothing else in this process knows of it.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut layout = Layout {
            start: start.cast(),
            used: 0,
        };
        Ok(Self {
            header: Header::lay_out(&mut layout, 1),
            connection: Connections::lay_out(&mut layout, connections),
            request: Requests::lay_out(&mut layout, requests),
        })
    }
}
