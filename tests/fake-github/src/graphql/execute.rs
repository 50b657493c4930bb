//! Runs a checked query against the state.

use graphql_parser::query::{Field, Selection, TypeCondition};
use serde_json::{Map, Value, json};

use super::check::Bill;
use super::page::{self, Page, Wanted};
use super::schema::Type;
use super::{Answer, Request, response_key};
use crate::content::{Blob, Commit, Heads};
use crate::state::{Owner, OwnerKind, POINTS_PER_HOUR, Repository, State};
use crate::time;

/// GitHub cuts `text` here.
const TEXT_BYTES_MAX: usize = 512_000;

/// How the state is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct View {
    /// As of before this many pushes.
    pub(crate) pushes_behind: usize,
    /// Only where the last push was at this time or later.
    pub(crate) behind_since: i64,
    /// Without `pushedAt`.
    pub(crate) no_pushed_at: bool,
}

impl View {
    /// The branches as they are shown.
    pub(crate) fn heads(self, repository: &Repository) -> &Heads {
        let is_fresh = repository.content.heads.pushed_at >= Some(self.behind_since);
        repository.as_of(if is_fresh { self.pushes_behind } else { 0 })
    }
}

/// Executes; permissions and points are the token's.
pub(super) fn execute(
    request: &Request<'_>,
    state: &State,
    token: &str,
    view: View,
    bill: &Bill,
) -> Answer {
    let (cost, nodes) = (bill.points, bill.nodes);
    let mut run =
        Run { request, state, token, view, cost, nodes, errors: Vec::new(), touched: Vec::new() };
    let mut path = Vec::new();
    let data = run.object(&Object::Query, &request.query.selection_set.items, &mut path);
    let mut body = json!({ "data": data });
    if !run.errors.is_empty() {
        body["errors"] = Value::Array(run.errors);
    }
    run.touched.sort();
    run.touched.dedup();
    Answer { body, cost, nodes: request.node_count(), touched: run.touched }
}

