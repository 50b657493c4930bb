//! A run of sorted byte strings with a value each, kept as front coding keeps them: of every
//! string only what differs from the one before it.
//!
//! A string costs two bytes and its own end, so that addresses that differ in a number cost the
//! number and what follows it. To find, add or remove one reads the run once; whoever adds or
//! removes copies it. Runs are short because of that, and the business of [`super::dictionary`].

use std::ops::Range;
use std::sync::Arc;

/// A run. Cloning is cheap, and what is not changed is shared.
#[derive(Clone)]
pub(super) struct Block<V> {
    /// For each string: how many bytes it shares with the one before, all that are equal; how many
    /// follow; and those.
    text: Arc<[u8]>,
    values: Arc<[V]>,
}

/// Where a string would stand that is not there.
struct Gap {
    index: usize,
    /// Of the string that would follow it.
    offset: usize,
    /// How much it shares with the string before and with the one that would follow.
    shared_before: usize,
    shared_after: usize,
}

/// One string as it is kept.
struct Entry {
    offset: usize,
    shared: usize,
    rest: Range<usize>,
}

impl<V: Clone> Block<V> {
    /// A run of one string.
    pub(super) fn one(string: &[u8], value: V) -> Self {
        let mut text = Vec::with_capacity(string.len() + 4);
        write(0, &[string], &mut text);
        Self { text: text.into(), values: [value].into() }
    }

    /// How many strings it holds.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The value of a string.
    pub(super) fn get(&self, string: &[u8]) -> Option<&V> {
        self.find(string).ok().map(|(index, _)| &self.values[index])
    }

    /// The value of a string, to be changed: copies the values where they are shared.
    pub(super) fn get_mut(&mut self, string: &[u8]) -> Option<&mut V> {
        let (index, _) = self.find(string).ok()?;
        Some(&mut Arc::make_mut(&mut self.values)[index])
    }

    /// Adds a string, or changes the value of one that is there by `change`.
    pub(super) fn upsert(&mut self, string: &[u8], value: V, change: impl FnOnce(&mut V, V)) {
        let gap = match self.find(string) {
            Ok((index, _)) => return change(&mut Arc::make_mut(&mut self.values)[index], value),
            Err(gap) => gap,
        };
        let mut text = Vec::with_capacity(self.text.len() + string.len() + 4);
        text.extend_from_slice(&self.text[..gap.offset]);
        write(gap.shared_before, &[&string[gap.shared_before..]], &mut text);
        if let Some(next) = self.read(gap.offset) {
            let rest = &self.text[next.rest.clone()][gap.shared_after - next.shared..];
            write(gap.shared_after, &[rest], &mut text);
            text.extend_from_slice(&self.text[next.rest.end..]);
        }
        self.text = text.into();
        let (before, after) = self.values.split_at(gap.index);
        self.values = before.iter().chain([&value]).chain(after).cloned().collect();
    }

    /// Removes a string.
    pub(super) fn remove(&mut self, string: &[u8]) {
        let Ok((index, gone)) = self.find(string) else { return };
        let mut text = Vec::with_capacity(self.text.len());
        text.extend_from_slice(&self.text[..gone.offset]);
        if let Some(next) = self.read(gone.rest.end) {
            // What the next one shared with it, it has to have itself now.
            let own = next.shared.saturating_sub(gone.shared);
            let own = &self.text[gone.rest.clone()][..own];
            let rest = &self.text[next.rest.clone()];
            write(next.shared.min(gone.shared), &[own, rest], &mut text);
            text.extend_from_slice(&self.text[next.rest.end..]);
        }
        self.text = text.into();
        let (before, after) = self.values.split_at(index);
        self.values = before.iter().chain(&after[1..]).cloned().collect();
    }

    /// Keeps the lower half; answers the upper one and the shortest string that parts them.
    pub(super) fn split(&mut self) -> (Arc<[u8]>, Self) {
        let half = self.len() / 2;
        let (mut last, mut first) = (Vec::new(), Vec::new());
        let mut cut = 0..0;
        for entry in self.entries().take(half + 1) {
            cut = entry.offset..entry.rest.end;
            last.clone_from(&first);
            first.truncate(entry.shared);
            first.extend_from_slice(&self.text[entry.rest]);
        }
        let mut upper = Vec::with_capacity(self.text.len() - cut.start + first.len());
        write(0, &[&first], &mut upper);
        upper.extend_from_slice(&self.text[cut.end..]);
        let (values, upper_values) = self.values.split_at(half);
        let upper = Self { text: upper.into(), values: upper_values.into() };
        *self = Self { text: self.text[..cut.start].into(), values: values.into() };
        let parts = common(&last, &first) + 1;
        (first[..parts].into(), upper)
    }

