//! Webhook payloads in GitHub's documented shape, written from its documentation.
//!
//! Only fields that receivers plausibly read are there, not the hundred URLs.

use serde_json::{Map, Value, json};

use crate::apps::Selection;
use crate::content::ZERO_OID;
use crate::state::{Owner, OwnerKind, Repository, State};
use crate::time;

/// Most commits a `push` names; more are left out, as GitHub does.
pub const PUSH_COMMITS_MAX: usize = 2_048;

/// Most files each list of a commit in a `push` names.
pub const COMMIT_FILES_MAX: usize = 3_000;

/// The installation that App events name when no App is installed on the owner.
pub const INSTALLATION_ID: u64 = 5_000_001;

/// The App that they name then.
pub const APP_ID: u64 = 77;

/// A webhook event: what is sent, apart from signature and headers.
#[derive(Debug, Clone)]
pub struct Event {
    /// `X-GitHub-Event`
    pub name: String,
    /// The body.
    pub payload: Value,
}

impl Event {
    /// The body as GitHub would send it: compact JSON.
    pub fn body(&self) -> Vec<u8> {
        self.payload.to_string().into_bytes()
    }

    /// `action`, where the event has one.
    pub fn action(&self) -> Option<&str> {
        self.payload["action"].as_str()
    }
}

/// What one commit did.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommitFiles {
    pub(crate) oid: String,
    pub(crate) added: Vec<String>,
    pub(crate) modified: Vec<String>,
    pub(crate) removed: Vec<String>,
}

/// Whether a push rewrote history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forced {
    /// By force.
    Yes,
    /// Fast-forward.
    No,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dates {
    Epoch,
    Iso,
}

/// `user` or `organization`, by which `changes.owner.from` names an owner.
pub(crate) const fn owner_side(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::Organization => "organization",
        OwnerKind::User => "user",
    }
}

/// An owner or a sender.
pub(crate) fn owner(state: &State, owner: &Owner) -> Value {
    json!({
        "login": owner.login,
        "id": owner.id,
        "node_id": owner.node_id,
        "type": owner.kind.name(),
        "html_url": format!("{}/{}", state.web_url, owner.login),
        "site_admin": false,
    })
}

fn repository(state: &State, repository: &Repository, dates: Dates) -> Value {
    let owned_by = &state.owners[&repository.owner];
    let full_name = state.full_name(repository);
    let date = |seconds: i64| match dates {
        Dates::Epoch => json!(seconds),
        Dates::Iso => json!(time::iso(seconds)),
    };
    json!({
        "id": repository.id,
        "node_id": repository.node_id,
        "name": repository.name,
        "full_name": full_name,
        "private": repository.visibility != "public",
        "owner": owner(state, owned_by),
        "html_url": format!("{}/{full_name}", state.web_url),
        "description": null,
        "fork": repository.fork,
        "created_at": date(repository.created_at),
        "updated_at": time::iso(repository.updated_at),
        "pushed_at": repository.content.heads.pushed_at.map(date),
        "archived": repository.archived,
        "disabled": false,
        "topics": repository.topics,
        "visibility": repository.visibility,
        "default_branch": repository.default_branch,
        "custom_properties": {},
    })
}

/// A repository as REST shows it.
pub(crate) fn repository_iso(state: &State, found: &Repository) -> Value {
    repository(state, found, Dates::Iso)
}

fn about_with(state: &State, id: u64, dates: Dates) -> Map<String, Value> {
    let found = &state.repositories[&id];
    let owned_by = &state.owners[&found.owner];
    let mut map = Map::new();
    map.insert("repository".to_owned(), repository(state, found, dates));
    if owned_by.kind == OwnerKind::Organization {
        map.insert("organization".to_owned(), organization(owned_by));
    }
    map.insert("sender".to_owned(), sender(state));
    map
}

/// `repository`, `organization` and `sender`, dates in ISO form.
pub(crate) fn about(state: &State, id: u64) -> Map<String, Value> {
    about_with(state, id, Dates::Iso)
}

fn organization(owner: &Owner) -> Value {
    json!({"login": owner.login, "id": owner.id, "node_id": owner.node_id, "description": ""})
}

fn sender(state: &State) -> Value {
    json!({
        "login": "octo-dev",
        "id": 7,
        "node_id": "U_kgDO00000007",
        "type": "User",
        "html_url": format!("{}/octo-dev", state.web_url),
        "site_admin": false,
    })
}

impl State {
    /// A `repository` event.
    pub(crate) fn repository_event(&self, id: u64, action: &str, changes: Option<Value>) -> Event {
        let mut payload = about(self, id);
        payload.insert("action".to_owned(), json!(action));
        if let Some(changes) = changes {
            payload.insert("changes".to_owned(), changes);
        }
        Event { name: "repository".to_owned(), payload: Value::Object(payload) }
    }

