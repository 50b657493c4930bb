//! The events of the verbs, and the server's refusals.

use serde_json::{Value, json};

use crate::{Event, FakeGitHub, NewRepository, Push, Webhooks, World, ZERO_OID, signed};

fn world() -> World {
    let world = World::new();
    world.create_organization("acme");
    world.create_user("jo");
    world.create_repository("acme", NewRepository::named("orders").file("a", "1"));
    world
}

fn one(mut events: Vec<Event>) -> Value {
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0).payload
}

fn names(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| format!("{}.{}", event.name, event.action().unwrap_or_default()))
        .collect()
}

#[test]
fn a_push_tells_each_commit_and_the_heads_before_and_after() {
    let world = world();
    let before = world.head("acme/orders", "main");
    let push = Push::to("main").put("a", "2").put("b", "1").commit().delete("a");
    let told = one(world.push("acme/orders", push));
    assert_eq!(told["ref"], "refs/heads/main");
    assert_eq!(told["before"], before);
    assert_eq!(told["after"], world.head("acme/orders", "main"));
    assert_eq!(told["forced"], false);
    let files = |at: usize| {
        let commit = &told["commits"][at];
        json!([commit["added"], commit["modified"], commit["removed"]])
    };
    assert_eq!(files(0), json!([["b"], ["a"], []]));
    assert_eq!(files(1), json!([[], [], ["a"]]));
    assert_eq!(told["repository"]["pushed_at"], world.now(), "an integer in a push");
    assert_eq!(told["repository"]["default_branch"], "main");
    assert_eq!(told["repository"]["html_url"], "https://github.com/acme/orders");
    assert_eq!(told["organization"]["login"], "acme");
}

#[test]
fn branches_are_created_deleted_and_forced() {
    let world = world();
    let first = world.head("acme/orders", "main");
    world.put_file("acme/orders", "a", "2");
    let second = world.head("acme/orders", "main");
    let created = one(world.create_branch("acme/orders", "next", "main"));
    assert_eq!((&created["before"], &created["created"]), (&json!(ZERO_OID), &json!(true)));
    assert_eq!(created["after"], second);
    let deleted = one(world.delete_branch("acme/orders", "next"));
    assert_eq!((&deleted["after"], &deleted["deleted"]), (&json!(ZERO_OID), &json!(true)));
    assert_eq!(deleted["head_commit"], Value::Null);
    let forced = one(world.force_push("acme/orders", "main", &first));
    assert_eq!((&forced["before"], &forced["after"]), (&json!(second), &json!(first)));
    assert_eq!(forced["forced"], true);
}

#[test]
fn each_change_of_a_repository_is_told_as_github_tells_it() {
    let world = world();
    let empty = world.create_repository("jo", NewRepository::named("empty"));
    assert_eq!(names(&empty), ["repository.created"]);
    assert!(empty[0].payload.get("organization").is_none(), "a person is no organisation");
    let full = NewRepository::named("full").file("a", "1");
    assert_eq!(names(&world.create_repository("jo", full)), ["repository.created", "push."]);
    let name = "acme/orders";
    assert_eq!(names(&world.archive(name)), ["repository.archived"]);
    assert_eq!(names(&world.unarchive(name)), ["repository.unarchived"]);
    let public = world.set_visibility(name, "public");
    assert_eq!(names(&public), ["repository.publicized", "public."]);
    assert_eq!(names(&world.set_visibility(name, "internal")), ["repository.privatized"]);
    assert_eq!(names(&world.set_visibility(name, "private")), Vec::<String>::new());
    let topics = one(world.set_topics(name, &["x"]));
    assert_eq!(topics["changes"], json!({"topics": {"from": []}}));
    world.create_branch(name, "trunk", "main");
    let branch = one(world.set_default_branch(name, "trunk"));
    assert_eq!(branch["changes"], json!({"default_branch": {"from": "main"}}));
    let renamed = one(world.rename(name, "bills"));
    assert_eq!(renamed["changes"], json!({"repository": {"name": {"from": "orders"}}}));
    assert_eq!(renamed["repository"]["full_name"], "acme/bills");
    let moved = one(world.transfer("acme/bills", "jo"));
    assert_eq!(moved["changes"]["owner"]["from"]["organization"]["login"], "acme");
    assert_eq!(moved["repository"]["owner"]["login"], "jo");
    let deleted = one(world.delete_repository("jo/bills"));
    assert_eq!(deleted["action"], "deleted");
    assert_eq!(world.repository_names("acme"), Vec::<String>::new());
    assert_eq!(world.repository_names("jo"), ["jo/empty", "jo/full"]);
}

#[test]
fn time_moves_with_each_change_unless_it_is_frozen() {
    let world = world();
    let start = world.now();
    world.put_file("acme/orders", "a", "2");
    assert_eq!(world.now(), start + 1);
    world.freeze_time();
    world.put_file("acme/orders", "a", "3");
    assert_eq!(world.repository("acme/orders").content.heads.pushed_at, Some(start + 1));
}

/// A GET by hand: status, `location`, body.
async fn get(fake: &FakeGitHub, path: &str, headers: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(fake.address()).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    answer
}

