//! Where the target of a Location, or the value of a placeholder, points to.
//!
//! Targets are relative to the file they stand in, or the address of a file on a GitHub host. They
//! are read as Backstage reads them, by the rules of URLs: `\` is `/`, `%20` is a blank, what
//! follows `?` or `#` is dropped. A path from `/` starts at the repository's root. Unlike in
//! Backstage none leads out of the repository by `..`. Nothing is read here, so whether the place
//! exists is for others to say.

use url::Url;

use super::glob::{self, Glob};
use super::{BranchAt, Source};

/// Longest target: GitHub refuses longer addresses, and a path has at most 4,096 bytes.
pub const TARGET_BYTES_MAX: usize = 4096;

/// The words in an address that stand before the branch of a file.
const VIEWS: [&str; 5] = ["blob", "tree", "edit", "raw", "blame"];

/// What a target points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One file.
    File(Source),
    /// All files of a branch that fit a pattern.
    Glob(BranchAt, Glob),
}

/// Why a target points nowhere. None of the texts shows a target that holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// Up from the root.
    #[error("`{0}` leads out of the repository")]
    LeavesRepository(String),
    /// A directory, or nothing at all.
    #[error("`{0}` names no file")]
    NoFile(String),
    /// An address of something else.
    #[error(
        "`{0}` is not the address of a file in a repository, such as \
         https://github.com/OWNER/NAME/blob/BRANCH/PATH"
    )]
    NotAFile(String),
    /// A user or a password in the address.
    #[error("the address holds a user name or a password; take it out and renew it")]
    Credentials,
    /// Longer than [`TARGET_BYTES_MAX`].
    #[error("a target has at most {TARGET_BYTES_MAX} bytes")]
    TooLong,
    /// Too many braces.
    #[error("`{0}`: {1}")]
    Pattern(String, glob::TooMany),
}

/// The place of a target in a file at `base`. In the repository and branch of `known` (which holds
/// the names as they really are) sources are written as there.
pub fn place(written: &str, base: &Source, known: &[&Source]) -> Result<Place, NoPlace> {
    let address = Address::read(written, base, known)?;
    if !glob::is_glob(&address.raw) {
        return address.file(written).map(Place::File);
    }
    let start: Vec<String> = address.start.iter().map(|name| glob::escaped(name)).collect();
    let wanted = decode(&address.raw, glob::escape);
    let pattern = normal(start, &wanted, written)?;
    let Address { host, full_name, branch, .. } = address;
    let glob = Glob::new(&pattern).map_err(|error| NoPlace::Pattern(written.into(), error))?;
    Ok(Place::Glob(BranchAt { host, full_name, branch }, glob))
}

/// The file that a placeholder in a file at `base` names; no pattern.
pub fn file(written: &str, base: &Source, known: &[&Source]) -> Result<Source, NoPlace> {
    Address::read(written, base, known)?.file(written)
}

/// The file at an address, whose branch is taken to end at the first slash; `None` when it is none
/// of a file in a repository.
pub fn address(text: &str) -> Option<Source> {
    Url::parse(text).ok()?;
    let nothing = String::new;
    let base = Source { host: nothing(), full_name: nothing(), branch: nothing(), path: nothing() };
    file(text, &base, &[]).ok()
}

/// Whether two sources lie in one repository; case does not count, as on GitHub.
pub fn is_same_repository(one: &Source, other: &Source) -> bool {
    one.host.eq_ignore_ascii_case(&other.host)
        && one.full_name.eq_ignore_ascii_case(&other.full_name)
}

/// A target taken apart.
struct Address {
    host: String,
    full_name: String,
    branch: String,
    /// The directories that `raw` starts from.
    start: Vec<String>,
    /// The path as it was written, percent-encoded.
    raw: String,
}

