//! Whether a delivery was signed with one of our secrets.
//!
//! Only `X-Hub-Signature-256` counts: HMAC-SHA256 over the body as it was received. The caller
//! learns yes or no and nothing else, so that no answer can tell a missing signature from a
//! malformed or a wrong one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// How the header's value begins.
const PREFIX: &[u8] = b"sha256=";

/// Bytes of an HMAC-SHA256.
const TAG_BYTES: usize = 32;

/// The secrets a delivery may be signed with; more than one while they are being rotated.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Each secret in the form HMAC starts from, so that a request does not derive it again.
    keyed: Vec<Hmac<Sha256>>,
}

impl Secrets {
    /// Takes the configured secrets. Empty ones are left out: anybody could sign with them.
    pub fn new(secrets: &[SecretString]) -> Self {
        let keyed = secrets
            .iter()
            .map(|secret| secret.expose_secret().as_bytes())
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| Hmac::new_from_slice(bytes).expect("HMAC takes a key of any length"))
            .collect();
        Self { keyed }
    }

    /// Whether there is none, so that no delivery can be believed.
    pub fn is_empty(&self) -> bool {
        self.keyed.is_empty()
    }

    /// Whether `header`, the value of `X-Hub-Signature-256`, signs `body` with any secret.
    ///
    /// Every secret is tried, also after one has matched, and tags are compared in constant time:
    /// how long it takes depends on the length of the body and the number of secrets alone.
    pub fn verify(&self, header: Option<&[u8]>, body: &[u8]) -> bool {
        let Some(tag) = header.and_then(parse_tag) else { return false };
        self.keyed.iter().fold(false, |matched, keyed| {
            matched | keyed.clone().chain_update(body).verify_slice(&tag).is_ok()
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.keyed.len())
    }
}

/// `sha256=` and exactly 64 hexadecimal digits of either case.
fn parse_tag(header: &[u8]) -> Option<[u8; TAG_BYTES]> {
    let digits = header.strip_prefix(PREFIX)?;
    if digits.len() != 2 * TAG_BYTES {
        return None;
    }
    let mut tag = [0; TAG_BYTES];
    for (byte, pair) in tag.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn secrets(texts: &[&str]) -> Secrets {
        Secrets::new(&texts.iter().map(|text| SecretString::from(*text)).collect::<Vec<_>>())
    }

    #[test]
    fn the_vector_in_githubs_documentation_verifies() {
        assert!(secrets(&[SECRET]).verify(Some(SIGNATURE.as_bytes()), BODY));
    }

    #[test]
    fn a_signature_by_any_secret_of_a_rotation_verifies() {
        for order in [[SECRET, "new"], ["new", SECRET]] {
            assert!(secrets(&order).verify(Some(SIGNATURE.as_bytes()), BODY), "{order:?}");
        }
        assert!(!secrets(&["new", "newer"]).verify(Some(SIGNATURE.as_bytes()), BODY));
    }

    #[test]
    fn any_flipped_bit_of_body_or_signature_is_refused() {
        let secrets = secrets(&[SECRET]);
        for bit in 0..BODY.len() * 8 {
            let mut body = BODY.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert!(!secrets.verify(Some(SIGNATURE.as_bytes()), &body), "body, bit {bit}");
        }
        for bit in 0..SIGNATURE.len() * 8 {
            let mut header = SIGNATURE.as_bytes().to_vec();
            header[bit / 8] ^= 1 << (bit % 8);
            // The case of a hexadecimal digit is no part of its value.
            let same = header.eq_ignore_ascii_case(SIGNATURE.as_bytes()) && bit / 8 >= PREFIX.len();
            assert_eq!(secrets.verify(Some(&header), BODY), same, "header, bit {bit}");
        }
    }

    #[test]
    fn only_sha256_and_64_digits_are_read() {
        let secrets = secrets(&[SECRET]);
        let digits = &SIGNATURE[PREFIX.len()..];
        let upper = format!("sha256={}", digits.to_uppercase());
        assert!(secrets.verify(Some(upper.as_bytes()), BODY));
        for header in [
            String::new(),
            digits.to_owned(),
            format!("sha1={}", &digits[..40]),
            format!("SHA256={digits}"),
            format!("sha256={}", &digits[..62]),
            format!("sha256={digits}00"),
            format!("sha256= {digits}"),
            format!("sha256={digits} "),
            format!("sha256=+{}", &digits[1..]),
            format!("sha256=é{}", &digits[2..]),
        ] {
            assert!(!secrets.verify(Some(header.as_bytes()), BODY), "{header}");
        }
        assert!(!secrets.verify(None, BODY));
    }

    #[test]
    fn an_empty_secret_is_no_secret() {
        assert!(secrets(&[""]).is_empty());
        let mut forged = Hmac::<Sha256>::new_from_slice(b"").expect("any length");
        forged.update(BODY);
        let digits: String =
            forged.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let header = format!("sha256={digits}");
        assert!(!secrets(&["", SECRET]).verify(Some(header.as_bytes()), BODY));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        assert_eq!(format!("{:?}", secrets(&[SECRET])), "Secrets(1)");
    }
}
