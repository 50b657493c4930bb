//! When scans run: after the last one, whoever ran it, and once for all providers of an account.

use std::sync::Arc;
use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::clock::Clock;
use cuelight::config::{Config, Frequency};
use cuelight::ids::{Account, Host, OwnerId};
use cuelight::scan::{LOOK_AGAIN, ScanBoard, ScanResult};
use fake_github::CallKind;
use serde_json::Value;

use crate::support::stage::{PATIENCE, Stage};

const HOURLY: Duration = Duration::from_secs(3_600);
const HALF_HOURLY: Duration = Duration::from_secs(1_800);
/// No other sleep is as long.
const DELAY: Duration = Duration::from_secs(7);

fn hourly(config: &mut Config) {
    config.providers[0].schedule.frequency = Frequency::Every(HOURLY);
    config.providers[0].schedule.initial_delay = DELAY;
}

/// The second provider of the same organisation is scanned more often, and later at the start.
fn two_providers(config: &mut Config) {
    hourly(config);
    let mut second = config.providers[0].clone();
    (second.id, second.organization) = ("second".to_owned(), "Acme".to_owned());
    second.catalog_paths = vec!["other.yaml".to_owned()];
    second.schedule.frequency = Frequency::Every(HALF_HOURLY);
    second.schedule.initial_delay = 2 * DELAY;
    config.providers.push(second);
}

async fn sleeps(stage: &Stage, span: Duration) {
    tokio::time::timeout(PATIENCE, stage.clock.wait_for_sleep(span)).await.expect("in time");
}

fn pages(stage: &Stage) -> usize {
    stage.world().calls_of(CallKind::List)
}

async fn waiting(stage: &Stage) -> u64 {
    let (_, queue) = stage.get("/api/cuelight/v1/queue?state=waiting").await;
    queue["total"].as_u64().expect("a number")
}

fn acme(stage: &Stage) -> Account {
    Account { host: Host::github_com(), owner: OwnerId(stage.world().owner("acme").id) }
}

/// The board of another replica on the same storage.
fn elsewhere(stage: &Stage) -> ScanBoard {
    ScanBoard::new(stage.app.worker.store.clone(), Arc::clone(&stage.clock) as _)
}

/// What another replica tells.
async fn scanned_elsewhere(stage: &Stage) {
    let now = stage.clock.now();
    let result = ScanResult {
        label: "github.com/acme".to_owned(),
        started_at: now,
        ended_at: now,
        listed: 0,
        pushed: 0,
        held: Vec::new(),
        error: None,
    };
    elsewhere(stage).post(&acme(stage), result).await.expect("the storage works");
}

#[tokio::test]
async fn several_providers_of_an_organisation_cause_one_scan_when_the_first_of_them_is_due() {
    let with_worker = |config: &mut Config| {
        two_providers(config);
        config.workers = 1;
    };
    let stage = Stage::with(with_worker, process_file).await;
    stage.create(1);
    sleeps(&stage, DELAY).await;
    stage.clock.advance(DELAY);
    for scans in 1..=3 {
        sleeps(&stage, HALF_HOURLY).await;
        assert_eq!(pages(&stage), scans);
        for id in ["default", "second"] {
            assert_eq!(stage.check(&format!("schedule:{id}")).await["state"], "ok");
        }
        stage.clock.advance(HALF_HOURLY);
    }
}

#[tokio::test]
async fn a_person_causes_one_scan_of_several_providers_of_an_organisation() {
    let stage = Stage::with(two_providers, process_file).await;
    stage.create(1);
    let (status, asked) = stage.post("/api/cuelight/v1/scans", serde_json::json!({})).await;
    assert_eq!((status, asked["total"].as_u64()), (202, Some(1)), "{asked}");
    stage.work().await;
    assert_eq!((pages(&stage), stage.components().await), (1, 1));
}

#[tokio::test]
async fn what_a_scan_came_to_and_when_the_next_is_due_outlive_a_restart() {
    let stage = Stage::with(hourly, process_file).await;
    stage.create(3);
    stage.scan().await;
    let before = stage.get("/api/cuelight/v1/scans").await.1;
    assert_eq!((&before["total"], &before["items"][0]["listed"]), (&1.into(), &3.into()));
    let stage = stage.restart().await;
    let after = stage.get("/api/cuelight/v1/scans").await.1;
    assert!(after["items"][0]["next"].is_string(), "{after}");
    assert_eq!(after, before);
}

