//! `cuelight queue`: lists and shows keys, and revives or forgets those that were given up.
//!
//! It asks the running server, or the storage itself when there is no server; which engine that
//! is makes no difference.

use std::io::Write;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::client::ANSWER_TIME;
use super::reach::Cuelight;
use super::table::{self, printable};
use super::{DONE, FAILED, block_on};
use crate::app::alone::Absent;
use crate::config::Config;
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
    /// Show everything that is known of a key.
    Show {
        /// The key, as `ls` shows it.
        key: WorkKey,
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

/// Runs `verb` and returns the exit code.
pub fn run(
    config: &Config,
    verb: Verb,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    block_on(async {
        let cuelight = Cuelight::reach(config, ANSWER_TIME, Absent::Refuse).await?;
        let done = apply(&Keys(&cuelight), verb, out, err).await;
        cuelight.close().await;
        done
    })
}

async fn apply(
    keys: &Keys<'_>,
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
        Verb::Show { key } => {
            write_lines(&keys.get(&key).await?, out)?;
            Ok(DONE)
        }
        Verb::Retry(Which { key: Some(key), .. }) => change(keys, Change::Retry, &key, out).await,
        Verb::Retry(Which { key: None, .. }) => retry_all(keys, out, err).await,
        Verb::Drop { key } => change(keys, Change::Drop, &key, out).await,
    }
}

async fn change(
    keys: &Keys<'_>,
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
async fn retry_all(
    keys: &Keys<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
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

/// Width of the names before the values.
const NAME_WIDTH: usize = 12;

/// Everything that is known of one key.
fn write_lines(item: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let text = |name: &str| item[name].as_str().unwrap_or("-").to_owned();
    let reasons = item["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let when = match item["state"].as_str() {
        Some("waiting") => "due at",
        Some("held") => "held until",
        _ => "died at",
    };
    let lines = [
        ("key", text("key")),
        ("repository", text("repository")),
        ("account", text("account")),
        ("state", text("state")),
        (when, text("at")),
        ("lane", text("lane")),
        ("reasons", reasons.collect::<Vec<_>>().join(", ")),
        ("attempts", item["attempts"].to_string()),
        ("error", text("error")),
    ];
    for (name, value) in lines {
        writeln!(out, "{name:NAME_WIDTH$} {}", printable(&value))?;
    }
    Ok(())
}

/// The keys, wherever they are.
struct Keys<'a>(&'a Cuelight);

impl Keys<'_> {
    async fn list(&self, state: Option<KeyState>) -> anyhow::Result<(Vec<Row>, u64)> {
        let state = state.map_or("", |state| match state {
            KeyState::Waiting => "&state=waiting",
            KeyState::Held => "&state=held",
            KeyState::Dead => "&state=dead",
        });
        let path = format!("/api/cuelight/v1/queue?limit={KEYS_MAX}{state}");
        let answer = self.0.get(&path).await?;
        let items = self.0.items(&answer, StatusCode::OK)?;
        let rows: Vec<Row> = items.iter().map(Row::from_json).collect();
        let total = answer.body["total"].as_u64().unwrap_or(rows.len() as u64);
        Ok((rows, total))
    }

    async fn get(&self, key: &WorkKey) -> anyhow::Result<Value> {
        let answer = self.0.get(&format!("/api/cuelight/v1/queue?key={key}")).await?;
        match self.0.items(&answer, StatusCode::OK)?.first() {
            Some(item) => Ok(item.clone()),
            None => bail!("{key} is not in the queue: nothing is to be done for it"),
        }
    }

    /// False when the key is not dead.
    async fn change(&self, change: Change, key: &WorkKey) -> anyhow::Result<bool> {
        let answer = self.0.post(change.path(), &json!({ "key": key.to_string() })).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.0.refused(&answer)),
        }
    }
}
