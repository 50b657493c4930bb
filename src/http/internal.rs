//! The internal listener: the catalog for Backstage and people, and how cuelight is.
//!
//! Everything but the probes and the metrics stands behind the listener's guard. All of it is
//! answered from the view in memory, or by a question to the storage.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;

use crate::catalog::View;
use crate::clock::{SharedClock, Timestamp};
use crate::config::InternalAuth;
use crate::engine::queue::Inspect;
use crate::engine::{Queue, Store};
use crate::health::Health;
use crate::http::answer::render_errors;
use crate::http::auth::{Guard, require};
use crate::http::{catalog_api, cuelight_api, health, metrics};
use crate::telemetry::Metrics;

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
    /// The checks of all parts.
    pub health: Arc<Health>,
    /// What `/metrics` writes.
    pub registry: Arc<Registry>,
    /// The gauges that `/metrics` sets before.
    pub metrics: Metrics,
    /// Who may ask.
    pub auth: InternalAuth,
    /// The time.
    pub clock: SharedClock,
    /// What does not change while the process runs.
    pub info: Info,
}

impl InternalState {
    /// The newest view.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
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
    /// The owner of the repositories.
    pub organization: String,
    /// The paths it looks for.
    pub catalog_paths: Vec<String>,
    /// When it scans, in words.
    pub schedule: String,
}

/// What handlers share.
pub(super) type Shared = Arc<InternalState>;

/// All routes of the internal listener.
pub fn router(state: InternalState) -> Router {
    let state = Arc::new(state);
    let guard = from_fn_with_state(Guard::new(&state.auth), require);
    let empty = || async { StatusCode::NOT_FOUND };
    let guarded = |routes: Router<Shared>| {
        let routes = routes.fallback(empty).method_not_allowed_fallback(empty);
        routes.layer(guard.clone()).layer(from_fn(render_errors))
    };
    Router::new()
        .nest("/api/catalog", guarded(catalog_api::routes()))
        .nest("/api/cuelight/v1", guarded(cuelight_api::routes()))
        .route("/", get(index))
        .route("/health", get(health::health))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .with_state(state)
        .layer(CatchPanicLayer::new())
}

/// Adds a route that a trailing slash does not change.
pub(super) fn route(
    router: Router<Shared>,
    path: &str,
    handler: MethodRouter<Shared>,
) -> Router<Shared> {
    router.route(path, handler.clone()).route(&format!("{path}/"), handler)
}

const INDEX: &str = "cuelight: a software catalog that follows GitHub

/health                            how every dependency is
/livez, /readyz                    probes
/metrics                           OpenMetrics
/api/catalog/entities              the catalog, as Backstage serves it
/api/catalog/entities/by-query
/api/catalog/entities/by-name/KIND/NAMESPACE/NAME
/api/catalog/entities/by-uid/UID
/api/catalog/refresh               POST {\"entityRef\": \"component:default/name\"}
/api/cuelight/v1/status            what cuelight is doing
/api/cuelight/v1/repositories      what it knows of each repository
/api/cuelight/v1/problems          what owners have to mend
/api/cuelight/v1/deliveries        the newest webhooks and what became of them
/api/cuelight/v1/queue             keys: waiting, held, dead; POST queue/retry, queue/drop
";

async fn index() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], INDEX)
}
