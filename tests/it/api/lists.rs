//! `/api/cuelight/v1`: status, lists, and commands on dead keys.

use axum::http::StatusCode;
use cuelight::catalog::{Code, Problem, View};
use cuelight::clock::Timestamp;
use cuelight::engine::queue::{Delivery, Entry, LedgerEntry, QueueStats, State};
use cuelight::engine::store::Held;
use cuelight::ids::{Account, DeliveryId, FullName, Host, OwnerId, RepoId};
use cuelight::work::{Hint, Lane, Reasons, RepoKey, WorkKey};
use serde_json::{Value, json};

use super::open;
use crate::support::catalogs::{PATH, component, file, repository, with_problems};

fn account() -> Account {
    Account { host: Host::github_com(), owner: OwnerId(7) }
}

fn repo_key(id: u64) -> RepoKey {
    RepoKey { host: Host::github_com(), id: RepoId(id) }
}

fn entry(id: u64, state: State) -> Entry {
    let reasons = Reasons::PUSH.and(Reasons::SCAN);
    let mut hint = Hint::new(reasons, Timestamp::EPOCH);
    hint.name = Some(FullName::parse("acme/svc").unwrap());
    Entry {
        key: WorkKey::Repo(repo_key(id)),
        state,
        lane: Lane::Event,
        account: account(),
        hint,
        attempts: 8,
        at: Timestamp(1_500),
        error: (state == State::Dead).then(|| "GitHub answered 500".to_owned()),
    }
}

fn delivery(number: u64) -> LedgerEntry {
    LedgerEntry {
        delivery: Delivery {
            id: DeliveryId::parse(&format!("guid-{number}")).unwrap(),
            event: "push".to_owned(),
            action: None,
            repository: Some(FullName::parse("acme/svc").unwrap()),
            received_at: Timestamp(number.cast_signed()),
            ignored: (number == 1).then(|| "no such branch".to_owned()),
        },
        outcome: if number == 1 { "ignored" } else { "queued" },
    }
}

pub fn broken_repository() -> View {
    let mut broken = file("docs/my catalog.yaml", 2, vec![component("a")]);
    broken.branch = "next".to_owned();
    let problem = Problem {
        code: Code::YamlSyntax,
        path: "docs/my catalog.yaml".to_owned(),
        line: 4,
        column: 2,
        document: 3,
        entity_ref: None,
        message: "this is no YAML".to_owned(),
    };
    let first = repository(1, 1, vec![file(PATH, 1, vec![component("a")])]);
    let second = repository(2, 2, vec![with_problems(broken, vec![problem])]);
    View::empty().with_repository(first).with_repository(second).complete_to(2)
}

#[tokio::test]
async fn repositories_are_listed_with_what_they_bring() {
    let list = open(broken_repository()).get("/api/cuelight/v1/repositories?limit=1").await.json();
    assert_eq!(
        list,
        json!({"items": [{
            "host": "github.com", "id": 1, "fullName": "acme/repo-1", "account": "github.com:7",
            "defaultBranch": "main", "head": "1".repeat(40), "entities": 1, "problems": 0,
            "reconciledAt": "2026-01-01T00:00:00.000Z",
        }], "total": 2, "next": 1})
    );
    let api = open(broken_repository());
    let rest = api.get("/api/cuelight/v1/repositories/?limit=1&offset=1").await.json();
    assert_eq!(rest["next"], Value::Null);
    assert_eq!(
        (&rest["items"][0]["entities"], &rest["items"][0]["problems"]),
        (&json!(0), &json!(2))
    );
}

