//! The relations of a view: who declares which, in the order in which they are shown; and those of
//! one claim.
//!
//! Both are kept as text with as little of it repeated as can be: a component names itself in
//! half of what it declares, and its relations stand next to each other. One relation costs about
//! thirty bytes here and as many in its claim.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::catalog::Relation;
use crate::catalog::dictionary::Dictionary;
use crate::catalog::term::{END, part, unescape};

/// One directed relation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge<'a> {
    pub(super) source: Cow<'a, str>,
    pub(super) kind: Cow<'a, str>,
    pub(super) target: Cow<'a, str>,
}

impl Edge<'_> {
    pub(super) fn into_owned(self) -> Edge<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Edge { source: owned(self.source), kind: owned(self.kind), target: owned(self.target) }
    }
}

/// What stands for the ref of the claim itself; no ref is like that.
const OWN: &str = "\u{2}";

/// The relations that one claim declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimEdges(Box<[u8]>);

impl ClaimEdges {
    /// What the entity `own` declares.
    pub(super) fn new(relations: &[Relation], own: &str) -> Self {
        let mut text = Vec::new();
        for Relation { source, kind, target } in relations {
            for word in [source, kind, target] {
                part(if word == own { OWN } else { word }, &mut text);
            }
        }
        Self(text.into())
    }

    /// All of them, as they were declared; `own` is the ref of the claim.
    pub(super) fn iter<'a>(&'a self, own: &'a str) -> impl Iterator<Item = Edge<'a>> {
        let mut words = words(&self.0).map(move |word| match word == OWN {
            true => Cow::Borrowed(own),
            false => word,
        });
        std::iter::from_fn(move || {
            Some(Edge { source: words.next()?, kind: words.next()?, target: words.next()? })
        })
    }
}

/// How the entity that declares a relation is written down: mostly it is one end of it.
const DECLARED_BY_SOURCE: &str = "\u{2}";
const DECLARED_BY_TARGET: &str = "\u{3}";

/// All relations, each with every entity that declares it.
#[derive(Clone, Default)]
pub(super) struct Edges {
    /// Source, kind, target and declarer.
    declared: Dictionary<()>,
}

impl Edges {
    pub(super) fn insert(&mut self, edge: &Edge<'_>, declarer: &str) {
        self.declared.upsert(&string(edge, declarer), (), |(), ()| {});
    }

    pub(super) fn remove(&mut self, edge: &Edge<'_>, declarer: &str) {
        self.declared.remove_if(&string(edge, declarer), |()| true);
    }

    /// Whether anybody declares a relation.
    pub(super) fn contains(&self, edge: &Edge<'_>) -> bool {
        let Edge { source, kind, target } = edge;
        let mut is_there = false;
        self.starting_with(&start(&[source, kind, target]), |_| {
            is_there = true;
            ControlFlow::Break(())
        });
        is_there
    }

    /// The relations of an entity by kind and target, each once.
    pub(super) fn of(&self, source: &str) -> Vec<Edge<'static>> {
        let mut edges: Vec<Edge<'static>> = Vec::new();
        self.each_of(source, |kind, target| {
            let (kind, target) = (Cow::Owned(kind.to_owned()), Cow::Owned(target.to_owned()));
            edges.push(Edge { source: Cow::Owned(source.to_owned()), kind, target });
        });
        edges
    }

    /// Calls `each` with kind and target of the relations of an entity, in order and each once.
    pub(super) fn each_of(&self, source: &str, mut each: impl FnMut(&str, &str)) {
        let start = start(&[source]);
        let mut last = Vec::new();
        self.starting_with(&start, |string| {
            let mut words = words(&string[start.len()..]);
            if let (Some(kind), Some(target)) = (words.next(), words.next()) {
                let edge = &string[..string.len() - words.next().map_or(0, |d| d.len() + 1)];
                if last != edge {
                    each(&kind, &target);
                    last.clear();
                    last.extend_from_slice(edge);
                }
            }
            ControlFlow::Continue(())
        });
    }

    /// The targets of those relations of an entity whose kind is this one in lower case.
    pub(super) fn targets(&self, source: &str, lower_kind: &str) -> Vec<String> {
        let mut targets = Vec::new();
        let own = start(&[source]);
        let mut from = own.clone();
        // From kind to kind, so that those of another cost no more than one.
        while let Some(kind) = self.first_kind(&own, &from) {
            from = start(&[source, &kind]);
            if kind.to_lowercase() == lower_kind {
                self.starting_with(&from, |string| {
                    targets.extend(words(&string[from.len()..]).next().map(Cow::into_owned));
                    ControlFlow::Continue(())
                });
            }
            from.push(ABOVE_ALL_TEXTS);
        }
        targets.dedup();
        targets
    }

    /// The kind of the first relation from `from` on, if it is one of those that start with `own`.
    fn first_kind(&self, own: &[u8], from: &[u8]) -> Option<String> {
        let mut kind = None;
        self.declared.ascend(from, |string, ()| {
            let rest = string.strip_prefix(own);
            kind = rest.and_then(|rest| words(rest).next()).map(Cow::into_owned);
            ControlFlow::Break(())
        });
        kind
    }

    fn starting_with(&self, start: &[u8], mut each: impl FnMut(&[u8]) -> ControlFlow<()>) {
        self.declared.ascend(start, |string, ()| match string.starts_with(start) {
            true => each(string),
            false => ControlFlow::Break(()),
        });
    }
}

