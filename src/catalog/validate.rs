//! Whether a document is an entity: the rules of the envelope, of metadata and of its kind.
//!
//! The rules run in the order Backstage runs them, so that the first fault is the one Backstage
//! would report, in its words. Unlike Backstage we go on after it and find all of them.
//! Whether the kind is allowed, and what an entity becomes, is the business of `process`.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::formats::Format;
use super::hints;
use super::kinds::{self, Kind};
use super::refs::EntityRef;
use super::relations;
use super::shape::{self, Field, Violation};
use super::yaml::{Node, NodeValue, Part};
use super::{Code, Relation};

/// Where Backstage's messages about formats point.
const FORMAT_HELP: &str = "https://github.com/backstage/backstage/blob/master/docs/\
                           architecture-decisions/adr002-default-catalog-file-format.md";

/// The keys an entity may have at its root.
const ROOT_FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// Keys that Backstage adds itself; it knows them, and refuses them from files.
const FOREIGN_FIELDS: [&str; 2] = ["relations", "status"];

/// The shapes of `entity.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Schemas {
    /// Without this a document is no entity, and we do not know which it was to be.
    envelope: Vec<Field>,
    /// The rest of what entities of all kinds have in common.
    entity: Vec<Field>,
}

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    serde_json::from_str(include_str!("entity.json")).expect("a test reads `entity.json`")
});

/// Something wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub code: Code,
    /// The keys and indices that lead to it.
    pub path: Vec<String>,
    /// Which part of that place.
    pub part: Part,
    /// The class of error that Backstage answers with: `InputError`, `TypeError`.
    pub class: &'static str,
    /// What is wrong, in Backstage's words where it knows the fault.
    pub message: String,
    /// The same without saying which step of the processing found it.
    pub brief: String,
    /// What may help to mend it.
    pub hint: Option<String>,
}

/// What is known about a document after validation.
#[derive(Debug, Clone)]
pub struct Validation {
    /// Everything wrong; the first is what Backstage would report. Empty means an entity.
    pub faults: Vec<Fault>,
    /// What it calls itself, as far as that can be read.
    pub entity_ref: Option<EntityRef>,
    /// Whether `entity_ref` is sound: a kind that exists, and well-formed names. When it is not,
    /// the document may be meant to be any entity.
    pub identified: bool,
    /// The relations it declares, both directions of each, in no order.
    pub relations: Vec<Relation>,
}

/// Checks a document that is YAML.
pub fn validate(root: &Node) -> Validation {
    if let Some(fault) = not_an_object(root) {
        return Validation {
            faults: vec![fault],
            entity_ref: None,
            identified: false,
            relations: Vec::new(),
        };
    }
    let entity_ref = read_ref(root);
    let envelope = check_fields(root, &SCHEMAS.envelope);
    let Some(name) = entity_ref.clone().filter(|_| envelope.is_empty()) else {
        let faults = envelope.into_iter().map(envelope_fault).collect();
        return Validation { faults, entity_ref, identified: false, relations: Vec::new() };
    };
    let mut checks = Checks { root, shown: name.to_string(), faults: Vec::new() };
    checks.common_schema();
    let spec_is_sound = checks.faults.iter().all(|fault| fault.path != ["spec"]);
    checks.foreign_fields();
    let formats_from = checks.faults.len();
    checks.formats();
    let is_sound = |paths: &[&[&str]]| {
        !checks.faults[formats_from..].iter().any(|fault| paths.iter().any(|p| fault.path == *p))
    };
    let has_kind = is_sound(&[&["apiVersion"], &["kind"]]);
    let names_itself = has_kind && is_sound(&[&["metadata", "name"], &["metadata", "namespace"]]);
    let kind = if has_kind { checks.kind(&name) } else { None };
    let mut relations = Vec::new();
    if let Some(kind) = kind.filter(|_| spec_is_sound) {
        checks.spec(kind);
        relations = checks.relations(kind, &name);
    }
    let identified = names_itself && kinds::find(&name.kind).is_some();
    Validation { faults: checks.faults, entity_ref, identified, relations }
}

