//! GitHub Apps: their keys, where they are installed, and the tokens of their installations.
//!
//! An App calls as itself with a JWT that is checked as GitHub does: RS256 by the registered key,
//! `iss` its id, `iat` not in the future, `exp` at most 10 minutes ahead, all by the fake's time.
//! An installation's token sees the repositories of its account only and ends after an hour. One on
//! selected repositories sees these and, as everybody, the account's public ones; which are
//! selected is told by `GET /installation/repositories`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::calls::CallKind;
use crate::payload::{self, Event};
use crate::server::Reply;
use crate::state::{Owner, Repository, State, Token, World};
use crate::time::iso;

/// How long an installation's token lives, as on GitHub.
pub const TOKEN_SECONDS: i64 = 3_600;

/// How far ahead a JWT's `exp` may lie, as on GitHub.
const JWT_AHEAD_SECONDS: i64 = 600;

/// GitHub's largest page.
const PAGE_MAX: usize = 100;

/// Which repositories an installation sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of the account's.
    All,
    /// Some, chosen by the owner.
    Selected,
}

#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) app: u64,
    owner: u64,
    pub(crate) selection: Selection,
    /// Repositories by id, where some are selected.
    selected: BTreeSet<u64>,
    pub(crate) suspended_at: Option<i64>,
}

impl Selection {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Selected => "selected",
        }
    }
}

/// All Apps.
#[derive(Debug, Default)]
pub(crate) struct Apps {
    /// Public keys in PEM, by App id.
    keys: BTreeMap<u64, String>,
    installations: BTreeMap<u64, Installed>,
    /// Every token ever issued, with its installation and the owner's id.
    issued: BTreeMap<String, (u64, u64)>,
}

impl World {
    /// Registers an App with its public key in PEM.
    pub fn register_app(&self, app: u64, public_key: &str) {
        self.lock().apps.keys.insert(app, public_key.to_owned());
    }

    /// Installs an App on an account; returns the installation's id.
    pub fn install_app(&self, app: u64, login: &str, selection: Selection) -> u64 {
        let mut state = self.lock();
        assert!(state.apps.keys.contains_key(&app), "the test names an unknown App {app}");
        let owner = state.owner_id(login);
        let id = state.next_id();
        let selected = BTreeSet::new();
        let installed = Installed { app, owner, selection, selected, suspended_at: None };
        state.apps.installations.insert(id, installed);
        id
    }

    /// Suspends an installation: its tokens are refused from now on. `installation.suspend`.
    pub fn suspend_installation(&self, installation: u64) -> Event {
        let mut state = self.lock();
        let now = state.now;
        state.apps.installation_mut(installation).suspended_at = Some(now);
        state.installation_event("suspend", installation)
    }

    /// Lets a suspended installation go on. `installation.unsuspend`.
    pub fn unsuspend_installation(&self, installation: u64) -> Event {
        let mut state = self.lock();
        state.apps.installation_mut(installation).suspended_at = None;
        state.installation_event("unsuspend", installation)
    }

    /// Uninstalls: the installation and its tokens are no more. `installation.deleted`.
    pub fn uninstall_app(&self, installation: u64) -> Event {
        self.revoke_installation_tokens(installation);
        let mut state = self.lock();
        let event = state.installation_event("deleted", installation);
        state.apps.installations.remove(&installation);
        event
    }

    /// Selects further repositories; an installation on all is from then on one on these.
    /// `installation_repositories.added`.
    pub fn select(&self, installation: u64, full_names: &[&str]) -> Event {
        let mut state = self.lock();
        let ids: Vec<u64> = full_names.iter().map(|name| state.repository_id(name)).collect();
        let installed = state.apps.installation_mut(installation);
        installed.selection = Selection::Selected;
        installed.selected.extend(ids);
        payload::installation_repositories(&state, "added", full_names)
    }

    /// Takes repositories from the selection; from an installation on all it leaves the others.
    /// `installation_repositories.removed`.
    pub fn deselect(&self, installation: u64, full_names: &[&str]) -> Event {
        let mut state = self.lock();
        let owner = state.apps.installation_mut(installation).owner;
        let all = state.owned.get(&owner).cloned().unwrap_or_default();
        let ids: Vec<u64> = full_names.iter().map(|name| state.repository_id(name)).collect();
        let installed = state.apps.installation_mut(installation);
        if installed.selection == Selection::All {
            installed.selection = Selection::Selected;
            installed.selected = all;
        }
        installed.selected.retain(|id| !ids.contains(id));
        payload::installation_repositories(&state, "removed", full_names)
    }

    /// Gives an installation all repositories. `installation_repositories.added`, which names
    /// those that were not selected.
    pub fn select_all(&self, installation: u64) -> Event {
        let mut state = self.lock();
        let installed = state.apps.installation_mut(installation);
        installed.selection = Selection::All;
        let (owner, old) = (installed.owner, std::mem::take(&mut installed.selected));
        let new = state.owned.get(&owner).into_iter().flatten().filter(|id| !old.contains(id));
        let names: Vec<String> = new.map(|id| state.full_name(&state.repositories[id])).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        payload::installation_repositories(&state, "added", &names)
    }

