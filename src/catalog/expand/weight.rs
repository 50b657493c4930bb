//! What entities weigh: about what they take in memory.

use serde_json::Value;

use crate::catalog::Entity;

/// What a value weighs besides its text: about what it takes in memory.
const VALUE_BYTES: usize = 16;

/// What entities take: the bytes of all keys and texts in them, and [`VALUE_BYTES`] a value.
pub(super) fn weight(entities: &[Entity]) -> usize {
    entities.iter().map(|entity| value_weight(&entity.body)).sum()
}

fn value_weight(value: &Value) -> usize {
    let held = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_weight).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| key.len() + value_weight(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    held + VALUE_BYTES
}
