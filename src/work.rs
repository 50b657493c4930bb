//! What the queue holds: keys that may have changed, hints about why, and when to try again.
//!
//! A key is a value and carries no payload. A hint may hurry a run or explain it; it never
//! supplies data, and it is no part of a key's identity: [`WorkKey`] is what is compared,
//! hashed and stored, [`Hint`] is deliberately neither `Eq` nor `Hash`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Account, AppId, FullName, Host, InvalidId, NodeId, Oid, RepoId};

/// Most pushes that a merged hint remembers: enough to see every head of a burst that a run
/// could still be behind of; older ones are implied by newer ones.
pub const HINT_PUSHES_MAX: usize = 8;

/// Attempts after which a key is dead: 20 to 41 minutes of back-off, longer than most incidents.
pub const ATTEMPTS_MAX: u32 = 8;

/// Longest back-off before the second attempt; from there it grows fourfold.
pub const BACK_OFF_BASE: Duration = Duration::from_secs(2);

/// Longest back-off: a mended cause is noticed within this time.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(15 * 60);

/// How long a worker holds a key without renewing.
pub const LEASE: Duration = Duration::from_secs(30);

/// Most repositories one GraphQL call reads, and so most keys one take returns.
pub const BATCH_MAX: usize = 50;

/// A thing that may differ from the catalog; the unit of work.
///
/// Written as `repo:<host>:<id>`, `scan:<host>:<owner id>`, `installations:<host>:<App id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WorkKey {
    /// One repository.
    Repo(RepoKey),
    /// The list of one account's repositories.
    Scan(Account),
    /// The list of one App's installations.
    Installations {
        /// The host the App lives on.
        host: Host,
        /// The App.
        app: AppId,
    },
}

/// A repository by its immutable identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RepoKey {
    /// The host the repository lives on.
    pub host: Host,
    /// Its database id there.
    pub id: RepoId,
}

impl fmt::Display for RepoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.id)
    }
}

impl fmt::Display for WorkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repo(repo) => write!(f, "repo:{repo}"),
            Self::Scan(account) => write!(f, "scan:{account}"),
            Self::Installations { host, app } => write!(f, "installations:{host}:{app}"),
        }
    }
}

impl FromStr for WorkKey {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId {
            given: text.chars().take(100).collect(),
            expected: "a key (`repo:host:id`, `scan:host:id` or `installations:host:id`)",
        };
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (host, id) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let host = Host::parse(host).map_err(|_| wrong())?;
        match kind {
            "repo" => Ok(Self::Repo(RepoKey { host, id: id.parse().map_err(|_| wrong())? })),
            "scan" => Ok(Self::Scan(Account { host, owner: id.parse().map_err(|_| wrong())? })),
            "installations" => {
                Ok(Self::Installations { host, app: id.parse().map_err(|_| wrong())? })
            }
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for WorkKey {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<WorkKey> for String {
    fn from(key: WorkKey) -> Self {
        key.to_string()
    }
}

/// Which of the two queues inside the queue a key waits in. `Event` is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Fresh events and what a person asked for.
    Event,
    /// What a scan found.
    Scan,
}

/// Why a key was pushed: a set, because hints merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reasons(pub u32);

impl Reasons {
    /// A signed `push` event.
    pub const PUSH: Self = Self(1);
    /// A signed event said the repository was created, added or made visible to us.
    pub const CREATED: Self = Self(1 << 1);
    /// A signed event said the repository was deleted or taken from us.
    pub const DELETED: Self = Self(1 << 2);
    /// A signed event said that names, owner, flags, topics or visibility changed.
    pub const CHANGED: Self = Self(1 << 3);
    /// A scan saw a difference.
    pub const SCAN: Self = Self(1 << 4);
    /// A person or a program asked.
    pub const REFRESH: Self = Self(1 << 5);
    /// The rules or the processing changed: the stored text is processed again.
    pub const REPROCESS: Self = Self(1 << 6);
    /// The schedule said so.
    pub const SCHEDULE: Self = Self(1 << 7);
    /// A signed event said that what an App may see has changed: where it is installed, or which
    /// repositories are selected.
    pub const GRANT: Self = Self(1 << 8);
    /// A signed event said that an App was uninstalled from the account.
    pub const UNINSTALLED: Self = Self(1 << 9);
    /// A heartbeat saw a difference.
    pub const HEARTBEAT: Self = Self(1 << 10);
    /// A signed event told of another repository that this one includes files of.
    pub const INCLUDED: Self = Self(1 << 11);

    const NAMES: [(Self, &'static str); 12] = [
        (Self::PUSH, "push"),
        (Self::CREATED, "created"),
        (Self::DELETED, "deleted"),
        (Self::CHANGED, "changed"),
        (Self::SCAN, "scan"),
        (Self::REFRESH, "refresh"),
        (Self::REPROCESS, "reprocess"),
        (Self::SCHEDULE, "schedule"),
        (Self::GRANT, "grant"),
        (Self::UNINSTALLED, "uninstalled"),
        (Self::HEARTBEAT, "heartbeat"),
        (Self::INCLUDED, "included"),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any reason of `other` is in this set.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a signed webhook is among the reasons: what it named may be removed without the
    /// brake, once a read has confirmed it.
    pub const fn from_event(self) -> bool {
        self.any(Self(Self::PUSH.0 | Self::CREATED.0 | Self::DELETED.0 | Self::CHANGED.0))
    }
}

/// The reasons by name, joined with `+`; `none` for the empty set.
impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            Self::NAMES.iter().filter(|(bit, _)| self.any(*bit)).map(|(_, name)| *name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join("+"))
    }
}

/// One push as a webhook told it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushHint {
    /// The branch, when it is not the default branch.
    pub branch: Option<String>,
    /// The branch's head before the push; zeroes when the branch was created.
    pub before: Oid,
    /// The branch's head after the push; zeroes when the branch was deleted.
    pub after: Oid,
    /// `repository.pushed_at`, to the second.
    pub pushed_at: Option<Timestamp>,
}

/// What is known about why a key waits. Hints of one key merge, see [`Hint::merge`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hint {
    /// Why.
    pub reasons: Reasons,
    /// The newest pushes, oldest first, at most [`HINT_PUSHES_MAX`].
    pub pushes: Vec<PushHint>,
    /// The node id by which GraphQL finds the repository without a look-up.
    pub node_id: Option<NodeId>,
    /// The name as last heard, for people only.
    pub name: Option<FullName>,
    /// When the first cue of this run arrived: event age and lag are measured from it.
    pub first_seen: Timestamp,
}

