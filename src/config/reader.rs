//! Reads typed settings out of the laid layers and collects everything that is wrong with them.
//!
//! A reading function that returns `None` has said why, so that whoever gives up on a missing
//! part adds nothing. `${VAR}` is substituted here, when a value is read.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::duration;
use super::error::{ConfigError, Origin};
use super::layers::{Entry, Tree, Value};
use super::nearest::nearest;
use super::substitute::substitute;

/// Largest file that a `…File` key names: secrets are keys and passwords.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Looks up an environment variable.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// What was found wrong or remarkable so far.
pub struct Reader<'e> {
    env: Env<'e>,
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<String>>,
}

/// The keys of a map, and those that are planned or meaningless here with the reason why.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// Keys that are read.
    pub known: &'static [&'static str],
    /// Keys that are refused with a reason of their own.
    pub refused: &'static [(&'static str, &'static str)],
}

impl Keys {
    /// Nothing but `known`.
    pub const fn only(known: &'static [&'static str]) -> Self {
        Self { known, refused: &[] }
    }
}

/// A map that has been checked for unknown keys.
#[derive(Debug, Clone)]
pub struct Section<'t> {
    /// Its path from the root, `""` for the root itself.
    pub path: String,
    /// Where it stands.
    pub origin: &'t Origin,
    entries: &'t [Entry],
}

impl<'t> Section<'t> {
    /// The value of `key` with its path; `null` is as good as absent.
    pub fn get(&self, key: &str) -> Option<Item<'t>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let item = Item { path: join(&self.path, key), tree: &entry.tree };
        (!matches!(item.tree.value, Value::Null)).then_some(item)
    }

    /// Every value with its key.
    pub fn all(&self) -> impl Iterator<Item = (&'t str, Item<'t>)> {
        self.entries.iter().map(|entry| {
            let item = Item { path: join(&self.path, &entry.key), tree: &entry.tree };
            (entry.key.as_str(), item)
        })
    }
}

/// A value with its path.
#[derive(Debug, Clone)]
pub struct Item<'t> {
    /// The path from the root, as people write it.
    pub path: String,
    /// The value.
    pub tree: &'t Tree,
}

impl<'t> Item<'t> {
    /// Whether the value is a map.
    pub fn is_map(&self) -> bool {
        matches!(self.tree.value, Value::Map(_))
    }

