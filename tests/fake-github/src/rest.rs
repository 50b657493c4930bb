//! The REST end points: a repository by id or name, a file, a blob, a tree, the rate limit.

use serde_json::{Value, json};

use crate::apps;
use crate::calls::CallKind;
use crate::graphql::View;
use crate::payload;
use crate::server::Reply;
use crate::state::{POINTS_PER_HOUR, Repository, State};
use crate::trees;

/// A REST request, apart from HTTP.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// Decoded segments of the path below the API's base.
    pub(crate) segments: Vec<String>,
    /// The query as it came.
    pub(crate) query: &'a str,
    /// `?ref=`
    pub(crate) revision: Option<String>,
    /// The `Accept` header.
    pub(crate) accept: &'a str,
    /// Scheme, authority and base path, for redirects.
    pub(crate) base: &'a str,
    /// The token, known to be valid.
    pub(crate) token: &'a str,
    /// How the state is shown.
    pub(crate) view: View,
}

/// What a path is for.
pub(crate) fn kind(segments: &[String]) -> CallKind {
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["rate_limit"] => CallKind::RateLimit,
        ["installation", "repositories"] => CallKind::Selection,
        ["repositories", _] | ["repos", _, _] => CallKind::Repository,
        ["repos", _, _, "git", "trees", _] => CallKind::Tree,
        ["repositories", _, "contents" | "git", ..] | ["repos", _, _, "contents" | "git", ..] => {
            CallKind::File
        }
        _ => CallKind::Unknown,
    }
}

/// Answers, and names the owner that was touched.
pub(crate) fn answer(state: &State, asked: &Asked<'_>) -> (Reply, Option<String>) {
    let parts: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
    let (id, rest) = match parts.as_slice() {
        ["rate_limit"] => return (rate_limit(state, asked.token), None),
        ["installation", "repositories"] => {
            return (apps::repositories(state, asked.token, asked.query), None);
        }
        ["repositories", id, rest @ ..] => (id.parse().ok(), rest),
        ["repos", owner, name, rest @ ..] => {
            let name = format!("{owner}/{name}").to_lowercase();
            if let Some(id) = state.moved.get(&name) {
                return (moved(asked.base, *id, rest), None);
            }
            (state.names.get(&name).copied(), rest)
        }
        _ => return (not_found(), None),
    };
    let Some(repository) = id.and_then(|id| state.repositories.get(&id)) else {
        return (not_found(), None);
    };
    let touched = Some(state.touched(asked.token, repository));
    if !state.sees(asked.token, repository) {
        return (not_found(), touched);
    }
    let reply = match rest {
        [] => Reply::json(200, &payload::repository_iso(state, repository)),
        ["contents", path @ ..] => file(repository, asked, &path.join("/")),
        ["git", "trees", revision] => trees::answer(state, repository, asked, revision),
        ["git", "blobs", oid] => {
            raw(asked, repository.content.blob(oid).map(|blob| blob.bytes.to_vec()))
        }
        _ => not_found(),
    };
    (reply, touched)
}

fn file(repository: &Repository, asked: &Asked<'_>, path: &str) -> Reply {
    let heads = asked.view.heads(repository);
    let revision = asked.revision.as_deref().unwrap_or("HEAD");
    raw(asked, repository.file(heads, revision, path).map(|blob| blob.bytes.to_vec()))
}

fn raw(asked: &Asked<'_>, bytes: Option<Vec<u8>>) -> Reply {
    const RAW: [&str; 2] = ["application/vnd.github.raw", "application/vnd.github.raw+json"];
    if !RAW.contains(&asked.accept) {
        return Reply::json(415, &json!({"message": "the fake serves files as raw media only"}));
    }
    match bytes {
        Some(bytes) => {
            let mut reply = Reply::json(200, &Value::Null);
            reply.content_type = "application/vnd.github.raw; charset=utf-8";
            reply.body = bytes;
            reply
        }
        None => not_found(),
    }
}

fn moved(base: &str, id: u64, rest: &[&str]) -> Reply {
    let tail: String = rest.iter().map(|part| format!("/{part}")).collect();
    let location = format!("{base}/repositories/{id}{tail}");
    let body = json!({"message": "Moved Permanently", "url": location});
    let mut reply = Reply::json(301, &body);
    reply.headers.push(("location", location));
    reply
}

fn rate_limit(state: &State, token: &str) -> Reply {
    let token = state.tokens.get(token).cloned().unwrap_or_default();
    let limit = token.limit.unwrap_or(POINTS_PER_HOUR);
    let graphql = json!({
        "limit": limit,
        "used": token.used,
        "remaining": limit.saturating_sub(token.used),
        "reset": state.now + 3_600,
    });
    Reply::json(200, &json!({"resources": {"core": graphql.clone(), "graphql": graphql}}))
}

pub(crate) fn not_found() -> Reply {
    Reply::json(404, &json!({"message": "Not Found", "status": "404"}))
}
