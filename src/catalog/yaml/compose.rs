//! From the parser's events to one tree, on a stack of our own and within the limits.
//!
//! Beyond YAML's grammar, which is the parser's business, this file knows aliases, duplicate keys,
//! tags, and the few texts that the parser takes and npm's `yaml` does not.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::escape::{Disguised, disguise};
use super::keys::{Keys, Place, key_text};
use super::lines::Lines;
use super::repair::Repaired;
use super::scalar::{resolve_plain, resolve_tagged};
use super::split::Chunk;
use super::tagged;
use super::{
    ALIAS_BYTES_MAX, ALIASES_MAX, DEPTH_MAX, Key, NODES_MAX, Node, NodeValue, Position, SyntaxError,
};

/// Most bytes of a text, all its documents together, that are parsed again after repairs: some
/// tenths of a second. A text of usual size (10 kB) may have 400 places to mend.
const REPAIR_BYTES_MAX: usize = 4 << 20;

/// What may still be parsed again of a text.
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(REPAIR_BYTES_MAX)
    }
}

/// The root of a chunk, if it has content.
pub(super) fn compose(chunk: &Chunk<'_>, budget: &mut Budget) -> Result<Option<Node>, SyntaxError> {
    if let Some(error) = &chunk.error {
        return Err(error.clone());
    }
    refuse_lone_carriage_return(chunk)?;
    let disguised = disguise(&chunk.text);
    let mut repaired = Repaired::new(disguised.text.clone(), chunk.lines_before);
    loop {
        let fault = match compose_once(chunk, &repaired, &disguised) {
            Ok(root) => return Ok(root),
            Err(fault) => fault,
        };
        if budget.0 == 0 || !repaired.mend(&fault) {
            return Err(fault);
        }
        budget.0 = budget.0.saturating_sub(repaired.text.len());
    }
}

fn compose_once(
    chunk: &Chunk<'_>,
    repaired: &Repaired<'_>,
    disguised: &Disguised<'_>,
) -> Result<Option<Node>, SyntaxError> {
    let mut composer = Composer {
        yaml_1_1: chunk.yaml_1_1,
        disguised,
        repaired,
        lines: Lines::of(&disguised.text),
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        alias_bytes: 0,
        root: None,
    };
    let mut parser = Parser::new_from_str(&repaired.text);
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

/// A collection that is not finished.
struct Frame {
    at: Position,
    /// Where it starts in the text that is parsed.
    start: Marker,
    /// Whether it stands in brackets or braces.
    flow: bool,
    /// The column of the innermost block collection; 0 when there is none.
    block_column: u32,
    anchor: usize,
    tag: Option<CollectionTag>,
    content: Content,
    /// Nodes in it, itself and expanded aliases counted.
    nodes: usize,
    /// The heaviest alias in it: uses of its anchor times what that anchor holds.
    alias_weight: usize,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, keys: Keys, key: Option<(Key, Place)> },
}

/// A tag that changes what a collection is.
#[derive(Clone, Copy)]
enum CollectionTag {
    Set,
    OrderedMap,
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
    /// Whether it stands here by another name; then it is like no other key.
    is_alias: bool,
    nodes: usize,
    alias_weight: usize,
}

struct Composer<'a> {
    yaml_1_1: bool,
    disguised: &'a Disguised<'a>,
    repaired: &'a Repaired<'a>,
    lines: Lines<'a>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    alias_bytes: usize,
    root: Option<Node>,
}

