//! Layers of settings and how a later one lies over an earlier one: maps merge, everything else
//! is replaced.
//!
//! A tree keeps where each key and value came from, so that an error names the layer that said
//! it. Nothing is substituted here: a `${VAR}` that a later layer replaces is never looked up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ConfigError, Origin, Source, SourceKind};
use crate::catalog::yaml::{self, Node, NodeValue};

/// Largest configuration file: a hundred times a large one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Settings that are secret; each may stand in a file that `…File` names.
pub const SECRETS: &[&str] =
    &["clientSecret", "privateKey", "secrets", "token", "tokens", "webhookSecret"];

/// A value and where it came from.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Where it stands.
    pub origin: Origin,
    /// What it is.
    pub value: Value,
}

/// What a setting can be.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing said.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text, `${…}` not yet substituted.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A map in the order of its text.
    Map(Vec<Entry>),
}

/// A key of a map with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where the key stands.
    pub origin: Origin,
    /// The key.
    pub key: String,
    /// Its value.
    pub tree: Tree,
}

impl Tree {
    /// An empty map.
    pub fn empty(origin: Origin) -> Self {
        Self { origin, value: Value::Map(Vec::new()) }
    }

    /// `keys` as maps within each other around `value`, all at `origin`.
    pub fn nested(origin: &Origin, keys: &[&str], value: Value) -> Self {
        let innermost = Self { origin: origin.clone(), value };
        keys.iter().rev().fold(innermost, |tree, key| {
            let entry = Entry { origin: origin.clone(), key: (*key).to_owned(), tree };
            Self { origin: origin.clone(), value: Value::Map(vec![entry]) }
        })
    }

    /// The value under `key`, when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.tree)
    }

    /// The value under `key` to be changed, when this is a map that has it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Value::Map(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.tree)
    }

    /// Keeps only `keys` of a map.
    pub fn retain(&mut self, keys: &[&str]) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|entry| keys.contains(&entry.key.as_str()));
        }
    }

    /// Lays `over` over this tree. `null` says nothing. A setting and its `…File` form are one
    /// setting: the later of the two stays.
    pub fn lay(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (_, Value::Null) => {}
            (Value::Map(entries), Value::Map(more)) => {
                // A merged map stands where it was last spoken of.
                self.origin = over.origin;
                for other in more.iter().filter_map(|entry| other_form(&entry.key)) {
                    entries.retain(|old| old.key != other);
                }
                for entry in more {
                    match entries.iter_mut().find(|old| old.key == entry.key) {
                        Some(old) => {
                            old.origin = entry.origin;
                            old.tree.lay(entry.tree);
                        }
                        None => entries.push(entry),
                    }
                }
            }
            (_, value) => *self = Self { origin: over.origin, value },
        }
    }
}

/// `token` for `tokenFile` and the other way round.
fn other_form(key: &str) -> Option<String> {
    let plain = key.strip_suffix("File");
    let secret = plain.unwrap_or(key);
    let is_secret = SECRETS.contains(&secret);
    is_secret.then(|| plain.map_or_else(|| format!("{key}File"), str::to_owned))
}

/// Reads a file as a layer; `None` when it holds nothing but comments.
pub fn read_file(path: &Path, kind: SourceKind) -> Result<Option<Tree>, Vec<ConfigError>> {
    let name = path.display().to_string();
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let source = Arc::new(Source { name, folder, kind });
    let whole = Origin { source: Arc::clone(&source), at: None };
    let fail = |message: String| vec![ConfigError { origin: whole.clone(), message }];
    let size = std::fs::metadata(path).map_err(|e| fail(format!("cannot be read: {e}")))?.len();
    if size > FILE_BYTES_MAX {
        return Err(fail(format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| fail(format!("cannot be read: {e}")))?;
    parse(&text, &source)
}

/// Reads a text as a layer; `None` when it holds nothing but comments.
pub fn parse(text: &str, source: &Arc<Source>) -> Result<Option<Tree>, Vec<ConfigError>> {
    let mut found = None;
    let mut errors = Vec::new();
    let at = |at| Origin { source: Arc::clone(source), at: Some(at) };
    for document in yaml::parse(text) {
        let origin = at(document.at);
        match document.root {
            Err(error) => errors.push(ConfigError { origin: at(error.at), message: error.message }),
            Ok(_) if found.is_some() => {
                let message = "a configuration file holds one document, this is another".to_owned();
                errors.push(ConfigError { origin, message });
            }
            Ok(root) => found = Some(tree(root, source)),
        }
    }
    if let Some(tree) = &found
        && !matches!(tree.value, Value::Map(_))
    {
        let message = "a configuration file is a map of settings".to_owned();
        errors.push(ConfigError { origin: tree.origin.clone(), message });
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The layer of a variable or a flag.
pub fn origin_outside_files(name: String) -> Origin {
    let source = Source { name, folder: PathBuf::new(), kind: SourceKind::Own };
    Origin { source: Arc::new(source), at: None }
}

/// The reader of YAML bounds the depth of its nodes, and so of this.
fn tree(node: Node, source: &Arc<Source>) -> Tree {
    let at = |at| Origin { source: Arc::clone(source), at: Some(at) };
    let value = match node.value {
        NodeValue::Null => Value::Null,
        NodeValue::Bool(value) => Value::Bool(value),
        NodeValue::Number(value) => Value::Number(value),
        NodeValue::String(value) => Value::Text(value),
        NodeValue::List(nodes) => {
            Value::List(nodes.into_iter().map(|node| tree(node, source)).collect())
        }
        NodeValue::Map(entries) => {
            let entry = |(key, node): (yaml::Key, Node)| Entry {
                origin: at(key.at),
                key: key.text,
                tree: tree(node, source),
            };
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Tree { origin: at(node.at), value }
}
