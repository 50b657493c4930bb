//! The life of an App's installation: created, suspended, uninstalled, and what the catalog makes
//! of it, told by an event or found out.

use std::time::Duration;

use cuelight::config::Config;
use fake_github::{CallKind, Calls, Fault, Selection};
use secrecy::SecretString;
use serde_json::json;

use crate::support::apps::APP;
use crate::support::stage::{FILE, Stage, TOKEN, component};
use crate::support::tenants::{
    advance, beside_token, by_app, create, either_way, stage, two_tenants,
};

/// Both tenants in the catalog, `acme` with more repositories than the brake lets go.
async fn filled() -> (Stage, u64) {
    let (stage, [acme, _]) = two_tenants(by_app).await;
    for at in 0..12 {
        create(&stage, "acme", &format!("svc-{at}"));
    }
    create(&stage, "globex", "hq");
    stage.scan().await;
    assert_eq!(stage.components().await, 13);
    (stage, acme)
}

#[tokio::test]
async fn an_app_that_is_installed_is_found_by_its_event_and_the_account_is_scanned() {
    let stage = stage(by_app).await;
    create(&stage, "acme", "pay");
    stage.scan().await;
    stage.world().install_app(APP, "acme", Selection::All);
    stage.cue(&[stage.world().installation("created", "acme")]).await;
    stage.work().await;
    assert!(stage.has("pay").await, "{:?}", stage.get("/health").await);
    assert_eq!(stage.world().calls_of(CallKind::List), 1, "scanned once");
}

#[tokio::test]
async fn an_event_about_one_tenant_scans_no_other() {
    let (stage, [acme, _]) = two_tenants(by_app).await;
    stage.scan().await;
    stage.world().reset_calls();
    stage.cue(&[stage.world().installation("new_permissions_accepted", "acme")]).await;
    stage.work().await;
    assert_eq!(stage.world().calls_of(CallKind::List), 1);
    stage.cue(&[stage.world().suspend_installation(acme)]).await;
    stage.work().await;
    assert_eq!(stage.world().calls_of(CallKind::List), 1);
}

#[tokio::test]
async fn a_suspended_installation_removes_nothing_and_goes_on_by_itself() {
    let (stage, acme) = filled().await;
    let world = stage.world();
    stage.cue(&[world.suspend_installation(acme)]).await;
    stage.work().await;
    let told = stage.check("installation:github.com/acme").await;
    assert_eq!(told["state"], "degraded");
    assert!(told["detail"].as_str().is_some_and(|d| d.contains("suspended")), "{told}");
    // While it is suspended, GitHub tells nothing of the account.
    world.delete_repository("acme/svc-0");
    world.put_file("acme/svc-1", FILE, component("svc-1", "website"));
    stage.scan().await;
    assert_eq!(stage.components().await, 13);
    stage.cue(&[world.unsuspend_installation(acme)]).await;
    stage.work().await;
    advance(&stage, Duration::from_secs(61));
    stage.work().await;
    assert!(!stage.has("svc-0").await);
    assert_eq!(stage.type_of("svc-1").await.as_deref(), Some("website"));
    assert_eq!(stage.check("installation:github.com/acme").await["state"], "ok");
}

#[tokio::test]
async fn an_uninstalled_app_that_a_signed_event_named_takes_its_repositories_along() {
    let (stage, acme) = filled().await;
    stage.cue(&[stage.world().uninstall_app(acme)]).await;
    stage.work().await;
    assert_eq!(stage.components().await, 1, "{:?}", stage.get("/health").await);
    assert!(stage.has("hq").await);
    let (_, list) = stage.get("/api/cuelight/v1/repositories").await;
    assert_eq!(list["total"], 1, "{list}");
    advance(&stage, Duration::from_secs(61));
    stage.scan().await;
    let (_, health) = stage.get("/health").await;
    let of_acme = |name: &String| name.ends_with("/acme");
    let checks = health["checks"].as_object().expect("checks");
    assert!(!checks.keys().any(of_acme), "{health}");
    stage.world().install_app(APP, "acme", Selection::All);
    stage.cue(&[stage.world().installation("created", "acme")]).await;
    stage.work().await;
    assert_eq!(stage.components().await, 13);
}

#[tokio::test]
async fn an_event_of_an_uninstallation_that_github_does_not_confirm_removes_nothing() {
    let (stage, acme) = filled().await;
    stage.cue(&[stage.world().installation("deleted", "acme")]).await;
    stage.work().await;
    assert_eq!(stage.components().await, 13);
    let told = stage.world().uninstall_app(acme);
    stage.world().install_app(APP, "acme", Selection::All);
    stage.cue(&[told]).await;
    stage.work().await;
    assert_eq!(stage.components().await, 13, "installed again before the event came");
}

#[tokio::test]
async fn an_app_end_point_that_fails_confirms_no_uninstallation() {
    let (stage, acme) = filled().await;
    let told = stage.world().uninstall_app(acme);
    stage.world().fail_always(Calls::Of(CallKind::App), Fault::Status(500));
    stage.cue(&[told]).await;
    stage.work().await;
    assert_eq!(stage.components().await, 13);
    stage.world().heal();
    advance(&stage, Duration::from_secs(61));
    stage.work().await;
    assert_eq!(stage.components().await, 1, "the keys have waited");
}

