//! `answers.json`: requests, and what Backstage answered.

use axum::body::Body;
use axum::http::Request;
use cuelight::config::InternalAuth;
use serde_json::{Map, Value, json};

use super::{expected, press};
use crate::support::internal_api::{Answer, InternalApi};

const CASES: &str = include_str!("../../../fixtures/contract/answers.json");

/// Refs and the uids that the cases name by them.
async fn uids(api: &InternalApi) -> Vec<(String, String)> {
    let entities = api.get("/api/catalog/entities").await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let uid = |entity: &Value| {
        let metadata = &entity["metadata"];
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
        let entity_ref = format!("{}:{namespace}/{name}", text(&entity["kind"])).to_lowercase();
        (entity_ref, text(&metadata["uid"]))
    };
    entities.as_array().unwrap().iter().map(uid).collect()
}

fn request(case: &Value, uids: &[(String, String)]) -> Request<Body> {
    let (method, path) = case["ask"].as_str().unwrap().split_once(' ').unwrap();
    let mut path = format!("/api/catalog{path}");
    for (entity_ref, uid) in uids {
        path = path.replace(&format!("{{uid of {entity_ref}}}"), uid);
        path = path.replace(&format!("{{UID of {entity_ref}}}"), &uid.to_uppercase());
    }
    let mut request = Request::builder().method(method).uri(path);
    let body = match (case.get("send"), case.get("text")) {
        (Some(send), _) => {
            request = request.header("content-type", "application/json");
            Body::from(send.to_string())
        }
        (None, Some(text)) => {
            if let Some(media_type) = case.get("type") {
                request = request.header("content-type", media_type.as_str().unwrap());
            }
            let text = text.as_str().unwrap();
            match case["repeat"].as_u64() {
                Some(times) => Body::from("x".repeat(usize::try_from(times).unwrap())),
                None => Body::from(text.to_owned()),
            }
        }
        (None, None) => Body::empty(),
    };
    request.body(body).unwrap()
}

/// Leaves out what is random in Backstage, and what other tests look at.
fn comparable(value: Value, uids: &[(String, String)]) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(key, _)| key != "etag");
            let members = members.filter(|(key, _)| !key.starts_with("backstage.io/"));
            let members = members.map(|(key, value)| match key.as_str() {
                "nextCursor" | "prevCursor" | "id" => (key, json!("…")),
                _ => (key, comparable(value, uids)),
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(|item| comparable(item, uids)).collect(),
        Value::String(text) => {
            let replace = |text: String, (entity_ref, uid): &(String, String)| {
                let upper = (uid.to_uppercase(), format!("uid of {entity_ref}").to_uppercase());
                text.replace(uid, &format!("uid of {entity_ref}")).replace(&upper.0, &upper.1)
            };
            Value::String(uids.iter().fold(text, replace))
        }
        other => other,
    }
}

fn sort(list: &mut Value) {
    let items = if list.is_array() { list } else { &mut list["items"] };
    items.as_array_mut().unwrap().sort_by_key(ToString::to_string);
}

fn said(case: &Value, answer: &Answer, uids: &[(String, String)]) -> Value {
    let mut said = json!({ "status": answer.status.as_u16() });
    if !answer.text.is_empty() {
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8", "{case}");
        let mut body = comparable(answer.json(), uids);
        if case["unordered"] == true && answer.status == 200 {
            sort(&mut body);
        }
        said["answer"] = body;
    }
    if !answer.header("link").is_empty() {
        said["link"] = answer.header("link").into();
    }
    said
}

#[tokio::test]
async fn every_request_is_answered_as_by_backstage() {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let api = InternalApi::new(press(), InternalAuth::None);
    let uids = uids(&api).await;
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = api.send(request(case, &uids)).await;
        let said = said(case, &answer, &uids);
        let mut theirs = json!({ "status": case["status"] });
        for name in ["answer", "link"] {
            if let Some(value) = case.get(name) {
                theirs[name] = value.clone();
            }
        }
        let expected = expected(case, &theirs);
        if said != *expected {
            wrong.push(format!("{}\nexpected {expected}\nsaid     {said}", case["ask"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
    assert!(cases.len() > 740, "the table has shrunk to {} cases", cases.len());
}
