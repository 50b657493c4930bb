//! From the parser's events to one tree, on a stack of our own and within the limits.
//!
//! Beyond YAML's grammar, which is the parser's business, this file knows aliases, duplicate keys,
//! and the few texts that the parser takes and npm's `yaml` does not.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::escape::{Disguised, disguise};
use super::repair::repair;
use super::scalar::{number_text, resolve_plain, resolve_tagged};
use super::split::Chunk;
use super::{
    ALIAS_BYTES_MAX, ALIASES_MAX, DEPTH_MAX, Key, NODES_MAX, Node, NodeValue, Position, SyntaxError,
};

/// Most bytes that are parsed again after repairs: a text of 1 MiB 16 times, and one of usual
/// size (10 kB) 1,600 times, which is once for each of its lines.
const REPAIR_BYTES_MAX: usize = 16 << 20;

/// The root of a chunk, if it has content.
pub(super) fn compose(chunk: &Chunk<'_>) -> Result<Option<Node>, SyntaxError> {
    if let Some(error) = &chunk.error {
        return Err(error.clone());
    }
    refuse_lone_carriage_return(chunk)?;
    let disguised = disguise(&chunk.text);
    let mut text = disguised.text.clone();
    let mut budget = REPAIR_BYTES_MAX;
    loop {
        let fault = match compose_once(chunk, &text, &disguised) {
            Ok(root) => return Ok(root),
            Err(fault) => fault,
        };
        budget = budget.saturating_sub(text.len());
        if budget == 0 || !repair(&mut text, chunk.lines_before, &fault) {
            return Err(fault);
        }
    }
}

fn compose_once(
    chunk: &Chunk<'_>,
    text: &str,
    disguised: &Disguised<'_>,
) -> Result<Option<Node>, SyntaxError> {
    let mut composer = Composer {
        lines_before: chunk.lines_before,
        yaml_1_1: chunk.yaml_1_1,
        disguised,
        tab_lines: tab_lines(text),
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        alias_bytes: 0,
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| composer.syntax_error(&error))?;
        composer.event(event, &span)?;
    }
    Ok(composer.root)
}

/// A carriage return alone ends no line for npm's `yaml`, and for the parser it does; a file that
/// depends on it reads differently everywhere.
fn refuse_lone_carriage_return(chunk: &Chunk<'_>) -> Result<(), SyntaxError> {
    for (line, number) in chunk.text.split('\n').zip(chunk.lines_before + 1..) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(offset) = line.find('\r') {
            let column = line[..offset].chars().count() + 1;
            let at = Position { line: number, column: column.try_into().unwrap_or(u32::MAX) };
            let message = "a carriage return without a line feed ends no line".into();
            return Err(SyntaxError { at, message });
        }
    }
    Ok(())
}

/// Lines of the chunk, from 1, that are indented with a tab, and how many characters deep.
fn tab_lines(text: &str) -> HashMap<usize, usize> {
    let indentation = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    (1..)
        .zip(text.split('\n'))
        .filter(|(_, line)| line[..indentation(line)].contains('\t'))
        .map(|(number, line)| (number, indentation(line)))
        .collect()
}

/// A collection that is not finished.
struct Frame {
    at: Position,
    /// Whether it stands in brackets or braces.
    flow: bool,
    /// The column of the innermost block collection; 0 when there is none.
    block_column: u32,
    anchor: usize,
    content: Content,
    /// Nodes in it, itself and expanded aliases counted.
    nodes: usize,
    /// The heaviest alias in it: uses of its anchor times what that anchor holds.
    alias_weight: usize,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, keys: HashSet<String>, key: Option<Key> },
}

/// A finished node that has an anchor.
struct Anchored {
    node: Node,
    nodes: usize,
    text_bytes: usize,
    /// How often it stands in the document so far.
    uses: usize,
    alias_weight: usize,
}

/// A node that waits to be put where it belongs.
struct Finished {
    node: Node,
    nodes: usize,
    alias_weight: usize,
}

struct Composer<'a> {
    lines_before: u32,
    yaml_1_1: bool,
    disguised: &'a Disguised<'a>,
    tab_lines: HashMap<usize, usize>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    alias_bytes: usize,
    root: Option<Node>,
}

