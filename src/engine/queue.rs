//! The queue port: one entry per key, durable, coalescing, leased.
//!
//! # Needs
//! A webhook is answered 2xx only when its keys are durable. A burst of events for one
//! repository must cost one or two runs, not one each. A worker may die at any instant.
//!
//! # Guarantees
//! 1. *No lost cue.* After `push` returned `Accepted`, some run of each key starts later, or the
//!    key can be seen among the dead.
//! 2. *Stingy.* Any number of pushes before a run starts are one run; any number during a run
//!    are exactly one more.
//! 3. *One holder.* A key has at most one valid lease. Fencing tokens grow strictly; a token that
//!    is not the current one changes nothing ([`Settled::Stale`]).
//! 4. *Bounded retry.* A key that failed [`ATTEMPTS_MAX`](crate::work::ATTEMPTS_MAX) times is
//!    dead: it waits for a person or for a new push, which revives it with a fresh budget. An
//!    expired lease counts as a failed attempt, so a unit that kills its process ends dead. A key
//!    whose lease has expired before is taken alone, so that it cannot take others with it, until
//!    a run of it ends as done.
//! 5. *Free delays.* A delay, a release or a gate costs no attempt.
//! 6. *Lanes.* `Event` before `Scan`, but every [`LANE_TURN`]th take starts with `Scan` (takes
//!    that find nothing are not counted).
//! 7. *Fair.* Accounts of a lane are served in turn: next is the one that was served longest ago
//!    (never counts as longest), among equals the one with the oldest key. An embedded engine may
//!    forget at a restart whose turn it was, and how many takes there were.
//! 8. *Gates.* No key of a gated account is taken, however fresh its hint.
//!
//! # Design
//! A key is in one of four states. `waiting` (in a lane, from a not-before time on), `held` (by a
//! lease), `dead`, or not there at all. Every push gives a fresh budget: no attempts, no delays,
//! due at once. A push to a waiting key merges hints and keeps the better lane, also when the key
//! waits for a retry or a delay. A push to a held key sets its dirty flag and collects lane and
//! hint apart: when the lease is settled as done, the key waits again with that lane and hint
//! alone; when it is settled in another way or expires, both hints merge, the better lane is kept,
//! and the key waits as if it had been pushed just after (so it does not die either). A push to a
//! dead key revives it in the lane of the push, with both hints. Within a lane and account, keys
//! are first in, first out by when they became waiting; a push to a waiting key does not move it
//! back, except that a key raised from `Scan` to `Event` goes to the end of `Event`. A released
//! key has the place it had when it was taken, unless its lane was raised meanwhile.
//!
//! A lease is valid before `expires_at`, and no longer then. An expired one is a failed attempt;
//! the key is due at once, or dead.
//!
//! A take returns keys of ONE account, so that one call to GitHub serves them: either up to `max`
//! `Repo` keys of one lane, or one key of another kind.
//!
//! # Races accepted
//! A lease may expire while its worker still reads GitHub; the worker's write is then refused and
//! the read was wasted. A process that dies between taking and settling delays its keys until the
//! lease ends (an engine that can know that nobody else lives takes them back at start).

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use super::EngineError;
use crate::clock::Timestamp;
use crate::ids::{Account, DeliveryId, FullName};
pub use crate::work::PushKey;
use crate::work::{Hint, Lane, WorkKey};

/// Every how many takes the lower lane is looked at first.
pub const LANE_TURN: u64 = 8;

/// How long deliveries are remembered: past GitHub's longest redelivery window (7 days on GHES).
pub const LEDGER_KEEP: Duration = Duration::from_secs(8 * 24 * 3600);

/// Longest error kept with a key, in characters: enough for a cause and an address.
pub const ERROR_CHARS_MAX: usize = 1000;

/// Most keys of one push that may as well be several: it holds up other pushes for milliseconds.
pub const PUSH_KEYS_MAX: usize = 500;

