//! GitHub shows late what its webhooks told, and refuses at any of the calls that a run makes.

use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::config::{Config, Provider};
use cuelight::worker::Outcome;
use fake_github::{CallKind, Calls, Event, Fault, NewRepository, Push};

use crate::support::stage::{FILE, Stage, TOKEN, component};

/// Works with pauses that are longer than any delay, until a round brings nothing.
async fn settle(stage: &Stage) -> Vec<Outcome> {
    let mut outcomes = stage.work().await;
    for _ in 0..10 {
        stage.clock.advance(Duration::from_secs(61));
        outcomes.extend(stage.work().await);
    }
    outcomes
}

#[tokio::test]
async fn a_read_older_than_the_one_before_takes_nothing_back() {
    for pushes in [1, 2] {
        let stage = Stage::open().await;
        let world = stage.world();
        let pay = stage.repository("pay", &component("pay", "service")).await;
        for _ in 1..pushes {
            stage.cue(&world.put_file(&pay, FILE, component("pay", "website"))).await;
            stage.work().await;
        }
        let before = stage.type_of("pay").await;
        world.fail_next(2, Calls::Graphql, Fault::Stale { pushes: 1 });
        stage.cue(&world.rename(&pay, "payments")).await;
        assert_eq!(stage.work().await, [Outcome::Delayed]);
        assert_eq!(stage.type_of("pay").await, before);
        stage.clock.advance(Duration::from_secs(1));
        assert_eq!(stage.work().await, [Outcome::Delayed]);
        stage.clock.advance(Duration::from_secs(3));
        assert_eq!(stage.work().await, [Outcome::Done]);
        assert_eq!(stage.type_of("pay").await, before);
        let (_, list) = stage.get("/api/cuelight/v1/repositories").await;
        assert_eq!(list["items"][0]["fullName"], "acme/payments", "{list}");
    }
}

#[tokio::test]
async fn a_first_push_that_is_not_shown_yet_is_looked_for_again() {
    let stage = Stage::open().await;
    let world = stage.world();
    stage.cue(&world.create_repository("acme", NewRepository::named("pay"))).await;
    settle(&stage).await;
    world.fail_next(2, Calls::Graphql, Fault::Stale { pushes: 1 });
    let text = component("pay", "service");
    stage.cue(&world.push("acme/pay", Push::to("main").put(FILE, text))).await;
    settle(&stage).await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn a_repository_that_lost_pushes_for_good_is_believed_in_the_end() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&world.put_file(&pay, FILE, component("pay", "website"))).await;
    stage.work().await;
    world.fail_always(Calls::Graphql, Fault::Stale { pushes: 1 });
    stage.cue(&world.set_topics(&pay, &["restored"])).await;
    let delayed = [Outcome::Delayed; 3].into_iter();
    assert_eq!(settle(&stage).await, delayed.chain([Outcome::Done]).collect::<Vec<_>>());
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
}

#[tokio::test]
async fn a_repository_that_is_not_shown_yet_is_looked_for_a_few_times() {
    let stage = Stage::open().await;
    let world = stage.world();
    let new = NewRepository::named("pay").file(FILE, component("pay", "service"));
    let events = world.create_repository("acme", new);
    world.hide_repository(TOKEN, "acme/pay");
    stage.cue(&events).await;
    assert_eq!(stage.work().await, [Outcome::Delayed]);
    world.show_repository(TOKEN, "acme/pay");
    stage.clock.advance(Duration::from_secs(1));
    stage.work().await;
    assert!(stage.has("pay").await);
    let new = NewRepository::named("never").file(FILE, component("never", "service"));
    let events = world.create_repository("acme", new);
    world.hide_repository(TOKEN, "acme/never");
    stage.cue(&events).await;
    let delayed = [Outcome::Delayed; 3].into_iter();
    assert_eq!(settle(&stage).await, delayed.chain([Outcome::Done]).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_deletion_that_github_shows_late_is_waited_for_a_few_times() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let mut payload = world.set_topics(&pay, &["money"])[0].payload.clone();
    payload["action"] = "deleted".into();
    let deleted = Event { name: "repository".to_owned(), payload };
    stage.cue(std::slice::from_ref(&deleted)).await;
    let delayed = [Outcome::Delayed; 3].into_iter();
    assert_eq!(settle(&stage).await, delayed.chain([Outcome::Done]).collect::<Vec<_>>());
    assert!(stage.has("pay").await);
    stage.cue(&[deleted]).await;
    assert_eq!(stage.work().await, [Outcome::Delayed]);
    world.delete_repository(&pay);
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert!(!stage.has("pay").await);
}

#[tokio::test]
async fn pushes_to_and_fro_end_in_the_last_state_and_do_not_loop() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    world.freeze_time();
    let before = world.head(&pay, "main");
    let mut events = world.put_file(&pay, FILE, component("pay", "website"));
    events.extend(world.force_push(&pay, "main", &before));
    stage.cue(&events).await;
    let outcomes = settle(&stage).await;
    assert!(outcomes.len() <= 4, "{outcomes:?}");
    assert_eq!(outcomes.last(), Some(&Outcome::Done));
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
}

