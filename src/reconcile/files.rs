//! From the files of a repository as they were read and processed to its record: pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use super::included::{Gathering, Root, need_of, place_of, source_of};
use crate::catalog::annotations::encode_path;
use crate::catalog::{Code, Entity, ExpandedFile, HeldFile, Need, Problem, ProcessedFile, Source};
use crate::engine::dependency::{Dependency, Found, Place};
use crate::engine::record::{Claim, FileRecord, Included, RepoRecord};
use crate::github::{Content, FILE_BYTES_MAX, Repository};
use crate::ids::Oid;
use crate::work::Hint;

impl Planner {
    /// The record, and the raw texts of its files by oid.
    pub(super) fn record(
        &self,
        repository: &Repository,
        gathering: &Gathering,
        old: Option<&RepoRecord>,
        hint: &Hint,
    ) -> (RepoRecord, BTreeMap<Oid, String>) {
        let (files, dependencies) = Files::of(repository, gathering, old).end();
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
            dependencies,
            reconciled_at: self.now,
            reconciled_for: hint.reasons,
            cued_at: hint.reasons.from_event().then_some(hint.first_seen),
            fingerprint: self.processing.fingerprint.to_string(),
            seq: 0,
        };
        let text = |(source, found): (&Source, &Found)| match (
            found,
            &gathering.gathered.files.get(source),
        ) {
            (Found::Blob(oid), Some(HeldFile::Text(text))) => Some((oid.clone(), text.to_string())),
            _ => None,
        };
        (record, gathering.found.iter().filter_map(text).collect())
    }
}

/// The files of a record in the making.
struct Files<'a> {
    repository: &'a Repository,
    gathering: &'a Gathering,
    /// The files of the old record, by where they lie now.
    old: BTreeMap<Source, &'a FileRecord>,
    /// Each file counts once, for the first that leads to it.
    taken: BTreeSet<Source>,
    files: Vec<FileRecord>,
    dependencies: BTreeSet<Dependency>,
}

impl<'a> Files<'a> {
    fn of(
        repository: &'a Repository,
        gathering: &'a Gathering,
        old: Option<&'a RepoRecord>,
    ) -> Self {
        let files = old.into_iter().flat_map(|record| &record.files);
        let mut made = Self {
            repository,
            gathering,
            old: files.map(|file| (source_of(file, repository), file)).collect(),
            taken: gathering.roots.iter().map(|root| root.source.clone()).collect(),
            files: Vec::new(),
            dependencies: BTreeSet::new(),
        };
        for root in &gathering.roots {
            match &root.expanded {
                Some(expanded) => made.expanded(root, &expanded.files),
                None => made.unreadable(root),
            }
        }
        for need in gathering.asked_for() {
            made.depend(need);
        }
        if gathering.roots.iter().any(|root| root.expanded.is_none()) {
            made.keep_included(old);
        }
        made
    }

    fn end(mut self) -> (Vec<FileRecord>, Vec<Dependency>) {
        let place = |file: &FileRecord| {
            (file.provider.clone(), file.branch.clone(), file.path.clone(), file.included.clone())
        };
        self.files.sort_by_key(place);
        (self.files, self.dependencies.into_iter().collect())
    }

    /// A root, and what it leads to.
    fn expanded(&mut self, root: &Root, files: &[ExpandedFile]) {
        let mut files = files.iter();
        let Some(first) = files.next() else { return };
        let at = self.files.len();
        let oid = root.seen.oid.clone();
        self.files.push(named(root, oid, first.processed.clone()));
        for ExpandedFile { source, processed } in files {
            if !self.taken.insert(source.clone()) {
                continue;
            }
            let read = match self.gathering.found.get(source) {
                Some(Found::Blob(oid)) => Some(oid),
                _ => self.old.get(source).map(|file| &file.oid),
            };
            match read.cloned() {
                Some(oid) => {
                    let file = self.included(&root.wanted.provider, source, oid, processed);
                    self.files.push(file);
                }
                // Never read: it declares nothing, and its problems are those of what leads there.
                None => self.files[at].problems.extend(processed.problems.clone()),
            }
        }
    }

