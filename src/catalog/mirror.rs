//! What whoever mirrors the catalog asks a view: which state it shows, what differs from another
//! state, and everything in an order that can be gone on with.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::catalog::View;
use crate::catalog::history::Digest;
use crate::catalog::view::ViewEntity;

impl View {
    /// Which state of the catalog it shows.
    pub fn digest(&self) -> Digest {
        self.history.digest()
    }

    /// The refs of all entities that may differ between the state `digest` and this one, sorted;
    /// `None` when it was never in that state, or too long ago.
    pub fn changed_since(&self, digest: Digest) -> Option<BTreeSet<Arc<str>>> {
        self.history.changed_since(digest)
    }

    /// The entities whose refs come after `after`, in the order of their refs.
    pub fn entities_after<'a>(
        &'a self,
        after: &str,
    ) -> impl Iterator<Item = &'a Arc<ViewEntity>> + use<'a> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.slots.range::<_, str>(range).map(|(_, slot)| &slot.winner)
    }
}
