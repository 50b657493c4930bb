//! Two replicas on one Redis: what one does the other knows, and nothing is done twice.

use std::sync::Arc;
use std::time::Duration;

use cuelight::app::App;
use cuelight::catalog::{View, process_file};
use cuelight::clock::Clock as _;
use cuelight::config::{Config, RedisSettings, Storage};
use cuelight::engine::redis::{Options, RedisEngine, Time};
use cuelight::health::Health;
use cuelight::view_feed::ViewFeed;
use cuelight::worker::{Outcome, Step, Worker};
use fake_github::{CallKind, Calls, Fault, NewRepository, Push, Selection};
use tokio::sync::watch;

use super::included::location;
use crate::support::apps::{APP, PUBLIC_KEY};
use crate::support::http;
use crate::support::redis::RedisServer;
use crate::support::stage::{FILE, PATIENCE, Stage, TOKEN, component};
use crate::support::tenants::{OPENING_SECONDS, by_app, create};

/// A stage, and a second cuelight on the same Redis.
struct Pair {
    stage: Stage,
    other: App,
    redis: RedisServer,
}

impl Pair {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let redis = RedisServer::with(&["--appendonly", "yes"]);
        let on_redis = |config: &mut Config| {
            config.storage = Storage::Redis(Box::new(redis.settings()));
            change(config);
        };
        let stage = Stage::with(on_redis, process_file).await;
        let other = stage.replica().await;
        Self { stage, other, redis }
    }

    /// The other replica works until nothing is due for it.
    async fn other_works(&self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        loop {
            match self.other.worker.step().await.expect("the storage works") {
                Step::Idle(_) => return outcomes,
                Step::Worked(done) => outcomes.extend(done.into_iter().map(|(_, o)| o)),
            }
        }
    }

    /// Waits until the other replica's view has what was written last.
    async fn other_follows(&self) {
        let written = self.stage.app.worker.store.last_seq().await.expect("the storage works");
        shows(&mut self.other.view.clone(), |view| view.seq() >= written).await;
    }

    /// `spec.type` of a component, as the other replica's API has it.
    async fn other_type_of(&self, name: &str) -> Option<String> {
        let path = format!("/api/catalog/entities/by-name/component/default/{name}");
        let url = format!("http://{}{path}", self.other.internal);
        let (status, entity) = http::get_json(&url).await;
        (status == 200).then(|| entity["spec"]["type"].as_str().expect("a type").to_owned())
    }

    async fn close(self) {
        self.other.stop().await.expect("it stops");
    }
}

async fn shows(view: &mut watch::Receiver<Arc<View>>, what: impl FnMut(&Arc<View>) -> bool) {
    let shown = view.wait_for(what);
    tokio::time::timeout(PATIENCE, shown).await.expect("in time").expect("the view is fed");
}

#[tokio::test]
async fn what_one_replica_receives_another_works_and_both_show() {
    let pair = Pair::open().await;
    let stage = &pair.stage;
    stage.repository("pay", &component("pay", "service")).await;
    pair.other_follows().await;
    assert_eq!(pair.other_type_of("pay").await.as_deref(), Some("service"));
    stage.cue(&stage.world().put_file("acme/pay", FILE, component("pay", "library"))).await;
    assert_eq!(pair.other_works().await, [Outcome::Done]);
    assert!(stage.work().await.is_empty());
    pair.other_follows().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("library"));
    assert_eq!(pair.other_type_of("pay").await.as_deref(), Some("library"));
    stage.cue(&stage.world().delete_repository("acme/pay")).await;
    stage.work().await;
    pair.other_follows().await;
    assert_eq!(pair.other_type_of("pay").await, None);
    pair.close().await;
}

#[tokio::test]
async fn a_delivery_that_two_replicas_receive_is_worked_once() {
    let pair = Pair::open().await;
    let stage = &pair.stage;
    stage.repository("pay", &component("pay", "service")).await;
    let events = stage.world().put_file("acme/pay", FILE, component("pay", "library"));
    let delivery = stage.sign(&events[0]);
    let (_, first) = stage.deliver(&delivery).await;
    assert!(first.contains("\"queued\""), "{first}");
    let hooks = fake_github::Webhooks::new();
    let url = format!("http://{}/webhooks/github", pair.other.public);
    let (status, again) = hooks.post(&url, &delivery).await.expect("an answer");
    assert_eq!(status, 202);
    assert!(again.contains("\"duplicate\""), "{again}");
    assert_eq!(pair.other_works().await, [Outcome::Done]);
    assert!(stage.work().await.is_empty());
    assert_eq!(stage.world().calls().len(), 1);
    pair.close().await;
}

