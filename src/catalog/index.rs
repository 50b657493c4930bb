//! The inverted index of a view: which entities have a key, and which have it with a value.
//!
//! Terms are kept in the order of key and value, so that one structure answers equality, prefixes,
//! full text, facets and ordering by a field. It is persistent: a changed entity costs its changed
//! terms, and older snapshots keep what they had.

use std::sync::Arc;

use imbl::OrdMap;

use crate::catalog::postings::{Posting, Set};
use crate::catalog::search::Row;

/// The key that lists are ordered by; an order of it is kept for each kind, because lists show one
/// kind, and names of one kind stand together (those of generated Locations all start alike).
pub(super) const NAME: &str = "metadata.name";

/// A key with a value. Entities that share it share the term.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term {
    /// The dotted path in lower case.
    pub(super) key: Arc<str>,
    /// The value in lower case; `None` when it is null or too long to be compared.
    pub(super) value: Option<Box<str>>,
    /// The value as it is written, where that differs.
    original: Option<Box<str>>,
}

impl Term {
    /// The value as it is written.
    pub(super) fn original(&self) -> Option<&str> {
        self.original.as_deref().or(self.value.as_deref())
    }
}

/// The index.
#[derive(Clone, Default)]
pub(super) struct Index {
    keys: OrdMap<Arc<str>, Posting>,
    terms: OrdMap<Arc<Term>, Posting>,
    /// The names of each kind.
    names: OrdMap<(Arc<str>, Arc<Term>), Posting>,
}

impl Index {
    /// Makes `rows` the rows of an entity that had the terms `old`; answers its new terms, sorted.
    pub(super) fn exchange(
        &mut self,
        number: u32,
        old: &[Arc<Term>],
        rows: Vec<Row>,
    ) -> Box<[Arc<Term>]> {
        let mut new: Vec<Arc<Term>> = rows.into_iter().map(|row| self.term(row)).collect();
        new.sort();
        new.dedup();
        self.exchange_names(number, old, &new);
        for term in old.iter().filter(|term| new.binary_search(term).is_err()) {
            self.remove(number, term, &new);
        }
        for term in new.iter().filter(|term| old.binary_search(term).is_err()) {
            self.insert(number, term);
        }
        new.into()
    }

    /// Keeps the order of names; `add` and `take` never see a kind or a name.
    fn exchange_names(&mut self, number: u32, old: &[Arc<Term>], new: &[Arc<Term>]) {
        let (gone, come) = (names(old), names(new));
        for name in gone.iter().filter(|name| !come.contains(name)) {
            if self.names.get_mut(name).is_some_and(|posting| posting.remove(number)) {
                self.names.remove(name);
            }
        }
        for name in come.into_iter().filter(|name| !gone.contains(name)) {
            match self.names.get_mut(&name) {
                Some(posting) => posting.insert(number),
                None => drop(self.names.insert(name, Posting::One(number))),
            }
        }
    }

    /// Adds one row to an entity with the terms `terms`.
    pub(super) fn add(&mut self, number: u32, terms: &mut Vec<Arc<Term>>, row: Row) {
        let term = self.term(row);
        if let Err(at) = terms.binary_search(&term) {
            self.insert(number, &term);
            terms.insert(at, term);
        }
    }

    /// Takes one row from an entity with the terms `terms`.
    pub(super) fn take(&mut self, number: u32, terms: &mut Vec<Arc<Term>>, row: Row) {
        let term = self.term(row);
        if let Ok(at) = terms.binary_search(&term) {
            terms.remove(at);
            self.remove(number, &term, terms);
        }
    }

    /// The shared term of a row, or a new one.
    fn term(&self, row: Row) -> Arc<Term> {
        let key: Arc<str> = match self.keys.get_key_value(row.key.as_str()) {
            Some((key, _)) => Arc::clone(key),
            None => row.key.into(),
        };
        let original = row.original.filter(|original| Some(original) != row.value.as_ref());
        let value = row.value.map(Into::into);
        let term = Arc::new(Term { key, value, original: original.map(Into::into) });
        self.terms.get_key_value(&term).map_or(term, |(shared, _)| Arc::clone(shared))
    }

    fn insert(&mut self, number: u32, term: &Arc<Term>) {
        match self.terms.get_mut(term) {
            Some(posting) => posting.insert(number),
            None => drop(self.terms.insert(Arc::clone(term), Posting::One(number))),
        }
        match self.keys.get_mut(&term.key) {
            Some(posting) => posting.insert(number),
            None => drop(self.keys.insert(Arc::clone(&term.key), Posting::One(number))),
        }
    }

    /// Removes a term; `left` are the terms that the entity keeps.
    fn remove(&mut self, number: u32, term: &Arc<Term>, left: &[Arc<Term>]) {
        if self.terms.get_mut(term).is_some_and(|posting| posting.remove(number)) {
            self.terms.remove(term);
        }
        let has_key = !of_key(left, &term.key).is_empty();
        if !has_key && self.keys.get_mut(&term.key).is_some_and(|p| p.remove(number)) {
            self.keys.remove(&term.key);
        }
    }

