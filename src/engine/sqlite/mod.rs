//! The embedded engine: queue and store in one SQLite file, for one process, with no set-up.
//!
//! # Promises
//! What is acknowledged is on the disk: the write-ahead log is synced at every commit that holds a
//! push or what an operator asked for (`synchronous=FULL`). What workers do is committed without
//! waiting for the disk: were it lost in a power cut, the key would still be in the queue and be
//! done again. One writer thread groups concurrent commands into one commit, so that many callers
//! share one sync. Reads run beside it and never wait for it. A lock file beside
//! the database keeps a second process out; so at start every lease is that of a process that
//! is no more, and is ended at once as an expired one.
//!
//! # Parts
//! `open.rs` the lock and why a file cannot be opened, `writer.rs` the thread and its groups,
//! `session.rs` one group's transaction, `queue.rs` and `store.rs` the commands, `approval.rs`
//! what the brake lets pass once, `note.rs` small facts by name, `row.rs` what may happen to a
//! key, `read.rs` the reads, `schema.rs` the file, `columns.rs` between it and our types.
//!
//! # Leaves out
//! Network file systems (SQLite's log needs shared memory), more than one process, backups
//! (`VACUUM INTO` by any SQLite tool works while we run). Whose turn it is among accounts and
//! lanes is forgotten at a restart.

mod approval;
mod columns;
mod note;
mod open;
mod queue;
mod read;
mod row;
mod schema;
mod session;
mod store;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, watch};

pub use self::open::OpenError;
use self::open::lock;
use self::read::Readers;
use self::session::{Counters, Session, Turns};
use self::writer::{BUSY, Durability, Message, Tell, WAITING_MAX, Writer, submit};
use super::queue::{
    Entry, Inspect, LEDGER_ROWS_MAX, LeaseRef, LedgerEntry, Push, Pushed, Queue, QueueStats,
    Settled, Settlement, State, Taken,
};
use super::record::RepoRecord;
use super::store::{Applied, Apply, ChangeEntry, Held, Seq, Store, Summary};
use super::{Engine, EngineError};
use crate::clock::{SharedClock, Timestamp};
use crate::ids::{Account, Oid};
use crate::work::{PushKey, RepoKey, WorkKey};

/// Most entries of the change log: a follower that was away for longer reads all records, which
/// costs about as much as reading this many.
pub const CHANGE_ROWS_MAX: u64 = 10_000;

/// What may be set at [`SqliteEngine::open`]; tests make the limits small.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most deliveries remembered.
    pub ledger_rows_max: u64,
    /// Most entries of the change log.
    pub change_rows_max: u64,
    /// How long a statement waits for another program that locks the file.
    pub busy_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ledger_rows_max: LEDGER_ROWS_MAX,
            change_rows_max: CHANGE_ROWS_MAX,
            busy_timeout: BUSY,
        }
    }
}

/// What callers wait on.
#[derive(Debug)]
struct Signals {
    work: Notify,
    due: watch::Sender<Option<Timestamp>>,
    change: watch::Sender<Seq>,
}

impl Signals {
    fn tell(&self, tell: Tell) {
        self.due.send_if_modified(|due| std::mem::replace(due, tell.due) != tell.due);
        self.change.send_if_modified(|seq| std::mem::replace(seq, tell.change) != tell.change);
        for _ in 0..tell.wakes {
            self.work.notify_one();
        }
    }
}

/// The engine; see the module.
#[derive(Debug)]
pub struct SqliteEngine {
    clock: SharedClock,
    options: Options,
    writer: Option<mpsc::Sender<Message>>,
    readers: Arc<Readers>,
    signals: Arc<Signals>,
    running: Mutex<Option<Running>>,
}

/// What lives as long as the engine is open.
#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    /// Holds the lock, until it is unlocked or the process ends.
    lock: File,
}

impl Running {
    fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the database writer panicked");
        }
        // Said outright: a child process that is just being started may hold the file open too.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the database's lock file could not be unlocked");
        }
    }
}

