//! From a repository as it was read to the files that its entities come from, and what they still
//! need: pure.
//!
//! Catalog files are the roots. A file that is included, or that a placeholder names, is *own* when
//! it lies on a branch of the repository that is read anyway; any other is found by its address.

use std::collections::{BTreeMap, BTreeSet};

use super::{Planner, Unit};
use crate::catalog::{
    BranchAt, Code, Entity, Expanded, Gathered, Given, HeldFile, HeldTree, Need, Source, expand,
};
use crate::engine::dependency::{Dependency, Found, Place};
use crate::engine::record::{FileRecord, Included, RepoRecord};
use crate::github::{Content, FILE_BYTES_MAX, FileSeen, Paths, Repository, Seen};
use crate::ids::{FullName, RepoId};
use crate::membership::{Standing, Wanted, wanted};

/// A catalog file and what it became.
pub(super) struct Root {
    pub(super) wanted: Wanted,
    pub(super) seen: FileSeen,
    pub(super) source: Source,
    /// What it and the files that it leads to became; `None` while it cannot be read.
    pub(super) expanded: Option<Expanded>,
}

/// The files of a unit, as far as they have been read.
#[derive(Default)]
pub(super) struct Gathering {
    pub(super) roots: Vec<Root>,
    /// What processing is given.
    pub(super) gathered: Gathered,
    /// What was found at each place, for the record.
    pub(super) found: BTreeMap<Source, Found>,
    /// The numbers of other repositories, where they were seen.
    pub(super) ids: BTreeMap<BranchAt, RepoId>,
    /// The entities of each file after the last good run.
    previous: BTreeMap<Source, Vec<Entity>>,
}

impl Gathering {
    /// Whether all roots are processed to their end, or cannot be.
    pub(super) fn is_done(&self) -> bool {
        let mut expanded = self.roots.iter().filter_map(|root| root.expanded.as_ref());
        expanded.all(|expanded| expanded.needs.is_empty())
    }

    /// What has to be read before the roots are done.
    pub(super) fn needs(&self) -> BTreeSet<Need> {
        let expanded = self.roots.iter().filter_map(|root| root.expanded.as_ref());
        let needs = expanded.flat_map(|expanded| &expanded.needs);
        needs.filter(|need| !self.gathered.has(need)).cloned().collect()
    }

    /// Everything that was asked for.
    pub(super) fn asked_for(&self) -> BTreeSet<&Need> {
        let expanded = self.roots.iter().filter_map(|root| root.expanded.as_ref());
        expanded.flat_map(|expanded| &expanded.dependencies).collect()
    }

    /// Whether the roots are those that a record was made from, when all could be read and nothing
    /// was left out.
    pub(super) fn is_of(&self, record: &RepoRecord) -> bool {
        let root = |root: &Root| {
            let branch = root.wanted.query.branch.clone().unwrap_or_default();
            (branch, root.wanted.query.path.clone(), root.seen.oid.clone())
        };
        let file = |file: &FileRecord| (file.branch.clone(), file.path.clone(), file.oid.clone());
        let roots: BTreeSet<_> = self.roots.iter().map(root).collect();
        // What lies elsewhere may have patterns of its own for these paths.
        let is_doubtful = |file: &FileRecord| {
            matches!(file.included, Some(Included::Other { .. }))
                || file.problems.iter().any(|problem| {
                    matches!(problem.code, Code::FileUnreadable | Code::TargetInvalid)
                })
        };
        roots == record.named_files().map(file).collect() && !record.files.iter().any(is_doubtful)
    }

    /// Takes in what was at a place.
    pub(super) fn hold(&mut self, source: Source, seen: Option<FileSeen>) {
        let found = match &seen {
            None => Found::Missing,
            Some(FileSeen { oid, content: Content::Text(_) }) => Found::Blob(oid.clone()),
            Some(FileSeen { content: Content::TooLarge { .. } | Content::NotRead, .. }) => {
                Found::Unread
            }
        };
        self.found.insert(source.clone(), found);
        self.gathered.files.insert(source, held_file(seen));
    }

    /// Takes in that something cannot be had, and why.
    pub(super) fn hold_unreadable(&mut self, need: Need, why: String) {
        match need {
            Need::File(source) => {
                self.found.insert(source.clone(), Found::Unread);
                self.gathered.files.insert(source, HeldFile::Unreadable(why));
            }
            Need::Tree(branch) => {
                self.gathered.trees.insert(branch, HeldTree::Unreadable(why));
            }
        }
    }
}

/// A file as processing is given it.
pub fn held_file(seen: Option<FileSeen>) -> HeldFile {
    match seen.map(|seen| seen.content) {
        None => HeldFile::Missing,
        Some(Content::Text(text)) => HeldFile::Text(text),
        Some(Content::TooLarge { bytes }) => HeldFile::Unreadable(format!(
            "the file has {bytes} bytes; at most {FILE_BYTES_MAX} are read"
        )),
        Some(Content::NotRead) => HeldFile::Unreadable("the file could not be read".to_owned()),
    }
}

