//! The keys of a mapping: how they are written, and which of them are the same.

use std::collections::HashMap;

use super::NodeValue;
use super::scalar::number_text;

/// The keys a mapping has so far.
#[derive(Default)]
pub(super) struct Keys {
    /// By their texts: which entry has it, and for which types of value.
    seen: HashMap<String, (usize, u8)>,
}

/// Where the value of a key goes.
pub(super) enum Place {
    /// Behind the others.
    New,
    /// To the entry with this index: JavaScript writes `1` and `"1"` the same, and the last counts.
    Of(usize),
}

impl Keys {
    /// The place of the next key, which would be entry `count`; nothing when it is there already.
    /// `value` is what the key was read as, if it can be the same as another.
    pub(super) fn place(
        &mut self,
        text: &str,
        value: Option<&NodeValue>,
        count: usize,
    ) -> Option<Place> {
        let kind = value.map_or(0, type_bit);
        let Some((index, kinds)) = self.seen.get_mut(text) else {
            self.seen.insert(text.to_owned(), (count, kind));
            return Some(Place::New);
        };
        if *kinds & kind != 0 {
            return None;
        }
        *kinds |= kind;
        Some(Place::Of(*index))
    }
}

/// Each type of scalar has a bit; collections, of which none is the same as another, have none.
const fn type_bit(value: &NodeValue) -> u8 {
    match value {
        NodeValue::Null => 1,
        NodeValue::Bool(_) => 2,
        NodeValue::Number(_) => 4,
        NodeValue::String(_) => 8,
        NodeValue::List(_) | NodeValue::Map(_) => 0,
    }
}

/// A key as Backstage stores it: scalars as JavaScript's `String()` writes them, nothing as the
/// empty text, collections in YAML's flow style.
pub(super) fn key_text(value: &NodeValue) -> String {
    match value {
        NodeValue::Null => String::new(),
        other => flow_text(other),
    }
}

fn flow_text(value: &NodeValue) -> String {
    match value {
        NodeValue::Null => "null".into(),
        NodeValue::Bool(is) => is.to_string(),
        NodeValue::Number(number) => number_text(number),
        NodeValue::String(text) => text.clone(),
        NodeValue::List(items) if items.is_empty() => "[]".into(),
        NodeValue::List(items) => {
            let items: Vec<String> = items.iter().map(|item| flow_text(&item.value)).collect();
            format!("[ {} ]", items.join(", "))
        }
        NodeValue::Map(entries) if entries.is_empty() => "{}".into(),
        NodeValue::Map(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, node)| match node.value {
                    NodeValue::Null => key.text.clone(),
                    ref value => format!("{}: {}", key.text, flow_text(value)),
                })
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}
