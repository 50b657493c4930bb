//! GraphQL on the wire: the queries we ask and the shapes we decode. Nothing else sees them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::limits::WireError;
use super::{Content, FILE_BYTES_MAX, FileSeen, Repository};
use crate::clock::Timestamp;
use crate::ids::{Account, FullName, Host, NodeId, Oid, OwnerId, RepoId};
use crate::repository::{FileQuery, Listed};
use crate::work::RepoKey;

/// GitHub allows this many topics.
const TOPICS_MAX: u32 = 20;

/// Fields of a blob that is read.
pub(super) const BLOB_WITH_TEXT: &str = "oid byteSize isTruncated isBinary text";

/// Fields of an owner; the database id is not on the interface.
const OWNER: &str = "login ... on Organization { databaseId } ... on User { databaseId }";

/// Fields of a repository without its files.
fn repository_fields() -> String {
    format!(
        "id databaseId nameWithOwner owner {{ {OWNER} }} isArchived isFork visibility createdAt \
         pushedAt repositoryTopics(first: {TOPICS_MAX}) {{ nodes {{ topic {{ name }} }} }} \
         defaultBranchRef {{ name target {{ oid }} }}"
    )
}

/// The query for an owner.
pub(super) fn owner_body(login: &str) -> String {
    let query = format!(
        "query Owner($login: String!) {{ rateLimit {{ cost }} \
         repositoryOwner(login: $login) {{ {OWNER} }} }}"
    );
    json!({"query": query, "variables": {"login": login}}).to_string()
}

/// The smallest query.
pub(super) fn awake_body() -> String {
    json!({"query": "query Awake { rateLimit { cost } }"}).to_string()
}

/// The query for a page of an owner's repositories, by CREATED_AT because a repository's place in
/// that order never changes, and without those it only collaborates on.
pub(super) fn list_body(
    login: &str,
    after: Option<&str>,
    first: u32,
    files: &[FileQuery],
) -> String {
    let (declared, fields, mut variables) = file_fields(files, "oid");
    let query = format!(
        "query List($login: String!, $first: Int!, $after: String{declared}) {{ \
         rateLimit {{ cost }} repositoryOwner(login: $login) {{ {OWNER} \
         repositories(first: $first, after: $after, ownerAffiliations: [OWNER], \
         orderBy: {{field: CREATED_AT, direction: ASC}}) {{ totalCount \
         pageInfo {{ endCursor hasNextPage }} nodes {{ {} {fields} }} }} }} }}",
        repository_fields()
    );
    variables.insert("login".to_owned(), json!(login));
    variables.insert("first".to_owned(), json!(first));
    variables.insert("after".to_owned(), json!(after));
    json!({"query": query, "variables": variables}).to_string()
}

/// The query for what changed last: the first page by push and the first by update, with the fields
/// of a listing. GitHub counts a request for each page and one for each repository's topics.
pub(super) fn latest_body(login: &str, first: u32, files: &[FileQuery]) -> String {
    let (declared, fields, mut variables) = file_fields(files, "oid");
    let page = |name: &str, field: &str| {
        format!(
            "{name}: repositories(first: $first, ownerAffiliations: [OWNER], \
             orderBy: {{field: {field}, direction: DESC}}) {{ ...Latest }}"
        )
    };
    let query = format!(
        "query Latest($login: String!, $first: Int!{declared}) {{ rateLimit {{ cost }} \
         repositoryOwner(login: $login) {{ {OWNER} {} {} }} }} \
         fragment Latest on RepositoryConnection {{ totalCount \
         pageInfo {{ endCursor hasNextPage }} nodes {{ {} updatedAt {fields} }} }}",
        page("pushed", "PUSHED_AT"),
        page("updated", "UPDATED_AT"),
        repository_fields()
    );
    variables.insert("login".to_owned(), json!(login));
    variables.insert("first".to_owned(), json!(first));
    json!({"query": query, "variables": variables}).to_string()
}

/// The query for repositories by node id, with the text of their files.
pub(super) fn read_body(ids: &[&NodeId], files: &[FileQuery]) -> String {
    nodes_body(ids, files, BLOB_WITH_TEXT)
}

/// The query for a page of repositories by node id, files with oids only.
pub(super) fn listed_body(ids: &[&NodeId], files: &[FileQuery]) -> String {
    nodes_body(ids, files, "oid")
}

