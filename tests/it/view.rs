//! The merged view: who wins a ref, what relations and statuses show, and that the order in which
//! repositories come does not matter.

mod held;
mod large;
mod pages;

use std::collections::{BTreeMap, BTreeSet};

use cuelight::catalog::filter::Filter;
use cuelight::catalog::query::{Order, OrderField};
use cuelight::catalog::view::ViewEntity;
use cuelight::catalog::{
    AllowedKinds, Code, Entity, Problem, RepoEntry, RepoId, Source, View, process_alone,
};
use serde_json::{Value, json};

use self::held::{assert_index_holds, with_odd_fields};
use crate::support::catalogs::{PATH, component, entity, file, related, repository, with_problems};

fn view(entries: impl IntoIterator<Item = RepoEntry>) -> View {
    entries.into_iter().fold(View::empty(), |view, entry| view.with_repository(entry))
}

fn shown(view: &View, entity_ref: &str) -> Value {
    let entity = view.entity(entity_ref).unwrap_or_else(|| panic!("{entity_ref} is not there"));
    view.json(entity)
}

fn titled(name: &str, title: &str) -> Entity {
    entity(json!({
        "apiVersion": "backstage.io/v1alpha1", "kind": "Component",
        "metadata": {"name": name, "namespace": "default", "title": title},
    }))
}

fn title(view: &View, entity_ref: &str) -> String {
    shown(view, entity_ref)["metadata"]["title"].as_str().unwrap_or_default().to_owned()
}

