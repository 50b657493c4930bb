//! What a limit leaves out of a root file and was held before: it stays, marked as stale.
//!
//! Whoever has met a limit sees the problem at the target; nothing that was good goes because of
//! it. A file that is left out by its name stays by that name; of a pattern that was not tried, the
//! held files that fit it stay. So what nothing names any more goes, as without the limit. A file
//! that stays may be gone in fact, for it is not looked for; where the paths of its branch are
//! known they tell, and it goes.
//!
//! What stays is bounded too: [`KEPT_MAX`] files, and [`BYTES_MAX`] with all the others. So is the
//! work to tell it ([`BEYOND_MAX`], [`HELD_STEPS_MAX`]); of a Location beyond that all stays that
//! it led to before and that nothing leads to now.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::glob::Glob;
use super::super::locations;
use super::super::process::keep_file;
use super::super::target::{self, Place};
use super::weight::weight;
use super::{BYTES_MAX, FILES_MAX, Run, STEPS_MAX, TARGETS_PER_ROOT_MAX, Target, identity, unable};
use crate::catalog::{BranchAt, Entity, Gathered, HeldTree, Source};

/// Most files that stay though a limit leaves them out: as many as a file may lead to, so that
/// none is lost at once, and no more, for others may take their place again and again.
pub const KEPT_MAX: usize = FILES_MAX;

/// Most targets beyond those of a Location that are looked at, of a root file and of all that it
/// leads to: as many again as are followed.
pub const BEYOND_MAX: usize = TARGETS_PER_ROOT_MAX;

/// Most work to tell which held files fit the patterns that were not tried, as [`Glob::steps`]
/// counts it and one for each file: a tenth of what the others may take. A pattern and 2,000 held
/// files take some 50,000.
const HELD_STEPS_MAX: usize = STEPS_MAX / 10;

/// What was left out, as far as anything was held of it.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Files, and the Locations that named them.
    files: BTreeMap<Source, String>,
    /// Locations of which nobody has looked what is left out.
    locations: BTreeSet<String>,
    /// How many targets beyond those of their Locations were looked at.
    beyond: usize,
    /// The work with patterns so far.
    steps: usize,
}

impl Run<'_> {
    /// Notes that a target is not followed.
    pub(super) fn leave_out(&mut self, target: &Target) {
        self.leave_out_place(&target.location, &target.place);
    }

    /// Notes the targets that these Locations in the file at `base` have beyond their number.
    pub(super) fn leave_out_beyond(&mut self, base: &Source, entities: &[Entity]) {
        let root = self.given.source;
        if self.given.previous.keys().all(|held| held == root) {
            return;
        }
        let known: Vec<&Source> = (base != root).then_some(root).into_iter().collect();
        for entity in entities.iter().filter(|entity| entity.body["kind"] == locations::KIND) {
            for written in locations::beyond(&entity.body) {
                if self.left_out.beyond == BEYOND_MAX {
                    self.left_out.locations.insert(entity.entity_ref.clone());
                    break;
                }
                self.left_out.beyond += 1;
                if let Ok(place) = target::place(written, base, &known) {
                    self.leave_out_place(&entity.entity_ref, &place);
                }
            }
        }
    }

    /// Notes that a file that a Location names is not taken in.
    pub(super) fn leave_out_file(&mut self, location: &str, source: &Source) {
        if self.given.previous.contains_key(source) {
            self.left_out.files.insert(source.clone(), location.to_owned());
        }
    }

    fn leave_out_place(&mut self, location: &str, place: &Place) {
        match place {
            Place::File(source) => self.leave_out_file(location, source),
            Place::Glob(branch, glob) => self.leave_out_pattern(location, branch, glob),
        }
    }

    fn leave_out_pattern(&mut self, location: &str, branch: &BranchAt, glob: &Glob) {
        self.left_out.steps += self.given.previous.len();
        if self.left_out.steps > HELD_STEPS_MAX {
            self.left_out.locations.insert(location.to_owned());
            return;
        }
        let there = branch.file(String::new());
        let is_there = |held: &&Source| {
            held.branch == there.branch && target::is_same_repository(held, &there)
        };
        let held: Vec<&Source> = self.given.previous.keys().filter(is_there).collect();
        let paths: Vec<String> = held.iter().map(|held| held.path.clone()).collect();
        self.left_out.steps += glob.steps(&paths);
        if self.left_out.steps > HELD_STEPS_MAX {
            self.left_out.locations.insert(location.to_owned());
            return;
        }
        for source in held.into_iter().filter(|held| glob.matches(&held.path)) {
            self.left_out.files.insert(source.clone(), location.to_owned());
        }
    }

    /// Keeps what was held of it, unless something led there after all.
    pub(super) fn keep_left_out(&mut self) {
        // What keeps something may leave out more; the work counts on.
        let LeftOut { beyond, steps, .. } = self.left_out;
        let left_out = std::mem::take(&mut self.left_out);
        self.left_out = LeftOut { beyond, steps, ..LeftOut::default() };
        if left_out.files.is_empty() && left_out.locations.is_empty() {
            return;
        }
        let mut paths = Paths { gathered: self.given.gathered, by_branch: BTreeMap::new() };
        let given = self.given;
        for (source, previous) in given.previous {
            let led = previous.iter().find_map(|entity| entity.included_by.as_ref());
            let location = match (left_out.files.get(source), led) {
                (Some(location), _) => location,
                (None, Some(led)) if left_out.locations.contains(led) => led,
                _ => continue,
            };
            if !self.reached.contains_key(&identity(source)) && paths.may_have(source) {
                self.keep(source, previous, location);
            }
        }
    }

    fn keep(&mut self, source: &Source, previous: &[Entity], location: &str) {
        if self.kept >= KEPT_MAX || self.weight + weight(previous) > BYTES_MAX {
            return;
        }
        self.kept += 1;
        let root = &self.given.source.path;
        let reason = unable(&format!("a limit leaves it out, see the problems of {root}"));
        let mut kept = keep_file(&self.input(source, "", previous), &reason);
        for entity in &mut kept.entities {
            entity.included_by = Some(location.to_owned());
        }
        // Where it leads to was as far from the root before.
        let depth = super::DEPTH_MAX - 1;
        self.reached.insert(identity(source), super::Reached::Taken);
        self.take(source.clone(), kept, depth);
    }
}

/// The paths of branches, as far as they are known.
struct Paths<'a> {
    gathered: &'a Gathered,
    by_branch: BTreeMap<BranchAt, Option<HashSet<&'a str>>>,
}

impl Paths<'_> {
    /// Whether a file may be there.
    fn may_have(&mut self, source: &Source) -> bool {
        let gathered = self.gathered;
        let known =
            self.by_branch.entry(source.branch_at()).or_insert_with_key(|at| {
                match gathered.trees.get(at) {
                    Some(HeldTree::Paths(paths)) => {
                        Some(paths.iter().map(String::as_str).collect())
                    }
                    Some(HeldTree::Missing | HeldTree::Unreadable(_)) | None => None,
                }
            });
        known.as_ref().is_none_or(|paths| paths.contains(source.path.as_str()))
    }
}
