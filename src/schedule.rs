//! When scans run: one loop an account, for all the providers that name it, so that several
//! providers of one organisation cause one scan.
//!
//! The loop learns which account the providers' login is, pushes its scan key, waits for that scan
//! to end, and counts down to the next one. What counts is when the last scan *ended*, whoever ran
//! it: this process, another replica, a person. So the board is looked at again before a key is
//! pushed, and replicas with the same schedule scan once between them. Each provider's schedule
//! holds: the next scan is due as soon as one of them says so.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::accounts::{Accounts, app_account, host_of};
use crate::clock::{SharedClock, Timestamp};
use crate::config::{Frequency, Provider};
use crate::engine::queue::{Push, PushKey};
use crate::engine::{EngineError, Queue};
use crate::github::GitHubError;
use crate::health::{CheckState, Health};
use crate::ids::{Account, AppId, InvalidId};
use crate::scan::{ScanBoard, ScanResult};
use crate::work::{Hint, Lane, Reasons, WorkKey, back_off};

/// What an account's loop needs.
#[derive(Clone)]
pub struct Scheduler {
    /// Who the owner is.
    pub accounts: Arc<Accounts>,
    /// Where the scan key goes.
    pub queue: Arc<dyn Queue>,
    /// When a scan has ended.
    pub board: Arc<ScanBoard>,
    /// The time.
    pub clock: SharedClock,
    /// Where trouble is told.
    pub health: Arc<Health>,
}

