//! Finding entities in a view: by filter and full text, in an order; and what values they have.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::catalog::View;
use crate::catalog::cursor::Question;
use crate::catalog::filter::Filter;
use crate::catalog::page::Start;
use crate::catalog::postings::{Posting, Set};
use crate::catalog::query::{Direction, FullText, Order, OrderField};
use crate::catalog::view::ViewEntity;

/// What a full text is looked for in when the question names neither fields nor an order.
const FULL_TEXT_FIELD: &str = "metadata.uid";

/// What a selection found.
pub struct Selected {
    /// The entities in order, those with several values of the order field several times.
    pub entities: Vec<Arc<ViewEntity>>,
    /// How many different entities that is.
    pub distinct: usize,
}

impl View {
    /// The entities that match `filter`, in `order`.
    pub fn select(&self, filter: Option<&Filter>, order: &Order) -> Selected {
        let set = self.find(filter);
        let distinct = match order {
            Order::Values(field) => self.count_with_value(&set, &field.key),
            _ => set.len(),
        };
        Selected { entities: self.cut(&set, order, 0, usize::MAX), distinct }
    }

    /// Of the entities of `set` in `order` at most `limit` from `offset` on.
    pub fn cut(
        &self,
        set: &Set,
        order: &Order,
        offset: usize,
        limit: usize,
    ) -> Vec<Arc<ViewEntity>> {
        let page = |order: Option<&OrderField>| {
            let items = self.page(set, order, &Start::Offset(offset), limit);
            items.into_iter().map(|(_, entity)| entity).collect()
        };
        match order {
            Order::Uid => page(None),
            Order::Values(field) => page(Some(field)),
            Order::Ref => {
                let entities = self.slots.values().map(|slot| &slot.winner);
                let found = entities.filter(|entity| set.contains(entity.number));
                found.skip(offset).take(limit).cloned().collect()
            }
            Order::Fields(fields) => {
                let sorted = self.by_fields(set, fields).into_iter();
                sorted.skip(offset).take(limit).cloned().collect()
            }
        }
    }

    /// Who matches a filter; everybody where there is none.
    pub fn find(&self, filter: Option<&Filter>) -> Set {
        let numbers = self.entities.len();
        let mut everybody = Set::empty(numbers);
        // Every entity has a uid.
        if let Some(posting) = self.index.with_key("metadata.uid") {
            everybody.add(posting);
        }
        match filter {
            Some(filter) => {
                let set = filter.find(&self.index, &everybody, numbers);
                set.of_kind(filter.kind())
            }
            None => everybody,
        }
    }

    /// Who matches the filter and the full text of a question.
    pub fn find_all(&self, question: &Question) -> Set {
        let set = self.find(question.filter.as_ref());
        let Some(text) = &question.text else { return set };
        let field = question.order.as_ref().map_or(FULL_TEXT_FIELD, |order| &order.key);
        let keys: Vec<&str> = match &text.fields {
            Some(fields) => fields.iter().map(String::as_str).collect(),
            None => vec![field],
        };
        let holders = |key: &&str| self.index.with_key(key).map_or(0, Posting::len);
        // To look at an entity costs about as much as to look at two values of the index.
        if set.len() * keys.len() * 2 < keys.iter().map(holders).sum() {
            return self.keep_text(set, text, &keys);
        }
        let mut found = Set::empty(self.entities.len());
        for key in keys {
            self.index.add_matching(key, |value| text.matches(value), &mut found);
        }
        found.keep(&set);
        found.of_kind(set.kind())
    }

    /// Who of `set` has a text under one of these keys.
    fn keep_text(&self, set: Set, text: &FullText, keys: &[&str]) -> Set {
        let mut found = Set::empty(self.entities.len());
        set.for_each(|number| {
            let Some(entity) = self.numbered(number) else { return };
            let terms = keys.iter().flat_map(|key| super::index::of_key(&entity.terms, key));
            let mut values = terms.filter_map(|term| term.value.as_deref());
            if values.any(|value| text.matches(value)) {
                found.insert(number);
            }
        });
        found.of_kind(set.kind())
    }

    fn by_fields(&self, set: &Set, fields: &[OrderField]) -> Vec<&Arc<ViewEntity>> {
        let mut keyed = Vec::with_capacity(set.len());
        set.for_each(|number| {
            let Some(entity) = self.numbered(number) else { return };
            let first = |field: &OrderField| {
                let terms = super::index::of_key(&entity.terms, &field.key);
                terms.iter().find_map(|term| term.value.as_deref())
            };
            keyed.push((fields.iter().map(first).collect::<Vec<_>>(), entity));
        });
        keyed.sort_by(|(a, one), (b, other)| {
            let each = fields.iter().zip(a.iter().zip(b)).map(|(field, pair)| match pair {
                (Some(a), Some(b)) => directed(field.direction, a.cmp(b)),
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
            });
            each.fold(Ordering::Equal, Ordering::then).then(one.uid.cmp(&other.uid))
        });
        keyed.into_iter().map(|(_, entity)| entity).collect()
    }

    /// The values of a lower-case key among the entities of `set`, as they are written, with how
    /// many entities have each; in the order of the values.
    pub fn facet<'a>(&'a self, set: &Set, key: &'a str) -> Vec<(&'a str, usize)> {
        let mut values: Vec<(&str, usize)> = Vec::new();
        for (term, posting) in self.index.from(key, None) {
            let count = posting.len_within(set);
            if let Some(value) = term.original().filter(|_| count > 0) {
                values.push((value, count));
            }
        }
        values.sort_unstable();
        values
    }
}

fn directed(direction: Direction, ordering: Ordering) -> Ordering {
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}
