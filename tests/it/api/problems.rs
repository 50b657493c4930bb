//! `/api/cuelight/v1/problems` asked for less than everything, and where problems are counted.

use axum::http::StatusCode;
use cuelight::catalog::{Code, Problem, RepoId, View};
use serde_json::{Value, json};

use super::open;
use crate::support::catalogs::{PATH, component, entity, file, repository, with_problems};
use crate::support::internal_api::InternalApi;

fn problem(code: Code, line: u32, entity_ref: Option<&str>) -> Problem {
    Problem {
        code,
        path: PATH.to_owned(),
        line,
        column: 1,
        document: 1,
        entity_ref: entity_ref.map(str::to_owned),
        message: "wrong".to_owned(),
    }
}

/// Repository 1 is fine; 2 has three problems of its own; 3 claims what 1 has, and an API badly.
fn troubled() -> View {
    let system = entity(json!({"kind": "System", "metadata": {"name": "shop"}}));
    let fine = file(PATH, 1, vec![component("cart"), system.clone()]);
    let bad = vec![
        problem(Code::YamlSyntax, 1, None),
        problem(Code::Schema, 2, Some("component:default/pay")),
        problem(Code::Schema, 3, Some("system:default/bank")),
    ];
    let bad = with_problems(file(PATH, 2, vec![]), bad);
    let late = file(PATH, 3, vec![component("cart"), system]);
    let late = with_problems(late, vec![problem(Code::Schema, 9, Some("api:default/cart"))]);
    let entries =
        [repository(1, 1, vec![fine]), repository(2, 2, vec![bad]), repository(3, 3, vec![late])];
    View::empty().with_repositories(entries).complete_to(3)
}

/// What is found, a line each, and how much there is.
async fn found(api: &InternalApi, query: &str) -> (Vec<String>, Value) {
    let answer = api.get(&format!("/api/cuelight/v1/problems?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {answer:?}");
    let line = |item: &Value| {
        let text = |name: &str| item[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("repository"), text("code"), text("entityRef"))
    };
    let list = answer.json();
    let items = list["items"].as_array().expect("items").iter().map(line).collect();
    (items, json!([list["total"], list["next"]]))
}

#[tokio::test]
async fn problems_are_filtered_by_repository_kind_and_code() {
    let api = open(troubled());
    let check = async |query: &str, expected: &[&str]| {
        let (items, rest) = found(&api, query).await;
        assert_eq!(items, expected, "{query}");
        assert_eq!(rest, json!([expected.len(), null]), "{query}");
    };
    let of_2 = [
        "acme/repo-2 yaml-syntax -",
        "acme/repo-2 schema component:default/pay",
        "acme/repo-2 schema system:default/bank",
    ];
    let of_3 = [
        "acme/repo-3 conflict component:default/cart",
        "acme/repo-3 conflict system:default/shop",
        "acme/repo-3 schema api:default/cart",
    ];
    check("", &[of_2, of_3].concat()).await;
    check("repository=acme/repo-2", &of_2).await;
    check("repository=ACME/Repo-3", &of_3).await;
    check("repository=acme/repo-1", &[]).await;
    check("repository=acme/repo-1&repository=acme/repo-3", &of_3).await;
    check("code=conflict", &of_3[..2]).await;
    check("code=conflict&code=yaml-syntax", &[&of_2[..1], &of_3[..2]].concat()).await;
    check("kind=System", &[of_2[2], of_3[1]]).await;
    check("kind=api&kind=COMPONENT", &[of_2[1], of_3[0], of_3[2]]).await;
    check("kind=system&code=schema", &[of_2[2]]).await;
    check("kind=system&code=schema&repository=acme/repo-3", &[]).await;
    check("code=duplicate", &[]).await;
}

#[tokio::test]
async fn a_page_of_the_filtered_problems_says_where_the_next_begins() {
    let api = open(troubled());
    let (items, rest) = found(&api, "code=schema&limit=2").await;
    assert_eq!((items.len(), rest), (2, json!([3, 2])));
    let (items, rest) = found(&api, "code=schema&limit=2&offset=2").await;
    assert_eq!(
        (items, rest),
        (vec!["acme/repo-3 schema api:default/cart".into()], json!([3, null]))
    );
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_refused() {
    let api = open(troubled());
    let refused = async |query: &str, message: &str| {
        let answer = api.get(&format!("/api/cuelight/v1/problems?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        let said = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(said.starts_with(message), "{query}: {said}");
    };
    refused("repo=acme/repo-1", "Unknown query parameter 'repo'").await;
    refused("kind=", "Empty value found for query parameter 'kind'").await;
    refused("repository=repo-1", "").await;
    let allowed = "request/query/code must be equal to one of the allowed values: yaml-syntax, ";
    refused("code=yaml", allowed).await;
    refused("limit=many", "request/query/limit must be integer").await;
}

#[tokio::test]
async fn problems_are_counted_in_health_and_are_no_fault_of_ours() {
    let api = open(troubled());
    let health = api.get("/health").await.json();
    assert_eq!(
        (&health["status"], &health["checks"]["problems"]["state"]),
        (&json!("ok"), &json!("ok"))
    );
    assert_eq!(
        health["checks"]["problems"]["detail"],
        "6 problems in 2 repositories for their owners to mend: yaml-syntax 1, schema 3, \
         conflict 2; see /api/cuelight/v1/problems"
    );
    let view = troubled().without_repository(&RepoId::new("github.com", 3));
    api.view.send_replace(view.into());
    let health = api.get("/health").await.json();
    let detail = health["checks"]["problems"]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.starts_with("3 problems in 1 repository for"), "{detail}");
    api.view.send_replace(View::empty().complete_to(4).into());
    assert_eq!(api.get("/health").await.json()["checks"]["problems"]["detail"], "none");
}

#[tokio::test]
async fn every_code_has_its_count_in_metrics() {
    let api = open(troubled());
    let metrics = api.get("/metrics").await.text;
    for code in Code::ALL {
        let expected = match code {
            Code::Schema => 3,
            Code::Conflict => 2,
            Code::YamlSyntax => 1,
            _ => 0,
        };
        let line = format!("cuelight_problems{{code=\"{code}\"}} {expected}");
        assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    }
    assert!(metrics.lines().any(|l| l == "cuelight_repositories_with_problems 2"), "{metrics}");
}
