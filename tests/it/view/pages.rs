//! Pages, filters and facets against what a reader of all entities would work out.

use std::cmp::Ordering;

use cuelight::catalog::cursor::Question;
use cuelight::catalog::filter::Filter;
use cuelight::catalog::page::{Item, Start};
use cuelight::catalog::query::{FullText, Order, OrderField};
use cuelight::catalog::search::{Row, rows};
use cuelight::catalog::{Entity, RepoId, View};
use serde_json::{Value, json};

use crate::support::catalogs::{entity, file, related, repository};

/// An entity whose fields few or many others share.
fn random_entity(random: &mut fastrand::Rng, name: &str) -> Entity {
    let kind = ["Component", "API"][random.usize(0..2)];
    let of_type = ["Service", "service", "website"][random.usize(0..3)];
    let mut body = json!({
        "apiVersion": "backstage.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": of_type},
    });
    if random.bool() {
        let tags: Vec<&str> = ["a", "b", "c"].into_iter().filter(|_| random.bool()).collect();
        body["metadata"]["tags"] = json!(tags);
    }
    if random.u8(0..10) == 0 {
        body["metadata"]["title"] = [json!("Rare"), Value::Null][random.usize(0..2)].clone();
    }
    if random.u8(0..4) == 0 {
        // In lower case this is a second name.
        body["Metadata"] = json!({"name": format!("other-{name}")});
    }
    let owner = format!("group:default/{}", ["x", "y"][random.usize(0..2)]);
    related(entity(body), "ownedBy", &owner, "ownerOf")
}

/// A view that many changes led to.
fn random_view(random: &mut fastrand::Rng) -> View {
    let mut view = View::empty();
    for seq in 1..40 {
        let id = random.u64(0..12);
        if random.u8(0..6) == 0 {
            view = view.without_repository(&RepoId::new("github.com", id));
            continue;
        }
        let entities = (0..random.u64(0..12)).map(|number| {
            // Now and then two repositories want the same name.
            let name = format!("part-{}", id * 10 + number);
            random_entity(random, &name)
        });
        let entities = entities.collect();
        view = view.with_repository(repository(id, seq, vec![file("x.yaml", seq, entities)]));
    }
    view
}

/// Every entity with its rows, by uid.
fn everything(view: &View) -> Vec<(String, Vec<Row>)> {
    let entities = view.page(&view.find(None), None, &Start::Offset(0), usize::MAX);
    entities.iter().map(|(at, entity)| (at.uid.to_string(), rows(&view.json(entity)))).collect()
}

fn places(items: &[Item]) -> Vec<(Option<String>, String)> {
    let place = |(at, _): &Item| (at.value.as_deref().map(str::to_owned), at.uid.to_string());
    items.iter().map(place).collect()
}

fn has(rows: &[Row], key: &str, value: Option<&str>) -> bool {
    rows.iter().any(|row| row.key == key && (value.is_none() || row.value.as_deref() == value))
}

#[test]
fn pages_hold_what_sorting_everything_would_give_in_both_directions() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let view = random_view(&mut random);
        let all = everything(&view);
        for (filter, key) in [
            (None, None),
            (None, Some("metadata.name")),
            (None, Some("spec.type")),
            (None, Some("metadata.tags")),
            (None, Some("metadata.title")),
            (None, Some("nobody.has.it")),
            (Some("metadata.title"), None),
            (Some("metadata.title"), Some("metadata.name")),
            (Some("metadata.title"), Some("metadata.uid")),
            (Some("metadata.title"), Some("metadata.tags")),
            (Some("metadata.tags"), Some("metadata.tags")),
            (Some("nobody.has.it"), Some("kind")),
            (Some("kind=api"), Some("metadata.name")),
            (Some("kind=api"), Some("spec.type")),
            (Some("kind=nothing"), Some("metadata.name")),
        ] {
            let filter = filter.map(|filter| filter.split_once('=').unwrap_or((filter, "")));
            let wanted = all.iter().filter(|(_, rows)| {
                filter.is_none_or(|(key, value)| {
                    has(rows, key, Some(value).filter(|value| !value.is_empty()))
                })
            });
            let mut expected: Vec<(Option<String>, String)> = Vec::new();
            for (uid, rows) in wanted {
                match key {
                    None => expected.push((None, uid.clone())),
                    Some(key) => {
                        let rows = rows.iter().filter(|row| row.key == key);
                        let values = rows.filter_map(|row| row.value.clone());
                        expected.extend(values.map(|value| (Some(value), uid.clone())));
                    }
                }
            }
            expected.sort();
            let filter = filter.map(|(key, value)| match value {
                "" => Filter::Exists(key.to_owned()),
                value => Filter::In(key.to_owned(), vec![value.to_owned()]),
            });
            let directions = if key.is_some() { &["asc", "desc"][..] } else { &["asc"] };
            for direction in directions {
                let order = key.map(|key| {
                    OrderField::parse_order_field(&format!("{key},{direction}")).unwrap()
                });
                if *direction == "desc" {
                    expected.reverse();
                }
                let limit = random.usize(1..9);
                check(&view, filter.as_ref(), order.as_ref(), &expected, limit);
            }
        }
    }
}

