//! The whole catalog in memory: an immutable snapshot that the next one shares almost all of.
//!
//! # Promises
//! - A view depends on what its repositories claim, not on the order in which they came.
//! - [`View::with_repository`] costs in proportion to what changed: only the entities of that
//!   repository and those its relations touch are made anew.
//! - An entity is kept once, as text. What follows from it (relations as text, etag, what search
//!   needs) is made when it is first asked for.
//!
//! Finding entities by more than their ref or uid is the business of [`super::select`].

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use imbl::{OrdMap, OrdSet};
use serde_json::Value;

use crate::catalog::merge::{Claim, Edge, RepoEntry, RepoId, Repository, sort_claims, tail};
use crate::catalog::{Problem, identity};

/// A snapshot of the catalog. Cloning is cheap.
#[derive(Clone, Default)]
pub struct View {
    seq: u64,
    is_complete: bool,
    counts: Counts,
    repositories: OrdMap<RepoId, Arc<Repository>>,
    pub(super) slots: OrdMap<Arc<str>, Slot>,
    pub(super) by_uid: OrdMap<Uid, Arc<str>>,
    edges: OrdSet<DeclaredEdge>,
    contested: OrdSet<Arc<str>>,
    pub(super) hasher: RandomState,
}

/// What a view holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Repositories, with entities or without.
    pub repositories: usize,
    /// Entities that the API shows.
    pub entities: usize,
    /// Problems, conflicts included.
    pub problems: usize,
}

/// The claims on one ref.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) winner: Arc<ViewEntity>,
    /// The others, the next in line first; almost always none.
    others: Option<Arc<[Arc<Claim>]>>,
}

impl Slot {
    fn claims(&self) -> impl Iterator<Item = &Arc<Claim>> {
        [&self.winner.claim].into_iter().chain(self.others.iter().flat_map(|others| others.iter()))
    }

    fn conflicts(&self) -> impl Iterator<Item = &Arc<Claim>> {
        let others = self.others.iter().flat_map(|others| others.iter());
        others.filter(|claim| claim.conflicts_with(&self.winner.claim))
    }
}

/// The bytes of an entity's uid: a third of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Uid([u8; 16]);

