//! `$text`, `$json` and `$yaml`: what they become, what is refused, and what stays meanwhile.

use std::collections::BTreeSet;

use cuelight::catalog::{Entity, Expanded, HeldFile, Need};
use serde_json::{Value, json};

use super::world::{World, at, foreign, location, problems, shown, system};

/// An API with this definition, and with `x` in its spec.
fn api(definition: &str, x: &str) -> String {
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: API\nmetadata: {{name: pay}}\nspec:\n  \
         type: openapi\n  lifecycle: beta\n  owner: web\n  definition: {definition}\n  x: {x}\n"
    )
}

fn entity(expanded: &Expanded) -> &Entity {
    expanded.files[0].processed.entities.last().expect("an entity")
}

/// What `x` becomes in a file at the root, beside what the world holds.
#[track_caller]
fn check(x: &str, expected: Value) {
    let expanded = world(&api("d", x)).expand();
    assert_eq!(problems(&expanded), [""; 0], "{x}");
    assert_eq!(entity(&expanded).body["spec"]["x"], expected, "{x}");
}

/// How the problem starts that `x` is; the API was there before and stays.
#[track_caller]
fn check_refused(x: &str, expected: &str) {
    let after = world(&api("d", "good")).then(|world| World { root: api("e", x), ..world });
    let told = problems(&after);
    let start = format!("catalog-info.yaml:9:{expected}");
    assert!(told.len() == 1 && told[0].starts_with(&start), "{x}: {told:#?}\n{start}");
    assert_eq!(shown(&after), ["catalog-info.yaml: pay (stale)"]);
    assert_eq!(entity(&after).body["spec"]["x"], "good");
}

