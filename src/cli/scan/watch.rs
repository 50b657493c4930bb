//! How far the scans asked for are, and what is left of their work, read from the same routes
//! whether a server does the work or this process.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use hyper::StatusCode;
use serde_json::Value;

use super::progress::{Far, Progress};
use super::{LOOK_EVERY, WAIT_MAX, text};
use crate::app::alone::PATIENCE;
use crate::cli::reach::Cuelight;
use crate::cli::table::printable;
use crate::cli::{DONE, FAILED, Streams};
use crate::clock::{Clock, SystemClock, Timestamp};

/// Most keys that are looked through: with more, the rest counts as waiting.
const KEYS_MAX: u64 = 10_000;

/// How long the catalog may take to show what was written: it follows within milliseconds, unless
/// the storage is in trouble, which `/health` tells.
const VIEW_TIME: Duration = Duration::from_secs(30);

/// How often it is looked whether it does.
const VIEW_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Most repositories that are named one by one when they failed.
const NAMED_MAX: usize = 10;

/// What is watched.
pub struct Watch<'a> {
    cuelight: &'a Cuelight,
    asked: &'a [Value],
    /// Whether only the accounts asked for count.
    is_narrow: bool,
    since: Timestamp,
}

/// What was seen at one time.
#[derive(Debug, Default)]
pub struct Look {
    /// Scans that have ended since they were asked for.
    pub ended: Vec<Value>,
    /// Scans that were asked for and have not ended.
    pub missing: Vec<Value>,
    under_way: Vec<Value>,
    /// Keys of repositories, and of accounts, that wait or are worked on.
    pending: u64,
    /// Keys whose last run failed.
    pub failed: Vec<Value>,
    /// Accounts that rest, by number: until when, and why.
    gates: BTreeMap<String, (String, String)>,
    labels: BTreeMap<String, String>,
    /// The last change that the catalog shows, and the last that is written.
    shown: Option<u64>,
    written: Option<u64>,
}

impl<'a> Watch<'a> {
    /// Watches scans that were asked for; `is_narrow` when some account was named.
    pub fn new(cuelight: &'a Cuelight, asked: &'a [Value], is_narrow: bool) -> Self {
        let times = asked.iter().filter_map(|one| time(one, "requestedAt"));
        let since = times.min().unwrap_or_else(|| SystemClock.now());
        Self { cuelight, asked, is_narrow, since }
    }

    /// Watches whatever there is to do.
    pub fn of_all(cuelight: &'a Cuelight) -> Self {
        Self { cuelight, asked: &[], is_narrow: false, since: SystemClock.now() }
    }

