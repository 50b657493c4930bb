//! One App: whose installations it has now, and so which accounts its providers scan.
//!
//! Discovery pushes the scan key of every account whose installation may be used and writes
//! nothing else; cued by an event it pushes those only that have changed. A suspended installation
//! is told to health, and what the catalog holds of its account stays.
//!
//! What the catalog holds of an account that is [lost](crate::accounts) goes as a whole when a
//! signed event said that the App was uninstalled and GitHub confirmed it by the installation's
//! id. Else it is held as a whole, told to health, and waits for approval.

use crate::accounts::{Discovered, Loss, app_account};
use crate::engine::EngineError;
use crate::engine::queue::{Push, PushKey, push_all};
use crate::engine::store::Summary;
use crate::github::{GitHubError, Installation, InstallationState};
use crate::health::CheckState;
use crate::ids::{Account, AppId, Host};
use crate::scan::{Ended, ScanResult, Scanner};
use crate::telemetry::Metrics;
use crate::work::{Hint, Lane, Reasons, WorkKey};

/// Most names that a health text shows of a set that is held.
const NAMES_SHOWN_MAX: usize = 10;

/// Works one App's key. `Ok(Err(_))` when GitHub gave no list to believe.
///
/// # Errors
/// When the storage fails.
pub async fn discover(
    scanner: &Scanner,
    host: &Host,
    app: AppId,
    reasons: Reasons,
) -> Result<Result<(), GitHubError>, EngineError> {
    let started_at = scanner.clock.now();
    let outcome = scanner.accounts.discover(host, app).await;
    // An event is about one account; the others are the schedule's.
    let by_event = reasons.any(Reasons::GRANT) && !reasons.any(Reasons::SCHEDULE);
    let mut pushed = 0;
    if let Ok(discovered) = &outcome {
        tell_each(scanner, host, app, discovered);
        let keys = scan_keys(scanner, discovered, by_event);
        pushed = keys.len() as u64;
        if !keys.is_empty() {
            scanner.queue.push(Push { delivery: None, keys }).await?;
        }
        scanner.accounts.keep(&*scanner.store, host, app).await?;
        if !by_event {
            for (account, loss) in &discovered.lost {
                let_go(scanner, account, loss, Reasons::default()).await?;
            }
        }
    }
    let listed = outcome.as_ref().map_or(0, |found| found.installations.len() as u64);
    let error = outcome.as_ref().err().map(ToString::to_string);
    tell(scanner, host, app, (listed, pushed), error.as_deref());
    let ended_at = scanner.clock.now();
    let account = app_account(host, app);
    let label = scanner.accounts.label(&account, None);
    let result =
        ScanResult { label, started_at, ended_at, listed, pushed, held: Vec::new(), error };
    scanner.board.post(&account, result).await?;
    Ok(outcome.map(|_| ()))
}

/// Works an account's scan key: after an event about what Apps may see these are asked first, and
/// an account that is lost is let go of instead of listed.
///
/// # Errors
/// When the storage fails.
pub async fn scan(
    scanner: &Scanner,
    account: &Account,
    reasons: Reasons,
) -> Result<Result<Ended, GitHubError>, EngineError> {
    if reasons.any(Reasons::GRANT)
        && let Err(error) = scanner.accounts.regranted(account).await
    {
        return Ok(Err(error));
    }
    let loss = match scanner.accounts.lost(account) {
        Some(loss) => Some(loss),
        // What GitHub does not say here the scan is not told either, and it tells health.
        None => scanner.accounts.unnamed(account).await.unwrap_or_default(),
    };
    match loss {
        Some(loss) => let_go(scanner, account, &loss, reasons).await.map(|()| Ok(Ended::Whole)),
        None => {
            let scanned = scanner.scan(account).await?;
            if scanned.is_ok() {
                // What GitHub does not say here, the next scan asks again.
                for (other, loss) in scanner.accounts.namesakes(account).await.unwrap_or_default() {
                    let_go(scanner, &other, &loss, Reasons::default()).await?;
                }
            }
            Ok(scanned)
        }
    }
}

