//! `POST /webhooks/github` as GitHub sees it: who is believed, what is answered, what is kept.

use std::sync::Arc;
use std::time::Duration;

use cuelight::dependents::Dependents;
use cuelight::engine::queue::Push;
use cuelight::webhook::Routing;
use serde_json::json;

use crate::support::http_client::{Answer, Connection, exchange};
use crate::support::receiver::{Delivery, Receiver, SECRET, Setup, fixture, routing, sign};
use crate::support::recording_queue::Mode;

/// The answer without what differs from second to second.
fn without_date(mut answer: Answer) -> Answer {
    answer.headers.retain(|(name, _)| name != "date");
    answer
}

#[test]
fn a_signature_counts_only_when_it_is_right() {
    let good = Delivery::push("matrix");
    let digits = sign(SECRET, &good.body)["sha256=".len()..].to_owned();
    let sha1 = format!("sha1={}", &digits[..40]);
    let cases: Vec<(&str, Option<String>, bool)> = vec![
        ("right", Some(format!("sha256={digits}")), true),
        ("right in upper case", Some(format!("sha256={}", digits.to_uppercase())), true),
        ("missing", None, false),
        ("empty", Some(String::new()), false),
        ("without its prefix", Some(digits.clone()), false),
        ("prefix in upper case", Some(format!("SHA256={digits}")), false),
        ("another algorithm", Some(format!("sha512={digits}")), false),
        ("sha1 in its place", Some(sha1), false),
        ("cut short", Some(format!("sha256={}", &digits[..63])), false),
        ("a byte short", Some(format!("sha256={}", &digits[..62])), false),
        ("too long", Some(format!("sha256={digits}00")), false),
        ("not hexadecimal", Some(format!("sha256={}g", &digits[..63])), false),
        ("not ASCII", Some(format!("sha256={}é", &digits[..62])), false),
        ("by another secret", Some(sign("another", &good.body)), false),
        ("of another body", Some(sign(SECRET, b"{}")), false),
        ("zeroes", Some(format!("sha256={}", "0".repeat(64))), false),
    ];
    for secrets in [vec![SECRET], vec![SECRET, "next"], vec!["former", SECRET]] {
        let receiver = Receiver::start(Setup { secrets: secrets.clone(), ..Setup::default() });
        let mut refusals = Vec::new();
        for (number, (case, header, right)) in cases.iter().enumerate() {
            for with_sha1 in [false, true] {
                let id = format!("{number}-{with_sha1}");
                let mut delivery = Delivery::new(&id, "push", good.body.clone());
                delivery = match header {
                    Some(header) => delivery.with("X-Hub-Signature-256", header),
                    None => delivery.without("X-Hub-Signature-256"),
                };
                if with_sha1 {
                    // SHA-1 of this very body under this very secret would not count either.
                    delivery = delivery.with("X-Hub-Signature", format!("sha1={}", &digits[..40]));
                }
                let answer = receiver.deliver(&delivery);
                let expected = if *right { 202 } else { 401 };
                assert_eq!(answer.status, expected, "{case}, secrets {secrets:?}");
                if !right {
                    refusals.push(without_date(answer));
                }
            }
        }
        assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{refusals:#?}");
        assert_eq!(receiver.counted("unauthorized"), refusals.len() as u64);
        assert_eq!(receiver.queue.pushes().len(), 4);
    }
}

#[test]
fn a_single_flipped_bit_of_the_body_is_refused() {
    let receiver = Receiver::start(Setup::default());
    let mut connection = Connection::open(receiver.addr);
    let good = Delivery::new("flip", "repository", fixture("repository.created.json"));
    let bits = good.body.len() * 8;
    // A stride coprime to 8 meets every bit position and the whole length of the body.
    for bit in (0..bits).step_by(211) {
        let mut flipped = good.clone();
        flipped.body[bit / 8] ^= 1 << (bit % 8);
        connection.send(&flipped.request());
        assert_eq!(connection.answer().status, 401, "bit {bit}");
    }
    connection.send(&good.request());
    assert_eq!(connection.answer().status, 202);
}

#[test]
fn a_push_is_queued_merged_and_never_taken_twice() {
    let receiver = Receiver::start(Setup::default());
    let first = receiver.deliver(&Delivery::push("d-1"));
    assert_eq!(first.status, 202);
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.json(), json!({ "delivery": "d-1", "outcome": "queued" }));
    let second = receiver.deliver(&Delivery::push("d-2"));
    assert_eq!(second.json(), json!({ "delivery": "d-2", "outcome": "merged" }));
    let again = receiver.deliver(&Delivery::push("d-1"));
    assert_eq!(again.status, 202);
    assert_eq!(again.json(), json!({ "delivery": "d-1", "outcome": "duplicate" }));
    for outcome in ["queued", "merged", "duplicate"] {
        assert_eq!(receiver.counted(outcome), 1, "{outcome}");
    }
    let pushes = receiver.queue.pushes();
    assert_eq!(pushes.len(), 2);
    let delivery = pushes[0].delivery.as_ref().unwrap();
    assert_eq!(delivery.id.as_str(), "d-1");
    assert_eq!(delivery.event, "push");
    assert_eq!(delivery.repository.as_ref().unwrap().as_str(), "stagehands/lamp-board");
    assert_eq!(delivery.ignored, None);
    assert_eq!(delivery.received_at, pushes[0].keys[0].hint.first_seen);
}

