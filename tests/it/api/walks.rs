//! `/api/catalog`: cursors to the end and back, and what files and repositories lead to.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cuelight::catalog::{
    AllowedKinds, Gathered, Given, HeldFile, RepoEntry, Source, View, expand, process_alone,
    process_file,
};
use serde_json::{Value, json};

use super::{bookshop, open};
use crate::support::catalogs::{component, file, repository};
use crate::support::internal_api::InternalApi;

fn names(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("no page: {page}"));
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Pages from the first to the last and back again, by GET or by POST, as the cursor asks for.
async fn walk(api: &InternalApi, first: Value) -> Vec<Vec<String>> {
    let mut pages = vec![names(&first)];
    let mut page = first;
    while let Some(cursor) = page["pageInfo"]["nextCursor"].as_str() {
        page = follow(api, cursor).await;
        assert!(!names(&page).is_empty(), "a page after the last one");
        pages.push(names(&page));
    }
    let mut back = vec![names(&page)];
    while let Some(cursor) = page["pageInfo"]["prevCursor"].as_str() {
        page = follow(api, cursor).await;
        back.push(names(&page));
        assert!(page["pageInfo"]["nextCursor"].is_string(), "there is a page after this one");
    }
    back.reverse();
    assert_eq!(back, pages, "the way back is the same");
    pages
}

