//! A scan that failed, or whose process died, goes on from the page where it was; one that is too
//! much for GitHub asks for less.

use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::scan::{PROGRESS_AGE_MAX, TRIES_MAX};
use cuelight::worker::Outcome;
use fake_github::{CallKind, Calls, Fault};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::stage::{FILE, PATIENCE, Stage, component};

const LISTING: Calls = Calls::Of(CallKind::List);

/// Longer than any back-off of a first few attempts.
const A_WHILE: Duration = Duration::from_secs(600);

/// Lets a page pass, and the ones after it run into a fault.
fn fail_after_a_page(stage: &Stage, times: u64, fault: Fault) {
    stage.world().fail_next(1, LISTING, Fault::Latency(Duration::ZERO));
    stage.world().fail_next(times, LISTING, fault);
}

fn pages(stage: &Stage) -> usize {
    stage.world().calls_of(CallKind::List)
}

/// Returns once so many pages were asked for.
async fn asked_for(stage: &Stage, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(Duration::from_millis(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while pages(stage) < count {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "{count} pages");
    }
}

async fn last_scan(stage: &Stage) -> Value {
    stage.get("/api/cuelight/v1/scans").await.1["items"][0].clone()
}

/// A stage with so many repositories of which the first page was scanned, and what failed then.
async fn half_way(count: usize) -> Stage {
    let stage = Stage::open().await;
    stage.create(count);
    fail_after_a_page(&stage, 1, Fault::Status(500));
    let outcomes = stage.scan().await;
    assert!(outcomes.contains(&Outcome::Retried), "{outcomes:?}");
    assert_eq!((pages(&stage), stage.components().await), (2, 100));
    assert!(last_scan(&stage).await["error"].as_str().is_some_and(|e| e.contains("500")));
    stage.world().reset_calls();
    stage
}

#[tokio::test]
async fn a_scan_that_failed_goes_on_from_its_page() {
    let stage = half_way(250).await;
    let started = last_scan(&stage).await["startedAt"].clone();
    stage.clock.advance(A_WHILE);
    stage.work().await;
    assert_eq!((pages(&stage), stage.components().await), (2, 250));
    let last = last_scan(&stage).await;
    assert_eq!((&last["error"], &last["listed"]), (&Value::Null, &json!(250)), "{last}");
    assert_eq!(last["startedAt"], started, "it is the same scan");
    stage.scan().await;
    assert_eq!(pages(&stage), 2 + 3, "the next one is whole");
}

#[tokio::test]
async fn a_scan_goes_on_after_a_restart() {
    let stage = half_way(250).await.restart().await;
    stage.scan().await;
    assert_eq!((pages(&stage), stage.components().await), (2, 250));
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
}

#[tokio::test]
async fn a_scan_goes_on_after_its_process_died() {
    let stage = Stage::open().await;
    stage.create(250);
    fail_after_a_page(&stage, 1, Fault::Hang);
    stage.app.push_scan(&stage.config.providers[0]).await.expect("the scan key is pushed");
    let worker = stage.app.worker.clone();
    let step = tokio::spawn(async move { worker.step().await });
    asked_for(&stage, 2).await;
    step.abort();
    assert!(step.await.expect_err("it was killed").is_cancelled());
    let stage = stage.restart().await;
    stage.world().reset_calls();
    stage.work().await;
    assert_eq!((pages(&stage), stage.components().await), (2, 250));
}

#[tokio::test]
async fn gone_is_only_what_no_page_showed_before_or_after_the_failure() {
    let stage = Stage::open().await;
    stage.create(250);
    stage.scan().await;
    assert_eq!(stage.components().await, 250);
    for name in ["svc-3", "svc-120", "svc-249"] {
        stage.world().delete_repository(&format!("acme/{name}"));
    }
    fail_after_a_page(&stage, 1, Fault::Status(500));
    stage.scan().await;
    assert_eq!(stage.components().await, 250, "half a listing is no evidence");
    // Listed by the page before, and gone since: the next scan finds it.
    stage.world().delete_repository("acme/svc-4");
    let stage = stage.restart().await;
    stage.scan().await;
    assert_eq!(stage.components().await, 247);
    assert!(stage.has("svc-4").await && !stage.has("svc-3").await);
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
    stage.scan().await;
    assert_eq!(stage.components().await, 246);
}

#[tokio::test]
async fn another_configuration_starts_afresh() {
    let stage = half_way(150).await;
    let stage = stage
        .restart_with(|config| config.providers[0].catalog_paths.push("other.yaml".to_owned()))
        .await;
    stage.scan().await;
    assert_eq!((pages(&stage), stage.components().await), (2, 150));
}

#[tokio::test]
async fn a_scan_of_long_ago_starts_afresh() {
    let stage = half_way(150).await;
    stage.clock.advance(PROGRESS_AGE_MAX + Duration::from_secs(1));
    stage.work().await;
    assert_eq!((pages(&stage), stage.components().await), (2, 150));
}

#[tokio::test]
async fn a_scan_that_a_person_asks_for_starts_afresh() {
    let stage = half_way(150).await;
    stage.clock.advance(Duration::from_millis(1));
    let (status, asked) = stage.post("/api/cuelight/v1/scans", json!({})).await;
    assert_eq!((status, asked["total"].as_u64()), (202, Some(1)), "{asked}");
    stage.work().await;
    assert_eq!((pages(&stage), stage.components().await), (2, 150));
    assert_eq!(last_scan(&stage).await["startedAt"], asked["items"][0]["requestedAt"]);
}

#[tokio::test]
async fn a_place_that_always_fails_is_given_up() {
    let stage = half_way(250).await;
    stage.world().fail_next(u64::from(TRIES_MAX) - 1, LISTING, Fault::Status(500));
    for _ in 1..TRIES_MAX {
        stage.clock.advance(A_WHILE);
        stage.work().await;
    }
    stage.world().reset_calls();
    stage.clock.advance(A_WHILE);
    stage.work().await;
    assert_eq!((pages(&stage), stage.components().await), (3, 250));
}

#[tokio::test]
async fn an_outage_gives_up_no_place() {
    let stage = half_way(250).await;
    stage.world().fail_next(24, Calls::Graphql, Fault::Status(500));
    for _ in 0..12 {
        stage.clock.advance(A_WHILE);
        stage.work().await;
    }
    stage.world().reset_calls();
    stage.clock.advance(A_WHILE);
    stage.work().await;
    assert_eq!((pages(&stage), stage.components().await), (2, 250));
}

#[tokio::test]
async fn pages_that_are_too_much_are_asked_for_in_parts() {
    let stage = Stage::open().await;
    stage.create(120);
    stage.world().fail_always(LISTING, Fault::TooHeavy { nodes: 30 });
    let outcomes = stage.scan().await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done), "{outcomes:?}");
    assert_eq!(stage.components().await, 120);
    // 100, 50, three of 25, 50 again, and two of 25.
    assert_eq!(pages(&stage), 2 + 3 + 1 + 2);
}

