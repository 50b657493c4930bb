//! Organisations by a GitHub App: discovered, scanned, followed, and never emptied by an App's
//! misfortunes.

use std::time::Duration;

use cuelight::config::Config;
use fake_github::{CallKind, Calls, Fault, Selection};
use secrecy::SecretString;

use crate::support::apps::{APP, KEY, PUBLIC_KEY};
use crate::support::stage::{FILE, TOKEN, component};
use crate::support::tenants::{
    OPENING_SECONDS, advance, beside_token, by_app, create, stage, two_tenants,
};

#[tokio::test]
async fn an_organisation_by_app_is_discovered_scanned_and_followed() {
    let stage = stage(by_app).await;
    let installation = stage.world().install_app(APP, "acme", Selection::All);
    let pay = create(&stage, "acme", "pay");
    stage.scan().await;
    assert!(stage.has("pay").await, "{:?}", stage.get("/health").await);
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    assert_eq!(stage.world().tokens_issued(installation), 1);
    assert_eq!(stage.check("installation:github.com/acme").await["state"], "ok");
    assert_eq!(stage.check("installations:github.com/app 4711").await["state"], "ok");
    let (_, status) = stage.get("/api/cuelight/v1/status").await;
    assert_eq!(status["providers"][0]["app"], 4711, "{status}");
}

