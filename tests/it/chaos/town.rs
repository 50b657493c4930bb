//! GitHub as the chaos plays it: repositories whose every state is known, so that of what the
//! catalog shows it can be said how old it is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cuelight::engine::record::RepoRecord;
use fake_github::{Delivery, FakeGitHub, Format, NewRepository, Push, Webhooks, World, signed};

use crate::support::stage::{FILE, SECRET, component};

/// The organisation.
pub const ORG: &str = "acme";

/// Of so many changes one takes the catalog file away, or brings it back.
const VANISH_TURN: u32 = 40;

/// The repositories and what became of them.
pub struct Town {
    /// GitHub.
    pub github: FakeGitHub,
    /// Who posts.
    pub hooks: Webhooks,
    folk: Mutex<Folk>,
}

#[derive(Default)]
struct Folk {
    repositories: Vec<Repository>,
    /// Head commit to repository and state.
    heads: HashMap<String, (usize, usize)>,
}

struct Repository {
    name: String,
    /// `spec.type` of its component after each change; `None` where it has none.
    states: Vec<Option<String>>,
    /// The newest state that an acknowledged delivery told of.
    acknowledged: usize,
    /// Deliveries that were acknowledged since the last [`Town::settle_accounts`].
    deliveries: Vec<(usize, Delivery)>,
}

/// A change that was made, and the delivery that tells of it.
pub struct Change {
    repository: usize,
    state: usize,
    /// Signed, not yet posted.
    pub delivery: Delivery,
}

/// How the catalog stands to what was acknowledged.
#[derive(Debug, Default)]
pub struct Standing {
    /// Repositories that show less than an acknowledged delivery told of, by name.
    pub lost: Vec<String>,
    /// Acknowledged deliveries that told of more than is shown.
    pub deliveries_lost: usize,
    /// Repositories that show GitHub's last state.
    pub up_to_date: usize,
    /// What each component should show, as far as the storage goes.
    pub shown: HashMap<String, String>,
}

impl Town {
    /// Opens with `repositories` that have a component each.
    pub async fn open(repositories: usize) -> Self {
        let github = FakeGitHub::start().await;
        github.state().create_organization(ORG);
        let town = Self { github, hooks: Webhooks::new(), folk: Mutex::default() };
        let mut folk = town.folk();
        for at in 0..repositories {
            let name = format!("svc-{at}");
            let new = NewRepository::named(&name).file(FILE, component(&name, "t-0"));
            town.world().create_repository(ORG, new);
            let head = town.world().head(&format!("{ORG}/{name}"), "main");
            folk.heads.insert(head, (at, 0));
            folk.repositories.push(Repository {
                name,
                states: vec![Some("t-0".to_owned())],
                acknowledged: 0,
                deliveries: Vec::new(),
            });
        }
        drop(folk);
        town
    }

    /// GitHub's state.
    pub fn world(&self) -> World {
        self.github.state()
    }

    fn folk(&self) -> MutexGuard<'_, Folk> {
        self.folk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody pushes to one of the repositories.
    pub fn change(&self, rng: &mut fastrand::Rng) -> Change {
        let mut folk = self.folk();
        let at = rng.usize(..folk.repositories.len());
        let repository = &mut folk.repositories[at];
        let state = repository.states.len();
        let is_there = repository.states.last().is_some_and(Option::is_some);
        let push = Push::to("main");
        let (push, shown) = if is_there && rng.u32(..VANISH_TURN) == 0 {
            (push.delete(FILE), None)
        } else {
            let shown = format!("t-{state}");
            (push.put(FILE, component(&repository.name, &shown)), Some(shown))
        };
        let full_name = format!("{ORG}/{}", repository.name);
        repository.states.push(shown);
        // Nobody can ask for the state of a head before it is known here: the lock is held.
        let events = self.world().push(&full_name, push);
        let head = events[0].payload["after"].as_str().expect("a push has a head").to_owned();
        folk.heads.insert(head, (at, state));
        drop(folk);
        let delivery = signed(&events[0], SECRET, &self.hooks.guid(), Format::Json);
        Change { repository: at, state, delivery }
    }

    /// Notes that a delivery was answered 2xx.
    pub fn acknowledge(&self, change: Change) {
        let mut folk = self.folk();
        let repository = &mut folk.repositories[change.repository];
        repository.acknowledged = repository.acknowledged.max(change.state);
        repository.deliveries.push((change.state, change.delivery));
    }

    /// Which repository and state a record shows.
    pub fn state_of(&self, record: &RepoRecord) -> Option<(usize, usize)> {
        let head = record.head.as_ref()?;
        self.folk().heads.get(head.as_str()).copied()
    }

    /// Compares what is stored with what was acknowledged.
    pub fn compare(&self, records: &[RepoRecord]) -> Standing {
        let found: HashMap<usize, usize> =
            records.iter().filter_map(|record| self.state_of(record)).collect();
        let folk = self.folk();
        let mut standing = Standing::default();
        for (at, repository) in folk.repositories.iter().enumerate() {
            let shown = found.get(&at);
            let is_lost = shown.is_none_or(|shown| *shown < repository.acknowledged);
            if is_lost {
                let deliveries = &repository.deliveries;
                let newer = deliveries.iter().filter(|(state, _)| Some(state) > shown).count();
                standing.deliveries_lost += newer;
                standing.lost.push(repository.name.clone());
            }
            if shown.is_some_and(|shown| shown + 1 == repository.states.len()) {
                standing.up_to_date += 1;
            }
            let kind = shown.and_then(|shown| repository.states[*shown].clone());
            if let Some(kind) = kind {
                standing.shown.insert(repository.name.clone(), kind);
            }
        }
        standing
    }

    /// The acknowledged deliveries that a ledger with these ids does not know.
    pub fn unknown_to(&self, ledger: &std::collections::HashSet<String>) -> Vec<Delivery> {
        let folk = self.folk();
        let all = folk.repositories.iter().flat_map(|repository| &repository.deliveries);
        let unknown = all.filter(|(_, delivery)| !ledger.contains(&delivery.guid));
        unknown.map(|(_, delivery)| delivery.clone()).collect()
    }

    /// Forgets the deliveries that were counted.
    pub fn settle_accounts(&self) {
        for repository in &mut self.folk().repositories {
            repository.deliveries.clear();
        }
    }
}