impl Hint {
    /// A hint that says nothing but why and when.
    pub const fn new(reasons: Reasons, first_seen: Timestamp) -> Self {
        Self { reasons, pushes: Vec::new(), node_id: None, name: None, first_seen }
    }

    /// Takes in a later hint of the same key: reasons add up, the newest pushes are kept, the
    /// newer node id and name win, the earlier time stays.
    pub fn merge(&mut self, newer: Self) {
        self.reasons = self.reasons.and(newer.reasons);
        self.pushes.extend(newer.pushes);
        let excess = self.pushes.len().saturating_sub(HINT_PUSHES_MAX);
        self.pushes.drain(..excess);
        self.node_id = newer.node_id.or(self.node_id.take());
        self.name = newer.name.or(self.name.take());
        self.first_seen = self.first_seen.min(newer.first_seen);
    }
}

/// One key to mark in the queue.
#[derive(Debug, Clone)]
pub struct PushKey {
    /// What may have changed.
    pub key: WorkKey,
    /// Whose credentials and limits the run uses; the newest push wins.
    pub account: Account,
    /// Where it waits.
    pub lane: Lane,
    /// Why.
    pub hint: Hint,
}

/// The wait after failed attempt number `attempt` (from 1): exponential from [`BACK_OFF_BASE`] to
/// [`BACK_OFF_MAX`], of which the upper half is left to chance, `random` being uniform in 0..1.
/// Never near nothing: what has just failed fails at once again, and a life of
/// [`ATTEMPTS_MAX`] attempts would not outlast a short trouble.
pub fn back_off(attempt: u32, random: f64) -> Duration {
    let steps = attempt.saturating_sub(1).min(10);
    let ceiling = BACK_OFF_BASE.saturating_mul(1 << (2 * steps)).min(BACK_OFF_MAX);
    ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_is_at_least_half_of_what_it_may_be() {
        let check = |attempt, seconds| {
            let all = Duration::from_secs(seconds);
            assert_eq!(back_off(attempt, 0.0), all / 2, "attempt {attempt}");
            assert_eq!(back_off(attempt, 1.0), all, "attempt {attempt}");
        };
        check(1, 2);
        check(2, 8);
        check(5, 512);
        check(6, 900);
        check(u32::MAX, 900);
    }
}