impl SqliteEngine {
    /// Opens or creates the database at `path`, blocking: checks it, takes its lock, ends the
    /// leases of the process before, and starts the writer.
    pub fn open(
        path: impl AsRef<Path>,
        clock: SharedClock,
        options: Options,
    ) -> Result<Arc<Self>, OpenError> {
        let path = path.as_ref();
        let lock = lock(path)?;
        let conn = schema::open_writer(path, options.busy_timeout)?;
        let failed =
            |e: EngineError| OpenError::Damaged { path: path.into(), detail: e.to_string() };
        let mut counters = Counters::load(&conn).map_err(failed)?;
        let mut turns = Turns::default();
        let due =
            end_all_leases(&conn, &clock, &options, &mut counters, &mut turns).map_err(failed)?;
        let signals = Arc::new(Signals {
            work: Notify::new(),
            due: watch::Sender::new(due),
            change: watch::Sender::new(counters.change),
        });
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        let writer = Writer {
            conn,
            clock: Arc::clone(&clock),
            options: options.clone(),
            signals: Arc::clone(&signals),
            counters,
            turns,
            durability: Durability::Synced,
        };
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || writer.work(inbox))
            .map_err(|e| OpenError::from_io(path, &e))?;
        Ok(Arc::new(Self {
            clock,
            readers: Arc::new(Readers::new(path.to_owned(), options.busy_timeout)),
            options,
            writer: Some(sender),
            signals,
            running: Mutex::new(Some(Running { thread, lock })),
        }))
    }

    /// Finishes what was handed over, folds the log into the file and releases the lock.
    /// Commands after it are answered `Unavailable`.
    pub async fn close(&self) {
        if let Some(writer) = &self.writer {
            // An error means that the writer has ended already.
            let _ = writer.send(Message::Close).await;
        }
        self.readers.close();
        self.signals.work.notify_waiters();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running
            && tokio::task::spawn_blocking(|| running.join()).await.is_err()
        {
            tracing::error!("the database writer could not be joined");
        }
    }

    async fn submit<O, F>(&self, durability: Durability, run: F) -> Result<O, EngineError>
    where
        F: FnMut(&mut Session<'_>) -> Result<O, EngineError> + Send + 'static,
        O: Send + 'static,
    {
        let writer = self.writer.as_ref().ok_or_else(writer::closed)?;
        submit(writer, durability, run).await
    }
}

impl Drop for SqliteEngine {
    fn drop(&mut self) {
        self.readers.close();
        // Without its sender the writer ends after what it was given.
        self.writer = None;
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.join();
        }
    }
}

/// Nobody else can live while we hold the lock: every lease is ended. Returns what comes due.
fn end_all_leases(
    conn: &rusqlite::Connection,
    clock: &SharedClock,
    options: &Options,
    counters: &mut Counters,
    turns: &mut Turns,
) -> Result<Option<Timestamp>, EngineError> {
    let tx = conn.unchecked_transaction()?;
    let before = *counters;
    let now = clock.now();
    let mut session = Session { conn: &tx, now, counters, turns, options, wakes: 0 };
    session.end_leases(i64::MAX)?;
    session.begin()?;
    let due = session.next_due()?;
    counters.save(&tx, &before)?;
    tx.commit()?;
    Ok(due)
}

#[async_trait]
impl Engine for SqliteEngine {
    async fn close(&self) {
        SqliteEngine::close(self).await;
    }
}

#[async_trait]
impl Queue for SqliteEngine {
    async fn push(&self, push: Push) -> Result<Pushed, EngineError> {
        self.submit(Durability::Synced, move |session| queue::push(session, &push)).await
    }

    async fn take(&self, max: usize, lease: Duration) -> Result<Taken, EngineError> {
        self.submit(Durability::Replayable, move |session| queue::take(session, max, lease)).await
    }

    async fn extend(
        &self,
        leases: Vec<LeaseRef>,
        lease: Duration,
    ) -> Result<Vec<LeaseRef>, EngineError> {
        self.submit(Durability::Replayable, move |session| queue::extend(session, &leases, lease))
            .await
    }

    async fn settle(
        &self,
        leases: Vec<(LeaseRef, Settlement)>,
    ) -> Result<Vec<Settled>, EngineError> {
        self.submit(Durability::Replayable, move |session| queue::settle(session, &leases)).await
    }

