//! The store port: one record per repository, a change log, and the brake on removals.
//!
//! Only the holder of a key's current lease may write that repository's record, and writing
//! settles the key in the same transaction. Every write gets the next sequence number of the
//! change log; readers load all records and then follow the log.
//!
//! # The brake
//! A repository *loses its entities* when its stored record holds entities that its owner wrote
//! and the applied one holds none. Per account and rolling hour at most [`allowance`]
//! repositories may, unless [`Cause::Event`] says that a signed event named the change and the
//! read confirmed it: such losses pass and are not counted. The account is that of the stored
//! record. Counted are repositories, not losses (one that came back and goes again within the hour
//! counts once); those that held entities at the window's start are taken to be those that do now
//! and those counted. What is over it is *held*: the record stays as it is, the key is settled,
//! and [`Store::held`] lists it. A held repository stays held until an event names it, until it is
//! applied with entities again (which lifts the hold), or until it is approved.
//!
//! An approval lets one repository lose its entities once, uncounted, while its record belongs to
//! the account it was given for. It ends with the next write of that repository, whatever is
//! written, and after [`APPROVAL_KEEP`]: what has changed since a person looked has to be looked
//! at again.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::EngineError;
use super::queue::{LeaseRef, Settled, Settlement};
use super::record::RepoRecord;
pub use super::record::Seq;
pub use super::summary::Summary;
use crate::clock::Timestamp;
use crate::ids::{Account, FullName, Oid};
use crate::work::{PushKey, RepoKey};

/// The window over which removals are counted.
pub const BRAKE_WINDOW: Duration = Duration::from_secs(3600);

/// How long an approval waits for the read that confirms it: a day outlasts limits and most
/// incidents at GitHub, and is not long enough to be forgotten.
pub const APPROVAL_KEEP: Duration = Duration::from_secs(24 * 3600);

/// Longest name of a note, in bytes: a host, an account and a word fit several times.
pub const NOTE_NAME_BYTES_MAX: usize = 300;

/// Longest text of a note, in bytes: the ids of 100,000 repositories, and written in one go
/// without holding up what else the engine does.
pub const NOTE_BYTES_MAX: usize = 1 << 20;

/// How many repositories of an account may lose all their entities within [`BRAKE_WINDOW`], when
/// `holding` repositories held entities at its start: the larger of 5 and a tenth, rounded up.
pub fn allowance(holding: u64) -> u64 {
    holding.div_ceil(10).max(5)
}

/// A write by the holder of a lease.
#[derive(Debug, Clone)]
pub struct Apply {
    /// The lease on the repository's key.
    pub lease: LeaseRef,
    /// What to write.
    pub change: Change,
    /// How the key is settled, if the lease is valid.
    pub settlement: Settlement,
    /// Whether a loss of entities is exempt from the brake.
    pub cause: Cause,
}

/// What a write does to the record of the lease's repository.
#[derive(Debug, Clone)]
pub enum Change {
    /// Stores the record in place of the old one. `texts` are the raw texts of its files by blob
    /// oid, those that are new at least; texts of oids that it no longer has are dropped.
    /// `claimed_seq` of its entities is carried over or assigned by the store.
    Put {
        /// The record.
        record: Box<RepoRecord>,
        /// Raw texts by oid.
        texts: BTreeMap<Oid, String>,
    },
    /// Removes the record, if there is one.
    Remove,
}

/// On whose word entities may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A signed event named what the entities go for, and a read confirmed it: a deletion, a
    /// change of what filters look at, a push to the files. That it named the repository is not
    /// enough: after a lost permission or a mistyped filter any push would remove entities.
    Event,
    /// Anything else: a scan, a refresh, lost sight of it, a change of configuration.
    Other,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// Written as this change (`None` when a `Remove` found no record), and the key settled.
    Written(Option<Seq>, Settled),
    /// The brake held it: the record stays, the key is settled.
    Held(Settled),
    /// The lease is not the current one, or is not on the key of the record's repository: nothing
    /// changed.
    Stale,
}

