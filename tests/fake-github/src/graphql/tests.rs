//! What GitHub refuses is refused, and what it answers is answered.

use serde_json::{Value, json};

use super::{Request, View};
use crate::{NewRepository, Push, World};

const TOKEN: &str = "acme-token";

fn world() -> World {
    let world = World::new();
    world.create_organization("acme");
    world.create_organization("other");
    world.add_token(TOKEN, &["acme"]);
    world.create_repository(
        "acme",
        NewRepository::named("orders").file("catalog-info.yaml", "kind: Component\n"),
    );
    world.create_repository("acme", NewRepository::named("empty").topics(&["a", "b"]));
    world.create_repository("other", NewRepository::named("secret").file("a", "b"));
    world
}

fn ask_as(world: &World, query: &str, variables: &Value, view: View) -> Value {
    match Request::parse(query, variables) {
        Ok(request) => request.answer(&world.lock(), TOKEN, view).body,
        Err(body) => body,
    }
}

fn ask(world: &World, query: &str, variables: &Value) -> Value {
    ask_as(world, query, variables, View::default())
}

fn check_refused(query: &str, variables: &Value, message: &str) {
    let body = ask(&world(), query, variables);
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    let told = errors
        .iter()
        .any(|error| error["message"].as_str().is_some_and(|text| text.contains(message)));
    assert!(told, "expected `{message}` of {query}, got {body}");
    assert!(body.get("data").is_none(), "a refused query has no data: {body}");
}

#[test]
fn refuses_what_does_not_fit_the_schema() {
    let none = json!({});
    let check = |query, message| check_refused(query, &none, message);
    check("query Q { viewer { nam } }", "Field 'nam' doesn't exist on type 'User'");
    check("query Q { viewer }", "Field must have selections");
    check("query Q { viewer { login { x } } }", "Selections can't be made on scalars");
    check("query Q { nodes { id } }", "is missing required arguments: ids");
    check("query Q { viewer(x: 1) { login } }", "doesn't accept argument 'x'");
    check(
        r#"query Q { repositoryOwner(login: "acme") { databaseId } }"#,
        "Field 'databaseId' doesn't exist on type 'RepositoryOwner'",
    );
    check(
        r#"query Q { repositoryOwner(login: 7) { login } }"#,
        "Argument 'login' on Field 'repositoryOwner' has an invalid value (7)",
    );
    check(
        r#"query Q { nodes(ids: ["x"]) { ... on PageInfo { endCursor } } }"#,
        "Fragment on PageInfo can't be spread inside Node",
    );
    check(
        r#"query Q { nodes(ids: ["x"]) { ... on Repository { object(expression: "HEAD:a")
           { oid } object(expression: "HEAD:b") { oid } } } }"#,
        "Field 'object' has an argument conflict",
    );
    check("query Q { nodes(ids: [\"x\"]) { ...F } }", "Fragment F was used, but not defined");
    check(
        "query Q { viewer { login } } fragment F on Repository { id }",
        "Fragment F was defined, but not used",
    );
    check("query Q { viewer { login }", "Parse error");
    check("mutation M { viewer { login } }", "the fake only answers queries");
}

#[test]
fn refuses_variables_that_are_missing_unused_undeclared_or_of_another_type() {
    let ids = json!({"ids": ["x"]});
    check_refused(
        "query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }",
        &json!({}),
        "Variable $ids of type [ID!]! was provided invalid value",
    );
    check_refused(
        "query Q($ids: [ID!]!) { viewer { login } }",
        &ids,
        "Variable $ids is declared by Q but not used",
    );
    check_refused(
        "query Q { nodes(ids: $ids) { id } }",
        &ids,
        "Variable $ids is used by Q but not declared",
    );
    check_refused(
        "query Q($ids: [ID!]) { nodes(ids: $ids) { id } }",
        &ids,
        "Nullability mismatch on variable $ids and argument ids",
    );
    check_refused(
        "query Q($ids: String!) { nodes(ids: $ids) { id } }",
        &json!({"ids": "x"}),
        "Type mismatch on variable $ids and argument ids (String! / [ID!])",
    );
}

#[test]
fn refuses_pages_and_queries_that_are_too_large() {
    let list = |arguments: &str| {
        format!(
            "query Q {{ repositoryOwner(login: \"acme\") {{ repositories{arguments} \
             {{ totalCount }} }} }}"
        )
    };
    let none = json!({});
    check_refused(
        &list(""),
        &none,
        "You must provide a `first` or `last` value to properly paginate the `repositories`",
    );
    check_refused(
        &list("(first: 101)"),
        &none,
        "Requesting 101 records on the `repositories` connection exceeds the `first` limit of 100",
    );
    let ids: Vec<String> = (0..101).map(|at| format!("R_{at}")).collect();
    let query = "query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    check_refused(query, &json!({ "ids": ids }), "more than 100 node ids; you provided 101");
    let topics = "repositoryTopics(first: 100) { nodes { topic { name } } }";
    let many: String = (0..60).map(|at| format!("t{at}: {topics} ")).collect();
    let inner = format!("(first: 100) {{ nodes {{ {many} }} }}");
    let query = format!("query Q {{ repositoryOwner(login: \"acme\") {{ repositories{inner} }} }}");
    check_refused(&query, &none, "requests up to 600,100 possible nodes");
}