/// Something that has fields.
enum Object<'s> {
    Query,
    RateLimit,
    Viewer,
    Owner(&'s Owner),
    Repository(&'s Repository),
    Repositories(Page<'s>),
    PageInfo(Value),
    Topics(&'s [String]),
    RepositoryTopic(&'s str),
    Topic(&'s str),
    Ref(&'s str, &'s Commit),
    Commit(&'s Commit),
    Tree(String),
    Blob(&'s Blob),
}

impl Object<'_> {
    const fn ty(&self) -> Type {
        match self {
            Self::Query => Type::Query,
            Self::RateLimit => Type::RateLimit,
            Self::Viewer => Type::User,
            Self::Owner(owner) => match owner.kind {
                OwnerKind::Organization => Type::Organization,
                OwnerKind::User => Type::User,
            },
            Self::Repository(_) => Type::Repository,
            Self::Repositories(_) => Type::RepositoryConnection,
            Self::PageInfo(_) => Type::PageInfo,
            Self::Topics(_) => Type::RepositoryTopicConnection,
            Self::RepositoryTopic(_) => Type::RepositoryTopic,
            Self::Topic(_) => Type::Topic,
            Self::Ref(..) => Type::Ref,
            Self::Commit(_) => Type::Commit,
            Self::Tree(_) => Type::Tree,
            Self::Blob(_) => Type::Blob,
        }
    }
}

/// What a field comes to.
enum Resolved<'s> {
    Scalar(Value),
    One(Option<Object<'s>>),
    Many(Vec<Option<Object<'s>>>),
}

struct Run<'r, 'q, 's> {
    request: &'r Request<'q>,
    state: &'s State,
    token: &'r str,
    view: View,
    cost: u64,
    nodes: u64,
    errors: Vec<Value>,
    touched: Vec<String>,
}

type Items<'r, 'q> = &'r [Selection<'q, &'q str>];

impl<'r, 'q, 's> Run<'r, 'q, 's> {
    fn object(
        &mut self,
        object: &Object<'s>,
        items: Items<'r, 'q>,
        path: &mut Vec<Value>,
    ) -> Value {
        let mut answered = Map::new();
        self.select(object, items, path, &mut answered);
        Value::Object(answered)
    }

    fn select(
        &mut self,
        object: &Object<'s>,
        items: Items<'r, 'q>,
        path: &mut Vec<Value>,
        into: &mut Map<String, Value>,
    ) {
        let request = self.request;
        for item in items {
            match item {
                Selection::Field(field) => {
                    let key = response_key(field);
                    path.push(json!(key));
                    let value = self.field(object, field, path);
                    path.pop();
                    match into.get_mut(key) {
                        Some(old) => merge(old, value),
                        None => drop(into.insert(key.to_owned(), value)),
                    }
                }
                Selection::InlineFragment(inline) => {
                    if applies(object, inline.type_condition.as_ref()) {
                        self.select(object, &inline.selection_set.items, path, into);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = &request.fragments[spread.fragment_name];
                    if applies(object, Some(&fragment.type_condition)) {
                        self.select(object, &fragment.selection_set.items, path, into);
                    }
                }
            }
        }
    }

    fn field(
        &mut self,
        object: &Object<'s>,
        field: &'r Field<'q, &'q str>,
        path: &mut Vec<Value>,
    ) -> Value {
        let items: Items<'r, 'q> = &field.selection_set.items;
        match self.resolve(object, field, path) {
            Resolved::Scalar(value) => value,
            Resolved::One(None) => Value::Null,
            Resolved::One(Some(inner)) => self.object(&inner, items, path),
            Resolved::Many(all) => {
                let mut list = Vec::with_capacity(all.len());
                for (at, inner) in all.into_iter().enumerate() {
                    path.push(json!(at));
                    list.push(match inner {
                        Some(inner) => self.object(&inner, items, path),
                        None => Value::Null,
                    });
                    path.pop();
                }
                Value::Array(list)
            }
        }
    }

    fn resolve(
        &mut self,
        object: &Object<'s>,
        field: &Field<'q, &'q str>,
        path: &[Value],
    ) -> Resolved<'s> {
        if field.name == "__typename" {
            return Resolved::Scalar(json!(object.ty().name()));
        }
        match object {
            Object::Query => self.query(field, path),
            Object::RateLimit => Resolved::Scalar(self.rate_limit(field.name)),
            Object::Viewer => Resolved::Scalar(match field.name {
                "login" => json!("octo-dev"),
                "id" => json!("U_kgDO00000007"),
                "databaseId" => json!(7),
                _ => json!("https://github.com/octo-dev"),
            }),
            Object::Owner(owner) => self.owner(owner, field, path),
            Object::Repository(repository) => self.repository(repository, field),
            Object::Repositories(page) => match field.name {
                "totalCount" => Resolved::Scalar(json!(page.total)),
                "pageInfo" => Resolved::One(Some(Object::PageInfo(json!({
                    "startCursor": page.start,
                    "endCursor": page.end,
                    "hasNextPage": page.has_next,
                    "hasPreviousPage": page.has_previous,
                })))),
                _ => {
                    let all = page.repositories.iter();
                    Resolved::Many(all.map(|found| Some(Object::Repository(found))).collect())
                }
            },
            Object::PageInfo(info) => Resolved::Scalar(info[field.name].clone()),
            Object::Topics(topics) => self.topics(topics, field),
            Object::RepositoryTopic(topic) => Resolved::One(Some(Object::Topic(topic))),
            Object::Topic(topic) => Resolved::Scalar(json!(topic)),
            Object::Ref(name, commit) => match field.name {
                "name" => Resolved::Scalar(json!(name)),
                "prefix" => Resolved::Scalar(json!("refs/heads/")),
                _ => Resolved::One(Some(Object::Commit(commit))),
            },
            Object::Commit(commit) => Resolved::Scalar(json!(*commit.oid)),
            Object::Tree(oid) => Resolved::Scalar(json!(oid)),
            Object::Blob(blob) => Resolved::Scalar(blob_field(blob, field.name)),
        }
    }

    fn query(&mut self, field: &Field<'q, &'q str>, path: &[Value]) -> Resolved<'s> {
        let state = self.state;
        match field.name {
            "rateLimit" => Resolved::One(Some(Object::RateLimit)),
            "viewer" => Resolved::One(Some(Object::Viewer)),
            "nodes" => {
                let ids = self.request.argument(field, "ids").unwrap_or_default();
                let ids = ids.as_array().cloned().unwrap_or_default();
                let all = ids.iter().enumerate();
                let at = |at: usize| path.iter().cloned().chain([json!(at)]).collect::<Vec<_>>();
                Resolved::Many(all.map(|(n, id)| self.node(id, &at(n))).collect())
            }
            "node" => {
                let id = self.request.argument(field, "id").unwrap_or_default();
                Resolved::One(self.node(&id, path))
            }
            "repositoryOwner" => {
                let login = self.text(field, "login").to_lowercase();
                let owner = state.logins.get(&login).map(|id| &state.owners[id]);
                Resolved::One(owner.and_then(|owner| {
                    self.touched.push(owner.login.clone());
                    let token = state.tokens.get(self.token);
                    let sees = token.is_some_and(|token| token.owners.contains(&owner.id));
                    sees.then_some(Object::Owner(owner))
                }))
            }
            _ => {
                let name = format!("{}/{}", self.text(field, "owner"), self.text(field, "name"));
                let lower = name.to_lowercase();
                let id = state.names.get(&lower).or_else(|| state.moved.get(&lower));
                let found = id.map(|id| &state.repositories[id]).and_then(|it| self.allowed(it));
                if found.is_none() {
                    let message =
                        format!("Could not resolve to a Repository with the name '{name}'.");
                    self.not_found(path, message);
                }
                Resolved::One(found.map(Object::Repository))
            }
        }
    }

    fn node(&mut self, id: &Value, path: &[Value]) -> Option<Object<'s>> {
        let state = self.state;
        let text = id.as_str().unwrap_or_default();
        let known = state.node_ids.get(text).map(|id| &state.repositories[id]);
        let found = known.and_then(|repository| self.allowed(repository));
        if found.is_none() {
            let message = format!("Could not resolve to a node with the global id of '{text}'.");
            self.not_found(path, message);
        }
        found.map(Object::Repository)
    }

    fn allowed(&mut self, repository: &'s Repository) -> Option<&'s Repository> {
        self.touched.push(self.state.touched(self.token, repository));
        self.state.sees(self.token, repository).then_some(repository)
    }

    fn not_found(&mut self, path: &[Value], message: String) {
        self.errors.push(json!({
            "type": "NOT_FOUND",
            "path": path,
            "locations": [{"line": 1, "column": 1}],
            "message": message,
        }));
    }

    fn rate_limit(&self, name: &str) -> Value {
        let token = self.state.tokens.get(self.token).cloned().unwrap_or_default();
        let limit = token.limit.unwrap_or(POINTS_PER_HOUR);
        let used = token.used + self.cost;
        match name {
            "cost" => json!(self.cost),
            "limit" => json!(limit),
            "used" => json!(used),
            "remaining" => json!(limit.saturating_sub(used)),
            "nodeCount" => json!(self.nodes),
            _ => json!(time::iso(self.state.now + 3_600)),
        }
    }

    fn owner(
        &mut self,
        owner: &'s Owner,
        field: &Field<'q, &'q str>,
        path: &[Value],
    ) -> Resolved<'s> {
        let wanted = match field.name {
            "login" => return Resolved::Scalar(json!(owner.login)),
            "id" => return Resolved::Scalar(json!(owner.node_id)),
            "databaseId" => return Resolved::Scalar(json!(owner.id)),
            "url" => {
                let url = format!("{}/{}", self.state.web_url, owner.login);
                return Resolved::Scalar(json!(url));
            }
            _ => self.wanted(field),
        };
        match page::page(self.state, self.token, owner.id, &wanted) {
            Ok(page) => Resolved::One(Some(Object::Repositories(page))),
            Err(mut error) => {
                error["path"] = json!(path);
                self.errors.push(error);
                Resolved::One(None)
            }
        }
    }

    fn wanted(&self, field: &Field<'q, &'q str>) -> Wanted {
        let argument = |name: &str| self.request.argument(field, name).unwrap_or_default();
        let first = argument("first").as_u64().unwrap_or(0);
        let order = argument("orderBy");
        let affiliations = argument("ownerAffiliations");
        let affiliations = affiliations.as_array().cloned();
        Wanted {
            first: usize::try_from(first).unwrap_or(usize::MAX),
            after: argument("after").as_str().map(str::to_owned),
            field: order["field"].as_str().unwrap_or("NAME").to_owned(),
            descending: order["direction"] == "DESC",
            own_only: affiliations.is_some_and(|all| all.iter().all(|one| one == "OWNER")),
            fork: argument("isFork").as_bool(),
            archived: argument("isArchived").as_bool(),
        }
    }

    fn repository(&self, repository: &'s Repository, field: &Field<'q, &'q str>) -> Resolved<'s> {
        let heads = self.view.heads(repository);
        let full_name = || self.state.full_name(repository);
        let pushed_at = heads.pushed_at.filter(|_| !self.view.no_pushed_at);
        Resolved::Scalar(match field.name {
            "id" => json!(repository.node_id),
            "databaseId" => json!(repository.id),
            "name" => json!(repository.name),
            "nameWithOwner" => json!(full_name()),
            "owner" => {
                let owner = &self.state.owners[&repository.owner];
                return Resolved::One(Some(Object::Owner(owner)));
            }
            "isArchived" => json!(repository.archived),
            "isFork" => json!(repository.fork),
            "isEmpty" => json!(heads.branches.is_empty()),
            "isPrivate" => json!(repository.visibility != "public"),
            "visibility" => json!(repository.visibility.to_uppercase()),
            "pushedAt" => json!(pushed_at.map(time::iso)),
            "updatedAt" => json!(time::iso(repository.updated_at)),
            "createdAt" => json!(time::iso(repository.created_at)),
            "url" => json!(format!("{}/{}", self.state.web_url, full_name())),
            "repositoryTopics" => {
                let first = self.request.argument(field, "first").and_then(|v| v.as_u64());
                let first = usize::try_from(first.unwrap_or(0)).unwrap_or(usize::MAX);
                let topics = &repository.topics[..repository.topics.len().min(first)];
                return Resolved::One(Some(Object::Topics(topics)));
            }
            "defaultBranchRef" => {
                let head = repository.head(heads);
                let found = head.map(|head| Object::Ref(&repository.default_branch, head));
                return Resolved::One(found);
            }
            _ => {
                let expression = self.text(field, "expression");
                return Resolved::One(self.expression(repository, &expression));
            }
        })
    }

    /// `revision:path`, or a revision alone.
    fn expression(&self, repository: &'s Repository, expression: &str) -> Option<Object<'s>> {
        let heads = self.view.heads(repository);
        let (revision, path) = match expression.split_once(':') {
            Some((revision, path)) => (revision, Some(path)),
            None => (expression, None),
        };
        let content = &repository.content;
        let commit = content.resolve(heads, &repository.default_branch, revision)?;
        let Some(path) = path else { return Some(Object::Commit(commit)) };
        if let Some(blob) = commit.tree.get(path) {
            return Some(Object::Blob(blob));
        }
        let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
        let inside = commit.tree.keys().any(|name| name.starts_with(&folder));
        inside.then(|| Object::Tree(crate::content::blob_oid(folder.as_bytes())))
    }

    fn topics(&self, topics: &'s [String], field: &Field<'q, &'q str>) -> Resolved<'s> {
        match field.name {
            "totalCount" => Resolved::Scalar(json!(topics.len())),
            "pageInfo" => Resolved::One(Some(Object::PageInfo(
                json!({"hasNextPage": false, "hasPreviousPage": false}),
            ))),
            _ => {
                Resolved::Many(topics.iter().map(|it| Some(Object::RepositoryTopic(it))).collect())
            }
        }
    }

    fn text(&self, field: &Field<'q, &'q str>, name: &str) -> String {
        let value = self.request.argument(field, name).unwrap_or_default();
        value.as_str().unwrap_or_default().to_owned()
    }
}

fn blob_field(blob: &Blob, name: &str) -> Value {
    let cut = blob.bytes.len() > TEXT_BYTES_MAX;
    match name {
        "oid" => json!(*blob.oid),
        "byteSize" => json!(blob.bytes.len()),
        "isBinary" => json!(blob.is_binary()),
        "isTruncated" => json!(cut),
        _ if blob.is_binary() => Value::Null,
        _ => {
            let shown = &blob.bytes[..blob.bytes.len().min(TEXT_BYTES_MAX)];
            json!(String::from_utf8_lossy(shown))
        }
    }
}

fn applies<'q>(object: &Object<'_>, condition: Option<&TypeCondition<'q, &'q str>>) -> bool {
    let Some(TypeCondition::On(name)) = condition else { return true };
    let to = Type::by_name(name).expect("the query was checked");
    to.possible().contains(&object.ty())
}

/// The same field selected twice: what was selected of it adds up.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                match old.get_mut(&key) {
                    Some(old) => merge(old, value),
                    None => drop(old.insert(key, value)),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for (old, new) in old.iter_mut().zip(new) {
                merge(old, new);
            }
        }
        _ => {}
    }
}
