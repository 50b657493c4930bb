//! The queue's commands, as the writer runs them.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::columns::{account, hint, load, save, to_json, work_key};
use super::row::{Company, RowState};
use super::schema::VERSION;
use super::session::Session;
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::engine::queue::{
    Delivery, LANE_TURN, LEDGER_KEEP, Lease, LeaseRef, Marked, Push, PushKey, Pushed, Settled,
    Settlement, Taken,
};
use crate::ids::Account;
use crate::work::{BATCH_MAX, Lane, WorkKey};

/// Every how many deliveries the ledger is trimmed.
const TRIM_TURN: i64 = 64;

/// How many of the oldest deliveries a trim looks at: more than came in since the last one, so
/// that a ledger that is too long becomes shorter.
const TRIM_ROWS: i64 = 4 * TRIM_TURN;

/// See [`Inspect::probe`](crate::engine::queue::Inspect::probe). Of all writes only the header is
/// written again although it stays the same; a row that stays the same never reaches the disk.
pub(super) fn probe(session: &Session<'_>) -> Result<(), EngineError> {
    Ok(session.conn.pragma_update(None, "user_version", VERSION)?)
}

/// See [`Queue::push`](crate::engine::Queue::push).
pub(super) fn push(session: &mut Session<'_>, push: &Push) -> Result<Pushed, EngineError> {
    let mut entered = None;
    if let Some(delivery) = &push.delivery {
        entered = enter(session, delivery, push)?;
        if entered.is_none() {
            return Ok(Pushed::Duplicate);
        }
    }
    let mut marks = Vec::with_capacity(push.keys.len());
    for key in &push.keys {
        marks.push(mark(session, key)?);
    }
    if let Some(n) = entered
        && !marks.is_empty()
        && marks.iter().all(|mark| *mark == Marked::Merged)
    {
        let merged = "UPDATE delivery SET outcome = 1 WHERE n = ?1 AND outcome = 0";
        session.conn.prepare_cached(merged)?.execute([n])?;
    }
    session.wakes += usize::from(!marks.is_empty());
    Ok(Pushed::Accepted(marks))
}

/// Enters a delivery into the ledger and returns its number; `None` when it is a duplicate.
fn enter(
    session: &mut Session<'_>,
    delivery: &Delivery,
    push: &Push,
) -> Result<Option<i64>, EngineError> {
    let n = session.counters.delivery + 1;
    let outcome = if push.keys.is_empty() || delivery.ignored.is_some() { 2 } else { 0 };
    let insert = |session: &Session<'_>| -> Result<usize, EngineError> {
        let mut statement = session.conn.prepare_cached(
            "INSERT INTO delivery (n, id, at, event, action, repository, received_at, ignored,
             outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
        )?;
        Ok(statement.execute(params![
            n,
            delivery.id.as_str(),
            session.now.0,
            delivery.event,
            delivery.action,
            delivery.repository.as_ref().map(|name| name.as_str()),
            delivery.received_at.0,
            delivery.ignored,
            outcome,
        ])?)
    };
    if insert(session)? == 0 {
        if remembered(session, delivery)? && !any_dead(session, &push.keys)? {
            return Ok(None);
        }
        let forget = "DELETE FROM delivery WHERE id = ?1";
        session.conn.prepare_cached(forget)?.execute([delivery.id.as_str()])?;
        insert(session)?;
    }
    session.counters.delivery = n;
    if n % TRIM_TURN == 0 {
        trim_ledger(session)?;
    }
    Ok(Some(n))
}

fn remembered(session: &Session<'_>, delivery: &Delivery) -> Result<bool, EngineError> {
    let (floor, since) = ledger_bounds(session);
    let found = session
        .conn
        .prepare_cached("SELECT 1 FROM delivery WHERE id = ?1 AND n > ?2 AND at > ?3")?
        .exists(params![delivery.id.as_str(), floor, since])?;
    Ok(found)
}

