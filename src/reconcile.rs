//! A batch of repositories: read their present state, make the catalog equal to it.
//!
//! The batch's keys belong to one account and cost one call to GitHub. Nothing is taken from a
//! hint but the node id (where to look) and when to look again: a read that is *behind* what a
//! webhook told is applied like any other, and the key is due again a little later.
//!
//! What is removed here is removed on positive evidence only: GitHub answered twice that the
//! repository is not there, or showed it under an owner or with flags that the configuration does
//! not want; and an event, a scan or a person said so before the read did (see `evidence.rs`).
//! Whether the removal may go through now is the store's decision (the brake).

mod evidence;
mod files;
mod included;
mod ours;
mod rounds;

pub use self::included::{held_file, held_paths, no_branch};
pub use self::rounds::ROUNDS_MAX;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use self::included::Gathering;
use self::rounds::Unplanned;
use crate::accounts::Accounts;
use crate::catalog::{AllowedKinds, PROCESSING_VERSION, ProcessFile};
use crate::clock::{SharedClock, Timestamp};
use crate::engine::queue::{Lease, PushKey, Settlement};
use crate::engine::record::{FileRecord, RepoRecord};
use crate::engine::store::{Cause, Change};
use crate::engine::{EngineError, Store};
use crate::freshness::{behind, is_older};
use crate::github::{Content, FileSeen, GitHub, GitHubError, RepoRead, Repository, Seen};
use crate::ids::Account;
use crate::membership::{Membership, Standing, Wanted, wanted};
use crate::repository::FileQuery;
use crate::work::{Hint, Lane, Reasons, RepoKey, WorkKey};

/// What reconciling needs.
pub struct Reconciler {
    /// Where repositories are read.
    pub github: GitHub,
    /// Whose they are.
    pub accounts: Arc<Accounts>,
    /// Where records are kept; only read here, the worker writes.
    pub store: Arc<dyn Store>,
    /// Which repositories count.
    pub membership: Arc<Membership>,
    /// The processing of one file and the kinds it allows.
    pub processing: Processing,
    /// The time.
    pub clock: SharedClock,
}

/// How files become entities.
#[derive(Clone)]
pub struct Processing {
    /// The function.
    pub process: ProcessFile,
    /// The kinds that files may declare.
    pub allowed: Arc<AllowedKinds>,
    /// Changes whenever the same text might give other entities: such records are made afresh.
    pub fingerprint: Arc<str>,
}

impl Processing {
    /// Processing by `process` under these kinds.
    pub fn new(process: ProcessFile, allowed: AllowedKinds) -> Self {
        let fingerprint = format!("{PROCESSING_VERSION}:{}", allowed.fingerprint()).into();
        Self { process, allowed: Arc::new(allowed), fingerprint }
    }
}

/// What to do with one key of a batch.
#[derive(Debug)]
pub enum Plan {
    /// Write and settle.
    Apply {
        /// What to write; `None` leaves the record as it is.
        change: Option<Change>,
        /// How the key is settled.
        settlement: Settlement,
        /// On whose word entities may go.
        cause: Cause,
    },
    /// What was read would take entities away, which nothing else has told of: nothing is written.
    Left {
        /// The repository, and why it is doubted.
        why: String,
        /// How the key is settled.
        settlement: Settlement,
    },
    /// GitHub gave no answer that may be believed.
    Failed(GitHubError),
    /// The unit panicked.
    Panicked(String),
}

impl Plan {
    /// Why GitHub gave no answer, where it gave none.
    pub const fn error_mut(&mut self) -> Option<&mut GitHubError> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Apply { .. } | Self::Left { .. } | Self::Panicked(_) => None,
        }
    }
}

/// A unit with everything that its plan is made from.
struct Unit {
    account: Account,
    hint: Hint,
    delays: u32,
    attempt: u32,
    record: Option<RepoRecord>,
    seen: Result<Seen, GitHubError>,
    /// The account with whose credentials it was seen.
    read_by: Account,
    /// Whether it was not read but is as its record has it.
    is_recalled: bool,
    /// Its files, once they are processed.
    gathering: Option<Gathering>,
    /// What it said when it panicked.
    panicked: Option<String>,
}

impl Unit {
    fn new(
        lease: &Lease,
        record: Option<RepoRecord>,
        seen: Result<Seen, GitHubError>,
        read_by: Account,
    ) -> Self {
        Self {
            account: lease.account.clone(),
            hint: lease.hint.clone(),
            delays: lease.delays,
            attempt: lease.attempt,
            record,
            seen,
            read_by,
            is_recalled: false,
            gathering: None,
            panicked: None,
        }
    }
}

