//! A catalog file with all the files that its Locations lead to.
//!
//! Nothing is read here: what is missing is named as a [`Need`], and whoever reads it asks again.
//! Each file counts once, however many targets lead to it, so that Locations may point at each
//! other in circles. Files nearer to the root come first; of two that declare one entity, the
//! first counts.
//!
//! What is not there is gone, and a problem where it is wanted. What cannot be read keeps what it
//! held before, marked as stale, and so does what a limit leaves out (see `left_out.rs`). While
//! there are needs, the result is not final and is thrown away.

mod left_out;
mod weight;

pub use left_out::{BEYOND_MAX, KEPT_MAX};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use self::left_out::LeftOut;
use self::weight::weight;
use super::glob::Glob;
use super::locations::Target;
use super::process::{FileInput, ProcessFile, cut, keep_file};
use super::target::Place;
use super::{
    AllowedKinds, BranchAt, Code, Entity, Gathered, HeldFile, HeldTree, Need, Problem,
    ProcessedFile, Source,
};

/// Longest chain of Locations: each link may cost another round of reading. Three are many.
pub const DEPTH_MAX: usize = 10;

/// Most files that one root file leads to. The largest lists we know name some hundreds.
pub const FILES_MAX: usize = 1_000;

/// Most patterns of one root file, alternatives in braces counted one by one: each is tried on
/// every path of a tree, and a tree may have 100,000.
pub const PATTERNS_MAX: usize = 100;

/// Most targets of one root file and of all that it leads to, whether or not they lead to the same
/// files: five for each file there may be. A placeholder makes 500 of a line.
pub const TARGETS_PER_ROOT_MAX: usize = 5_000;

/// Most problems with targets of one root file and of all that it leads to; one more says that
/// others are left out. One for each file there may be: who has more has made one mistake often.
pub const PROBLEMS_MAX: usize = 1_000;

/// Most work on the patterns of one root file, as [`Glob::steps`] counts it: about a second. The
/// pattern `**/catalog-info.yaml` takes 4 million for 100,000 paths.
pub const STEPS_MAX: usize = 100_000_000;

/// Most bytes of all the files that one root file leads to, and the most that it and they may
/// become, keys, texts and 16 bytes a value counted: it all goes into one record.
pub const BYTES_MAX: usize = 32 << 20;

/// What a root file is processed with.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Where it lies.
    pub source: &'a Source,
    /// What it holds.
    pub text: &'a str,
    /// `catalog.rules`; they hold for the files it leads to as for itself.
    pub allowed: &'a AllowedKinds,
    /// The entities after the last good run, of the root file and of each file it led to.
    pub previous: &'a BTreeMap<Source, Vec<Entity>>,
    /// What has been read so far.
    pub gathered: &'a Gathered,
}

/// What a root file became.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expanded {
    /// The root file first, then each file it led to, once, in the order in which they were found.
    pub files: Vec<ExpandedFile>,
    /// What has to be read; when there is nothing, `files` is the result.
    pub needs: BTreeSet<Need>,
    /// Everything that was asked for, read or not; never the root file.
    pub dependencies: BTreeSet<Need>,
}

/// One file of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpandedFile {
    /// Where it lies.
    pub source: Source,
    /// What it became.
    pub processed: ProcessedFile,
}

/// Processes a root file and what its Locations lead to, as far as that is known.
pub fn expand(given: &Given<'_>, process: ProcessFile) -> Expanded {
    let mut run = Run {
        given,
        process,
        files: Vec::new(),
        queue: VecDeque::new(),
        reached: HashMap::from([(identity(given.source), Reached::Taken)]),
        claimed: HashMap::new(),
        dependencies: BTreeSet::new(),
        targets: 0,
        problems: 0,
        patterns: 0,
        steps: 0,
        bytes: 0,
        weight: 0,
        brought: 0,
        left_out: LeftOut::default(),
        kept: 0,
    };
    let previous = given.previous.get(given.source).map_or(&[][..], Vec::as_slice);
    let processed = process(&run.input(given.source, given.text, previous));
    run.brought += processed.brought;
    run.take(given.source.clone(), processed, 0);
    run.follow_all();
    run.settle()
}

