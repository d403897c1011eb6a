//! The event loop that drives one slice: it issues, polls, hands on what is ready, and measures how late it is.
//!
//! It polls while it issues: a generator that issues everything before it polls sees connections late and invents
//! one-second connects. And it measures its own lag behind readiness: what is handled now became ready after the
//! previous poll at the earliest, so the time since then bounds the lag from above.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::connecting::Connector;
use crate::rows::Header;
use crate::schedule::{ISSUES_BETWEEN_POLLS, Schedule};
use crate::sys::{EVENTS_PER_POLL, Events, NO_EVENTS, now_ns};

/// How long a busy loop may go without looking for requests whose time is over.
const EXPIRE_EVERY_NS: i64 = 100_000_000;
/// A wait that is over so soon was none: there was something before. To sleep and be woken takes longer.
const AT_ONCE_NS: i64 = 5_000;
/// Events in a row without a look at the clock for that.
const EVENTS_BETWEEN_LOOKS: usize = 8;
/// How long the loop sleeps at most before it looks whether it was asked to stop.
const LONGEST_WAIT_NS: i64 = 50_000_000;

/// Requests so far.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub issued: usize,
    pub finished: usize,
    pub answered: usize,
    pub never_issued: usize,
}

/// What an agent heard, and what it reads it with.
pub struct Heard {
    pub protocol: String,
    pub frames: BTreeMap<&'static str, u64>,
    pub library: &'static str,
}

/// A protocol over the connections of a slice.
pub trait Driver {
    fn start(&mut self, start_ns: i64);
    fn schedule(&mut self) -> (&mut Schedule, &mut [Client]);
    fn connector(&self) -> &Connector;
    /// Issue the next request of a client, or of a place of the pool.
    fn begin(&mut self, place: usize);
    /// Do what an event on a connection allows.
    fn advance(&mut self, place: usize, events: u32);
    /// End what has had its time.
    fn expire(&mut self, now_ns: i64);
    /// Asked to stop: what is under way ends here, what was not issued stays so.
    fn give_up(&mut self);
    fn counts(&self) -> Counts;
    fn heard(self) -> Heard;
}

pub struct Storm<D> {
    pub driver: D,
    pub waited_ns: i64,
    slept: bool,
    planned: usize,
    header: Header,
    /// When deadlines are to be looked at again, whatever else there is to do.
    look_by_ns: i64,
    lags: Lags,
    events: Events,
}

impl<D: Driver> Storm<D> {
    pub fn new(driver: D, header: Header, planned: usize) -> Self {
        Self {
            driver,
            waited_ns: 0,
            slept: false,
            planned,
            header,
            look_by_ns: 0,
            lags: Lags::new(),
            events: NO_EVENTS,
        }
    }

    pub fn run(&mut self, start_ns: i64) {
        self.driver.start(start_ns);
        let mut looked_ns = now_ns();
        while !self.over() {
            self.issue();
            let (found, polled_ns, slept) = self.poll();
            self.hand_on(found);
            if found > 0 {
                // Having slept, the loop was not late for what woke it up, only in what it did after.
                self.lags.add(
                    now_ns() - if slept { polled_ns } else { looked_ns },
                    found as u64,
                );
            }
            if found < EVENTS_PER_POLL {
                // Else something may have been ready that was not looked at.
                looked_ns = polled_ns;
                self.expire(polled_ns);
            }
        }
        self.driver.give_up();
        self.publish();
    }

    /// Whether every request has ended, or somebody asked to stop.
    fn over(&self) -> bool {
        let counts = self.driver.counts();
        counts.finished + counts.never_issued >= self.planned
            || self.header.asked_to_stop.get(0) != 0
    }

    /// Whoever floods this loop must keep no other from its beginning or its end.
    fn hand_on(&mut self, found: usize) {
        for nth in 0..found {
            let event = self.events[nth];
            self.driver.advance(event.u64 as usize, event.events);
            if nth % EVENTS_BETWEEN_LOOKS != 0 {
                continue;
            }
            let now_ns = now_ns();
            if now_ns > self.look_by_ns {
                self.expire(now_ns);
                if self.over() {
                    return;
                }
                self.issue();
            }
        }
    }

    fn expire(&mut self, now_ns: i64) {
        self.look_by_ns = now_ns + EXPIRE_EVERY_NS;
        self.driver.expire(now_ns);
    }

