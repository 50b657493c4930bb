//! The engine for production: queue and store in one Redis, for any number of equal processes.
//!
//! # Promises
//! Every change of state is one script, so it happens as a whole or not at all, whatever dies.
//! What is acknowledged is as durable as the server's settings make it, which
//! [`QueueStats::durability`] says. Time is the server's, so that clocks of replicas need not
//! agree; only gates, whose end GitHub names, and received-at times come from outside. Whose turn
//! it is among accounts and lanes is shared by all replicas and outlives them.
//!
//! # Parts
//! `checks.rs` whether a server can be trusted, `connection.rs` how one keeps talking to whichever
//! is in charge, `discovery.rs` which one that is, `scripts.rs` the scripts and `calls.rs` how one
//! is called, `queue.rs`, `pushes.rs`, `ledger.rs`, `inspect.rs` and `store.rs` the verbs,
//! `listen.rs` how who sleeps is woken, `codec.rs` between what is stored and our types.
//!
//! # Leaves out
//! Knowing that a process has died: its keys wait until their leases end. Spreading over nodes of
//! a cluster: all names have one hash tag. Reading from replicas of the server.

mod calls;
pub mod checks;
mod codec;
pub mod connection;
mod discovery;
mod inspect;
mod ledger;
mod listen;
mod pushes;
mod queue;
mod scripts;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;

use self::calls::Calls;
use self::checks::OpenError;
use self::listen::{POLL, Signals, follow};
use self::pushes::Pushes;
use self::scripts::Scripts;
use super::queue::{
    Entry, Inspect, LEDGER_ROWS_MAX, LeaseRef, LedgerEntry, Push, Pushed, Queue, QueueStats,
    Settled, Settlement, State, Taken,
};
use super::record::RepoRecord;
use super::store::{Applied, Apply, ChangeEntry, Held, Seq, Store, Summary};
use super::{Engine, EngineError};
use crate::clock::{SharedClock, Timestamp};
use crate::config::RedisSettings;
use crate::ids::{Account, Oid};
use crate::work::{PushKey, RepoKey, WorkKey};

/// Most entries of the change log: a follower that was away for longer reads all records, which
/// costs about as much as reading this many.
pub const CHANGE_ROWS_MAX: u64 = 10_000;

/// How long a waiter rests when the server is away, before its worker looks again.
const AWAY_REST: Duration = Duration::from_secs(1);

/// Where the time of leases, delays and bounds comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The server's clock, which all replicas share.
    Server,
    /// The clock that was handed in: for tests, which move it.
    Clock,
}

/// What may be set at [`RedisEngine::open`]; tests make the limits small.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most deliveries remembered.
    pub ledger_rows_max: u64,
    /// Most entries of the change log.
    pub change_rows_max: u64,
    /// Whose time it is.
    pub time: Time,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ledger_rows_max: LEDGER_ROWS_MAX,
            change_rows_max: CHANGE_ROWS_MAX,
            time: Time::Server,
        }
    }
}

/// The engine; see the module.
#[derive(Debug)]
pub struct RedisEngine {
    calls: Arc<Calls>,
    pushes: Pushes,
    signals: Arc<Signals>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl RedisEngine {
    /// Connects, checks the server, and starts to listen.
    ///
    /// # Errors
    /// Why this server is not used, see [`checks::open`].
    pub async fn open(
        settings: &RedisSettings,
        clock: SharedClock,
        options: Options,
    ) -> Result<Arc<Self>, OpenError> {
        let (connection, _report) = checks::open(settings).await?;
        let prefix = &settings.prefix;
        let (key, scripts) = (format!("{{{prefix}}}:work"), Scripts::new());
        let calls = Arc::new(Calls { connection, scripts, key, clock, options });
        let begun = async {
            calls.connection.greet().await?;
            calls.run(&calls.call(&calls.scripts.open)).await
        };
        let last = match begun.await {
            Ok(last) => last,
            Err(error) => {
                calls.connection.close().await;
                let (storage, reason) = (settings.to_string(), error.to_string());
                return Err(OpenError::Away { storage, reason });
            }
        };
        let signals = Arc::new(Signals::new(last));
        let asking = Arc::clone(&calls);
        let last_seq = move || {
            let calls = Arc::clone(&asking);
            async move { calls.last_seq().await }
        };
        let stream = format!("{{{prefix}}}:events");
        let told = Arc::clone(&signals);
        let follower = tokio::spawn(follow(calls.connection.clone(), stream, told, last_seq));
        let pushes = Pushes::start(Arc::clone(&calls));
        Ok(Arc::new(Self { calls, pushes, signals, follower: Mutex::new(Some(follower)) }))
    }

    /// Stops listening and ends the connection. Commands after it are answered `Unavailable`.
    pub async fn close(&self) {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower {
            follower.abort();
            // An aborted task ends with an error, which says just that.
            let _ = follower.await;
        }
        self.pushes.close().await;
        self.signals.work.notify_waiters();
        self.calls.connection.close().await;
    }

    /// Asks for a wake-up. `None` when there is one, or the server is away; else for how long to
    /// sleep at most, and whether a key is due all the same.
    async fn ask_sleep(&self) -> Result<Option<(Option<Duration>, bool)>, EngineError> {
        let calls = &self.calls;
        let (state, due): (String, i64) = calls.run(&calls.call(&calls.scripts.sleep)).await?;
        let due = u64::try_from(due).ok().map(Duration::from_millis);
        Ok((state != "wake").then_some((due, state == "ready")))
    }
}

impl Drop for RedisEngine {
    fn drop(&mut self) {
        let follower = self.follower.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower {
            follower.abort();
        }
    }
}

#[async_trait]
impl Engine for RedisEngine {
    async fn close(&self) {
        RedisEngine::close(self).await;
    }
}

#[async_trait]
impl Queue for RedisEngine {
    async fn push(&self, push: Push) -> Result<Pushed, EngineError> {
        self.pushes.push(&push).await
    }

