//! The pure core against the tables in `fixtures/`.

mod documented;
mod expand;
mod expand_bounds;
mod expand_random;
mod left_out;
mod mutations;
mod placeholders;
mod process;
mod validate;
mod world;
mod yaml;

use std::path::{Path, PathBuf};

use cuelight::catalog::Source;
use cuelight::catalog::yaml::{Node, parse};
use serde_json::Value;

fn repository_path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    let path = repository_path(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The only document of a text.
fn root(text: &str) -> Node {
    let mut documents = parse(text);
    assert_eq!(documents.len(), 1, "one document expected in\n{text}");
    documents.remove(0).root.unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

/// A table of cases from a YAML or JSON file.
fn table(path: &str) -> Vec<Value> {
    match root(&read(path)).to_json() {
        Value::Array(cases) => cases,
        other => panic!("{path} holds no list but {other}"),
    }
}

fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().expect("a list of texts")).collect()
}

fn source() -> Source {
    Source {
        host: "github.com".into(),
        full_name: "acme/cart".into(),
        branch: "main".into(),
        path: "catalog-info.yaml".into(),
    }
}