struct Run<'a> {
    given: &'a Given<'a>,
    process: ProcessFile,
    files: Vec<ExpandedFile>,
    /// Targets to follow: whose file's, and how far that is from the root.
    queue: VecDeque<(usize, usize, Target)>,
    /// What became of each file that a target led to.
    reached: HashMap<Identity, Reached>,
    /// The file that declares each entity.
    claimed: HashMap<String, usize>,
    dependencies: BTreeSet<Need>,
    /// How many were to be followed, those that are left out included.
    targets: usize,
    /// How many were found with targets, those that are left out included.
    problems: usize,
    patterns: usize,
    steps: usize,
    bytes: usize,
    /// What the files became, those kept from before included.
    weight: usize,
    /// What placeholders brought in.
    brought: usize,
    /// What limits left out so far.
    left_out: LeftOut,
    /// How many files stay though they are left out.
    kept: usize,
}

/// A file, however its host and repository are written.
type Identity = (String, String, String, String);

fn identity(source: &Source) -> Identity {
    let Source { host, full_name, branch, path } = source;
    (host.to_lowercase(), full_name.to_lowercase(), branch.clone(), path.clone())
}

#[derive(Debug, Clone)]
enum Reached {
    /// It is in, or will be in the next round.
    Taken,
    Missing,
    Unreadable(String),
}

