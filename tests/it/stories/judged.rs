//! `POST /validate-entity`: an entity is judged with what there is in the repository of its file.

use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::clock::Clock;
use cuelight::config::Config;
use fake_github::{CallKind, Calls, Fault, NewRepository, Push};
use serde_json::{Value, json};

use super::included::location;
use crate::support::stage::{FILE, Stage, TOKEN, component};

const HOME: &str = "https://github.com/acme/pay/blob/main/catalog-info.yaml";

/// How errors about placeholders start.
const PLACEHOLDER: &str = "InputError: Processor PlaceholderProcessor threw an error while \
                           preprocessing; caused by Error: Placeholder";

impl Stage {
    /// The errors of an entity that is to stand at an address.
    async fn judge(&self, entity: Value, address: &str) -> (u16, Vec<String>) {
        let body = json!({ "entity": entity, "location": format!("url:{address}") });
        let (status, answer) = self.post("/api/catalog/validate-entity", body).await;
        let said = |error: &Value| {
            let text = |member: &str| error[member].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("name"), text("message"))
        };
        match answer["errors"].as_array() {
            Some(errors) => (status, errors.iter().map(said).collect()),
            None if answer.is_null() => (status, Vec::new()),
            None => (status, vec![said(&answer["error"])]),
        }
    }

    /// The only error of an entity that is to stand in `acme/pay`; empty when there is none.
    async fn error(&self, entity: Value) -> String {
        let (status, mut errors) = self.judge(entity, HOME).await;
        assert_eq!(status, if errors.is_empty() { 200 } else { 400 }, "{errors:?}");
        assert!(errors.len() < 2, "{errors:?}");
        errors.pop().unwrap_or_default()
    }
}

/// An API whose definition is this.
fn api(definition: Value) -> Value {
    json!({
        "apiVersion": "backstage.io/v1alpha1",
        "kind": "API",
        "metadata": {"name": "pay"},
        "spec": {"type": "openapi", "lifecycle": "p", "owner": "o", "definition": definition},
    })
}

/// A Location with this `spec`.
fn leading(spec: Value) -> Value {
    json!({
        "apiVersion": "backstage.io/v1alpha1",
        "kind": "Location",
        "metadata": {"name": "parts"},
        "spec": spec,
    })
}

/// A stage where `acme/pay` has these files beside its catalog file.
async fn with_files(files: &[(&str, &str)]) -> Stage {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let put = |push: Push, (path, text): &(&str, &str)| push.put(path, *text);
    let push = files.iter().fold(Push::to("main"), put);
    stage.push("acme/pay", push).await;
    stage.world().reset_calls();
    stage
}

#[tokio::test]
async fn placeholders_are_read_from_the_repository_of_the_location() {
    let files = [("docs/api.yaml", "openapi: 3.1.0\n"), ("api.json", "{\"a\": 1}")];
    let stage = with_files(&files).await;
    assert_eq!(stage.error(api(json!({"$text": "./docs/api.yaml"}))).await, "");
    assert_eq!(stage.asked(), [0, 1, 0, 0], "one call");
    let absolute = "https://github.com/acme/pay/blob/main/docs/api.yaml";
    assert_eq!(stage.error(api(json!({"$text": absolute}))).await, "");
    let missing = stage.error(api(json!({"$text": "docs/none.yaml"}))).await;
    let says = "$text could not read location docs/none.yaml, NotFoundError: ";
    assert!(missing.starts_with(&format!("{PLACEHOLDER} {says}")), "{missing}");
    let mut entity = api(json!("x"));
    entity["spec"]["x"] = json!({"$json": "/docs/api.yaml"});
    let not_json = stage.error(entity.clone()).await;
    let says = "$json failed to parse JSON data at /docs/api.yaml, SyntaxError: ";
    assert!(not_json.starts_with(&format!("{PLACEHOLDER} {says}")), "{not_json}");
    entity["spec"]["x"] = json!({"$json": "/api.json"});
    assert_eq!(stage.error(entity).await, "");
    // What is brought in is judged, too.
    let wrong = stage.error(api(json!({"$json": "./api.json"}))).await;
    assert!(wrong.contains("/spec/definition must be string"), "{wrong}");
}

#[tokio::test]
async fn a_missing_placeholder_is_told_before_everything_else() {
    let stage = with_files(&[]).await;
    let mut entity = api(json!({"$text": "./none.yaml"}));
    entity["spec"]["owner"] = json!(1);
    let (status, errors) = stage.judge(entity, HOME).await;
    assert_eq!((status, errors.len()), (400, 2), "{errors:?}");
    assert!(errors[0].starts_with(PLACEHOLDER), "{errors:?}");
    assert_eq!(errors[1], "InputError: /spec/owner must be string");
}