/// Most deliveries remembered, whatever their age: about 100 MB of SQLite file.
pub const LEDGER_ROWS_MAX: u64 = 500_000;

/// Keys to mark, and the delivery that caused it; atomic as a whole.
#[derive(Debug, Clone)]
pub struct Push {
    /// The webhook delivery to enter into the ledger; `None` for scans, timers and people.
    pub delivery: Option<Delivery>,
    /// The keys; may be empty for a delivery that is only to be remembered.
    pub keys: Vec<PushKey>,
}

/// A delivery on its way into the ledger.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `X-GitHub-Delivery`.
    pub id: DeliveryId,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The payload's `action`.
    pub action: Option<String>,
    /// The repository it names.
    pub repository: Option<FullName>,
    /// When it was received.
    pub received_at: Timestamp,
    /// Why it leads to no work, when it does not.
    pub ignored: Option<String>,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The delivery was seen before, and none of the keys pushed now is dead; nothing changed.
    /// (If one is dead, all are marked, and the ledger holds the delivery anew.)
    Duplicate,
    /// Durable; one mark per key, in order.
    Accepted(Vec<Marked>),
}

/// What became of one pushed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// The key was not there, or was dead: it waits now.
    Queued,
    /// The key was waiting or held: the hint was merged.
    Merged,
}

/// The right to work on one key until `expires_at`.
#[derive(Debug, Clone)]
pub struct Lease {
    /// What to work on.
    pub key: WorkKey,
    /// The fencing token: strictly greater than any given before.
    pub token: u64,
    /// The account the key was pushed for.
    pub account: Account,
    /// The lane it came from.
    pub lane: Lane,
    /// Why, merged over every push since the last run started.
    pub hint: Hint,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How often it was delayed since it was last pushed.
    pub delays: u32,
    /// When the lease ends unless extended.
    pub expires_at: Timestamp,
}

/// Names a lease for settling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRef {
    /// The key.
    pub key: WorkKey,
    /// The token.
    pub token: u64,
}

impl From<&Lease> for LeaseRef {
    fn from(lease: &Lease) -> Self {
        Self { key: lease.key.clone(), token: lease.token }
    }
}

/// What a take found.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The leases, all of one account; empty when nothing is due.
    pub leases: Vec<Lease>,
    /// When the next waiting key, gate or lease comes due, if any: how long to sleep at most.
    /// At or before now when more is due already.
    pub next_due: Option<Timestamp>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// The catalog equals what was read.
    Done,
    /// It failed and may succeed later; counts an attempt, the last one makes the key dead.
    Retry {
        /// What went wrong, for people; no secret. Cut to [`ERROR_CHARS_MAX`].
        error: String,
        /// How long to wait.
        after: Duration,
    },
    /// It failed and will not succeed by itself: dead at once (unless pushed meanwhile).
    Dead {
        /// What went wrong, for people; no secret. Cut to [`ERROR_CHARS_MAX`].
        error: String,
    },
    /// Not now; costs no attempt.
    Delay {
        /// How long to wait.
        after: Duration,
    },
    /// Given back untouched, due at once, in the place it had; costs no attempt.
    Release,
}

/// What became of a settled key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// No longer in the queue.
    Done,
    /// Waiting, because it was pushed meanwhile, or for a retry, delay or release.
    Waiting,
    /// Dead.
    Dead,
    /// The token is not the current one; nothing changed.
    Stale,
}