fn any_dead(session: &Session<'_>, keys: &[PushKey]) -> Result<bool, EngineError> {
    let mut dead =
        session.conn.prepare_cached("SELECT 1 FROM work WHERE key = ?1 AND state = 3")?;
    for key in keys {
        if dead.exists([key.key.to_string()])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deliveries up to this number, or up to this time, are forgotten.
fn ledger_bounds(session: &Session<'_>) -> (i64, i64) {
    let rows = i64::try_from(session.options.ledger_rows_max).unwrap_or(i64::MAX);
    (session.counters.delivery - rows, (session.now - LEDGER_KEEP).0)
}

fn trim_ledger(session: &Session<'_>) -> Result<(), EngineError> {
    let (floor, since) = ledger_bounds(session);
    session
        .conn
        .prepare_cached(
            "DELETE FROM delivery WHERE n IN (SELECT n FROM delivery ORDER BY n LIMIT ?1)
             AND (n <= ?2 OR at <= ?3)",
        )?
        .execute([TRIM_ROWS, floor, since])?;
    Ok(())
}

pub(super) fn mark(session: &mut Session<'_>, pushed: &PushKey) -> Result<Marked, EngineError> {
    let key = pushed.key.to_string();
    let place = session.counters.place + 1;
    let company = match pushed.key {
        WorkKey::Repo(_) => Company::Shared,
        WorkKey::Scan(_) | WorkKey::Installations { .. } => Company::Kind,
    };
    let inserted = session
        .conn
        .prepare_cached(
            "INSERT INTO work (key, state, lane, account, place, alone, due, token, attempts,
             delays, first_seen, hint) VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, ?7, ?8)
             ON CONFLICT (key) DO NOTHING",
        )?
        .execute(params![
            key,
            pushed.lane as i64,
            pushed.account.to_string(),
            place,
            company as i64,
            session.now.0,
            pushed.hint.first_seen.0,
            to_json(&pushed.hint)?,
        ])?;
    if inserted == 1 {
        session.counters.place = place;
        return Ok(Marked::Queued);
    }
    let mut row = load(session.conn, &key)?.ok_or_else(|| vanished(&key))?;
    let revived = row.push(pushed, session.now, session.counters);
    save(session.conn, &key, &row)?;
    Ok(if revived { Marked::Queued } else { Marked::Merged })
}

fn vanished(key: &str) -> EngineError {
    EngineError::Corrupt(format!("key {key} is there and is not"))
}

/// See [`Queue::take`](crate::engine::Queue::take).
pub(super) fn take(
    session: &mut Session<'_>,
    max: usize,
    lease: Duration,
) -> Result<Taken, EngineError> {
    let gated = session.gated()?;
    let max = max.min(BATCH_MAX);
    let lanes = if session.counters.takes % LANE_TURN == LANE_TURN - 1 {
        [Lane::Scan, Lane::Event]
    } else {
        [Lane::Event, Lane::Scan]
    };
    let mut leases = Vec::new();
    for lane in lanes {
        if max > 0
            && leases.is_empty()
            && let Some(account) = account_in_turn(session, lane, &gated)?
        {
            leases = take_of(session, lane, &account, max, session.now + lease)?;
        }
    }
    let more = lanes.into_iter().try_fold(false, |more, lane| {
        Ok::<_, EngineError>(more || !ready_accounts(session, lane, &gated, 1)?.is_empty())
    })?;
    session.wakes += usize::from(more);
    let next_due = if more { Some(session.now) } else { session.next_due()? };
    Ok(Taken { leases, next_due })
}

/// Up to `max` accounts with ready keys in the lane and the place of their first one.
fn ready_accounts(
    session: &Session<'_>,
    lane: Lane,
    gated: &[String],
    max: usize,
) -> Result<Vec<(String, i64)>, EngineError> {
    let mut next = session.conn.prepare_cached(
        "SELECT account, place FROM work WHERE state = 0 AND lane = ?1 AND account > ?2
         ORDER BY account, place LIMIT 1",
    )?;
    let mut accounts: Vec<(String, i64)> = Vec::new();
    let mut last = String::new();
    while accounts.len() < max {
        let found = next
            .query_row(params![lane as i64, last], |r| Ok((r.get::<_, String>(0)?, r.get(1)?)))
            .optional()?;
        let Some((account, place)) = found else { break };
        last.clone_from(&account);
        if !gated.contains(&account) {
            accounts.push((account, place));
        }
    }
    Ok(accounts)
}

