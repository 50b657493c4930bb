//! One page of the entities that were found, from an offset or a place on, in either direction.
//!
//! Two ways lead to the same page: to walk along the kept order and skip what was not found, or to
//! sort what was found. The cheaper one is taken; what it costs follows the page in the one case
//! and the findings in the other.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::catalog::View;
use crate::catalog::cursor::Position;
use crate::catalog::index::NAME;
use crate::catalog::postings::{Posting, Set};
use crate::catalog::query::{Direction, OrderField};
use crate::catalog::term::Term;
use crate::catalog::uid::Uid;
use crate::catalog::values::READ_COST;
use crate::catalog::view::ViewEntity;

/// Where a page starts.
#[derive(Debug, Clone)]
pub enum Start {
    /// After so many items.
    Offset(usize),
    /// After this item.
    After(Position),
    /// So that it ends before this item.
    Before(Position),
}

/// An item of a page and its place.
pub type Item = (Position, Arc<ViewEntity>);

impl View {
    /// At most `limit` of the entities of `set`, in the order of a field (once for each value, and
    /// without the entities that have none) or of uids.
    pub fn page(
        &self,
        set: &Set,
        order: Option<&OrderField>,
        start: &Start,
        limit: usize,
    ) -> Vec<Item> {
        let is_backward = matches!(start, Start::Before(_));
        let is_descending = order.is_some_and(|o| o.direction == Direction::Descending);
        let (skip, from) = match start {
            Start::Offset(offset) => (*offset, None),
            Start::After(at) | Start::Before(at) => (0, Some(at)),
        };
        let walk = Walk {
            view: self,
            set,
            down: is_descending != is_backward,
            from,
            skip,
            wanted: skip.saturating_add(limit),
        };
        let mut items = match order {
            Some(order) => walk.by_value(&order.key),
            None => walk.by_uid(),
        };
        items.truncate(limit);
        if is_backward {
            items.reverse();
        }
        items
    }

    /// How many of `set` have a value of a key: what [`View::page`] in its order goes through.
    pub fn count_with_value(&self, set: &Set, key: &str) -> usize {
        let Some(posting) = self.index.with_key(key) else { return 0 };
        let mut without = 0;
        if let Some(null) = self.index.with_null(key) {
            null.for_each(|number| {
                let entity = self.numbered(number).filter(|_| set.contains(number));
                without += usize::from(entity.is_some_and(|e| self.values(e, key).is_empty()));
            });
        }
        posting.len_within(set) - without
    }
}

/// How many steps along an order cost as much as to sort in one finding.
const SORT_COST: usize = 4;

/// What is done with each term on the way.
type Step<'s> = &'s mut dyn FnMut(Term<'_>, &Posting) -> ControlFlow<()>;

struct Walk<'a> {
    view: &'a View,
    set: &'a Set,
    down: bool,
    from: Option<&'a Position>,
    skip: usize,
    /// Items with those to be skipped.
    wanted: usize,
}