    fn included(
        &self,
        provider: &str,
        source: &Source,
        oid: Oid,
        processed: &ProcessedFile,
    ) -> FileRecord {
        let place = place_of(self.repository, self.gathering, &source.branch_at());
        let mut problems = processed.problems.clone();
        if let Place::Other { host, full_name, branch, .. } = &place {
            // Under the record's own repository a path alone would lead nowhere.
            for problem in &mut problems {
                let (branch, path) = (encode_path(branch), encode_path(&source.path));
                problem.path = format!("https://{host}/{full_name}/blob/{branch}/{path}");
            }
        }
        let (branch, included) = match place {
            Place::Own(branch) => (branch, Included::Own),
            Place::Other { host, full_name, branch, .. } => {
                (branch, Included::Other { host, full_name })
            }
        };
        FileRecord {
            provider: provider.to_owned(),
            branch,
            path: source.path.clone(),
            oid,
            entities: claims(processed.entities.clone()),
            problems,
            included: Some(included),
        }
    }

    /// A root that is there but is not read: what it declared before stays, marked.
    fn unreadable(&mut self, root: &Root) {
        let what = match &root.seen.content {
            Content::TooLarge { bytes } => format!("the file has {bytes} bytes"),
            Content::Text(_) | Content::NotRead => "the file could not be read".to_owned(),
        };
        let message = format!("{what}; at most {FILE_BYTES_MAX} are read");
        let previous = self.old.get(&root.source).map_or(&[][..], |file| &file.entities);
        let processed = ProcessedFile {
            entities: stale(previous, &message),
            problems: vec![Problem {
                code: Code::FileUnreadable,
                path: root.source.path.clone(),
                line: 1,
                column: 1,
                document: 1,
                entity_ref: None,
                message,
            }],
            ..ProcessedFile::default()
        };
        self.files.push(named(root, root.seen.oid.clone(), processed));
    }

    /// What an unreadable root may have led to stays with it.
    fn keep_included(&mut self, old: Option<&RepoRecord>) {
        let message = "the file that leads here could not be read";
        for (source, file) in &self.old {
            if file.included.is_some() && self.taken.insert(source.clone()) {
                let entities = claims(stale(&file.entities, message));
                self.files.push(FileRecord { entities, ..(*file).clone() });
            }
        }
        let asked_for = self.gathering.asked_for();
        for dependency in old.into_iter().flat_map(|record| &record.dependencies) {
            let need = need_of(dependency, self.repository);
            if !asked_for.contains(&need) {
                self.dependencies.insert(dependency.clone());
            }
        }
    }

    fn depend(&mut self, need: &Need) {
        let is_root = |source: &Source| self.gathering.roots.iter().any(|r| r.source == *source);
        let place = |at| place_of(self.repository, self.gathering, at);
        let dependency = match need {
            Need::File(source) if is_root(source) => return,
            Need::File(source) => Dependency::File {
                place: place(&source.branch_at()),
                path: source.path.clone(),
                found: self.gathering.found.get(source).cloned().unwrap_or(Found::Unread),
            },
            Need::Tree(branch) => Dependency::Paths { place: place(branch) },
        };
        self.dependencies.insert(dependency);
    }
}

/// The record of a root.
fn named(root: &Root, oid: Oid, processed: ProcessedFile) -> FileRecord {
    FileRecord {
        provider: root.wanted.provider.clone(),
        branch: root.wanted.query.branch.clone().unwrap_or_default(),
        path: root.wanted.query.path.clone(),
        oid,
        entities: claims(processed.entities),
        problems: processed.problems,
        included: None,
    }
}

fn claims(entities: Vec<Entity>) -> Vec<Claim> {
    entities.into_iter().map(|entity| Claim { entity, claimed_seq: 0 }).collect()
}

fn stale(previous: &[Claim], message: &str) -> Vec<Entity> {
    let stay = |claim: &Claim| {
        let mut entity = claim.entity.clone();
        entity.stale = Some(message.to_owned());
        entity
    };
    previous.iter().map(stay).collect()
}