/// The account of the lane that was served longest ago, or that came first of those never served.
fn account_in_turn(
    session: &mut Session<'_>,
    lane: Lane,
    gated: &[String],
) -> Result<Option<String>, EngineError> {
    let accounts = ready_accounts(session, lane, gated, usize::MAX)?;
    let turns = &session.turns;
    let first = accounts.into_iter().min_by_key(|(name, place)| (turns.last(lane, name), *place));
    Ok(first.map(|(account, _)| account))
}

/// The first ready key when it is to be taken alone, else as many as may be taken together.
const FIRST: &str = "SELECT key, alone, attempts, delays, hint, first_seen FROM work
    WHERE state = 0 AND lane = ?1 AND account = ?2 ORDER BY place LIMIT ?3";
const SHARED: &str = "SELECT key, alone, attempts, delays, hint, first_seen FROM work
    WHERE state = 0 AND lane = ?1 AND account = ?2 AND alone = 0 ORDER BY place LIMIT ?3";

fn take_of(
    session: &mut Session<'_>,
    lane: Lane,
    name: &str,
    max: usize,
    expires_at: Timestamp,
) -> Result<Vec<Lease>, EngineError> {
    let owner = match account(name) {
        Ok(owner) => owner,
        Err(error) => {
            bury(session, "state = 0 AND account = ?1", name, &error)?;
            return Ok(Vec::new());
        }
    };
    let mut rows = ready_rows(session, FIRST, lane, name, 1)?;
    if max > 1 && rows.iter().all(|row| row.company == Company::Shared as i64) {
        rows = ready_rows(session, SHARED, lane, name, max)?;
    }
    let mut hold = session
        .conn
        .prepare_cached("UPDATE work SET state = 2, token = ?2, due = ?3 WHERE key = ?1")?;
    let mut leases = Vec::with_capacity(rows.len());
    for row in rows {
        let key = match work_key(&row.key) {
            Ok(key) => key,
            Err(error) => {
                bury(session, "key = ?1", &row.key, &error)?;
                continue;
            }
        };
        session.counters.token += 1;
        hold.execute(params![row.key, session.counters.token, expires_at.0])?;
        leases.push(Lease {
            key,
            token: session.counters.token.cast_unsigned(),
            account: owner.clone(),
            lane,
            hint: hint(&row.hint, &row.key, row.first_seen),
            attempt: row.attempts.saturating_add(1),
            delays: row.delays,
            expires_at,
        });
    }
    session.counters.lease_ends = session.counters.lease_ends.min(expires_at.0);
    session.counters.takes += 1;
    session.turns.serve(lane, name, session.counters.takes);
    Ok(leases)
}

/// A ready key on its way to becoming a lease.
struct ReadyRow {
    key: String,
    company: i64,
    attempts: u32,
    delays: u32,
    hint: String,
    first_seen: Timestamp,
}

/// Gives up on rows that this version cannot read, so that they do not stop all others. They stay
/// in the file, for the version that wrote them.
fn bury(
    session: &Session<'_>,
    which: &str,
    value: &str,
    error: &EngineError,
) -> Result<(), EngineError> {
    tracing::error!(value, %error, "keys that cannot be read are given up: {value}");
    let bury = format!("UPDATE work SET state = 3, due = ?2, error = ?3 WHERE {which}");
    let mut bury = session.conn.prepare_cached(&bury)?;
    bury.execute(params![value, session.now.0, error.to_string()])?;
    Ok(())
}

