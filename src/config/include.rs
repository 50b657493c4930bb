//! Backstage's `$include` where its own tool writes it: an App's keys in a file of their own,
//! below `integrations.github[].apps[]`. Other includes are left as they stand.

use super::error::{ConfigError, SourceKind};
use super::layers::{self, Tree, Value};

/// Puts the files that stand for Apps into a layer of Backstage's; returns what is wrong with
/// them.
pub fn apps(layer: &mut Tree) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let integrations = layer.get_mut("integrations");
    let github = integrations.and_then(|integrations| integrations.get_mut("github"));
    for integration in github.map(items).unwrap_or_default() {
        for app in integration.get_mut("apps").map(items).unwrap_or_default() {
            let Some(path) = included(app) else { continue };
            match layers::read_file(&app.origin.source.folder.join(path), SourceKind::Backstage) {
                Ok(Some(file)) => *app = file,
                Ok(None) => errors.push(ConfigError {
                    origin: app.origin.clone(),
                    message: "the file of `$include` is empty".to_owned(),
                }),
                Err(more) => errors.extend(more),
            }
        }
    }
    errors
}

fn items(tree: &mut Tree) -> Vec<&mut Tree> {
    match &mut tree.value {
        Value::List(trees) => trees.iter_mut().collect(),
        _ => Vec::new(),
    }
}

fn included(app: &Tree) -> Option<String> {
    match &app.get("$include")?.value {
        Value::Text(path) => Some(path.clone()),
        _ => None,
    }
}
