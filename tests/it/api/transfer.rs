//! How answers travel: tags that spare a transfer, and compression.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use cuelight::catalog::View;

use super::{bookshop, open};
use crate::support::catalogs::{PATH, component, file, repository};
use crate::support::internal_api::{Answer, InternalApi};

async fn get(api: &InternalApi, path: &str, header: &str, value: &str) -> Answer {
    let request = Request::get(format!("/api/catalog{path}")).header(header, value);
    api.send(request.body(Body::empty()).unwrap()).await
}

fn many(title: &str) -> View {
    let mut entities: Vec<_> =
        (0..1_000).map(|number| component(&format!("part-{number}"))).collect();
    let mut first = (*entities[0].body).clone();
    first["metadata"]["title"] = title.into();
    entities[0].body = first.into();
    View::empty().with_repository(repository(1, 1, vec![file(PATH, 1, entities)])).complete_to(1)
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let api = open(bookshop());
    for path in [
        "/entities",
        "/entities/by-query?limit=2",
        "/entities/by-name/component/default/search",
        "/entity-facets?facet=kind",
        "/locations",
        "/openapi.json",
    ] {
        let first = get(&api, path, "accept", "*/*").await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{path}: {tag:?}");
        for held in [tag.clone(), format!("\"x\", {}", tag.trim_start_matches("W/")), "*".into()] {
            let again = get(&api, path, "if-none-match", &held).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path} {held}");
            assert_eq!((again.text.as_str(), again.header("etag")), ("", tag.as_str()));
        }
        let other = get(&api, path, "if-none-match", "W/\"other\"").await;
        assert_eq!((other.status, other.text), (StatusCode::OK, first.text), "{path}");
    }
    let missing = get(&api, "/entities/by-uid/nope", "if-none-match", "*").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_tag_changes_with_the_answer() {
    for path in ["/entities", "/entities?limit=1", "/entities/by-name/component/default/part-0"] {
        let api = open(many("one"));
        let before = get(&api, path, "accept", "*/*").await.header("etag").to_owned();
        api.view.send_replace(many("two").into());
        let after = get(&api, path, "if-none-match", &before).await;
        assert_eq!(after.status, StatusCode::OK, "{path} {before}");
    }
}

#[tokio::test]
async fn large_answers_are_compressed_as_the_client_likes_it() {
    let api = open(many("one"));
    let plain = get(&api, "/entities", "accept", "*/*").await;
    assert!(plain.text.len() > 100_000 && plain.header("content-encoding").is_empty());
    for coding in ["gzip", "br", "zstd"] {
        let request = Request::get("/api/catalog/entities").header("accept-encoding", coding);
        let (headers, bytes) = api.bytes(request.body(Body::empty()).unwrap()).await;
        assert_eq!(headers["content-encoding"], coding);
        assert!(headers["vary"].to_str().unwrap().contains("accept-encoding"));
        assert!(bytes.len() < plain.text.len() / 3, "{coding}: {} bytes", bytes.len());
    }
    let small = get(&api, "/entities?limit=1", "accept-encoding", "gzip").await;
    assert_eq!(small.header("content-encoding"), "", "too small to be worth it");
}
