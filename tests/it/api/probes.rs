//! Health, probes and metrics, and who may ask for what.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use cuelight::catalog::View;
use cuelight::clock::{Clock as _, SystemClock};
use cuelight::config::InternalAuth;
use cuelight::health::{CheckState, VIEW_FOLLOWS};
use cuelight::http::internal::{Info, Webhooks};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::lists::{broken_repository, busy, held};
use super::{bookshop, open};
use crate::support::internal_api::{Answer, InternalApi, info};

fn states(health: &Answer) -> Vec<(String, String)> {
    let body = health.json();
    let checks = body["checks"].as_object().unwrap();
    let state = |check: &Value| check["state"].as_str().unwrap().to_owned();
    checks.iter().map(|(name, check)| (name.clone(), state(check))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn health_is_ok_when_all_is_well_and_webhooks_may_be_off() {
    let api = InternalApi::with_webhooks(bookshop(), InternalAuth::None, Webhooks::Off);
    let health = api.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &json!("ok")));
    assert_eq!(
        states(&health),
        pairs(&[
            ("problems", "ok"),
            ("queue", "ok"),
            ("removals", "ok"),
            ("storage", "ok"),
            ("view", "ok"),
            ("webhooks", "off"),
        ])
    );
    let since = health.json()["checks"]["view"]["since"].clone();
    assert!(since.as_str().is_some_and(|since| since.ends_with('Z')), "{since}");
}

#[tokio::test]
async fn health_says_that_nothing_is_configured_to_be_read() {
    let nothing = Info { providers: Vec::new(), ..info() };
    let api = InternalApi::with_info(View::empty(), InternalAuth::None, nothing);
    let providers = api.get("/health").await.json()["checks"]["providers"].clone();
    assert_eq!(providers["state"], "off");
    assert!(providers["detail"].to_string().contains("--org"), "{providers}");
}

#[tokio::test]
async fn health_is_degraded_while_something_waits_for_a_person() {
    let api = open(bookshop());
    api.engine.script(|script| (script.stats, script.held) = (busy(), held()));
    api.health.set("github.com", CheckState::Degraded, "GitHub answers 502");
    let health = api.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &json!("degraded")));
    assert_eq!(
        states(&health),
        pairs(&[
            ("github-limits", "degraded"),
            ("github.com", "degraded"),
            ("problems", "ok"),
            ("queue", "degraded"),
            ("removals", "degraded"),
            ("storage", "ok"),
            ("view", "ok"),
            ("webhooks", "ok"),
        ])
    );
    let detail = |name: &str| health.json()["checks"][name]["detail"].to_string();
    assert!(detail("queue").contains("4 keys") && detail("queue").contains("cuelight queue ls"));
    assert!(detail("removals").contains("acme/gone"));
    assert!(detail("github-limits").contains("secondary limit"));
    api.engine.script(|script| (script.stats, script.held) = Default::default());
    api.health.remove("github.com");
    let healed = api.get("/health").await;
    assert_eq!(healed.json()["status"], "ok", "{healed:?}");
    assert!(!healed.text.contains("github-limits"));
}

#[tokio::test]
async fn health_fails_while_the_storage_is_away_or_the_view_not_loaded() {
    let api = open(bookshop());
    api.engine.script(|script| script.is_away = true);
    let health = api.get("/health").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.json()["status"], "failing");
    assert!(health.json()["checks"]["storage"]["detail"].to_string().contains("the disk is gone"));
    let health = open(View::empty()).get("/health").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.json()["checks"]["view"]["state"], "failing");
}

#[tokio::test]
async fn a_storage_that_only_reads_fails_health_and_readiness() {
    let api = open(bookshop());
    api.engine.script(|script| (script.is_read_only, script.stats) = (true, busy()));
    let health = api.get("/health").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    let checks = &health.json()["checks"];
    assert_eq!(checks["storage"]["state"], "failing");
    assert!(checks["storage"]["detail"].to_string().contains("the disk is full"));
    assert_eq!(checks["queue"]["state"], "degraded", "what can be read is told: {checks}");
    let ready = api.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    api.engine.script(|script| script.is_read_only = false);
    assert_eq!(api.get("/health").await.json()["checks"]["storage"]["state"], "ok");
}

#[tokio::test]
async fn a_storage_that_hangs_fails_health_after_a_second() {
    let api = open(bookshop());
    api.engine.script(|script| script.is_stuck = true);
    let health = api.get("/health").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(health.text.contains("did not answer within 1 s"), "{}", health.text);
}

