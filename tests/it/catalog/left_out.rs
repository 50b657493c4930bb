//! What a root file led to before and is left out now, because a limit was met: it stays, marked.

use cuelight::catalog::expand::{
    BEYOND_MAX, DEPTH_MAX, FILES_MAX, PATTERNS_MAX, TARGETS_PER_ROOT_MAX,
};
use cuelight::catalog::{Expanded, HeldFile, locations};

use super::world::{World, location, optional, problems, shown, system};

const KEPT: &str = "Error: Unable to read url, a limit leaves it out, see the problems of \
                    catalog-info.yaml";

/// What is held of a file: its names, and why they are stale.
fn held(expanded: &Expanded, path: &str) -> Option<(String, Option<String>)> {
    let at = expanded.files.iter().position(|file| file.source.path == path)?;
    let line = shown(expanded)[at].split_once(": ")?.1.to_owned();
    let entities = &expanded.files[at].processed.entities;
    Some((line, entities.last().and_then(|entity| entity.stale.clone())))
}

#[track_caller]
fn stays(expanded: &Expanded, path: &str, name: &str) {
    let expected = (format!("{name} (stale)"), Some(KEPT.to_owned()));
    assert_eq!(held(expanded, path), Some(expected), "{:?}", shown(expanded));
}

/// `{a0,a1,…}.none`, so many patterns in one.
fn patterns(count: usize) -> String {
    let all: Vec<String> = (0..count).map(|n| format!("a{n}")).collect();
    format!("{{{}}}*.none", all.join(","))
}

#[test]
fn what_a_pattern_led_to_that_is_one_too_many_now_stays_while_its_path_is_there() {
    let world = World::new(optional(location("root", &["x/*.yaml"])))
        .tree(&["x/a.yaml", "x/b.yaml"])
        .file("x/a.yaml", system("a"))
        .file("x/b.yaml", system("b"));
    let mut many: Vec<String> = (0..PATTERNS_MAX / 50).map(|_| patterns(50)).collect();
    many.push("x/*.yaml".to_owned());
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let after = world.then(|world| {
        let root = optional(location("root", &many));
        World { root, ..world }.tree(&["x/b.yaml"])
    });
    let told = problems(&after);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("`x/*.yaml` is left out: a file may lead to 100 patterns"),
        "{told:?}"
    );
    stays(&after, "x/b.yaml", "b");
    assert_eq!(held(&after, "x/a.yaml"), None, "the tree says that it is gone");
}

#[test]
fn what_a_pattern_led_to_that_takes_too_long_now_stays() {
    let names: Vec<String> = (0..50).map(|n| format!("b{n}")).collect();
    let pattern = format!("x/**/{{a,{}}}.yaml", names.join(","));
    let world = World::new(location("root", &[&pattern]))
        .tree(&["x/a.yaml"])
        .file("x/a.yaml", format!("{}---\n{}", system("a"), location("more", &["b.yaml"])))
        .file("x/b.yaml", system("b"));
    let deep = "d/".repeat(400) + "f";
    let mut paths = vec![deep.as_str(); 3_000];
    paths.extend(["x/a.yaml", "x/b.yaml"]);
    let after = world.then(|world| world.tree(&paths));
    let told = problems(&after);
    assert!(told.len() == 1 && told[0].contains("its patterns take too long"), "{told:?}");
    stays(&after, "x/a.yaml", "a (stale), more");
    assert_eq!(
        held(&after, "x/b.yaml"),
        Some(("b".to_owned(), None)),
        "it is led to by what stays"
    );
}

#[test]
fn files_beyond_the_number_that_one_may_lead_to_stay_if_they_were_held() {
    let world = World::new(location("root", &["*.yaml"])).tree(&["z.yaml"]);
    let world = world.file("z.yaml", system("z"));
    let names: Vec<String> = (0..FILES_MAX).map(|n| format!("{n}.yaml")).collect();
    let mut paths: Vec<&str> = names.iter().map(String::as_str).collect();
    paths.push("z.yaml");
    let after = world.then(|world| {
        let world = names.iter().fold(world, |world, name| world.file(name, ""));
        world.tree(&paths)
    });
    assert_eq!(after.files.len(), FILES_MAX + 2);
    stays(&after, "z.yaml", "z");
}

#[test]
fn targets_beyond_a_limit_keep_what_they_led_to() {
    let world = World::new(location("root", &["z.yaml"])).file("z.yaml", system("z"));
    let names: String = (0..500).map(|n| format!("- ./x{}.yaml\n", n % 100)).collect();
    let document =
        |n: usize| optional(location(&format!("l{n}"), &[]).replace("[]", "{$yaml: /t.yaml}"));
    let mut all: Vec<String> = (0..TARGETS_PER_ROOT_MAX / 500).map(document).collect();
    all.push(location("root", &["z.yaml"]));
    let after =
        world.then(|world| World { root: all.join("---\n"), ..world }.file("t.yaml", names));
    stays(&after, "z.yaml", "z");
}

