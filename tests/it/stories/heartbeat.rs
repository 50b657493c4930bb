//! The heartbeat: what no webhook told is seen within one, and a quiet organisation costs one call.

use std::sync::Arc;
use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::config::{Config, Frequency};
use cuelight::engine::queue::State;
use cuelight::heartbeat::Heartbeat;
use fake_github::{CallKind, Calls, Fault, NewRepository, Selection};

use crate::support::apps::APP;
use crate::support::stage::{FILE, PATIENCE, Stage, TOKEN, component};
use crate::support::tenants;

const MINUTE: Duration = Duration::from_secs(60);

const CHECK: &str = "heartbeat:github.com/acme";

/// A stage with so many scanned repositories, after its first heartbeat.
async fn scanned(count: usize) -> Stage {
    let stage = Stage::open().await;
    stage.world().set_now(tenants::OPENING_SECONDS);
    stage.create(count);
    stage.scan().await;
    beat(&stage).await;
    stage
}

/// A minute later: a heartbeat, and the work that comes of it. Forgets the calls before.
async fn beat(stage: &Stage) {
    tenants::advance(stage, MINUTE);
    stage.world().reset_calls();
    stage.app.heartbeat.beat(&stage.config.providers[0]).await;
    stage.work().await;
}

/// Calls since the last heartbeat: all, and those that listed everything.
fn calls(stage: &Stage) -> (usize, usize) {
    (stage.world().calls().len(), stage.world().calls_of(CallKind::List))
}

async fn last_seq(stage: &Stage) -> u64 {
    stage.app.worker.store.last_seq().await.expect("the storage works")
}

#[tokio::test]
async fn a_quiet_organisation_costs_one_call_and_one_point_and_writes_nothing() {
    let stage = scanned(230).await;
    let before = last_seq(&stage).await;
    for _ in 0..3 {
        beat(&stage).await;
        let world = stage.world();
        assert_eq!(
            (world.calls_of(CallKind::Latest), world.calls().len(), world.points()),
            (1, 1, 1)
        );
    }
    assert_eq!(last_seq(&stage).await, before);
    assert_eq!(stage.check(CHECK).await["state"], "ok");
}

#[tokio::test]
async fn an_hour_at_rest_costs_a_thousand_repositories_less_than_a_fiftieth_of_the_limit() {
    let stage = scanned(1_000).await;
    let mut points = 0;
    for minute in 1..=60 {
        beat(&stage).await;
        if minute % 20 == 0 {
            stage.scan().await;
        }
        points += stage.world().points();
    }
    // A point a heartbeat; of each scan one a page, and one for the login.
    assert_eq!(points, 60 + 3 * (10 + 1));
    assert!(points * 50 <= fake_github::POINTS_PER_HOUR);
}

#[tokio::test]
async fn pushes_renames_topics_and_creations_are_in_the_catalog_after_one_heartbeat() {
    let stage = scanned(100).await;
    let world = stage.world();
    world.put_file("acme/svc-7", FILE, component("svc-7", "website"));
    beat(&stage).await;
    assert_eq!(stage.type_of("svc-7").await.as_deref(), Some("website"));

    world.rename("acme/svc-8", "eight");
    beat(&stage).await;
    let renamed = stage.entity("component", "svc-8").await.expect("still there");
    assert_eq!(renamed["metadata"]["annotations"]["github.com/project-slug"], "acme/eight");

    world.set_topics("acme/svc-9", &["money"]);
    beat(&stage).await;
    let (_, told) = stage.get("/api/cuelight/v1/explain?repository=acme/svc-9").await;
    assert_eq!(told["record"]["reconciledFor"], serde_json::json!(["heartbeat"]), "{told}");

    let new = NewRepository::named("late").file(FILE, component("late", "service"));
    world.create_repository("acme", new);
    world.create_repository("acme", NewRepository::named("empty"));
    beat(&stage).await;
    assert!(stage.has("late").await);
    assert_eq!(calls(&stage), (2, 0), "asked, and read");
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0), "and it is quiet again");
}

#[tokio::test]
async fn deletions_and_what_filters_leave_out_go_by_one_heartbeat_and_its_scan() {
    let stage = scanned(30).await;
    let world = stage.world();
    world.delete_repository("acme/svc-3");
    beat(&stage).await;
    assert_eq!(calls(&stage).1, 1, "only the list can say which one");
    assert!(!stage.has("svc-3").await);
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0));

    world.archive("acme/svc-4");
    beat(&stage).await;
    assert!(!stage.has("svc-4").await);
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0));

    world.delete_repository("acme/svc-5");
    world.create_repository("acme", NewRepository::named("as-many-as-before"));
    beat(&stage).await;
    assert!(!stage.has("svc-5").await);
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0));
}

