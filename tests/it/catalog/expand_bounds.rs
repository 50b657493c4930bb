//! What a root file may cost, whatever it leads to: targets, problems, work on patterns, and what
//! the files become.

use cuelight::catalog::expand::{BYTES_MAX, FILES_MAX, PROBLEMS_MAX, TARGETS_PER_ROOT_MAX};
use cuelight::catalog::process::MESSAGE_CHARS_MAX;
use cuelight::catalog::{Expanded, Need, placeholder};

use super::world::{World, at, location, optional, problems, shown, system};

/// Documents whose targets are in `/t.yaml`, and that file.
fn documents(count: usize, targets: &str) -> World {
    let document = |n: usize| location(&format!("l{n}"), &[]).replace("[]", "{$yaml: /t.yaml}");
    let all: Vec<String> = (0..count).map(document).map(optional).collect();
    World::new(all.join("---\n")).file("t.yaml", targets)
}

fn count(expanded: &Expanded, what: &str) -> usize {
    problems(expanded).iter().filter(|told| told.contains(what)).count()
}

#[test]
fn the_targets_of_a_root_are_followed_up_to_a_limit() {
    let names: Vec<String> = (0..500).map(|n| format!("- ./x{}.yaml\n", n % 100)).collect();
    let fits = documents(TARGETS_PER_ROOT_MAX / 500, &names.concat());
    assert_eq!(problems(&fits.expand()), [""; 0]);

    let mut more = documents(TARGETS_PER_ROOT_MAX / 500, &names.concat());
    more.root += &format!("---\n{}", location("next", &["a.yaml", "b.yaml"]));
    let more = more.file("a.yaml", system("a")).file("b.yaml", system("b"));
    let expanded = more.expand();
    let told = problems(&expanded);
    assert_eq!(told.len(), 1, "{told:?}");
    let expected = "target-invalid: `a.yaml` and all after it are not followed: a file and those \
                    it leads to may have 5000 targets together";
    assert!(told[0].ends_with(expected), "{told:?}");
    assert_eq!(expanded.files.len(), 1);
    assert!(!expanded.dependencies.contains(&Need::File(at("a.yaml"))));
}

#[test]
fn problems_with_targets_are_told_up_to_a_limit() {
    let rest = "this target and others have problems that are not shown";
    let names: String = (0..500).map(|n| format!("- ./x{n}.yaml\n")).collect();
    let mut world = documents(6, &names);
    world.root = world.root.replace("  presence: optional\n", "");
    let expanded = world.expand();
    assert_eq!(problems(&expanded).len(), PROBLEMS_MAX + 1);
    assert_eq!(count(&expanded, "there is no file"), PROBLEMS_MAX);
    assert!(problems(&expanded)[PROBLEMS_MAX].contains(rest));

    // Those that point nowhere count too.
    let nowhere = "- https://example.com/\n".repeat(500);
    let told = problems(&documents(1, &nowhere).expand());
    assert_eq!(told.len(), cuelight::catalog::process::PROBLEMS_PER_DOCUMENT_MAX);
    let root = location("root", &["a.yaml", "b.yaml"]);
    let file = |from: usize| {
        let documents = (from..from + 20)
            .map(|n| location(&format!("l{n}"), &[]).replace("[]", "{$yaml: /t.yaml}"));
        documents.collect::<Vec<_>>().join("---\n")
    };
    let world = World::new(root).file("t.yaml", nowhere);
    let expanded = world.file("a.yaml", file(0)).file("b.yaml", file(20)).expand();
    assert_eq!(problems(&expanded).len(), PROBLEMS_MAX + 1);
    assert_eq!(count(&expanded, rest), 1);
    assert_eq!(expanded.files[2].processed.problems.len(), 1, "the rest is of the last file");
}