impl Reconciler {
    /// Plans for `leases`, in order: all of them `Repo` keys of one account.
    ///
    /// # Errors
    /// When the store cannot be read; nothing was done then.
    pub async fn plan(&self, leases: &[Lease]) -> Result<Vec<Plan>, EngineError> {
        let keys: Vec<RepoKey> = leases.iter().filter_map(repo_key).collect();
        let records = self.store.get(keys.clone()).await?;
        let Some(first) = leases.first() else { return Ok(Vec::new()) };
        if let Err(error) = self.whose(leases, &records).await {
            return Ok(leases.iter().map(|_| Plan::Failed(error.clone())).collect());
        }
        let files = self.membership.wanted_on_host(&first.account.host);
        let loss = self.accounts.lost(&first.account);
        if files.is_empty() || loss.is_some() {
            // There is nobody to ask, or nobody to ask for.
            let go = |(lease, it): (&Lease, &Option<RepoRecord>)| {
                ours::let_go(lease, it.as_ref(), loss.as_ref())
            };
            return Ok(leases.iter().zip(&records).map(go).collect());
        }
        let mut units = Vec::with_capacity(leases.len());
        let mut reads = Vec::with_capacity(leases.len());
        for ((lease, record), key) in leases.iter().zip(records).zip(keys) {
            // What was recalled once in vain is read.
            if lease.hint.reasons == Reasons::REPROCESS
                && lease.attempt == 1
                && let Some(seen) = self.stored(record.as_ref(), &files).await?
            {
                units.push((lease, record, Some(seen)));
                continue;
            }
            let known = record.as_ref().map(|r| r.node_id.clone());
            reads.push(RepoRead { key, node_id: lease.hint.node_id.clone().or(known) });
            units.push((lease, record, None));
        }
        let queries: Vec<_> = files.iter().map(|f| f.query.clone()).collect();
        let mut answers = self.github.read(&first.account, &reads, &queries).await.into_iter();
        let mut complete = Vec::with_capacity(units.len());
        for (lease, record, stored) in units {
            let missing = || Err(GitHubError::Transient("no answer for this repository".into()));
            let is_recalled = stored.is_some();
            let seen = match stored {
                Some(repository) => Ok(Seen::Found(Box::new(repository))),
                None => answers.next().unwrap_or_else(missing),
            };
            let (seen, read_by) = self.confirm(seen, lease, record.as_ref(), &queries).await;
            let unit = Unit::new(lease, record, seen, read_by);
            complete.push(Unit { is_recalled, ..unit });
        }
        self.plan_units(complete, files).await
    }

    /// The key to push for a record when cuelight starts: its own if it was made by other rules or
    /// another version, and its account's if no provider names its owner any more. Then a scan says
    /// whether the owner was renamed, or what becomes of all its repositories together.
    pub fn due_at_start(&self, record: &RepoRecord) -> Option<PushKey> {
        let owner = record.full_name.owner();
        let host = &record.key.host;
        // While nobody has told where an App is installed, its owners have no provider yet.
        let is_known = self.membership.undiscovered(host).is_empty();
        let (key, reasons) = if is_known && self.membership.of_owner(host, owner).is_empty() {
            (WorkKey::Scan(record.account.clone()), Reasons::SCHEDULE)
        } else if *record.fingerprint != *self.processing.fingerprint {
            (WorkKey::Repo(record.key.clone()), Reasons::REPROCESS)
        } else {
            return None;
        };
        let mut hint = Hint::new(reasons, self.clock.now());
        hint.name = Some(record.full_name.clone());
        Some(PushKey { key, account: record.account.clone(), lane: Lane::Scan, hint })
    }

    /// A repository that its key's account cannot see may have moved: it is gone only if the
    /// account of its record cannot see it either. Returns whose account has seen it.
    async fn confirm(
        &self,
        seen: Result<Seen, GitHubError>,
        lease: &Lease,
        record: Option<&RepoRecord>,
        queries: &[FileQuery],
    ) -> (Result<Seen, GitHubError>, Account) {
        match (&seen, record) {
            (Ok(Seen::Gone), Some(record))
                if record.account != lease.account
                    && self.accounts.lost(&record.account).is_none() =>
            {
                let read =
                    RepoRead { key: record.key.clone(), node_id: Some(record.node_id.clone()) };
                let again = self.github.read(&record.account, &[read], queries).await;
                (again.into_iter().next().unwrap_or(seen), record.account.clone())
            }
            _ => (seen, lease.account.clone()),
        }
    }

