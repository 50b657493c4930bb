//! The reserve: when little of an account's points is left, scans and what they found wait, so
//! that events find something to spend.
//!
//! Whoever waits is put off until GitHub gives new points, by a delay that burns no attempt and
//! closes no gate; the scan goes on from the page where it was. `/health` has a check `budget` of
//! the account for as long as that is so.

use super::Scanner;
use crate::clock::Timestamp;
use crate::health::CheckState;
use crate::ids::Account;
use crate::telemetry::{AccountLabel, Metrics};

impl Scanner {
    /// Until when only events may ask GitHub for this account; `None` when a scan may too.
    pub fn reserved_until(&self, account: &Account) -> Option<Timestamp> {
        let budget = self.github.budget(account)?;
        let label = self.accounts.label(account, None);
        let number = account.to_string();
        // Under its number it would be another series, which stays.
        if label != number {
            let of_account = AccountLabel { account: label.clone() };
            let left = &self.metrics.github_points_remaining;
            Metrics::set(left, of_account, budget.remaining);
        }
        let until = budget.reserved_until(self.clock.now());
        match until {
            Some(until) => {
                let detail = format!(
                    "{} of {} points of GitHub's API are left and kept for events; scans and what \
                     they found wait until {until}",
                    budget.remaining, budget.limit
                );
                self.health.set_of_account("budget", account, &label, CheckState::Degraded, detail);
            }
            None => {
                [label, number].iter().for_each(|of| self.health.remove(&format!("budget:{of}")))
            }
        }
        until
    }
}