fn world(root: &str) -> World {
    let world = World::new(root)
        .file("a.txt", "one\ntwo\n")
        .file("dir/é b.txt", "deep")
        .file("a.json", "{\"b\": [1.0, 1e3, null, true, \"x\"], \"b\": [2.50, -0]}")
        .file("bad.json", "{\n  a: 1}")
        .file("a.yaml", "\u{feff}b: [010, yes, {$text: a.txt}]\n<<: {c: 1}\n")
        .file("two.yaml", "a: 1\n---\nb: 2\n")
        .file("bad.yaml", "a: 1\nb: [\n")
        .file("null.yaml", "# nothing\n~\n")
        .file("open.yaml", "a: 1\n---\n")
        .file("odd.json", r#"{"a": [1e999, -0], "b": "\ud83d", "c": "\ud83d\ude00"}"#)
        .file("empty", "")
        .file("deep.json", format!("{}1{}", "[".repeat(99), "]".repeat(99)))
        .held("large", HeldFile::Unreadable("larger than 4 bytes".into()));
    let mut world = world;
    world.files.insert(foreign("acme/cart", "dev", "a.txt"), HeldFile::Text("dev".into()));
    world
}

#[test]
fn annotations_hold_placeholders_and_are_none() {
    let annotated = |annotations: &str| {
        let metadata = format!("metadata:\n  name: pay\n  annotations: {annotations}\n");
        world(&api("d", "x").replace("metadata: {name: pay}\n", &metadata)).expand()
    };
    let expanded = annotated("{a: {$text: dir/é b.txt}}");
    assert_eq!(entity(&expanded).body["metadata"]["annotations"]["a"], "deep");
    // Those that say where an entity comes from stand beside it.
    let told = problems(&annotated("{$text: a.txt}"));
    assert!(told.len() == 1 && told[0].contains("annotations.$text"), "{told:#?}");
}

#[test]
fn placeholders_become_what_the_files_hold() {
    check("{$text: a.txt}", json!("one\ntwo\n"));
    check("{$text: ./a.txt}", json!("one\ntwo\n"));
    check("{$text: /dir/%C3%A9%20b.txt}", json!("deep"));
    check("{$text: 'dir\\é b.txt?x#y'}", json!("deep"));
    check("{$text: 'https://github.com/Acme/CART/blob/main/a.txt'}", json!("one\ntwo\n"));
    check("{$text: 'https://github.com/acme/cart/edit/dev/a.txt'}", json!("dev"));
    check("{$text: empty}", json!(""));
    check("{$yaml: null.yaml}", Value::Null);
    check("{$json: odd.json}", json!({"a": [null, 0], "b": "\u{fffd}", "c": "😀"}));
    check("{$json: a.json}", json!({"b": [2.5, 0]}));
    check("{$yaml: a.yaml}", json!({"b": [10, "yes", {"$text": "a.txt"}], "<<": {"c": 1}}));
    check("{$text: a.yaml}", json!("\u{feff}b: [010, yes, {$text: a.txt}]\n<<: {c: 1}\n"));
    check("[1, [{$text: empty}], {y: {$text: dir/é b.txt, }}]", json!([1, [""], {"y": "deep"}]));
}

#[test]
fn what_is_no_placeholder_is_left_as_it_is() {
    check("{$foo: a.txt}", json!({"$foo": "a.txt"}));
    check("{$text: a.txt, more: 1}", json!({"$text": "a.txt", "more": 1}));
    check(
        "{$ref: {$text: a.txt}, b: {$text: a.txt}}",
        json!({"$ref": {"$text": "a.txt"}, "b": {"$text": "a.txt"}}),
    );
    check("{text: a.txt}", json!({"text": "a.txt"}));
    check("'$text: a.txt'", json!("$text: a.txt"));
    check("{$openapi: a.txt}", json!({"$openapi": "a.txt"}));
}

#[test]
fn what_cannot_be_put_in_is_a_problem_and_the_entity_stays() {
    let told = |key: &str, what: &str| {
        format!(
            "14 placeholder: Processor PlaceholderProcessor threw an error while preprocessing; \
             caused by Error: Placeholder {key} {what}"
        )
    };
    let expected =
        "expected a string value parameter, in the form of an absolute URL or a relative path";
    check_refused("{$text: 1}", &told("$text", expected));
    check_refused("{$yaml: [a.yaml]}", &told("$yaml", expected));
    let missing = "could not read location no.txt, NotFoundError: there is no file no.txt in acme/cart on main";
    check_refused("{$text: no.txt}", &told("$text", missing));
    check_refused(
        "{$text: large}",
        &told("$text", "could not read location large, Error: larger than 4 bytes"),
    );
    let base =
        "could not form a URL out of https://github.com/acme/cart/blob/main/catalog-info.yaml and";
    check_refused(
        "{$text: ../a.txt}",
        &told("$text", &format!("{base} ../a.txt, Error: `../a.txt` leads out of the repository")),
    );
    let other = "https://github.com/acme/other/blob/main/a.txt";
    check_refused(
        &format!("{{$text: '{other}'}}"),
        &told(
            "$text",
            &format!(
                "{base} {other}, Error: Placeholder may only reference files from the same repository"
            ),
        ),
    );
    check_refused(
        "{$json: bad.json}",
        &told(
            "$json",
            "failed to parse JSON data at bad.json, SyntaxError: \
             Expected property name or '}' in JSON at position 4",
        ),
    );
    check_refused(
        "{$json: a.yaml}",
        &told("$json", "failed to parse JSON data at a.yaml, SyntaxError: Unexpected token 'b'"),
    );
    check_refused("{$json: empty}", &told("$json", "failed to parse JSON data at empty"));
    check_refused(
        "{$yaml: two.yaml}",
        &told("$yaml", "expected to find exactly one document of data at two.yaml, found 2"),
    );
    check_refused(
        "{$yaml: open.yaml}",
        &told("$yaml", "expected to find exactly one document of data at open.yaml, found 2"),
    );
    check_refused(
        "{$yaml: empty}",
        &told("$yaml", "expected to find exactly one document of data at empty, found 0"),
    );
    check_refused(
        "{$yaml: bad.yaml}",
        &told("$yaml", "found an error in the data at bad.yaml, YAMLParseError: "),
    );
    check_refused(
        "{$json: deep.json}",
        &told(
            "$json",
            "could not read location deep.json, Error: an entity may be nested 100 levels deep",
        ),
    );
}

#[test]
fn a_value_that_was_put_in_is_checked_like_any_other() {
    let expanded = world(&api("{$json: a.json}", "1")).expand();
    let told = problems(&expanded);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("catalog-info.yaml:8:23 schema: "), "{told:?}");
    assert!(told[0].contains("/spec/definition must be string"), "{told:?}");
    let system = system("s").replace("{owner: web}", "{owner: {$text: a.txt}}");
    let expanded = World::new(system).file("a.txt", "team-a").expand();
    assert_eq!(entity(&expanded).relations[0].source, "group:default/team-a");
    let envelope = super::world::system("{$text: a.txt}");
    let told = problems(&World::new(envelope).file("a.txt", "s").expand());
    assert!(told[0].contains(" envelope: "), "a name cannot stand elsewhere: {told:?}");
}