#[test]
fn costs_a_point_for_each_hundred_connections() {
    let world = world();
    let query = "query Q { rateLimit { cost } repositoryOwner(login: \"acme\") {
        repositories(first: 100) { nodes { a: repositoryTopics(first: 1) { totalCount }
        b: repositoryTopics(first: 1) { totalCount } } } } }";
    let body = ask(&world, query, &json!({}));
    assert_eq!(body["data"]["rateLimit"]["cost"], 2);
}

#[test]
fn shows_nodes_in_order_and_says_which_are_not_found() {
    let world = world();
    let [orders, secret] =
        ["acme/orders", "other/secret"].map(|name| world.repository(name).node_id);
    let query = "query Q($ids: [ID!]!) { nodes(ids: $ids) { __typename ... on Repository {
        nameWithOwner visibility isEmpty
        file: object(expression: \"HEAD:catalog-info.yaml\") { ... on Blob { oid text } }
        none: object(expression: \"refs/heads/none:catalog-info.yaml\") { oid }
        } } }";
    let body = ask(&world, query, &json!({"ids": ["R_none", orders, secret]}));
    let nodes = &body["data"]["nodes"];
    assert_eq!(nodes[0], Value::Null);
    assert_eq!(nodes[1]["nameWithOwner"], "acme/orders");
    assert_eq!(nodes[1]["file"]["text"], "kind: Component\n");
    assert_eq!(nodes[1]["none"], Value::Null);
    assert_eq!(nodes[2], Value::Null, "a repository of an owner the token does not see");
    assert_eq!(body["errors"][0]["path"], json!(["nodes", 0]));
    assert_eq!(body["errors"][1]["path"], json!(["nodes", 2]));
    assert_eq!(body["errors"][1]["type"], "NOT_FOUND");
}

#[test]
fn pages_follow_the_order_and_a_push_between_two_pages_hides_a_repository() {
    let world = world();
    world.create_repository("acme", NewRepository::named("third").file("a", "b"));
    let query = "query Q($after: String) { repositoryOwner(login: \"ACME\") {
        repositories(first: 2, after: $after, ownerAffiliations: [OWNER],
                     orderBy: {field: PUSHED_AT, direction: ASC}) {
            totalCount pageInfo { endCursor hasNextPage } nodes { name } } } }";
    let page = |after: Value| {
        let body = ask(&world, query, &json!({ "after": after }));
        body["data"]["repositoryOwner"]["repositories"].clone()
    };
    let first = page(Value::Null);
    assert_eq!(first["totalCount"], 3);
    assert_eq!(first["nodes"], json!([{"name": "empty"}, {"name": "orders"}]));
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let second = page(first["pageInfo"]["endCursor"].clone());
    assert_eq!(second["nodes"], json!([{"name": "third"}]));
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
    world.put_file("acme/orders", "a", "c");
    let again = page(first["pageInfo"]["endCursor"].clone());
    assert_eq!(again["nodes"], json!([{"name": "third"}, {"name": "orders"}]));
    let wrong = ask(&world, query, &json!({"after": "x"}));
    assert_eq!(wrong["errors"][0]["type"], "INVALID_CURSOR_ARGUMENTS");
}

#[test]
fn text_is_cut_at_512_000_bytes_and_binary_has_none() {
    let world = world();
    let push = Push::to("main").put("large", "x".repeat(512_001)).put("binary", [0, 1, 2]);
    world.push("acme/orders", push);
    let query = "query Q { repository(owner: \"acme\", name: \"orders\") {
        large: object(expression: \"HEAD:large\") { ... on Blob { byteSize isTruncated text } }
        binary: object(expression: \"HEAD:binary\") { ... on Blob { isBinary text } } } }";
    let body = ask(&world, query, &json!({}));
    let large = &body["data"]["repository"]["large"];
    assert_eq!(large["byteSize"], 512_001);
    assert_eq!(large["isTruncated"], true);
    assert_eq!(large["text"].as_str().map(str::len), Some(512_000));
    assert_eq!(body["data"]["repository"]["binary"], json!({"isBinary": true, "text": null}));
}

#[test]
fn a_stale_view_shows_the_state_before_the_last_pushes() {
    let world = world();
    world.put_file("acme/orders", "catalog-info.yaml", "second\n");
    world.put_file("acme/orders", "catalog-info.yaml", "third\n");
    let query = "query Q { repository(owner: \"acme\", name: \"orders\") {
        pushedAt object(expression: \"HEAD:catalog-info.yaml\") { ... on Blob { text } } } }";
    let text = |pushes_behind| {
        let view = View { pushes_behind, ..View::default() };
        let body = ask_as(&world, query, &json!({}), view);
        body["data"]["repository"]["object"]["text"].clone()
    };
    assert_eq!(text(0), "third\n");
    assert_eq!(text(1), "second\n");
    assert_eq!(text(2), "kind: Component\n");
}

#[test]
fn an_unknown_owner_is_null_without_an_error() {
    let query = "query Q { repositoryOwner(login: \"nobody\") { login } }";
    assert_eq!(ask(&world(), query, &json!({})), json!({"data": {"repositoryOwner": null}}));
}
