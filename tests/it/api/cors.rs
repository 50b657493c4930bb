//! Pages of other origins: a browser asks before it sends a token, and who is listed may read.

use axum::body::Body;
use axum::http::{Method, Request};
use cuelight::config::InternalAuth;
use secrecy::SecretString;

use super::bookshop;
use crate::support::internal_api::{Answer, InternalApi};

const OURS: &str = "https://backstage.example.com";

const PATHS: [&str; 3] =
    ["/api/catalog/entities", "/api/catalog/entities/by-query", "/api/cuelight/v1/status"];

fn listener(origins: &[&str]) -> InternalApi {
    let tokens = vec![SecretString::from("good-token-12345")];
    InternalApi::with_origins(bookshop(), InternalAuth::Tokens(tokens), origins)
}

/// What a browser asks before a page may send a token.
async fn preflight(api: &InternalApi, path: &str, origin: &str) -> Answer {
    let request = Request::options(path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,traceparent");
    api.send(request.body(Body::empty()).unwrap()).await
}

async fn ask(api: &InternalApi, method: Method, origin: &str, token: &str) -> Answer {
    let request = Request::builder().method(method).uri("/api/catalog/entities?limit=1");
    let request = request.header("origin", origin).header("authorization", token);
    api.send(request.body(Body::empty()).unwrap()).await
}

fn tells_browsers(answer: &Answer) -> bool {
    answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"))
}

#[tokio::test]
async fn a_browser_learns_without_a_token_that_a_listed_page_may_ask() {
    let api = listener(&["http://localhost:3000", OURS]);
    for path in PATHS {
        for origin in ["http://localhost:3000", OURS] {
            let answer = preflight(&api, path, origin).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.text, "");
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert_eq!(answer.header("access-control-allow-methods"), "GET,HEAD,POST,PUT,DELETE");
            let headers = answer.header("access-control-allow-headers");
            assert_eq!(headers, "authorization,content-type,traceparent");
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            assert_eq!(answer.header("access-control-max-age"), "600");
            assert_eq!(answer.header("vary"), "origin");
        }
    }
}

#[tokio::test]
async fn a_listed_page_reads_answers_and_refusals_and_needs_its_token() {
    let api = listener(&[OURS]);
    for (token, status) in [("Bearer good-token-12345", 200), ("Bearer wrong", 401), ("", 401)] {
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&api, method, OURS, token).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("access-control-allow-origin"), OURS);
            let exposed = answer.header("access-control-expose-headers");
            assert_eq!(exposed, "link,etag,age,retry-after");
            assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "origin"));
        }
    }
}

#[tokio::test]
async fn a_page_of_another_origin_reads_nothing() {
    let api = listener(&[OURS]);
    for origin in [
        "https://evil.example",
        "http://backstage.example.com",
        "https://backstage.example.com:8443",
        "https://backstage.example.com.evil.example",
        "null",
    ] {
        let answer = preflight(&api, PATHS[0], origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        assert_eq!(answer.header("vary"), "origin", "{origin}");
        let answer = ask(&api, Method::GET, origin, "Bearer good-token-12345").await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
    }
}

#[tokio::test]
async fn with_no_origin_listed_browsers_are_told_nothing() {
    let api = listener(&[]);
    for path in PATHS {
        let answer = preflight(&api, path, OURS).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(!tells_browsers(&answer));
    }
    let answer = ask(&api, Method::GET, OURS, "Bearer good-token-12345").await;
    assert!(!tells_browsers(&answer));
}
