//! The heartbeat: between full scans, one question an account for what changed last.
//!
//! It asks for the repositories pushed to last, those changed last, and how many there are: one
//! call, one point. What differs from its record gets its key pushed, as a scan would. What the two
//! pages cannot tell, only the full listing can, so then the account's scan key is pushed: the
//! number of repositories is not what was expected (one was deleted, or moved, or hidden), more
//! changed than a page shows, or a filter no longer lets one in (how many leave at once is the
//! brake's business, and the scan knows all of them).
//!
//! A repository whose default branch has another head than at the last heartbeat may be one that
//! others include files of: those of them that were not read since are pushed too. Of other
//! branches no head is known, so they are read for a push once an hour at most; see `included.rs`.
//!
//! # What it costs
//! A loop a provider, no key: it writes nothing but a note an account, keys where something
//! differs, and asks nothing while the account's gate is closed, while little is left of its
//! points, or when another replica or provider has just asked for the same account. It does ask
//! right after a scan: what changed on the pages that the scan had behind it is seen then. Its keys
//! wait in the lower lane, so that no webhook waits behind them; where no webhook comes there is
//! nothing in the upper one. A repository that goes on differing (its file cannot be read, say) is
//! pushed again after 1, 2, 4, 8, … heartbeats, and scans for a heartbeat's sake cost at most
//! [`SCAN_POINTS_PER_HOUR`] however large the account.
//!
//! # Races accepted
//! Two replicas that look at the note in the same instant both ask. Two changes of one second on
//! either side of a question, and a deletion and a creation around a scan, may hide each other
//! until the next scan. Accounts where an App sees selected repositories only are left out: the
//! question would show others too.

mod heads;
mod included;
mod mark;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::accounts::host_of;
use crate::clock::Timestamp;
use crate::config::{Frequency, Provider};
use crate::engine::EngineError;
use crate::engine::queue::{Inspect, PushKey, push_all};
use crate::github::{FileSeen, GitHubError, LATEST_MAX, Latest, Owner, Repository};
use crate::health::CheckState;
use crate::ids::{Account, FullName, Host, InvalidId, NodeId, Oid};
use crate::membership::wanted;
use crate::repository::{FileQuery, Listed};
use crate::scan::{Difference, ScanResult, Scanner};
use crate::telemetry::Metrics;
use crate::webhook::Routing;
use crate::work::{Hint, Lane, Reasons, RepoKey, WorkKey};

use mark::{Mark, is_early};

pub use mark::SCAN_POINTS_PER_HOUR;

/// Accounts of one provider that are asked at the same time: far below GitHub's hundred.
const ACCOUNTS_AT_ONCE: usize = 8;

/// Smallest page after time-outs: still more than most accounts change in a minute.
const PAGE_MIN: u32 = 10;

/// How long the scan of the start is waited for before a heartbeat asks for one of its own.
const START_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The heartbeats of all providers.
pub struct Heartbeat {
    scanner: Arc<Scanner>,
    inspect: Arc<dyn Inspect>,
    /// Who depends on which branches.
    routing: watch::Receiver<Arc<Routing>>,
    started_at: Timestamp,
    memory: Mutex<HashMap<Account, Memory>>,
    /// Until when GitHub is not asked who the accounts of a provider are: nothing else is gated
    /// while nobody knows whose gate it would be.
    rests: Mutex<HashMap<String, Timestamp>>,
}

/// What this process remembers of an account.
struct Memory {
    /// The provider that it was last asked for.
    provider: String,
    /// When its last heartbeat began.
    at: Option<Timestamp>,
    /// Repositories a page.
    size: u32,
    /// What differed the last time, and how many times in a row it has.
    differing: HashMap<RepoKey, (Line, u32)>,
    /// What filters did not let in the last time.
    leaving: HashSet<RepoKey>,
}

/// What is compared of a repository.
type Line = (NodeId, FullName, Listed, Vec<Option<Oid>>);

/// Why a heartbeat came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Host(#[from] InvalidId),
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    #[error(transparent)]
    Storage(#[from] EngineError),
}

