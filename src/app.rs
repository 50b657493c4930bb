//! The only place that builds things and orders start and stop.
//!
//! Start: sockets first (a taken port is told before anything is touched), then the storage; from
//! then on webhooks are received and probes answered. Then the view is loaded and served, and only
//! then does anything ask GitHub. Stop: no new deliveries,
//! then no new work, then the storage is closed; whatever is under way is finished or given back.

pub mod alone;
mod build;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::view::View;
use crate::catalog::{ProcessFile, process_file};
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::config::{Config, Provider, Storage};
use crate::engine::Engine;
use crate::engine::queue::{Inspect, PushKey, push_all};
use crate::engine::record::RepoRecord;
use crate::engine::redis::{self, RedisEngine, Time};
use crate::engine::sqlite::{self, SqliteEngine};
use crate::engine::store::Seq;
use crate::health::{CheckState, Health};
use crate::heartbeat::Heartbeat;
use crate::http::internal;
use crate::http::listener::{self, Limits};
use crate::http::public::{self, PublicState, ReceiveLimits};
use crate::http::state::Webhooks;
use crate::ids::{Account, AppId, Host};
use crate::reconcile::{Processing, panic_text};
use crate::schedule::targets;
use crate::telemetry::Metrics;
use crate::view_feed::{Overtaken, ViewFeed};
use crate::webhook::route::Routing;
use crate::webhook::signature::Secrets;
use crate::worker::Worker;
use build::{Ports, info, internal_state, scheduler, worker};

/// What a test may want to hand in instead of the real thing.
pub struct Parts {
    /// The time.
    pub clock: SharedClock,
    /// The processing of one file.
    pub process: ProcessFile,
    /// Whose time holds for leases and delays in Redis.
    pub redis_time: Time,
}

impl Default for Parts {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), process: process_file, redis_time: Time::Server }
    }
}

/// A running cuelight.
pub struct App {
    /// Where webhooks are received.
    pub public: SocketAddr,
    /// Where everything else is served.
    pub internal: SocketAddr,
    /// The catalog as it is now.
    pub view: watch::Receiver<Arc<View>>,
    /// A worker that is not running, for callers that step by hand.
    pub worker: Worker,
    /// The heartbeats, for callers that step by hand.
    pub heartbeat: Arc<Heartbeat>,
    /// The queue as operators see it.
    pub inspect: Arc<dyn Inspect>,
    engine: Arc<dyn Engine>,
    tasks: TaskTracker,
    stop: Stop,
    shutdown_timeout: Duration,
}

/// The signals of a stop, in order.
#[derive(Clone, Default)]
struct Stop {
    /// No new deliveries, no new work.
    accept: CancellationToken,
    /// Work under way is given back.
    hurry: CancellationToken,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start; the text says which address, file or key is at fault.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let signal = stop_signal()?;
    let info = info(&config, SystemClock.now());
    let app = App::start(config, Parts::default()).await?;
    tracing::info!("cuelight {}, storage: {}", info.version, info.storage_url);
    match info.webhooks {
        Webhooks::On => tracing::info!("webhooks: http://{}/webhooks/github", app.public),
        Webhooks::Off => tracing::info!(
            "webhooks: off, changes are found by heartbeats and scans only; set \
             CUELIGHT_WEBHOOK_SECRET or webhooks.secrets"
        ),
    }
    tracing::info!("catalog: http://{}/api/catalog/entities", app.internal);
    tracing::info!("health: http://{}/health", app.internal);
    signal.await;
    tracing::info!("stopping");
    app.stop().await
}

impl App {
    /// Starts everything; returns once both listeners serve.
    ///
    /// # Errors
    /// When an address is taken, the storage cannot be opened, or a setting contradicts itself.
    pub async fn start(config: Config, parts: Parts) -> anyhow::Result<Self> {
        let listeners = Listeners::bind(&config).await?;
        let engine = open(&config.storage, &parts).await?;
        match Self::build(config, parts, listeners, engine.clone()).await {
            Ok(app) => Ok(app),
            Err(error) => {
                engine.close().await;
                Err(error)
            }
        }
    }

