//! Builds what does the work out of a configuration: the same parts for the server and for a
//! single command.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::catalog::View;
use crate::clock::{SharedClock, Timestamp};
use crate::config::{Config, Frequency, GitHubApp, InternalAuth, Provider};
use crate::engine::queue::Inspect;
use crate::engine::{Engine, Queue, Store};
use crate::github::{AppSettings, GitHub, HostSettings};
use crate::health::Health;
use crate::http::state::{Info, InternalState, ProviderInfo, Webhooks};
use crate::http::streams::Streams;
use crate::ids::{AppId, Host};
use crate::membership::Membership;
use crate::operate::Operator;
use crate::reconcile::{Processing, Reconciler};
use crate::scan::{ScanBoard, Scanner};
use crate::schedule::Scheduler;
use crate::telemetry::Metrics;
use crate::worker::Worker;

/// The storage, by what its users do with it.
#[derive(Clone)]
pub(super) struct Ports {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) store: Arc<dyn Store>,
    pub(super) inspect: Arc<dyn Inspect>,
}

impl Ports {
    /// All ports of one engine.
    pub(super) fn new(engine: &Arc<dyn Engine>) -> Self {
        Self { queue: engine.clone(), store: engine.clone(), inspect: engine.clone() }
    }
}

/// What starts scans on the board of this worker.
pub(super) fn scheduler(worker: &Worker) -> Scheduler {
    let scanner = &worker.scanner;
    Scheduler {
        accounts: scanner.accounts.clone(),
        queue: scanner.queue.clone(),
        board: scanner.board.clone(),
        clock: scanner.clock.clone(),
        health: scanner.health.clone(),
    }
}

/// What the routes of the internal listener answer from.
pub(super) fn internal_state(
    config: &Config,
    ports: &Ports,
    worker: &Worker,
    view: watch::Receiver<Arc<View>>,
    registry: Arc<Registry>,
    auth: InternalAuth,
    stop: &CancellationToken,
) -> InternalState {
    let operator = Operator {
        scanner: worker.scanner.clone(),
        reconciler: worker.reconciler.clone(),
        scheduler: scheduler(worker),
        judging: Arc::default(),
    };
    InternalState {
        view,
        queue: ports.queue.clone(),
        inspect: ports.inspect.clone(),
        store: ports.store.clone(),
        operator,
        health: worker.health.clone(),
        registry,
        metrics: worker.metrics.clone(),
        streams: Streams::new(stop.clone()),
        auth,
        origins: config.server.internal_origins.clone(),
        clock: worker.clock.clone(),
        info: info(config, worker.clock.now()),
    }
}

fn github(config: &Config, clock: &SharedClock, metrics: &Metrics) -> anyhow::Result<GitHub> {
    let mut hosts = Vec::new();
    for integration in &config.integrations {
        hosts.push(HostSettings {
            host: Host::parse(&integration.host)?,
            api_base_url: integration.api_base_url.clone(),
            token: integration.token.clone(),
            apps: integration.apps.iter().map(app_settings).collect(),
        });
    }
    Ok(GitHub::new(hosts, clock.clone(), metrics.clone())?)
}

fn app_settings(app: &GitHubApp) -> AppSettings {
    AppSettings {
        id: AppId(app.id),
        private_key: app.private_key.clone(),
        allowed_owners: app.allowed_owners.clone(),
    }
}

/// What does not change while the process runs.
pub(super) fn info(config: &Config, started_at: Timestamp) -> Info {
    let schedule = |frequency: &Frequency| match frequency {
        Frequency::Every(span) => format!("every {} s", span.as_secs()),
        Frequency::Cron(text) => format!("cron {text}"),
        Frequency::Manual => "manual".to_owned(),
    };
    let provider = |provider: &Provider| ProviderInfo {
        id: provider.id.clone(),
        host: provider.host.clone(),
        organization: provider.organization.clone(),
        app: provider.app,
        catalog_paths: provider.catalog_paths.clone(),
        schedule: schedule(&provider.schedule.frequency),
    };
    let is_off = config.webhooks.secrets.is_empty();
    Info {
        version: env!("CARGO_PKG_VERSION"),
        started_at,
        webhooks: if is_off { Webhooks::Off } else { Webhooks::On },
        storage_url: config.storage.to_string(),
        workers: config.workers,
        providers: config.providers.iter().map(provider).collect(),
    }
}

/// A worker and all it needs; it does not run yet.
pub(super) fn worker(
    config: &Config,
    clock: &SharedClock,
    ports: &Ports,
    processing: Processing,
    metrics: &Metrics,
    health: &Arc<Health>,
) -> anyhow::Result<Worker> {
    let github = github(config, clock, metrics)?;
    let membership = Arc::new(Membership::new(config.providers.clone()));
    let accounts = Arc::new(Accounts::new(github.clone(), membership.clone()));
    let scanner = Scanner {
        github: github.clone(),
        accounts: accounts.clone(),
        membership: membership.clone(),
        queue: ports.queue.clone(),
        store: ports.store.clone(),
        clock: clock.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        board: Arc::new(ScanBoard::new(ports.store.clone(), clock.clone())),
    };
    let reconciler = Reconciler {
        github,
        accounts,
        store: ports.store.clone(),
        membership,
        processing,
        clock: clock.clone(),
    };
    Ok(Worker {
        queue: ports.queue.clone(),
        store: ports.store.clone(),
        reconciler: Arc::new(reconciler),
        scanner: Arc::new(scanner),
        clock: clock.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
        hurry: CancellationToken::new(),
    })
}
