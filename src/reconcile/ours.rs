//! Whether an account is ours (still), before its repositories are read.

use super::{Plan, Reconciler};
use crate::accounts::Loss;
use crate::engine::queue::{Lease, Settlement};
use crate::engine::record::RepoRecord;
use crate::engine::store::{Cause, Change};
use crate::github::GitHubError;
use crate::ids::FullName;
use crate::work::Reasons;

impl Reconciler {
    /// Learns whose the account of the leases is, as far as their repositories need it.
    pub(super) async fn whose(
        &self,
        leases: &[Lease],
        records: &[Option<RepoRecord>],
    ) -> Result<(), GitHubError> {
        let Some(first) = leases.first() else { return Ok(()) };
        if leases.iter().any(|lease| lease.hint.reasons.any(Reasons::GRANT)) {
            return self.accounts.regranted(&first.account).await;
        }
        let own = |record: &&RepoRecord| record.account == first.account;
        let recorded = records.iter().flatten().find(own).map(|record| &record.full_name);
        let name = recorded.or_else(|| leases.iter().find_map(|lease| lease.hint.name.as_ref()));
        self.accounts.ready_for(&first.account.host, name.map(FullName::owner)).await
    }
}

/// The plan for a repository of an account that nothing covers any more, `None` when the whole host
/// has no provider: it goes when a signed event said so and GitHub confirmed it, when a person
/// asks, or when nothing is lost with it.
pub(super) fn let_go(lease: &Lease, record: Option<&RepoRecord>, loss: Option<&Loss>) -> Plan {
    let reasons = lease.hint.reasons;
    let is_confirmed = loss.is_some_and(|loss| loss.is_confirmed);
    let is_named = is_confirmed && reasons.any(Reasons::UNINSTALLED);
    let goes = |record: &&RepoRecord| {
        let may = is_named || reasons.any(Reasons::REFRESH) || !record.holds_entities();
        may && record.account == lease.account
    };
    let change = record.filter(goes).map(|_| Change::Remove);
    let cause = if is_named { Cause::Event } else { Cause::Other };
    Plan::Apply { change, settlement: Settlement::Done, cause }
}
