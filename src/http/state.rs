//! What the handlers of the internal listener share.

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::catalog::View;
use crate::clock::{SharedClock, Timestamp};
use crate::config::InternalAuth;
use crate::engine::queue::Inspect;
use crate::engine::{Queue, Store};
use crate::health::Health;
use crate::http::answer::ApiError;
use crate::http::streams::Streams;
use crate::ids::{Host, RepoId};
use crate::operate::Operator;
use crate::telemetry::Metrics;
use crate::work::RepoKey;

/// What is said while the view is not complete.
pub(super) const NOT_LOADED: &str = "the catalog is still being loaded from the storage";

/// What the internal listener needs.
pub struct InternalState {
    /// The newest view.
    pub view: watch::Receiver<Arc<View>>,
    /// Where a refresh is pushed.
    pub queue: Arc<dyn Queue>,
    /// The queue as operators see it.
    pub inspect: Arc<dyn Inspect>,
    /// Where held removals are asked for.
    pub store: Arc<dyn Store>,
    /// Scans, approvals, explanations.
    pub operator: Operator,
    /// The checks of all parts.
    pub health: Arc<Health>,
    /// What `/metrics` writes.
    pub registry: Arc<Registry>,
    /// The gauges that `/metrics` sets before.
    pub metrics: Metrics,
    /// The open streams of changes.
    pub streams: Streams,
    /// Who may ask.
    pub auth: InternalAuth,
    /// The origins whose pages may read what is answered.
    pub origins: Vec<String>,
    /// The time.
    pub clock: SharedClock,
    /// What does not change while the process runs.
    pub info: Info,
}

impl InternalState {
    /// The newest view, complete or not.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// The newest view, once it is complete: whoever mirrors us would take a half-loaded catalog
    /// for removals.
    pub fn complete_view(&self) -> Result<Arc<View>, ApiError> {
        let view = self.view();
        if view.is_complete() { Ok(view) } else { Err(ApiError::unavailable(NOT_LOADED)) }
    }
}

/// What does not change while the process runs.
#[derive(Debug, Clone)]
pub struct Info {
    /// Our version.
    pub version: &'static str,
    /// When the process started.
    pub started_at: Timestamp,
    /// Whether webhooks are received.
    pub webhooks: Webhooks,
    /// `storage.url` without user and password.
    pub storage_url: String,
    /// How many workers run.
    pub workers: usize,
    /// The providers.
    pub providers: Vec<ProviderInfo>,
}

/// Whether webhooks are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Webhooks {
    /// They are.
    On,
    /// No secret is configured.
    Off,
}

/// A provider, as people see it.
#[derive(Debug, Clone)]
pub struct ProviderInfo {
    /// Its id.
    pub id: String,
    /// The host.
    pub host: String,
    /// The owner of the repositories; empty when `app` is set.
    pub organization: String,
    /// The App whose installations name the owners.
    pub app: Option<u64>,
    /// The paths it looks for.
    pub catalog_paths: Vec<String>,
    /// When it scans, in words.
    pub schedule: String,
}

/// The key of the repository of this name, if it has a record.
pub(super) fn key_of(view: &View, host: Option<&str>, full_name: &str) -> Option<RepoKey> {
    let found = view.repository_named(host, full_name)?;
    let host = Host::parse(&found.id.host).ok()?;
    Some(RepoKey { host, id: RepoId(found.id.id) })
}

/// What handlers share.
pub(super) type Shared = Arc<InternalState>;

/// Adds a route that a trailing slash does not change.
pub(super) fn route(
    router: Router<Shared>,
    path: &str,
    handler: MethodRouter<Shared>,
) -> Router<Shared> {
    router.route(path, handler.clone()).route(&format!("{path}/"), handler)
}
