//! The queue's verbs as calls of scripts; pushes are gathered in `pushes.rs`.
//!
//! # Calls without an answer
//! A call that timed out may have been carried out. A push that is tried again is then a duplicate
//! by its delivery, whose keys are marked, for both are one script; without a delivery its keys
//! are marked twice, which is one run. A take whose answer was lost holds its keys until their
//! leases end. A settlement or an extension that is tried again finds its lease gone: `Stale`,
//! or one of the lost.

use std::time::Duration;

use super::calls::{Calls, millis};
use super::codec::{account, corrupt, lane, unpack_hint, work_key};
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::engine::queue::{
    ERROR_CHARS_MAX, LANE_TURN, Lease, LeaseRef, Settled, Settlement, Taken,
};
use crate::ids::Account;
use crate::work::BATCH_MAX;

/// A lease as a script gives it: key, token, account, lane, hint, attempt, delays, end.
type StoredLease = (String, u64, String, u8, Vec<u8>, u32, u32, i64);

impl Calls {
    /// See [`Queue::take`](crate::engine::Queue::take).
    pub async fn take(&self, max: usize, lease: Duration) -> Result<Taken, EngineError> {
        let mut call = self.call(&self.scripts.take);
        call.arg(max.min(BATCH_MAX)).arg(millis(lease)).arg(LANE_TURN);
        let (due, _now, stored): (i64, i64, Vec<StoredLease>) = self.run(&call).await?;
        let mut leases = Vec::with_capacity(stored.len());
        let mut unreadable = Vec::new();
        for lease in stored {
            let (key, token) = (lease.0.clone(), lease.1);
            match read_lease(lease) {
                Ok(lease) => leases.push(lease),
                Err(error) => unreadable.push((key, token, error)),
            }
        }
        self.bury(unreadable).await?;
        Ok(Taken { leases, next_due: (due >= 0).then_some(Timestamp(due)) })
    }

    /// Gives up on keys that this version cannot read, so that they do not stop all others. They
    /// stay, for the version that wrote them.
    async fn bury(&self, keys: Vec<(String, u64, EngineError)>) -> Result<(), EngineError> {
        for (key, token, error) in keys {
            tracing::error!(key, %error, "a key that cannot be read is given up: {key}");
            let mut call = self.call(&self.scripts.settle);
            call.arg(key).arg(token).arg("dead").arg(0).arg(error.to_string());
            self.run::<Vec<String>>(&call).await?;
        }
        Ok(())
    }

    /// See [`Queue::extend`](crate::engine::Queue::extend).
    pub async fn extend(
        &self,
        leases: Vec<LeaseRef>,
        lease: Duration,
    ) -> Result<Vec<LeaseRef>, EngineError> {
        let mut call = self.call(&self.scripts.extend);
        call.arg(millis(lease));
        for lease in &leases {
            call.arg(lease.key.to_string()).arg(lease.token);
        }
        let renewed: String = self.run(&call).await?;
        let lost = leases.into_iter().zip(renewed.bytes());
        Ok(lost.filter(|(_, renewed)| *renewed == b'0').map(|(lease, _)| lease).collect())
    }

    /// See [`Queue::settle`](crate::engine::Queue::settle).
    pub async fn settle(
        &self,
        leases: &[(LeaseRef, Settlement)],
    ) -> Result<Vec<Settled>, EngineError> {
        let mut call = self.call(&self.scripts.settle);
        for (lease, how) in leases {
            call.arg(lease.key.to_string()).arg(lease.token);
            settlement_arguments(&mut call, how);
        }
        let settled: Vec<String> = self.run(&call).await?;
        settled.iter().map(|word| settled_of(word)).collect()
    }

    /// See [`Queue::gate`](crate::engine::Queue::gate).
    pub async fn gate(
        &self,
        account: &Account,
        until: Timestamp,
        reason: &str,
    ) -> Result<(), EngineError> {
        let mut call = self.call(&self.scripts.gate);
        call.arg(account.to_string()).arg(until.0.max(0)).arg(reason);
        self.run(&call).await
    }
}

/// The three arguments by which scripts settle a lease.
pub(super) fn settlement_arguments(call: &mut redis::ScriptInvocation<'_>, how: &Settlement) {
    let (word, after, error) = match how {
        Settlement::Done => ("done", Duration::ZERO, ""),
        Settlement::Retry { error, after } => ("retry", *after, error.as_str()),
        Settlement::Dead { error } => ("dead", Duration::ZERO, error.as_str()),
        Settlement::Delay { after } => ("delay", *after, ""),
        Settlement::Release => ("release", Duration::ZERO, ""),
    };
    let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
    call.arg(word).arg(millis(after)).arg(error);
}

/// What became of a key, in the scripts' words.
pub(super) fn settled_of(word: &str) -> Result<Settled, EngineError> {
    match word {
        "done" => Ok(Settled::Done),
        "waiting" => Ok(Settled::Waiting),
        "dead" => Ok(Settled::Dead),
        "stale" => Ok(Settled::Stale),
        other => Err(corrupt(format!("unknown outcome `{other}`"))),
    }
}

fn read_lease(stored: StoredLease) -> Result<Lease, EngineError> {
    let (key, token, owner, from, hint, attempt, delays, end) = stored;
    Ok(Lease {
        hint: unpack_hint(&hint, &key),
        key: work_key(&key)?,
        token,
        account: account(&owner)?,
        lane: lane(from)?,
        attempt,
        delays,
        expires_at: Timestamp(end),
    })
}