#[tokio::test]
async fn what_happened_between_a_scan_and_the_first_heartbeat_is_seen() {
    let stage = Stage::open().await;
    stage.world().set_now(tenants::OPENING_SECONDS);
    stage.create(3);
    stage.scan().await;
    stage.world().delete_repository("acme/svc-1");
    beat(&stage).await;
    assert!(!stage.has("svc-1").await);
    // One that only the next scan sees costs no further one.
    stage.world().delete_repository("acme/svc-2");
    tenants::advance(&stage, Duration::from_secs(1));
    stage.scan().await;
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0));
}

#[tokio::test]
async fn after_a_start_the_scan_that_is_under_way_is_waited_for_a_while() {
    let stage = scanned(10).await.restart().await;
    stage.world().delete_repository("acme/svc-1");
    let mut provider = stage.config.providers[0].clone();
    provider.schedule.frequency = Frequency::Every(Duration::from_secs(1200));
    let mut asked = Vec::new();
    for _ in 0..5 {
        tenants::advance(&stage, MINUTE);
        stage.world().delete_repository(&format!("acme/svc-{}", asked.len() + 2));
        stage.world().reset_calls();
        stage.app.heartbeat.beat(&provider).await;
        stage.work().await;
        asked.push(calls(&stage).1);
    }
    assert_eq!(asked, [0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn more_changes_than_a_page_shows_end_in_a_scan() {
    let stage = scanned(90).await;
    for i in 0..90 {
        let name = format!("svc-{i}");
        stage.world().put_file(&format!("acme/{name}"), FILE, component(&name, "website"));
    }
    beat(&stage).await;
    assert_eq!(stage.type_of("svc-0").await.as_deref(), Some("website"));
    assert_eq!(stage.type_of("svc-89").await.as_deref(), Some("website"));
    assert_eq!(calls(&stage).1, 1);
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0));
}

#[tokio::test]
async fn a_filter_typo_that_the_brake_holds_is_not_scanned_for_again_and_again() {
    let stage = scanned(20).await;
    let typo = |config: &mut Config| {
        config.providers[0].filters.topics_include = vec!["catalgo".to_owned()];
    };
    let stage = stage.restart_with(typo).await;
    beat(&stage).await;
    assert_eq!(calls(&stage).1, 1);
    for _ in 0..5 {
        beat(&stage).await;
        assert_eq!(calls(&stage), (1, 0));
    }
    assert_eq!(stage.components().await, 20);
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "degraded");
}

#[tokio::test]
async fn scans_for_a_heartbeats_sake_keep_a_distance_that_grows_with_the_account() {
    let stage = scanned(150).await;
    let mut scans = 0;
    for i in 0..12 {
        stage.world().delete_repository(&format!("acme/svc-{i}"));
        // Two pages are scanned every 24 seconds at most.
        tenants::advance(&stage, Duration::from_secs(6));
        stage.world().reset_calls();
        stage.app.heartbeat.beat(&stage.config.providers[0]).await;
        stage.work().await;
        scans += calls(&stage).1 / 2;
    }
    assert_eq!(scans, 3);
    for _ in 0..4 {
        beat(&stage).await;
    }
    assert!(!stage.has("svc-11").await, "what is owed is not forgotten");
}

#[tokio::test]
async fn a_laptop_without_webhooks_sees_changes_by_a_heartbeat_every_ten_seconds() {
    let trial = |config: &mut Config| {
        config.webhooks.secrets.clear();
        config.workers = 1;
        config.providers[0].schedule.frequency = Frequency::Every(Duration::from_secs(1200));
        config.providers[0].heartbeat = Frequency::Every(Duration::from_secs(10));
    };
    let stage = Stage::with(trial, process_file).await;
    let world = stage.world();
    until(&stage, |view| view.seq() == 0).await;
    for (name, text) in [("pay", "service"), ("shop", "service")] {
        let new = NewRepository::named(name).file(FILE, component(name, text));
        world.create_repository("acme", new);
    }
    until(&stage, |view| view.entity("component:default/shop").is_some()).await;
    world.put_file("acme/shop", FILE, component("store", "website"));
    until(&stage, |view| view.entity("component:default/store").is_some()).await;
    world.delete_repository("acme/pay");
    until(&stage, |view| view.entity("component:default/pay").is_none()).await;
}

