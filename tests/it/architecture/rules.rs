//! Each rule of the architecture test seen red: a small file that breaks it and what is said.

use super::{File, check_file, cycles};

/// The complaints about a file with a proper head and `body` below it.
fn complaints(path: &str, body: &str) -> Vec<String> {
    check_file(&(path.to_owned(), format!("//! A file.\n{body}")))
}

fn check(path: &str, body: &str, expected: &[&str]) {
    assert_eq!(complaints(path, body), expected, "{path}: {body}");
}

#[test]
fn imports_that_the_table_does_not_allow_are_named_however_they_are_written() {
    let catalog = "src/catalog/merge.rs";
    let wrong = ["src/catalog/merge.rs:2: `catalog` may not import `clock`"];
    check(catalog, "use crate::clock::Clock;", &wrong);
    check(catalog, "use crate::{clock, catalog::Entity};", &wrong);
    check(catalog, "use crate::{catalog::{Entity as E, Problem}, clock as c};", &wrong);
    check(catalog, "fn f(c: &dyn crate::clock::Clock) {}", &wrong);
    check(catalog, "use super::super::clock;", &wrong);
    check(catalog, "use super::{self, Entity};", &[]);
    check(catalog, "use crate::catalog::yaml;", &[]);
    check(catalog, "// see crate::clock::Clock\nconst A: &str = \"crate::clock\";", &[]);
    check(catalog, "#[cfg(test)]\nmod tests { use crate::clock::Clock; }", &[]);
    check("src/catalog/tests.rs", "use crate::clock::Clock;", &[]);
    check("src/work.rs", "use crate::ids::Host;", &[]);
    let up = ["src/work.rs:2: `work` may not import `engine`"];
    check("src/work.rs", "use crate::engine::Queue;", &up);
    check("src/main.rs", "use cuelight::cli;", &[]);
    check("src/main.rs", "cuelight::app::x();", &["src/main.rs:2: `main` may not import `app`"]);
}

#[test]
fn a_root_module_that_the_table_does_not_know_is_refused() {
    let path = "src/helpers/x.rs";
    check(path, "fn f() {}", &["src/helpers/x.rs: `helpers` has no line in MAY_IMPORT"]);
}

#[test]
fn a_file_opens_with_what_it_is() {
    let said = check_file(&("tests/it/x.rs".to_owned(), "fn f() {}\n".to_owned()));
    assert_eq!(said, ["tests/it/x.rs:1: does not open with `//!` and what it is"]);
}

#[test]
fn files_and_lines_have_a_length() {
    let path = "tests/it/x.rs";
    check(path, &"\n".repeat(500), &["tests/it/x.rs: 501 lines, more than 500"]);
    check(path, &"\n".repeat(499), &[]);
    let long = format!("fn {}() {{}}", "f".repeat(100));
    check(path, &long, &["tests/it/x.rs:2: longer than 100 characters"]);
    check(path, &format!("const A: &str = \"{}\";", "f".repeat(100)), &[]);
}

#[test]
fn calls_that_only_some_files_may_make() {
    let path = "src/ids.rs";
    let clippy = |what: &str| format!("src/ids.rs:2: {what}");
    let check_one = |body: &str, said: &str| check(path, body, &[clippy(said).as_str()]);
    check_one("fn f() { g().unwrap() }", "unwrap outside tests (`.unwrap()`)");
    let time = "time comes from clock.rs (`SystemTime::now`)";
    check_one("fn f() { std::time::SystemTime::now(); }", time);
    check_one("fn f() { println!(\"x\") }", "the library prints nothing (`println!(`)");
    check_one("fn f() { print!(\"x\") }", "the library prints nothing (`print!(`)");
    check_one("fn f() { eprintln!(\"x\") }", "the library prints nothing (`eprintln!(`)");
    check(
        path,
        "fn f() { g().unwrap_or(1) }\n#[cfg(test)]\nmod t { fn f() { g().unwrap() } }",
        &[],
    );
    check("src/clock.rs", "fn f() { SystemTime::now() }", &[]);
    check("src/cli/serve.rs", "fn f() { println!() }", &[]);
}

#[test]
fn unfinished_business_does_not_stay() {
    let said = "tests/it/x.rs:2: unfinished business in a comment (`TODO`)";
    check("tests/it/x.rs", "// TODO: more", &[said]);
    check("tests/it/x.rs", "const A: &str = \"TODO\";", &[]);
}

#[test]
fn the_fake_does_not_import_the_program() {
    let said = "tests/fake-github/src/lib.rs:2: the fake imports cuelight (`cuelight::`)";
    check("tests/fake-github/src/lib.rs", "use cuelight::ids;", &[said]);
}

#[test]
fn files_do_not_import_each_other_in_a_ring() {
    let file = |path: &str, text: &str| -> File { (path.to_owned(), text.to_owned()) };
    let parent = file("src/a/mod.rs", "pub use b::B; pub struct A;");
    let ring = [
        parent.clone(),
        file("src/a/b.rs", "use super::{A, c::C};"),
        file("src/a/c.rs", "use crate::a::d;"),
        file("src/a/d.rs", "use super::b::B;"),
    ];
    assert_eq!(cycles(&ring), ["import cycle: a::b → a::c → a::d → a::b"]);
    let line = [parent, file("src/a/b.rs", "use super::{A, c::C};"), file("src/a/c.rs", "")];
    assert_eq!(cycles(&line), Vec::<String>::new());
}
