//! Reads a batch of repositories: how many calls, and what an error condemns.
//!
//! Up to [`BATCH_MAX`] repositories are one GraphQL call by node id; a repository whose node id
//! is not known is first looked up by `GET /repositories/{id}`, and so is one that GraphQL does
//! not find: 404 there means gone, 200 gives the node id it has now, with which it is read once
//! more. An error at one node condemns that repository alone. Any other error makes the whole
//! answer untrue: the batch is halved and asked again, down to one repository. If even that one
//! fails, GitHub is in trouble, and the rest fails with the same error without further calls;
//! they are tried again later anyway. A limit or refused credentials end everything at once.

use super::limits::{at_node, untrue};
use super::session::Session;
use super::transport::{ANSWER_BYTES_MAX, Answer, Broken, JSON, RAW, Transport};
use super::wire::{self, Decoded, RestRepository};
use super::{Content, FILE_BYTES_MAX, GitHubError, RepoRead, Seen};
use crate::ids::NodeId;
use crate::repository::FileQuery;
use crate::work::BATCH_MAX;

/// A repository that waits for its call.
#[derive(Debug, Clone)]
struct Pending {
    /// Its place in the reads and results.
    at: usize,
    node_id: NodeId,
}

/// What one node of an answer came to.
enum Node {
    Found(Box<Decoded>),
    NotFound,
    Failed(GitHubError),
}

/// Whom an error of a REST call condemns.
pub(super) enum Trouble {
    /// The repository that was asked for.
    Own(GitHubError),
    /// Whatever else would be asked too: limits, refused credentials, GitHub in trouble.
    Everyones(GitHubError),
}

