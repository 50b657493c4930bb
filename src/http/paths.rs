//! Paths that cannot be decoded: the web framework of Backstage refuses them before it looks where
//! they lead.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::answer::ApiError;

/// Refuses a path that cannot be decoded.
pub async fn refuse_malformed(request: Request, next: Next) -> Response {
    if is_decodable(request.uri().path()) {
        return next.run(request).await;
    }
    ApiError::input("malformed uri'").into_response()
}

/// Whether each `%` begins a byte and the bytes are text.
fn is_decodable(path: &str) -> bool {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let Some((digits, rest)) = part.split_at_checked(2) else { return false };
        let Ok(byte) = u8::from_str_radix(digits, 16) else { return false };
        decoded.push(byte);
        decoded.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(decoded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_text_in_bytes() {
        for path in ["/", "/a%20b", "/%C3%A4", "/%25"] {
            assert!(is_decodable(path), "{path}");
        }
        for path in ["/%", "/%z1", "/%4", "/%ff", "/%C3"] {
            assert!(!is_decodable(path), "{path}");
        }
    }
}
