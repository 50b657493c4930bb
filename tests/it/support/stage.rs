//! A stage for stories: a fake GitHub with the organisation `acme`, and a whole cuelight whose
//! workers run only when the story says so, on a clock that the story moves.

use std::sync::Arc;
use std::time::Duration;

use cuelight::app::{App, Parts};
use cuelight::catalog::{ProcessFile, process_file};
use cuelight::config::{
    Config, Filters, Frequency, Integration, Provider, Rules, Schedule, Storage,
};
use cuelight::engine::redis::Time;
use cuelight::worker::{Outcome, Step};
use fake_github::{Delivery, Event, FakeGitHub, Format, NewRepository, Webhooks, World, signed};
use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;

use super::clock::ManualClock;
use super::http;
use super::on_redis::is_on_redis;
use super::redis::RedisServer;

/// The webhook secret of every stage.
pub const SECRET: &str = "stage secret";

/// The token of every stage.
pub const TOKEN: &str = "ghp_stage";

/// The catalog file that stories look at.
pub const FILE: &str = "catalog-info.yaml";

/// Longest wait for anything that happens by itself.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The stage.
pub struct Stage {
    /// GitHub.
    pub github: FakeGitHub,
    /// cuelight.
    pub app: App,
    /// Its time.
    pub clock: Arc<ManualClock>,
    /// The settings it was started with.
    pub config: Config,
    hooks: Webhooks,
    process: ProcessFile,
    _tenants: Tenants,
    /// Holds the state of a stage that was opened on one.
    _redis: Option<RedisServer>,
    _dir: TempDir,
}

/// Fails the test, at its end, when one installation's token was used for another account.
struct Tenants(World);

impl Drop for Tenants {
    fn drop(&mut self) {
        let strays = self.0.strays();
        if !std::thread::panicking() {
            assert!(strays.is_empty(), "tokens used for another account's: {strays:?}");
        }
    }
}

impl Stage {
    /// Opens with an empty `acme` and no scan.
    pub async fn open() -> Self {
        Self::with(|_| {}, process_file).await
    }

    /// Opens with settings changed and another processing of files.
    pub async fn with(change: impl FnOnce(&mut Config), process: ProcessFile) -> Self {
        let github = FakeGitHub::start().await;
        github.state().create_organization("acme");
        github.state().add_token(TOKEN, &["acme"]);
        let dir = TempDir::new().expect("a temporary directory");
        let redis = is_on_redis().then(RedisServer::start);
        let storage = match &redis {
            Some(server) => Storage::Redis(Box::new(server.settings())),
            None => Storage::Sqlite(dir.path().join("cuelight.db")),
        };
        let mut config = settings(&github.url(), storage);
        change(&mut config);
        let clock = ManualClock::new();
        let app = start(&config, &clock, process).await;
        let tenants = Tenants(github.state());
        Self {
            github,
            app,
            clock,
            config,
            hooks: Webhooks::new(),
            process,
            _tenants: tenants,
            _redis: redis,
            _dir: dir,
        }
    }

    /// GitHub's state.
    pub fn world(&self) -> World {
        self.github.state()
    }

    /// Creates `acme/NAME` with this catalog file, lets cuelight see it, and forgets the calls.
    pub async fn repository(&self, name: &str, text: &str) -> String {
        let new = NewRepository::named(name).file(FILE, text);
        self.cue(&self.world().create_repository("acme", new)).await;
        self.work().await;
        self.world().reset_calls();
        format!("acme/{name}")
    }

    /// Creates `count` repositories with a file each, `acme/svc-0` and so on, and tells nobody.
    pub fn create(&self, count: usize) {
        for i in 0..count {
            let name = format!("svc-{i}");
            let new = NewRepository::named(&name).file(FILE, component(&name, "service"));
            self.world().create_repository("acme", new);
        }
    }

    /// A stage with twenty such repositories in the catalog.
    pub async fn with_twenty() -> Self {
        let stage = Self::open().await;
        stage.create(20);
        stage.scan().await;
        assert_eq!(stage.components().await, 20);
        stage
    }

    /// How many components the catalog has.
    pub async fn components(&self) -> u64 {
        let path = "/api/catalog/entities/by-query?filter=kind=component&limit=0";
        self.get(path).await.1["totalItems"].as_u64().expect("a number")
    }

    /// Delivers events, each of which has to be accepted; returns the outcomes.
    pub async fn cue(&self, events: &[Event]) -> Vec<String> {
        let mut outcomes = Vec::new();
        for event in events {
            let (status, body) = self.deliver(&self.sign(event)).await;
            assert_eq!(status, 202, "{body}");
            let body: Value = serde_json::from_str(&body).expect("a JSON body");
            outcomes.push(body["outcome"].as_str().expect("an outcome").to_owned());
        }
        outcomes
    }

