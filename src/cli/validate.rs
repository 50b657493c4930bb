//! `cuelight validate`: checks catalog files and prints what is wrong as a compiler does.
//!
//! It runs the same code as the server, on files on disk and without GitHub. What only the server
//! can know (whether another repository claims an entity) it does not check; that two of the
//! given files claim one entity it does.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use crate::catalog::yaml::TEXT_BYTES_MAX;
use crate::catalog::{AllowedKinds, Code, Problem, Source, process_file};

/// The names that catalog files have in a directory.
const FILE_NAMES: [&str; 2] = ["catalog-info.yaml", "catalog-info.yml"];

/// Directories that hold other people's files, and are not searched.
const SKIPPED_DIRECTORIES: [&str; 3] = [".git", "node_modules", "target"];

/// Deepest directory that is searched: deeper ones are a loop or no source tree.
const DIRECTORY_DEPTH_MAX: usize = 64;

/// Widest excerpt of a source line, in columns of the terminal.
const EXCERPT_COLUMNS_MAX: usize = 120;

/// Columns that a tab is shown as.
const TAB_COLUMNS: usize = 4;

/// Checks files, and in directories all catalog files below them; writes each problem and a
/// summary. Answers the number of problems; fails only when `out` does.
pub fn run(paths: &[PathBuf], allowed: &AllowedKinds, out: &mut dyn Write) -> io::Result<usize> {
    let mut check = Check { allowed, out, files: 0, problems: 0, claims: HashMap::new() };
    for path in paths {
        check.path(path)?;
    }
    check.summary()?;
    Ok(check.problems)
}

struct Check<'a> {
    allowed: &'a AllowedKinds,
    out: &'a mut dyn Write,
    files: usize,
    problems: usize,
    /// Where each entity was declared first: file and line.
    claims: HashMap<String, (PathBuf, u32)>,
}

impl Check<'_> {
    fn path(&mut self, path: &Path) -> io::Result<()> {
        if !path.is_dir() {
            return self.file(path);
        }
        let mut found = Vec::new();
        if let Err(error) = find_files(path, DIRECTORY_DEPTH_MAX, &mut found) {
            return self.unreadable(path, &format!("cannot be searched: {error}"));
        }
        if found.is_empty() {
            return self.unreadable(path, &format!("holds no {}", FILE_NAMES.join(" or ")));
        }
        found.iter().try_for_each(|file| self.file(file))
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        self.files += 1;
        let text = match read(path) {
            Ok(text) => text,
            Err(reason) => return self.unreadable(path, &reason),
        };
        // What the annotations will say does not matter here.
        let source = Source {
            host: "github.com".into(),
            full_name: "owner/name".into(),
            branch: "main".into(),
            path: path.display().to_string(),
        };
        let processed = process_file(&source, &text, self.allowed, &[]);
        let mut problems = processed.problems;
        for entity in processed.entities.iter().filter(|entity| !entity.generated) {
            let here = (path.to_owned(), entity.line);
            let (first, line) = self.claims.entry(entity.entity_ref.clone()).or_insert(here);
            if first != path {
                problems.push(Problem {
                    code: Code::Conflict,
                    path: source.path.clone(),
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
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for problem in &problems {
            self.problem(problem, text)?;
        }
        Ok(())
    }

    fn problem(&mut self, problem: &Problem, text: &str) -> io::Result<()> {
        self.problems += 1;
        let Problem { code, path, line, column, message, .. } = problem;
        writeln!(self.out, "{path}:{line}:{column}: error[{code}]: {}", printable(message))?;
        let index = (*line as usize).saturating_sub(1);
        if let Some(source_line) = text.lines().nth(index) {
            let (excerpt, caret) = excerpt(source_line, (*column as usize).saturating_sub(1));
            let gutter = " ".repeat(line.to_string().len());
            writeln!(self.out, "{gutter} |")?;
            writeln!(self.out, "{line} | {excerpt}")?;
            writeln!(self.out, "{gutter} | {}^", " ".repeat(caret))?;
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &Path, reason: &str) -> io::Result<()> {
        self.problems += 1;
        let code = Code::FileUnreadable;
        writeln!(self.out, "{}: error[{code}]: {}", path.display(), printable(reason))
    }

    fn summary(&mut self) -> io::Result<()> {
        let count = |n: usize, noun: &str| match n {
            1 => format!("1 {noun}"),
            n => format!("{n} {noun}s"),
        };
        let (files, problems) = (count(self.files, "file"), count(self.problems, "problem"));
        writeln!(self.out, "{files} checked, {problems}")
    }
}

/// The catalog files below a directory, sorted by path.
fn find_files(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if depth == 0 {
        return Ok(());
    }
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let is = |names: &[&str]| names.iter().any(|known| name == **known);
        // A link is neither: it leads out of the tree, or around in it.
        let kind = entry.file_type()?;
        if kind.is_file() && is(&FILE_NAMES) {
            found.push(entry.path());
        } else if kind.is_dir() && !is(&SKIPPED_DIRECTORIES) {
            find_files(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

/// The text of a file; bytes that are no UTF-8 are replaced, as Backstage does.
fn read(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(format!("larger than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text that cannot steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The part of a line around a character, as it is shown, and the column to point at.
fn excerpt(line: &str, index: usize) -> (String, usize) {
    let mut shown = String::new();
    let mut columns = 0;
    let mut caret = None;
    for (position, c) in line.chars().enumerate() {
        if position == index {
            caret = Some(columns);
        }
        let width = width(c);
        if columns + width > EXCERPT_COLUMNS_MAX {
            match caret {
                Some(_) => break,
                // Not there yet: begin anew.
                None => (shown, columns) = ("…".to_owned(), 1),
            }
        }
        match c {
            '\t' => shown.push_str(&" ".repeat(TAB_COLUMNS)),
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
        columns += width;
    }
    (shown, caret.unwrap_or(columns))
}

/// How many columns a terminal gives a character: an approximation of Unicode's East Asian width
/// that knows the large blocks.
const fn width(c: char) -> usize {
    match c {
        '\t' => TAB_COLUMNS,
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: backstage.io/v1alpha1\nkind: System\nmetadata:\n  name: shop\n\
                        spec:\n  owner: team\n";

    fn validate(files: &[(&str, &str)], paths: &[&str]) -> (usize, String) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let paths: Vec<PathBuf> = paths.iter().map(|path| directory.path().join(path)).collect();
        let mut out = Vec::new();
        let count = run(&paths, &AllowedKinds::default(), &mut out).unwrap();
        let base = format!("{}/", directory.path().display());
        (count, String::from_utf8(out).unwrap().replace(&base, ""))
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

    #[track_caller]
    fn check_excerpt(line: &str, index: usize, expected: &str, caret: usize) {
        assert_eq!(excerpt(line, index), (expected.to_owned(), caret), "{line}");
    }

    #[test]
    fn the_caret_stands_below_its_character() {
        check_excerpt("a: b", 3, "a: b", 3);
        check_excerpt("a:\tb", 3, "a:    b", 6);
        check_excerpt("名前: é", 4, "名前: é", 6);
        check_excerpt("e\u{301}: x", 4, "e\u{301}: x", 3);
        check_excerpt("a: \u{1b}[2J", 9, "a: \u{fffd}[2J", 7);
        check_excerpt("", 5, "", 0);
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let (shown, caret) = excerpt(&"x".repeat(1000), 700);
        assert!(shown.starts_with('…') && caret < EXCERPT_COLUMNS_MAX);
        assert!(shown.chars().count() <= EXCERPT_COLUMNS_MAX);
    }
}