/// Pushes the keys of what the catalog holds of a lost account, or holds them as a whole.
async fn let_go(
    scanner: &Scanner,
    account: &Account,
    loss: &Loss,
    reasons: Reasons,
) -> Result<(), EngineError> {
    let started_at = scanner.clock.now();
    let summaries = scanner.store.summaries(account.clone()).await?;
    let label = match scanner.membership.is_named(&account.host, &loss.login) {
        // Its login is another's now.
        true => account.to_string(),
        false => scanner.accounts.label(account, None),
    };
    let checks = ["github", "scan", "installation"].map(|subject| format!("{subject}:{label}"));
    if summaries.is_empty() {
        checks.iter().for_each(|check| scanner.health.remove(check));
        scanner.board.approved(account).await?;
        scanner.accounts.forget(account);
        return Ok(());
    }
    let is_named = loss.is_confirmed && reasons.any(Reasons::UNINSTALLED);
    let stays = |s: &&Summary| !is_named && s.holds_entities;
    let waits = summaries.iter().filter(|s| stays(s) && !s.is_approved);
    let held: Vec<_> = waits.map(|s| (s.key.clone(), s.full_name.to_string())).collect();
    let goes = summaries.iter().filter(|s| !stays(s));
    let hint =
        || Hint::new(if is_named { Reasons::UNINSTALLED } else { Reasons::SCAN }, started_at);
    let key = |s: &Summary| PushKey {
        key: WorkKey::Repo(s.key.clone()),
        account: account.clone(),
        lane: Lane::Scan,
        hint: Hint { name: Some(s.full_name.clone()), ..hint() },
    };
    let keys: Vec<PushKey> = goes.map(key).collect();
    let pushed = keys.len() as u64;
    push_all(&*scanner.queue, keys).await?;
    let [github, scan, installation] = &checks;
    scanner.health.remove(github);
    if held.is_empty() {
        scanner.health.remove(scan);
    } else {
        scanner.health.set(scan, CheckState::Degraded, held_text(&held, loss, &label));
    }
    if is_named {
        tracing::info!(account = %account, "{label} was uninstalled; {pushed} repositories go");
        scanner.health.remove(installation);
    }
    let ended_at = scanner.clock.now();
    let result = ScanResult { label, started_at, ended_at, listed: 0, pushed, held, error: None };
    scanner.board.post(account, result).await?;
    Ok(())
}

fn held_text(held: &[(crate::work::RepoKey, String)], loss: &Loss, label: &str) -> String {
    let names = held.iter().take(NAMES_SHOWN_MAX).map(|(_, name)| name.as_str());
    let shown = names.collect::<Vec<_>>().join(", ");
    let more = held.len().saturating_sub(NAMES_SHOWN_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let login = &loss.login;
    let why = if label.ends_with(&format!("/{}", login.to_ascii_lowercase())) {
        format!(
            "no provider names {login} any more and no App of one is installed on it, which no \
             webhook has told"
        )
    } else {
        format!("the login {login} belongs to another account now")
    };
    format!(
        "{why}: the brake holds all entities of {} repositories: {shown}{rest}; they stay in the \
         catalog until `cuelight scan --approve-removals {label}`",
        held.len()
    )
}

fn scan_keys(scanner: &Scanner, discovered: &Discovered, by_event: bool) -> Vec<PushKey> {
    let is_due = |found: &&Installation| {
        let owner = &found.owner;
        let named = !scanner.membership.of_owner(&owner.account.host, &owner.login).is_empty();
        let due = !by_event || discovered.changed.contains(&owner.account);
        found.state.is_usable() && named && due
    };
    let key = |account: &Account| PushKey {
        key: WorkKey::Scan(account.clone()),
        account: account.clone(),
        lane: Lane::Scan,
        hint: Hint::new(Reasons::SCHEDULE, scanner.clock.now()),
    };
    discovered.installations.iter().filter(is_due).map(|found| key(&found.owner.account)).collect()
}

fn tell_each(scanner: &Scanner, host: &Host, app: AppId, discovered: &Discovered) {
    let check = |login: &str| format!("installation:{host}/{}", login.to_ascii_lowercase());
    for found in &discovered.installations {
        let (state, detail) = match (found.why_not(app), found.state) {
            (Some(why), _) => (CheckState::Degraded, why),
            (None, InstallationState::Selected) => {
                (CheckState::Ok, format!("App {app} sees the repositories selected for it"))
            }
            (None, _) => (CheckState::Ok, format!("App {app} sees all repositories")),
        };
        scanner.health.set(&check(&found.owner.login), state, detail);
    }
    for (_, loss) in &discovered.lost {
        let why = format!(
            "App {app} is no longer installed on {}; install it again, or approve that its \
             repositories leave the catalog",
            loss.login
        );
        scanner.health.set(&check(&loss.login), CheckState::Degraded, why);
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
