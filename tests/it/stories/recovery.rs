//! After trouble everything is as before: nothing is lost, nothing stays red, nobody else waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cuelight::catalog::{View, process_file};
use cuelight::clock::Clock as _;
use cuelight::config::{Config, Frequency, Provider};
use cuelight::engine::store::{Applied, Apply};
use cuelight::health::{CheckState, Health};
use cuelight::ids::{Host, RepoId};
use cuelight::reconcile::{Plan, Reconciler};
use cuelight::view_feed::ViewFeed;
use cuelight::work::{LEASE, RepoKey};
use cuelight::worker::{Outcome, Worker};
use fake_github::{CallKind, Calls, Fault};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::support::faulty_store::FaultyStore;
use crate::support::stage::{FILE, PATIENCE, Stage, component};

/// The names of the checks that are neither ok nor off.
async fn red(stage: &Stage) -> Vec<String> {
    let (_, health) = stage.get("/health").await;
    let checks = health["checks"].as_object().expect("checks").iter();
    let is_red = |check: &Value| !matches!(check["state"].as_str(), Some("ok" | "off"));
    checks.filter(|(_, check)| is_red(check)).map(|(name, _)| name.clone()).collect()
}

/// Asks until it is so.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !is_so().await {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "{what}");
    }
}

async fn waiting(stage: &Stage) -> Vec<Value> {
    let (_, list) = stage.get("/api/cuelight/v1/queue?state=waiting").await;
    list["items"].as_array().expect("a list").clone()
}

fn key_of(stage: &Stage, full_name: &str) -> RepoKey {
    RepoKey { host: Host::github_com(), id: RepoId(stage.world().repository(full_name).id) }
}

/// The stage's worker with a store that fails as told.
fn with_faults(stage: &Stage, panics_at: Option<RepoKey>, next_apply_fails: bool) -> Worker {
    let mut worker = stage.app.worker.clone();
    let store = Arc::new(FaultyStore {
        inner: worker.store.clone(),
        next_apply_fails: AtomicBool::new(next_apply_fails),
        changes_fail: AtomicBool::new(false),
        panics_at,
    });
    let old = &worker.reconciler;
    worker.reconciler = Arc::new(Reconciler {
        accounts: old.accounts.clone(),
        github: old.github.clone(),
        store: store.clone(),
        membership: old.membership.clone(),
        processing: old.processing.clone(),
        clock: old.clock.clone(),
    });
    worker.store = store;
    worker
}

#[tokio::test]
async fn a_repository_that_github_refuses_to_show_holds_up_no_other() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let shop = stage.repository("shop", &component("shop", "service")).await;
    let kind = "FORBIDDEN".to_owned();
    let refused = Fault::NodeError { repository: pay.clone(), field: None, kind };
    world.fail_always(Calls::Graphql, refused);
    stage.cue(&world.put_file(&pay, FILE, component("pay", "website"))).await;
    assert_eq!(stage.work().await, [Outcome::Retried]);
    stage.cue(&world.put_file(&shop, FILE, component("shop", "website"))).await;
    assert_eq!(stage.work().await, [Outcome::Done], "no gate is closed for one repository");
    assert_eq!(stage.type_of("shop").await.as_deref(), Some("website"));
    assert!(stage.has("pay").await);
    world.heal();
    stage.clock.advance(Duration::from_secs(10));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_scan_that_works_again_makes_health_ok_again() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    stage.world().fail_next(1, Calls::Of(CallKind::List), Fault::Status(500));
    assert_eq!(stage.scan().await, [Outcome::Retried]);
    assert_eq!(red(&stage).await, ["github:github.com/acme", "scan:github.com/acme"]);
    stage.clock.advance(Duration::from_secs(10));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert!(red(&stage).await.is_empty(), "{:?}", red(&stage).await);
}

#[tokio::test]
async fn trouble_from_before_an_accounts_name_was_known_does_not_stay_in_health() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    stage.app.push_scan(&stage.config.providers[0]).await.expect("the key is pushed");
    let stage = stage.restart().await;
    stage.world().fail_next(1, Calls::All, Fault::Status(502));
    assert_eq!(stage.work().await, [Outcome::Retried]);
    assert_eq!(red(&stage).await.len(), 2);
    stage.clock.advance(Duration::from_secs(10));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert!(red(&stage).await.is_empty(), "{:?}", red(&stage).await);
}

