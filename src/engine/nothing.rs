//! A storage that holds nothing and takes nothing: what a dry run compares with where no storage
//! has been made yet.
//!
//! Promises that nothing is written anywhere, whoever asks: every verb that would write fails.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::queue::{
    Entry, Inspect, LeaseRef, LedgerEntry, Push, PushKey, Pushed, QueueStats, Settled, Settlement,
    State, Taken,
};
use super::record::RepoRecord;
use super::store::{Applied, Apply, ChangeEntry, Held, Seq, Summary};
use super::{Engine, EngineError, Queue, Store};
use crate::clock::Timestamp;
use crate::ids::{Account, Oid};
use crate::work::{RepoKey, WorkKey};

/// The empty storage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

fn refused<T>() -> Result<T, EngineError> {
    Err(EngineError::Unavailable("nothing is written before there is a storage".to_owned()))
}

#[async_trait]
impl Engine for Nothing {
    async fn close(&self) {}
}

#[async_trait]
impl Queue for Nothing {
    async fn push(&self, _: Push) -> Result<Pushed, EngineError> {
        refused()
    }

    async fn take(&self, _: usize, _: Duration) -> Result<Taken, EngineError> {
        Ok(Taken { leases: Vec::new(), next_due: None })
    }

    async fn extend(
        &self,
        leases: Vec<LeaseRef>,
        _: Duration,
    ) -> Result<Vec<LeaseRef>, EngineError> {
        Ok(leases)
    }

    async fn settle(&self, _: Vec<(LeaseRef, Settlement)>) -> Result<Vec<Settled>, EngineError> {
        refused()
    }

    async fn gate(&self, _: Account, _: Timestamp, _: String) -> Result<(), EngineError> {
        refused()
    }

    /// Nothing ever comes.
    async fn wait(&self, _: Duration) {
        std::future::pending().await
    }
}

#[async_trait]
impl Inspect for Nothing {
    async fn probe(&self) -> Result<(), EngineError> {
        refused()
    }

    async fn stats(&self) -> Result<QueueStats, EngineError> {
        Ok(QueueStats::default())
    }

    async fn list(&self, _: State, _: usize) -> Result<(Vec<Entry>, u64), EngineError> {
        Ok((Vec::new(), 0))
    }

    async fn retry(&self, _: WorkKey) -> Result<bool, EngineError> {
        Ok(false)
    }

    async fn drop(&self, _: WorkKey) -> Result<bool, EngineError> {
        Ok(false)
    }

    async fn deliveries(&self, _: usize) -> Result<(Vec<LedgerEntry>, u64), EngineError> {
        Ok((Vec::new(), 0))
    }
}

#[async_trait]
impl Store for Nothing {
    async fn get(&self, keys: Vec<RepoKey>) -> Result<Vec<Option<RepoRecord>>, EngineError> {
        Ok(vec![None; keys.len()])
    }

    async fn texts(&self, _: RepoKey) -> Result<BTreeMap<Oid, String>, EngineError> {
        Ok(BTreeMap::new())
    }

    async fn apply(&self, _: Apply) -> Result<Applied, EngineError> {
        refused()
    }

    async fn summaries(&self, _: Account) -> Result<Vec<Summary>, EngineError> {
        Ok(Vec::new())
    }

    async fn records(&self, _: Option<RepoKey>, _: usize) -> Result<Vec<RepoRecord>, EngineError> {
        Ok(Vec::new())
    }

    async fn last_seq(&self) -> Result<Seq, EngineError> {
        Ok(0)
    }

    async fn changes(&self, _: Seq, _: usize) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
        Ok(Some(Vec::new()))
    }

    /// Nothing ever changes.
    async fn wait_change(&self, _: Seq, _: Duration) {
        std::future::pending().await
    }

    async fn held(&self) -> Result<Vec<Held>, EngineError> {
        Ok(Vec::new())
    }

    async fn approve(&self, _: Vec<PushKey>) -> Result<Timestamp, EngineError> {
        refused()
    }

    async fn put_note(&self, _: String, _: Option<String>) -> Result<(), EngineError> {
        refused()
    }

    async fn notes(&self, _: String) -> Result<Vec<(String, String)>, EngineError> {
        Ok(Vec::new())
    }
}