#[tokio::test]
async fn an_uninstallation_found_without_an_event_is_held_whole_until_it_is_approved() {
    let (stage, acme) = filled().await;
    stage.world().uninstall_app(acme);
    advance(&stage, Duration::from_secs(61));
    stage.scan().await;
    assert_eq!(stage.components().await, 13);
    let told = stage.check("scan:github.com/acme").await;
    assert_eq!(told["state"], "degraded");
    let detail = told["detail"].as_str().expect("a text");
    assert!(detail.contains("12 repositories") && detail.contains("--approve-removals"), "{told}");
    let (status, approved) =
        stage.post("/api/cuelight/v1/approvals", json!({"account": "github.com/acme"})).await;
    assert_eq!(status, 200, "{approved}");
    stage.work().await;
    assert_eq!(stage.components().await, 1);
}

#[tokio::test]
async fn a_few_repositories_of_an_uninstalled_app_are_held_as_well() {
    let stage = stage(by_app).await;
    let acme = stage.world().install_app(APP, "acme", Selection::All);
    let pay = create(&stage, "acme", "pay");
    stage.scan().await;
    let pushed = stage.world().put_file(&pay, FILE, component("pay", "website"));
    stage.world().uninstall_app(acme);
    stage.cue(&pushed).await;
    stage.work().await;
    advance(&stage, Duration::from_secs(61));
    stage.scan().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "degraded");
}

#[tokio::test]
async fn an_app_that_was_uninstalled_while_we_were_stopped_is_held_too() {
    let (stage, acme) = filled().await;
    stage.world().uninstall_app(acme);
    let stage = stage.restart().await;
    stage.work().await;
    stage.scan().await;
    assert_eq!(stage.components().await, 13);
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "degraded");
    stage.world().install_app(APP, "acme", Selection::All);
    stage.scan().await;
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
    assert_eq!(stage.components().await, 13);
}

#[tokio::test]
async fn an_uninstallation_that_is_told_after_a_restart_is_confirmed_by_the_kept_number() {
    let (stage, acme) = filled().await;
    let told = stage.world().uninstall_app(acme);
    // The number outlives a start at which it was found out already, and another one.
    let stage = stage.restart().await;
    stage.work().await;
    advance(&stage, Duration::from_secs(61));
    stage.scan().await;
    let stage = stage.restart().await;
    stage.work().await;
    assert_eq!(stage.components().await, 13, "nobody has told of it yet");
    stage.cue(&[told]).await;
    stage.work().await;
    assert_eq!(stage.components().await, 1, "{:?}", stage.get("/health").await);
    assert!(stage.has("hq").await);
}

#[tokio::test]
async fn an_uninstallation_told_after_a_restart_that_github_does_not_confirm_removes_nothing() {
    let (stage, _) = filled().await;
    let told = stage.world().installation("deleted", "acme");
    let stage = stage.restart().await;
    stage.cue(&[told]).await;
    stage.work().await;
    assert_eq!(stage.components().await, 13);
}

#[tokio::test]
async fn a_token_that_covers_the_account_keeps_it_when_the_app_is_uninstalled() {
    let stage = stage(beside_token).await;
    let world = stage.world();
    let acme = world.install_app(APP, "acme", Selection::All);
    let pay = create(&stage, "acme", "pay");
    stage.scan().await;
    stage.cue(&[world.installation("created", "acme")]).await;
    stage.work().await;
    stage.cue(&[world.uninstall_app(acme)]).await;
    stage.work().await;
    assert!(stage.has("pay").await);
    stage.cue(&world.put_file(&pay, FILE, component("pay", "website"))).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"), "by the token");
}

#[tokio::test]
async fn events_of_an_app_that_is_not_configured_are_ignored() {
    either_way(
        |_| {},
        async |stage| {
            let mut event = stage.world().installation("deleted", "acme");
            event.payload["installation"]["app_id"] = json!(1);
            let (status, answer) = stage.deliver(&stage.sign(&event)).await;
            assert_eq!(status, 202);
            assert!(answer.contains("App 1 is not configured on github.com"), "{answer}");
        },
    )
    .await;
}

/// `acme` by the token, every installation of the App besides.
fn side_by_side(config: &mut Config) {
    by_app(config);
    config.integrations[0].token = Some(SecretString::from(TOKEN));
    let mut named = config.providers[0].clone();
    (named.id, named.organization, named.app) = ("named".into(), "acme".into(), None);
    config.providers.insert(0, named);
}

#[tokio::test]
async fn an_account_by_token_does_not_wait_for_an_app_that_cannot_be_asked() {
    let stage = stage(side_by_side).await;
    let world = stage.world();
    world.create_organization("globex");
    world.add_token(TOKEN, &["acme", "globex"]);
    world.install_app(APP, "globex", Selection::All);
    let [pay, old, moves] = ["pay", "old", "moves"].map(|name| create(&stage, "acme", name));
    world.fail_always(Calls::Of(CallKind::App), Fault::Status(500));
    stage.scan().await;
    assert!(stage.has("pay").await, "{:?}", stage.get("/health").await);
    stage.cue(&world.put_file(&pay, FILE, component("pay", "website"))).await;
    stage.cue(&world.delete_repository(&old)).await;
    let mut transferred = world.transfer(&moves, "globex");
    // As if a push had been under way when it moved.
    transferred[0].payload["repository"]["owner"] = json!({"id": world.owner("acme").id});
    stage.cue(&transferred).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    assert!(stage.has("old").await, "an App might still see it");
    assert!(stage.has("moves").await, "its owner may be the App's");
    world.heal();
    advance(&stage, Duration::from_secs(61));
    stage.work().await;
    assert!(!stage.has("old").await);
    assert!(stage.has("moves").await);
}
