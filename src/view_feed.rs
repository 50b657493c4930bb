//! Keeps the in-memory view equal to the store: loads every record, then follows the change log.
//! What records depend on beyond their own branches goes to routing in the same way.
//!
//! Loading notes the log's last sequence number *before* it reads records, and afterwards applies
//! every later change; a change that the load already saw is applied again, which changes nothing.

mod overtaken;

pub use overtaken::Overtaken;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::catalog::{RepoId, View};
use crate::clock::SharedClock;
use crate::dependents::{Dependent, Dependents, Watched};
use crate::engine::dependency::{Dependency, Place};
use crate::engine::record::RepoRecord;
use crate::engine::store::{ChangeEntry, Seq};
use crate::engine::{EngineError, Store};
use crate::health::{CheckState, Health, VIEW_FOLLOWS};
use crate::ids::Host;
use crate::telemetry::Metrics;
use crate::webhook::route::Routing;
use crate::work::RepoKey;
use overtaken::Newcomer;

/// Records read at a time while loading. As trees they take ten times the room that they have in
/// the view, and the C library keeps what was once taken.
const LOAD_PAGE: usize = 200;

/// Changes read at a time, few for the same reason: a burst becomes visible in steps of this size.
const CHANGES_PAGE: usize = 100;

/// Looks at the log this often even without a wake-up.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Most deliveries that are looked through for pushes that came before the index knew who
/// depends on the repository.
pub const DELIVERIES_MAX: usize = 2_000;

/// Rest after the storage failed: short, for the view is to follow soon after.
const STORAGE_REST: Duration = Duration::from_millis(500);

/// Feeds one view.
pub struct ViewFeed {
    /// What is followed.
    pub store: Arc<dyn Store>,
    /// Where new snapshots go.
    pub view: watch::Sender<Arc<View>>,
    /// Where the index of dependents goes.
    pub routing: watch::Sender<Arc<Routing>>,
    /// Where pushes are found that came before the index knew who depends on their repository;
    /// `None` where nothing is received.
    pub overtaken: Option<Overtaken>,
    /// The time, for lags.
    pub clock: SharedClock,
    /// Counts.
    pub metrics: Metrics,
    /// Where an unreadable storage is told.
    pub health: Arc<Health>,
}

impl ViewFeed {
    /// Loads the whole catalog, shows each record to `look`, publishes the view, and returns the
    /// position in the log that it stands for.
    ///
    /// # Errors
    /// When the storage cannot be read; the view stays as it was.
    pub async fn load(&self, mut look: impl FnMut(&RepoRecord)) -> Result<Seq, EngineError> {
        let seq = self.store.last_seq().await?;
        let mut view = View::empty();
        let mut dependents = Dependents::default();
        let before = self.routing.borrow().dependents.clone();
        let mut newcomers = Vec::new();
        let mut after: Option<RepoKey> = None;
        loop {
            let records = self.store.records(after, LOAD_PAGE).await?;
            let Some(last) = records.last() else { break };
            after = Some(last.key.clone());
            view = view.with_repositories(records.iter().map(RepoRecord::to_entry));
            for record in &records {
                depend(&mut dependents, record);
                newcomers.extend(Newcomer::of(record, &before));
                look(record);
            }
        }
        self.route(dependents);
        self.overtaken(newcomers).await?;
        self.publish(view.complete_to(seq));
        Ok(seq)
    }

    /// Follows the log from `seq` until `stop`.
    pub async fn follow(self, seq: Seq, stop: CancellationToken) {
        let mut at = seq;
        let mut as_of = self.clock.now();
        while !stop.is_cancelled() {
            let asked_at = self.clock.now();
            match self.catch_up(at).await {
                // Less than before after a load of another log, of a restored file say.
                Ok(now_at) if now_at != at => at = now_at,
                Ok(_) => {
                    as_of = asked_at;
                    self.health.remove(VIEW_FOLLOWS);
                    tokio::select! {
                        () = self.store.wait_change(at, LOOK_EVERY) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    let detail = format!(
                        "the view cannot follow the storage, it is served as of {as_of}: {error}"
                    );
                    self.health.set_since(VIEW_FOLLOWS, CheckState::Degraded, as_of, detail);
                    tokio::select! {
                        () = self.clock.sleep(STORAGE_REST) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Applies what the log holds after `at` and returns the new position.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn catch_up(&self, at: Seq) -> Result<Seq, EngineError> {
        let Some(changes) = self.store.changes(at, CHANGES_PAGE).await? else {
            return self.load(|_| {}).await;
        };
        let Some(last) = changes.last() else { return Ok(at) };
        let seq = last.seq;
        let view = (**self.view.borrow()).clone();
        let view = apply(view, &changes);
        let before = self.routing.borrow().dependents.clone();
        let records = changes.iter().filter_map(|change| change.record.as_ref());
        let newcomers = records.filter_map(|record| Newcomer::of(record, &before)).collect();
        let mut dependents = before.clone();
        let mut is_other = false;
        for change in &changes {
            is_other |= match &change.record {
                Some(record) => depend(&mut dependents, record),
                None => dependents.remove(&change.key),
            };
        }
        if is_other {
            self.route(dependents);
        }
        self.overtaken(newcomers).await?;
        self.publish(view.complete_to(seq));
        let now = self.clock.now();
        for cued_at in changes.iter().filter_map(|c| c.record.as_ref()?.cued_at) {
            Metrics::observe(&self.metrics.visible_lag, now.since(cued_at));
        }
        Ok(seq)
    }

    fn route(&self, dependents: Dependents) {
        self.routing.send_modify(|routing| {
            *routing = Arc::new(Routing { dependents, ..Routing::clone(routing) });
        });
    }

    /// Sees to pushes that came before these were in the index, where they are now.
    async fn overtaken(&self, newcomers: Vec<Newcomer>) -> Result<(), EngineError> {
        match &self.overtaken {
            Some(overtaken) => overtaken.look(newcomers, self.clock.now()).await,
            None => Ok(()),
        }
    }

    fn publish(&self, view: View) {
        self.view.send_replace(Arc::new(view));
    }
}

/// Takes in what a record depends on; whether that changes anything.
fn depend(dependents: &mut Dependents, record: &RepoRecord) -> bool {
    let (dependent, watched) = watched_by(record);
    dependents.put(dependent, watched)
}

/// A record as the index knows it, and the branches beyond its own that it depends on.
fn watched_by(record: &RepoRecord) -> (Dependent, BTreeSet<Watched>) {
    let watched = |place: &Place| match place {
        Place::Own(_) => None,
        Place::Other { host, full_name, branch, id } => Some(Watched {
            host: Host::parse(host).ok()?,
            name: full_name.to_ascii_lowercase(),
            id: *id,
            branch: branch.clone(),
        }),
    };
    let places = record.dependencies.iter().map(Dependency::place);
    let dependent = Dependent {
        key: record.key.clone(),
        account: record.account.clone(),
        full_name: record.full_name.clone(),
    };
    (dependent, places.filter_map(watched).collect())
}

fn apply(mut view: View, changes: &[ChangeEntry]) -> View {
    let is_written = |change: &ChangeEntry| change.record.is_some();
    for alike in changes.chunk_by(|one, next| is_written(one) && is_written(next)) {
        // Together they copy what they share with the view that is read only once.
        let records = alike.iter().filter_map(|change| change.record.as_ref());
        view = view.with_repositories(records.map(RepoRecord::to_entry));
        for change in alike.iter().filter(|change| !is_written(change)) {
            let id = RepoId::new(change.key.host.as_str(), change.key.id.0);
            view = view.without_repository(&id);
        }
    }
    view
}
