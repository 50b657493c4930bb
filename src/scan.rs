//! One account: list its repositories, push the keys of those that differ from the store.
//!
//! A scan writes nothing but keys. An unchanged repository costs nothing beyond its line in the
//! listing, which carries blob ids; one that never had a catalog file costs nothing at all.
//!
//! Keys of repositories that the listing no longer shows, that filters no longer let in, or that
//! have lost all their catalog files, are pushed only if the whole set is small enough for the
//! brake: a lost permission and a mistyped filter or path look just like a wish. A larger set is
//! left alone as a whole and named in health, and so is everything when the listing is empty or
//! shorter than GitHub says the account is.

//!
//! After each page it keeps how far it is, so that a scan that failed, or whose process died, goes
//! on from there. While little is left of the account's points it is put off: see `reserve.rs`.

mod board;
mod paging;
mod preview;
mod progress;
mod reserve;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::accounts::Accounts;
use crate::clock::{SharedClock, Timestamp};
use crate::engine::dependency::Depends;
use crate::engine::queue::{PushKey, push_all};
use crate::engine::record::RepoRecord;
use crate::engine::store::{Summary, allowance};
use crate::engine::{EngineError, Queue, Store};
use crate::github::{GitHub, GitHubError, Owner, Page, Repository};
use crate::health::{CheckState, Health};
use crate::ids::Account;
use crate::membership::{Membership, Standing, wanted};
use crate::repository::FileQuery;
use crate::telemetry::Metrics;
use crate::work::{Hint, Lane, Reasons, RepoKey, WorkKey};

pub use board::{LOOK_AGAIN, ScanBoard, ScanResult};
pub use paging::{PAGE_MAX, PAGE_MIN};
pub use preview::{Planned, Preview};
use progress::Progress;
pub use progress::{PROGRESS_AGE_MAX, TRIES_MAX};

/// Most repositories of one account: a listing that goes on is not believed.
pub const LISTED_MAX: usize = 100_000;

/// Most pages of one run: all of them by the smallest page, with room for pages that are not
/// full. One that shows nothing new would go on for ever.
const PAGES_MAX: usize = 2 * LISTED_MAX / PAGE_MIN as usize;

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

/// How a scan left off, when GitHub answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With the last page.
    Whole,
    /// Put off until then, because what is left of the account's points is kept for events.
    PutOff(Timestamp),
}

/// What a listing is compared with.
struct Known {
    queries: Vec<FileQuery>,
    /// See [`progress::fingerprint`].
    fingerprint: String,
    stored: HashMap<RepoKey, Summary>,
    /// Whose removal the brake holds: to see them again lifts the hold.
    held: HashSet<RepoKey>,
    /// Whether records that depend on branches beyond the listing are read in any case.
    elsewhere: Elsewhere,
}

/// What is done about branches that a listing does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    /// Whoever depends on one is read.
    Read,
    /// Left to the next scan.
    Leave,
}

/// A scan under way.
struct Findings {
    /// What is kept between pages.
    progress: Progress,
    /// Set when nothing is to be pushed or kept: what would be.
    preview: Option<Preview>,
}

/// How a listing left off, when GitHub answered.
enum Listing {
    /// With the last page; how many repositories GitHub says there are.
    Whole(u64),
    /// See [`Ended::PutOff`].
    PutOff(Timestamp),
}

impl Known {
    fn is_read_anyway(&self, stored: &Summary) -> bool {
        self.elsewhere == Elsewhere::Read && matches!(stored.depends, Depends::Elsewhere(_))
    }
}

