//! Which account a provider's `organization` is, and on which accounts a provider's App is
//! installed: learnt from GitHub, remembered in memory.
//!
//! A login may be renamed and is no identity, so it is asked again before every scan; between
//! scans the last answer serves.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::github::{GitHub, GitHubError, Installation, Owner};
use crate::ids::{Account, AppId, FullName, Host, InvalidId, OwnerId};
use crate::membership::Membership;

/// The number from which on an owner's id is no owner's but an App's own account: far above
/// GitHub's ids, below the largest integer of SQLite.
const APP_ACCOUNTS: u64 = 1 << 62;

/// The account under which an App's own key waits, so that its trouble is its own.
pub fn app_account(host: &Host, app: AppId) -> Account {
    Account { host: host.clone(), owner: OwnerId(APP_ACCOUNTS | app.0) }
}

/// Where an App is installed.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// Now.
    pub installations: Vec<Installation>,
    /// The logins where it was before, and is no longer.
    pub lost: Vec<String>,
}

/// The accounts of the configuration, as far as they are known.
pub struct Accounts {
    github: GitHub,
    membership: Arc<Membership>,
    known: RwLock<HashMap<Account, Owner>>,
}

impl Accounts {
    /// Nothing known yet.
    pub fn new(github: GitHub, membership: Arc<Membership>) -> Self {
        Self { github, membership, known: RwLock::default() }
    }

    /// Asks GitHub which account `login` is now.
    ///
    /// # Errors
    /// As GitHub answers; what was known before stays known.
    pub async fn resolve(&self, host: &Host, login: &str) -> Result<Owner, GitHubError> {
        let owner = self.github.owner(host, login).await?;
        self.remember([owner.clone()]);
        Ok(owner)
    }

    /// The owner behind an account: from memory, else by asking for every provider's login on its
    /// host; `None` when all of them are others.
    ///
    /// # Errors
    /// As GitHub answers for a login that may be this account's.
    pub async fn owner(&self, account: &Account) -> Result<Option<Owner>, GitHubError> {
        let mut failed = None;
        for provider in self.membership.providers() {
            if self.known(account).is_some() {
                break;
            }
            if provider.host != account.host.as_str() {
                continue;
            }
            let asked = match provider.app {
                Some(app) => self.discover(&account.host, AppId(app)).await.err(),
                None => self.resolve(&account.host, &provider.organization).await.err(),
            };
            failed = asked.or(failed);
        }
        match (self.known(account), failed) {
            (None, Some(error)) => Err(error),
            (owner, _) => Ok(owner),
        }
    }

    /// Whether a repository called `name` shows an account to be none that a provider names.
    pub fn is_stranger(&self, account: &Account, name: Option<&FullName>) -> bool {
        let names_no_provider =
            |name: &FullName| self.membership.of_owner(&account.host, name.owner()).is_empty();
        self.known(account).is_none()
            && name.is_some_and(names_no_provider)
            && self.membership.undiscovered(&account.host).is_empty()
    }

    /// Asks GitHub where an App is installed now.
    ///
    /// # Errors
    /// As GitHub answers; what was known before stays known.
    pub async fn discover(&self, host: &Host, app: AppId) -> Result<Discovered, GitHubError> {
        // The App's own account has a name for people, also when GitHub says nothing.
        let own = Owner { account: app_account(host, app), login: format!("app {app}") };
        self.remember([own]);
        let installations = self.github.installations(host, app).await?;
        let logins: Vec<&str> = installations.iter().map(|i| i.owner.login.as_str()).collect();
        let lost = self.membership.learn(host, app, &logins);
        self.remember(installations.iter().map(|installation| installation.owner.clone()));
        Ok(Discovered { installations, lost })
    }

    /// Learns where the Apps of a host's providers are installed, if that is not known yet: before
    /// it is, a repository of theirs looks like a stranger's.
    ///
    /// # Errors
    /// As GitHub answers.
    pub async fn ready(&self, host: &Host) -> Result<(), GitHubError> {
        for app in self.membership.undiscovered(host) {
            self.discover(host, app).await?;
        }
        Ok(())
    }

    fn remember(&self, owners: impl IntoIterator<Item = Owner>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(owners.into_iter().map(|owner| (owner.account.clone(), owner)));
    }

    /// The account for people, `github.com/acme`: by the login last learnt, else by the owner of
    /// `hint`, a repository of it, else by its number.
    pub fn label(&self, account: &Account, hint: Option<&FullName>) -> String {
        let known = self.known(account).map(|owner| owner.login);
        let login = known.or_else(|| hint.map(|name| name.owner().to_owned()));
        login.map_or_else(
            || account.to_string(),
            |login| format!("{}/{}", account.host, login.to_ascii_lowercase()),
        )
    }

    fn known(&self, account: &Account) -> Option<Owner> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(account).cloned()
    }
}

/// The host of a provider.
///
/// # Errors
/// When the configured text is no host name.
pub fn host_of(provider: &crate::config::Provider) -> Result<Host, InvalidId> {
    Host::parse(&provider.host)
}