/// Lets ten seconds after ten seconds go by until the catalog is so, for less than a scan's period.
async fn until(stage: &Stage, wanted: impl Fn(&cuelight::catalog::view::View) -> bool) {
    let mut view = stage.app.view.clone();
    let span = Duration::from_secs(10);
    for _ in 0..25 {
        tokio::select! {
            biased;
            shown = view.wait_for(|view| wanted(view)) => {
                shown.expect("the view is fed");
                return;
            }
            () = stage.clock.wait_for_sleep(span) => tenants::advance(stage, span),
        }
    }
    let shown = tokio::time::timeout(PATIENCE, view.wait_for(|view| wanted(view))).await;
    shown.expect("in time").expect("the view is fed");
}

#[tokio::test]
async fn a_github_that_fails_is_told_and_heals() {
    let stage = scanned(3).await;
    let world = stage.world();
    world.fail_always(Calls::Of(CallKind::Latest), Fault::Status(500));
    world.put_file("acme/svc-1", FILE, component("svc-1", "website"));
    beat(&stage).await;
    let told = stage.check(CHECK).await;
    assert_eq!(told["state"], "degraded");
    assert!(told["detail"].as_str().is_some_and(|text| text.contains("500")), "{told}");
    assert_eq!(stage.type_of("svc-1").await.as_deref(), Some("service"));
    world.heal();
    beat(&stage).await;
    assert_eq!(stage.check(CHECK).await["state"], "ok");
    assert_eq!(stage.type_of("svc-1").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_token_that_is_refused_before_the_account_is_known_is_not_tried_again_at_once() {
    let stage = Stage::open().await;
    stage.world().revoke_token(TOKEN);
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0));
    let told = stage.check(CHECK).await;
    assert!(told["detail"].as_str().is_some_and(|text| text.contains("401")), "{told}");
    stage.world().reset_calls();
    tenants::advance(&stage, Duration::from_secs(10));
    stage.app.heartbeat.beat(&stage.config.providers[0]).await;
    assert_eq!(calls(&stage), (0, 0));
    stage.world().add_token(TOKEN, &["acme"]);
    beat(&stage).await;
    assert_eq!(stage.check(CHECK).await["state"], "ok");
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let stage = scanned(30).await;
    let partly = Fault::ResourceLimits { keep: 5 };
    stage.world().fail_next(1, Calls::Of(CallKind::Latest), partly);
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0));
    assert_eq!(stage.check(CHECK).await["state"], "degraded");
    assert_eq!(stage.components().await, 30);
}

#[tokio::test]
async fn pages_that_are_too_heavy_shrink_until_they_are_not() {
    let stage = scanned(80).await;
    stage.world().fail_always(Calls::Of(CallKind::Latest), Fault::TooHeavy { nodes: 40 });
    beat(&stage).await;
    assert_eq!(stage.check(CHECK).await["state"], "degraded");
    beat(&stage).await;
    assert_eq!(stage.check(CHECK).await["state"], "ok");
}