#[test]
fn what_leads_to_no_work_is_kept_in_the_ledger_with_its_reason() {
    let receiver = Receiver::start(Setup::default());
    let cases = [
        ("push", "push.other-branch.json"),
        ("push", "push.tag.json"),
        ("push", "push.unknown-host.json"),
        ("repository", "repository.unknown-action.json"),
        ("star", "star.created.json"),
    ];
    for (number, (event, file)) in cases.into_iter().enumerate() {
        let id = format!("ignored-{number}");
        let answer = receiver.deliver(&Delivery::new(&id, event, fixture(file)));
        let expected: serde_json::Value =
            serde_json::from_str(&fixture(&file.replace(".json", ".expected.json"))).unwrap();
        let reason = &expected["ignored"];
        assert_eq!(answer.status, 202, "{file}");
        let shown = json!({ "delivery": id, "outcome": "ignored", "reason": reason });
        assert_eq!(answer.json(), shown, "{file}");
        let push = receiver.queue.pushes().pop().unwrap();
        assert!(push.keys.is_empty(), "{file}");
        let kept = push.delivery.unwrap();
        assert_eq!(kept.id.as_str(), id, "{file}");
        assert_eq!(kept.ignored.as_deref(), reason.as_str(), "{file}");
    }
    assert_eq!(receiver.counted("ignored"), 5);
}

#[test]
fn a_ping_is_answered_200_and_remembered() {
    let receiver = Receiver::start(Setup::default());
    let answer = receiver.deliver(&Delivery::new("p", "ping", fixture("ping.json")));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({ "delivery": "p", "outcome": "pong" }));
    assert_eq!(receiver.counted("pong"), 1);
    assert_eq!(receiver.queue.pushes()[0].delivery.as_ref().unwrap().event, "ping");
}

#[test]
fn many_keys_of_one_delivery_are_one_push() {
    let receiver = Receiver::start(Setup::default());
    let body = fixture("installation_repositories.added.json");
    let answer = receiver.deliver(&Delivery::new("many", "installation_repositories", body));
    assert_eq!(answer.json()["outcome"], "queued");
    let pushes = receiver.queue.pushes();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].keys.len(), 2);
}

#[test]
fn a_malformed_body_under_a_good_signature_names_its_path() {
    let receiver = Receiver::start(Setup::default());
    let body = fixture("push.default-branch.json");
    let with = |from: &str, to: &str| {
        assert!(body.contains(from), "{from}");
        body.replacen(from, to, 1)
    };
    let cases = [
        ("push", with("\"id\": 880042", "\"id\": \"hunter2\""), "repository.id: expected u64"),
        ("push", with("\"id\": 880042,", ""), "repository.id: is missing"),
        ("push", with("\"before\": \"3f1d", "\"before\": \"hunter2"), "before: expected a Git obj"),
        ("push", with("\"ref\"", "\"fer\""), "ref: is missing"),
        ("push", with("1795344000", "\"hunter2\""), "repository.pushed_at: expected seconds"),
        ("push", "{".to_owned(), "payload: EOF while parsing an object"),
        ("push", "[]".to_owned(), "payload: "),
        ("push", String::new(), "payload: EOF while parsing a value"),
        ("push", format!("{body}}}"), "payload: trailing characters"),
        ("ping", "ping".to_owned(), "payload: expected value"),
        ("star", "{\"action\":".to_owned(), "payload: EOF"),
        ("repository", "{\"action\":\"created\"}".to_owned(), "repository: is missing"),
        ("repository", "{}".to_owned(), "action: is missing"),
        (
            "installation_repositories",
            "{\"action\":\"added\",\"installation\":{\"account\":{\"id\":1}},\
             \"repositories_added\":[{\"id\":1,\"full_name\":\"hunter2\"}]}"
                .to_owned(),
            "repositories_added[0].full_name: expected a repository's full name",
        ),
    ];
    let count = cases.len() as u64;
    for (event, body, expected) in cases {
        let answer = receiver.deliver(&Delivery::new("bad", event, body));
        assert_eq!(answer.status, 400, "{expected}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with(expected), "{error:?} for {expected:?}");
        assert!(!error.contains("hunter2"), "a value of the payload is shown: {error}");
    }
    assert_eq!(receiver.counted("malformed"), count);
    assert!(receiver.queue.pushes().is_empty());
}

#[test]
fn the_headers_github_always_sends_are_asked_for_only_after_the_signature() {
    let receiver = Receiver::start(Setup::default());
    for name in ["X-GitHub-Event", "X-GitHub-Delivery"] {
        let spaced = Delivery::push("id").with(name, "a b");
        for delivery in [Delivery::push("id").without(name), spaced] {
            let answer = receiver.deliver(&delivery);
            assert_eq!(answer.status, 400);
            let expected = format!("header {name} is missing or malformed");
            assert_eq!(answer.json()["error"], expected);
            let forged = delivery.with("X-Hub-Signature-256", sign("another", b""));
            assert_eq!(receiver.deliver(&forged).status, 401);
        }
    }
}

#[test]
fn a_form_is_read_like_json() {
    let receiver = Receiver::start(Setup::default());
    let json = fixture("push.escaped-branch.json");
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("ignored", "1")
        .append_pair("payload", &json)
        .finish();
    let types =
        ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=utf-8"];
    for content_type in types {
        let delivery = Delivery::new(content_type.split(';').next().unwrap(), "push", form.clone())
            .with("Content-Type", content_type);
        assert_eq!(receiver.deliver(&delivery).status, 202);
    }
    assert_eq!(receiver.queue.pushes()[0].keys.len(), 1);
    let empty = Delivery::new("empty", "push", "a=b")
        .with("Content-Type", "application/x-www-form-urlencoded");
    let answer = receiver.deliver(&empty);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "payload: the form has no such field");
}

