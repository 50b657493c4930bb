//! Lays the layers over each other and reads the settings out of them.
//!
//! Lowest first: the defaults compiled in, Backstage's files, our own files in the order given,
//! environment and flags. Nothing of the process is looked at but files: the environment is
//! handed in.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::error::{ConfigError, ConfigErrors, Origin, Source, SourceKind};
use super::layers::{self, Entry, Tree, Value};
use super::reader::{Item, Keys, Reader, Section};
use super::{Config, DEFAULTS, Rules, github, include, service, storage};

/// What the command line says of the configuration.
#[derive(Debug, Clone, Default)]
pub struct LoadArgs {
    /// `--app-config`: Backstage's files, later wins.
    pub app_configs: Vec<PathBuf>,
    /// `--config`: our own files, later wins.
    pub files: Vec<PathBuf>,
    /// `--org`: adds the provider `default` for this organisation or user.
    pub org: Option<String>,
}

/// A configuration and what of Backstage's file has no effect in it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What was left out, a line each with its place.
    pub warnings: Vec<String>,
}

impl Config {
    /// What holds when nothing is configured.
    pub fn defaults() -> Self {
        let loaded = Self::load(&LoadArgs::default(), |_| None);
        loaded.expect("the compiled-in defaults have no mistake, a test loads them").config
    }
}

/// Variables that set a key, and win over every file. An empty variable is as good as none.
const VARIABLES: &[(&str, &[&str])] = &[
    ("CUELIGHT_PUBLIC_LISTEN", &["server", "public", "listen"]),
    ("CUELIGHT_INTERNAL_LISTEN", &["server", "internal", "listen"]),
    ("CUELIGHT_STORAGE_URL", &["storage", "url"]),
    ("CUELIGHT_WEBHOOK_SECRET", &["webhooks", "secrets"]),
];

/// The variable that holds a token for github.com, when no file does.
const TOKEN_VARIABLE: &str = "GITHUB_TOKEN";

/// The provider of the short form and of `--org`.
const DEFAULT_PROVIDER: &str = "default";

const ROOT: Keys = Keys {
    known: &["server", "webhooks", "storage", "workers", "log", "integrations", "catalog"],
    refused: &[("sinks", "is not built yet")],
};

