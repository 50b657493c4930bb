//! The record of a repository: what the store keeps of it, in the form it is stored in.
//!
//! These types derive serde because this file *is* the storage format. A field added later needs
//! `#[serde(default)]`, so that older files stay readable.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::dependency::Dependency;
use crate::catalog::{Entity, FileEntry, Problem, RepoEntry};
use crate::clock::Timestamp;
use crate::ids::{Account, FullName, NodeId, Oid};
use crate::repository::Listed;
use crate::work::{Reasons, RepoKey};

/// A position in the change log; the first change has 1.
pub type Seq = u64;

/// What is known of one repository and of the entities it declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepoRecord {
    /// The repository.
    pub key: RepoKey,
    /// Its opaque node id, as last seen.
    pub node_id: NodeId,
    /// The account that owned it when it was last read.
    pub account: Account,
    /// `owner/name`.
    pub full_name: FullName,
    /// When GitHub created it.
    pub created_at: Option<Timestamp>,
    /// The fields that filters and the scan look at.
    pub listed: Listed,
    /// The head of the default branch; `None` while it is empty.
    pub head: Option<Oid>,
    /// The head up to which pushes are known not to matter.
    pub checked_head: Option<Oid>,
    /// When GitHub last saw a push.
    pub pushed_at: Option<Timestamp>,
    /// The catalog files found, and those that their Locations include, sorted by (provider,
    /// branch, path).
    pub files: Vec<FileRecord>,
    /// What else its entities were made from, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// When it was last reconciled.
    pub reconciled_at: Timestamp,
    /// Why.
    pub reconciled_for: Reasons,
    /// When the first webhook of that run was received, if one was: lag is measured from it.
    #[serde(default)]
    pub cued_at: Option<Timestamp>,
    /// Rules and processing version that its entities were made with.
    pub fingerprint: String,
    /// The change that wrote this record; set by the store.
    pub seq: Seq,
}

/// One catalog file of a repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The provider whose `catalogPath` it is.
    pub provider: String,
    /// The configured branch, `""` for the default branch; the branch itself for a file of another
    /// repository or branch.
    pub branch: String,
    /// The path from the repository's root, without a leading slash.
    pub path: String,
    /// The blob.
    pub oid: Oid,
    /// The entities it declares, the generated Location first.
    pub entities: Vec<Claim>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// Whose it is, when no provider names it but a Location includes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included: Option<Included>,
}

/// Whose file a Location includes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Included {
    /// The repository's own.
    Own,
    /// That of another branch, mostly of another repository.
    #[serde(rename_all = "camelCase")]
    Other {
        /// `github.com`
        host: String,
        /// `owner/name`, as the target has it.
        full_name: String,
    },
}

/// An entity and since when this repository has claimed its ref.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The entity.
    pub entity: Entity,
    /// The change by which the record first claimed the ref; 0 until the store sets it.
    pub claimed_seq: Seq,
}

impl RepoRecord {
    /// Whether it holds entities that its owner wrote.
    pub fn holds_entities(&self) -> bool {
        self.files.iter().any(|f| f.entities.iter().any(|c| !c.entity.generated))
    }

    /// The files that providers name, which a listing shows.
    pub fn named_files(&self) -> impl Iterator<Item = &FileRecord> {
        self.files.iter().filter(|file| file.included.is_none())
    }

    /// The blobs whose texts are kept with it.
    pub fn oids(&self) -> BTreeSet<&Oid> {
        let of_files = self.files.iter().map(|file| &file.oid);
        of_files.chain(self.dependencies.iter().filter_map(Dependency::oid)).collect()
    }

    /// The record as the view takes it.
    pub fn to_entry(&self) -> RepoEntry {
        let file = |file: &FileRecord| FileEntry {
            provider: file.provider.clone(),
            branch: file.branch.clone(),
            path: file.path.clone(),
            claims: file.entities.iter().map(|c| (c.entity.clone(), c.claimed_seq)).collect(),
            problems: file.problems.clone(),
        };
        RepoEntry {
            seq: self.seq,
            host: self.key.host.to_string(),
            id: self.key.id.0,
            full_name: self.full_name.to_string(),
            account: self.account.to_string(),
            default_branch: self.listed.default_branch.clone(),
            head: self.head.as_ref().map(ToString::to_string),
            reconciled_at: self.reconciled_at.0,
            files: self.files.iter().map(file).collect(),
        }
    }

    /// Sets `seq` and every `claimed_seq`: what `old` claimed already keeps its number, what is
    /// new gets `seq`. Every engine does this inside `apply`.
    pub fn assign_seq(&mut self, old: Option<&Self>, seq: Seq) {
        let held: HashMap<&str, Seq> = old
            .into_iter()
            .flat_map(|record| &record.files)
            .flat_map(|file| &file.entities)
            .map(|claim| (claim.entity.entity_ref.as_str(), claim.claimed_seq))
            .collect();
        self.seq = seq;
        for claim in self.files.iter_mut().flat_map(|file| &mut file.entities) {
            claim.claimed_seq = held.get(claim.entity.entity_ref.as_str()).copied().unwrap_or(seq);
        }
    }
}