    /// The repository as its record has it, for processing it again without GitHub; `None` when
    /// it has to be read after all. Nothing is removed on the word of a record.
    async fn stored(
        &self,
        record: Option<&RepoRecord>,
        files: &[Wanted],
    ) -> Result<Option<Repository>, EngineError> {
        let Some(record) = record.filter(|record| admits(&self.membership, record)) else {
            return Ok(None);
        };
        let texts = self.store.texts(record.key.clone()).await?;
        let file = |wanted: &Wanted| {
            let branch = wanted.query.branch.as_deref().unwrap_or_default();
            let held =
                record.named_files().find(|f| f.branch == branch && f.path == wanted.query.path)?;
            let content =
                texts.get(&held.oid).map_or(Content::NotRead, |t| Content::Text(t.as_str().into()));
            Some(FileSeen { oid: held.oid.clone(), content })
        };
        let found: Vec<Option<FileSeen>> = files.iter().map(file).collect();
        let whole = found.iter().flatten().all(|f| matches!(f.content, Content::Text(_)))
            && found.iter().flatten().count() == record.named_files().count()
            && record.dependencies.iter().all(|d| d.is_recallable(|oid| texts.contains_key(oid)));
        Ok(whole.then(|| Repository {
            key: record.key.clone(),
            node_id: record.node_id.clone(),
            account: record.account.clone(),
            full_name: record.full_name.clone(),
            created_at: record.created_at,
            pushed_at: record.pushed_at,
            listed: record.listed.clone(),
            head: record.head.clone(),
            files: found,
        }))
    }

    /// Parsing is CPU work on foreign input, so it runs off the async threads, and a panic in one
    /// unit stays that unit's.
    async fn plan_units(
        &self,
        units: Vec<Unit>,
        files: Vec<Wanted>,
    ) -> Result<Vec<Plan>, EngineError> {
        let planner = Arc::new(Planner {
            membership: self.membership.clone(),
            processing: self.processing.clone(),
            now: self.clock.now(),
            files,
        });
        let count = units.len();
        let panicked = |what: String| (0..count).map(|_| Plan::Panicked(what.clone())).collect();
        let units = match self.gather(&planner, units).await {
            Ok(units) => units,
            Err(Unplanned::Store(error)) => return Err(error),
            Err(Unplanned::Lost(what)) => return Ok(panicked(what)),
        };
        let planned = tokio::task::spawn_blocking(move || {
            units.into_iter().map(|unit| planner.guarded(unit)).collect::<Vec<_>>()
        });
        Ok(planned.await.unwrap_or_else(|error| panicked(error.to_string())))
    }
}

/// Whether the configuration lets a repository in, as far as its record knows it.
fn admits(membership: &Membership, record: &RepoRecord) -> bool {
    let standing = membership.standing(&record.key.host, &record.full_name, &record.listed);
    matches!(standing, Standing::Member(_))
}

/// Whether the configuration names the files that a record has, for the repository as it was:
/// then what it loses is lost by what was changed there and not by another configuration.
fn was_wanted(membership: &Membership, old: Option<&RepoRecord>) -> bool {
    let Some(old) = old else { return false };
    let standing = membership.standing(&old.key.host, &old.full_name, &old.listed);
    let Standing::Member(providers) = standing else { return false };
    let wanted = wanted(providers);
    let is_wanted = |file: &FileRecord| {
        let branch = |w: &Wanted| w.query.branch.as_deref().unwrap_or_default() == file.branch;
        wanted.iter().any(|w| branch(w) && w.query.path == file.path)
    };
    old.named_files().all(is_wanted)
}

/// The repository of a `Repo` key.
pub fn repo_key(lease: &Lease) -> Option<RepoKey> {
    match &lease.key {
        WorkKey::Repo(key) => Some(key.clone()),
        WorkKey::Scan(_) | WorkKey::Installations { .. } => None,
    }
}

/// The pure half: from what was read to what is written.
struct Planner {
    membership: Arc<Membership>,
    processing: Processing,
    now: Timestamp,
    files: Vec<Wanted>,
}

impl Planner {
    fn guarded(&self, unit: Unit) -> Plan {
        catch_unwind(AssertUnwindSafe(|| self.plan(unit)))
            .unwrap_or_else(|panic| Plan::Panicked(panic_text(panic.as_ref())))
    }

