//! Reads what catalog files lead to, in rounds, for a whole batch of repositories at once.
//!
//! Processing says what it needs; all that a batch needs is read by one question of each account,
//! and processing is run again. Files of the repository itself are read at the commit that the
//! first read has shown. What the record holds of that commit, and of a record that is only made
//! afresh, is not asked for again. What is still missing after [`ROUNDS_MAX`] rounds counts as
//! unreadable: what was declared there before stays.
//!
//! A round that fails fails the unit as a first read that fails does, so that nothing is removed
//! because of it. Only another account's trouble does not hold up this one's for long: after some
//! attempts what lies there counts as unreadable.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;

use super::included::{Gathering, held_paths, is_default, is_own, need_of, no_branch};
use super::{Planner, Reconciler, Unit, panic_text};
use crate::catalog::expand::FILES_MAX;
use crate::catalog::{BranchAt, HeldTree, Need, Source};
use crate::engine::EngineError;
use crate::engine::dependency::{Dependency, Found, Place};
use crate::engine::record::RepoRecord;
use crate::github::{
    CommitRead, CommitSeen, Content, FileSeen, GitHubError, Paths, RepoAt, Repository, Revision,
    Seen,
};
use crate::ids::{Account, FullName, Host, Oid, RepoId};

/// Most rounds of a batch. Each is a call; a Location, its targets, and what their placeholders
/// name are two.
pub const ROUNDS_MAX: usize = 5;

/// Attempts that another account's passing trouble may cost: then the rest goes in without it.
const ATTEMPTS_FOR_OTHERS: u32 = 2;

/// Lists of paths that are asked for at the same time: GitHub asks for few calls at once.
const LISTS_AT_ONCE: usize = 4;

/// Why a batch came to nothing.
pub(super) enum Unplanned {
    /// The store cannot be read.
    Store(EngineError),
    /// A task ended without its units.
    Lost(String),
}

impl From<EngineError> for Unplanned {
    fn from(error: EngineError) -> Self {
        Self::Store(error)
    }
}

/// Where something that a unit needs is read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    account: Account,
    repository: RepoAt,
    revision: Revision,
}

/// Who waits for what of a spot.
#[derive(Default)]
struct Asked {
    files: BTreeMap<String, Vec<(usize, Source)>>,
    lists: Vec<(usize, BranchAt)>,
}

/// A commit of which the paths are to be listed, and who waits for them.
struct Listing {
    spot: Spot,
    commit: Oid,
    waiting: Vec<(usize, BranchAt)>,
}

impl Asked {
    fn waiting(&self) -> impl Iterator<Item = (usize, Need)> {
        let files = self.files.values().flatten().map(|(at, s)| (*at, Need::File(s.clone())));
        files.chain(self.lists.iter().map(|(at, branch)| (*at, Need::Tree(branch.clone()))))
    }
}

/// Why there is no spot.
enum Nowhere {
    /// For good, as far as the configuration goes.
    Unreadable(String),
    /// GitHub did not say whose it is.
    Failed(GitHubError),
}

impl Reconciler {
    /// Processes the files of all units to their end.
    pub(super) async fn gather(
        &self,
        planner: &Arc<Planner>,
        units: Vec<Unit>,
    ) -> Result<Vec<Unit>, Unplanned> {
        let mut units = advance(planner, units).await?;
        let mut needed_before = Vec::new();
        for (at, unit) in units.iter_mut().enumerate().filter(|(_, unit)| !unit.is_done()) {
            needed_before.extend(self.recall(unit).await?.into_iter().map(|need| (at, need)));
        }
        let mut rounds = 0;
        while units.iter().any(|unit| !unit.is_done()) {
            let of_unit = |(at, unit): (usize, &Unit)| {
                unit.needs().into_iter().map(move |need| (at, need)).collect::<Vec<_>>()
            };
            let mut needs: BTreeSet<(usize, Need)> =
                units.iter().enumerate().flat_map(of_unit).collect();
            if !needs.is_empty() && rounds < ROUNDS_MAX {
                needs.extend(std::mem::take(&mut needed_before));
                self.read_round(&mut units, needs).await;
                rounds += 1;
            } else {
                let why = format!("files that lead to files are followed {ROUNDS_MAX} times");
                for (at, need) in needs {
                    units[at].hold_unreadable(need, why.clone());
                }
            }
            units = advance(planner, units).await?;
        }
        Ok(units)
    }

