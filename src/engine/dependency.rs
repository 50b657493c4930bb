//! What a record was made from besides its catalog files, in the form it is stored in.
//!
//! Targets of Locations and the files that placeholders name. A push that touches one of them has
//! to refresh the record, and the texts that were read are kept with it, so that it can be made
//! afresh without GitHub.

use serde::{Deserialize, Serialize};

use crate::ids::{Oid, RepoId};

/// Something that was asked for while a record was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dependency {
    /// A file.
    File {
        /// Where.
        place: Place,
        /// The path from the root, without a leading slash.
        path: String,
        /// What was there.
        found: Found,
    },
    /// The paths of all files.
    Paths {
        /// Where.
        place: Place,
    },
}

/// A branch, as the record that depends on it sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// One of the repository's own that a provider reads: the configured branch, `""` for the
    /// default branch.
    Own(String),
    /// Any other branch.
    #[serde(rename_all = "camelCase")]
    Other {
        /// `github.com`
        host: String,
        /// `owner/name`, as the target has it.
        full_name: String,
        /// The branch.
        branch: String,
        /// The repository's number, once it was seen.
        id: Option<RepoId>,
    },
}

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Found {
    /// A file that was read.
    Blob(Oid),
    /// Nothing.
    Missing,
    /// It could not be had.
    Unread,
}

/// What, besides its catalog files, tells whether a record has to be made afresh.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Depends {
    /// Nothing.
    #[default]
    Nothing,
    /// The head of the default branch; the one it was made at.
    Head(Option<Oid>),
    /// Also branches that a listing does not show; the head as above.
    Elsewhere(Option<Oid>),
}

impl Dependency {
    /// Where it is.
    pub const fn place(&self) -> &Place {
        match self {
            Self::File { place, .. } | Self::Paths { place } => place,
        }
    }

    /// The blob that was read.
    pub const fn oid(&self) -> Option<&Oid> {
        match self {
            Self::File { found: Found::Blob(oid), .. } => Some(oid),
            Self::File { .. } | Self::Paths { .. } => None,
        }
    }
}

impl Dependency {
    /// Whether it can be had without GitHub, when `has` says which texts can.
    pub fn is_recallable(&self, has: impl Fn(&Oid) -> bool) -> bool {
        match self {
            Self::File { found: Found::Blob(oid), .. } => has(oid),
            Self::File { found: Found::Missing, .. } => true,
            Self::File { found: Found::Unread, .. } | Self::Paths { .. } => false,
        }
    }
}

impl Depends {
    /// What tells whether a record with these dependencies, made at this head, has to be made
    /// afresh.
    pub fn of(dependencies: &[Dependency], head: Option<&Oid>) -> Self {
        let is_listed = |dependency: &Dependency| match dependency.place() {
            Place::Own(branch) => branch.is_empty(),
            Place::Other { .. } => false,
        };
        match dependencies {
            [] => Self::Nothing,
            all if all.iter().all(is_listed) => Self::Head(head.cloned()),
            _ => Self::Elsewhere(head.cloned()),
        }
    }

    /// Whether nothing has changed, when the default branch's head is this now, as far as that
    /// tells.
    pub fn agrees(&self, head: Option<&Oid>) -> bool {
        match self {
            Self::Nothing => true,
            Self::Head(was) | Self::Elsewhere(was) => was.as_ref() == head,
        }
    }
}
