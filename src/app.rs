//! The only place that builds things and orders start and stop.
//!
//! Start: sockets first (a taken port is told before anything is touched), then the storage, then
//! the view is loaded and served, and only then does anything ask GitHub. Stop: no new deliveries,
//! then no new work, then the storage is closed; whatever is under way is finished or given back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::catalog::process_file;
use crate::catalog::view::View;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, Storage};
use crate::engine::queue::{Push, PushKey};
use crate::engine::record::RepoRecord;
use crate::engine::sqlite::SqliteEngine;
use crate::engine::{Queue, Store};
use crate::github::GitHub;
use crate::health::{CheckState, Health};
use crate::membership::Membership;
use crate::reconcile::{Processing, ProcessFile, Reconciler};
use crate::scan::{ScanBoard, Scanner};
use crate::schedule::Scheduler;
use crate::telemetry::Metrics;
use crate::view_feed::ViewFeed;
use crate::work::{Hint, Lane, Reasons, WorkKey};
use crate::worker::Worker;

/// Keys pushed at a time when stored texts are to be processed again.
const REPROCESS_PAGE: usize = 500;

/// What a test may want to hand in instead of the real thing.
pub struct Parts {
    /// The time.
    pub clock: SharedClock,
    /// The processing of one file.
    pub process: ProcessFile,
}

impl Default for Parts {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), process: process_file }
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
    engine: Arc<SqliteEngine>,
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
    let app = App::start(config, Parts::default()).await?;
    tracing::info!("webhooks: http://{}/webhooks/github", app.public);
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
        let engine = open(&config.storage, &parts.clock)?;
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
        engine: Arc<SqliteEngine>,
    ) -> anyhow::Result<Self> {
        let (public, internal) = listeners.addresses()?;
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let health = Arc::new(Health::new(parts.clock.clone()));
        let (view, watched) = watch::channel(Arc::new(View::empty()));
        let processing =
            Processing { process: parts.process, allowed: Arc::new(allowed_kinds(&config.rules)) };
        let feed = ViewFeed {
            store: engine.clone(),
            view,
            clock: parts.clock.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
        };
        let loaded = feed.load(&processing.fingerprint()).await.context("cannot load the catalog")?;
        reprocess(&*engine, loaded.outdated, &parts.clock).await?;
        let worker = worker(&config, &parts.clock, &engine, processing, &metrics, &health)?;
        let stop = Stop { accept: CancellationToken::new(), hurry: worker.hurry.clone() };
        let app = Self {
            public,
            internal,
            view: watched,
            worker,
            engine,
            tasks: TaskTracker::new(),
            stop,
            shutdown_timeout: config.server.shutdown_timeout,
        };
        app.spawn_servers(&config, &parts.clock, listeners, registry, metrics)?;
        app.spawn_work(&config, feed, loaded.seq);
        app.tasks.close();
        Ok(app)
    }

    /// Stops in order and returns when everything has ended.
    ///
    /// # Errors
    /// When something under way did not end in time; its keys come back at the next start.
    pub async fn stop(self) -> anyhow::Result<()> {
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
        self.scheduler().push_scan(provider).await
    }

    fn scheduler(&self) -> Scheduler {
        let scanner = &self.worker.scanner;
        Scheduler {
            accounts: scanner.accounts.clone(),
            queue: scanner.queue.clone(),
            board: scanner.board.clone(),
            clock: scanner.clock.clone(),
            health: scanner.health.clone(),
        }
    }

    fn spawn_work(&self, config: &Config, feed: ViewFeed, seq: Seq) {
        let fingerprint = self.worker.reconciler.processing.fingerprint();
        let stop = &self.stop.accept;
        self.tasks.spawn(feed.follow(seq, fingerprint, stop.clone()));
        for _ in 0..config.workers {
            self.tasks.spawn(self.worker.clone().run(stop.clone()));
        }
        for provider in &config.providers {
            self.tasks.spawn(self.scheduler().run(provider.clone(), stop.clone()));
        }
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

fn worker(
    config: &Config,
    clock: &SharedClock,
    engine: &Arc<SqliteEngine>,
    processing: Processing,
    metrics: &Metrics,
    health: &Arc<Health>,
) -> anyhow::Result<Worker> {
    let github = github(config, clock, metrics)?;
    let membership = Arc::new(Membership::new(config.providers.clone()));
    let accounts = Arc::new(Accounts::new(github.clone(), membership.clone()));
    let scanner = Scanner {
        github: github.clone(),
        accounts,
        membership: membership.clone(),
        queue: engine.clone(),
        store: engine.clone(),
        clock: clock.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        board: Arc::new(ScanBoard::default()),
    };
    let reconciler =
        Reconciler { github, store: engine.clone(), membership, processing, clock: clock.clone() };
    Ok(Worker {
        queue: engine.clone(),
        store: engine.clone(),
        reconciler: Arc::new(reconciler),
        scanner: Arc::new(scanner),
        clock: clock.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
        hurry: CancellationToken::new(),
    })
}

/// Pushes the keys of records whose stored text has to be processed again.
async fn reprocess(
    queue: &dyn Queue,
    outdated: Vec<RepoRecord>,
    clock: &SharedClock,
) -> anyhow::Result<()> {
    let now = clock.now();
    for records in outdated.chunks(REPROCESS_PAGE) {
        let keys = records.iter().map(|record| {
            let mut hint = Hint::new(Reasons::REPROCESS, now);
            hint.name = Some(record.full_name.clone());
            PushKey {
                key: WorkKey::Repo(record.key.clone()),
                account: record.account.clone(),
                lane: Lane::Scan,
                hint,
            }
        });
        queue.push(Push { delivery: None, keys: keys.collect() }).await?;
    }
    Ok(())
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
