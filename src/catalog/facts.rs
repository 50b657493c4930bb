//! What the index holds of one entity: the rows of its own text and those of its relations.
//!
//! Neither is kept with the entity. The former are read from its text, the latter from the
//! relations of the view; when either changes, the rows that only the other has stay.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::catalog::View;
use crate::catalog::edges::Edge;
use crate::catalog::entity::{ViewEntity, parse};
use crate::catalog::index::NAME;
use crate::catalog::search::{Row, own_rows, relation_row, searchable};
use crate::catalog::values::{Found, Names, walked};

/// What the keys of relations start with.
const RELATIONS: &str = "relations.";

/// The rows of an entity's own text.
fn own_rows_of(entity: &ViewEntity) -> Vec<Row> {
    own_rows(&parse(entity.claim.body.as_bytes()), &entity.uid.to_string())
}

impl View {
    /// The searchable values of an entity under a lower-case key, as they are written, in the order
    /// of their lower case. Reads the text of the entity.
    pub fn values(&self, entity: &ViewEntity, key: &str) -> Vec<String> {
        self.found(entity, key).into_iter().filter_map(|(_, original)| original).collect()
    }

    /// The same values in lower case.
    pub(super) fn lower_values(&self, entity: &ViewEntity, key: &str) -> Vec<String> {
        match entity.claim.plain_name() {
            Some(name) if key == NAME => vec![name.to_owned()],
            _ => self.found(entity, key).into_iter().filter_map(|(value, _)| value).collect(),
        }
    }

    fn found(&self, entity: &ViewEntity, key: &str) -> Vec<Found> {
        let mut found = walked(&entity.claim.body, key);
        let mut known: HashSet<_> = found.iter().map(|(value, _)| value.clone()).collect();
        let mut add = |value: &Value| {
            let (value, original) = searchable(value);
            if known.insert(value.clone()) {
                found.push((value, original));
            }
        };
        match key {
            NAME => add(&Names::read(&entity.claim.body).name),
            "metadata.namespace" => match Names::read(&entity.claim.body).namespace {
                Value::Null => add(&"default".into()),
                namespace => add(&namespace),
            },
            "metadata.uid" => add(&entity.uid.to_string().into()),
            _ => {
                if let Some(kind) = key.strip_prefix(RELATIONS) {
                    let targets = self.edges.targets(entity.entity_ref(), kind);
                    targets.into_iter().for_each(|target| add(&target.into()));
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Exchanges the rows of an entity's own text in the index; `old` is what it was.
    pub(super) fn exchange_rows(&mut self, old: Option<&ViewEntity>, entity: &ViewEntity) {
        let Self { index, edges, .. } = self;
        let targets = |key: &str| match key.strip_prefix(RELATIONS) {
            Some(kind) => edges.targets(entity.entity_ref(), kind),
            None => Vec::new(),
        };
        let is_related =
            |row: &Row| targets(&row.key).iter().any(|to| row.original.as_ref() == Some(to));
        let mut old = old.map(own_rows_of).unwrap_or_default();
        old.retain(|row| !is_related(row));
        let new = own_rows_of(entity);
        index.exchange(entity.number, old, new, |key| !targets(key).is_empty());
    }

    /// Takes an entity that is no longer there out of the index; its relations were `edges`.
    pub(super) fn forget_rows(&mut self, entity: &ViewEntity, edges: &[Edge<'_>]) {
        self.index.exchange(entity.number, own_rows_of(entity), Vec::new(), |_| false);
        for row in edges.iter().filter_map(|edge| relation_row(&edge.kind, &edge.target)) {
            self.index.take(entity.number, &row);
            self.index.take_key(entity.number, &row.key);
        }
    }

    /// Brings the rows of some relations of an entity up to date in the index.
    pub(super) fn exchange_relations(&mut self, entity: &ViewEntity, changed: &[Edge<'_>]) {
        let Self { index, edges, .. } = self;
        let mut left: HashMap<String, Left> = HashMap::new();
        for edge in changed {
            let Some(row) = relation_row(&edge.kind, &edge.target) else { continue };
            if edges.contains(edge) {
                index.add(entity.number, &row);
                continue;
            }
            // Once for each key: a push may take ten thousand relations of a kind away.
            let left = left.entry(row.key.clone()).or_insert_with(|| Left {
                targets: edges
                    .targets(&edge.source, &edge.kind.to_lowercase())
                    .into_iter()
                    .collect(),
                own: walked(&entity.claim.body, &row.key).into_iter().map(|(v, _)| v).collect(),
            });
            if !left.targets.contains(&*edge.target) && !left.own.contains(&row.value) {
                index.take(entity.number, &row);
            }
            if left.targets.is_empty() && left.own.is_empty() {
                index.take_key(entity.number, &row.key);
            }
        }
    }
}

/// What an entity still has under the key of a relation.
struct Left {
    targets: HashSet<String>,
    /// The values of its own text, in lower case.
    own: HashSet<Option<String>>,
}
