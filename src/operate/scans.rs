//! Scans that people ask for, and what became of the last ones.

use std::collections::BTreeMap;

use super::{OperateError, Operator, is_called};
use crate::clock::Timestamp;
use crate::config::Provider;
use crate::engine::EngineError;
use crate::ids::Account;
use crate::scan::Preview;
use crate::schedule::targets;

pub use super::foresee::Foreseen;
pub use crate::scan::{Planned, ScanResult};

/// A scan that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whose.
    pub account: Account,
    /// When; its result begins no earlier.
    pub at: Timestamp,
}

/// What a scan of an account would do.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// Whose.
    pub account: Account,
    /// What would come, change and go.
    pub preview: Preview,
    /// What the repositories that would be read have, by name.
    pub foreseen: BTreeMap<String, Foreseen>,
}

/// What is known of an account's scans.
#[derive(Debug, Clone)]
pub struct Known {
    /// Whose.
    pub account: Account,
    /// For people.
    pub label: String,
    /// The last one.
    pub result: ScanResult,
    /// When the schedule asks for the next one; `None` when only a person does.
    pub next: Option<Timestamp>,
}

impl Operator {
    /// Pushes the scan keys of every provider's account, or of those that `text` names.
    ///
    /// # Errors
    /// When no provider is meant, GitHub does not say who an owner is, or the storage fails.
    pub async fn start_scans(&self, text: Option<&str>) -> Result<Vec<Asked>, OperateError> {
        let mut asked: Vec<Asked> = Vec::new();
        for providers in targets(&self.providers_of(text).await?) {
            let Some(provider) = providers.first() else { continue };
            let (key, account) = self.scheduler.key_of(provider).await?;
            let at = self.scanner.clock.now();
            if asked.iter().all(|one| one.account != account) {
                self.scanner.ask_afresh(&account).await?;
                self.scheduler.push_key(key, &account).await?;
                asked.push(Asked { account, at });
            }
        }
        Ok(asked)
    }

    /// What scans would do now: of every provider's account, or of those that `text` names.
    ///
    /// # Errors
    /// As for [`Self::start_scans`], and when a listing fails.
    pub async fn preview_scans(&self, text: Option<&str>) -> Result<Vec<Forecast>, OperateError> {
        let mut forecasts: Vec<Forecast> = Vec::new();
        for provider in self.providers_of(text).await? {
            let name = || OperateError::UnknownAccount(provider.host.clone());
            let host = crate::accounts::host_of(&provider).map_err(|_| name())?;
            self.scanner.accounts.ready(&host).await?;
            for login in self.scanner.membership.owners_of(&provider) {
                let owner = self.scanner.accounts.resolve(&host, &login).await?;
                if forecasts.iter().all(|one| one.account != owner.account) {
                    let account = owner.account;
                    let preview = self.scanner.preview(&account).await??;
                    let foreseen = self.foresee(&account, &preview).await?;
                    forecasts.push(Forecast { account, preview, foreseen });
                }
            }
        }
        Ok(forecasts)
    }

    /// The last scan of each account, whoever ran it.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn scans(&self) -> Result<Vec<Known>, EngineError> {
        let results = self.scanner.board.results().await?;
        let known = |(account, result): (Account, ScanResult)| {
            let label = self.label_of_scanned(&account, &result);
            let next = self.next_scan(&label, result.ended_at);
            Known { account, label, result, next }
        };
        Ok(results.into_iter().map(known).collect())
    }

    /// When the schedules of the account's providers ask for a scan after `ended`.
    pub fn next_scan(&self, label: &str, ended: Timestamp) -> Option<Timestamp> {
        let providers = self.scanner.membership.providers().iter();
        let next = |provider: &Provider| provider.schedule.frequency.next_after_millis(ended.0);
        providers.filter(|p| self.is_named(p, label)).filter_map(next).min().map(Timestamp)
    }

    async fn providers_of(&self, text: Option<&str>) -> Result<Vec<Provider>, OperateError> {
        let all = self.scanner.membership.providers();
        let Some(text) = text else { return Ok(all.to_vec()) };
        let label = match text.parse::<Account>() {
            Ok(account) => {
                // A label by number until the login is known, which asking for the owner tells.
                self.scanner.accounts.owner(&account).await?;
                self.label(&account)
            }
            Err(_) => text.to_owned(),
        };
        let named = || -> Vec<Provider> {
            all.iter().filter(|p| self.is_named(p, &label)).cloned().collect()
        };
        if named().is_empty() {
            // Right after a start nobody knows yet where Apps are installed.
            for host in all.iter().filter_map(|p| crate::accounts::host_of(p).ok()) {
                self.scanner.accounts.ready(&host).await?;
            }
        }
        let named = named();
        if named.is_empty() {
            return Err(OperateError::UnknownAccount(text.to_owned()));
        }
        Ok(named)
    }

    /// Whether an account of the provider is the one that people write so.
    fn is_named(&self, provider: &Provider, text: &str) -> bool {
        let owners = self.scanner.membership.owners_of(provider);
        owners.iter().any(|login| is_called(&format!("{}/{login}", provider.host), text))
    }
}
