//! `cuelight scan --approve-removals ACCOUNT`: lists what the brake holds, asks, approves exactly
//! that list.
//!
//! Alone it scans first, so that what is held is what would be now, and works the approved removals
//! off afterwards. An account that no provider names any more has no scan; what is held of it is
//! known from the records.

use anyhow::{Context, bail};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::watch::Watch;
use super::{body_of, tell_catalog, text};
use crate::cli::reach::Cuelight;
use crate::cli::{DONE, FAILED, Input, Streams, USAGE};

/// Lists, asks, approves; `is_agreed` when nobody has to be asked.
pub async fn approve(
    cuelight: &Cuelight,
    account: &str,
    is_agreed: bool,
    streams: &mut Streams<'_>,
) -> anyhow::Result<u8> {
    if let Some(alone) = cuelight.alone() {
        writeln!(streams.err, "cuelight: scanning {account} to see what is held")?;
        alone.push_due().await?;
        let asked = cuelight.post("/api/cuelight/v1/scans", &body_of(Some(account))).await?;
        if asked.status != StatusCode::NOT_FOUND {
            cuelight.items(&asked, StatusCode::ACCEPTED)?;
        }
        alone.work().await?;
    }
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("account", account)
        .finish();
    let path = format!("/api/cuelight/v1/approvals?{query}");
    let answer = cuelight.get(&path).await?;
    let held = cuelight.items(&answer, StatusCode::OK)?;
    if held.is_empty() {
        writeln!(streams.out, "no removal waits for approval")?;
        return Ok(DONE);
    }
    writeln!(streams.out, "all entities of these repositories would go:")?;
    for one in held {
        writeln!(streams.out, "  {} (since {})", text(one, "repository"), text(one, "since"))?;
    }
    if !is_agreed {
        match agreed(held.len(), streams)? {
            Some(true) => {}
            Some(false) => {
                writeln!(streams.out, "nothing was approved")?;
                return Ok(FAILED);
            }
            None => {
                let said = "nothing was approved; give --yes to approve this list";
                writeln!(streams.err, "cuelight: {said}")?;
                return Ok(USAGE);
            }
        }
    }
    let names: Vec<&Value> = held.iter().map(|one| &one["repository"]).collect();
    let body = json!({ "account": account, "repositories": names });
    let answer = cuelight.post("/api/cuelight/v1/approvals", &body).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::CONFLICT => {
            bail!("nothing was approved, what is held has changed meanwhile; run this again")
        }
        _ => return Err(cuelight.refused(&answer)),
    }
    let until = text(&answer.body, "until");
    writeln!(
        streams.out,
        "approved: each of these {} goes as soon as a read confirms it, until {until}",
        held.len()
    )?;
    let Some(alone) = cuelight.alone() else { return Ok(DONE) };
    alone.work().await?;
    alone.load().await?;
    tell_catalog(cuelight, streams).await?;
    Watch::of_all(cuelight).look().await?.tell_left(streams)
}

/// What was typed; `None` when nobody is there to ask.
fn agreed(count: usize, streams: &mut Streams<'_>) -> anyhow::Result<Option<bool>> {
    let Input::Typed(input) = &mut streams.input else { return Ok(None) };
    write!(streams.out, "approve the removal of these {count}? [y/N] ")?;
    streams.out.flush()?;
    let mut said = String::new();
    input.read_line(&mut said).context("cannot read the answer")?;
    Ok(Some(matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
}
