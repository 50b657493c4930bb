//! From the text of one catalog file to entities and problems.
//!
//! A file is never all or nothing: its good documents go in, each bad one is a problem. What a bad
//! document held before stays as it was, marked as stale; what no document holds any more goes.
//! Placeholders (`$text`) are replaced as far as their files have been read. What its Locations
//! point to is worked out here, and followed by `expand`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::annotations::{FileUrls, annotate, generated_location, relocate};
use super::kinds;
use super::locations::{self, Target};
use super::placeholder::{Placeholders, Shelf};
use super::refs::EntityRef;
use super::relations;
use super::rules::AllowedKinds;
use super::validate::{self, Fault};
use super::yaml::{self, Document, Node, Position};
use super::{Code, Entity, Gathered, Problem, ProcessedFile, Relation, Source};

/// Which rules this code follows. It is part of the fingerprint of a stored file: whoever changes
/// what a text becomes raises it, and every file is processed again.
pub const PROCESSING_VERSION: u32 = 3;

/// Most problems of one document: whoever mends fifty will look again, and a list of ten thousand
/// bad tags is one mistake.
pub const PROBLEMS_PER_DOCUMENT_MAX: usize = 50;

/// Longest message of a problem, in characters: messages quote values, and values may be long.
pub const MESSAGE_CHARS_MAX: usize = 1000;

/// Longest ref that a problem shows. A valid one has at most 191 characters.
const REF_BYTES_MAX: usize = 600;

/// One file to process.
#[derive(Debug, Clone, Copy)]
pub struct FileInput<'a> {
    /// Where it lies.
    pub source: &'a Source,
    /// What it holds.
    pub text: &'a str,
    /// The file whose Locations led here and its text; `None` when nobody had to.
    pub root: Option<(&'a Source, &'a str)>,
    /// The kinds that files may declare.
    pub allowed: &'a AllowedKinds,
    /// Its entities after the last good run over it; of those that no good document claims now,
    /// the ones that must not vanish come back marked as stale.
    pub previous: &'a [Entity],
    /// Other files, as far as they have been read.
    pub gathered: &'a Gathered,
    /// How many bytes placeholders brought into the files before it, from its root on.
    pub brought_before: usize,
}

impl<'a> FileInput<'a> {
    /// The file, and the file that led to it.
    fn near(&self) -> (&'a Source, Option<&'a Source>) {
        (self.source, self.root.map(|(root, _)| root))
    }
}

/// Processes one file; a value, so that a test can hand in one that panics.
pub type ProcessFile = fn(&FileInput<'_>) -> ProcessedFile;

/// Processes a file by itself: nothing led to it, and no other file is known.
pub fn process_alone(
    source: &Source,
    text: &str,
    allowed: &AllowedKinds,
    previous: &[Entity],
) -> ProcessedFile {
    let gathered = &Gathered::default();
    let (root, brought_before) = (None, 0);
    process_file(&FileInput { source, text, root, allowed, previous, gathered, brought_before })
}

/// Processes a file. What it needs of other files and is not in `gathered` is left as written;
/// then the result is not final.
pub fn process_file(input: &FileInput<'_>) -> ProcessedFile {
    let mut run = Run::new(input);
    for document in yaml::parse(input.text) {
        run.document(&document);
    }
    run.finish()
}

/// What a file that cannot be read held before, marked as stale for this reason.
pub fn keep_file(input: &FileInput<'_>, reason: &str) -> ProcessedFile {
    let mut run = Run::new(input);
    run.unidentified = Some(cut(reason.to_owned()));
    run.finish()
}

/// A document that holds a known entity, badly.
struct Bad {
    reason: String,
    document: u32,
    line: u32,
}

struct Run<'a> {
    input: &'a FileInput<'a>,
    urls: FileUrls,
    location: Entity,
    entities: Vec<Entity>,
    /// What the good Locations of the file point to, by their refs.
    targets: HashMap<String, Vec<Target>>,
    /// By ref.
    bad: HashMap<String, Bad>,
    /// The refs of documents whose kind is not allowed; what they held goes.
    disallowed: HashSet<String>,
    /// Why some document may hold any entity of the file, when there is such a one.
    unidentified: Option<String>,
    problems: Vec<Problem>,
    placeholders: Placeholders<'a>,
}

