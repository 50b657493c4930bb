//! Reads files by path, of many repositories at once, each at one commit: few calls, and what an
//! error condemns.
//!
//! Repositories are asked for one by one under aliases of a single GraphQL call: those that were
//! read before by node id and the commit that was seen then, so that all their files are of one
//! commit; others by name and branch. Each is asked for the commit too, so that a commit or branch
//! that is not there is told from a file that is not there. An error at one alias condemns that
//! repository alone. Any other makes the whole answer untrue: it is asked again in halves, down to
//! one file; if even that fails, GitHub is in trouble and nothing more is asked. A limit or refused
//! credentials end everything at once.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::batch::{Trouble, raw};
use super::limits::{WireError, at_node, untrue};
use super::session::Session;
use super::wire::{self, CommitFiles, RateLimit, WireCommit};
use super::{FileSeen, GitHubError};
use crate::ids::{FullName, NodeId, Oid, RepoId};

/// Most objects of one call: files, and a commit for each repository. GitHub ends a query after
/// 10 s; two hundred small blobs take a fraction of that.
pub const OBJECTS_MAX: usize = 200;

/// Most bytes of paths and branches in one call: long ones make smaller calls, far below any limit
/// on a request's size.
const EXPRESSION_BYTES_MAX: usize = 256 * 1024;

/// Files of one commit to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRead {
    /// Whose.
    pub repository: RepoAt,
    /// At which commit.
    pub revision: Revision,
    /// The paths from the root, without a leading slash; none to learn of the commit only.
    pub paths: Vec<String>,
}

/// How a repository is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepoAt {
    /// By its id.
    Id {
        /// The id, as last seen.
        node_id: NodeId,
        /// Its name, for texts and large files.
        full_name: FullName,
    },
    /// By its name; a rename is followed.
    Name(FullName),
}

impl RepoAt {
    /// `owner/name`
    pub const fn full_name(&self) -> &FullName {
        match self {
            Self::Id { full_name, .. } | Self::Name(full_name) => full_name,
        }
    }
}

/// Which commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// This one.
    Commit(Oid),
    /// The head of a branch.
    Branch(String),
    /// `HEAD`, or a commit that need not be there.
    Named(String),
}

impl Revision {
    /// What the address of a file names in the place of a branch. Tags are not told from branches,
    /// so they are not found.
    pub fn of_address(name: &str) -> Self {
        match name == "HEAD" || Oid::parse(name).is_ok() {
            true => Self::Named(name.to_owned()),
            false => Self::Branch(name.to_owned()),
        }
    }

    fn expression(&self) -> String {
        match self {
            Self::Commit(oid) => oid.to_string(),
            Self::Branch(branch) => format!("refs/heads/{branch}"),
            Self::Named(name) => name.clone(),
        }
    }
}

/// What there was to read.
#[derive(Debug, Clone)]
pub enum CommitSeen {
    /// Nothing: these credentials do not see the repository.
    NoRepository,
    /// Nothing: the repository has no such branch, or does not show such a commit.
    NoCommit,
    /// The commit.
    Found {
        /// The repository's number.
        repository: RepoId,
        /// The commit.
        commit: Oid,
        /// The files in the order they were asked for; `None` where there is none.
        files: Vec<Option<FileSeen>>,
    },
}

/// Some of the paths of a read: what one alias asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// The read.
    at: usize,
    /// Its first path.
    from: usize,
    /// How many.
    count: usize,
}

/// Most files of one read that are fetched one by one, because GraphQL gives no text of what is
/// binary or long. Catalog files are neither; a pattern that fits all pictures of a repository
/// shall not spend the account's calls. The others count as not read.
pub const BY_REST_MAX: usize = 20;