    async fn build(
        config: Config,
        parts: Parts,
        listeners: Listeners,
        engine: Arc<dyn Engine>,
    ) -> anyhow::Result<Self> {
        let (public, internal) = listeners.addresses()?;
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let health = Arc::new(Health::new(parts.clock.clone()));
        let (view, watched) = watch::channel(Arc::new(View::empty()));
        let processing = Processing::new(parts.process, config.rules.allowed_kinds());
        let (routing, routes) = watch::channel(Arc::new(routing(&config)?));
        let feed = ViewFeed {
            store: engine.clone(),
            view,
            routing,
            overtaken: Some(Overtaken::new(engine.clone(), engine.clone())),
            clock: parts.clock.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
        };
        let ports = Ports::new(&engine);
        let worker = worker(&config, &parts.clock, &ports, processing, &metrics, &health)?;
        let stop = Stop { accept: CancellationToken::new(), hurry: worker.hurry.clone() };
        let (scanner, inspect) = (worker.scanner.clone(), ports.inspect.clone());
        let heartbeat = Arc::new(Heartbeat::new(scanner, inspect, routes.clone()));
        let app = Self {
            public,
            internal,
            view: watched,
            worker,
            heartbeat,
            inspect: engine.clone(),
            engine,
            tasks: TaskTracker::new(),
            stop,
            shutdown_timeout: config.server.shutdown_timeout,
        };
        app.spawn_servers(&config, listeners, routes, Arc::new(registry));
        match app.load(&feed).await {
            Ok(seq) => app.spawn_work(&config, feed, seq),
            Err(error) => {
                if let Err(late) = app.stop().await {
                    tracing::warn!(error = %late, "the listeners did not end in time");
                }
                return Err(error);
            }
        }
        Ok(app)
    }

    /// Loads the view and pushes what the records themselves say is due.
    async fn load(&self, feed: &ViewFeed) -> anyhow::Result<Seq> {
        let store = &*self.worker.store;
        let recalled = self.worker.scanner.accounts.recall(store).await;
        recalled.context("cannot read where Apps were installed")?;
        let mut due: Vec<PushKey> = Vec::new();
        let accounts = &self.worker.scanner.accounts;
        let look = |record: &RepoRecord| {
            accounts.note_recorded(&record.account, record.full_name.owner());
            due.extend(self.worker.reconciler.due_at_start(record));
        };
        let seq = feed.load(look).await.context("cannot load the catalog")?;
        let mut keys = HashSet::new();
        due.retain(|due| keys.insert(due.key.clone()));
        push_all(&*self.engine, due).await?;
        Ok(seq)
    }