    /// Takes from the store what the record holds of the commit that was read. Else what the
    /// record needed last time will mostly be needed again: it is returned to be read in the same
    /// round.
    async fn recall(&self, unit: &mut Unit) -> Result<Vec<Need>, EngineError> {
        let (Ok(Seen::Found(repository)), Some(record), Some(gathering)) =
            (&unit.seen, &unit.record, &mut unit.gathering)
        else {
            return Ok(Vec::new());
        };
        let is_same = record.head.is_some()
            && record.head == repository.head
            && *record.fingerprint == *self.processing.fingerprint;
        if !is_same && !unit.is_recalled {
            let files = record.dependencies.iter().filter(|d| matches!(d, Dependency::File { .. }));
            return Ok(files.map(|dependency| need_of(dependency, repository)).collect());
        }
        let texts = self.store.texts(record.key.clone()).await?;
        // The paths were asked for by these very files: others may have patterns of their own.
        let has_same_roots = gathering.is_of(record);
        let is_kept = |place: &Place| unit.is_recalled || *place == Place::Own(String::new());
        for dependency in record.dependencies.iter().filter(|d| is_kept(d.place())) {
            match (dependency, need_of(dependency, repository)) {
                (Dependency::File { found, .. }, Need::File(source)) => match found {
                    Found::Missing => gathering.hold(source, None),
                    Found::Blob(oid) => {
                        let Some(text) = texts.get(oid) else { continue };
                        let content = Content::Text(text.as_str().into());
                        gathering.hold(source, Some(FileSeen { oid: oid.clone(), content }));
                    }
                    Found::Unread => {}
                },
                (Dependency::Paths { .. }, Need::Tree(branch)) if is_same && has_same_roots => {
                    if let Some(paths) = known_paths(record) {
                        gathering.gathered.trees.insert(branch, HeldTree::Paths(paths));
                    }
                }
                _ => {}
            }
        }
        Ok(Vec::new())
    }

    /// Reads what units need: one question of each account for files, one of each commit for its
    /// paths.
    async fn read_round(&self, units: &mut [Unit], needs: BTreeSet<(usize, Need)>) {
        let mut asked: BTreeMap<Spot, Asked> = BTreeMap::new();
        for (at, need) in needs {
            let branch = need.branch();
            match self.spot(&units[at], &branch).await {
                Ok(spot) => {
                    let asked = asked.entry(spot).or_default();
                    match need {
                        Need::File(source) => {
                            let waiting = asked.files.entry(source.path.clone()).or_default();
                            waiting.push((at, source));
                        }
                        Need::Tree(branch) => asked.lists.push((at, branch)),
                    }
                }
                Err(Nowhere::Unreadable(why)) => units[at].hold_unreadable(need, why),
                Err(Nowhere::Failed(error)) => units[at].fail_elsewhere(need, &error),
            }
        }
        let mut by_account: BTreeMap<Account, Vec<(Spot, Asked)>> = BTreeMap::new();
        for (spot, asked) in asked {
            by_account.entry(spot.account.clone()).or_default().push((spot, asked));
        }
        let read = by_account.into_iter().map(|(account, asked)| self.read_account(account, asked));
        let mut lists = Vec::new();
        for (spot, asked, seen) in join_all(read).await.into_iter().flatten() {
            lists.extend(deliver(units, &spot, asked, seen));
        }
        let list = |Listing { spot, commit, waiting }| async move {
            let name = spot.repository.full_name();
            let paths = self.github.paths(&spot.account, name, &commit).await;
            (spot, waiting, paths)
        };
        let listed: Vec<_> = stream::iter(lists).map(list).buffered(LISTS_AT_ONCE).collect().await;
        for (spot, waiting, paths) in listed {
            deliver_paths(units, &spot, waiting, &paths);
        }
    }

