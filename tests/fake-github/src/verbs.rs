//! What people do on GitHub. Each verb changes the state and returns the webhook events that
//! GitHub would send for it, undelivered: the test delivers, drops, doubles or reorders them.
//!
//! A verb that names something that does not exist panics: that is a mistake of the test.

use crate::World;
use crate::content::{Blob, Content, Tree};
use crate::payload::{self, Event};
use crate::state::{Owner, OwnerKind, Repository, State};

/// A repository to be created.
#[derive(Debug, Clone)]
pub struct NewRepository {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    visibility: String,
    topics: Vec<String>,
    fork: bool,
    archived: bool,
    default_branch: String,
}

impl NewRepository {
    /// An empty, private repository whose default branch will be `main`.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            files: Vec::new(),
            visibility: "private".to_owned(),
            topics: Vec::new(),
            fork: false,
            archived: false,
            default_branch: "main".to_owned(),
        }
    }

    /// With this file in its first commit.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// `public`, `private` or `internal`.
    #[must_use]
    pub fn visibility(mut self, visibility: &str) -> Self {
        visibility.clone_into(&mut self.visibility);
        self
    }

    /// With these topics.
    #[must_use]
    pub fn topics(mut self, topics: &[&str]) -> Self {
        self.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self
    }

    /// A fork.
    #[must_use]
    pub fn fork(mut self) -> Self {
        self.fork = true;
        self
    }

    /// Archived from the start.
    #[must_use]
    pub fn archived(mut self) -> Self {
        self.archived = true;
        self
    }

    /// With another default branch.
    #[must_use]
    pub fn default_branch(mut self, branch: &str) -> Self {
        branch.clone_into(&mut self.default_branch);
        self
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(pub(crate) Vec<(String, Option<Vec<u8>>)>);

/// Commits to push to a branch; the branch is made if it does not exist.
#[derive(Debug, Clone)]
pub struct Push {
    branch: String,
    commits: Vec<Changes>,
}

impl Push {
    /// One commit, empty so far.
    pub fn to(branch: &str) -> Self {
        Self { branch: branch.to_owned(), commits: vec![Changes::default()] }
    }

    /// Writes a file in the last commit.
    #[must_use]
    pub fn put(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.change(path, Some(content.as_ref().to_vec()))
    }

    /// Deletes a file in the last commit.
    #[must_use]
    pub fn delete(self, path: &str) -> Self {
        self.change(path, None)
    }

    /// Starts a further commit.
    #[must_use]
    pub fn commit(mut self) -> Self {
        self.commits.push(Changes::default());
        self
    }

    fn change(mut self, path: &str, content: Option<Vec<u8>>) -> Self {
        let last = self.commits.last_mut().expect("there is one from the start");
        last.0.push((path.to_owned(), content));
        self
    }
}

impl World {
    /// Creates an organisation.
    pub fn create_organization(&self, login: &str) -> Owner {
        self.create_owner(login, OwnerKind::Organization)
    }

    /// Creates a person's account.
    pub fn create_user(&self, login: &str) -> Owner {
        self.create_owner(login, OwnerKind::User)
    }

    fn create_owner(&self, login: &str, kind: OwnerKind) -> Owner {
        let mut state = self.lock();
        let id = state.next_id();
        let letter = &kind.name()[..1];
        let node_id = format!("{letter}_kgDO{id:08X}");
        let owner = Owner { id, node_id, login: login.to_owned(), kind };
        let taken = state.logins.insert(login.to_lowercase(), id);
        assert!(taken.is_none(), "the login `{login}` is taken");
        state.owners.insert(id, owner.clone());
        owner
    }

    /// Creates a repository: `repository.created`, and a `push` if it has files.
    pub fn create_repository(&self, login: &str, new: NewRepository) -> Vec<Event> {
        let mut state = self.lock();
        let now = state.tick();
        let id = state.next_id();
        let owner = state.owner_id(login);
        let repository = Repository {
            id,
            node_id: format!("R_kgDO{id:08X}"),
            owner,
            name: new.name,
            default_branch: new.default_branch,
            visibility: new.visibility,
            archived: new.archived,
            fork: new.fork,
            topics: new.topics,
            created_at: now,
            updated_at: now,
            content: Content::default(),
        };
        state.node_ids.insert(repository.node_id.clone(), id);
        let name = state.full_name(&repository).to_lowercase();
        state.moved.remove(&name);
        assert!(state.names.insert(name, id).is_none(), "the repository's name is taken");
        state.owned.entry(owner).or_default().insert(id);
        let branch = repository.default_branch.clone();
        state.repositories.insert(id, repository);
        let mut events = vec![state.repository_event(id, "created", None)];
        if !new.files.is_empty() {
            let files = new.files.into_iter().map(|(path, bytes)| (path, Some(bytes))).collect();
            events.push(state.push(id, &branch, &[Changes(files)]));
        }
        events
    }

    /// Pushes commits: one `push`.
    pub fn push(&self, full_name: &str, push: Push) -> Vec<Event> {
        let mut state = self.lock();
        state.tick();
        let id = state.repository_id(full_name);
        vec![state.push(id, &push.branch, &push.commits)]
    }

    /// One commit with one file to the default branch: one `push`.
    pub fn put_file(&self, full_name: &str, path: &str, content: impl AsRef<[u8]>) -> Vec<Event> {
        let branch = self.repository(full_name).default_branch;
        self.push(full_name, Push::to(&branch).put(path, content))
    }

    /// One commit that deletes a file of the default branch: one `push`.
    pub fn delete_file(&self, full_name: &str, path: &str) -> Vec<Event> {
        let branch = self.repository(full_name).default_branch;
        self.push(full_name, Push::to(&branch).delete(path))
    }

    /// The head of a branch.
    pub fn head(&self, full_name: &str, branch: &str) -> String {
        let repository = self.repository(full_name);
        repository.content.heads.branches[branch].to_string()
    }

    /// Moves a branch to a commit that is already there, by force: a `push` that is `forced`.
    pub fn force_push(&self, full_name: &str, branch: &str, oid: &str) -> Vec<Event> {
        let mut state = self.lock();
        let now = state.tick();
        let id = state.repository_id(full_name);
        let repository = state.repository_mut(id);
        let commit = repository.content.commit(oid).expect("the test names a commit that exists");
        let after = commit.oid.clone();
        let before = repository.content.heads.branches.get(branch).cloned();
        repository.content.set_branch(branch, Some(after), now);
        vec![state.push_event(id, branch, before.as_deref(), Vec::new(), payload::Forced::Yes)]
    }

    /// Makes a branch at another one's head: a `push` that is `created`.
    pub fn create_branch(&self, full_name: &str, branch: &str, from: &str) -> Vec<Event> {
        let mut state = self.lock();
        let now = state.tick();
        let id = state.repository_id(full_name);
        let content = &mut state.repository_mut(id).content;
        let head = content.heads.branches[from].clone();
        content.set_branch(branch, Some(head), now);
        vec![state.push_event(id, branch, None, Vec::new(), payload::Forced::No)]
    }

    /// Deletes a branch: a `push` that is `deleted`.
    pub fn delete_branch(&self, full_name: &str, branch: &str) -> Vec<Event> {
        let mut state = self.lock();
        let now = state.tick();
        let id = state.repository_id(full_name);
        let content = &mut state.repository_mut(id).content;
        let before = content.heads.branches.get(branch).cloned();
        assert!(before.is_some(), "the test deletes a branch that is not there");
        content.set_branch(branch, None, now);
        vec![state.push_event(id, branch, before.as_deref(), Vec::new(), payload::Forced::No)]
    }
}

impl State {
    /// Applies the commits to the branch and returns the `push`.
    fn push(&mut self, id: u64, branch: &str, commits: &[Changes]) -> Event {
        let now = self.now;
        let repository = self.repository_mut(id);
        let before = repository.content.heads.branches.get(branch).cloned();
        let base = before.as_deref().or_else(|| {
            let heads = &repository.content.heads;
            heads.branches.get(&repository.default_branch).map(|oid| &**oid)
        });
        let base = base.and_then(|oid| repository.content.commit(oid));
        let mut tree: Tree = base.map(|commit| (*commit.tree).clone()).unwrap_or_default();
        let mut head = None;
        let mut told = Vec::new();
        for changes in commits {
            let mut files = payload::CommitFiles::default();
            for (path, content) in &changes.0 {
                apply(&mut tree, &mut files, path, content.as_deref());
            }
            let oid = repository.content.add_commit(id, tree.clone());
            files.oid = oid.to_string();
            told.push(files);
            head = Some(oid);
        }
        repository.content.set_branch(branch, head, now);
        repository.updated_at = now;
        self.push_event(id, branch, before.as_deref(), told, payload::Forced::No)
    }
}

fn apply(tree: &mut Tree, files: &mut payload::CommitFiles, path: &str, content: Option<&[u8]>) {
    let Some(bytes) = content else {
        assert!(tree.remove(path).is_some(), "the test deletes `{path}`, which is not there");
        files.removed.push(path.to_owned());
        return;
    };
    match tree.insert(path.into(), Blob::new(bytes)) {
        Some(_) => files.modified.push(path.to_owned()),
        None => files.added.push(path.to_owned()),
    }
}
