//! The replicas: equal `cuelight serve` processes, each with a token and a line to Redis of its
//! own, killed, hung, and started again as a supervisor would.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use cuelight::clock::{Clock as _, SystemClock};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::ground::Ground;
use super::town::{ORG, Town};
use crate::support::breaking::BreakingProxy;
use crate::support::http;
use crate::support::process::Served;
use crate::support::stage::SECRET;

/// How many of them chaos delivers webhooks to.
pub const RECEIVERS: usize = 2;

/// How long a supervisor tries to start one.
const START_MAX: Duration = Duration::from_secs(120);

/// Lines of its log that are shown of a replica that does not answer.
const LAST_WORDS: usize = 40;

/// Rest between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One replica.
pub struct Replica {
    config: PathBuf,
    /// Its line to Redis, where it can be broken.
    pub line: Option<BreakingProxy>,
    served: Mutex<Option<Served>>,
    addresses: StdMutex<Option<(String, String)>>,
    /// Refused writes of this process that were counted.
    counted: AtomicU64,
}

/// All of them.
pub struct Troupe {
    /// The first [`RECEIVERS`] receive.
    pub replicas: Vec<Replica>,
    _dir: TempDir,
}

impl Troupe {
    /// Starts all.
    pub async fn start(town: &Town, ground: &Ground, count: usize) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut replicas = Vec::new();
        for at in 0..count {
            let token = token(at);
            town.world().add_token(&token, &[ORG]);
            let line = match ground.target() {
                Some(target) => Some(BreakingProxy::start(target).await),
                None => None,
            };
            let url = match &line {
                Some(line) => format!("redis://{}", line.address()),
                None => ground.url(),
            };
            let config = dir.path().join(format!("replica-{at}.yaml"));
            let text = configuration(&town.github.url(), &token, &url);
            std::fs::write(&config, text).expect("the directory is writable");
            let (served, addresses) = (Mutex::default(), StdMutex::default());
            replicas.push(Replica { config, line, served, addresses, counted: AtomicU64::new(0) });
        }
        let troupe = Self { replicas, _dir: dir };
        for replica in &troupe.replicas {
            replica.start().await;
        }
        troupe
    }

    /// Renews the points that the tokens may spend.
    pub fn pay(&self, town: &Town) {
        for at in 0..self.replicas.len() {
            town.world().add_token(&token(at), &[ORG]);
        }
    }

    /// Ends all; each has to exit 0.
    pub async fn end(self) {
        for replica in &self.replicas {
            replica.terminate().await;
        }
    }
}

impl Replica {
    /// Starts it, again and again if it does not listen: Redis may be away.
    pub async fn start(&self) {
        let mut served = self.served.lock().await;
        let deadline = Instant::now() + START_MAX;
        loop {
            let started = {
                let config = self.config.clone();
                let start = move || Served::try_start(&[], &binary(), &config, &[]);
                tokio::task::spawn_blocking(start)
            };
            match started.await.expect("no panic") {
                Ok(now) => {
                    let addresses = (now.public.clone(), now.internal.clone());
                    *self.addresses() = Some(addresses);
                    self.counted.store(0, Ordering::Relaxed);
                    *served = Some(now);
                    return;
                }
                Err(log) => assert!(Instant::now() < deadline, "it does not start:\n{log}"),
            }
        }
    }

    fn addresses(&self) -> std::sync::MutexGuard<'_, Option<(String, String)>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `kill -9`.
    pub async fn kill(&self) {
        let mut served = self.served.lock().await;
        *self.addresses() = None;
        if let Some(served) = served.take() {
            tokio::task::block_in_place(|| served.kill());
        }
    }

    /// SIGTERM: it has to exit 0. Meanwhile its address stays known.
    pub async fn terminate(&self) {
        let served = self.served.lock().await.take().expect("it runs");
        let ended = tokio::task::spawn_blocking(|| served.terminate());
        let (status, log) = ended.await.expect("no panic");
        assert!(status.success(), "{status}\n{}", log.join("\n"));
    }

