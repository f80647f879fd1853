//! Which row is published next: live alerts, live results, then what is left from before the
//! connection. A backlog, however long, never stands before a live row.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::journal::{Journal, JournalError, Lane, Outgoing};

/// Places that live results leave free for alerts.
const ALERT_RESERVE_COUNT: usize = 4;
/// Places that a backlog leaves free for live rows.
const LIVE_RESERVE_COUNT: usize = 8;
/// After a refusal, the row waits this long, and its lane for a growing part of it.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
const LANE_PAUSE_MIN: Duration = Duration::from_millis(500);

/// A row on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Its lane.
    pub lane: Lane,
    /// Whether it was committed before the connection was made.
    pub historical: bool,
    /// The row.
    pub row: Outgoing,
}

/// One lane's cursors on one connection.
#[derive(Debug)]
struct Cursor {
    live: u64,
    backlog: u64,
    refusals: u32,
    paused_until: Option<Instant>,
}

impl Cursor {
    const fn new(live_from: u64) -> Self {
        Self { live: live_from, backlog: 0, refusals: 0, paused_until: None }
    }
}

/// The lanes of one connection.
#[derive(Debug)]
pub struct Lanes {
    live_from: u64,
    alert: Cursor,
    result: Cursor,
    refused: HashMap<(Lane, u64), Instant>,
}

impl Lanes {
    /// Rows from `live_from` on are live.
    pub fn new(live_from: u64) -> Self {
        Self {
            live_from,
            alert: Cursor::new(live_from),
            result: Cursor::new(live_from),
            refused: HashMap::new(),
        }
    }

    /// The next rows for at most `free` places; `next_seq` is the seq after the last commit.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn pick(&mut self, journal: &Journal, next_seq: u64, free: usize) -> Result<Vec<Pick>, JournalError> {
        let now = Instant::now();
        let mut picks = Vec::new();
        for (lane, live) in
            [(Lane::Alert, true), (Lane::Result, true), (Lane::Alert, false), (Lane::Result, false)]
        {
            let reserve = match (lane, live) {
                (Lane::Alert, true) => 0,
                (Lane::Result, true) => ALERT_RESERVE_COUNT,
                (_, false) => LIVE_RESERVE_COUNT,
            };
            let room = free.saturating_sub(picks.len() + reserve);
            if room == 0 || self.is_paused(lane, now) {
                continue;
            }
            let range = self.range(lane, live, next_seq);
            if range.is_empty() {
                continue;
            }
            let end = range.end;
            let rows = journal.unacked(lane, range, room)?;
            let reached = if rows.len() < room { end } else { rows.last().map_or(end, |row| row.seq + 1) };
            self.advance(lane, live, reached);
            let fresh = rows.into_iter().filter(|row| !self.refused.contains_key(&(lane, row.seq)));
            picks.extend(fresh.map(|row| Pick { lane, historical: !live, row }));
        }
        Ok(picks)
    }

    /// Notes a confirmation: the lane is not refused any more.
    pub fn confirmed(&mut self, lane: Lane) {
        self.cursor(lane).refusals = 0;
    }

    /// Notes a refusal: the row is tried again later, its lane pauses.
    pub fn refused(&mut self, lane: Lane, seq: u64) {
        let now = Instant::now();
        self.refused.insert((lane, seq), now + REFUSED_PAUSE);
        let cursor = self.cursor(lane);
        cursor.refusals = cursor.refusals.saturating_add(1);
        let pause = LANE_PAUSE_MIN.saturating_mul(1 << cursor.refusals.min(6)).min(REFUSED_PAUSE);
        cursor.paused_until = Some(now + pause);
    }

    /// Lets refused rows whose time has come be picked again.
    pub fn revisit(&mut self) {
        let now = Instant::now();
        let before = self.refused.len();
        self.refused.retain(|_, until| *until > now);
        if self.refused.len() < before {
            self.rewind();
        }
    }

    /// Picks again everything unconfirmed, such as after the journal could not be read. Rows in
    /// flight must be left out by the caller.
    pub fn rewind(&mut self) {
        for lane in [Lane::Alert, Lane::Result] {
            let live_from = self.live_from;
            let cursor = self.cursor(lane);
            (cursor.live, cursor.backlog) = (live_from, 0);
        }
    }

    /// Whether everything committed was picked and nothing waits for a second try.
    pub fn is_drained(&self, next_seq: u64) -> bool {
        let drained = |c: &Cursor| c.live >= next_seq && c.backlog >= self.live_from;
        drained(&self.alert) && drained(&self.result)
    }

    fn cursor(&mut self, lane: Lane) -> &mut Cursor {
        match lane {
            Lane::Alert => &mut self.alert,
            Lane::Result => &mut self.result,
        }
    }

    fn is_paused(&mut self, lane: Lane, now: Instant) -> bool {
        self.cursor(lane).paused_until.is_some_and(|until| until > now)
    }

    fn range(&mut self, lane: Lane, live: bool, next_seq: u64) -> std::ops::Range<u64> {
        let live_from = self.live_from;
        let cursor = self.cursor(lane);
        if live { cursor.live..next_seq } else { cursor.backlog..live_from }
    }

    fn advance(&mut self, lane: Lane, live: bool, reached: u64) {
        let cursor = self.cursor(lane);
        if live { cursor.live = reached } else { cursor.backlog = reached }
    }
}
