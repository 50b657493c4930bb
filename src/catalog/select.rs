//! Finding entities in a view: by filter and full text, in an order; and what values they have.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::catalog::View;
use crate::catalog::cursor::Question;
use crate::catalog::filter::Filter;
use crate::catalog::page::Start;
use crate::catalog::postings::{Posting, Set};
use crate::catalog::query::{Direction, FullText, Order, OrderField};
use crate::catalog::values::READ_COST;
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
        if set.len() * keys.len() * READ_COST < keys.iter().map(holders).sum() {
            return self.keep_text(set, text, &keys);
        }
        let mut found = Set::empty(self.entities.len());
        let matcher = text.matcher();
        for key in keys {
            self.index.add_matching(key, |value| matcher.matches(value), &mut found);
        }
        found.keep(&set);
        found.of_kind(set.kind())
    }

    /// Who of `set` has a text under one of these keys.
    fn keep_text(&self, set: Set, text: &FullText, keys: &[&str]) -> Set {
        let mut found = Set::empty(self.entities.len());
        let matcher = text.matcher();
        set.for_each(|number| {
            let Some(entity) = self.numbered(number) else { return };
            let mut values = keys.iter().flat_map(|key| self.lower_values(entity, key));
            if values.any(|value| matcher.matches(&value)) {
                found.insert(number);
            }
        });
        found.of_kind(set.kind())
    }

    fn by_fields(&self, set: &Set, fields: &[OrderField]) -> Vec<&Arc<ViewEntity>> {
        let ranks: Vec<Vec<u32>> = fields.iter().map(|field| self.ranks(set, field)).collect();
        let mut keyed = Vec::with_capacity(set.len());
        set.for_each(|number| keyed.extend(self.numbered(number)));
        keyed.sort_by(|one, other| {
            let rank =
                |ranks: &Vec<u32>| ranks[one.number as usize].cmp(&ranks[other.number as usize]);
            let each = ranks.iter().map(rank);
            each.fold(Ordering::Equal, Ordering::then).then(one.uid.cmp(&other.uid))
        });
        keyed
    }

    /// The place of each entity of `set` in the order of a field, by the least of its values; equal
    /// values are at one place, and whoever has none comes last in both directions.
    fn ranks(&self, set: &Set, field: &OrderField) -> Vec<u32> {
        let mut ranks = vec![u32::MAX; self.entities.len()];
        let is_down = field.direction == Direction::Descending;
        let mut rank = 0;
        let mut place = |number: u32, rank: u32| {
            let place = &mut ranks[number as usize];
            if *place == u32::MAX {
                *place = if is_down { u32::MAX - 1 - rank } else { rank };
            }
        };
        if set.len() * READ_COST < self.index.with_key(&field.key).map_or(0, Posting::len) {
            let mut least = Vec::new();
            set.for_each(|number| {
                let Some(entity) = self.numbered(number) else { return };
                let value = self.lower_values(entity, &field.key).into_iter().next();
                least.extend(value.map(|value| (value, number)));
            });
            least.sort_unstable();
            for equal in least.chunk_by(|(one, _), (other, _)| one == other) {
                equal.iter().for_each(|(_, number)| place(*number, rank));
                rank += 1;
            }
            return ranks;
        }
        let mut last: Option<String> = None;
        self.index.ascend(&field.key, None, |term, posting| {
            if last.as_deref() != Some(&*term.value) {
                rank += u32::from(last.is_some());
                last = Some(term.value.into_owned());
            }
            posting.for_each(|number| place(number, rank));
            ControlFlow::Continue(())
        });
        ranks
    }

    /// The values of a lower-case key among the entities of `set`, as they are written, with how
    /// many entities have each; in the order of the values.
    pub fn facet(&self, set: &Set, key: &str) -> Vec<(String, usize)> {
        let mut values: Vec<(String, usize)> = Vec::new();
        self.index.ascend(key, None, |term, posting| {
            let count = posting.len_within(set);
            if count > 0 {
                values.push((term.original().to_owned(), count));
            }
            ControlFlow::Continue(())
        });
        values.sort_unstable();
        values
    }
}
