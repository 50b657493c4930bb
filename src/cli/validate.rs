//! `cuelight validate`: checks catalog files and tells what is wrong, to people or programs.
//!
//! It runs the same code as the server, on files on disk and without GitHub. What only the server
//! can know (whether another repository claims an entity) it does not check; that two of the
//! given files claim one entity it does.

mod github;
mod json;
mod sarif;
mod text;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;

use super::nearby::{self, Nearby};
use crate::catalog::{AllowedKinds, Code, Problem};
use crate::repository::FILE_BYTES_MAX;

/// The names that catalog files have in a directory.
const FILE_NAMES: [&str; 2] = ["catalog-info.yaml", "catalog-info.yml"];

/// Directories that hold other people's files, and are not searched.
const SKIPPED_DIRECTORIES: [&str; 3] = [".git", "node_modules", "target"];

/// Deepest directory that is searched: deeper ones are a loop or no source tree.
const DIRECTORY_DEPTH_MAX: usize = 64;

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// How problems are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people, as a compiler shows them.
    Text,
    /// One JSON document: files, and problems as the API has them.
    Json,
    /// Commands of a GitHub workflow, which shows them on the lines of a pull request.
    Github,
    /// SARIF 2.1.0, for code scanning and editors.
    Sarif,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many files were looked at.
    files: usize,
    /// In the order of the paths, within a file from top to bottom.
    findings: Vec<Finding>,
}

/// A problem and the text that it is in; there is none where it could not be read.
#[derive(Debug)]
struct Finding {
    problem: Problem,
    text: Option<Arc<str>>,
}

/// Where paths are told from to programs that know the repository and not our directory.
#[derive(Debug, Clone)]
pub struct Root {
    current: PathBuf,
    root: PathBuf,
}

impl Root {
    /// The `workspace` (of a GitHub workflow) when the `current` directory is in it, else that
    /// directory.
    pub fn new(current: PathBuf, workspace: Option<PathBuf>) -> Self {
        let is_around = |root: &PathBuf| !root.as_os_str().is_empty() && current.starts_with(root);
        let workspace = workspace.filter(is_around);
        Self { root: workspace.unwrap_or_else(|| current.clone()), current }
    }

    /// A path from the root, with `/`; the whole path when it leads out of the root.
    fn relative(&self, path: &str) -> String {
        if path == STANDARD_INPUT {
            return path.to_owned();
        }
        let mut whole = PathBuf::new();
        for part in self.current.join(path).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    whole.pop();
                }
                part => whole.push(part),
            }
        }
        match whole.strip_prefix(&self.root).unwrap_or(&whole) {
            root if root.as_os_str().is_empty() => ".".to_owned(),
            path => path.display().to_string(),
        }
    }
}

/// Checks files, in directories all catalog files below them, and `input` where the path is `-`.
pub fn check(paths: &[PathBuf], allowed: &AllowedKinds, input: &mut dyn Read) -> Report {
    let report = Report::default();
    let (seen, claims) = (HashSet::new(), HashMap::new());
    let mut check = Check { allowed, input, report, seen, claims };
    for path in paths {
        check.path(path);
    }
    check.report
}

impl Report {
    /// How many problems there are.
    pub fn problems(&self) -> usize {
        self.findings.len()
    }

    /// Writes the report.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write(&self, format: Format, root: &Root, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Text => text::write(self, out),
            Format::Json => json::write(self, out),
            Format::Github => github::write(self, root, out),
            Format::Sarif => sarif::write(self, root, out),
        }
    }
}

struct Check<'a> {
    allowed: &'a AllowedKinds,
    input: &'a mut dyn Read,
    report: Report,
    /// Every file that was checked, by its real path.
    seen: HashSet<PathBuf>,
    /// Where each entity was declared first: file and line.
    claims: HashMap<String, (PathBuf, u32)>,
}

