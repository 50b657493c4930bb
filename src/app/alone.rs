//! cuelight for one command: the storage, a worker, and the routes of the internal listener,
//! without any listener.
//!
//! Promises that a command has the same answers as from the running server, because the same
//! routes give them, and that nothing runs by itself: no schedule, no webhooks, no worker until
//! [`Alone::work`]. Whoever opens it closes it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, StatusCode};
use futures_util::future::join_all;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Parts;
use super::build::{Ports, internal_state, worker};
use crate::catalog::View;
use crate::clock::Timestamp;
use crate::config::{Config, InternalAuth, Storage};
use crate::engine::nothing::Nothing;
use crate::engine::queue::push_all;
use crate::engine::record::RepoRecord;
use crate::engine::{Engine, EngineError};
use crate::health::Health;
use crate::http::internal;
use crate::reconcile::Processing;
use crate::telemetry::Metrics;
use crate::view_feed::ViewFeed;
use crate::worker::{Step, Worker};

/// Longest wait of [`Alone::work`] for a key that is not due yet: the second look at a repository
/// that GitHub was behind with, a first retry. What waits longer is left for the next time: a
/// person is waiting, and the queue forgets nothing.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Shortest rest when nothing was found although something seemed due.
const REST: Duration = Duration::from_millis(50);

/// Largest answer of our own routes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What to do where no storage has been made yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Make it.
    Create,
    /// Go on with an empty one that takes nothing.
    Pretend,
    /// Say so.
    Refuse,
}

/// cuelight without listeners.
pub struct Alone {
    /// Where the state is, for people; `None` when there is no storage and none is made.
    pub storage: Option<String>,
    router: Router,
    worker: Worker,
    runners: usize,
    feed: ViewFeed,
    engine: Option<Arc<dyn Engine>>,
}

impl Alone {
    /// Opens the storage and builds everything around it; nothing is read or pushed yet.
    ///
    /// # Errors
    /// When the storage cannot be opened, another process has it, or a setting contradicts
    /// itself.
    pub async fn open(config: &Config, parts: Parts, absent: Absent) -> anyhow::Result<Self> {
        let engine = open(&config.storage, &parts, absent).await?;
        let ports = match &engine {
            Some(engine) => Ports::new(engine),
            None => Ports::new(&(Arc::new(Nothing) as Arc<dyn Engine>)),
        };
        match Self::build(config, parts, &ports, engine.clone()) {
            Ok(alone) => Ok(alone),
            Err(error) => {
                if let Some(engine) = engine {
                    engine.close().await;
                }
                Err(error)
            }
        }
    }

    fn build(
        config: &Config,
        parts: Parts,
        ports: &Ports,
        engine: Option<Arc<dyn Engine>>,
    ) -> anyhow::Result<Self> {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let health = Arc::new(Health::new(parts.clock.clone()));
        let (view, watched) = watch::channel(Arc::new(View::empty()));
        let processing = Processing::new(parts.process, config.rules.allowed_kinds());
        let worker = worker(config, &parts.clock, ports, processing, &metrics, &health)?;
        // Whoever can run the command can read the storage: there is nobody to keep out.
        let auth = InternalAuth::None;
        let stop = CancellationToken::new();
        let registry = Arc::new(registry);
        let state = internal_state(config, ports, &worker, watched, registry, auth, &stop);
        let storage = engine.is_some().then(|| state.info.storage_url.clone());
        let feed = ViewFeed {
            store: ports.store.clone(),
            view,
            // Nothing is received.
            routing: watch::Sender::new(Arc::default()),
            overtaken: None,
            clock: parts.clock,
            metrics,
            health,
        };
        let router = internal::router(state);
        Ok(Self { storage, router, worker, runners: config.workers.max(1), feed, engine })
    }

    /// Loads the catalog, so that the routes that show it answer.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn load(&self) -> anyhow::Result<()> {
        self.feed.load(|_| {}).await.context("cannot load the catalog")?;
        Ok(())
    }

    /// Pushes what the records themselves say is due, as the server does at its start.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn push_due(&self) -> anyhow::Result<()> {
        let mut due = Vec::new();
        let accounts = &self.worker.scanner.accounts;
        let recalled = accounts.recall(&*self.worker.store).await;
        recalled.context("cannot read where Apps were installed")?;
        let look = |record: &RepoRecord| {
            accounts.note_recorded(&record.account, record.full_name.owner());
            due.extend(self.worker.reconciler.due_at_start(record));
        };
        self.feed.load(look).await.context("cannot load the catalog")?;
        Ok(push_all(&*self.worker.queue, due).await?)
    }

    /// Asks one of the internal listener's routes; a body that is no JSON is null.
    ///
    /// # Errors
    /// When the path is none, or the answer is beyond all measure.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let Ok(answer) = self.router.clone().oneshot(request.body(body)?).await;
        let status = answer.status();
        let bytes = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// Works the queue until nothing in it is due within [`PATIENCE`]; what other commands and
    /// webhooks left there too.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn work(&self) -> Result<(), EngineError> {
        loop {
            let steps = join_all((0..self.runners).map(|_| self.worker.step())).await;
            let mut next: Option<Timestamp> = None;
            let mut has_worked = false;
            for step in steps {
                match step? {
                    Step::Worked(_) => has_worked = true,
                    Step::Idle(at) => next = at,
                }
            }
            if has_worked {
                continue;
            }
            let pause = next.map(|at| at.since(self.worker.clock.now()));
            match pause.filter(|pause| *pause <= PATIENCE) {
                Some(pause) => self.worker.clock.sleep(pause.max(REST)).await,
                None => return Ok(()),
            }
        }
    }

    /// Closes the storage.
    pub async fn close(self) {
        if let Some(engine) = self.engine {
            engine.close().await;
        }
    }
}

async fn open(
    storage: &Storage,
    parts: &Parts,
    absent: Absent,
) -> anyhow::Result<Option<Arc<dyn Engine>>> {
    // A Redis is there or is not; what is not there yet is a file.
    if let Storage::Sqlite(path) = storage
        && !path.exists()
    {
        match absent {
            Absent::Create => {}
            Absent::Pretend => return Ok(None),
            Absent::Refuse => anyhow::bail!("there is no file {}", path.display()),
        }
    }
    super::open(storage, parts).await.map(Some)
}