async fn follow(api: &InternalApi, cursor: &str) -> Value {
    let path = "/api/catalog/entities/by-query";
    let limit = 2;
    let inside: Value = serde_json::from_slice(&STANDARD.decode(cursor).unwrap()).unwrap();
    if inside.get("query").is_some() {
        let body = json!({ "cursor": cursor, "limit": limit, "fields": ["metadata.name"] });
        return api.post(path, &body.to_string()).await.json();
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("cursor", cursor).append_pair("limit", &limit.to_string());
    query.append_pair("fields", "metadata.name");
    api.get(&format!("{path}?{}", query.finish())).await.json()
}

#[tokio::test]
async fn cursors_lead_to_the_end_and_back() {
    let api = open(bookshop());
    let path = "/api/catalog/entities/by-query";
    let ordered = ["Bookshop", "Checkout", "orders", "orders-db", "search", "search"];
    for direction in ["asc", "desc"] {
        let first = format!("{path}?limit=2&orderField=metadata.name,{direction}");
        let pages = walk(&api, api.get(&first).await.json()).await;
        let mut all = pages.concat();
        if direction == "desc" {
            all.reverse();
        }
        assert_eq!((all, pages.len()), (ordered.map(str::to_owned).to_vec(), 3));
    }
    let unordered = walk(&api, api.get(&format!("{path}?limit=2")).await.json()).await;
    assert_eq!(unordered.concat().len(), 6);
    let body = json!({
        "limit": 2, "query": {"kind": "component"}, "orderBy": [{"field": "spec.type", "order": "asc"}],
    });
    let posted = walk(&api, api.post(path, &body.to_string()).await.json()).await;
    assert_eq!(posted, [vec!["search", "Checkout"], vec!["search"]]);
    let filtered = format!("{path}?limit=2&filter=kind=component&orderField=metadata.tags,asc");
    let tagged = walk(&api, api.get(&filtered).await.json()).await;
    assert_eq!(tagged.concat().len(), 4, "once for each tag");
}

#[tokio::test]
async fn a_cursor_keeps_its_total_and_its_question() {
    let api = open(bookshop());
    let path = "/api/catalog/entities/by-query";
    let first = api.get(&format!("{path}?limit=1&filter=kind=component&orderField=kind")).await;
    let cursor = first.json()["pageInfo"]["nextCursor"].as_str().unwrap().to_owned();
    let view = bookshop().with_repository(repository(
        2,
        2,
        vec![file("x.yaml", 2, vec![component("new")])],
    ));
    api.view.send_replace(view.complete_to(2).into());
    let rest = api.get(&format!("{path}?cursor={cursor}&filter=kind=api")).await.json();
    assert_eq!(rest["totalItems"], 3, "as it was counted first");
    assert_eq!(names(&rest).len(), 3, "the rest, and what came");
    assert!(rest["pageInfo"]["prevCursor"].is_string());
    assert!(rest["pageInfo"].get("nextCursor").is_none());
}

/// Two repositories with real files.
fn shelves() -> View {
    let component = |name: &str| {
        format!(
            "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
             spec: {{type: service, lifecycle: production, owner: ink}}\n"
        )
    };
    let repo = |id: u64, files: &[(&str, String)]| -> RepoEntry {
        let files = files.iter().map(|(path, text)| {
            let source = Source {
                host: "github.com".to_owned(),
                full_name: format!("acme/repo-{id}"),
                branch: "main".to_owned(),
                path: (*path).to_owned(),
            };
            let processed = process_alone(&source, text, &AllowedKinds::default(), &[]);
            file(path, id, processed.entities)
        });
        repository(id, id, files.collect())
    };
    let two = format!("{}---\n{}", component("a"), component("b"));
    View::empty()
        .with_repositories([
            repo(1, &[("catalog-info.yaml", two)]),
            repo(2, &[("Docs/x.yaml", component("c")), ("y.yaml", component("d"))]),
        ])
        .complete_to(2)
}

fn url(repo: u64, path: &str) -> String {
    format!("https://github.com/acme/repo-{repo}/blob/main/{path}")
}

#[tokio::test]
async fn every_catalog_file_is_a_location() {
    let api = open(shelves());
    let all = api.get("/api/catalog/locations").await.json();
    let all: Vec<&Value> = all.as_array().unwrap().iter().map(|item| &item["data"]).collect();
    let mut targets: Vec<&str> = all.iter().map(|l| l["target"].as_str().unwrap()).collect();
    targets.sort_unstable();
    let urls = [url(1, "catalog-info.yaml"), url(2, "Docs/x.yaml"), url(2, "y.yaml")];
    assert_eq!(targets, urls);
    for location in &all {
        assert_eq!(location["type"], "url");
        let id = location["id"].as_str().unwrap();
        let one = api.get(&format!("/api/catalog/locations/{id}")).await.json();
        assert_eq!(&one, *location);
    }
    let of_c = api.get("/api/catalog/locations/by-entity/component/default/c").await.json();
    assert_eq!(of_c["target"], urls[1]);
    let mut found = Vec::new();
    let mut body = json!({ "limit": 2 });
    loop {
        let page = api.post("/api/catalog/locations/by-query", &body.to_string()).await.json();
        assert_eq!(page["totalItems"], 3);
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["pageInfo"].get("nextCursor") else { break };
        body = json!({ "cursor": cursor });
    }
    assert_eq!(found.iter().collect::<Vec<_>>(), all, "by id, each once");
    let query = json!({ "query": { "target": { "$hasPrefix": url(2, "") } } });
    let of_two = api.post("/api/catalog/locations/by-query", &query.to_string()).await.json();
    assert_eq!(of_two["totalItems"], 2);
}

#[tokio::test]
async fn an_entity_comes_from_the_location_of_its_file() {
    let api = open(shelves());
    let path = "/api/catalog/entities/by-name/component/default/a";
    let ancestry = api.get(&format!("{path}/ancestry")).await.json();
    assert_eq!(ancestry["rootEntityRef"], "component:default/a");
    let items = ancestry["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["entity"], api.get(path).await.json());
    let location = items[0]["parentEntityRefs"][0].as_str().unwrap();
    let named = items[1]["entity"]["metadata"]["name"].as_str().unwrap();
    assert_eq!(location, format!("location:default/{named}"));
    assert_eq!(items[1]["entity"]["spec"]["target"], url(1, "catalog-info.yaml"));
    assert_eq!(items[1]["parentEntityRefs"], json!([]));
}

#[tokio::test]
async fn an_entity_of_an_included_file_comes_from_the_location_that_names_it() {
    let source = |path: &str| Source {
        host: "github.com".to_owned(),
        full_name: "acme/repo-1".to_owned(),
        branch: "main".to_owned(),
        path: path.to_owned(),
    };
    let text = "apiVersion: backstage.io/v1alpha1\nkind: Location\nmetadata: {name: all}\n\
                spec: {target: ./a.yaml}\n";
    let system = "apiVersion: backstage.io/v1alpha1\nkind: System\nmetadata: {name: shop}\n\
                  spec: {owner: ink}\n";
    let mut gathered = Gathered::default();
    gathered.files.insert(source("a.yaml"), HeldFile::Text(system.into()));
    let given = Given {
        source: &source("catalog-info.yaml"),
        text,
        allowed: &AllowedKinds::default(),
        previous: &BTreeMap::new(),
        gathered: &gathered,
    };
    let expanded = expand(&given, process_file);
    let files =
        expanded.files.into_iter().map(|f| file(&f.source.path, 1, f.processed.entities)).collect();
    let api = open(View::empty().with_repositories([repository(1, 1, files)]).complete_to(1));
    let path = "/api/catalog/entities/by-name/system/default/shop";
    let ancestry = api.get(&format!("{path}/ancestry")).await.json();
    let names: Vec<&str> = (ancestry["items"].as_array().unwrap().iter())
        .map(|item| item["entity"]["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names[..2], ["shop", "all"]);
    assert_eq!(ancestry["items"][0]["parentEntityRefs"], json!(["location:default/all"]));
    let generated = format!("location:default/{}", names[2]);
    assert_eq!(ancestry["items"][1]["parentEntityRefs"], json!([generated]));
    let of_entity = api.get("/api/catalog/locations/by-entity/system/default/shop").await.json();
    assert_eq!(of_entity["target"], url(1, "catalog-info.yaml"), "its origin");
    let all = api.get("/api/catalog/locations").await.json();
    assert_eq!(all.as_array().unwrap().len(), 1, "an included file is no location of its own");
}

#[tokio::test]
async fn a_repository_that_is_known_is_shown_with_its_files() {
    let api = open(shelves());
    let location = json!({ "type": "url", "target": "https://github.com/Acme/Repo-1/tree/main" });
    let body = json!({ "location": location }).to_string();
    let found = api.post("/api/catalog/analyze-location", &body).await.json();
    assert_eq!(found["generateEntities"], json!([]));
    let files = found["existingEntityFiles"].as_array().unwrap();
    let names: Vec<&Value> = files.iter().map(|file| &file["entity"]["metadata"]["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(files[0]["location"]["target"], url(1, "catalog-info.yaml"));
    assert_eq!(files[0]["isRegistered"], true);
}

#[tokio::test]
async fn a_rehearsal_of_a_known_file_tells_what_it_holds() {
    let api = open(shelves());
    let body = json!({ "type": "url", "target": url(1, "catalog-info.yaml") }).to_string();
    let answer = api.post("/api/catalog/locations?dryRun=true", &body).await;
    assert_eq!(answer.status.as_u16(), 201);
    let told = answer.json();
    assert_eq!(told["exists"], true);
    assert_eq!(told["location"]["target"], url(1, "catalog-info.yaml"));
    assert_eq!(told["entities"].as_array().map(Vec::len), Some(3));
    let real = api.post("/api/catalog/locations", &body).await;
    assert_eq!(real.status.as_u16(), 403, "{real:?}");
}