#[tokio::test]
async fn the_targets_of_a_location_have_to_be_there_and_to_hold_documents() {
    let good = component("a", "service");
    let files = [
        ("a.yaml", good.as_str()),
        ("broken.yaml", "a: [\n"),
        ("bare.yaml", "kind: Component\n"),
        ("list.yaml", "[./a.yaml, ./none.yaml]"),
        ("apps/b/catalog-info.yaml", "a: ["),
    ];
    let stage = with_files(&files).await;
    assert_eq!(stage.error(leading(json!({"targets": ["./a.yaml", "a.yaml"]}))).await, "");
    assert_eq!(stage.asked(), [0, 1, 0, 0]);
    let missing = stage.error(leading(json!({"targets": ["./a.yaml", "./none.yaml"]}))).await;
    let url = "https://github.com/acme/pay/tree/main/none.yaml";
    let says = "NotFoundError: Unable to read url, no matching files found for";
    assert_eq!(missing, format!("{says} {url}"));
    let optional = json!({"target": "./none.yaml", "presence": "optional"});
    assert_eq!(stage.error(leading(optional)).await, "");
    let broken = stage.error(leading(json!({"target": "./broken.yaml"}))).await;
    let url = "https://github.com/acme/pay/tree/main/broken.yaml";
    assert!(broken.starts_with(&format!("Error: YAML error at url:{url}, ")), "{broken}");
    let bare = stage.error(leading(json!({"target": "./bare.yaml"}))).await;
    assert!(bare.contains("apiVersion"), "{bare}");
    let outside = stage.error(leading(json!({"target": "../none.yaml"}))).await;
    assert!(outside.contains("leads out of the repository"), "{outside}");

    let listed = stage.error(leading(json!({"targets": {"$yaml": "./list.yaml"}}))).await;
    assert_eq!(listed, format!("{says} {}", url.replace("broken", "none")));

    stage.world().reset_calls();
    assert_eq!(stage.error(leading(json!({"target": "./apps/*/catalog-info.yaml"}))).await, "");
    assert_eq!(stage.asked(), [0, 1, 1, 0], "the commit and its paths");
    let none = stage.error(leading(json!({"target": "./apps/*/none.yaml"}))).await;
    assert!(none.starts_with(says), "{none}");
}

#[tokio::test]
async fn every_target_is_looked_at_however_many_there_are() {
    let good = component("a", "service");
    let stage = with_files(&[("a.yaml", good.as_str())]).await;
    let targets: Vec<String> = (0..120).map(|n| format!("./none-{n}.yaml")).collect();
    let (status, errors) = stage.judge(leading(json!({"targets": targets})), HOME).await;
    assert_eq!((status, errors.len()), (400, 120));
    assert_eq!(stage.asked(), [0, 3, 0, 0]);
}

#[tokio::test]
async fn a_location_may_name_a_commit_or_the_head() {
    let stage = with_files(&[("a.yaml", "a: 1\n")]).await;
    let head = stage.world().head("acme/pay", "main");
    for revision in ["HEAD", head.as_str()] {
        let home = HOME.replace("main", revision);
        let found = stage.judge(api(json!({"$text": "./a.yaml"})), &home).await;
        assert_eq!(found, (200, Vec::new()), "{revision}");
        let (status, errors) = stage.judge(api(json!({"$text": "./b.yaml"})), &home).await;
        assert!(status == 400 && errors[0].contains("there is no file b.yaml"), "{errors:?}");
    }
}

#[tokio::test]
async fn nothing_is_read_of_what_is_not_in_the_catalog_or_lies_elsewhere() {
    let only_public = |config: &mut Config| {
        config.providers[0].filters.visibility = vec!["public"];
    };
    let stage = Stage::with(only_public, process_file).await;
    let text = component("pay", "service");
    let shown = NewRepository::named("pay").visibility("public").file(FILE, &text);
    stage.cue(&stage.world().create_repository("acme", shown)).await;
    stage.work().await;
    stage.world().create_repository("acme", NewRepository::named("secret").file(FILE, &text));
    stage.world().create_organization("globex");
    stage.world().add_token(TOKEN, &["acme", "globex"]);
    stage.world().create_repository("globex", NewRepository::named("pay").file(FILE, &text));
    stage.world().reset_calls();

    let missing = || api(json!({"$text": "./none.yaml"}));
    let elsewhere = |owner_and_name: &str| {
        format!("https://github.com/{owner_and_name}/blob/main/catalog-info.yaml")
    };
    for home in [
        elsewhere("globex/pay"),
        HOME.replace("github.com", "ghe.acme.com"),
        "http://127.0.0.1:18080/catalog-info.yaml".to_owned(),
    ] {
        assert_eq!(stage.judge(missing(), &home).await, (200, Vec::new()), "{home}");
        assert_eq!(stage.world().calls().len(), 0, "{home}");
    }
    let filtered_out = elsewhere("acme/secret");
    assert_eq!(stage.judge(missing(), &filtered_out).await, (200, Vec::new()));
    assert_eq!(stage.judge(missing(), &elsewhere("acme/none")).await, (200, Vec::new()));
    let targets = [&filtered_out, &elsewhere("globex/none")];
    assert_eq!(stage.error(leading(json!({"targets": targets}))).await, "");
    assert_eq!(stage.world().calls_of(CallKind::Files), 0);
    let other = stage.error(api(json!({"$text": filtered_out}))).await;
    assert!(other.contains("may only reference files from the same repository"), "{other}");
}

