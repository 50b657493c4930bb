//! Reading: a few read-only connections beside the writer's, used off the async threads.
//!
//! Promises that a read never waits for a writer and sees one committed state as a whole. At most
//! [`READERS`] reads run at once; the rest wait their turn.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use tokio::sync::Semaphore;

use super::columns::{
    account, from_json, hint, lane, repo_columns, repo_key, seq_column, work_key,
};
use super::schema::open_reader;
use super::writer::closed;
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::engine::queue::{Delivery, Entry, LEDGER_KEEP, LedgerEntry, QueueStats, State};
use crate::engine::record::RepoRecord;
use crate::engine::store::{ChangeEntry, Held, Seq, Summary};
use crate::engine::summary::StoredSummary;
use crate::ids::{Account, DeliveryId, FullName, InvalidId, Oid};
use crate::work::{Lane, RepoKey};

/// Reading connections: few, for each may hold a cache of pages and disks serve few at once.
const READERS: usize = 4;

/// What [`QueueStats::durability`] says.
const DURABILITY: &str = "sqlite, write-ahead log, synchronous=FULL: \
                          what was acknowledged survives a crash and a power cut";

/// The reading connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    busy: Duration,
    turn: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// None is opened before it is needed.
    pub fn new(path: PathBuf, busy: Duration) -> Self {
        Self { path, busy, turn: Arc::new(Semaphore::new(READERS)), idle: Mutex::default() }
    }

    /// Lets no further read begin.
    pub fn close(&self) {
        self.turn.close();
        self.idle().clear();
    }

    /// Runs `read` in a transaction of its own on a thread that may block.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| closed())?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            // Held by the thread: it reads on when the caller has gone away.
            let _turn = turn;
            let idle = readers.idle().pop();
            let conn = idle.map_or_else(|| open_reader(&readers.path, readers.busy), Ok)?;
            let transaction = conn.unchecked_transaction()?;
            let outcome = read(&transaction);
            drop(transaction);
            if !readers.turn.is_closed() {
                readers.idle().push(conn);
            }
            outcome
        });
        reading.await.map_err(|e| EngineError::Unavailable(format!("the reader stopped: {e}")))?
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn corrupt(error: &InvalidId) -> EngineError {
    EngineError::Corrupt(error.to_string())
}

fn limit_column(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// See [`Store::get`](crate::engine::Store::get).
pub(super) fn get(
    conn: &Connection,
    keys: &[RepoKey],
) -> Result<Vec<Option<RepoRecord>>, EngineError> {
    let mut find = conn.prepare_cached("SELECT body FROM repo WHERE host = ?1 AND id = ?2")?;
    keys.iter()
        .map(|key| {
            let (host, id) = repo_columns(key);
            let body: Option<String> =
                find.query_row(params![host, id], |r| r.get(0)).optional()?;
            body.map(|body| from_json(&body, || format!("record of {key}"))).transpose()
        })
        .collect()
}

/// See [`Store::texts`](crate::engine::Store::texts).
pub(super) fn texts(
    conn: &Connection,
    key: &RepoKey,
) -> Result<BTreeMap<Oid, String>, EngineError> {
    let (host, id) = repo_columns(key);
    let mut find = conn.prepare_cached("SELECT oid, body FROM text WHERE host = ?1 AND id = ?2")?;
    let mut rows = find.query(params![host, id])?;
    let mut texts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let oid = Oid::parse(&row.get::<_, String>(0)?).map_err(|e| corrupt(&e))?;
        texts.insert(oid, row.get(1)?);
    }
    Ok(texts)
}

/// See [`Store::summaries`](crate::engine::Store::summaries).
pub(super) fn summaries(
    conn: &Connection,
    account: &Account,
    now: Timestamp,
) -> Result<Vec<Summary>, EngineError> {
    let mut find = conn.prepare_cached(
        "SELECT host, id, holds, summary, EXISTS (SELECT 1 FROM approval
         WHERE approval.host = repo.host AND approval.id = repo.id
         AND approval.account = repo.account AND until > ?2)
         FROM repo WHERE account = ?1 ORDER BY host, id",
    )?;
    let mut rows = find.query(params![account.to_string(), now.0])?;
    let mut summaries = Vec::new();
    while let Some(row) = rows.next()? {
        let key = repo_key(&row.get::<_, String>(0)?, row.get(1)?)?;
        let stored: StoredSummary =
            from_json(&row.get::<_, String>(3)?, || format!("summary of {key}"))?;
        summaries.push(stored.into_summary(key, row.get(2)?, row.get(4)?));
    }
    Ok(summaries)
}

