//! Which account a provider's `organization` is, and on which accounts a provider's App is
//! installed: learnt from GitHub, remembered in memory. Where an App was installed is also kept in
//! a note of the storage (see `noted.rs`), so that an uninstallation that happened while nobody ran
//! can be confirmed.
//!
//! A login may be renamed and is no identity, so it is asked again before every scan; between
//! scans the last answer serves. An account is *lost* when an App that was installed on it is no
//! longer, as GitHub confirmed by the installation's id, or when the catalog holds repositories of
//! it at the start and nothing covers it any more; and when no provider names it besides: perhaps
//! one has been mistyped. What becomes of its repositories is not decided here.

mod noted;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::config::Provider;
use crate::github::{GitHub, GitHubError, Installation, InstallationState, Owner};
use crate::ids::{Account, AppId, FullName, Host, InvalidId};
use crate::membership::Membership;

pub use crate::ids::app_account;
use noted::Noted;

/// Where an App is installed.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// Now.
    pub installations: Vec<Installation>,
    /// Accounts that it sees otherwise than when it was last asked: new ones, unsuspended ones,
    /// such as switched between all and selected repositories.
    pub changed: Vec<Account>,
    /// Accounts of the host that are lost.
    pub lost: Vec<(Account, Loss)>,
}

/// An account that nothing covers any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Its last login.
    pub login: String,
    /// Whether GitHub has said by the installation's id that it is no more. Else it is only absent
    /// from every list.
    pub is_confirmed: bool,
}

/// The accounts of the configuration, as far as they are known.
pub struct Accounts {
    github: GitHub,
    membership: Arc<Membership>,
    learnt: RwLock<Learnt>,
}

#[derive(Default)]
struct Learnt {
    known: HashMap<Account, Owner>,
    /// By App, as last listed.
    installed: BTreeMap<(Host, AppId), BTreeMap<Account, Installation>>,
    /// By App, where it was installed when that was last noted, in this run or before it.
    noted: BTreeMap<(Host, AppId), Noted>,
    lost: BTreeMap<Account, Loss>,
    /// Accounts that the catalog had repositories of at the start, with a login.
    recorded: BTreeMap<Account, String>,
}

impl Accounts {
    /// Nothing known yet.
    pub fn new(github: GitHub, membership: Arc<Membership>) -> Self {
        Self { github, membership, learnt: RwLock::default() }
    }

    /// Takes in that the catalog holds a repository of an account.
    pub fn note_recorded(&self, account: &Account, login: &str) {
        let mut learnt = self.write();
        if !learnt.recorded.contains_key(account) {
            learnt.recorded.insert(account.clone(), login.to_owned());
        }
    }

    /// Asks GitHub which account `login` is now.
    ///
    /// # Errors
    /// As GitHub answers; what was known before stays known.
    pub async fn resolve(&self, host: &Host, login: &str) -> Result<Owner, GitHubError> {
        let owner = self.github.owner(host, login).await?;
        self.remember([owner.clone()]);
        if self.membership.is_named(host, &owner.login) {
            self.write().lost.remove(&owner.account);
        }
        Ok(owner)
    }

