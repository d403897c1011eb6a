//! One client of a slice, or one place of a pool, and where its connection is.

use crate::answer::Answer;
use crate::sys::File;

#[derive(Clone, Copy, PartialEq)]
pub enum State {
    Closed,
    Connecting,
    /// The request is sent, its answer not complete.
    Waiting,
    /// Kept open between two requests.
    Idle,
}

/// When an attempt that waits for its turn is over: it is not under way.
pub const NEVER_NS: i64 = i64::MAX;

pub struct Client {
    pub index: usize,
    /// Requests begun so far; the last of them may be under way.
    pub begun: usize,
    /// Open loop: slots that have come so far.
    pub admitted: usize,
    pub under_way: bool,
    /// Until when the request under way must have ended.
    pub deadline_ns: i64,
    /// Whether the timers know of it.
    pub timed: bool,
    /// Of the answer to the request under way not a byte has been read.
    pub unheard: bool,
    /// Connections made so far.
    pub attempts: i32,
    /// The row of the request under way, where requests have rows of their own.
    pub request: usize,
    /// Attempts of the request under way, where there may be several.
    pub tries: u32,
    /// Until when that request must have ended, whatever its attempts.
    pub final_ns: i64,
    pub state: State,
    /// Since when its connection is kept open between two requests.
    pub idle_ns: i64,
    pub row: usize,
    pub received: u64,
    pub file: File,
    pub answer: Answer,
    /// TCP Fast Open: the kernel has the request, and the handshake is not over.
    pub in_syn: bool,
}

impl Client {
    pub fn new(index: usize) -> Self {
        Self {
            index,
            begun: 0,
            admitted: 0,
            under_way: false,
            deadline_ns: 0,
            timed: false,
            unheard: true,
            attempts: 0,
            request: 0,
            tries: 0,
            final_ns: 0,
            state: State::Closed,
            idle_ns: 0,
            row: 0,
            received: 0,
            file: -1,
            answer: Answer::new(),
            in_syn: false,
        }
    }
}
