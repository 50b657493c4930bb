//! GitHub, the network, the input and ourselves at their worst.

use std::time::Duration;

use cuelight::catalog::{FileInput, ProcessedFile, process_file};
use cuelight::worker::Outcome;
use fake_github::{CallKind, Calls, Fault};

use crate::support::stage::{FILE, Stage, TOKEN, component};

#[tokio::test]
async fn a_read_from_before_the_push_is_mended_without_another_event() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.world().fail_next(1, Calls::Graphql, Fault::Stale { pushes: 1 });
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    assert_eq!(stage.work().await, [Outcome::Delayed]);
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_rate_limit_costs_no_attempt_and_no_fresh_event_jumps_it() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let limit = Fault::Limited { status: 403, retry_after: Some(120), reset: None };
    stage.world().fail_next(1, Calls::All, limit);
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    assert_eq!(stage.work().await, [Outcome::Gated]);
    assert_eq!(stage.check("github:github.com/acme").await["state"], "degraded");
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "library"))).await;
    assert!(stage.work().await.is_empty(), "the gate is closed");
    assert_eq!(stage.world().calls().len(), 1, "nobody asked while the limit held");
    stage.clock.advance(Duration::from_secs(121));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("library"));
}

#[tokio::test]
async fn one_accounts_limit_does_not_hold_up_another() {
    let both = |config: &mut cuelight::config::Config| {
        let mut second = config.providers[0].clone();
        second.id = "second".to_owned();
        second.organization = "globex".to_owned();
        config.providers.push(second);
    };
    let stage = Stage::with(both, process_file).await;
    let world = stage.world();
    world.create_organization("globex");
    world.add_token(TOKEN, &["acme", "globex"]);
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let limit = Fault::Limited { status: 429, retry_after: Some(600), reset: None };
    world.fail_next(1, Calls::All, limit);
    stage.cue(&world.put_file(&pay, FILE, component("pay", "website"))).await;
    assert_eq!(stage.work().await, [Outcome::Gated]);
    let new = fake_github::NewRepository::named("hq").file(FILE, component("hq", "service"));
    stage.cue(&world.create_repository("globex", new)).await;
    stage.work().await;
    assert!(stage.has("hq").await);
}

#[tokio::test]
async fn a_revoked_token_removes_nothing_and_health_says_so() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.world().revoke_token(TOKEN);
    stage.cue(&stage.world().delete_file(&pay, FILE)).await;
    stage.work().await;
    assert!(stage.has("pay").await);
    let refused = stage.app.push_scan(&stage.config.providers[0]).await.expect_err("no token");
    assert!(!refused.contains(TOKEN), "{refused}");
    assert_eq!(stage.check("github:github.com/acme").await["state"], "degraded");
    stage.world().add_token(TOKEN, &["acme"]);
    stage.clock.advance(Duration::from_secs(61));
    stage.work().await;
    assert!(!stage.has("pay").await, "the key has waited");
}

#[tokio::test]
async fn partial_data_removes_nothing() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.world().fail_next(1, Calls::Graphql, Fault::ResourceLimits { keep: 0 });
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    assert_eq!(stage.work().await, [Outcome::Retried]);
    assert!(stage.has("pay").await);
    stage.clock.advance(Duration::from_secs(3));
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_key_that_keeps_failing_ends_dead_is_seen_and_a_new_push_revives_it() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.world().fail_always(Calls::Of(CallKind::Nodes), Fault::Status(500));
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    let mut outcomes = Vec::new();
    while outcomes.last() != Some(&Outcome::Dead) {
        outcomes.extend(stage.work().await);
        stage.clock.advance(Duration::from_secs(901));
        assert!(outcomes.len() <= 8, "{outcomes:?}");
    }
    assert_eq!(stage.check("queue").await["state"], "degraded");
    let (_, dead) = stage.get("/api/cuelight/v1/queue?state=dead").await;
    assert_eq!(dead["items"][0]["repository"], "acme/pay", "{dead}");
    stage.world().heal();
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "library"))).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("library"));
    assert_eq!(stage.check("queue").await["state"], "ok");
}

#[tokio::test]
async fn an_outage_of_hours_costs_no_attempt() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.world().fail_always(Calls::All, Fault::Status(502));
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    for _ in 0..20 {
        assert_eq!(stage.work().await, [Outcome::Gated]);
        let check = stage.check("github:github.com/acme").await;
        assert!(check["detail"].as_str().expect("a text").contains("away"), "{check}");
        assert!(stage.work().await.is_empty(), "it is not asked while it rests");
        stage.clock.advance(Duration::from_secs(600));
    }
    stage.world().heal();
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    assert_eq!(stage.check("github:github.com/acme").await["state"], "ok");
}

fn process_or_panic(input: &FileInput<'_>) -> ProcessedFile {
    assert!(!input.text.contains("panic!"), "the text said so");
    process_file(input)
}

#[tokio::test]
async fn a_panic_in_one_unit_is_caught_and_its_batch_goes_on() {
    let stage = Stage::with(|_| {}, process_or_panic).await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let shop = stage.repository("shop", &component("shop", "service")).await;
    let world = stage.world();
    stage.cue(&world.put_file(&pay, FILE, component("pay", "website") + "# panic!\n")).await;
    stage.cue(&world.put_file(&shop, FILE, component("shop", "website"))).await;
    assert_eq!(stage.work().await, [Outcome::Retried, Outcome::Done]);
    assert_eq!(stage.type_of("shop").await.as_deref(), Some("website"));
    stage.clock.advance(Duration::from_secs(10));
    assert_eq!(stage.work().await, [Outcome::Dead], "the same input panics again");
    assert!(stage.has("pay").await);
    stage.cue(&world.put_file(&pay, FILE, component("pay", "library"))).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("library"));
}

crate::support::on_redis::again_on_redis!(
    a_read_from_before_the_push_is_mended_without_another_event,
    a_rate_limit_costs_no_attempt_and_no_fresh_event_jumps_it,
    one_accounts_limit_does_not_hold_up_another,
    a_revoked_token_removes_nothing_and_health_says_so,
    partial_data_removes_nothing,
    a_key_that_keeps_failing_ends_dead_is_seen_and_a_new_push_revives_it,
    an_outage_of_hours_costs_no_attempt,
    a_panic_in_one_unit_is_caught_and_its_batch_goes_on,
);
