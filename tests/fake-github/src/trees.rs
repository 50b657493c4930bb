//! The paths of a commit by REST: `GET /repos/{owner}/{name}/git/trees/{revision}`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::content::blob_oid;
use crate::rest::{Asked, not_found};
use crate::server::Reply;
use crate::state::{Repository, State};

/// GitHub's most entries of a recursive answer; it says so and leaves out the rest.
const ENTRIES_MAX: usize = 100_000;

/// Answers with every path below the root, or with those of the root alone without
/// `recursive`, which GitHub takes for given whatever its value.
pub(crate) fn answer(
    state: &State,
    repository: &Repository,
    asked: &Asked<'_>,
    revision: &str,
) -> Reply {
    if asked.accept != "application/vnd.github+json" {
        return Reply::json(415, &json!({"message": "the fake serves trees as JSON only"}));
    }
    let heads = asked.view.heads(repository);
    if heads.branches.is_empty() {
        return Reply::json(409, &json!({"message": "Git Repository is empty."}));
    }
    let content = &repository.content;
    let Some(commit) = content.resolve(heads, &repository.default_branch, revision) else {
        return not_found();
    };
    let mut entries: BTreeMap<&str, Value> = BTreeMap::new();
    for (path, blob) in commit.tree.iter() {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            let sha = blob_oid(folder.as_bytes());
            let entry = json!({"path": folder, "mode": "040000", "type": "tree", "sha": sha});
            entries.insert(folder, entry);
        }
        let entry = json!({
            "path": **path, "mode": "100644", "type": "blob", "sha": *blob.oid,
            "size": blob.bytes.len(),
        });
        entries.insert(path, entry);
    }
    let mut names = url::form_urlencoded::parse(asked.query.as_bytes()).map(|(name, _)| name);
    if !names.any(|name| name == "recursive") {
        entries.retain(|path, _| !path.contains('/'));
    }
    let most = state.tree_entries_max.unwrap_or(ENTRIES_MAX);
    let truncated = entries.len() > most;
    let tree: Vec<Value> = entries.into_values().take(most).collect();
    Reply::json(200, &json!({"sha": *commit.oid, "tree": tree, "truncated": truncated}))
}

impl crate::World {
    /// Cuts trees after this many entries, as GitHub does with very large ones.
    pub fn cut_trees(&self, entries: usize) {
        self.lock().tree_entries_max = Some(entries);
    }
}
