//! `docs/problems.md` promises a section for each code, with a wrong file that yields the code
//! and a right one that yields nothing.

use std::fs;
use std::path::PathBuf;

use cuelight::catalog::{AllowedKinds, Code};
use cuelight::cli::validate::{self, Format, Root};

use super::read;

struct Section {
    code: String,
    wrong: Vec<String>,
    right: Vec<String>,
}

fn sections(text: &str) -> Vec<Section> {
    let section = |part: &str| {
        let code = part.lines().next().unwrap_or_default().trim_matches('`').to_owned();
        let blocks = |kind: &str| {
            let fence = format!("```yaml {kind}\n");
            part.split(fence.as_str())
                .skip(1)
                .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
                .collect()
        };
        Section { code, wrong: blocks("wrong"), right: blocks("right") }
    };
    text.split("\n## ").skip(1).map(section).collect()
}

/// Writes the blocks to files of their own, checks them, and gives what was printed.
fn checked(blocks: &[String]) -> (usize, String) {
    let directory = tempfile::tempdir().expect("a directory for the examples");
    let mut paths: Vec<PathBuf> = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let path = directory.path().join(format!("{index}.yaml"));
        fs::write(&path, block).expect("the directory is writable");
        paths.push(path);
    }
    if paths.is_empty() {
        paths.push(directory.path().join("missing.yaml"));
    }
    let report = validate::check(&paths, &AllowedKinds::default(), &mut std::io::empty());
    let root = Root::new(directory.path().to_owned(), None);
    let mut out = Vec::new();
    report.write(Format::Text, &root, &mut out).expect("a Vec takes everything");
    (report.problems(), String::from_utf8(out).expect("problems are text"))
}

#[test]
fn every_code_is_documented_with_a_file_that_yields_it() {
    let sections = sections(&read("docs/problems.md"));
    let documented: Vec<&str> = sections.iter().map(|section| section.code.as_str()).collect();
    assert_eq!(documented, Code::ALL.map(Code::as_str));
    for section in &sections {
        let (count, shown) = checked(&section.wrong);
        let expected = format!("error[{}]", section.code);
        assert_eq!(count, shown.matches(&expected).count(), "{}: {shown}", section.code);
        assert!(count >= 1, "{}: the wrong example is right", section.code);
        if !section.right.is_empty() {
            let (count, shown) = checked(&section.right);
            assert_eq!(count, 0, "{}: {shown}", section.code);
        }
        assert!(section.code == "file-unreadable" || !section.right.is_empty());
    }
}