impl<'a> Run<'a> {
    fn new(input: &'a FileInput<'a>) -> Self {
        let urls = FileUrls::of(input.source, input.near().1);
        let FileInput { source, text, root, gathered, .. } = *input;
        let shelf = Shelf { file: source, text: Some(text), root, gathered };
        Self {
            input,
            location: generated_location(input.source, &urls),
            urls,
            entities: Vec::new(),
            targets: HashMap::new(),
            bad: HashMap::new(),
            disallowed: HashSet::new(),
            unidentified: None,
            problems: Vec::new(),
            placeholders: Placeholders::new(shelf, input.brought_before),
        }
    }

    fn finish(mut self) -> ProcessedFile {
        self.keep();
        self.entities.sort_by_key(|entity| entity.document);
        let targets = self.targets();
        let Self { mut entities, problems, location, placeholders, .. } = self;
        let Placeholders { dependencies, bytes: brought, .. } = placeholders;
        if self.input.root.is_none() {
            entities.insert(0, location);
        }
        ProcessedFile { entities, problems, targets, dependencies, brought }
    }

    fn document(&mut self, document: &Document) {
        let root = match &document.root {
            Ok(root) => root,
            Err(error) => {
                self.problem(Code::YamlSyntax, document, error.at, None, error.message.clone());
                let url = &self.urls.own;
                self.unidentified.get_or_insert(format!("Error: YAML error at url:{url}, {error}"));
                return;
            }
        };
        if let Some(name) = &validate::read_ref(root)
            && self.refuses_kind(document, root, name)
        {
            return;
        }
        let (replaced, unreplaced) = match validate::has_envelope(root) {
            true => self.placeholders.replace(root),
            false => (None, Vec::new()),
        };
        let root = replaced.as_ref().unwrap_or(root);
        let validate::Validation { mut faults, entity_ref, identified, mut relations } =
            validate::validate(root);
        faults.splice(0..0, unreplaced);
        // Backstage looks at them where it looks at the envelope, before all else.
        let at =
            if faults.first().is_some_and(|fault| fault.code == Code::Envelope) { 1 } else { 0 };
        faults.splice(at..at, validate::annotations_not_an_object(root));
        let name = match entity_ref {
            Some(name) if faults.is_empty() => name,
            other => return self.bad_document(document, root, &faults, other.as_ref(), identified),
        };
        for fault in validate::keys_differing_in_case(root) {
            self.fault(document, root, &fault, &fault.message, Some(&name));
        }
        relations.sort();
        relations.dedup();
        self.claim(document, root, &name, relations);
    }

    /// Whether `catalog.rules` forbid the kind; then that is the only problem shown.
    fn refuses_kind(&mut self, document: &Document, root: &Node, name: &EntityRef) -> bool {
        let spec_type = root.get("spec").and_then(|spec| spec.get("type")).and_then(Node::as_str);
        if kinds::find(&name.kind).is_none()
            || self.input.allowed.allows(&name.kind, spec_type, &self.urls.origin)
        {
            return false;
        }
        let message = format!(
            "the kind `{}` is not allowed here; to allow it, add `{}` to `catalog.rules` \
             in the configuration",
            name.kind,
            self.input.allowed.line_to_add(&name.kind)
        );
        let at = root.locate(&["kind"], yaml::Part::Value);
        self.problem(Code::KindNotAllowed, document, at, Some(name), message);
        self.disallowed.insert(name.to_string());
        true
    }

    fn bad_document(
        &mut self,
        document: &Document,
        root: &Node,
        faults: &[Fault],
        name: Option<&EntityRef>,
        identified: bool,
    ) {
        for (index, fault) in faults.iter().take(PROBLEMS_PER_DOCUMENT_MAX).enumerate() {
            // The first as Backstage says it, the others without the words around them.
            let message = if index == 0 { &fault.message } else { &fault.brief };
            self.fault(document, root, fault, message, name);
        }
        let reason = faults
            .first()
            .map_or_else(String::new, |fault| cut(format!("{}: {}", fault.class, fault.message)));
        match name {
            Some(name) if identified => {
                let (document, line) = (document.number, document.at.line);
                self.bad.insert(name.to_string(), Bad { reason, document, line });
            }
            _ => {
                self.unidentified.get_or_insert(reason);
            }
        }
    }