impl Scanner {
    /// Scans one account. `Ok(Err(_))` when GitHub gave no answer to believe.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn scan(&self, account: &Account) -> Result<Result<Ended, GitHubError>, EngineError> {
        let now = self.clock.now();
        let owner = match self.accounts.owner_to_scan(account).await {
            Ok(Some(owner)) => owner,
            // No provider names it any more: there is nothing to compare with.
            Ok(None) => {
                self.health.remove(&format!("scan:{account}"));
                progress::forget(&*self.store, account).await?;
                return Ok(Ok(Ended::Whole));
            }
            Err(error) => {
                let nothing = Progress::new(now, String::new());
                self.end(account, &nothing, Vec::new(), Some(&error)).await?;
                return Ok(Err(error));
            }
        };
        let known = self.known(&owner).await?;
        let kept = progress::load(&*self.store, account, &known.fingerprint, now).await?;
        let new = || Progress::new(now, known.fingerprint.clone());
        let mut findings = Findings { progress: kept.unwrap_or_else(new), preview: None };
        let patience = self.patience(&owner);
        let outcome = tokio::select! {
            outcome = self.list(&owner, &known, &mut findings) => outcome?,
            () = self.clock.sleep(patience) => Err(given_up(patience)),
        };
        let (held, error) = match outcome {
            Ok(Listing::PutOff(until)) => return Ok(Ok(Ended::PutOff(until))),
            Ok(Listing::Whole(total)) => {
                let held = self.push_leaving(account, total, &mut findings).await?;
                progress::forget(&*self.store, account).await?;
                (held, None)
            }
            Err(error) => (Vec::new(), Some(error)),
        };
        self.end(account, &findings.progress, held, error.as_ref()).await?;
        Ok(error.map_or(Ok(Ended::Whole), Err))
    }

    /// Counts a failure that no outage explains: a place in the listing that fails again and again
    /// is given up, and the scan starts afresh.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn stumbled(&self, account: &Account) -> Result<(), EngineError> {
        progress::stumbled(&*self.store, account).await
    }

    /// Makes the next scan of an account start with its first page: whoever asks for one wants to
    /// know how everything is from now on.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn ask_afresh(&self, account: &Account) -> Result<(), EngineError> {
        progress::ask_afresh(&*self.store, account, self.clock.now()).await
    }

    /// How long a run may take: what the most patient provider of the owner allows.
    fn patience(&self, owner: &Owner) -> Duration {
        let providers = self.membership.of_owner(&owner.account.host, &owner.login);
        let timeouts = providers.iter().map(|provider| provider.schedule.timeout);
        timeouts.max().unwrap_or(Duration::MAX)
    }

    async fn known(&self, owner: &Owner) -> Result<Known, EngineError> {
        let account = &owner.account;
        let providers = self.membership.of_owner(&account.host, &owner.login);
        let fingerprint = progress::fingerprint(&owner.login, &providers);
        let summaries = self.store.summaries(account.clone()).await?;
        Ok(Known {
            queries: wanted(providers).into_iter().map(|file| file.query).collect(),
            fingerprint,
            stored: summaries.into_iter().map(|s| (s.key.clone(), s)).collect(),
            held: self.store.held().await?.into_iter().map(|held| held.key).collect(),
            elsewhere: Elsewhere::Read,
        })
    }

    /// Pages through the listing from where the scan is, and pushes what differs page by page.
    async fn list(
        &self,
        owner: &Owner,
        known: &Known,
        findings: &mut Findings,
    ) -> Result<Result<Listing, GitHubError>, EngineError> {
        let account = &owner.account;
        for _ in 0..PAGES_MAX {
            // What a person asks to see is not put off.
            if findings.preview.is_none()
                && let Some(until) = self.reserved_until(account)
            {
                return Ok(Ok(Listing::PutOff(until)));
            }
            let page = match self.page(owner, known, &mut findings.progress).await {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            self.compare(account, &page.repositories, known, findings).await?;
            findings.progress.cursor = page.next;
            if findings.progress.cursor.is_none() {
                findings.note_vanished(known);
                return Ok(Ok(Listing::Whole(page.total)));
            }
            if findings.progress.listed.len() > LISTED_MAX {
                break;
            }
            if findings.preview.is_none() {
                findings.progress.tries = 0;
                progress::save(&*self.store, account, &findings.progress).await?;
            }
        }
        let error = format!("the listing did not end after {LISTED_MAX} repositories");
        Ok(Err(GitHubError::Transient(error)))
    }

    /// The next page, a smaller one where GitHub cannot answer.
    async fn page(
        &self,
        owner: &Owner,
        known: &Known,
        progress: &mut Progress,
    ) -> Result<Page, GitHubError> {
        loop {
            let (after, size) = (progress.cursor.as_deref(), progress.page.get());
            match self.github.list(owner, after, size, &known.queries).await {
                Ok(page) => {
                    progress.page.answered();
                    return Ok(page);
                }
                Err(GitHubError::TooMuch(why)) if progress.page.refused() => {
                    let next = progress.page.get();
                    tracing::debug!(account = %owner.account, size, next, "too large a page: {why}");
                }
                Err(error) => return Err(error),
            }
        }
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
            findings.progress.listed.insert(repository.key.clone());
            match self.difference(repository, known) {
                Difference::None => {}
                Difference::Leaves => {
                    self.note_leaving(repository, findings);
                    findings.progress.leaving.push(repository.key.clone());
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

    /// How each of a few listed repositories compares with its record, in order. Their files are
    /// those of `queries`.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn compare_few(
        &self,
        listed: &[Repository],
        queries: Vec<FileQuery>,
    ) -> Result<Vec<Difference>, EngineError> {
        let keys = listed.iter().map(|repository| repository.key.clone()).collect();
        let records = self.store.get(keys).await?;
        let summary = |record: &RepoRecord| (record.key.clone(), Summary::from(record));
        let known = Known {
            queries,
            fingerprint: String::new(),
            stored: records.iter().flatten().map(summary).collect(),
            held: self.store.held().await?.into_iter().map(|held| held.key).collect(),
            elsewhere: Elsewhere::Leave,
        };
        Ok(listed.iter().map(|repository| self.difference(repository, &known)).collect())
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
        if files.is_empty() && stored.is_some_and(|stored| stored.holds_entities) {
            // A mistyped path looks just the same in every repository.
            return Difference::Leaves;
        }
        let same = match stored {
            None => files.is_empty(),
            Some(stored) => {
                stored.node_id == listed.node_id
                    && stored.full_name == listed.full_name
                    && stored.listed == listed.listed
                    && stored.files == files
                    && stored.depends.agrees(listed.head.as_ref())
                    && !known.is_read_anyway(stored)
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
        let leaving = std::mem::take(&mut findings.progress.leaving);
        if leaving.is_empty() {
            return Ok(Vec::new());
        }
        let stored = self.store.summaries(account.clone()).await?;
        // What is approved is on its way out already, one read after the other.
        let counts = |s: &&Summary| s.holds_entities && !s.is_approved;
        let holding: HashMap<&RepoKey, &Summary> =
            stored.iter().filter(counts).map(|s| (&s.key, s)).collect();
        let losing = leaving.iter().filter(|key| holding.contains_key(key)).count() as u64;
        let listed = findings.progress.listed.len() as u64;
        let believable = listed > 0 && listed >= total;
        let small = losing <= allowance(holding.len() as u64);
        if losing > 0 && !(believable && small) {
            let named = |key: RepoKey| Some((holding.get(&key)?.full_name.to_string(), key));
            let mut held: Vec<_> = leaving.into_iter().filter_map(named).collect();
            held.sort();
            return Ok(held.into_iter().map(|(name, key)| (key, name)).collect());
        }
        let now = self.clock.now();
        let keys = leaving
            .into_iter()
            .map(|key| push_key(&key, account, Hint::new(Reasons::SCAN, now)))
            .collect();
        self.push(keys, findings).await?;
        Ok(Vec::new())
    }

    async fn push(&self, keys: Vec<PushKey>, findings: &mut Findings) -> Result<(), EngineError> {
        findings.progress.pushed += keys.len() as u64;
        if findings.preview.is_none() {
            push_all(&*self.queue, keys).await?;
        }
        Ok(())
    }

    /// Tells everybody how a scan ended.
    async fn end(
        &self,
        account: &Account,
        progress: &Progress,
        held: Vec<(RepoKey, String)>,
        error: Option<&GitHubError>,
    ) -> Result<(), EngineError> {
        let result = ScanResult {
            label: self.accounts.label(account, None),
            started_at: progress.started_at,
            ended_at: self.clock.now(),
            listed: progress.listed.len() as u64,
            pushed: progress.pushed,
            held,
            error: error.map(ToString::to_string),
        };
        self.tell(account, &result);
        self.board.post(account, result).await
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

impl Findings {
    /// Those that are stored and were not listed leave, too.
    fn note_vanished(&mut self, known: &Known) {
        for stored in known.stored.values() {
            if self.progress.listed.contains(&stored.key) {
                continue;
            }
            self.progress.leaving.push(stored.key.clone());
            self.plan_vanished(&stored.full_name);
        }
    }
}

fn given_up(patience: Duration) -> GitHubError {
    let seconds = patience.as_secs();
    GitHubError::Transient(format!("given up after {seconds} s (schedule.timeout)"))
}

/// How a listed repository compares with its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// They agree, or it is none of ours and has no record.
    None,
    /// It is to be read.
    Differs,
    /// It has a record, and no provider's filters let it in.
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
         lists, filters no longer let in, or that have no catalog file any more: {shown}{rest}; \
         they stay in the catalog until `cuelight scan --approve-removals {account}`",
        held.len()
    )
}