fn relations(view: &View, entity_ref: &str) -> Vec<(String, String)> {
    let shown = shown(view, entity_ref);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let relations = shown["relations"].as_array().expect("always there");
    relations.iter().map(|r| (text(&r["type"]), text(&r["targetRef"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kind, target)| ((*kind).to_owned(), (*target).to_owned())).collect()
}

#[test]
fn an_entity_has_uid_etag_and_relations_whatever_its_owner_set() {
    let mut own = titled("a", "A");
    own.body = json!({
        "apiVersion": "backstage.io/v1alpha1", "kind": "Component",
        "metadata": {"name": "a", "uid": "mine", "etag": "mine"}, "spec": {"x": [1, null]},
    })
    .into();
    let shown =
        shown(&view([repository(1, 1, vec![file(PATH, 1, vec![own])])]), "component:default/a");
    let metadata = &shown["metadata"];
    let uid = metadata["uid"].as_str().expect("a text");
    assert_eq!((uid.len(), &uid[14..15]), (36, "5"), "a UUID of version 5: {uid}");
    assert_eq!(metadata["etag"].as_str().map(str::len), Some(40));
    assert_eq!(shown["relations"], json!([]));
    assert_eq!(shown["spec"], json!({"x": [1, null]}));
    assert_eq!(shown.get("status"), None);
}

#[test]
fn a_body_without_metadata_or_spec_is_still_json() {
    let mut bare = component("bare");
    bare.body = json!({}).into();
    let view = view([repository(1, 1, vec![file(PATH, 1, vec![bare])])]);
    assert_eq!(shown(&view, "component:default/bare")["relations"], json!([]));
}

#[test]
fn the_etag_follows_content_and_relations_and_the_uid_does_not() {
    let plain = view([repository(1, 1, vec![file(PATH, 1, vec![component("a")])])]);
    let users = vec![file(
        PATH,
        2,
        vec![related(component("b"), "dependsOn", "component:default/a", "dependencyOf")],
    )];
    let used = plain.with_repository(repository(2, 2, users));
    let again = used.without_repository(&RepoId::new("github.com", 2));
    let part =
        |view: &View, part: &str| shown(view, "component:default/a")["metadata"][part].clone();
    assert_ne!(part(&plain, "etag"), part(&used, "etag"));
    assert_eq!(part(&plain, "etag"), part(&again, "etag"));
    assert_eq!(part(&plain, "uid"), part(&used, "uid"));
}

#[test]
fn the_first_claim_wins_and_the_second_is_a_problem_that_names_it() {
    let first = repository(9, 1, vec![file("first.yaml", 1, vec![titled("a", "first")])]);
    let second = repository(2, 2, vec![file("second.yaml", 2, vec![titled("a", "second")])]);
    let view = view([second, first]);
    assert_eq!(title(&view, "component:default/a"), "first");
    let problems = view.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(&*problems[0].repository, "acme/repo-2");
    let problem = &problems[0].problem;
    assert_eq!((problem.code, problem.path.as_str()), (Code::Conflict, "second.yaml"));
    assert!(problem.message.contains("first.yaml in acme/repo-9"), "{}", problem.message);
    assert_eq!(view.counts().problems, 1);
}

#[test]
fn the_next_claim_takes_over_when_the_winner_goes() {
    let first = repository(1, 1, vec![file(PATH, 1, vec![titled("a", "first")])]);
    let second = repository(2, 2, vec![file(PATH, 2, vec![titled("a", "second")])]);
    let both = view([first, second]);
    let left = both.without_repository(&RepoId::new("github.com", 1));
    assert_eq!(title(&left, "component:default/a"), "second");
    assert_eq!(left.problems(), vec![]);
    let none = left.without_repository(&RepoId::new("github.com", 2));
    assert!(none.entity("component:default/a").is_none());
    assert_eq!(none.counts(), View::empty().counts());
    assert_eq!(title(&both, "component:default/a"), "first", "snapshots do not change");
}

#[test]
fn within_one_change_the_lowest_path_wins() {
    let files = vec![
        file("b.yaml", 3, vec![titled("a", "in b")]),
        file("a.yaml", 3, vec![titled("a", "in a")]),
    ];
    assert_eq!(title(&view([repository(1, 3, files)]), "component:default/a"), "in a");
}

#[test]
fn one_file_that_two_providers_find_does_not_conflict_with_itself() {
    let mut other = file(PATH, 1, vec![titled("a", "A")]);
    other.provider = "other".to_owned();
    other.branch = "main".to_owned();
    let view = view([repository(1, 1, vec![file(PATH, 1, vec![titled("a", "A")]), other])]);
    assert_eq!(view.problems(), vec![]);
    assert_eq!(view.counts().problems, 0);
}

#[test]
fn relations_show_on_both_sides_once_and_in_order() {
    let owner = "group:default/team";
    let a = related(component("a"), "ownedBy", owner, "ownerOf");
    let a = related(a, "dependsOn", "component:default/b", "dependencyOf");
    let a = related(a, "dependsOn", "component:default/b", "dependencyOf");
    let b = related(component("b"), "dependencyOf", "component:default/a", "dependsOn");
    let view = view([
        repository(1, 1, vec![file(PATH, 1, vec![a])]),
        repository(2, 2, vec![file(PATH, 2, vec![b])]),
    ]);
    let on_a = pairs(&[("dependsOn", "component:default/b"), ("ownedBy", owner)]);
    assert_eq!(relations(&view, "component:default/a"), on_a, "dangling targets are kept");
    assert_eq!(
        relations(&view, "component:default/b"),
        pairs(&[("dependencyOf", "component:default/a")])
    );
    let without_a = view.without_repository(&RepoId::new("github.com", 1));
    assert_eq!(
        relations(&without_a, "component:default/b"),
        pairs(&[("dependencyOf", "component:default/a")]),
        "b declares it too"
    );
}

#[test]
fn a_losing_claim_declares_no_relations() {
    let loser = related(component("a"), "dependsOn", "component:default/b", "dependencyOf");
    let view = view([
        repository(1, 1, vec![file(PATH, 1, vec![component("a"), component("b")])]),
        repository(2, 2, vec![file(PATH, 2, vec![loser])]),
    ]);
    assert_eq!(relations(&view, "component:default/b"), vec![]);
    let taken_over = view.without_repository(&RepoId::new("github.com", 1));
    assert_eq!(
        relations(&taken_over, "component:default/a"),
        pairs(&[("dependsOn", "component:default/b")])
    );
}

#[test]
fn a_stale_entity_says_why() {
    let mut stale = component("a");
    stale.stale = Some("line 3 is no YAML".to_owned());
    let view = view([repository(1, 1, vec![file(PATH, 1, vec![stale])])]);
    assert_eq!(
        shown(&view, "component:default/a")["status"],
        json!({"items": [{
            "type": "backstage.io/catalog-processing", "level": "error",
            "message": "InputError: line 3 is no YAML",
            "error": {"name": "InputError", "message": "line 3 is no YAML"},
        }]})
    );
}

#[test]
fn a_view_is_complete_only_when_it_is_said_to_be() {
    let view = view([repository(1, 5, vec![])]);
    assert_eq!((view.seq(), view.is_complete()), (5, false));
    let complete = view.complete_to(9);
    assert_eq!((complete.seq(), complete.is_complete()), (9, true));
    assert_eq!(complete.with_repository(repository(2, 8, vec![])).seq(), 9);
}

#[test]
fn downwards_is_upwards_reversed_equal_values_included() {
    let entities =
        ["a", "b", "c", "d"].map(|name| titled(name, if name < "c" { "x" } else { "y" }));
    let view = view([repository(1, 1, vec![file(PATH, 1, entities.to_vec())])]);
    let ordered = |text: &str| {
        let order = Order::Values(OrderField::parse_order_field(text).unwrap());
        let found = view.select(None, &order).entities;
        found.iter().map(|entity| entity.entity_ref().to_owned()).collect::<Vec<_>>()
    };
    let mut up = ordered("metadata.title,asc");
    up.reverse();
    assert_eq!(ordered("metadata.title,desc"), up);
}

/// A store in small: what each repository claims, and since when.
#[derive(Default)]
struct World {
    seq: u64,
    entries: BTreeMap<u64, RepoEntry>,
}

impl World {
    /// Writes a repository with random claims on a few refs, as a store would.
    fn change(&mut self, random: &mut fastrand::Rng, id: u64) -> RepoEntry {
        self.seq += 1;
        let held: BTreeMap<String, u64> = self
            .entries
            .get(&id)
            .into_iter()
            .flat_map(|entry| &entry.files)
            .flat_map(|file| &file.claims)
            .map(|(entity, seq)| (entity.entity_ref.clone(), *seq))
            .collect();
        let files = (0..random.u8(0..3)).map(|number| {
            let mut made = file(&format!("{number}.yaml"), 0, vec![]);
            for name in ["a", "b", "c", "d"] {
                if random.u8(0..3) == 0 {
                    let entity = random_entity(random, name);
                    let seq = held.get(&entity.entity_ref).copied().unwrap_or(self.seq);
                    made.claims.push((entity, seq));
                }
            }
            let count = random.usize(0..6).saturating_sub(3);
            let problems = (0..count).map(|_| problem(random, &made.path)).collect();
            with_problems(made, problems)
        });
        let entry = repository(id, self.seq, files.collect());
        self.entries.insert(id, entry.clone());
        entry
    }
}

fn random_entity(random: &mut fastrand::Rng, name: &str) -> Entity {
    let mut made = titled(name, ["one", "two"][random.usize(0..2)]);
    made.body = with_odd_fields(random, &made.body).into();
    for (kind, reverse) in [("USES", "usedBy"), ("uses", "UsedBy")] {
        if random.u8(0..5) == 0 {
            let target = format!("component:default/{}", ["a", "b", "z"][random.usize(0..3)]);
            made = related(made, kind, &target, reverse);
        }
    }
    for other in ["a", "b", "c", "z"] {
        if random.u8(0..4) == 0 {
            let target = format!("component:default/{other}");
            made = related(made, "dependsOn", &target, "dependencyOf");
        }
    }
    if random.u8(0..6) == 0 {
        made.stale = Some("broken".to_owned());
    }
    made
}

fn problem(random: &mut fastrand::Rng, path: &str) -> Problem {
    Problem {
        code: [Code::Schema, Code::YamlSyntax, Code::Conflict][random.usize(0..3)],
        path: path.to_owned(),
        line: 2,
        column: 3,
        document: 1,
        entity_ref: None,
        message: "wrong".to_owned(),
    }
}

/// Everything that can be seen of a view.
fn seen(view: &View) -> Value {
    let by_ref = view.select(None, &Order::Ref).entities;
    let by_uid = view.select(None, &Order::Uid).entities;
    let titled = Filter::parse(&["metadata.title=one,relations.dependsOn".to_owned()]).unwrap();
    let found = view.select(titled.as_ref(), &Order::Ref).entities;
    let refs = |entities: &[std::sync::Arc<ViewEntity>]| {
        entities.iter().map(|entity| entity.entity_ref().to_owned()).collect::<Vec<_>>()
    };
    let facets =
        ["metadata.title", "metadata.uid", "relations.dependson", "relations.dependencyof"];
    let all = view.find(None);
    assert_index_holds(view, &by_ref);
    json!({
        "facets": facets.map(|facet| json!(view.facet(&all, facet))),
        "entities": by_ref.iter().map(|entity| view.json(entity)).collect::<Vec<_>>(),
        "by_uid": refs(&by_uid),
        "found": refs(&found),
        "problems": format!("{:#?}", view.problems()),
        "counts": format!("{:?}", view.counts()),
        "of_repositories": view.repositories().map(|r| view.counts_of(r)).collect::<Vec<_>>(),
    })
}

#[test]
fn a_view_after_many_changes_equals_one_built_afresh_in_any_order() {
    for seed in 0..150 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut world, mut changed) = (World::default(), View::empty());
        for step in 0..40 {
            let id = random.u64(1..5);
            if random.u8(0..5) == 0 {
                world.entries.remove(&id);
                changed = changed.without_repository(&RepoId::new("github.com", id));
            } else {
                changed = changed.with_repository(world.change(&mut random, id));
            }
            if step % 7 == 0 {
                let _ = seen(&changed);
            }
        }
        let mut entries: Vec<RepoEntry> = world.entries.values().cloned().collect();
        random.shuffle(&mut entries);
        let built = view(entries);
        let afresh = seen(&built);
        assert_eq!(seen(&changed), afresh, "seed {seed}");
        assert_eq!(changed.digest(), built.digest(), "seed {seed}");
        assert_eq!(afresh["counts"], json!(format!("{:?}", changed.counts())), "seed {seed}");
        assert_counts_its_problems(&changed);
    }
}

