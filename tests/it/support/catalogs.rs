//! Small catalogs to put into a view.

use std::sync::Arc;

use cuelight::catalog::{Entity, FileEntry, Problem, Relation, RepoEntry};
use serde_json::{Value, json};

/// The file most entities of the tests come from.
pub const PATH: &str = "catalog-info.yaml";

/// An entity with this body and no relations.
pub fn entity(body: Value) -> Entity {
    let text = |value: &Value| value.as_str().unwrap_or("default").to_lowercase();
    let metadata = &body["metadata"];
    Entity {
        entity_ref: format!(
            "{}:{}/{}",
            text(&body["kind"]),
            text(&metadata["namespace"]),
            text(&metadata["name"])
        ),
        body: Arc::new(body),
        relations: Vec::new(),
        stale: None,
        generated: false,
        included_by: None,
        document: 1,
        line: 1,
    }
}

/// A component.
pub fn component(name: &str) -> Entity {
    entity(json!({
        "apiVersion": "backstage.io/v1alpha1", "kind": "Component",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "service", "lifecycle": "production"},
    }))
}

/// The entity, which now declares `kind` to `target`, and `reverse` back.
pub fn related(mut entity: Entity, kind: &str, target: &str, reverse: &str) -> Entity {
    let source = entity.entity_ref.clone();
    let relation = |source: &str, kind: &str, target: &str| Relation {
        source: source.to_owned(),
        kind: kind.to_owned(),
        target: target.to_owned(),
    };
    entity.relations.push(relation(&source, kind, target));
    entity.relations.push(relation(target, reverse, &source));
    entity
}

/// A file at `path` that claims `entities` since change `claimed_seq`.
pub fn file(path: &str, claimed_seq: u64, entities: Vec<Entity>) -> FileEntry {
    FileEntry {
        provider: "default".to_owned(),
        branch: String::new(),
        path: path.to_owned(),
        claims: entities.into_iter().map(|entity| (entity, claimed_seq)).collect(),
        problems: Vec::new(),
    }
}

/// The file, with problems.
pub fn with_problems(mut file: FileEntry, problems: Vec<Problem>) -> FileEntry {
    file.problems = problems;
    file
}

/// The repository `acme/repo-<id>`, as change `seq` wrote it.
pub fn repository(id: u64, seq: u64, files: Vec<FileEntry>) -> RepoEntry {
    RepoEntry {
        seq,
        host: "github.com".to_owned(),
        id,
        full_name: format!("acme/repo-{id}"),
        account: "github.com:7".to_owned(),
        default_branch: Some("main".to_owned()),
        head: Some("1".repeat(40)),
        reconciled_at: 1_767_225_600_000,
        files,
    }
}
