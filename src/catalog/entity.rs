//! An entity of a view: the claim that won its ref, and what follows from the whole catalog.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::catalog::View;
use crate::catalog::identity::{self, ETAG_BYTES};
use crate::catalog::merge::{Claim, RepoId};
use crate::catalog::postings::Set;
use crate::catalog::uid::Uid;

/// An entity of the catalog.
pub struct ViewEntity {
    pub(super) number: u32,
    pub(super) uid: Uid,
    pub(super) claim: Arc<Claim>,
    derived: OnceLock<Derived>,
}

/// What follows from the relations too: the etag, always of the same length, and the end of the
/// text behind it. Made when it is first asked for, and in one piece because many are kept.
struct Derived(Box<str>);

impl Derived {
    fn etag(&self) -> &str {
        &self.0[..ETAG_BYTES]
    }

    fn tail(&self) -> &str {
        &self.0[ETAG_BYTES..]
    }
}

impl ViewEntity {
    pub(super) fn new(number: u32, uid: Uid, claim: Arc<Claim>) -> Arc<Self> {
        Arc::new(Self { number, uid, claim, derived: OnceLock::new() })
    }

    /// `kind:namespace/name`, in lower case.
    pub fn entity_ref(&self) -> &str {
        &self.claim.entity_ref
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// Whether it is the Location that was made for a catalog file.
    pub fn is_generated(&self) -> bool {
        self.claim.generated
    }

    /// The repository that declares it.
    pub fn repository(&self) -> &RepoId {
        &self.claim.origin.repository
    }

    /// Whether it is in a set of the same view.
    pub fn is_in(&self, set: &Set) -> bool {
        set.contains(self.number)
    }
}

impl View {
    /// Appends an entity of this view to `out`, as JSON.
    pub fn write_json(&self, entity: &ViewEntity, out: &mut Vec<u8>) {
        let derived = self.derived(entity);
        let uid = entity.uid.to_string();
        entity.claim.write(&uid, Some(derived.etag()), derived.tail(), out);
    }

    /// `metadata.etag` of an entity of this view.
    pub fn etag<'a>(&self, entity: &'a ViewEntity) -> &'a str {
        self.derived(entity).etag()
    }

    /// An entity of this view as a tree; null when it is nested deeper than serde_json reads back
    /// (127 levels), which the reader of catalog files does not let through.
    pub fn json(&self, entity: &ViewEntity) -> Value {
        let mut text = Vec::new();
        self.write_json(entity, &mut text);
        parse(&text)
    }

    fn derived<'a>(&self, entity: &'a ViewEntity) -> &'a Derived {
        entity.derived.get_or_init(|| {
            let tail = self.tail(&entity.claim);
            let mut text = Vec::new();
            entity.claim.write(&entity.uid.to_string(), None, &tail, &mut text);
            Derived((identity::etag(&parse(&text)) + &tail).into())
        })
    }
}

/// Text of ours as a tree; null when it is too deep, see [`View::json`].
pub(super) fn parse(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
}