impl<'a> Run<'a> {
    fn input<'b>(&self, source: &'b Source, text: &'b str, previous: &'b [Entity]) -> FileInput<'b>
    where
        'a: 'b,
    {
        let Given { source: root, text: root_text, allowed, gathered, .. } = *self.given;
        let root = (source != root).then_some((root, root_text));
        let brought_before = self.brought;
        FileInput { source, text, root, allowed, previous, gathered, brought_before }
    }

    /// Takes a processed file in, and its targets for later.
    fn take(&mut self, source: Source, mut processed: ProcessedFile, depth: usize) {
        let file = self.files.len();
        self.dependencies.append(&mut processed.dependencies.clone());
        let lost = self.claim(file, &source, &mut processed);
        let targets = std::mem::take(&mut processed.targets);
        let (wrong, others): (Vec<Problem>, Vec<Problem>) = std::mem::take(&mut processed.problems)
            .into_iter()
            .partition(|problem| problem.code == Code::TargetInvalid);
        processed.problems = others;
        self.weight += weight(&processed.entities);
        self.leave_out_beyond(&source, &processed.entities);
        self.files.push(ExpandedFile { source, processed });
        wrong.into_iter().for_each(|problem| self.tell(file, problem));
        for target in targets.into_iter().filter(|t| !lost.contains(&t.location)) {
            self.targets += 1;
            if self.targets <= TARGETS_PER_ROOT_MAX {
                self.queue.push_back((file, depth, target));
                continue;
            }
            self.leave_out(&target);
            if self.targets == TARGETS_PER_ROOT_MAX + 1 {
                let message = format!(
                    "`{}` and all after it are not followed: a file and those it leads to may \
                     have {TARGETS_PER_ROOT_MAX} targets together",
                    target.written
                );
                self.problem(file, &target, Code::TargetInvalid, message);
            }
        }
    }

    /// Lets go of the entities that an earlier file declares. A file that declares one well goes
    /// before one that only keeps it from before.
    fn claim(
        &mut self,
        file: usize,
        source: &Source,
        processed: &mut ProcessedFile,
    ) -> BTreeSet<String> {
        let mut lost = BTreeSet::new();
        let entities = std::mem::take(&mut processed.entities);
        for entity in entities {
            let Some(&first) = self.claimed.get(&entity.entity_ref) else {
                self.claimed.insert(entity.entity_ref.clone(), file);
                processed.entities.push(entity);
                continue;
            };
            let earlier = &mut self.files[first];
            let held = &mut earlier.processed.entities;
            let at = held.iter().position(|held| held.entity_ref == entity.entity_ref);
            if entity.stale.is_none()
                && let Some(at) = at.filter(|at| held[*at].stale.is_some())
            {
                held.remove(at);
                self.claimed.insert(entity.entity_ref.clone(), file);
                processed.entities.push(entity);
                continue;
            }
            if entity.stale.is_none() {
                let place = earlier.source.path.clone();
                processed.problems.push(conflict(&entity, source, &place));
            }
            lost.insert(entity.entity_ref);
        }
        lost
    }

    /// Follows all targets; and then those of what stays.
    fn follow_all(&mut self) {
        loop {
            while let Some((file, depth, target)) = self.queue.pop_front() {
                self.follow(file, depth, &target);
            }
            self.keep_left_out();
            if self.queue.is_empty() {
                return;
            }
        }
    }

    fn follow(&mut self, file: usize, depth: usize, target: &Target) {
        if depth == DEPTH_MAX {
            self.leave_out(target);
            let message = format!(
                "`{}` is not followed: Locations may lead to Locations {DEPTH_MAX} times",
                target.written
            );
            return self.problem(file, target, Code::TargetInvalid, message);
        }
        match &target.place {
            Place::File(source) => {
                if !self.file(file, depth, target, source) {
                    self.leave_out(target);
                    self.too_many_files(file, target, "");
                }
            }
            Place::Glob(branch, glob) => self.glob(file, depth, target, branch, glob),
        }
    }

    fn glob(&mut self, file: usize, depth: usize, target: &Target, branch: &BranchAt, glob: &Glob) {
        self.patterns += glob.alternatives();
        if self.patterns > PATTERNS_MAX {
            self.leave_out(target);
            let message = format!(
                "`{}` is left out: a file may lead to {PATTERNS_MAX} patterns, alternatives in \
                 braces counted one by one",
                target.written
            );
            return self.problem(file, target, Code::TargetInvalid, message);
        }
        self.dependencies.insert(Need::Tree(branch.clone()));
        let own = |source: &&Source| {
            (&source.host, &source.full_name, &source.branch)
                == (&branch.host, &branch.full_name, &branch.branch)
        };
        let given = self.given;
        let tree = given.gathered.trees.get(branch);
        let paths: Cow<'_, [String]> = match tree {
            None => return,
            Some(HeldTree::Paths(paths)) => Cow::Borrowed(paths),
            Some(HeldTree::Missing) => Cow::Borrowed(&[]),
            Some(HeldTree::Unreadable(reason)) => {
                let message = format!("the files for `{}` are not known: {reason}", target.written);
                self.problem(file, target, Code::FileUnreadable, message);
                // Those that were there before are there still, as far as anybody knows.
                given.previous.keys().filter(own).map(|s| s.path.clone()).collect()
            }
        };
        let steps = glob.steps(&paths);
        if self.steps + steps > STEPS_MAX {
            self.leave_out(target);
            let message = format!(
                "its patterns take too long on the {} files of {}, `{}` is left out",
                paths.len(),
                shown(branch),
                target.written
            );
            return self.problem(file, target, Code::TargetInvalid, message);
        }
        self.steps += steps;
        let is_known = !matches!(tree, Some(HeldTree::Unreadable(_)));
        let fitting: Vec<&String> = paths.iter().filter(|path| glob.matches(path)).collect();
        if fitting.is_empty() && is_known && !target.is_optional {
            let message = format!("no file of {} fits `{}`", shown(branch), target.written);
            self.problem(file, target, Code::TargetMissing, message);
        }
        let mut left_out = 0;
        for path in fitting {
            let source = branch.file(path.clone());
            if !self.file(file, depth, target, &source) {
                self.leave_out_file(&target.location, &source);
                left_out += 1;
            }
        }
        if left_out > 0 {
            self.too_many_files(file, target, &format!("{left_out} files of "));
        }
    }

    /// Whether there was room for it.
    fn file(&mut self, file: usize, depth: usize, target: &Target, source: &Source) -> bool {
        let identity = identity(source);
        let reached = match self.reached.get(&identity) {
            Some(reached) => reached.clone(),
            None if self.reached.len() > FILES_MAX => return false,
            None => {
                let reached = self.reach(depth, target, source);
                self.reached.insert(identity, reached.clone());
                reached
            }
        };
        match reached {
            Reached::Taken => {}
            Reached::Missing if target.is_optional => {}
            Reached::Missing => {
                let place = shown(&source.branch_at());
                let message = format!("there is no file {} in {place}", source.path);
                self.problem(file, target, Code::TargetMissing, message);
            }
            Reached::Unreadable(reason) => {
                let message = format!("`{}` cannot be read: {reason}", target.written);
                self.problem(file, target, Code::FileUnreadable, message);
            }
        }
        true
    }

    fn too_many_files(&mut self, file: usize, target: &Target, count: &str) {
        let verb = if count.is_empty() { "is" } else { "are" };
        let message = format!(
            "{count}`{}` {verb} left out: a file may lead to {FILES_MAX} others",
            target.written
        );
        self.problem(file, target, Code::TargetInvalid, message);
    }

    /// Takes a file in that no target led to before.
    fn reach(&mut self, depth: usize, target: &Target, source: &Source) -> Reached {
        self.dependencies.insert(Need::File(source.clone()));
        let previous = self.given.previous.get(source).map_or(&[][..], Vec::as_slice);
        let (mut processed, reached) = match self.given.gathered.files.get(source) {
            None => return Reached::Taken,
            Some(HeldFile::Missing) => return Reached::Missing,
            Some(HeldFile::Unreadable(reason)) => {
                let kept = keep_file(&self.input(source, "", previous), &unable(reason));
                (kept, Reached::Unreadable(reason.clone()))
            }
            Some(HeldFile::Text(text)) if self.bytes + text.len() > BYTES_MAX => {
                let reason = format!(
                    "the files that {} leads to have more than {BYTES_MAX} bytes together",
                    self.given.source.path
                );
                let kept = keep_file(&self.input(source, "", previous), &unable(&reason));
                (kept, Reached::Unreadable(reason))
            }
            Some(HeldFile::Text(text)) => {
                self.bytes += text.len();
                let processed = (self.process)(&self.input(source, text, previous));
                self.brought += processed.brought;
                if self.weight + weight(&processed.entities) > BYTES_MAX {
                    let reason = format!(
                        "{} and the files that it leads to become more than {BYTES_MAX} bytes \
                         together",
                        self.given.source.path
                    );
                    let mut kept = keep_file(&self.input(source, "", previous), &unable(&reason));
                    // Whether it fits may depend on them.
                    kept.dependencies = processed.dependencies;
                    (kept, Reached::Unreadable(reason))
                } else {
                    (processed, Reached::Taken)
                }
            }
        };
        for entity in &mut processed.entities {
            entity.included_by = Some(target.location.clone());
        }
        self.take(source.clone(), processed, depth + 1);
        reached
    }

    fn problem(&mut self, file: usize, target: &Target, code: Code, message: String) {
        let problem = Problem {
            code,
            path: self.files[file].source.path.clone(),
            line: target.at.line,
            column: target.at.column,
            document: target.document,
            entity_ref: Some(target.location.clone()),
            message: cut(message),
        };
        self.tell(file, problem);
    }

    /// Tells a problem with a target, while there are not too many.
    fn tell(&mut self, file: usize, mut problem: Problem) {
        self.problems += 1;
        if self.problems > PROBLEMS_MAX + 1 {
            return;
        }
        if self.problems > PROBLEMS_MAX {
            problem.code = Code::TargetInvalid;
            problem.message = format!(
                "this target and others have problems that are not shown: there are more than \
                 {PROBLEMS_MAX} with the targets of a file and of those it leads to"
            );
        }
        self.files[file].processed.problems.push(problem);
    }

    fn settle(self) -> Expanded {
        let mut dependencies = self.dependencies;
        let root = self.given.source;
        dependencies.retain(|need| match need {
            Need::File(source) => identity(source) != identity(root),
            Need::Tree(_) => true,
        });
        let unmet = |need: &&Need| !self.given.gathered.has(need);
        let needs = dependencies.iter().filter(unmet).cloned().collect();
        Expanded { files: self.files, needs, dependencies }
    }
}

fn conflict(entity: &Entity, source: &Source, place: &str) -> Problem {
    Problem {
        code: Code::Conflict,
        path: source.path.clone(),
        line: entity.line.max(1),
        column: 1,
        document: entity.document.max(1),
        entity_ref: Some(entity.entity_ref.clone()),
        message: format!("`{}` is declared in {place} too, which counts", entity.entity_ref),
    }
}

/// Why the entities of a file are stale, in Backstage's words.
fn unable(reason: &str) -> String {
    format!("Error: Unable to read url, {reason}")
}

fn shown(branch: &BranchAt) -> String {
    format!("{} on {}", branch.full_name, branch.branch)
}
