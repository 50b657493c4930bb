//! What an installation on selected repositories may see: its list, and what follows from it.
//!
//! GraphQL shows such a token every public repository of the account, also those that were not
//! selected, so who is a member is said by `GET /installation/repositories` alone. The list is
//! taken whole or not at all: one that is shorter than it says itself, or that changes while it is
//! paged through, is an error. A list of a minute serves to say that a repository is selected; that
//! one is *not* is only said by a list that was asked for after the question was put, and never by
//! an empty one. A listing goes through the repositories by their ids, which do not move, with the
//! last id as its cursor.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use super::apps::LIST_AGE_MAX;
use super::flight::Flights;
use super::session::Session;
use super::transport::{ANSWER_BYTES_MAX, JSON};
use super::wire::{self, Data, RestRepository};
use super::{GitHubError, Owner, Page, Seen};
use crate::clock::Timestamp;
use crate::ids::{Account, AppId, NodeId, OwnerId, RepoId};
use crate::repository::FileQuery;

/// GitHub's largest page.
const PAGE: usize = 100;

/// Most pages of a list: 100,000 repositories, as many as a scan lists.
const PAGES_MAX: usize = 1000;

/// What tells our cursors from GraphQL's.
const CURSOR: &str = "selected:";

/// The list at one time.
pub(super) struct Selection {
    asked_at: Timestamp,
    repositories: BTreeMap<RepoId, NodeId>,
}

type Asked = Result<Arc<Selection>, GitHubError>;

#[derive(Default)]
struct Known {
    last: Option<Arc<Selection>>,
    /// A list that was asked for before the last doubt is not kept.
    doubts: u64,
}

#[derive(Default)]
struct Slot {
    known: Mutex<Known>,
    flights: Flights<Asked>,
}

/// The lists of one host's installations.
#[derive(Default)]
pub(super) struct Selections(Mutex<HashMap<(AppId, OwnerId), Arc<Slot>>>);

/// A stretch of a list.
pub(super) struct Part {
    pub(super) ids: Vec<NodeId>,
    next: Option<String>,
    total: u64,
}

impl Selections {
    /// Makes the next question be asked of GitHub: what an installation may see has changed.
    pub(super) fn doubt(&self, owner: OwnerId) {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, slot) in slots.iter().filter(|((_, of), _)| *of == owner) {
            let mut known = slot.lock();
            known.last = None;
            known.doubts += 1;
        }
    }

    /// The stretch after a cursor; `None` where the session's credentials see all. The first one
    /// asks for the list anew.
    pub(super) async fn part(
        &self,
        session: &Session,
        after: Option<&str>,
        first: u32,
    ) -> Result<Option<Part>, GitHubError> {
        let Some(slot) = self.slot(session) else { return Ok(None) };
        let known = slot.lock().last.clone().filter(|_| after.is_some());
        let selection = match known {
            Some(selection) => selection,
            None => slot.asked(session).await?,
        };
        let from = match after {
            None => RepoId(0),
            Some(cursor) => {
                cursor.strip_prefix(CURSOR).and_then(|id| id.parse().ok()).ok_or_else(|| {
                    let host = &session.transport.host;
                    let what = "the listing goes on where another kind of listing has stopped";
                    GitHubError::Transient(format!("{host}: {what}"))
                })?
            }
        };
        let count = usize::try_from(first).unwrap_or(PAGE).clamp(1, PAGE);
        let rest = || selection.repositories.range(RepoId(from.0 + 1)..);
        let last = rest().nth(count - 1).map(|(id, _)| *id);
        let next = last.filter(|_| rest().nth(count).is_some()).map(|id| format!("{CURSOR}{id}"));
        Ok(Some(Part {
            ids: rest().take(count).map(|(_, node)| node.clone()).collect(),
            next,
            total: selection.repositories.len() as u64,
        }))
    }

    /// Takes from what was read those repositories of the account that are not selected: for us
    /// they are gone.
    pub(super) async fn narrow(
        &self,
        session: &Session,
        account: &Account,
        seen: Vec<Result<Seen, GitHubError>>,
    ) -> Vec<Result<Seen, GitHubError>> {
        let own = |seen: &Result<Seen, GitHubError>| match seen {
            Ok(Seen::Found(found)) if found.account == *account => Some(found.key.id),
            _ => None,
        };
        let Some(slot) = self.slot(session) else { return seen };
        let looked_at: Vec<RepoId> = seen.iter().filter_map(own).collect();
        if looked_at.is_empty() {
            return seen;
        }
        let now = session.transport.clock.now();
        let fresh = |known: &Arc<Selection>| now < known.asked_at + LIST_AGE_MAX;
        let known = slot.lock().last.clone().filter(fresh);
        let has_all =
            |it: &Arc<Selection>| looked_at.iter().all(|id| it.repositories.contains_key(id));
        let selection = match known.filter(has_all) {
            Some(selection) => Ok(selection),
            None => slot.asked(session).await,
        };
        let judged = |result: Result<Seen, GitHubError>| match (own(&result), &selection) {
            (None, _) => result,
            (Some(_), Err(error)) => Err(error.clone()),
            (Some(id), Ok(selection)) if selection.repositories.contains_key(&id) => result,
            (Some(_), Ok(selection)) if selection.repositories.is_empty() => {
                let host = &session.transport.host;
                let what = "lists not one selected repository, which removes nothing";
                Err(GitHubError::Transient(format!("{host} {what}")))
            }
            (Some(_), Ok(_)) => Ok(Seen::Gone),
        };
        seen.into_iter().map(judged).collect()
    }

    fn slot(&self, session: &Session) -> Option<Arc<Slot>> {
        let key = session.selected()?;
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(slots.entry(key).or_default().clone())
    }
}

