//! Entities go on evidence only, and without the brake only where a webhook named their removal.

use cuelight::catalog::process_file;
use cuelight::config::{AllowedKind, Config, Provider, Rule};
use fake_github::{NewRepository, Push};
use serde_json::json;

use crate::support::stage::{FILE, Stage, TOKEN, component};

/// A push to each of the twenty that changes nothing cuelight reads.
async fn push_to_all(stage: &Stage) {
    for i in 0..20 {
        let push = Push::to("main").put("README.md", "words");
        stage.cue(&stage.world().push(&format!("acme/svc-{i}"), push)).await;
    }
    stage.work().await;
}

fn second(config: &mut Config) {
    let first = config.providers[0].clone();
    let other = Provider { id: "other".to_owned(), organization: "globex".to_owned(), ..first };
    config.providers.push(other);
}

#[tokio::test]
async fn pushes_to_repositories_that_we_lost_sight_of_remove_nothing() {
    let stage = Stage::with_twenty().await;
    for i in 0..20 {
        stage.world().hide_repository(TOKEN, &format!("acme/svc-{i}"));
    }
    push_to_all(&stage).await;
    assert_eq!(stage.components().await, 20, "a push names no removal");
    let told = stage.check("github:github.com/acme").await["detail"].to_string();
    assert!(told.contains("GitHub does not show it"), "{told}");
}

#[tokio::test]
async fn pushes_after_a_mistyped_filter_remove_nothing() {
    let typo = |config: &mut Config| {
        config.providers[0].filters.topics_include = vec!["catalgo".to_owned()];
    };
    let stage = Stage::with_twenty().await.restart_with(typo).await;
    push_to_all(&stage).await;
    assert_eq!(stage.components().await, 20);
}

#[tokio::test]
async fn pushes_after_a_mistyped_catalog_path_remove_nothing() {
    let typo = |config: &mut Config| {
        config.providers[0].catalog_paths = vec!["catalgo-info.yaml".to_owned()];
    };
    let stage = Stage::with_twenty().await.restart_with(typo).await;
    push_to_all(&stage).await;
    assert_eq!(stage.components().await, 20);
}

#[tokio::test]
async fn what_webhooks_say_was_removed_goes_whatever_its_number() {
    let stage = Stage::with_twenty().await;
    let world = stage.world();
    for i in 0..20 {
        let name = format!("acme/svc-{i}");
        let events = match i % 3 {
            0 => world.delete_file(&name, FILE),
            1 => world.archive(&name),
            _ => world.delete_repository(&name),
        };
        stage.cue(&events).await;
    }
    stage.work().await;
    assert_eq!(stage.components().await, 0);
}

#[tokio::test]
async fn what_no_provider_names_any_more_stays_as_a_whole_until_a_person_agrees() {
    let stage = Stage::with(second, process_file).await;
    let world = stage.world();
    world.create_organization("globex");
    world.add_token(TOKEN, &["acme", "globex"]);
    stage.repository("pay", &component("pay", "service")).await;
    let new = NewRepository::named("hq").file(FILE, component("hq", "service"));
    stage.cue(&world.create_repository("globex", new)).await;
    stage.work().await;
    let mut stage = stage;
    for (left, login, name) in [(1, "globex", "hq"), (0, "acme", "pay")] {
        stage = stage.restart_with(|config| config.providers.truncate(left)).await;
        let push = Push::to("main").put("README.md", "words");
        stage.cue(&stage.world().push(&format!("{login}/{name}"), push)).await;
        stage.work().await;
        assert!(stage.has(name).await, "perhaps it is a mistake");
        let told = stage.check(&format!("scan:github.com/{login}")).await["detail"].to_string();
        assert!(told.contains(&format!("no provider names {login} any more")), "{told}");
        let body = json!({ "account": format!("github.com/{login}") });
        assert_eq!(stage.post("/api/cuelight/v1/approvals", body).await.0, 200);
        stage.work().await;
        assert!(!stage.has(name).await);
    }
}

#[tokio::test]
async fn a_mistyped_organisation_takes_nothing_along() {
    for (typo, is_there) in [("amce", false), ("globex", true)] {
        let stage = Stage::with_twenty().await;
        if is_there {
            stage.world().create_organization(typo);
            stage.world().add_token(TOKEN, &["acme", typo]);
        }
        let mistype = |config: &mut Config| config.providers[0].organization = typo.to_owned();
        let stage = stage.restart_with(mistype).await;
        stage.work().await;
        push_to_all(&stage).await;
        assert_eq!(stage.components().await, 20);
        let told = stage.get("/health").await.1["checks"].to_string();
        let words = if is_there { "no provider names acme" } else { "no user or organisation" };
        assert!(told.contains(words), "{told}");
        let mend = |config: &mut Config| config.providers[0].organization = "acme".to_owned();
        let stage = stage.restart_with(mend).await;
        stage.scan().await;
        assert_eq!(stage.components().await, 20);
        assert_eq!(stage.get("/health").await.1["status"], "ok");
    }
}

#[tokio::test]
async fn an_organisation_renamed_on_github_loses_nothing() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let world = stage.world();
    world.rename_owner("acme", "acme-two");
    stage.cue(&world.put_file("acme-two/pay", FILE, component("pay", "website"))).await;
    stage.work().await;
    assert!(stage.has("pay").await, "its owner is the same account");
    stage.cue(&world.archive("acme-two/pay")).await;
    stage.cue(&world.unarchive("acme-two/pay")).await;
    stage.work().await;
    assert!(stage.has("pay").await);
    let rules_too = |config: &mut Config| {
        let kind = |kind: &str| AllowedKind { kind: kind.to_owned(), spec_type: None };
        config.rules.rules =
            Some(vec![Rule { allow: vec![kind("Component"), kind("Group")], locations: None }]);
        config.providers[0].organization = "acme-two".to_owned();
    };
    let stage = stage.restart_with(rules_too).await;
    stage.work().await;
    assert!(stage.has("pay").await, "its new name is configured, its stored one is the old one");
    stage.scan().await;
    let pay = stage.entity("component", "pay").await.expect("still there");
    let slug = &pay["metadata"]["annotations"]["github.com/project-slug"];
    assert_eq!(slug, "acme-two/pay");
}