    fn issue(&mut self) {
        let (schedule, clients) = self.driver.schedule();
        schedule.admit_due(clients);
        for _ in 0..ISSUES_BETWEEN_POLLS.min(schedule.ready.len()) {
            if let Some(place) = self.driver.schedule().0.ready.pop_front() {
                self.driver.begin(place);
            }
        }
        self.publish();
    }

    /// Once in a turn, and before a sleep: others follow the progress, and a stopped server waits for it.
    fn publish(&self) {
        let counts = self.driver.counts();
        self.header.issued.set(0, counts.issued as i64);
        self.header
            .connections
            .set(0, self.driver.connector().made as i64);
        self.header.answered.set(0, counts.answered as i64);
        self.header.failed.set(
            0,
            (counts.finished + counts.never_issued - counts.answered) as i64,
        );
    }

    /// How many events there are, when that was asked, and whether the loop slept before.
    fn poll(&mut self) -> (usize, i64, bool) {
        // A loop that slept is likely to have to again: then to look first would only take a system call more.
        let looks = !self.slept || !self.driver.schedule().0.ready.is_empty();
        let mut found = 0;
        if looks {
            found = self.driver.connector().epoll.poll(&mut self.events);
        }
        let now_ns = now_ns();
        let (schedule, _) = self.driver.schedule();
        let mut left_ns = 0;
        if found == 0 && schedule.ready.is_empty() {
            left_ns = schedule.sleep_until_ns(now_ns) - now_ns;
        }
        self.slept = left_ns > 0;
        let epoll = &self.driver.connector().epoll;
        if !self.slept {
            if !looks {
                found = epoll.poll(&mut self.events);
            }
            return (found, now_ns, false);
        }
        found = epoll.wait(&mut self.events, left_ns.min(LONGEST_WAIT_NS));
        let woken_ns = crate::sys::now_ns();
        self.slept = looks || woken_ns - now_ns > AT_ONCE_NS;
        if !self.slept {
            return (found, now_ns, false);
        }
        self.waited_ns += woken_ns - now_ns;
        (found, woken_ns, true)
    }

    /// (lag in µs, rounded up to two digits: events handled with at most that lag), in order.
    pub fn late_us(&self) -> Vec<(u64, u64)> {
        self.lags.found()
    }
}

/// A histogram of lags in µs by two significant digits, which keeps it small.
struct Lags {
    /// 100 of one or two digits, then 90 for each further digit.
    events: Vec<u64>,
}

const DIGITS: usize = 12;

impl Lags {
    fn new() -> Self {
        Self {
            events: vec![0; 100 + 90 * DIGITS],
        }
    }

    fn add(&mut self, lag_ns: i64, events: u64) {
        let mut value = (lag_ns.max(0) / 1000) as u64;
        let mut digits = 0;
        let mut place = value as usize;
        if value >= 100 {
            let mut unit = 1;
            while value >= 100 * unit {
                unit *= 10;
                digits += 1;
            }
            value = value.div_ceil(unit); // 10 to 100
            place = 100 + 90 * (digits - 1) + (value as usize - 10);
        }
        let last = self.events.len() - 1;
        self.events[place.min(last)] += events;
    }

    fn found(&self) -> Vec<(u64, u64)> {
        let mut by_lag = BTreeMap::new();
        for (place, &events) in self
            .events
            .iter()
            .enumerate()
            .filter(|&(_, &events)| events > 0)
        {
            let lag_us = match place {
                0..100 => place as u64,
                _ => (10 + (place as u64 - 100) % 90) * 10u64.pow(1 + (place as u32 - 100) / 90),
            };
            *by_lag.entry(lag_us).or_insert(0) += events;
        }
        by_lag.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_rounded_up_to_two_digits() {
        let mut lags = Lags::new();
        for lag_us in [0, 7, 99, 100, 101, 1_000, 1_234, 999_999] {
            lags.add(lag_us * 1000, 1);
        }
        let found: Vec<_> = lags.found();
        assert_eq!(
            found,
            [
                (0, 1),
                (7, 1),
                (99, 1),
                (100, 1),
                (110, 1),
                (1_000, 1),
                (1_300, 1),
                (1_000_000, 1)
            ]
        );
    }
}
