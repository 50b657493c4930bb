//! The pure core: from the text of a catalog file to entities, problems and the merged view.
//!
//! It knows Backstage's rules and nothing else: no I/O, no clock, no async, nothing of the rest of
//! this crate. Functions return what could be made *and* what was wrong, not one or the other.

pub mod ancestry;
pub mod annotations;
mod block;
pub mod cursor;
mod dictionary;
mod edges;
mod entity;
pub mod expand;
mod facts;
pub mod filter;
mod finding;
pub mod formats;
pub mod gathered;
pub mod glob;
mod hints;
pub mod history;
pub mod identity;
mod index;
pub mod javascript;
pub mod kinds;
mod located;
pub mod location_ref;
pub mod locations;
pub mod merge;
mod mirror;
pub mod page;
pub mod placeholder;
pub mod postings;
pub mod predicate;
pub mod problem;
pub mod process;
pub mod query;
pub mod refs;
pub mod relations;
pub mod rules;
pub mod schema;
pub mod search;
pub mod select;
pub mod shape;
pub mod target;
mod term;
mod troubles;
pub mod uid;
pub mod validate;
mod values;
pub mod verdict;
pub mod view;
pub mod yaml;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use expand::{Expanded, ExpandedFile, Given, expand};
pub use gathered::{BranchAt, Gathered, HeldFile, HeldTree, Need};
pub use merge::{FileEntry, RepoEntry, RepoId};
pub use problem::{Code, Problem};
pub use process::{FileInput, PROCESSING_VERSION, ProcessFile, process_alone, process_file};
pub use rules::AllowedKinds;
pub use view::View;

/// Where a catalog file lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// `github.com`
    pub host: String,
    /// `owner/name`
    pub full_name: String,
    /// The branch it was read from.
    pub branch: String,
    /// From the repository's root, without a leading slash.
    pub path: String,
}

impl Source {
    /// The branch that the file is on.
    pub fn branch_at(&self) -> BranchAt {
        let Self { host, full_name, branch, .. } = self.clone();
        BranchAt { host, full_name, branch }
    }
}

/// An entity after validation and processing, before it is merged with the rest of the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// `kind:namespace/name`, all in lower case: the entity's identity.
    pub entity_ref: String,
    /// The entity as Backstage would store it, without `relations`, `status`, `uid` and `etag`.
    pub body: Arc<Value>,
    /// The relations it declares, both directions of each.
    pub relations: Vec<Relation>,
    /// Why it is not the newest version of itself, when it is not.
    pub stale: Option<String>,
    /// Whether we made it (the Location of a catalog file) rather than the file's owner.
    pub generated: bool,
    /// The ref of the Location whose target its file is; `None` in a file that nothing led to.
    #[serde(default)]
    pub included_by: Option<String>,
    /// The document of its file, from 1; 0 when generated.
    pub document: u32,
    /// The line its document starts at, from 1; 0 when generated.
    pub line: u32,
}

/// One directed relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relation {
    /// The entity that shows it.
    pub source: String,
    /// `ownedBy`, `partOf`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The entity it points to, in lower case; it need not exist.
    pub target: String,
}

/// What a catalog file became.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessedFile {
    /// The generated Location first, unless another file led here, then the file's entities in
    /// order.
    pub entities: Vec<Entity>,
    /// Everything wrong with it.
    pub problems: Vec<Problem>,
    /// What its Locations point to, in order.
    pub targets: Vec<locations::Target>,
    /// The files that its placeholders name, read or not.
    pub dependencies: BTreeSet<Need>,
    /// How many bytes its placeholders brought in, or tried to.
    pub brought: usize,
}