    async fn read_account(
        &self,
        account: Account,
        asked: Vec<(Spot, Asked)>,
    ) -> Vec<(Spot, Asked, Result<CommitSeen, GitHubError>)> {
        let read = |(spot, asked): &(Spot, Asked)| CommitRead {
            repository: spot.repository.clone(),
            revision: spot.revision.clone(),
            paths: asked.files.keys().cloned().collect(),
        };
        let reads: Vec<CommitRead> = asked.iter().map(read).collect();
        let seen = self.github.read_files(&account, &reads).await;
        asked.into_iter().zip(seen).map(|((spot, asked), seen)| (spot, asked, seen)).collect()
    }

    /// Where a branch is read: the unit's own repository as the unit was read, another one with
    /// the credentials of its owner's account, which some provider has to name.
    async fn spot(&self, unit: &Unit, at: &BranchAt) -> Result<Spot, Nowhere> {
        let branch = Revision::of_address(&at.branch);
        if let Ok(Seen::Found(repository)) = &unit.seen
            && is_own(repository, at)
        {
            let commit = repository.head.clone().filter(|_| is_default(repository, at));
            let (node_id, full_name) = (repository.node_id.clone(), repository.full_name.clone());
            return Ok(Spot {
                account: unit.read_by.clone(),
                repository: RepoAt::Id { node_id, full_name },
                revision: commit.map_or(branch, Revision::Commit),
            });
        }
        let named = Host::parse(&at.host).ok().zip(FullName::parse(&at.full_name).ok());
        let Some((host, name)) = named else {
            let what = format!("{}/{} is no repository", at.host, at.full_name);
            return Err(Nowhere::Unreadable(what));
        };
        let account = self.accounts.of_login(&host, name.owner()).await.map_err(Nowhere::Failed)?;
        let account = account.ok_or_else(|| Nowhere::Unreadable(unnamed(&host, name.owner())))?;
        Ok(Spot { account, repository: RepoAt::Name(name), revision: branch })
    }
}

/// What to do about an owner that nobody named.
fn unnamed(host: &Host, owner: &str) -> String {
    format!(
        "no provider names {owner} on {host}; files of its repositories are read only with \
         credentials of its own: add one with `organization: {owner}` to \
         `catalog.providers.github`"
    )
}

/// The paths that the record was made from, if they are all that any pattern could fit.
fn known_paths(record: &RepoRecord) -> Option<Arc<[String]>> {
    let path = |dependency: &Dependency| match dependency {
        Dependency::File { place: Place::Own(branch), path, found }
            if branch.is_empty() && *found != Found::Missing =>
        {
            Some(path.clone())
        }
        _ => None,
    };
    let named = record.named_files().filter(|file| file.branch.is_empty());
    let named = named.map(|file| file.path.clone());
    let paths: Vec<String> = record.dependencies.iter().filter_map(path).chain(named).collect();
    // Beyond that some were left out.
    (paths.len() < FILES_MAX).then(|| paths.into())
}

/// Hands what was read of a spot to those who wait for it; returns whose paths are to be listed.
fn deliver(
    units: &mut [Unit],
    spot: &Spot,
    asked: Asked,
    seen: Result<CommitSeen, GitHubError>,
) -> Option<Listing> {
    let name = spot.repository.full_name();
    let broken =
        |what: &str| GitHubError::Transient(format!("{}: {name} {what}", spot.account.host));
    let is_own = matches!(spot.repository, RepoAt::Id { .. });
    let error = match seen {
        Ok(CommitSeen::Found { repository, commit, files }) => {
            for ((_, waiting), file) in asked.files.into_iter().zip(files) {
                for (at, source) in waiting {
                    units[at].note_id(&source.branch_at(), repository);
                    units[at].hold(source, file.clone());
                }
            }
            for (at, branch) in &asked.lists {
                units[*at].note_id(branch, repository);
            }
            let lists = Some(asked.lists).filter(|lists| !lists.is_empty());
            return lists.map(|waiting| Listing { spot: spot.clone(), commit, waiting });
        }
        Ok(CommitSeen::NoRepository) if !is_own => {
            let owner = name.owner();
            let why = format!(
                "the credentials for {owner} show no repository {name}; is it there, and may they \
                 see it?"
            );
            for (at, need) in asked.waiting() {
                units[at].hold_unreadable(need, why.clone());
            }
            return None;
        }
        Ok(CommitSeen::NoRepository) => broken("is not shown any more"),
        Ok(CommitSeen::NoCommit) if matches!(spot.revision, Revision::Commit(_)) => {
            broken("does not show the commit that was seen a moment ago")
        }
        Ok(CommitSeen::NoCommit) => {
            for (at, need) in asked.waiting() {
                units[at].hold_no_branch(need);
            }
            return None;
        }
        Err(error) => error,
    };
    for (at, need) in asked.waiting() {
        units[at].fail(spot, need, &error);
    }
    None
}