impl Walk<'_> {
    /// Whether to sort what was found is cheaper than to walk along an order of `length`, where a
    /// finding costs as much as `cost` steps.
    fn sorts(&self, found: usize, length: usize, cost: usize) -> bool {
        // Of every `length / found` steps one meets a finding.
        let steps = self.wanted.min(found).saturating_mul(length) / found.max(1);
        steps > found.saturating_mul(cost)
    }

    fn by_uid(&self) -> Vec<Item> {
        let by_uid = &self.view.by_uid;
        if self.sorts(self.set.len(), by_uid.len(), SORT_COST) {
            let mut found = Vec::new();
            self.set.for_each(|number| self.add(number, None, &mut found));
            return self.best(found, None).skip(self.skip).collect();
        }
        let is_found = |(_, number): &(&Uid, &u32)| self.set.contains(**number);
        let uid = self.from.map(|from| from.uid);
        let numbers: Vec<u32> = match (self.down, uid) {
            (false, None) => self.window(by_uid.iter().filter(is_found)),
            (false, Some(uid)) => {
                let after = by_uid.range(uid..).filter(|(at, _)| **at != uid);
                self.window(after.filter(is_found))
            }
            (true, None) => self.window(by_uid.iter().rev().filter(is_found)),
            (true, Some(uid)) => self.window(by_uid.range(..uid).rev().filter(is_found)),
        };
        numbers.into_iter().filter_map(|number| self.item(number, None)).collect()
    }

    fn window<'m>(&self, steps: impl Iterator<Item = (&'m Uid, &'m u32)>) -> Vec<u32> {
        steps.map(|(_, number)| *number).take(self.wanted).skip(self.skip).collect()
    }

    fn by_value(&self, key: &str) -> Vec<Item> {
        let index = &self.view.index;
        let Some(with_key) = index.with_key(key) else { return Vec::new() };
        let found = with_key.len_within(self.set);
        let kind = self.set.kind().filter(|_| key == NAME);
        let length = kind.map_or(with_key.len(), |kind| index.count_equal("kind", kind));
        // Names need not be read.
        let cost = if key == NAME { SORT_COST } else { SORT_COST + READ_COST };
        if self.sorts(found, length, cost) {
            return self.by_sorting(key);
        }
        let from = self.from.and_then(|from| from.value.as_deref());
        match (kind, self.down) {
            (None, false) => self.along(|each| index.ascend(key, from, each)),
            (None, true) => self.along(|each| index.descend(key, from, each)),
            (Some(kind), false) => self.along(|each| index.ascend_names(kind, from, each)),
            (Some(kind), true) => self.along(|each| index.descend_names(kind, from, each)),
        }
    }

    /// Walks along the terms of a key and orders the entities of each value by uid.
    fn along(&self, walk: impl FnOnce(Step<'_>)) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        let mut passed = 0;
        let (mut value, mut group) = (String::new(), Vec::new());
        let mut close = |group: &mut Vec<(Uid, u32)>, value: &str| {
            let skip = self.skip.saturating_sub(passed).min(group.len());
            let left = self.wanted.saturating_sub(passed);
            passed += group.len();
            items.extend(self.best_of(std::mem::take(group), Some(value), left).skip(skip));
            passed >= self.wanted
        };
        walk(&mut |term, posting| {
            // The same value may be written in several ways.
            if *term.value != value {
                if close(&mut group, &value) {
                    return ControlFlow::Break(());
                }
                value = term.value.into_owned();
            }
            posting.for_each(|number| {
                if self.set.contains(number) {
                    self.add(number, Some(&value), &mut group);
                }
            });
            ControlFlow::Continue(())
        });
        close(&mut group, &value);
        items
    }

    /// Sorts everything that was found.
    fn by_sorting(&self, key: &str) -> Vec<Item> {
        let mut found: Vec<(String, Uid, u32)> = Vec::new();
        self.set.for_each(|number| {
            let Some(entity) = self.view.numbered(number) else { return };
            for value in self.view.lower_values(entity, key) {
                if self.is_beyond(Some(&value), entity.uid) {
                    found.push((value, entity.uid, number));
                }
            }
        });
        found.sort_unstable();
        if self.down {
            found.reverse();
        }
        let page = found.into_iter().take(self.wanted).skip(self.skip);
        page.filter_map(|(value, _, number)| self.item(number, Some(&value))).collect()
    }

    /// Whether an item lies beyond the place where the page starts.
    fn is_beyond(&self, value: Option<&str>, uid: Uid) -> bool {
        self.from.is_none_or(|from| {
            let (at, from) = ((value, uid), (from.value.as_deref(), from.uid));
            if self.down { at < from } else { at > from }
        })
    }

    fn add(&self, number: u32, value: Option<&str>, to: &mut Vec<(Uid, u32)>) {
        let Some(entity) = self.view.numbered(number) else { return };
        if self.is_beyond(value, entity.uid) {
            to.push((entity.uid, number));
        }
    }

    fn best<'m>(
        &'m self,
        found: Vec<(Uid, u32)>,
        value: Option<&'m str>,
    ) -> impl Iterator<Item = Item> + 'm {
        self.best_of(found, value, self.wanted)
    }

    /// The first `wanted` in the order of uids.
    fn best_of<'m>(
        &'m self,
        mut found: Vec<(Uid, u32)>,
        value: Option<&'m str>,
        wanted: usize,
    ) -> impl Iterator<Item = Item> + 'm {
        let order = |a: &(Uid, u32), b: &(Uid, u32)| if self.down { b.cmp(a) } else { a.cmp(b) };
        if found.len() > wanted {
            if wanted > 0 {
                found.select_nth_unstable_by(wanted - 1, order);
            }
            found.truncate(wanted);
        }
        found.sort_unstable_by(order);
        found.into_iter().filter_map(move |(_, number)| self.item(number, value))
    }

    fn item(&self, number: u32, value: Option<&str>) -> Option<Item> {
        let entity = Arc::clone(self.view.numbered(number)?);
        Some((Position { value: value.map(Into::into), uid: entity.uid }, entity))
    }
}