#[tokio::test]
async fn what_a_scan_left_alone_outlives_a_restart_and_can_be_approved() {
    let stage = Stage::with_twenty().await;
    for i in 0..8 {
        stage.world().delete_repository(&format!("acme/svc-{i}"));
    }
    stage.scan().await;
    let held = |list: &Value| list["items"].as_array().map(Vec::len);
    let stage = stage.restart().await;
    let list = stage.get("/api/cuelight/v1/approvals").await.1;
    assert_eq!(held(&list), Some(8), "{list}");
    let told = stage.check("removals").await;
    assert_eq!(told["state"], "degraded", "no scan has run since: {told}");
    let detail = told["detail"].as_str().expect("a text");
    assert!(detail.contains("--approve-removals github.com/acme`"), "{told}");
    let body = serde_json::json!({ "account": "github.com/acme" });
    assert_eq!(stage.post("/api/cuelight/v1/approvals", body).await.0, 200);
    assert_eq!(held(&stage.get("/api/cuelight/v1/approvals").await.1), Some(0));
    stage.work().await;
    assert_eq!(stage.components().await, 12);
}

#[tokio::test]
async fn a_scan_that_another_replica_ran_at_the_start_is_not_doubled() {
    let stage = Stage::with(hourly, process_file).await;
    sleeps(&stage, DELAY).await;
    scanned_elsewhere(&stage).await;
    stage.clock.advance(DELAY);
    sleeps(&stage, HOURLY - DELAY).await;
    assert_eq!(waiting(&stage).await, 0);
}

#[tokio::test]
async fn a_scan_of_before_the_start_does_not_replace_the_one_at_the_start() {
    let stage = Stage::open().await;
    scanned_elsewhere(&stage).await;
    stage.clock.advance(Duration::from_secs(1));
    let stage = stage.restart_with(hourly).await;
    sleeps(&stage, DELAY).await;
    stage.clock.advance(DELAY);
    sleeps(&stage, LOOK_AGAIN).await;
    assert_eq!(waiting(&stage).await, 1);
}

#[tokio::test]
async fn a_scan_that_another_replica_ends_is_noticed_and_puts_the_next_one_off() {
    let stage = Stage::with(hourly, process_file).await;
    sleeps(&stage, DELAY).await;
    stage.clock.advance(DELAY);
    sleeps(&stage, LOOK_AGAIN).await;
    scanned_elsewhere(&stage).await;
    stage.clock.advance(LOOK_AGAIN);
    sleeps(&stage, HOURLY - LOOK_AGAIN).await;
    assert_eq!(stage.check("schedule:default").await["state"], "ok");
    stage.work().await;
    // Half way through the wait a person scans elsewhere.
    stage.clock.advance(HALF_HOURLY);
    scanned_elsewhere(&stage).await;
    stage.clock.advance(HALF_HOURLY - LOOK_AGAIN);
    sleeps(&stage, HALF_HOURLY + LOOK_AGAIN).await;
    assert_eq!(waiting(&stage).await, 0);
}

#[tokio::test]
async fn a_scan_that_another_replica_has_just_asked_for_is_waited_for() {
    let stage = Stage::with(hourly, process_file).await;
    sleeps(&stage, DELAY).await;
    stage.clock.advance(DELAY - Duration::from_millis(1));
    elsewhere(&stage).pushed(&acme(&stage)).await.expect("the storage works");
    stage.clock.advance(Duration::from_millis(1));
    sleeps(&stage, LOOK_AGAIN).await;
    assert_eq!(waiting(&stage).await, 0);
    scanned_elsewhere(&stage).await;
    stage.clock.advance(LOOK_AGAIN);
    sleeps(&stage, HOURLY - LOOK_AGAIN).await;
    assert_eq!(stage.check("schedule:default").await["state"], "ok");
    assert_eq!(waiting(&stage).await, 0);
}
