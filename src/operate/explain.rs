//! Why a repository is in the catalog, or why it is not.
//!
//! Of a repository that has a record, everything is told from the storage. Of another one GitHub
//! is asked, with the credentials of the provider that names its owner.

use super::approvals::Waiting;
use super::standing::Told;
use super::{OperateError, Operator};
use crate::accounts::host_of;
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::engine::queue::{Entry, Inspect, LedgerEntry, State};
use crate::engine::record::RepoRecord;
use crate::health::CheckState;
use crate::ids::{Account, AppId, FullName};
use crate::scan::ScanResult;
use crate::work::{RepoKey, WorkKey};

pub use super::standing::Place;

/// Most keys of each state that are looked through for the repository's.
const KEYS_MAX: usize = 10_000;

/// Most of the newest deliveries that are looked through for the repository's.
const DELIVERIES_MAX: usize = 10_000;

/// What is known of a repository.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// How it stands.
    pub place: Place,
    /// Why, in words.
    pub why: String,
    /// The providers that let it in.
    pub providers: Vec<String>,
    /// Which of their filters it passes, or which one leaves it out; `None` when no provider has
    /// a say.
    pub filter: Option<String>,
    /// What keeps its account from being read now, in words.
    pub troubles: Vec<String>,
    /// Its record.
    pub record: Option<RepoRecord>,
    /// The newest delivery that named it.
    pub last_event: Option<LedgerEntry>,
    /// Its keys in the queue.
    pub queue: Vec<Entry>,
    /// The removal that waits for approval.
    pub held: Option<Waiting>,
    /// Its account, for people, and that account's last scan.
    pub account: Option<(String, Option<ScanResult>)>,
    /// When its account is scanned next.
    pub next_scan: Option<Timestamp>,
}

impl Operator {
    /// Explains a repository; `key` is its key if it has a record.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn explain(
        &self,
        name: &FullName,
        key: Option<RepoKey>,
        inspect: &dyn Inspect,
    ) -> Result<Explanation, OperateError> {
        let record = match key {
            Some(key) => self.scanner.store.get(vec![key]).await?.into_iter().flatten().next(),
            None => None,
        };
        let found = self.discover().await;
        let (account, told) = match &record {
            Some(record) => (Some(record.account.clone()), self.of_record(record)),
            None => self.of_github(name).await?,
        };
        let is_it = |key: &WorkKey, hint: Option<&FullName>| match (&record, key) {
            (Some(record), WorkKey::Repo(key)) => *key == record.key,
            (None, WorkKey::Repo(_)) => hint.is_some_and(|hint| is_same(hint, name)),
            (_, WorkKey::Scan(_) | WorkKey::Installations { .. }) => false,
        };
        let mut queue = Vec::new();
        for state in [State::Dead, State::Held, State::Waiting] {
            let (entries, _) = inspect.list(state, KEYS_MAX).await?;
            queue.extend(entries.into_iter().filter(|e| is_it(&e.key, e.hint.name.as_ref())));
        }
        let waiting = self.waiting().await?;
        let of_record = |one: &Waiting| record.as_ref().is_some_and(|r| r.key == one.key);
        let held = waiting.into_iter().find(of_record);
        let last_event = last_event(name, inspect).await?;
        let mut troubles = Vec::new();
        for (whose, trouble) in found {
            if whose.is_none() || whose == account {
                troubles.push(trouble);
            }
        }
        if let Some(account) = &account {
            troubles.extend(self.troubles_of(account, name, inspect).await?);
        }
        let (account, next_scan) = self.scans_of(account, name).await?;
        let Told { place, why, providers, filter } = told;
        let found = Explanation {
            place,
            why,
            providers,
            filter,
            troubles,
            record,
            last_event,
            queue,
            held,
            account,
            next_scan,
        };
        Ok(found)
    }

    /// Learns where the Apps are installed that nobody has asked for yet: before that, what they
    /// read looks like a stranger's. Returns what is wrong, and for which account.
    async fn discover(&self) -> Vec<(Option<Account>, String)> {
        let mut troubles = Vec::new();
        for provider in self.scanner.membership.providers() {
            let (Some(app), Ok(host)) = (provider.app.map(AppId), host_of(provider)) else {
                continue;
            };
            if !self.scanner.membership.undiscovered(&host).contains(&app) {
                continue;
            }
            match self.scanner.accounts.discover(&host, app).await {
                Ok(found) => {
                    troubles.extend(found.installations.into_iter().filter_map(|one| {
                        Some((Some(one.owner.account.clone()), one.why_not(app)?))
                    }))
                }
                Err(error) => {
                    troubles.push((None, format!("App {app} on {host} is not known: {error}")));
                }
            }
        }
        troubles
    }

    /// What is known to be wrong with an account: its checks in health, and its gate.
    async fn troubles_of(
        &self,
        account: &Account,
        name: &FullName,
        inspect: &dyn Inspect,
    ) -> Result<Vec<String>, EngineError> {
        let label = self.scanner.accounts.label(account, Some(name));
        let is_its = |check: &str| check.split_once(':').is_some_and(|(_, whose)| whose == label);
        let is_bad = |state| matches!(state, CheckState::Degraded | CheckState::Failing);
        let checks = self.scanner.health.checks().into_iter();
        let bad = checks.filter(|(name, check)| is_its(name) && is_bad(check.state));
        let mut troubles: Vec<String> = bad.map(|(_, check)| check.detail).collect();
        for (whose, until, reason) in inspect.stats().await?.gates {
            if whose == *account {
                troubles.push(format!("nothing of {label} is read until {until}: {reason}"));
            }
        }
        Ok(troubles)
    }

    async fn scans_of(
        &self,
        account: Option<Account>,
        name: &FullName,
    ) -> Result<(Option<(String, Option<ScanResult>)>, Option<Timestamp>), EngineError> {
        let Some(account) = account else { return Ok((None, None)) };
        let label = self.scanner.accounts.label(&account, Some(name));
        let last = self.scanner.board.result(&account).await?;
        let next = last.as_ref().and_then(|last| self.next_scan(&label, last.ended_at));
        Ok((Some((label, last)), next))
    }
}

async fn last_event(
    name: &FullName,
    inspect: &dyn Inspect,
) -> Result<Option<LedgerEntry>, EngineError> {
    let (entries, _) = inspect.deliveries(DELIVERIES_MAX).await?;
    let names = |e: &LedgerEntry| e.delivery.repository.as_ref().is_some_and(|r| is_same(r, name));
    Ok(entries.into_iter().find(names))
}

fn is_same(one: &FullName, other: &FullName) -> bool {
    one.as_str().eq_ignore_ascii_case(other.as_str())
}