#[tokio::test]
async fn the_process_is_alive_always_and_ready_when_it_can_serve() {
    let api = open(View::empty());
    assert_eq!(api.get("/livez").await.text, "ok");
    let early = api.get("/readyz").await;
    assert_eq!(early.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(early.text.contains("being loaded"), "{}", early.text);
    api.view.send_replace(bookshop().into());
    assert_eq!(api.get("/readyz").await.text, "ok");
    api.engine.script(|script| script.is_away = true);
    let away = api.get("/readyz").await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.text.contains("the disk is gone"), "{}", away.text);
    assert_eq!(api.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn metrics_are_open_metrics_with_present_gauges() {
    let api = open(broken_repository());
    api.engine.script(|script| script.stats = busy());
    let metrics = api.get("/metrics").await;
    assert_eq!(
        metrics.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    for line in [
        "cuelight_queue_keys{outcome=\"waiting-event\"} 2",
        "cuelight_queue_keys{outcome=\"waiting-scan\"} 5",
        "cuelight_queue_keys{outcome=\"held\"} 3",
        "cuelight_queue_keys{outcome=\"dead\"} 4",
        "cuelight_entities 1",
        "cuelight_problems{code=\"conflict\"} 1",
        "cuelight_problems{code=\"yaml-syntax\"} 1",
        "cuelight_problems{code=\"schema\"} 0",
        "cuelight_repositories_with_problems 1",
        "cuelight_webhooks_total{outcome=\"queued\"} 0",
        "# EOF",
    ] {
        assert!(metrics.text.lines().any(|l| l == line), "{line} in {}", metrics.text);
    }
    assert!(!metrics.text.contains("cuelight_oldest_event_seconds 0"));
}

fn with_header(path: &str, name: &str, value: &str) -> Request<Body> {
    Request::get(path).header(name, value).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn tokens_open_everything_and_probes_need_none() {
    let tokens = ["first-token", "second-token"].map(SecretString::from).to_vec();
    let api = InternalApi::new(bookshop(), InternalAuth::Tokens(tokens));
    for path in ["/api/catalog/entities", "/api/cuelight/v1/status"] {
        let none = api.get(path).await;
        assert_eq!(none.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(none.json()["error"]["message"], "Missing credentials", "{path}");
        for wrong in ["Bearer first", "Bearer second-token2", "Bearer FIRST-TOKEN"] {
            let answer = api.send(with_header(path, "authorization", wrong)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {wrong}");
            assert_eq!(answer.json()["error"]["message"], "Illegal token", "{path} {wrong}");
            assert_eq!(answer.json()["response"]["statusCode"], 401);
        }
        for right in ["Bearer first-token", "bearer second-token"] {
            let answer = api.send(with_header(path, "authorization", right)).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {right}");
        }
    }
    for path in ["/health", "/livez", "/readyz", "/metrics", "/health/", "/metrics/"] {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
    let unknown = api.get("/api/catalog/nope").await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED, "not even what is there is told");
}

#[tokio::test]
async fn without_auth_only_names_of_this_machine_are_answered() {
    let api = InternalApi::new(bookshop(), InternalAuth::Loopback);
    for host in ["127.0.0.1:7007", "localhost", "[::1]:7007"] {
        let answer = api.send(with_header("/api/catalog/entities", "host", host)).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
    let rebound = api.send(with_header("/api/catalog/entities", "host", "evil.example:7007")).await;
    assert_eq!(rebound.status, StatusCode::FORBIDDEN);
    assert_eq!(rebound.json()["error"]["name"], "NotAllowedError");
    let open = InternalApi::new(bookshop(), InternalAuth::None);
    let named = open.send(with_header("/api/catalog/entities", "host", "catalog.example")).await;
    assert_eq!(named.status, StatusCode::OK);
}

#[tokio::test]
async fn the_root_lists_the_end_points_and_wrong_methods_are_not_found() {
    let api = open(bookshop());
    let root = api.get("/").await;
    assert_eq!(root.header("content-type"), "text/plain; charset=utf-8");
    // A name has to be filled in, and the stream of changes has no end.
    let is_asked = |line: &&str| {
        line.starts_with("/api") && !line.contains("NAME") && !line.contains("/changes")
    };
    for line in root.text.lines().filter(is_asked) {
        let path = line.split_whitespace().next().unwrap().replace("UID", "nope");
        let answer = api.get(&path).await;
        let exists = !answer.text.is_empty() || path.ends_with("/refresh");
        assert!(exists, "{path}: {answer:?}");
    }
    let put = Request::put("/api/catalog/entities").body(Body::empty()).unwrap();
    assert_eq!(api.send(put).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_answer_from_a_view_that_is_behind_says_how_old_it_is() {
    let api = open(bookshop());
    let path = "/api/catalog/entities";
    assert_eq!(api.get(path).await.header("age"), "");
    let since = SystemClock.now() - Duration::from_secs(90);
    api.health.set_since(VIEW_FOLLOWS, CheckState::Degraded, since, "redis is away");
    for path in [path, "/api/cuelight/v1/problems"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, StatusCode::OK);
        let age: u64 = answer.header("age").parse().unwrap();
        assert!((90..120).contains(&age), "{age}");
    }
    api.health.remove(VIEW_FOLLOWS);
    assert_eq!(api.get(path).await.header("age"), "");
}
