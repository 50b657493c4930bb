//! A random play: changes, their webhooks in any order, workers, clocks and restarts in between;
//! then everything is worked off, and the catalog compared with the truth.

use std::collections::BTreeSet;
use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::config::{Config, Filters, Provider};
use cuelight::worker::{Step, Worker};
use fake_github::{Calls, Delivery, Event, Fault};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::organisations::{Change, DOCS, LOGINS, Organisations, RELEASE, Told};
use super::truth::{Compared, differences};
use crate::support::stage::{Stage, TOKEN};

/// Most rounds until nothing is due any more; each goes to the next time something is.
const ROUNDS_MAX: usize = 2_000;

/// How old a push may be that a lagging copy does not show: about as many changes old. Beyond that
/// a repository that is read for the first time would have nothing to be compared with.
const LAG_SECONDS: i64 = 3;

const APPROVALS: &str = "/api/cuelight/v1/approvals";

/// Which webhooks arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// All of them; there is no scan.
    Everything,
    /// Not all; there is one scan in the end.
    Some,
}

/// What is played: `steps` of the play that `seed` stands for.
#[derive(Debug, Clone)]
pub struct Play {
    pub seed: u64,
    pub steps: Vec<u64>,
    pub heard: Heard,
}

/// How a play ended.
pub struct Ended {
    /// What was done, step by step.
    pub trace: Vec<String>,
    /// How the catalog differs from the truth.
    pub wrong: Vec<String>,
}

/// What is under way between two steps.
struct Scene {
    stage: Stage,
    all: Organisations,
    /// Signed, and not delivered yet, with what each tells.
    pool: Vec<(Delivery, String)>,
    /// A worker's step, so that GitHub changes while it reads.
    under_way: Option<JoinHandle<String>>,
    /// Whether time moves only now and then, so that many pushes share a second.
    is_frozen: bool,
    trace: Vec<String>,
}

fn providers(config: &mut Config) {
    let first = config.providers[0].clone();
    config.providers[0].filters.topics_exclude = vec!["legacy".to_owned()];
    config.providers.push(Provider {
        id: "globex".to_owned(),
        organization: "globex".to_owned(),
        filters: Filters {
            visibility: vec!["public", "internal"],
            allow_forks: false,
            allow_archived: true,
            ..Filters::default()
        },
        ..first.clone()
    });
    config.providers.push(Provider {
        id: "releases".to_owned(),
        catalog_paths: vec![DOCS.to_owned()],
        filters: Filters {
            branch: Some(RELEASE.to_owned()),
            topics_include: vec!["released".to_owned()],
            ..Filters::default()
        },
        ..first
    });
}

/// Plays, and says what is wrong in the end.
pub async fn play(play: &Play) -> Ended {
    let mut scene = Scene::open(play).await;
    for step in &play.steps {
        let mut rng = Rng::with_seed(play.seed.wrapping_mul(0x9E37_79B9).wrapping_add(*step));
        scene.step(&mut rng, play.heard).await;
        scene = scene.interlude(&mut rng).await;
    }
    let mut rng = Rng::with_seed(play.seed);
    let wrong = scene.end(&mut rng, play.heard).await.err().unwrap_or_default();
    Ended { trace: scene.trace, wrong }
}

impl Scene {
    async fn open(play: &Play) -> Self {
        let stage = Stage::with(providers, process_file).await;
        let told = match play.heard {
            Heard::Everything => Told::Everything,
            Heard::Some => Told::Not,
        };
        let all = Organisations::new(stage.world(), told);
        // Half the seeds cannot see what a stranger has taken over.
        let seen = if play.heard == Heard::Some && play.seed.is_multiple_of(2) { 2 } else { 3 };
        stage.world().add_token(TOKEN, &LOGINS[..seen]);
        let is_frozen = play.seed.is_multiple_of(3);
        if is_frozen {
            stage.world().freeze_time();
        }
        Self { is_frozen, stage, all, pool: Vec::new(), under_way: None, trace: Vec::new() }
    }

    /// One change and what is delivered meanwhile.
    async fn step(&mut self, rng: &mut Rng, heard: Heard) {
        let Change { what, events } = self.all.change(rng);
        self.say(what);
        for event in events {
            let is_ours = event.payload["repository"]["owner"]["login"] != LOGINS[2];
            let is_lost = heard == Heard::Some && (!is_ours || rng.u8(..5) == 0);
            if is_lost {
                self.say(format!("  lost: {}", named(&event)));
                continue;
            }
            let delivery = self.stage.sign(&event);
            if rng.u8(..12) == 0 {
                // Another hook tells the same, or GitHub delivers it again.
                let twice = if rng.bool() { delivery.clone() } else { self.stage.sign(&event) };
                self.pool.push((twice, named(&event)));
            }
            self.pool.push((delivery, named(&event)));
        }
        for _ in 0..rng.usize(..4) {
            self.deliver_one(rng).await;
        }
    }

    async fn deliver_one(&mut self, rng: &mut Rng) {
        if self.pool.is_empty() {
            return;
        }
        // Mostly in order.
        let at = if rng.bool() { 0 } else { rng.usize(..self.pool.len()) };
        let (delivery, named) = self.pool.remove(at);
        let (status, body) = self.stage.deliver(&delivery).await;
        assert_eq!(status, 202, "{body}");
        let outcome: Value = serde_json::from_str(&body).expect("JSON");
        self.say(format!("  deliver {named}: {}", outcome["outcome"]));
    }

