//! A repository whose files lead to others, expanded round by round as the reading side would.

use std::collections::{BTreeMap, BTreeSet};

use cuelight::catalog::{
    AllowedKinds, BranchAt, Entity, Expanded, Gathered, Given, HeldFile, HeldTree, Need, Problem,
    Source, expand, process_file,
};

use super::source;

/// A repository `acme/cart` and what else can be read, as the reading side would find it.
#[derive(Clone, Default)]
pub struct World {
    pub root: String,
    pub files: BTreeMap<Source, HeldFile>,
    pub trees: BTreeMap<BranchAt, HeldTree>,
    pub previous: BTreeMap<Source, Vec<Entity>>,
    pub allowed: AllowedKinds,
}

impl World {
    pub fn new(root: impl Into<String>) -> Self {
        Self { root: root.into(), ..Self::default() }
    }

    pub fn held(mut self, path: &str, held: HeldFile) -> Self {
        self.files.insert(at(path), held);
        self
    }

    pub fn file(self, path: &str, text: impl Into<String>) -> Self {
        let text: String = text.into();
        self.held(path, HeldFile::Text(text.into()))
    }

    pub fn tree(mut self, paths: &[&str]) -> Self {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        self.trees.insert(main(), HeldTree::Paths(paths.into()));
        self
    }

    /// Whatever is not there is missing.
    pub fn expand(&self) -> Expanded {
        let mut gathered = Gathered::default();
        for _ in 0..50 {
            let expanded = self.once(&gathered);
            let unmet: BTreeSet<Need> =
                expanded.dependencies.iter().filter(|need| !gathered.has(need)).cloned().collect();
            assert_eq!(expanded.needs, unmet, "needs are the dependencies that are not met");
            if expanded.needs.is_empty() {
                check_promises(&expanded);
                assert_eq!(self.once(&gathered), expanded, "twice the same");
                return expanded;
            }
            for need in expanded.needs {
                match need {
                    Need::File(source) => {
                        let held = self.files.get(&source).cloned().unwrap_or(HeldFile::Missing);
                        gathered.files.insert(source, held);
                    }
                    Need::Tree(branch) => {
                        let held = self.trees.get(&branch).cloned().unwrap_or(HeldTree::Missing);
                        gathered.trees.insert(branch, held);
                    }
                }
            }
        }
        panic!("it needs more and more");
    }

    fn once(&self, gathered: &Gathered) -> Expanded {
        let given = Given {
            source: &source(),
            text: &self.root,
            allowed: &self.allowed,
            previous: &self.previous,
            gathered,
        };
        expand(&given, process_file)
    }

    /// The same world after it was expanded once.
    pub fn then(mut self, change: impl FnOnce(Self) -> Self) -> Expanded {
        let expanded = self.expand();
        let held = expanded.files.into_iter().map(|f| (f.source, f.processed.entities));
        self.previous = held.collect();
        change(self).expand()
    }
}

fn check_promises(expanded: &Expanded) {
    let mut refs = BTreeSet::new();
    let mut sources = BTreeSet::new();
    for file in &expanded.files {
        assert!(sources.insert(&file.source), "{:?} counts twice", file.source);
        for entity in &file.processed.entities {
            assert!(refs.insert(&entity.entity_ref), "{} is held twice", entity.entity_ref);
        }
        for problem in &file.processed.problems {
            assert_eq!(problem.path, file.source.path);
            assert!(problem.line >= 1 && problem.column >= 1 && problem.document >= 1);
        }
    }
    assert_eq!(expanded.files[0].source, source());
    assert!(expanded.files[0].processed.entities[0].generated);
    assert!(!expanded.dependencies.contains(&Need::File(source())), "the root is no dependency");
}

pub fn at(path: &str) -> Source {
    Source { path: path.to_owned(), ..source() }
}

pub fn foreign(full_name: &str, branch: &str, path: &str) -> Source {
    let full_name = full_name.to_owned();
    Source { full_name, branch: branch.to_owned(), path: path.to_owned(), ..source() }
}

pub fn main() -> BranchAt {
    let Source { host, full_name, branch, .. } = source();
    BranchAt { host, full_name, branch }
}

pub fn location(name: &str, targets: &[&str]) -> String {
    let targets: Vec<String> = targets.iter().map(|t| serde_json::json!(t).to_string()).collect();
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: Location\nmetadata: {{name: {name}}}\n\
         spec:\n  targets: [{}]\n",
        targets.join(", ")
    )
}

pub fn optional(location: String) -> String {
    location + "  presence: optional\n"
}

pub fn system(name: &str) -> String {
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: System\nmetadata: {{name: {name}}}\n\
         spec: {{owner: web}}\n"
    )
}

/// `path: name, name (stale)` for each file, the generated Location left out.
pub fn shown(expanded: &Expanded) -> Vec<String> {
    let entity = |entity: &Entity| {
        let name = entity.body["metadata"]["name"].as_str().unwrap_or_default();
        let stale = if entity.stale.is_some() { " (stale)" } else { "" };
        format!("{name}{stale}")
    };
    let file = |file: &cuelight::catalog::ExpandedFile| {
        let entities = file.processed.entities.iter().filter(|entity| !entity.generated);
        let names: Vec<String> = entities.map(entity).collect();
        format!("{}: {}", file.source.path, names.join(", "))
    };
    expanded.files.iter().map(file).collect()
}

pub fn problems(expanded: &Expanded) -> Vec<String> {
    let all = expanded.files.iter().flat_map(|file| &file.processed.problems);
    let show = |problem: &Problem| {
        let Problem { code, path, line, column, message, .. } = problem;
        format!("{path}:{line}:{column} {code}: {message}")
    };
    all.map(show).collect()
}
