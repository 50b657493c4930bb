//! What processing a catalog file may need besides its text: other files, and lists of files.
//!
//! Processing is pure, so it cannot read. It says what it needs ([`Need`]), is given it
//! ([`Gathered`]), and is run again, until it needs nothing more or the rounds are used up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Source;

/// A branch of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchAt {
    /// `github.com`
    pub host: String,
    /// `owner/name`
    pub full_name: String,
    /// The branch.
    pub branch: String,
}

impl BranchAt {
    /// A file on it.
    pub fn file(&self, path: String) -> Source {
        let Self { host, full_name, branch } = self.clone();
        Source { host, full_name, branch, path }
    }
}

/// Something that has to be read before a file can be processed to the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// The text of a file.
    File(Source),
    /// The paths of all files of a branch, for a target with a glob.
    Tree(BranchAt),
}

impl Need {
    /// The branch that it is read from.
    pub fn branch(&self) -> BranchAt {
        match self {
            Self::File(source) => source.branch_at(),
            Self::Tree(branch) => branch.clone(),
        }
    }
}

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldFile {
    /// Its text.
    Text(Arc<str>),
    /// There is no such file, branch or repository.
    Missing,
    /// It is there or may be, but cannot be had; why, for its owner.
    Unreadable(String),
}

/// The files of a branch as they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldTree {
    /// Their paths, from the repository's root.
    Paths(Arc<[String]>),
    /// There is no such branch or repository.
    Missing,
    /// It cannot be had; why, for the owner of the target.
    Unreadable(String),
}

/// What was read so far.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    /// The files.
    pub files: BTreeMap<Source, HeldFile>,
    /// The lists of files.
    pub trees: BTreeMap<BranchAt, HeldTree>,
}

impl Gathered {
    /// Whether it answers a need.
    pub fn has(&self, need: &Need) -> bool {
        match need {
            Need::File(source) => self.files.contains_key(source),
            Need::Tree(branch) => self.trees.contains_key(branch),
        }
    }
}
