//! One group of commands inside its transaction: the time, the counters, what comes due.
//!
//! Promises that every command of a group sees the same time, and a queue in which no lease has
//! outlived it and no key waits for a time that has come.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::Options;
use super::columns::{load, save};
use super::row::Places;
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::work::Lane;

/// Most accounts whose turn is remembered; when there are more, the longest unserved half is
/// forgotten and counts as never served.
const TURNS_MAX: usize = 4096;

/// The transaction and what commands share.
pub(super) struct Session<'a> {
    pub conn: &'a Connection,
    pub now: Timestamp,
    pub counters: &'a mut Counters,
    pub turns: &'a mut Turns,
    pub options: &'a Options,
    /// Waiters to wake after the commit.
    pub wakes: usize,
}

/// Numbers that only grow (stored in `counter`), and short cuts (computed at start).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    pub place: i64,
    pub token: i64,
    pub delivery: i64,
    pub change: u64,
    /// The newest change that the log has forgotten although nothing newer replaced it.
    pub floor: u64,
    /// Entries of the change log.
    pub log_rows: u64,
    /// Takes that found something, since start.
    pub takes: u64,
    /// No held key's lease ends before this.
    pub lease_ends: i64,
    /// No delayed key comes due before this.
    pub delay_ends: i64,
}

impl Places for Counters {
    fn next_place(&mut self) -> i64 {
        self.place += 1;
        self.place
    }
}

impl Counters {
    /// Reads the stored ones and computes the rest.
    pub fn load(conn: &Connection) -> Result<Self, EngineError> {
        let log_rows = conn.query_row("SELECT count(*) FROM change", [], |r| r.get(0))?;
        let stored = "SELECT place, token, delivery, change, floor FROM counter WHERE id = 1";
        Ok(conn.query_row(stored, [], |r| {
            Ok(Self {
                place: r.get(0)?,
                token: r.get(1)?,
                delivery: r.get(2)?,
                change: r.get(3)?,
                floor: r.get(4)?,
                log_rows,
                takes: 0,
                lease_ends: i64::MIN,
                delay_ends: i64::MIN,
            })
        })?)
    }

    /// Stores them, if any of the stored ones is not as in `before`.
    pub fn save(&self, conn: &Connection, before: &Self) -> Result<(), EngineError> {
        let stored = |c: &Self| (c.place, c.token, c.delivery, c.change, c.floor);
        if stored(self) != stored(before) {
            conn.prepare_cached(
                "UPDATE counter SET place = ?1, token = ?2, delivery = ?3, change = ?4, floor = ?5
                 WHERE id = 1",
            )?
            .execute(params![
                self.place,
                self.token,
                self.delivery,
                self.change,
                self.floor
            ])?;
        }
        Ok(())
    }
}

/// When each account of a lane was served last: fairness only, forgotten at a restart.
#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<(Lane, String), u64>);

impl Turns {
    /// When the account was served last; 0 for never.
    pub fn last(&self, lane: Lane, account: &str) -> u64 {
        self.0.get(&(lane, account.to_owned())).copied().unwrap_or(0)
    }

    /// Notes that the account is served by the take of this number.
    pub fn serve(&mut self, lane: Lane, account: &str, take: u64) {
        if self.0.len() >= TURNS_MAX {
            let mut turns: Vec<u64> = self.0.values().copied().collect();
            let (_, median, _) = turns.select_nth_unstable(TURNS_MAX / 2);
            let median = *median;
            self.0.retain(|_, turn| *turn > median);
        }
        self.0.insert((lane, account.to_owned()), take);
    }
}

impl Session<'_> {
    /// Makes the queue true for the present time: ends leases, and makes delayed keys ready.
    pub fn begin(&mut self) -> Result<(), EngineError> {
        if self.counters.lease_ends <= self.now.0 {
            self.end_leases(self.now.0)?;
            self.counters.lease_ends = self.first_due(HELD_DUE)?.unwrap_or(i64::MAX);
        }
        if self.counters.delay_ends <= self.now.0 {
            let ready = self
                .conn
                .prepare_cached("UPDATE work SET state = 0 WHERE state = 1 AND due <= ?1")?
                .execute([self.now.0])?;
            self.wakes += usize::from(ready > 0);
            self.counters.delay_ends = self.first_due(DELAYED_DUE)?.unwrap_or(i64::MAX);
        }
        Ok(())
    }

    /// Takes back every held key whose lease ends at `until` or before, in order of their ends.
    pub fn end_leases(&mut self, until: i64) -> Result<(), EngineError> {
        let ended: Vec<String> = self
            .conn
            .prepare_cached(
                "SELECT key FROM work WHERE state = 2 AND due <= ?1 ORDER BY due, token",
            )?
            .query_map([until], |r| r.get(0))?
            .collect::<Result<_, _>>()?;
        for key in &ended {
            if let Some(mut row) = load(self.conn, key)? {
                row.expire(self.now, self.counters);
                save(self.conn, key, &row)?;
                self.wakes += 1;
            }
        }
        Ok(())
    }

    /// When the next delayed key, lease or gate comes due, after now.
    pub fn next_due(&self) -> Result<Option<Timestamp>, EngineError> {
        let gate: Option<i64> = self
            .conn
            .prepare_cached("SELECT min(until) FROM gate WHERE until > ?1")?
            .query_row([self.now.0], |r| r.get(0))?;
        let first = [self.first_due(DELAYED_DUE)?, self.first_due(HELD_DUE)?, gate];
        Ok(first.into_iter().flatten().min().map(Timestamp))
    }

    /// Accounts that may not be served now.
    pub fn gated(&self) -> Result<Vec<String>, EngineError> {
        let mut statement =
            self.conn.prepare_cached("SELECT account FROM gate WHERE until > ?1")?;
        let gated = statement.query_map([self.now.0], |r| r.get(0))?.collect::<Result<_, _>>()?;
        Ok(gated)
    }

    fn first_due(&self, sql: &str) -> Result<Option<i64>, EngineError> {
        Ok(self.conn.prepare_cached(sql)?.query_row([], |r| r.get(0)).optional()?)
    }
}

const DELAYED_DUE: &str = "SELECT due FROM work WHERE state = 1 ORDER BY due LIMIT 1";
const HELD_DUE: &str = "SELECT due FROM work WHERE state = 2 ORDER BY due LIMIT 1";
