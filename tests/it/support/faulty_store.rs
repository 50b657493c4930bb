//! A store that fails on command and else hands everything on to a real one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cuelight::clock::Timestamp;
use cuelight::engine::record::RepoRecord;
use cuelight::engine::store::{Applied, Apply, ChangeEntry, Held, Seq, Summary};
use cuelight::engine::{EngineError, Store};
use cuelight::ids::{Account, Oid};
use cuelight::work::{PushKey, RepoKey};

/// The store.
pub struct FaultyStore {
    /// The real one.
    pub inner: Arc<dyn Store>,
    /// The next write fails.
    pub next_apply_fails: AtomicBool,
    /// The change log cannot be read.
    pub changes_fail: AtomicBool,
    /// Whoever asks for this record panics.
    pub panics_at: Option<RepoKey>,
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, keys: Vec<RepoKey>) -> Result<Vec<Option<RepoRecord>>, EngineError> {
        assert!(!keys.iter().any(|key| Some(key) == self.panics_at.as_ref()), "told to panic");
        self.inner.get(keys).await
    }

    async fn texts(&self, key: RepoKey) -> Result<BTreeMap<Oid, String>, EngineError> {
        self.inner.texts(key).await
    }

    async fn apply(&self, apply: Apply) -> Result<Applied, EngineError> {
        if self.next_apply_fails.swap(false, Ordering::SeqCst) {
            return Err(EngineError::Unavailable("the disk is full".to_owned()));
        }
        self.inner.apply(apply).await
    }

    async fn summaries(&self, account: Account) -> Result<Vec<Summary>, EngineError> {
        self.inner.summaries(account).await
    }

    async fn records(
        &self,
        after: Option<RepoKey>,
        limit: usize,
    ) -> Result<Vec<RepoRecord>, EngineError> {
        self.inner.records(after, limit).await
    }

    async fn last_seq(&self) -> Result<Seq, EngineError> {
        self.inner.last_seq().await
    }

    async fn changes(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
        if self.changes_fail.load(Ordering::SeqCst) {
            return Err(EngineError::Unavailable("the disk is gone".to_owned()));
        }
        self.inner.changes(after, limit).await
    }

    async fn wait_change(&self, after: Seq, timeout: Duration) {
        self.inner.wait_change(after, timeout).await;
    }

    async fn held(&self) -> Result<Vec<Held>, EngineError> {
        self.inner.held().await
    }

    async fn approve(&self, keys: Vec<PushKey>) -> Result<Timestamp, EngineError> {
        self.inner.approve(keys).await
    }

    async fn put_note(&self, name: String, text: Option<String>) -> Result<(), EngineError> {
        self.inner.put_note(name, text).await
    }

    async fn notes(&self, prefix: String) -> Result<Vec<(String, String)>, EngineError> {
        self.inner.notes(prefix).await
    }
}