/// The verbs of receivers and workers.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Marks keys and enters the delivery into the ledger, atomically and durably.
    async fn push(&self, push: Push) -> Result<Pushed, EngineError>;

    /// Takes up to `max` due keys of one account for `lease`, and never more than
    /// [`BATCH_MAX`](crate::work::BATCH_MAX).
    async fn take(&self, max: usize, lease: Duration) -> Result<Taken, EngineError>;

    /// Renews leases to now + `lease`; returns those that are no longer valid.
    async fn extend(
        &self,
        leases: Vec<LeaseRef>,
        lease: Duration,
    ) -> Result<Vec<LeaseRef>, EngineError>;

    /// Settles leases without touching the catalog; results in order.
    async fn settle(
        &self,
        leases: Vec<(LeaseRef, Settlement)>,
    ) -> Result<Vec<Settled>, EngineError>;

    /// Lets no key of `account` be taken before `until` (the later of two gates wins).
    async fn gate(
        &self,
        account: Account,
        until: Timestamp,
        reason: String,
    ) -> Result<(), EngineError>;

    /// Returns when there may be work to take, or after `timeout` at the latest. A push between
    /// the caller's last take and this call is not missed. One waiter is woken per push; a take
    /// that leaves due keys behind wakes the next.
    async fn wait(&self, timeout: Duration);
}

/// Pushes any number of keys that no webhook told of, in portions of [`PUSH_KEYS_MAX`]. On an error
/// some may have been pushed.
pub async fn push_all(queue: &dyn Queue, mut keys: Vec<PushKey>) -> Result<(), EngineError> {
    while !keys.is_empty() {
        let rest = keys.split_off(keys.len().min(PUSH_KEYS_MAX));
        queue.push(Push { delivery: None, keys }).await?;
        keys = rest;
    }
    Ok(())
}

/// The verbs of operators.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// Writes what changes nothing, durably: it fails exactly when a push would, while reads may
    /// go on.
    async fn probe(&self) -> Result<(), EngineError>;

    /// Counts and ages, for health and metrics.
    async fn stats(&self) -> Result<QueueStats, EngineError>;

    /// Keys in `state`, at most `limit`, and their number in all. Oldest first: by when they
    /// became waiting, were taken, or died. A lease that has expired is shown as held until the
    /// next command notices.
    async fn list(&self, state: State, limit: usize) -> Result<(Vec<Entry>, u64), EngineError>;

    /// Revives a dead key as if it had been pushed to its lane; false when it is not dead.
    async fn retry(&self, key: WorkKey) -> Result<bool, EngineError>;

    /// Forgets a dead key; false when it is not dead.
    async fn drop(&self, key: WorkKey) -> Result<bool, EngineError>;

    /// The newest deliveries first, at most `limit`, and their number in all.
    async fn deliveries(&self, limit: usize) -> Result<(Vec<LedgerEntry>, u64), EngineError>;
}

/// Where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In a lane, due now or later.
    Waiting,
    /// Leased.
    Held,
    /// Given up on.
    Dead,
}

/// A key as operators see it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: WorkKey,
    /// Where it is.
    pub state: State,
    /// Its lane.
    pub lane: Lane,
    /// Its account.
    pub account: Account,
    /// Why it is there.
    pub hint: Hint,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When it comes due (waiting), expires (held) or died (dead).
    pub at: Timestamp,
    /// The last error.
    pub error: Option<String>,
}

/// The queue in numbers.
#[derive(Debug, Clone, Default)]
pub struct QueueStats {
    /// Keys waiting in the event lane.
    pub waiting_event: u64,
    /// Keys waiting in the scan lane.
    pub waiting_scan: u64,
    /// Keys held.
    pub held: u64,
    /// Keys dead.
    pub dead: u64,
    /// First-seen time of the oldest waiting key of the event lane.
    pub oldest_event: Option<Timestamp>,
    /// Gates in force: account, until, reason.
    pub gates: Vec<(Account, Timestamp, String)>,
    /// What the persistence promises in the present settings, for people.
    pub durability: String,
}

/// A delivery as the ledger holds it.
#[derive(Debug, Clone)]
pub struct LedgerEntry {
    /// The delivery.
    pub delivery: Delivery,
    /// `queued` (some key was), `merged` (all were) or `ignored` (said so, or no keys).
    pub outcome: &'static str,
}
