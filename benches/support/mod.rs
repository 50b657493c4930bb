//! What the load benches share: the real program on a stand-in GitHub.
#![allow(dead_code, reason = "each bench uses its own part of this")]

#[path = "../../tests/it/support/process.rs"]
mod process;

use std::ops::Deref;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fake_github::{FakeGitHub, NewRepository};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use process::Served;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval, timeout};

pub const SECRET: &str = "bench secret";
pub const FILE: &str = "catalog-info.yaml";
pub const TOKEN: &str = "ghp_bench";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(240);

/// How often the API is asked whether something is visible yet.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// A GitHub on which acme has `count` repositories, `svc-0` and so on, with a component each.
pub async fn repositories(count: usize) -> FakeGitHub {
    let github = FakeGitHub::start().await;
    let world = github.state();
    world.create_organization("acme");
    world.add_token(TOKEN, &["acme"]);
    for i in 0..count {
        let name = format!("svc-{i}");
        let new = NewRepository::named(&name).file(FILE, component(&name, "service"));
        world.create_repository("acme", new);
    }
    github
}

/// A running program.
pub struct Program {
    pub served: Served,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A running program and the GitHub it reads.
pub struct Fixture {
    pub github: FakeGitHub,
    pub program: Program,
    _dir: TempDir,
}

impl Fixture {
    /// Creates `count` repositories with a file each and starts the program with this
    /// `schedule.frequency`, without a heartbeat.
    pub async fn start(count: usize, frequency: &str) -> Self {
        let github = repositories(count).await;
        let dir = TempDir::new().expect("a temporary directory");
        let storage = format!("sqlite:{}", dir.path().join("cuelight.db").display());
        let program = Program::start(dir.path(), &storage, &github.url(), frequency);
        Self { github, program, _dir: dir }
    }
}

impl Deref for Fixture {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl Program {
    /// Starts it on this storage and GitHub, with this `schedule.frequency` and without a
    /// heartbeat; its configuration is written into `dir`.
    pub fn start(dir: &Path, storage: &str, github: &str, frequency: &str) -> Self {
        let config = dir.join("cuelight.yaml");
        let text = format!(
            "server:\n  public: {{ listen: '127.0.0.1:0' }}\n  internal: {{ listen: '127.0.0.1:0' }}\n\
             webhooks: {{ secrets: ['{SECRET}'] }}\n\
             storage: {{ url: '{storage}' }}\n\
             integrations:\n  github:\n    - {{ host: github.com, apiBaseUrl: '{github}', token: {TOKEN} }}\n\
             catalog:\n  providers:\n    github:\n      organization: acme\n\
             \x20     schedule: {{ frequency: {frequency} }}\n\
             \x20     heartbeat: {{ trigger: manual }}\n",
        );
        std::fs::write(&config, text).expect("the directory is writable");
        let binary = Path::new(env!("CARGO_BIN_EXE_cuelight"));
        let served = Served::start(&[], binary, &config, &[]);
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { served, client }
    }

    /// GET on the internal listener.
    pub async fn get(&self, path: &str) -> (u16, Bytes) {
        let url = format!("{}{path}", self.served.internal);
        let request = Request::get(url).body(Full::default()).expect("a request");
        let response = self.client.request(request).await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.expect("a body").to_bytes())
    }

    /// Waits until the component has this type.
    pub async fn until_visible(&self, name: &str, kind: &str) {
        let path = format!("/api/catalog/entities/by-name/component/default/{name}");
        self.until(&path, LOOK_EVERY, |status, body| {
            status == 200
                && serde_json::from_slice::<Value>(body).is_ok_and(|e| e["spec"]["type"] == kind)
        })
        .await;
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, every: Duration, wanted: impl Fn(u16, &[u8]) -> bool) {
        let asked = async {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let (status, body) = self.get(path).await;
                if wanted(status, &body) {
                    return;
                }
                ticks.tick().await;
            }
        };
        timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| panic!("{path} is not as wanted in time"));
    }

    /// A sample of `/metrics`.
    pub async fn metric(&self, sample: &str) -> f64 {
        let (_, body) = self.get("/metrics").await;
        read_metric(&body, sample).unwrap_or_else(|| panic!("no sample {sample}"))
    }

    /// Waits until a sample of `/metrics` is as wanted.
    pub async fn until_metric(&self, sample: &str, wanted: impl Fn(f64) -> bool) {
        let every = Duration::from_millis(20);
        let wanted = |_: u16, body: &[u8]| read_metric(body, sample).is_some_and(&wanted);
        self.until("/metrics", every, wanted).await;
    }

    /// Resident memory now and at its highest, in MB; processor time so far.
    pub fn usage(&self) -> (f64, f64, Duration) {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{}/{file}", self.served.id())).expect("it runs")
        };
        let status = read("status");
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name)).expect("the field");
            line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).expect("a number")
                / 1024.0
        };
        let stat = read("stat");
        let after = stat.rsplit_once(')').expect("the name's end").1;
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        (field("VmRSS:"), field("VmHWM:"), Duration::from_millis(ticks * 10))
    }
}

fn read_metric(body: &[u8], sample: &str) -> Option<f64> {
    let text = std::str::from_utf8(body).ok()?;
    let line = text.lines().find(|line| line.starts_with(sample))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// A percentile of sorted spans.
pub fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// A percentile of sorted spans, in ms.
pub fn percentile(sorted: &[Duration], percent: usize) -> String {
    format!("{:.2} ms", at(sorted, percent).as_secs_f64() * 1000.0)
}

/// Says whether a bound holds; a missed one makes the bench fail at its end.
pub fn holds(what: &str, held: bool) {
    say(&format!("  {} {what}", if held { "ok    " } else { "MISSED" }));
    if !held {
        MISSED.store(true, Ordering::Relaxed);
    }
}

/// Ends the process as the bounds say.
pub fn exit() -> ExitCode {
    if MISSED.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

static MISSED: AtomicBool = AtomicBool::new(false);

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
pub fn say(line: &str) {
    println!("{line}");
}

/// The text of a component.
pub fn component(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n\
         \x20 description: A service of acme's that does one thing well\n\
         \x20 annotations:\n    pagerduty.com/integration-key: key-of-{name}\n\
         \x20 tags: [rust, payments]\n\
         spec:\n  type: {kind}\n  lifecycle: production\n  owner: team-a\n  system: shop\n"
    )
}
