//! Whether an entity that did not come from a file would be taken: what `POST /validate-entity`
//! answers.
//!
//! The rules are those of files, and those that files cannot break: an entity may bring the
//! annotations that say where it comes from. What its placeholders and targets name is looked at
//! where the file is known that it is to stand in, and only in the repository of that file: this
//! says what has to be read, and somebody reads it. A pattern has to fit a file; what is in the
//! files that fit is not looked at. `catalog.rules` do not count, as in Backstage.

use std::collections::BTreeSet;

use serde_json::Value;

use super::annotations::FileUrls;
use super::expand::STEPS_MAX;
use super::location_ref;
use super::locations::{self, Target};
use super::placeholder::{Placeholders, Shelf};
use super::refs::EntityRef;
use super::target::{Place, is_same_repository};
use super::validate::{Fault, Validation, has_envelope, validate};
use super::yaml::{self, Node, Position};
use super::{BranchAt, Code, Gathered, HeldFile, HeldTree, Need, Source};

/// The annotations that say where an entity comes from.
const ORIGINS: [&str; 2] =
    ["backstage.io/managed-by-location", "backstage.io/managed-by-origin-location"];

/// The class and the words of an error.
pub type Said = (&'static str, String);

/// The file that an entity is to stand in.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Where it lies, or will.
    pub file: &'a Source,
    /// What was read of its repository so far.
    pub gathered: &'a Gathered,
}

/// What is wrong with an entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Each error, the first as Backstage would report it.
    pub errors: Vec<Said>,
    /// Whether it is an entity at all: it has an `apiVersion`, a `kind` and a name.
    pub has_envelope: bool,
    /// What has to be read before the verdict is final, all of the repository of the file.
    pub needs: BTreeSet<Need>,
}

/// Checks an entity, a text that is JSON. Without a file, nothing that it names is asked for.
pub fn verdict(entity: &str, beside: Option<Beside<'_>>) -> Verdict {
    let root = match read(entity) {
        Ok(root) => root,
        Err(message) => {
            let errors = vec![("InputError", message)];
            return Verdict { errors, ..Verdict::default() };
        }
    };
    let entity = &root.to_json();
    let mut verdict = Verdict { has_envelope: has_envelope(&root), ..Verdict::default() };
    let mut replaced = None;
    if verdict.has_envelope {
        verdict.errors.extend(wrong_origin(entity));
        match beside {
            Some(beside) => replaced = verdict.replace(&root, beside),
            None => verdict.errors.extend(wrong_placeholder(entity).map(|m| ("InputError", m))),
        }
    }
    let root = replaced.unwrap_or(root);
    let Validation { faults, entity_ref, .. } = validate(&root);
    verdict.tell(faults);
    if verdict.errors.is_empty() && is_of_another_type(entity) {
        let message = "Registered locations must be of an allowed type [\"url\"]";
        verdict.errors.push(("InputError", message.to_owned()));
    }
    if let (Some(beside), Some(name)) = (beside, entity_ref)
        && verdict.errors.is_empty()
        && name.kind == locations::KIND
    {
        verdict.follow(&name.to_string(), &root.to_json(), beside);
    }
    verdict
}

/// JSON is YAML, so that there is one way to read both, in the order in which it is written.
fn read(entity: &str) -> Result<Node, String> {
    let read = |text: &str| yaml::parse(text).into_iter().next().map(|document| document.root);
    if let Some(Ok(root)) = read(entity) {
        return Ok(root);
    }
    // Of members with one name, JSON takes the last.
    let once: Value = serde_json::from_str(entity).map_err(|error| error.to_string())?;
    match read(&once.to_string()) {
        Some(root) => root.map_err(|error| error.message),
        None => Err("there is no entity".to_owned()),
    }
}

impl Verdict {
    /// The first as Backstage says it, the others without the words around them.
    fn tell(&mut self, faults: Vec<Fault>) {
        for fault in faults {
            let is_first = self.errors.is_empty();
            self.errors.push((fault.class, if is_first { fault.message } else { fault.brief }));
        }
    }

