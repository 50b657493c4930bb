//! Who looks at the storage while all is in turmoil: follows the change log and sees that no
//! repository ever goes back in time, counts what waits, and reads all records.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cuelight::clock::{Clock as _, SystemClock};
use cuelight::config::RedisSettings;
use cuelight::engine::EngineError;
use cuelight::engine::queue::{Inspect as _, LedgerEntry, QueueStats};
use cuelight::engine::record::RepoRecord;
use cuelight::engine::redis::{Options, RedisEngine};
use cuelight::engine::store::{ChangeEntry, Seq, Store as _};
use tokio::task::JoinHandle;

use super::town::Town;
use crate::support::redis::PATIENCE;

/// Changes read at a time.
const PAGE: usize = 500;

/// Rest while the storage is away.
const REST: Duration = Duration::from_millis(100);

/// The witness.
pub struct Witness {
    engine: Arc<RedisEngine>,
    seen: Arc<Mutex<Seen>>,
    following: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// The newest state of each repository that was ever written.
    newest: std::collections::HashMap<usize, usize>,
    /// Writes that brought back an older state.
    stale: Vec<String>,
}

impl Witness {
    /// Begins to look.
    pub async fn call(url: &str, town: Arc<Town>) -> Self {
        let settings = RedisSettings::parse(url).expect("an address");
        let options = Options::default();
        let engine = RedisEngine::open(&settings, Arc::new(SystemClock), options);
        let engine = engine.await.expect("redis is there");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let following = tokio::spawn(follow(Arc::clone(&engine), Arc::clone(&seen), town));
        Self { engine, seen, following }
    }

    /// Ends.
    pub async fn dismiss(self) {
        self.following.abort();
        let _ = self.following.await;
        self.engine.close().await;
    }

    /// The queue in numbers.
    pub async fn stats(&self) -> Result<QueueStats, EngineError> {
        self.engine.stats().await
    }

    /// All records, once they can be read: a busy machine may let a call time out.
    pub async fn records(&self) -> Vec<RepoRecord> {
        let started = Instant::now();
        loop {
            match self.try_records().await {
                Ok(records) => return records,
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    async fn try_records(&self) -> Result<Vec<RepoRecord>, EngineError> {
        let mut records: Vec<RepoRecord> = Vec::new();
        loop {
            let after = records.last().map(|record| record.key.clone());
            let page = self.engine.records(after, PAGE).await?;
            if page.is_empty() {
                return Ok(records);
            }
            records.extend(page);
        }
    }

    /// The ids of the newest deliveries in the ledger, once it can be read.
    pub async fn ledger(&self, most: usize) -> HashSet<String> {
        let started = Instant::now();
        loop {
            match self.engine.deliveries(most).await {
                Ok((entries, _)) => {
                    let id = |entry: LedgerEntry| entry.delivery.id.as_str().to_owned();
                    return entries.into_iter().map(id).collect();
                }
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    /// What was wrong so far: writes that brought back an older state.
    pub fn stale(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).stale.clone()
    }
}

async fn follow(engine: Arc<RedisEngine>, seen: Arc<Mutex<Seen>>, town: Arc<Town>) {
    let mut at: Seq = 0;
    loop {
        match engine.changes(at, PAGE).await {
            Ok(Some(changes)) => {
                at = changes.last().map_or(at, |last| last.seq);
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                changes.iter().for_each(|change| seen.note(&town, change));
            }
            Ok(None) => match engine.last_seq().await {
                Ok(seq) => at = seq,
                Err(_) => SystemClock.sleep(REST).await,
            },
            Err(_) => SystemClock.sleep(REST).await,
        }
        engine.wait_change(at, REST).await;
    }
}

impl Seen {
    fn note(&mut self, town: &Town, change: &ChangeEntry) {
        let Some(record) = &change.record else { return };
        let Some((repository, state)) = town.state_of(record) else {
            self.stale.push(format!("{}: a head that never was", record.full_name));
            return;
        };
        let newest = self.newest.entry(repository).or_default();
        if state < *newest {
            let name = &record.full_name;
            self.stale.push(format!("{name}: state {state} was written after {newest}"));
        }
        *newest = state.max(*newest);
    }
}
