//! The port's verbs, for every configured host.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hyper::header::HeaderValue;
use secrecy::ExposeSecret;

use super::apps::{App, NotFound, Whose};
use super::auth::secret_header;
use super::batch::Batch;
use super::gather::Gather;
use super::limits::untrue;
use super::selected::{self, Selections};
use super::session::{Credential, Session};
use super::transport::Transport;
use super::wire::{self, Data, WireOwner};
use super::{
    Budget, CommitRead, CommitSeen, GitHubError, HostSettings, Installation, Latest, Owner, Page,
    Paths, RepoRead, Seen, SetupError, Timeouts,
};
use super::{find, latest, tree};
use crate::clock::SharedClock;
use crate::ids::{Account, AppId, FullName, Host, Oid, OwnerId};
use crate::repository::FileQuery;
use crate::telemetry::Metrics;

/// Every GitHub host we were given, each account asked with its own credentials: the App that is
/// installed on it, else the host's token. Cloning shares connections and tokens.
#[derive(Clone)]
pub struct GitHub {
    hosts: Arc<BTreeMap<Host, At>>,
}

/// One host.
struct At {
    transport: Arc<Transport>,
    token: Option<HeaderValue>,
    apps: Vec<Arc<App>>,
    selections: Selections,
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
            all.insert(host, At::new(settings, clock.clone(), metrics.clone(), timeouts)?);
        }
        Ok(Self { hosts: Arc::new(all) })
    }

    /// Looks up an organisation or a user by login.
    pub async fn owner(&self, host: &Host, login: &str) -> Result<Owner, GitHubError> {
        let session = self.at(host)?.session(Whose::Login(login)).await?;
        let body = wire::owner_body(login);
        asked(&session, body, |data| owner_in(data, login).map(|found| owner(host, &found))).await
    }

    /// Whether GitHub answers the smallest question, be it by a refusal: what fails then has
    /// itself to blame.
    pub async fn is_awake(&self, account: &Account) -> bool {
        let Ok(at) = self.at(&account.host) else { return true };
        let answer = match at.session(Whose::Owner(account.owner)).await {
            Ok(session) => asked(&session, wire::awake_body(), |_| Ok(())).await,
            Err(error) => Err(error),
        };
        !answer.is_err_and(|error| error.is_transient())
    }

    /// What the newest answer said is left of the points with which the account is asked; `None`
    /// before the first one, and where there is no limit.
    pub fn budget(&self, account: &Account) -> Option<Budget> {
        self.hosts.get(&account.host)?.transport.budgets.of(account.owner)
    }

    /// One page of the owner's own repositories in the order of their creation, files with oids
    /// only. `after` is a [`Page::next`]; `first` is at most 100. An answer with any error is no
    /// page: half a list looks like removals. Where an App sees selected repositories only, these
    /// are listed, by their ids.
    pub async fn list(
        &self,
        owner: &Owner,
        after: Option<&str>,
        first: u32,
        files: &[FileQuery],
    ) -> Result<Page, GitHubError> {
        let account = &owner.account;
        let at = self.at(&account.host)?;
        let session = at.session(Whose::Owner(account.owner)).await?;
        if let Some(part) = at.selections.part(&session, after, first).await? {
            let ids: Vec<_> = part.ids.iter().collect();
            let body = wire::listed_body(&ids, files);
            return asked(&session, body, |data| selected::page_of(&data, part, owner, files))
                .await;
        }
        let login = &owner.login;
        let body = wire::list_body(login, after, first, files);
        asked(&session, body, |data| page(&owner_in(data, login)?, owner, files)).await
    }

    /// What changed last in an account, by one call of one point; `first` is at most
    /// [`LATEST_MAX`](super::LATEST_MAX). An answer with any error is none. `None`, and not asked,
    /// where an App sees selected repositories only: GraphQL would show others too.
    pub async fn latest(
        &self,
        owner: &Owner,
        first: u32,
        files: &[FileQuery],
    ) -> Result<Option<Latest>, GitHubError> {
        let account = &owner.account;
        let session = self.at(&account.host)?.session(Whose::Owner(account.owner)).await?;
        if session.selected().is_some() {
            return Ok(None);
        }
        let login = &owner.login;
        let body = wire::latest_body(login, first, files);
        let decode = |data: Data<'_>| latest::decoded(&owner_in(data, login)?, owner, files);
        asked(&session, body, decode).await.map(Some)
    }

    /// Reads repositories with one account's credentials, in few calls: see [`super`]. The
    /// results are in the order of `reads`; one repository's trouble is its own.
    pub async fn read(
        &self,
        account: &Account,
        reads: &[RepoRead],
        files: &[FileQuery],
    ) -> Vec<Result<Seen, GitHubError>> {
        let session = match self.at(&account.host) {
            Ok(at) => at.session(Whose::Owner(account.owner)).await.map(|session| (at, session)),
            Err(error) => Err(error),
        };
        match session {
            Ok((at, session)) => {
                let seen = Batch::new(&session, reads, files).read().await;
                at.selections.narrow(&session, account, seen).await
            }
            Err(error) => reads.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Reads files by path with one account's credentials, of many repositories in few calls: see
    /// [`super::CommitRead`]. The results are in the order of `reads`; one repository's trouble is
    /// its own.
    pub async fn read_files(
        &self,
        account: &Account,
        reads: &[CommitRead],
    ) -> Vec<Result<CommitSeen, GitHubError>> {
        let session = match self.at(&account.host) {
            Ok(at) => at.session(Whose::Owner(account.owner)).await,
            Err(error) => Err(error),
        };
        match session {
            Ok(session) => Gather::new(&session, reads).read().await,
            Err(error) => reads.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// The paths of all files of a commit that was seen a moment ago, by one call of REST.
    ///
    /// # Errors
    /// As GitHub answers, and when it does not show the commit.
    pub async fn paths(
        &self,
        account: &Account,
        name: &FullName,
        commit: &Oid,
    ) -> Result<Paths, GitHubError> {
        let session = self.at(&account.host)?.session(Whose::Owner(account.owner)).await?;
        tree::paths(&session, name, commit).await
    }

    /// Looks up a repository by name with one account's credentials, for [`Self::read`]; `None`
    /// when it does not exist for them.
    pub async fn find(
        &self,
        account: &Account,
        name: &FullName,
    ) -> Result<Option<RepoRead>, GitHubError> {
        let session = self.at(&account.host)?.session(Whose::Owner(account.owner)).await?;
        find::by_name(&session, name).await
    }

    /// Where an App is installed now, as far as its `allowed_owners` let it.
    ///
    /// # Errors
    /// As GitHub answers, or when the App is not among the settings.
    pub async fn installations(
        &self,
        host: &Host,
        app: AppId,
    ) -> Result<Vec<Installation>, GitHubError> {
        self.app(host, app)?.list().await
    }

    /// The Apps of a host.
    pub fn apps(&self, host: &Host) -> Vec<AppId> {
        self.hosts.get(host).into_iter().flat_map(|at| &at.apps).map(|app| app.id).collect()
    }

    /// Whether an App is no longer installed on an account where it was since the start, as
    /// `GET /app/installations/{id}` says. Once that is so, the account is asked with whatever
    /// other credentials there are.
    ///
    /// # Errors
    /// As GitHub answers, or when the App is not among the settings.
    pub async fn confirm_uninstalled(
        &self,
        account: &Account,
        app: AppId,
    ) -> Result<bool, GitHubError> {
        self.app(&account.host, app)?.confirm_uninstalled(account.owner).await
    }

    /// Whether an App has an installation of this number, as `GET /app/installations/{id}` says.
    ///
    /// # Errors
    /// As GitHub answers, or when the App is not among the settings.
    pub async fn is_installation(
        &self,
        host: &Host,
        app: AppId,
        installation: u64,
    ) -> Result<bool, GitHubError> {
        self.app(host, app)?.is_there(installation).await
    }

    /// Forgets which repositories of an account are selected: that may have changed.
    pub fn doubt_selection(&self, account: &Account) {
        if let Some(at) = self.hosts.get(&account.host) {
            at.selections.doubt(account.owner);
        }
    }

    fn app(&self, host: &Host, app: AppId) -> Result<&Arc<App>, GitHubError> {
        let found = self.at(host)?.apps.iter().find(|configured| configured.id == app);
        found.ok_or_else(|| {
            GitHubError::Unauthorized(format!(
                "App {app} is not among the `apps` of {host} in `integrations.github`"
            ))
        })
    }

    fn at(&self, host: &Host) -> Result<&At, GitHubError> {
        self.hosts.get(host).ok_or_else(|| {
            GitHubError::Unauthorized(format!("{host} is not among `integrations.github`"))
        })
    }
}

impl At {
    fn new(
        settings: HostSettings,
        clock: SharedClock,
        metrics: Metrics,
        timeouts: Timeouts,
    ) -> Result<Self, SetupError> {
        let transport = Arc::new(Transport::new(&settings, clock, metrics, timeouts)?);
        let token = match &settings.token {
            Some(token) => {
                let wrong = || SetupError::Token { host: settings.host.clone() };
                Some(secret_header(token.expose_secret()).ok_or_else(wrong)?)
            }
            None => None,
        };
        let app = |settings| App::new(settings, &transport).map(Arc::new);
        let apps = settings.apps.into_iter().map(app).collect::<Result<_, _>>()?;
        Ok(Self { transport, token, apps, selections: Selections::default() })
    }

    async fn session(&self, whose: Whose<'_>) -> Result<Session, GitHubError> {
        let session = self.choose(whose).await?;
        if let Whose::Owner(owner) = whose {
            session.pays_for(owner);
        }
        Ok(session)
    }

    /// The credentials of an account: the App that is installed on it, else the token. Where an
    /// App must not be used, and no other is installed, nothing else is tried: weaker credentials
    /// would see less, and the rest would look gone. While one only cannot say whether it is
    /// installed there, the token shows what is there, and nothing is taken for gone.
    async fn choose(&self, whose: Whose<'_>) -> Result<Session, GitHubError> {
        let (mut silent, mut barred) = (None, None);
        for app in &self.apps {
            match app.find(whose).await {
                Ok(Some(installed)) => {
                    let credential = Credential::Installation { app: app.clone(), installed };
                    return Ok(Session::new(&self.transport, credential));
                }
                Ok(None) => {}
                Err(NotFound::Silent(error)) => silent = silent.or(Some(error)),
                Err(NotFound::Barred(error)) => barred = barred.or(Some(error)),
            }
        }
        match (barred, silent, &self.token) {
            (Some(error), _, _) | (None, Some(error), None) => Err(error),
            (None, Some(error), Some(token)) => {
                Ok(Session::unsure(&self.transport, token.clone(), error))
            }
            (None, None, Some(token)) => {
                Ok(Session::new(&self.transport, Credential::Token(token.clone())))
            }
            (None, None, None) => Err(self.no_credentials(whose)),
        }
    }

    fn no_credentials(&self, whose: Whose<'_>) -> GitHubError {
        let host = &self.transport.host;
        let token = format!(
            "no token for {host}: set `integrations.github[].token` (or GITHUB_TOKEN for \
             github.com)"
        );
        if self.apps.is_empty() {
            return GitHubError::Unauthorized(token);
        }
        let whom = match whose {
            Whose::Owner(owner) => format!("account {owner}"),
            Whose::Login(login) => format!("`{login}`"),
        };
        GitHubError::Unauthorized(format!(
            "no App of {host} is installed on {whom} and allowed there, and {token}"
        ))
    }
}

/// Asks a query of which every error makes the whole answer untrue, and takes what it wants of
/// the data.
async fn asked<T>(
    session: &Session,
    body: String,
    take: impl FnOnce(Data<'_>) -> Result<T, GitHubError>,
) -> Result<T, GitHubError> {
    let answer = session.graphql(body).await;
    let at = &session.transport;
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