    /// SIGSTOP.
    pub async fn hang(&self) {
        if let Some(served) = &*self.served.lock().await {
            served.hang();
        }
    }

    /// SIGCONT.
    pub async fn go_on(&self) {
        if let Some(served) = &*self.served.lock().await {
            served.go_on();
        }
    }

    /// Where webhooks go, while it runs.
    pub fn hook(&self) -> Option<String> {
        let addresses = self.addresses();
        addresses.as_ref().map(|(public, _)| format!("{public}/webhooks/github"))
    }

    /// A URL of its internal listener.
    pub fn internal(&self, path: &str) -> String {
        let addresses = self.addresses();
        let (_, internal) = addresses.as_ref().expect("it runs");
        format!("{internal}{path}")
    }

    /// What its catalog shows: `spec.type` by name of every component.
    async fn shown(&self) -> Option<HashMap<String, String>> {
        let path = "/api/catalog/entities?filter=kind=component&fields=metadata.name,spec.type";
        let (status, body) = http::try_get(&self.internal(path)).await.ok()?;
        let entities: Vec<Value> = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let pair = |entity: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&entity["metadata"]["name"]), text(&entity["spec"]["type"]))
        };
        Some(entities.iter().map(pair).collect())
    }

    /// Ends one that does not answer; whether it had ended by itself, and the end of its log.
    async fn last_words(&self) -> String {
        let Some(mut served) = self.served.lock().await.take() else {
            return "it was not started".to_owned();
        };
        let (ended, log) = tokio::task::block_in_place(|| (served.ended(), served.kill()));
        let state = ended.map_or("it runs".to_owned(), |status| format!("it ended: {status}"));
        let lines = &log[log.len().saturating_sub(LAST_WORDS)..];
        format!("it does not answer, {state}\n{}", lines.join("\n"))
    }

    /// Waits until its catalog shows exactly this; the difference when it does not.
    pub async fn shows(
        &self,
        expected: &HashMap<String, String>,
        patience: Duration,
    ) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            let shown = self.shown().await;
            if shown.as_ref() == Some(expected) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let Some(shown) = shown else { return Err(self.last_words().await) };
                let wrong = expected.iter().filter(|(name, kind)| shown.get(*name) != Some(*kind));
                let told = wrong.take(5).map(|(name, kind)| {
                    format!("{name} is {:?} and should be {kind}", shown.get(name))
                });
                let told: Vec<_> = told.collect();
                let counts = (shown.len(), expected.len());
                return Err(format!("components {counts:?}: {}", told.join(", ")));
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }

    /// How many writes it was refused since it was asked last, because their leases had ended.
    pub async fn refused(&self) -> u64 {
        let Ok((200, text)) = http::try_get(&self.internal("/metrics")).await else { return 0 };
        let line = "cuelight_runs_total{outcome=\"stale\"} ";
        let value = text.lines().find_map(|found| found.strip_prefix(line));
        let value = value.and_then(|value| value.parse().ok()).unwrap_or(0);
        value - self.counted.swap(value, Ordering::Relaxed).min(value)
    }
}

/// The program: `CUELIGHT_CHAOS_BINARY`, or the one that was built with the tests.
fn binary() -> PathBuf {
    let given = std::env::var_os("CUELIGHT_CHAOS_BINARY");
    given.map_or_else(|| Path::new(env!("CARGO_BIN_EXE_cuelight")).to_owned(), PathBuf::from)
}

fn token(at: usize) -> String {
    format!("ghp_replica_{at}")
}

fn configuration(api: &str, token: &str, redis: &str) -> String {
    format!(
        "server:\n  public: {{ listen: '127.0.0.1:0' }}\n  internal: {{ listen: '127.0.0.1:0' }}\n\
         webhooks: {{ secrets: ['{SECRET}'] }}\n\
         storage: {{ url: '{redis}' }}\n\
         workers: 2\n\
         integrations:\n  github:\n    - {{ host: github.com, apiBaseUrl: '{api}', token: {token} }}\n\
         catalog:\n  providers:\n    github:\n      organization: {ORG}\n\
         \x20     schedule: {{ frequency: {{ trigger: manual }} }}\n"
    )
}