impl Heartbeat {
    /// Nothing asked yet.
    pub fn new(
        scanner: Arc<Scanner>,
        inspect: Arc<dyn Inspect>,
        routing: watch::Receiver<Arc<Routing>>,
    ) -> Self {
        let started_at = scanner.clock.now();
        let (memory, rests) = Default::default();
        Self { scanner, inspect, routing, started_at, memory, rests }
    }

    /// Runs one provider's heartbeat until `stop`; one under way then is dropped, which leaves
    /// nothing half done.
    pub async fn run(self: Arc<Self>, provider: Provider, stop: CancellationToken) {
        if provider.heartbeat == Frequency::Manual {
            let why = "trigger: manual, only scans find what webhooks missed";
            self.scanner.health.set(&check_of(&provider), CheckState::Off, why);
            return;
        }
        tokio::select! {
            () = self.cycle(&provider) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn cycle(&self, provider: &Provider) {
        let clock = &self.scanner.clock;
        clock.sleep(provider.schedule.initial_delay).await;
        loop {
            let now = clock.now();
            let next = provider.heartbeat.next_after_millis(now.0);
            clock.sleep(next.map_or(Duration::MAX, |next| Timestamp(next).since(now))).await;
            self.beat(provider).await;
        }
    }

    /// Asks once for each account of a provider, unless it was asked just now. How it went is told
    /// to health.
    pub async fn beat(&self, provider: &Provider) {
        let check = check_of(provider);
        let now = self.scanner.clock.now();
        if self.rests_of_providers().get(&provider.id).is_some_and(|until| *until > now) {
            return;
        }
        let (host, owners) = match self.owners(provider).await {
            Ok(found) => found,
            Err(trouble) => {
                if let Trouble::GitHub(error) = &trouble
                    && let Some(until) = error.rests_until(now)
                {
                    self.rests_of_providers().insert(provider.id.clone(), until);
                }
                return self.tell_failure(&check, &trouble);
            }
        };
        if provider.app.is_some() {
            self.scanner.health.remove(&check);
        }
        let asked = stream::iter(&owners).for_each_concurrent(ACCOUNTS_AT_ONCE, |owner| async {
            match self.ask(&host, owner, provider).await {
                Ok(Some(detail)) => {
                    Metrics::count(&self.scanner.metrics.heartbeats, "ok");
                    self.tell(&owner.account, CheckState::Ok, detail);
                }
                Ok(None) => {}
                Err(trouble) => self.tell_failure(&self.check(&owner.account), &trouble),
            }
        });
        asked.await;
        self.forget_others(provider, &owners);
    }

    async fn owners(&self, provider: &Provider) -> Result<(Host, Vec<Owner>), Trouble> {
        let host = host_of(provider)?;
        let owners = self.scanner.accounts.of_provider(&host, provider).await?;
        Ok((host, owners))
    }

    /// Asks for one account. `None` when it was not asked, else what to tell.
    async fn ask(
        &self,
        host: &Host,
        owner: &Owner,
        provider: &Provider,
    ) -> Result<Option<String>, Trouble> {
        let scanner = &self.scanner;
        let account = &owner.account;
        let now = scanner.clock.now();
        let scanned = scanner.board.result(account).await?.filter(|scan| scan.error.is_none());
        if self.rests(account, now).await? {
            return Ok(None);
        }
        let Some(mut mark) = self.claim(account, provider, now).await? else { return Ok(None) };
        let files = wanted(scanner.membership.of_owner(host, &owner.login));
        let queries: Vec<FileQuery> = files.into_iter().map(|file| file.query).collect();
        let asked = scanner.github.latest(owner, self.size(account), &queries).await;
        let Some(latest) = self.judged(account, now, asked).await? else {
            let why = "the App sees selected repositories, which webhooks and scans keep";
            self.tell(account, CheckState::Off, why.to_owned());
            return Ok(None);
        };
        let found = scanner.compare_few(&latest.repositories, queries).await?;
        // Before that the scan of the start is under way, or tried again, and sees for itself.
        let may_want_scan = provider.schedule.frequency == Frequency::Manual
            || scanned.as_ref().is_some_and(|scan| scan.ended_at >= self.started_at)
            || now.since(self.started_at) >= START_PATIENCE;
        let (mut keys, leaving) = self.sort(account, &latest, &found);
        keys.extend(self.including(&latest, &mut mark, now).await?);
        let pushed = keys.len();
        push_all(&*scanner.queue, keys).await?;
        mark.forgive(scanned.as_ref());
        if may_want_scan {
            let left = self.newly_leaving(account, leaving, scanned.as_ref());
            mark.want_scan(&latest, scanned.as_ref(), left, now);
        }
        mark.advance(&latest);
        let scan = mark.due_scan(scanned.as_ref(), now);
        if scan.is_some() {
            let hint = Hint::new(Reasons::HEARTBEAT, now);
            push_all(
                &*scanner.queue,
                vec![push_key(WorkKey::Scan(account.clone()), account, hint)],
            )
            .await?;
        }
        scanner.store.put_note(Mark::name(account), Some(mark.text())).await?;
        let total = latest.total;
        let mut detail = format!("of {total} repositories {pushed} were seen to differ last time");
        if let Some(why) = &scan {
            tracing::info!(account = %account, "{}: asks for a scan: {why}", self.check(account));
        }
        if let Some(why) = mark.owed() {
            detail = format!("{detail}; a scan is due: {why}");
        }
        Ok(Some(detail))
    }

    /// Whether the account's gate is closed, or what is left of its points is kept for events.
    async fn rests(&self, account: &Account, now: Timestamp) -> Result<bool, EngineError> {
        if self.scanner.reserved_until(account).is_some() {
            return Ok(true);
        }
        let gates = self.inspect.stats().await?.gates;
        Ok(gates.iter().any(|(gated, until, _)| gated == account && *until > now))
    }

    /// Takes this heartbeat of an account for this process and provider, and returns what the last
    /// one left; `None` when somebody has had it.
    async fn claim(
        &self,
        account: &Account,
        provider: &Provider,
        now: Timestamp,
    ) -> Result<Option<Mark>, EngineError> {
        let frequency = &provider.heartbeat;
        {
            let mut memory = self.lock();
            let memory = memory.entry(account.clone()).or_insert_with(|| Memory {
                provider: provider.id.clone(),
                at: None,
                size: LATEST_MAX,
                differing: HashMap::new(),
                leaving: HashSet::new(),
            });
            if memory.at.is_some_and(|at| is_early(frequency, at, now)) {
                return Ok(None);
            }
            memory.provider.clone_from(&provider.id);
            memory.at = Some(now);
        }
        let name = Mark::name(account);
        let store = &self.scanner.store;
        let notes = store.notes(name.clone()).await?;
        let note = notes.iter().find(|(found, _)| *found == name);
        let mut mark = note.and_then(|(_, text)| Mark::read(text)).unwrap_or_default();
        if mark.at.is_some_and(|at| is_early(frequency, at, now)) {
            return Ok(None);
        }
        mark.at = Some(now);
        store.put_note(name, Some(mark.text())).await?;
        Ok(Some(mark))
    }

    /// Closes the account's gate when the answer says so, and fits the page to what GitHub can do.
    async fn judged(
        &self,
        account: &Account,
        now: Timestamp,
        asked: Result<Option<Latest>, GitHubError>,
    ) -> Result<Option<Latest>, Trouble> {
        let fit = |size: u32| match &asked {
            Ok(_) => size.saturating_mul(2).min(LATEST_MAX),
            Err(error) if error.is_transient() => (size / 2).max(PAGE_MIN),
            Err(_) => size,
        };
        if let Some(memory) = self.lock().get_mut(account) {
            memory.size = fit(memory.size);
        }
        if let Err(error) = &asked
            && let Some(until) = error.rests_until(now)
        {
            self.scanner.queue.gate(account.clone(), until, error.to_string()).await?;
        }
        Ok(asked?)
    }

    /// The keys of what differs, and what filters do not let in although it is in the catalog.
    fn sort(
        &self,
        account: &Account,
        latest: &Latest,
        found: &[Difference],
    ) -> (Vec<PushKey>, HashMap<RepoKey, FullName>) {
        let now = self.scanner.clock.now();
        let (mut keys, mut leaving) = (Vec::new(), HashMap::new());
        let mut memory = self.lock();
        let Some(memory) = memory.get_mut(account) else { return (keys, leaving) };
        let mut last = std::mem::take(&mut memory.differing);
        for (repository, difference) in latest.repositories.iter().zip(found) {
            let key = &repository.key;
            match difference {
                Difference::None => {}
                Difference::Leaves => {
                    leaving.insert(key.clone(), repository.full_name.clone());
                }
                Difference::Differs => {
                    let line = line(repository);
                    let before = last.remove(key).filter(|(last, _)| *last == line);
                    let times = before.map_or(1, |(_, times)| times.saturating_add(1));
                    if times.is_power_of_two() {
                        let mut hint = Hint::new(Reasons::HEARTBEAT, now);
                        hint.node_id = Some(repository.node_id.clone());
                        hint.name = Some(repository.full_name.clone());
                        keys.push(push_key(WorkKey::Repo(key.clone()), account, hint));
                    }
                    memory.differing.insert(key.clone(), (line, times));
                }
            }
        }
        (keys, leaving)
    }

    /// One of those leaving that neither the last heartbeat nor the last scan has seen leaving.
    fn newly_leaving(
        &self,
        account: &Account,
        leaving: HashMap<RepoKey, FullName>,
        scanned: Option<&ScanResult>,
    ) -> Option<FullName> {
        let held = |key: &RepoKey| {
            scanned.is_some_and(|scan| scan.held.iter().any(|(held, _)| held == key))
        };
        let mut memory = self.lock();
        let memory = memory.get_mut(account)?;
        let is_new = |key: &RepoKey| !memory.leaving.contains(key) && !held(key);
        let new = leaving.iter().find(|(key, _)| is_new(key)).map(|(_, name)| name.clone());
        memory.leaving = leaving.into_keys().collect();
        new
    }

    fn size(&self, account: &Account) -> u32 {
        self.lock().get(account).map_or(LATEST_MAX, |memory| memory.size)
    }

    /// Forgets accounts that a provider no longer has.
    fn forget_others(&self, provider: &Provider, owners: &[Owner]) {
        let mut gone = Vec::new();
        self.lock().retain(|account, memory| {
            let stays = memory.provider != provider.id
                || owners.iter().any(|owner| owner.account == *account);
            if !stays {
                gone.push(account.clone());
            }
            stays
        });
        for account in gone {
            self.scanner.health.remove(&self.check(&account));
        }
    }

    fn check(&self, account: &Account) -> String {
        format!("heartbeat:{}", self.scanner.accounts.label(account, None))
    }

    fn tell(&self, account: &Account, state: CheckState, detail: String) {
        self.scanner.health.set(&self.check(account), state, detail);
    }

    fn tell_failure(&self, check: &str, trouble: &Trouble) {
        Metrics::count(&self.scanner.metrics.heartbeats, "failed");
        tracing::warn!(error = %trouble, "{check} failed");
        let detail = format!("the last heartbeat failed: {trouble}");
        self.scanner.health.set(check, CheckState::Degraded, detail);
    }

    fn rests_of_providers(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Account, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The check of a provider whose accounts are not known: an organisation's is its account's too.
fn check_of(provider: &Provider) -> String {
    match provider.app {
        Some(app) => format!("heartbeat:{}/app {app}", provider.host),
        None => {
            format!("heartbeat:{}/{}", provider.host, provider.organization.to_ascii_lowercase())
        }
    }
}

fn line(repository: &Repository) -> Line {
    let oid = |file: &Option<FileSeen>| file.as_ref().map(|file| file.oid.clone());
    (
        repository.node_id.clone(),
        repository.full_name.clone(),
        repository.listed.clone(),
        repository.files.iter().map(oid).collect(),
    )
}

fn push_key(key: WorkKey, account: &Account, hint: Hint) -> PushKey {
    PushKey { key, account: account.clone(), lane: Lane::Scan, hint }
}