#[test]
fn without_a_secret_webhooks_are_off() {
    for secrets in [vec![], vec![""]] {
        let receiver = Receiver::start(Setup { secrets, ..Setup::default() });
        let answer = receiver.deliver(&Delivery::push("off"));
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["error"], "webhooks are off: no secret is configured");
        assert_eq!(receiver.counted("off"), 1);
        assert!(receiver.queue.pushes().is_empty());
    }
}

#[test]
fn a_queue_that_fails_or_hangs_means_503_and_says_nothing_of_why() {
    let mut setup = Setup::default();
    setup.receive.push_timeout = Duration::from_millis(100);
    let receiver = Receiver::start(setup);
    for mode in [Mode::Broken, Mode::Blocked] {
        receiver.queue.set(mode);
        let answer = receiver.deliver(&Delivery::push("lost"));
        assert_eq!(answer.status, 503, "{mode:?}");
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(answer.json()["error"], "the queue cannot be written now");
    }
    assert_eq!(receiver.counted("unavailable"), 2);
    receiver.queue.set(Mode::Working);
    assert_eq!(receiver.deliver(&Delivery::push("lost")).json()["outcome"], "queued");
}

#[test]
fn the_public_listener_has_two_routes_and_no_more() {
    let receiver = Receiver::start(Setup::default());
    let get = |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        exchange(receiver.addr, request.as_bytes())
    };
    assert_eq!(get("GET", "/livez").status, 200);
    assert_eq!(get("GET", "/webhooks/github").status, 405);
    for path in ["/", "/health", "/metrics", "/api/catalog/entities", "/webhooks/github/"] {
        for method in ["GET", "POST"] {
            let answer = get(method, path);
            assert_eq!((answer.status, answer.body.as_str()), (404, ""), "{method} {path}");
        }
    }
}

#[test]
fn who_comes_to_depend_on_a_branch_while_a_push_to_it_is_kept_is_read_too() {
    let receiver = Receiver::start(Setup::default());
    let all = routing();
    let nobody = Routing { dependents: Dependents::default(), ..all.clone() };
    receiver.routing.send_replace(Arc::new(nobody));
    receiver.queue.set(Mode::Blocked);
    let push = Delivery::new("late", "push", fixture("push.dependency-branch.json"));
    let mut connection = Connection::open(receiver.addr);
    connection.send(&push.request());
    receiver.queue.wait_until_asked(1);
    receiver.routing.send_replace(Arc::new(all));
    receiver.queue.set(Mode::Working);
    assert_eq!(connection.answer().json()["outcome"], "ignored");
    let pushes = receiver.queue.pushes();
    let keys = |at: usize| -> Vec<String> {
        let push: Option<&Push> = pushes.get(at);
        push.into_iter().flat_map(|push| &push.keys).map(|key| key.key.to_string()).collect()
    };
    assert_eq!((keys(0), keys(1)), (vec![], vec!["repo:github.com:880077".to_owned()]));
    assert_eq!(pushes.len(), 2);
}
