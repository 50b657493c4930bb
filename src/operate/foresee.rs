//! What reading the repositories of a dry run would bring: their entities and problems.
//!
//! Reconcile plans, as it would with a lease on each repository, and nothing is written: the plans
//! are looked at and dropped.

use std::collections::BTreeMap;

use super::Operator;
use crate::catalog::Problem;
use crate::engine::EngineError;
use crate::engine::queue::Lease;
use crate::engine::record::RepoRecord;
use crate::engine::store::Change;
use crate::ids::Account;
use crate::reconcile::Plan;
use crate::scan::{Planned, Preview};
use crate::work::{BATCH_MAX, Hint, LEASE, Lane, Reasons, WorkKey};

/// What a repository would have in the catalog.
#[derive(Debug, Clone, Default)]
pub struct Foreseen {
    /// The refs of the entities that its owner wrote.
    pub entities: Vec<String>,
    /// What is wrong with its files.
    pub problems: Vec<Problem>,
    /// Why it could not be read.
    pub error: Option<String>,
}

impl Operator {
    /// Reads what a scan of `account` would have read, by name.
    pub(super) async fn foresee(
        &self,
        account: &Account,
        preview: &Preview,
    ) -> Result<BTreeMap<String, Foreseen>, EngineError> {
        let all: Vec<&Planned> = preview.added.iter().chain(&preview.changed).collect();
        let mut foreseen = BTreeMap::new();
        for batch in all.chunks(BATCH_MAX) {
            let leases: Vec<Lease> =
                batch.iter().filter_map(|planned| self.lease(account, planned)).collect();
            let plans = self.reconciler.plan(&leases).await?;
            let found = plans.into_iter().map(Foreseen::of);
            foreseen.extend(batch.iter().map(|planned| planned.repository.clone()).zip(found));
        }
        Ok(foreseen)
    }

    /// A lease that nobody gave: it is only read by.
    fn lease(&self, account: &Account, planned: &Planned) -> Option<Lease> {
        let read = planned.read.as_ref()?;
        let now = self.scanner.clock.now();
        let mut hint = Hint::new(Reasons::SCAN, now);
        hint.node_id = read.node_id.clone();
        Some(Lease {
            key: WorkKey::Repo(read.key.clone()),
            token: 0,
            account: account.clone(),
            lane: Lane::Scan,
            hint,
            attempt: 1,
            delays: 0,
            expires_at: now + LEASE,
        })
    }
}

impl Foreseen {
    fn of(plan: Plan) -> Self {
        match plan {
            Plan::Apply { change: Some(Change::Put { record, .. }), .. } => {
                Self::of_record(&record)
            }
            Plan::Apply { .. } | Plan::Left { .. } => Self::default(),
            Plan::Failed(error) => Self { error: Some(error.to_string()), ..Self::default() },
            Plan::Panicked(what) => {
                let error = format!("cuelight panicked over it: {what}");
                Self { error: Some(error), ..Self::default() }
            }
        }
    }

    fn of_record(record: &RepoRecord) -> Self {
        let claims = record.files.iter().flat_map(|file| &file.entities);
        let own = claims.filter(|claim| !claim.entity.generated);
        Self {
            entities: own.map(|claim| claim.entity.entity_ref.to_string()).collect(),
            problems: record.files.iter().flat_map(|file| file.problems.clone()).collect(),
            error: None,
        }
    }
}