    /// Takes a good document in, in place of an earlier one with the same ref.
    fn claim(
        &mut self,
        document: &Document,
        root: &Node,
        name: &EntityRef,
        relations: Vec<Relation>,
    ) {
        let entity_ref = name.to_string();
        let at = root.locate(&["metadata", "name"], yaml::Part::Value);
        if entity_ref == self.location.entity_ref {
            let message = format!("`{entity_ref}` stands for this file itself, it is made for you");
            self.problem(Code::Duplicate, document, at, Some(name), message);
            return;
        }
        if let Some(index) = self.entities.iter().position(|e| e.entity_ref == entity_ref) {
            let first = self.entities.remove(index);
            let message = format!(
                "`{entity_ref}` is already declared in the document at line {}; this one counts",
                first.line
            );
            self.problem(Code::Duplicate, document, at, Some(name), message);
        }
        let body = Arc::new(self.body(root, name));
        if name.kind == locations::KIND {
            let at = |path: &[&str]| root.locate(path, yaml::Part::Value);
            let near = self.input.near();
            let (targets, wrong) =
                locations::targets(&entity_ref, &body, document.number, near, at);
            self.targets.insert(entity_ref.clone(), targets);
            for (at, message) in wrong.into_iter().take(PROBLEMS_PER_DOCUMENT_MAX) {
                self.problem(Code::TargetInvalid, document, at, Some(name), message);
            }
        }
        self.entities.push(Entity {
            entity_ref,
            body,
            relations,
            stale: None,
            generated: false,
            included_by: None,
            document: document.number,
            line: document.at.line,
        });
    }

    /// The entity as it is stored: defaults filled in, lists of refs sorted.
    fn body(&self, root: &Node, name: &EntityRef) -> Value {
        let mut body = root.to_json();
        body["metadata"]["namespace"] = name.namespace.clone().into();
        annotate(&mut body, self.input.source, &self.urls);
        if let Some(spec) = body.get_mut("spec") {
            relations::sort_lists(spec);
        }
        body
    }

    /// Keeps what must not vanish: the entities whose documents are bad now, and while some
    /// document may be any entity, all that no other document holds.
    fn keep(&mut self) {
        let claimed: HashSet<String> =
            self.entities.iter().map(|entity| entity.entity_ref.clone()).collect();
        for entity in self.input.previous {
            let entity_ref = &entity.entity_ref;
            let settled = entity.generated
                || claimed.contains(entity_ref)
                || self.disallowed.contains(entity_ref)
                || !self.still_allowed(entity);
            if settled {
                continue;
            }
            let mut kept = entity.clone();
            match (self.bad.get(entity_ref), &self.unidentified) {
                (Some(bad), _) => {
                    kept.stale = Some(bad.reason.clone());
                    (kept.document, kept.line) = (bad.document, bad.line);
                }
                (None, Some(reason)) => kept.stale = Some(reason.clone()),
                (None, None) => continue,
            }
            relocate(Arc::make_mut(&mut kept.body), &self.urls);
            self.entities.push(kept);
        }
    }

    /// What the Locations of the file point to, those that are kept from before too: what they
    /// brought in must not vanish either.
    fn targets(&mut self) -> Vec<Target> {
        let mut targets = Vec::new();
        for entity in &self.entities {
            if entity.stale.is_none() {
                targets.extend(self.targets.remove(&entity.entity_ref).unwrap_or_default());
            } else if entity.body["kind"] == locations::KIND {
                targets.extend(locations::targets_of_kept(entity, self.input.near()));
            }
        }
        targets
    }

    fn still_allowed(&self, entity: &Entity) -> bool {
        let kind = entity.body["kind"].as_str().unwrap_or_default();
        self.input.allowed.allows(kind, entity.body["spec"]["type"].as_str(), &self.urls.origin)
    }

    fn fault(
        &mut self,
        document: &Document,
        root: &Node,
        fault: &Fault,
        message: &str,
        name: Option<&EntityRef>,
    ) {
        let message = match &fault.hint {
            Some(hint) => format!("{} ({hint})", cut(message.to_owned())),
            None => message.to_owned(),
        };
        let at = root.locate(&fault.path, fault.part);
        self.problem(fault.code, document, at, name, message);
    }

    fn problem(
        &mut self,
        code: Code,
        document: &Document,
        at: Position,
        name: Option<&EntityRef>,
        message: String,
    ) {
        self.problems.push(Problem {
            code,
            path: self.input.source.path.clone(),
            line: at.line,
            column: at.column,
            document: document.number,
            entity_ref: name.map(EntityRef::to_string).filter(|text| text.len() <= REF_BYTES_MAX),
            message: cut(message),
        });
    }
}

/// Cuts a message that quotes too much, to [`MESSAGE_CHARS_MAX`].
pub fn cut(message: String) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}
