//! One account: list its repositories, push the keys of those that differ from the store.
//!
//! A scan writes nothing but keys. An unchanged repository costs nothing beyond its line in the
//! listing, which carries blob ids; one that never had a catalog file costs nothing at all.
//!
//! Keys of repositories that the listing no longer shows, or that filters no longer let in, are
//! pushed only if the whole set is small enough for the brake: a lost permission and a mistyped
//! filter look just like a wish. A larger set is left alone as a whole and named in health, and so
//! is everything when the listing is empty or shorter than GitHub says the account is.

mod preview;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::accounts::Accounts;
use crate::clock::{SharedClock, Timestamp};
use crate::engine::queue::{PushKey, push_all};
use crate::engine::store::{Summary, allowance};
use crate::engine::{EngineError, Queue, Store};
use crate::github::{GitHub, GitHubError, Owner, Repository};
use crate::health::{CheckState, Health};
use crate::ids::Account;
use crate::membership::{Membership, Standing, wanted};
use crate::repository::FileQuery;
use crate::telemetry::Metrics;
use crate::work::{Hint, Lane, Reasons, RepoKey, WorkKey};

pub use preview::{Planned, Preview};

/// Repositories per page: GitHub's maximum.
pub const PAGE_MAX: u32 = 100;

/// Most pages of one scan: 100,000 repositories; a listing that goes on is not believed.
pub const PAGES_MAX: usize = 1000;

/// Most names that a health text shows of a set that is held.
const NAMES_SHOWN_MAX: usize = 10;

/// What scanning needs.
pub struct Scanner {
    /// Where repositories are listed.
    pub github: GitHub,
    /// Who owns what.
    pub accounts: Arc<Accounts>,
    /// Which repositories count.
    pub membership: Arc<Membership>,
    /// Where keys go.
    pub queue: Arc<dyn Queue>,
    /// What is compared with.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// Where the result is told.
    pub health: Arc<Health>,
    /// Counts.
    pub metrics: Metrics,
    /// Who waits for results.
    pub board: Arc<ScanBoard>,
}

/// The result of the last scan of each account.
#[derive(Debug, Default)]
pub struct ScanBoard {
    last: Mutex<BTreeMap<Account, ScanResult>>,
    ended: Notify,
}

/// How a scan ended.
#[derive(Debug, Clone)]
pub struct ScanResult {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Repositories listed.
    pub listed: u64,
    /// Keys pushed.
    pub pushed: u64,
    /// Repositories whose entities would go, with their names, left alone because they are too
    /// many.
    pub held: Vec<(RepoKey, String)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl ScanBoard {
    /// The last result of each account.
    pub fn results(&self) -> BTreeMap<Account, ScanResult> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns once a scan of `account` that began at or after `from` has ended well.
    pub async fn wait(&self, account: &Account, from: Timestamp) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let done = |r: &ScanResult| r.started_at >= from && r.error.is_none();
            if self.results().get(account).is_some_and(done) {
                return;
            }
            ended.await;
        }
    }

    /// Notes that the removal of what the last scan of `account` left alone is approved.
    pub fn approved(&self, account: &Account) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = last.get_mut(account) {
            result.held.clear();
        }
    }

    /// Tells how a scan of `account` ended.
    pub fn post(&self, account: &Account, result: ScanResult) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), result);
        self.ended.notify_waiters();
    }
}

/// What a listing is compared with.
struct Known {
    queries: Vec<FileQuery>,
    stored: HashMap<RepoKey, Summary>,
    /// Whose removal the brake holds: to see them again lifts the hold.
    held: HashSet<RepoKey>,
}

/// What a listing found so far.
#[derive(Default)]
struct Findings {
    listed: HashSet<RepoKey>,
    pushed: u64,
    /// Keys whose entities would go, with the name.
    leaving: Vec<(RepoKey, String)>,
    /// Set when nothing is to be pushed: what would be.
    preview: Option<Preview>,
}

