//! What is inside a repository: blobs, commits, branches.
//!
//! Blob ids are Git's own; commit ids are unique but say nothing. A commit holds its whole tree,
//! shared with its parent where nothing changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha1::{Digest, Sha1};

/// The id that stands for "no commit" in push payloads.
pub const ZERO_OID: &str = "0000000000000000000000000000000000000000";

/// How far back [`Repository::as_of`](crate::state::Repository::as_of) can look.
const HISTORY_MAX: usize = 64;

/// Git looks for a NUL in this many first bytes to call a blob binary.
const BINARY_SNIFF_BYTES: usize = 8000;

/// A file's content.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Git's id of it.
    pub oid: Arc<str>,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl Blob {
    /// Wraps bytes, computing Git's id.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { oid: blob_oid(&bytes).into(), bytes }
    }

    /// Whether Git would call it binary.
    pub fn is_binary(&self) -> bool {
        self.bytes.iter().take(BINARY_SNIFF_BYTES).any(|byte| *byte == 0)
    }
}

/// Git's id of a blob: SHA-1 over `blob <len>\0` and the bytes.
pub fn blob_oid(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}

pub(crate) fn commit_oid(repository: u64, number: u64) -> Arc<str> {
    hex(&Sha1::digest(format!("commit {repository} {number}"))).into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Paths and what they hold.
pub type Tree = BTreeMap<Arc<str>, Blob>;

/// A commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its id.
    pub oid: Arc<str>,
    /// All files as of this commit.
    pub tree: Arc<Tree>,
}

/// Branch names and their heads, and when they were last pushed to.
#[derive(Debug, Clone, Default)]
pub struct Heads {
    /// Branch to commit id.
    pub branches: BTreeMap<String, Arc<str>>,
    /// Seconds since the epoch; `None` before the first push.
    pub pushed_at: Option<i64>,
}

/// The commits and branches of a repository, with the states before the last pushes.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// The present branches.
    pub heads: Heads,
    commits: Vec<Commit>,
    before: Vec<Heads>,
    made: u64,
}

impl Content {
    /// A commit by its id.
    pub fn commit(&self, oid: &str) -> Option<&Commit> {
        self.commits.iter().rev().find(|commit| &*commit.oid == oid)
    }

    /// A blob of any commit by its id.
    pub fn blob(&self, oid: &str) -> Option<&Blob> {
        let trees = self.commits.iter().rev().map(|commit| &commit.tree);
        trees.flat_map(|tree| tree.values()).find(|blob| &*blob.oid == oid)
    }

    /// Branches as they were before the last `pushes` pushes.
    pub fn heads_before(&self, pushes: usize) -> &Heads {
        match pushes {
            0 => &self.heads,
            _ => self.before.get(self.before.len().saturating_sub(pushes)).unwrap_or(&self.heads),
        }
    }

    /// The commit a revision names: `HEAD`, `refs/heads/<branch>`, a branch or a commit id.
    pub fn resolve(&self, heads: &Heads, default_branch: &str, revision: &str) -> Option<&Commit> {
        let branch = match revision {
            "HEAD" => default_branch,
            other => other.strip_prefix("refs/heads/").unwrap_or(other),
        };
        match heads.branches.get(branch) {
            Some(oid) => self.commit(oid),
            None => self.commit(revision),
        }
    }

    /// Adds a commit with this tree and returns its id; no branch moves.
    pub(crate) fn add_commit(&mut self, repository: u64, tree: Tree) -> Arc<str> {
        self.made += 1;
        let oid = commit_oid(repository, self.made);
        self.commits.push(Commit { oid: oid.clone(), tree: Arc::new(tree) });
        oid
    }

    /// Moves a branch (`None` deletes it) as one push at this time.
    pub(crate) fn set_branch(&mut self, branch: &str, head: Option<Arc<str>>, now: i64) {
        if self.before.len() == HISTORY_MAX {
            self.before.remove(0);
        }
        self.before.push(self.heads.clone());
        match head {
            Some(oid) => self.heads.branches.insert(branch.to_owned(), oid),
            None => self.heads.branches.remove(branch),
        };
        self.heads.pushed_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_ids_are_gits() {
        assert_eq!(blob_oid(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(blob_oid(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
