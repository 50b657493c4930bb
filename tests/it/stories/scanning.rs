//! The scan finds what no webhook told, and takes nothing away on doubtful evidence.

use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::config::{Config, Frequency};
use fake_github::{Calls, Fault, NewRepository};

use crate::support::stage::{FILE, PATIENCE, Stage, TOKEN, component};

#[tokio::test]
async fn a_first_scan_finds_everything_and_a_second_one_costs_only_the_listing() {
    let stage = Stage::open().await;
    stage.create(230);
    for i in 0..40 {
        let new = NewRepository::named(&format!("empty-{i}")).file("README.md", "nothing");
        stage.world().create_repository("acme", new);
    }
    stage.scan().await;
    assert_eq!(stage.components().await, 230);
    // One for the login, three pages, and the 230 in batches of 50.
    assert!(stage.world().calls().len() <= 1 + 3 + 6, "{}", stage.world().calls().len());
    stage.world().reset_calls();
    stage.scan().await;
    assert_eq!(stage.world().calls().len(), 1 + 3);
}

#[tokio::test]
async fn a_scan_finds_what_no_webhook_told() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let shop = stage.repository("shop", &component("shop", "service")).await;
    let gone = stage.repository("gone", &component("gone", "service")).await;
    world.put_file(&pay, FILE, component("pay", "website"));
    world.rename(&shop, "store");
    world.delete_repository(&gone);
    let new = NewRepository::named("new").file(FILE, component("new", "service"));
    world.create_repository("acme", new);
    stage.scan().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    let shop = stage.entity("component", "shop").await.expect("still there");
    let slug = &shop["metadata"]["annotations"]["github.com/project-slug"];
    assert_eq!(slug, "acme/store");
    assert!(stage.has("new").await);
    assert!(!stage.has("gone").await);
}

#[tokio::test]
async fn an_empty_listing_removes_nothing() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.world().hide_repository(TOKEN, &pay);
    stage.scan().await;
    assert!(stage.has("pay").await);
    let check = stage.check("scan:github.com/acme").await;
    assert_eq!(check["state"], "degraded");
    assert!(check["detail"].as_str().expect("a text").contains("acme/pay"), "{check}");
}

#[tokio::test]
async fn more_lost_repositories_than_the_brake_lets_go_stay_as_a_whole() {
    let stage = Stage::open().await;
    stage.create(20);
    stage.scan().await;
    for i in 0..6 {
        stage.world().hide_repository(TOKEN, &format!("acme/svc-{i}"));
    }
    stage.scan().await;
    assert_eq!(stage.components().await, 20);
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "degraded");
    for i in 0..6 {
        stage.world().show_repository(TOKEN, &format!("acme/svc-{i}"));
    }
    stage.scan().await;
    assert_eq!(stage.components().await, 20);
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
}

#[tokio::test]
async fn the_brake_counts_over_an_hour_however_the_removals_come() {
    let stage = Stage::open().await;
    stage.create(20);
    stage.scan().await;
    for i in 0..5 {
        stage.world().hide_repository(TOKEN, &format!("acme/svc-{i}"));
    }
    stage.scan().await;
    assert_eq!(stage.components().await, 15, "five may go");
    stage.world().hide_repository(TOKEN, "acme/svc-5");
    stage.scan().await;
    assert_eq!(stage.components().await, 15, "the sixth within the hour is held");
    let check = stage.check("removals").await;
    assert!(check["detail"].as_str().expect("a text").contains("acme/svc-5"), "{check}");
    stage.clock.advance(Duration::from_secs(3601));
    stage.scan().await;
    assert_eq!(stage.components().await, 15, "held waits for approval, not for time");
    stage.world().show_repository(TOKEN, "acme/svc-5");
    stage.cue(&stage.world().put_file("acme/svc-5", FILE, component("svc-5", "website"))).await;
    stage.work().await;
    assert_eq!(stage.check("removals").await["state"], "ok");
}

#[tokio::test]
async fn a_filter_that_hits_more_than_the_brake_allows_removes_nothing() {
    let stage = Stage::open().await;
    stage.create(20);
    stage.scan().await;
    let typo = |config: &mut Config| {
        config.providers[0].filters.topics_include = vec!["catalgo".to_owned()];
    };
    let stage = stage.restart_with(typo).await;
    stage.scan().await;
    assert_eq!(stage.components().await, 20);
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "degraded");
}

#[tokio::test]
async fn a_scan_that_fails_half_way_removes_nothing_and_is_tried_again() {
    let stage = Stage::open().await;
    stage.create(120);
    stage.scan().await;
    stage.world().delete_repository("acme/svc-119");
    let owner = Calls::Of(fake_github::CallKind::List);
    stage.world().fail_next(1, owner, Fault::Status(500));
    stage.scan().await;
    assert_eq!(stage.components().await, 120);
    stage.clock.advance(Duration::from_secs(10));
    stage.work().await;
    assert_eq!(stage.components().await, 119);
}

#[tokio::test]
async fn a_scan_runs_at_the_start_and_again_after_its_frequency() {
    let every = |config: &mut Config| {
        config.workers = 1;
        config.providers[0].schedule.frequency = Frequency::Every(Duration::from_secs(1200));
        config.providers[0].schedule.initial_delay = Duration::from_secs(5);
    };
    let stage = Stage::with(every, process_file).await;
    stage.create(1);
    let mut view = stage.app.view.clone();
    stage.clock.wait_for_sleep(Duration::from_secs(5)).await;
    stage.clock.advance(Duration::from_secs(5));
    let first = view.wait_for(|view| view.entity("component:default/svc-0").is_some());
    tokio::time::timeout(PATIENCE, first).await.expect("in time").expect("the view is fed");
    let new = NewRepository::named("late").file(FILE, component("late", "service"));
    stage.world().create_repository("acme", new);
    stage.clock.wait_for_sleep(Duration::from_secs(1200)).await;
    stage.clock.advance(Duration::from_secs(1200));
    let second = view.wait_for(|view| view.entity("component:default/late").is_some());
    tokio::time::timeout(PATIENCE, second).await.expect("in time").expect("the view is fed");
}