#[tokio::test]
async fn an_owner_that_is_not_ours_leaves_nothing_in_health() {
    let stage = Stage::open().await;
    let world = stage.world();
    world.create_organization("strangers");
    let new = fake_github::NewRepository::named("x").file(FILE, component("x", "service"));
    stage.cue(&world.create_repository("strangers", new)).await;
    for _ in 0..5 {
        stage.work().await;
        stage.clock.advance(Duration::from_secs(10));
    }
    assert!(waiting(&stage).await.is_empty(), "it is not looked for for ever");
    let (_, health) = stage.get("/health").await;
    assert!(!health.to_string().contains("strangers"), "{health}");
}

#[tokio::test]
async fn a_scan_does_not_fail_because_another_providers_organisation_is_missing() {
    let nowhere_first = |config: &mut Config| {
        let first = config.providers[0].clone();
        let id = "a-first".to_owned();
        config.providers.push(Provider { id, organization: "nowhere".to_owned(), ..first });
    };
    let stage = Stage::with(nowhere_first, process_file).await;
    stage.app.push_scan(&stage.config.providers[0]).await.expect("the key is pushed");
    let stage = stage.restart().await;
    assert_eq!(stage.work().await, [Outcome::Done]);
}

#[tokio::test]
async fn a_scan_of_an_account_that_is_configured_no_more_ends() {
    let stage = Stage::open().await;
    stage.app.push_scan(&stage.config.providers[0]).await.expect("the key is pushed");
    let stage = stage.restart_with(|config| config.providers.clear()).await;
    assert_eq!(stage.work().await, [Outcome::Done]);
}

#[tokio::test]
async fn a_scan_that_ends_late_makes_its_schedule_ok_again() {
    let every = |config: &mut Config| {
        config.workers = 1;
        config.providers[0].schedule.frequency = Frequency::Every(Duration::from_secs(86_400));
        config.providers[0].schedule.initial_delay = Duration::from_secs(5);
    };
    let stage = Stage::with(every, process_file).await;
    stage.world().fail_always(Calls::Of(CallKind::List), Fault::Status(502));
    stage.clock.wait_for_sleep(Duration::from_secs(5)).await;
    stage.clock.advance(Duration::from_secs(5));
    // The scan and its schedule both wait for a minute, so its passing is told until it is seen.
    let becomes = async |state: &str| {
        stage.clock.advance(Duration::from_secs(60));
        stage.check("schedule:default").await["state"] == state
    };
    eventually("it is late", async || becomes("degraded").await).await;
    stage.world().heal();
    eventually("it has ended", async || becomes("ok").await).await;
}

#[tokio::test]
async fn a_schedule_asks_nothing_before_a_limit_ends() {
    let every = |config: &mut Config| {
        config.providers[0].schedule.frequency = Frequency::Every(Duration::from_secs(86_400));
        config.providers[0].schedule.initial_delay = Duration::from_secs(5);
    };
    let stage = Stage::with(every, process_file).await;
    stage.clock.wait_for_sleep(Duration::from_secs(5)).await;
    let limit = Fault::Limited { status: 429, retry_after: Some(600), reset: None };
    stage.world().fail_next(1, Calls::All, limit);
    stage.clock.advance(Duration::from_secs(5));
    let until = stage.clock.wait_for_sleep(Duration::from_secs(600));
    tokio::time::timeout(PATIENCE, until).await.expect("it waits for the end of the limit");
    assert_eq!(stage.world().calls().len(), 1);
    stage.clock.advance(Duration::from_secs(600));
    eventually("the key is pushed", async || !waiting(&stage).await.is_empty()).await;
}

#[tokio::test]
async fn a_storage_that_fails_in_the_middle_of_a_step_costs_no_attempt_and_no_wait() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    let worker = with_faults(&stage, None, true);
    worker.step().await.expect_err("the write failed");
    let waits = waiting(&stage).await;
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0]["attempts"], 0, "{waits:?}");
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_key_that_panics_a_whole_step_ends_dead_alone() {
    let stage = Stage::open().await;
    let world = stage.world();
    let mut names = Vec::new();
    for name in ["pay", "shop", "hq"] {
        names.push(stage.repository(name, &component(name, "service")).await);
    }
    let worker = with_faults(&stage, Some(key_of(&stage, "acme/shop")), false);
    for name in &names {
        let text = component(name.trim_start_matches("acme/"), "website");
        stage.cue(&world.put_file(name, FILE, text)).await;
    }
    for _ in 0..8 {
        worker.step().await.expect("the storage works");
        stage.clock.advance(LEASE);
    }
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    assert_eq!(stage.type_of("hq").await.as_deref(), Some("website"));
    assert_eq!(stage.type_of("shop").await.as_deref(), Some("service"));
    let (_, dead) = stage.get("/api/cuelight/v1/queue?state=dead").await;
    assert_eq!(dead["total"], 1, "{dead}");
    assert_eq!(dead["items"][0]["repository"], "acme/shop", "{dead}");
}

