//! Whether a read is older than what webhooks have told: pure.
//!
//! GitHub may answer from a copy that does not show the newest push yet. A read that is *behind*
//! is applied like any other, and its key is due again a little later, a few times: what is told
//! here is when. It never says that a read is wrong, and it ends by itself. Only a read that shows
//! fewer pushes than the one before it is not applied while there is another look to come: a copy
//! that lags must take nothing back that the catalog has shown already.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::engine::record::RepoRecord;
use crate::github::{Repository, Seen};
use crate::ids::Oid;
use crate::work::{Hint, PushHint, Reasons};

/// When a key whose read was behind is due again: GitHub's read-after-write lag is mostly below a
/// second, rarely some seconds. After the last of them the read is taken as it is.
pub const BEHIND_DELAYS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// A repository that was just created and is still empty may get its first commit without any
/// event of its own (templates, imports), so it is looked at once more.
pub const EMPTY_DELAYS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// An event that told of a change which the read does not show may have changed something we do
/// not read (a description), so one further look is enough. So it is for what is included of
/// another repository, where nobody can tell whether the read shows the change.
pub const CHANGED_DELAYS: [Duration; 1] = [Duration::from_secs(3)];

/// Whether what was read is older than what the hints told, and when to look again if so. `last`
/// is what the read before has left.
pub fn behind(seen: &Seen, hint: &Hint, last: Option<&RepoRecord>) -> Option<&'static [Duration]> {
    let reasons = hint.reasons;
    let repository = match seen {
        // Just created or pushed to, never seen, and not there: GitHub may not show it yet.
        Seen::Gone => {
            let fresh = last.is_none()
                && reasons.any(Reasons::CREATED.and(Reasons::PUSH))
                && !reasons.any(Reasons::DELETED);
            return fresh.then_some(&BEHIND_DELAYS);
        }
        Seen::Found(repository) => repository,
    };
    if reasons.any(Reasons::DELETED) {
        return Some(&BEHIND_DELAYS);
    }
    if reasons.any(Reasons::CREATED) && repository.head.is_none() {
        return Some(&EMPTY_DELAYS);
    }
    if behind_pushes(repository, &hint.pushes) {
        return Some(&BEHIND_DELAYS);
    }
    if is_older(seen, last) {
        return Some(&BEHIND_DELAYS);
    }
    let is_as_before = |last: &RepoRecord| {
        last.full_name == repository.full_name
            && last.listed == repository.listed
            && last.account == repository.account
    };
    let unseen = reasons.any(Reasons::CHANGED) && last.is_some_and(is_as_before);
    // Its own state says nothing of the other repository, which may be shown as it was.
    (unseen || reasons.any(Reasons::INCLUDED)).then_some(&CHANGED_DELAYS)
}

/// Whether GitHub has shown a later push before, or the first one. It may be true for good: a
/// server restored from a backup has lost pushes.
pub fn is_older(seen: &Seen, last: Option<&RepoRecord>) -> bool {
    let (Seen::Found(repository), Some(last)) = (seen, last) else { return false };
    let read = repository.pushed_at.map(whole_seconds);
    let is_empty_again = repository.head.is_none() && last.head.is_some();
    is_empty_again || (read.is_some() && read < last.pushed_at.map(whole_seconds))
}

/// Whether a repository looks as it did before the newest of these pushes. `pushed_at` has whole
/// seconds, so a tie may be either side of a push and counts as behind, unless the head says more.
fn behind_pushes(repository: &Repository, pushes: &[PushHint]) -> bool {
    let told = |push: &PushHint| push.pushed_at.map(whole_seconds);
    let read = repository.pushed_at.map(whole_seconds);
    let (of_default, others): (Vec<_>, Vec<_>) = pushes.iter().partition(|p| p.branch.is_none());
    let older_than_others = others.iter().any(|p| read.is_some() && read < told(p));
    let newest = of_default.iter().filter_map(|p| told(p)).max();
    let at = |oid: &Oid| repository.head.as_ref() == Some(oid);
    let tip = |p: &PushHint| !of_default.iter().any(|q| q.before == p.after);
    if of_default.iter().any(|p| tip(p) && at(&p.after)) {
        return older_than_others;
    }
    // Before its first push a repository has neither a head nor a time to compare with.
    let is_still_empty =
        repository.head.is_none() && of_default.iter().any(|p| tip(p) && !p.after.is_zero());
    let at_a_before = of_default.iter().any(|p| at(&p.before));
    let not_newer = read.is_some() && newest.is_some() && read <= newest;
    older_than_others || is_still_empty || at_a_before || not_newer
}

fn whole_seconds(time: Timestamp) -> i64 {
    time.0.div_euclid(1000)
}