#[tokio::test]
async fn a_repository_without_a_catalog_file_counts_and_a_default_branch_may_have_slashes() {
    let stage = Stage::open().await;
    let new = NewRepository::named("pay").file("docs/api.yaml", "openapi: 3.1.0\n");
    stage.world().create_repository("acme", new);
    assert_eq!(stage.error(api(json!({"$text": "docs/api.yaml"}))).await, "");
    let missing = stage.error(api(json!({"$text": "docs/none.yaml"}))).await;
    assert!(missing.starts_with(PLACEHOLDER), "{missing}");
    let no_branch = HOME.replace("main", "feature/x");
    let (status, errors) = stage.judge(api(json!({"$text": "x.yaml"})), &no_branch).await;
    assert_eq!(status, 400);
    assert!(errors[0].ends_with("acme/pay shows no branch `feature` now"), "{errors:?}");

    let new = NewRepository::named("cart").default_branch("release/1.x");
    let new = new.file(FILE, component("cart", "service")).file("api.yaml", "openapi: 3.1.0\n");
    stage.cue(&stage.world().create_repository("acme", new)).await;
    stage.work().await;
    let home = "https://github.com/acme/cart/blob/release/1.x/catalog-info.yaml";
    let found = stage.judge(api(json!({"$text": "./api.yaml"})), home).await;
    assert_eq!(found, (200, Vec::new()));
}

#[tokio::test]
async fn when_github_cannot_be_asked_there_is_no_verdict() {
    let stage = with_files(&[("a.yaml", "a: 1\n")]).await;
    stage.world().freeze_time();
    stage.world().set_now(stage.clock.now().0 / 1_000);
    stage.world().limit_points(TOKEN, 100);
    let entity = || api(json!({"$text": "./a.yaml"}));
    assert_eq!(stage.error(entity()).await, "");

    stage.world().fail_always(Calls::Of(CallKind::Files), Fault::Status(502));
    let (status, errors) = stage.judge(entity(), HOME).await;
    assert_eq!((status, errors.len()), (503, 1), "{errors:?}");
    stage.world().heal();

    stage.world().spend_points(TOKEN, 49);
    assert_eq!(stage.error(entity()).await, "");
    stage.world().reset_calls();
    let (status, errors) = stage.judge(entity(), HOME).await;
    let says = "ServiceUnavailableError: 48 of 100 points of GitHub's API are left for \
                github.com/acme";
    assert!(status == 503 && errors[0].starts_with(says), "{status} {errors:?}");
    let plain = || api(json!("openapi: 3.1.0"));
    assert_eq!(stage.error(plain()).await, "", "what names nothing costs nothing");
    assert_eq!(stage.world().calls().len(), 0);
    stage.clock.advance(Duration::from_secs(3_600));
    stage.world().set_now(stage.clock.now().0 / 1_000);
    stage.world().limit_points(TOKEN, 100);
    assert_eq!(stage.error(entity()).await, "");
}

#[tokio::test]
async fn an_account_that_rests_is_not_asked() {
    let stage = with_files(&[("a.yaml", "a: 1\n")]).await;
    let until = (stage.clock.now().0 / 1_000) + 600;
    let limited = Fault::Limited { status: 403, retry_after: None, reset: Some(until) };
    stage.world().fail_next(1, Calls::All, limited);
    stage.push("acme/pay", Push::to("main").put(FILE, location(&["./a.yaml"]))).await;
    stage.world().reset_calls();
    let (status, errors) = stage.judge(api(json!({"$text": "./a.yaml"})), HOME).await;
    assert_eq!(status, 503, "{errors:?}");
    assert!(errors[0].contains("nothing of github.com/acme is read until"), "{errors:?}");
    assert_eq!(stage.world().calls().len(), 0);
}
