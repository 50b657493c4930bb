//! An engine that answers what a test tells it to, for tests of those who only ask.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use cuelight::clock::Timestamp;
use cuelight::engine::queue::{
    Entry, Inspect, LeaseRef, LedgerEntry, Marked, Push, Pushed, QueueStats, Settled, Settlement,
    State, Taken,
};
use cuelight::engine::record::RepoRecord;
use cuelight::engine::store::{Applied, Apply, ChangeEntry, Held, Seq, Summary};
use cuelight::engine::{EngineError, Queue, Store};
use cuelight::ids::{Account, Oid};
use cuelight::work::{PushKey, RepoKey, WorkKey};

/// What the engine is asked and answers.
#[derive(Default)]
pub struct Script {
    /// Every question fails.
    pub is_away: bool,
    /// Questions are answered, nothing is written.
    pub is_read_only: bool,
    /// No question is ever answered.
    pub is_stuck: bool,
    /// Answers [`Inspect::stats`].
    pub stats: QueueStats,
    /// Answers [`Inspect::list`].
    pub entries: Vec<Entry>,
    /// Answers [`Inspect::deliveries`], newest first.
    pub deliveries: Vec<LedgerEntry>,
    /// Answers [`Store::held`].
    pub held: Vec<Held>,
    /// What was pushed.
    pub pushed: Vec<Push>,
}

/// The engine.
#[derive(Default)]
pub struct StubEngine(pub Mutex<Script>);

impl StubEngine {
    /// Changes or reads the script.
    pub fn script<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    async fn answer<T>(&self, act: impl FnOnce(&mut Script) -> T) -> Result<T, EngineError> {
        if self.script(|script| script.is_stuck) {
            std::future::pending::<()>().await;
        }
        if self.script(|script| script.is_away) {
            return Err(EngineError::Unavailable("the disk is gone".to_owned()));
        }
        Ok(self.script(act))
    }
}

fn outside() -> EngineError {
    EngineError::Corrupt("not part of this test".to_owned())
}

#[async_trait]
impl Queue for StubEngine {
    async fn push(&self, push: Push) -> Result<Pushed, EngineError> {
        let marks = vec![Marked::Queued; push.keys.len()];
        self.answer(|script| script.pushed.push(push)).await?;
        Ok(Pushed::Accepted(marks))
    }

    async fn take(&self, _: usize, _: Duration) -> Result<Taken, EngineError> {
        Err(outside())
    }

    async fn extend(&self, _: Vec<LeaseRef>, _: Duration) -> Result<Vec<LeaseRef>, EngineError> {
        Err(outside())
    }

    async fn settle(&self, _: Vec<(LeaseRef, Settlement)>) -> Result<Vec<Settled>, EngineError> {
        Err(outside())
    }

    async fn gate(&self, _: Account, _: Timestamp, _: String) -> Result<(), EngineError> {
        Err(outside())
    }

    async fn wait(&self, _: Duration) {}
}

#[async_trait]
impl Inspect for StubEngine {
    async fn probe(&self) -> Result<(), EngineError> {
        if self.script(|script| script.is_read_only) {
            return Err(EngineError::Unavailable("the disk is full".to_owned()));
        }
        self.answer(|_| ()).await
    }

    async fn stats(&self) -> Result<QueueStats, EngineError> {
        self.answer(|script| script.stats.clone()).await
    }

    async fn list(&self, state: State, limit: usize) -> Result<(Vec<Entry>, u64), EngineError> {
        self.answer(|script| {
            let entries = script.entries.iter().filter(|entry| entry.state == state);
            (entries.clone().take(limit).cloned().collect(), entries.count() as u64)
        })
        .await
    }

    async fn retry(&self, key: WorkKey) -> Result<bool, EngineError> {
        Inspect::drop(self, key).await
    }

    async fn drop(&self, key: WorkKey) -> Result<bool, EngineError> {
        self.answer(|script| {
            let before = script.entries.len();
            script.entries.retain(|entry| entry.key != key || entry.state != State::Dead);
            script.entries.len() < before
        })
        .await
    }

    async fn deliveries(&self, limit: usize) -> Result<(Vec<LedgerEntry>, u64), EngineError> {
        self.answer(|script| {
            let all = &script.deliveries;
            (all.iter().take(limit).cloned().collect(), all.len() as u64)
        })
        .await
    }
}

#[async_trait]
impl Store for StubEngine {
    async fn get(&self, _: Vec<RepoKey>) -> Result<Vec<Option<RepoRecord>>, EngineError> {
        Err(outside())
    }

    async fn texts(&self, _: RepoKey) -> Result<BTreeMap<Oid, String>, EngineError> {
        Err(outside())
    }

    async fn apply(&self, _: Apply) -> Result<Applied, EngineError> {
        Err(outside())
    }

    async fn summaries(&self, _: Account) -> Result<Vec<Summary>, EngineError> {
        Err(outside())
    }

    async fn records(&self, _: Option<RepoKey>, _: usize) -> Result<Vec<RepoRecord>, EngineError> {
        Err(outside())
    }

    async fn last_seq(&self) -> Result<Seq, EngineError> {
        self.answer(|_| 3).await
    }

    async fn changes(&self, _: Seq, _: usize) -> Result<Option<Vec<ChangeEntry>>, EngineError> {
        self.answer(|_| Some(Vec::new())).await
    }

    async fn wait_change(&self, _: Seq, _: Duration) {
        std::future::pending().await
    }

    async fn held(&self) -> Result<Vec<Held>, EngineError> {
        self.answer(|script| script.held.clone()).await
    }

    async fn approve(&self, _: Vec<PushKey>) -> Result<Timestamp, EngineError> {
        Err(outside())
    }

    async fn put_note(&self, _: String, _: Option<String>) -> Result<(), EngineError> {
        Err(outside())
    }

    async fn notes(&self, _: String) -> Result<Vec<(String, String)>, EngineError> {
        self.answer(|_| Vec::new()).await
    }
}