    /// Workers, clocks, faults and restarts.
    async fn interlude(mut self, rng: &mut Rng) -> Self {
        match rng.u8(..100) {
            0..25 => self.begin_step(rng).await,
            25..40 => {
                self.end_step().await;
                self.begin_step(rng).await;
                let done = step(&self.stage.app.worker).await;
                self.say(done);
            }
            40..50 => {
                let span = Duration::from_secs([1, 3, 10, 60, 600][rng.usize(..5)]);
                self.say(format!("  {} s later", span.as_secs()));
                self.stage.clock.advance(span);
            }
            50..53 => {
                let fault = match rng.u8(..3) {
                    0 => Fault::Status(502),
                    // Within one second nothing tells a copy that lags from one that does not.
                    1 if !self.is_frozen => Fault::Lagging { seconds: LAG_SECONDS },
                    _ => Fault::ResourceLimits { keep: 1 },
                };
                self.say(format!("  next call: {fault:?}"));
                self.stage.world().fail_next(1, Calls::Graphql, fault);
            }
            53 if rng.u8(..3) == 0 => {
                self.say("  restart".to_owned());
                self.end_step().await;
                self.stage = self.stage.restart().await;
            }
            54 if rng.bool() => {
                if let Some(task) = self.under_way.take() {
                    self.say("  a worker dies".to_owned());
                    task.abort();
                    let _ = task.await;
                }
            }
            55 => {
                let now = self.stage.world().now();
                self.stage.world().set_now(now + 1);
            }
            _ => {}
        }
        self
    }

    async fn begin_step(&mut self, rng: &mut Rng) {
        self.end_step().await;
        self.say("  a step begins".to_owned());
        let worker = self.stage.app.worker.clone();
        self.under_way = Some(tokio::spawn(async move { step(&worker).await }));
        for _ in 0..rng.usize(..20) {
            tokio::task::yield_now().await;
        }
    }

    async fn end_step(&mut self) {
        if let Some(task) = self.under_way.take() {
            let done = task.await.expect("a step does not panic");
            self.say(done);
        }
    }

    /// Delivers the rest, works it off, scans where something was lost, and compares.
    async fn end(&mut self, rng: &mut Rng, heard: Heard) -> Result<(), Vec<String>> {
        self.end_step().await;
        self.stage.world().heal();
        while !self.pool.is_empty() {
            self.deliver_one(rng).await;
        }
        self.settle().await?;
        if heard == Heard::Everything {
            return self.compare(Compared::Everything).await;
        }
        self.scan().await?;
        self.approve().await;
        self.settle().await?;
        self.compare(Compared::Entities).await?;
        self.scan().await?;
        self.compare(Compared::Listed).await
    }

    async fn compare(&self, compared: Compared) -> Result<(), Vec<String>> {
        let mut wrong = differences(&self.stage, &self.all, compared).await;
        let (_, held) = self.stage.get(APPROVALS).await;
        let (_, dead) = self.stage.get("/api/cuelight/v1/queue?state=dead").await;
        let (_, health) = self.stage.get("/health").await;
        if held["items"] != json!([]) || dead["total"] != 0 || health["status"] != "ok" {
            wrong.push(format!("held: {held}, dead: {dead}, health: {health}"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Scans both accounts once.
    async fn scan(&mut self) -> Result<(), Vec<String>> {
        for provider in &self.stage.config.providers[..2] {
            self.stage.app.push_scan(provider).await.map_err(|why| vec![why])?;
        }
        self.say("both are scanned".to_owned());
        self.settle().await
    }

    async fn approve(&mut self) {
        let (_, held) = self.stage.get(APPROVALS).await;
        let items = held["items"].as_array().expect("a list").iter();
        let accounts: BTreeSet<&str> = items.filter_map(|item| item["account"].as_str()).collect();
        for account in accounts {
            let (_, answer) = self.stage.post(APPROVALS, json!({ "account": account })).await;
            self.say(format!("approve {answer}"));
        }
    }

    /// Works until nothing is due at any time.
    async fn settle(&mut self) -> Result<(), Vec<String>> {
        for _ in 0..ROUNDS_MAX {
            match self.stage.app.worker.step().await.map_err(|error| vec![error.to_string()])? {
                Step::Worked(_) => {}
                Step::Idle(Some(at)) => {
                    let now = self.stage.app.worker.clock.now();
                    self.stage.clock.advance(at.since(now).max(Duration::from_millis(1)));
                }
                Step::Idle(None) => {
                    self.stage.work().await;
                    return Ok(());
                }
            }
        }
        Err(vec![format!("after {ROUNDS_MAX} rounds something is still due")])
    }

    fn say(&mut self, what: String) {
        self.trace.push(what);
    }
}

async fn step(worker: &Worker) -> String {
    match worker.step().await.expect("the storage works") {
        Step::Idle(_) => "  a step found nothing due".to_owned(),
        Step::Worked(done) => {
            let done = done.iter().map(|(key, outcome)| format!("{key} {outcome:?}"));
            format!("  a step worked {}", done.collect::<Vec<_>>().join(", "))
        }
    }
}

fn named(event: &Event) -> String {
    let repository = &event.payload["repository"]["full_name"];
    format!("{} {} {repository}", event.name, event.action().unwrap_or_default())
}
