//! The operators' verbs as calls of scripts.

use redis::ScriptInvocation;

use super::calls::Calls;
use super::checks::Report;
use super::codec::{account, lane, unpack_hint, work_key};
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::engine::queue::{Entry, QueueStats, State};
use crate::work::WorkKey;

/// A key as a script lists it: key, lane, account, hint, attempts, due, error.
type StoredEntry = (String, u8, String, Vec<u8>, u32, i64, Option<String>);

/// A gate: account, until, reason.
type StoredGate = (String, i64, String);

impl Calls {
    /// See [`Inspect::probe`](crate::engine::queue::Inspect::probe).
    pub async fn probe(&self) -> Result<(), EngineError> {
        self.run(&self.call(&self.scripts.probe)).await
    }

    /// See [`Inspect::stats`](crate::engine::queue::Inspect::stats).
    pub async fn stats(&self) -> Result<QueueStats, EngineError> {
        type Stats = (u64, u64, u64, u64, Option<i64>, Vec<StoredGate>);
        let stats: Stats = self.run(&self.call(&self.scripts.stats)).await?;
        let (waiting_event, waiting_scan, held, dead, oldest, stored) = stats;
        let mut gates = Vec::with_capacity(stored.len());
        for (owner, until, reason) in stored {
            gates.push((account(&owner)?, Timestamp(until), reason));
        }
        gates.sort_by_key(|(owner, ..)| owner.to_string());
        Ok(QueueStats {
            waiting_event,
            waiting_scan,
            held,
            dead,
            oldest_event: oldest.map(Timestamp),
            gates,
            durability: Report::of(&self.connection).await?.to_string(),
        })
    }

    /// See [`Inspect::list`](crate::engine::queue::Inspect::list).
    pub async fn list(&self, state: State, limit: usize) -> Result<(Vec<Entry>, u64), EngineError> {
        let word = match state {
            State::Waiting => "waiting",
            State::Held => "held",
            State::Dead => "dead",
        };
        let mut call = self.call(&self.scripts.list);
        call.arg(word).arg(limit);
        let (total, stored): (u64, Vec<StoredEntry>) = self.run(&call).await?;
        let mut entries = Vec::with_capacity(stored.len());
        for (text, from, owner, hint, attempts, at, error) in stored {
            // Keys of another version are counted, and cannot be shown.
            let (Ok(key), Ok(owner)) = (work_key(&text), account(&owner)) else { continue };
            entries.push(Entry {
                key,
                state,
                lane: lane(from)?,
                account: owner,
                hint: unpack_hint(&hint, &text),
                attempts,
                at: Timestamp(at),
                error,
            });
        }
        Ok((entries, total))
    }

    /// See [`Inspect::retry`](crate::engine::queue::Inspect::retry).
    pub async fn retry(&self, key: &WorkKey) -> Result<bool, EngineError> {
        self.of_key(self.call(&self.scripts.retry), key).await
    }

    /// See [`Inspect::drop`](crate::engine::queue::Inspect::drop).
    pub async fn forget(&self, key: &WorkKey) -> Result<bool, EngineError> {
        self.of_key(self.call(&self.scripts.drop), key).await
    }

    async fn of_key(
        &self,
        mut call: ScriptInvocation<'_>,
        key: &WorkKey,
    ) -> Result<bool, EngineError> {
        call.arg(key.to_string());
        self.run(&call).await
    }
}
