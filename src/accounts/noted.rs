//! Where each App was installed, as a note: an App that was uninstalled while nobody ran is asked
//! for by the installation's number, which no list has any more.
//!
//! The note is a memory and no truth: what it says is asked for before it counts, and one that is
//! missing or cannot be read only means that nothing can be confirmed. An installation stays in it
//! until the catalog has nothing of its account any more.

use std::collections::{BTreeMap, BTreeSet};

use super::Accounts;
use crate::engine::{EngineError, Store};
use crate::github::{GitHubError, Installation};
use crate::ids::{Account, AppId, Host};

/// What all names of these notes begin with.
const PREFIX: &str = "installed:";

/// Number and login of an App's installations, by account.
pub(super) type Noted = BTreeMap<Account, (u64, String)>;

impl Accounts {
    /// Reads the notes of an earlier run, or of another replica.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn recall(&self, store: &dyn Store) -> Result<(), EngineError> {
        let notes = store.notes(PREFIX.to_owned()).await?;
        let noted = notes.iter().filter_map(|(name, text)| from_note(name, text));
        self.write().noted.extend(noted);
        Ok(())
    }

    /// Notes where an App is installed now, and where it was while the account is lost.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn keep(
        &self,
        store: &dyn Store,
        host: &Host,
        app: AppId,
    ) -> Result<(), EngineError> {
        let place = (host.clone(), app);
        let (before, noted) = {
            let learnt = self.read();
            let Some(installed) = learnt.installed.get(&place) else { return Ok(()) };
            let before = learnt.noted.get(&place).cloned().unwrap_or_default();
            let mut noted = before.clone();
            noted.retain(|account, _| learnt.lost.contains_key(account));
            let now = installed.iter().map(|(account, it)| (account, it.id, &it.owner.login));
            noted.extend(now.map(|(account, id, login)| (account.clone(), (id, login.clone()))));
            (before, noted)
        };
        if noted == before {
            return Ok(());
        }
        match store.put_note(format!("{PREFIX}{host}:{app}"), Some(to_text(&noted))).await {
            Err(EngineError::TooLarge(why)) => {
                tracing::warn!(app = %app, "where App {app} is installed is not kept: {why}");
            }
            written => written?,
        }
        self.write().noted.insert(place, noted);
        Ok(())
    }

    /// The accounts of the note on which an App is no longer installed, and not listed since the
    /// start: GitHub has confirmed each by the installation's number.
    ///
    /// # Errors
    /// As GitHub answers.
    pub(super) async fn uninstalled_before(
        &self,
        place: &(Host, AppId),
        now: &BTreeMap<Account, Installation>,
    ) -> Result<Vec<(Account, String)>, GitHubError> {
        let (host, app) = place;
        let (noted, known) = {
            let learnt = self.read();
            let confirmed = learnt.lost.iter().filter(|(_, loss)| loss.is_confirmed);
            let mut known: BTreeSet<Account> = confirmed.map(|(it, _)| it.clone()).collect();
            known.extend(learnt.installed.get(place).into_iter().flat_map(BTreeMap::keys).cloned());
            (learnt.noted.get(place).cloned().unwrap_or_default(), known)
        };
        let mut gone = Vec::new();
        for (account, (id, login)) in noted {
            let is_asked = !now.contains_key(&account) && !known.contains(&account);
            if is_asked && !self.github.is_installation(host, *app, id).await? {
                gone.push((account, login));
            }
        }
        Ok(gone)
    }
}

fn to_text(noted: &Noted) -> String {
    let rows: Vec<_> = noted.iter().map(|(it, (id, login))| (it.owner.0, id, login)).collect();
    serde_json::json!(rows).to_string()
}

fn from_note(name: &str, text: &str) -> Option<((Host, AppId), Noted)> {
    let (host, app) = name.strip_prefix(PREFIX)?.rsplit_once(':')?;
    let host = Host::parse(host).ok()?;
    let rows: Vec<(u64, u64, String)> = serde_json::from_str(text).ok()?;
    let account = |owner| Account { host: host.clone(), owner: crate::ids::OwnerId(owner) };
    let noted = rows.into_iter().map(|(owner, id, login)| (account(owner), (id, login))).collect();
    Some(((host.clone(), AppId(app.parse().ok()?)), noted))
}