fn nodes_body(ids: &[&NodeId], files: &[FileQuery], of_blob: &str) -> String {
    let (declared, fields, mut variables) = file_fields(files, of_blob);
    let query = format!(
        "query Read($ids: [ID!]!{declared}) {{ rateLimit {{ cost }} \
         nodes(ids: $ids) {{ ... on Repository {{ {} {fields} }} }} }}",
        repository_fields()
    );
    variables.insert("ids".to_owned(), json!(ids));
    json!({"query": query, "variables": variables}).to_string()
}

/// One aliased field a file; paths and branches travel as variables, so none needs quoting.
fn file_fields(files: &[FileQuery], of_blob: &str) -> (String, String, Map<String, Value>) {
    let (mut declared, mut fields, mut variables) = (String::new(), String::new(), Map::new());
    for (at, file) in files.iter().enumerate() {
        let revision = match &file.branch {
            Some(branch) => format!("refs/heads/{branch}"),
            None => "HEAD".to_owned(),
        };
        let _ = write!(declared, ", $e{at}: String!");
        let _ =
            write!(fields, "f{at}: object(expression: $e{at}) {{ ... on Blob {{ {of_blob} }} }} ");
        variables.insert(format!("e{at}"), json!(format!("{revision}:{}", file.path)));
    }
    (declared, fields, variables)
}

/// What GraphQL answers.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub(super) struct Envelope<T> {
    /// Absent or null where the query was refused.
    #[serde(default = "Option::default")]
    pub(super) data: Option<T>,
    #[serde(default)]
    pub(super) errors: Vec<WireError>,
}

/// Points a query cost.
#[derive(Debug, Deserialize)]
pub(super) struct RateLimit {
    pub(super) cost: u64,
}

/// The data of all our queries; fields that were not asked for are `None`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data<'a> {
    #[serde(default)]
    pub(super) rate_limit: Option<RateLimit>,
    #[serde(default)]
    pub(super) repository_owner: Option<WireOwner<'a>>,
    #[serde(default, borrow)]
    pub(super) nodes: Option<Vec<Option<&'a RawValue>>>,
}

/// An owner.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireOwner<'a> {
    pub(super) login: String,
    pub(super) database_id: u64,
    #[serde(default, borrow)]
    pub(super) repositories: Option<WirePage<'a>>,
    #[serde(default, borrow)]
    pub(super) pushed: Option<WirePage<'a>>,
    #[serde(default, borrow)]
    pub(super) updated: Option<WirePage<'a>>,
}

/// A page of repositories.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WirePage<'a> {
    pub(super) total_count: u64,
    pub(super) page_info: PageInfo,
    #[serde(borrow)]
    pub(super) nodes: Vec<&'a RawValue>,
}

/// Where a page ends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageInfo {
    pub(super) end_cursor: Option<String>,
    pub(super) has_next_page: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRepository {
    id: NodeId,
    database_id: u64,
    name_with_owner: FullName,
    owner: WireName,
    is_archived: bool,
    is_fork: bool,
    visibility: String,
    created_at: Option<String>,
    pushed_at: Option<String>,
    #[serde(default)]
    updated_at: Option<String>,
    repository_topics: Topics,
    default_branch_ref: Option<Branch>,
    #[serde(flatten)]
    files: BTreeMap<String, Option<WireBlob>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireName {
    database_id: u64,
}

#[derive(Debug, Deserialize)]
struct Topics {
    nodes: Vec<TopicNode>,
}

#[derive(Debug, Deserialize)]
struct TopicNode {
    topic: Topic,
}

#[derive(Debug, Deserialize)]
struct Topic {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Branch {
    name: String,
    target: Target,
}

#[derive(Debug, Deserialize)]
struct Target {
    oid: Oid,
}

/// A blob; a folder or a commit at the path has no fields at all.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBlob {
    oid: Option<Oid>,
    byte_size: Option<u64>,
    is_truncated: Option<bool>,
    is_binary: Option<bool>,
    text: Option<Arc<str>>,
}

/// A commit of a repository, with the files asked for as `f0`, `f1` and so on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireCommit {
    database_id: u64,
    commit: Option<Target>,
    #[serde(flatten)]
    files: BTreeMap<String, Option<WireBlob>>,
}

