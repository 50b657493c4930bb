//! Who includes files of the repositories that were pushed to since the last heartbeat.
//!
//! Their own line in the listing says nothing of it. What tells is the head of the default branch:
//! when it is another one than at the last heartbeat, those that include files of that branch are
//! read, unless they were read after the last push to the repository. Pushes to other branches cost
//! them nothing, however many there are.
//!
//! # What it costs
//! A webhook has them read too, so with webhooks a head that changes costs one more read of each at
//! most: when another branch was pushed to after that, for the time of the push to the default
//! branch is not known then.
//!
//! The heads of other branches are not known. Who includes files of such a branch is read when any
//! branch was pushed to, once in [`OTHERS_EVERY`] for each repository; a push in that time is not
//! forgotten.
//!
//! A repository whose head is not known (nobody included files of it when it was last listed, or it
//! is forgotten, see `heads.rs`) counts as changed if it was pushed to since the last heartbeat.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Heartbeat;
use super::heads::Head;
use super::mark::Mark;
use crate::clock::Timestamp;
use crate::dependents::{DEPENDENTS_MAX, Dependent, Dependents};
use crate::engine::EngineError;
use crate::engine::queue::PushKey;
use crate::engine::record::RepoRecord;
use crate::github::{Latest, Repository};
use crate::work::{Hint, Lane, Reasons, RepoKey};

/// A read so soon after a push may not show it, for GitHub lags a little and clocks differ. Whoever
/// is read for a webhook is read again after 3 s, so that is not read a third time.
const LAG: Duration = Duration::from_secs(2);

/// How often a push to some branch may have those read that include files of another than the
/// default branch: 400 of them take about 16 calls, which each minute would be a fifth of what
/// GitHub allows in an hour.
const OTHERS_EVERY: Duration = Duration::from_secs(3600);

impl Heartbeat {
    /// The keys of those who include files that may have changed since the last heartbeat, and were
    /// not read since. Nothing at the first heartbeat: then a scan sees to them. Remembers the
    /// heads in the mark.
    pub(super) async fn including(
        &self,
        latest: &Latest,
        mark: &mut Mark,
        now: Timestamp,
    ) -> Result<Vec<PushKey>, EngineError> {
        let concerned = concerned(latest, mark, &self.routing.borrow().dependents, now);
        if concerned.is_empty() {
            return Ok(Vec::new());
        }
        if concerned.len() > DEPENDENTS_MAX {
            let left_out = concerned.len() - DEPENDENTS_MAX;
            tracing::warn!(left_out, "{left_out} who include files are left to the next scan");
        }
        let concerned: Vec<_> = concerned.into_values().take(DEPENDENTS_MAX).collect();
        let keys = concerned.iter().map(|(dependent, _)| dependent.key.clone()).collect();
        let records = self.scanner.store.get(keys).await?;
        let due = concerned.iter().zip(&records).filter(|((_, at), record)| {
            // Who is made afresh from the storage was not read.
            let was_read = |it: &RepoRecord| it.reconciled_for != Reasons::REPROCESS;
            record.as_ref().is_some_and(|it| it.reconciled_at <= *at + LAG || !was_read(it))
        });
        let hint = Hint::new(Reasons::HEARTBEAT, now);
        Ok(due.map(|((dependent, _), _)| dependent.to_push(Lane::Scan, hint.clone())).collect())
    }
}

/// Those that include files of what is listed and may have changed, and the newest push to that.
fn concerned(
    latest: &Latest,
    mark: &mut Mark,
    dependents: &Dependents,
    now: Timestamp,
) -> BTreeMap<RepoKey, (Dependent, Timestamp)> {
    let mut all = BTreeMap::new();
    for repository in &latest.repositories {
        let Repository { key, full_name, .. } = repository;
        // A head that nobody watches yet stays as it was: the index may still be loaded.
        if !dependents.has(key, full_name) {
            continue;
        }
        let mut head = Head::of(repository);
        let before = mark.heads.take(key.id);
        let is_pushed = mark.pushed.is_some_and(|last| head.pushed > Some(last));
        let reads_others = match &before {
            Some(Head { others: (at, push), .. }) => {
                head.pushed > *push && now.since(*at) >= OTHERS_EVERY
            }
            None => is_pushed,
        };
        let is_same = before.as_ref().map_or(!is_pushed, |before| before.agrees(&head));
        if reads_others {
            head.others.0 = now;
        } else if let Some(before) = &before {
            head.others = before.others;
        }
        let is_concerned = |branch: &str| {
            let is_of = |head: &Head| head.branch.as_deref() == Some(branch);
            let is_default = is_of(&head) || !is_same && before.as_ref().is_some_and(is_of);
            if is_default { !is_same } else { reads_others }
        };
        let at = head.pushed.unwrap_or(now);
        for dependent in dependents.of_those(key, full_name, is_concerned) {
            let (_, newest) =
                all.entry(dependent.key.clone()).or_insert_with(|| (dependent.clone(), at));
            *newest = at.max(*newest);
        }
        mark.heads.put(head);
    }
    all
}
