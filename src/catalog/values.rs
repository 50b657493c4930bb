//! The searchable values of one entity under one key, read from its text.
//!
//! Who has a value is what the index knows; what the values of somebody are is asked of few at a
//! time, for an order or a text among them. To keep that too would cost each entity as much again,
//! so it is read from the text on demand, about a microsecond for each thousand bytes. It is what
//! [`super::search::rows`] gives for that key.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::catalog::search::{SKIPPED, searchable};

/// How many values of the index can be looked at for the price of reading those of one entity.
pub(super) const READ_COST: usize = 30;

/// A value in lower case, and as it is written; both are `None` when it is null or too long.
pub(super) type Found = (Option<String>, Option<String>);

/// The values that the text of an entity has under a lower-case key, each once, in no certain
/// order; of its name, namespace, uid and relations nothing.
pub(super) fn walked(text: &str, key: &str) -> Vec<Found> {
    let mut seek = Seek { key, path: String::new(), first: String::new(), leaves: Vec::new() };
    let mut reader = serde_json::Deserializer::from_str(text);
    // The text is ours and well-formed; what is nested too deep for its reader has no values.
    if (&mut seek).deserialize(&mut reader).is_err() {
        return Vec::new();
    }
    // Of several ways to write a value that under the first key counts; the text has `metadata`
    // before the others.
    seek.leaves.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    for (value, original) in seek.leaves.iter().map(|(_, leaf)| searchable(leaf)) {
        if known.insert(value.clone()) {
            found.push((value, original));
        }
    }
    found
}

/// What the text of an entity says about its name; null where it says nothing.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Names {
    pub(super) name: Value,
    pub(super) namespace: Value,
}

impl Names {
    pub(super) fn read(text: &str) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Head {
            metadata: Names,
        }
        serde_json::from_str::<Head>(text).unwrap_or_default().metadata
    }
}

struct Seek<'a> {
    /// In lower case.
    key: &'a str,
    /// The dotted path to where the reader stands.
    path: String,
    /// The first key of the path.
    first: String,
    /// What the key has, each with the first key of its path.
    leaves: Vec<(String, Value)>,
}

impl Seek<'_> {
    /// Goes down to a key; answers how long the path was.
    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length == 0 {
            key.clone_into(&mut self.first);
        } else {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    /// Whether the path may be that of the key or lead to it. What is not ASCII may become so in
    /// lower case, and longer or shorter.
    fn may_lead(&self) -> bool {
        if self.path.is_empty() || !self.path.is_ascii() {
            return true;
        }
        let (path, key) = (self.path.as_bytes(), self.key.as_bytes());
        key.split_at_checked(path.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(path) && rest.first().is_none_or(|byte| *byte == b'.')
        })
    }

    fn is_skipped(&self) -> bool {
        SKIPPED.contains(&self.path.as_str())
    }

    fn leaf(&mut self, value: Value) {
        let is_key = match self.path.is_ascii() {
            true => self.path.eq_ignore_ascii_case(self.key),
            false => self.path.to_lowercase() == self.key,
        };
        if is_key && !self.is_skipped() {
            self.leaves.push((self.first.clone(), value));
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(length) = map.next_key_seed(Enter(self))? {
            if self.may_lead() && !self.is_skipped() {
                map.next_value_seed(&mut *self)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            self.path.truncate(length);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Item(self))?.is_some() {}
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.leaf(text.into());
        Ok(())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.leaf(flag.into());
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.leaf(number.into());
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.leaf(number.into());
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.leaf(number.into());
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.leaf(Value::Null);
        Ok(())
    }
}

/// A key of an object, which the path goes down to.
struct Enter<'a, 'k>(&'a mut Seek<'k>);

impl<'de> DeserializeSeed<'de> for Enter<'_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Enter<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<usize, E> {
        Ok(self.0.enter(key))
    }
}

/// An item of a list: under the path of the list, and where it is a text, a key itself.
struct Item<'a, 'k>(&'a mut Seek<'k>);

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.leaf(text.into());
        let length = self.0.path.len();
        self.0.path.push('.');
        self.0.path.push_str(text);
        self.0.leaf(true.into());
        self.0.path.truncate(length);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        self.0.visit_seq(items)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.0.visit_bool(flag)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.0.visit_u64(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.0.visit_i64(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.visit_f64(number)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.visit_unit()
    }
}
