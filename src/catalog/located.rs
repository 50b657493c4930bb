//! The problems of a view, each with where it is: those that files have, and the conflicts between
//! them.

use std::sync::Arc;

use crate::catalog::merge::Repository;
use crate::catalog::{Problem, View};

/// A problem and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedProblem {
    /// `github.com`
    pub host: Arc<str>,
    /// `owner/name`
    pub repository: Box<str>,
    /// The branch of the file.
    pub branch: Box<str>,
    /// The problem.
    pub problem: Problem,
}

impl View {
    /// All problems, by repository, file and place.
    pub fn problems(&self) -> Vec<LocatedProblem> {
        let stored = self.repositories.values().flat_map(|repository| {
            let problems = repository.problems.iter();
            problems.map(|(branch, problem)| located(repository, branch, problem.clone()))
        });
        let slots = self.contested.iter().filter_map(|entity_ref| self.slots.get(entity_ref));
        let conflicts = slots.flat_map(|slot| {
            let winner = &slot.winner.claim;
            let winner_name = self.repository(&winner.origin.repository).map(|r| &*r.full_name);
            slot.conflicts().filter_map(move |loser| {
                let problem = loser.conflict(winner, winner_name.unwrap_or_default());
                let repository = self.repository(&loser.origin.repository)?;
                Some(located(repository, &loser.origin.branch, problem))
            })
        });
        let mut problems: Vec<LocatedProblem> = stored.chain(conflicts).collect();
        problems.sort_by(|a, b| a.place().cmp(&b.place()));
        problems
    }
}

impl LocatedProblem {
    fn place(&self) -> impl Ord + '_ {
        let problem = &self.problem;
        let file = (&*self.repository, &*self.host, &*problem.path, &*self.branch);
        (file, problem.line, problem.column, problem.code, &problem.entity_ref, &problem.message)
    }
}

fn located(repository: &Repository, branch: &str, problem: Problem) -> LocatedProblem {
    LocatedProblem {
        host: Arc::clone(&repository.id.host),
        repository: repository.full_name.clone(),
        branch: branch.into(),
        problem,
    }
}