    /// Adds all strings of `upper`, which come after those of this one.
    pub(super) fn append(&mut self, upper: &Self) {
        let mut last = Vec::new();
        for entry in self.entries() {
            last.truncate(entry.shared);
            last.extend_from_slice(&self.text[entry.rest]);
        }
        let Some(first) = upper.read(0) else { return };
        let string = &upper.text[first.rest.clone()];
        let shared = common(&last, string);
        let mut text = self.text.to_vec();
        write(shared, &[&string[shared..]], &mut text);
        text.extend_from_slice(&upper.text[first.rest.end..]);
        self.text = text.into();
        self.values = self.values.iter().chain(upper.values.iter()).cloned().collect();
    }

    /// All strings at length, one after the other.
    pub(super) fn strings(&self) -> Strings<'_, V> {
        let mut all = Strings { text: Vec::new(), ranges: Vec::new(), values: &self.values };
        let mut last = 0..0;
        for entry in self.entries() {
            let start = all.text.len();
            all.text.extend_from_within(last.start..last.start + entry.shared);
            all.text.extend_from_slice(&self.text[entry.rest]);
            last = start..all.text.len();
            all.ranges.push(last.clone());
        }
        all
    }

    /// The place of a string and how it is kept.
    fn find(&self, string: &[u8]) -> Result<(usize, Entry), Gap> {
        // How much the string shares with the entry before.
        let mut matched = 0;
        for (index, entry) in self.entries().enumerate() {
            // An entry that is like the one before where the string is greater, is smaller too.
            if entry.shared > matched {
                continue;
            }
            let offset = entry.offset;
            let gap = |shared_after| Gap { index, offset, shared_before: matched, shared_after };
            if entry.shared < matched {
                return Err(gap(entry.shared));
            }
            let (own, other) = (&string[matched..], &self.text[entry.rest.clone()]);
            let equal = common(own, other);
            match own.get(equal).cmp(&other.get(equal)) {
                std::cmp::Ordering::Less => return Err(gap(matched + equal)),
                std::cmp::Ordering::Equal => return Ok((index, entry)),
                std::cmp::Ordering::Greater => matched += equal,
            }
        }
        let (index, offset) = (self.len(), self.text.len());
        Err(Gap { index, offset, shared_before: matched, shared_after: 0 })
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        let first = self.read(0);
        std::iter::successors(first, |entry| self.read(entry.rest.end))
    }

    fn read(&self, offset: usize) -> Option<Entry> {
        let (shared, at) = read_number(&self.text, offset)?;
        let (length, at) = read_number(&self.text, at)?;
        Some(Entry { offset, shared, rest: at..at + length })
    }
}

/// The strings of a run at length.
pub(super) struct Strings<'a, V> {
    text: Vec<u8>,
    ranges: Vec<Range<usize>>,
    values: &'a [V],
}

impl<'a, V> Strings<'a, V> {
    /// The strings with their values, in ascending order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &'a V)> {
        let strings = self.ranges.iter().map(|range| &self.text[range.clone()]);
        strings.zip(self.values)
    }
}

/// How many bytes both start with.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

fn write(shared: usize, rest: &[&[u8]], text: &mut Vec<u8>) {
    write_number(shared, text);
    write_number(rest.iter().map(|part| part.len()).sum(), text);
    rest.iter().for_each(|part| text.extend_from_slice(part));
}

/// Seven bits a byte, the lowest first; all but the last byte have the eighth bit.
fn write_number(mut number: usize, text: &mut Vec<u8>) {
    while number >= 0x80 {
        text.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    text.push(number as u8);
}

/// A number and where it ends; `None` at the end of the text.
fn read_number(text: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = *text.get(at)?;
        at += 1;
        number |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((number, at));
        }
        shift += 7;
    }
}