impl Address {
    fn read(written: &str, base: &Source, known: &[&Source]) -> Result<Self, NoPlace> {
        if written.len() > TARGET_BYTES_MAX {
            return Err(NoPlace::TooLong);
        }
        // URLs lose the blanks around them, and tabs and line breaks within.
        let blank = |c: char| c <= ' ';
        let mut text = written.trim_matches(blank).replace(['\t', '\r', '\n'], "");
        match Url::parse(&text) {
            Ok(url) => return Self::absolute(&url, &text, base, known),
            Err(url::ParseError::RelativeUrlWithoutBase) => {}
            Err(_) => return Err(NoPlace::NotAFile(written.to_owned())),
        }
        // From the root, all of it is a path.
        if !text.starts_with('/') {
            text.truncate(text.find(['?', '#']).unwrap_or(text.len()));
        }
        let text = text.replace('\\', "/");
        let mut start: Vec<String> = base.path.split('/').map(str::to_owned).collect();
        start.pop();
        if text.starts_with('/') {
            start.clear();
        }
        let Source { host, full_name, branch, .. } = base.clone();
        Ok(Self { host, full_name, branch, start, raw: text })
    }

    fn absolute(url: &Url, text: &str, base: &Source, known: &[&Source]) -> Result<Self, NoPlace> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NoPlace::Credentials);
        }
        let not_a_file = || NoPlace::NotAFile(text.to_owned());
        let name = url.host_str().filter(|_| ["http", "https"].contains(&url.scheme()));
        let name = name.ok_or_else(not_a_file)?;
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let mut parts = url.path().trim_start_matches('/').splitn(4, '/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or_else(not_a_file);
        let (owner, name, view, rest) = (part()?, part()?, part()?, part()?);
        if !VIEWS.contains(&view) || !is_name(owner) || !is_name(name) {
            return Err(not_a_file());
        }
        let full_name = format!("{owner}/{name}");
        let as_written = Source { host, full_name, branch: String::new(), path: String::new() };
        // A branch may have slashes in its name; which does, only its own repository tells.
        let after = |branch: &str| {
            let mut ends = rest.match_indices('/').map(|(end, _)| end);
            ends.find(|end| decode(&rest[..*end], put) == branch).map(|end| &rest[end + 1..])
        };
        for near in [&[base], known].concat() {
            let raw = after(&near.branch).filter(|_| is_same_repository(near, &as_written));
            if let Some(raw) = raw.map(str::to_owned) {
                let Source { host, full_name, branch, .. } = near.clone();
                return Ok(Self { host, full_name, branch, start: Vec::new(), raw });
            }
        }
        let (branch, raw) = rest.split_once('/').ok_or_else(not_a_file)?;
        let branch = decode(branch, put);
        if !is_branch(&branch) {
            return Err(not_a_file());
        }
        let mut near = known.iter().copied().chain([base]);
        let named = near.find(|near| is_same_repository(near, &as_written));
        let Source { host, full_name, .. } = named.cloned().unwrap_or(as_written);
        Ok(Self { host, full_name, branch, start: Vec::new(), raw: raw.to_owned() })
    }

    fn file(self, written: &str) -> Result<Source, NoPlace> {
        let path = normal(self.start, &decode(&self.raw, put), written)?;
        let Self { host, full_name, branch, .. } = self;
        Ok(Source { host, full_name, branch, path })
    }
}

/// A path below `start` without `.` and `..`.
fn normal(start: Vec<String>, path: &str, written: &str) -> Result<String, NoPlace> {
    let mut names = start;
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                let left = names.pop();
                left.ok_or_else(|| NoPlace::LeavesRepository(written.to_owned()))?;
            }
            name => names.push(name.to_owned()),
        }
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_directory = ["", ".", ".."].contains(&last);
    if is_directory || path.contains(char::is_control) {
        return Err(NoPlace::NoFile(written.to_owned()));
    }
    Ok(names.join("/"))
}

