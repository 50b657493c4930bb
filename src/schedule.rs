//! When scans run: one loop a provider that pushes its account's scan key.
//!
//! The loop learns which account the provider's login is, pushes the key, and waits for that scan
//! to end before it counts down to the next one.

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
use crate::ids::{Account, AppId, Host, InvalidId};
use crate::scan::ScanBoard;
use crate::work::{Hint, Lane, Reasons, WorkKey, back_off};

/// What a provider's loop needs.
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

impl Scheduler {
    /// Runs one provider's schedule until `stop`.
    pub async fn run(self, provider: Provider, stop: CancellationToken) {
        let check = format!("schedule:{}", provider.id);
        if provider.schedule.frequency == Frequency::Manual {
            self.health.set(&check, CheckState::Off, "trigger: manual, no scan runs by itself");
            return;
        }
        tokio::select! {
            () = self.cycle(&provider, &check) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn cycle(&self, provider: &Provider, check: &str) {
        self.clock.sleep(provider.schedule.initial_delay).await;
        loop {
            let started = self.clock.now();
            let account = self.push(provider, check).await;
            tokio::select! {
                () = self.board.wait(&account, started) => {
                    self.health.set(check, CheckState::Ok, "the last scan ended well");
                    self.clock.sleep(self.pause(provider)).await;
                }
                () = self.late(provider, check) => {}
            }
        }
    }

    /// Waits out the time a scan may take, says that it is late, and waits until the next is due.
    async fn late(&self, provider: &Provider, check: &str) {
        let timeout = provider.schedule.timeout;
        self.clock.sleep(timeout).await;
        let detail = format!("no scan has ended within {} s of its start", timeout.as_secs());
        self.health.set(check, CheckState::Degraded, detail);
        self.clock.sleep(self.pause(provider)).await;
    }

    /// The wait for the next scan; unbounded when only a person starts one.
    fn pause(&self, provider: &Provider) -> Duration {
        let now = self.clock.now();
        let next = provider.schedule.frequency.next_after_millis(now.0);
        next.map_or(Duration::MAX, |next| Timestamp(next).since(now))
    }

    /// Pushes the scan key; tries until that has worked.
    async fn push(&self, provider: &Provider, check: &str) -> Account {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.push_scan(provider).await {
                Ok(account) => return account,
                Err(error) => error,
            };
            tracing::warn!(provider = %provider.id, %error, "cannot start a scan");
            self.health.set(check, CheckState::Degraded, format!("cannot start a scan: {error}"));
            let now = self.clock.now();
            let rest = match &error {
                StartError::GitHub(error) => error.rests_until(now).map(|until| until.since(now)),
                StartError::Host(_) | StartError::Storage(_) => None,
            };
            let pause = rest.unwrap_or_else(|| back_off(attempt, fastrand::f64()));
            self.clock.sleep(pause).await;
        }
    }

    /// Learns who the provider's account is and pushes its scan key; for an App the key that
    /// looks for its accounts, under the App's own account.
    ///
    /// # Errors
    /// When GitHub does not say, or the storage fails.
    pub async fn push_scan(&self, provider: &Provider) -> Result<Account, StartError> {
        let host = host_of(provider)?;
        let (key, account) = self.key(host, provider).await?;
        let key = PushKey {
            key,
            account: account.clone(),
            lane: Lane::Scan,
            hint: Hint::new(Reasons::SCHEDULE, self.clock.now()),
        };
        let push = Push { delivery: None, keys: vec![key] };
        self.queue.push(push).await?;
        Ok(account)
    }

    async fn key(&self, host: Host, provider: &Provider) -> Result<(WorkKey, Account), StartError> {
        if let Some(app) = provider.app.map(AppId) {
            let account = app_account(&host, app);
            return Ok((WorkKey::Installations { host, app }, account));
        }
        let account = self.accounts.resolve(&host, &provider.organization).await?.account;
        Ok((WorkKey::Scan(account.clone()), account))
    }
}
