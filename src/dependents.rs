//! Who has to be made afresh after a push to another branch or repository: an index, pure.
//!
//! It is a persistent value, so that a copy costs nothing and one change does not touch the rest.
//! Repositories are known by the name that a target has, and by their number once they were seen:
//! a renamed one is still the same. Case does not count in names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};

use crate::ids::{Account, FullName, Host, RepoId};
use crate::work::{Hint, Lane, PushKey, RepoKey, WorkKey};

/// Most records that one event makes be read: one push of keys takes some hundreds. A scan reads
/// the rest.
pub const DEPENDENTS_MAX: usize = 400;

/// A repository whose record depends on branches beyond its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The repository.
    pub key: RepoKey,
    /// Whose it is.
    pub account: Account,
    /// Its name.
    pub full_name: FullName,
}

impl Dependent {
    /// What to push so that it is read; the hint gets its name.
    pub fn to_push(&self, lane: Lane, hint: Hint) -> PushKey {
        let Self { key, account, full_name } = self.clone();
        let hint = Hint { name: Some(full_name), ..hint };
        PushKey { key: WorkKey::Repo(key), account, lane, hint }
    }
}

/// A branch that something depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watched {
    /// The host.
    pub host: Host,
    /// `owner/name` in lower case.
    pub name: String,
    /// The repository's number, once it was seen.
    pub id: Option<RepoId>,
    /// The branch.
    pub branch: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Target {
    Name(Host, String),
    Id(Host, RepoId),
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    dependent: Dependent,
    watched: BTreeSet<Watched>,
}

/// All dependents, by what they depend on.
#[derive(Debug, Clone, Default)]
pub struct Dependents {
    entries: HashMap<RepoKey, Arc<Entry>>,
    by_target: HashMap<Target, OrdMap<String, OrdSet<RepoKey>>>,
}

impl Dependents {
    /// Takes in what a record depends on, in place of what it did before; whether that changes
    /// anything.
    pub fn put(&mut self, dependent: Dependent, watched: BTreeSet<Watched>) -> bool {
        if watched.is_empty() {
            return self.remove(&dependent.key);
        }
        let entry = Entry { dependent, watched };
        let key = entry.dependent.key.clone();
        if self.entries.get(&key).is_some_and(|old| **old == entry) {
            return false;
        }
        self.remove(&key);
        for (target, branch) in entry.targets() {
            let branches = self.by_target.entry(target).or_default();
            branches.entry(branch.to_owned()).or_default().insert(key.clone());
        }
        self.entries.insert(key, Arc::new(entry));
        true
    }

    /// What a record depends on, as far as it is in the index.
    pub fn watched(&self, key: &RepoKey) -> Option<&BTreeSet<Watched>> {
        self.entries.get(key).map(|entry| &entry.watched)
    }

    /// Forgets a record; whether it was known.
    pub fn remove(&mut self, key: &RepoKey) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        for (target, branch) in entry.targets() {
            let Some(branches) = self.by_target.get_mut(&target) else { continue };
            if let Some(keys) = branches.get_mut(branch) {
                keys.remove(key);
                if keys.is_empty() {
                    branches.remove(branch);
                }
            }
            if branches.is_empty() {
                self.by_target.remove(&target);
            }
        }
        true
    }

    /// Whether anything depends on a repository.
    pub fn has(&self, repository: &RepoKey, name: &FullName) -> bool {
        targets_of(repository, name).iter().any(|target| self.by_target.contains_key(target))
    }

    /// Those that depend on a branch of a repository, or on any of its branches, in the order of
    /// their keys.
    pub fn of(
        &self,
        repository: &RepoKey,
        name: &FullName,
        branch: Option<&str>,
    ) -> Vec<&Dependent> {
        self.of_those(repository, name, |its| branch.is_none_or(|branch| its == branch))
    }

    /// Those that depend on one of these branches of a repository, in the order of their keys.
    pub fn of_those(
        &self,
        repository: &RepoKey,
        name: &FullName,
        is_meant: impl Fn(&str) -> bool,
    ) -> Vec<&Dependent> {
        let mut found: BTreeMap<&RepoKey, &Dependent> = BTreeMap::new();
        let targets = targets_of(repository, name);
        for branches in targets.iter().filter_map(|target| self.by_target.get(target)) {
            let keys = branches.iter().filter(|(its, _)| is_meant(its));
            for key in keys.flat_map(|(_, keys)| keys) {
                if let Some(entry) = self.entries.get(key) {
                    found.insert(key, &entry.dependent);
                }
            }
        }
        found.into_values().collect()
    }
}

