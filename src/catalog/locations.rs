//! Location entities: what their targets are, before anything of it is read.

use serde_json::Value;

use super::target::{self, Place};
use super::yaml::Position;
use super::{Entity, Source};

/// The kind of a Location.
pub const KIND: &str = "Location";

/// Most targets of one Location. Lists that a tool made hold some hundreds.
pub const TARGETS_MAX: usize = 500;

/// The only type of location that is read.
const TYPE: &str = "url";

/// One target of a Location.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The ref of the Location.
    pub location: String,
    /// The target as it is written.
    pub written: String,
    /// Where it points.
    pub place: Place,
    /// Whether it is all right when nothing is there.
    pub is_optional: bool,
    /// The document, from 1.
    pub document: u32,
    /// Where it stands.
    pub at: Position,
}

/// A target that points nowhere: where it stands and why.
pub type Wrong = (Position, String);

/// The targets of a Location in the file at `base`, in order, and what is wrong with others.
/// `root` led to that file; `at` tells where a path in the document leads.
pub fn targets(
    entity_ref: &str,
    body: &Value,
    document: u32,
    (base, root): (&Source, Option<&Source>),
    at: impl Fn(&[&str]) -> Position,
) -> (Vec<Target>, Vec<Wrong>) {
    let spec = &body["spec"];
    let written = written(spec);
    if let Some(other) = spec["type"].as_str().filter(|t| *t != TYPE && !written.is_empty()) {
        let message = format!("locations of the type `{other}` are not read, only `{TYPE}`");
        return (Vec::new(), vec![(at(&["spec", "type"]), message)]);
    }
    let known: Vec<&Source> = root.into_iter().collect();
    let (mut targets, mut wrong) = (Vec::new(), Vec::new());
    for (index, (path, written)) in written.into_iter().enumerate() {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let at = at(&path);
        if index == TARGETS_MAX {
            let message = format!("a Location may have {TARGETS_MAX} targets, here is another");
            wrong.push((at, message));
            break;
        }
        match target::place(written, base, &known) {
            Ok(place) => targets.push(Target {
                location: entity_ref.to_owned(),
                written: written.to_owned(),
                place,
                is_optional: spec["presence"] == "optional",
                document,
                at,
            }),
            Err(error) => wrong.push((at, error.to_string())),
        }
    }
    (targets, wrong)
}

/// The targets of a Location that is kept from before; what was wrong with it is not said again.
pub fn targets_of_kept(location: &Entity, near: (&Source, Option<&Source>)) -> Vec<Target> {
    let at = Position { line: location.line.max(1), column: 1 };
    let document = location.document.max(1);
    targets(&location.entity_ref, &location.body, document, near, |_| at).0
}

/// The targets of a Location beyond [`TARGETS_MAX`], as they are written: none of them is followed.
pub fn beyond(body: &Value) -> impl Iterator<Item = &str> {
    let spec = &body["spec"];
    let is_read = spec["type"].as_str().is_none_or(|its| its == TYPE);
    let items = spec["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = spec["target"].as_str().into_iter().chain(items.iter().filter_map(Value::as_str));
    all.skip(if is_read { TARGETS_MAX } else { usize::MAX })
}

/// `target`, then `targets`, each with the path that leads to it.
fn written(spec: &Value) -> Vec<(Vec<String>, &str)> {
    let path = |keys: &[&str]| ["spec"].iter().chain(keys).map(|key| (*key).to_owned()).collect();
    let first = spec["target"].as_str().map(|text| (path(&["target"]), text));
    let items = spec["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let others = items.iter().enumerate().filter_map(|(index, item)| {
        item.as_str().map(|text| (path(&["targets", &index.to_string()]), text))
    });
    first.into_iter().chain(others).collect()
}