/// Whether a document is an entity at all: it has an `apiVersion`, a `kind` and a name.
pub fn has_envelope(root: &Node) -> bool {
    not_an_object(root).is_none() && check_fields(root, &SCHEMAS.envelope).is_empty()
}

/// Keys that differ only in case: allowed, but Backstage never shows such an entity, and a filter
/// cannot tell them apart.
pub fn keys_differing_in_case(root: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    collect_keys_differing_in_case(root, &mut Vec::new(), &mut faults);
    faults
}

/// Annotations that are neither a mapping nor absent: refused where entities come from files.
pub fn annotations_not_an_object(root: &Node) -> Option<Fault> {
    let annotations = root.get("metadata")?.get("annotations")?;
    if matches!(annotations.value, NodeValue::Map(_) | NodeValue::Null) {
        return None;
    }
    let message = "metadata.annotations must be a valid object".to_owned();
    Some(Fault {
        code: Code::Schema,
        path: vec!["metadata".into(), "annotations".into()],
        part: Part::Value,
        class: "InputError",
        brief: message.clone(),
        message,
        hint: None,
    })
}

fn not_an_object(root: &Node) -> Option<Fault> {
    let found = match &root.value {
        NodeValue::Map(_) => return None,
        NodeValue::String(_) => "string",
        NodeValue::Number(_) => "number",
        NodeValue::Bool(_) => "boolean",
        NodeValue::List(_) | NodeValue::Null => "object",
    };
    let message = format!("Expected object at root, got {found}");
    let is_list = matches!(root.value, NodeValue::List(_));
    Some(Fault {
        code: Code::Envelope,
        path: Vec::new(),
        part: Part::Value,
        class: "Error",
        brief: message.clone(),
        message,
        hint: is_list.then(|| "this is a list; put each entity in a document of its own".into()),
    })
}