    /// Whether the value is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.tree.value, Value::List(_))
    }

    /// The items of a list; a single value is a list of one.
    pub fn each(&self) -> Vec<Item<'t>> {
        match &self.tree.value {
            Value::List(trees) => {
                let item = |(at, tree)| Item { path: format!("{}[{at}]", self.path), tree };
                trees.iter().enumerate().map(item).collect()
            }
            _ => vec![self.clone()],
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'e> Reader<'e> {
    /// A reader that looks variables up in `env`.
    pub fn new(env: Env<'e>) -> Self {
        Self { env, errors: RefCell::default(), warnings: RefCell::default() }
    }

    /// Says that something is wrong at `origin`.
    pub fn error(&self, origin: &Origin, message: impl Into<String>) {
        let error = ConfigError { origin: origin.clone(), message: message.into() };
        self.errors.borrow_mut().push(error);
    }

    /// Says that the value of `item` is wrong.
    pub fn wrong<T>(&self, item: &Item<'_>, message: impl AsRef<str>) -> Option<T> {
        self.error(&item.tree.origin, format!("`{}`: {}", item.path, message.as_ref()));
        None
    }

    /// Says that something of Backstage's file has no effect here.
    pub fn warn(&self, origin: &Origin, message: impl AsRef<str>) {
        self.warnings.borrow_mut().push(format!("{origin}: {}", message.as_ref()));
    }

    /// Errors and warnings.
    pub fn into_findings(self) -> (Vec<ConfigError>, Vec<String>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }

    /// `item` as a map of `keys`; other keys are errors unless they stand in Backstage's file.
    pub fn section<'t>(&self, item: &Item<'t>, keys: Keys) -> Option<Section<'t>> {
        let section = self.map(item)?;
        for entry in section.entries {
            let key = entry.key.as_str();
            if keys.known.contains(&key) || entry.origin.is_backstage() {
                continue;
            }
            match keys.refused.iter().find(|(refused, _)| *refused == key) {
                Some((_, why)) => {
                    self.error(&entry.origin, format!("`{}` {why}", join(&section.path, key)))
                }
                None => self.error(&entry.origin, unknown(&section.path, key, keys.known)),
            }
        }
        Some(section)
    }

    /// `item` as a map of any keys.
    pub fn map<'t>(&self, item: &Item<'t>) -> Option<Section<'t>> {
        match &item.tree.value {
            Value::Map(entries) => {
                Some(Section { path: item.path.clone(), origin: &item.tree.origin, entries })
            }
            other => self.wrong(item, format!("expected a map, found {}", describe(other))),
        }
    }

    /// The value of `key`, which must be there.
    pub fn required<'t>(&self, section: &Section<'t>, key: &str) -> Option<Item<'t>> {
        let found = section.get(key);
        if found.is_none() {
            self.error(section.origin, format!("`{}` is missing", join(&section.path, key)));
        }
        found
    }

    /// A text, variables substituted; never empty.
    pub fn text(&self, item: &Item<'_>) -> Option<String> {
        let text = match &item.tree.value {
            Value::Text(text) => self.substituted(item, text)?,
            // Other scalars are what somebody wrote without quotes.
            Value::Number(number) => number.to_string(),
            Value::Map(entries) if item.tree.origin.is_backstage() => {
                self.backstage_reference(item, entries)?
            }
            other => {
                return self.wrong(item, format!("expected a text, found {}", describe(other)));
            }
        };
        if text.is_empty() { self.wrong(item, "is empty") } else { Some(text) }
    }

    /// A whole number from `min` to `max`.
    pub fn integer(&self, item: &Item<'_>, min: u64, max: u64) -> Option<u64> {
        let number = match &item.tree.value {
            Value::Number(number) => number.as_u64(),
            Value::Text(text) if text.contains("${") => {
                self.substituted(item, text)?.trim().parse().ok()
            }
            _ => None,
        };
        match number.filter(|number| (min..=max).contains(number)) {
            Some(number) => Some(number),
            None => self.wrong(item, format!("expected a whole number from {min} to {max}")),
        }
    }

    /// `true` or `false`.
    pub fn flag(&self, item: &Item<'_>) -> Option<bool> {
        let flag = match &item.tree.value {
            Value::Bool(flag) => Some(*flag),
            Value::Text(text) if text.contains("${") => {
                self.substituted(item, text)?.trim().parse().ok()
            }
            _ => None,
        };
        flag.or_else(|| self.wrong(item, "expected true or false"))
    }

    /// One of `words`, without regard to case.
    pub fn word(&self, item: &Item<'_>, words: &'static [&'static str]) -> Option<&'static str> {
        let text = self.text(item)?;
        let found = words.iter().find(|word| word.eq_ignore_ascii_case(&text));
        let hint = || format!("`{text}` is not one of {}", words.join(", "));
        found.copied().or_else(|| self.wrong(item, hint()))
    }

    /// A span of time: a text, or a map of units.
    pub fn span(&self, item: &Item<'_>) -> Option<Duration> {
        if !item.is_map() {
            let text = self.text(item)?;
            return duration::parse(&text).or_else(|why| self.wrong(item, why).ok_or(())).ok();
        }
        const NAMES: Keys = Keys::only(&[
            "years",
            "months",
            "weeks",
            "days",
            "hours",
            "minutes",
            "seconds",
            "milliseconds",
        ]);
        let section = self.section(item, NAMES)?;
        let mut counts = Vec::new();
        for (unit, count) in section.all().filter(|(unit, _)| NAMES.known.contains(unit)) {
            let number = match &count.tree.value {
                Value::Number(number) => number.as_f64(),
                _ => None,
            };
            counts.push((unit, number.or_else(|| self.wrong(&count, "expected a number"))?));
        }
        if counts.is_empty() && !item.tree.origin.is_backstage() && section.all().next().is_some() {
            // Only unknown keys, and that has been said.
            return None;
        }
        if counts.is_empty() {
            return self.wrong(item, "a duration names at least one unit, such as `minutes`");
        }
        duration::sum(&counts).or_else(|why| self.wrong(item, why).ok_or(())).ok()
    }

    /// The secret under `key`, or in the file that `keyFile` names.
    pub fn secret(&self, section: &Section<'_>, key: &str) -> Option<SecretString> {
        let mut found = self.secrets(section, key)?;
        if found.len() > 1 {
            let item = section.get(key).or_else(|| section.get(&format!("{key}File")))?;
            return self.wrong(&item, "expected one secret, found a list");
        }
        found.pop()
    }

    /// The secrets under `key`, or in the files that `keyFile` names; none when neither is there.
    pub fn secrets(&self, section: &Section<'_>, key: &str) -> Option<Vec<SecretString>> {
        let file_key = format!("{key}File");
        match (section.get(key), section.get(&file_key)) {
            (Some(_), Some(file)) => {
                let both = format!("stands beside `{key}`, and only one of the two can hold");
                self.wrong(&file, both)
            }
            (Some(item), None) => {
                item.each().iter().map(|one| self.text(one).map(SecretString::from)).collect()
            }
            (None, Some(file)) => file.each().iter().map(|one| self.secret_file(one)).collect(),
            (None, None) => Some(Vec::new()),
        }
    }

    fn secret_file(&self, item: &Item<'_>) -> Option<SecretString> {
        self.file(item).map(SecretString::from)
    }

    /// The text of the file that `item` names.
    pub fn file(&self, item: &Item<'_>) -> Option<String> {
        let path = self.path(item)?;
        self.read_secret(item, &path)
    }

    /// A path; a relative one starts from the folder of the file that names it.
    fn path(&self, item: &Item<'_>) -> Option<PathBuf> {
        let text = self.text(item)?;
        Some(item.tree.origin.source.folder.join(text))
    }

    fn read_secret(&self, item: &Item<'_>, path: &Path) -> Option<String> {
        let shown = path.display();
        let text = std::fs::metadata(path).and_then(|metadata| {
            if metadata.len() > SECRET_BYTES_MAX {
                let why = format!("is larger than {SECRET_BYTES_MAX} bytes");
                return Err(std::io::Error::other(why));
            }
            std::fs::read_to_string(path)
        });
        let text = match text {
            Ok(text) => text,
            Err(why) => return self.wrong(item, format!("{shown}: {why}")),
        };
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return self.wrong(item, format!("{shown} is empty"));
        }
        Some(secret.to_owned())
    }

    /// Backstage's `{$env: VAR}` and `{$file: path}`.
    fn backstage_reference(&self, item: &Item<'_>, entries: &[Entry]) -> Option<String> {
        let [Entry { key, tree, .. }] = entries else {
            return self.wrong(item, "expected a text, found a map");
        };
        let inner = Item { path: join(&item.path, key), tree };
        match key.as_str() {
            "$env" => {
                let name = self.text(&inner)?;
                let unset = || format!("the environment variable {name} is not set");
                (self.env)(&name).or_else(|| self.wrong(item, unset()))
            }
            "$file" => {
                let path = self.path(&inner)?;
                self.read_secret(&inner, &path)
            }
            _ => self.wrong(item, "expected a text, found a map"),
        }
    }

    fn substituted(&self, item: &Item<'_>, text: &str) -> Option<String> {
        match substitute(text, self.env) {
            Ok(text) => Some(text),
            Err(why) => self.wrong(item, why),
        }
    }
}

fn unknown(path: &str, key: &str, known: &[&str]) -> String {
    let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
    match nearest(key, known) {
        Some(near) => format!("unknown key `{key}`{place}; did you mean `{near}`?"),
        None => format!("unknown key `{key}`{place}"),
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}