    /// Who has a key.
    pub(super) fn with_key(&self, key: &str) -> Option<&Posting> {
        self.keys.get(key)
    }

    /// The terms of a key in ascending order.
    pub(super) fn of_key<'a>(
        &'a self,
        key: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<Term>, &'a Posting)> {
        self.from(key, None)
    }

    /// The terms of a key from a value on, in ascending order.
    pub(super) fn from<'a>(
        &'a self,
        key: &'a str,
        value: Option<&str>,
    ) -> impl Iterator<Item = (&'a Arc<Term>, &'a Posting)> {
        let from = bound(key, value);
        self.terms.range(from..).take_while(move |(term, _)| *term.key == *key)
    }

    /// The terms of a key in descending order, those of `value` among them and none above it.
    pub(super) fn down_from<'a>(
        &'a self,
        key: &'a str,
        value: Option<&str>,
    ) -> impl Iterator<Item = (&'a Arc<Term>, &'a Posting)> {
        self.terms.range(..above(key, value)).rev().take_while(move |(term, _)| *term.key == *key)
    }

    /// The names of a kind from a value on, in ascending order.
    pub(super) fn names_from<'a>(
        &'a self,
        kind: &'a str,
        value: Option<&str>,
    ) -> impl Iterator<Item = (&'a Arc<Term>, &'a Posting)> {
        let from = (Arc::<str>::from(kind), bound(NAME, value));
        let names = self.names.range(from..).take_while(move |((of, _), _)| **of == *kind);
        names.map(|((_, term), posting)| (term, posting))
    }

    /// The names of a kind in descending order, those of `value` among them and none above it.
    pub(super) fn names_down_from<'a>(
        &'a self,
        kind: &'a str,
        value: Option<&str>,
    ) -> impl Iterator<Item = (&'a Arc<Term>, &'a Posting)> {
        let above = (Arc::<str>::from(kind), above(NAME, value));
        let names = self.names.range(..above).rev().take_while(move |((of, _), _)| **of == *kind);
        names.map(|((_, term), posting)| (term, posting))
    }

    /// How many entities have a key with a value.
    pub(super) fn count_equal(&self, key: &str, value: &str) -> usize {
        let terms = self.from(key, Some(value));
        let equal = terms.take_while(|(term, _)| term.value.as_deref() == Some(value));
        equal.map(|(_, posting)| posting.len()).sum()
    }

    /// Adds to `set` who has a key with a value.
    pub(super) fn add_equal(&self, key: &str, value: &str, set: &mut Set) {
        let terms = self.from(key, Some(value));
        let equal = terms.take_while(|(term, _)| term.value.as_deref() == Some(value));
        equal.for_each(|(_, posting)| set.add(posting));
    }

    /// Adds to `set` who has a key with a value that `accept` accepts.
    pub(super) fn add_matching(&self, key: &str, accept: impl Fn(&str) -> bool, set: &mut Set) {
        let terms = self.of_key(key);
        let matching = terms.filter(|(term, _)| term.value.as_deref().is_some_and(&accept));
        matching.for_each(|(_, posting)| set.add(posting));
    }

    /// Adds to `set` who has a key with a value that starts so.
    pub(super) fn add_prefixed(&self, key: &str, prefix: &str, set: &mut Set) {
        let terms = self.from(key, Some(prefix));
        let prefixed = terms
            .take_while(|(term, _)| term.value.as_deref().is_some_and(|v| v.starts_with(prefix)));
        prefixed.for_each(|(_, posting)| set.add(posting));
    }
}

fn bound(key: &str, value: Option<&str>) -> Arc<Term> {
    Arc::new(Term { key: key.into(), value: value.map(Into::into), original: None })
}

/// What follows directly on the terms of a value, or of all values: nothing lies between a text
/// and the same text with a zero byte.
fn above(key: &str, value: Option<&str>) -> Arc<Term> {
    match value {
        Some(value) => bound(key, Some(&format!("{value}\0"))),
        None => bound(&format!("{key}\0"), None),
    }
}

/// The names among the sorted terms of an entity, with its kind.
fn names(terms: &[Arc<Term>]) -> Vec<(Arc<str>, Arc<Term>)> {
    let kind = of_key(terms, "kind").iter().find_map(|term| term.value.as_deref());
    let Some(kind) = kind else { return Vec::new() };
    of_key(terms, NAME).iter().map(|name| (Arc::from(kind), Arc::clone(name))).collect()
}

/// The terms of a key among the sorted terms of an entity.
pub(super) fn of_key<'a>(terms: &'a [Arc<Term>], key: &str) -> &'a [Arc<Term>] {
    let from = terms.partition_point(|term| *term.key < *key);
    let len = terms[from..].partition_point(|term| *term.key == *key);
    &terms[from..from + len]
}
