//! Whether an entity that did not come from a file would be taken: what `POST /validate-entity`
//! answers.
//!
//! The rules are those of files, and those that files cannot break: an entity may bring the
//! annotations that say where it comes from. What placeholders and targets name is not read.

use serde_json::Value;

use super::Code;
use super::location_ref;
use super::refs::EntityRef;
use super::validate::{Fault, validate};
use super::yaml;

/// The annotations that say where an entity comes from.
const ORIGINS: [&str; 2] =
    ["backstage.io/managed-by-location", "backstage.io/managed-by-origin-location"];

/// What is wrong with an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The class and the words of each error, the first as Backstage would report it.
    pub errors: Vec<(&'static str, String)>,
    /// Whether it is an entity at all: it has an `apiVersion`, a `kind` and a name.
    pub has_envelope: bool,
}

/// Checks an entity that is JSON.
pub fn verdict(entity: &Value) -> Verdict {
    // JSON is YAML, so that there is one way to read both.
    let root = match yaml::parse(&entity.to_string()).into_iter().next().map(|read| read.root) {
        Some(Ok(root)) => root,
        Some(Err(error)) => {
            let errors = vec![("InputError", error.message)];
            return Verdict { errors, has_envelope: false };
        }
        None => return Verdict { errors: Vec::new(), has_envelope: false },
    };
    let faults = validate(&root).faults;
    let has_envelope = faults.iter().all(|fault| fault.code != Code::Envelope);
    let mut errors = Vec::new();
    if has_envelope {
        errors.extend(wrong_origin(entity));
        errors.extend(wrong_placeholder(entity).map(|message| ("InputError", message)));
    }
    let is_first = errors.is_empty();
    let said = |(index, fault): (usize, Fault)| {
        // The first as Backstage says it, the others without the words around them.
        (fault.class, if index == 0 && is_first { fault.message } else { fault.brief })
    };
    errors.extend(faults.into_iter().enumerate().map(said));
    if errors.is_empty() && is_of_another_type(entity) {
        let message = "Registered locations must be of an allowed type [\"url\"]";
        errors.push(("InputError", message.to_owned()));
    }
    Verdict { errors, has_envelope }
}

fn wrong_origin(entity: &Value) -> Option<(&'static str, String)> {
    let metadata = &entity["metadata"];
    ORIGINS.into_iter().find_map(|name| match metadata["annotations"].get(name)?.as_str()? {
        "" => {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let (kind, own) = (text(&entity["kind"])?, text(&metadata["name"])?);
            let namespace = text(&metadata["namespace"]);
            let entity_ref = EntityRef::new(&kind, namespace.as_deref(), &own);
            let message = format!("Entity '{entity_ref}' does not have the annotation {name}");
            Some(("InputError", message))
        }
        written => location_ref::parse(written).err().map(|e| ("TypeError", e.to_string())),
    })
}

/// What a placeholder names has to be a text.
fn wrong_placeholder(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) => items.iter().find_map(wrong_placeholder),
        Value::Object(members) if members.keys().any(|key| key.starts_with('$')) => {
            let (key, named) = members.iter().next().filter(|_| members.len() == 1)?;
            let is_known = ["$text", "$json", "$yaml"].contains(&key.as_str());
            (is_known && !named.is_string()).then(|| {
                format!(
                    "Processor PlaceholderProcessor threw an error while preprocessing; caused by \
                     Error: Placeholder {key} expected a string value parameter, in the form of an \
                     absolute URL or a relative path"
                )
            })
        }
        Value::Object(members) => members.iter().find_map(|(key, value)| {
            // The annotations that say where it comes from stand beside whatever is there.
            (key != "annotations").then(|| wrong_placeholder(value))?
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Whether it is a Location that points to anything but URLs.
fn is_of_another_type(entity: &Value) -> bool {
    entity["kind"] == "Location" && entity["spec"].get("type").is_some_and(|kind| kind != "url")
}
