//! Where an entity came from: the URLs of its file, the annotations that say so, and the Location
//! entity that stands for a file that no other file led to.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::identity::generated_location_name;
use super::refs::{DEFAULT_NAMESPACE, EntityRef};
use super::{Entity, Source};

/// Which location made the entity; always ours, whatever the file says.
pub const MANAGED_BY_LOCATION: &str = "backstage.io/managed-by-location";

/// Which registered location it came from in the end; always ours.
pub const MANAGED_BY_ORIGIN_LOCATION: &str = "backstage.io/managed-by-origin-location";

const VIEW_URL: &str = "backstage.io/view-url";
const EDIT_URL: &str = "backstage.io/edit-url";
const SOURCE_LOCATION: &str = "backstage.io/source-location";
const ORPHAN: &str = "backstage.io/orphan";
const PROJECT_SLUG: &str = "github.com/project-slug";

/// What Backstage shows in place of a link that would run a script.
const REJECTED_URL: &str = "https://backstage.io/annotation-rejected-for-security-reasons";

/// Digits from which a hexadecimal word in a URL is taken for a commit, not a branch.
const COMMIT_DIGITS_MIN: usize = 40;

/// The URL of a file on GitHub's web site.
pub fn file_url(source: &Source) -> String {
    let Source { host, full_name, branch, path } = source;
    format!("https://{host}/{full_name}/blob/{}/{}", encode_path(branch), encode_path(path))
}

/// Where a file stands: its own URL and that of the file that led to it in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUrls {
    /// The URL of the file.
    pub own: String,
    /// The URL of the file that it came from in the end; its own when no other led to it.
    pub origin: String,
}

impl FileUrls {
    /// A file that was found by itself, or that the Locations of `root` led to. Those, Backstage
    /// shows by another form of the URL.
    pub fn of(source: &Source, root: Option<&Source>) -> Self {
        let url = file_url(source);
        match root {
            Some(root) => Self { own: with_view(&url, "tree"), origin: file_url(root) },
            None => Self { origin: url.clone(), own: url },
        }
    }
}

/// Sets the annotations that say where an entity came from, and the defaults of those that its
/// owner left out. What users cannot set (`uid`, `etag`, the orphan mark) is taken away.
pub fn annotate(body: &mut Value, source: &Source, urls: &FileUrls) {
    let url = urls.own.clone();
    let is_component = body["kind"] == "Component";
    let Some(Value::Object(metadata)) = body.get_mut("metadata") else { return };
    metadata.remove("uid");
    metadata.remove("etag");
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if !annotations.is_object() {
        *annotations = json!({});
    }
    let Value::Object(annotations) = annotations else { return };
    annotations.remove(ORPHAN);
    force_location(annotations, urls);
    let mut default = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            annotations.entry(key).or_insert(Value::String(value));
        }
    };
    default(EDIT_URL, edit_url(&url));
    default(SOURCE_LOCATION, source_location(&url));
    default(PROJECT_SLUG, is_component.then(|| source.full_name.clone()));
    default(VIEW_URL, Some(url));
    for key in [VIEW_URL, EDIT_URL] {
        if annotations.get(key).and_then(Value::as_str).is_some_and(runs_script) {
            annotations.insert(key.to_owned(), REJECTED_URL.into());
        }
    }
}

/// Makes an entity that was read from elsewhere (before a rename) belong to this file.
pub fn relocate(body: &mut Value, urls: &FileUrls) {
    if let Some(Value::Object(annotations)) = body.pointer_mut("/metadata/annotations") {
        force_location(annotations, urls);
    }
}

/// The Location entity that stands for a catalog file.
pub fn generated_location(source: &Source, urls: &FileUrls) -> Entity {
    let target = &urls.own;
    let name = generated_location_name("url", target);
    let mut body = json!({
        "apiVersion": "backstage.io/v1alpha1",
        "kind": "Location",
        "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
        "spec": {"type": "url", "target": target},
    });
    annotate(&mut body, source, urls);
    Entity {
        entity_ref: EntityRef::new("Location", None, &name).to_string(),
        body: Arc::new(body),
        relations: Vec::new(),
        stale: None,
        generated: true,
        included_by: None,
        document: 0,
        line: 0,
    }
}

fn force_location(annotations: &mut Map<String, Value>, urls: &FileUrls) {
    let pairs = [(MANAGED_BY_LOCATION, &urls.own), (MANAGED_BY_ORIGIN_LOCATION, &urls.origin)];
    for (key, url) in pairs {
        annotations.insert(key.to_owned(), format!("url:{url}").into());
    }
}