/// The files of a branch of the repository `name` as processing is given them.
pub fn held_paths(paths: &Paths, name: &FullName) -> HeldTree {
    match paths {
        Paths::Whole(paths) => HeldTree::Paths(paths.as_slice().into()),
        Paths::TooMany => HeldTree::Unreadable(format!(
            "{name} has more files than GitHub lists at once; name the files instead of a pattern"
        )),
    }
}

/// Why nothing can be read of a branch that is not there.
pub fn no_branch(at: &BranchAt) -> String {
    format!("{} shows no branch `{}` now", at.full_name, at.branch)
}

impl Planner {
    /// Processes the files of a unit as far as they are known; a panic stays the unit's.
    pub(super) fn advance(&self, unit: &mut Unit) {
        let Ok(Seen::Found(repository)) = &unit.seen else { return };
        let gathering = match &mut unit.gathering {
            Some(gathering) => gathering,
            none => {
                let Some(begun) = self.begin(repository, unit.record.as_ref()) else { return };
                none.insert(begun)
            }
        };
        let Gathering { roots, gathered, previous, .. } = gathering;
        for root in roots {
            let Content::Text(text) = &root.seen.content else { continue };
            if root.expanded.as_ref().is_some_and(|expanded| expanded.needs.is_empty()) {
                continue;
            }
            let allowed = &self.processing.allowed;
            let given = Given { source: &root.source, text, allowed, previous, gathered };
            root.expanded = Some(expand(&given, self.processing.process));
        }
    }

    /// The roots of a repository that counts, `None` of any other.
    fn begin(&self, repository: &Repository, old: Option<&RepoRecord>) -> Option<Gathering> {
        let Standing::Member(providers) = self.standing(repository) else { return None };
        let wanted = wanted(providers);
        let mut gathering = Gathering::default();
        for (asked, seen) in self.files.iter().zip(&repository.files) {
            let (Some(seen), Some(wanted)) = (seen, wanted.iter().find(|w| w.query == asked.query))
            else {
                continue;
            };
            let branch = wanted.query.branch.as_deref().unwrap_or_default();
            let source = own_source(repository, branch, &wanted.query.path);
            if matches!(seen.content, Content::Text(_)) {
                // A Location of another root may lead here.
                gathering.hold(source.clone(), Some(seen.clone()));
            }
            let (wanted, seen) = (wanted.clone(), seen.clone());
            gathering.roots.push(Root { wanted, seen, source, expanded: None });
        }
        for file in old.into_iter().flat_map(|record| &record.files) {
            let entities = file.entities.iter().map(|claim| claim.entity.clone());
            let of_file = gathering.previous.entry(source_of(file, repository)).or_default();
            of_file.extend(entities);
        }
        Some(gathering)
    }
}

/// A file on a branch of the repository that a provider reads.
fn own_source(repository: &Repository, configured: &str, path: &str) -> Source {
    let default = repository.listed.default_branch.as_deref().unwrap_or("HEAD");
    Source {
        host: repository.key.host.to_string(),
        full_name: repository.full_name.to_string(),
        branch: if configured.is_empty() { default } else { configured }.to_owned(),
        path: path.to_owned(),
    }
}

/// Where a file of a record lies now.
pub(super) fn source_of(file: &FileRecord, repository: &Repository) -> Source {
    match &file.included {
        None | Some(Included::Own) => own_source(repository, &file.branch, &file.path),
        Some(Included::Other { host, full_name }) => Source {
            host: host.clone(),
            full_name: full_name.clone(),
            branch: file.branch.clone(),
            path: file.path.clone(),
        },
    }
}

/// Where a dependency of a record lies now.
pub(super) fn need_of(dependency: &Dependency, repository: &Repository) -> Need {
    let at = |place: &Place, path: &str| match place {
        Place::Own(branch) => own_source(repository, branch, path),
        Place::Other { host, full_name, branch, .. } => Source {
            host: host.clone(),
            full_name: full_name.clone(),
            branch: branch.clone(),
            path: path.to_owned(),
        },
    };
    match dependency {
        Dependency::File { place, path, .. } => Need::File(at(place, path)),
        Dependency::Paths { place } => Need::Tree(at(place, "").branch_at()),
    }
}

/// Whether a branch is one of the repository's own; case does not count in its name.
pub(super) fn is_own(repository: &Repository, at: &BranchAt) -> bool {
    at.host.eq_ignore_ascii_case(repository.key.host.as_str())
        && at.full_name.eq_ignore_ascii_case(repository.full_name.as_str())
}

/// Whether a branch is the repository's default branch.
pub(super) fn is_default(repository: &Repository, at: &BranchAt) -> bool {
    is_own(repository, at) && repository.listed.default_branch.as_ref() == Some(&at.branch)
}

/// A branch as the record of `repository` names it.
pub(super) fn place_of(repository: &Repository, gathering: &Gathering, at: &BranchAt) -> Place {
    let is_read = |root: &Root| root.wanted.query.branch.as_ref() == Some(&at.branch);
    if is_default(repository, at) {
        Place::Own(String::new())
    } else if is_own(repository, at) && gathering.roots.iter().any(is_read) {
        Place::Own(at.branch.clone())
    } else {
        let BranchAt { host, full_name, branch } = at.clone();
        let id = gathering.ids.get(at).copied();
        Place::Other { host, full_name, branch, id }
    }
}