/// One call of [`GitHub::read`](super::GitHub::read).
pub(super) struct Batch<'a> {
    session: &'a Session,
    transport: &'a Transport,
    reads: &'a [RepoRead],
    files: &'a [FileQuery],
    results: Vec<Option<Result<Seen, GitHubError>>>,
    /// Why nothing more is asked.
    stopped: Option<GitHubError>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(session: &'a Session, reads: &'a [RepoRead], files: &'a [FileQuery]) -> Self {
        let results = reads.iter().map(|_| None).collect();
        Self { session, transport: &session.transport, reads, files, results, stopped: None }
    }

    pub(super) async fn read(mut self) -> Vec<Result<Seen, GitHubError>> {
        let mut pending = Vec::with_capacity(self.reads.len());
        for (at, read) in self.reads.iter().enumerate() {
            match &read.node_id {
                Some(node_id) => pending.push(Pending { at, node_id: node_id.clone() }),
                None => pending.extend(self.look_up(at).await),
            }
        }
        let missing = self.ask_all(pending).await;
        let mut again = Vec::new();
        for at in missing {
            again.extend(self.look_up(at).await);
        }
        for at in self.ask_all(again).await {
            let name = self.name(at);
            let host = &self.transport.host;
            let text = format!("{host} shows {name} by REST, but not by GraphQL");
            self.results[at] = Some(Err(GitHubError::Transient(text)));
        }
        let unsettled = || GitHubError::Transient("not asked".to_owned());
        let stopped = self.stopped;
        let end = |result: Option<_>| {
            result.unwrap_or_else(|| Err(stopped.clone().unwrap_or_else(unsettled)))
        };
        self.results.into_iter().map(end).collect()
    }

    /// Finds a repository's node id by its database id; settles it if there is none to find.
    async fn look_up(&mut self, at: usize) -> Option<Pending> {
        if self.stopped.is_some() {
            return None;
        }
        match self.rest_repository(at).await {
            Ok(Some(node_id)) => return Some(Pending { at, node_id }),
            Ok(None) => {
                let gone = self.session.doubts().map_or(Ok(Seen::Gone), Err);
                self.results[at] = Some(gone);
            }
            Err(trouble) => self.failed(at, trouble),
        }
        None
    }

    async fn rest_repository(&self, at: usize) -> Result<Option<NodeId>, Trouble> {
        let id = self.reads[at].key.id;
        let segments = ["repositories", &id.to_string()];
        let answer = self.session.get(&segments, JSON, ANSWER_BYTES_MAX).await;
        let host = &self.transport.host;
        let answer = answer.map_err(|broken| broken.into_error(host));
        let Some(answer) = judged(self.session, answer)? else { return Ok(None) };
        match serde_json::from_slice::<RestRepository>(&answer.body) {
            Ok(found) if found.id == id.0 => Ok(Some(found.node_id)),
            _ => {
                let text = format!("{host} answered for {} with something else", self.name(at));
                Err(Trouble::Own(GitHubError::Transient(text)))
            }
        }
    }

    /// Asks for all of them, in halves where it must; returns those that GraphQL did not find.
    async fn ask_all(&mut self, mut pending: Vec<Pending>) -> Vec<usize> {
        let mut missing = Vec::new();
        let mut waiting: Vec<Vec<Pending>> = Vec::new();
        while !pending.is_empty() {
            let rest = pending.split_off(pending.len().min(BATCH_MAX));
            waiting.push(std::mem::replace(&mut pending, rest));
        }
        waiting.reverse();
        while let Some(mut batch) = waiting.pop() {
            if self.stopped.is_some() {
                break;
            }
            let nodes = self.ask(&batch).await;
            match self.transport.counted(nodes) {
                Ok(nodes) => {
                    for (Pending { at, .. }, node) in batch.into_iter().zip(nodes) {
                        match node {
                            Node::Found(decoded) => self.found(at, *decoded).await,
                            Node::NotFound => missing.push(at),
                            Node::Failed(error) => self.results[at] = Some(Err(error)),
                        }
                    }
                }
                Err(error) if error.is_transient() && batch.len() > 1 => {
                    waiting.push(batch.split_off(batch.len().div_ceil(2)));
                    waiting.push(batch);
                }
                Err(error) => self.stopped = Some(error),
            }
        }
        missing
    }

    /// One GraphQL call; an error is about all of them.
    async fn ask(&self, batch: &[Pending]) -> Result<Vec<Node>, GitHubError> {
        let host = &self.transport.host;
        let ids: Vec<&NodeId> = batch.iter().map(|pending| &pending.node_id).collect();
        let answer = self.session.graphql(wire::read_body(&ids, self.files)).await?;
        let envelope = self.transport.decoded(&answer.body)?;
        let nodes = envelope.data.and_then(|data| data.nodes);
        let nodes = nodes.filter(|nodes| nodes.len() == batch.len());
        let about_one = |at: Option<usize>| at.is_some_and(|at| at < batch.len());
        let errors = envelope.errors;
        let Some(nodes) = nodes.filter(|_| errors.iter().all(|error| about_one(error.node())))
        else {
            return Err(untrue(host, &errors, &answer.headers, self.transport.clock.now()));
        };
        let mut decoded = Vec::with_capacity(nodes.len());
        for (place, (node, pending)) in nodes.iter().zip(batch).enumerate() {
            let mut own = errors.iter().filter(|error| error.node() == Some(place)).peekable();
            let name = || self.name(pending.at);
            decoded.push(match (own.peek(), node) {
                (Some(_), _) => match own.find(|error| !error.is_missing_node()) {
                    Some(error) => Node::Failed(at_node(host, &name(), error)),
                    None => Node::NotFound,
                },
                (None, None) => {
                    let text = format!("{host} left {} out without saying why", name());
                    Node::Failed(GitHubError::Transient(text))
                }
                (None, Some(node)) => match wire::repository(host, node, self.files) {
                    Ok(found) if found.repository.key == self.reads[pending.at].key => {
                        Node::Found(Box::new(found))
                    }
                    // The node id is another repository's: what it was given for is not found.
                    Ok(_) => Node::NotFound,
                    Err(why) => {
                        let text = format!("{host}: {} cannot be decoded: {why}", name());
                        Node::Failed(GitHubError::Transient(text))
                    }
                },
            });
        }
        Ok(decoded)
    }

    /// Reads what GraphQL cut or left out, then settles the repository.
    async fn found(&mut self, at: usize, decoded: Decoded) {
        let Decoded { mut repository, unread, .. } = decoded;
        for place in unread {
            let Some(file) = repository.files[place].as_mut() else { continue };
            let name = repository.full_name.as_str();
            let oid = file.oid.as_str();
            let (owner, short) = (repository.full_name.owner(), repository.full_name.name());
            let content = match &self.stopped {
                Some(error) => Err(Trouble::Own(error.clone())),
                None => {
                    let segments = ["repos", owner, short, "git", "blobs", oid];
                    raw(self.session, &segments, name).await
                }
            };
            match content {
                Ok(content) => file.content = content,
                Err(trouble) => return self.failed(at, trouble),
            }
        }
        self.results[at] = Some(Ok(Seen::Found(Box::new(repository))));
    }

    /// Settles a repository with an error, and stops if it is everybody's.
    fn failed(&mut self, at: usize, trouble: Trouble) {
        let (Trouble::Own(error) | Trouble::Everyones(error)) = &trouble;
        self.results[at] = Some(Err(error.clone()));
        if let Trouble::Everyones(error) = trouble {
            self.stopped = Some(error);
        }
    }

    fn name(&self, at: usize) -> String {
        format!("repository {}", self.reads[at].key.id)
    }
}

/// The answer if it is a success, `None` if it is 404, and else whom the refusal condemns.
pub(super) fn judged(
    session: &Session,
    answer: Result<Answer, GitHubError>,
) -> Result<Option<Answer>, Trouble> {
    let reached = answer.as_ref().map_or(0, |answer| answer.status);
    let answer = answer.and_then(|answer| match answer.status {
        200 => Ok(Some(answer)),
        404 => Ok(None),
        _ => Err(session.refusal(&answer)),
    });
    session.transport.counted(answer).map_err(|error| match (error, reached) {
        (GitHubError::Unauthorized(why), 403) => Trouble::Own(GitHubError::Refused(why)),
        (error @ GitHubError::Transient(_), 300..=499) => Trouble::Own(error),
        (error, _) => Trouble::Everyones(error),
    })
}

/// A blob's bytes as text.
pub(super) async fn raw(
    session: &Session,
    segments: &[&str],
    name: &str,
) -> Result<Content, Trouble> {
    let bytes_max = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
    let answer = match session.get(segments, RAW, bytes_max).await {
        Ok(answer) => Ok(answer),
        Err(Broken::TooLong) => return Ok(Content::TooLarge { bytes: FILE_BYTES_MAX + 1 }),
        Err(Broken::Error(error)) => Err(error),
    };
    match judged(session, answer)? {
        Some(answer) => Ok(Content::Text(String::from_utf8_lossy(&answer.body).into())),
        None => {
            let host = &session.transport.host;
            let text = format!("{host}: a file of {name} was gone before it was read");
            Err(Trouble::Own(GitHubError::Transient(text)))
        }
    }
}
