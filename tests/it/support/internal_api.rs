//! The internal listener's routes over a stub engine, without a socket.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use cuelight::accounts::Accounts;
use cuelight::catalog::{AllowedKinds, View, process_file};
use cuelight::clock::{SystemClock, Timestamp};
use cuelight::config::InternalAuth;
use cuelight::github::GitHub;
use cuelight::health::Health;
use cuelight::http::internal::{Info, InternalState, ProviderInfo, Streams, Webhooks, router};
use cuelight::membership::Membership;
use cuelight::operate::Operator;
use cuelight::reconcile::{Processing, Reconciler};
use cuelight::scan::{ScanBoard, Scanner};
use cuelight::schedule::Scheduler;
use cuelight::telemetry::Metrics;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::stub_engine::StubEngine;

/// The listener and what stands behind it.
pub struct InternalApi {
    router: Router,
    /// The engine it asks.
    pub engine: Arc<StubEngine>,
    /// The view it serves.
    pub view: watch::Sender<Arc<View>>,
    /// The checks it shows.
    pub health: Arc<Health>,
    /// What ends its streams.
    pub stop: CancellationToken,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when there is none.
    pub fn json(&self) -> Value {
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// A header, `""` when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl InternalApi {
    /// Serves `view`, for whoever `auth` lets in.
    pub fn new(view: View, auth: InternalAuth) -> Self {
        Self::with_webhooks(view, auth, Webhooks::On)
    }

    /// The same, with webhooks on or off.
    pub fn with_webhooks(view: View, auth: InternalAuth, webhooks: Webhooks) -> Self {
        Self::with_info(view, auth, Info { webhooks, ..info() })
    }

    /// The same, whose answers pages of these origins may read.
    pub fn with_origins(view: View, auth: InternalAuth, origins: &[&str]) -> Self {
        Self::with_all(view, auth, info(), origins)
    }

    /// The same, for a process that says this of itself.
    pub fn with_info(view: View, auth: InternalAuth, info: Info) -> Self {
        Self::with_all(view, auth, info, &[])
    }

    fn with_all(view: View, auth: InternalAuth, info: Info, origins: &[&str]) -> Self {
        let clock = Arc::new(SystemClock);
        let engine = Arc::new(StubEngine::default());
        let health = Arc::new(Health::new(clock.clone()));
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let (sender, receiver) = watch::channel(Arc::new(view));
        let stop = CancellationToken::new();
        let router = router(InternalState {
            view: receiver,
            queue: engine.clone(),
            inspect: engine.clone(),
            store: engine.clone(),
            operator: operator(&engine, &health, &metrics),
            health: health.clone(),
            registry: Arc::new(registry),
            metrics,
            streams: Streams::new(stop.clone()),
            auth,
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            clock,
            info,
        });
        Self { router, engine, view: sender, health, stop }
    }

    /// The routes.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Sends a request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Sends a request and answers what comes back, which need not be text.
    pub async fn bytes(&self, request: Request<Body>) -> (HeaderMap, Vec<u8>) {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.headers, to_bytes(body, usize::MAX).await.unwrap().to_vec())
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// POSTs a text as JSON.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }
}

/// What a process with one provider and a secret says of itself.
pub fn info() -> Info {
    Info {
        version: "1.2.3",
        started_at: Timestamp::EPOCH,
        webhooks: Webhooks::On,
        storage_url: "sqlite:./test.db".to_owned(),
        workers: 3,
        providers: vec![ProviderInfo {
            id: "default".to_owned(),
            host: "github.com".to_owned(),
            organization: "acme".to_owned(),
            app: None,
            catalog_paths: vec!["catalog-info.yaml".to_owned()],
            schedule: "every 20 minutes".to_owned(),
        }],
    }
}

/// An operator that knows no host.
fn operator(engine: &Arc<StubEngine>, health: &Arc<Health>, metrics: &Metrics) -> Operator {
    let clock = Arc::new(SystemClock);
    let github = GitHub::new(Vec::new(), clock.clone(), metrics.clone()).unwrap();
    let membership = Arc::new(Membership::new(Vec::new()));
    let accounts = Arc::new(Accounts::new(github.clone(), membership.clone()));
    let board = Arc::new(ScanBoard::new(engine.clone(), clock.clone()));
    let scheduler = Scheduler {
        accounts: accounts.clone(),
        queue: engine.clone(),
        board: board.clone(),
        clock: clock.clone(),
        health: health.clone(),
    };
    let reconciler = Reconciler {
        github: github.clone(),
        accounts: accounts.clone(),
        store: engine.clone(),
        membership: membership.clone(),
        processing: Processing::new(process_file, AllowedKinds::default()),
        clock: clock.clone(),
    };
    let scanner = Scanner {
        github,
        accounts,
        membership,
        queue: engine.clone(),
        store: engine.clone(),
        clock,
        health: health.clone(),
        metrics: metrics.clone(),
        board,
    };
    let judging = Arc::default();
    Operator { scanner: Arc::new(scanner), reconciler: Arc::new(reconciler), scheduler, judging }
}
