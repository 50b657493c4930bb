//! The heads of default branches that others include files of, as the last heartbeats saw them.
//!
//! GitHub tells when a repository was last pushed to, whatever the branch; only another head says
//! that it was the default branch. Pure.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::github::Repository;
use crate::ids::{Oid, RepoId};

/// Most heads that are remembered: more than one heartbeat shows repositories. Each takes about 160
/// bytes of the note. One that is forgotten counts as unknown.
pub(super) const HEADS_MAX: usize = 200;

/// Heads, those pushed to last first. The form in the note.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Heads(Vec<Head>);

/// The default branch of a repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    id: RepoId,
    /// Its name; `None` while the repository is empty.
    pub(super) branch: Option<String>,
    oid: Option<Oid>,
    /// When any branch of the repository was last pushed to.
    pub(super) pushed: Option<Timestamp>,
    /// When those who include other branches were last read for a push, and that push.
    pub(super) others: (Timestamp, Option<Timestamp>),
}

impl Head {
    /// As GitHub shows it, as if the others had not been read for long, but since the last push.
    pub(super) fn of(repository: &Repository) -> Self {
        Self {
            id: repository.key.id,
            branch: repository.listed.default_branch.clone(),
            oid: repository.head.clone(),
            pushed: repository.pushed_at,
            others: (Timestamp(0), repository.pushed_at),
        }
    }

    /// Whether both are the same commit of the same branch.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        (&self.branch, &self.oid) == (&other.branch, &other.oid)
    }
}

impl Heads {
    /// The head that a repository had, if that is known. It is forgotten.
    pub(super) fn take(&mut self, id: RepoId) -> Option<Head> {
        let at = self.0.iter().position(|known| known.id == id)?;
        Some(self.0.remove(at))
    }

    /// Remembers a head that is not known.
    pub(super) fn put(&mut self, head: Head) {
        let at = self.0.partition_point(|known| known.pushed >= head.pushed);
        self.0.insert(at, head);
        self.0.truncate(HEADS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(id: u64, oid: char, pushed: i64) -> Head {
        let oid = Some(Oid::parse(&oid.to_string().repeat(40)).expect("an oid"));
        let (branch, pushed) = (Some("main".to_owned()), Some(Timestamp(pushed)));
        Head { id: RepoId(id), branch, oid, pushed, others: (Timestamp(0), pushed) }
    }

    #[test]
    fn a_head_is_another_only_by_its_commit_or_branch() {
        let mut heads = Heads::default();
        heads.put(head(1, 'a', 5));
        heads.put(head(2, 'a', 6));
        let before = heads.take(RepoId(1));
        assert_eq!((&before, heads.take(RepoId(3))), (&Some(head(1, 'a', 5)), None));
        assert!(!before.is_some_and(|before| before.agrees(&head(1, 'b', 7))));
        assert!(head(1, 'b', 7).agrees(&head(1, 'b', 9)), "another branch was pushed to");
        heads.put(head(1, 'b', 7));
        assert_eq!(heads, Heads(vec![head(1, 'b', 7), head(2, 'a', 6)]));
    }

    #[test]
    fn those_not_pushed_to_for_long_are_forgotten() {
        let mut heads = Heads::default();
        for id in 0..HEADS_MAX as u64 + 5 {
            heads.put(head(id, 'a', id as i64));
        }
        assert_eq!(heads.0.len(), HEADS_MAX);
        assert_eq!(heads.0.last(), Some(&head(5, 'a', 5)));
    }
}
