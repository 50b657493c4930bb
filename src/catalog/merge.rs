//! What repositories claim, and which claim on an entity ref wins.
//!
//! A claim is one entity of one catalog file, kept once and as JSON text: everything the API sends
//! is put together from that text. The winner of a ref is the claim with the lowest (claimed_seq,
//! repository id, path), so the result does not depend on the order of loading. What a claim's
//! relations do to other entities is the business of [`super::view`].

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::catalog::annotations::MANAGED_BY_LOCATION;
use crate::catalog::edges::{ClaimEdges, Edge};
use crate::catalog::search::searchable;
use crate::catalog::{Code, Entity, Problem};

/// A repository with everything its catalog files hold: what goes into a view.
#[derive(Debug, Clone)]
pub struct RepoEntry {
    /// The change that wrote it.
    pub seq: u64,
    /// `github.com`
    pub host: String,
    /// Its database id.
    pub id: u64,
    /// `owner/name`
    pub full_name: String,
    /// The account that owns it, `host:owner id`.
    pub account: String,
    /// The default branch; `None` while it is empty.
    pub default_branch: Option<String>,
    /// The head of the default branch.
    pub head: Option<String>,
    /// When it was last reconciled: milliseconds since the Unix epoch.
    pub reconciled_at: i64,
    /// Its catalog files.
    pub files: Vec<FileEntry>,
}

/// A catalog file.
#[derive(Debug, Clone)]
pub struct FileEntry {
    /// The provider that looks for it.
    pub provider: String,
    /// The configured branch, `""` for the default branch.
    pub branch: String,
    /// From the repository's root, without a leading slash.
    pub path: String,
    /// Its entities, each with the change that first claimed its ref for the repository.
    pub claims: Vec<(Entity, u64)>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// The identity of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoId {
    /// `github.com`
    pub host: Arc<str>,
    /// Its database id.
    pub id: u64,
}

impl RepoId {
    /// The repository `id` on `host`.
    pub fn new(host: &str, id: u64) -> Self {
        Self { host: host.into(), id }
    }
}

/// The file a claim comes from. Its words are shared with other repositories.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// The repository.
    pub repository: RepoId,
    /// From the repository's root.
    pub path: Arc<str>,
    /// The branch it is read from; the default branch by its name, when that is known.
    pub branch: Arc<str>,
    provider: Arc<str>,
    configured_branch: Arc<str>,
}

impl Origin {
    /// Whether both are the same text in GitHub, even if two providers found it.
    fn is_same_file(&self, other: &Self) -> bool {
        self.repository == other.repository
            && self.path == other.path
            && self.branch == other.branch
    }
}

/// One entity as one file claims it.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    pub(super) entity_ref: Arc<str>,
    pub(super) origin: Arc<Origin>,
    edges: ClaimEdges,
    pub(super) generated: bool,
    /// Few have any of it.
    rare: Option<Box<Rare>>,
    claimed_seq: u64,
    document: u32,
    line: u32,
    /// `{"metadata":{…}` and, from `metadata_end` on, `},"apiVersion":…}`: uid and etag fit
    /// between the two, relations and status before the last brace.
    pub(super) body: Box<str>,
    metadata_end: u32,
    is_plainly_named: bool,
}

/// What few claims have.
#[derive(Debug, PartialEq, Eq)]
struct Rare {
    stale: Option<Box<str>>,
    included_by: Option<Box<str>>,
}

impl Claim {
    fn new(entity: &Entity, claimed_seq: u64, origin: &Arc<Origin>) -> Self {
        let (body, metadata_end) = split_body(&entity.body);
        let stale = entity.stale.as_deref().map(Into::into);
        let included_by = entity.included_by.as_deref().map(Into::into);
        let has_rare = stale.is_some() || included_by.is_some();
        Self {
            entity_ref: entity.entity_ref.as_str().into(),
            origin: Arc::clone(origin),
            edges: ClaimEdges::new(&entity.relations, &entity.entity_ref),
            generated: entity.generated,
            rare: has_rare.then(|| Box::new(Rare { stale, included_by })),
            claimed_seq,
            document: entity.document,
            line: entity.line,
            body,
            metadata_end: u32::try_from(metadata_end).expect("a file is smaller than 4 GB"),
            is_plainly_named: is_plainly_named(entity),
        }
    }

    /// Why it is not the newest version of itself, when it is not.
    pub(super) fn stale(&self) -> Option<&str> {
        self.rare.as_ref()?.stale.as_deref()
    }

    /// The ref of the Location that led to its file, when one did.
    pub(super) fn included_by(&self) -> Option<&str> {
        self.rare.as_ref()?.included_by.as_deref()
    }

