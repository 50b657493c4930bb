//! Files come, change and go.

use fake_github::{NewRepository, Push};

use crate::support::stage::{FILE, Stage, component};

#[tokio::test]
async fn a_repository_created_with_a_file_is_in_the_catalog() {
    let stage = Stage::open().await;
    let new = NewRepository::named("pay").file(FILE, component("pay", "service"));
    stage.cue(&stage.world().create_repository("acme", new)).await;
    assert!(!stage.has("pay").await, "nothing is read before a worker runs");
    stage.work().await;
    let entity = stage.entity("component", "pay").await.expect("the component");
    let annotations = &entity["metadata"]["annotations"];
    let url = "url:https://github.com/acme/pay/blob/main/catalog-info.yaml";
    assert_eq!(annotations["backstage.io/managed-by-location"], url);
    assert_eq!(entity["relations"][0]["type"], "ownedBy");
    assert_eq!(entity["relations"][0]["targetRef"], "group:default/team-a");
}

#[tokio::test]
async fn a_repository_created_empty_and_then_pushed_is_in_the_catalog() {
    let stage = Stage::open().await;
    let world = stage.world();
    stage.cue(&world.create_repository("acme", NewRepository::named("pay"))).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
    stage.cue(&world.put_file("acme/pay", FILE, component("pay", "service"))).await;
    stage.work().await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn a_repository_created_empty_is_looked_at_again_for_a_first_commit_without_an_event() {
    let stage = Stage::open().await;
    let world = stage.world();
    stage.cue(&world.create_repository("acme", NewRepository::named("pay"))).await;
    stage.work().await;
    world.put_file("acme/pay", FILE, component("pay", "service"));
    stage.work().await;
    assert!(!stage.has("pay").await, "not due yet");
    stage.clock.advance(std::time::Duration::from_secs(1));
    stage.work().await;
    assert!(stage.has("pay").await);
}

#[tokio::test]
async fn a_changed_file_changes_its_entity() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    assert_eq!(stage.world().calls().len(), 1, "one call for one push");
}

#[tokio::test]
async fn a_renamed_entity_replaces_the_old_one() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().put_file(&pay, FILE, component("payments", "service"))).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
    assert!(stage.has("payments").await);
}

#[tokio::test]
async fn a_removed_file_removes_its_entities() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().delete_file(&pay, FILE)).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
}

#[tokio::test]
async fn a_file_removed_and_added_again_in_one_push_stays() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let push = Push::to("main").delete(FILE).commit().put(FILE, component("pay", "website"));
    stage.cue(&stage.world().push(&pay, push)).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
}

#[tokio::test]
async fn a_forced_push_that_drops_the_file_removes_its_entities() {
    let stage = Stage::open().await;
    let world = stage.world();
    let new = NewRepository::named("pay").file("README.md", "pay");
    stage.cue(&world.create_repository("acme", new)).await;
    let before = world.head("acme/pay", "main");
    stage.cue(&world.put_file("acme/pay", FILE, component("pay", "service"))).await;
    stage.work().await;
    assert!(stage.has("pay").await);
    stage.cue(&world.force_push("acme/pay", "main", &before)).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
}

#[tokio::test]
async fn a_push_to_another_branch_costs_no_call() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let push = Push::to("feature").put(FILE, component("pay", "website"));
    assert_eq!(stage.cue(&stage.world().push(&pay, push)).await, ["ignored"]);
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
    assert!(stage.world().calls().is_empty());
}

#[tokio::test]
async fn a_push_to_the_configured_branch_counts_and_the_default_branch_does_not() {
    let stage = Stage::with(
        |config| config.providers[0].filters.branch = Some("live".to_owned()),
        cuelight::catalog::process_file,
    )
    .await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    assert!(!stage.has("pay").await, "the file is on main only");
    let push = Push::to("live").put(FILE, component("pay", "website"));
    assert_eq!(stage.cue(&stage.world().push(&pay, push)).await, ["queued"]);
    stage.work().await;
    let entity = stage.entity("component", "pay").await.expect("read from the live branch");
    assert_eq!(entity["spec"]["type"], "website");
    let url = "https://github.com/acme/pay/blob/live/catalog-info.yaml";
    assert_eq!(entity["metadata"]["annotations"]["backstage.io/view-url"], url);
    stage.cue(&stage.world().delete_branch(&pay, "live")).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
}

#[tokio::test]
async fn an_invalid_file_is_a_problem_until_it_is_mended_and_its_good_neighbour_goes_in() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let broken = format!("{}---\n{}", component("shop", "service"), "kind: [Component\n");
    stage.cue(&stage.world().put_file(&pay, FILE, broken)).await;
    stage.work().await;
    assert!(stage.has("shop").await, "the good neighbour");
    let entity = stage.entity("component", "pay").await.expect("the last good version");
    let status = &entity["status"]["items"][0];
    assert_eq!(status["type"], "backstage.io/catalog-processing");
    let problems = stage.problems().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].0, "yaml-syntax");
    let mended = format!("{}---\n{}", component("shop", "service"), component("pay", "library"));
    stage.cue(&stage.world().put_file(&pay, FILE, mended)).await;
    stage.work().await;
    assert!(stage.problems().await.is_empty());
    let entity = stage.entity("component", "pay").await.expect("mended");
    assert_eq!(entity["spec"]["type"], "library");
    assert!(entity.get("status").is_none(), "{entity}");
}

#[tokio::test]
async fn an_entity_that_breaks_a_rule_keeps_its_last_good_version() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let broken = component("pay", "website").replace("  owner: team-a\n", "");
    stage.cue(&stage.world().put_file(&pay, FILE, broken)).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
    assert_eq!(stage.problems().await[0].0, "schema");
}

#[tokio::test]
async fn a_file_that_is_too_large_is_a_problem_and_what_it_declared_stays() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let large = format!("{}# {}\n", component("pay", "website"), "x".repeat(1024 * 1024));
    stage.cue(&stage.world().put_file(&pay, FILE, large)).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
    assert_eq!(stage.problems().await[0].0, "file-unreadable");
}

#[tokio::test]
async fn two_repositories_that_claim_one_ref_conflict_until_the_first_goes() {
    let stage = Stage::open().await;
    let first = stage.repository("first", &component("pay", "service")).await;
    stage.repository("second", &component("pay", "website")).await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("service"));
    assert_eq!(stage.problems().await[0].0, "conflict");
    stage.cue(&stage.world().delete_file(&first, FILE)).await;
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("website"));
    assert!(stage.problems().await.is_empty());
}

crate::support::on_redis::again_on_redis!(
    a_repository_created_with_a_file_is_in_the_catalog,
    a_repository_created_empty_and_then_pushed_is_in_the_catalog,
    a_repository_created_empty_is_looked_at_again_for_a_first_commit_without_an_event,
    a_changed_file_changes_its_entity,
    a_renamed_entity_replaces_the_old_one,
    a_removed_file_removes_its_entities,
    a_file_removed_and_added_again_in_one_push_stays,
    a_forced_push_that_drops_the_file_removes_its_entities,
    a_push_to_another_branch_costs_no_call,
    a_push_to_the_configured_branch_counts_and_the_default_branch_does_not,
    an_invalid_file_is_a_problem_until_it_is_mended_and_its_good_neighbour_goes_in,
    an_entity_that_breaks_a_rule_keeps_its_last_good_version,
    a_file_that_is_too_large_is_a_problem_and_what_it_declared_stays,
    two_repositories_that_claim_one_ref_conflict_until_the_first_goes,
);