    /// A new delivery of an event.
    pub fn sign(&self, event: &Event) -> Delivery {
        signed(event, SECRET, &self.hooks.guid(), Format::Json)
    }

    /// Posts a delivery.
    pub async fn deliver(&self, delivery: &Delivery) -> (u16, String) {
        self.deliver_to(&self.app, delivery).await
    }

    /// Posts a delivery to another replica.
    pub async fn deliver_to(&self, app: &App, delivery: &Delivery) -> (u16, String) {
        let url = format!("http://{}/webhooks/github", app.public);
        self.hooks.post(&url, delivery).await.expect("an answer")
    }

    /// Works until nothing is due and the view shows everything; returns what became of the keys.
    pub async fn work(&self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        loop {
            match self.app.worker.step().await.expect("the storage works") {
                Step::Idle(_) => break,
                Step::Worked(done) => outcomes.extend(done.into_iter().map(|(_, o)| o)),
            }
        }
        let written = self.app.worker.store.last_seq().await.expect("the storage works");
        let mut view = self.app.view.clone();
        let shown = view.wait_for(|view| view.seq() >= written);
        tokio::time::timeout(PATIENCE, shown).await.expect("in time").expect("the view is fed");
        outcomes
    }

    /// Asks for a scan of `acme` and works it off.
    pub async fn scan(&self) -> Vec<Outcome> {
        self.app.push_scan(&self.config.providers[0]).await.expect("the scan key is pushed");
        self.work().await
    }

    /// An entity by its ref, `None` for 404.
    pub async fn entity(&self, kind: &str, name: &str) -> Option<Value> {
        let path = format!("/api/catalog/entities/by-name/{kind}/default/{name}");
        match self.get(&path).await {
            (200, entity) => Some(entity),
            (404, _) => None,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Whether the component is in the catalog.
    pub async fn has(&self, name: &str) -> bool {
        self.entity("component", name).await.is_some()
    }

    /// `spec.type` of a component.
    pub async fn type_of(&self, name: &str) -> Option<String> {
        let entity = self.entity("component", name).await?;
        Some(entity["spec"]["type"].as_str().expect("a type").to_owned())
    }

    /// The problems' codes, with the line.
    pub async fn problems(&self) -> Vec<(String, u64)> {
        let (_, list) = self.get("/api/cuelight/v1/problems").await;
        let items = list["items"].as_array().expect("a list").iter();
        let row = |p: &Value| {
            let code = p["code"].as_str().expect("a code").to_owned();
            (code, p["line"].as_u64().expect("a line"))
        };
        items.map(row).collect()
    }

    /// One check of `/health`.
    pub async fn check(&self, name: &str) -> Value {
        self.get("/health").await.1["checks"][name].clone()
    }

    /// GET on the internal listener.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        http::get_json(&format!("http://{}{path}", self.app.internal)).await
    }

    /// POST of JSON on the internal listener.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        http::post_json(&format!("http://{}{path}", self.app.internal), &body).await
    }

    /// Starts another cuelight beside it, with the same settings and storage.
    pub async fn replica(&self) -> App {
        start(&self.config, &self.clock, self.process).await
    }

    /// Stops cuelight and starts it again on the same storage.
    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same with settings changed.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        self.app.stop().await.expect("it stops");
        change(&mut self.config);
        self.app = start(&self.config, &self.clock, self.process).await;
        self
    }
}

async fn start(config: &Config, clock: &Arc<ManualClock>, process: ProcessFile) -> App {
    let parts = Parts { clock: clock.clone(), process, redis_time: Time::Clock };
    App::start(config.clone(), parts).await.expect("cuelight starts")
}

/// Settings for a stage: free ports, no workers of its own, no scan.
fn settings(api: &str, storage: Storage) -> Config {
    let mut config = Config::defaults();
    config.server.public_listen = ([127, 0, 0, 1], 0).into();
    config.server.internal_listen = ([127, 0, 0, 1], 0).into();
    config.webhooks.secrets = vec![SecretString::from(SECRET)];
    config.storage = storage;
    config.workers = 0;
    config.integrations = vec![Integration {
        host: "github.com".to_owned(),
        api_base_url: api.to_owned(),
        token: Some(SecretString::from(TOKEN)),
        apps: Vec::new(),
    }];
    config.providers = vec![Provider {
        id: "default".to_owned(),
        host: "github.com".to_owned(),
        organization: "acme".to_owned(),
        app: None,
        catalog_paths: vec![FILE.to_owned()],
        filters: Filters::default(),
        schedule: Schedule {
            frequency: Frequency::Manual,
            initial_delay: Duration::ZERO,
            timeout: Duration::from_secs(60),
        },
        heartbeat: Frequency::Manual,
    }];
    config.rules = Rules::default();
    config
}

/// The text of a component.
pub fn component(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n\
         spec:\n  type: {kind}\n  lifecycle: production\n  owner: team-a\n"
    )
}