#[tokio::test]
async fn a_scan_that_both_replicas_ask_for_is_one_scan() {
    let pair = Pair::open().await;
    let stage = &pair.stage;
    stage.create(3);
    let provider = &stage.config.providers[0];
    stage.app.push_scan(provider).await.expect("the scan key is pushed");
    pair.other.push_scan(provider).await.expect("the scan key is pushed");
    stage.world().reset_calls();
    let scanned = pair.other.worker.step().await.expect("the storage works");
    assert!(matches!(&scanned, Step::Worked(done) if done.len() == 1), "{scanned:?}");
    stage.work().await;
    pair.other_follows().await;
    assert!(pair.other_works().await.is_empty());
    assert_eq!(stage.components().await, 3);
    assert_eq!(stage.world().calls_of(CallKind::List), 1);
    pair.close().await;
}

#[tokio::test]
async fn a_limit_that_one_replica_is_told_of_holds_for_the_other() {
    let pair = Pair::open().await;
    let stage = &pair.stage;
    let world = stage.world();
    stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&world.put_file("acme/pay", FILE, component("pay", "library"))).await;
    let limited = Fault::Limited { status: 429, retry_after: Some(60), reset: None };
    world.fail_next(1, Calls::All, limited);
    assert_eq!(stage.work().await, [Outcome::Gated]);
    let asked = world.calls().len();
    assert!(pair.other_works().await.is_empty(), "it asks though GitHub said not to");
    stage.clock.advance(Duration::from_secs(59));
    assert!(pair.other_works().await.is_empty(), "it asks though GitHub said not to");
    assert_eq!(world.calls().len(), asked);
    stage.clock.advance(Duration::from_secs(2));
    assert_eq!(pair.other_works().await, [Outcome::Done]);
    pair.close().await;
}

#[tokio::test]
async fn points_that_one_replica_has_spent_are_missing_for_the_others_scan() {
    let pair = Pair::open().await;
    let (stage, world) = (&pair.stage, pair.stage.world());
    world.freeze_time();
    world.set_now(stage.clock.now().0 / 1_000);
    world.limit_points(TOKEN, 100);
    stage.repository("pay", &component("pay", "service")).await;
    stage.create(3);
    // All of it was spent by one: the other has seen every point when it last asked.
    pair.other_works().await;
    world.spend_points(TOKEN, 85);
    stage.cue(&world.put_file("acme/pay", FILE, component("pay", "library"))).await;
    assert_eq!(stage.work().await, [Outcome::Done], "events may spend the rest");
    pair.other.push_scan(&stage.config.providers[0]).await.expect("the scan key is pushed");
    // The page tells it what is left; what it found on it waits.
    let outcomes = pair.other_works().await;
    assert_eq!(outcomes.first(), Some(&Outcome::Done), "{outcomes:?}");
    assert_eq!(outcomes[1..], [Outcome::Delayed; 3]);
    assert_eq!(stage.components().await, 1);
    pair.close().await;
}

#[tokio::test]
async fn each_replica_has_a_token_of_its_own_and_none_is_in_redis() {
    let pair = Pair::with(by_app).await;
    let stage = &pair.stage;
    let world = stage.world();
    world.set_now(OPENING_SECONDS);
    world.register_app(APP, PUBLIC_KEY);
    let installation = world.install_app(APP, "acme", Selection::All);
    let pay = create(stage, "acme", "pay");
    stage.scan().await;
    assert!(stage.has("pay").await);
    assert_eq!(world.tokens_issued(installation), 1);
    stage.cue(&world.put_file(&pay, FILE, component("pay", "library"))).await;
    assert_eq!(pair.other_works().await, [Outcome::Done]);
    assert_eq!(world.tokens_issued(installation), 2);
    let tokens = world.calls().into_iter().filter_map(|call| call.token);
    let tokens: Vec<String> = tokens.chain([TOKEN.to_owned()]).collect();
    assert!(tokens.len() > 2, "{}", tokens.len());
    let written = everything_written(&pair.redis);
    assert!(contains(&written, "acme/pay"), "the append-only file is looked at");
    for token in tokens {
        assert!(!contains(&written, &token), "a token is in redis");
    }
    pair.close().await;
}

