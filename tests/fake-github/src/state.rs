//! The state of the pretended GitHub: owners, repositories, tokens. No HTTP in here.
//!
//! [`World`] is what tests hold; it is shared with the server, one mutex guards all of it. Time
//! is logical: it starts at a fixed moment and each change moves it one second on, unless a test
//! sets it, so that ties and order of `pushed_at` are the test's choice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::apps::Apps;
use crate::calls::Journal;
use crate::content::{Blob, Commit, Content, Heads};
use crate::faults::Faults;
use crate::reading::Readings;

/// Logical time at the start: 2026-01-01T00:00:00Z.
pub const START_SECONDS: i64 = 1_767_225_600;

/// Points an hour that a token has, as GitHub tells it. Enforced only after
/// [`World::limit_points`].
pub const POINTS_PER_HOUR: u64 = 5_000;

/// Whether an owner is a person or an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// An organisation.
    Organization,
    /// A person.
    User,
}

impl OwnerKind {
    /// GraphQL's type name, and `type` in payloads.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::User => "User",
        }
    }
}

/// An owner of repositories.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Database id.
    pub id: u64,
    /// Node id.
    pub node_id: String,
    /// Login, in its own case.
    pub login: String,
    /// Person or organisation.
    pub kind: OwnerKind,
}

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Database id.
    pub id: u64,
    /// Node id.
    pub node_id: String,
    /// The owner's database id.
    pub owner: u64,
    /// Name without the owner.
    pub name: String,
    /// Default branch; it exists once something was pushed to it.
    pub default_branch: String,
    /// `public`, `private` or `internal`.
    pub visibility: String,
    /// Whether it is archived.
    pub archived: bool,
    /// Whether it is a fork.
    pub fork: bool,
    /// Topics as set.
    pub topics: Vec<String>,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// Seconds since the epoch.
    pub updated_at: i64,
    /// Commits and branches.
    pub content: Content,
}

impl Repository {
    /// Branches as they were before the last `pushes` pushes.
    pub fn as_of(&self, pushes: usize) -> &Heads {
        self.content.heads_before(pushes)
    }

    /// The head commit of the default branch.
    pub fn head(&self, heads: &Heads) -> Option<&Commit> {
        self.content.commit(heads.branches.get(&self.default_branch)?)
    }

    /// A file at a revision.
    pub fn file(&self, heads: &Heads, revision: &str, path: &str) -> Option<&Blob> {
        self.content.resolve(heads, &self.default_branch, revision)?.tree.get(path)
    }
}

/// What a token may see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Token {
    pub(crate) owners: HashSet<u64>,
    pub(crate) hidden: HashSet<u64>,
    pub(crate) used: u64,
    pub(crate) limit: Option<u64>,
    /// When it ends, for an installation's token.
    pub(crate) expires_at: Option<i64>,
    /// Whose token it is, for an App's.
    pub(crate) installation: Option<u64>,
}

impl Token {
    pub(crate) fn sees(&self, repository: &Repository) -> bool {
        self.owners.contains(&repository.owner)
            && (self.hidden.is_empty() || !self.hidden.contains(&repository.id))
    }
}

/// Everything, behind the mutex.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) now: i64,
    pub(crate) ticking: bool,
    pub(crate) web_url: String,
    pub(crate) owners: BTreeMap<u64, Owner>,
    pub(crate) logins: HashMap<String, u64>,
    pub(crate) repositories: HashMap<u64, Repository>,
    pub(crate) owned: HashMap<u64, BTreeSet<u64>>,
    pub(crate) collaborations: HashMap<u64, BTreeSet<u64>>,
    pub(crate) names: HashMap<String, u64>,
    pub(crate) moved: HashMap<String, u64>,
    /// The owners that a repository was transferred from.
    pub(crate) former: HashMap<u64, BTreeSet<u64>>,
    pub(crate) node_ids: HashMap<String, u64>,
    pub(crate) tokens: HashMap<String, Token>,
    pub(crate) apps: Apps,
    pub(crate) faults: Faults,
    pub(crate) latency: Duration,
    pub(crate) journal: Journal,
    pub(crate) readings: Readings,
    pub(crate) next_id: u64,
    /// After how many entries a tree is cut.
    pub(crate) tree_entries_max: Option<usize>,
}

/// A handle on the state; cloning shares it.
#[derive(Debug, Clone)]
pub struct World(Arc<Mutex<State>>);