    /// Shows how far it is until everything asked for has ended and the catalog shows it.
    ///
    /// A look is several questions, and between two of them a key may go from one list to another
    /// that has been read: so it is over only when two looks in a row have found nothing.
    pub async fn until_done(
        &self,
        progress: &mut Progress,
        streams: &mut Streams<'_>,
    ) -> anyhow::Result<Look> {
        let deadline = SystemClock.now() + WAIT_MAX;
        let mut told = false;
        let mut was_over = false;
        loop {
            let look = self.look().await?;
            progress.show(look.far(), streams.err)?;
            let is_over = look.missing.is_empty() && (look.pending == 0 || !look.gates.is_empty());
            if is_over && was_over {
                self.wait_for_view(&look).await?;
                return Ok(look);
            }
            was_over = is_over;
            if is_over {
                continue;
            }
            if !told && !look.gates.is_empty() {
                told = true;
                look.tell_gates(streams)?;
            }
            if SystemClock.now() >= deadline {
                if look.missing.is_empty() {
                    return Ok(look);
                }
                bail!("no scan has ended within {} s; see /health", WAIT_MAX.as_secs());
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the catalog shows what was written before a look, for a while.
    async fn wait_for_view(&self, look: &Look) -> anyhow::Result<()> {
        let deadline = SystemClock.now() + VIEW_TIME;
        let mut shown = look.shown;
        while shown < look.written && SystemClock.now() < deadline {
            SystemClock.sleep(VIEW_LOOK_EVERY).await;
            let status = self.cuelight.get("/api/cuelight/v1/status").await?.body;
            shown = status["view"]["seq"].as_u64();
        }
        Ok(())
    }

    /// Shows how far it is for as long as it is polled.
    pub async fn show(
        &self,
        progress: &mut Progress,
        streams: &mut Streams<'_>,
    ) -> anyhow::Result<()> {
        loop {
            progress.show(self.look().await?.far(), streams.err)?;
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }

    /// How it is now.
    pub async fn look(&self) -> anyhow::Result<Look> {
        let mut look = Look::default();
        let answer = self.cuelight.get("/api/cuelight/v1/scans").await?;
        for scan in self.cuelight.items(&answer, StatusCode::OK)? {
            self.sort_in(scan, &mut look);
        }
        let has_ended = |one: &&Value| look.ended.iter().any(|scan| scan["id"] == one["id"]);
        look.missing = self.asked.iter().filter(|one| !has_ended(one)).cloned().collect();
        let answer = self.cuelight.get(&format!("/api/cuelight/v1/queue?limit={KEYS_MAX}")).await?;
        let keys = self.cuelight.items(&answer, StatusCode::OK)?;
        let unseen = answer.body["total"].as_u64().unwrap_or(0).saturating_sub(KEYS_MAX);
        look.pending = unseen;
        keys.iter().filter(|key| self.is_ours(&key["account"])).for_each(|key| {
            self.sort_key(key, &mut look);
        });
        let answer = self.cuelight.get("/api/cuelight/v1/status").await?;
        look.shown = answer.body["view"]["seq"].as_u64();
        look.written = answer.body["storage"]["seq"].as_u64();
        for gate in answer.body["gates"].as_array().into_iter().flatten() {
            if self.is_ours(&gate["account"]) {
                let value = (text(gate, "until"), text(gate, "reason"));
                look.gates.insert(text(gate, "account"), value);
            }
        }
        Ok(look)
    }

    fn sort_in(&self, scan: &Value, look: &mut Look) {
        if let Some(number) = scan["id"].as_str().and_then(|id| id.strip_prefix("scan:")) {
            look.labels.insert(number.to_owned(), text(scan, "account"));
        }
        let asked = self.asked.iter().find(|one| one["id"] == scan["id"]);
        let since = match asked {
            Some(one) => time(one, "requestedAt"),
            None if self.is_narrow || self.asked.is_empty() => return,
            // What an App's list led to.
            None => Some(self.since),
        };
        if scan["endedAt"].is_null() {
            look.under_way.push(scan.clone());
        } else if time(scan, "startedAt") >= since {
            look.ended.push(scan.clone());
        }
    }

    fn sort_key(&self, key: &Value, look: &mut Look) {
        let at = time(key, "at");
        if !key["error"].is_null() {
            let is_old = key["state"] == "dead" && at < Some(self.since);
            let is_repository = text(key, "key").starts_with("repo:");
            if is_repository && !is_old {
                look.failed.push(key.clone());
            }
        } else if key["lane"] == "scan"
            // What is held is being read; its `at` is the end of its lease.
            && (key["state"] == "held" || at <= Some(SystemClock.now() + PATIENCE))
        {
            look.pending += 1;
        }
    }

    fn is_ours(&self, account: &Value) -> bool {
        let is_it = |one: &Value| text(one, "id").strip_prefix("scan:") == account.as_str();
        !self.is_narrow || self.asked.iter().any(is_it)
    }
}

impl Look {
    fn far(&self) -> Far {
        let sum = |scans: &[Value], name: &str| -> Option<u64> {
            let numbers: Vec<u64> = scans.iter().filter_map(|scan| scan[name].as_u64()).collect();
            (!numbers.is_empty()).then(|| numbers.iter().sum())
        };
        if !self.missing.is_empty() {
            return Far::Listing(sum(&self.under_way, "listed"), sum(&self.under_way, "total"));
        }
        let total = sum(&self.ended, "pushed").unwrap_or(0);
        Far::Reading(total.saturating_sub(self.pending), total)
    }

    /// Tells what could not be done now, and why; exit code 1 when there is any such thing.
    pub fn tell_left(&self, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
        let mut code = DONE;
        for one in self.failed.iter().take(NAMED_MAX) {
            code = FAILED;
            let name = one["repository"].as_str().or(one["key"].as_str()).unwrap_or("-");
            let (name, error) = (printable(name), text(one, "error"));
            let fate = match one["state"].as_str() {
                Some("dead") => "given up, see `cuelight queue ls --state dead`".to_owned(),
                _ => format!("due again at {}", text(one, "at")),
            };
            writeln!(streams.err, "cuelight: {name} failed: {error} ({fate})")?;
        }
        let more = self.failed.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            writeln!(streams.err, "cuelight: {more} more failed; see `cuelight queue ls`")?;
        }
        if !self.gates.is_empty() && (self.pending > 0 || !self.missing.is_empty()) {
            code = FAILED;
            self.tell_gates(streams)?;
        }
        Ok(code)
    }

    fn tell_gates(&self, streams: &mut Streams<'_>) -> std::io::Result<()> {
        for (account, (until, reason)) in &self.gates {
            let label = self.label(account);
            writeln!(
                streams.err,
                "cuelight: {label} rests until {until} ({reason}); {} keys wait in the queue",
                self.pending
            )?;
        }
        Ok(())
    }

    fn label(&self, account: &str) -> String {
        let is_it = |one: &&Value| text(one, "id").strip_prefix("scan:") == Some(account);
        let asked = self.missing.iter().find(is_it).map(|one| text(one, "account"));
        let known = asked.or_else(|| self.labels.get(account).cloned());
        known.unwrap_or_else(|| account.to_owned())
    }
}

/// A time of an answer.
pub fn time(value: &Value, name: &str) -> Option<Timestamp> {
    value[name].as_str().and_then(Timestamp::parse_rfc3339)
}
