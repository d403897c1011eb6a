//! Whose turn it is, and until when: all at once, one as another is done, each at its slot, or over a pool.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::client::{Client, NEVER_NS};
use crate::slice::{Jitter, Retries, Slice};
use crate::sys::now_ns;

/// Connects in a row without a look at what became ready.
pub const ISSUES_BETWEEN_POLLS: usize = 16;
/// A budget saves up no more than this in quiet times; gRPC's retry throttling (its proposal A6) is bounded alike.
const MOST_TOKENS: f64 = 100.0;

/// The order of a slice's requests. Requests come in the order of their slots, every client's first before any second.
pub struct Schedule {
    /// Clients, or places of a pool, whose next request can be issued at once.
    pub ready: VecDeque<usize>,
    /// Requests whose time was over before there was a connection for them.
    pub never_issued: usize,
    pub timeout_ns: i64,
    /// Whether each client has slots; those of a pool's requests are no client's.
    pub paced: bool,
    start_ns: i64,
    clients: usize,
    per_client: usize,
    requests: usize,
    slots: Option<Slots>,
    /// Requests whose slot has come.
    come: usize,
    /// Clients of a burst or a closed loop that have begun.
    let_in: usize,
    pool: Option<Pool>,
    /// (deadline, place), at most one of each place, and never later than what it is for.
    timers: BinaryHeap<Reverse<(i64, usize)>>,
    /// (when, how many before it, place): their turn comes again.
    later: BinaryHeap<Reverse<(i64, usize, usize)>>,
    pushed: usize,
}

/// When each request of an open loop is wanted.
struct Slots {
    rate: f64,
    planned_clients: usize,
    first_client: usize,
    stride: usize,
}

/// The requests of a pool that wait, first come, first served, and its places that wait for some.
struct Pool {
    places: usize,
    /// Requests that have left the queue.
    taken: usize,
    idle: VecDeque<usize>,
    spread_ms: f64,
}

impl Schedule {
    pub fn new(slice: &Slice) -> Self {
        let at_once = slice.concurrency.unwrap_or(slice.clients);
        let bursts = slice.rate.is_none() && slice.pool.is_none();
        let let_in = if bursts { at_once } else { 0 };
        Self {
            ready: (0..let_in).collect(),
            never_issued: 0,
            timeout_ns: slice.timeout_ns(),
            paced: slice.rate.is_some() && slice.pool.is_none(),
            start_ns: 0,
            clients: slice.clients,
            per_client: slice.requests_per_client,
            requests: slice.requests(),
            slots: slice.rate.map(|rate| Slots {
                rate,
                planned_clients: slice.planned_clients,
                first_client: slice.first_client,
                stride: slice.stride,
            }),
            come: if slice.rate.is_none() {
                slice.requests()
            } else {
                0
            },
            let_in,
            pool: slice.pool.map(|places| Pool {
                places,
                taken: 0,
                idle: VecDeque::with_capacity(places),
                spread_ms: slice.spread_ms,
            }),
            timers: BinaryHeap::with_capacity(slice.places()),
            later: BinaryHeap::new(),
            pushed: 0,
        }
    }

    pub fn start(&mut self, start_ns: i64) {
        self.start_ns = start_ns;
        let Some(pool) = &self.pool else { return };
        let (places, spread_ms) = (pool.places, pool.spread_ms);
        for place in 0..places {
            if spread_ms == 0.0 {
                self.ready.push_back(place);
            } else {
                self.again(place, start_ns + (fastrand::f64() * spread_ms * 1e6) as i64);
            }
        }
    }

    /// When the nth request of this slice is wanted.
    fn wanted_ns(&self, nth: usize) -> i64 {
        let Some(slots) = &self.slots else {
            return self.start_ns;
        };
        let (sequence, index) = (nth / self.clients, nth % self.clients);
        let slot = sequence * slots.planned_clients + slots.first_client + index * slots.stride;
        self.start_ns + (slot as f64 / slots.rate * 1e9) as i64
    }

    /// Whose slot or turn has come is ready, unless a request before it still holds the client.
    pub fn admit_due(&mut self, clients: &mut [Client]) {
        if self.come < self.requests || !self.later.is_empty() {
            self.admit(now_ns(), clients);
        }
    }

    fn admit(&mut self, now_ns: i64, clients: &mut [Client]) {
        while self.come < self.requests && self.wanted_ns(self.come) <= now_ns {
            let place = match &mut self.pool {
                Some(pool) => pool.idle.pop_front(), // the one that has been idle longest, so that all are used alike
                None => {
                    let client = &mut clients[self.come % self.clients];
                    client.admitted += 1;
                    (!client.under_way && client.admitted == client.begun + 1)
                        .then_some(client.index)
                }
            };
            self.come += 1;
            self.ready.extend(place);
            if self.ready.len() >= ISSUES_BETWEEN_POLLS {
                break;
            }
        }
        while let Some(&Reverse((when_ns, _, place))) = self.later.peek()
            && when_ns <= now_ns
        {
            self.later.pop();
            self.ready.push_back(place);
        }
    }

    /// The row of the request that a client of its own connections has just begun.
    pub fn request_of(&self, client: &Client) -> usize {
        client.index * self.per_client + client.begun - 1
    }