#[tokio::test]
async fn problems_are_listed_with_a_link_to_the_line() {
    let list = open(broken_repository()).get("/api/cuelight/v1/problems").await.json();
    assert_eq!((&list["total"], &list["next"]), (&json!(2), &Value::Null));
    let url = "https://github.com/acme/repo-2/blob/next/docs/my%20catalog.yaml";
    assert_eq!(
        list["items"][1],
        json!({
            "code": "yaml-syntax", "repository": "acme/repo-2", "path": "docs/my catalog.yaml",
            "line": 4, "column": 2, "document": 3, "entityRef": null,
            "message": "this is no YAML", "url": format!("{url}#L4"),
        })
    );
    assert_eq!(list["items"][0]["code"], "conflict");
    assert_eq!(list["items"][0]["entityRef"], "component:default/a");
    assert_eq!(list["items"][0]["url"], format!("{url}#L1"));
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_in_pages() {
    let api = open(View::empty());
    api.engine.script(|script| script.deliveries = (0..3).rev().map(delivery).collect());
    let list = api.get("/api/cuelight/v1/deliveries?limit=2").await.json();
    assert_eq!((&list["total"], &list["next"]), (&json!(3), &json!(2)));
    assert_eq!(
        list["items"][1],
        json!({
            "guid": "guid-1", "event": "push", "action": null, "repository": "acme/svc",
            "receivedAt": "1970-01-01T00:00:00.001Z", "outcome": "ignored",
            "reason": "no such branch",
        })
    );
    let rest = api.get("/api/cuelight/v1/deliveries?limit=2&offset=2").await.json();
    assert_eq!((&rest["items"][0]["guid"], &rest["next"]), (&json!("guid-0"), &Value::Null));
    assert_eq!(rest["items"][0].get("reason"), None);
}

#[tokio::test]
async fn who_follows_next_through_a_long_list_is_never_refused() {
    let api = open(View::empty());
    api.engine.script(|script| script.deliveries = (0..10_001).rev().map(delivery).collect());
    let mut next = json!(0);
    while !next.is_null() {
        let page = api.get(&format!("/api/cuelight/v1/deliveries?limit=4000&offset={next}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert_eq!(page.json()["total"], 10_001);
        next = page.json()["next"].clone();
    }
}

#[tokio::test]
async fn the_queue_is_listed_by_state_and_the_dead_first() {
    let api = open(View::empty());
    api.engine.script(|script| {
        script.entries =
            vec![entry(1, State::Waiting), entry(2, State::Dead), entry(3, State::Held)];
    });
    let dead = api.get("/api/cuelight/v1/queue?state=dead").await.json();
    assert_eq!(
        dead,
        json!({"items": [{
            "key": "repo:github.com:2", "state": "dead", "lane": "event",
            "account": "github.com:7", "repository": "acme/svc", "reasons": ["push", "scan"],
            "attempts": 8, "at": "1970-01-01T00:00:01.500Z", "error": "GitHub answered 500",
        }], "total": 1, "next": null})
    );
    let all = api.get("/api/cuelight/v1/queue?limit=2").await.json();
    let states: Vec<&Value> =
        all["items"].as_array().unwrap().iter().map(|item| &item["state"]).collect();
    assert_eq!(states, ["dead", "held"]);
    assert_eq!((&all["total"], &all["next"]), (&json!(3), &json!(2)));
    let wrong = api.get("/api/cuelight/v1/queue?state=lost").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn dead_keys_are_retried_and_dropped() {
    let api = open(View::empty());
    api.engine.script(|script| {
        script.entries = vec![entry(1, State::Dead), entry(2, State::Dead), entry(3, State::Held)];
    });
    let key = |id: u64| format!("{{\"key\": \"repo:github.com:{id}\"}}");
    let retried = api.post("/api/cuelight/v1/queue/retry", &key(1)).await;
    assert_eq!(retried.json(), json!({"key": "repo:github.com:1", "retried": true}));
    let dropped = api.post("/api/cuelight/v1/queue/drop", &key(2)).await;
    assert_eq!(dropped.json(), json!({"key": "repo:github.com:2", "dropped": true}));
    let held = api.post("/api/cuelight/v1/queue/drop", &key(3)).await;
    assert_eq!(held.status, StatusCode::NOT_FOUND);
    assert_eq!(held.json()["error"]["message"], "repo:github.com:3 is not dead");
    let wrong = api.post("/api/cuelight/v1/queue/retry", r#"{"key": "repo:1"}"#).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

pub fn busy() -> QueueStats {
    QueueStats {
        waiting_event: 2,
        waiting_scan: 5,
        held: 3,
        dead: 4,
        oldest_event: Some(Timestamp(1_500)),
        gates: vec![(account(), Timestamp(9_000), "secondary limit".to_owned())],
        durability: "every commit is synced".to_owned(),
    }
}

pub fn held() -> Vec<Held> {
    vec![Held {
        key: repo_key(9),
        full_name: FullName::parse("acme/gone").unwrap(),
        account: account(),
        since: Timestamp(3_000),
    }]
}

#[tokio::test]
async fn the_status_tells_what_is_going_on() {
    let api = open(broken_repository());
    api.engine.script(|script| (script.stats, script.held) = (busy(), held()));
    let mut status = api.get("/api/cuelight/v1/status").await.json();
    assert!(status["uptimeSeconds"].take().as_u64().unwrap() > 1_000);
    assert_eq!(
        status,
        json!({
            "version": "1.2.3", "startedAt": "1970-01-01T00:00:00.000Z", "uptimeSeconds": null,
            "webhooks": "on", "workers": 3,
            "storage": {"url": "sqlite:./test.db", "durability": "every commit is synced", "seq": 3},
            "view": {"seq": 2, "complete": true, "repositories": 2, "entities": 1, "problems": 2},
            "queue": {
                "waitingEvent": 2, "waitingScan": 5, "held": 3, "dead": 4,
                "oldestEventAt": "1970-01-01T00:00:01.500Z",
            },
            "gates": [{
                "account": "github.com:7", "until": "1970-01-01T00:00:09.000Z",
                "reason": "secondary limit",
            }],
            "heldRemovals": [{
                "key": "repo:github.com:9", "repository": "acme/gone", "account": "github.com:7",
                "since": "1970-01-01T00:00:03.000Z",
            }],
            "providers": [{
                "id": "default", "host": "github.com", "organization": "acme",
                "catalogPath": ["catalog-info.yaml"], "schedule": "every 20 minutes",
            }],
        })
    );
}
