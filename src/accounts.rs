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
    /// host.
    ///
    /// # Errors
    /// As GitHub answers; [`GitHubError::NoSuchOwner`] when no provider names this account.
    pub async fn owner(&self, account: &Account) -> Result<Owner, GitHubError> {
        if let Some(owner) = self.known(account) {
            return Ok(owner);
        }
        for provider in self.membership.providers() {
            if provider.host == account.host.as_str() {
                self.resolve(&account.host, &provider.organization).await?;
            }
        }
        self.known(account).ok_or_else(|| GitHubError::NoSuchOwner(account.to_string()))
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
