//! `cuelight scan` beside a server whose answers are made up: when it says that it is done.

use serde_json::json;

use super::cli::{Canned, World};

/// Answers in turn.
#[derive(Default)]
struct Script(Vec<(&'static str, String)>);

impl Script {
    fn then(mut self, body: serde_json::Value) -> Self {
        self.0.push(("200 OK", body.to_string()));
        self
    }

    /// How everything is: the keys in the queue, what the view shows and what is written.
    fn look(self, keys: &[serde_json::Value], shown: u64, written: u64) -> Self {
        let scan = json!({
            "id": "scan:github.com:1", "account": "github.com/acme", "listed": 3, "pushed": 3,
            "startedAt": "2026-01-01T00:00:01Z", "endedAt": "2026-01-01T00:00:02Z",
            "error": null, "next": null,
        });
        self.then(json!({"items": [scan], "total": 1, "next": null}))
            .then(json!({"items": keys, "total": keys.len(), "next": null}))
            .status(shown, written)
    }

    fn status(self, shown: u64, written: u64) -> Self {
        self.then(json!({
            "view": {"seq": shown, "repositories": 3, "entities": 6, "problems": 0},
            "storage": {"seq": written}, "gates": [],
        }))
    }

    /// What is asked for at the end.
    fn told(self) -> Self {
        self.then(json!({"items": [], "total": 0, "next": null})).status(7, 7)
    }

    /// What `cuelight scan` writes while these are the answers, all of which it has to ask for.
    #[track_caller]
    fn play(self) -> String {
        let asked = json!({
            "id": "scan:github.com:1", "account": "github.com/acme",
            "requestedAt": "2026-01-01T00:00:00Z",
        });
        let mut answers = vec![
            ("200 OK", "ok".to_owned()),
            ("202 Accepted", json!({"items": [asked], "total": 1, "next": null}).to_string()),
        ];
        answers.extend(self.0);
        let count = answers.len();
        let answers = answers.into_iter().map(|(status, body)| (status, &*body.leak())).collect();
        let server = Canned::new(answers);
        let world = World::new().env("CUELIGHT_INTERNAL_LISTEN", server.address);
        let ran = world.run(&["scan"]);
        let expected = "the catalog holds 3 repositories with 6 entities and 0 problems\n";
        assert!(ran.out.ends_with(expected), "{ran:?}");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(server.given(), count, "{ran:?}");
        ran.out
    }
}

fn key(state: &str, at: &str) -> serde_json::Value {
    json!({
        "key": "repo:github.com:7", "state": state, "lane": "scan", "account": "github.com:1",
        "at": at, "error": null,
    })
}

#[test]
fn a_scan_is_not_over_while_a_repository_is_being_read() {
    // What is held is not due: its time is the end of its lease.
    let held = key("held", "2999-01-01T00:00:00Z");
    Script::default().look(&[held], 7, 7).look(&[], 7, 7).look(&[], 7, 7).told().play();
}

#[test]
fn a_scan_is_over_when_nothing_was_left_twice_in_a_row() {
    // Between two lists of one look a key may go from one to the other.
    let waiting = key("waiting", "2026-01-01T00:00:00Z");
    let script = Script::default().look(&[], 7, 7).look(&[waiting], 7, 7);
    script.look(&[], 7, 7).look(&[], 7, 7).told().play();
}

#[test]
fn a_scan_is_over_when_the_catalog_shows_what_it_found() {
    let script = Script::default().look(&[], 5, 7).look(&[], 5, 7);
    script.status(6, 8).status(7, 9).told().play();
}
