//! The port's verbs, for every configured host.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::batch::Batch;
use super::find;
use super::limits::untrue;
use super::transport::Transport;
use super::wire::{self, Data, WireOwner};
use super::{GitHubError, HostSettings, Owner, Page, RepoRead, Seen, SetupError, Timeouts};
use crate::clock::SharedClock;
use crate::ids::{Account, FullName, Host, OwnerId};
use crate::repository::FileQuery;
use crate::telemetry::Metrics;

/// Every GitHub host we were given, asked with its own token. Cloning shares connections.
#[derive(Clone)]
pub struct GitHub {
    hosts: Arc<BTreeMap<Host, Transport>>,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("hosts", &self.hosts.keys()).finish()
    }
}

impl GitHub {
    /// Checks the settings and prepares clients; connects to nothing yet. Needs a Tokio runtime.
    pub fn new(
        hosts: Vec<HostSettings>,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, SetupError> {
        Self::with_timeouts(hosts, clock, metrics, Timeouts::default())
    }

    /// The same with other time-outs.
    pub fn with_timeouts(
        hosts: Vec<HostSettings>,
        clock: SharedClock,
        metrics: Metrics,
        timeouts: Timeouts,
    ) -> Result<Self, SetupError> {
        let mut all = BTreeMap::new();
        for settings in hosts {
            let host = settings.host.clone();
            let transport = Transport::new(settings, clock.clone(), metrics.clone(), timeouts)?;
            all.insert(host, transport);
        }
        Ok(Self { hosts: Arc::new(all) })
    }

    /// Looks up an organisation or a user by login.
    pub async fn owner(&self, host: &Host, login: &str) -> Result<Owner, GitHubError> {
        let at = self.at(host)?;
        let body = wire::owner_body(login);
        asked(at, body, |data| owner_in(data, login).map(|found| owner(host, &found))).await
    }

    /// Whether GitHub answers the smallest question, be it by a refusal: what fails then has
    /// itself to blame.
    pub async fn is_awake(&self, host: &Host) -> bool {
        let Ok(at) = self.at(host) else { return true };
        let answer = asked(at, wire::awake_body(), |_| Ok(())).await;
        !matches!(answer, Err(GitHubError::Transient(_)))
    }

    /// One page of the owner's own repositories in the order of their creation, files with oids
    /// only. `after` is a [`Page::next`]; `first` is at most 100. An answer with any error is no
    /// page: half a list looks like removals.
    pub async fn list(
        &self,
        owner: &Owner,
        after: Option<&str>,
        first: u32,
        files: &[FileQuery],
    ) -> Result<Page, GitHubError> {
        let host = &owner.account.host;
        let at = self.at(host)?;
        let login = &owner.login;
        let body = wire::list_body(login, after, first, files);
        asked(at, body, |data| page(&owner_in(data, login)?, owner, files)).await
    }

    /// Reads repositories with one account's credentials, in few calls: see [`super`]. The
    /// results are in the order of `reads`; one repository's trouble is its own.
    pub async fn read(
        &self,
        account: &Account,
        reads: &[RepoRead],
        files: &[FileQuery],
    ) -> Vec<Result<Seen, GitHubError>> {
        match self.at(&account.host) {
            Ok(at) => Batch::new(at, reads, files).read().await,
            Err(error) => reads.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Looks up a repository by name with one account's credentials, for [`Self::read`]; `None`
    /// when it does not exist for them.
    pub async fn find(
        &self,
        account: &Account,
        name: &FullName,
    ) -> Result<Option<RepoRead>, GitHubError> {
        find::by_name(self.at(&account.host)?, name).await
    }

    fn at(&self, host: &Host) -> Result<&Transport, GitHubError> {
        self.hosts.get(host).ok_or_else(|| {
            GitHubError::Unauthorized(format!("{host} is not among `integrations.github`"))
        })
    }
}

/// Asks a query of which every error makes the whole answer untrue, and takes what it wants of
/// the data.
async fn asked<T>(
    at: &Transport,
    body: String,
    take: impl FnOnce(Data<'_>) -> Result<T, GitHubError>,
) -> Result<T, GitHubError> {
    let answer = at.graphql(body).await;
    at.counted(answer.and_then(|answer| {
        let envelope = at.decoded(&answer.body)?;
        // GitHub may also say by an error that there is no such owner.
        let no_owner = envelope.errors.iter().all(|error| error.kind == "NOT_FOUND")
            && envelope.data.as_ref().is_some_and(|data| data.repository_owner.is_none());
        match envelope.data {
            Some(data) if envelope.errors.is_empty() || no_owner => take(data),
            _ => Err(untrue(&at.host, &envelope.errors, &answer.headers, at.clock.now())),
        }
    }))
}

fn owner_in<'a>(data: Data<'a>, login: &str) -> Result<WireOwner<'a>, GitHubError> {
    data.repository_owner.ok_or_else(|| GitHubError::NoSuchOwner(login.to_owned()))
}

fn owner(host: &Host, found: &WireOwner<'_>) -> Owner {
    let account = Account { host: host.clone(), owner: OwnerId(found.database_id) };
    Owner { account, login: found.login.clone() }
}

fn page(found: &WireOwner<'_>, expected: &Owner, files: &[FileQuery]) -> Result<Page, GitHubError> {
    let host = &expected.account.host;
    let wrong = |what: &str| GitHubError::Transient(format!("{host}: {what}"));
    if found.database_id != expected.account.owner.0 {
        let what = format!("the login `{}` now belongs to another owner", expected.login);
        return Err(wrong(&what));
    }
    let page =
        found.repositories.as_ref().ok_or_else(|| wrong("the answer has no repositories"))?;
    let mut repositories = Vec::with_capacity(page.nodes.len());
    for node in &page.nodes {
        let decoded = wire::repository(host, node, files)
            .map_err(|why| wrong(&format!("a listed repository cannot be decoded: {why}")))?;
        repositories.push(decoded.repository);
    }
    let next = match (page.page_info.has_next_page, &page.page_info.end_cursor) {
        (false, _) => None,
        (true, Some(cursor)) => Some(cursor.clone()),
        (true, None) => return Err(wrong("a page that is not the last has no cursor")),
    };
    Ok(Page { repositories, next, total: page.total_count })
}
