//! Whether an entity would be taken if it stood in a file of a repository: what
//! `POST /validate-entity` asks.
//!
//! What its placeholders and targets name is read, as far as it lies in the repository of that
//! file, and the repository is one that the configuration lets in: of others, whoever asks could
//! learn what only our credentials see. Without such a file nothing is read, and the verdict is
//! that of the rules alone. Promises to leave at least half of an account's points to the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::standing::{Place, Told};
use super::{OperateError, Operator};
use crate::catalog::expand::FILES_MAX;
use crate::catalog::verdict::{Beside, Verdict, verdict};
use crate::catalog::{BranchAt, Gathered, HeldFile, HeldTree, Need, Source, target};
use crate::engine::queue::Inspect;
use crate::engine::record::RepoRecord;
use crate::github::{Budget, CommitRead, CommitSeen, GitHubError, RepoAt, Revision};
use crate::ids::{Account, FullName, Host};
use crate::reconcile::{held_file, held_paths, no_branch};
use crate::work::RepoKey;

/// Entities that GitHub is asked about at the same time; others wait.
const READS_AT_ONCE: usize = 4;

/// Entities that are looked at at the same time, each on a thread of its own; others wait.
const LOOKS_AT_ONCE: usize = 2;

/// How much of an account's points is left alone, in percent: whoever asks in a loop may cost the
/// catalog no more than time.
const POINTS_KEPT_PERCENT: u64 = 50;

/// Most files and lists of files that are read for one entity: as many as a file may lead to.
const NAMED_MAX: usize = FILES_MAX;

/// Files that are asked for at once.
const ASKED_AT_ONCE: usize = 50;

/// Most bytes that are read for one entity.
const BYTES_MAX: usize = 32 << 20;

/// Most times that something is read for one entity: what it names, and nothing of what that names.
const ROUNDS_MAX: usize = 2;

/// What all who judge share.
pub struct Judging {
    reads: Semaphore,
    looks: Semaphore,
}

impl Default for Judging {
    fn default() -> Self {
        Self { reads: Semaphore::new(READS_AT_ONCE), looks: Semaphore::new(LOOKS_AT_ONCE) }
    }
}

/// The repository that an entity is to stand in.
struct Home {
    account: Account,
    name: FullName,
    /// The file, written as GitHub has it.
    file: Source,
}

impl Operator {
    /// Judges an entity, a text that is JSON, that is to stand in the file at `address`, an URL;
    /// `key` tells the key of a repository, given its host and name, if it has a record.
    ///
    /// # Errors
    /// When something has to be read of GitHub and it gives no answer to believe or is not to be
    /// asked now, or the storage fails.
    pub async fn judge(
        &self,
        entity: Arc<str>,
        address: &str,
        key: impl FnOnce(&Source) -> Option<RepoKey>,
        inspect: &dyn Inspect,
    ) -> Result<Verdict, OperateError> {
        let Some(file) = target::address(address) else {
            return self.judge_alone(entity).await;
        };
        let (mut verdict, mut gathered) =
            self.look_at(entity.clone(), Some(file.clone()), Gathered::default()).await?;
        if verdict.needs.is_empty() {
            return Ok(verdict);
        }
        let _turn = self.judging.reads.acquire().await;
        let key = key(&file);
        let Some(home) = self.home(address, file, key, inspect).await? else {
            return Ok(self.look_at(entity, None, gathered).await?.0);
        };
        for _ in 0..ROUNDS_MAX {
            let needs: Vec<Need> = std::mem::take(&mut verdict.needs).into_iter().collect();
            if needs.is_empty() {
                break;
            }
            if needs.len() > NAMED_MAX {
                let what = format!("it names more than {NAMED_MAX} files");
                verdict.errors.push(("InputError", what));
                break;
            }
            for some in needs.chunks(ASKED_AT_ONCE) {
                self.read_all(&home, some, &mut gathered).await?;
                if bytes(&gathered) > BYTES_MAX {
                    let what = format!("what it names has more than {BYTES_MAX} bytes together");
                    return Ok(Verdict { errors: vec![("InputError", what)], ..verdict });
                }
            }
            let file = Some(home.file.clone());
            (verdict, gathered) = self.look_at(entity.clone(), file, gathered).await?;
        }
        Ok(verdict)
    }

    /// Judges an entity, a text that is JSON, by the rules alone.
    ///
    /// # Errors
    /// When it makes us panic.
    pub async fn judge_alone(&self, entity: Arc<str>) -> Result<Verdict, OperateError> {
        Ok(self.look_at(entity, None, Gathered::default()).await?.0)
    }

    /// The verdict with what has been read, off the async threads: it may be long.
    async fn look_at(
        &self,
        entity: Arc<str>,
        file: Option<Source>,
        gathered: Gathered,
    ) -> Result<(Verdict, Gathered), OperateError> {
        let look = move || {
            let beside = file.as_ref().map(|file| Beside { file, gathered: &gathered });
            let verdict = verdict(&entity, beside);
            (verdict, gathered)
        };
        let _turn = self.judging.looks.acquire().await;
        let looked = tokio::task::spawn_blocking(look).await;
        looked.map_err(|error| OperateError::Panicked(error.to_string()))
    }