/// What a document calls itself.
pub fn read_ref(root: &Node) -> Option<EntityRef> {
    let metadata = root.get("metadata")?;
    let text = |node: Option<&Node>| {
        node.and_then(Node::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let (kind, name) = (text(root.get("kind"))?, text(metadata.get("name"))?);
    Some(EntityRef::new(&kind, text(metadata.get("namespace")).as_deref(), &name))
}

fn check_fields(root: &Node, fields: &[Field]) -> Vec<Violation> {
    let mut violations = Vec::new();
    shape::check_fields(root, fields, &mut Vec::new(), &mut violations);
    violations
}

fn envelope_fault(violation: Violation) -> Fault {
    let brief = format!("{} {}", violation.shown, violation.message);
    Fault {
        code: Code::Envelope,
        path: violation.path,
        part: violation.part,
        class: "TypeError",
        message: format!("{brief} - {}", violation.params),
        brief,
        hint: violation.hint,
    }
}

/// The checks of a document whose envelope is sound.
struct Checks<'a> {
    root: &'a Node,
    /// Its ref as messages show it.
    shown: String,
    faults: Vec<Fault>,
}

impl Checks<'_> {
    fn policy(&mut self, path: &[&str], part: Part, cause: String, hint: Option<String>) {
        self.faults.push(Fault {
            code: Code::Schema,
            path: path.iter().map(|&key| key.to_owned()).collect(),
            part,
            class: "InputError",
            message: format!("Policy check failed for {}; caused by Error: {cause}", self.shown),
            brief: cause,
            hint,
        });
    }

    fn common_schema(&mut self) {
        let NodeValue::Map(entries) = &self.root.value else { return };
        for (key, _) in entries {
            let key = key.text.as_str();
            if !ROOT_FIELDS.contains(&key) && !FOREIGN_FIELDS.contains(&key) {
                let cause = "Malformed envelope, <root> must NOT have additional properties";
                let kind = self.root.get("kind").and_then(Node::as_str).and_then(kinds::find);
                let is_of_spec = kind.is_some_and(|kind| kind.spec.iter().any(|f| f.name == key));
                let hint = hints::misplaced(key, is_of_spec);
                self.policy(&[key], Part::Key, cause.into(), Some(hint));
            }
        }
        for violation in check_fields(self.root, &SCHEMAS.entity) {
            let path: Vec<&str> = violation.path.iter().map(String::as_str).collect();
            let Violation { part, shown, message, .. } = &violation;
            let cause = format!("Malformed envelope, {shown} {message}");
            self.policy(&path, *part, cause, violation.hint);
        }
    }

    fn foreign_fields(&mut self) {
        let NodeValue::Map(entries) = &self.root.value else { return };
        for (key, _) in entries {
            let key = key.text.as_str();
            if FOREIGN_FIELDS.contains(&key) {
                let hint = format!("`{key}` is worked out from `spec`, it cannot be written");
                self.policy(&[key], Part::Key, format!("Unknown field {key}"), Some(hint));
            }
        }
    }

    fn format(&mut self, path: &[&str], part: Part, field: &str, text: &str, format: Format) {
        if format.fits(text) {
            return;
        }
        let expected = format.expectation();
        let cause = format!(
            "\"{field}\" is not valid; expected {expected} but found \"{text}\". \
             To learn more about catalog file format, visit: {FORMAT_HELP}"
        );
        let hint = format.hint(text);
        self.policy(path, part, cause, hint);
    }

    fn format_of(&mut self, path: &[&str], field: &str, format: Format) {
        let mut node = Some(self.root);
        for key in path {
            node = node.and_then(|node| node.get(key));
        }
        if let Some(text) = node.and_then(Node::as_str) {
            self.format(path, Part::Value, field, text, format);
        }
    }

    fn formats(&mut self) {
        self.format_of(&["apiVersion"], "apiVersion", Format::ApiVersion);
        self.format_of(&["kind"], "kind", Format::Kind);
        self.format_of(&["metadata", "name"], "metadata.name", Format::Name);
        self.format_of(&["metadata", "namespace"], "metadata.namespace", Format::Namespace);
        let Some(metadata) = self.root.get("metadata") else { return };
        self.formats_of_entries(metadata, "labels", Some(Format::LabelValue));
        self.formats_of_entries(metadata, "annotations", None);
        if let Some(NodeValue::List(tags)) = metadata.get("tags").map(|node| &node.value) {
            for (index, tag) in tags.iter().enumerate() {
                // What is no text, or an empty one, is known to the schema.
                if let Some(text) = tag.as_str().filter(|text| !text.is_empty()) {
                    let (at, field) = (index.to_string(), format!("tags.{index}"));
                    self.format(&["metadata", "tags", &at], Part::Value, &field, text, Format::Tag);
                }
            }
        }
        if let Some(NodeValue::List(links)) = metadata.get("links").map(|node| &node.value) {
            for (index, link) in links.iter().enumerate() {
                self.formats_of_link(index, link);
            }
        }
    }

    fn formats_of_entries(&mut self, metadata: &Node, field: &str, values: Option<Format>) {
        let Some(NodeValue::Map(entries)) = metadata.get(field).map(|node| &node.value) else {
            return;
        };
        for (key, value) in shape::in_order(entries) {
            let path = ["metadata", field, key.text.as_str()];
            let shown = format!("{field}.{}", key.text);
            self.format(&path, Part::Key, &shown, &key.text, Format::Key);
            if let (Some(format), Some(text)) = (values, value.as_str()) {
                self.format(&path, Part::Value, &shown, text, format);
            }
        }
    }

    fn formats_of_link(&mut self, index: usize, link: &Node) {
        let at = index.to_string();
        let fields =
            [("url", Format::Url), ("title", Format::NotBlank), ("icon", Format::NotBlank)];
        for (field, format) in fields {
            let text = link.get(field).and_then(Node::as_str).filter(|text| !text.is_empty());
            if let Some(text) = text {
                let (path, shown) =
                    (["metadata", "links", &at, field], format!("links.{index}.{field}"));
                self.format(&path, Part::Value, &shown, text, format);
            }
        }
    }

    fn kind(&mut self, name: &EntityRef) -> Option<&'static Kind> {
        let api_version = self.root.get("apiVersion").and_then(Node::as_str).unwrap_or_default();
        let known = kinds::find(&name.kind);
        if let Some(kind) = known.filter(|kind| kind.api_versions.iter().any(|v| v == api_version))
        {
            return Some(kind);
        }
        let (path, hint) = match (known, kinds::find_ignoring_case(&name.kind)) {
            (Some(kind), _) => {
                let versions = kind.api_versions.join("` or `");
                ("apiVersion", format!("a {} has the apiVersion `{versions}`", kind.kind))
            }
            (None, Some(kind)) => ("kind", format!("the case counts: `{}`", kind.kind)),
            (None, None) => {
                let all: Vec<&str> = kinds::all().iter().map(|kind| kind.kind.as_str()).collect();
                ("kind", format!("there are {}", all.join(", ")))
            }
        };
        let message = format!(
            "No processor recognized the entity {} as valid, \
             possibly caused by a foreign kind or apiVersion",
            self.shown
        );
        self.faults.push(Fault {
            code: Code::UnknownKind,
            path: vec![path.into()],
            part: Part::Value,
            class: "InputError",
            brief: message.clone(),
            message,
            hint: Some(hint),
        });
        None
    }

    fn spec(&mut self, kind: &Kind) {
        let (mut violations, mut path) = (Vec::new(), Vec::new());
        match self.root.get("spec") {
            Some(spec) => {
                path.push("spec".to_owned());
                shape::check_fields(spec, &kind.spec, &mut path, &mut violations);
                relations::show_as_sorted(spec, &mut violations);
            }
            None => violations.push(Violation {
                path,
                part: Part::Key,
                shown: "<root>".into(),
                message: "must have required property 'spec'".into(),
                params: "missingProperty: spec".into(),
                hint: {
                    let required = kind.spec.iter().filter(|field| field.required);
                    hints::missing_spec(self.root, required.map(|field| field.name.as_str()))
                },
            }),
        }
        for violation in violations {
            let brief = format!("{} {}", violation.shown, violation.message);
            self.faults.push(Fault {
                code: Code::Schema,
                path: violation.path,
                part: violation.part,
                class: "InputError",
                message: format!(
                    "Processor BuiltinKindsEntityProcessor threw an error while validating \
                     the entity {}; caused by TypeError: {brief} - {}",
                    self.shown, violation.params
                ),
                brief,
                hint: violation.hint,
            });
        }
    }

    fn relations(&mut self, kind: &Kind, name: &EntityRef) -> Vec<Relation> {
        let known_bad = |path: &Vec<String>| self.faults.iter().any(|fault| fault.path == *path);
        let (relations, mut bad) = relations::declared(self.root, kind, name);
        bad.retain(|bad| !known_bad(&bad.path));
        for relations::BadRef { path, class, message } in bad {
            let hint = hints::bad_ref(&message);
            self.faults.push(Fault {
                code: Code::Schema,
                path,
                part: Part::Value,
                class: "InputError",
                message: format!(
                    "Processor BuiltinKindsEntityProcessor threw an error while \
                     postprocessing; caused by {class}: {message}"
                ),
                brief: message,
                hint,
            });
        }
        relations
    }
}

fn collect_keys_differing_in_case(node: &Node, path: &mut Vec<String>, faults: &mut Vec<Fault>) {
    match &node.value {
        NodeValue::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                collect_keys_differing_in_case(item, path, faults);
                path.pop();
            }
        }
        NodeValue::Map(entries) => {
            let mut seen: HashMap<String, &str> = HashMap::new();
            for (key, value) in entries {
                path.push(key.text.clone());
                if let Some(first) = seen.insert(key.text.to_lowercase(), &key.text) {
                    let message =
                        format!("the keys `{first}` and `{}` differ only in case", key.text);
                    faults.push(Fault {
                        code: Code::Schema,
                        path: path.clone(),
                        part: Part::Key,
                        class: "InputError",
                        brief: message.clone(),
                        message,
                        hint: Some("filters take them for one; rename one of them".into()),
                    });
                }
                collect_keys_differing_in_case(value, path, faults);
                path.pop();
            }
        }
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {}
    }
}