fn ready_rows(
    session: &Session<'_>,
    sql: &str,
    lane: Lane,
    account: &str,
    max: usize,
) -> Result<Vec<ReadyRow>, EngineError> {
    let mut statement = session.conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![lane as i64, account, max], |r| {
        Ok(ReadyRow {
            key: r.get(0)?,
            company: r.get(1)?,
            attempts: r.get(2)?,
            delays: r.get(3)?,
            hint: r.get(4)?,
            first_seen: Timestamp(r.get(5)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// See [`Queue::extend`](crate::engine::Queue::extend).
pub(super) fn extend(
    session: &mut Session<'_>,
    leases: &[LeaseRef],
    lease: Duration,
) -> Result<Vec<LeaseRef>, EngineError> {
    let ends = session.now + lease;
    let mut renew = session
        .conn
        .prepare_cached("UPDATE work SET due = ?3 WHERE key = ?1 AND token = ?2 AND state = 2")?;
    let mut lost = Vec::new();
    for lease in leases {
        if renew.execute(params![lease.key.to_string(), token_column(lease), ends.0])? == 0 {
            lost.push(lease.clone());
        }
    }
    session.counters.lease_ends = session.counters.lease_ends.min(ends.0);
    Ok(lost)
}

/// See [`Queue::settle`](crate::engine::Queue::settle).
pub(super) fn settle(
    session: &mut Session<'_>,
    leases: &[(LeaseRef, Settlement)],
) -> Result<Vec<Settled>, EngineError> {
    leases.iter().map(|(lease, how)| settle_one(session, lease, how)).collect()
}

/// Settles one lease; [`Settled::Stale`] when it is not the current one.
pub(super) fn settle_one(
    session: &mut Session<'_>,
    lease: &LeaseRef,
    how: &Settlement,
) -> Result<Settled, EngineError> {
    let key = lease.key.to_string();
    if matches!(how, Settlement::Done) {
        // The common case without reading the row: done, and nobody pushed meanwhile.
        let done = session
            .conn
            .prepare_cached(
                "DELETE FROM work WHERE key = ?1 AND token = ?2 AND state = 2 AND dirty IS NULL",
            )?
            .execute(params![key, token_column(lease)])?;
        if done == 1 {
            return Ok(Settled::Done);
        }
    }
    let Some(mut row) = load(session.conn, &key)? else { return Ok(Settled::Stale) };
    if row.state != RowState::Held || row.token != token_column(lease) {
        return Ok(Settled::Stale);
    }
    let settled = row.settle(how, session.now, session.counters);
    save(session.conn, &key, &row)?;
    note_waiting(session, row.state, row.due);
    Ok(settled)
}

/// Whether the lease is the current one of its key.
pub(super) fn is_current(session: &Session<'_>, lease: &LeaseRef) -> Result<bool, EngineError> {
    let found = session
        .conn
        .prepare_cached("SELECT 1 FROM work WHERE key = ?1 AND token = ?2 AND state = 2")?
        .exists(params![lease.key.to_string(), token_column(lease)])?;
    Ok(found)
}

/// Wakes for a key that is due, and remembers when a delayed one will be.
fn note_waiting(session: &mut Session<'_>, state: RowState, due: Timestamp) {
    match state {
        RowState::Ready => session.wakes += 1,
        RowState::Delayed => {
            session.counters.delay_ends = session.counters.delay_ends.min(due.0);
        }
        RowState::Held | RowState::Dead => {}
    }
}

/// A token as a column; one that we never gave matches nothing.
fn token_column(lease: &LeaseRef) -> i64 {
    i64::try_from(lease.token).unwrap_or(-1)
}

/// See [`Queue::gate`](crate::engine::Queue::gate).
pub(super) fn gate(
    session: &mut Session<'_>,
    account: &Account,
    until: Timestamp,
    reason: &str,
) -> Result<(), EngineError> {
    session.conn.prepare_cached("DELETE FROM gate WHERE until <= ?1")?.execute([session.now.0])?;
    session
        .conn
        .prepare_cached(
            "INSERT INTO gate (account, until, reason) VALUES (?1, ?2, ?3)
             ON CONFLICT (account) DO UPDATE SET until = excluded.until, reason = excluded.reason
             WHERE excluded.until > until",
        )?
        .execute(params![account.to_string(), until.0, reason])?;
    Ok(())
}

/// See [`Inspect::retry`](crate::engine::queue::Inspect::retry).
pub(super) fn retry(session: &mut Session<'_>, key: &WorkKey) -> Result<bool, EngineError> {
    let key = key.to_string();
    let Some(mut row) = load(session.conn, &key)? else { return Ok(false) };
    if row.state != RowState::Dead {
        return Ok(false);
    }
    row.revive(session.now, session.counters);
    save(session.conn, &key, &row)?;
    session.wakes += 1;
    Ok(true)
}

/// See [`Inspect::drop`](crate::engine::queue::Inspect::drop).
pub(super) fn forget(session: &mut Session<'_>, key: &WorkKey) -> Result<bool, EngineError> {
    let forget = "DELETE FROM work WHERE key = ?1 AND state = 3";
    Ok(session.conn.prepare_cached(forget)?.execute([key.to_string()])? == 1)
}
