//! Locations and what they lead to: files, circles, patterns, what is missing and what stays.

use std::collections::BTreeSet;

use cuelight::catalog::rules::{KindRule, LocationRule, TargetRule};
use cuelight::catalog::{AllowedKinds, Expanded, HeldFile, HeldTree, Need};

use super::world::{World, at, foreign, location, main, optional, problems, shown, system};

const ROOT: &str = "catalog-info.yaml";

#[test]
fn each_file_counts_once_nearest_to_the_root_first() {
    let all = ["a.yaml", "b.yaml", "./a.yaml", "/a.yaml", "x/../a.yaml", ROOT];
    let world = World::new(location("root", &all))
        .file("a.yaml", location("a", &["b.yaml", "sub/c.yaml", ROOT]))
        .file("b.yaml", location("b", &["a.yaml", "b.yaml"]))
        .file("sub/c.yaml", location("c", &["../a.yaml", "d.yaml", "/catalog-info.yaml"]))
        .file("sub/d.yaml", system("d"));
    let expanded = world.expand();
    assert_eq!(problems(&expanded), [""; 0]);
    let expected =
        ["catalog-info.yaml: root", "a.yaml: a", "b.yaml: b", "sub/c.yaml: c", "sub/d.yaml: d"];
    assert_eq!(shown(&expanded), expected);
    let includers: Vec<Option<&str>> = expanded
        .files
        .iter()
        .map(|file| file.processed.entities.last().and_then(|e| e.included_by.as_deref()))
        .collect();
    let by = |name| Some(name);
    assert_eq!(
        includers,
        [
            None,
            by("location:default/root"),
            by("location:default/root"),
            by("location:default/a"),
            by("location:default/c")
        ]
    );
    let files: Vec<Need> =
        ["a.yaml", "b.yaml", "sub/c.yaml", "sub/d.yaml"].map(|path| Need::File(at(path))).into();
    assert_eq!(expanded.dependencies, BTreeSet::from_iter(files));
}

#[test]
fn included_entities_say_their_own_file_and_the_root() {
    let url = "https://github.com/Other/Lib/blob/dev/x.yaml";
    let world = World::new(location("root", &["dir/a.yaml", url]));
    let mut world = world.file("dir/a.yaml", system("a"));
    let text = system("x");
    world.files.insert(foreign("Other/Lib", "dev", "x.yaml"), HeldFile::Text(text.as_str().into()));
    let expanded = world.expand();
    assert_eq!(problems(&expanded), [""; 0]);
    let annotations = |file: usize| {
        let entities = &expanded.files[file].processed.entities;
        assert_eq!(entities.len(), 1, "no Location is made for an included file");
        entities[0].body["metadata"]["annotations"].clone()
    };
    let base = "https://github.com/acme/cart";
    assert_eq!(
        annotations(1),
        serde_json::json!({
            "backstage.io/managed-by-location": format!("url:{base}/tree/main/dir/a.yaml"),
            "backstage.io/managed-by-origin-location":
                format!("url:{base}/blob/main/catalog-info.yaml"),
            "backstage.io/view-url": format!("{base}/tree/main/dir/a.yaml"),
            "backstage.io/edit-url": format!("{base}/edit/main/dir/a.yaml"),
            "backstage.io/source-location": format!("url:{base}/tree/main/dir/"),
        })
    );
    let other = annotations(2);
    let expected = "url:https://github.com/Other/Lib/tree/dev/x.yaml";
    assert_eq!(other["backstage.io/managed-by-location"], expected);
    let origin = format!("url:{base}/blob/main/catalog-info.yaml");
    assert_eq!(other["backstage.io/managed-by-origin-location"], origin);
}

#[test]
fn what_is_missing_is_a_problem_where_it_is_wanted() {
    let wanted = location("root", &["a.yaml", "gone.yaml"]) + "  target: first.yaml\n";
    let expanded = World::new(&*wanted).file("a.yaml", system("a")).expand();
    assert_eq!(shown(&expanded), ["catalog-info.yaml: root", "a.yaml: a"]);
    let expected = [
        "catalog-info.yaml:6:11 target-missing: there is no file first.yaml in acme/cart on main",
        "catalog-info.yaml:5:23 target-missing: there is no file gone.yaml in acme/cart on main",
    ];
    assert_eq!(problems(&expanded), expected);
    let expanded = World::new(optional(wanted)).file("a.yaml", system("a")).expand();
    assert_eq!(problems(&expanded), [""; 0]);
    assert_eq!(expanded.dependencies.len(), 3, "what is not there may come");
}

