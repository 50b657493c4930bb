//! Catalog files whose meaning is known without reading them: what each text declares is noted
//! when it is written, under the blob id that Git gives it.

use std::collections::HashMap;

use fake_github::blob_oid;
use fastrand::Rng;

use crate::support::stage::component;

/// How many names components share; few, so that repositories claim the same ones.
const NAMES: usize = 45;

/// One document of a catalog file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doc {
    /// A valid component; `spec.type` is `v<version>`, which no other text has.
    Good { name: String, version: u64 },
    /// A component that says what it is called and breaks the schema.
    Bad { name: String },
    /// No YAML.
    Broken,
}

/// Every text written so far.
#[derive(Debug, Default)]
pub struct Texts {
    declared: HashMap<String, Vec<Doc>>,
    versions: u64,
}

impl Texts {
    /// A text never written before: mostly one good component, sometimes two, now and then one
    /// that is invalid.
    pub fn write(&mut self, rng: &mut Rng) -> String {
        self.versions += 1;
        let version = self.versions;
        let first = rng.usize(..NAMES);
        let name = |i: usize| format!("c-{}", (first + i) % NAMES);
        let good = |i: usize| Doc::Good { name: name(i), version };
        let docs = match rng.u8(..20) {
            0 => vec![Doc::Broken],
            1 => vec![Doc::Bad { name: name(0) }],
            2 => vec![good(0), Doc::Bad { name: name(1) }],
            3 => vec![good(0), Doc::Broken],
            4..8 => vec![good(0), good(1)],
            _ => vec![good(0)],
        };
        let text = docs.iter().map(|doc| render(doc, version)).collect::<Vec<_>>().join("---\n");
        self.declared.insert(blob_oid(text.as_bytes()), docs);
        text
    }

    /// What the text with this blob id declares.
    pub fn docs(&self, oid: &str) -> &[Doc] {
        &self.declared[oid]
    }
}

fn render(doc: &Doc, version: u64) -> String {
    match doc {
        Doc::Good { name, version } => component(name, &format!("v{version}")),
        Doc::Bad { name } => format!(
            "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n\
             spec:\n  type: v{version}\n"
        ),
        Doc::Broken => format!("kind: [Component # v{version}\n"),
    }
}