#[tokio::test]
async fn a_replica_that_receives_a_push_knows_what_another_has_included() {
    let pair = Pair::open().await;
    let stage = &pair.stage;
    let world = stage.world();
    let shared = NewRepository::named("shared").file("a.yaml", component("a", "service"));
    world.create_repository("acme", shared);
    stage.repository("pay", &location(&["https://github.com/acme/shared/blob/v2/a.yaml"])).await;
    pair.other_follows().await;
    let pushed = world.push("acme/shared", Push::to("v2").put("a.yaml", component("a", "website")));
    let (status, body) = stage.deliver_to(&pair.other, &stage.sign(&pushed[0])).await;
    assert_eq!((status, body.contains("queued")), (202, true), "{body}");
    assert_eq!(pair.other_works().await, [Outcome::Delayed], "it will look once more");
    pair.other_follows().await;
    assert_eq!(pair.other_type_of("a").await.as_deref(), Some("website"));
    pair.close().await;
}

#[tokio::test]
async fn a_push_to_one_replica_while_another_reads_who_includes_the_file_is_not_missed() {
    let pair = Pair::open().await;
    let stage = &pair.stage;
    let world = stage.world();
    let push = |kind: &str| Push::to("v2").put("a.yaml", component("a", kind));
    let shared = NewRepository::named("shared").file("a.yaml", component("a", "service"));
    world.create_repository("acme", shared);
    let there = location(&["https://github.com/acme/shared/blob/v2/a.yaml"]);
    let pay = NewRepository::named("pay").file(FILE, there);
    stage.cue(&world.create_repository("acme", pay)).await;
    let pushed = world.push("acme/shared", push("website"));
    let (status, body) = stage.deliver_to(&pair.other, &stage.sign(&pushed[0])).await;
    assert_eq!((status, body.contains("ignored")), (202, true), "{body}");
    stage.work().await;
    // As if the read had not shown the push.
    world.push("acme/shared", push("library"));
    for _ in 0..2 {
        pair.other_follows().await;
        stage.clock.advance(Duration::from_secs(5));
        pair.other_works().await;
    }
    pair.other_follows().await;
    assert_eq!(pair.other_type_of("a").await.as_deref(), Some("library"));
    pair.close().await;
}

/// All commands that ever wrote to a server.
fn everything_written(redis: &RedisServer) -> Vec<u8> {
    let (_, dir): (String, String) = redis.command(&["CONFIG", "GET", "dir"]);
    let folder = std::path::Path::new(&dir).join("appendonlydir");
    let files = std::fs::read_dir(&folder).expect("an append-only file");
    let bytes = |file: std::io::Result<std::fs::DirEntry>| {
        std::fs::read(file.expect("an entry").path()).expect("a file")
    };
    files.flat_map(bytes).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_replica_that_was_away_while_the_log_was_trimmed_loads_afresh() {
    let pair = Pair::open().await;
    let stage = &pair.stage;
    stage.repository("pay", &component("pay", "service")).await;
    let worker = &stage.app.worker;
    let sender = watch::Sender::new(Arc::new(View::empty()));
    let view = sender.subscribe();
    let feed = ViewFeed {
        store: worker.store.clone(),
        view: sender,
        routing: watch::Sender::new(Arc::default()),
        overtaken: None,
        clock: worker.clock.clone(),
        metrics: worker.metrics.clone(),
        health: Arc::new(Health::new(worker.clock.clone())),
    };
    let at = feed.load(|_| {}).await.expect("the storage works");
    // Another replica writes more than its log holds.
    let options = Options { change_rows_max: 2, time: Time::Clock, ..Options::default() };
    let settings: RedisSettings = pair.redis.settings();
    let engine = RedisEngine::open(&settings, worker.clock.clone(), options);
    let engine = engine.await.expect("redis is there");
    let writer = Worker { store: engine.clone(), queue: engine.clone(), ..worker.clone() };
    stage.create(5);
    stage.cue(&stage.world().delete_repository("acme/pay")).await;
    stage.app.push_scan(&stage.config.providers[0]).await.expect("the scan key is pushed");
    while let Step::Worked(_) = writer.step().await.expect("the storage works") {}
    assert!(worker.store.changes(at, 10).await.expect("the storage works").is_none());
    let now_at = feed.catch_up(at).await.expect("the storage works");
    assert_eq!(now_at, worker.store.last_seq().await.expect("the storage works"));
    let names = |view: &View| {
        let name = |at: usize| view.entity(&format!("component:default/svc-{at}")).is_some();
        (view.entity("component:default/pay").is_some(), (0..5).filter(|at| name(*at)).count())
    };
    assert_eq!(names(&view.borrow()), (false, 5));
    engine.close().await;
    pair.close().await;
}