    /// The relations that it declares.
    pub(super) fn edges(&self) -> impl Iterator<Item = Edge<'_>> {
        self.edges.iter(&self.entity_ref)
    }

    /// The name in lower case, where nothing else counts as `metadata.name`.
    pub(super) fn plain_name(&self) -> Option<&str> {
        self.entity_ref.rsplit_once('/').map(|(_, name)| name).filter(|_| self.is_plainly_named)
    }

    /// The order of claims on one ref, the winner first. Everything after the path only decides
    /// between copies of one repository.
    fn rank(&self) -> impl Ord + '_ {
        let origin = &*self.origin;
        (
            self.claimed_seq,
            origin.repository.id,
            &*origin.path,
            &*origin.repository.host,
            (&*origin.branch, &*origin.configured_branch, &*origin.provider),
            self.document,
        )
    }

    /// Whether losing to `winner` is something an owner has to know: not when both are of one
    /// file, which two repositories may include, or one includes and the other has.
    pub(super) fn conflicts_with(&self, winner: &Self) -> bool {
        let is_one_file = || self.location().is_some_and(|own| winner.location() == Some(own));
        !self.origin.is_same_file(&winner.origin) && !is_one_file()
    }

    /// The address of its file, whichever way led there.
    fn location(&self) -> Option<String> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        let location = &body["metadata"]["annotations"][MANAGED_BY_LOCATION];
        location.as_str().map(|url| url.replacen("/blob/", "/tree/", 1).to_lowercase())
    }

    /// The problem of losing to `winner`, whose repository is called `winner_name`.
    pub(super) fn conflict(&self, winner: &Self, winner_name: &str) -> Problem {
        Problem {
            code: Code::Conflict,
            path: self.origin.path.to_string(),
            line: self.line.max(1),
            column: 1,
            document: self.document.max(1),
            entity_ref: Some(self.entity_ref.to_string()),
            message: format!(
                "`{}` is already claimed by {} in {}; the first claim counts: rename one of \
                 them or remove it there",
                self.entity_ref, winner.origin.path, winner_name
            ),
        }
    }

    /// Appends the final entity, its `etag` only if given; `tail` is what [`tail`] made.
    pub(super) fn write(&self, uid: &str, etag: Option<&str>, tail: &str, out: &mut Vec<u8>) {
        let (metadata, rest) = self.body.split_at(self.metadata_end as usize);
        out.extend_from_slice(metadata.as_bytes());
        if !metadata.ends_with('{') {
            out.push(b',');
        }
        out.extend_from_slice(b"\"uid\":\"");
        out.extend_from_slice(uid.as_bytes());
        if let Some(etag) = etag {
            out.extend_from_slice(b"\",\"etag\":\"");
            out.extend_from_slice(etag.as_bytes());
        }
        out.push(b'"');
        out.extend_from_slice(&rest.as_bytes()[..rest.len() - 1]);
        out.extend_from_slice(tail.as_bytes());
        out.push(b'}');
    }
}

/// Sorts the claims on one ref, the winner first.
pub(super) fn sort_claims(claims: &mut [Arc<Claim>]) {
    claims.sort_by(|a, b| a.rank().cmp(&b.rank()));
}

/// The end of a final entity: its relations, and its status when it is stale.
pub(super) fn tail(relations: &[Edge<'_>], stale: Option<&str>) -> String {
    let relations: Vec<Value> = relations
        .iter()
        .map(|edge| serde_json::json!({ "type": edge.kind, "targetRef": edge.target }))
        .collect();
    let mut text = format!(",\"relations\":{}", Value::Array(relations));
    if let Some(message) = stale {
        let item = serde_json::json!({
            "type": "backstage.io/catalog-processing",
            "level": "error",
            "message": format!("InputError: {message}"),
            "error": { "name": "InputError", "message": message },
        });
        text.push_str(&format!(",\"status\":{{\"items\":[{item}]}}"));
    }
    text
}

/// A body as text, `metadata` first, and where its metadata ends. What a user set as uid or etag
/// is left out, because both are ours.
fn split_body(body: &Value) -> (Box<str>, usize) {
    let empty = Map::new();
    let fields = body.as_object().unwrap_or(&empty);
    let metadata = fields.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let mut text = String::from("{\"metadata\":{");
    let ours = |key: &String| ["uid", "etag"].contains(&key.as_str());
    write_members(metadata.iter().filter(|(key, _)| !ours(key)), &mut text);
    let metadata_end = text.len();
    text.push('}');
    let derived = |key: &String| ["metadata", "relations", "status"].contains(&key.as_str());
    let mut rest = String::new();
    write_members(fields.iter().filter(|(key, _)| !derived(key)), &mut rest);
    if !rest.is_empty() {
        text.push(',');
        text.push_str(&rest);
    }
    text.push('}');
    (text.into(), metadata_end)
}

fn write_members<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>, text: &mut String) {
    for (index, (key, value)) in members.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        text.push_str(&format!("{comma}{}:{value}", Value::from(key.as_str())));
    }
}

