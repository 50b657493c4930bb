//! YAML 1.2 and JSON to a tree that knows where everything stands.
//!
//! It reads what Backstage reads, which is npm's `yaml` without merge keys: the core schema, keys
//! written out as texts, tags that YAML itself does not know dropped and their values kept. A
//! broken document does not break its neighbours, and nothing a text can hold makes it recurse, or
//! grow beyond the limits below.
//! It does not write YAML, and it keeps neither comments nor styles.
//! `docs/decisions/0001-yaml.md` says why it stands on events, and where it differs.

mod compose;
mod escape;
mod hints;
mod keys;
mod lines;
mod repair;
mod scalar;
mod split;
mod tagged;

use serde_json::Value;

use self::compose::Budget;

pub use scalar::number_text;

/// Largest text that is read: the largest API definition Backstage was seen to take is 3 MB.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// Most documents of one text. Catalog files hold a handful; generated ones some hundreds.
pub const DOCUMENTS_MAX: u32 = 500;

/// Deepest nesting. Real entities stay under 20; JSON schemas within them were seen at 60. It
/// also bounds every recursion over a [`Node`]. The store nests an entity 8 levels deeper, and
/// serde_json reads back 127 levels.
pub const DEPTH_MAX: usize = 100;

/// Most nodes of one document, those of expanded aliases and anchors counted: about 20 MB.
pub const NODES_MAX: usize = 200_000;

/// Most uses of one anchor, times those nested in it; npm's `yaml` stops there too.
pub const ALIASES_MAX: usize = 100;

/// Most bytes of text that expanded aliases may add to one document.
pub const ALIAS_BYTES_MAX: usize = 4 << 20;

/// A place in a text, counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it starts.
    pub at: Position,
    /// What it is.
    pub value: NodeValue,
}

/// What a node is, by YAML's core schema.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that JSON can hold.
    Number(serde_json::Number),
    /// A text.
    String(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text; keys are texts and unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it starts.
    pub at: Position,
    /// The key; other scalars are written out as Backstage does.
    pub text: String,
}

/// One document of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its number, from 1, documents without content not counted.
    pub number: u32,
    /// Where its content starts.
    pub at: Position,
    /// Its root, or why it is no YAML. A broken document does not break its neighbours.
    pub root: Result<Node, SyntaxError>,
}

/// Why a document is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {}, column {}", at.line, at.column)]
pub struct SyntaxError {
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub message: String,
}

/// Which part of a mapping's entry [`Node::locate`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key: for what should not be there, or lacks something.
    Key,
    /// The value: for what is wrong.
    Value,
}

/// All documents of a text that have content; empty and null documents are left out.
pub fn parse(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Err(error) = check_size(text) {
        return vec![Document { number: 1, at: error.at, root: Err(error) }];
    }
    let (mut documents, mut budget) = (Vec::new(), Budget::default());
    let mut number = 0;
    for chunk in split::split(text) {
        let root = match read(&chunk, &mut budget) {
            Ok(Node { value: NodeValue::Null, .. }) => continue,
            root => root,
        };
        number += 1;
        let at = root.as_ref().map_or_else(|_| chunk.content_at(), |node| node.at);
        if number > DOCUMENTS_MAX {
            let message = format!("a file may hold {DOCUMENTS_MAX} documents, here is another");
            documents.push(Document { number, at, root: Err(SyntaxError { at, message }) });
            break;
        }
        documents.push(Document { number, at, root });
    }
    documents
}

/// All documents of a text; those without content are null.
pub fn parse_all(text: &str) -> Vec<Result<Node, SyntaxError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Err(error) = check_size(text) {
        return vec![Err(error)];
    }
    let mut budget = Budget::default();
    let chunks = split::split(text).into_iter().filter(|chunk| chunk.is_document);
    chunks.map(|chunk| read(&chunk, &mut budget)).collect()
}

fn check_size(text: &str) -> Result<(), SyntaxError> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the text is larger than {TEXT_BYTES_MAX} bytes");
    Err(SyntaxError { at: Position { line: 1, column: 1 }, message })
}

fn read(chunk: &split::Chunk<'_>, budget: &mut Budget) -> Result<Node, SyntaxError> {
    let nothing = || Node { at: chunk.content_at(), value: NodeValue::Null };
    let root = compose::compose(chunk, budget).map(|root| root.unwrap_or_else(nothing));
    root.map_err(|error| SyntaxError {
        at: chunk.within(error.at),
        message: hints::with_hint(error.message),
    })
}

impl Node {
    /// The value of a key, when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, node)| node)
    }

    /// A key and its value, when this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Self)> {
        let NodeValue::Map(entries) = &self.value else { return None };
        entries.iter().find(|(k, _)| k.text == key).map(|(k, node)| (k, node))
    }

    /// The text, when this is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// A value that stands at one place; numbers as in a text.
    pub fn from_json(value: &Value, at: Position) -> Self {
        let value = match value {
            Value::Null => NodeValue::Null,
            Value::Bool(value) => NodeValue::Bool(*value),
            Value::Number(number) => scalar::resolve_plain(&number.to_string(), false),
            Value::String(text) => NodeValue::String(text.clone()),
            Value::Array(items) => {
                NodeValue::List(items.iter().map(|item| Self::from_json(item, at)).collect())
            }
            Value::Object(entries) => {
                let entry = |(key, value): (&String, &Value)| {
                    (Key { at, text: key.clone() }, Self::from_json(value, at))
                };
                NodeValue::Map(entries.iter().map(entry).collect())
            }
        };
        Self { at, value }
    }

    /// The same value without its places.
    pub fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(value) => Value::Bool(*value),
            NodeValue::Number(number) => Value::Number(number.clone()),
            NodeValue::String(text) => Value::String(text.clone()),
            NodeValue::List(items) => items.iter().map(Self::to_json).collect(),
            NodeValue::Map(entries) => Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect(),
            ),
        }
    }

    /// Where a path of keys and indices (decimal, from 0) leads; as far as it exists. A value
    /// that stands nowhere in the text (`key:` and no more) is found at its key.
    pub fn locate<S: AsRef<str>>(&self, path: &[S], part: Part) -> Position {
        let mut node = self;
        let mut at = self.at;
        for (depth, segment) in path.iter().map(AsRef::as_ref).enumerate() {
            let next = match &node.value {
                NodeValue::Map(_) => node.entry(segment).map(|(key, value)| (key.at, value)),
                NodeValue::List(items) => segment
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (item.at, item)),
                _ => None,
            };
            let Some((key_at, value)) = next else { return at };
            let last = depth + 1 == path.len();
            let shows_value = last && part == Part::Value && value.value != NodeValue::Null;
            at = if shows_value { value.at } else { key_at };
            node = value;
        }
        at
    }
}
