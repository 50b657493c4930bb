//! What the brake holds goes when a person has approved exactly that list, and a read agrees; and
//! what a scan would do can be seen before it does it.

use cuelight::config::Config;
use fake_github::NewRepository;
use serde_json::{Value, json};

use crate::support::stage::{FILE, Stage, TOKEN, component};

const APPROVALS: &str = "/api/cuelight/v1/approvals";
const SCANS: &str = "/api/cuelight/v1/scans";
const PREVIEW: &str = "/api/cuelight/v1/scans/preview";

fn names(ids: impl Iterator<Item = usize>) -> Vec<String> {
    ids.map(|i| format!("acme/svc-{i}")).collect()
}

fn hide(stage: &Stage, ids: impl Iterator<Item = usize>) {
    names(ids).iter().for_each(|name| stage.world().hide_repository(TOKEN, name));
}

async fn waiting(stage: &Stage) -> Vec<String> {
    let (_, list) = stage.get(APPROVALS).await;
    let items = list["items"].as_array().expect("a list").iter();
    items.map(|item| item["repository"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn what_a_scan_left_alone_goes_once_that_list_is_approved() {
    let stage = Stage::with_twenty().await;
    hide(&stage, 0..6);
    stage.scan().await;
    assert_eq!(waiting(&stage).await, names(0..6));
    let check = stage.check("scan:github.com/acme").await;
    let told = check["detail"].as_str().expect("a text");
    assert!(told.contains("cuelight scan --approve-removals github.com/acme"), "{told}");
    let body = json!({ "account": "github.com/acme", "repositories": names(0..6) });
    let (status, approved) = stage.post(APPROVALS, body).await;
    assert_eq!((status, &approved["repositories"]), (200, &json!(names(0..6))));
    stage.work().await;
    assert_eq!(stage.components().await, 14);
    assert_eq!(waiting(&stage).await, Vec::<String>::new());
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
    stage.scan().await;
    assert_eq!(stage.check("scan:github.com/acme").await["state"], "ok");
}

#[tokio::test]
async fn what_the_store_holds_goes_once_it_is_approved_and_nothing_else() {
    let stage = Stage::with_twenty().await;
    hide(&stage, 0..5);
    stage.scan().await;
    hide(&stage, 5..7);
    stage.scan().await;
    assert_eq!((stage.components().await, waiting(&stage).await), (15, names(5..7)));
    let told = stage.check("removals").await["detail"].to_string();
    assert!(told.contains("cuelight scan --approve-removals github.com/acme"), "{told}");
    let account =
        stage.get("/api/cuelight/v1/status").await.1["heldRemovals"][0]["account"].clone();
    let (status, _) = stage.post(APPROVALS, json!({ "account": account })).await;
    assert_eq!(status, 200);
    stage.work().await;
    assert_eq!(stage.components().await, 13);
    assert_eq!(stage.check("removals").await["state"], "ok");
    hide(&stage, 7..8);
    stage.scan().await;
    assert_eq!((stage.components().await, waiting(&stage).await), (13, names(7..8)));
}

#[tokio::test]
async fn another_list_than_what_is_held_is_refused_with_what_is_held() {
    let stage = Stage::with_twenty().await;
    let (status, answer) = stage.post(APPROVALS, json!({ "account": "github.com/acme" })).await;
    assert_eq!((status, &answer["held"]), (409, &json!([])));
    hide(&stage, 0..6);
    stage.scan().await;
    for seen in [names(0..5), names(0..7), Vec::new()] {
        let body = json!({ "account": "github.com/acme", "repositories": seen });
        let (status, answer) = stage.post(APPROVALS, body).await;
        assert_eq!((status, &answer["held"]), (409, &json!(names(0..6))), "{seen:?}");
    }
    let (status, _) = stage.post(APPROVALS, json!({ "account": "github.com/other" })).await;
    assert_eq!(status, 404);
    for wrong in [json!({}), json!({ "account": 7 }), json!({ "account": "a", "x": 1 })] {
        assert_eq!(stage.post(APPROVALS, wrong.clone()).await.0, 400, "{wrong}");
    }
    stage.work().await;
    assert_eq!(stage.components().await, 20);
}

#[tokio::test]
async fn an_approved_repository_that_is_there_after_all_stays() {
    let stage = Stage::with_twenty().await;
    hide(&stage, 0..6);
    stage.scan().await;
    stage.world().show_repository(TOKEN, "acme/svc-3");
    let (status, _) = stage.post(APPROVALS, json!({ "account": "github.com/acme" })).await;
    assert_eq!(status, 200);
    stage.work().await;
    assert_eq!(stage.components().await, 15);
    assert!(stage.has("svc-3").await);
}

#[tokio::test]
async fn an_approval_survives_a_restart() {
    let stage = Stage::with_twenty().await;
    hide(&stage, 0..6);
    stage.scan().await;
    let (status, _) = stage.post(APPROVALS, json!({ "account": "github.com/acme" })).await;
    assert_eq!(status, 200);
    let stage = stage.restart().await;
    stage.work().await;
    assert_eq!(stage.components().await, 14);
}

#[tokio::test]
async fn a_scan_asked_for_over_the_api_is_listed_when_it_has_ended() {
    let stage = Stage::open().await;
    let (_, none) = stage.get(SCANS).await;
    assert_eq!(none, json!({ "items": [], "total": 0, "next": null }));
    let new = NewRepository::named("pay").file(FILE, component("pay", "service"));
    stage.world().create_repository("acme", new);
    let (status, asked) = stage.post(SCANS, json!({ "account": "acme" })).await;
    assert_eq!(status, 202);
    stage.work().await;
    assert!(stage.has("pay").await);
    let (_, list) = stage.get(SCANS).await;
    let scan = &list["items"][0];
    assert_eq!(scan["id"], asked["items"][0]["id"]);
    assert_eq!((&scan["account"], &scan["listed"]), (&json!("github.com/acme"), &json!(1)));
    assert_eq!((&scan["pushed"], &scan["error"]), (&json!(1), &Value::Null));
    assert!(scan["startedAt"].as_str() >= asked["items"][0]["requestedAt"].as_str());
    assert_eq!(scan["next"], Value::Null, "the schedule is manual");
    assert_eq!(stage.post(SCANS, json!({ "account": "other" })).await.0, 404);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let stage = Stage::with_twenty().await;
    let world = stage.world();
    let new = NewRepository::named("new").file(FILE, component("new", "service"));
    world.create_repository("acme", new);
    world.put_file("acme/svc-1", FILE, component("svc-1", "website"));
    world.rename("acme/svc-2", "store");
    world.archive("acme/svc-3");
    world.delete_repository("acme/svc-4");
    let (status, list) = stage.post(PREVIEW, json!({})).await;
    assert_eq!(status, 200, "{list}");
    let plan = &list["items"][0];
    assert_eq!((&plan["account"], &plan["listed"]), (&json!("github.com/acme"), &json!(20)));
    let read = |name: &str, why: &str, entity: &str| {
        json!({
            "repository": format!("acme/{name}"), "why": why,
            "entities": [format!("component:default/{entity}")], "problems": [], "error": null,
        })
    };
    assert_eq!(plan["added"], json!([read("new", "it has a catalog file", "new")]));
    let store = read("store", "it was called acme/svc-2", "svc-2");
    let website = read("svc-1", "its catalog files differ", "svc-1");
    assert_eq!(plan["changed"], json!([store, website]));
    let archived = "provider default: archived, and filters.allowArchived is false";
    let removed = json!([
        {"repository": "acme/svc-3", "why": archived},
        {"repository": "acme/svc-4", "why": "GitHub does not list it any more"},
    ]);
    assert_eq!((&plan["removed"], &plan["held"]), (&removed, &json!([])));
    assert!(stage.work().await.is_empty(), "nothing was pushed");
    assert_eq!(stage.components().await, 20);
}

#[tokio::test]
async fn a_dry_run_names_what_would_be_held() {
    let stage = Stage::with_twenty().await;
    let typo = |config: &mut Config| {
        config.providers[0].filters.topics_include = vec!["catalgo".to_owned()];
    };
    let stage = stage.restart_with(typo).await;
    let (_, list) = stage.post(PREVIEW, json!({ "account": "github.com/acme" })).await;
    let plan = &list["items"][0];
    assert_eq!(plan["held"].as_array().map(Vec::len), Some(20));
    let why = plan["removed"][0]["why"].as_str().expect("a text");
    assert!(why.contains("filters.topic.include"), "{why}");
    assert_eq!(stage.components().await, 20);
}

#[tokio::test]
async fn a_scan_in_between_does_not_hold_again_what_is_approved() {
    let stage = Stage::with_twenty().await;
    hide(&stage, 0..8);
    stage.scan().await;
    let (status, _) = stage.post(APPROVALS, json!({ "account": "acme" })).await;
    assert_eq!(status, 200);
    let scanner = &stage.app.worker.scanner;
    let account = scanner
        .board
        .results()
        .await
        .expect("the storage works")
        .into_keys()
        .next()
        .expect("a scan");
    scanner.scan(&account).await.expect("the storage works").expect("GitHub answers");
    assert_eq!(waiting(&stage).await, Vec::<String>::new());
    stage.work().await;
    assert_eq!(stage.components().await, 12);
}