impl Composer<'_> {
    fn position(&self, mark: &Marker) -> Position {
        self.repaired.position(mark.line(), mark.col())
    }

    fn syntax_error(&self, error: &ScanError) -> SyntaxError {
        SyntaxError { at: self.position(error.marker()), message: error.info().to_owned() }
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let at = self.position(&span.start);
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
                let is_quoted = [ScalarStyle::SingleQuoted, ScalarStyle::DoubleQuoted];
                let in_block = self.stack.last().filter(|frame| !frame.flow);
                if let Some(frame) = in_block.filter(|_| is_quoted.contains(&style)) {
                    self.check_lines((&span.start, &span.end), frame.block_column, None)?;
                }
                let before = self.nodes;
                let value = self.scalar(text.into_owned(), style, tag.as_deref(), at)?;
                let node = Node { at, value };
                // A scalar may stand for many values.
                let nodes = 1 + (self.nodes - before);
                self.finish(Finished { node, is_alias: false, nodes, alias_weight: 0 }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                let tag = tag.filter(|tag| tagged::core_name(tag) == "omap");
                let tag = tag.map(|_| CollectionTag::OrderedMap);
                self.open(span, anchor, tag, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let tag = tag.filter(|tag| tagged::core_name(tag) == "set");
                let tag = tag.map(|_| CollectionTag::Set);
                let (entries, keys, key) = (Vec::new(), Keys::default(), None);
                self.open(span, anchor, tag, Content::Map { entries, keys, key })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
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

    fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<NodeValue, SyntaxError> {
        let text = self.disguised.undo(text, style == ScalarStyle::DoubleQuoted);
        let Some(tag) = tag else {
            return Ok(match style {
                ScalarStyle::Plain => resolve_plain(&text, self.yaml_1_1),
                _ => NodeValue::String(text),
            });
        };
        match tagged::core_name(tag) {
            "timestamp" => tagged::timestamp(&text).map(NodeValue::String).ok_or_else(|| {
                let message = "`!!timestamp` needs a date, such as 2026-11-22".into();
                SyntaxError { at, message }
            }),
            "binary" => {
                let bytes = tagged::binary(&text);
                self.count(bytes.len(), at)?;
                let item = |byte: u8| Node { at, value: NodeValue::Number(byte.into()) };
                let key = |text: &str| Key { at, text: text.to_owned() };
                let kind = Node { at, value: NodeValue::String("Buffer".to_owned()) };
                let data = NodeValue::List(bytes.into_iter().map(item).collect());
                let data = Node { at, value: data };
                Ok(NodeValue::Map(vec![(key("type"), kind), (key("data"), data)]))
            }
            _ => Ok(resolve_tagged(&text, tag, self.yaml_1_1)),
        }
    }

    /// What the parser lets pass: tabs that indent.
    fn check_place(&self, at: Position, mark: &Marker) -> Result<(), SyntaxError> {
        let Some(frame) = self.stack.last() else { return Ok(()) };
        let waits_for_key = matches!(&frame.content, Content::Map { key: None, .. });
        if !frame.flow && waits_for_key && self.lines.is_indented_by_tab(mark) {
            let message = "a tab cannot indent, use spaces".into();
            return Err(SyntaxError { at, message });
        }
        Ok(())
    }

    /// What the parser lets pass: lines between two places that are indented by less than
    /// `columns`, unless what closes there stands at `closing`.
    fn check_lines(
        &self,
        (start, end): (&Marker, &Marker),
        columns: u32,
        closing: Option<u32>,
    ) -> Result<(), SyntaxError> {
        let lines = (start.line() + 1, end.line());
        let Some((line, column)) = self.lines.too_far_left(lines, columns, closing) else {
            return Ok(());
        };
        let at = self.repaired.position(line, column);
        let within = if closing.is_some() { "brackets" } else { "quotes" };
        let message = format!("what stands in {within} must be indented more than its key");
        Err(SyntaxError { at, message })
    }

    fn close(&mut self, span: &Span) -> Result<(), SyntaxError> {
        let frame = self.stack.pop().expect("the parser closes only what it opened");
        let is_outermost = self.stack.last().is_none_or(|outer| !outer.flow);
        if frame.flow && is_outermost {
            let closing = Some(self.position(&span.start).column);
            self.check_lines((&frame.start, &span.start), frame.block_column, closing)?;
        }
        let value = match (frame.content, frame.tag) {
            (Content::Map { entries, .. }, Some(CollectionTag::Set)) => {
                if let Some((_, node)) = entries.iter().find(|(_, n)| n.value != NodeValue::Null) {
                    let message = "what is in a `!!set` has no value".to_owned();
                    return Err(SyntaxError { at: node.at, message });
                }
                NodeValue::Map(Vec::new())
            }
            (Content::List(_), Some(CollectionTag::OrderedMap)) => NodeValue::Map(Vec::new()),
            (Content::List(items), _) => NodeValue::List(items),
            (Content::Map { entries, .. }, _) => NodeValue::Map(entries),
        };
        let node = Node { at: frame.at, value };
        let Frame { nodes, alias_weight, anchor, .. } = frame;
        self.finish(Finished { node, is_alias: false, nodes, alias_weight }, anchor)
    }

    fn open(
        &mut self,
        span: &Span,
        anchor: usize,
        tag: Option<CollectionTag>,
        content: Content,
    ) -> Result<(), SyntaxError> {
        let at = self.position(&span.start);
        self.check_place(at, &span.start)?;
        let outer = self.stack.last();
        // The parser gives block collections an empty span, but for their anchors and tags; and so
        // the pair of `[key: value]`, which has no brackets of its own.
        // Within brackets nothing but brackets opens, and a line may hold any number of them.
        let flow = outer.is_some_and(|outer| outer.flow)
            || !span.is_empty() && self.lines.opens_before(&span.end);
        let is_list = matches!(content, Content::List(_));
        if !flow && !is_list && self.lines.stands_after_tab(&span.start) {
            let message = "a tab cannot indent, use spaces".into();
            return Err(SyntaxError { at, message });
        }
        if self.stack.len() >= DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(SyntaxError { at, message });
        }
        // The parser places a list that is not indented more than its key at its first item.
        let is_value = outer.is_some_and(|outer| matches!(outer.content, Content::Map { .. }));
        let is_indented = || !is_list || self.lines.starts_list(&span.end, is_value);
        let block_column = match outer {
            _ if !flow && is_indented() => self.position(&span.end).column,
            Some(outer) => outer.block_column,
            None => 0,
        };
        self.stack.push(Frame {
            at,
            start: span.start,
            flow,
            block_column,
            anchor,
            tag,
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
        self.place(Finished { node: Node { at, ..node }, is_alias: true, nodes, alias_weight })
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
                Some((key, Place::New)) => entries.push((key, finished.node)),
                Some((_, Place::Of(index))) => entries[index].1 = finished.node,
                None => {
                    let Node { at, value } = finished.node;
                    let text = key_text(&value);
                    let seen = if finished.is_alias { None } else { Some(&value) };
                    let Some(place) = keys.place(&text, seen, entries.len()) else {
                        let message = format!("the key `{text}` stands here twice");
                        return Err(SyntaxError { at, message });
                    };
                    *key = Some((Key { at, text }, place));
                }
            },
        }
        Ok(())
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
