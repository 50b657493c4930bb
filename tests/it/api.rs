//! The internal listener: the catalog as Backstage's clients know it, our own lists, probes, and
//! who may ask.

mod backstage;
mod changes;
mod cors;
mod keys;
mod lists;
mod openapi;
mod probes;
mod problems;
mod transfer;
mod walks;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use cuelight::catalog::View;
use cuelight::config::InternalAuth;
use cuelight::ids::FullName;
use cuelight::work::{Lane, Reasons};
use serde_json::{Value, json};

use crate::support::catalogs::{PATH, component, entity, file, related, repository};
use crate::support::internal_api::InternalApi;

const ENTITIES: &str = include_str!("../../fixtures/catalog-api/entities.json");
const CASES: &str = include_str!("../../fixtures/catalog-api/cases.json");

fn bookshop() -> View {
    let bodies: Vec<Value> = serde_json::from_str(ENTITIES).unwrap();
    let mut entities: Vec<_> = bodies.into_iter().map(entity).collect();
    let checkout = entities.remove(0);
    let checkout = related(checkout, "ownedBy", "group:default/squad-ink", "ownerOf");
    entities.push(related(checkout, "providesApi", "api:default/orders", "apiProvidedBy"));
    let entry = repository(1, 1, vec![file(PATH, 1, entities)]);
    View::empty().with_repository(entry).complete_to(1)
}

fn open(view: View) -> InternalApi {
    InternalApi::new(view, InternalAuth::None)
}

#[tokio::test]
async fn the_catalog_answers_as_backstage_does() {
    let api = open(bookshop());
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    assert!(cases.len() > 120);
    for case in cases {
        let path = format!("/api/catalog{}", case["path"].as_str().unwrap());
        let request = Request::builder().method(case["method"].as_str().unwrap_or("GET")).uri(path);
        let request = match case.get("send") {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request.body(String::new()),
        };
        let answer = api.send(request.unwrap().map(Body::from)).await;
        assert_eq!(json!(answer.status.as_u16()), case["status"], "{case}\n{answer:?}");
        let mut body = answer.json();
        for cursor in ["nextCursor", "prevCursor"] {
            if let Some(cursor) = body.pointer_mut(&format!("/pageInfo/{cursor}")) {
                *cursor = json!("…");
            }
        }
        assert_eq!(body, case["body"], "{case}");
        if !answer.text.is_empty() {
            assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
        }
    }
}

#[tokio::test]
async fn an_entity_is_found_by_name_and_uid_with_its_relations() {
    let api = open(bookshop());
    let by_name = api.get("/api/catalog/entities/by-name/COMPONENT/Default/checkout/").await;
    let entity = by_name.json();
    assert_eq!(entity["metadata"]["name"], "Checkout");
    assert_eq!(
        entity["relations"],
        json!([
            {"type": "ownedBy", "targetRef": "group:default/squad-ink"},
            {"type": "providesApi", "targetRef": "api:default/orders"},
        ])
    );
    let uid = entity["metadata"]["uid"].as_str().unwrap();
    let by_uid = api.get(&format!("/api/catalog/entities/by-uid/{uid}")).await;
    assert_eq!(by_uid.text, by_name.text);
    let filtered = api.get(&format!("/api/catalog/entities?filter=metadata.uid={uid}")).await;
    assert_eq!(filtered.json(), json!([entity]));
}

#[tokio::test]
async fn pages_link_to_the_next_until_the_end() {
    let api = open(bookshop());
    let mut path = "/entities?limit=3&fields=metadata.name,kind".to_owned();
    let mut names = Vec::new();
    loop {
        let answer = api.get(&format!("/api/catalog{path}")).await;
        for entity in answer.json().as_array().unwrap() {
            names.push(entity["metadata"]["name"].as_str().unwrap().to_owned());
        }
        let link = answer.header("link");
        let Some(next) = link.strip_prefix('<') else { break };
        path = next.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(names, ["orders", "search", "Checkout", "search", "orders-db", "Bookshop"]);
    assert_eq!(
        path,
        "/entities?limit=3&fields=metadata.name%2Ckind&after=eyJsaW1pdCI6Mywib2Zmc2V0IjozfQ%3D%3D"
    );
}

#[tokio::test]
async fn a_large_catalog_arrives_whole() {
    let names: Vec<String> = (0..2_000).map(|number| format!("part-{number:04}")).collect();
    let entities = names.iter().map(|name| component(name)).collect();
    let entry = repository(1, 1, vec![file(PATH, 1, entities)]);
    let api = open(View::empty().with_repository(entry).complete_to(1));
    let name = |entity: &Value| entity["metadata"]["name"].as_str().unwrap().to_owned();
    let all = api.get("/api/catalog/entities?limit=5000").await;
    assert!(all.text.len() > 200_000, "{}", all.text.len());
    let found: Vec<String> = all.json().as_array().unwrap().iter().map(name).collect();
    assert_eq!(found, names);
    let query = api.get("/api/catalog/entities/by-query?limit=5000").await.json();
    assert_eq!(query["items"].as_array().map(Vec::len), Some(2_000));
    assert_eq!(query["totalItems"], 2_000);
}

#[tokio::test]
async fn nothing_is_served_of_a_view_that_is_not_complete() {
    let api = open(View::empty());
    let body = r#"{"entityRef": "component:default/search"}"#;
    let answers = [
        api.get("/api/catalog/entities").await,
        api.get("/api/catalog/entities/by-query").await,
        api.get("/api/catalog/entities/by-name/component/default/search").await,
        api.post("/api/catalog/refresh", body).await,
        api.get("/api/cuelight/v1/repositories").await,
        api.get("/api/cuelight/v1/problems").await,
    ];
    for answer in answers {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.json()["error"]["name"], "ServiceUnavailableError", "{answer:?}");
    }
}

