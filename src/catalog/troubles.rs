//! The problems of a view in numbers, kept up to date by what a change adds and takes away: nobody
//! walks all repositories to know how many problems there are.

use imbl::OrdMap;

use crate::catalog::Code;
use crate::catalog::merge::{RepoId, Repository};

/// How many problems there are of each code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByCode([usize; Code::ALL.len()]);

impl ByCode {
    /// How many of one code.
    pub fn of(&self, code: Code) -> usize {
        self.0[code as usize]
    }

    /// Every code with its number, also those that there are none of.
    pub fn all(&self) -> impl Iterator<Item = (Code, usize)> {
        Code::ALL.into_iter().zip(self.0)
    }

    /// How many of all codes together.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

/// What a view keeps to count its problems.
#[derive(Clone, Default)]
pub(super) struct Troubles {
    by_code: ByCode,
    /// How many problems each repository has; those without any are not in it.
    by_repository: OrdMap<RepoId, usize>,
}

impl Troubles {
    pub(super) fn by_code(&self) -> ByCode {
        self.by_code
    }

    /// The repositories that have problems.
    pub(super) fn repositories(&self) -> impl ExactSizeIterator<Item = &RepoId> {
        self.by_repository.keys()
    }

    /// Counts what the files of a repository have, which conflicts do not belong to.
    pub(super) fn add_stored(&mut self, repository: &Repository) {
        repository.problems.iter().for_each(|(_, problem)| self.add(&repository.id, problem.code));
    }

    /// Takes back what [`add_stored`](Self::add_stored) counted.
    pub(super) fn take_stored(&mut self, repository: &Repository) {
        repository.problems.iter().for_each(|(_, problem)| self.take(&repository.id, problem.code));
    }

    /// A repository has one more problem.
    pub(super) fn add(&mut self, repository: &RepoId, code: Code) {
        self.by_code.0[code as usize] += 1;
        *self.by_repository.entry(repository.clone()).or_default() += 1;
    }

    /// A repository has one problem less that was added before.
    pub(super) fn take(&mut self, repository: &RepoId, code: Code) {
        self.by_code.0[code as usize] -= 1;
        match self.by_repository.get_mut(repository) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.by_repository.remove(repository);
            }
        }
    }
}