#[test]
fn every_target_that_leads_to_what_is_missing_is_told() {
    let world = World::new(location("root", &["a.yaml", "gone.yaml"]))
        .file("a.yaml", location("a", &["gone.yaml"]));
    let expected = [
        "catalog-info.yaml:5:23 target-missing: there is no file gone.yaml in acme/cart on main",
        "a.yaml:5:13 target-missing: there is no file gone.yaml in acme/cart on main",
    ];
    assert_eq!(problems(&world.expand()), expected);
}

#[test]
fn what_goes_takes_its_entities_along_and_what_cannot_be_read_keeps_them() {
    let world = World::new(location("root", &["a.yaml"]))
        .file("a.yaml", format!("{}---\n{}", system("a"), location("more", &["b.yaml"])))
        .file("b.yaml", system("b"));
    let gone = world.clone().then(|world| world.held("a.yaml", HeldFile::Missing));
    assert_eq!(shown(&gone), ["catalog-info.yaml: root"]);
    let why = "no provider has the owner acme";
    let away = world.then(|world| {
        world.held("a.yaml", HeldFile::Unreadable(why.to_owned())).file("b.yaml", system("b2"))
    });
    let expected = ["catalog-info.yaml: root", "a.yaml: a (stale), more (stale)", "b.yaml: b2"];
    assert_eq!(shown(&away), expected, "what a kept Location leads to is followed still");
    let stale = away.files[1].processed.entities[0].stale.as_deref();
    assert_eq!(stale, Some("Error: Unable to read url, no provider has the owner acme"));
    let expected =
        format!("catalog-info.yaml:5:13 file-unreadable: `a.yaml` cannot be read: {why}");
    assert_eq!(problems(&away), [expected]);
}

#[test]
fn a_broken_location_keeps_what_it_brought_in() {
    let world = World::new(location("root", &["a.yaml"])).file("a.yaml", system("a"));
    for broken in ["a: [", &location("root", &["a.yaml"]).replace("spec:", "spec:\n  type: 7")] {
        let world = world.clone();
        let after = world.then(|world| World { root: broken.to_owned(), ..world });
        assert_eq!(shown(&after), ["catalog-info.yaml: root (stale)", "a.yaml: a"], "{broken}");
    }
    let after = world.then(|world| World { root: location("root", &[]), ..world });
    assert_eq!(shown(&after), ["catalog-info.yaml: root"]);
}

#[test]
fn of_two_files_that_declare_one_entity_the_first_counts() {
    let world = World::new(location("root", &["a.yaml", "b.yaml"]) + "---\n" + &system("S"))
        .file("a.yaml", system("s") + "---\n" + &system("t"))
        .file("b.yaml", location("ROOT", &["never.yaml"]) + "---\n" + &system("t"));
    let expanded = world.expand();
    assert_eq!(shown(&expanded), ["catalog-info.yaml: root, S", "a.yaml: t", "b.yaml: "]);
    let expected = [
        "a.yaml:1:1 conflict: `system:default/s` is declared in catalog-info.yaml too, which \
         counts",
        "b.yaml:1:1 conflict: `location:default/root` is declared in catalog-info.yaml too, \
         which counts",
        "b.yaml:7:1 conflict: `system:default/t` is declared in a.yaml too, which counts",
    ];
    assert_eq!(problems(&expanded), expected);
}

#[test]
fn an_entity_that_moves_while_its_old_file_is_broken_is_not_stale() {
    let moved = location("root", &["a.yaml"]);
    let world = World::new(moved.clone() + "---\n" + &system("s")).file("a.yaml", system("t"));
    let after = world
        .then(|world| World { root: moved + "---\na: [", ..world }.file("a.yaml", system("s")));
    assert_eq!(shown(&after), ["catalog-info.yaml: root", "a.yaml: s"]);
}