    fn plan(&self, unit: Unit) -> Plan {
        if let Some(what) = unit.panicked {
            return Plan::Panicked(what);
        }
        let seen = match &unit.seen {
            Ok(seen) => seen,
            Err(error) => return Plan::Failed(error.clone()),
        };
        let settlement = match behind(seen, &unit.hint, unit.record.as_ref()) {
            Some(delays) => delays
                .get(unit.delays as usize)
                .map_or(Settlement::Done, |after| Settlement::Delay { after: *after }),
            None => Settlement::Done,
        };
        let old = unit.record.as_ref();
        if matches!(settlement, Settlement::Delay { .. }) && is_older(seen, old) {
            return Plan::Apply { change: None, settlement, cause: Cause::Other };
        }
        if let Seen::Found(repository) = seen
            && self.may_be_ours(repository, old)
        {
            let what = "it has another owner, and whose accounts are ours is not known yet";
            return Plan::Failed(GitHubError::Refused(what.to_owned()));
        }
        match self.change(&unit, seen) {
            Ok((change, cause)) => Plan::Apply { change, settlement, cause },
            Err(doubt) => {
                let name = old.map_or_else(String::new, |old| old.full_name.to_string());
                Plan::Left { why: format!("{name}: {doubt}"), settlement }
            }
        }
    }

    /// What to write and on whose word, or why the record stays though the read says otherwise.
    fn change(&self, unit: &Unit, seen: &Seen) -> Result<(Option<Change>, Cause), &'static str> {
        let old = unit.record.as_ref();
        let reasons = unit.hint.reasons;
        let remove = old.is_some().then_some(Change::Remove);
        let (change, is_named) = match seen {
            Seen::Gone => {
                evidence::doubts_absence(unit).map_or(Ok(()), Err)?;
                (remove, reasons.any(Reasons::DELETED))
            }
            Seen::Found(repository) => match self.standing(repository) {
                Standing::Member(_) => {
                    let gathering =
                        unit.gathering.as_ref().ok_or("its files were not looked at")?;
                    let (record, texts) = self.record(repository, gathering, old, &unit.hint);
                    let was_wanted = was_wanted(&self.membership, old);
                    evidence::doubts_loss(reasons, old, &record, was_wanted).map_or(Ok(()), Err)?;
                    let is_named = reasons.from_event() && was_wanted && self.is_up_to_date(old);
                    (Some(Change::Put { record: Box::new(record), texts }), is_named)
                }
                Standing::Stranger if self.is_renamed_owner(repository, old) => {
                    tracing::warn!(
                        repo.id = %repository.key, repo.name = %repository.full_name,
                        "the owner of {} was renamed, and no provider has the new name: its \
                         entities stay as they are", repository.full_name
                    );
                    (None, false)
                }
                Standing::FilteredOut(_) | Standing::Stranger => {
                    let was_member = old.is_some_and(|record| admits(&self.membership, record));
                    evidence::doubts_refusal(reasons, old, was_member).map_or(Ok(()), Err)?;
                    (remove, reasons.any(Reasons::CHANGED) && was_member)
                }
            },
        };
        Ok((change, if is_named { Cause::Event } else { Cause::Other }))
    }

    /// Whether nobody can tell yet that an owner is a stranger.
    fn may_be_ours(&self, repository: &Repository, old: Option<&RepoRecord>) -> bool {
        matches!(self.standing(repository), Standing::Stranger)
            && !self.is_renamed_owner(repository, old)
            && !self.membership.undiscovered(&repository.key.host).is_empty()
    }

    fn standing(&self, repository: &Repository) -> Standing<'_> {
        let Repository { key, full_name, listed, .. } = repository;
        self.membership.standing(&key.host, full_name, listed)
    }

    /// Whether a record was made by the rules of now.
    fn is_up_to_date(&self, old: Option<&RepoRecord>) -> bool {
        old.is_some_and(|record| *record.fingerprint == *self.processing.fingerprint)
    }

    /// Whether a repository has a stranger for an owner only because the owner was renamed: it is
    /// the account of the record still, and the configuration has its name of then.
    fn is_renamed_owner(&self, repository: &Repository, old: Option<&RepoRecord>) -> bool {
        old.is_some_and(|record| {
            let (host, login) = (&record.key.host, record.full_name.owner());
            record.account == repository.account
                && !self.membership.of_owner(host, login).is_empty()
        })
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}