#[tokio::test]
async fn a_login_that_passes_to_another_account_leaves_what_was_its_held_and_told() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    stage.scan().await;
    let world = stage.world();
    world.rename_owner("acme", "acme-old");
    let old = format!("github.com:{}", world.owner("acme-old").id);
    world.create_organization("acme");
    world.add_token(TOKEN, &["acme", "acme-old"]);
    let new = NewRepository::named("new").file(FILE, component("new", "service"));
    world.create_repository("acme", new);
    let mut stage = stage;
    for _ in 0..2 {
        stage.scan().await;
        assert!(stage.has("pay").await && stage.has("new").await);
        let told = stage.check(&format!("scan:{old}")).await;
        assert_eq!(told["state"], "degraded", "{:?}", stage.get("/health").await);
        let detail = told["detail"].as_str().expect("a text");
        assert!(detail.contains("belongs to another account now"), "{told}");
        assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
        assert_eq!(stage.check("removals").await["state"], "degraded");
        stage = stage.restart().await;
        stage.work().await;
    }
    stage.scan().await;
    let body = serde_json::json!({ "account": old });
    assert_eq!(stage.post("/api/cuelight/v1/approvals", body).await.0, 200);
    stage.work().await;
    assert!(!stage.has("pay").await && stage.has("new").await);
}

#[tokio::test]
async fn a_login_that_comes_back_to_its_account_is_as_before() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    stage.scan().await;
    let world = stage.world();
    world.rename_owner("acme", "acme-old");
    world.create_organization("acme");
    world.add_token(TOKEN, &["acme", "acme-old"]);
    stage.scan().await;
    world.rename_owner("acme", "other");
    world.rename_owner("acme-old", "acme");
    world.put_file("acme/pay", FILE, component("pay", "website"));
    stage.scan().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    assert_eq!(stage.check("removals").await["state"], "ok");
}

#[tokio::test]
async fn a_repository_transferred_between_two_accounts_stays_whoever_is_scanned_first() {
    for first in [0, 1] {
        let stage = Stage::with(second, process_file).await;
        let world = stage.world();
        world.create_organization("globex");
        world.add_token(TOKEN, &["acme", "globex"]);
        stage.repository("keep", &component("keep", "service")).await;
        let pay = stage.repository("pay", &component("pay", "service")).await;
        world.transfer(&pay, "globex");
        for at in [first, 1 - first] {
            stage.app.push_scan(&stage.config.providers[at]).await.expect("the key is pushed");
            stage.work().await;
            assert!(stage.has("pay").await);
        }
        let pay = stage.entity("component", "pay").await.expect("still there");
        let slug = &pay["metadata"]["annotations"]["github.com/project-slug"];
        assert_eq!(slug, "globex/pay");
    }
}

#[tokio::test]
async fn a_node_id_given_anew_and_a_repository_created_anew_are_found() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    world.reissue_node_id(&pay);
    stage.scan().await;
    assert!(stage.has("pay").await);
    stage.cue(&world.delete_repository(&pay)).await;
    let new = NewRepository::named("pay").file(FILE, component("pay", "website"));
    stage.cue(&world.create_repository("acme", new)).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_scan_lifts_the_hold_of_what_it_sees_again() {
    let stage = Stage::with_twenty().await;
    for i in 0..6 {
        stage.world().hide_repository(TOKEN, &format!("acme/svc-{i}"));
        stage.scan().await;
    }
    assert_eq!(stage.check("removals").await["state"], "degraded");
    stage.world().show_repository(TOKEN, "acme/svc-5");
    stage.scan().await;
    assert_eq!(stage.check("removals").await["state"], "ok");
    assert!(stage.has("svc-5").await);
    stage.world().reset_calls();
    stage.scan().await;
    assert_eq!(stage.world().calls().len(), 2, "once is enough");
}

#[tokio::test]
async fn the_brake_lets_a_tenth_go_and_no_more() {
    for (hidden, left) in [(7, 54), (8, 61)] {
        let stage = Stage::open().await;
        for i in 0..61 {
            let name = format!("svc-{i}");
            let new = NewRepository::named(&name).file(FILE, component(&name, "service"));
            stage.world().create_repository("acme", new);
        }
        stage.scan().await;
        for i in 0..hidden {
            stage.world().hide_repository(TOKEN, &format!("acme/svc-{i}"));
        }
        stage.scan().await;
        assert_eq!(stage.components().await, left);
    }
}

crate::support::on_redis::again_on_redis!(
    pushes_to_repositories_that_we_lost_sight_of_remove_nothing,
    pushes_after_a_mistyped_filter_remove_nothing,
    pushes_after_a_mistyped_catalog_path_remove_nothing,
    what_webhooks_say_was_removed_goes_whatever_its_number,
    what_no_provider_names_any_more_stays_as_a_whole_until_a_person_agrees,
    a_mistyped_organisation_takes_nothing_along,
    an_organisation_renamed_on_github_loses_nothing,
    a_repository_transferred_between_two_accounts_stays_whoever_is_scanned_first,
    a_node_id_given_anew_and_a_repository_created_anew_are_found,
    a_scan_lifts_the_hold_of_what_it_sees_again,
    the_brake_lets_a_tenth_go_and_no_more,
);