impl Config {
    /// Reads everything and checks it as a whole; every error of every file is reported at once.
    pub fn load(
        args: &LoadArgs,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigErrors> {
        let root = lay_all(args, &env)?;
        let reader = Reader::new(&env);
        let token = env(TOKEN_VARIABLE).filter(|token| !token.trim().is_empty());
        let token = token.map(|token| SecretString::from(token.trim().to_owned()));
        let config = read(&reader, &root, token);
        let (config, warnings) = judge(config, reader)?;
        Ok(Loaded { config, warnings })
    }

    /// Reads `catalog.rules` alone, for a place that has the files and not the secrets, such as
    /// the CI of a repository: variables elsewhere in the files need not be set.
    pub fn load_rules(
        args: &LoadArgs,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Rules, ConfigErrors> {
        let root = lay_all(args, &env)?;
        let reader = Reader::new(&env);
        let item = Item { path: String::new(), tree: &root };
        let catalog = reader.section(&item, ROOT).and_then(|root| catalog(&reader, &root));
        let rules = catalog.and_then(|catalog| service::rules(&reader, &catalog));
        Ok(judge(rules, reader)?.0)
    }
}

/// What was read, unless there was any error.
fn judge<T>(read: Option<T>, reader: Reader<'_>) -> Result<(T, Vec<String>), ConfigErrors> {
    let (mut errors, warnings) = reader.into_findings();
    match read {
        Some(read) if errors.is_empty() => Ok((read, warnings)),
        _ => {
            errors.sort_by_key(|error| place(&error.origin));
            Err(ConfigErrors(errors))
        }
    }
}

/// Errors are shown file by file from top to bottom.
fn place(origin: &Origin) -> (String, u32, u32) {
    let (line, column) = origin.at.map_or((0, 0), |at| (at.line, at.column));
    (origin.source.name.clone(), line, column)
}

fn read(reader: &Reader<'_>, root: &Tree, token: Option<SecretString>) -> Option<Config> {
    let root = Item { path: String::new(), tree: root };
    let root = reader.section(&root, ROOT)?;
    let server = service::server(reader, &root);
    let webhooks = service::webhooks(reader, &root);
    let storage = storage::storage(reader, &root);
    let workers = service::workers(reader, &root);
    let log = service::log(reader, &root);
    let integrations = github::integrations(reader, &root, token);
    let catalog = catalog(reader, &root)?;
    let providers = github::providers(reader, &catalog, integrations.as_deref());
    let rules = service::rules(reader, &catalog);
    let (mut webhooks, integrations) = (webhooks?, integrations?);
    let apps = integrations.iter().flat_map(|integration| &integration.apps);
    webhooks.secrets.extend(apps.filter_map(|app| app.webhook_secret.clone()));
    Some(Config {
        server: server?,
        webhooks,
        storage: storage?,
        workers: workers?,
        integrations,
        providers: providers?,
        rules: rules?,
        log: log?,
    })
}

fn catalog<'a>(reader: &Reader<'_>, root: &Section<'a>) -> Option<Section<'a>> {
    let catalog = reader.required(root, "catalog")?;
    reader.section(&catalog, Keys::only(&["providers", "rules"]))
}

fn lay_all(args: &LoadArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<Tree, ConfigErrors> {
    let mut errors: Vec<ConfigError> = Vec::new();
    let mut root = Tree::empty(layers::origin_outside_files("the configuration".to_owned()));
    let mut lay = |layer: Result<Option<Tree>, Vec<ConfigError>>| match layer {
        Ok(None) => {}
        Ok(Some(mut layer)) => {
            if layer.origin.is_backstage() {
                layer.retain(&["integrations", "catalog"]);
                errors.extend(include::apps(&mut layer));
            }
            name_providers(&mut layer);
            root.lay(layer);
        }
        Err(more) => errors.extend(more),
    };
    lay(defaults());
    for path in &args.app_configs {
        lay(layers::read_file(path, SourceKind::Backstage));
    }
    for path in &args.files {
        lay(layers::read_file(path, SourceKind::Own));
    }
    for (variable, keys) in VARIABLES {
        if let Some(value) = env(variable).filter(|value| !value.is_empty()) {
            lay(Ok(Some(from_outside(&format!("environment variable {variable}"), keys, &value))));
        }
    }
    if let Some(org) = &args.org {
        errors.extend(lay_org(&mut root, org));
    }
    if errors.is_empty() { Ok(root) } else { Err(ConfigErrors(errors)) }
}

fn defaults() -> Result<Option<Tree>, Vec<ConfigError>> {
    let name = "config/cuelight.yaml (built in)".to_owned();
    let source = Source { name, folder: PathBuf::new(), kind: SourceKind::Own };
    layers::parse(DEFAULTS, &Arc::new(source))
}

/// A value from outside the files is taken as it is, without substitution.
fn from_outside(name: &str, keys: &[&str], value: &str) -> Tree {
    let origin = layers::origin_outside_files(name.to_owned());
    Tree::nested(&origin, keys, Value::Text(value.replace("${", "$${")))
}

/// Writes the short form of `catalog.providers.github`, one provider without an id, as the map
/// it stands for, so that layers in either form merge.
fn name_providers(layer: &mut Tree) {
    let providers = layer.get_mut("catalog").and_then(|catalog| catalog.get_mut("providers"));
    let Some(github) = providers.and_then(|providers| providers.get_mut("github")) else { return };
    let Value::Map(entries) = &github.value else { return };
    if entries.iter().any(|entry| github::PROVIDER_MARKS.contains(&entry.key.as_str())) {
        let origin = github.origin.clone();
        let tree = Tree {
            origin: origin.clone(),
            value: std::mem::replace(&mut github.value, Value::Null),
        };
        let entry = Entry { origin, key: DEFAULT_PROVIDER.to_owned(), tree };
        github.value = Value::Map(vec![entry]);
    }
}

/// Adds the provider of `--org`, unless a file defines the same provider for somebody else.
fn lay_org(root: &mut Tree, org: &str) -> Option<ConfigError> {
    let keys = ["catalog", "providers", "github", DEFAULT_PROVIDER, "organization"];
    let existing = keys.iter().try_fold(&*root, |tree, key| tree.get(key));
    if let Some(Tree { origin, value: Value::Text(other) }) = existing
        && !other.eq_ignore_ascii_case(org)
    {
        let id = DEFAULT_PROVIDER;
        let message = format!(
            "the provider `{id}` stands here for `{other}`, and --org wants it for `{org}`"
        );
        return Some(ConfigError { origin: origin.clone(), message });
    }
    root.lay(from_outside("--org", &keys, org));
    None
}
