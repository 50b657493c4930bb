//! `$text`, `$json` and `$yaml`: values of an entity that stand in other files of its repository.
//!
//! A mapping whose only key is one of them is replaced by what the file holds. A mapping with any
//! other key that starts with `$` is left as it is, with all within, as in Backstage. What another
//! file holds is not looked through again. A file that has not been read is asked for, and its
//! placeholder stays until then.

use std::collections::BTreeSet;

use serde_json::Value;

use super::annotations::file_url;
use super::javascript;
use super::target::{self, is_same_repository};
use super::validate::Fault;
use super::yaml::{self, Node, NodeValue, Part, Position};
use super::{Code, Gathered, HeldFile, Need, Source};

/// Most bytes that the placeholders of one file may bring in. They become part of one record; an
/// API definition has been seen with 3 MB.
pub const BYTES_MAX: usize = 16 << 20;

/// Most bytes that the placeholders of one root file and of all that it leads to may bring in,
/// those of documents that are refused included: each byte is read, copied and compared.
pub const BYTES_PER_ROOT_MAX: usize = 2 * BYTES_MAX;

/// Most values that `$json` and `$yaml` of one file may bring in: as many as a document may have.
pub const NODES_MAX: usize = yaml::NODES_MAX;

/// Why a placeholder that names a file of another repository is refused.
pub const OTHER_REPOSITORY: &str =
    "Placeholder may only reference files from the same repository as the entity";

/// Where the annotations of an entity stand.
const ANNOTATIONS: [&str; 2] = ["metadata", "annotations"];

/// The files that placeholders may name, as far as they have been read.
#[derive(Debug, Clone, Copy)]
pub struct Shelf<'a> {
    /// The file that the placeholders stand in.
    pub file: &'a Source,
    /// What it holds, where that is known and not among the others.
    pub text: Option<&'a str>,
    /// The file that led to it.
    pub root: Option<(&'a Source, &'a str)>,
    /// All others.
    pub gathered: &'a Gathered,
}

enum Found<'a> {
    Text(&'a str),
    Missing,
    Unreadable(&'a str),
}

impl<'a> Shelf<'a> {
    fn find(&self, source: &Source) -> Option<Found<'a>> {
        let own = self.text.map(|text| (self.file, text));
        for (near, text) in [own, self.root].into_iter().flatten() {
            if near == source {
                return Some(Found::Text(text));
            }
        }
        Some(match self.gathered.files.get(source)? {
            HeldFile::Text(text) => Found::Text(text),
            HeldFile::Missing => Found::Missing,
            HeldFile::Unreadable(reason) => Found::Unreadable(reason),
        })
    }
}

/// Replaces the placeholders of the documents of one file.
#[derive(Debug)]
pub struct Placeholders<'a> {
    shelf: Shelf<'a>,
    /// Every file that was asked for, read or not.
    pub dependencies: BTreeSet<Need>,
    /// What they brought in so far.
    pub bytes: usize,
    /// What those of the files before may leave for these.
    left: usize,
    nodes: usize,
    faults: Vec<Fault>,
}

/// What a placeholder became; an error is what is wrong with it, in Backstage's words.
type Resolved = Result<Option<Node>, String>;

impl<'a> Placeholders<'a> {
    /// Nothing is replaced yet; the files before brought in so many bytes.
    pub fn new(shelf: Shelf<'a>, before: usize) -> Self {
        let left = BYTES_PER_ROOT_MAX.saturating_sub(before);
        let (dependencies, faults) = (BTreeSet::new(), Vec::new());
        Self { shelf, dependencies, bytes: 0, left, nodes: 0, faults }
    }

    /// The document with everything replaced that could be, `None` when that is nothing, and what
    /// is wrong with the others.
    pub fn replace(&mut self, root: &Node) -> (Option<Node>, Vec<Fault>) {
        let replaced = self.walk(root, &mut Vec::new());
        (replaced, std::mem::take(&mut self.faults))
    }

    fn walk(&mut self, node: &Node, path: &mut Vec<String>) -> Option<Node> {
        let value = match &node.value {
            NodeValue::List(items) => {
                let new = self.walk_all(items.iter().map(|item| (None, item)), path)?;
                let new = new.into_iter().zip(items).map(|(new, old)| new.unwrap_or(old.clone()));
                NodeValue::List(new.collect())
            }
            NodeValue::Map(entries) => {
                // The annotations that say where it comes from stand beside whatever is there.
                let is_alone = *path != ANNOTATIONS;
                if let Some(key) = placeholder(node).filter(|_| is_alone) {
                    let [(_, value)] = entries.as_slice() else { return None };
                    return self.resolve_at(key, value, path);
                }
                if entries.iter().any(|(key, _)| key.text.starts_with('$')) {
                    return None;
                }
                let all = entries.iter().map(|(key, value)| (Some(key.text.as_str()), value));
                let new = self.walk_all(all, path)?;
                let pair = |(new, (key, old)): (Option<Node>, &(yaml::Key, Node))| {
                    (key.clone(), new.unwrap_or_else(|| old.clone()))
                };
                NodeValue::Map(new.into_iter().zip(entries).map(pair).collect())
            }
            _ => return None,
        };
        Some(Node { at: node.at, value })
    }