    /// The repository of a file, if the configuration lets it in.
    async fn home(
        &self,
        address: &str,
        file: Source,
        key: Option<RepoKey>,
        inspect: &dyn Inspect,
    ) -> Result<Option<Home>, OperateError> {
        let named = Host::parse(&file.host).ok().zip(FullName::parse(&file.full_name).ok());
        let Some((host, name)) = named else { return Ok(None) };
        let record = match key {
            Some(key) => self.scanner.store.get(vec![key]).await?.into_iter().flatten().next(),
            None => None,
        };
        if let Some(record) = record {
            self.may_read(&record.account, &record.full_name, inspect).await?;
            let is_in = is_let_in(self.of_record(&record))?;
            return Ok(is_in.then(|| Home::of_record(record, address, file)));
        }
        let accounts = &self.scanner.accounts;
        let Some(account) = accounts.of_login(&host, name.owner()).await? else { return Ok(None) };
        self.may_read(&account, &name, inspect).await?;
        let told = self.read(&account, &name, &host).await?;
        Ok(is_let_in(told)?.then_some(Home { account, name, file }))
    }

    /// Whether the account of a repository may be asked for this now.
    async fn may_read(
        &self,
        account: &Account,
        name: &FullName,
        inspect: &dyn Inspect,
    ) -> Result<(), OperateError> {
        let label = self.scanner.accounts.label(account, Some(name));
        let gates = inspect.stats().await?.gates;
        if let Some((_, until, why)) = gates.into_iter().find(|(whose, ..)| whose == account) {
            let what = format!("nothing of {label} is read until {until}: {why}");
            return Err(OperateError::NotNow(what));
        }
        let budget = self.scanner.github.budget(account).filter(|budget| {
            let kept = u128::from(budget.limit) * u128::from(POINTS_KEPT_PERCENT);
            u128::from(budget.remaining) * 100 < kept && self.scanner.clock.now() < budget.reset_at
        });
        match budget {
            None => Ok(()),
            Some(Budget { limit, remaining, reset_at }) => Err(OperateError::NotNow(format!(
                "{remaining} of {limit} points of GitHub's API are left for {label} and kept for \
                 the catalog until {reset_at}"
            ))),
        }
    }

    /// Reads what is needed of a repository.
    async fn read_all(
        &self,
        home: &Home,
        needs: &[Need],
        gathered: &mut Gathered,
    ) -> Result<(), GitHubError> {
        let mut asked: BTreeMap<BranchAt, Asked> = BTreeMap::new();
        for need in needs {
            let asked = asked.entry(need.branch()).or_default();
            match need {
                Need::File(source) => asked.files.push(source.clone()),
                Need::Tree(_) => asked.is_listed = true,
            }
        }
        let read = |(branch, asked): (&BranchAt, &Asked)| CommitRead {
            repository: RepoAt::Name(home.name.clone()),
            revision: Revision::of_address(&branch.branch),
            paths: asked.files.iter().map(|source| source.path.clone()).collect(),
        };
        let reads: Vec<CommitRead> = asked.iter().map(read).collect();
        let seen = self.scanner.github.read_files(&home.account, &reads).await;
        for ((branch, Asked { files, is_listed }), seen) in asked.into_iter().zip(seen) {
            let (commit, found) = match seen? {
                CommitSeen::Found { commit, files, .. } => (commit, files),
                CommitSeen::NoRepository => {
                    let name = &home.name;
                    let what = format!("the credentials of {} do not show {name}", name.owner());
                    return Err(GitHubError::Refused(what));
                }
                CommitSeen::NoCommit => {
                    let why = no_branch(&branch);
                    let unreadable = |s| (s, HeldFile::Unreadable(why.clone()));
                    gathered.files.extend(files.into_iter().map(unreadable));
                    if is_listed {
                        gathered.trees.insert(branch, HeldTree::Unreadable(why));
                    }
                    continue;
                }
            };
            gathered.files.extend(files.into_iter().zip(found.into_iter().map(held_file)));
            if is_listed {
                let paths = self.scanner.github.paths(&home.account, &home.name, &commit).await?;
                gathered.trees.insert(branch, held_paths(&paths, &home.name));
            }
        }
        Ok(())
    }
}

/// What is asked of a branch.
#[derive(Default)]
struct Asked {
    files: Vec<Source>,
    is_listed: bool,
}

impl Home {
    fn of_record(record: RepoRecord, address: &str, file: Source) -> Self {
        let default = record.listed.default_branch.clone();
        // The branch of an address ends at its first slash, unless it is known to go on.
        let base = Source {
            host: record.key.host.to_string(),
            full_name: record.full_name.to_string(),
            branch: default.unwrap_or_else(|| file.branch.clone()),
            path: String::new(),
        };
        let file = target::file(address, &base, &[]).unwrap_or(file);
        Self { account: record.account, name: record.full_name, file }
    }
}

/// Whether a repository counts, be it read already or not.
fn is_let_in(told: Told) -> Result<bool, OperateError> {
    match told.place {
        Place::In | Place::NoFile | Place::NotSeenYet => Ok(true),
        Place::FilteredOut | Place::Stranger | Place::NotShown => Ok(false),
        Place::Unknown => Err(OperateError::NotNow(told.why)),
    }
}

/// How much was read.
fn bytes(gathered: &Gathered) -> usize {
    let length = |file: &HeldFile| match file {
        HeldFile::Text(text) => text.len(),
        HeldFile::Missing | HeldFile::Unreadable(_) => 0,
    };
    gathered.files.values().map(length).sum()
}
