//! What a view shows, as one number, and what changed in it lately: so that whoever mirrors the
//! catalog can say which state it holds and get what is missing.
//!
//! A state is named by its content, not by a position in a log: positions are given again after a
//! power cut or when an older copy of the storage is put back, and each replica takes changes in
//! steps of its own. Equal content has an equal [`Digest`] on every replica and after every
//! restart, and what differs has another one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use imbl::Vector;
use sha2::{Digest as _, Sha256};

use crate::catalog::merge::Claim;

/// Most changes that are remembered: hours of a busy day, in less than a MB.
const STEPS_MAX: usize = 4_096;

/// Most refs that the remembered changes name together; a change of more is not remembered.
const REFS_MAX: usize = 65_536;

/// Digits of a digest as text.
const DIGITS: usize = 32;

/// Names a state of the catalog by its content: the sum of a hash of each shown entity, so that a
/// change costs what it changes. The version is part of each hash, for another one may write the
/// same entity otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(u128);

impl Digest {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_ours.then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }

    fn add(&mut self, claim: &Claim) {
        self.0 = self.0.wrapping_add(hash(claim));
    }

    fn subtract(&mut self, claim: &Claim) {
        self.0 = self.0.wrapping_sub(hash(claim));
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A hash of everything that a shown claim brings into the catalog: its own text, and the
/// relations that it declares for itself and for others.
fn hash(claim: &Claim) -> u128 {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    part(env!("CARGO_PKG_VERSION"));
    part(&claim.entity_ref);
    part(&claim.body);
    part(if claim.stale().is_some() { "stale" } else { "" });
    part(claim.stale().unwrap_or_default());
    for edge in claim.edges() {
        [&edge.source, &edge.kind, &edge.target].into_iter().for_each(|text| part(text));
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    u128::from_le_bytes(half)
}

/// The state of a view and the changes that led to it. Cloning is cheap.
#[derive(Clone, Default)]
pub(super) struct History {
    digest: Digest,
    /// The oldest first.
    steps: Vector<Step>,
    /// How many refs the steps name together.
    refs: usize,
}

#[derive(Clone)]
struct Step {
    /// The state that it changed.
    before: Digest,
    /// The entities that are not as they were, those that went among them.
    refs: Arc<[Arc<str>]>,
}

impl History {
    /// Takes down that `new` is shown in place of `old`.
    pub(super) fn exchange(&mut self, old: Option<&Claim>, new: Option<&Claim>) {
        if let Some(old) = old {
            self.digest.subtract(old);
        }
        if let Some(new) = new {
            self.digest.add(new);
        }
    }

    /// The state as it is now.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Takes down that `refs` are no longer as they were in the state `before`.
    pub(super) fn step(&mut self, before: Digest, refs: impl Iterator<Item = Arc<str>>) {
        let refs: Arc<[Arc<str>]> = refs.collect();
        if refs.is_empty() {
            return;
        }
        self.refs += refs.len();
        self.steps.push_back(Step { before, refs });
        while self.steps.len() > STEPS_MAX || self.refs > REFS_MAX {
            let Some(oldest) = self.steps.pop_front() else { break };
            self.refs -= oldest.refs.len();
        }
    }

    /// The refs of all entities that may differ between the state `digest` and this one; `None`
    /// when the steps do not reach back to it.
    pub(super) fn changed_since(&self, digest: Digest) -> Option<BTreeSet<Arc<str>>> {
        let mut refs = BTreeSet::new();
        if digest == self.digest {
            return Some(refs);
        }
        for step in self.steps.iter().rev() {
            refs.extend(step.refs.iter().cloned());
            if step.before == digest {
                return Some(refs);
            }
        }
        None
    }
}