/// One call of [`GitHub::read_files`](super::GitHub::read_files).
pub(super) struct Gather<'a> {
    session: &'a Session,
    reads: &'a [CommitRead],
    results: Vec<Option<Result<CommitSeen, GitHubError>>>,
    /// How many files of each read were fetched one by one.
    by_rest: Vec<usize>,
    /// Why nothing more is asked.
    stopped: Option<GitHubError>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(session: &'a Session, reads: &'a [CommitRead]) -> Self {
        let results = reads.iter().map(|_| None).collect();
        Self { session, reads, results, by_rest: vec![0; reads.len()], stopped: None }
    }

    pub(super) async fn read(mut self) -> Vec<Result<CommitSeen, GitHubError>> {
        let mut waiting = calls(self.reads);
        waiting.reverse();
        while let Some(pieces) = waiting.pop() {
            let asked = self.ask(&pieces).await;
            match self.session.transport.counted(asked) {
                Ok(answers) => {
                    for (piece, answer) in pieces.into_iter().zip(answers) {
                        self.found(piece, answer).await;
                    }
                }
                Err(error) => match halves(&pieces).filter(|_| error.is_transient()) {
                    Some((first, second)) => waiting.extend([second, first]),
                    None => {
                        self.stopped = Some(error);
                        waiting.push(pieces);
                    }
                },
            }
            if self.stopped.is_some() {
                // A read of which a piece is missing is not whole.
                for piece in waiting.drain(..).flatten() {
                    self.results[piece.at] = None;
                }
            }
        }
        let unsettled = || GitHubError::Transient("not asked".to_owned());
        let stopped = self.stopped;
        let end = |result: Option<_>| {
            result.unwrap_or_else(|| Err(stopped.clone().unwrap_or_else(unsettled)))
        };
        self.results.into_iter().map(end).collect()
    }

    /// One GraphQL call; an error is about all pieces.
    async fn ask(
        &self,
        pieces: &[Piece],
    ) -> Result<Vec<Result<Option<WireCommit>, GitHubError>>, GitHubError> {
        let transport = &self.session.transport;
        let host = &transport.host;
        let answer = self.session.graphql(body(self.reads, pieces)).await?;
        let cost = |data: &HashMap<String, &RawValue>| {
            let limit = data.get("rateLimit")?;
            serde_json::from_str::<RateLimit>(limit.get()).ok().map(|limit| limit.cost)
        };
        let envelope = transport.decoded_as(&answer.body, |data| cost(data).unwrap_or(0))?;
        let errors = envelope.errors;
        let is_about_one =
            |error: &WireError| error.alias("r").is_some_and(|alias| alias < pieces.len());
        let Some(data) = envelope.data.filter(|_| errors.iter().all(is_about_one)) else {
            return Err(untrue(host, &errors, &answer.headers, transport.clock.now()));
        };
        let decode = |(alias, piece): (usize, &Piece)| {
            let name = self.reads[piece.at].repository.full_name();
            let mut own = errors.iter().filter(|error| error.alias("r") == Some(alias)).peekable();
            if own.peek().is_some() {
                let other = own.find(|error| error.kind != "NOT_FOUND" || error.path.len() != 1);
                return other.map_or(Ok(None), |error| Err(at_node(host, name.as_str(), error)));
            }
            let wrong = |what: &str| GitHubError::Transient(format!("{host}: {name} {what}"));
            let node = data.get(&format!("r{alias}"));
            let node = node.ok_or_else(|| wrong("was left out without a word"))?;
            let decoded: Option<WireCommit> = serde_json::from_str(node.get())
                .map_err(|why| wrong(&format!("cannot be decoded: {why}")))?;
            decoded.map(Some).ok_or_else(|| wrong("was left out without saying why"))
        };
        Ok(pieces.iter().enumerate().map(decode).collect())
    }

    /// Adds what a piece came to to its read.
    async fn found(&mut self, piece: Piece, answer: Result<Option<WireCommit>, GitHubError>) {
        let seen = match answer {
            Ok(None) => Ok(CommitSeen::NoRepository),
            Ok(Some(wire)) => self.complete(piece, wire).await,
            Err(error) => Err(error),
        };
        let host = &self.session.transport.host;
        let slot = &mut self.results[piece.at];
        *slot = Some(match (slot.take(), seen) {
            (None, seen) => seen,
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (
                Some(Ok(CommitSeen::Found { repository, commit, mut files })),
                Ok(CommitSeen::Found { commit: now, files: more, .. }),
            ) if commit == now => {
                files.extend(more);
                Ok(CommitSeen::Found { repository, commit, files })
            }
            (Some(Ok(CommitSeen::NoRepository)), Ok(CommitSeen::NoRepository)) => {
                Ok(CommitSeen::NoRepository)
            }
            (Some(Ok(CommitSeen::NoCommit)), Ok(CommitSeen::NoCommit)) => Ok(CommitSeen::NoCommit),
            _ => {
                let name = self.reads[piece.at].repository.full_name();
                let what = "was changed while its files were read";
                Err(GitHubError::Transient(format!("{host}: {name} {what}")))
            }
        });
    }

    /// The files of a piece, with what GraphQL cut or left out.
    async fn complete(
        &mut self,
        piece: Piece,
        wire: WireCommit,
    ) -> Result<CommitSeen, GitHubError> {
        let host = &self.session.transport.host;
        let name = self.reads[piece.at].repository.full_name();
        let decoded = wire::commit_files(wire, piece.count)
            .map_err(|why| GitHubError::Transient(format!("{host}: {name}: {why}")))?;
        let Some(CommitFiles { repository, commit, files: found }) = decoded else {
            return Ok(CommitSeen::NoCommit);
        };
        let mut files = Vec::with_capacity(found.len());
        for file in found {
            files.push(match file {
                Some((mut file, true)) if self.by_rest[piece.at] < BY_REST_MAX => {
                    self.by_rest[piece.at] += 1;
                    let oid = file.oid.to_string();
                    let segments = ["repos", name.owner(), name.name(), "git", "blobs", &oid];
                    if let Some(error) = &self.stopped {
                        return Err(error.clone());
                    }
                    file.content = match raw(self.session, &segments, name.as_str()).await {
                        Ok(content) => content,
                        Err(Trouble::Own(error)) => return Err(error),
                        Err(Trouble::Everyones(error)) => {
                            self.stopped = Some(error.clone());
                            return Err(error);
                        }
                    };
                    Some(file)
                }
                Some((file, _)) => Some(file),
                None => None,
            });
        }
        Ok(CommitSeen::Found { repository, commit, files })
    }
}