#[tokio::test]
async fn a_cut_or_oversized_page_is_asked_for_in_parts() {
    for fault in [Fault::ResourceLimits { keep: 10 }, Fault::HugeBody(33 << 20), Fault::Html(504)] {
        let stage = Stage::open().await;
        stage.create(60);
        stage.world().fail_next(1, LISTING, fault.clone());
        let outcomes = stage.scan().await;
        assert!(!outcomes.contains(&Outcome::Retried), "{fault:?}: {outcomes:?}");
        assert_eq!((pages(&stage), stage.components().await), (3, 60), "{fault:?}");
    }
}

#[tokio::test]
async fn a_listing_that_fails_by_the_smallest_page_is_tried_again_later() {
    let stage = Stage::open().await;
    stage.create(20);
    stage.world().fail_always(LISTING, Fault::TooHeavy { nodes: 1 });
    assert_eq!(stage.scan().await, [Outcome::Retried]);
    assert_eq!(pages(&stage), 5, "100, 50, 25, 12, 6");
    stage.world().heal();
    stage.clock.advance(A_WHILE);
    stage.work().await;
    assert_eq!(stage.components().await, 20);
}

#[tokio::test]
async fn a_scan_that_takes_too_long_is_given_up_and_goes_on_later() {
    let stage = Stage::with(
        |config| config.providers[0].schedule.timeout = Duration::from_secs(20),
        process_file,
    )
    .await;
    stage.create(150);
    fail_after_a_page(&stage, 1, Fault::Hang);
    stage.app.push_scan(&stage.config.providers[0]).await.expect("the scan key is pushed");
    let worker = stage.app.worker.clone();
    let step = tokio::spawn(async move { worker.step().await });
    stage.clock.wait_for_sleep(Duration::from_secs(20)).await;
    asked_for(&stage, 2).await;
    stage.clock.advance(Duration::from_secs(20));
    step.await.expect("it ends").expect("the storage works");
    let error = last_scan(&stage).await["error"].clone();
    let given_up = "given up after 20 s (schedule.timeout)";
    assert_eq!(error, given_up);
    let check = stage.check("scan:github.com/acme").await;
    assert_eq!(check["state"], "degraded", "{check}");
    stage.world().reset_calls();
    stage.clock.advance(A_WHILE);
    stage.work().await;
    assert_eq!((pages(&stage), stage.components().await), (1, 150));
}

#[tokio::test]
async fn a_scan_of_an_unchanged_account_writes_only_notes() {
    let stage = Stage::with_twenty().await;
    let store = &stage.app.worker.store;
    let before = (store.last_seq().await.unwrap(), store.notes(String::new()).await.unwrap());
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.scan().await, [Outcome::Done], "the scan's own key");
    let after = (store.last_seq().await.unwrap(), store.notes(String::new()).await.unwrap());
    assert_eq!(after.0, before.0);
    assert_ne!(after.1, before.1);
    let names = |notes: Vec<(String, String)>| -> Vec<String> {
        notes.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(after.1).len(), 1, "the result, and no progress of a whole scan");
    assert_eq!(last_scan(&stage).await["pushed"], 0);
    assert_eq!(stage.get("/api/cuelight/v1/queue").await.1["total"], 0);
}

#[tokio::test]
async fn keys_are_pushed_of_what_changed_came_and_went_only() {
    let stage = Stage::with_twenty().await;
    let world = stage.world();
    world.put_file("acme/svc-1", FILE, component("svc-1", "website"));
    world.put_file("acme/svc-2", "README.md", "no catalog file");
    world.delete_repository("acme/svc-3");
    let new = fake_github::NewRepository::named("new").file(FILE, component("new", "service"));
    world.create_repository("acme", new);
    let none = fake_github::NewRepository::named("none").file("README.md", "no catalog file");
    world.create_repository("acme", none);
    stage.scan().await;
    assert_eq!(last_scan(&stage).await["pushed"], 3);
}