/// Why a scan could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The provider's host is no host name.
    #[error(transparent)]
    Host(#[from] InvalidId),
    /// GitHub does not say who the account is.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// The key could not be pushed.
    #[error(transparent)]
    Storage(#[from] EngineError),
}

/// The providers that one scan serves, together: those of the same login, or of the same App.
pub fn targets(providers: &[Provider]) -> Vec<Vec<Provider>> {
    let mut targets: Vec<Vec<Provider>> = Vec::new();
    for provider in providers {
        let is_same = |target: &&mut Vec<Provider>| {
            target.first().is_some_and(|first| {
                first.host == provider.host
                    && first.app == provider.app
                    && first.organization.eq_ignore_ascii_case(&provider.organization)
            })
        };
        match targets.iter_mut().find(is_same) {
            Some(target) => target.push(provider.clone()),
            None => targets.push(vec![provider.clone()]),
        }
    }
    targets
}

impl Scheduler {
    /// Runs the schedules of one of the [`targets`] until `stop`.
    pub async fn run(self, providers: Vec<Provider>, stop: CancellationToken) {
        let is_manual = |provider: &Provider| provider.schedule.frequency == Frequency::Manual;
        let (manual, providers): (Vec<_>, Vec<_>) = providers.into_iter().partition(is_manual);
        self.tell(&manual, CheckState::Off, "trigger: manual, no scan runs by itself");
        if providers.is_empty() {
            return;
        }
        tokio::select! {
            () = self.cycle(&providers) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn cycle(&self, providers: &[Provider]) {
        let begun = self.clock.now();
        let delays = providers.iter().map(|provider| provider.schedule.initial_delay);
        self.clock.sleep(delays.min().unwrap_or_default()).await;
        let mut last_ended: Option<Timestamp> = None;
        loop {
            if let Some(ended) = last_ended {
                self.clock.sleep(self.pause(providers, ended)).await;
            }
            let (key, account) = self.find(providers).await;
            // A scan runs at every start; one that another replica began since then is as good,
            // and so is later one that ended so lately that the next is not due.
            let is_enough = |last: &ScanResult| match last_ended {
                None => last.started_at >= begun,
                Some(_) => !self.pause(providers, last.ended_at).is_zero(),
            };
            let elsewhere = self.last(&account).await.filter(is_enough);
            last_ended = Some(match elsewhere {
                Some(last) => last.ended_at,
                None => {
                    let since = last_ended.unwrap_or(begun);
                    self.scan(providers, key, &account, since).await
                }
            });
        }
    }

    /// How an account's last scan ended, if it ended well.
    async fn last(&self, account: &Account) -> Option<ScanResult> {
        let last = self.board.result(account).await.unwrap_or_else(|error| {
            tracing::warn!(account = %account, %error, "when the last scan ended is not known");
            None
        });
        last.filter(|last| last.error.is_none())
    }

    /// Pushes the key, unless another replica has `since`, and waits for a scan to end well; for
    /// as long as until the next one is due, when it is late. Returns when it ended, or was found
    /// to be late.
    async fn scan(
        &self,
        providers: &[Provider],
        key: WorkKey,
        account: &Account,
        since: Timestamp,
    ) -> Timestamp {
        let mut attempt = 0;
        let asked = loop {
            match self.push_once(key.clone(), account, since).await {
                Ok(asked) => break asked,
                Err(error) => {
                    attempt += 1;
                    self.rest(providers, &error.into(), attempt).await;
                }
            }
        };
        tokio::select! {
            result = self.board.wait(account, asked) => {
                self.tell(providers, CheckState::Ok, "the last scan ended well");
                result.ended_at
            }
            late = self.late(providers) => late,
        }
    }

    /// Pushes the key for all replicas, of which each finds the scan due at the same time: another
    /// push while the scan runs would make it run once more. Returns when it was pushed.
    async fn push_once(
        &self,
        key: WorkKey,
        account: &Account,
        since: Timestamp,
    ) -> Result<Timestamp, EngineError> {
        if let Some(at) = self.board.pushed_at(account).await?.filter(|at| *at > since) {
            return Ok(at);
        }
        let now = self.clock.now();
        self.push_key(key, account).await?;
        self.board.pushed(account).await?;
        Ok(now)
    }

    /// Waits out the time a scan may take, says that it is late, and waits until the next is due.
    async fn late(&self, providers: &[Provider]) -> Timestamp {
        let timeouts = providers.iter().map(|provider| provider.schedule.timeout);
        let timeout = timeouts.max().unwrap_or_default();
        self.clock.sleep(timeout).await;
        let detail = format!("no scan has ended within {} s of its start", timeout.as_secs());
        self.tell(providers, CheckState::Degraded, &detail);
        let late = self.clock.now();
        self.clock.sleep(self.pause(providers, late)).await;
        late
    }

    /// The wait from now for the scan after one that ended at `ended`; zero when it is due.
    fn pause(&self, providers: &[Provider], ended: Timestamp) -> Duration {
        let schedules = providers.iter().map(|provider| &provider.schedule);
        let next = schedules.filter_map(|s| s.frequency.next_after_millis(ended.0)).min();
        next.map_or(Duration::MAX, |next| Timestamp(next).since(self.clock.now()))
    }

    /// Learns which key is to be pushed and for which account; tries until that has worked.
    async fn find(&self, providers: &[Provider]) -> (WorkKey, Account) {
        let mut attempt = 0;
        loop {
            // They all name the same.
            let Some(provider) = providers.first() else { return std::future::pending().await };
            match self.key_of(provider).await {
                Ok(found) => return found,
                Err(error) => {
                    attempt += 1;
                    self.rest(providers, &error, attempt).await;
                }
            }
        }
    }

    /// Tells why a scan cannot start, and waits a little.
    async fn rest(&self, providers: &[Provider], error: &StartError, attempt: u32) {
        let ids: Vec<&str> = providers.iter().map(|provider| provider.id.as_str()).collect();
        tracing::warn!(providers = ids.join(","), %error, "cannot start a scan");
        self.tell(providers, CheckState::Degraded, &format!("cannot start a scan: {error}"));
        let now = self.clock.now();
        let rest = match error {
            StartError::GitHub(error) => error.rests_until(now).map(|until| until.since(now)),
            StartError::Host(_) | StartError::Storage(_) => None,
        };
        self.clock.sleep(rest.unwrap_or_else(|| back_off(attempt, fastrand::f64()))).await;
    }

    /// Learns who the provider's account is and pushes its scan key; for an App the key that
    /// looks for its accounts, under the App's own account.
    ///
    /// # Errors
    /// When GitHub does not say, or the storage fails.
    pub async fn push_scan(&self, provider: &Provider) -> Result<Account, StartError> {
        let (key, account) = self.key_of(provider).await?;
        self.push_key(key, &account).await?;
        Ok(account)
    }

    /// The key that scans what the provider names, and its account.
    ///
    /// # Errors
    /// When GitHub does not say who the account is.
    pub async fn key_of(&self, provider: &Provider) -> Result<(WorkKey, Account), StartError> {
        let host = host_of(provider)?;
        if let Some(app) = provider.app.map(AppId) {
            let account = app_account(&host, app);
            return Ok((WorkKey::Installations { host, app }, account));
        }
        let account = self.accounts.resolve(&host, &provider.organization).await?.account;
        Ok((WorkKey::Scan(account.clone()), account))
    }

    /// Pushes such a key.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn push_key(&self, key: WorkKey, account: &Account) -> Result<(), EngineError> {
        let key = PushKey {
            key,
            account: account.clone(),
            lane: Lane::Scan,
            hint: Hint::new(Reasons::SCHEDULE, self.clock.now()),
        };
        self.queue.push(Push { delivery: None, keys: vec![key] }).await?;
        Ok(())
    }

    fn tell(&self, providers: &[Provider], state: CheckState, detail: &str) {
        for provider in providers {
            self.health.set(&format!("schedule:{}", provider.id), state, detail);
        }
    }
}