/// The reads in pieces, and these in calls, both within the limits.
fn calls(reads: &[CommitRead]) -> Vec<Vec<Piece>> {
    let mut calls: Vec<Vec<Piece>> = Vec::new();
    let (mut objects, mut bytes) = (OBJECTS_MAX, 0);
    for (at, read) in reads.iter().enumerate() {
        let revision = read.revision.expression().len();
        // Opens a piece in this call, or in a new one that has room for it and a path.
        let mut open = |calls: &mut Vec<Vec<Piece>>, from: usize, is_full: bool| {
            if is_full || objects + 2 > OBJECTS_MAX {
                calls.push(Vec::new());
                (objects, bytes) = (0, 0);
            }
            (objects, bytes) = (objects + 1, bytes + revision);
            if let Some(call) = calls.last_mut() {
                call.push(Piece { at, from, count: 0 });
            }
            (objects, bytes)
        };
        let mut so_far = open(&mut calls, 0, false);
        for (place, path) in read.paths.iter().enumerate() {
            let more = revision + 1 + path.len();
            if so_far.0 >= OBJECTS_MAX || so_far.1 + more > EXPRESSION_BYTES_MAX {
                so_far = open(&mut calls, place, true);
            }
            so_far = (so_far.0 + 1, so_far.1 + more);
            if let Some(piece) = calls.last_mut().and_then(|call| call.last_mut()) {
                piece.count += 1;
            }
        }
        (objects, bytes) = so_far;
    }
    calls
}

/// A call in two; `None` when it is as small as can be.
fn halves(pieces: &[Piece]) -> Option<(Vec<Piece>, Vec<Piece>)> {
    match pieces {
        [] => None,
        [only] if only.count < 2 => None,
        [only] => {
            let first = only.count.div_ceil(2);
            let second = Piece { from: only.from + first, count: only.count - first, ..*only };
            Some((vec![Piece { count: first, ..*only }], vec![second]))
        }
        many => {
            let (first, second) = many.split_at(many.len().div_ceil(2));
            Some((first.to_vec(), second.to_vec()))
        }
    }
}