/// Walks there and back in pages of `limit`.
fn check(
    view: &View,
    filter: Option<&Filter>,
    order: Option<&OrderField>,
    expected: &[(Option<String>, String)],
    limit: usize,
) {
    let set = view.find(filter);
    let whole = view.page(&set, order, &Start::Offset(0), usize::MAX);
    assert_eq!(places(&whole), expected, "{filter:?} {order:?}");
    let offset = expected.len() / 2;
    let page = view.page(&set, order, &Start::Offset(offset), limit);
    assert_eq!(places(&page), expected[offset..][..page.len()]);
    let mut forth = view.page(&set, order, &Start::Offset(0), limit);
    let mut walked = places(&forth);
    while let Some((last, _)) = forth.last() {
        let last = last.clone();
        forth = view.page(&set, order, &Start::After(last.clone()), limit);
        walked.extend(places(&forth));
        if forth.is_empty() {
            let mut back = vec![places(&view.page(&set, order, &Start::Before(last), limit))];
            while let Some(first) = back.last().and_then(|page| page.first()).cloned() {
                let (value, uid) = first;
                let at = whole.iter().map(|(at, _)| at).find(|at| {
                    at.value.as_deref() == value.as_deref() && at.uid.to_string() == uid
                });
                let start = Start::Before(at.unwrap().clone());
                back.push(places(&view.page(&set, order, &start, limit)));
            }
            back.reverse();
            assert_eq!(back.concat(), expected[..expected.len() - 1], "{filter:?} {order:?}");
        }
    }
    assert_eq!(walked, expected, "{filter:?} {order:?} by {limit}");
}

#[test]
fn an_order_of_several_fields_is_that_of_their_least_values_and_of_nothing_last() {
    for seed in 200..230 {
        let view = random_view(&mut fastrand::Rng::with_seed(seed));
        let all = everything(&view);
        for filter in [None, Some("metadata.title"), Some("metadata.tags")] {
            for texts in [
                &["asc:metadata.tags"][..],
                &["desc:metadata.tags", "asc:metadata.name"],
                &["asc:spec.type", "desc:metadata.title", "desc:metadata.name"],
            ] {
                let fields: Vec<(&str, &str)> =
                    texts.iter().map(|text| text.split_once(':').unwrap()).collect();
                let mut expected: Vec<&(String, Vec<Row>)> = all
                    .iter()
                    .filter(|(_, rows)| filter.is_none_or(|key| has(rows, key, None)))
                    .collect();
                let least = |rows: &[Row], key: &str| {
                    let rows = rows.iter().filter(|row| row.key == key);
                    rows.filter_map(|row| row.value.clone()).min()
                };
                expected.sort_by(|(one_uid, one), (other_uid, other)| {
                    let each = fields.iter().map(|(direction, key)| {
                        match (least(one, key), least(other, key)) {
                            (Some(a), Some(b)) if *direction == "asc" => a.cmp(&b),
                            (Some(a), Some(b)) => b.cmp(&a),
                            (a, b) => b.is_some().cmp(&a.is_some()),
                        }
                    });
                    each.fold(Ordering::Equal, Ordering::then).then(one_uid.cmp(other_uid))
                });
                let expected: Vec<&str> = expected.iter().map(|(uid, _)| uid.as_str()).collect();
                let order = |(direction, key): &(&str, &str)| {
                    OrderField::parse_order_field(&format!("{key},{direction}")).unwrap()
                };
                let order = Order::Fields(fields.iter().map(order).collect());
                let filter = filter.map(|key| Filter::Exists(key.to_owned()));
                let found = view.select(filter.as_ref(), &order).entities;
                let found: Vec<String> = found.iter().map(|one| one.uid().to_string()).collect();
                assert_eq!(found, expected, "seed {seed}: {filter:?} {texts:?}");
            }
        }
    }
}