    /// Makes every token of an installation unknown; a new one may be asked for.
    pub fn revoke_installation_tokens(&self, installation: u64) {
        let mut state = self.lock();
        state.tokens.retain(|_, token| token.installation != Some(installation));
    }

    /// How many tokens an installation was given so far.
    pub fn tokens_issued(&self, installation: u64) -> usize {
        let state = self.lock();
        state.apps.issued.values().filter(|(id, _)| *id == installation).count()
    }

    /// Every (token, owner's login) where an installation's token was used to ask for something of
    /// another owner, allowed or not, since the start. A repository that was the token's own once
    /// may be asked for: only the answer says that it has moved.
    pub fn strays(&self) -> BTreeSet<(String, String)> {
        self.lock().journal.strays.clone()
    }
}

impl State {
    /// Notes that a token was used to ask for something of an owner.
    pub(crate) fn touch(&mut self, token: &str, login: String) {
        let own = self.apps.issued.get(token).map(|(_, own)| &self.owners[own].login);
        if own.is_some_and(|own| *own != login) {
            self.journal.strays.insert((token.to_owned(), login.clone()));
        }
        self.journal.touched.insert((token.to_owned(), login));
    }

    /// Whose a repository is for a token: its owner's, or still that of the token's own account.
    pub(crate) fn touched(&self, token: &str, repository: &Repository) -> String {
        let own = self.apps.issued.get(token).map(|(_, own)| *own);
        let was = own.filter(|own| {
            self.former.get(&repository.id).is_some_and(|former| former.contains(own))
        });
        self.owners[&was.unwrap_or(repository.owner)].login.clone()
    }

    /// The installation of an App on an owner, if there is one.
    pub(crate) fn installation_on(&self, owner: u64) -> Option<(u64, &Installed)> {
        let mut all = self.apps.installations.iter();
        all.find(|(_, found)| found.owner == owner).map(|(id, found)| (*id, found))
    }

    /// Whether a token's installation leaves a private repository out.
    pub(crate) fn is_unselected(&self, token: &Token, repository: &Repository) -> bool {
        let installed = token.installation.and_then(|id| self.apps.installations.get(&id));
        installed.is_some_and(|found| {
            found.selection == Selection::Selected
                && repository.visibility != "public"
                && !found.selected.contains(&repository.id)
        })
    }

    fn installation_event(&self, action: &str, installation: u64) -> Event {
        let owner = self.apps.installations[&installation].owner;
        payload::installation(self, action, &self.owners[&owner].login)
    }
}

impl Apps {
    fn installation_mut(&mut self, id: u64) -> &mut Installed {
        let found = self.installations.get_mut(&id);
        found.unwrap_or_else(|| panic!("the test names an unknown installation {id}"))
    }
}

/// What a path of an App's own is for; `None` for all other paths.
pub(crate) fn kind(segments: &[String]) -> Option<CallKind> {
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["app", "installations", _, "access_tokens"] => Some(CallKind::AccessToken),
        ["app", ..] | ["orgs" | "users", _, "installation"] => Some(CallKind::App),
        _ => None,
    }
}

/// Answers an App that calls as itself.
pub(crate) fn answer(
    state: &mut State,
    method: &str,
    segments: &[String],
    query: &str,
    jwt: Option<&str>,
) -> Reply {
    let app = match app_of(state, jwt) {
        Ok(app) => app,
        Err(message) => return refused(401, message),
    };
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |id: &str| {
        let id: u64 = id.parse().ok()?;
        state.apps.installations.get(&id).filter(|found| found.app == app).map(|found| (id, found))
    };
    match (method, parts.as_slice()) {
        ("GET", ["app"]) => Reply::json(200, &json!({"id": app, "slug": format!("app-{app}")})),
        ("GET", ["app", "installations"]) => list(state, app, query),
        ("GET", ["app", "installations", id]) => match own(id) {
            Some((id, found)) => Reply::json(200, &shown(state, id, found)),
            None => refused(404, "Not Found"),
        },
        ("GET", ["orgs" | "users", login, "installation"]) => {
            let owner = state.logins.get(&login.to_lowercase());
            let found = state
                .apps
                .installations
                .iter()
                .find(|(_, found)| found.app == app && Some(&found.owner) == owner);
            match found {
                Some((id, found)) => Reply::json(200, &shown(state, *id, found)),
                None => refused(404, "Not Found"),
            }
        }
        ("POST", ["app", "installations", id, "access_tokens"]) => match own(id) {
            Some((_, found)) if found.suspended_at.is_some() => {
                refused(403, "This installation has been suspended")
            }
            Some((id, found)) => {
                let owner = found.owner;
                issue(state, id, owner)
            }
            None => refused(404, "Not Found"),
        },
        _ => refused(404, "Not Found"),
    }
}

