//! What helps to mend a fault, in a few words behind what Backstage says about it. Each hint names
//! what to write, and is only given where that is likely.

use super::yaml::{Node, NodeValue};

/// Longest text that a hint repeats: what is longer is no slip of the pen.
const QUOTED_CHARS_MAX: usize = 60;

/// What to do about a field that `node` has not; `example` is how it may look.
pub(super) fn missing(node: &Node, name: &str, example: Option<&str>) -> Option<String> {
    let plain = |key: &str| key.to_lowercase().replace(['-', '_'], "");
    if let NodeValue::Map(entries) = &node.value {
        let near = entries.iter().find(|(key, _)| plain(&key.text) == plain(name));
        if let Some((key, _)) = near {
            return Some(format!("write `{name}`, not `{}`", key.text));
        }
    }
    example.map(|example| format!("add it, such as `{example}`"))
}

/// What to do about a document that has no `spec`, which would have these fields at least.
pub(super) fn missing_spec<'a>(
    root: &Node,
    required: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let names: Vec<String> = required.map(|name| format!("`{name}`")).collect();
    let names = names.join(", ");
    let with = if names.is_empty() { "" } else { " with " };
    missing(root, "spec", None).or_else(|| Some(format!("add `spec:`{with}{names} below it")))
}

/// What to do about a key at the root that no entity has there; `is_of_spec` when its kind has it
/// in `spec`.
pub(super) fn misplaced(key: &str, is_of_spec: bool) -> String {
    let of_metadata =
        ["name", "namespace", "title", "description", "labels", "annotations", "tags", "links"];
    let parent = match key {
        _ if is_of_spec => "spec",
        _ if of_metadata.contains(&key) => "metadata",
        _ => return format!("an entity has no field `{key}` at its root"),
    };
    format!("`{key}` belongs below `{parent}`: indent it")
}

