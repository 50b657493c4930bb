//! Pushes that came before the index knew who depends on their repository.
//!
//! A push is routed by the index of dependents as it is in that instant. It misses a record that
//! was read before the push and comes into the index after it: while the catalog is loaded, or
//! because the read is under way, here or on another replica. So whenever a record is the first to
//! name a branch, the ledger of deliveries is looked through for what was received since its read
//! began; the ledger is durable and shared, so a restart and other replicas change nothing. The
//! index is published first, then the ledger is read, and whoever receives a push looks at the
//! index again once the push is in the ledger: one of both sees it.
//!
//! # Errs on the side of reading
//! The ledger knows repositories by their names of then, and no branches: a push to another branch
//! costs a read that was not needed. What happened beyond the deliveries that are looked through
//! counts as a push, in the lower lane, as a scan would read it.
//!
//! # Left out
//! A push to a repository that was renamed in the same moment is left to the next scan.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{DELIVERIES_MAX, watched_by};
use crate::clock::Timestamp;
use crate::dependents::{Dependent, Dependents, Watched};
use crate::engine::queue::{Inspect, LedgerEntry, PushKey, push_all};
use crate::engine::record::RepoRecord;
use crate::engine::{EngineError, Queue};
use crate::webhook::route::dependent_key;
use crate::work::{Hint, Lane, Reasons};

/// A read that began up to so long after a push may not show it: GitHub's copies lag for some
/// seconds, and the clocks of replicas differ.
const LAG: Duration = Duration::from_secs(15);

/// Longest time from the receipt of a delivery to its place in the ledger: its body may take 10 s,
/// and the storage 5 s; and clocks differ.
const ENTERED_WITHIN: Duration = Duration::from_secs(30);

/// Events after which those who include files of a repository are read.
const EVENTS: [&str; 3] = ["push", "repository", "public"];

/// Finds them.
pub struct Overtaken {
    queue: Arc<dyn Queue>,
    inspect: Arc<dyn Inspect>,
    /// Those that the ledger was not looked through for yet, because the storage failed.
    owed: Mutex<Vec<Newcomer>>,
}

/// A record that is the first of its repository to name some branches.
#[derive(Debug, Clone)]
pub(super) struct Newcomer {
    dependent: Dependent,
    watched: Vec<Watched>,
    /// What was received before was seen by its read.
    since: Timestamp,
}

impl Newcomer {
    /// What a record names that the index does not know of it.
    pub(super) fn of(record: &RepoRecord, index: &Dependents) -> Option<Self> {
        let (dependent, watched) = watched_by(record);
        let known = index.watched(&record.key);
        let is_known = |new: &Watched| {
            let is_it = |old: &Watched| {
                (&old.host, &old.name, &old.branch) == (&new.host, &new.name, &new.branch)
            };
            known.is_some_and(|known| known.iter().any(is_it))
        };
        let watched: Vec<Watched> = watched.into_iter().filter(|new| !is_known(new)).collect();
        // One that was made afresh from its texts has those of an earlier read.
        let is_recalled = record.reconciled_for == Reasons::REPROCESS;
        let read_at = if is_recalled { Timestamp(0) } else { record.reconciled_at };
        let since = read_at - LAG;
        (!watched.is_empty()).then_some(Self { dependent, watched, since })
    }

    /// Whether a delivery may tell of a change that its read has not seen.
    fn is_told_by(&self, entry: &LedgerEntry) -> bool {
        let delivery = &entry.delivery;
        let Some(name) = &delivery.repository else { return false };
        let names = |watched: &Watched| name.as_str().eq_ignore_ascii_case(&watched.name);
        // A push to its own repository that counted has pushed its key.
        let is_own = *name == self.dependent.full_name;
        delivery.received_at >= self.since
            && EVENTS.contains(&delivery.event.as_str())
            && self.watched.iter().any(names)
            && !(is_own && delivery.ignored.is_none())
    }
}

impl Overtaken {
    /// Looks through this ledger and pushes to this queue.
    pub fn new(queue: Arc<dyn Queue>, inspect: Arc<dyn Inspect>) -> Self {
        Self { queue, inspect, owed: Mutex::default() }
    }

    /// Pushes the keys of those among the newcomers whose read a push may have overtaken. They
    /// have to be in the index by then.
    ///
    /// # Errors
    /// When the storage cannot be reached; they are looked at with the next ones.
    pub(super) async fn look(
        &self,
        newcomers: Vec<Newcomer>,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let owed = {
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            owed.extend(newcomers);
            owed.clone()
        };
        if owed.is_empty() {
            return Ok(());
        }
        let keys = match self.inspect.deliveries(DELIVERIES_MAX).await {
            Ok((entries, total)) => keys(&owed, &entries, total, now),
            Err(error @ EngineError::Unavailable(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "deliveries cannot be read, whoever includes files is read");
                owed.iter().map(|newcomer| in_doubt(newcomer, now)).collect()
            }
        };
        push_all(&*self.queue, keys).await?;
        // There is one feed, so nobody has added any meanwhile.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

/// The keys of those whose read was overtaken, or may have been as far as `entries` tell: the
/// newest of `total` deliveries.
fn keys(
    newcomers: &[Newcomer],
    entries: &[LedgerEntry],
    total: u64,
    now: Timestamp,
) -> Vec<PushKey> {
    let is_whole = entries.len() as u64 >= total;
    let oldest = entries.last().filter(|_| !is_whole).map(|entry| entry.delivery.received_at);
    let is_seen =
        |newcomer: &Newcomer| oldest.is_none_or(|at| at + ENTERED_WITHIN < newcomer.since);
    let key = |newcomer: &Newcomer| {
        let told = entries.iter().find(|entry| newcomer.is_told_by(entry));
        match told {
            Some(entry) => Some(dependent_key(&newcomer.dependent, entry.delivery.received_at)),
            None => (!is_seen(newcomer)).then(|| in_doubt(newcomer, now)),
        }
    };
    newcomers.iter().filter_map(key).collect()
}

/// The key of one that is read because nobody knows whether it has to be.
fn in_doubt(newcomer: &Newcomer, now: Timestamp) -> PushKey {
    newcomer.dependent.to_push(Lane::Scan, Hint::new(Reasons::SCHEDULE, now))
}