/// The text with `%20` and the like resolved, each of those characters by `put`; what is no
/// encoding stays.
fn decode(text: &str, put: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut bytes = Vec::new();
        while let Some(byte) = encoded_byte(&rest[bytes.len() * 3..]) {
            bytes.push(byte);
        }
        match std::str::from_utf8(&bytes) {
            Ok(decoded) if !bytes.is_empty() => {
                decoded.chars().for_each(|c| put(c, &mut out));
                rest = &rest[bytes.len() * 3..];
            }
            _ => {
                out.push('%');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn put(c: char, out: &mut String) {
    out.push(c);
}

/// The byte that `%XX` at the start of a text stands for.
fn encoded_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix('%')?.get(..2)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// Whether GitHub may have an owner or a repository of this name.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.chars().all(fits) && ![".", ".."].contains(&text)
}

/// Whether git allows such a branch, as far as another name could be mistaken for a revision.
fn is_branch(text: &str) -> bool {
    let odd = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    !text.is_empty() && !text.contains(odd) && !text.contains("..") && !text.contains("@{")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(full_name: &str, branch: &str, path: &str) -> Source {
        Source {
            host: "github.com".into(),
            full_name: full_name.into(),
            branch: branch.into(),
            path: path.into(),
        }
    }

    /// `expected`: `path` in the same branch, `owner/name branch path`, or how an error starts.
    #[track_caller]
    fn check(written: &str, expected: &str) {
        let base = source("acme/Cart", "release/1.x", "dir/catalog-info.yaml");
        let found = match file(written, &base, &[]) {
            Ok(found) if source("acme/Cart", "release/1.x", &found.path) == found => found.path,
            Ok(Source { full_name, branch, path, .. }) => format!("{full_name} {branch} {path}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{written}");
    }

    #[test]
    fn relative_targets_start_at_the_file_or_at_the_root() {
        check("./a.yaml", "dir/a.yaml");
        check("a.yaml", "dir/a.yaml");
        check("../a.yaml", "a.yaml");
        check("/a/b.yaml", "a/b.yaml");
        check("//evil.com/x", "evil.com/x");
        check("sub/./../b//c.yaml", "dir/b/c.yaml");
        check(" \n a.yaml ", "dir/a.yaml");
        check(r"sub\b.yaml", "dir/sub/b.yaml");
        check(r".\..\b.yaml", "b.yaml");
        let colon = file("a:b.yaml", &source("a/b", "main", "c.yaml"), &[]);
        assert_eq!(colon, Err(NoPlace::NotAFile("a:b.yaml".into())));
    }

    #[test]
    fn encoded_characters_are_resolved_once_and_queries_dropped() {
        check("a b.yaml", "dir/a b.yaml");
        check("a%20b.yaml", "dir/a b.yaml");
        check("%C3%BC.yaml", "dir/ü.yaml");
        check("a%2520b.yaml", "dir/a%20b.yaml");
        check("100%.yaml", "dir/100%.yaml");
        check("%zz%e9.yaml", "dir/%zz%e9.yaml");
        check("%C3%ZZ", "dir/%C3%ZZ");
        check("a%23b%3Fc.yaml", "dir/a#b?c.yaml");
        check("a.yaml?x=/y#L7", "dir/a.yaml");
        check("a.yaml#/../../..", "dir/a.yaml");
        check("/a?b#c.yaml", "a?b#c.yaml");
        check("x%2Fy.yaml", "dir/x/y.yaml");
    }

    #[test]
    fn nothing_leads_out_of_the_repository() {
        for way in ["../../x", "/../x", "..%2f..%2fx", "%2e%2e/../x", r"..\..\x", "a/../../../x"] {
            check(way, &format!("`{way}` leads out of the repository"));
        }
        let url = "https://github.com/acme/cart/blob/main/%2e%2e/x";
        let shown = file(url, &source("a/b", "main", "c.yaml"), &[]);
        // A URL resolves the dots itself, wherever they stand.
        assert_eq!(shown, Err(NoPlace::NotAFile(url.into())));
        let url = "https://github.com/acme/cart/blob/main/..%2fx";
        let shown = file(url, &source("a/b", "main", "c.yaml"), &[]);
        assert_eq!(shown, Err(NoPlace::LeavesRepository(url.into())));
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for target in
            ["", "  ", ".", "./", "..", "../", "/", "a/", "a/.", "a/..", "?x", "#x", "%0a"]
        {
            check(target, &format!("`{target}` names no file"));
        }
        assert_eq!(
            file(&"a".repeat(TARGET_BYTES_MAX + 1), &source("a/b", "main", "c.yaml"), &[]),
            Err(NoPlace::TooLong)
        );
    }

    #[test]
    fn addresses_name_repository_branch_and_path() {
        let base = "https://github.com/ACME/cart";
        for view in VIEWS {
            check(&format!("{base}/{view}/release/1.x/a/b.yaml"), "a/b.yaml");
        }
        check(&format!("{base}/blob/release%2F1.x/a%20b.yaml?plain=1#L3"), "a b.yaml");
        check(&format!("{base}/blob/main/a.yaml"), "acme/Cart main a.yaml");
        check(&format!("{base}/blob/release/2.x/a.yaml"), "acme/Cart release 2.x/a.yaml");
        check("HTTPS://GitHub.COM/O/R.x/tree/main/a.yaml", "O/R.x main a.yaml");
        check("https://ghe.example:8443/o/r/blob/main/a.yaml", "o/r main a.yaml");
        let ghe = "https://ghe.example:8443/o/r/blob/main/a.yaml";
        let found = file(ghe, &source("o/r", "main", "x"), &[]).unwrap();
        assert_eq!(found.host, "ghe.example:8443");
    }

    #[test]
    fn a_file_elsewhere_leads_back_to_the_root_by_its_own_names() {
        let (base, root) =
            (source("o/lib", "main", "x.yaml"), source("acme/Cart", "a/b", "c.yaml"));
        let url = "https://github.com/Acme/CART/blob/a/b/d.yaml";
        assert_eq!(file(url, &base, &[&root]).unwrap(), source("acme/Cart", "a/b", "d.yaml"));
        assert_eq!(file("d.yaml", &base, &[&root]).unwrap(), source("o/lib", "main", "d.yaml"));
    }

    #[test]
    fn other_addresses_are_no_files() {
        for url in [
            "https://github.com/acme/cart",
            "https://github.com/acme/cart/blob/main",
            "https://github.com/acme/cart/issues/1/x",
            "https://github.com/a%2fb/cart/blob/main/x",
            "https://raw.githubusercontent.com/acme/cart/main/x.yaml",
            "https://github.com/acme/cart/blob/a..b/x.yaml",
            "https://github.com/acme/cart/blob/HEAD%5E/x.yaml",
            "file:///etc/passwd",
            "git@github.com:acme/cart.git",
            "c:\\x.yaml",
            "https://",
        ] {
            let found = file(url, &source("a/b", "main", "c.yaml"), &[]);
            let is_refused = matches!(found, Err(NoPlace::NotAFile(_)));
            assert!(is_refused || url.starts_with("git@"), "{url}: {found:?}");
        }
        let url = "https://jo:s3cret@github.com/acme/cart/blob/main/x.yaml";
        let error = file(url, &source("a/b", "main", "c.yaml"), &[]).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn a_pattern_takes_the_directories_above_it_literally() {
        let base = source("acme/cart", "main", "app/[id]/catalog-info.yaml");
        let glob = |written: &str| match place(written, &base, &[]).unwrap() {
            Place::Glob(at, glob) => {
                assert_eq!((at.full_name.as_str(), at.branch.as_str()), ("acme/cart", "main"));
                glob
            }
            Place::File(source) => panic!("{written} is the file {}", source.path),
        };
        assert!(glob("./*.yaml").matches("app/[id]/x.yaml"));
        assert!(!glob("./*.yaml").matches("app/i/x.yaml"));
        assert!(glob("../*/x.yaml").matches("app/i/x.yaml"));
        assert!(glob("/my%20dir%2A/*.yaml").matches("my dir*/x.yaml"));
        assert!(!glob("/my%20dir%2A/*.yaml").matches("my dirs/x.yaml"));
        assert!(glob("{a,b}.yaml").matches("app/[id]/b.yaml"));
        let url = "https://github.com/acme/cart/tree/main/**/catalog-info.yaml";
        assert!(glob(url).matches("a/b/catalog-info.yaml"));
        assert_eq!(
            place("a%2Ab.yaml", &base, &[]).unwrap(),
            Place::File(source("acme/cart", "main", "app/[id]/a*b.yaml"))
        );
        assert!(matches!(place("../../../*", &base, &[]), Err(NoPlace::LeavesRepository(_))));
    }
}