/// How a repository may be known.
fn targets_of(repository: &RepoKey, name: &FullName) -> [Target; 2] {
    let host = &repository.host;
    [
        Target::Name(host.clone(), name.as_str().to_ascii_lowercase()),
        Target::Id(host.clone(), repository.id),
    ]
}

impl Entry {
    fn targets(&self) -> impl Iterator<Item = (Target, &str)> {
        self.watched.iter().flat_map(|watched| {
            let Watched { host, name, id, branch } = watched;
            let by_name = Target::Name(host.clone(), name.clone());
            let by_id = id.map(|id| Target::Id(host.clone(), id));
            [Some(by_name), by_id].into_iter().flatten().map(move |target| (target, &**branch))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OwnerId;

    fn key(id: u64) -> RepoKey {
        RepoKey { host: Host::github_com(), id: RepoId(id) }
    }

    fn name(text: &str) -> FullName {
        FullName::parse(text).expect("a name")
    }

    fn watched(name: &str, id: Option<u64>, branch: &str) -> Watched {
        let (name, branch) = (name.to_owned(), branch.to_owned());
        Watched { host: Host::github_com(), name, id: id.map(RepoId), branch }
    }

    fn put(dependents: &mut Dependents, id: u64, all: &[Watched]) -> bool {
        let account = Account { host: Host::github_com(), owner: OwnerId(1) };
        let full_name = name(&format!("acme/r{id}"));
        let dependent = Dependent { key: key(id), account, full_name };
        dependents.put(dependent, all.iter().cloned().collect())
    }

    #[track_caller]
    fn check(dependents: &Dependents, of: (u64, &str), branch: Option<&str>, expected: &[u64]) {
        let found = dependents.of(&key(of.0), &name(of.1), branch);
        let found: Vec<u64> = found.iter().map(|dependent| dependent.key.id.0).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_branch_has_the_records_that_depend_on_it_by_name_or_number() {
        let mut all = Dependents::default();
        assert!(put(&mut all, 1, &[watched("acme/docs", None, "main")]));
        let second = [watched("acme/docs", Some(9), "main"), watched("acme/docs", Some(9), "v2")];
        assert!(put(&mut all, 2, &second));
        assert!(!put(&mut all, 2, &second), "nothing new");
        check(&all, (9, "Acme/Docs"), Some("main"), &[1, 2]);
        check(&all, (9, "acme/renamed"), Some("main"), &[2]);
        check(&all, (8, "acme/docs"), Some("v2"), &[2]);
        check(&all, (9, "acme/docs"), Some("v3"), &[]);
        check(&all, (9, "acme/docs"), None, &[1, 2]);
        let others = all.of_those(&key(9), &name("acme/docs"), |branch| branch != "main");
        assert_eq!(others.iter().map(|it| it.key.id.0).collect::<Vec<_>>(), [2]);
        assert!(all.has(&key(9), &name("acme/renamed")) && !all.has(&key(8), &name("acme/x")));
        check(&all, (8, "acme/other"), None, &[]);
    }

    #[test]
    fn what_is_put_again_or_removed_leaves_nothing_behind() {
        let mut all = Dependents::default();
        put(&mut all, 1, &[watched("acme/docs", Some(9), "main")]);
        let before = all.clone();
        assert!(put(&mut all, 1, &[watched("acme/other", None, "main")]));
        check(&all, (9, "acme/docs"), None, &[]);
        check(&all, (7, "acme/other"), None, &[1]);
        check(&before, (9, "acme/docs"), None, &[1]);
        assert!(put(&mut all, 1, &[]), "it depends on nothing any more");
        assert!(!all.remove(&key(1)));
        assert!(all.entries.is_empty() && all.by_target.is_empty());
    }
}