/// See [`Store::records`](crate::engine::Store::records).
pub(super) fn records(
    conn: &Connection,
    after: Option<&RepoKey>,
    limit: usize,
) -> Result<Vec<RepoRecord>, EngineError> {
    let (host, id) = after.map_or(("", i64::MIN), repo_columns);
    let mut find = conn.prepare_cached(
        "SELECT body FROM repo WHERE (host, id) > (?1, ?2) ORDER BY host, id LIMIT ?3",
    )?;
    let mut rows = find.query(params![host, id, limit_column(limit)])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(from_json(&row.get::<_, String>(0)?, || "a record".to_owned())?);
    }
    Ok(records)
}

/// See [`Store::last_seq`](crate::engine::Store::last_seq).
pub(super) fn last_seq(conn: &Connection) -> Result<Seq, EngineError> {
    let mut find = conn.prepare_cached("SELECT change FROM counter WHERE id = 1")?;
    Ok(find.query_row([], |r| r.get(0))?)
}

/// See [`Store::changes`](crate::engine::Store::changes).
pub(super) fn changes(
    conn: &Connection,
    after: Seq,
    limit: usize,
) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
    let (floor, last): (Seq, Seq) = conn
        .prepare_cached("SELECT floor, change FROM counter WHERE id = 1")?
        .query_row([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    if after < floor || after > last {
        return Ok(None);
    }
    let mut find = conn.prepare_cached(
        "SELECT change.seq, change.host, change.id, repo.body FROM change
         LEFT JOIN repo ON repo.host = change.host AND repo.id = change.id
         WHERE change.seq > ?1 ORDER BY change.seq LIMIT ?2",
    )?;
    let mut rows = find.query(params![seq_column(after), limit_column(limit)])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let key = repo_key(&row.get::<_, String>(1)?, row.get(2)?)?;
        let body: Option<String> = row.get(3)?;
        let record =
            body.map(|body| from_json(&body, || format!("record of {key}"))).transpose()?;
        changes.push(ChangeEntry { seq: row.get(0)?, key, record });
    }
    Ok(Some(changes))
}

/// See [`Store::held`](crate::engine::Store::held).
pub(super) fn held(conn: &Connection) -> Result<Vec<Held>, EngineError> {
    let mut find = conn
        .prepare_cached("SELECT host, id, full_name, account, since FROM held ORDER BY since, n")?;
    let mut rows = find.query([])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        held.push(Held {
            key: repo_key(&row.get::<_, String>(0)?, row.get(1)?)?,
            full_name: FullName::parse(&row.get::<_, String>(2)?).map_err(|e| corrupt(&e))?,
            account: account(&row.get::<_, String>(3)?)?,
            since: Timestamp(row.get(4)?),
        });
    }
    Ok(held)
}

/// See [`Inspect::stats`](crate::engine::queue::Inspect::stats).
pub(super) fn stats(conn: &Connection, now: Timestamp) -> Result<QueueStats, EngineError> {
    let mut gates = Vec::new();
    let mut find = conn.prepare_cached(
        "SELECT account, until, reason FROM gate WHERE until > ?1 ORDER BY account",
    )?;
    let mut rows = find.query([now.0])?;
    while let Some(row) = rows.next()? {
        let owner = account(&row.get::<_, String>(0)?)?;
        gates.push((owner, Timestamp(row.get(1)?), row.get(2)?));
    }
    let count = |sql: &str| -> Result<u64, EngineError> {
        Ok(conn.prepare_cached(sql)?.query_row([], |r| r.get(0))?)
    };
    let (ready_event, oldest_ready) = waiting(conn, READY, Lane::Event)?;
    let (delayed_event, oldest_delayed) = waiting(conn, DELAYED, Lane::Event)?;
    let (ready_scan, _) = waiting(conn, READY, Lane::Scan)?;
    let (delayed_scan, _) = waiting(conn, DELAYED, Lane::Scan)?;
    Ok(QueueStats {
        waiting_event: ready_event + delayed_event,
        waiting_scan: ready_scan + delayed_scan,
        held: count("SELECT count(*) FROM work WHERE state = 2")?,
        dead: count("SELECT count(*) FROM work WHERE state = 3")?,
        oldest_event: oldest_ready.into_iter().chain(oldest_delayed).min().map(Timestamp),
        gates,
        durability: DURABILITY.to_owned(),
    })
}