#[test]
fn kinds_that_are_not_allowed_are_not_allowed_in_included_files() {
    let user = "apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: jo}\n\
                spec: {memberOf: []}\n---\n";
    let world =
        World::new(location("root", &["a.yaml"])).file("a.yaml", user.to_owned() + &system("a"));
    let expanded = world.expand();
    assert_eq!(shown(&expanded), ["catalog-info.yaml: root", "a.yaml: a"]);
    assert!(problems(&expanded)[0].starts_with("a.yaml:2:7 kind-not-allowed"), "{expanded:?}");
}

#[test]
fn rules_look_at_the_file_that_led_to_an_entity_in_the_end() {
    let user = "apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: jo}\n\
                spec: {memberOf: []}\n";
    let count = |path: &str| {
        let rule =
            |kind: &str, locations| KindRule { kinds: vec![(kind.to_owned(), None)], locations };
        let target = TargetRule::pattern(&format!("**/{path}")).unwrap();
        let here = LocationRule { kind: "url".to_owned(), target };
        let rules = vec![rule("Location", None), rule("User", Some(vec![here]))];
        let world = World::new(location("root", &["a.yaml"])).file("a.yaml", user);
        let world = World { allowed: AllowedKinds::new(rules), ..world };
        problems(&world.expand()).len()
    };
    assert_eq!((count(ROOT), count("a.yaml")), (0, 1));
}

#[test]
fn patterns_need_the_tree_and_find_what_fits() {
    let world = World::new(location("root", &["**/c.yaml", "x/*.yaml"]))
        .tree(&["catalog-info.yaml", "x/a.yaml", "x/c.yaml", "x/y/c.yaml", ".github/c.yaml"])
        .file("x/a.yaml", system("xa"))
        .file("x/c.yaml", system("xc"))
        .file("x/y/c.yaml", system("xyc"));
    let expanded = world.expand();
    assert_eq!(problems(&expanded), [""; 0]);
    let expected = ["catalog-info.yaml: root", "x/c.yaml: xc", "x/y/c.yaml: xyc", "x/a.yaml: xa"];
    assert_eq!(shown(&expanded), expected);
    assert!(expanded.dependencies.contains(&Need::Tree(main())));
    let none = World::new(location("root", &["z/*.yaml"])).tree(&["a.yaml"]).expand();
    let expected =
        "catalog-info.yaml:5:13 target-missing: no file of acme/cart on main fits `z/*.yaml`";
    assert_eq!(problems(&none), [expected]);
    let none = World::new(optional(location("root", &["z/*.yaml"]))).tree(&[]).expand();
    assert_eq!(problems(&none), [""; 0]);
    let none = World::new(location("root", &["z/*.yaml"])).expand();
    assert_eq!(problems(&none), [expected], "of a branch that is not there");
}

#[test]
fn while_a_tree_cannot_be_read_the_files_known_before_are_read() {
    let world = World::new(location("root", &["x/*.yaml"]))
        .tree(&["x/a.yaml", "x/b.yaml"])
        .file("x/a.yaml", system("a"))
        .file("x/b.yaml", system("b"));
    let after = world.then(|mut world| {
        let why = "too large".to_owned();
        world.trees.insert(main(), HeldTree::Unreadable(why));
        world.file("x/a.yaml", system("a2"))
    });
    assert_eq!(shown(&after), ["catalog-info.yaml: root", "x/a.yaml: a2", "x/b.yaml: b"]);
    let expected = "catalog-info.yaml:5:13 file-unreadable: the files for `x/*.yaml` are not \
                    known: too large";
    assert_eq!(problems(&after), [expected]);
}

#[test]
fn chains_and_numbers_of_files_have_limits() {
    let mut world = World::new(location("l0", &["1.yaml"]));
    for n in 1..=12 {
        let next = format!("{}.yaml", n + 1);
        world = world.file(&format!("{n}.yaml"), location(&format!("l{n}"), &[&next]));
    }
    let expanded = world.expand();
    assert_eq!(expanded.files.len(), cuelight::catalog::expand::DEPTH_MAX + 1);
    let problems = problems(&expanded);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("10.yaml:5:13 target-invalid: `11.yaml` is not followed"));
}