fn deliver_paths(
    units: &mut [Unit],
    spot: &Spot,
    waiting: Vec<(usize, BranchAt)>,
    paths: &Result<Paths, GitHubError>,
) {
    let paths = paths.as_ref().map(|paths| held_paths(paths, spot.repository.full_name()));
    for (at, branch) in waiting {
        match &paths {
            Ok(held) => {
                if let Some(gathering) = &mut units[at].gathering {
                    gathering.gathered.trees.insert(branch, held.clone());
                }
            }
            Err(error) => units[at].fail(spot, Need::Tree(branch), error),
        }
    }
}

/// Runs processing over all units, off the async threads.
async fn advance(planner: &Arc<Planner>, mut units: Vec<Unit>) -> Result<Vec<Unit>, Unplanned> {
    let planner = planner.clone();
    let advanced = tokio::task::spawn_blocking(move || {
        for unit in &mut units {
            let run = catch_unwind(AssertUnwindSafe(|| planner.advance(unit)));
            if let Err(panic) = run {
                unit.panicked = Some(panic_text(panic.as_ref()));
            }
        }
        units
    });
    advanced.await.map_err(|error| Unplanned::Lost(error.to_string()))
}

impl Unit {
    /// Whether nothing more can be done for it.
    fn is_done(&self) -> bool {
        let has_failed = self.seen.is_err() || self.panicked.is_some();
        has_failed || self.gathering.as_ref().is_none_or(Gathering::is_done)
    }

    /// What has to be read for it; nothing once it has failed.
    fn needs(&self) -> BTreeSet<Need> {
        let is_alive = self.seen.is_ok() && self.panicked.is_none();
        let gathering = self.gathering.as_ref().filter(|_| is_alive);
        gathering.map(Gathering::needs).unwrap_or_default()
    }

    fn repository(&self) -> Option<&Repository> {
        match &self.seen {
            Ok(Seen::Found(repository)) => Some(repository),
            _ => None,
        }
    }

    fn hold(&mut self, source: Source, seen: Option<FileSeen>) {
        if let Some(gathering) = &mut self.gathering {
            gathering.hold(source, seen);
        }
    }

    fn hold_unreadable(&mut self, need: Need, why: String) {
        if let Some(gathering) = &mut self.gathering {
            gathering.hold_unreadable(need, why);
        }
    }

    fn note_id(&mut self, at: &BranchAt, id: RepoId) {
        let is_other = self.repository().is_some_and(|repository| !is_own(repository, at));
        if let Some(gathering) = self.gathering.as_mut().filter(|_| is_other) {
            gathering.ids.insert(at.clone(), id);
        }
    }

    /// A branch that is not there has no files; but one that was read a moment ago is only not
    /// shown.
    fn hold_no_branch(&mut self, need: Need) {
        let Some(gathering) = &mut self.gathering else { return };
        let is_root = |at: &BranchAt| gathering.roots.iter().any(|r| r.source.branch_at() == *at);
        let branch = need.branch();
        if is_root(&branch) {
            let what = "a branch that was read a moment ago is not shown any more";
            self.seen = Err(GitHubError::Transient(what.to_owned()));
            return;
        }
        gathering.hold_unreadable(need, no_branch(&branch));
    }

    fn fail(&mut self, spot: &Spot, need: Need, error: &GitHubError) {
        if spot.account == self.read_by {
            self.seen = Err(error.clone());
        } else {
            self.fail_elsewhere(need, error);
        }
    }

    /// Another account's trouble: its limits and credentials are not this one's.
    fn fail_elsewhere(&mut self, need: Need, error: &GitHubError) {
        if error.is_transient() && self.attempt <= ATTEMPTS_FOR_OTHERS {
            self.seen = Err(GitHubError::Transient(error.to_string()));
        } else {
            self.hold_unreadable(need, error.to_string());
        }
    }
}
