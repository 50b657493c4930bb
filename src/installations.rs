//! One App: whose installations it has now, and so which accounts its providers scan.
//!
//! Discovery pushes the scan key of every account whose installation may be used and writes
//! nothing else. An installation that is suspended, on selected repositories or gone is told to
//! health; what the catalog holds of its account stays.

use crate::accounts::{Discovered, app_account};
use crate::engine::EngineError;
use crate::engine::queue::{Push, PushKey};
use crate::github::GitHubError;
use crate::health::CheckState;
use crate::ids::{AppId, Host};
use crate::scan::{ScanResult, Scanner};
use crate::telemetry::Metrics;
use crate::work::{Hint, Lane, Reasons, WorkKey};

/// Works one App's key. `Ok(Err(_))` when GitHub gave no list to believe.
///
/// # Errors
/// When the storage fails.
pub async fn discover(
    scanner: &Scanner,
    host: &Host,
    app: AppId,
) -> Result<Result<(), GitHubError>, EngineError> {
    let started_at = scanner.clock.now();
    let outcome = scanner.accounts.discover(host, app).await;
    let mut pushed = 0;
    if let Ok(discovered) = &outcome {
        tell_each(scanner, host, app, discovered);
        let keys = scan_keys(scanner, discovered);
        pushed = keys.len() as u64;
        if !keys.is_empty() {
            scanner.queue.push(Push { delivery: None, keys }).await?;
        }
    }
    let listed = outcome.as_ref().map_or(0, |found| found.installations.len() as u64);
    let error = outcome.as_ref().err().map(ToString::to_string);
    tell(scanner, host, app, (listed, pushed), error.as_deref());
    let ended_at = scanner.clock.now();
    let result = ScanResult { started_at, ended_at, listed, pushed, held: Vec::new(), error };
    scanner.board.post(&app_account(host, app), result);
    Ok(outcome.map(|_| ()))
}

fn scan_keys(scanner: &Scanner, discovered: &Discovered) -> Vec<PushKey> {
    let usable = discovered.installations.iter().filter(|found| found.state.is_usable());
    let key = |account: &crate::ids::Account| PushKey {
        key: WorkKey::Scan(account.clone()),
        account: account.clone(),
        lane: Lane::Scan,
        hint: Hint::new(Reasons::SCHEDULE, scanner.clock.now()),
    };
    usable.map(|found| key(&found.owner.account)).collect()
}

fn tell_each(scanner: &Scanner, host: &Host, app: AppId, discovered: &Discovered) {
    let check = |login: &str| format!("installation:{host}/{}", login.to_ascii_lowercase());
    for found in &discovered.installations {
        let (state, detail) = match found.why_not(app) {
            Some(why) => (CheckState::Degraded, why),
            None => (CheckState::Ok, format!("App {app} sees all repositories")),
        };
        scanner.health.set(&check(&found.owner.login), state, detail);
    }
    for login in &discovered.lost {
        let why = format!(
            "App {app} is no longer installed on {login}, or no longer allowed there; what the \
             catalog holds of it stays"
        );
        scanner.health.set(&check(login), CheckState::Degraded, why);
    }
}

fn tell(scanner: &Scanner, host: &Host, app: AppId, counts: (u64, u64), error: Option<&str>) {
    let check = format!("installations:{host}/app {app}");
    let (listed, pushed) = counts;
    let (state, outcome, detail) = match error {
        Some(error) => {
            let detail = format!("the installations could not be listed: {error}");
            (CheckState::Degraded, "failed", detail)
        }
        None => (CheckState::Ok, "ok", format!("{listed} installations, {pushed} to scan")),
    };
    Metrics::count(&scanner.metrics.scans, outcome);
    tracing::info!(app = %app, outcome, "installations of App {app} on {host}: {detail}");
    scanner.health.set(&check, state, detail);
}