const READY: &str = "SELECT count(*), min(first_seen) FROM work WHERE state = 0 AND lane = ?1";
const DELAYED: &str = "SELECT count(*), min(first_seen) FROM work WHERE state = 1 AND lane = ?1";

fn waiting(conn: &Connection, sql: &str, lane: Lane) -> Result<(u64, Option<i64>), EngineError> {
    let mut count = conn.prepare_cached(sql)?;
    Ok(count.query_row([lane as i64], |r| Ok((r.get(0)?, r.get(1)?)))?)
}

/// See [`Inspect::list`](crate::engine::queue::Inspect::list).
pub(super) fn list(
    conn: &Connection,
    state: State,
    limit: usize,
) -> Result<(Vec<Entry>, u64), EngineError> {
    let (which, order) = match state {
        State::Waiting => ("state IN (0, 1)", "place"),
        State::Held => ("state = 2", "token"),
        State::Dead => ("state = 3", "place"),
    };
    let count = format!("SELECT count(*) FROM work WHERE {which}");
    let total = conn.prepare_cached(&count)?.query_row([], |r| r.get(0))?;
    let mut find = conn.prepare_cached(&format!(
        "SELECT key, lane, account, hint, attempts, due, error, first_seen FROM work WHERE {which}
         ORDER BY {order} LIMIT ?1",
    ))?;
    let mut rows = find.query([limit_column(limit)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        // Keys of another version are counted, and cannot be shown.
        let (Ok(key), Ok(owner)) = (work_key(&text), account(&row.get::<_, String>(2)?)) else {
            continue;
        };
        entries.push(Entry {
            key,
            state,
            lane: lane(row.get(1)?)?,
            account: owner,
            hint: hint(&row.get::<_, String>(3)?, &text, Timestamp(row.get(7)?)),
            attempts: row.get(4)?,
            at: Timestamp(row.get(5)?),
            error: row.get(6)?,
        });
    }
    Ok((entries, total))
}

/// See [`Inspect::deliveries`](crate::engine::queue::Inspect::deliveries).
pub(super) fn deliveries(
    conn: &Connection,
    now: Timestamp,
    rows_max: u64,
    limit: usize,
) -> Result<(Vec<LedgerEntry>, u64), EngineError> {
    let last: i64 = conn
        .prepare_cached("SELECT delivery FROM counter WHERE id = 1")?
        .query_row([], |r| r.get(0))?;
    let floor = last - i64::try_from(rows_max).unwrap_or(i64::MAX);
    let since = (now - LEDGER_KEEP).0;
    let total = conn
        .prepare_cached("SELECT count(*) FROM delivery WHERE n > ?1 AND at > ?2")?
        .query_row([floor, since], |r| r.get(0))?;
    let mut find = conn.prepare_cached(
        "SELECT id, event, action, repository, received_at, ignored, outcome FROM delivery
         WHERE n > ?1 AND at > ?2 ORDER BY n DESC LIMIT ?3",
    )?;
    let mut rows = find.query([floor, since, limit_column(limit)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(ledger_entry(row)?);
    }
    Ok((entries, total))
}

fn ledger_entry(row: &SqlRow<'_>) -> Result<LedgerEntry, EngineError> {
    let repository: Option<String> = row.get(3)?;
    let delivery = Delivery {
        id: DeliveryId::parse(&row.get::<_, String>(0)?).map_err(|e| corrupt(&e))?,
        event: row.get(1)?,
        action: row.get(2)?,
        repository: repository
            .map(|name| FullName::parse(&name))
            .transpose()
            .map_err(|e| corrupt(&e))?,
        received_at: Timestamp(row.get(4)?),
        ignored: row.get(5)?,
    };
    let outcome = match row.get(6)? {
        0 => "queued",
        1 => "merged",
        2 => "ignored",
        other => return Err(EngineError::Corrupt(format!("unknown outcome {other}"))),
    };
    Ok(LedgerEntry { delivery, outcome })
}
