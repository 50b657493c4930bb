//! What has to hold whatever comes in: one function a target, which panics when it does not.
//!
//! Used twice: libFuzzer looks for inputs that break a promise (`fuzz_targets/`), and the tests
//! replay those that once did and the seeds (`tests/it/fuzzed.rs` includes this file).

use std::collections::HashSet;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cuelight::catalog::cursor::{Cursor, Question};
use cuelight::catalog::filter::Filter;
use cuelight::catalog::page::Start;
use cuelight::catalog::yaml::{self, Node, NodeValue, TEXT_BYTES_MAX};
use cuelight::catalog::{
    AllowedKinds, Entity, FileEntry, Problem, RepoEntry, Source, View, process_alone,
};
use cuelight::clock::Timestamp;
use cuelight::dependents::{Dependent, Dependents, Watched};
use cuelight::ids::{Account, AppId, FullName, Host, OwnerId, RepoId};
use cuelight::webhook::{Routing, Secrets, decode, payload, route};
use cuelight::work::RepoKey;
use serde_json::Value;

/// Items of a page that are asked for.
const PAGE: usize = 3;

/// A target: it panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every function with its name.
pub const TARGETS: [(&str, Target); 5] = [
    ("webhook", webhook),
    ("yaml", yaml),
    ("entity", entity),
    ("filter", filter),
    ("cursor", cursor),
];

/// A delivery: the event in the first line, `form ` before it when the body is one, then the body.
/// What is decoded is routed, to keys or to a reason why not. What the decoder has no use for it
/// skips unread: there it takes texts that are no UTF-8.
pub fn webhook(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (head, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(head) = std::str::from_utf8(head) else { return };
    let (content_type, event) = match head.strip_prefix("form ") {
        Some(event) => (&b"application/x-www-form-urlencoded"[..], event),
        None => (&b"application/json"[..], head),
    };
    let secrets = Secrets::new(&["a secret".to_owned().into()]);
    assert!(!secrets.verify(Some(body), body), "nobody signed this");
    let Ok(json) = payload(Some(content_type), body) else { return };
    let Ok(event) = decode(event, &json) else { return };
    let routing = Routing {
        hosts: vec![Host::github_com()],
        branches: ["next".to_owned()].into(),
        dependents: dependents(),
        apps: [(Host::github_com(), AppId(4711))].into(),
    };
    let routed = route(event, &routing, Timestamp::EPOCH);
    assert_eq!(routed.keys.is_empty(), routed.ignored.is_some(), "keys, or a reason");
    for pushed in &routed.keys {
        assert_eq!(pushed.account.host, Host::github_com(), "no other host is configured");
        let key = pushed.key.to_string();
        assert_eq!(key.parse().as_ref(), Ok(&pushed.key), "{key}");
    }
}

/// One repository, which depends on the branch `specs` of another.
fn dependents() -> Dependents {
    let host = Host::github_com();
    let dependent = Dependent {
        key: RepoKey { host: host.clone(), id: RepoId(7) },
        account: Account { host: host.clone(), owner: OwnerId(1) },
        full_name: FullName::parse("ink/press").expect("a name"),
    };
    let (name, branch) = ("ink/specs".to_owned(), "specs".to_owned());
    let mut dependents = Dependents::default();
    dependents.put(dependent, [Watched { host, name, id: Some(RepoId(8)), branch }].into());
    dependents
}

/// A text: every place is in it, and what was read comes back when it is written as JSON, which is
/// YAML.
pub fn yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines = count_lines(text);
    for document in yaml::parse(text) {
        assert!((1..=lines).contains(&document.at.line), "{document:?}");
        let root = match document.root {
            Ok(root) => root,
            Err(error) => {
                assert!((1..=lines).contains(&error.at.line), "{error}");
                assert!(!error.message.is_empty());
                continue;
            }
        };
        assert_places(&root, lines);
        let value = root.to_json();
        let written = value.to_string();
        if written.len() > TEXT_BYTES_MAX {
            continue;
        }
        let again: Vec<Value> =
            yaml::parse(&written).into_iter().map(|d| read_again(d.root, &written)).collect();
        assert_eq!(again, [value], "{written}");
    }
}

fn read_again(root: Result<Node, yaml::SyntaxError>, text: &str) -> Value {
    root.unwrap_or_else(|error| panic!("{error} in {text}")).to_json()
}

fn assert_places(node: &Node, lines: u32) {
    assert!((1..=lines).contains(&node.at.line) && node.at.column >= 1, "{:?}", node.at);
    match &node.value {
        NodeValue::List(items) => items.iter().for_each(|item| assert_places(item, lines)),
        NodeValue::Map(entries) => {
            let keys: HashSet<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
            assert_eq!(keys.len(), entries.len(), "a key stands once");
            // A value that is not there stands where the next one would; its key is shown.
            let there = entries.iter().filter(|(_, value)| value.value != NodeValue::Null);
            there.for_each(|(_, value)| assert_places(value, lines));
        }
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {}
    }
}

fn count_lines(text: &str) -> u32 {
    u32::try_from(text.split('\n').count()).expect("a short text")
}