    /// The entity with what its placeholders name.
    fn replace(&mut self, root: &Node, beside: Beside<'_>) -> Option<Node> {
        let Beside { file, gathered } = beside;
        let shelf = Shelf { file, text: None, root: None, gathered };
        let mut placeholders = Placeholders::new(shelf, 0);
        let (replaced, faults) = placeholders.replace(root);
        self.tell(faults);
        let asked_for = placeholders.dependencies.into_iter();
        self.needs.extend(asked_for.filter(|need| !gathered.has(need)));
        replaced
    }

    /// Looks at what the targets of a Location name.
    fn follow(&mut self, location: &str, entity: &Value, beside: Beside<'_>) {
        let start = |_: &[&str]| Position { line: 1, column: 1 };
        let (targets, wrong) = locations::targets(location, entity, 1, (beside.file, None), start);
        let unable = |message: String| ("Error", format!("Unable to read url, {message}"));
        self.errors.extend(wrong.into_iter().map(|(_, message)| unable(message)));
        let mut steps = 0;
        for target in &targets {
            match &target.place {
                Place::File(source) if is_same_repository(source, beside.file) => {
                    self.look_at(target, source, beside.gathered);
                }
                Place::Glob(branch, glob)
                    if is_same_repository(&branch.file(String::new()), beside.file) =>
                {
                    let need = Need::Tree(branch.clone());
                    match beside.gathered.trees.get(branch) {
                        None => {
                            self.needs.insert(need);
                        }
                        Some(HeldTree::Unreadable(why)) => self.errors.push(unable(why.clone())),
                        Some(HeldTree::Missing) => self.miss(target, branch, glob.as_str()),
                        Some(HeldTree::Paths(paths)) => {
                            steps += glob.steps(paths);
                            if steps > STEPS_MAX {
                                let what = "its patterns take too long on the files of";
                                let message = format!("{what} {}", branch.full_name);
                                return self.errors.push(unable(message));
                            }
                            if !paths.iter().any(|path| glob.matches(path)) {
                                self.miss(target, branch, glob.as_str());
                            }
                        }
                    }
                }
                Place::File(_) | Place::Glob(..) => {}
            }
        }
    }

    fn look_at(&mut self, target: &Target, source: &Source, gathered: &Gathered) {
        match gathered.files.get(source) {
            None => {
                self.needs.insert(Need::File(source.clone()));
            }
            Some(HeldFile::Text(text)) => self.errors.extend(unparsed(source, text)),
            Some(HeldFile::Unreadable(why)) => {
                self.errors.push(("Error", format!("Unable to read url, {why}")));
            }
            Some(HeldFile::Missing) => {
                self.miss(target, &source.branch_at(), &source.path);
            }
        }
    }

    fn miss(&mut self, target: &Target, branch: &BranchAt, path: &str) {
        if target.is_optional {
            return;
        }
        let BranchAt { host, full_name, branch } = branch;
        let what = "Unable to read url, no matching files found for";
        let message = format!("{what} https://{host}/{full_name}/tree/{branch}/{path}");
        self.errors.push(("NotFoundError", message));
    }
}

/// What keeps a file from being taken apart into entities. Whether they are good ones does not
/// count for the Location that leads to them.
fn unparsed(source: &Source, text: &str) -> Vec<Said> {
    let url = FileUrls::of(source, Some(source)).own;
    let wrong = |document: yaml::Document| match &document.root {
        Err(error) => Some(("Error", format!("YAML error at url:{url}, {error}"))),
        Ok(root) if has_envelope(root) => None,
        Ok(root) => {
            let fault = validate(root).faults.into_iter().find(|f| f.code == Code::Envelope);
            fault.map(|fault| (fault.class, fault.brief))
        }
    };
    yaml::parse(text).into_iter().filter_map(wrong).collect()
}

fn wrong_origin(entity: &Value) -> Option<Said> {
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