impl World {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            now: START_SECONDS,
            ticking: true,
            web_url: "https://github.com".to_owned(),
            next_id: 1_000,
            ..State::default()
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `html_url` points: `https://github.com` unless set (no trailing slash). Its
    /// authority is what receivers take as the host.
    pub fn set_web_url(&self, url: &str) {
        url.trim_end_matches('/').clone_into(&mut self.lock().web_url);
    }

    /// The logical time in seconds since the epoch.
    pub fn now(&self) -> i64 {
        self.lock().now
    }

    /// Sets the logical time.
    pub fn set_now(&self, seconds: i64) {
        self.lock().now = seconds;
    }

    /// Stops time from moving with each change, so that pushes tie; `set_now` still moves it.
    pub fn freeze_time(&self) {
        self.lock().ticking = false;
    }

    /// Lets a token see these owners (by login) and no others.
    pub fn add_token(&self, token: &str, logins: &[&str]) {
        let mut state = self.lock();
        let owners = logins.iter().map(|login| state.owner_id(login)).collect();
        state.tokens.insert(token.to_owned(), Token { owners, ..Token::default() });
    }

    /// Makes a token unknown: 401 from now on.
    pub fn revoke_token(&self, token: &str) {
        self.lock().tokens.remove(token);
    }

    /// Hides one repository from one token, as when access is lost.
    pub fn hide_repository(&self, token: &str, full_name: &str) {
        let mut state = self.lock();
        let id = state.repository_id(full_name);
        state.token_mut(token).hidden.insert(id);
    }

    /// Shows it again.
    pub fn show_repository(&self, token: &str, full_name: &str) {
        let mut state = self.lock();
        let id = state.repository_id(full_name);
        state.token_mut(token).hidden.remove(&id);
    }

    /// From now on a token has this many points in all; then it is rate limited.
    pub fn limit_points(&self, token: &str, points: u64) {
        let mut state = self.lock();
        let token = state.token_mut(token);
        token.limit = Some(points);
        token.used = 0;
    }

    /// Somebody else spends points of a token.
    pub fn spend_points(&self, token: &str, points: u64) {
        self.lock().token_mut(token).used += points;
    }

    /// An owner by login, in any case.
    pub fn owner(&self, login: &str) -> Owner {
        let state = self.lock();
        state.owners[&state.owner_id(login)].clone()
    }

    /// A repository by `owner/name`, in any case.
    pub fn repository(&self, full_name: &str) -> Repository {
        let state = self.lock();
        state.repositories[&state.repository_id(full_name)].clone()
    }

    /// A repository's present `owner/name` by database id; `None` when it is gone.
    pub fn full_name(&self, id: u64) -> Option<String> {
        let state = self.lock();
        state.repositories.get(&id).map(|repository| state.full_name(repository))
    }

    /// The `owner/name` of every repository of an owner, sorted.
    pub fn repository_names(&self, login: &str) -> Vec<String> {
        let state = self.lock();
        let ids = state.owned.get(&state.owner_id(login)).into_iter().flatten();
        let mut names: Vec<_> = ids.map(|id| state.full_name(&state.repositories[id])).collect();
        names.sort();
        names
    }
}

impl State {
    /// The time of the next change.
    pub(crate) fn tick(&mut self) -> i64 {
        if self.ticking {
            self.now += 1;
        }
        self.now
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn owner_id(&self, login: &str) -> u64 {
        let found = self.logins.get(&login.to_lowercase());
        *found.unwrap_or_else(|| panic!("the test names an unknown owner `{login}`"))
    }

    pub(crate) fn repository_id(&self, full_name: &str) -> u64 {
        let found = self.names.get(&full_name.to_lowercase());
        *found.unwrap_or_else(|| panic!("the test names an unknown repository `{full_name}`"))
    }

    pub(crate) fn repository_mut(&mut self, id: u64) -> &mut Repository {
        self.repositories.get_mut(&id).expect("ids come from `names`, which has no dead ones")
    }

    pub(crate) fn token_mut(&mut self, token: &str) -> &mut Token {
        let found = self.tokens.get_mut(token);
        found.unwrap_or_else(|| panic!("the test names an unknown token"))
    }

    pub(crate) fn full_name(&self, repository: &Repository) -> String {
        format!("{}/{}", self.owners[&repository.owner].login, repository.name)
    }

    /// Whether a token may see a repository.
    pub(crate) fn sees(&self, token: &str, repository: &Repository) -> bool {
        let token = self.tokens.get(token);
        token.is_some_and(|it| it.sees(repository) && !self.is_unselected(it, repository))
    }
}
