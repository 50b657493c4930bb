//! The worker: take keys, do them, settle them.
//!
//! [`Worker::step`] is the whole body of a worker and can be called by tests; [`Worker::run`] only
//! repeats it. A step holds leases only while it works, renews them while GitHub is slow, and ends
//! with every one of them settled, whatever happened: done, again later, or dead. If the process
//! dies in between, the leases end by themselves and count as a failed attempt.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::clock::{SharedClock, Timestamp};
use crate::engine::queue::{Lease, LeaseRef, Settled, Settlement};
use crate::engine::store::{Applied, Apply};
use crate::engine::{EngineError, Queue, Store};
use crate::github::GitHubError;
use crate::health::{CheckState, Health};
use crate::ids::Account;
use crate::installations;
use crate::reconcile::{Plan, Reconciler, panic_text};
use crate::scan::{Ended, Scanner};
use crate::telemetry::Metrics;
use crate::work::{BATCH_MAX, LEASE, Lane, Reasons, WorkKey, back_off};

/// Attempts after which a unit that panics is given up: the same input panics again.
pub const PANICS_MAX: u32 = 2;

/// Longest sleep of an idle worker; a wake-up that got lost costs at most this.
pub const IDLE_MAX: Duration = Duration::from_secs(30);

/// Rest after the storage failed: its log is not flooded, and work goes on soon after.
const STORAGE_REST: Duration = Duration::from_millis(500);

/// One of the equal workers.
#[derive(Clone)]
pub struct Worker {
    /// Where work comes from.
    pub queue: Arc<dyn Queue>,
    /// Where records go.
    pub store: Arc<dyn Store>,
    /// Repositories.
    pub reconciler: Arc<Reconciler>,
    /// Accounts.
    pub scanner: Arc<Scanner>,
    /// The time.
    pub clock: SharedClock,
    /// Counts.
    pub metrics: Metrics,
    /// What GitHub's state is told to.
    pub health: Arc<Health>,
    /// Cancelled when a stop can wait no longer: work under way is dropped, its keys given back.
    pub hurry: CancellationToken,
}

/// What a step did.
#[derive(Debug)]
pub enum Step {
    /// Nothing was due; when something will be, if that is known.
    Idle(Option<Timestamp>),
    /// These keys were taken and settled.
    Worked(Vec<(WorkKey, Outcome)>),
}

/// What became of one key in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The catalog equals what was read.
    Done,
    /// Read, but it looked older than what a webhook told: due again soon.
    Delayed,
    /// Failed; again later.
    Retried,
    /// Failed for the last time.
    Dead,
    /// Given back because of a limit or refused credentials.
    Gated,
    /// The brake holds the removal.
    Held,
    /// The lease had ended; nothing was written.
    Stale,
}

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Delayed | Self::Gated => "delay",
            Self::Retried => "retry",
            Self::Dead => "dead",
            Self::Held => "held",
            Self::Stale => "stale",
        }
    }
}

