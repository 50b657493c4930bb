//! An App on selected repositories: these and no others are in the catalog, also where GitHub
//! shows it more.

use std::time::Duration;

use fake_github::{CallKind, Calls, Fault, NewRepository, Selection};

use crate::support::apps::APP;
use crate::support::stage::{FILE, Stage, component};
use crate::support::tenants::{advance, by_app, create, stage};

/// `acme` with a private and a public repository, the App installed on none of them yet.
async fn selected() -> (Stage, u64) {
    let stage = stage(by_app).await;
    let installation = stage.world().install_app(APP, "acme", Selection::Selected);
    create(&stage, "acme", "vault");
    let site = NewRepository::named("site").file(FILE, component("site", "website"));
    stage.world().create_repository("acme", site.visibility("public"));
    (stage, installation)
}

#[tokio::test]
async fn only_selected_repositories_are_listed() {
    let (stage, installation) = selected().await;
    stage.world().select(installation, &["acme/vault"]);
    stage.scan().await;
    assert!(stage.has("vault").await, "{:?}", stage.get("/health").await);
    assert!(!stage.has("site").await, "public, and not selected");
    assert_eq!(stage.check("installation:github.com/acme").await["state"], "ok");
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
}

#[tokio::test]
async fn repositories_come_and_go_with_the_selection() {
    let (stage, installation) = selected().await;
    let world = stage.world();
    create(&stage, "acme", "base");
    world.select(installation, &["acme/base"]);
    stage.scan().await;
    for name in ["site", "vault"] {
        let full_name = format!("acme/{name}");
        for _ in 0..2 {
            stage.cue(&[world.select(installation, &[&full_name])]).await;
            stage.work().await;
            assert!(stage.has(name).await, "{name} was selected");
            stage.cue(&[world.deselect(installation, &[&full_name])]).await;
            stage.work().await;
            assert!(!stage.has(name).await, "{name} was taken from the selection");
        }
    }
    assert!(stage.has("base").await);
}

#[tokio::test]
async fn what_was_taken_from_the_selection_unheard_goes_with_the_next_scan() {
    let (stage, installation) = selected().await;
    let world = stage.world();
    world.select(installation, &["acme/site", "acme/vault"]);
    stage.scan().await;
    assert!(stage.has("site").await && stage.has("vault").await);
    world.deselect(installation, &["acme/site"]);
    stage.scan().await;
    assert!(!stage.has("site").await && stage.has("vault").await);
}

#[tokio::test]
async fn a_push_to_a_public_repository_that_is_not_selected_brings_it_not_in() {
    let (stage, installation) = selected().await;
    stage.world().select(installation, &["acme/vault"]);
    stage.scan().await;
    stage.cue(&stage.world().put_file("acme/site", FILE, component("site", "service"))).await;
    stage.work().await;
    assert!(!stage.has("site").await);
    let (_, list) = stage.get("/api/cuelight/v1/repositories").await;
    assert_eq!(list["total"], 1, "{list}");
}

#[tokio::test]
async fn a_list_that_fails_or_is_short_removes_nothing() {
    let (stage, installation) = selected().await;
    let world = stage.world();
    create(&stage, "acme", "base");
    world.select(installation, &["acme/base", "acme/site"]);
    stage.scan().await;
    let deselected = world.deselect(installation, &["acme/site"]);
    for fault in [Fault::Status(500), Fault::HalfList, Fault::Status(403)] {
        world.fail_always(Calls::Of(CallKind::Selection), fault.clone());
        stage.cue(std::slice::from_ref(&deselected)).await;
        stage.work().await;
        stage.scan().await;
        assert!(stage.has("site").await && stage.has("base").await, "{fault:?}");
        assert_eq!(stage.check("scan:github.com/acme").await["state"], "degraded", "{fault:?}");
        world.heal();
        advance(&stage, Duration::from_secs(61));
    }
    stage.scan().await;
    assert!(!stage.has("site").await && stage.has("base").await, "and then it says so");
}

#[tokio::test]
async fn an_empty_selection_removes_nothing() {
    let (stage, installation) = selected().await;
    let world = stage.world();
    world.select(installation, &["acme/site"]);
    stage.scan().await;
    stage.cue(&[world.deselect(installation, &["acme/site"])]).await;
    stage.work().await;
    stage.scan().await;
    assert!(stage.has("site").await);
}

#[tokio::test]
async fn a_large_selection_is_listed_to_its_end() {
    let (stage, installation) = selected().await;
    let world = stage.world();
    let names: Vec<String> =
        (0..230).map(|at| create(&stage, "acme", &format!("svc-{at}"))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.select(installation, &names);
    world.set_now(crate::support::tenants::OPENING_SECONDS);
    stage.scan().await;
    assert_eq!(stage.components().await, 230);
    world.reset_calls();
    stage.scan().await;
    assert_eq!(world.calls_of(CallKind::Selection), 3);
    assert_eq!(world.calls_of(CallKind::Nodes), 3, "an unchanged repository is not read");
}

#[tokio::test]
async fn an_installation_switches_between_all_and_some() {
    let (stage, installation) = selected().await;
    let world = stage.world();
    world.select(installation, &["acme/vault"]);
    stage.scan().await;
    stage.cue(&[world.select_all(installation)]).await;
    stage.work().await;
    assert!(stage.has("site").await && stage.has("vault").await);
    stage.cue(&[world.deselect(installation, &["acme/site"])]).await;
    stage.work().await;
    assert!(!stage.has("site").await && stage.has("vault").await);
    // GitHub may name nobody when the selection switches.
    let mut event = world.select_all(installation);
    event.payload["repositories_added"] = serde_json::json!([]);
    stage.cue(&[event]).await;
    stage.work().await;
    assert!(stage.has("site").await, "the account was scanned");
}