#[tokio::test]
async fn a_webhook_before_any_discovery_finds_its_account_by_itself() {
    let stage = stage(by_app).await;
    stage.world().install_app(APP, "acme", Selection::All);
    stage.repository("pay", &component("pay", "service")).await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn a_restart_processes_nothing_away_before_the_installations_are_known() {
    let stage = stage(by_app).await;
    stage.world().install_app(APP, "acme", Selection::All);
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let everything = |config: &mut Config| {
        let allow = ["Component", "API", "Group"]
            .map(|kind| cuelight::config::AllowedKind { kind: kind.to_owned(), spec_type: None });
        let rule = cuelight::config::Rule { allow: allow.into(), locations: None };
        config.rules.rules = Some(vec![rule]);
    };
    let stage = stage.restart_with(everything).await;
    stage.world().fail_always(Calls::Of(CallKind::App), Fault::Status(500));
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    stage.work().await;
    assert!(stage.has("pay").await, "the records are processed again, but whose they are?");
    stage.world().heal();
    advance(&stage, Duration::from_secs(60));
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_scan_is_renewed_and_the_scan_goes_on() {
    let stage = stage(by_app).await;
    let installation = stage.world().install_app(APP, "acme", Selection::All);
    for at in 0..150 {
        create(&stage, "acme", &format!("svc-{at}"));
    }
    stage.world().set_now(OPENING_SECONDS);
    // The first page comes, at the second the token is no longer good.
    let first = Fault::Latency(Duration::ZERO);
    stage.world().fail_next(1, Calls::Of(CallKind::List), first);
    stage.world().fail_next(1, Calls::Of(CallKind::List), Fault::Status(401));
    stage.scan().await;
    let (_, found) =
        stage.get("/api/catalog/entities/by-query?filter=kind=component&limit=0").await;
    assert_eq!(found["totalItems"], 150, "{:?}", stage.get("/health").await);
    assert_eq!(stage.world().tokens_issued(installation), 2);
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
}

#[tokio::test]
async fn a_token_past_four_fifths_of_its_life_is_renewed_between_two_pages_without_a_refusal() {
    let stage = stage(by_app).await;
    let world = stage.world();
    let installation = world.install_app(APP, "acme", Selection::All);
    for at in 0..150 {
        create(&stage, "acme", &format!("svc-{at}"));
    }
    world.set_now(OPENING_SECONDS);
    stage.scan().await;
    assert_eq!(world.tokens_issued(installation), 1);
    world.reset_calls();
    // Of the hour 48 minutes are four fifths; the lease of the scan lasts half a minute.
    advance(&stage, Duration::from_secs(47 * 60 + 40));
    world.fail_next(1, Calls::Of(CallKind::List), Fault::Latency(Duration::from_millis(300)));
    let move_on = async {
        while world.calls_of(CallKind::List) == 0 {
            tokio::task::yield_now().await;
        }
        advance(&stage, Duration::from_secs(25));
    };
    tokio::join!(stage.scan(), move_on);
    assert_eq!(world.calls_of(CallKind::List), 2);
    assert_eq!(world.tokens_issued(installation), 2);
    let refused: Vec<_> = world.calls().into_iter().filter(|call| call.status >= 400).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
}

#[tokio::test]
async fn two_tenants_never_touch_each_other_and_a_third_has_the_token() {
    let second = |config: &mut Config| {
        by_app(config);
        config.integrations[0].token = Some(SecretString::from(TOKEN));
        let mut third = config.providers[0].clone();
        (third.id, third.organization, third.app) = ("third".into(), "initech".into(), None);
        config.providers.push(third);
    };
    let stage = stage(second).await;
    let world = stage.world();
    world.create_organization("globex");
    world.create_organization("initech");
    world.add_token(TOKEN, &["initech"]);
    world.install_app(APP, "acme", Selection::All);
    world.install_app(APP, "globex", Selection::All);
    let repositories =
        ["acme", "globex", "initech"].map(|login| create(&stage, login, &format!("{login}-svc")));
    for provider in &stage.config.providers {
        stage.app.push_scan(provider).await.expect("the key is pushed");
    }
    stage.work().await;
    for full_name in &repositories {
        let name = full_name.split('/').next_back().expect("a name");
        assert!(stage.has(name).await, "{full_name}");
        stage.cue(&world.put_file(full_name, FILE, component(name, "website"))).await;
    }
    stage.work().await;
    for name in ["acme-svc", "globex-svc", "initech-svc"] {
        assert_eq!(stage.type_of(name).await.as_deref(), Some("website"));
    }
    let others: Vec<_> =
        world.touched().into_iter().filter(|(t, login)| t == TOKEN && login != "initech").collect();
    assert_eq!(others, []);
}

#[tokio::test]
async fn one_tenants_suspension_does_not_hold_up_the_other() {
    let (stage, [acme, _]) = two_tenants(by_app).await;
    let world = stage.world();
    let (pay, hq) = (create(&stage, "acme", "pay"), create(&stage, "globex", "hq"));
    stage.scan().await;
    world.suspend_installation(acme);
    stage.cue(&world.delete_repository(&pay)).await;
    stage.cue(&world.put_file(&hq, FILE, component("hq", "website"))).await;
    stage.work().await;
    assert!(stage.has("pay").await, "suspended: nothing is removed");
    assert_eq!(stage.type_of("hq").await.as_deref(), Some("website"));
    advance(&stage, Duration::from_secs(61));
    stage.scan().await;
    let told = stage.check("installation:github.com/acme").await;
    assert_eq!(told["state"], "degraded");
    assert!(told["detail"].as_str().is_some_and(|d| d.contains("suspended")), "{told}");
    assert!(stage.has("pay").await);
    world.unsuspend_installation(acme);
    advance(&stage, Duration::from_secs(61));
    stage.scan().await;
    assert_eq!(stage.check("installation:github.com/acme").await["state"], "ok");
    assert!(!stage.has("pay").await, "its deletion had been told, and waited");
}

#[tokio::test]
async fn an_uninstalled_app_removes_nothing_and_health_says_so() {
    let stage = stage(by_app).await;
    let world = stage.world();
    let installation = world.install_app(APP, "acme", Selection::All);
    let pay = create(&stage, "acme", "pay");
    stage.scan().await;
    let events = world.put_file(&pay, FILE, component("pay", "website"));
    world.uninstall_app(installation);
    stage.cue(&events).await;
    stage.work().await;
    assert_eq!(stage.check("github:github.com/acme").await["state"], "degraded");
    advance(&stage, Duration::from_secs(61));
    stage.scan().await;
    let told = stage.check("installation:github.com/acme").await;
    assert!(told["detail"].as_str().is_some_and(|d| d.contains("no longer installed")), "{told}");
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
    world.install_app(APP, "acme", Selection::All);
    advance(&stage, Duration::from_secs(61));
    stage.scan().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn owners_that_are_not_allowed_are_no_accounts() {
    let only_globex = |config: &mut Config| {
        by_app(config);
        config.integrations[0].apps[0].allowed_owners = Some(vec!["GLOBEX".to_owned()]);
    };
    let stage = stage(only_globex).await;
    let world = stage.world();
    world.create_organization("globex");
    let acme = world.install_app(APP, "acme", Selection::All);
    world.install_app(APP, "globex", Selection::All);
    create(&stage, "acme", "pay");
    create(&stage, "globex", "hq");
    stage.scan().await;
    assert!(stage.has("hq").await && !stage.has("pay").await);
    assert_eq!(world.tokens_issued(acme), 0);
}

#[tokio::test]
async fn an_organisation_by_name_uses_the_app_that_is_installed_on_it() {
    let stage = stage(beside_token).await;
    stage.world().install_app(APP, "acme", Selection::All);
    create(&stage, "acme", "pay");
    stage.scan().await;
    assert!(stage.has("pay").await);
    assert!(stage.world().touched().iter().all(|(token, _)| token != TOKEN));
}

#[tokio::test]
async fn a_wrong_app_degrades_health_without_key_material() {
    let stage = stage(by_app).await;
    stage.world().register_app(
        APP,
        include_str!("../../../fixtures/github-app/another-key-for-tests.pub.pem"),
    );
    stage.world().install_app(APP, "acme", Selection::All);
    stage.scan().await;
    let (_, health) = stage.get("/health").await;
    let told = &health["checks"]["installations:github.com/app 4711"];
    assert_eq!(told["state"], "degraded", "{health}");
    assert!(told["detail"].as_str().is_some_and(|d| d.contains("does not accept App 4711")));
    assert!(!health.to_string().contains(KEY.lines().nth(1).expect("a second line")));
    stage.world().register_app(APP, PUBLIC_KEY);
    advance(&stage, Duration::from_secs(61));
    create(&stage, "acme", "pay");
    stage.work().await;
    assert!(stage.has("pay").await, "the App's key has waited");
}