#[test]
fn filters_facets_and_counts_say_what_reading_everything_would() {
    for seed in 100..140 {
        let mut random = fastrand::Rng::with_seed(seed);
        let view = random_view(&mut random);
        let all = everything(&view);
        let found = |query: Value| view.find(Some(&filter(&query))).len();
        let expected =
            |holds: &dyn Fn(&[Row]) -> bool| all.iter().filter(|(_, rows)| holds(rows)).count();
        let service = |rows: &[Row]| has(rows, "spec.type", Some("service"));
        assert_eq!(found(json!({"spec.type": "SERVICE"})), expected(&service));
        assert_eq!(found(json!({"$not": {"spec.type": "service"}})), expected(&|r| !service(r)));
        let tagged = json!({"metadata.tags": {"$in": ["a", "c"]}, "kind": "api"});
        let is_tagged = |rows: &[Row]| {
            let any = ["a", "c"].iter().any(|tag| has(rows, "metadata.tags", Some(tag)));
            any && has(rows, "kind", Some("api"))
        };
        assert_eq!(found(tagged), expected(&is_tagged));
        let owned = json!({"relations": {"$contains": {
            "type": "ownedBy", "targetRef": "group:default/x",
        }}});
        let is_owned = |rows: &[Row]| has(rows, "relations.ownedby", Some("group:default/x"));
        assert_eq!(found(owned), expected(&is_owned));
        let prefixed = json!({"metadata.name": {"$hasPrefix": "part-1"}});
        let is_prefixed = |rows: &[Row]| {
            let names = rows.iter().filter(|row| row.key == "metadata.name");
            names.filter_map(|row| row.value.as_deref()).any(|name| name.starts_with("part-1"))
        };
        assert_eq!(found(prefixed), expected(&is_prefixed));
        let set = view.find(None);
        let titled = |rows: &[Row]| {
            rows.iter().any(|row| row.key == "metadata.title" && row.value.is_some())
        };
        assert_eq!(view.count_with_value(&set, "metadata.title"), expected(&titled));
        let of_api = view.find(Some(&filter(&json!({"kind": "api"}))));
        for (value, count) in view.facet(&of_api, "spec.type") {
            let counted = all.iter().filter(|(_, rows)| {
                let mut types = rows.iter().filter(|row| row.key == "spec.type");
                has(rows, "kind", Some("api"))
                    && types.any(|row| row.original.as_deref() == Some(&*value))
            });
            assert_eq!(counted.count(), count, "{value}");
        }
        let sum: usize = view.facet(&of_api, "spec.type").iter().map(|(_, count)| count).sum();
        assert_eq!(sum, of_api.len());
    }
}

#[test]
fn a_full_text_finds_what_reading_everything_would_among_few_and_among_many() {
    let fields = |names: &str| names.split(',').map(str::to_owned).collect::<Vec<_>>();
    let (mut among_few, mut among_many) = (0, 0);
    for seed in 0..40 {
        let view = random_view(&mut fastrand::Rng::with_seed(seed));
        let all = everything(&view);
        for (key, value) in
            [("kind", "component"), ("metadata.title", "rare"), ("metadata.name", "part-27")]
        {
            let filter = Filter::parse(&[format!("{key}={value}")]).unwrap();
            for names in ["metadata.name", "metadata.name,spec.type", "metadata.title,kind"] {
                for term in ["7", "part-1", "COMP", "service", "p%7", "none"] {
                    let wanted = fields(names);
                    let text = FullText::new(term, Some(wanted.clone())).unwrap();
                    let is_found = |(_, rows): &&(String, Vec<Row>)| {
                        let mut values = rows
                            .iter()
                            .filter(|row| wanted.contains(&row.key))
                            .filter_map(|row| row.value.as_deref());
                        has(rows, key, Some(value))
                            && values.any(|value| text.matcher().matches(value))
                    };
                    let expected: Vec<&String> =
                        all.iter().filter(is_found).map(|(uid, _)| uid).collect();
                    let question = Question {
                        filter: filter.clone(),
                        text: Some(text.clone()),
                        ..Question::default()
                    };
                    let set = view.find_all(&question);
                    let found = places(&view.page(&set, None, &Start::Offset(0), usize::MAX));
                    let found: Vec<&String> = found.iter().map(|(_, uid)| uid).collect();
                    assert_eq!(found, expected, "seed {seed}, {key}={value}, {names}, {term}");
                    let count = if key == "kind" { &mut among_many } else { &mut among_few };
                    *count += found.len();
                }
            }
        }
    }
    assert!(among_few > 100 && among_many > 500, "{among_few} {among_many}");
}

fn filter(query: &Value) -> Filter {
    Filter::from_query(query.as_object().unwrap()).unwrap()
}
