//! The truth about every dependency, by name: who finds out sets it here, `/health` reads it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::{SharedClock, Timestamp};
use crate::ids::Account;

/// The check that is there while the view falls behind the storage; its `since` is the time that
/// the view stands for.
pub const VIEW_FOLLOWS: &str = "view-follows";

/// How one dependency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    /// It works.
    Ok,
    /// Switched off by configuration; no fault.
    Off,
    /// Something needs a person or heals by itself, while cuelight still serves.
    Degraded,
    /// cuelight cannot do its job.
    Failing,
}

impl CheckState {
    /// The word in `/health`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Off => "off",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

/// What is known of one dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// How it is.
    pub state: CheckState,
    /// Since when it is so.
    pub since: Timestamp,
    /// In words: what is wrong, since what, what to do. Never a secret.
    pub detail: String,
}

/// All checks; cheap to read and to set.
#[derive(Debug)]
pub struct Health {
    clock: SharedClock,
    checks: Mutex<BTreeMap<String, Check>>,
}

impl Health {
    /// No checks yet.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, checks: Mutex::default() }
    }

    /// Says how `name` is now; `since` moves only when the state changes.
    pub fn set(&self, name: &str, state: CheckState, detail: impl Into<String>) {
        let now = self.clock.now();
        let mut checks = self.lock();
        let since = checks.get(name).filter(|c| c.state == state).map_or(now, |c| c.since);
        checks.insert(name.to_owned(), Check { state, since, detail: detail.into() });
    }

    /// Says how `name` is, and since when, where the caller knows that better.
    pub fn set_since(
        &self,
        name: &str,
        state: CheckState,
        since: Timestamp,
        detail: impl Into<String>,
    ) {
        let check = Check { state, since, detail: detail.into() };
        self.lock().insert(name.to_owned(), check);
    }

    /// Says how `subject` is for an account, under the account's `label`. Until its login is
    /// known an account goes by its number; what was told under the number ends then.
    pub fn set_of_account(
        &self,
        subject: &str,
        account: &Account,
        label: &str,
        state: CheckState,
        detail: impl Into<String>,
    ) {
        let number = account.to_string();
        if label != number {
            self.remove(&format!("{subject}:{number}"));
        }
        self.set(&format!("{subject}:{label}"), state, detail);
    }

    /// Forgets a check whose subject is no more.
    pub fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Since when `name` is as it is, if there is such a check.
    pub fn since(&self, name: &str) -> Option<Timestamp> {
        self.lock().get(name).map(|check| check.since)
    }

    /// Every check by name.
    pub fn checks(&self) -> BTreeMap<String, Check> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Check>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worst of the checks; `Off` counts as `Ok`.
pub fn overall(checks: &BTreeMap<String, Check>) -> CheckState {
    let worst = checks.values().map(|c| c.state).max().unwrap_or(CheckState::Ok);
    if worst == CheckState::Off { CheckState::Ok } else { worst }
}
