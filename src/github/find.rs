//! Finds a repository by its name, for people: everything else goes by id.

use super::session::Session;
use super::transport::{ANSWER_BYTES_MAX, JSON};
use super::wire::RestRepository;
use super::{GitHubError, RepoRead};
use crate::ids::{FullName, RepoId};
use crate::work::RepoKey;

/// `GET /repos/{owner}/{name}`, a rename followed; `None` when it does not exist for our
/// credentials.
pub(super) async fn by_name(
    session: &Session,
    name: &FullName,
) -> Result<Option<RepoRead>, GitHubError> {
    let at = &session.transport;
    let segments = ["repos", name.owner(), name.name()];
    let answer = session.get(&segments, JSON, ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|broken| broken.into_error(&at.host));
    let answer = at.counted(answer.and_then(|answer| match answer.status {
        200 => Ok(Some(answer)),
        404 => Ok(None),
        _ => Err(session.refusal(&answer)),
    }))?;
    let Some(answer) = answer else { return Ok(None) };
    let found: RestRepository = serde_json::from_slice(&answer.body).map_err(|_| {
        GitHubError::Transient(format!("{} answered for {name} with something else", at.host))
    })?;
    let key = RepoKey { host: at.host.clone(), id: RepoId(found.id) };
    Ok(Some(RepoRead { key, node_id: Some(found.node_id) }))
}
