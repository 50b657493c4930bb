//! Who asks: what a Backstage with one static token said to each form of the header.

use axum::body::Body;
use axum::http::Request;
use cuelight::catalog::View;
use cuelight::config::InternalAuth;
use secrecy::SecretString;

use crate::support::internal_api::InternalApi;

const MISSING: &str = "Missing credentials";
const ILLEGAL: &str = "Illegal token";

#[tokio::test]
async fn a_header_is_read_as_by_backstage() {
    let tokens = vec![SecretString::from("good-token-12345")];
    let api = InternalApi::new(View::empty().complete_to(1), InternalAuth::Tokens(tokens));
    for (header, refusal) in [
        ("", Some(MISSING)),
        ("Bearer", Some(MISSING)),
        ("Bearer ", Some(MISSING)),
        ("Basic eDp5", Some(MISSING)),
        ("Token good-token-12345", Some(MISSING)),
        ("Bearer good-token-12345 x", Some(MISSING)),
        ("Bearer wrong-token-1", Some(ILLEGAL)),
        ("Bearer a.b.c", Some(ILLEGAL)),
        ("Bearer good-token-12345", None),
        ("BEARER good-token-12345", None),
        ("Bearer  good-token-12345", None),
    ] {
        for path in ["/entities", "/entities?bogus=1", "/nope", "/openapi.json"] {
            let request = Request::get(format!("/api/catalog{path}"));
            let request = request.header("authorization", header);
            let answer = api.send(request.body(Body::empty()).unwrap()).await;
            match refusal {
                Some(message) => {
                    assert_eq!(answer.status, 401, "{header} {path}");
                    let error = &answer.json()["error"];
                    assert_eq!(error["name"], "AuthenticationError", "{header} {path}");
                    assert_eq!(error["message"], message, "{header} {path}");
                }
                None => assert_ne!(answer.status, 401, "{header} {path}"),
            }
        }
    }
}
