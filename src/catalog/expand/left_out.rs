//! What a limit leaves out of a root file and was held before: it stays, marked as stale.
//!
//! Whoever has met a limit sees the problem at the target; nothing that was good goes because of
//! it. A file that is left out by its name stays by that name. Which files a pattern that was not
//! tried would have found nobody knows, nor what the targets are that were not looked at: all that
//! their Location led to before and that nothing leads to now stay, unless the paths of the branch
//! are known and say that the file is gone.
//!
//! What stays is bounded too: [`KEPT_MAX`] files, and [`BYTES_MAX`] with all the others.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::locations;
use super::super::process::keep_file;
use super::super::target::Place;
use super::weight::weight;
use super::{BYTES_MAX, FILES_MAX, Run, Target, identity, unable};
use crate::catalog::{BranchAt, Entity, Gathered, HeldTree, Source};

/// Most files that stay though a limit leaves them out: as many as a file may lead to, so that
/// none is lost at once, and no more, for others may take their place again and again.
pub const KEPT_MAX: usize = FILES_MAX;

/// What was left out, as far as anything was held of it.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Files, and the Locations that named them.
    files: BTreeMap<Source, String>,
    /// Locations with patterns that were not tried, or with targets that were not looked at.
    locations: BTreeSet<String>,
}

impl Run<'_> {
    /// Notes that a target is not followed.
    pub(super) fn leave_out(&mut self, target: &Target) {
        match &target.place {
            Place::File(source) => self.leave_out_file(target, source),
            Place::Glob(..) => {
                self.left_out.locations.insert(target.location.clone());
            }
        }
    }

    /// Notes the Locations among these that have more targets than are looked at.
    pub(super) fn leave_out_beyond(&mut self, entities: &[Entity]) {
        let targets = |entity: &Entity| {
            let spec = &entity.body["spec"];
            let listed = spec["targets"].as_array().map_or(0, Vec::len);
            listed + usize::from(spec["target"].is_string())
        };
        let locations = entities.iter().filter(|entity| entity.body["kind"] == locations::KIND);
        let large = locations.filter(|location| targets(location) > locations::TARGETS_MAX);
        self.left_out.locations.extend(large.map(|location| location.entity_ref.clone()));
    }

    /// Notes that a file that a target leads to is not taken in.
    pub(super) fn leave_out_file(&mut self, target: &Target, source: &Source) {
        if self.given.previous.contains_key(source) {
            self.left_out.files.insert(source.clone(), target.location.clone());
        }
    }

    /// Keeps what was held of it, unless something led there after all.
    pub(super) fn keep_left_out(&mut self) {
        let left_out = std::mem::take(&mut self.left_out);
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
        let Source { host, full_name, branch, path } = source.clone();
        let at = BranchAt { host, full_name, branch };
        let gathered = self.gathered;
        let known =
            self.by_branch.entry(at).or_insert_with_key(|at| match gathered.trees.get(at) {
                Some(HeldTree::Paths(paths)) => Some(paths.iter().map(String::as_str).collect()),
                Some(HeldTree::Missing | HeldTree::Unreadable(_)) | None => None,
            });
        known.as_ref().is_none_or(|paths| paths.contains(path.as_str()))
    }
}