#[test]
fn whatever_is_shown_otherwise_is_another_state() {
    let stale = |why: Option<&str>| Entity { stale: why.map(str::to_owned), ..component("a") };
    let other = |kind: &str| related(component("a"), kind, "api:default/x", "apiOf");
    let texts = [
        vec![],
        vec![component("a")],
        vec![titled("a", "A")],
        vec![stale(Some(""))],
        vec![stale(Some("line 3 is no YAML"))],
        vec![stale(Some("line 4 is no YAML"))],
        vec![other("providesApi")],
        vec![other("consumesApi")],
        vec![component("a"), component("b")],
    ];
    let digest = |entities: Vec<Entity>| view([repository(1, 1, vec![file(PATH, 1, entities)])]);
    let mut states: Vec<String> =
        texts.into_iter().map(|entities| digest(entities).digest().to_string()).collect();
    states.sort();
    states.dedup();
    assert_eq!(states.len(), 9);
    // Where something comes from is not shown.
    let here = view([repository(1, 1, vec![file("a.yaml", 1, vec![component("a")])])]);
    let there = view([repository(2, 9, vec![file("b.yaml", 9, vec![component("a")])])]);
    assert_eq!(here.digest(), there.digest());
}

/// What is counted as changes come is what is there.
fn assert_counts_its_problems(view: &View) {
    let (problems, counts) = (view.problems(), view.counts());
    assert_eq!(problems.len(), counts.problems);
    for (code, count) in counts.by_code.all() {
        let of_code = problems.iter().filter(|one| one.problem.code == code).count();
        assert_eq!(of_code, count, "{code}");
    }
    let repositories: BTreeSet<&str> = problems.iter().map(|one| &*one.repository).collect();
    assert_eq!(repositories.len(), counts.repositories_with_problems);
}