#[tokio::test]
async fn the_newest_view_is_served() {
    let api = open(View::empty().complete_to(0));
    assert_eq!(api.get("/api/catalog/entities").await.json(), json!([]));
    api.view.send_replace(bookshop().into());
    assert_eq!(api.get("/api/catalog/entities").await.json().as_array().map(Vec::len), Some(6));
}

#[tokio::test]
async fn a_refresh_pushes_the_key_of_the_declaring_repository() {
    let api = open(bookshop());
    let answer =
        api.post("/api/catalog/refresh", r#"{"entityRef": "Component:default/Checkout"}"#).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""));
    let pushed = api.engine.script(|script| std::mem::take(&mut script.pushed));
    let [push] = pushed.as_slice() else { panic!("{pushed:?}") };
    assert!(push.delivery.is_none());
    let [key] = push.keys.as_slice() else { panic!("{push:?}") };
    assert_eq!(key.key.to_string(), "repo:github.com:1");
    assert_eq!(key.account.to_string(), "github.com:7");
    assert_eq!((key.lane, key.hint.reasons), (Lane::Event, Reasons::REFRESH));
    assert_eq!(key.hint.name.as_ref().map(FullName::as_str), Some("acme/repo-1"));
}

#[tokio::test]
async fn a_refresh_that_makes_no_sense_is_refused() {
    let api = open(bookshop());
    let refused = async |body: &str, status: u16, message: &str| {
        let answer = api.post("/api/catalog/refresh", body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}");
        assert_eq!(answer.json()["error"]["message"], message, "{body}");
    };
    refused("", 400, "request/body must have required property 'entityRef'").await;
    refused("{}", 400, "request/body must have required property 'entityRef'").await;
    refused("[]", 400, "request/body must be object").await;
    refused(r#"{"entityRef": 1}"#, 400, "request/body/entityRef must be string").await;
    let more = r#"{"entityRef": "component:default/search", "force": true}"#;
    refused(more, 400, "request/body must NOT have additional properties").await;
    let unknown = r#"{"entityRef": "component:default/nope"}"#;
    refused(unknown, 404, "Entity component:default/nope not found").await;
    let large = format!("{{\"entityRef\": \"{}\"}}", "x".repeat(200_000));
    refused(&large, 400, "request entity too large").await;
    assert!(api.engine.script(|script| script.pushed.is_empty()));
}

#[tokio::test]
async fn a_form_cannot_post() {
    let api = open(bookshop());
    let request = Request::post("/api/catalog/refresh").header("content-type", "text/plain");
    let body = Body::from(r#"{"entityRef": "component:default/search"}"#);
    let answer = api.send(request.body(body).unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["message"], "unsupported media type text/plain");
    assert!(api.engine.script(|script| script.pushed.is_empty()));
}

#[tokio::test]
async fn without_the_storage_the_catalog_is_served_and_the_rest_answers_503() {
    let api = open(bookshop());
    api.engine.script(|script| script.is_away = true);
    assert_eq!(api.get("/api/catalog/entities").await.status, StatusCode::OK);
    assert_eq!(api.get("/api/cuelight/v1/problems").await.status, StatusCode::OK);
    for path in ["status", "deliveries", "queue"] {
        let answer = api.get(&format!("/api/cuelight/v1/{path}")).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.json()["error"]["name"], "ServiceUnavailableError", "{path}");
    }
    let body = r#"{"entityRef": "component:default/search"}"#;
    let answer = api.post("/api/catalog/refresh", body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}
