//! What changed last in an account: two short pages by one question, and what they leave out.
//!
//! It says nothing of repositories beyond the pages but how many there are in all. Whether what is
//! shown differs from what is known is the caller's to find out.

use super::wire::{self, WireOwner, WirePage};
use super::{GitHubError, Owner, Repository};
use crate::clock::Timestamp;
use crate::repository::FileQuery;

/// Most repositories of one page. GitHub takes a request for each of the two pages and one for the
/// topics of each repository on them, and a point for a hundred requests, rounded: 142 requests are
/// the most, with a little to spare, that cost one point.
pub const LATEST_MAX: u32 = 70;

/// What changed last in an account.
#[derive(Debug, Clone)]
pub struct Latest {
    /// The repositories pushed to last and those changed last, each once, files with oids only.
    pub repositories: Vec<Repository>,
    /// How many repositories the owner has in all.
    pub total: u64,
    /// How far the page by pushes reaches.
    pub pushed: Edge,
    /// How far the page by changes reaches.
    pub updated: Edge,
}

/// How far a page reaches, in GitHub's time, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The newest entry; `None` when there is none.
    pub newest: Option<Timestamp>,
    /// The oldest entry when there are older ones beyond it; `None` when the page shows all.
    pub oldest: Option<Timestamp>,
}

/// Decodes the answer; an owner other than `expected` is an error.
pub(super) fn decoded(
    found: &WireOwner<'_>,
    expected: &Owner,
    files: &[FileQuery],
) -> Result<Latest, GitHubError> {
    let host = &expected.account.host;
    let wrong = |what: &str| GitHubError::Transient(format!("{host}: {what}"));
    if found.database_id != expected.account.owner.0 {
        let login = &expected.login;
        return Err(wrong(&format!("the login `{login}` now belongs to another owner")));
    }
    let (Some(by_push), Some(by_update)) = (&found.pushed, &found.updated) else {
        return Err(wrong("the answer has no repositories"));
    };
    let mut repositories: Vec<Repository> = Vec::new();
    let mut read = |page: &WirePage<'_>, time: fn(&wire::Decoded) -> Option<Timestamp>| {
        let mut times = Vec::with_capacity(page.nodes.len());
        for node in &page.nodes {
            let decoded = wire::repository(host, node, files)
                .map_err(|why| wrong(&format!("a listed repository cannot be decoded: {why}")))?;
            times.extend(time(&decoded));
            if !repositories.iter().any(|seen| seen.key == decoded.repository.key) {
                repositories.push(decoded.repository);
            }
        }
        let newest = times.iter().max().copied();
        let oldest = times.iter().min().copied().filter(|_| page.page_info.has_next_page);
        Ok(Edge { newest, oldest })
    };
    let pushed = read(by_push, |decoded| decoded.repository.pushed_at)?;
    let updated = read(by_update, |decoded| decoded.updated_at)?;
    Ok(Latest { repositories, total: by_update.total_count, pushed, updated })
}