/// Why an installation's token is refused, if it is one and it is.
pub(crate) fn refusal(state: &State, token: &Token) -> Option<Reply> {
    if token.expires_at.is_some_and(|end| state.now >= end) {
        return Some(refused(401, "Bad credentials"));
    }
    let installation = state.apps.installations.get(&token.installation?)?;
    installation.suspended_at.map(|_| refused(403, "This installation has been suspended"))
}

fn refused(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"message": message, "status": status.to_string()}))
}

/// The App that signed a JWT.
fn app_of(state: &State, jwt: Option<&str>) -> Result<u64, &'static str> {
    const UNDECODABLE: &str = "A JSON web token could not be decoded";
    let jwt = jwt.ok_or("Requires authentication")?;
    let header = decode_header(jwt).map_err(|_| UNDECODABLE)?;
    if header.alg != Algorithm::RS256 {
        return Err(UNDECODABLE);
    }
    // Times are judged below, by the fake's clock.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.required_spec_claims = ["exp", "iss"].map(str::to_owned).into();
    for (app, key) in &state.apps.keys {
        let key = DecodingKey::from_rsa_pem(key.as_bytes()).expect("the test's key is a key");
        let Ok(decoded) = decode::<Value>(jwt, &key, &validation) else { continue };
        let claims = decoded.claims;
        let is_own = claims["iss"] == json!(app) || claims["iss"] == json!(app.to_string());
        let (Some(iat), Some(exp)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else {
            return Err("'Issued at' and 'Expiration time' claims must be integers");
        };
        return match () {
            () if !is_own => Err("Integration must generate a public key"),
            () if iat > state.now => Err("'Issued at' claim ('iat') is in the future"),
            () if exp <= state.now => Err("'Expiration time' claim ('exp') is in the past"),
            () if exp > state.now + JWT_AHEAD_SECONDS => {
                Err("'Expiration time' claim ('exp') is too far in the future")
            }
            () => Ok(*app),
        };
    }
    Err(UNDECODABLE)
}

fn list(state: &State, app: u64, query: &str) -> Reply {
    let (skip, size) = stretch(query);
    let own = state.apps.installations.iter().filter(|(_, found)| found.app == app);
    let page = own.skip(skip).take(size).map(|(id, found)| shown(state, *id, found));
    Reply::json(200, &page.collect::<Vec<_>>().into())
}

/// How many entries a page leaves out before it, and how many it has.
fn stretch(query: &str) -> (usize, usize) {
    let number = |name: &str, or: usize| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(or)
    };
    let size = number("per_page", 30).clamp(1, PAGE_MAX);
    (number("page", 1).saturating_sub(1) * size, size)
}

/// `GET /installation/repositories`: what a token's installation may see.
pub(crate) fn repositories(state: &State, token: &str, query: &str) -> Reply {
    let installation = state.tokens.get(token).and_then(|token| token.installation);
    let Some(found) = installation.and_then(|id| state.apps.installations.get(&id)) else {
        return refused(403, "You must authenticate with an installation access token");
    };
    let owned = state.owned.get(&found.owner).into_iter().flatten();
    let seen = |id: &&u64| found.selection == Selection::All || found.selected.contains(id);
    let all: Vec<&u64> = owned.filter(seen).collect();
    let (skip, size) = stretch(query);
    let page = all.iter().skip(skip).take(size);
    let shown = page.map(|id| payload::repository_iso(state, &state.repositories[*id]));
    let body = json!({
        "total_count": all.len(),
        "repository_selection": found.selection.name(),
        "repositories": shown.collect::<Vec<_>>(),
    });
    Reply::json(200, &body)
}

fn shown(state: &State, id: u64, found: &Installed) -> Value {
    let Owner { id: owner, node_id, login, kind } = &state.owners[&found.owner];
    json!({
        "id": id,
        "app_id": found.app,
        "account": {"id": owner, "node_id": node_id, "login": login, "type": kind.name()},
        "target_id": owner,
        "target_type": kind.name(),
        "repository_selection": found.selection.name(),
        "permissions": {"contents": "read", "metadata": "read"},
        "events": ["push", "repository"],
        "suspended_at": found.suspended_at.map(iso),
    })
}

fn issue(state: &mut State, installation: u64, owner: u64) -> Reply {
    let number = state.next_id();
    let token = format!("ghs_{installation}x{number}");
    let expires_at = state.now + TOKEN_SECONDS;
    state.tokens.insert(
        token.clone(),
        Token {
            owners: HashSet::from([owner]),
            expires_at: Some(expires_at),
            installation: Some(installation),
            ..Token::default()
        },
    );
    state.apps.issued.insert(token.clone(), (installation, owner));
    let body = json!({
        "token": token,
        "expires_at": iso(expires_at),
        "permissions": {"contents": "read", "metadata": "read"},
        "repository_selection": state.apps.installations[&installation].selection.name(),
    });
    Reply::json(201, &body)
}
