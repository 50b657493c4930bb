//! What people do to repositories as a whole: settings, names, owners, the end.

use serde_json::{Value, json};

use crate::World;
use crate::payload::{self, Event};
use crate::state::State;

impl World {
    /// Changes the default branch: `repository.edited`.
    pub fn set_default_branch(&self, full_name: &str, branch: &str) -> Vec<Event> {
        let (mut state, id) = self.changing(full_name);
        let from = &mut state.repository_mut(id).default_branch;
        let from = std::mem::replace(from, branch.to_owned());
        let changes = json!({"default_branch": {"from": from}});
        vec![state.repository_event(id, "edited", Some(changes))]
    }

    /// Sets the topics: `repository.edited`.
    pub fn set_topics(&self, full_name: &str, topics: &[&str]) -> Vec<Event> {
        let (mut state, id) = self.changing(full_name);
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let from = std::mem::replace(&mut state.repository_mut(id).topics, topics);
        vec![state.repository_event(id, "edited", Some(json!({"topics": {"from": from}})))]
    }

    /// Archives: `repository.archived`.
    pub fn archive(&self, full_name: &str) -> Vec<Event> {
        let (mut state, id) = self.changing(full_name);
        state.repository_mut(id).archived = true;
        vec![state.repository_event(id, "archived", None)]
    }

    /// Unarchives: `repository.unarchived`.
    pub fn unarchive(&self, full_name: &str) -> Vec<Event> {
        let (mut state, id) = self.changing(full_name);
        state.repository_mut(id).archived = false;
        vec![state.repository_event(id, "unarchived", None)]
    }

    /// Sets the visibility: `repository.publicized` and `public`, or `repository.privatized`;
    /// nothing between private and internal, for which GitHub has no event.
    pub fn set_visibility(&self, full_name: &str, visibility: &str) -> Vec<Event> {
        let (mut state, id) = self.changing(full_name);
        let field = &mut state.repository_mut(id).visibility;
        let from = std::mem::replace(field, visibility.to_owned());
        match (from.as_str(), visibility) {
            (from, "public") if from != "public" => {
                let public = state.plain_event("public", id);
                vec![state.repository_event(id, "publicized", None), public]
            }
            ("public", to) if to != "public" => {
                vec![state.repository_event(id, "privatized", None)]
            }
            _ => Vec::new(),
        }
    }

    /// Sets whether it is a fork; GitHub has no event for it.
    pub fn set_fork(&self, full_name: &str, fork: bool) {
        let (mut state, id) = self.changing(full_name);
        state.repository_mut(id).fork = fork;
    }

    /// Renames within the owner: `repository.renamed`. The old name redirects.
    pub fn rename(&self, full_name: &str, name: &str) -> Vec<Event> {
        let (mut state, id) = self.changing(full_name);
        let from = state.rename(id, |repository| name.clone_into(&mut repository.name));
        let changes = json!({"repository": {"name": {"from": from.name}}});
        vec![state.repository_event(id, "renamed", Some(changes))]
    }

    /// Transfers to another owner: `repository.transferred`, which only the new owner is sent.
    /// The old name redirects.
    pub fn transfer(&self, full_name: &str, login: &str) -> Vec<Event> {
        let (mut state, id) = self.changing(full_name);
        let to = state.owner_id(login);
        let from = state.rename(id, |repository| repository.owner = to);
        state.owned.entry(from.owner).or_default().remove(&id);
        state.former.entry(id).or_default().insert(from.owner);
        state.owned.entry(to).or_default().insert(id);
        let old = &state.owners[&from.owner];
        let side = payload::owner_side(old.kind);
        let changes = json!({"owner": {"from": {side: payload::owner(&state, old)}}});
        vec![state.repository_event(id, "transferred", Some(changes))]
    }

