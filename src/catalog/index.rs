//! The inverted index of a view: which entities have a key, and which have it with a value.
//!
//! Terms are kept in the order of key and value, so that one structure answers equality, prefixes,
//! full text, facets and ordering by a field. It is persistent: a changed entity costs its changed
//! terms, and older snapshots keep what they had. What the values of one entity are is not kept a
//! second time: [`super::values`] reads them from its text.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::catalog::dictionary::Dictionary;
use crate::catalog::postings::{Posting, Set};
use crate::catalog::search::Row;
use crate::catalog::term::{Term, encode, value_start};

/// The key that lists are ordered by; an order of it is kept for each kind, because lists show one
/// kind, and names of one kind stand together (those of generated Locations all start alike).
pub(super) const NAME: &str = "metadata.name";

const KIND: &str = "kind";

/// The index.
#[derive(Clone, Default)]
pub(super) struct Index {
    keys: Dictionary<Posting>,
    terms: Dictionary<Posting>,
    /// The names of each kind, as the terms of a key of the kind's name.
    names: Dictionary<Posting>,
}

impl Index {
    /// Makes `new` the rows of an entity that had the rows `old`. It keeps those keys of `old` that
    /// `keeps` says it has by something else.
    pub(super) fn exchange(
        &mut self,
        number: u32,
        mut old: Vec<Row>,
        mut new: Vec<Row>,
        keeps: impl Fn(&str) -> bool,
    ) {
        old.sort_unstable();
        new.sort_unstable();
        self.exchange_names(number, &old, &new);
        let (old_keys, new_keys) = (keys(&old), keys(&new));
        old_keys.difference(&new_keys).filter(|key| !keeps(key)).for_each(|key| {
            take(&mut self.keys, key.as_bytes(), number);
        });
        new_keys.difference(&old_keys).for_each(|key| put(&mut self.keys, key.as_bytes(), number));
        let (mut gone, mut come) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (gone.peek(), come.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.cmp(new),
            };
            if order.is_le()
                && let Some(row) = gone.next()
                && order.is_ne()
            {
                take(&mut self.terms, &term(row), number);
            }
            if order.is_ge()
                && let Some(row) = come.next()
                && order.is_ne()
            {
                put(&mut self.terms, &term(row), number);
            }
        }
    }

    /// Keeps the order of names. Rows that come and go one by one are never kinds or names.
    fn exchange_names(&mut self, number: u32, old: &[Row], new: &[Row]) {
        let (gone, come) = (names(old), names(new));
        gone.difference(&come).for_each(|name| take(&mut self.names, name, number));
        come.difference(&gone).for_each(|name| put(&mut self.names, name, number));
    }

    /// Adds one row to an entity.
    pub(super) fn add(&mut self, number: u32, row: &Row) {
        put(&mut self.terms, &term(row), number);
        put(&mut self.keys, row.key.as_bytes(), number);
    }

    /// Takes one row from an entity, which may have its key by another row.
    pub(super) fn take(&mut self, number: u32, row: &Row) {
        take(&mut self.terms, &term(row), number);
    }

    /// Takes a key from an entity that has no row of it any more.
    pub(super) fn take_key(&mut self, number: u32, key: &str) {
        take(&mut self.keys, key.as_bytes(), number);
    }

    /// Who has a key.
    pub(super) fn with_key(&self, key: &str) -> Option<&Posting> {
        self.keys.get(key.as_bytes())
    }

    /// Who has a key without a value.
    pub(super) fn with_null(&self, key: &str) -> Option<&Posting> {
        self.terms.get(&encode(key, None, None))
    }

    /// Calls `each` with the terms of a key that have a value, in ascending order, from a value on.
    pub(super) fn ascend(
        &self,
        key: &str,
        from: Option<&str>,
        each: impl FnMut(Term<'_>, &Posting) -> ControlFlow<()>,
    ) {
        ascend(&self.terms, key, from, each);
    }

    /// The same in descending order; the terms of `from` are among them and none above it.
    pub(super) fn descend(
        &self,
        key: &str,
        from: Option<&str>,
        each: impl FnMut(Term<'_>, &Posting) -> ControlFlow<()>,
    ) {
        descend(&self.terms, key, from, each);
    }

    /// The names of a kind, as [`ascend`](Self::ascend) has the terms of a key.
    pub(super) fn ascend_names(
        &self,
        kind: &str,
        from: Option<&str>,
        each: impl FnMut(Term<'_>, &Posting) -> ControlFlow<()>,
    ) {
        ascend(&self.names, kind, from, each);
    }

    /// The names of a kind, as [`descend`](Self::descend) has the terms of a key.
    pub(super) fn descend_names(
        &self,
        kind: &str,
        from: Option<&str>,
        each: impl FnMut(Term<'_>, &Posting) -> ControlFlow<()>,
    ) {
        descend(&self.names, kind, from, each);
    }

    /// How many entities have a key with a value.
    pub(super) fn count_equal(&self, key: &str, value: &str) -> usize {
        let mut count = 0;
        self.with_value(key, value, |posting| count += posting.len());
        count
    }

    /// Adds to `set` who has a key with a value.
    pub(super) fn add_equal(&self, key: &str, value: &str, set: &mut Set) {
        self.with_value(key, value, |posting| set.add(posting));
    }

    /// Who has a key with a value, by each way to write it.
    fn with_value(&self, key: &str, value: &str, mut each: impl FnMut(&Posting)) {
        let start = encode(key, Some(value), None);
        self.terms.ascend(&start, |string, posting| {
            if !string.starts_with(&start) {
                return ControlFlow::Break(());
            }
            each(posting);
            ControlFlow::Continue(())
        });
    }

    /// Adds to `set` who has a key with a value that `accept` accepts.
    pub(super) fn add_matching(&self, key: &str, accept: impl Fn(&str) -> bool, set: &mut Set) {
        self.ascend(key, None, |term, posting| {
            if accept(&term.value) {
                set.add(posting);
            }
            ControlFlow::Continue(())
        });
    }

    /// Adds to `set` who has a key with a value that starts so.
    pub(super) fn add_prefixed(&self, key: &str, prefix: &str, set: &mut Set) {
        let start = value_start(key, prefix);
        self.terms.ascend(&start, |string, posting| {
            if !string.starts_with(&start) {
                return ControlFlow::Break(());
            }
            set.add(posting);
            ControlFlow::Continue(())
        });
    }
}

fn put(into: &mut Dictionary<Posting>, string: &[u8], number: u32) {
    into.upsert(string, Posting::one(number), |posting, _| posting.insert(number));
}

fn take(from: &mut Dictionary<Posting>, string: &[u8], number: u32) {
    from.remove_if(string, |posting| posting.remove(number));
}

fn term(row: &Row) -> Vec<u8> {
    encode(&row.key, row.value.as_deref(), row.original.as_deref())
}

fn ascend(
    of: &Dictionary<Posting>,
    key: &str,
    from: Option<&str>,
    mut each: impl FnMut(Term<'_>, &Posting) -> ControlFlow<()>,
) {
    let start = value_start(key, "");
    let from = match from {
        Some(value) => Cow::Owned(encode(key, Some(value), None)),
        None => Cow::Borrowed(&start),
    };
    of.ascend(&from, |string, posting| match string.strip_prefix(start.as_slice()) {
        Some(rest) => each(Term::decode(rest), posting),
        None => ControlFlow::Break(()),
    });
}

fn descend(
    of: &Dictionary<Posting>,
    key: &str,
    from: Option<&str>,
    mut each: impl FnMut(Term<'_>, &Posting) -> ControlFlow<()>,
) {
    let start = value_start(key, "");
    // Above every way to write the value, or every value: no text has this byte.
    let mut above = match from {
        Some(value) => encode(key, Some(value), None),
        None => start.clone(),
    };
    above.push(0xff);
    of.descend(&above, |string, posting| match string.strip_prefix(start.as_slice()) {
        Some(rest) => each(Term::decode(rest), posting),
        None => ControlFlow::Break(()),
    });
}

fn keys(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| row.key.as_str()).collect()
}

/// The names among the rows of an entity, each as a term of its kind.
fn names(rows: &[Row]) -> BTreeSet<Vec<u8>> {
    let kind = rows.iter().filter(|row| row.key == KIND).find_map(|row| row.value.as_deref());
    let Some(kind) = kind else { return BTreeSet::new() };
    let names = rows.iter().filter(|row| row.key == NAME);
    names.map(|name| encode(kind, name.value.as_deref(), name.original.as_deref())).collect()
}