    /// The owner behind an account that a provider names: from memory, else by asking for every
    /// provider's login on its host; `None` when all of them are others.
    ///
    /// # Errors
    /// As GitHub answers for a login that may be this account's.
    pub async fn owner(&self, account: &Account) -> Result<Option<Owner>, GitHubError> {
        let mut failed = None;
        for provider in self.membership.providers() {
            if self.ours(account).is_some() {
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
        match (self.ours(account), failed) {
            (None, Some(error)) => Err(error),
            (owner, _) => Ok(owner),
        }
    }

    /// The same, once it is known whose the account's repositories are.
    ///
    /// # Errors
    /// As GitHub answers.
    pub async fn owner_to_scan(&self, account: &Account) -> Result<Option<Owner>, GitHubError> {
        let owner = self.owner(account).await?;
        self.ready_for(&account.host, owner.as_ref().map(|owner| owner.login.as_str())).await?;
        Ok(owner)
    }

    /// Whether the catalog held repositories of an account at the start that no provider names any
    /// more, under whatever login. Then it is lost from now on.
    ///
    /// # Errors
    /// As GitHub answers: nobody is lost while a login cannot be looked up.
    pub async fn unnamed(&self, account: &Account) -> Result<Option<Loss>, GitHubError> {
        let Some(login) = self.read().recorded.get(account).cloned() else { return Ok(None) };
        let is_named = !self.membership.of_owner(&account.host, &login).is_empty();
        if is_named || self.owner_to_scan(account).await?.is_some() {
            return Ok(None);
        }
        let loss = Loss { login, is_confirmed: false };
        // What an App was asked meanwhile may have confirmed more.
        Ok(Some(self.write().lost.entry(account.clone()).or_insert(loss).clone()))
    }

    /// The accounts that had the login which `account` has now, and have no other that a provider
    /// names: an organisation was renamed and somebody else took its name. They are lost from now
    /// on.
    ///
    /// # Errors
    /// As GitHub answers: nobody is lost while a login cannot be looked up.
    pub async fn namesakes(&self, account: &Account) -> Result<Vec<(Account, Loss)>, GitHubError> {
        let Some(Owner { login, .. }) = self.known(account) else { return Ok(Vec::new()) };
        let others: Vec<Account> = {
            let learnt = self.read();
            let known = learnt.known.iter().map(|(other, owner)| (other, &owner.login));
            let recorded = learnt.recorded.iter();
            let recorded = recorded.filter(|(other, _)| !learnt.known.contains_key(*other));
            let is_other = |(other, its): &(&Account, &String)| {
                *other != account && other.host == account.host && its.eq_ignore_ascii_case(&login)
            };
            known.chain(recorded).filter(is_other).map(|(other, _)| other.clone()).collect()
        };
        let mut lost = Vec::new();
        for other in others {
            self.write().known.remove(&other);
            self.note_recorded(&other, &login);
            if self.lost(&other).is_none() && self.owner_to_scan(&other).await?.is_some() {
                continue;
            }
            let loss = Loss { login: login.clone(), is_confirmed: false };
            let loss = self.write().lost.entry(other.clone()).or_insert(loss).clone();
            lost.push((other, loss));
        }
        Ok(lost)
    }

    /// Whether a repository called `name` shows an account to be none that a provider names.
    pub fn is_stranger(&self, account: &Account, name: Option<&FullName>) -> bool {
        let names_no_provider =
            |name: &FullName| self.membership.of_owner(&account.host, name.owner()).is_empty();
        let never_known = self.known(account).is_none()
            && name.is_some_and(names_no_provider)
            && self.membership.undiscovered(&account.host).is_empty();
        never_known || self.lost(account).is_some()
    }

    /// Asks GitHub where an App is installed now.
    ///
    /// # Errors
    /// As GitHub answers, or when a list leaves out an installation that is there; what was known
    /// before stays known.
    pub async fn discover(&self, host: &Host, app: AppId) -> Result<Discovered, GitHubError> {
        // The App's own account has a name for people, also when GitHub says nothing.
        let own = Owner { account: app_account(host, app), login: format!("app {app}") };
        self.remember([own]);
        let installations = self.github.installations(host, app).await?;
        let now: BTreeMap<Account, Installation> =
            installations.iter().map(|it| (it.owner.account.clone(), it.clone())).collect();
        let place = (host.clone(), app);
        let before = self.read().installed.get(&place).cloned().unwrap_or_default();
        for (account, gone) in before.iter().filter(|(account, _)| !now.contains_key(account)) {
            if !self.github.confirm_uninstalled(account, app).await? {
                return Err(GitHubError::Transient(format!(
                    "{host} lists no installation of App {app} on {}, which is there",
                    gone.owner.login
                )));
            }
        }
        let gone_before = self.uninstalled_before(&place, &now).await?;
        let logins: Vec<&str> = installations.iter().map(|i| i.owner.login.as_str()).collect();
        self.membership.learn(host, app, &logins);
        self.remember(installations.iter().map(|installation| installation.owner.clone()));
        let state = |it: &Installation| -> InstallationState { it.state };
        let is_other =
            |it: &&Installation| before.get(&it.owner.account).map(state) != Some(it.state);
        let changed =
            installations.iter().filter(is_other).map(|it| it.owner.account.clone()).collect();
        self.write().installed.insert(place, now);
        let was = before.into_values().map(|it| (it.owner.account, it.owner.login));
        let lost = self.settle_lost(host, was.chain(gone_before).collect());
        Ok(Discovered { installations, changed, lost })
    }

    /// Works out who is lost on a host, now that an App has been asked: `before` is where it was,
    /// and is no more, as GitHub confirmed, or is still.
    fn settle_lost(&self, host: &Host, before: Vec<(Account, String)>) -> Vec<(Account, Loss)> {
        let is_ours = |login: &str| !self.membership.of_owner(host, login).is_empty();
        let may_judge =
            self.membership.discovers(host) && self.membership.undiscovered(host).is_empty();
        let mut guard = self.write();
        let learnt = &mut *guard;
        for (account, login) in before {
            learnt.lost.insert(account, Loss { login, is_confirmed: true });
        }
        let absent =
            learnt.recorded.iter().filter(|(account, _)| may_judge && account.host == *host);
        let absent = absent.map(|(account, login)| {
            (account.clone(), Loss { login: login.clone(), is_confirmed: false })
        });
        for (account, loss) in absent {
            learnt.lost.entry(account).or_insert(loss);
        }
        let installed = &learnt.installed;
        learnt.lost.retain(|account, loss| {
            let is_installed = installed.values().any(|of_app| of_app.contains_key(account));
            !is_installed && !is_ours(&loss.login)
        });
        let of_host = learnt.lost.iter().filter(|(account, _)| account.host == *host);
        of_host.map(|(account, loss)| (account.clone(), loss.clone())).collect()
    }

    /// Whether and how an account is lost.
    pub fn lost(&self, account: &Account) -> Option<Loss> {
        self.read().lost.get(account).cloned()
    }

    /// Forgets a lost account that the catalog has nothing of any more.
    pub fn forget(&self, account: &Account) {
        let mut learnt = self.write();
        learnt.lost.remove(account);
        learnt.recorded.remove(account);
        learnt.known.remove(account);
        learnt.noted.values_mut().for_each(|of_app| drop(of_app.remove(account)));
    }

    /// Asks again what Apps may see of an account: a signed event said that it has changed.
    ///
    /// # Errors
    /// As GitHub answers.
    pub async fn regranted(&self, account: &Account) -> Result<(), GitHubError> {
        self.github.doubt_selection(account);
        for app in self.github.apps(&account.host) {
            self.discover(&account.host, app).await?;
        }
        Ok(())
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

    /// The same for the repositories of one owner. One that a provider names waits for no App:
    /// until all are known, its repositories are read, and none is taken for a stranger's.
    ///
    /// # Errors
    /// As GitHub answers.
    pub async fn ready_for(&self, host: &Host, login: Option<&str>) -> Result<(), GitHubError> {
        if login.is_some_and(|login| self.membership.is_named(host, login)) {
            return Ok(());
        }
        self.ready(host).await
    }

    /// The accounts of a provider that may be asked for their latest changes: as last learnt, and
    /// asked for only when that never happened. Of an App's, those where it sees everything.
    ///
    /// # Errors
    /// As GitHub answers.
    pub async fn of_provider(
        &self,
        host: &Host,
        provider: &Provider,
    ) -> Result<Vec<Owner>, GitHubError> {
        let Some(app) = provider.app.map(AppId) else {
            let login = &provider.organization;
            return Ok(vec![match self.by_login(host, login) {
                Some(owner) => owner,
                None => self.resolve(host, login).await?,
            }]);
        };
        let seen_whole = |this: &Self| {
            let learnt = this.read();
            let of_app = learnt.installed.get(&(host.clone(), app))?;
            let whole = of_app.values().filter(|it| it.state == InstallationState::All);
            Some(whole.map(|it| it.owner.clone()).collect())
        };
        match seen_whole(self) {
            Some(owners) => Ok(owners),
            None => {
                self.discover(host, app).await?;
                Ok(seen_whole(self).unwrap_or_default())
            }
        }
    }

    /// The account behind a login, if a provider names it.
    ///
    /// # Errors
    /// As GitHub answers.
    pub async fn of_login(&self, host: &Host, login: &str) -> Result<Option<Account>, GitHubError> {
        self.ready_for(host, Some(login)).await?;
        if self.membership.of_owner(host, login).is_empty() {
            return Ok(None);
        }
        let owner = match self.by_login(host, login) {
            Some(owner) => owner,
            None => self.resolve(host, login).await?,
        };
        Ok(Some(owner.account))
    }

    fn by_login(&self, host: &Host, login: &str) -> Option<Owner> {
        let learnt = self.read();
        let is_it = |it: &&Owner| it.account.host == *host && it.login.eq_ignore_ascii_case(login);
        let mut found = learnt.known.values().filter(is_it);
        // A login that two have had is asked for again.
        found.next().filter(|_| found.next().is_none()).cloned()
    }

    fn remember(&self, owners: impl IntoIterator<Item = Owner>) {
        let owners = owners.into_iter().map(|owner| (owner.account.clone(), owner));
        self.write().known.extend(owners);
    }

    /// The account for people, `github.com/acme`: by the login last learnt, else by the owner of
    /// `hint`, a repository of it, else by its number.
    pub fn label(&self, account: &Account, hint: Option<&FullName>) -> String {
        let known = self.known(account).map(|owner| owner.login);
        let known = known.or_else(|| self.lost(account).map(|loss| loss.login));
        let login = known.or_else(|| hint.map(|name| name.owner().to_owned()));
        login.map_or_else(
            || account.to_string(),
            |login| format!("{}/{}", account.host, login.to_ascii_lowercase()),
        )
    }

    fn known(&self, account: &Account) -> Option<Owner> {
        self.read().known.get(account).cloned()
    }

    /// The known owner, if a provider names it.
    fn ours(&self, account: &Account) -> Option<Owner> {
        let is_ours = |it: &Owner| !self.membership.of_owner(&account.host, &it.login).is_empty();
        self.known(account).filter(is_ours)
    }

    fn read(&self) -> RwLockReadGuard<'_, Learnt> {
        self.learnt.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Learnt> {
        self.learnt.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host of a provider.
///
/// # Errors
/// When the configured text is no host name.
pub fn host_of(provider: &Provider) -> Result<Host, InvalidId> {
    Host::parse(&provider.host)
}
