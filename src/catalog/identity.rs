//! Ids that follow from what they name, so that every replica and every restart agrees on them.

use std::fmt::Write as _;

use serde_json::Value;
use sha1::{Digest, Sha1};

/// The name space of our UUIDs: itself the UUIDv5 of `https://backstage.io/entity` under the
/// name space for URLs of RFC 9562.
const UID_NAMESPACE: [u8; 16] = [
    0x44, 0xd0, 0x32, 0xbe, 0x3f, 0x0d, 0x57, 0xb0, 0xaa, 0x25, 0x8d, 0x1a, 0x15, 0x4a, 0xbf, 0x6b,
];

/// `metadata.uid`: the UUIDv5 (RFC 9562) of an entity ref in its lower-case form.
pub fn uid(entity_ref: &str) -> String {
    uuid_v5(&UID_NAMESPACE, entity_ref)
}

/// The length of an etag: a SHA-1 in hexadecimal digits.
pub const ETAG_BYTES: usize = 40;

/// `metadata.etag`: a hash over the whole entity as it is served, without the etag itself. Equal
/// entities have equal etags, because the keys of a [`Value`] are sorted.
pub fn etag(entity: &Value) -> String {
    hex(&Sha1::digest(entity.to_string()))
}

/// The name of the Location entity made for a location: `generated-` and a hash of
/// `<type>:<target>`, in which case counts.
pub fn generated_location_name(location_type: &str, target: &str) -> String {
    format!("generated-{}", hex(&Sha1::digest(format!("{location_type}:{target}"))))
}

fn uuid_v5(namespace: &[u8; 16], name: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(namespace);
    hash.update(name);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The name space for URLs, RFC 9562 section 6.6.
    const URL: [u8; 16] = [
        0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30,
        0xc8,
    ];

    #[test]
    fn uuids_are_those_of_the_rfc() {
        // Python: uuid.uuid5(uuid.NAMESPACE_URL, "https://example.com/")
        let expected = "dd2c1780-811a-5296-81c5-178a0ef488bc";
        assert_eq!(uuid_v5(&URL, "https://example.com/"), expected);
    }

    #[test]
    fn the_name_space_is_what_its_comment_says() {
        let namespace = uuid_v5(&URL, "https://backstage.io/entity");
        assert_eq!(hex(&UID_NAMESPACE), namespace.replace('-', ""));
    }

    #[test]
    fn a_uid_never_changes() {
        assert_eq!(uid("component:default/payments"), "1b1b1aa4-5fcf-58c2-9ef4-dab14db6973f");
        assert_ne!(uid("component:default/payments"), uid("api:default/payments"));
    }

    #[test]
    fn an_etag_follows_the_content_and_not_the_order_of_keys() {
        let one = etag(&json!({"kind": "API", "spec": {"a": 1, "b": 2}}));
        assert_eq!(one, etag(&json!({"spec": {"b": 2, "a": 1}, "kind": "API"})));
        assert_ne!(one, etag(&json!({"kind": "API", "spec": {"a": 1, "b": 3}})));
        assert_eq!(one.len(), ETAG_BYTES);
    }

    #[test]
    fn the_name_of_a_generated_location_hashes_type_and_target() {
        let name = generated_location_name("url", "https://github.com/o/r/blob/main/c.yaml");
        assert_eq!(name, "generated-f7b04b42d5f6cb9ddcfefd8038aa063b0e3502b4");
        assert_ne!(name, generated_location_name("url", "https://github.com/o/R/blob/main/c.yaml"));
    }
}