    /// Stops in order and returns when everything has ended.
    ///
    /// # Errors
    /// When something under way did not end in time; its keys come back at the next start.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.tasks.close();
        self.stop.accept.cancel();
        let patience = self.shutdown_timeout / 2;
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            self.stop.hurry.cancel();
        }
        let ended = tokio::time::timeout(patience, self.tasks.wait()).await;
        self.engine.close().await;
        ended.context("some work did not end in time; it is taken again at the next start")
    }

    /// Pushes the scan key of a provider's account, as its schedule would.
    ///
    /// # Errors
    /// When GitHub does not say who the account is, or the storage fails.
    pub async fn push_scan(&self, provider: &Provider) -> Result<Account, String> {
        scheduler(&self.worker).push_scan(provider).await.map_err(|error| error.to_string())
    }

    fn spawn_servers(
        &self,
        config: &Config,
        listeners: Listeners,
        routing: watch::Receiver<Arc<Routing>>,
        registry: Arc<Registry>,
    ) {
        let public = public::router(PublicState {
            queue: self.engine.clone(),
            secrets: Secrets::new(&config.webhooks.secrets),
            routing,
            clock: self.worker.clock.clone(),
            metrics: self.worker.metrics.clone(),
            limits: ReceiveLimits {
                body_bytes_max: config.webhooks.body_bytes_max,
                in_flight_bytes_max: config.webhooks.in_flight_bytes_max,
                ..ReceiveLimits::default()
            },
        });
        let ports = Ports::new(&self.engine);
        let view = self.view.clone();
        let auth = config.server.internal_auth.clone();
        let stop = &self.stop.accept;
        let state = internal_state(config, &ports, &self.worker, view, registry, auth, stop);
        let internal = internal::router(state);
        let limits = |connections_max| Limits {
            connections_max,
            shutdown_timeout: self.shutdown_timeout / 2,
            ..Limits::default()
        };
        let of_public = limits(config.webhooks.connections_max);
        let of_internal = limits(Limits::default().connections_max);
        let public = listener::serve(listeners.public, public, of_public, stop.clone());
        let internal = listener::serve(listeners.internal, internal, of_internal, stop.clone());
        self.spawn("public-listener", public);
        self.spawn("internal-listener", internal);
    }

    fn spawn(&self, check: &str, task: impl Future<Output = ()> + Send + 'static) {
        let health = self.worker.health.clone();
        self.tasks.spawn(watched_over(health, check.to_owned(), task));
    }

    fn spawn_work(&self, config: &Config, feed: ViewFeed, seq: Seq) {
        let stop = &self.stop.accept;
        self.spawn("view-follows", feed.follow(seq, stop.clone()));
        for _ in 0..config.workers {
            self.spawn("worker", self.worker.clone().run(stop.clone()));
        }
        for providers in targets(&config.providers) {
            let ids: Vec<&str> = providers.iter().map(|provider| provider.id.as_str()).collect();
            let check = format!("schedule:{}", ids.join(","));
            let runs = scheduler(&self.worker).run(providers, stop.clone());
            self.spawn(&check, runs);
        }
        for provider in &config.providers {
            let check = format!("heartbeat:{}", provider.id);
            self.spawn(&check, self.heartbeat.clone().run(provider.clone(), stop.clone()));
        }
    }
}

/// Runs a task to its end. One that panics is gone for good, and nobody else would notice: its
/// check fails until the restart that it needs.
async fn watched_over(health: Arc<Health>, check: String, task: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        let what = panic_text(panic.as_ref());
        tracing::error!(check, what, "{check} panicked and has ended");
        let detail = format!("it panicked and has ended ({what}); restart cuelight");
        health.set(&check, CheckState::Failing, detail);
    }
}

/// Both sockets, bound before anything else.
struct Listeners {
    public: TcpListener,
    internal: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |key: &str, address: SocketAddr| {
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address} ({key})"))
        };
        Ok(Self {
            public: bind("server.public.listen", config.server.public_listen).await?,
            internal: bind("server.internal.listen", config.server.internal_listen).await?,
        })
    }

    fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        Ok((self.public.local_addr()?, self.internal.local_addr()?))
    }
}

async fn open(storage: &Storage, parts: &Parts) -> anyhow::Result<Arc<dyn Engine>> {
    let clock = parts.clock.clone();
    match storage {
        Storage::Sqlite(path) => Ok(SqliteEngine::open(path, clock, sqlite::Options::default())?),
        Storage::Redis(settings) => {
            let options = redis::Options { time: parts.redis_time, ..redis::Options::default() };
            Ok(RedisEngine::open(settings, clock, options).await?)
        }
    }
}

fn routing(config: &Config) -> anyhow::Result<Routing> {
    let (mut hosts, mut apps) = (Vec::new(), HashSet::new());
    for integration in &config.integrations {
        let host = Host::parse(&integration.host)?;
        apps.extend(integration.apps.iter().map(|app| (host.clone(), AppId(app.id))));
        hosts.push(host);
    }
    let branches = config.providers.iter().filter_map(|p| p.filters.branch.clone()).collect();
    Ok(Routing { hosts, branches, apps, ..Routing::default() })
}

/// Completes on SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_fails_its_check() {
        let health = Arc::new(Health::new(Arc::new(SystemClock)));
        watched_over(health.clone(), "good".to_owned(), async {}).await;
        watched_over(health.clone(), "bad".to_owned(), async { panic!("told to") }).await;
        let checks = health.checks();
        assert!(!checks.contains_key("good"));
        assert_eq!(checks["bad"].state, CheckState::Failing);
        assert!(checks["bad"].detail.contains("told to"), "{:?}", checks["bad"]);
    }
}