#[test]
fn what_is_too_much_is_left_out_and_told() {
    use cuelight::catalog::{expand, locations};

    let names = |count: usize| (0..count).map(|n| format!("{n}.yaml")).collect::<Vec<_>>();
    let list = |names: &[String]| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        optional(location("root", &names))
    };
    let starts = |expanded: &Expanded, starts: &[&str]| {
        let told = problems(expanded);
        let fits = told.len() == starts.len()
            && told.iter().zip(starts).all(|(told, start)| told.contains(start));
        assert!(fits, "{told:#?}");
    };
    let many = World::new(list(&names(locations::TARGETS_MAX + 9))).expand();
    assert_eq!(many.dependencies.len(), locations::TARGETS_MAX);
    starts(&many, &["target-invalid: a Location may have 500 targets"]);

    let all = names(expand::FILES_MAX + 2);
    let paths: Vec<&str> = all.iter().map(String::as_str).collect();
    let files = World::new(location("root", &["*.yaml"])).tree(&paths);
    let files = paths.iter().fold(files, |world, path| world.file(path, ""));
    let expanded = files.expand();
    assert_eq!(expanded.files.len(), expand::FILES_MAX + 1);
    let left_out = "target-invalid: 2 files of `*.yaml` are left out: a file may lead to 1000";
    starts(&expanded, &[left_out]);

    let part = "#".repeat(expand::BYTES_MAX / 8);
    let world = World::new(list(&names(9)));
    let world = (0..8).fold(world, |world, n| world.file(&format!("{n}.yaml"), &*part));
    let world = world.file("8.yaml", system("c"));
    starts(&world.expand(), &["file-unreadable: `8.yaml` cannot be read: the files that"]);

    let braces: Vec<String> =
        (0..4).map(|n| format!("{{a,b}}{{c,d}}{{e,f}}{{g,h}}{{i,j}}{n}*")).collect();
    let world = World::new(list(&braces)).tree(&[]);
    starts(&world.expand(), &["is left out: a file may lead to 100 patterns"]);
    let world = World::new(list(&["{a,b}".repeat(7)])).tree(&[]);
    starts(&world.expand(), &["target-invalid: `{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}`: its braces"]);
}

#[test]
fn a_repository_has_one_name_however_it_is_written() {
    let own = "https://GitHub.com/ACME/Cart/tree/main";
    let lib = [
        "https://github.com/Acme/Lib/blob/main/x.yaml",
        "https://github.com/acme/lib/raw/main/x.yaml?a#b",
    ];
    let world = World::new(location(
        "root",
        &[lib[0], lib[1], &format!("{own}/a%20b.yaml"), &format!("{own}/{ROOT}")],
    ));
    let mut world = world.file("a b.yaml", system("ab"));
    let back = location(
        "lib",
        &[
            &format!("{own}/c.yaml"),
            "../x/y.yaml",
            "https://github.com/acme/cart/edit/main/catalog-info.yaml",
        ],
    );
    world.files.insert(foreign("Acme/Lib", "main", "x.yaml"), HeldFile::Text(back.into()));
    world = world.file("c.yaml", system("c"));
    let expanded = world.expand();
    assert_eq!(
        shown(&expanded),
        ["catalog-info.yaml: root", "x.yaml: lib", "a b.yaml: ab", "c.yaml: c"]
    );
    let names: Vec<&str> = expanded.files.iter().map(|f| f.source.full_name.as_str()).collect();
    assert_eq!(names, ["acme/cart", "Acme/Lib", "acme/cart", "acme/cart"]);
    let expected = ["x.yaml:5:62 target-invalid: `../x/y.yaml` leads out of the repository"];
    assert_eq!(problems(&expanded), expected);
}

#[test]
fn targets_that_point_nowhere_are_told_and_the_others_followed() {
    let targets =
        ["a/", "https://github.com/acme/cart", "git.yaml?x", "b\\c.yaml", "file:///etc/passwd"];
    let expanded = World::new(location("root", &targets))
        .file("git.yaml", "")
        .file("b/c.yaml", system("c"))
        .expand();
    assert_eq!(shown(&expanded), ["catalog-info.yaml: root", "git.yaml: ", "b/c.yaml: c"]);
    let told = problems(&expanded);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|told| told.starts_with("catalog-info.yaml:5:")), "{told:?}");
    let typed = location("root", &["a.yaml"]) + "  type: file\n";
    let told = problems(&World::new(typed).expand());
    let expected = "catalog-info.yaml:6:9 target-invalid: locations of the type `file` are not read, only `url`";
    assert_eq!(told, [expected]);
}