impl Composer<'_> {
    fn position(&self, mark: &Marker) -> Position {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position {
            line: self.lines_before.saturating_add(clamp(mark.line())),
            column: clamp(mark.col()).saturating_add(1),
        }
    }

    fn syntax_error(&self, error: &ScanError) -> SyntaxError {
        SyntaxError { at: self.position(error.marker()), message: error.info().to_owned() }
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let at = self.position(&span.start);
        // The parser gives block collections, which have no brackets, an empty span.
        let flow = !span.is_empty();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // A value that is not written has no place of its own.
                if !span.is_empty() {
                    self.check_place(at, &span.start)?;
                }
                if style == ScalarStyle::Plain && text.starts_with(['|', '>']) {
                    let message = "a plain text cannot start with `|` or `>`".into();
                    return Err(SyntaxError { at, message });
                }
                let value = self.scalar(text.into_owned(), style, tag.as_deref());
                let node = Node { at, value };
                self.finish(Finished { node, nodes: 1, alias_weight: 0 }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.check_place(at, &span.start)?;
                self.open(at, flow, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, _) => {
                self.check_place(at, &span.start)?;
                let (entries, keys, key) = (Vec::new(), HashSet::new(), None);
                self.open(at, flow, anchor, Content::Map { entries, keys, key })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let frame = self.stack.pop().expect("the parser closes only what it opened");
                let value = match frame.content {
                    Content::List(items) => NodeValue::List(items),
                    Content::Map { entries, .. } => NodeValue::Map(entries),
                };
                let node = Node { at: frame.at, value };
                let (nodes, alias_weight) = (frame.nodes, frame.alias_weight);
                self.finish(Finished { node, nodes, alias_weight }, frame.anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::DocumentStart(_) if self.root.is_some() => Err(SyntaxError {
                at,
                message: "another document starts here without a line `---` before it".into(),
            }),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(&self, text: String, style: ScalarStyle, tag: Option<&Tag>) -> NodeValue {
        let text = self.disguised.undo(text, style == ScalarStyle::DoubleQuoted);
        match (tag, style) {
            (Some(tag), _) => resolve_tagged(&text, tag, self.yaml_1_1),
            (None, ScalarStyle::Plain) => resolve_plain(&text, self.yaml_1_1),
            (None, _) => NodeValue::String(text),
        }
    }

    /// What the parser lets pass: tabs that indent, and brackets whose content is not indented.
    fn check_place(&self, at: Position, mark: &Marker) -> Result<(), SyntaxError> {
        let Some(frame) = self.stack.last() else { return Ok(()) };
        let indented_by_tab = self.tab_lines.get(&mark.line()).is_some_and(|&n| mark.col() <= n);
        let waits_for_key = matches!(&frame.content, Content::Map { key: None, .. });
        if !frame.flow && waits_for_key && indented_by_tab {
            let message = "a tab cannot indent, use spaces".into();
            return Err(SyntaxError { at, message });
        }
        if frame.flow && at.column <= frame.block_column && at.line > frame.at.line {
            let message = "what stands in brackets must be indented more than its key".into();
            return Err(SyntaxError { at, message });
        }
        Ok(())
    }

    fn open(
        &mut self,
        at: Position,
        flow: bool,
        anchor: usize,
        content: Content,
    ) -> Result<(), SyntaxError> {
        if self.stack.len() >= DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(SyntaxError { at, message });
        }
        let outer = self.stack.last().map_or(0, |frame| frame.block_column);
        let block_column = if flow { outer } else { at.column };
        self.stack.push(Frame {
            at,
            flow,
            block_column,
            anchor,
            content,
            nodes: 1,
            alias_weight: 0,
        });
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values, those of aliases counted");
            return Err(SyntaxError { at, message });
        }
        Ok(())
    }

    fn finish(&mut self, finished: Finished, anchor: usize) -> Result<(), SyntaxError> {
        self.count(1, finished.node.at)?;
        if anchor != 0 {
            // The copy that later aliases are made of.
            self.count(finished.nodes, finished.node.at)?;
            let anchored = Anchored {
                node: finished.node.clone(),
                nodes: finished.nodes,
                text_bytes: text_bytes(&finished.node),
                uses: 1,
                alias_weight: finished.alias_weight.max(1),
            };
            self.anchors.insert(anchor, anchored);
        }
        self.place(finished)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), SyntaxError> {
        let Some(anchored) = self.anchors.get_mut(&anchor) else {
            let message = "an alias within the value it stands for".into();
            return Err(SyntaxError { at, message });
        };
        anchored.uses += 1;
        let alias_weight = anchored.uses.saturating_mul(anchored.alias_weight);
        self.alias_bytes = self.alias_bytes.saturating_add(anchored.text_bytes);
        if alias_weight > ALIASES_MAX || self.alias_bytes > ALIAS_BYTES_MAX {
            let message = "aliases expand to too much".into();
            return Err(SyntaxError { at, message });
        }
        let (node, nodes) = (anchored.node.clone(), anchored.nodes);
        self.count(nodes, at)?;
        // Shown where it is used: that is the line its owner has to look at.
        self.place(Finished { node: Node { at, ..node }, nodes, alias_weight })
    }

    fn place(&mut self, finished: Finished) -> Result<(), SyntaxError> {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(finished.node);
            return Ok(());
        };
        frame.nodes = frame.nodes.saturating_add(finished.nodes);
        frame.alias_weight = frame.alias_weight.max(finished.alias_weight);
        match &mut frame.content {
            Content::List(items) => items.push(finished.node),
            Content::Map { entries, keys, key } => match key.take() {
                Some(key) => entries.push((key, finished.node)),
                None => {
                    let Node { at, value } = finished.node;
                    let text = key_text(&value);
                    if !keys.insert(text.clone()) {
                        let message = format!("the key `{text}` stands here twice");
                        return Err(SyntaxError { at, message });
                    }
                    *key = Some(Key { at, text });
                }
            },
        }
        Ok(())
    }
}

/// A key as Backstage stores it: scalars as JavaScript's `String()` writes them, nothing as the
/// empty text, collections in YAML's flow style.
fn key_text(value: &NodeValue) -> String {
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

fn text_bytes(node: &Node) -> usize {
    match &node.value {
        NodeValue::String(text) => text.len(),
        NodeValue::List(items) => items.iter().map(text_bytes).sum(),
        NodeValue::Map(entries) => {
            entries.iter().map(|(key, value)| key.text.len() + text_bytes(value)).sum()
        }
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) => 0,
    }
}
