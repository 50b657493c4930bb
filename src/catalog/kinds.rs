//! The built-in kinds: what their `spec` must look like, and how they relate to other entities.
//!
//! Each kind is one data file in `kinds/`, compiled in; another kind is another file and a line
//! in `FILES`. The files say no more than the rules need; their form is [`Kind`].

use std::sync::LazyLock;

use serde::Deserialize;

use super::shape::Field;

/// The data files, in the order in which kinds are listed to people.
const FILES: [&str; 9] = [
    include_str!("kinds/component.json"),
    include_str!("kinds/api.json"),
    include_str!("kinds/resource.json"),
    include_str!("kinds/system.json"),
    include_str!("kinds/domain.json"),
    include_str!("kinds/location.json"),
    include_str!("kinds/group.json"),
    include_str!("kinds/user.json"),
    include_str!("kinds/template.json"),
];

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|file| serde_json::from_str(file).expect("a test reads every file of `kinds/`"))
        .collect()
});

/// A kind of entity.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kind {
    /// Its name, in which case counts.
    pub kind: String,
    /// Each `apiVersion` it may be written with.
    pub api_versions: Vec<String>,
    /// The fields of `spec` that have a rule; others are allowed and kept.
    pub spec: Vec<Field>,
    /// The fields of `spec` that point to other entities.
    pub relations: Vec<RelationField>,
}

/// A field of `spec` that holds a ref or a list of refs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelationField {
    /// Its key.
    pub field: String,
    /// The kind of a ref that names none; without it a ref must name one.
    pub default_kind: Option<String>,
    /// The relation of this entity to the target.
    pub outgoing: String,
    /// The relation of the target to this entity.
    pub incoming: String,
}

/// All built-in kinds.
pub fn all() -> &'static [Kind] {
    &KINDS
}

/// The kind with exactly this name.
pub fn find(kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|known| known.kind == kind)
}

/// The kind with this name in any case.
pub fn find_ignoring_case(kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|known| known.kind.eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_file_is_a_kind_of_its_own() {
        let names: HashSet<&str> = all().iter().map(|kind| kind.kind.as_str()).collect();
        assert_eq!(names.len(), FILES.len());
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/catalog/kinds");
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), FILES.len());
    }

    #[test]
    fn a_kind_is_found_by_its_exact_name() {
        assert!(find("API").is_some());
        assert!(find("Api").is_none());
        assert_eq!(find_ignoring_case("aPi").unwrap().kind, "API");
        assert!(find_ignoring_case("Service").is_none());
    }

    #[test]
    fn every_relation_names_both_directions() {
        for relation in all().iter().flat_map(|kind| &kind.relations) {
            assert_ne!(relation.outgoing, relation.incoming, "{}", relation.field);
            let known = |kind: &String| find(kind).is_some();
            assert!(relation.default_kind.as_ref().is_none_or(known), "{}", relation.field);
        }
    }
}
