//! Finding entities in a view: by filter, in an order.
//!
//! Inverted indexes and kept orderings are not here yet: a filter looks at every entity's marks,
//! an ordering by a field other than the name reads the entities that match.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::catalog::View;
use crate::catalog::query::{Direction, Filter, Order, OrderField, marks};
use crate::catalog::search::rows;
use crate::catalog::view::ViewEntity;

/// What a selection found.
pub struct Selected {
    /// The entities in order, those with several values of the order field several times.
    pub entities: Vec<Arc<ViewEntity>>,
    /// How many different entities that is.
    pub distinct: usize,
}

impl Selected {
    fn all(entities: Vec<Arc<ViewEntity>>) -> Self {
        Self { distinct: entities.len(), entities }
    }
}

impl View {
    /// The entities that match `filter`, in `order`.
    pub fn select(&self, filter: Option<&Filter>, order: &Order) -> Selected {
        let filter = filter.map(|filter| filter.compile(&self.hasher));
        let matches = |entity: &&Arc<ViewEntity>| {
            filter.as_ref().is_none_or(|filter| filter.matches(self.marks(entity)))
        };
        if *order == Order::Ref {
            let entities = self.slots.values().map(|slot| &slot.winner);
            return Selected::all(entities.filter(matches).cloned().collect());
        }
        let by_uid = self.by_uid.values().filter_map(|entity_ref| self.entity(entity_ref));
        let found: Vec<Arc<ViewEntity>> = by_uid.filter(matches).cloned().collect();
        match order {
            Order::Uid | Order::Ref => Selected::all(found),
            Order::Values(field) => self.order_by_values(found, field),
            Order::Fields(fields) => Selected::all(self.order_by_fields(found, fields)),
        }
    }

    /// `found` is in the order of uids, and the sorts here are stable.
    fn order_by_values(&self, found: Vec<Arc<ViewEntity>>, field: &OrderField) -> Selected {
        let mut distinct = 0;
        let mut keyed = Vec::with_capacity(found.len());
        for entity in found {
            let values = self.values(&entity, &field.key);
            distinct += usize::from(!values.is_empty());
            keyed.extend(values.into_iter().map(|value| (value, Arc::clone(&entity))));
        }
        if field.direction == Direction::Descending {
            keyed.reverse();
        }
        keyed.sort_by(|(a, _), (b, _)| directed(field.direction, a.cmp(b)));
        Selected { entities: keyed.into_iter().map(|(_, entity)| entity).collect(), distinct }
    }

    fn order_by_fields(
        &self,
        found: Vec<Arc<ViewEntity>>,
        fields: &[OrderField],
    ) -> Vec<Arc<ViewEntity>> {
        let first_values = |entity: &ViewEntity| -> Vec<Option<String>> {
            fields.iter().map(|f| self.values(entity, &f.key).into_iter().min()).collect()
        };
        let mut keyed: Vec<_> =
            found.into_iter().map(|entity| (first_values(&entity), entity)).collect();
        keyed.sort_by(|(a, _), (b, _)| {
            let each = fields.iter().zip(a.iter().zip(b)).map(|(field, pair)| match pair {
                (Some(a), Some(b)) => directed(field.direction, a.cmp(b)),
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
            });
            each.fold(Ordering::Equal, Ordering::then)
        });
        keyed.into_iter().map(|(_, entity)| entity).collect()
    }

    /// The searchable values of an entity under a lower-case key.
    fn values(&self, entity: &ViewEntity, key: &str) -> Vec<String> {
        let (kind, rest) = entity.entity_ref().split_once(':').unwrap_or_default();
        let (namespace, name) = rest.split_once('/').unwrap_or_default();
        match key {
            "kind" => vec![kind.to_owned()],
            "metadata.namespace" => vec![namespace.to_owned()],
            "metadata.name" => vec![name.to_owned()],
            _ => {
                let rows = rows(&self.json(entity)).into_iter().filter(|row| row.key == key);
                rows.filter_map(|row| row.value).collect()
            }
        }
    }

    fn marks<'a>(&self, entity: &'a ViewEntity) -> &'a [u64] {
        entity.marks.get_or_init(|| marks(&self.hasher, &rows(&self.json(entity))))
    }
}

fn directed(direction: Direction, ordering: Ordering) -> Ordering {
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}