    async fn gate(
        &self,
        account: Account,
        until: Timestamp,
        reason: String,
    ) -> Result<(), EngineError> {
        self.submit(Durability::Replayable, move |session| {
            queue::gate(session, &account, until, &reason)
        })
        .await
    }

    async fn wait(&self, timeout: Duration) {
        let deadline = self.clock.now() + timeout;
        let woken = self.signals.work.notified();
        tokio::pin!(woken);
        let mut due = self.signals.due.subscribe();
        loop {
            let next = due.borrow_and_update().map_or(deadline, |due| due.min(deadline));
            let now = self.clock.now();
            if next <= now {
                return;
            }
            tokio::select! {
                biased;
                () = &mut woken => return,
                _ = due.changed() => {}
                () = self.clock.sleep(next.since(now)) => {}
            }
        }
    }
}

#[async_trait]
impl Inspect for SqliteEngine {
    async fn probe(&self) -> Result<(), EngineError> {
        self.submit(Durability::Synced, |session| queue::probe(session)).await
    }

    async fn stats(&self) -> Result<QueueStats, EngineError> {
        let now = self.clock.now();
        self.readers.run(move |conn| read::stats(conn, now)).await
    }

    async fn list(&self, state: State, limit: usize) -> Result<(Vec<Entry>, u64), EngineError> {
        self.readers.run(move |conn| read::list(conn, state, limit)).await
    }

    async fn retry(&self, key: WorkKey) -> Result<bool, EngineError> {
        self.submit(Durability::Synced, move |session| queue::retry(session, &key)).await
    }

    async fn drop(&self, key: WorkKey) -> Result<bool, EngineError> {
        self.submit(Durability::Synced, move |session| queue::forget(session, &key)).await
    }

    async fn deliveries(&self, limit: usize) -> Result<(Vec<LedgerEntry>, u64), EngineError> {
        let (now, rows) = (self.clock.now(), self.options.ledger_rows_max);
        self.readers.run(move |conn| read::deliveries(conn, now, rows, limit)).await
    }
}

#[async_trait]
impl Store for SqliteEngine {
    async fn get(&self, keys: Vec<RepoKey>) -> Result<Vec<Option<RepoRecord>>, EngineError> {
        self.readers.run(move |conn| read::get(conn, &keys)).await
    }

    async fn texts(&self, key: RepoKey) -> Result<BTreeMap<Oid, String>, EngineError> {
        self.readers.run(move |conn| read::texts(conn, &key)).await
    }

    async fn apply(&self, mut apply: Apply) -> Result<Applied, EngineError> {
        self.submit(Durability::Replayable, move |session| store::apply(session, &mut apply)).await
    }

    async fn summaries(&self, account: Account) -> Result<Vec<Summary>, EngineError> {
        let now = self.clock.now();
        self.readers.run(move |conn| read::summaries(conn, &account, now)).await
    }

    async fn records(
        &self,
        after: Option<RepoKey>,
        limit: usize,
    ) -> Result<Vec<RepoRecord>, EngineError> {
        self.readers.run(move |conn| read::records(conn, after.as_ref(), limit)).await
    }

    async fn last_seq(&self) -> Result<Seq, EngineError> {
        self.readers.run(read::last_seq).await
    }

    async fn changes(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
        self.readers.run(move |conn| read::changes(conn, after, limit)).await
    }

    async fn wait_change(&self, after: Seq, timeout: Duration) {
        let mut change = self.signals.change.subscribe();
        tokio::select! {
            biased;
            _ = change.wait_for(|seq| *seq > after) => {}
            () = self.clock.sleep(timeout) => {}
        }
    }

    async fn held(&self) -> Result<Vec<Held>, EngineError> {
        self.readers.run(read::held).await
    }

    async fn approve(&self, keys: Vec<PushKey>) -> Result<Timestamp, EngineError> {
        self.submit(Durability::Synced, move |session| approval::approve(session, &keys)).await
    }

    async fn put_note(&self, name: String, text: Option<String>) -> Result<(), EngineError> {
        let put = move |session: &mut Session<'_>| note::put(session, &name, text.as_deref());
        self.submit(Durability::Replayable, put).await
    }

    async fn notes(&self, prefix: String) -> Result<Vec<(String, String)>, EngineError> {
        self.readers.run(move |conn| note::beginning(conn, &prefix)).await
    }
}