#[test]
fn what_a_location_with_too_many_targets_led_to_stays_unless_it_is_missing() {
    let world = World::new(optional(location("root", &["y.yaml", "z.yaml"])));
    let world = world.file("y.yaml", system("y")).file("z.yaml", system("z"));
    let mut names = vec!["y.yaml".to_owned()];
    names.extend((1..locations::TARGETS_MAX).map(|n| format!("{n}.yaml")));
    names.push("z.yaml".to_owned());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let after = world.then(|world| {
        let root = optional(location("root", &names));
        World { root, ..world }.held("y.yaml", HeldFile::Missing)
    });
    stays(&after, "z.yaml", "z");
    assert_eq!(held(&after, "y.yaml"), None, "it was looked for");
    let told = problems(&after);
    assert!(told.len() == 1 && told[0].contains("a Location may have 500 targets"), "{told:?}");
}

/// A Location that led to `a.yaml`, `y.yaml` and `z.yaml`, after it got these targets.
fn after_targets(targets: &[String]) -> Expanded {
    let mut world = World::new(optional(location("root", &["a.yaml", "y.yaml", "z.yaml"])));
    for name in ["a", "y", "z"] {
        world = world.file(&format!("{name}.yaml"), system(name));
    }
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    world.then(|world| World { root: optional(location("root", &targets)), ..world })
}

/// So many targets that lead nowhere, then these.
fn beyond(count: usize, last: &[&str]) -> Vec<String> {
    let names = (0..count).map(|n| format!("x{}.none", n % 500));
    names.chain(last.iter().map(|name| (*name).to_owned())).collect()
}

#[test]
fn what_a_large_location_does_not_name_any_more_goes() {
    let targets = beyond(locations::TARGETS_MAX, &["b.yaml", "z.yaml"]);
    let after = after_targets(&targets);
    stays(&after, "z.yaml", "z");
    assert_eq!((held(&after, "a.yaml"), held(&after, "y.yaml")), (None, None));
}

#[test]
fn of_a_pattern_that_is_not_tried_what_fits_it_stays() {
    let after = after_targets(&beyond(locations::TARGETS_MAX, &["/{b,z}*.yaml"]));
    stays(&after, "z.yaml", "z");
    assert_eq!((held(&after, "a.yaml"), held(&after, "y.yaml")), (None, None));

    let after = after_targets(&[patterns(50), patterns(50), "y*.yaml".to_owned()]);
    stays(&after, "y.yaml", "y");
    assert_eq!((held(&after, "a.yaml"), held(&after, "z.yaml")), (None, None));
}

#[test]
fn of_a_location_that_is_not_looked_through_all_stays_that_it_led_to() {
    let most = locations::TARGETS_MAX + BEYOND_MAX;
    let after = after_targets(&beyond(most - 1, &["z.yaml"]));
    stays(&after, "z.yaml", "z");
    assert_eq!((held(&after, "a.yaml"), held(&after, "y.yaml")), (None, None));
    let after = after_targets(&beyond(most, &["z.yaml"]));
    for name in ["a", "y", "z"] {
        stays(&after, &format!("{name}.yaml"), name);
    }
}

#[test]
fn a_chain_that_grows_keeps_what_is_too_far_now() {
    let chain = |first: usize| {
        let root = location("l0", &[&format!("{first}.yaml")]);
        (first..=DEPTH_MAX).fold(World::new(root), |world, n| {
            let next = if n == DEPTH_MAX { "z.yaml".to_owned() } else { format!("{}.yaml", n + 1) };
            world.file(&format!("{n}.yaml"), location(&format!("l{n}"), &[&next]))
        })
    };
    let after = chain(2).file("z.yaml", system("z")).then(|world| {
        let World { root, files, .. } = chain(1).file("z.yaml", system("z"));
        World { root, files, ..world }
    });
    stays(&after, "z.yaml", "z");
    let told = problems(&after);
    assert!(told.len() == 1 && told[0].contains("`z.yaml` is not followed"), "{told:?}");
}

#[test]
fn what_stays_does_not_grow_without_end() {
    let mut world = World::new(location("root", &["*.yaml"]));
    for generation in 0..3 {
        // What comes later sorts first, so that all of it is new.
        let fresh: Vec<String> =
            (0..FILES_MAX).map(|n| format!("{}-{n:04}.yaml", 9 - generation)).collect();
        for name in &fresh {
            world = world.file(name, system(&format!("s{}", name.replace(".yaml", ""))));
        }
        let paths: Vec<String> = world.files.keys().map(|source| source.path.clone()).collect();
        world = world.tree(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let expanded = world.expand();
        assert!(expanded.files.len() <= 2 * FILES_MAX + 1, "{}", expanded.files.len());
        let held = expanded.files.into_iter().map(|f| (f.source, f.processed.entities));
        world.previous = held.collect();
    }
    assert_eq!(world.previous.len(), 2 * FILES_MAX + 1);
}