#[test]
fn a_pattern_that_leads_to_too_many_files_is_told_once() {
    let names: Vec<String> = (0..FILES_MAX + 50).map(|n| format!("d/{n:04}.txt")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(location("root", &["./d/*.txt"; 5])).tree(&names);
    let world = names.iter().fold(world, |world, name| world.file(name, ""));
    let expanded = world.expand();
    assert_eq!(problems(&expanded).len(), 5);
    let expected = "target-invalid: 50 files of `./d/*.txt` are left out";
    assert_eq!(count(&expanded, expected), 5);
}

#[test]
fn patterns_that_take_too_long_are_left_out() {
    let paths: Vec<String> = (0..10_000).map(|n| format!("a/{n}.txt")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).chain(["a/c.yaml"]).collect();
    let slow = format!("/{}*.none", "**/a/".repeat(800));
    let targets = [slow.as_str(), &slow, &slow, "a/*.yaml"];
    let world = World::new(optional(location("root", &targets))).tree(&paths);
    let expanded = world.file("a/c.yaml", system("c")).expand();
    assert_eq!(shown(&expanded), ["catalog-info.yaml: root", "a/c.yaml: c"]);
    let told = problems(&expanded);
    assert_eq!(told.len(), 2, "one of them is within the limit");
    for problem in &expanded.files[0].processed.problems {
        assert!(problem.message.starts_with("its patterns take too long on the 10001 files"));
        assert!(problem.message.chars().count() <= MESSAGE_CHARS_MAX + 1);
    }
}

/// A root that leads to `0.yaml` and so on, which are made of their number.
fn leading_to(count: usize, text: impl Fn(usize) -> String) -> World {
    let names: Vec<String> = (0..count).map(|n| format!("{n}.yaml")).collect();
    let targets: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(location("root", &targets));
    names.iter().enumerate().fold(world, |world, (n, name)| world.file(name, text(n)))
}

#[test]
fn what_files_become_is_bounded_and_stays_as_it_was() {
    // A tenth of the limit, of a fortieth of it in the text.
    let anchored = "x".repeat(BYTES_MAX / 40);
    let large = |n: usize| {
        let system = system(&format!("s{n}"));
        system.replace("owner: web", &format!("owner: web, a: &a {anchored}, b: [*a, *a, *a]"))
    };
    let small = |n: usize| system(&format!("s{n}"));
    let told = "become more than 33554432 bytes together";
    let text = |n: usize| if n < 10 { large(n) } else { small(n) };
    let expanded = leading_to(11, text).expand();
    assert_eq!(problems(&expanded).len(), 1);
    assert_eq!(count(&expanded, "5:103 file-unreadable: `9.yaml` cannot be read"), 1);
    assert_eq!(count(&expanded, told), 1);
    assert_eq!(shown(&expanded)[9..], ["8.yaml: s8", "9.yaml: ", "10.yaml: s10"]);

    let grown = leading_to(11, small)
        .then(|world| (0..10).fold(world, |world, n| world.file(&format!("{n}.yaml"), large(n))));
    assert_eq!(shown(&grown)[9..], ["8.yaml: s8", "9.yaml: s9 (stale)", "10.yaml: s10"]);
    assert_eq!(count(&grown, told), 1);

    // The root counts too.
    let mut world = leading_to(10, |n| if n < 9 { large(n) } else { small(n) });
    world.root += &format!("---\n{}", large(10));
    let expanded = world.expand();
    assert_eq!(shown(&expanded)[0], "catalog-info.yaml: root, s10");
    assert_eq!(shown(&expanded)[9..], ["8.yaml: ", "9.yaml: s9"]);
}

#[test]
fn what_placeholders_bring_into_all_files_is_bounded() {
    let quarter = "x".repeat(placeholder::BYTES_PER_ROOT_MAX / 4);
    // A description is no list, so that nothing of it is kept.
    let refused = |n: usize| {
        let text = format!("metadata: {{name: s{n}, description: [{{$text: /big.txt}}]");
        system(&format!("s{n}")).replace(&format!("metadata: {{name: s{n}"), &text)
    };
    let told = "may bring in 33554432 bytes together";
    let four = leading_to(4, refused).file("big.txt", &*quarter).expand();
    assert_eq!((problems(&four).len(), count(&four, told)), (4, 0));
    let five = leading_to(5, refused).file("big.txt", &*quarter).expand();
    assert_eq!(count(&five, told), 1);
    assert!(five.files[5].processed.problems[0].message.contains(told));
}
