//! Who includes files of the repositories that were pushed to since the last heartbeat.
//!
//! Their own line in the listing says nothing of it. What tells is when they were read: before the
//! push, or so soon after it that GitHub may have shown them the state before. Who was read since,
//! as a webhook makes it happen, costs nothing more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Heartbeat;
use crate::clock::Timestamp;
use crate::dependents::{DEPENDENTS_MAX, Dependent};
use crate::engine::EngineError;
use crate::engine::queue::PushKey;
use crate::github::Latest;
use crate::work::{Hint, Lane, Reasons, RepoKey, WorkKey};

/// A read so soon after a push may not show it, for GitHub lags a little and clocks differ. Whoever
/// is read for a webhook is read again after 3 s, so that is not read a third time.
const LAG: Duration = Duration::from_secs(2);

impl Heartbeat {
    /// The keys of those who include files of a repository that was pushed to after `last`, and
    /// were not read since. Nothing before the first heartbeat: then a scan sees to them.
    pub(super) async fn including(
        &self,
        latest: &Latest,
        last: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<PushKey>, EngineError> {
        let Some(last) = last else { return Ok(Vec::new()) };
        let pushed: BTreeMap<RepoKey, (Dependent, Timestamp)> = {
            let routing = self.routing.borrow();
            let mut pushed = BTreeMap::new();
            for repository in &latest.repositories {
                let Some(at) = repository.pushed_at.filter(|at| *at > last) else { continue };
                let (key, name) = (&repository.key, &repository.full_name);
                for dependent in routing.dependents.of(key, name, None) {
                    let newest = pushed
                        .entry(dependent.key.clone())
                        .or_insert_with(|| (dependent.clone(), at));
                    newest.1 = newest.1.max(at);
                }
            }
            pushed
        };
        if pushed.is_empty() {
            return Ok(Vec::new());
        }
        if pushed.len() > DEPENDENTS_MAX {
            let left_out = pushed.len() - DEPENDENTS_MAX;
            tracing::warn!(left_out, "{left_out} who include files are left to the next scan");
        }
        let pushed: Vec<_> = pushed.into_values().take(DEPENDENTS_MAX).collect();
        let keys = pushed.iter().map(|(dependent, _)| dependent.key.clone()).collect();
        let records = self.scanner.store.get(keys).await?;
        let due = pushed.iter().zip(&records).filter(|((_, at), record)| {
            record.as_ref().is_some_and(|record| record.reconciled_at <= *at + LAG)
        });
        Ok(due.map(|((dependent, _), _)| key_of(dependent, now)).collect())
    }
}

fn key_of(dependent: &Dependent, now: Timestamp) -> PushKey {
    let Dependent { key, account, full_name } = dependent.clone();
    let hint = Hint { name: Some(full_name), ..Hint::new(Reasons::HEARTBEAT, now) };
    PushKey { key: WorkKey::Repo(key), account, lane: Lane::Scan, hint }
}
