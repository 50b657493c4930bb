//! `cuelight queue`: lists keys, and revives or forgets those that were given up.
//!
//! It asks the running server. When none answers, it opens the SQLite file itself, which works
//! only while no server holds it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::client::{AskError, Client};
use super::{DONE, FAILED, block_on, table};
use crate::clock::SystemClock;
use crate::config::{Config, Storage};
use crate::engine::queue::{Entry, Inspect, State};
use crate::engine::sqlite::{Options, SqliteEngine};
use crate::work::WorkKey;

/// Most keys that are listed, or retried at once: what one answer holds.
const KEYS_MAX: usize = 1000;

/// Longest error that a line of the list shows.
const ERROR_CHARS_MAX: usize = 200;

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// List keys, those that were given up first.
    Ls {
        /// Only keys in this state.
        #[arg(long, value_enum)]
        state: Option<KeyState>,
    },
    /// Work on a key again that was given up.
    Retry(Which),
    /// Forget a key that was given up; the next event or scan may bring it back.
    Drop {
        /// The key, as `ls` shows it.
        key: WorkKey,
    },
}

/// Which keys.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The key, as `ls` shows it.
    key: Option<WorkKey>,
    /// Every key that was given up.
    #[arg(long)]
    all: bool,
}

/// Where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyState {
    /// In line, due now or later.
    Waiting,
    /// Being worked on.
    Held,
    /// Given up.
    Dead,
}

impl KeyState {
    const fn state(self) -> State {
        match self {
            Self::Waiting => State::Waiting,
            Self::Held => State::Held,
            Self::Dead => State::Dead,
        }
    }
}

/// Runs `verb` and returns the exit code.
pub fn run(
    config: &Config,
    verb: Verb,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    block_on(async {
        let keys = Keys::reach(config).await?;
        let done = apply(&keys, verb, out, err).await;
        keys.close().await;
        done
    })
}

async fn apply(
    keys: &Keys,
    verb: Verb,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    match verb {
        Verb::Ls { state } => {
            let (rows, total) = keys.list(state).await?;
            write_table(&rows, total, out)?;
            Ok(DONE)
        }
        Verb::Retry(Which { key: Some(key), .. }) => change(keys, Change::Retry, &key, out).await,
        Verb::Retry(Which { key: None, .. }) => retry_all(keys, out, err).await,
        Verb::Drop { key } => change(keys, Change::Drop, &key, out).await,
    }
}

async fn change(
    keys: &Keys,
    change: Change,
    key: &WorkKey,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    if !keys.change(change, key).await? {
        bail!("{key} is not dead; see `cuelight queue ls --state dead`");
    }
    writeln!(out, "{key} {}", change.done())?;
    Ok(DONE)
}

/// A key that somebody else revived meanwhile is no failure.
async fn retry_all(keys: &Keys, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<u8> {
    let (rows, total) = keys.list(Some(KeyState::Dead)).await?;
    let mut retried = 0;
    for row in &rows {
        let key: WorkKey = row.key.parse().context("the server named a key we do not know")?;
        if keys.change(Change::Retry, &key).await? {
            retried += 1;
        }
    }
    writeln!(out, "{retried} keys {}", Change::Retry.done())?;
    if total > rows.len() as u64 {
        let left = total - rows.len() as u64;
        writeln!(err, "cuelight: {left} more are dead; run this again")?;
        return Ok(FAILED);
    }
    Ok(DONE)
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Retry,
    Drop,
}

impl Change {
    const fn path(self) -> &'static str {
        match self {
            Self::Retry => "/api/cuelight/v1/queue/retry",
            Self::Drop => "/api/cuelight/v1/queue/drop",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Retry => "queued again",
            Self::Drop => "dropped",
        }
    }
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    key: String,
    state: String,
    attempts: u64,
    at: String,
    repository: String,
    error: String,
}

impl Row {
    fn from_json(item: &Value) -> Self {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        Self {
            key: text("key"),
            state: text("state"),
            attempts: item["attempts"].as_u64().unwrap_or_default(),
            at: text("at"),
            repository: text("repository"),
            error: text("error"),
        }
    }