#[tokio::test]
async fn the_server_refuses_strangers_and_redirects_old_names() {
    let fake = FakeGitHub::start().await;
    let world = fake.state();
    world.create_organization("acme");
    world.create_organization("other");
    world.add_token("t", &["acme"]);
    world.create_repository("acme", NewRepository::named("old").file("d/a b", "text"));
    world.create_repository("other", NewRepository::named("theirs"));
    world.rename("acme/old", "new");
    let id = world.repository("acme/new").id;
    let theirs = world.repository("other/theirs").id;
    let check = async |path: &str, headers: &str, expected: &str| {
        let answer = get(&fake, path, headers).await;
        assert!(answer.contains(expected), "{path}: expected `{expected}` in {answer}");
    };
    let by_id = format!("/repositories/{id}");
    let good = "user-agent: x\r\nauthorization: Bearer t\r\n";
    check(&by_id, good, "HTTP/1.1 200").await;
    check(&by_id, "authorization: Bearer t\r\n", "HTTP/1.1 403").await;
    check(&by_id, "user-agent: x\r\n", "Requires authentication").await;
    check(&by_id, "user-agent: x\r\nauthorization: token no\r\n", "Bad credentials").await;
    check(&format!("/repositories/{theirs}"), good, "HTTP/1.1 404").await;
    check("/repos/acme/old", good, &format!("location: http://x/repositories/{id}\r\n")).await;
    let file = "/api/v3/repos/ACME/new/contents/d/a%20b?ref=refs%2Fheads%2Fmain";
    check(file, &format!("{good}accept: application/vnd.github.raw\r\n"), "\r\n\r\ntext").await;
    check(file, good, "HTTP/1.1 415").await;
    check("/graphql", good, "HTTP/1.1 404").await;
    assert!(world.touched().contains(&("t".to_owned(), "other".to_owned())));
    fake.stop().await;
}

#[tokio::test]
async fn a_redelivery_is_the_same_to_the_byte() {
    let event = world().ping("acme");
    let webhooks = Webhooks::new();
    let guid = webhooks.guid();
    assert_ne!(guid, webhooks.guid());
    let [one, two] = [(), ()].map(|()| signed(&event, "secret", &guid, crate::Format::Form));
    assert_eq!((one.headers, &one.body), (two.headers, &two.body));
    assert!(one.body.starts_with(b"payload=%7B%22"));
}

#[test]
fn a_fault_for_some_calls_comes_before_one_for_all() {
    use crate::{CallKind, Calls, Fault};
    let world = world();
    world.fail_always(Calls::All, Fault::Hang);
    world.fail_next(2, Calls::Rest, Fault::Reset);
    let take = |kind| format!("{:?}", world.lock().faults.take(kind));
    assert_eq!(take(CallKind::Nodes), "Some(Hang)");
    assert_eq!(take(CallKind::File), "Some(Reset)");
    assert_eq!(take(CallKind::Repository), "Some(Reset)");
    assert_eq!(take(CallKind::Repository), "Some(Hang)");
    world.heal();
    assert_eq!(take(CallKind::Repository), "None");
}

#[tokio::test]
async fn a_tree_is_listed_at_a_commit_whole_or_cut() {
    let fake = FakeGitHub::start().await;
    let world = fake.state();
    world.create_organization("acme");
    world.add_token("token", &["acme"]);
    world.create_repository(
        "acme",
        NewRepository::named("orders").file("a/b/c", "1").file("d", "2"),
    );
    world.create_repository("acme", NewRepository::named("empty"));
    let headers = "authorization: bearer token\r\nuser-agent: test\r\n\
                   accept: application/vnd.github+json\r\n";
    let tree = async |path: &str| {
        let answer = get(&fake, path, headers).await;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        (status, serde_json::from_str::<Value>(&body).unwrap_or_default())
    };
    let path = |query: &str| {
        let head = world.head("acme/orders", "main");
        format!("/repos/acme/orders/git/trees/{head}{query}")
    };
    let paths = |tree: &Value| -> Vec<String> {
        let entries = tree["tree"].as_array().into_iter().flatten();
        entries.map(|entry| format!("{} {}", entry["type"], entry["path"])).collect()
    };
    let (status, whole) = tree(&path("?recursive=1")).await;
    assert_eq!((&*status, &whole["truncated"]), ("200", &json!(false)));
    let expected = [r#""tree" "a""#, r#""tree" "a/b""#, r#""blob" "a/b/c""#, r#""blob" "d""#];
    assert_eq!(paths(&whole), expected);
    assert_eq!(paths(&tree(&path("")).await.1), [r#""tree" "a""#, r#""blob" "d""#]);
    world.cut_trees(2);
    let (_, cut) = tree(&path("?recursive=1")).await;
    assert_eq!((&cut["truncated"], paths(&cut).len()), (&json!(true), 2));
    assert_eq!(tree("/repos/acme/orders/git/trees/none").await.0, "404");
    assert_eq!(tree("/repos/acme/empty/git/trees/main").await.0, "409");
    assert_eq!(world.calls_of(crate::CallKind::Tree), 5);
}
