//! Scans leave a reserve of each account's points to events, and one account's trouble is its own.

use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::clock::Clock;
use cuelight::config::{Config, Integration};
use cuelight::worker::Outcome;
use fake_github::{CallKind, Calls, Event, FakeGitHub, Fault, NewRepository};
use secrecy::SecretString;

use crate::support::http;
use crate::support::stage::{FILE, Stage, TOKEN, component};

const CHECK: &str = "budget:github.com/acme";

/// A stage whose GitHub has its time, with a token of 100 points of which `spent` are.
async fn with_points(spent: u64) -> Stage {
    let stage = Stage::open().await;
    stage.world().freeze_time();
    renew(&stage);
    stage.repository("pay", &component("pay", "service")).await;
    stage.create(249);
    renew(&stage);
    stage.world().spend_points(TOKEN, spent);
    stage
}

/// An hour's points are there again.
fn renew(stage: &Stage) {
    stage.world().set_now(stage.clock.now().0 / 1_000);
    stage.world().limit_points(TOKEN, 100);
}

#[tokio::test]
async fn when_points_are_few_a_scan_waits_and_events_do_not() {
    // The owner, and two pages: 19 are left.
    let stage = with_points(78).await;
    let outcomes = stage.scan().await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delayed), "{outcomes:?}");
    assert_eq!(stage.world().calls_of(CallKind::List), 2);
    assert_eq!(stage.components().await, 1, "what it found waits, too");
    let check = stage.check(CHECK).await;
    assert_eq!(check["state"], "degraded", "{check}");
    let detail = check["detail"].as_str().expect("a text");
    assert!(detail.starts_with("19 of 100 points of GitHub's API are left"), "{detail}");
    let metrics = http::get(&format!("http://{}/metrics", stage.app.internal)).await.1;
    let gauge = "cuelight_github_points_remaining{account=\"github.com/acme\"} 19";
    assert!(metrics.contains(gauge), "{metrics}");

    let world = stage.world();
    stage.cue(&world.put_file("acme/pay", FILE, component("pay", "website"))).await;
    stage.cue(&world.put_file("acme/svc-7", FILE, component("svc-7", "website"))).await;
    assert_eq!(stage.work().await, [Outcome::Done, Outcome::Done], "the second was put off");
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    assert!(stage.has("svc-7").await);
    assert!(stage.work().await.is_empty());

    stage.clock.advance(Duration::from_secs(3_600));
    renew(&stage);
    let outcomes = stage.work().await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done), "{outcomes:?}");
    assert_eq!(stage.world().calls_of(CallKind::List), 3, "it goes on with the third page");
    assert_eq!(stage.components().await, 250);
    assert!(stage.check(CHECK).await.is_null());
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
}

#[tokio::test]
async fn a_scan_that_waits_for_points_burns_no_attempt_and_closes_no_gate() {
    let stage = with_points(85).await;
    for _ in 0..3 {
        assert_eq!(stage.scan().await, [Outcome::Delayed]);
    }
    let (_, queue) = stage.get("/api/cuelight/v1/queue?state=waiting").await;
    assert_eq!((&queue["total"], &queue["items"][0]["attempts"]), (&1.into(), &0.into()));
    assert_eq!(stage.world().calls_of(CallKind::List), 0);
    assert_eq!(stage.check("github:github.com/acme").await["state"], "ok");
}

/// A second host with the organisation `globex`, whose trouble it is.
async fn with_second_host() -> (Stage, FakeGitHub) {
    let other = FakeGitHub::start().await;
    other.state().create_organization("globex");
    other.state().add_token(TOKEN, &["globex"]);
    let url = other.url();
    let both = move |config: &mut Config| {
        let mut second = config.providers[0].clone();
        (second.id, second.host) = ("second".to_owned(), "ghe.example".to_owned());
        second.organization = "globex".to_owned();
        config.providers.push(second);
        config.integrations.push(Integration {
            host: "ghe.example".to_owned(),
            api_base_url: url,
            token: Some(SecretString::from(TOKEN)),
            apps: Vec::new(),
        });
    };
    let stage = Stage::with(both, process_file).await;
    stage.create(120);
    for i in 0..120 {
        let name = format!("hq-{i}");
        let new = NewRepository::named(&name).file(FILE, component(&name, "service"));
        other.state().create_repository("globex", new);
    }
    (stage, other)
}

#[tokio::test]
async fn the_trouble_of_one_account_delays_neither_scan_nor_events_of_another() {
    let limited = Fault::Limited { status: 429, retry_after: Some(900), reset: None };
    for trouble in [Some(Fault::Status(500)), Some(limited), None] {
        let (stage, other) = with_second_host().await;
        let told = format!("{trouble:?}");
        for provider in &stage.config.providers {
            stage.app.push_scan(provider).await.expect("the scan key is pushed");
        }
        match trouble {
            Some(fault) => other.state().fail_always(Calls::All, fault),
            None => other.state().revoke_token(TOKEN),
        }
        stage.work().await;
        assert_eq!(stage.components().await, 120, "{told}");
        let events: Vec<Event> =
            stage.world().put_file("acme/svc-1", FILE, component("svc-1", "website"));
        stage.cue(&events).await;
        assert_eq!(stage.work().await, [Outcome::Done], "{told}");
        assert_eq!(stage.type_of("svc-1").await.as_deref(), Some("website"));
        assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok", "{told}");
        assert_eq!(stage.check("scan:ghe.example/globex").await["state"], "degraded", "{told}");
        assert_eq!(stage.check("github:github.com/acme").await["state"], "ok", "{told}");

        other.state().heal();
        other.state().add_token(TOKEN, &["globex"]);
        stage.clock.advance(Duration::from_secs(1_000));
        stage.work().await;
        assert_eq!(stage.components().await, 240, "{told}: it goes on by itself");
        assert_eq!(stage.check("scan:ghe.example/globex").await["state"], "ok", "{told}");
    }
}
