//! Which account a provider's `organization` is: learnt from GitHub, remembered in memory.
//!
//! A login may be renamed and is no identity, so it is asked again before every scan; between
//! scans the last answer serves.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::github::{GitHub, GitHubError, Owner};
use crate::ids::{Account, FullName, Host, InvalidId};
use crate::membership::Membership;

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
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(owner.account.clone(), owner.clone());
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
            if provider.host == account.host.as_str() {
                failed = self.resolve(&account.host, &provider.organization).await.err().or(failed);
            }
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
        self.known(account).is_none() && name.is_some_and(names_no_provider)
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
