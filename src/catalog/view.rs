//! The whole catalog in memory: an immutable snapshot that the next one shares almost all of.
//!
//! # Promises
//! - A view depends on what its repositories claim, not on the order in which they came.
//! - [`View::with_repository`] costs in proportion to what changed: only the entities of that
//!   repository and those its relations touch are made anew, and of the index only their terms.
//! - An entity is kept once, as text. Its relations as text and its etag are made when they are
//!   first asked for.
//!
//! Finding entities by more than their ref or uid is the business of [`super::select`].

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::Arc;

pub use crate::catalog::entity::ViewEntity;
pub use crate::catalog::located::{LocatedProblem, ProblemFilter};
pub use crate::catalog::troubles::ByCode;
use imbl::{OrdMap, OrdSet, Vector};

use crate::catalog::Code;
use crate::catalog::edges::{Edge, Edges};
use crate::catalog::history::History;
use crate::catalog::index::Index;
use crate::catalog::merge::{Claim, RepoEntry, RepoId, Repository, sort_claims, tail};
use crate::catalog::troubles::Troubles;
use crate::catalog::uid::Uid;

/// A snapshot of the catalog. Cloning is cheap.
#[derive(Clone, Default)]
pub struct View {
    seq: u64,
    is_complete: bool,
    pub(super) troubles: Troubles,
    pub(super) repositories: OrdMap<RepoId, Arc<Repository>>,
    pub(super) slots: OrdMap<Arc<str>, Slot>,
    pub(super) by_uid: OrdMap<Uid, u32>,
    /// By number; numbers of entities that went are used again.
    pub(super) entities: Vector<Option<Arc<ViewEntity>>>,
    free: Vector<u32>,
    pub(super) index: Index,
    pub(super) edges: Edges,
    pub(super) contested: OrdSet<Arc<str>>,
    pub(super) history: History,
    /// Another one in every view that was begun afresh.
    load: RandomState,
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
    /// The same by code.
    pub by_code: ByCode,
    /// Repositories that have a problem.
    pub repositories_with_problems: usize,
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

    pub(super) fn conflicts(&self) -> impl Iterator<Item = &Arc<Claim>> {
        let others = self.others.iter().flat_map(|others| others.iter());
        others.filter(|claim| claim.conflicts_with(&self.winner.claim))
    }
}