impl Scanner {
    /// Scans one account. `Ok(Err(_))` when GitHub gave no answer to believe.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn scan(&self, account: &Account) -> Result<Result<(), GitHubError>, EngineError> {
        let started_at = self.clock.now();
        let mut findings = Findings::default();
        let outcome = match self.accounts.owner_to_scan(account).await {
            Ok(Some(owner)) => self.list(&owner, &mut findings).await?,
            // No provider names it any more: there is nothing to compare with.
            Ok(None) => {
                self.health.remove(&format!("scan:{account}"));
                return Ok(Ok(()));
            }
            Err(error) => Err(error),
        };
        let held = match &outcome {
            Ok(total) => self.push_leaving(account, *total, &mut findings).await?,
            Err(_) => Vec::new(),
        };
        let result = ScanResult {
            started_at,
            ended_at: self.clock.now(),
            listed: findings.listed.len() as u64,
            pushed: findings.pushed,
            held,
            error: outcome.as_ref().err().map(ToString::to_string),
        };
        self.tell(account, &result);
        self.board.post(account, result);
        Ok(outcome.map(|_| ()))
    }

    /// Pages through the listing and pushes what differs, page by page. Returns how many
    /// repositories GitHub says there are.
    async fn list(
        &self,
        owner: &Owner,
        findings: &mut Findings,
    ) -> Result<Result<u64, GitHubError>, EngineError> {
        let account = &owner.account;
        let files = wanted(self.membership.of_owner(&account.host, &owner.login));
        let summaries = self.store.summaries(account.clone()).await?;
        let known = Known {
            queries: files.into_iter().map(|f| f.query).collect(),
            stored: summaries.into_iter().map(|s| (s.key.clone(), s)).collect(),
            held: self.store.held().await?.into_iter().map(|held| held.key).collect(),
        };
        let mut after: Option<String> = None;
        let mut total = 0;
        for _ in 0..PAGES_MAX {
            let page =
                match self.github.list(owner, after.as_deref(), PAGE_MAX, &known.queries).await {
                    Ok(page) => page,
                    Err(error) => return Ok(Err(error)),
                };
            total = page.total;
            self.compare(account, &page.repositories, &known, findings).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if after.is_some() {
            let error = format!("the listing did not end after {PAGES_MAX} pages");
            return Ok(Err(GitHubError::Transient(error)));
        }
        let vanished = known.stored.values().filter(|s| !findings.listed.contains(&s.key));
        let vanished: Vec<_> = vanished.map(|s| (s.key.clone(), s.full_name.to_string())).collect();
        findings.leaving.extend(vanished);
        Ok(Ok(total))
    }

    async fn compare(
        &self,
        account: &Account,
        repositories: &[Repository],
        known: &Known,
        findings: &mut Findings,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let mut keys = Vec::new();
        for repository in repositories {
            findings.listed.insert(repository.key.clone());
            match self.difference(repository, known) {
                Difference::None => {}
                Difference::Leaves => {
                    self.note_leaving(repository, findings);
                    let name = repository.full_name.to_string();
                    findings.leaving.push((repository.key.clone(), name));
                }
                Difference::Differs => {
                    findings.note_differing(repository, known);
                    let mut hint = Hint::new(Reasons::SCAN, now);
                    hint.node_id = Some(repository.node_id.clone());
                    hint.name = Some(repository.full_name.clone());
                    keys.push(push_key(&repository.key, account, hint));
                }
            }
        }
        self.push(keys, findings).await
    }

    fn difference(&self, listed: &Repository, known: &Known) -> Difference {
        let stored = known.stored.get(&listed.key);
        let standing =
            self.membership.standing(&listed.key.host, &listed.full_name, &listed.listed);
        let Standing::Member(providers) = standing else {
            return if stored.is_some() { Difference::Leaves } else { Difference::None };
        };
        let mut files = Vec::new();
        for file in wanted(providers) {
            let at = known.queries.iter().position(|query| *query == file.query);
            if let Some(Some(seen)) = at.and_then(|i| listed.files.get(i)) {
                let branch = file.query.branch.unwrap_or_default();
                files.push((file.provider, branch, file.query.path, seen.oid.clone()));
            }
        }
        files.sort();
        let same = match stored {
            None => files.is_empty(),
            Some(stored) => {
                stored.node_id == listed.node_id
                    && stored.full_name == listed.full_name
                    && stored.listed == listed.listed
                    && stored.files == files
                    && !known.held.contains(&listed.key)
            }
        };
        if same { Difference::None } else { Difference::Differs }
    }

    /// Pushes the keys of those that would lose their entities, or none of them. Returns the names
    /// of those left alone.
    async fn push_leaving(
        &self,
        account: &Account,
        total: u64,
        findings: &mut Findings,
    ) -> Result<Vec<(RepoKey, String)>, EngineError> {
        let leaving = std::mem::take(&mut findings.leaving);
        if leaving.is_empty() {
            return Ok(Vec::new());
        }
        let stored = self.store.summaries(account.clone()).await?;
        // What is approved is on its way out already, one read after the other.
        let counts = |s: &&Summary| s.holds_entities && !s.is_approved;
        let holding: HashSet<&RepoKey> = stored.iter().filter(counts).map(|s| &s.key).collect();
        let losing = leaving.iter().filter(|(key, _)| holding.contains(key)).count() as u64;
        let listed = findings.listed.len() as u64;
        let believable = listed > 0 && listed >= total;
        let small = losing <= allowance(holding.len() as u64);
        if losing > 0 && !(believable && small) {
            return Ok(leaving.into_iter().filter(|(key, _)| holding.contains(key)).collect());
        }
        let now = self.clock.now();
        let keys = leaving
            .into_iter()
            .map(|(key, _)| push_key(&key, account, Hint::new(Reasons::SCAN, now)))
            .collect();
        self.push(keys, findings).await?;
        Ok(Vec::new())
    }

    async fn push(&self, keys: Vec<PushKey>, findings: &mut Findings) -> Result<(), EngineError> {
        findings.pushed += keys.len() as u64;
        if findings.preview.is_none() {
            push_all(&*self.queue, keys).await?;
        }
        Ok(())
    }

    fn tell(&self, account: &Account, result: &ScanResult) {
        let label = self.accounts.label(account, None);
        let seconds = result.ended_at.since(result.started_at).as_secs_f64();
        let (state, detail) = match &result.error {
            Some(error) => (CheckState::Degraded, format!("the last scan failed: {error}")),
            None if !result.held.is_empty() => {
                (CheckState::Degraded, held_text(&result.held, &label))
            }
            None => (
                CheckState::Ok,
                format!(
                    "listed {} repositories in {seconds:.1} s, {} to reconcile",
                    result.listed, result.pushed
                ),
            ),
        };
        let outcome = if result.error.is_none() { "ok" } else { "failed" };
        Metrics::count(&self.metrics.scans, outcome);
        Metrics::observe(&self.metrics.scan_time, result.ended_at.since(result.started_at));
        tracing::info!(account = %account, outcome, "scan of {label}: {detail}");
        self.health.set_of_account("scan", account, &label, state, detail);
    }
}

enum Difference {
    None,
    Differs,
    Leaves,
}

fn push_key(key: &RepoKey, account: &Account, hint: Hint) -> PushKey {
    PushKey { key: WorkKey::Repo(key.clone()), account: account.clone(), lane: Lane::Scan, hint }
}

fn held_text(held: &[(RepoKey, String)], account: &str) -> String {
    let names = held.iter().take(NAMES_SHOWN_MAX).map(|(_, name)| name.as_str());
    let shown = names.collect::<Vec<_>>().join(", ");
    let more = held.len().saturating_sub(NAMES_SHOWN_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "the brake holds the removal of all entities of {} repositories that GitHub no longer \
         lists or filters no longer let in: {shown}{rest}; they stay in the catalog until \
         `cuelight scan --approve-removals {account}`",
        held.len()
    )
}
