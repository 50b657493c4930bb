//! `openapi.json` and the routes: each is in the other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::body::{Body, HttpBody};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt;

use super::{bookshop, open};

/// Methods and paths of the description.
async fn described() -> BTreeSet<(String, String)> {
    let description = open(bookshop()).get("/api/catalog/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.0.3");
    let paths = description["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.filter(|key| *key != "parameters").map(|method| (method.clone(), path.clone()))
    });
    operations.collect()
}

/// The texts of the modules that hold the routes of a prefix.
fn routed(prefix: &str, files: &[&str]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for file in files {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http").join(file);
        let source = fs::read_to_string(file).unwrap();
        // Paths of routes are the only texts of these modules that start with a slash.
        for text in source.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/')) {
            if !text.starts_with("/api/") && text != "/" {
                paths.insert(format!("{prefix}{text}"));
            }
        }
    }
    paths
}

#[tokio::test]
async fn every_route_is_described() {
    let described: BTreeSet<String> = described().await.into_iter().map(|(_, path)| path).collect();
    let mut routed = routed("/api/catalog", &["catalog_api/mod.rs"]);
    assert!(routed.len() > 12, "the routes are not found any more: {routed:?}");
    let modules = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")).unwrap();
    let names = modules.map(|module| module.unwrap().file_name().into_string().unwrap());
    let own: Vec<String> = names.filter(|name| name.ends_with("_api.rs")).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    routed.extend(self::routed("/api/cuelight/v1", &own));
    routed.extend(["/health", "/livez", "/readyz", "/metrics"].map(str::to_owned));
    let missing: Vec<&String> = routed.difference(&described).collect();
    assert!(missing.is_empty(), "not in src/http/openapi.json: {missing:?}");
    let gone: Vec<&String> = described.difference(&routed).collect();
    assert!(gone.is_empty(), "in src/http/openapi.json, but no route: {gone:?}");
}

#[tokio::test]
async fn every_operation_is_answered() {
    let api = open(bookshop());
    for (method, path) in described().await {
        let path = path.replace(['{', '}'], "x");
        let request = Request::builder().method(method.to_uppercase().as_str()).uri(&path);
        // Only the head is waited for: a stream of events has no end.
        let answer = api.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let is_routed = status != 404 || !answer.into_body().is_end_stream();
        assert!(is_routed, "{method} {path} is no route");
        assert_ne!(status, 405, "{method} {path}");
        assert_ne!(status, 500, "{method} {path}");
    }
}

#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    let description = open(bookshop()).get("/api/catalog/openapi.json").await.json();
    let mut references = Vec::new();
    collect(&description, &mut references);
    assert!(references.len() > 20, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
