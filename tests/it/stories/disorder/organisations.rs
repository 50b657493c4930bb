//! Random things that people do in three organisations: two of ours and a stranger's.

use std::collections::{HashMap, HashSet};

use fake_github::{Event, NewRepository, Push, Repository, World};
use fastrand::Rng;

use super::texts::{Doc, Texts};
use crate::support::stage::FILE;

/// The organisations; the last one is nobody's in the configuration.
pub const LOGINS: [&str; 3] = ["acme", "globex", "strangers"];

/// The path that one provider reads on the branch [`RELEASE`].
pub const DOCS: &str = "docs/catalog-info.yaml";

/// The branch that one provider names.
pub const RELEASE: &str = "release";

/// Topics, of which filters know the first two.
const TOPICS: [&str; 3] = ["legacy", "released", "money"];

/// Branches besides the default one; the last one never becomes it.
const BRANCHES: [&str; 4] = ["main", "trunk", RELEASE, "feature"];

/// So few that each is changed many times.
const REPOSITORIES_MAX: usize = 32;

/// What GitHub tells of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Only changes that have an event.
    Everything,
    /// Also such as have none.
    Not,
}

/// A change that was made.
#[derive(Debug)]
pub struct Change {
    /// In words.
    pub what: String,
    /// What GitHub sends for it.
    pub events: Vec<Event>,
}

/// The organisations and what was ever written in them.
pub struct Organisations {
    /// GitHub.
    pub world: World,
    /// What texts declare.
    pub texts: Texts,
    /// The good components that a repository ever declared, by its id.
    pub ever: HashMap<u64, HashSet<(String, u64)>>,
    /// The last text that was pushed to a repository.
    last: HashMap<u64, String>,
    told: Told,
    made: usize,
}

impl Organisations {
    /// `acme` is there already; makes the others.
    pub fn new(world: World, told: Told) -> Self {
        for login in &LOGINS[1..] {
            world.create_organization(login);
        }
        let (ever, last) = (HashMap::new(), HashMap::new());
        Self { world, texts: Texts::default(), ever, last, told, made: 0 }
    }

    /// Every repository's `owner/name`.
    pub fn names(&self) -> Vec<String> {
        LOGINS.iter().flat_map(|login| self.world.repository_names(login)).collect()
    }

    /// Makes one random change.
    pub fn change(&mut self, rng: &mut Rng) -> Change {
        let names = self.names();
        let roll = rng.u8(..100);
        if names.len() < 6 || (roll < 10 && names.len() < REPOSITORIES_MAX) {
            let name = self.fresh_name();
            let login = LOGINS[rng.usize(..2)];
            return self.create(rng, login, &name);
        }
        let full = &names[rng.usize(..names.len())];
        let found = self.world.repository(full);
        match roll {
            88..92 => self.delete(full),
            92..94 => self.recreate(rng, full),
            94.. => self.transfer(rng, full, &found),
            _ if found.archived => {
                Change { what: format!("unarchive {full}"), events: self.world.unarchive(full) }
            }
            60..65 => self.set_default_branch(rng, full, &found),
            65..70 => {
                let to = self.fresh_name();
                Change {
                    what: format!("rename {full} to {to}"),
                    events: self.world.rename(full, &to),
                }
            }
            70..78 => {
                let all = TOPICS.into_iter();
                let topics: Vec<&str> = all.filter(|_| rng.u8(..3) == 0).collect();
                let what = format!("topics of {full}: {topics:?}");
                Change { what, events: self.world.set_topics(full, &topics) }
            }
            78..82 => Change { what: format!("archive {full}"), events: self.world.archive(full) },
            82..88 => self.set_visibility(rng, full, &found),
            _ => self.push(rng, full, &found),
        }
    }

    fn fresh_name(&mut self) -> String {
        self.made += 1;
        format!("r-{}", self.made)
    }

    fn create(&mut self, rng: &mut Rng, login: &str, name: &str) -> Change {
        let mut new = NewRepository::named(name)
            .visibility(["public", "private", "internal"][rng.usize(..3)])
            .default_branch(["main", "trunk", RELEASE][rng.usize(..3)]);
        if rng.u8(..6) == 0 {
            new = new.fork();
        }
        if rng.u8(..4) == 0 {
            new = new.topics(&[TOPICS[rng.usize(..3)]]);
        }
        let text = (rng.u8(..3) > 0).then(|| self.texts.write(rng));
        if let Some(text) = &text {
            new = new.file(FILE, text);
        }
        let events = self.world.create_repository(login, new);
        let full = format!("{login}/{name}");
        let id = self.world.repository(&full).id;
        let what =
            format!("create {full} ({id}){}", if text.is_some() { " with a file" } else { "" });
        if let Some(text) = text {
            self.note(id, text);
        }
        Change { what, events }
    }

    fn delete(&self, full: &str) -> Change {
        Change { what: format!("delete {full}"), events: self.world.delete_repository(full) }
    }