/// Whose entities a change of claims changes.
#[derive(Default)]
struct Touched {
    /// Refs that have another claim now, or none any more, and the entity that they had.
    claims: BTreeMap<Arc<str>, Option<Arc<ViewEntity>>>,
    /// Relations that came or went, by the ref that shows them.
    edges: BTreeMap<Box<str>, Vec<Edge<'static>>>,
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
        let by_code = self.troubles.by_code();
        Counts {
            repositories: self.repositories.len(),
            entities: self.slots.len(),
            problems: by_code.total(),
            by_code,
            repositories_with_problems: self.troubles.repositories().len(),
        }
    }

    /// The same for every view that holds the same changes since the same load, and for no other
    /// of this process.
    pub fn stamp(&self) -> u64 {
        self.load.hash_one((self.seq, self.is_complete))
    }

    /// The view with `entry` in place of what the repository held before.
    #[must_use]
    pub fn with_repository(&self, entry: RepoEntry) -> Self {
        self.with_repositories([entry])
    }

    /// The same with many repositories, for the price of what they change together.
    #[must_use]
    pub fn with_repositories(&self, entries: impl IntoIterator<Item = RepoEntry>) -> Self {
        let mut next = self.clone();
        for entry in entries {
            next.seq = next.seq.max(entry.seq);
            let id = RepoId::new(&entry.host, entry.id);
            let old = next.repositories.get(&id).cloned();
            let neighbour = next.repositories.get_prev(&id).map(|(_, neighbour)| &**neighbour);
            let new = Arc::new(Repository::new(entry, old.as_deref(), neighbour));
            next.repositories.insert(new.id.clone(), Arc::clone(&new));
            next.exchange(old.as_deref(), Some(&new));
        }
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
        old.iter().for_each(|old| self.troubles.take_stored(old));
        new.iter().for_each(|new| self.troubles.add_stored(new));
        let claims = |of: Option<&Repository>| {
            let mut by_ref: BTreeMap<Arc<str>, Vec<Arc<Claim>>> = BTreeMap::new();
            for claim in of.iter().flat_map(|of| &of.claims) {
                by_ref.entry(Arc::clone(&claim.entity_ref)).or_default().push(Arc::clone(claim));
            }
            by_ref
        };
        let (gone, mut come) = (claims(old), claims(new));
        let mut touched = Touched::default();
        let before = self.history.digest();
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
        // Nobody saw what it was before it was complete.
        if self.is_complete {
            let others = touched.edges.keys().filter(|of| !touched.claims.contains_key(&***of));
            let shown = others.filter_map(|of| self.slots.get_key_value(&**of));
            let refs = touched.claims.keys().chain(shown.map(|(entity_ref, _)| entity_ref));
            self.history.step(before, refs.cloned());
        }
        self.renew(touched);
    }

    /// Exchanges claims on one ref and adds to `touched` whose entities that changes.
    fn reclaim(
        &mut self,
        entity_ref: Arc<str>,
        gone: &[Arc<Claim>],
        come: Vec<Arc<Claim>>,
        touched: &mut Touched,
    ) {
        let slot = self.slots.get(&entity_ref).cloned();
        let mut claims = come;
        if let Some(slot) = &slot {
            let is_gone = |claim: &&Arc<Claim>| !gone.iter().any(|gone| Arc::ptr_eq(gone, claim));
            claims.extend(slot.claims().filter(is_gone).cloned());
            for loser in slot.conflicts() {
                self.troubles.take(&loser.origin.repository, Code::Conflict);
            }
        }
        sort_claims(&mut claims);
        let mut claims = claims.into_iter();
        let winner = claims.next();
        let old = slot.map(|slot| slot.winner);
        self.exchange_edges(old.as_ref().map(|old| &*old.claim), winner.as_deref(), touched);
        self.contested.remove(&entity_ref);
        let is_same = match (&old, &winner) {
            (Some(old), Some(claim)) => Arc::ptr_eq(&old.claim, claim),
            (old, winner) => old.is_none() && winner.is_none(),
        };
        if !is_same {
            self.history.exchange(old.as_deref().map(|old| &*old.claim), winner.as_deref());
            touched.claims.insert(Arc::clone(&entity_ref), old.clone());
        }
        let Some(claim) = winner else {
            self.slots.remove(&entity_ref);
            return;
        };
        let winner = match old {
            Some(old) if is_same => old,
            old => self.replace(old.as_deref(), claim),
        };
        let others: Vec<Arc<Claim>> = claims.collect();
        let slot = Slot { winner, others: (!others.is_empty()).then(|| others.into()) };
        for loser in slot.conflicts() {
            self.troubles.add(&loser.origin.repository, Code::Conflict);
            self.contested.insert(Arc::clone(&entity_ref));
        }
        self.slots.insert(entity_ref, slot);
    }

    /// The entity of a claim in place of `old`.
    fn replace(&mut self, old: Option<&ViewEntity>, claim: Arc<Claim>) -> Arc<ViewEntity> {
        if let Some(old) = old {
            return ViewEntity::new(old.number, old.uid, claim);
        }
        let uid = Uid::of(&claim.entity_ref);
        let number = self.free.pop_back().unwrap_or_else(|| {
            self.entities.push_back(None);
            u32::try_from(self.entities.len() - 1).expect("fewer entities than fit into memory")
        });
        self.by_uid.insert(uid, number);
        ViewEntity::new(number, uid, claim)
    }

    /// Makes the touched entities anew and exchanges their rows in the index.
    fn renew(&mut self, touched: Touched) {
        let Touched { claims, mut edges } = touched;
        for (entity_ref, old) in claims {
            let Some(new) = self.entity(&entity_ref).cloned() else {
                let mut gone = edges.remove(&*entity_ref).unwrap_or_default();
                gone.extend(self.edges.of(&entity_ref));
                old.iter().for_each(|old| self.forget(old, &gone));
                continue;
            };
            self.exchange_rows(old.as_deref(), &new);
            if old.is_none() {
                edges.remove(&*entity_ref);
                self.exchange_relations(&new, &self.edges.of(&entity_ref));
            }
            self.put(new);
        }
        for (source, changed) in edges {
            let Some(old) = self.entity(&source).cloned() else { continue };
            self.exchange_relations(&old, &changed);
            self.put(ViewEntity::new(old.number, old.uid, Arc::clone(&old.claim)));
        }
    }

    fn forget(&mut self, entity: &ViewEntity, edges: &[Edge<'_>]) {
        self.forget_rows(entity, edges);
        self.entities.set(entity.number as usize, None);
        self.free.push_back(entity.number);
        self.by_uid.remove(&entity.uid);
    }

    fn put(&mut self, entity: Arc<ViewEntity>) {
        self.entities.set(entity.number as usize, Some(Arc::clone(&entity)));
        if let Some(slot) = self.slots.get_mut(&entity.claim.entity_ref) {
            slot.winner = entity;
        }
    }

    fn exchange_edges(&mut self, old: Option<&Claim>, new: Option<&Claim>, touched: &mut Touched) {
        let Some(declarer) = old.or(new).map(|claim| &*claim.entity_ref) else { return };
        let old: BTreeSet<Edge<'_>> = old.iter().flat_map(|claim| claim.edges()).collect();
        let new: BTreeSet<Edge<'_>> = new.iter().flat_map(|claim| claim.edges()).collect();
        for edge in old.symmetric_difference(&new) {
            if new.contains(edge) {
                self.edges.insert(edge, declarer);
            } else {
                self.edges.remove(edge, declarer);
            }
            let edge = edge.clone().into_owned();
            touched.edges.entry(edge.source.clone().into()).or_default().push(edge);
        }
    }

    /// The entity of a ref, given in lower case.
    pub fn entity(&self, entity_ref: &str) -> Option<&Arc<ViewEntity>> {
        self.slots.get(entity_ref).map(|slot| &slot.winner)
    }

    /// The entity of a uid.
    pub fn entity_by_uid(&self, uid: &str) -> Option<&Arc<ViewEntity>> {
        self.numbered(*self.by_uid.get(&Uid::parse(uid)?)?)
    }

    /// The entity with a number.
    pub(super) fn numbered(&self, number: u32) -> Option<&Arc<ViewEntity>> {
        self.entities.get(number as usize)?.as_ref()
    }

    pub(super) fn tail(&self, claim: &Claim) -> String {
        tail(&self.edges.of(&claim.entity_ref), claim.stale())
    }

    /// All repositories by host and id.
    pub fn repositories(&self) -> impl ExactSizeIterator<Item = &Arc<Repository>> {
        self.repositories.values()
    }

    /// The repository of this name, of any host where none is given; case does not count, as on
    /// GitHub. Looks at all of them.
    pub fn repository_named(&self, host: Option<&str>, name: &str) -> Option<&Arc<Repository>> {
        let fits = |it: &&str| host.is_none_or(|host| it.eq_ignore_ascii_case(host));
        let mut named = self.repositories().filter(|r| r.full_name.eq_ignore_ascii_case(name));
        named.find(|r| fits(&&*r.id.host))
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
}