/// Two versions of a catalog file, the second after a line `%%%`: each becomes entities and
/// problems that can be stored, read back and shown.
pub fn entity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once("%%%\n").unwrap_or((text, text));
    let allowed = AllowedKinds::default();
    let source = Source {
        host: "github.com".into(),
        full_name: "acme/cart".into(),
        branch: "main".into(),
        path: "catalog-info.yaml".into(),
    };
    let before = process_alone(&source, first, &allowed, &[]);
    let after = process_alone(&source, second, &allowed, &before.entities);
    for (text, file) in [(first, &before), (second, &after)] {
        assert_promises(text, &file.entities, &file.problems);
    }
    let stale = |entity: &&Entity| entity.stale.is_some();
    assert_eq!(before.entities.iter().find(stale), None, "there was nothing before");
    let view = View::empty().with_repositories([entry(1, before.entities, before.problems)]);
    let changed = view.with_repository(entry(2, after.entities.clone(), after.problems.clone()));
    let afresh = View::empty().with_repository(entry(2, after.entities, after.problems));
    assert_eq!(shown(&changed), shown(&afresh), "a view does not remember");
    let changed = changed.counts();
    assert_eq!(changed.problems, afresh.problems().len());
}

fn assert_promises(text: &str, entities: &[Entity], problems: &[Problem]) {
    let refs: HashSet<&str> = entities.iter().map(|one| one.entity_ref.as_str()).collect();
    assert_eq!(refs.len(), entities.len(), "each ref once");
    assert!(entities.first().is_some_and(|one| one.generated), "its Location comes first");
    let lines = count_lines(text);
    for problem in problems {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem:?}");
        assert!(problem.document >= 1 && !problem.message.is_empty(), "{problem:?}");
    }
    for entity in entities {
        assert!(entity.relations.is_sorted(), "{:?}", entity.relations);
        assert!(entity.stale.is_none() || !problems.is_empty(), "stale for a reason");
    }
    let stored = serde_json::to_string(entities).expect("entities are JSON");
    let read: Vec<Entity> = serde_json::from_str(&stored).expect("what was stored is read");
    assert_eq!(read, entities, "what was stored comes back");
}

fn entry(seq: u64, entities: Vec<Entity>, problems: Vec<Problem>) -> RepoEntry {
    let file = FileEntry {
        provider: "default".into(),
        branch: String::new(),
        path: "catalog-info.yaml".into(),
        claims: entities.into_iter().map(|entity| (entity, 1)).collect(),
        problems,
    };
    RepoEntry {
        seq,
        host: "github.com".into(),
        id: 1,
        full_name: "acme/cart".into(),
        account: "github.com:1".into(),
        default_branch: Some("main".into()),
        head: None,
        reconciled_at: 0,
        files: vec![file],
    }
}

fn shown(view: &View) -> Vec<Value> {
    let items = view.page(&view.find(None), None, &Start::Offset(0), usize::MAX);
    items.iter().map(|(_, entity)| view.json(entity)).collect()
}

/// A small catalog to ask.
static SHOP: LazyLock<View> = LazyLock::new(|| {
    let text = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: cart\n  \
                tags: [go, web]\nspec: {type: service, lifecycle: production, owner: web, \
                dependsOn: [resource:db]}\n---\napiVersion: backstage.io/v1alpha1\n\
                kind: Resource\nmetadata: {name: db, title: The DB}\n\
                spec: {type: database, owner: web}\n---\napiVersion: backstage.io/v1alpha1\n\
                kind: API\nmetadata: {name: pay, namespace: shop}\n\
                spec: {type: openapi, lifecycle: experimental, owner: ink, definition: x}\n";
    let source = Source {
        host: "github.com".into(),
        full_name: "acme/cart".into(),
        branch: "main".into(),
        path: "catalog-info.yaml".into(),
    };
    let file = process_alone(&source, text, &AllowedKinds::default(), &[]);
    assert!(file.problems.is_empty(), "{:?}", file.problems);
    View::empty().with_repository(entry(1, file.entities, vec![])).complete_to(1)
});

/// A query as JSON, or `filter` parameters, a line each: what is read can be written and read
/// again, finds the same, and its opposite finds the rest.
pub fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(query)) => Filter::from_query(&query).map(Some),
        _ => Filter::parse(&text.split('\n').map(str::to_owned).collect::<Vec<_>>()),
    };
    let Ok(Some(filter)) = read else { return };
    let found = SHOP.find(Some(&filter));
    let rest = SHOP.find(Some(&Filter::Not(Box::new(filter.clone()))));
    assert_eq!(found.len() + rest.len(), SHOP.find(None).len(), "{filter:?}");
    let again = Filter::from_cursor(&filter.to_query()).expect("what was written is read");
    assert_eq!(SHOP.find(Some(&again)).len(), found.len(), "{filter:?} became {again:?}");
}

/// A cursor as clients send it, or its JSON: what is read is answered by a page, and written again
/// it asks for the same.
pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let text = match text.starts_with('{') {
        true => STANDARD.encode(text),
        false => text.to_owned(),
    };
    let Ok(cursor) = Cursor::decode(&text) else { return };
    let Cursor { question, at, is_previous, .. } = &cursor;
    let set = SHOP.find_all(question);
    let start = match is_previous {
        true => Start::Before(at.clone()),
        false => Start::After(at.clone()),
    };
    let order = question.order.as_ref();
    let page = SHOP.page(&set, order, &start, PAGE);
    assert!(page.len() <= PAGE);
    let whole = SHOP.page(&set, order, &Start::Offset(0), usize::MAX);
    assert!(page.iter().all(|(at, _)| whole.iter().any(|(other, _)| other == at)), "{cursor:?}");
    assert_read_again(&cursor, question);
}

fn assert_read_again(cursor: &Cursor, question: &Question) {
    let again = Cursor::decode(&cursor.encode()).expect("what was written is read");
    let same = Cursor {
        question: Question { filter: again.question.filter.clone(), ..question.clone() },
        ..cursor.clone()
    };
    assert_eq!(again, same, "all but the form of its filter is as it was");
    let found = |question: &Question| SHOP.find_all(question).len();
    assert_eq!(found(&again.question), found(question), "and that finds the same");
}