    async fn take(&self, max: usize, lease: Duration) -> Result<Taken, EngineError> {
        self.calls.take(max, lease).await
    }

    async fn extend(
        &self,
        leases: Vec<LeaseRef>,
        lease: Duration,
    ) -> Result<Vec<LeaseRef>, EngineError> {
        self.calls.extend(leases, lease).await
    }

    async fn settle(
        &self,
        leases: Vec<(LeaseRef, Settlement)>,
    ) -> Result<Vec<Settled>, EngineError> {
        self.calls.settle(&leases).await
    }

    async fn gate(
        &self,
        account: Account,
        until: Timestamp,
        reason: String,
    ) -> Result<(), EngineError> {
        self.calls.gate(&account, until, &reason).await
    }

    async fn wait(&self, timeout: Duration) {
        let clock = &self.calls.clock;
        let deadline = clock.now() + timeout;
        let mut is_first_look = true;
        loop {
            // Registered before looking: what comes in between is told.
            let told = self.signals.work.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let left = deadline.since(clock.now());
            let (due, is_ready) = match self.ask_sleep().await {
                Ok(None) => return,
                Ok(Some(answer)) => answer,
                Err(error) => {
                    tracing::debug!(%error, "a waiter cannot reach the storage");
                    return clock.sleep(left.min(AWAY_REST)).await;
                }
            };
            // At the first look its taker may be on the way; later, nobody came for it.
            if is_ready && !is_first_look {
                return;
            }
            let left =
                due.map_or(deadline.since(clock.now()), |due| due.min(deadline.since(clock.now())));
            if left.is_zero() {
                return;
            }
            tokio::select! {
                biased;
                () = told => {}
                () = clock.sleep(left.min(POLL)) => {
                    if left <= POLL {
                        return;
                    }
                    is_first_look = false;
                }
            }
        }
    }
}

#[async_trait]
impl Inspect for RedisEngine {
    async fn probe(&self) -> Result<(), EngineError> {
        self.calls.probe().await
    }

    async fn stats(&self) -> Result<QueueStats, EngineError> {
        self.calls.stats().await
    }

    async fn list(&self, state: State, limit: usize) -> Result<(Vec<Entry>, u64), EngineError> {
        self.calls.list(state, limit).await
    }

    async fn retry(&self, key: WorkKey) -> Result<bool, EngineError> {
        self.calls.retry(&key).await
    }

    async fn drop(&self, key: WorkKey) -> Result<bool, EngineError> {
        self.calls.forget(&key).await
    }

    async fn deliveries(&self, limit: usize) -> Result<(Vec<LedgerEntry>, u64), EngineError> {
        self.calls.deliveries(limit).await
    }
}

#[async_trait]
impl Store for RedisEngine {
    async fn get(&self, keys: Vec<RepoKey>) -> Result<Vec<Option<RepoRecord>>, EngineError> {
        self.calls.get(&keys).await
    }

    async fn texts(&self, key: RepoKey) -> Result<BTreeMap<Oid, String>, EngineError> {
        self.calls.texts(&key).await
    }

    async fn apply(&self, mut apply: Apply) -> Result<Applied, EngineError> {
        let applied = self.calls.apply(&mut apply).await?;
        if let Applied::Written(Some(seq), _) = applied {
            self.signals.reached(seq);
        }
        Ok(applied)
    }

    async fn summaries(&self, account: Account) -> Result<Vec<Summary>, EngineError> {
        self.calls.summaries(&account).await
    }

    async fn records(
        &self,
        after: Option<RepoKey>,
        limit: usize,
    ) -> Result<Vec<RepoRecord>, EngineError> {
        self.calls.records(after.as_ref(), limit).await
    }

    async fn last_seq(&self) -> Result<Seq, EngineError> {
        self.calls.last_seq().await
    }

    async fn changes(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
        self.calls.changes(after, limit).await
    }

    async fn wait_change(&self, after: Seq, timeout: Duration) {
        let mut change = self.signals.change.subscribe();
        tokio::select! {
            biased;
            _ = change.wait_for(|seq| *seq > after) => {}
            () = self.calls.clock.sleep(timeout) => {}
        }
    }

    async fn held(&self) -> Result<Vec<Held>, EngineError> {
        self.calls.held().await
    }

    async fn approve(&self, keys: Vec<PushKey>) -> Result<Timestamp, EngineError> {
        self.calls.approve(&keys).await
    }

    async fn put_note(&self, name: String, text: Option<String>) -> Result<(), EngineError> {
        self.calls.put_note(&name, text.as_deref()).await
    }

    async fn notes(&self, prefix: String) -> Result<Vec<(String, String)>, EngineError> {
        self.calls.notes(&prefix).await
    }
}