impl Worker {
    /// Steps until `stop`; a step under way is finished.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.step().await {
                Ok(Step::Worked(_)) => {}
                Ok(Step::Idle(next)) => {
                    let now = self.clock.now();
                    let pause = next.map_or(IDLE_MAX, |at| at.since(now).min(IDLE_MAX));
                    tokio::select! {
                        () = self.queue.wait(pause) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a worker cannot reach the storage");
                    tokio::select! {
                        () = self.clock.sleep(STORAGE_REST) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Takes up to a batch of keys and settles each of them.
    ///
    /// # Errors
    /// When the storage fails; what was taken is then given back, by the end of its lease at the
    /// latest.
    pub async fn step(&self) -> Result<Step, EngineError> {
        let taken = self.queue.take(BATCH_MAX, LEASE).await?;
        if taken.leases.is_empty() {
            return Ok(Step::Idle(taken.next_due));
        }
        let work = AssertUnwindSafe(self.work(&taken.leases)).catch_unwind();
        let outcomes = tokio::select! {
            done = work => match done {
                Ok(Ok(outcomes)) => outcomes,
                Ok(Err(error)) => return Err(self.after_failure(&taken.leases, error).await),
                Err(panic) => self.after_panic(&taken.leases, &panic_text(panic.as_ref())).await?,
            },
            () = self.renew(&taken.leases) => Vec::new(),
            () = self.hurry.cancelled() => self.release(&taken.leases).await?,
        };
        for (lease, outcome) in taken.leases.iter().zip(&outcomes) {
            let outcome = outcome.label();
            Metrics::count(&self.metrics.runs, outcome);
            tracing::debug!(key = %lease.key, outcome, "{}: {outcome}", shown(lease));
        }
        let keys = taken.leases.into_iter().map(|lease| lease.key);
        Ok(Step::Worked(keys.zip(outcomes).collect()))
    }

    /// Renews the leases for as long as it is polled; ends only when none of them is valid.
    async fn renew(&self, leases: &[Lease]) {
        let mut valid: Vec<LeaseRef> = leases.iter().map(LeaseRef::from).collect();
        while !valid.is_empty() {
            self.clock.sleep(LEASE / 3).await;
            if let Ok(lost) = self.queue.extend(valid.clone(), LEASE).await {
                valid.retain(|lease| !lost.contains(lease));
            }
        }
    }

    async fn work(&self, leases: &[Lease]) -> Result<Vec<Outcome>, EngineError> {
        match leases {
            [Lease { key: WorkKey::Repo(_), .. }, ..] => self.reconcile(leases).await,
            [lease @ Lease { key: WorkKey::Scan(account), .. }, ..] => {
                let reasons = lease.hint.reasons;
                let result = match installations::scan(&self.scanner, account, reasons).await? {
                    Ok(Ended::PutOff(until)) => return self.put_off(leases, until).await,
                    Ok(Ended::Whole) => Ok(()),
                    Err(error) => Err(error),
                };
                self.ended(lease, result).await
            }
            [lease @ Lease { key: WorkKey::Installations { host, app }, .. }, ..] => {
                let reasons = lease.hint.reasons;
                let result = installations::discover(&self.scanner, host, *app, reasons).await?;
                self.ended(lease, result).await
            }
            [] => Ok(Vec::new()),
        }
    }

    /// Settles a key that was worked alone.
    async fn ended(
        &self,
        lease: &Lease,
        mut result: Result<(), GitHubError>,
    ) -> Result<Vec<Outcome>, EngineError> {
        let alone = std::slice::from_ref(lease);
        self.tell_outage(alone, result.as_mut().err().into_iter()).await;
        self.gate_if_told(&lease.account, alone, result.as_ref().err().into_iter()).await?;
        let outcome = match result {
            Ok(()) => self.settle(lease, Settlement::Done).await?,
            Err(error) => {
                if let (WorkKey::Scan(account), true) = (&lease.key, error.is_transient()) {
                    self.scanner.stumbled(account).await?;
                }
                self.failed(lease, error).await?
            }
        };
        Ok(vec![outcome])
    }

    async fn reconcile(&self, leases: &[Lease]) -> Result<Vec<Outcome>, EngineError> {
        if let Some(until) = self.waits_for_points(leases) {
            return self.put_off(leases, until).await;
        }
        let mut plans = self.reconciler.plan(leases).await?;
        self.tell_outage(leases, plans.iter_mut().filter_map(Plan::error_mut)).await;
        // What is only processed again may still have to read what it leads to.
        let now = self.clock.now();
        let rests =
            |plan: &Plan| matches!(plan, Plan::Failed(error) if error.rests_until(now).is_some());
        let was_asked = plans.iter().any(rests);
        if let Some(first) = leases.iter().find(|lease| was_asked || is_read(lease)) {
            let errors = plans.iter_mut().filter_map(Plan::error_mut).map(|error| &*error);
            self.gate_if_told(&first.account, leases, errors).await?;
            self.tell_left(&first.account, leases, &plans);
        }
        let settled = leases.iter().zip(plans).map(|(lease, plan)| self.carry_out(lease, plan));
        join_all(settled).await.into_iter().collect()
    }

    /// Until when what a scan found is put off, so that events find points to spend.
    fn waits_for_points(&self, leases: &[Lease]) -> Option<Timestamp> {
        let first = leases.iter().find(|lease| is_read(lease))?;
        // Asked of events too, for the gauge.
        let until = self.scanner.reserved_until(&first.account)?;
        (first.lane == Lane::Scan).then_some(until)
    }

    /// Delays keys without burning an attempt; an event that names one brings it back at once.
    async fn put_off(
        &self,
        leases: &[Lease],
        until: Timestamp,
    ) -> Result<Vec<Outcome>, EngineError> {
        let after = until.since(self.clock.now());
        let put_off = leases.iter().map(|lease| self.settle(lease, Settlement::Delay { after }));
        join_all(put_off).await.into_iter().collect()
    }

    async fn carry_out(&self, lease: &Lease, plan: Plan) -> Result<Outcome, EngineError> {
        let (change, settlement, cause) = match plan {
            Plan::Failed(error) => return self.failed(lease, error).await,
            Plan::Panicked(what) => return self.panicked(lease, &what).await,
            Plan::Left { why, settlement } => {
                tracing::warn!(key = %lease.key, "left as it is: {why}");
                return self.settle(lease, settlement).await;
            }
            Plan::Apply { change, settlement, cause } => (change, settlement, cause),
        };
        let Some(change) = change else { return self.settle(lease, settlement).await };
        let delayed = matches!(settlement, Settlement::Delay { .. });
        let apply = Apply { lease: lease.into(), change, settlement, cause };
        Ok(match self.store.apply(apply).await? {
            Applied::Written(..) => {
                if lease.hint.reasons.from_event() {
                    let lag = self.clock.now().since(lease.hint.first_seen);
                    Metrics::observe(&self.metrics.reconciled_lag, lag);
                }
                if delayed { Outcome::Delayed } else { Outcome::Done }
            }
            Applied::Held(_) => {
                tracing::warn!(key = %lease.key, "the brake holds the removal of {}", shown(lease));
                Outcome::Held
            }
            Applied::Stale => Outcome::Stale,
        })
    }

    async fn failed(&self, lease: &Lease, error: GitHubError) -> Result<Outcome, EngineError> {
        if error.rests_until(self.clock.now()).is_some() {
            let settled = self.settle(lease, Settlement::Release).await?;
            return Ok(if settled == Outcome::Stale { settled } else { Outcome::Gated });
        }
        let after = back_off(lease.attempt, fastrand::f64());
        let error = error.to_string();
        tracing::warn!(key = %lease.key, attempt = lease.attempt, %error, "{} failed", shown(lease));
        self.settle(lease, Settlement::Retry { error, after }).await
    }

    async fn panicked(&self, lease: &Lease, what: &str) -> Result<Outcome, EngineError> {
        Metrics::count(&self.metrics.runs, "panic");
        let error = format!("cuelight panicked over it: {what}");
        tracing::error!(key = %lease.key, attempt = lease.attempt, %error, "{} panicked", shown(lease));
        let settlement = if lease.attempt >= PANICS_MAX {
            Settlement::Dead { error }
        } else {
            Settlement::Retry { error, after: back_off(lease.attempt, fastrand::f64()) }
        };
        self.settle(lease, settlement).await
    }

    /// After a panic that is no unit's own. A single key is to blame for it. Of several nobody
    /// knows which one is, so their leases are left to end: from then on each is taken alone.
    async fn after_panic(&self, leases: &[Lease], what: &str) -> Result<Vec<Outcome>, EngineError> {
        if let [lease] = leases {
            return self.panicked(lease, what).await.map(|outcome| vec![outcome]);
        }
        Metrics::count(&self.metrics.runs, "panic");
        let keys = leases.len();
        tracing::error!(keys, what, "a step over {keys} keys panicked; each is tried alone");
        Ok(Vec::new())
    }

    /// A storage that is away for a moment is nobody's attempt: gives back what was not settled.
    /// One that cannot be read would fail again at once, so there the leases are left to end.
    async fn after_failure(&self, leases: &[Lease], error: EngineError) -> EngineError {
        if matches!(error, EngineError::Unavailable(_))
            && let Err(again) = self.release(leases).await
        {
            tracing::debug!(error = %again, "the keys come back when their leases end");
        }
        error
    }

    async fn release(&self, leases: &[Lease]) -> Result<Vec<Outcome>, EngineError> {
        let released = leases.iter().map(|lease| self.settle(lease, Settlement::Release));
        join_all(released).await.into_iter().collect()
    }

    async fn settle(&self, lease: &Lease, how: Settlement) -> Result<Outcome, EngineError> {
        let usual = match &how {
            Settlement::Done => Outcome::Done,
            Settlement::Delay { .. } => Outcome::Delayed,
            Settlement::Release => Outcome::Gated,
            Settlement::Retry { .. } => Outcome::Retried,
            Settlement::Dead { .. } => Outcome::Dead,
        };
        let settled = self.queue.settle(vec![(lease.into(), how)]).await?;
        Ok(match settled.first() {
            Some(Settled::Stale) | None => Outcome::Stale,
            Some(Settled::Dead) => Outcome::Dead,
            Some(Settled::Done | Settled::Waiting) => usual,
        })
    }

    /// Tells a GitHub that is away from a unit that GitHub chokes on: when everything failed, the
    /// smallest question decides. An outage is nobody's attempt, however long it lasts.
    async fn tell_outage<'a>(
        &self,
        leases: &[Lease],
        errors: impl Iterator<Item = &'a mut GitHubError>,
    ) {
        let failed: Vec<_> = errors.filter(|error| error.is_transient()).collect();
        let Some(account) = leases.first().map(|lease| &lease.account) else { return };
        if failed.len() < leases.len() || self.scanner.github.is_awake(account).await {
            return;
        }
        for error in failed {
            *error = GitHubError::Away(error.to_string());
        }
    }

    /// Tells health of repositories that were left as they are.
    fn tell_left(&self, account: &Account, leases: &[Lease], plans: &[Plan]) {
        let left = plans.iter().filter_map(|plan| match plan {
            Plan::Left { why, .. } => Some(why.as_str()),
            _ => None,
        });
        let left: Vec<&str> = left.collect();
        let Some(first) = left.first() else { return };
        let name = leases.iter().find_map(|lease| lease.hint.name.as_ref());
        let label = self.scanner.accounts.label(account, name);
        let detail = format!(
            "{} repositories would lose all entities, and stay until a scan has weighed it: {first}",
            left.len()
        );
        self.health.set_of_account("github", account, &label, CheckState::Degraded, detail);
    }

    /// Closes the account's gate when an error says so, and tells health how the account is.
    async fn gate_if_told<'a>(
        &self,
        account: &Account,
        leases: &[Lease],
        errors: impl Iterator<Item = &'a GitHubError>,
    ) -> Result<(), EngineError> {
        let name = leases.iter().find_map(|lease| lease.hint.name.as_ref());
        let tell = |state, detail: String| {
            let accounts = &self.scanner.accounts;
            if !accounts.is_stranger(account, name) {
                let label = accounts.label(account, name);
                self.health.set_of_account("github", account, &label, state, detail);
            }
        };
        let now = self.clock.now();
        // A repository that is refused alone says nothing about the account.
        let errors: Vec<_> =
            errors.filter(|error| !matches!(error, GitHubError::Refused(_))).collect();
        if let Some((error, until)) = errors.iter().find_map(|e| Some((e, e.rests_until(now)?))) {
            tell(CheckState::Degraded, error.to_string());
            let label = self.scanner.accounts.label(account, name);
            tracing::warn!(account = %account, "{label} rests until {until}: {error}");
            return self.queue.gate(account.clone(), until, error.to_string()).await;
        }
        match errors.last() {
            Some(error) if errors.len() == leases.len() => {
                tell(CheckState::Degraded, error.to_string());
            }
            _ => tell(CheckState::Ok, "answers".to_owned()),
        }
        Ok(())
    }
}

/// Whether a key is read from GitHub, not only processed again.
fn is_read(lease: &Lease) -> bool {
    lease.hint.reasons != Reasons::REPROCESS
}

/// A unit as people know it: by its repository's name, when the hint has one.
fn shown(lease: &Lease) -> String {
    lease.hint.name.as_ref().map_or_else(|| lease.key.to_string(), ToString::to_string)
}