/// One entry of the change log, with the repository's present record.
#[derive(Debug, Clone)]
pub struct ChangeEntry {
    /// Position.
    pub seq: Seq,
    /// The repository.
    pub key: RepoKey,
    /// Its record as it is now; `None` when it was removed.
    pub record: Option<RepoRecord>,
}

/// A removal that the brake holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// The repository.
    pub key: RepoKey,
    /// Its name.
    pub full_name: FullName,
    /// Its account.
    pub account: Account,
    /// Since when.
    pub since: Timestamp,
}

/// Whether a note of this name and text may be kept: every engine asks before it writes.
///
/// # Errors
/// [`EngineError::TooLarge`] when the name or the text is too long.
pub fn check_note(name: &str, text: Option<&str>) -> Result<(), EngineError> {
    if name.len() > NOTE_NAME_BYTES_MAX {
        let bytes = name.len();
        let what = format!("a note's name has {bytes} bytes, at most {NOTE_NAME_BYTES_MAX} fit");
        return Err(EngineError::TooLarge(what));
    }
    match text.map(str::len) {
        Some(bytes) if bytes > NOTE_BYTES_MAX => {
            let what = format!("note {name} has {bytes} bytes, at most {NOTE_BYTES_MAX} fit");
            Err(EngineError::TooLarge(what))
        }
        _ => Ok(()),
    }
}

/// The verbs of reconcile, scan and view.
#[async_trait]
pub trait Store: Send + Sync {
    /// The records of `keys`, in order.
    async fn get(&self, keys: Vec<RepoKey>) -> Result<Vec<Option<RepoRecord>>, EngineError>;

    /// The stored raw texts of a repository's files by blob oid.
    async fn texts(&self, key: RepoKey) -> Result<BTreeMap<Oid, String>, EngineError>;

    /// Fence check, brake, record, change log and settling, in one transaction.
    async fn apply(&self, apply: Apply) -> Result<Applied, EngineError>;

    /// What a scan of `account` compares with.
    async fn summaries(&self, account: Account) -> Result<Vec<Summary>, EngineError>;

    /// A page of records in key order after `after`.
    async fn records(
        &self,
        after: Option<RepoKey>,
        limit: usize,
    ) -> Result<Vec<RepoRecord>, EngineError>;

    /// The log's last sequence number.
    async fn last_seq(&self) -> Result<Seq, EngineError>;

    /// Changes after `after`, oldest first, at most `limit`, one per repository (its newest).
    /// `None` when the log no longer reaches back so far, or ends before `after` (it is another
    /// log, of a restored file say): load afresh.
    async fn changes(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Option<Vec<ChangeEntry>>, EngineError>;

    /// Returns when the log may have grown past `after`, or after `timeout` at the latest.
    async fn wait_change(&self, after: Seq, timeout: Duration);

    /// What the brake holds, oldest first.
    async fn held(&self) -> Result<Vec<Held>, EngineError>;

    /// Approves that each repository of `keys` loses its entities, for the account it is pushed
    /// for, and pushes the keys, so that a read confirms each removal; atomically and durably.
    /// Keys of other kinds are only pushed. Returns when the approval ends.
    async fn approve(&self, keys: Vec<PushKey>) -> Result<Timestamp, EngineError>;

    /// Keeps a note under a name; `None` forgets it. Notes are small facts that outlive a restart
    /// and that replicas share: how far a scan is and how the last one ended. Each is whole by
    /// itself, so the last write wins and no lease guards them. Beyond [`NOTE_NAME_BYTES_MAX`] or
    /// [`NOTE_BYTES_MAX`] it is refused. A power cut may take the newest back: what they say can
    /// be found out again.
    async fn put_note(&self, name: String, text: Option<String>) -> Result<(), EngineError>;

    /// The notes whose names begin with `prefix`, sorted by name (as bytes).
    async fn notes(&self, prefix: String) -> Result<Vec<(String, String)>, EngineError>;
}