/// What to do about a value that is not of the JSON type that is wanted.
pub(super) fn wrong_type(wanted: &str, found: &NodeValue) -> Option<String> {
    let hint = match (wanted, found) {
        ("string" | "string,boolean", NodeValue::Null) => {
            "there is no value: write one, or take the key away"
        }
        ("string", NodeValue::Number(_) | NodeValue::Bool(_)) => "put the value in quotes",
        ("string" | "string,boolean", NodeValue::List(_)) => "one value, not a list",
        ("string", NodeValue::Map(_)) => {
            "one value, not a mapping; a text that contains `: ` needs quotes"
        }
        ("array", NodeValue::String(text)) => return as_list(text),
        ("array", NodeValue::Null) => "write `[]` for none",
        ("array", NodeValue::Map(_)) => "a list: begin each item with `- `",
        ("object", NodeValue::Null) => "there is nothing below it: check the indentation",
        ("object", NodeValue::List(_)) => "a mapping, not a list: take the `- ` away",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What to do about a text that is empty.
pub(super) fn empty() -> String {
    "write a value, or take the key away".to_owned()
}

/// What to do about a text that is none of `choices`.
pub(super) fn choice(choices: &[String]) -> String {
    format!("write one of `{}`", choices.join("`, `"))
}

/// What to do about a ref of which Backstage says `message`.
pub(super) fn bad_ref(message: &str) -> Option<String> {
    let text = message.split('"').nth(1)?;
    let is_plain = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    let is_near = !text.is_empty() && text.chars().count() <= QUOTED_CHARS_MAX;
    let lacks_kind = message.contains("missing or empty kind");
    (lacks_kind && is_near && text.chars().all(is_plain))
        .then(|| format!("say what kind it is, such as `component:{text}` or `resource:{text}`"))
}

fn as_list(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_alphanumeric() || " ,-_./:".contains(c);
    let fits = text.chars().count() <= QUOTED_CHARS_MAX && text.chars().all(is_plain);
    Some(match fits && !text.is_empty() && !text.contains(": ") {
        true => format!("write a list: `[{text}]`"),
        false => "write a list: begin each item with `- `".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use crate::catalog::validate::validate;
    use crate::catalog::yaml;

    /// The hints about a Component with these lines in place of the sound ones.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let documents = yaml::parse(text);
        let root = documents[0].root.as_ref().unwrap();
        let faults = validate(root).faults;
        let hints: Vec<String> =
            faults.into_iter().map(|fault| fault.hint.unwrap_or(fault.brief)).collect();
        assert_eq!(hints, expected, "{text}");
    }

    /// A Component with this spec.
    #[track_caller]
    fn check_spec(spec: &str, expected: &[&str]) {
        let head = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: a}";
        check(&format!("{head}\n{spec}"), expected);
    }

    /// A System with this metadata.
    #[track_caller]
    fn check_metadata(metadata: &str, expected: &[&str]) {
        let system = "apiVersion: backstage.io/v1alpha1\nkind: System\nspec: {owner: a}";
        check(&format!("{system}\nmetadata: {metadata}"), expected);
    }

    #[test]
    fn what_is_missing_is_shown_by_example() {
        let add = |what: &str| format!("add it, such as `{what}`");
        let (owner, kind) = (add("owner: my-team"), add("kind: Component"));
        let (lifecycle, kind_of) = (add("lifecycle: production"), add("type: service"));
        check_spec("spec: {type: service, lifecycle: x}", &[&owner]);
        check_spec("spec: {}", &[&kind_of, &lifecycle, &owner]);
        check_spec("", &["add `spec:` with `type`, `lifecycle`, `owner` below it"]);
        check(
            "metadata: {}",
            &[&add("apiVersion: backstage.io/v1alpha1"), &kind, &add("name: my-service")],
        );
        check_metadata("{name: a, links: [{title: x}]}", &[&add("url: https://example.com")]);
    }

    #[test]
    fn a_key_in_the_wrong_case_or_place_is_recognised() {
        check_spec(
            "spec: {type: x, life_cycle: y, Owner: z}",
            &["write `lifecycle`, not `life_cycle`", "write `owner`, not `Owner`"],
        );
        check_spec(
            "Spec: {type: x}",
            &["an entity has no field `Spec` at its root", "write `spec`, not `Spec`"],
        );
        check_spec(
            "spec: {type: x, lifecycle: y}\nowner: z\ntags: [a]",
            &[
                "`owner` belongs below `spec`: indent it",
                "`tags` belongs below `metadata`: indent it",
                "add it, such as `owner: my-team`",
            ],
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_how_to_write_it() {
        check_spec(
            "spec: {type: 7, lifecycle: [y], owner: }",
            &[
                "put the value in quotes",
                "one value, not a list",
                "there is no value: write one, or take the key away",
            ],
        );
        check_spec(
            "spec: {type: '', lifecycle: y, owner: z, dependsOn: 'resource:a, api:b'}",
            &["write a value, or take the key away", "write a list: `[resource:a, api:b]`"],
        );
        check_spec(
            "spec: {type: x, lifecycle: y, owner: z, dependsOn: [db], providesApis: }",
            &[
                "write `[]` for none",
                "say what kind it is, such as `component:db` or `resource:db`",
            ],
        );
        check_metadata("{name: a, tags: go}", &["write a list: `[go]`"]);
        check_metadata("{name: a, tags: '[go'}", &["write a list: begin each item with `- `"]);
        check_metadata(
            "{name: a, labels: }",
            &["there is nothing below it: check the indentation"],
        );
    }

    #[test]
    fn a_bad_name_hides_nothing_that_is_wrong_below_it() {
        check(
            "apiVersion: backstage.io/v1alpha1\nkind: System\nmetadata: {name: a b}\nspec: {}",
            &["`a-b` would do", "add it, such as `owner: my-team`"],
        );
    }

    #[test]
    fn a_name_that_would_do_is_offered() {
        check_metadata("{name: '@acme/My cart!'}", &["`acme-My-cart` would do"]);
        check_metadata("{name: a, namespace: Web_Team}", &["`web-team` would do"]);
        check_metadata(
            "{name: a, tags: [Node.js, 'C++ ', 日本]}",
            &[
                "`node-js` would do",
                "`c++` would do",
                "only `a` to `z`, digits, `+`, `#` and `:`, with single `-` between them",
            ],
        );
        let long = "n".repeat(70);
        check_metadata(&format!("{{name: {long}}}"), &["it has 70 characters, 63 are allowed"]);
        check_metadata(
            "{name: 'ü'}",
            &["only letters from `a` to `z`, digits, and `-`, `_`, `.` between them"],
        );
    }
}