impl Check<'_> {
    fn path(&mut self, path: &Path) {
        if !path.is_dir() {
            return self.file(path);
        }
        let mut found = Vec::new();
        let mut closed = Vec::new();
        find_files(path, DIRECTORY_DEPTH_MAX, &mut found, &mut closed);
        for (folder, error) in &closed {
            self.unreadable(folder, format!("cannot be searched: {error}"));
        }
        if found.is_empty() && closed.is_empty() {
            return self.unreadable(path, format!("holds no {}", FILE_NAMES.join(" or ")));
        }
        found.iter().for_each(|file| self.file(file));
    }

    fn file(&mut self, path: &Path) {
        let text = match self.read(path) {
            Ok(text) => text,
            Err(reason) => {
                self.report.files += 1;
                return self.unreadable(path, reason);
            }
        };
        for file in nearby::read(path, &text, self.allowed) {
            self.checked(file);
        }
    }

    /// Takes in the problems of a file, unless that has been done.
    fn checked(&mut self, file: Nearby) {
        let Nearby { path, real, text, processed } = file;
        if !self.seen.insert(real) {
            return;
        }
        self.report.files += 1;
        let mut problems = processed.problems;
        for entity in processed.entities.iter().filter(|entity| !entity.generated) {
            let here = (path.clone(), entity.line);
            let (first, line) = self.claims.entry(entity.entity_ref.clone()).or_insert(here);
            if *first != path {
                problems.push(Problem {
                    code: Code::Conflict,
                    path: path.display().to_string(),
                    line: entity.line,
                    column: 1,
                    document: entity.document,
                    entity_ref: Some(entity.entity_ref.clone()),
                    message: format!(
                        "`{}` is declared in {}:{line} too",
                        entity.entity_ref,
                        first.display()
                    ),
                });
            }
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(&*text).into();
        let finding = |problem| Finding { problem, text: Some(Arc::clone(&text)) };
        self.report.findings.extend(problems.into_iter().map(finding));
    }

    fn unreadable(&mut self, path: &Path, message: String) {
        let problem = Problem {
            code: Code::FileUnreadable,
            path: path.display().to_string(),
            line: 1,
            column: 1,
            document: 1,
            entity_ref: None,
            message,
        };
        self.report.findings.push(Finding { problem, text: None });
    }

    fn read(&mut self, path: &Path) -> Result<String, String> {
        if path == Path::new(STANDARD_INPUT) {
            return read(&mut *self.input);
        }
        read(fs::File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            _ => format!("cannot be read: {error}"),
        })?)
    }
}

/// The catalog files below a directory, sorted by path, and the folders that cannot be searched.
fn find_files(
    directory: &Path,
    depth: usize,
    found: &mut Vec<PathBuf>,
    closed: &mut Vec<(PathBuf, io::Error)>,
) {
    if depth == 0 {
        return;
    }
    let listed = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match listed {
        Ok(entries) => entries,
        Err(error) => return closed.push((directory.to_owned(), error)),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let is = |names: &[&str]| names.iter().any(|known| name == **known);
        // A link is neither: it leads out of the tree, or around in it.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_file() && is(&FILE_NAMES) {
            found.push(entry.path());
        } else if kind.is_dir() && !is(&SKIPPED_DIRECTORIES) {
            find_files(&entry.path(), depth - 1, found, closed);
        }
    }
}