    fn recreate(&mut self, rng: &mut Rng, full: &str) -> Change {
        let (login, name) = full.split_once('/').expect("a full name");
        let mut events = self.delete(full).events;
        let again = self.create(rng, login, name);
        events.extend(again.events);
        Change { what: format!("delete {full} and {}", again.what), events }
    }

    fn transfer(&mut self, rng: &mut Rng, full: &str, found: &Repository) -> Change {
        let at = rng.usize(..LOGINS.len());
        let owner = self.world.owner(LOGINS[at]).id;
        let to = if owner == found.owner { LOGINS[(at + 1) % LOGINS.len()] } else { LOGINS[at] };
        let taken = self.names().iter().any(|name| *name == format!("{to}/{}", found.name));
        if taken {
            return self.push(rng, full, found);
        }
        let what = format!("transfer {full} to {to}");
        Change { what, events: self.world.transfer(full, to) }
    }

    fn set_default_branch(&mut self, rng: &mut Rng, full: &str, found: &Repository) -> Change {
        let has = |branch: &&str| found.content.heads.branches.contains_key(*branch);
        let others: Vec<&str> =
            BRANCHES[..3].iter().filter(|b| **b != found.default_branch).copied().collect();
        let others: Vec<&str> = others.into_iter().filter(has).collect();
        if others.is_empty() {
            return self.push(rng, full, found);
        }
        let to = others[rng.usize(..others.len())];
        let what = format!("default branch of {full}: {to}");
        Change { what, events: self.world.set_default_branch(full, to) }
    }

    fn set_visibility(&self, rng: &mut Rng, full: &str, found: &Repository) -> Change {
        let hidden = ["private", "internal"][rng.usize(..2)];
        let to = match (found.visibility.as_str(), self.told) {
            ("public", _) => hidden,
            // GitHub has no event for a step between private and internal.
            (_, Told::Not) if rng.bool() => hidden,
            _ => "public",
        };
        let what = format!("visibility of {full}: {to}");
        Change { what, events: self.world.set_visibility(full, to) }
    }

    fn push(&mut self, rng: &mut Rng, full: &str, found: &Repository) -> Change {
        let heads = &found.content.heads;
        let has_default = heads.branches.contains_key(&found.default_branch);
        let branch = match rng.u8(..10) {
            0..6 => found.default_branch.clone(),
            _ if has_default => BRANCHES[rng.usize(..4)].to_owned(),
            _ => found.default_branch.clone(),
        };
        let exists = heads.branches.contains_key(&branch);
        let older = found.content.heads_before(rng.usize(1..4)).branches.get(&branch);
        match (rng.u8(..20), older) {
            (0, Some(oid)) if exists => {
                let events = self.world.force_push(full, &branch, oid);
                return Change { what: format!("force {full} {branch} to {oid:.8}"), events };
            }
            (1, _) if exists && branch != found.default_branch => {
                let events = self.world.delete_branch(full, &branch);
                return Change { what: format!("delete branch {branch} of {full}"), events };
            }
            (2, _) if !exists && has_default => {
                let events = self.world.create_branch(full, &branch, &found.default_branch);
                return Change { what: format!("make branch {branch} of {full}"), events };
            }
            _ => {}
        }
        self.push_commits(rng, full, found, &branch)
    }

    fn push_commits(
        &mut self,
        rng: &mut Rng,
        full: &str,
        found: &Repository,
        branch: &str,
    ) -> Change {
        let branches = &found.content.heads.branches;
        let base = branches.get(branch).or_else(|| branches.get(&found.default_branch));
        let base = base.and_then(|oid| found.content.commit(oid));
        let mut present: HashSet<String> = base
            .map(|commit| commit.tree.keys().map(|path| path.to_string()).collect())
            .unwrap_or_default();
        let mut push = Push::to(branch);
        let mut what = format!("push to {full} {branch}:");
        for commit in 0..rng.usize(1..4) {
            if commit > 0 {
                push = push.commit();
                what += " then";
            }
            let path = match rng.u8(..10) {
                0..6 => FILE,
                6..8 => DOCS,
                _ => "README.md",
            };
            if present.contains(path) && rng.u8(..3) == 0 {
                present.remove(path);
                push = push.delete(path);
                what += &format!(" delete {path}");
                continue;
            }
            present.insert(path.to_owned());
            let again = self.last.get(&found.id).filter(|_| rng.u8(..6) == 0).cloned();
            let text = again.unwrap_or_else(|| self.texts.write(rng));
            push = push.put(path, &text);
            what += &format!(" put {path}");
            self.note(found.id, text);
        }
        Change { what, events: self.world.push(full, push) }
    }

    fn note(&mut self, id: u64, text: String) {
        let docs = self.texts.docs(&fake_github::blob_oid(text.as_bytes())).iter();
        let good = docs.filter_map(|doc| match doc {
            Doc::Good { name, version } => Some((name.clone(), *version)),
            Doc::Bad { .. } | Doc::Broken => None,
        });
        self.ever.entry(id).or_default().extend(good);
        self.last.insert(id, text);
    }
}