/// The address of GitHub's editor; there is none for a commit, only for a branch.
fn edit_url(url: &str) -> Option<String> {
    let is_commit = |word: &str| {
        word.len() >= COMMIT_DIGITS_MIN
            && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut words = url.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    (!words.any(is_commit)).then(|| with_view(url, "edit"))
}

/// The directory of the file, where relative paths in the entity start.
fn source_location(url: &str) -> Option<String> {
    let tree = with_view(url, "tree");
    let directory = tree.rsplit_once('/').map(|(directory, _)| directory)?;
    Some(format!("url:{directory}/"))
}

/// `https://host/owner/name/<view>/…`
fn with_view(url: &str, view: &str) -> String {
    let mut parts: Vec<&str> = url.splitn(7, '/').collect();
    if let Some(part) = parts.get_mut(5) {
        *part = view;
    }
    parts.join("/")
}

/// Percent-encodes what would end or change the path of a URL.
pub fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether a browser would take the URL for a script; it skips control characters and blanks
/// before the scheme, and line breaks and tabs within it.
fn runs_script(url: &str) -> bool {
    let scheme: String = url
        .trim_start_matches(|c: char| c <= ' ')
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n' | '\t'))
        .take("javascript:".len())
        .collect();
    scheme.eq_ignore_ascii_case("javascript:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(branch: &str, path: &str) -> Source {
        Source {
            host: "ghe.example.com".into(),
            full_name: "shop/Cart".into(),
            branch: branch.into(),
            path: path.into(),
        }
    }

    #[track_caller]
    fn check(branch: &str, path: &str, file: &str, edit: Option<&str>, directory: &str) {
        let source = source(branch, path);
        let mut body = json!({"kind": "API", "metadata": {"name": "x"}});
        annotate(&mut body, &source, &FileUrls::of(&source, None));
        let base = "https://ghe.example.com/shop/Cart";
        let mut expected = json!({
            MANAGED_BY_LOCATION: format!("url:{base}/blob/{file}"),
            MANAGED_BY_ORIGIN_LOCATION: format!("url:{base}/blob/{file}"),
            VIEW_URL: format!("{base}/blob/{file}"),
            SOURCE_LOCATION: format!("url:{base}/tree/{directory}"),
        });
        if let Some(edit) = edit {
            expected[EDIT_URL] = format!("{base}/edit/{edit}").into();
        }
        assert_eq!(body["metadata"]["annotations"], expected);
    }

    #[test]
    fn the_urls_of_a_file() {
        let plain = "main/catalog-info.yaml";
        check("main", "catalog-info.yaml", plain, Some(plain), "main/");
        let deep = "release/1.x/a/tree/c.yml";
        check("release/1.x", "a/tree/c.yml", deep, Some(deep), "release/1.x/a/tree/");
        let odd = "main/my%20dir/%C3%BC%23%3F%25.yaml";
        check("main", "my dir/ü#?%.yaml", odd, Some(odd), "main/my%20dir/");
    }

    #[test]
    fn a_commit_cannot_be_edited() {
        let commit = "9f".repeat(20);
        check(&commit, "c.yaml", &format!("{commit}/c.yaml"), None, &format!("{commit}/"));
    }

    #[test]
    fn owners_may_set_the_urls_but_not_the_locations() {
        let mut body = json!({"kind": "Component", "metadata": {"uid": "u", "etag": "e",
        "annotations": {
            VIEW_URL: "https://mine", MANAGED_BY_LOCATION: "url:https://other",
            EDIT_URL: " java\nSCRIPT:alert(1)", ORPHAN: "true", "own/key": "kept",
        }}});
        let source = source("main", "c.yaml");
        annotate(&mut body, &source, &FileUrls::of(&source, None));
        let annotations = &body["metadata"]["annotations"];
        assert_eq!(annotations[VIEW_URL], "https://mine");
        assert_eq!(annotations[EDIT_URL], REJECTED_URL);
        assert_eq!(annotations["own/key"], "kept");
        assert_eq!(annotations[PROJECT_SLUG], "shop/Cart");
        let own = "url:https://ghe.example.com/shop/Cart/blob/main/c.yaml";
        assert_eq!(annotations[MANAGED_BY_LOCATION], own);
        assert_eq!(annotations.get(ORPHAN), None);
        assert_eq!((body["metadata"].get("uid"), body["metadata"].get("etag")), (None, None));
    }

    #[test]
    fn a_file_has_a_location_of_its_own() {
        let source = source("main", "c.yaml");
        let location = generated_location(&source, &FileUrls::of(&source, None));
        assert!(location.entity_ref.starts_with("location:default/generated-"));
        assert_eq!(
            location.body["spec"]["target"],
            "https://ghe.example.com/shop/Cart/blob/main/c.yaml"
        );
    }
}