fn source() -> Source {
    Source {
        host: "github.com".to_owned(),
        full_name: "acme/repo-1".to_owned(),
        branch: "main".to_owned(),
        path: PATH.to_owned(),
    }
}

#[test]
fn a_catalog_file_becomes_entities_that_point_at_each_other() {
    let text = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: Desk}\n\
                spec: {type: service, lifecycle: production, owner: ink, providesApis: [orders]}\n\
                ---\napiVersion: backstage.io/v1alpha1\nkind: API\nmetadata: {name: orders}\n\
                spec: {type: openapi, lifecycle: production, owner: ink, definition: x}\n";
    let processed = process_alone(&source(), text, &AllowedKinds::default(), &[]);
    let view = view([repository(1, 1, vec![file(PATH, 1, processed.entities)])]);
    let (desk, orders) = ("component:default/desk", "api:default/orders");
    let owner = ("ownedBy", "group:default/ink");
    assert_eq!(relations(&view, desk), pairs(&[owner, ("providesApi", orders)]));
    assert_eq!(relations(&view, orders), pairs(&[("apiProvidedBy", desk), owner]));
    let kinds = Filter::parse(&["kind=location".to_owned()]).unwrap();
    assert_eq!(view.select(kinds.as_ref(), &Order::Ref).distinct, 1, "the generated Location");
    assert_eq!((view.counts().entities, view.counts().problems), (3, 0));
    let one = view.repositories().next().expect("one repository");
    assert_eq!(view.counts_of(one), (2, 0), "the Location is not its owner's");
}

#[test]
fn the_deepest_entity_that_is_let_in_can_be_read_back() {
    let made = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let text = format!(
            "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {{name: deep}}\n\
             spec: {{type: x, lifecycle: y, owner: z, x: {open}{close}}}\n"
        );
        let processed = process_alone(&source(), &text, &AllowedKinds::default(), &[]);
        processed.entities.into_iter().find(|entity| !entity.generated)
    };
    let deepest = (0..200).rev().find_map(made).expect("some depth is let in");
    let view = view([repository(1, 1, vec![file(PATH, 1, vec![deepest.clone()])])]);
    assert!(shown(&view, "component:default/deep").is_object());
    // A record holds files, claims and the entity around the body.
    let record = json!([{"files": [{"entities": [{"entity": deepest}]}]}]).to_string();
    let read_back: Result<Value, _> = serde_json::from_str(&record);
    assert!(read_back.is_ok(), "{read_back:?}");
}
