//! Where entities come from: the Locations above an entity, and the Location of each catalog file.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::View;
use crate::catalog::annotations::{MANAGED_BY_LOCATION, MANAGED_BY_ORIGIN_LOCATION};
use crate::catalog::identity::generated_location_name;
use crate::catalog::merge::Repository;
use crate::catalog::view::ViewEntity;

/// What a generated Location's ref starts with: a Location of an owner may be called so too, so
/// whoever looks for them asks each.
const GENERATED: &str = "location:default/generated-";

/// An entity and what it was read by.
pub struct Ancestor {
    /// The entity.
    pub entity: Arc<ViewEntity>,
    /// The refs of the entities that lead to it; none for a Location that stands for itself.
    pub parents: Vec<String>,
}

impl View {
    /// An entity and everything above it, the nearest first.
    pub fn ancestry(&self, entity: &Arc<ViewEntity>) -> Vec<Ancestor> {
        let mut seen = BTreeSet::from([entity.entity_ref().to_owned()]);
        let mut found: Vec<Ancestor> = Vec::new();
        let mut next = vec![Arc::clone(entity)];
        while !next.is_empty() {
            let mut above = Vec::new();
            for entity in next {
                let parents: Vec<&Arc<ViewEntity>> = self.parent(&entity).into_iter().collect();
                let new = parents.iter().filter(|p| seen.insert(p.entity_ref().to_owned()));
                above.extend(new.map(|parent| Arc::clone(*parent)));
                let parents = parents.iter().map(|parent| parent.entity_ref().to_owned()).collect();
                found.push(Ancestor { entity, parents });
            }
            next = above;
        }
        found
    }

    /// The Location whose target the file of an entity is, else the one that stands for the file,
    /// else for the file that led to it.
    fn parent(&self, entity: &ViewEntity) -> Option<&Arc<ViewEntity>> {
        if entity.is_generated() {
            return None;
        }
        let includer = entity.claim.included_by();
        // Another repository may have claimed its ref first; then it did not lead here.
        let own = |location: &&Arc<ViewEntity>| location.repository() == entity.repository();
        let includer = includer.and_then(|includer| self.entity(includer)).filter(own);
        includer.or_else(|| {
            [MANAGED_BY_LOCATION, MANAGED_BY_ORIGIN_LOCATION]
                .iter()
                .find_map(|annotation| self.location_named(entity, annotation))
        })
    }

    /// The generated Location that an entity came from in the end.
    pub fn origin(&self, entity: &ViewEntity) -> Option<&Arc<ViewEntity>> {
        self.location_named(entity, MANAGED_BY_ORIGIN_LOCATION)
    }

    fn location_named(&self, entity: &ViewEntity, annotation: &str) -> Option<&Arc<ViewEntity>> {
        let body = self.json(entity);
        let location = body["metadata"]["annotations"][annotation].as_str()?;
        let (kind, target) = location.split_once(':')?;
        self.generated_location(kind, target)
    }

    /// The generated Location of a type and target.
    pub fn generated_location(&self, kind: &str, target: &str) -> Option<&Arc<ViewEntity>> {
        let name = generated_location_name(kind, target);
        let entity = self.entity(&format!("location:default/{name}"))?;
        entity.is_generated().then_some(entity)
    }

    /// The Locations of all catalog files, by ref.
    pub fn generated_locations(&self) -> impl Iterator<Item = &Arc<ViewEntity>> {
        let slots = self.slots.range(Arc::<str>::from(GENERATED)..);
        let slots = slots.take_while(|(entity_ref, _)| entity_ref.starts_with(GENERATED));
        slots.map(|(_, slot)| &slot.winner).filter(|entity| entity.is_generated())
    }

    /// The generated Locations of a repository's catalog files.
    pub fn files_of(&self, repository: &Repository) -> Vec<&Arc<ViewEntity>> {
        let claims = repository.claims.iter().filter(|claim| claim.generated);
        let locations = claims.filter_map(|claim| self.entity(&claim.entity_ref));
        locations.filter(|location| *location.repository() == repository.id).collect()
    }

    /// The entities of the file that a generated Location stands for, without itself, by ref.
    pub fn entities_of_file(&self, location: &ViewEntity) -> Vec<&Arc<ViewEntity>> {
        let origin = &location.claim.origin;
        let Some(repository) = self.repository(&origin.repository) else { return Vec::new() };
        let claims = repository.claims.iter().filter(|claim| claim.origin == *origin);
        let winners = claims.filter_map(|claim| {
            let winner = self.entity(&claim.entity_ref)?;
            Arc::ptr_eq(&winner.claim, claim).then_some(winner)
        });
        winners.filter(|entity| !entity.is_generated()).collect()
    }
}
