//! From a repository as it was read to its record: which files count, and what they declare.

use std::collections::BTreeMap;

use super::Planner;
use crate::catalog::{Code, Entity, FileInput, Gathered, Problem, ProcessedFile, Source};
use crate::engine::record::{Claim, FileRecord, RepoRecord};
use crate::github::{Content, FileSeen, Repository};
use crate::ids::Oid;
use crate::membership::Wanted;
use crate::work::Hint;

impl Planner {
    /// The record, and the raw texts of its files by oid.
    pub(super) fn record(
        &self,
        repository: &Repository,
        wanted: &[Wanted],
        old: Option<&RepoRecord>,
        hint: &Hint,
    ) -> (RepoRecord, BTreeMap<Oid, String>) {
        let mut texts = BTreeMap::new();
        let mut files = Vec::new();
        for (asked, seen) in self.files.iter().zip(&repository.files) {
            let (Some(seen), Some(wanted)) = (seen, wanted.iter().find(|w| w.query == asked.query))
            else {
                continue;
            };
            files.push(self.file(repository, wanted, seen, old));
            if let Content::Text(text) = &seen.content {
                texts.insert(seen.oid.clone(), text.to_string());
            }
        }
        files.sort_by(|a, b| {
            (&a.provider, &a.branch, &a.path).cmp(&(&b.provider, &b.branch, &b.path))
        });
        let record = RepoRecord {
            key: repository.key.clone(),
            node_id: repository.node_id.clone(),
            account: repository.account.clone(),
            full_name: repository.full_name.clone(),
            created_at: repository.created_at,
            listed: repository.listed.clone(),
            checked_head: repository.head.clone(),
            head: repository.head.clone(),
            pushed_at: repository.pushed_at,
            files,
            dependencies: Vec::new(),
            reconciled_at: self.now,
            reconciled_for: hint.reasons,
            cued_at: hint.reasons.from_event().then_some(hint.first_seen),
            fingerprint: self.processing.fingerprint.to_string(),
            seq: 0,
        };
        (record, texts)
    }

    fn file(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        seen: &FileSeen,
        old: Option<&RepoRecord>,
    ) -> FileRecord {
        let configured = wanted.query.branch.as_deref();
        let branch = configured.unwrap_or_default();
        let path = &wanted.query.path;
        let previous: Vec<Entity> = old
            .into_iter()
            .flat_map(|record| &record.files)
            .filter(|f| f.branch == branch && &f.path == path)
            .flat_map(|f| f.entities.iter().map(|claim| claim.entity.clone()))
            .collect();
        let source = Source {
            host: repository.key.host.to_string(),
            full_name: repository.full_name.to_string(),
            branch: configured
                .or(repository.listed.default_branch.as_deref())
                .unwrap_or("HEAD")
                .to_owned(),
            path: path.clone(),
        };
        let processed = match &seen.content {
            Content::Text(text) => (self.processing.process)(&FileInput {
                source: &source,
                text,
                root: None,
                allowed: &self.processing.allowed,
                previous: &previous,
                gathered: &Gathered::default(),
            }),
            Content::TooLarge { bytes } => {
                unreadable(path, &format!("the file has {bytes} bytes"), previous)
            }
            Content::NotRead => unreadable(path, "the file could not be read", previous),
        };
        FileRecord {
            provider: wanted.provider.clone(),
            branch: branch.to_owned(),
            path: path.clone(),
            oid: seen.oid.clone(),
            entities: processed
                .entities
                .into_iter()
                .map(|entity| Claim { entity, claimed_seq: 0 })
                .collect(),
            problems: processed.problems,
            included: None,
        }
    }
}

/// A file that is there but is not read: what it declared before stays, marked.
fn unreadable(path: &str, what: &str, previous: Vec<Entity>) -> ProcessedFile {
    let message = format!("{what}; at most {} are read", crate::github::FILE_BYTES_MAX);
    let stay = |mut entity: Entity| {
        entity.stale = Some(message.clone());
        entity
    };
    let entities = previous.into_iter().map(stay).collect();
    let problem = Problem {
        code: Code::FileUnreadable,
        path: path.to_owned(),
        line: 1,
        column: 1,
        document: 1,
        entity_ref: None,
        message: message.clone(),
    };
    ProcessedFile { entities, problems: vec![problem], ..ProcessedFile::default() }
}