/// Whether the name in the ref is all that can be found under `metadata.name`.
fn is_plainly_named(entity: &Entity) -> bool {
    let name = entity.entity_ref.rsplit_once('/').map(|(_, name)| name);
    let (written, _) = searchable(&entity.body["metadata"]["name"]);
    // Another key that is `metadata` in lower case, or starts so, may have a name as well.
    let fields = entity.body.as_object().into_iter().flat_map(Map::keys);
    let alike = fields.filter(|key| key.to_lowercase().starts_with("metadata")).count();
    written.is_some() && written.as_deref() == name && alike == 1
}

/// Words that repositories next to each other have in common: host, account, branches, the names
/// of files and providers. Who takes them from a neighbour need not keep them once more.
struct Words(Vec<Arc<str>>);

impl Words {
    fn of<'a>(repositories: impl Iterator<Item = &'a Repository>) -> Self {
        let words = repositories.flat_map(|repository| {
            let origin = repository.claims.first().map(|claim| &claim.origin);
            let of_file = origin.into_iter().flat_map(|origin| {
                [&origin.path, &origin.branch, &origin.provider, &origin.configured_branch]
            });
            let own = [&repository.id.host, &repository.account].into_iter();
            own.chain(&repository.default_branch).chain(of_file).cloned()
        });
        Self(words.collect())
    }

    /// A word as it is known, or anew.
    fn share(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| ***known == *word) {
            return Arc::clone(known);
        }
        let new: Arc<str> = word.into();
        self.0.push(Arc::clone(&new));
        new
    }
}

/// A repository inside a view.
#[derive(Debug)]
pub struct Repository {
    /// Its identity.
    pub id: RepoId,
    /// `owner/name`
    pub full_name: Box<str>,
    /// `host:owner id`
    pub account: Arc<str>,
    /// The default branch.
    pub default_branch: Option<Arc<str>>,
    /// Its head.
    pub head: Option<Box<str>>,
    /// Milliseconds since the Unix epoch.
    pub reconciled_at: i64,
    /// Problems with the branch of their file.
    pub(super) problems: Box<[(Arc<str>, Problem)]>,
    pub(super) claims: Box<[Arc<Claim>]>,
}

impl Repository {
    /// Takes over `entry`; claims that are as in `old` are shared with it, and words with it and
    /// with `neighbour`.
    pub(super) fn new(entry: RepoEntry, old: Option<&Self>, neighbour: Option<&Self>) -> Self {
        let mut words = Words::of(old.into_iter().chain(neighbour));
        let id = RepoId { host: words.share(&entry.host), id: entry.id };
        let mut held: HashMap<&str, Vec<&Arc<Claim>>> = HashMap::new();
        for claim in old.iter().flat_map(|old| &old.claims) {
            held.entry(&claim.entity_ref).or_default().push(claim);
        }
        let mut claims = Vec::new();
        let mut problems = Vec::new();
        for file in entry.files {
            let branch = words.share(match file.branch.as_str() {
                "" => entry.default_branch.as_deref().unwrap_or_default(),
                branch => branch,
            });
            problems.extend(file.problems.into_iter().map(|p| (Arc::clone(&branch), p)));
            let origin = Arc::new(Origin {
                repository: id.clone(),
                path: words.share(&file.path),
                branch,
                provider: words.share(&file.provider),
                configured_branch: words.share(&file.branch),
            });
            for (entity, claimed_seq) in &file.claims {
                let claim = Arc::new(Claim::new(entity, *claimed_seq, &origin));
                let same = held
                    .get(entity.entity_ref.as_str())
                    .and_then(|held| held.iter().find(|held| ***held == claim));
                claims.push(same.map_or(claim, |same| Arc::clone(same)));
            }
        }
        Self {
            id,
            full_name: entry.full_name.into(),
            account: words.share(&entry.account),
            default_branch: entry.default_branch.map(|branch| words.share(&branch)),
            head: entry.head.map(Into::into),
            reconciled_at: entry.reconciled_at,
            problems: problems.into(),
            claims: claims.into(),
        }
    }
}
