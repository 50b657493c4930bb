//! The database file: its tables, its version, and how a connection is set up.
//!
//! Promises that a file is ours and readable by this version before anything is written to it.
//! Leaves out what the rows mean: see `row.rs` for the queue and `store.rs` for the records.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// The layout this version reads and writes, kept in `user_version`.
pub(super) const VERSION: i64 = 3;

/// Marks the file as ours, kept in `application_id`: "cueL".
const APPLICATION_ID: i64 = 0x6375_654C;

/// Prepared statements kept per connection: a little more than there are.
const STATEMENTS_MAX: usize = 64;

/// Pages in the write-ahead log after which a commit copies them into the file: 16 MB, so that
/// a burst rarely pays for it and a start after a crash has little to read.
const CHECKPOINT_PAGES: u32 = 4096;

/// The writer's memory for pages, in KiB: the queue's indexes and what a burst touches.
const WRITER_CACHE_KIB: i32 = 8 * 1024;

/// A reader's memory for pages, in KiB. There are several, and what they read they read once.
const READER_CACHE_KIB: i32 = 1024;

const TABLES: &str = "
CREATE TABLE counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    place INTEGER NOT NULL,
    token INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    change INTEGER NOT NULL,
    floor INTEGER NOT NULL
);
INSERT INTO counter VALUES (1, 0, 0, 0, 0, 0);

-- state: 0 ready, 1 delayed, 2 held, 3 dead. lane: 0 event, 1 scan.
-- due: not before (ready, delayed), end of the lease (held), time of death (dead).
CREATE TABLE work (
    key TEXT PRIMARY KEY,
    state INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    account TEXT NOT NULL,
    place INTEGER NOT NULL,
    alone INTEGER NOT NULL,
    due INTEGER NOT NULL,
    token INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    delays INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    hint TEXT NOT NULL,
    dirty_lane INTEGER,
    dirty TEXT,
    error TEXT
) WITHOUT ROWID;
-- first_seen stands in it so that counting and ageing a long queue reads no rows.
CREATE INDEX work_ready ON work (lane, account, place, first_seen) WHERE state = 0;
CREATE INDEX work_delayed ON work (due) WHERE state = 1;
CREATE INDEX work_held ON work (due) WHERE state = 2;
CREATE INDEX work_dead ON work (place) WHERE state = 3;

CREATE TABLE gate (
    account TEXT PRIMARY KEY,
    until INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE delivery (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    action TEXT,
    repository TEXT,
    received_at INTEGER NOT NULL,
    ignored TEXT,
    outcome INTEGER NOT NULL
);

CREATE TABLE repo (
    n INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    id INTEGER NOT NULL,
    account TEXT NOT NULL,
    holds INTEGER NOT NULL,
    summary TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (host, id)
);
CREATE INDEX repo_account ON repo (account, host, id);
CREATE INDEX repo_holds ON repo (account) WHERE holds = 1;

CREATE TABLE text (
    n INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    id INTEGER NOT NULL,
    oid TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (host, id, oid)
);

CREATE TABLE change (
    seq INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    id INTEGER NOT NULL,
    UNIQUE (host, id)
);

CREATE TABLE removal (
    host TEXT NOT NULL,
    id INTEGER NOT NULL,
    account TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (host, id)
) WITHOUT ROWID;
CREATE INDEX removal_account ON removal (account, at);

CREATE TABLE held (
    n INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    id INTEGER NOT NULL,
    full_name TEXT NOT NULL,
    account TEXT NOT NULL,
    since INTEGER NOT NULL,
    UNIQUE (host, id)
);
";

/// What layout 2 has beside layout 1.
const APPROVALS: &str = "
CREATE TABLE approval (
    host TEXT NOT NULL,
    id INTEGER NOT NULL,
    account TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (host, id)
) WITHOUT ROWID;
";

/// What layout 3 has beside layout 2.
const NOTES: &str = "
CREATE TABLE note (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL
);
";

/// What each layout has beside the one before: the first step leads from layout 1 to 2.
const STEPS: [&str; 2] = [APPROVALS, NOTES];

/// Opens the file for writing, makes the tables when it is new, and checks it when it is not.
pub(super) fn open_writer(path: &Path, busy: Duration) -> Result<Connection, OpenError> {
    let sql = |source| OpenError::from_sql(path, source);
    let conn = Connection::open(path).map_err(sql)?;
    set_up(&conn, busy, WRITER_CACHE_KIB).map_err(sql)?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(sql)?;
    if tables == 0 {
        create(&conn).map_err(sql)?;
    }
    check(&conn, path)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0)).map_err(sql)?;
    if mode != "wal" {
        let detail = "its file system has no write-ahead log; is it a network drive?".to_owned();
        return Err(OpenError::NotWritable { path: path.into(), detail });
    }
    conn.pragma_update(None, "synchronous", "FULL").map_err(sql)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(sql)?;
    Ok(conn)
}

/// Opens the file for reading only; the writer has made sure that it is there and ours.
pub(super) fn open_reader(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    set_up(&conn, busy, READER_CACHE_KIB)?;
    Ok(conn)
}

fn set_up(conn: &Connection, busy: Duration, cache_kib: i32) -> rusqlite::Result<()> {
    conn.busy_timeout(busy)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.pragma_update(None, "foreign_keys", false)
}

fn create(conn: &Connection) -> rusqlite::Result<()> {
    let tx = conn.unchecked_transaction()?;
    tx.execute_batch(TABLES)?;
    STEPS.iter().try_for_each(|step| tx.execute_batch(step))?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

/// A file that a version before wrote keeps everything it holds.
fn bring_up(conn: &Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let tx = conn.unchecked_transaction()?;
    steps.iter().try_for_each(|step| tx.execute_batch(step))?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

fn check(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let sql = |source| OpenError::from_sql(path, source);
    let pragma = |name| conn.pragma_query_value(None, name, |r| r.get::<_, i64>(0));
    if pragma("application_id").map_err(sql)? != APPLICATION_ID {
        return Err(OpenError::NotOurs { path: path.into() });
    }
    let mut version = pragma("user_version").map_err(sql)?;
    let older = usize::try_from(version - 1).ok().and_then(|done| STEPS.get(done..));
    if let Some(steps) = older.filter(|steps| !steps.is_empty()) {
        bring_up(conn, steps).map_err(sql)?;
        version = VERSION;
    }
    if version != VERSION {
        return Err(OpenError::Version { path: path.into(), found: version, known: VERSION });
    }
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(sql)?;
    if verdict != "ok" {
        return Err(OpenError::Damaged { path: path.into(), detail: verdict });
    }
    Ok(())
}
