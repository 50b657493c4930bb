//! A sorted map from byte strings to small values, made for many strings that begin alike.
//!
//! It is persistent: cloning is cheap, and what a change does not touch is shared with the clones.
//! Strings stand in runs of front coding ([`Block`]), so that a string costs about what
//! distinguishes it from its neighbour, its value and some ten bytes; a map entry with a text of
//! its own would cost the text and a hundred. For that, a look-up reads a run and a change copies
//! one: some hundred nanoseconds each.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use imbl::OrdMap;

use crate::catalog::block::Block;

/// Most strings of a run, beyond which it is split. Longer ones save little more memory, and cost
/// more to search and to copy.
const RUN_MAX: usize = 64;

/// A run with fewer strings is joined with its neighbour, if they fit into one.
const RUN_MIN: usize = 12;

/// The map.
#[derive(Clone)]
pub(super) struct Dictionary<V> {
    /// By a string that is not above the first of the run, but above all of the run before; that
    /// of the first run is empty.
    runs: OrdMap<Arc<[u8]>, Block<V>>,
}

impl<V> Default for Dictionary<V> {
    fn default() -> Self {
        Self { runs: OrdMap::new() }
    }
}

impl<V: Clone> Dictionary<V> {
    /// The value of a string.
    pub(super) fn get(&self, string: &[u8]) -> Option<&V> {
        self.runs.get_prev(string).and_then(|(_, run)| run.get(string))
    }

    /// Adds a string, or changes the value of one that is there by `change`.
    pub(super) fn upsert(&mut self, string: &[u8], value: V, change: impl FnOnce(&mut V, V)) {
        let Some((_, run)) = self.runs.get_prev_mut(string) else {
            self.runs.insert(Arc::from([]), Block::one(string, value));
            return;
        };
        run.upsert(string, value, change);
        if run.len() > RUN_MAX {
            let (start, upper) = run.split();
            self.runs.insert(start, upper);
        }
    }

    /// Changes the value of a string by `change`, and removes the string when that answers true.
    pub(super) fn remove_if(&mut self, string: &[u8], change: impl FnOnce(&mut V) -> bool) {
        let Some((start, run)) = self.runs.get_prev_mut(string) else { return };
        if !run.get_mut(string).is_some_and(change) {
            return;
        }
        run.remove(string);
        if run.len() < RUN_MIN {
            let start = Arc::clone(start);
            self.join(&start);
        }
    }

    /// Joins a short run with the one before it, or after it when it is the first.
    fn join(&mut self, start: &Arc<[u8]>) {
        let before = self.runs.range(..Arc::clone(start)).next_back();
        let pair = match before {
            Some((before, _)) => (Arc::clone(before), Arc::clone(start)),
            None => {
                let after = (Bound::Excluded(start), Bound::Unbounded);
                let Some((after, _)) = self.runs.range::<_, Arc<[u8]>>(after).next() else {
                    if self.runs.get(start).is_some_and(|run| run.len() == 0) {
                        self.runs.remove(start);
                    }
                    return;
                };
                (Arc::clone(start), Arc::clone(after))
            }
        };
        let (lower, upper) = pair;
        let Some(joined) = self.runs.get(&upper).cloned() else { return };
        if let Some(run) = self.runs.get_mut(&lower)
            && run.len() + joined.len() <= RUN_MAX
        {
            run.append(&joined);
            self.runs.remove(&upper);
        }
    }

    /// Calls `each` with the strings from `from` on, in ascending order, until it breaks.
    pub(super) fn ascend(&self, from: &[u8], mut each: impl FnMut(&[u8], &V) -> ControlFlow<()>) {
        let Some((start, _)) = self.runs.get_prev(from) else { return };
        for (_, run) in self.runs.range::<_, Arc<[u8]>>(start..) {
            let strings = run.strings();
            for (string, value) in strings.iter().skip_while(|(string, _)| *string < from) {
                if each(string, value).is_break() {
                    return;
                }
            }
        }
    }