/// The files of a commit.
pub(super) struct CommitFiles {
    pub(super) repository: RepoId,
    pub(super) commit: Oid,
    /// Each with whether its text has to be read by REST; `None` where there is none.
    pub(super) files: Vec<Option<(FileSeen, bool)>>,
}

/// The `count` files of a commit; `None` where there is no such commit. The error names fields, not
/// values.
pub(super) fn commit_files(
    mut wire: WireCommit,
    count: usize,
) -> Result<Option<CommitFiles>, String> {
    let Some(commit) = wire.commit else { return Ok(None) };
    let mut files = Vec::with_capacity(count);
    for at in 0..count {
        let blob = wire.files.remove(&format!("f{at}"));
        let blob = blob.ok_or_else(|| format!("the answer has no field `f{at}`"))?;
        files.push(blob.and_then(file).map(|(file, read)| (file, read == Read::Elsewhere)));
    }
    let repository = RepoId(wire.database_id);
    Ok(Some(CommitFiles { repository, commit: commit.oid, files }))
}

/// A repository's REST form, as much of it as we need.
#[derive(Debug, Deserialize)]
pub(super) struct RestRepository {
    pub(super) id: u64,
    pub(super) node_id: NodeId,
}

/// A decoded repository.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) repository: Repository,
    /// Places in `files` whose text has to be read by REST.
    pub(super) unread: Vec<usize>,
    /// When it was last changed, where that was asked for.
    pub(super) updated_at: Option<Timestamp>,
}

/// Decodes one node; the error is for the log, it names fields, not values.
pub(super) fn repository(
    host: &Host,
    node: &RawValue,
    files: &[FileQuery],
) -> Result<Decoded, String> {
    let mut wire: WireRepository =
        serde_json::from_str(node.get()).map_err(|error| error.to_string())?;
    let mut unread = Vec::new();
    let mut seen = Vec::with_capacity(files.len());
    for at in 0..files.len() {
        let blob = wire
            .files
            .remove(&format!("f{at}"))
            .ok_or_else(|| format!("the answer has no field `f{at}`"))?;
        let file = blob.and_then(file);
        if file.as_ref().is_some_and(|(_, read)| *read == Read::Elsewhere) {
            unread.push(at);
        }
        seen.push(file.map(|(file, _)| file));
    }
    let mut topics: Vec<String> =
        wire.repository_topics.nodes.into_iter().map(|node| node.topic.name).collect();
    topics.sort();
    let time = |text: Option<String>| text.and_then(|text| Timestamp::parse_rfc3339(&text));
    let (default_branch, head) = match wire.default_branch_ref {
        Some(branch) => (Some(branch.name), Some(branch.target.oid)),
        None => (None, None),
    };
    let updated_at = time(wire.updated_at);
    let repository = Repository {
        key: RepoKey { host: host.clone(), id: RepoId(wire.database_id) },
        node_id: wire.id,
        account: Account { host: host.clone(), owner: OwnerId(wire.owner.database_id) },
        full_name: wire.name_with_owner,
        created_at: time(wire.created_at),
        pushed_at: time(wire.pushed_at),
        listed: Listed {
            visibility: wire.visibility.to_ascii_lowercase(),
            archived: wire.is_archived,
            fork: wire.is_fork,
            default_branch,
            topics,
        },
        head,
        files: seen,
    };
    Ok(Decoded { repository, unread, updated_at })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Done,
    Elsewhere,
}

/// A file as the answer shows it; text that is cut, or missing because the file is binary to
/// GitHub, has to be read elsewhere unless the file is too large anyway.
fn file(blob: WireBlob) -> Option<(FileSeen, Read)> {
    let oid = blob.oid?;
    let Some(bytes) = blob.byte_size else {
        return Some((FileSeen { oid, content: Content::NotRead }, Read::Done));
    };
    if bytes > FILE_BYTES_MAX {
        return Some((FileSeen { oid, content: Content::TooLarge { bytes } }, Read::Done));
    }
    let whole = blob.is_truncated != Some(true) && blob.is_binary != Some(true);
    match blob.text.filter(|_| whole) {
        Some(text) => Some((FileSeen { oid, content: Content::Text(text) }, Read::Done)),
        None => Some((FileSeen { oid, content: Content::NotRead }, Read::Elsewhere)),
    }
}