impl Uid {
    fn of(entity_ref: &str) -> Self {
        Self::parse(&identity::uid(entity_ref)).expect("uids are made in the form of a UUID")
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.replace('-', "");
        let is_uid = text.len() == 36 && digits.len() == 32;
        let number = is_uid.then(|| u128::from_str_radix(&digits, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

/// A relation and the entity that declares it, in the order in which they are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DeclaredEdge {
    edge: Edge,
    declarer: Arc<str>,
}

/// An entity of the catalog.
pub struct ViewEntity {
    claim: Arc<Claim>,
    derived: OnceLock<Derived>,
    pub(super) marks: OnceLock<Box<[u64]>>,
}

struct Derived {
    tail: Box<str>,
    etag: Box<str>,
}

impl ViewEntity {
    fn new(claim: Arc<Claim>) -> Arc<Self> {
        Arc::new(Self { claim, derived: OnceLock::new(), marks: OnceLock::new() })
    }

    /// `kind:namespace/name`, in lower case.
    pub fn entity_ref(&self) -> &str {
        &self.claim.entity_ref
    }

    /// The repository that declares it.
    pub fn repository(&self) -> &RepoId {
        &self.claim.origin.repository
    }
}

/// A problem and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedProblem {
    /// `github.com`
    pub host: Arc<str>,
    /// `owner/name`
    pub repository: Box<str>,
    /// The branch of the file.
    pub branch: Box<str>,
    /// The problem.
    pub problem: Problem,
}

impl View {
    /// A view of nothing, not complete.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The same view, now known to hold everything up to change `seq`.
    #[must_use]
    pub fn complete_to(&self, seq: u64) -> Self {
        Self { seq: self.seq.max(seq), is_complete: true, ..self.clone() }
    }

    /// The last change in it.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether it was ever known to hold everything up to some change.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// What it holds, in numbers.
    pub fn counts(&self) -> Counts {
        Counts { repositories: self.repositories.len(), entities: self.slots.len(), ..self.counts }
    }

    /// The view with `entry` in place of what the repository held before.
    #[must_use]
    pub fn with_repository(&self, entry: RepoEntry) -> Self {
        let mut next = self.clone();
        next.seq = next.seq.max(entry.seq);
        let old = self.repositories.get(&RepoId::new(&entry.host, entry.id));
        let new = Arc::new(Repository::new(entry, old.map(|old| &**old)));
        next.repositories.insert(new.id.clone(), Arc::clone(&new));
        next.exchange(old.map(|old| &**old), Some(&new));
        next
    }

    /// The view without a repository; the same view when it holds none of that id.
    #[must_use]
    pub fn without_repository(&self, id: &RepoId) -> Self {
        let mut next = self.clone();
        if let Some(old) = next.repositories.remove(id) {
            next.exchange(Some(&old), None);
        }
        next
    }

    /// Replaces the claims of `old` by those of `new`, the same repository.
    fn exchange(&mut self, old: Option<&Repository>, new: Option<&Repository>) {
        let problems = |of: Option<&Repository>| of.map_or(0, |of| of.problems.len());
        self.counts.problems = self.counts.problems + problems(new) - problems(old);
        let claims = |of: Option<&Repository>| {
            let mut by_ref: BTreeMap<Arc<str>, Vec<Arc<Claim>>> = BTreeMap::new();
            for claim in of.iter().flat_map(|of| &of.claims) {
                by_ref.entry(Arc::clone(&claim.entity_ref)).or_default().push(Arc::clone(claim));
            }
            by_ref
        };
        let (gone, mut come) = (claims(old), claims(new));
        let mut touched = BTreeSet::new();
        for (entity_ref, gone) in gone {
            let come = come.remove(&entity_ref).unwrap_or_default();
            let is_same = gone.len() == come.len()
                && gone.iter().zip(&come).all(|(gone, come)| Arc::ptr_eq(gone, come));
            if !is_same {
                self.reclaim(entity_ref, &gone, come, &mut touched);
            }
        }
        for (entity_ref, come) in come {
            self.reclaim(entity_ref, &[], come, &mut touched);
        }
        for source in touched {
            if let Some(slot) = self.slots.get_mut(&source) {
                slot.winner = ViewEntity::new(Arc::clone(&slot.winner.claim));
            }
        }
    }

    /// Exchanges claims on one ref and adds to `touched` whose relations that changes.
    fn reclaim(
        &mut self,
        entity_ref: Arc<str>,
        gone: &[Arc<Claim>],
        come: Vec<Arc<Claim>>,
        touched: &mut BTreeSet<Arc<str>>,
    ) {
        let slot = self.slots.get(&entity_ref).cloned();
        let mut claims = come;
        if let Some(slot) = &slot {
            let is_gone = |claim: &&Arc<Claim>| !gone.iter().any(|gone| Arc::ptr_eq(gone, claim));
            claims.extend(slot.claims().filter(is_gone).cloned());
            self.counts.problems -= slot.conflicts().count();
        }
        sort_claims(&mut claims);
        let mut claims = claims.into_iter();
        let winner = claims.next();
        let old_winner = slot.as_ref().map(|slot| &slot.winner);
        self.exchange_edges(old_winner.map(|old| &*old.claim), winner.as_deref(), touched);
        self.contested.remove(&entity_ref);
        let Some(winner) = winner else {
            self.slots.remove(&entity_ref);
            self.by_uid.remove(&Uid::of(&entity_ref));
            return;
        };
        let others: Vec<Arc<Claim>> = claims.collect();
        let slot = Slot {
            winner: match old_winner {
                Some(old) if Arc::ptr_eq(&old.claim, &winner) => Arc::clone(old),
                _ => ViewEntity::new(winner),
            },
            others: (!others.is_empty()).then(|| others.into()),
        };
        let conflicts = slot.conflicts().count();
        self.counts.problems += conflicts;
        if conflicts > 0 {
            self.contested.insert(Arc::clone(&entity_ref));
        }
        self.by_uid.insert(Uid::of(&entity_ref), Arc::clone(&entity_ref));
        self.slots.insert(entity_ref, slot);
    }

    fn exchange_edges(
        &mut self,
        old: Option<&Claim>,
        new: Option<&Claim>,
        touched: &mut BTreeSet<Arc<str>>,
    ) {
        let declared = |claim: Option<&Claim>| -> BTreeSet<DeclaredEdge> {
            let Some(claim) = claim else { return BTreeSet::new() };
            let declarer = &claim.entity_ref;
            let edges = claim.edges.iter().cloned();
            edges.map(|edge| DeclaredEdge { edge, declarer: Arc::clone(declarer) }).collect()
        };
        let (old, new) = (declared(old), declared(new));
        for edge in old.difference(&new) {
            self.edges.remove(edge);
            touched.insert(Arc::clone(&edge.edge.source));
        }
        for edge in new.difference(&old) {
            self.edges.insert(edge.clone());
            touched.insert(Arc::clone(&edge.edge.source));
        }
    }

    /// The entity of a ref, given in lower case.
    pub fn entity(&self, entity_ref: &str) -> Option<&Arc<ViewEntity>> {
        self.slots.get(entity_ref).map(|slot| &slot.winner)
    }

    /// The entity of a uid.
    pub fn entity_by_uid(&self, uid: &str) -> Option<&Arc<ViewEntity>> {
        self.by_uid.get(&Uid::parse(uid)?).and_then(|entity_ref| self.entity(entity_ref))
    }

    /// Appends an entity of this view to `out`, as JSON.
    pub fn write_json(&self, entity: &ViewEntity, out: &mut Vec<u8>) {
        let derived = entity.derived.get_or_init(|| self.derive(&entity.claim));
        let uid = identity::uid(entity.entity_ref());
        entity.claim.write(&uid, Some(&derived.etag), &derived.tail, out);
    }

    /// An entity of this view as a tree; null when it is nested deeper than serde_json reads back
    /// (127 levels), which the reader of catalog files does not let through.
    pub fn json(&self, entity: &ViewEntity) -> Value {
        let mut text = Vec::new();
        self.write_json(entity, &mut text);
        parse(&text)
    }

    fn derive(&self, claim: &Claim) -> Derived {
        let mut relations: Vec<(&str, &str)> =
            self.edges_of(&claim.entity_ref).map(|edge| (&*edge.kind, &*edge.target)).collect();
        relations.dedup();
        let tail = tail(relations.into_iter(), claim.stale.as_deref());
        let mut text = Vec::new();
        claim.write(&identity::uid(&claim.entity_ref), None, &tail, &mut text);
        let etag = identity::etag(&parse(&text));
        Derived { tail: tail.into(), etag: etag.into() }
    }

    fn edges_of(&self, source: &Arc<str>) -> impl Iterator<Item = &Edge> {
        let nothing: Arc<str> = Arc::from("");
        let edge = Edge {
            source: Arc::clone(source),
            kind: Arc::clone(&nothing),
            target: Arc::clone(&nothing),
        };
        let from = DeclaredEdge { edge, declarer: nothing };
        let edges = self.edges.range(from..).map(|declared| &declared.edge);
        edges.take_while(move |edge| edge.source == *source)
    }

    /// All repositories by host and id.
    pub fn repositories(&self) -> impl ExactSizeIterator<Item = &Arc<Repository>> {
        self.repositories.values()
    }

    /// The repository with this id.
    pub fn repository(&self, id: &RepoId) -> Option<&Arc<Repository>> {
        self.repositories.get(id)
    }

    /// How many entities that its owner wrote a repository brings into the catalog, and how many
    /// problems it has.
    pub fn counts_of(&self, repository: &Repository) -> (usize, usize) {
        let mut entities = 0;
        let mut conflicts = 0;
        for claim in &repository.claims {
            let Some(slot) = self.slots.get(&claim.entity_ref) else { continue };
            if Arc::ptr_eq(&slot.winner.claim, claim) {
                entities += usize::from(!claim.generated);
            } else {
                conflicts += usize::from(claim.conflicts_with(&slot.winner.claim));
            }
        }
        (entities, repository.problems.len() + conflicts)
    }

    /// All problems, by repository, file and place.
    pub fn problems(&self) -> Vec<LocatedProblem> {
        let stored = self.repositories.values().flat_map(|repository| {
            let problems = repository.problems.iter();
            problems.map(|(branch, problem)| located(repository, branch, problem.clone()))
        });
        let slots = self.contested.iter().filter_map(|entity_ref| self.slots.get(entity_ref));
        let conflicts = slots.flat_map(|slot| {
            let winner = &slot.winner.claim;
            let winner_name = self.repository(&winner.origin.repository).map(|r| &*r.full_name);
            slot.conflicts().filter_map(move |loser| {
                let problem = loser.conflict(winner, winner_name.unwrap_or_default());
                let repository = self.repository(&loser.origin.repository)?;
                Some(located(repository, &loser.origin.branch, problem))
            })
        });
        let mut problems: Vec<LocatedProblem> = stored.chain(conflicts).collect();
        problems.sort_by(|a, b| a.place().cmp(&b.place()));
        problems
    }
}

impl LocatedProblem {
    fn place(&self) -> impl Ord + '_ {
        let problem = &self.problem;
        let file = (&*self.repository, &*self.host, &*problem.path, &*self.branch);
        (file, problem.line, problem.column, problem.code, &problem.entity_ref, &problem.message)
    }
}

/// Text of ours as a tree; null when it is too deep, see [`View::json`].
fn parse(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
}

fn located(repository: &Repository, branch: &str, problem: Problem) -> LocatedProblem {
    LocatedProblem {
        host: Arc::clone(&repository.id.host),
        repository: repository.full_name.clone(),
        branch: branch.into(),
        problem,
    }
}