/// The whole text; bytes that are no UTF-8 are replaced, as Backstage does.
fn read(from: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text that cannot steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The page that explains a code.
fn help_url(code: Code) -> String {
    format!("{}/blob/main/docs/problems.md#{code}", env!("CARGO_PKG_REPOSITORY"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: backstage.io/v1alpha1\nkind: System\nmetadata:\n  name: shop\n\
                        spec:\n  owner: team\n";

    #[test]
    fn an_empty_workspace_counts_as_none_and_the_root_has_a_name() {
        for workspace in [None, Some(PathBuf::new())] {
            let root = Root::new("/home/of/shop".into(), workspace);
            assert_eq!(root.relative("a/b.yaml"), "a/b.yaml");
            assert_eq!(root.relative("."), ".");
        }
    }

    #[test]
    fn what_the_server_would_not_read_is_not_good() {
        let padding = "#".repeat(usize::try_from(FILE_BYTES_MAX).expect("it fits"));
        let (problems, text) =
            validate(&[("large.yaml", &format!("{GOOD}{padding}\n"))], &["large.yaml"]);
        assert_eq!(problems, 1, "{text}");
        assert!(text.contains("file-unreadable"), "{text}");
    }

    fn validate(files: &[(&str, &str)], paths: &[&str]) -> (usize, String) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let paths: Vec<PathBuf> = paths.iter().map(|path| directory.path().join(path)).collect();
        let report = check(&paths, &AllowedKinds::default(), &mut io::empty());
        let mut out = Vec::new();
        let root = Root::new(directory.path().to_owned(), None);
        report.write(Format::Text, &root, &mut out).unwrap();
        let base = format!("{}/", directory.path().display());
        (report.problems(), String::from_utf8(out).unwrap().replace(&base, ""))
    }

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_caret() {
        let text = GOOD.replace("owner: team", "owner: 7");
        let (count, shown) = validate(&[("a.yaml", &text)], &["a.yaml"]);
        let expected = "\
a.yaml:6:10: error[schema]: Processor BuiltinKindsEntityProcessor threw an error while validating \
the entity system:default/shop; caused by TypeError: /spec/owner must be string - type: string \
(put the value in quotes)
  |
6 |   owner: 7
  |          ^
1 file checked, 1 problem
";
        assert_eq!((count, shown.as_str()), (1, expected));
    }

    #[test]
    fn directories_are_searched_for_catalog_files() {
        let files = [
            ("r/catalog-info.yaml", GOOD),
            ("r/b/catalog-info.yml", "a: ["),
            ("r/other.yaml", "a: ["),
            ("r/node_modules/catalog-info.yaml", "a: ["),
        ];
        let (count, shown) = validate(&files, &["r"]);
        assert_eq!(count, 1, "{shown}");
        assert!(shown.starts_with("r/b/catalog-info.yml:1:5:"), "{shown}");
        assert!(shown.ends_with("2 files checked, 1 problem\n"), "{shown}");
    }

    #[test]
    fn what_cannot_be_read_is_a_problem_and_the_rest_is_checked() {
        let (count, shown) =
            validate(&[("d/x.txt", ""), ("a.yaml", GOOD)], &["nope.yaml", "d", "a.yaml"]);
        let expected = "nope.yaml: error[file-unreadable]: no such file\n\
                        d: error[file-unreadable]: holds no catalog-info.yaml or \
                        catalog-info.yml\n2 files checked, 2 problems\n";
        assert_eq!((count, shown.as_str()), (2, expected));
    }

    #[test]
    fn two_files_that_claim_one_entity_conflict() {
        let (count, shown) = validate(&[("a.yaml", GOOD), ("b.yaml", GOOD)], &["a.yaml", "b.yaml"]);
        assert_eq!(count, 1, "{shown}");
        let expected = "b.yaml:1:1: error[conflict]: `system:default/shop` is declared in ";
        assert!(shown.starts_with(expected), "{shown}");
    }

    #[test]
    fn the_same_file_twice_is_no_conflict() {
        let (count, shown) = validate(&[("a.yaml", GOOD)], &["a.yaml", "a.yaml"]);
        assert_eq!(count, 0, "{shown}");
    }

    #[test]
    fn a_file_that_another_leads_to_is_told_once() {
        let location =
            GOOD.replace("System", "Location").replace("owner: team", "target: /r/b/c.yaml");
        let nested = GOOD.replace("owner: team", "owner: 7");
        let files = [("r/catalog-info.yaml", location.as_str()), ("r/b/c.yaml", &nested)];
        let files = [&[(".git/HEAD", "")], &files[..]].concat();
        for paths in [&["r"][..], &["r", "r/b/c.yaml"], &["r/b/c.yaml", "r"]] {
            let (count, shown) = validate(&files, paths);
            assert_eq!(count, 1, "{shown}");
            assert!(shown.starts_with("r/b/c.yaml:6:10: error[schema]"), "{shown}");
            assert!(shown.ends_with("2 files checked, 1 problem\n"), "{shown}");
        }
    }

    #[test]
    fn the_dash_is_standard_input() {
        let mut input = "a: [".as_bytes();
        let report = check(&["-".into()], &AllowedKinds::default(), &mut input);
        let mut out = Vec::new();
        report.write(Format::Text, &Root::new("/x".into(), None), &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(shown.starts_with("-:1:5: error[yaml-syntax]: "), "{shown}");
        assert!(shown.ends_with("1 file checked, 1 problem\n"), "{shown}");
    }

    #[test]
    fn lines_that_end_with_crlf_are_shown_without_it() {
        let text = GOOD.replace("owner: team", "owner: 7").replace('\n', "\r\n");
        let (_, shown) = validate(&[("a.yaml", &text)], &["a.yaml"]);
        assert!(shown.starts_with("a.yaml:6:10: "), "{shown}");
        assert!(shown.contains("\n6 |   owner: 7\n  |          ^\n"), "{shown}");
    }

    #[test]
    fn paths_are_told_from_the_root() {
        #[track_caller]
        fn check(current: &str, workspace: Option<&str>, path: &str, expected: &str) {
            let root = Root::new(current.into(), workspace.map(Into::into));
            assert_eq!(root.relative(path), expected, "{current} {workspace:?} {path}");
        }
        check("/r/sub", None, "./a.yaml", "a.yaml");
        check("/r/sub", None, "x/../b/./a.yaml", "b/a.yaml");
        check("/r/sub", None, "/r/sub/a.yaml", "a.yaml");
        check("/r/sub", None, "../a.yaml", "/r/a.yaml");
        check("/r/sub", Some("/r"), "a.yaml", "sub/a.yaml");
        check("/r/sub", Some("/r"), "../a.yaml", "a.yaml");
        check("/r/sub", Some("/other"), "a.yaml", "a.yaml");
        check("/r/sub", Some("/r"), "-", "-");
    }
}