#[tokio::test]
async fn a_limit_at_any_call_costs_no_attempt_and_loses_nothing() {
    let kinds = [CallKind::OtherGraphql, CallKind::List, CallKind::Nodes, CallKind::Repository];
    for kind in kinds {
        let stage = Stage::open().await;
        let world = stage.world();
        stage.repository("keep", &component("keep", "service")).await;
        let pay = stage.repository("pay", &component("pay", "service")).await;
        stage.app.push_scan(&stage.config.providers[0]).await.expect("the key is pushed");
        let stage = stage.restart().await;
        world.delete_repository(&pay);
        let limit = Fault::Limited { status: 403, retry_after: Some(90), reset: None };
        world.fail_next(1, Calls::Of(kind), limit);
        let outcomes = stage.work().await;
        assert_eq!(outcomes.last(), Some(&Outcome::Gated), "{kind:?}");
        let (_, list) = stage.get("/api/cuelight/v1/queue?state=waiting").await;
        assert_eq!(list["items"][0]["attempts"], 0, "{kind:?}: {list}");
        stage.clock.advance(Duration::from_secs(91));
        stage.work().await;
        assert!(!stage.has("pay").await && stage.has("keep").await, "{kind:?}");
    }
}

#[tokio::test]
async fn trouble_at_any_call_removes_nothing_and_is_tried_again() {
    let kinds = [CallKind::OtherGraphql, CallKind::List, CallKind::Nodes, CallKind::Repository];
    for kind in kinds {
        for fault in [Fault::Status(502), Fault::CutBody, Fault::Html(200), Fault::Reset] {
            let stage = Stage::open().await;
            let world = stage.world();
            stage.repository("keep", &component("keep", "service")).await;
            let pay = stage.repository("pay", &component("pay", "service")).await;
            stage.app.push_scan(&stage.config.providers[0]).await.expect("the key is pushed");
            let stage = stage.restart().await;
            world.delete_repository(&pay);
            world.fail_next(2, Calls::Of(kind), fault.clone());
            stage.work().await;
            assert!(stage.has("keep").await, "{kind:?} {fault:?}");
            settle(&stage).await;
            assert!(!stage.has("pay").await && stage.has("keep").await, "{kind:?} {fault:?}");
            let (_, dead) = stage.get("/api/cuelight/v1/queue?state=dead").await;
            assert_eq!(dead["total"], 0, "{kind:?} {fault:?}: {dead}");
        }
    }
}

#[tokio::test]
async fn two_providers_of_one_organisation_read_their_own_branch_and_path() {
    let both = |config: &mut Config| {
        let first = config.providers[0].clone();
        let mut other = Provider { id: "other".to_owned(), ..first };
        other.catalog_paths = vec!["docs/entity.yaml".to_owned()];
        other.filters.branch = Some("release".to_owned());
        config.providers.push(other);
    };
    let stage = Stage::with(both, process_file).await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let text = component("pay-docs", "docs");
    let push = Push::to("release").put("docs/entity.yaml", text.clone()).put(FILE, "no: thing");
    stage.cue(&world.push(&pay, push)).await;
    stage.work().await;
    assert!(stage.has("pay").await && stage.has("pay-docs").await);
    assert!(stage.problems().await.is_empty());
    stage.cue(&world.delete_branch(&pay, "release")).await;
    settle(&stage).await;
    assert!(stage.has("pay").await && !stage.has("pay-docs").await);
    world.push(&pay, Push::to("release").put("docs/entity.yaml", text));
    stage.scan().await;
    assert!(stage.has("pay-docs").await, "the scan looks at both");
    world.reset_calls();
    stage.scan().await;
    assert_eq!(world.calls().len(), 2, "and finds nothing new then");
    let stage = stage.restart_with(|config| config.providers.truncate(1)).await;
    stage.scan().await;
    assert!(stage.has("pay").await && !stage.has("pay-docs").await);
}

#[tokio::test]
async fn a_change_that_is_not_shown_yet_is_looked_for_once_more() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let told = world.archive(&pay);
    world.unarchive(&pay);
    stage.cue(&told).await;
    assert_eq!(stage.work().await, [Outcome::Delayed], "it looks as before");
    world.archive(&pay);
    stage.clock.advance(Duration::from_secs(3));
    assert_eq!(stage.work().await, [Outcome::Done]);
    assert!(!stage.has("pay").await);
}