#[tokio::test]
async fn a_limit_closes_the_gate_and_a_closed_gate_is_respected() {
    let stage = scanned(3).await;
    let world = stage.world();
    let limit = Fault::Limited { status: 403, retry_after: Some(150), reset: None };
    world.fail_next(1, Calls::Of(CallKind::Latest), limit);
    world.put_file("acme/svc-1", FILE, component("svc-1", "website"));
    beat(&stage).await;
    assert_eq!(stage.check(CHECK).await["state"], "degraded");
    for _ in 0..2 {
        beat(&stage).await;
        assert_eq!(calls(&stage), (0, 0));
    }
    stage.cue(&world.put_file("acme/svc-2", FILE, component("svc-2", "website"))).await;
    assert!(stage.work().await.is_empty(), "the gate is the account's, not the heartbeat's");
    beat(&stage).await;
    assert_eq!(stage.check(CHECK).await["state"], "ok");
    assert_eq!(stage.type_of("svc-1").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn what_is_kept_of_the_points_for_events_is_not_spent_on_heartbeats() {
    let stage = scanned(3).await;
    let world = stage.world();
    world.limit_points(TOKEN, 100);
    world.spend_points(TOKEN, 80);
    beat(&stage).await;
    assert_eq!(calls(&stage), (1, 0), "it learns that 19 are left");
    beat(&stage).await;
    assert_eq!(calls(&stage), (0, 0));
    stage.cue(&world.put_file("acme/svc-1", FILE, component("svc-1", "website"))).await;
    stage.work().await;
    assert_eq!(stage.type_of("svc-1").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn one_that_goes_on_differing_is_pushed_less_and_less_often() {
    let stage = scanned(3).await;
    stage.world().put_file("acme/svc-1", FILE, component("svc-1", "website"));
    stage.world().fail_always(Calls::Of(CallKind::Nodes), Fault::Status(502));
    let mut read = Vec::new();
    for _ in 0..8 {
        beat(&stage).await;
        read.push(stage.world().calls_of(CallKind::Nodes) > 0);
        while dead(&stage).await == 0 {
            tenants::advance(&stage, Duration::from_secs(900));
            stage.work().await;
        }
    }
    assert_eq!(read, [true, true, false, true, false, false, false, true]);
    stage.world().heal();
    stage.world().put_file("acme/svc-1", FILE, component("svc-1", "library"));
    beat(&stage).await;
    assert_eq!(stage.type_of("svc-1").await.as_deref(), Some("library"), "it differs anew");
}

async fn dead(stage: &Stage) -> u64 {
    stage.app.inspect.list(State::Dead, 1).await.expect("the storage works").1
}

#[tokio::test]
async fn replicas_and_providers_of_one_account_share_its_heartbeat() {
    let every = |config: &mut Config| {
        config.providers[0].heartbeat = Frequency::Every(MINUTE);
        let second = cuelight::config::Provider {
            id: "second".to_owned(),
            catalog_paths: vec!["other.yaml".to_owned()],
            ..config.providers[0].clone()
        };
        config.providers.push(second);
    };
    let stage = Stage::open().await;
    let mut config = stage.config.clone();
    every(&mut config);
    stage.scan().await;
    let (scanner, inspect) = (stage.app.worker.scanner.clone(), stage.app.inspect.clone());
    let nobody = tokio::sync::watch::Sender::new(Arc::default()).subscribe();
    let replica = Heartbeat::new(scanner, inspect, nobody);
    for _ in 0..3 {
        tenants::advance(&stage, MINUTE);
        stage.world().reset_calls();
        for provider in &config.providers {
            stage.app.heartbeat.beat(provider).await;
            replica.beat(provider).await;
        }
        assert_eq!(calls(&stage), (1, 0));
    }
    tenants::advance(&stage, MINUTE);
    stage.world().reset_calls();
    replica.beat(&config.providers[1]).await;
    assert_eq!(calls(&stage), (1, 0), "one that ended is missed by nobody");
}

#[tokio::test]
async fn manual_is_off_and_says_so() {
    let stage = Stage::open().await;
    stage.world().reset_calls();
    stage.clock.advance(Duration::from_secs(3600));
    stage.work().await;
    assert_eq!(stage.world().calls().len(), 0);
    assert_eq!(stage.check(CHECK).await["state"], "off");
}

#[tokio::test]
async fn every_usable_installation_of_an_app_has_its_own_heartbeat() {
    let stage = tenants::stage(tenants::by_app).await;
    let world = stage.world();
    for login in ["globex", "initech", "hooli"] {
        world.create_organization(login);
    }
    for login in ["acme", "globex"] {
        world.install_app(APP, login, Selection::All);
    }
    world.install_app(APP, "initech", Selection::Selected);
    let hooli = world.install_app(APP, "hooli", Selection::All);
    world.suspend_installation(hooli);
    stage.scan().await;
    let (pay, hq) =
        (tenants::create(&stage, "acme", "pay"), tenants::create(&stage, "globex", "hq"));
    beat(&stage).await;
    assert!(stage.has("pay").await && stage.has("hq").await, "{pay} {hq}");
    beat(&stage).await;
    assert_eq!((world.calls_of(CallKind::Latest), world.points()), (2, 2));
    assert!(world.strays().is_empty());
    for (login, expected) in [("acme", "ok"), ("globex", "ok")] {
        assert_eq!(stage.check(&format!("heartbeat:github.com/{login}")).await["state"], expected);
    }
    assert!(stage.check("heartbeat:github.com/hooli").await.is_null());
    world.fail_next(1, Calls::Of(CallKind::Latest), Fault::Status(500));
    beat(&stage).await;
    assert_eq!(world.calls_of(CallKind::Latest), 2, "one's trouble is not the other's");
}

#[tokio::test]
async fn selected_repositories_are_left_to_webhooks_and_scans() {
    let stage = tenants::stage(tenants::beside_token).await;
    let world = stage.world();
    let installation = world.install_app(APP, "acme", Selection::Selected);
    let pay = tenants::create(&stage, "acme", "pay");
    world.select(installation, &[pay.as_str()]);
    let other = NewRepository::named("other").visibility("public");
    world.create_repository("acme", other.file(FILE, component("other", "service")));
    stage.scan().await;
    beat(&stage).await;
    assert_eq!(calls(&stage), (0, 0));
    assert!(stage.has("pay").await && !stage.has("other").await);
    assert_eq!(stage.check(CHECK).await["state"], "off");
    stage.cue(&[world.select_all(installation)]).await;
    stage.work().await;
    for _ in 0..2 {
        beat(&stage).await;
    }
    assert!(stage.has("other").await);
    assert_eq!(stage.check(CHECK).await["state"], "ok");
}