    /// Deletes: `repository.deleted`.
    pub fn delete_repository(&self, full_name: &str) -> Vec<Event> {
        let (mut state, id) = self.changing(full_name);
        let event = state.repository_event(id, "deleted", None);
        let repository = state.repositories.remove(&id).expect("it was there a line above");
        state.names.remove(&full_name.to_lowercase());
        state.moved.retain(|_, to| *to != id);
        state.node_ids.remove(&repository.node_id);
        for ids in state.owned.values_mut() {
            ids.remove(&id);
        }
        vec![event]
    }

    /// Gives the repository a new node id; the old one is known no more. No event.
    pub fn reissue_node_id(&self, full_name: &str) -> String {
        let (mut state, id) = self.changing(full_name);
        let fresh = state.next_id();
        let new = format!("R_kgDP{fresh:08X}");
        let old = std::mem::replace(&mut state.repository_mut(id).node_id, new.clone());
        state.node_ids.remove(&old);
        state.node_ids.insert(new.clone(), id);
        new
    }

    /// Makes an owner a collaborator: the repository is then in the owner's own list too, unless
    /// the list is asked for `ownerAffiliations: [OWNER]`.
    pub fn add_collaborator(&self, full_name: &str, login: &str) {
        let (mut state, id) = self.changing(full_name);
        let owner = state.owner_id(login);
        state.collaborations.entry(owner).or_default().insert(id);
    }

    /// Renames an owner; no event of a kind that cuelight asks for.
    pub fn rename_owner(&self, login: &str, new: &str) {
        let mut state = self.lock();
        let id = state.owner_id(login);
        let repositories: Vec<u64> = state.owned.get(&id).into_iter().flatten().copied().collect();
        state.logins.remove(&login.to_lowercase());
        state.logins.insert(new.to_lowercase(), id);
        let old: Vec<String> = repositories
            .iter()
            .map(|id| state.full_name(&state.repositories[id]).to_lowercase())
            .collect();
        let owner = state.owners.get_mut(&id).expect("`logins` has no dead ids");
        new.clone_into(&mut owner.login);
        for (id, old) in repositories.into_iter().zip(old) {
            let name = state.full_name(&state.repositories[&id]).to_lowercase();
            state.names.remove(&old);
            state.names.insert(name, id);
            state.moved.insert(old, id);
        }
    }

    /// The `ping` that a new webhook gets.
    pub fn ping(&self, login: &str) -> Event {
        payload::ping(&self.lock(), login)
    }

    /// `installation_repositories` with `added` or `removed` for these repositories.
    pub fn installation_repositories(&self, action: &str, full_names: &[&str]) -> Event {
        payload::installation_repositories(&self.lock(), action, full_names)
    }

    /// `installation` with an action such as `created`, `suspend`, `deleted`.
    pub fn installation(&self, action: &str, login: &str) -> Event {
        payload::installation(&self.lock(), action, login)
    }

    fn changing(&self, full_name: &str) -> (std::sync::MutexGuard<'_, State>, u64) {
        let mut state = self.lock();
        let now = state.tick();
        let id = state.repository_id(full_name);
        state.repository_mut(id).updated_at = now;
        (state, id)
    }
}

struct Before {
    owner: u64,
    name: String,
}

impl State {
    fn rename(&mut self, id: u64, change: impl FnOnce(&mut crate::state::Repository)) -> Before {
        let repository = &self.repositories[&id];
        let before = Before { owner: repository.owner, name: repository.name.clone() };
        let old = self.full_name(repository).to_lowercase();
        change(self.repository_mut(id));
        let new = self.full_name(&self.repositories[&id]).to_lowercase();
        self.names.remove(&old);
        self.moved.remove(&new);
        let case_only = old == new;
        assert!(self.names.insert(new, id).is_none(), "the repository's new name is taken");
        if !case_only {
            self.moved.insert(old, id);
        }
        before
    }

    /// An event that says no more than which repository.
    fn plain_event(&self, name: &str, id: u64) -> Event {
        Event { name: name.to_owned(), payload: Value::Object(payload::about(self, id)) }
    }
}