    /// A `push` event for the branch as it is now.
    pub(crate) fn push_event(
        &self,
        id: u64,
        branch: &str,
        before: Option<&str>,
        commits: Vec<CommitFiles>,
        forced: Forced,
    ) -> Event {
        let found = &self.repositories[&id];
        let after = found.content.heads.branches.get(branch).map(|oid| oid.to_string());
        let deleted = after.is_none();
        let (before, after) = (before.unwrap_or(ZERO_OID), after.unwrap_or(ZERO_OID.to_owned()));
        let now = time::iso(self.now);
        let commits: Vec<Value> =
            commits.iter().take(PUSH_COMMITS_MAX).map(|files| commit(files, &now)).collect();
        let head = match deleted {
            true => Value::Null,
            false => commits.last().cloned().unwrap_or_else(|| json!({"id": after})),
        };
        let url = format!("{}/{}", self.web_url, self.full_name(found));
        let mut payload = about_with(self, id, Dates::Epoch);
        let own = json!({
            "ref": format!("refs/heads/{branch}"),
            "before": before,
            "after": after,
            "created": before == ZERO_OID,
            "deleted": deleted,
            "forced": forced == Forced::Yes,
            "base_ref": null,
            "compare": format!("{url}/compare/{}...{}", &before[..12], &after[..12]),
            "head_commit": head,
            "commits": commits,
            "pusher": {"name": "octo-dev", "email": "octo-dev@example.com"},
        });
        if let Value::Object(own) = own {
            payload.extend(own);
        }
        Event { name: "push".to_owned(), payload: Value::Object(payload) }
    }
}

fn commit(files: &CommitFiles, now: &str) -> Value {
    let cut = |list: &[String]| json!(&list[..list.len().min(COMMIT_FILES_MAX)]);
    let person = json!({"name": "Octo Dev", "email": "octo-dev@example.com"});
    json!({
        "id": files.oid,
        "tree_id": files.oid,
        "distinct": true,
        "message": "a change",
        "timestamp": now,
        "author": person,
        "committer": person,
        "added": cut(&files.added),
        "modified": cut(&files.modified),
        "removed": cut(&files.removed),
    })
}

pub(crate) fn ping(state: &State, login: &str) -> Event {
    let owner = &state.owners[&state.owner_id(login)];
    let payload = json!({
        "zen": "Keep it logically awesome.",
        "hook_id": 42,
        "hook": {"type": "Organization", "id": 42, "active": true, "events": ["push"]},
        "organization": organization(owner),
        "sender": sender(state),
    });
    Event { name: "ping".to_owned(), payload }
}

/// The App's installation on an owner; where there is none, one that nobody knows more of.
fn installation_of(state: &State, owned_by: &Owner) -> Value {
    let found = state.installation_on(owned_by.id);
    let (id, app, selection, suspended_at) = match found {
        Some((id, it)) => (id, it.app, it.selection, it.suspended_at),
        None => (INSTALLATION_ID, APP_ID, Selection::Selected, None),
    };
    json!({
        "id": id,
        "account": owner(state, owned_by),
        "repository_selection": selection.name(),
        "html_url": format!("{}/settings/installations/{id}", state.web_url),
        "app_id": app,
        "target_id": owned_by.id,
        "target_type": owned_by.kind.name(),
        "permissions": {"contents": "read", "metadata": "read"},
        "events": ["push", "repository"],
        "suspended_at": suspended_at.map(time::iso),
    })
}

fn minimal(state: &State, id: u64) -> Value {
    let found = &state.repositories[&id];
    json!({
        "id": found.id,
        "node_id": found.node_id,
        "name": found.name,
        "full_name": state.full_name(found),
        "private": found.visibility != "public",
    })
}

pub(crate) fn installation_repositories(state: &State, action: &str, names: &[&str]) -> Event {
    let ids: Vec<u64> = names.iter().map(|name| state.repository_id(name)).collect();
    let first = ids.first().expect("the event names at least one repository");
    let owned_by = &state.owners[&state.repositories[first].owner];
    let repositories: Vec<Value> = ids.iter().map(|id| minimal(state, *id)).collect();
    let (added, removed) = match action {
        "added" => (repositories, Vec::new()),
        _ => (Vec::new(), repositories),
    };
    let installation = installation_of(state, owned_by);
    let payload = json!({
        "action": action,
        "repository_selection": installation["repository_selection"],
        "installation": installation,
        "repositories_added": added,
        "repositories_removed": removed,
        "requester": null,
        "sender": sender(state),
    });
    Event { name: "installation_repositories".to_owned(), payload }
}

pub(crate) fn installation(state: &State, action: &str, login: &str) -> Event {
    let id = state.owner_id(login);
    let owned = state.owned.get(&id).into_iter().flatten();
    let repositories: Vec<Value> = owned.map(|id| minimal(state, *id)).collect();
    let payload = json!({
        "action": action,
        "installation": installation_of(state, &state.owners[&id]),
        "repositories": repositories,
        "sender": sender(state),
    });
    Event { name: "installation".to_owned(), payload }
}
