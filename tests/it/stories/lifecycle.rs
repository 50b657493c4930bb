//! What happens to whole repositories.

use cuelight::catalog::process_file;
use fake_github::Event;

use crate::support::stage::{FILE, Stage, component};

async fn annotation(stage: &Stage, name: &str) -> Option<String> {
    let entity = stage.entity("component", "pay").await?;
    Some(entity["metadata"]["annotations"][name].as_str().expect("a text").to_owned())
}

#[tokio::test]
async fn a_renamed_repository_keeps_its_entities_under_the_new_address() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().rename(&pay, "payments")).await;
    stage.work().await;
    let url = annotation(&stage, "backstage.io/view-url").await.expect("still there");
    assert_eq!(url, "https://github.com/acme/payments/blob/main/catalog-info.yaml");
    let (_, list) = stage.get("/api/cuelight/v1/repositories").await;
    assert_eq!(list["total"], 1, "one record, whatever its name: {list}");
}

#[tokio::test]
async fn an_archived_repository_goes_and_comes_back() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().archive(&pay)).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
    stage.cue(&stage.world().unarchive(&pay)).await;
    stage.work().await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn an_archived_repository_stays_where_the_filters_allow_it() {
    let allow = |config: &mut cuelight::config::Config| {
        config.providers[0].filters.allow_archived = true;
    };
    let stage = Stage::with(allow, process_file).await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().archive(&pay)).await;
    stage.work().await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn a_deleted_repository_goes() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().delete_repository(&pay)).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
    let (_, list) = stage.get("/api/cuelight/v1/repositories").await;
    assert_eq!(list["total"], 0);
}

#[tokio::test]
async fn a_deletion_that_github_does_not_confirm_deletes_nothing() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let mut payload = stage.world().set_topics(&pay, &["money"])[0].payload.clone();
    payload["action"] = "deleted".into();
    stage.cue(&[Event { name: "repository".to_owned(), payload }]).await;
    stage.work().await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn a_repository_transferred_to_a_stranger_goes() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.world().create_organization("elsewhere");
    stage.world().add_token(crate::support::stage::TOKEN, &["acme", "elsewhere"]);
    stage.cue(&stage.world().transfer(&pay, "elsewhere")).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
}

#[tokio::test]
async fn a_new_default_branch_is_read() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let world = stage.world();
    world.push(&pay, fake_github::Push::to("trunk").put(FILE, component("pay", "website")));
    stage.cue(&world.set_default_branch(&pay, "trunk")).await;
    stage.work().await;
    let url = annotation(&stage, "backstage.io/view-url").await.expect("still there");
    assert_eq!(url, "https://github.com/acme/pay/blob/trunk/catalog-info.yaml");
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_topic_that_a_filter_wants_lets_a_repository_in_and_out() {
    let want = |config: &mut cuelight::config::Config| {
        config.providers[0].filters.topics_include = vec!["catalog".to_owned()];
    };
    let stage = Stage::with(want, process_file).await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    assert!(!stage.has("pay").await);
    stage.cue(&stage.world().set_topics(&pay, &["catalog"])).await;
    stage.work().await;
    assert!(stage.has("pay").await);
    stage.cue(&stage.world().set_topics(&pay, &[])).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
}

#[tokio::test]
async fn repositories_added_to_an_installation_are_read() {
    let stage = Stage::open().await;
    let world = stage.world();
    let new = fake_github::NewRepository::named("pay").file(FILE, component("pay", "service"));
    world.create_repository("acme", new);
    stage.cue(&[world.installation_repositories("added", &["acme/pay"])]).await;
    stage.work().await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn the_catalog_survives_a_restart_and_is_served_without_github() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let before = stage.entity("component", "pay").await;
    let stage = stage.restart().await;
    assert_eq!(stage.entity("component", "pay").await, before);
    assert!(stage.world().calls().is_empty(), "nothing was read from GitHub");
}

#[tokio::test]
async fn changed_rules_process_the_stored_text_again_without_github() {
    let stage = Stage::open().await;
    let user = "apiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: ops}\n\
                spec: {type: team, children: []}\n";
    stage.repository("ops", user).await;
    assert!(stage.entity("group", "ops").await.is_none(), "groups need a rule");
    let allow = |config: &mut cuelight::config::Config| {
        let kind =
            |kind: &str| cuelight::config::AllowedKind { kind: kind.to_owned(), spec_type: None };
        let rule = cuelight::config::Rule {
            allow: vec![kind("Location"), kind("Group")],
            locations: None,
        };
        config.rules.rules = Some(vec![rule]);
    };
    let stage = stage.restart_with(allow).await;
    stage.work().await;
    assert!(stage.entity("group", "ops").await.is_some());
    assert!(stage.world().calls().is_empty(), "nothing was read from GitHub");
    let check = stage.check("github:github.com/acme").await;
    assert!(check.is_null(), "who was not asked did not answer: {check}");
}

crate::support::on_redis::again_on_redis!(
    a_renamed_repository_keeps_its_entities_under_the_new_address,
    an_archived_repository_goes_and_comes_back,
    an_archived_repository_stays_where_the_filters_allow_it,
    a_deleted_repository_goes,
    a_deletion_that_github_does_not_confirm_deletes_nothing,
    a_repository_transferred_to_a_stranger_goes,
    a_new_default_branch_is_read,
    a_topic_that_a_filter_wants_lets_a_repository_in_and_out,
    repositories_added_to_an_installation_are_read,
    the_catalog_survives_a_restart_and_is_served_without_github,
    changed_rules_process_the_stored_text_again_without_github,
);
