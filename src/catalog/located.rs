//! The problems of a view, each with where it is: those that files have, and the conflicts between
//! them.

use std::sync::Arc;

use crate::catalog::merge::Repository;
use crate::catalog::{Code, Problem, View};

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

/// Which problems are asked for. An empty list asks for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProblemFilter {
    /// Full names of repositories, `owner/name`, on any host; case does not count.
    pub repositories: Vec<String>,
    /// Kinds of the entities that the problems are about; case does not count. A problem of which
    /// no entity is known has no kind.
    pub kinds: Vec<String>,
    /// Codes.
    pub codes: Vec<Code>,
}

impl ProblemFilter {
    fn takes_repository(&self, repository: &Repository) -> bool {
        let is_it = |name: &String| name.eq_ignore_ascii_case(&repository.full_name);
        self.repositories.is_empty() || self.repositories.iter().any(is_it)
    }

    fn takes(&self, code: Code, entity_ref: Option<&str>) -> bool {
        let kind = entity_ref.and_then(|entity_ref| entity_ref.split_once(':'));
        let is_it = |wanted: &String| {
            kind.is_some_and(|(kind, _)| kind.to_lowercase() == wanted.to_lowercase())
        };
        (self.codes.is_empty() || self.codes.contains(&code))
            && (self.kinds.is_empty() || self.kinds.iter().any(is_it))
    }
}

impl View {
    /// All problems, by repository, file and place.
    pub fn problems(&self) -> Vec<LocatedProblem> {
        self.problems_where(&ProblemFilter::default())
    }

    /// The problems that `filter` asks for, in the same order. Costs in proportion to the problems
    /// of the catalog.
    pub fn problems_where(&self, filter: &ProblemFilter) -> Vec<LocatedProblem> {
        let troubled = self.troubles.repositories().filter_map(|id| self.repository(id));
        let stored = troubled.filter(|one| filter.takes_repository(one)).flat_map(|repository| {
            let problems = repository.problems.iter();
            problems
                .filter(|(_, problem)| filter.takes(problem.code, problem.entity_ref.as_deref()))
                .map(|(branch, problem)| located(repository, branch, problem.clone()))
        });
        let refs = self.contested.iter();
        let refs = refs.filter(|entity_ref| filter.takes(Code::Conflict, Some(entity_ref)));
        let conflicts = refs.filter_map(|entity_ref| self.slots.get(entity_ref)).flat_map(|slot| {
            let winner = &slot.winner.claim;
            let winner_name = self.repository(&winner.origin.repository).map(|r| &*r.full_name);
            slot.conflicts().filter_map(move |loser| {
                let repository = self.repository(&loser.origin.repository)?;
                if !filter.takes_repository(repository) {
                    return None;
                }
                let problem = loser.conflict(winner, winner_name.unwrap_or_default());
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
