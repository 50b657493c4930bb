//! The paths of all files of a commit, by REST: GraphQL can only go folder by folder.

use serde::Deserialize;

use super::GitHubError;
use super::batch::{Trouble, judged};
use super::session::Session;
use super::transport::{ANSWER_BYTES_MAX, Broken, JSON};
use crate::ids::{FullName, Oid};

/// The files of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paths {
    /// All of them, from the root.
    Whole(Vec<String>),
    /// More than GitHub lists in one answer (100,000 entries, or 7 MB).
    TooMany,
}

#[derive(Deserialize)]
struct WireTree {
    tree: Vec<WireEntry>,
    truncated: bool,
}

#[derive(Deserialize)]
struct WireEntry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// `GET /repos/{owner}/{name}/git/trees/{commit}?recursive=1`, a rename followed. A commit that is
/// not there is an error: it has just been seen.
pub(super) async fn paths(
    session: &Session,
    name: &FullName,
    commit: &Oid,
) -> Result<Paths, GitHubError> {
    let host = &session.transport.host;
    let segments = ["repos", name.owner(), name.name(), "git", "trees", commit.as_str()];
    let answer = session.get_with(&segments, Some("recursive=1"), JSON, ANSWER_BYTES_MAX).await;
    let answer = match answer {
        Ok(answer) => Ok(answer),
        Err(Broken::TooLong) => return Ok(Paths::TooMany),
        Err(Broken::Error(error)) => Err(error),
    };
    let answer = judged(session, answer).map_err(|trouble| match trouble {
        Trouble::Own(error) | Trouble::Everyones(error) => error,
    })?;
    let wrong = |what: &str| GitHubError::Transient(format!("{host}: the tree of {name} {what}"));
    let answer = answer.ok_or_else(|| wrong("was gone before it was read"))?;
    let tree: WireTree =
        serde_json::from_slice(&answer.body).map_err(|_| wrong("cannot be decoded"))?;
    if tree.truncated {
        return Ok(Paths::TooMany);
    }
    let is_file = |entry: &WireEntry| entry.kind == "blob";
    Ok(Paths::Whole(tree.tree.into_iter().filter(is_file).map(|entry| entry.path).collect()))
}