/// A second view of the stage's catalog, fed from a store that may fail, with a health of its own.
fn second_view(stage: &Stage, changes_fail: bool) -> (ViewFeed, Arc<FaultyStore>) {
    let worker = &stage.app.worker;
    let store = Arc::new(FaultyStore {
        inner: worker.store.clone(),
        next_apply_fails: AtomicBool::new(false),
        changes_fail: AtomicBool::new(changes_fail),
        panics_at: None,
    });
    let feed = ViewFeed {
        store: store.clone(),
        view: watch::Sender::new(Arc::new(View::empty())),
        routing: watch::Sender::new(Arc::default()),
        overtaken: None,
        clock: worker.clock.clone(),
        metrics: worker.metrics.clone(),
        health: Arc::new(Health::new(worker.clock.clone())),
    };
    (feed, store)
}

#[tokio::test]
async fn a_view_that_cannot_follow_says_so_until_it_can() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let (feed, store) = second_view(&stage, true);
    let health = feed.health.clone();
    let state = || health.checks().get("view-follows").map(|check| check.state);
    let stop = CancellationToken::new();
    let as_of = stage.clock.now();
    let following = tokio::spawn(feed.follow(0, stop.clone()));
    eventually("it is behind", async || state() == Some(CheckState::Degraded)).await;
    let check = health.checks()["view-follows"].clone();
    assert_eq!(check.since, as_of);
    assert!(check.detail.contains(&format!("served as of {as_of}")), "{}", check.detail);
    store.changes_fail.store(false, Ordering::SeqCst);
    eventually("it follows", async || {
        stage.clock.advance(Duration::from_secs(1));
        state().is_none()
    })
    .await;
    stop.cancel();
    following.await.expect("it ends");
}

#[tokio::test]
async fn a_view_follows_a_log_that_is_shorter_than_the_one_it_knew() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let (feed, _) = second_view(&stage, false);
    let mut view = feed.view.subscribe();
    let stop = CancellationToken::new();
    let following = tokio::spawn(feed.follow(999, stop.clone()));
    let mut shown = async |name: &str| {
        let entity = format!("component:default/{name}");
        let shown = view.wait_for(|view| view.entity(&entity).is_some());
        tokio::time::timeout(PATIENCE, shown).await.expect("in time").expect("the view is fed");
    };
    shown("pay").await;
    stage.repository("shop", &component("shop", "service")).await;
    shown("shop").await;
    stop.cancel();
    following.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_github_hangs_ends_in_time_and_gives_the_keys_back() {
    let hasty = |config: &mut Config| {
        config.workers = 1;
        config.server.shutdown_timeout = Duration::from_millis(400);
    };
    let stage = Stage::with(hasty, process_file).await;
    let world = stage.world();
    world.fail_always(Calls::All, Fault::Hang);
    let new = fake_github::NewRepository::named("pay").file(FILE, component("pay", "service"));
    stage.cue(&world.create_repository("acme", new)).await;
    eventually("it is asked", async || !world.calls().is_empty()).await;
    let begun = Instant::now();
    let stage = stage.restart_with(|config| config.workers = 0).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let waits = waiting(&stage).await;
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0]["attempts"], 0, "{waits:?}");
    stage.world().heal();
    stage.work().await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn a_worker_whose_lease_has_ended_writes_nothing() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let events = world.put_file(&pay, FILE, component("pay", "website"));
    stage.cue(&events).await;
    let worker = &stage.app.worker;
    let late = worker.queue.take(1, LEASE).await.expect("the storage works").leases;
    let plans = worker.reconciler.plan(&late).await.expect("the storage works");
    stage.clock.advance(LEASE);
    stage.cue(&world.put_file(&pay, FILE, component("pay", "library"))).await;
    stage.work().await;
    for (lease, plan) in late.iter().zip(plans) {
        let Plan::Apply { change: Some(change), settlement, cause } = plan else {
            panic!("{plan:?}")
        };
        let apply = Apply { lease: lease.into(), change, settlement, cause };
        assert_eq!(worker.store.apply(apply).await.expect("the storage works"), Applied::Stale);
    }
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("library"));
}