impl Slot {
    /// The list as GitHub has it now: asked for once for all who wait, and no earlier than any of
    /// them has asked.
    async fn asked(self: &Arc<Self>, session: &Session) -> Asked {
        let (slot, session) = (self.clone(), session.clone());
        let ask = async move {
            let doubts = slot.lock().doubts;
            let asked = list(&session).await;
            let mut known = slot.lock();
            if let Ok(selection) = &asked
                && known.doubts == doubts
            {
                known.last = Some(selection.clone());
            }
            asked
        };
        self.flights.join_next(ask).await
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct WirePage {
    total_count: usize,
    repositories: Vec<RestRepository>,
}

async fn list(session: &Session) -> Asked {
    let at = &session.transport;
    let asked_at = at.clock.now();
    let untrue = |what: String| Err(GitHubError::Transient(format!("{} {what}", at.host)));
    let mut repositories = BTreeMap::new();
    let mut total = None;
    for number in 1..=PAGES_MAX {
        let page = page(session, number).await?;
        let is_last = page.repositories.len() < PAGE;
        if *total.get_or_insert(page.total_count) != page.total_count {
            return untrue("changed the selected repositories while they were listed".to_owned());
        }
        repositories.extend(page.repositories.into_iter().map(|r| (RepoId(r.id), r.node_id)));
        if is_last && repositories.len() < page.total_count {
            let (listed, all) = (repositories.len(), page.total_count);
            return untrue(format!("lists {listed} of {all} selected repositories"));
        }
        if is_last || repositories.len() >= page.total_count {
            return Ok(Arc::new(Selection { asked_at, repositories }));
        }
    }
    untrue("lists selected repositories without an end".to_owned())
}

async fn page(session: &Session, number: usize) -> Result<WirePage, GitHubError> {
    let at = &session.transport;
    let query = format!("per_page={PAGE}&page={number}");
    let segments = ["installation", "repositories"];
    let answer = session.get_with(&segments, Some(&query), JSON, ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|broken| broken.into_error(&at.host));
    at.counted(answer.and_then(|answer| match answer.status {
        200 => serde_json::from_slice(&answer.body).map_err(|_| {
            let what = "answered something that is no list of selected repositories";
            GitHubError::Transient(format!("{} {what}", at.host))
        }),
        _ => Err(session.refusal(&answer)),
    }))
}

/// The page that a stretch's nodes came to.
pub(super) fn page_of(
    data: &Data<'_>,
    part: Part,
    owner: &Owner,
    files: &[FileQuery],
) -> Result<Page, GitHubError> {
    let host = &owner.account.host;
    let wrong = |what: &str| GitHubError::Transient(format!("{host}: {what}"));
    let nodes = data.nodes.as_deref().filter(|nodes| nodes.len() == part.ids.len());
    let nodes = nodes.ok_or_else(|| wrong("the answer has not the repositories asked for"))?;
    let mut repositories = Vec::with_capacity(nodes.len());
    for node in nodes {
        let node = node.ok_or_else(|| wrong("a selected repository is left out"))?;
        let decoded = wire::repository(host, node, files)
            .map_err(|why| wrong(&format!("a listed repository cannot be decoded: {why}")))?;
        repositories.push(decoded.repository);
    }
    Ok(Page { repositories, next: part.next, total: part.total })
}