    /// The slot of that request.
    pub fn slot_of(&self, client: &Client) -> i64 {
        self.wanted_ns((client.begun - 1) * self.clients + client.index)
    }

    /// Who is next: this client's next request, or in a closed loop the next client; a place takes what waits.
    pub fn ended(&mut self, client: &Client) {
        if self.pool.is_some() {
            if self.come > self.pool.as_ref().map_or(0, |pool| pool.taken) {
                self.ready.push_back(client.index);
            } else if let Some(pool) = &mut self.pool {
                pool.idle.push_back(client.index);
            }
        } else if self.paced {
            if client.admitted > client.begun {
                self.ready.push_back(client.index);
            }
        } else if client.begun < self.per_client {
            self.ready.push_back(client.index);
        } else if self.let_in < self.clients {
            self.ready.push_back(self.let_in);
            self.let_in += 1;
        }
    }

    // ---- a pool's queue ----

    /// How many requests wait; those whose time is over are given up.
    pub fn waiting(&mut self, now_ns: i64) -> usize {
        let oldest_ns = now_ns - self.timeout_ns;
        while let Some(taken) = self.pool.as_ref().map(|pool| pool.taken)
            && taken < self.come
            && self.wanted_ns(taken) <= oldest_ns
        {
            self.take();
            self.never_issued += 1;
        }
        self.pool.as_ref().map_or(0, |pool| self.come - pool.taken)
    }

    fn take(&mut self) -> usize {
        let pool = self.pool.as_mut().expect("a pool");
        pool.taken += 1;
        pool.taken - 1
    }

    /// Whether there is a request for a place, which else is idle.
    pub fn offers(&mut self, place: &Client) -> bool {
        if self.pool.is_none() || place.tries > 0 || self.waiting(now_ns()) > 0 {
            return true;
        }
        if let Some(pool) = &mut self.pool {
            pool.idle.push_back(place.index);
        }
        false
    }

    /// Take the oldest request that waits: (its row, when it must have ended).
    pub fn next_waiting(&mut self) -> (usize, i64) {
        let nth = self.take();
        let (sequence, index) = (nth / self.clients, nth % self.clients);
        (
            index * self.per_client + sequence,
            self.wanted_ns(nth) + self.timeout_ns,
        )
    }

    // ---- deadlines and waits ----

    /// Its turn comes (again) at this time.
    pub fn again(&mut self, place: usize, when_ns: i64) {
        self.pushed += 1;
        self.later.push(Reverse((when_ns, self.pushed, place)));
    }

    /// See to it that a client is looked at when its request must have ended.
    pub fn expect(&mut self, client: &mut Client) {
        if !client.timed {
            client.timed = true;
            self.timers
                .push(Reverse((client.deadline_ns, client.index)));
        }
    }

    /// Return a client whose request under way has had its time; it is to be ended before the next is asked for.
    pub fn overdue(&mut self, now_ns: i64, clients: &mut [Client]) -> Option<usize> {
        while let Some(&Reverse((due_ns, place))) = self.timers.peek()
            && due_ns <= now_ns
        {
            self.timers.pop();
            let client = &mut clients[place];
            client.timed = false;
            if !client.under_way || client.deadline_ns == NEVER_NS {
                continue;
            }
            if client.deadline_ns <= now_ns {
                return Some(place);
            }
            self.expect(client); // what it was for has ended, and another is under way
        }
        None
    }

    /// When there is something to do next, if nothing becomes ready before.
    pub fn sleep_until_ns(&self, now_ns: i64) -> i64 {
        let due_ns = self
            .timers
            .peek()
            .map_or(now_ns + self.timeout_ns, |&Reverse((due_ns, _))| due_ns);
        let later_ns = self
            .later
            .peek()
            .map_or(NEVER_NS, |&Reverse((when_ns, ..))| when_ns);
        let slot_ns = if self.come < self.requests {
            self.wanted_ns(self.come)
        } else {
            NEVER_NS
        };
        due_ns.min(later_ns).min(slot_ns)
    }
}

/// What one agent's clients wait between attempts, and how many retries their requests have earned.
pub struct Backoff {
    retries: Retries,
    tokens: f64,
}

impl Backoff {
    pub fn new(retries: Retries) -> Self {
        Self {
            retries,
            tokens: 0.0,
        }
    }

    /// A request is begun.
    pub fn earn(&mut self) {
        if let Some(earns) = self.retries.retry_budget {
            self.tokens = MOST_TOKENS.min(self.tokens + earns);
        }
    }

    /// Whether there may be another attempt after so many; if so it is spent.
    pub fn allows(&mut self, tries: u32) -> bool {
        if tries >= self.retries.attempts {
            return false;
        }
        if self.retries.retry_budget.is_some() {
            if self.tokens < 1.0 {
                return false;
            }
            self.tokens -= 1.0;
        }
        true
    }

    /// What is waited after so many attempts.
    pub fn wait_ns(&self, tries: u32) -> i64 {
        let doubled_ms = self.retries.backoff_ms * 2f64.powi(tries as i32 - 1);
        let longest_ns = self.retries.backoff_cap_ms.min(doubled_ms) * 1e6;
        let part = if self.retries.jitter == Jitter::Full {
            fastrand::f64()
        } else {
            1.0
        };
        (longest_ns * part) as i64
    }
}
