//! What is left of a credential's points: GitHub says so with every GraphQL answer.
//!
//! Points belong to a credential, not to an account: accounts that share a token share its points,
//! an installation has its own. The newest answer counts, whoever else spends. Leaves out REST,
//! whose own limit our few calls do not come near.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::HeaderMap;

use super::limits::LIMIT_WAIT_MAX;
use crate::clock::Timestamp;
use crate::ids::{AppId, OwnerId};

/// How much of the hourly points is kept for events, in percent: 1,000 of 5,000 points are as many
/// reads of 50 repositories each, more than an hour of webhooks of a busy organisation needs.
pub const RESERVE_PERCENT: u64 = 20;

/// Most accounts whose credential is remembered; then all are forgotten and learnt again.
const PAYERS_MAX: usize = 10_000;

/// Points of GraphQL, as the newest answer told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Points per hour.
    pub limit: u64,
    /// What is left of them.
    pub remaining: u64,
    /// When all of them are there again.
    pub reset_at: Timestamp,
}

impl Budget {
    /// Until when only events may spend what is left; `None` while there is more than the reserve.
    pub fn reserved_until(&self, now: Timestamp) -> Option<Timestamp> {
        let reserve = u128::from(self.limit) * u128::from(RESERVE_PERCENT);
        let is_low = u128::from(self.remaining) * 100 < reserve;
        (is_low && now < self.reset_at).then(|| self.reset_at.min(now + LIMIT_WAIT_MAX))
    }
}

/// Whose points a call spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purse {
    /// The host's token.
    Token,
    /// An installation of an App, by its id.
    Installation(AppId, u64),
}

/// The budgets of one host.
#[derive(Debug, Default)]
pub(super) struct Budgets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    left: HashMap<Purse, Budget>,
    payers: HashMap<OwnerId, Purse>,
}

impl Budgets {
    /// Remembers with which credential an account is asked.
    pub(super) fn pays(&self, owner: OwnerId, purse: Purse) {
        let mut known = self.lock();
        if known.payers.len() >= PAYERS_MAX {
            known.payers.clear();
        }
        known.payers.insert(owner, purse);
    }

    /// Takes in what an answer to GraphQL says; nothing where there is no limit, as on some GHES.
    pub(super) fn note(&self, purse: Purse, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        if text("x-ratelimit-resource").is_some_and(|resource| resource != "graphql") {
            return;
        }
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        let reset = number("x-ratelimit-reset").and_then(|seconds| i64::try_from(seconds).ok());
        let (Some(limit), Some(remaining), Some(reset)) =
            (number("x-ratelimit-limit"), number("x-ratelimit-remaining"), reset)
        else {
            return;
        };
        let reset_at = Timestamp(reset.saturating_mul(1_000));
        self.lock().left.insert(purse, Budget { limit, remaining, reset_at });
    }

    /// What is left for an account, once it was asked something.
    pub(super) fn of(&self, owner: OwnerId) -> Option<Budget> {
        let known = self.lock();
        known.payers.get(&owner).and_then(|purse| known.left.get(purse)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn the_last_fifth_is_kept_until_the_reset() {
        let reset_at = NOW + Duration::from_secs(600);
        let of = |remaining| Budget { limit: 5_000, remaining, reset_at };
        assert_eq!(of(1_000).reserved_until(NOW), None);
        assert_eq!(of(999).reserved_until(NOW), Some(reset_at));
        assert_eq!(of(0).reserved_until(reset_at), None, "all are there again");
        let never = Budget { limit: 5_000, remaining: 0, reset_at: Timestamp(i64::MAX) };
        assert_eq!(never.reserved_until(NOW), Some(NOW + LIMIT_WAIT_MAX), "not believed");
        let unlimited = Budget { limit: 0, remaining: 0, reset_at };
        assert_eq!(unlimited.reserved_until(NOW), None);
    }

    #[test]
    fn accounts_share_the_points_of_a_token_and_not_those_of_an_installation() {
        let budgets = Budgets::default();
        let own = Purse::Installation(AppId(7), 70);
        budgets.pays(OwnerId(1), Purse::Token);
        budgets.pays(OwnerId(2), Purse::Token);
        budgets.pays(OwnerId(3), own);
        assert_eq!(budgets.of(OwnerId(1)), None);
        let headers = |remaining: &str, resource: &str| {
            let pairs = [
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", "1000600"),
                ("x-ratelimit-resource", resource),
            ];
            let pair =
                |(name, value): (&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
            pairs.map(pair).into_iter().collect::<HeaderMap>()
        };
        budgets.note(Purse::Token, &headers("4999", "graphql"));
        budgets.note(own, &headers("10", "graphql"));
        budgets.note(own, &headers("11", "core"));
        budgets.note(own, &HeaderMap::new());
        let left = |owner| budgets.of(OwnerId(owner)).map(|budget| budget.remaining);
        assert_eq!((left(1), left(2), left(3), left(4)), (Some(4999), Some(4999), Some(10), None));
        assert_eq!(budgets.of(OwnerId(1)).unwrap().reset_at, NOW + Duration::from_secs(600));
    }
}
