//! Every payload in `fixtures/webhooks/` decodes and routes as the file beside it says.

use std::collections::BTreeSet;
use std::path::Path;

use cuelight::clock::Timestamp;
use cuelight::dependents::{DEPENDENTS_MAX, Dependent, Watched};
use cuelight::ids::{Account, FullName, Host, OwnerId, RepoId};
use cuelight::webhook::{Routed, decode, route};
use cuelight::work::{PushKey, RepoKey};
use serde_json::{Value, json};

use crate::support::receiver::{fixture, routing};

const RECEIVED_AT: Timestamp = Timestamp(1_795_344_005_000);

#[test]
fn every_documented_payload_routes_as_expected() {
    let names = fixtures();
    assert!(names.len() > 40, "the fixtures were not found");
    for name in names {
        let event = name.split('.').next().unwrap();
        let text = fixture(&format!("{name}.json"));
        let decoded = decode(event, text.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let routed = route(decoded, &routing(), RECEIVED_AT);
        for pushed in &routed.keys {
            assert_eq!(pushed.hint.first_seen, RECEIVED_AT, "{name}");
        }
        let expected: Value =
            serde_json::from_str(&fixture(&format!("{name}.expected.json"))).unwrap();
        assert_eq!(shown(&routed), expected, "{name}");
    }
}

#[test]
fn an_event_that_concerns_too_many_leaves_the_rest_to_the_scan() {
    let mut routing = routing();
    let host = Host::github_com();
    for id in 0..DEPENDENTS_MAX as u64 {
        let dependent = Dependent {
            key: RepoKey { host: host.clone(), id: RepoId(id) },
            account: Account { host: host.clone(), owner: OwnerId(1) },
            full_name: FullName::parse("acme/pay").unwrap(),
        };
        let (name, branch) = ("stagehands/cue-book".to_owned(), "specs".to_owned());
        let watched = Watched { host: host.clone(), name, id: None, branch };
        routing.dependents.put(dependent, [watched].into());
    }
    let text = fixture("push.dependency-branch.json");
    let routed = route(decode("push", text.as_bytes()).unwrap(), &routing, RECEIVED_AT);
    assert_eq!((routed.keys.len(), routed.left_out), (DEPENDENTS_MAX, 1));
    assert!(routed.ignored.is_none());
}

#[test]
fn a_payload_survives_without_spaces_and_with_keys_nobody_knows() {
    for name in fixtures() {
        let event = name.split('.').next().unwrap();
        let mut payload: Value = serde_json::from_str(&fixture(&format!("{name}.json"))).unwrap();
        payload["brand_new_key"] = json!({ "repository": [1, null, "\u{1f4a1}"] });
        let text = payload.to_string();
        let decoded = decode(event, text.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let routed = shown(&route(decoded, &routing(), RECEIVED_AT));
        let expected: Value =
            serde_json::from_str(&fixture(&format!("{name}.expected.json"))).unwrap();
        assert_eq!(routed, expected, "{name}");
    }
}

fn fixtures() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/webhooks");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter_map(|name| name.to_str()?.strip_suffix(".json").map(str::to_owned))
        .filter(|name| !name.ends_with(".expected"))
        .collect()
}

fn shown(routed: &Routed) -> Value {
    json!({
        "action": routed.action,
        "repository": routed.repository.as_ref().map(|name| name.as_str()),
        "ignored": routed.ignored,
        "keys": routed.keys.iter().map(shown_key).collect::<Vec<_>>(),
    })
}

fn shown_key(pushed: &PushKey) -> Value {
    let pushes = pushed.hint.pushes.iter().map(|push| {
        json!({
            "before": push.before.as_str(),
            "after": push.after.as_str(),
            "pushed_at": push.pushed_at.map(|at| at.0),
        })
    });
    json!({
        "key": pushed.key.to_string(),
        "account": pushed.account.to_string(),
        "lane": format!("{:?}", pushed.lane).to_lowercase(),
        "reasons": pushed.hint.reasons.to_string(),
        "node_id": pushed.hint.node_id.as_ref().map(|id| &id.0),
        "name": pushed.hint.name.as_ref().map(|name| name.as_str()),
        "pushes": pushes.collect::<Vec<_>>(),
    })
}