#[test]
fn all_placeholders_of_an_entity_are_told_and_its_neighbours_go_in() {
    let text = api("{$text: no.txt}", "{$text: none.txt}") + "---\n" + &system("s");
    let expanded = World::new(text).expand();
    assert_eq!(shown(&expanded), ["catalog-info.yaml: s"]);
    let told = problems(&expanded);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("catalog-info.yaml:8:23 placeholder: Processor"), "{told:?}");
    assert!(told[1].starts_with("catalog-info.yaml:9:14 placeholder: Placeholder $text could not"));
}

#[test]
fn placeholders_of_included_files_start_there_and_may_name_the_root() {
    let included = api("{$text: b.txt}", "[{$text: ../catalog-info.yaml}, {$yaml: a.yaml}]");
    let root = location("root", &["dir/a.yaml"]);
    let world = World::new(&*root).file("dir/b.txt", "b").file("dir/a.yaml", included.clone());
    let expanded = world.expand();
    assert_eq!(problems(&expanded), [""; 0]);
    let spec = &expanded.files[1].processed.entities[0].body["spec"];
    assert_eq!((&spec["definition"], &spec["x"][0]), (&json!("b"), &json!(root)));
    assert_eq!(spec["x"][1]["kind"], "API", "a file may name itself");
    let expected = ["dir/a.yaml", "dir/b.txt"].map(|path| Need::File(at(path)));
    assert_eq!(expanded.dependencies, BTreeSet::from(expected));
    let url = "https://github.com/acme/lib/blob/main/dir/a.yaml";
    let mut world = World::new(location("root", &[url]));
    let held = |text: &str| HeldFile::Text(text.into());
    world
        .files
        .insert(foreign("acme/lib", "main", "dir/a.yaml"), held(&api("{$text: /b.txt}", "1")));
    world.files.insert(foreign("acme/lib", "main", "b.txt"), held("of the library"));
    let expanded = world.expand();
    assert_eq!(problems(&expanded), [""; 0]);
    let spec = &expanded.files[1].processed.entities[0].body["spec"];
    assert_eq!(spec["definition"], "of the library");
}

#[test]
fn targets_may_stand_in_another_file() {
    let root = location("root", &[]).replace("[]", "{$yaml: targets.yaml}");
    let world =
        World::new(root).file("targets.yaml", "[a.yaml, b.yaml]").file("a.yaml", system("a"));
    let expanded = world.expand();
    assert_eq!(shown(&expanded), ["catalog-info.yaml: root", "a.yaml: a"]);
    let told = problems(&expanded);
    assert!(
        told.len() == 1 && told[0].starts_with("catalog-info.yaml:5:20 target-missing"),
        "{told:?}"
    );
}

#[test]
fn a_kind_that_is_not_allowed_asks_for_nothing() {
    let user = "apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: jo}\n\
                spec: {memberOf: [], x: {$text: a.txt}}\n";
    let expanded = World::new(user).expand();
    assert_eq!(expanded.dependencies, BTreeSet::new());
}

#[test]
fn what_placeholders_bring_in_is_bounded() {
    let half = "x".repeat(cuelight::catalog::placeholder::BYTES_MAX / 2);
    let both = api("{$text: a.txt}", "{$text: a.txt}");
    let fits = World::new(&*both).file("a.txt", &*half).expand();
    assert_eq!(problems(&fits), [""; 0]);
    let told = problems(&World::new(&*both).file("a.txt", half + "x").expand());
    assert!(
        told.len() == 1 && told[0].contains("may bring in 16777216 bytes together"),
        "{told:?}"
    );
    let many = format!("[{}1]", "1, ".repeat(cuelight::catalog::placeholder::NODES_MAX));
    let told = problems(&World::new(api("d", "{$json: a.json}")).file("a.json", many).expand());
    assert!(told.len() == 1 && told[0].contains("may bring in 200000 values together"), "{told:?}");
}