/// No text has this byte.
const ABOVE_ALL_TEXTS: u8 = 0xff;

fn string(edge: &Edge<'_>, declarer: &str) -> Vec<u8> {
    let Edge { source, kind, target } = edge;
    let declarer = match declarer {
        own if own == source => DECLARED_BY_SOURCE,
        own if own == target => DECLARED_BY_TARGET,
        other => other,
    };
    start(&[source, kind, target, declarer])
}

fn start(words: &[&str]) -> Vec<u8> {
    let mut string = Vec::with_capacity(words.iter().map(|word| word.len() + 1).sum());
    words.iter().for_each(|word| part(word, &mut string));
    string
}

fn words(string: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let words = string.split_inclusive(|byte| *byte == END);
    words.map(|word| unescape(word.strip_suffix(&[END]).unwrap_or(word)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn edge<'a>(source: &'a str, kind: &'a str, target: &'a str) -> Edge<'a> {
        Edge { source: source.into(), kind: kind.into(), target: target.into() }
    }

    #[test]
    fn a_claim_gives_back_what_it_declares() {
        let relations =
            [("a", "uses", "b"), ("b", "usedBy", "a"), ("", "a", "\0"), ("ab", "a", "b")];
        let relation = |(source, kind, target): &(&str, &str, &str)| Relation {
            source: (*source).to_owned(),
            kind: (*kind).to_owned(),
            target: (*target).to_owned(),
        };
        let edges = ClaimEdges::new(&relations.each_ref().map(relation), "a");
        let expected = relations.map(|(source, kind, target)| edge(source, kind, target));
        assert_eq!(edges.iter("a").collect::<Vec<_>>(), expected);
    }

    #[test]
    fn relations_are_held_once_for_each_that_declares_them() {
        let words = ["a", "b", "b:x/y", "B", "bb"];
        let kinds = ["uses", "Uses", "used", "usesToo"];
        let mut random = fastrand::Rng::with_seed(5);
        let (mut edges, mut model) = (Edges::default(), BTreeSet::new());
        for step in 0..3_000 {
            let mut word = || words[random.usize(0..words.len())];
            let (source, target, declarer) = (word(), word(), word());
            let one = edge(source, kinds[random.usize(0..kinds.len())], target);
            if random.bool() {
                edges.insert(&one, declarer);
                model.insert((one.clone(), declarer));
            } else {
                edges.remove(&one, declarer);
                model.remove(&(one.clone(), declarer));
            }
            let mut of: Vec<&Edge<'_>> = model.iter().map(|(edge, _)| edge).collect();
            of.dedup();
            assert_eq!(edges.contains(&one), of.contains(&&one), "step {step}");
            of.retain(|edge| edge.source == source);
            assert_eq!(edges.of(source).iter().collect::<Vec<_>>(), of);
            let mut uses: Vec<&str> =
                of.iter().filter(|e| e.kind.to_lowercase() == "uses").map(|e| &*e.target).collect();
            let mut targets = edges.targets(source, "uses");
            uses.sort_unstable();
            targets.sort_unstable();
            uses.dedup();
            targets.dedup();
            assert_eq!(targets, uses);
        }
    }
}
