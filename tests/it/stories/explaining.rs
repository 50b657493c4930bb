//! Why a repository is in the catalog, or why it is not.

use cuelight::config::Config;
use fake_github::NewRepository;
use serde_json::{Value, json};

use crate::support::stage::{FILE, Stage, TOKEN, component};

async fn explain(stage: &Stage, name: &str) -> Value {
    let (status, body) = stage.get(&format!("/api/cuelight/v1/explain?repository={name}")).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn a_repository_in_the_catalog_is_told_with_its_files_problems_and_last_event() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let two = format!("{}---\n{}", component("shop", "service"), component("pay", "service"));
    stage.repository("shop", &two).await;
    let told = explain(&stage, "acme/SHOP").await;
    assert_eq!((&told["standing"], &told["providers"]), (&json!("in"), &json!(["default"])));
    assert_eq!(
        (&told["repository"], &told["account"]),
        (&json!("acme/shop"), &json!("github.com/acme"))
    );
    let file = &told["record"]["files"][0];
    assert_eq!((&file["path"], &file["provider"]), (&json!(FILE), &json!("default")));
    assert_eq!(file["entities"][0], json!({"entityRef": "component:default/shop", "stale": null}));
    assert_eq!(told["record"]["head"].as_str().map(str::len), Some(40));
    let reasons = told["record"]["reconciledFor"].as_array().expect("a list");
    assert!(reasons.contains(&json!("created")), "{reasons:?}");
    assert_eq!(told["lastEvent"]["outcome"].as_str(), Some("merged"));
    assert_eq!(told["problems"][0]["code"], "conflict");
    assert_eq!((&told["queue"], &told["held"]), (&json!([]), &Value::Null));
    assert_eq!(stage.world().calls().len(), 0, "GitHub is not asked");
}

#[tokio::test]
async fn what_waits_in_the_queue_is_told() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().put_file(&pay, FILE, component("pay", "website"))).await;
    let told = explain(&stage, "acme/pay").await;
    assert_eq!(
        (&told["queue"][0]["state"], &told["queue"][0]["reasons"]),
        (&json!("waiting"), &json!(["push"]))
    );
}

#[tokio::test]
async fn repositories_without_a_record_are_told_why() {
    let stage = Stage::open().await;
    let world = stage.world();
    world.create_repository("acme", NewRepository::named("tools").file("README.md", "hello"));
    let new = NewRepository::named("new").file(FILE, component("new", "service"));
    world.create_repository("acme", new);
    let old = NewRepository::named("old").file(FILE, component("old", "service"));
    world.create_repository("acme", old);
    world.archive("acme/old");
    world.create_repository("acme", NewRepository::named("secret"));
    world.hide_repository(TOKEN, "acme/secret");
    for (name, standing, why) in [
        ("acme/tools", "no-catalog-file", "there is no catalog-info.yaml on its default branch"),
        ("acme/new", "not-seen-yet", "it has catalog-info.yaml and was not read yet"),
        ("acme/old", "filtered-out", "filters.allowArchived"),
        ("acme/secret", "not-shown", "does not show it to the credentials of acme"),
        ("acme/nothing", "not-shown", "does not show it"),
        ("other/thing", "stranger", "names the owner `other`"),
    ] {
        let told = explain(&stage, name).await;
        assert_eq!(told["standing"], standing, "{told}");
        assert!(told["why"].as_str().is_some_and(|text| text.contains(why)), "{told}");
        assert_eq!(told["record"], Value::Null);
    }
    let (status, _) = stage.get("/api/cuelight/v1/explain?repository=nonsense").await;
    assert_eq!(status, 400);
    assert_eq!(stage.get("/api/cuelight/v1/explain").await.0, 400);
}

#[tokio::test]
async fn a_removal_that_waits_is_told_with_the_command_that_approves_it() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    stage.world().hide_repository(TOKEN, &pay);
    stage.scan().await;
    let told = explain(&stage, "acme/pay").await;
    assert_eq!(told["held"]["approve"], "cuelight scan --approve-removals github.com/acme");
    assert_eq!(told["lastScan"]["held"], json!(["acme/pay"]));
}

#[tokio::test]
async fn a_record_that_filters_no_longer_let_in_is_told_with_the_filter() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let typo = |config: &mut Config| {
        config.providers[0].filters.topics_include = vec!["catalgo".to_owned()];
    };
    let stage = stage.restart_with(typo).await;
    let told = explain(&stage, "acme/pay").await;
    assert_eq!(told["standing"], "filtered-out");
    assert!(told["why"].to_string().contains("filters.topic.include"), "{told}");
    assert_ne!(told["record"], Value::Null);
}