/// The query; names, branches and paths travel as variables, so none needs quoting.
fn body(reads: &[CommitRead], pieces: &[Piece]) -> String {
    let (mut declared, mut fields, mut variables) = (Vec::new(), String::new(), Map::new());
    let mut variable = |name: String, of: &str, value: Value| {
        declared.push(format!("${name}: {of}!"));
        variables.insert(name, value);
    };
    for (alias, piece) in pieces.iter().enumerate() {
        let read = &reads[piece.at];
        let revision = read.revision.expression();
        let repository = match &read.repository {
            RepoAt::Id { node_id, .. } => {
                variable(format!("n{alias}"), "ID", json!(node_id));
                format!("node(id: $n{alias}) {{ ... on Repository {{")
            }
            RepoAt::Name(name) => {
                variable(format!("o{alias}"), "String", json!(name.owner()));
                variable(format!("m{alias}"), "String", json!(name.name()));
                format!("repository(owner: $o{alias}, name: $m{alias}) {{ ... on Repository {{")
            }
        };
        variable(format!("c{alias}"), "String", json!(revision));
        let _ = write!(
            fields,
            "r{alias}: {repository} databaseId commit: object(expression: $c{alias}) {{ oid }} "
        );
        for (place, path) in read.paths[piece.from..piece.from + piece.count].iter().enumerate() {
            let name = format!("p{alias}x{place}");
            let _ = write!(
                fields,
                "f{place}: object(expression: ${name}) {{ ... on Blob {{ {} }} }} ",
                wire::BLOB_WITH_TEXT
            );
            variable(name, "String", json!(format!("{revision}:{path}")));
        }
        fields.push_str("} } ");
    }
    let declared = declared.join(", ");
    let query = format!("query Files({declared}) {{ rateLimit {{ cost }} {fields}}}");
    json!({"query": query, "variables": variables}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(paths: usize, length: usize) -> CommitRead {
        let name = FullName::parse("acme/pay").expect("a name");
        CommitRead {
            repository: RepoAt::Name(name),
            revision: Revision::Branch("main".to_owned()),
            paths: (0..paths).map(|at| format!("{at:0length$}")).collect(),
        }
    }

    /// Every path is asked for once, in order, and no call is beyond a limit.
    fn check(reads: &[CommitRead], expected_calls: usize) {
        let calls = calls(reads);
        assert_eq!(calls.len(), expected_calls);
        let mut next = vec![0; reads.len()];
        let mut opened = vec![false; reads.len()];
        for call in &calls {
            let objects: usize = call.iter().map(|piece| piece.count + 1).sum();
            assert!(objects <= OBJECTS_MAX, "{objects}");
            for piece in call {
                assert_eq!(piece.from, next[piece.at]);
                next[piece.at] += piece.count;
                opened[piece.at] = true;
            }
        }
        let all: Vec<usize> = reads.iter().map(|read| read.paths.len()).collect();
        assert_eq!(next, all);
        assert!(opened.iter().all(|opened| *opened));
    }

    #[test]
    fn calls_hold_every_path_once_within_the_limits() {
        check(&[], 0);
        check(&[read(0, 1)], 1);
        check(&[read(OBJECTS_MAX - 1, 1)], 1);
        check(&[read(OBJECTS_MAX, 1)], 2);
        let ten: Vec<CommitRead> = (0..10).map(|_| read(5, 10)).collect();
        check(&ten, 1);
        let many: Vec<CommitRead> = (0..50).map(|_| read(9, 10)).collect();
        check(&many, 3);
        check(&[read(199, 4000)], 4);
    }

    #[test]
    fn a_call_is_halved_down_to_one_path() {
        let mut waiting = calls(&[read(7, 1), read(0, 1), read(3, 1)]);
        let mut smallest = 0;
        while let Some(call) = waiting.pop() {
            match halves(&call) {
                Some((first, second)) => waiting.extend([first, second]),
                None => {
                    assert!(call.len() == 1 && call[0].count < 2, "{call:?}");
                    smallest += 1;
                }
            }
        }
        assert_eq!(smallest, 11);
    }
}
