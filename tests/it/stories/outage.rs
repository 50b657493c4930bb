//! Redis goes away under a running cuelight and comes back, as it was or elsewhere: who delivers is
//! told in time, the catalog is still served, and everything goes on by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use cuelight::catalog::process_file;
use cuelight::config::{Config, RedisSettings, Storage};
use fake_github::{FakeGitHub, Format, NewRepository, Webhooks, World, signed};
use serde_json::Value;
use tempfile::TempDir;

use super::kill::{configuration_for, eventually};
use crate::support::http;
use crate::support::process::Served;
use crate::support::redis::{Cluster, PATIENCE, RedisServer, SentinelTrio, until};
use crate::support::stage::{FILE, SECRET, Stage, TOKEN, component};

/// In which a delivery is answered while Redis is away.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// In which everything goes on after Redis is back.
const BACK_WITHIN: Duration = Duration::from_secs(2);

struct Play {
    github: FakeGitHub,
    hooks: Webhooks,
    served: Served,
    _dir: TempDir,
}

impl Play {
    /// A running cuelight with `acme/pay` in its catalog.
    async fn open(storage: &str) -> Self {
        let github = FakeGitHub::start().await;
        github.state().create_organization("acme");
        github.state().add_token(TOKEN, &["acme"]);
        let dir = TempDir::new().expect("a temporary directory");
        let config = configuration_for(dir.path(), &github.url(), storage);
        let binary = Path::new(env!("CARGO_BIN_EXE_cuelight"));
        let served = Served::start(&[], binary, &config, &[]);
        let play = Self { github, hooks: Webhooks::new(), served, _dir: dir };
        let new = NewRepository::named("pay").file(FILE, component("pay", "service"));
        let events = play.world().create_repository("acme", new);
        assert_eq!(play.deliver(&events[1]).await.0, 202);
        eventually(&play.entity("pay")).await;
        play
    }

    fn world(&self) -> World {
        self.github.state()
    }

    fn entity(&self, name: &str) -> String {
        let base = &self.served.internal;
        format!("{base}/api/catalog/entities/by-name/component/default/{name}")
    }

    async fn deliver(&self, event: &fake_github::Event) -> (u16, String) {
        let delivery = signed(event, SECRET, &self.hooks.guid(), Format::Json);
        let url = format!("{}/webhooks/github", self.served.public);
        self.hooks.post(&url, &delivery).await.expect("an answer")
    }

    /// What everybody sees while Redis is away.
    async fn away(&self) {
        let events = self.world().put_file("acme/pay", FILE, component("pay", "library"));
        for _ in 0..4 {
            let asked = Instant::now();
            let (status, body) = self.deliver(&events[0]).await;
            assert_eq!(status, 503, "{body}");
            assert!(asked.elapsed() < TOLD_WITHIN, "{:?}", asked.elapsed());
        }
        let (status, health) = http::get_json(&format!("{}/health", self.served.internal)).await;
        let storage = &health["checks"]["storage"];
        assert_eq!((status, &storage["state"]), (503, &Value::from("failing")), "{health}");
        assert!(storage["detail"].to_string().contains("redis at "), "{storage}");
        let asked = Instant::now();
        while http::header(&self.entity("pay"), "age").await.is_none() {
            assert!(asked.elapsed() < PATIENCE, "the view does not say that it is old");
        }
        let (status, entity) = http::get_json(&self.entity("pay")).await;
        assert_eq!((status, &entity["spec"]["type"]), (200, &Value::from("service")));
        let (_, health) = http::get_json(&format!("{}/health", self.served.internal)).await;
        let follows = health["checks"]["view-follows"]["detail"].to_string();
        assert!(follows.contains("it is served as of "), "{health}");
    }

    /// What happens when it is there again.
    async fn back(self, within: Duration) {
        let back = Instant::now();
        let new = NewRepository::named("shop").file(FILE, component("shop", "service"));
        let events = self.world().create_repository("acme", new);
        while self.deliver(&events[1]).await.0 != 202 {
            assert!(back.elapsed() < PATIENCE, "it takes no deliveries");
        }
        let taken = back.elapsed();
        eventually(&self.entity("shop")).await;
        let visible = back.elapsed();
        assert!(visible < within, "taken after {taken:?}, visible after {visible:?}");
        assert_eq!(http::header(&self.entity("shop"), "age").await, None);
        let (status, health) = http::get_json(&format!("{}/health", self.served.internal)).await;
        assert_eq!((status, &health["status"]), (200, &Value::from("ok")), "{health}");
        let (status, log) = self.served.terminate();
        assert!(status.success(), "{}", log.join("\n"));
    }
}

fn durable() -> RedisServer {
    RedisServer::with(&["--appendonly", "yes", "--appendfsync", "always"])
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_dies_and_is_started_again() {
    let mut redis = durable();
    let play = Play::open(&redis.url()).await;
    redis.kill();
    play.away().await;
    redis.start_again();
    play.back(BACK_WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_hangs_and_goes_on() {
    let redis = durable();
    let play = Play::open(&redis.url()).await;
    redis.hang();
    play.away().await;
    redis.go_on();
    play.back(BACK_WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_dies_and_the_sentinels_name_another() {
    let mut trio = SentinelTrio::start().await;
    let play = Play::open(&trio.url()).await;
    let written = |server: &RedisServer| server.command::<u64>(&["DBSIZE"]);
    until("the replica has everything", || written(&trio.master) == written(&trio.replica)).await;
    trio.master.kill();
    // The Sentinels take their time to agree.
    play.back(PATIENCE).await;
}

#[tokio::test]
async fn a_cluster_does_the_main_job() {
    let cluster = Cluster::start().await;
    let settings = RedisSettings::parse(&cluster.url()).expect("an address");
    let on_the_cluster = |config: &mut Config| config.storage = Storage::Redis(Box::new(settings));
    let stage = Stage::with(on_the_cluster, process_file).await;
    stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().put_file("acme/pay", FILE, component("pay", "library"))).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("library"));
    stage.create(3);
    stage.scan().await;
    assert_eq!(stage.components().await, 4);
    stage.cue(&stage.world().delete_repository("acme/pay")).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
}
