//! What a scan knows of a record without reading all of it, and the form it is stored in.

use serde::{Deserialize, Serialize};

use super::dependency::Depends;
use super::record::{FileRecord, RepoRecord};
use crate::ids::{FullName, NodeId, Oid};
use crate::repository::Listed;
use crate::work::RepoKey;

/// What a scan compares, without reading whole records.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The repository.
    pub key: RepoKey,
    /// Its node id.
    pub node_id: NodeId,
    /// Its name.
    pub full_name: FullName,
    /// Fields that a listing shows, compared as a whole.
    pub listed: Listed,
    /// Blob oids by (provider, branch or `""` for the default one, path), sorted, of the files that
    /// providers name.
    pub files: Vec<(String, String, String, Oid)>,
    /// What else has to be as it was.
    pub depends: Depends,
    /// Whether it holds entities that its owner wrote.
    pub holds_entities: bool,
    /// Whether the loss of its entities is approved, and still waits for the read that confirms
    /// it.
    pub is_approved: bool,
}

/// The summary of a record whose removal nobody has approved.
impl From<&RepoRecord> for Summary {
    fn from(record: &RepoRecord) -> Self {
        StoredSummary::of(record).into_summary(record.key.clone(), record.holds_entities(), false)
    }
}

/// The part of a summary that engines keep as a text of its own beside the record.
#[derive(Serialize, Deserialize)]
pub struct StoredSummary {
    node_id: NodeId,
    full_name: FullName,
    listed: Listed,
    files: Vec<(String, String, String, Oid)>,
    #[serde(default)]
    depends: Depends,
}

impl StoredSummary {
    /// What is kept of this record.
    pub fn of(record: &RepoRecord) -> Self {
        let file =
            |f: &FileRecord| (f.provider.clone(), f.branch.clone(), f.path.clone(), f.oid.clone());
        let mut files: Vec<_> = record.named_files().map(file).collect();
        files.sort();
        Self {
            node_id: record.node_id.clone(),
            full_name: record.full_name.clone(),
            listed: record.listed.clone(),
            files,
            depends: Depends::of(&record.dependencies, record.head.as_ref()),
        }
    }

    /// The summary of the repository it was stored for.
    pub fn into_summary(self, key: RepoKey, holds_entities: bool, is_approved: bool) -> Summary {
        let Self { node_id, full_name, listed, files, depends } = self;
        Summary { key, node_id, full_name, listed, files, depends, holds_entities, is_approved }
    }
}