    fn from_entry(entry: Entry) -> Self {
        let state = match entry.state {
            State::Waiting => "waiting",
            State::Held => "held",
            State::Dead => "dead",
        };
        Self {
            key: entry.key.to_string(),
            state: state.to_owned(),
            attempts: entry.attempts.into(),
            at: entry.at.to_string(),
            repository: entry.hint.name.map(|name| name.to_string()).unwrap_or_default(),
            error: entry.error.unwrap_or_default(),
        }
    }

    fn cells(&self) -> [String; 6] {
        let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let error: String = self.error.chars().take(ERROR_CHARS_MAX).collect();
        let at = shown(&self.at);
        let attempts = self.attempts.to_string();
        [shown(&self.key), shown(&self.state), attempts, at, shown(&self.repository), shown(&error)]
    }
}

const HEAD: [&str; 6] = ["KEY", "STATE", "ATTEMPTS", "AT", "REPOSITORY", "ERROR"];

fn write_table(rows: &[Row], total: u64, out: &mut dyn Write) -> std::io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "no keys");
    }
    table::write(&HEAD, rows.iter().map(Row::cells), out)?;
    if total > rows.len() as u64 {
        writeln!(out, "{} of {total} keys", rows.len())?;
    }
    Ok(())
}

/// Where the keys are reached.
enum Keys {
    Server(Client),
    File(Arc<SqliteEngine>),
}

impl Keys {
    /// The running server, else the file.
    async fn reach(config: &Config) -> anyhow::Result<Self> {
        let away = match Client::new(&config.server) {
            Ok(client) => match client.get("/livez").await {
                Ok(_) => return Ok(Self::Server(client)),
                Err(away @ AskError::Away { .. }) => away,
                Err(other) => return Err(other.into()),
            },
            Err(away) => away,
        };
        let Storage::Sqlite(path) = &config.storage;
        if !Path::new(path).exists() {
            bail!("{away}, and there is no file {}", path.display());
        }
        let engine = SqliteEngine::open(path, Arc::new(SystemClock), Options::default());
        Ok(Self::File(engine.with_context(|| format!("{away}, and the file cannot be used"))?))
    }

    async fn list(&self, state: Option<KeyState>) -> anyhow::Result<(Vec<Row>, u64)> {
        match self {
            Self::Server(client) => {
                let state = state.map_or("", |state| match state {
                    KeyState::Waiting => "&state=waiting",
                    KeyState::Held => "&state=held",
                    KeyState::Dead => "&state=dead",
                });
                let path = format!("/api/cuelight/v1/queue?limit={KEYS_MAX}{state}");
                let answer = client.get(&path).await?;
                let Some(items) = answer.body["items"].as_array() else {
                    bail!("the server at {} answered: {}", client.address(), answer.reason());
                };
                let rows: Vec<Row> = items.iter().map(Row::from_json).collect();
                let total = answer.body["total"].as_u64().unwrap_or(rows.len() as u64);
                Ok((rows, total))
            }
            Self::File(engine) => {
                let all = [State::Dead, State::Held, State::Waiting];
                let mut rows = Vec::new();
                let mut total = 0;
                for one in all.into_iter().filter(|one| state.is_none_or(|s| s.state() == *one)) {
                    let (entries, count) = engine.list(one, KEYS_MAX - rows.len()).await?;
                    rows.extend(entries.into_iter().map(Row::from_entry));
                    total += count;
                }
                Ok((rows, total))
            }
        }
    }

    /// False when the key is not dead.
    async fn change(&self, change: Change, key: &WorkKey) -> anyhow::Result<bool> {
        match (self, change) {
            (Self::Server(client), change) => {
                let body = json!({ "key": key.to_string() });
                let answer = client.post(change.path(), &body).await?;
                match answer.status {
                    StatusCode::OK => Ok(true),
                    StatusCode::NOT_FOUND => Ok(false),
                    _ => bail!("the server at {} answered: {}", client.address(), answer.reason()),
                }
            }
            (Self::File(engine), Change::Retry) => Ok(engine.retry(key.clone()).await?),
            (Self::File(engine), Change::Drop) => Ok(Inspect::drop(&**engine, key.clone()).await?),
        }
    }

    async fn close(self) {
        if let Self::File(engine) = self {
            engine.close().await;
        }
    }
}
