//! Why a repository is in the catalog, or why it is not.
//!
//! Of a repository that has a record, everything is told from the storage. Of another one GitHub
//! is asked, with the credentials of the provider that names its owner.

use super::approvals::Waiting;
use super::{OperateError, Operator};
use crate::accounts::host_of;
use crate::clock::Timestamp;
use crate::config::Provider;
use crate::engine::EngineError;
use crate::engine::queue::{Entry, Inspect, LedgerEntry, State};
use crate::engine::record::RepoRecord;
use crate::github::{Repository, Seen};
use crate::ids::{Account, FullName};
use crate::membership::{Standing, wanted};
use crate::scan::ScanResult;
use crate::work::{RepoKey, WorkKey};

/// Most keys of each state that are looked through for the repository's.
const KEYS_MAX: usize = 10_000;

/// Most of the newest deliveries that are looked through for the repository's.
const DELIVERIES_MAX: usize = 10_000;

/// How a repository stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is in the catalog.
    In,
    /// It counts, and has no catalog file.
    NoFile,
    /// It counts and has a file, and was not read yet.
    NotSeenYet,
    /// No provider's filters let it in.
    FilteredOut,
    /// No provider names its owner.
    Stranger,
    /// GitHub does not show it to us.
    NotShown,
}

impl Place {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::NoFile => "no-catalog-file",
            Self::NotSeenYet => "not-seen-yet",
            Self::FilteredOut => "filtered-out",
            Self::Stranger => "stranger",
            Self::NotShown => "not-shown",
        }
    }
}

/// What is known of a repository.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// How it stands.
    pub place: Place,
    /// Why, in words.
    pub why: String,
    /// The providers that let it in.
    pub providers: Vec<String>,
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
    /// When the storage fails, or GitHub had to be asked and gave no answer to believe.
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
        let (account, (place, why, providers)) = match &record {
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
        let (account, next_scan) = self.scans_of(account, name);
        let found = Explanation {
            place,
            why,
            providers,
            record,
            last_event,
            queue,
            held,
            account,
            next_scan,
        };
        Ok(found)
    }

    fn of_record(&self, record: &RepoRecord) -> (Place, String, Vec<String>) {
        let standing =
            self.scanner.membership.standing(&record.key.host, &record.full_name, &record.listed);
        match standing {
            Standing::Member(providers) if record.files.is_empty() => {
                (Place::NoFile, no_file(&providers), ids(&providers))
            }
            Standing::Member(providers) => {
                let paths: Vec<&str> = record.files.iter().map(|f| f.path.as_str()).collect();
                (Place::In, format!("it has {}", paths.join(", ")), ids(&providers))
            }
            Standing::FilteredOut(why) => (Place::FilteredOut, why, Vec::new()),
            Standing::Stranger => stranger(&record.full_name),
        }
    }

    async fn of_github(
        &self,
        name: &FullName,
    ) -> Result<(Option<Account>, (Place, String, Vec<String>)), OperateError> {
        let membership = &self.scanner.membership;
        let named = |p: &&Provider| {
            membership.owners_of(p).iter().any(|login| login.eq_ignore_ascii_case(name.owner()))
        };
        let Some(provider) = membership.providers().iter().find(named) else {
            return Ok((None, stranger(name)));
        };
        let Ok(host) = host_of(provider) else { return Ok((None, stranger(name))) };
        let owner = self.scanner.accounts.resolve(&host, name.owner()).await?;
        let account = owner.account;
        let not_shown = || {
            let why = format!("{host} does not show it to the credentials of {}", name.owner());
            (Place::NotShown, why, Vec::new())
        };
        let Some(read) = self.scanner.github.find(&account, name).await? else {
            return Ok((Some(account), not_shown()));
        };
        let files = membership.wanted_on_host(&host);
        let queries: Vec<_> = files.iter().map(|file| file.query.clone()).collect();
        let seen = self.scanner.github.read(&account, &[read], &queries).await;
        let told = match seen.into_iter().next().transpose()? {
            Some(Seen::Found(repository)) => self.of_repository(&repository, &queries),
            Some(Seen::Gone) | None => not_shown(),
        };
        Ok((Some(account), told))
    }

    fn of_repository(
        &self,
        found: &Repository,
        queries: &[crate::repository::FileQuery],
    ) -> (Place, String, Vec<String>) {
        let standing =
            self.scanner.membership.standing(&found.key.host, &found.full_name, &found.listed);
        let providers = match standing {
            Standing::Member(providers) => providers,
            Standing::FilteredOut(why) => return (Place::FilteredOut, why, Vec::new()),
            Standing::Stranger => return stranger(&found.full_name),
        };
        let wanted = wanted(providers.iter().copied());
        let mut seen = queries.iter().zip(&found.files).filter(|(_, file)| file.is_some());
        match seen.find(|(query, _)| wanted.iter().any(|w| w.query == **query)) {
            None => (Place::NoFile, no_file(&providers), ids(&providers)),
            Some((query, _)) => {
                let why = format!("it has {} and was not read yet; `cuelight scan`", query.path);
                (Place::NotSeenYet, why, ids(&providers))
            }
        }
    }

    fn scans_of(
        &self,
        account: Option<Account>,
        name: &FullName,
    ) -> (Option<(String, Option<ScanResult>)>, Option<Timestamp>) {
        let Some(account) = account else { return (None, None) };
        let label = self.scanner.accounts.label(&account, Some(name));
        let last = self.scanner.board.results().remove(&account);
        let next = last.as_ref().and_then(|last| self.next_scan(&label, last.ended_at));
        (Some((label, last)), next)
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

fn ids(providers: &[&Provider]) -> Vec<String> {
    providers.iter().map(|provider| provider.id.clone()).collect()
}

fn stranger(name: &FullName) -> (Place, String, Vec<String>) {
    let why = format!("no provider of the configuration names the owner `{}`", name.owner());
    (Place::Stranger, why, Vec::new())
}

fn no_file(providers: &[&Provider]) -> String {
    let looked = |file: crate::membership::Wanted| match file.query.branch {
        Some(branch) => format!("{} on {branch}", file.query.path),
        None => format!("{} on its default branch", file.query.path),
    };
    let looked: Vec<String> = wanted(providers.iter().copied()).into_iter().map(looked).collect();
    format!("there is no {}", looked.join(", no "))
}