    /// What each of these became, `None` when none became anything.
    fn walk_all<'n>(
        &mut self,
        nodes: impl Iterator<Item = (Option<&'n str>, &'n Node)>,
        path: &mut Vec<String>,
    ) -> Option<Vec<Option<Node>>> {
        let mut is_changed = false;
        let mut new = Vec::new();
        for (index, (key, node)) in nodes.enumerate() {
            path.push(key.map_or_else(|| index.to_string(), str::to_owned));
            let walked = self.walk(node, path);
            path.pop();
            is_changed |= walked.is_some();
            new.push(walked);
        }
        is_changed.then_some(new)
    }

    fn resolve_at(&mut self, key: &str, value: &Node, path: &[String]) -> Option<Node> {
        let resolved = self.resolve(key, value, path.len());
        resolved.unwrap_or_else(|message| {
            self.faults.push(fault([path, &[key.to_owned()]].concat(), message));
            None
        })
    }

    fn resolve(&mut self, key: &str, value: &Node, depth: usize) -> Resolved {
        let written = value.as_str().ok_or_else(|| not_a_text(key))?;
        let base = self.shelf.file;
        let no_url = |reason: String| {
            let base = file_url(base);
            format!("Placeholder {key} could not form a URL out of {base} and {written}, {reason}")
        };
        let known: Vec<&Source> = self.shelf.root.iter().map(|(root, _)| *root).collect();
        let source = target::file(written, base, &known)
            .map_err(|error| no_url(format!("Error: {error}")))?;
        if !is_same_repository(&source, base) {
            return Err(no_url(format!("Error: {OTHER_REPOSITORY}")));
        }
        let found = self.shelf.find(&source);
        let Source { full_name, branch, path, .. } = &source;
        let unread =
            |why: String| format!("Placeholder {key} could not read location {written}, {why}");
        let missing =
            unread(format!("NotFoundError: there is no file {path} in {full_name} on {branch}"));
        self.dependencies.insert(Need::File(source));
        let text = match found {
            None => return Ok(None),
            Some(Found::Text(text)) => text,
            Some(Found::Missing) => return Err(missing),
            Some(Found::Unreadable(reason)) => return Err(unread(format!("Error: {reason}"))),
        };
        self.bytes += text.len();
        if self.bytes > BYTES_MAX {
            let why = "the placeholders of one file may bring in";
            return Err(unread(format!("Error: {why} {BYTES_MAX} bytes together")));
        }
        if self.bytes > self.left {
            let why = "the placeholders of a file and of those it leads to may bring in";
            return Err(unread(format!("Error: {why} {BYTES_PER_ROOT_MAX} bytes together")));
        }
        let node = read(key, written, text, value.at)?;
        self.nodes += count(&node);
        if self.nodes > NODES_MAX {
            let why = "the placeholders of one file may bring in";
            return Err(unread(format!("Error: {why} {NODES_MAX} values together")));
        }
        if depth + height(&node) > yaml::DEPTH_MAX {
            let most = yaml::DEPTH_MAX;
            return Err(unread(format!("Error: an entity may be nested {most} levels deep")));
        }
        Ok(Some(node))
    }
}

/// The key of a placeholder.
fn placeholder(node: &Node) -> Option<&'static str> {
    let NodeValue::Map(entries) = &node.value else { return None };
    let [(key, _)] = entries.as_slice() else { return None };
    ["$text", "$json", "$yaml"].into_iter().find(|known| *known == key.text)
}

fn read(key: &str, written: &str, text: &str, at: Position) -> Result<Node, String> {
    if key == "$text" {
        return Ok(Node { at, value: NodeValue::String(text.to_owned()) });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if key == "$json" {
        if let Some(error) = javascript::find_error(text) {
            return Err(format!(
                "Placeholder {key} failed to parse JSON data at {written}, SyntaxError: {error}"
            ));
        }
        // What is JSON for JavaScript and not for us (half a surrogate pair, 1e999) YAML can read.
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            return Ok(Node::from_json(&value, at));
        }
    }
    let mut documents = yaml::parse_all(text);
    let count = documents.len();
    let document = documents.pop().filter(|_| count == 1).ok_or_else(|| {
        format!(
            "Placeholder {key} expected to find exactly one document of data at {written}, \
             found {count}"
        )
    })?;
    let mut node = document.map_err(|error| {
        let what = format!("found an error in the data at {written}, YAMLParseError: {error}");
        format!("Placeholder {key} {what}")
    })?;
    move_to(&mut node, at);
    Ok(node)
}

fn not_a_text(key: &str) -> String {
    format!(
        "Placeholder {key} expected a string value parameter, in the form of an absolute URL or \
         a relative path"
    )
}

fn fault(path: Vec<String>, message: String) -> Fault {
    Fault {
        code: Code::Placeholder,
        path,
        part: Part::Value,
        class: "InputError",
        message: format!(
            "Processor PlaceholderProcessor threw an error while preprocessing; caused by Error: \
             {message}"
        ),
        brief: message,
        hint: None,
    }
}

/// In its own file, all of a value stands where its placeholder does.
fn move_to(node: &mut Node, at: Position) {
    node.at = at;
    match &mut node.value {
        NodeValue::List(items) => items.iter_mut().for_each(|item| move_to(item, at)),
        NodeValue::Map(entries) => {
            for (key, value) in entries {
                key.at = at;
                move_to(value, at);
            }
        }
        _ => {}
    }
}

fn count(node: &Node) -> usize {
    1 + children(node).map(count).sum::<usize>()
}

fn height(node: &Node) -> usize {
    1 + children(node).map(height).max().unwrap_or(0)
}

fn children(node: &Node) -> impl Iterator<Item = &Node> {
    let (items, entries) = match &node.value {
        NodeValue::List(items) => (items.as_slice(), &[][..]),
        NodeValue::Map(entries) => (&[][..], entries.as_slice()),
        _ => (&[][..], &[][..]),
    };
    items.iter().chain(entries.iter().map(|(_, value)| value))
}