    /// Calls `each` with the strings below `below`, in descending order, until it breaks.
    pub(super) fn descend(&self, below: &[u8], mut each: impl FnMut(&[u8], &V) -> ControlFlow<()>) {
        let below_it = (Bound::Unbounded, Bound::Excluded(below));
        for (_, run) in self.runs.range::<_, [u8]>(below_it).rev() {
            let strings = run.strings();
            for (string, value) in strings.iter().rev().skip_while(|(string, _)| *string >= below) {
                if each(string, value).is_break() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Model = BTreeMap<Vec<u8>, u32>;

    /// Strings that share much with each other and are starts of each other.
    fn string(random: &mut fastrand::Rng) -> Vec<u8> {
        let mut string = Vec::new();
        for _ in 0..random.usize(0..3) {
            let part: &[u8] =
                [&b"https://example.com/"[..], b"a", b"\0", b"zz"][random.usize(0..4)];
            string.extend_from_slice(part);
        }
        string.extend_from_slice(random.u16(0..700).to_string().as_bytes());
        // Longer than one byte of a length tells.
        string.resize(string.len() + random.usize(0..2) * 200, b'x');
        string
    }

    fn check(held: &Dictionary<u32>, model: &Model, from: &[u8]) {
        let collect = |found: &mut Vec<(Vec<u8>, u32)>, string: &[u8], value: &u32| {
            found.push((string.to_vec(), *value));
            ControlFlow::Continue(())
        };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        held.ascend(from, |string, value| collect(&mut up, string, value));
        held.descend(from, |string, value| collect(&mut down, string, value));
        down.reverse();
        let part = |range: (Bound<&[u8]>, Bound<&[u8]>)| {
            let pairs = model.range::<[u8], _>(range);
            pairs.map(|(string, value)| (string.clone(), *value)).collect::<Vec<_>>()
        };
        assert_eq!(up, part((Bound::Included(from), Bound::Unbounded)));
        assert_eq!(down, part((Bound::Unbounded, Bound::Excluded(from))));
        assert_eq!(held.get(from), model.get(from));
    }

    #[test]
    fn it_holds_what_was_put_in_and_snapshots_do_not_change() {
        for seed in 0..6 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut held, mut model) = (Dictionary::default(), Model::new());
            let mut snapshots = Vec::new();
            for step in 0..6_000 {
                let one = string(&mut random);
                // Grows, then shrinks to nothing.
                let shrinks = step > 3_000 && random.u8(0..4) > 0;
                if shrinks && let Some(some) = model.range(one.clone()..).next() {
                    let some = some.0.clone();
                    held.remove_if(&some, |_| true);
                    model.remove(&some);
                } else {
                    held.upsert(&one, step, |value, more| *value += more);
                    *model.entry(one.clone()).or_default() += step;
                    held.remove_if(&one, |_| false);
                }
                if step % 500 == 0 {
                    snapshots.push((held.clone(), model.clone()));
                    check(&held, &model, &one);
                }
            }
            for string in model.keys() {
                held.remove_if(string, |_| true);
            }
            assert!(held.runs.is_empty());
            for (held, model) in snapshots {
                check(&held, &model, b"");
                check(&held, &model, &string(&mut random));
            }
        }
    }

    #[test]
    fn runs_are_neither_long_nor_many() {
        let mut held = Dictionary::default();
        let string = |number: u32| format!("{number:06}").into_bytes();
        (0..10_000)
            .for_each(|number| held.upsert(&string(number * 7919 % 10_000), (), |(), ()| {}));
        assert!(held.runs.values().all(|run| run.len() <= RUN_MAX));
        assert!(held.runs.len() <= 2 * 10_000 / RUN_MAX, "{}", held.runs.len());
        for number in (0..10_000).filter(|number| number % 64 != 0) {
            held.remove_if(&string(number), |()| true);
        }
        assert!(held.runs.len() <= 157 / RUN_MIN + 1, "{}", held.runs.len());
    }
}
