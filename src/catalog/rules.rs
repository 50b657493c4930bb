//! `catalog.rules`: which kinds files may declare, and where.
//!
//! A rule allows kinds, everywhere or in the files that some locations led to in the end. What no
//! rule allows is not allowed.

use super::glob::{Case, Dots, Glob, TooMany};
use super::kinds;

/// The only type of location that catalog files have here.
const TYPE: &str = "url";

/// The rules; an entity is allowed when any of them allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedKinds {
    rules: Vec<KindRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindRule {
    /// `(kind, spec.type)`, any type where `None`.
    pub kinds: Vec<(String, Option<String>)>,
    /// Where it holds; everywhere when `None`, nowhere when empty.
    pub locations: Option<Vec<LocationRule>>,
}

/// Locations that a rule holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationRule {
    /// `url`; others match nothing here.
    pub kind: String,
    /// Which of them.
    pub target: TargetRule,
}

/// Which targets of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetRule {
    /// All.
    Any,
    /// This one.
    Exact(String),
    /// Those that fit.
    Pattern(Glob),
}

impl TargetRule {
    /// Those that fit a pattern; case does not count, and a dot in front is nothing special.
    ///
    /// # Errors
    /// When its braces make too many patterns.
    pub fn pattern(text: &str) -> Result<Self, TooMany> {
        Glob::with(text, Dots::Any, Case::Ignored).map(Self::Pattern)
    }
}

/// Without `catalog.rules`: the kinds that say what there is. User, Group and Template say who
/// may do what, so they have to be allowed by name.
impl Default for AllowedKinds {
    fn default() -> Self {
        let kinds = ["component", "api", "resource", "system", "domain", "location"];
        Self::everywhere(kinds.map(|kind| (kind.to_owned(), None)).into())
    }
}

impl AllowedKinds {
    /// These rules; case does not count.
    pub fn new(mut rules: Vec<KindRule>) -> Self {
        for (kind, spec_type) in rules.iter_mut().flat_map(|rule| &mut rule.kinds) {
            *kind = kind.to_lowercase();
            *spec_type = spec_type.as_deref().map(str::to_lowercase);
        }
        Self { rules }
    }

    /// Kinds that are allowed wherever they stand.
    pub fn everywhere(kinds: Vec<(String, Option<String>)>) -> Self {
        Self::new(vec![KindRule { kinds, locations: None }])
    }

    /// Whether an entity of this kind and `spec.type` may be declared in a file, or in what the
    /// Locations of the file lead to; `origin` is the URL of the file.
    pub fn allows(&self, kind: &str, spec_type: Option<&str>, origin: &str) -> bool {
        let (kind, spec_type) = (kind.to_lowercase(), spec_type.map(str::to_lowercase));
        let names = |(allowed, of_type): &(String, Option<String>)| {
            *allowed == kind && (of_type.is_none() || *of_type == spec_type)
        };
        self.rules.iter().any(|rule| rule.holds_at(origin) && rule.kinds.iter().any(names))
    }

    /// The line that would allow the kind too, for the configuration.
    pub fn line_to_add(&self, kind: &str) -> String {
        let known = |kind: &str| {
            kinds::find_ignoring_case(kind).map_or_else(|| kind.to_owned(), |k| k.kind.clone())
        };
        // Rules of one's own replace the default, so what it allows has to be said again.
        let mut allow: Vec<String> = Vec::new();
        if *self == Self::default() {
            let kinds = self.rules.iter().flat_map(|rule| &rule.kinds);
            allow.extend(kinds.map(|(kind, _)| known(kind)));
        }
        allow.push(known(kind));
        format!("- allow: [{}]", allow.join(", "))
    }

    /// A text that differs when the rules do.
    pub fn fingerprint(&self) -> String {
        let kind = |(kind, spec_type): &(String, Option<String>)| {
            format!("{kind}/{}", spec_type.as_deref().unwrap_or("*"))
        };
        let location = |LocationRule { kind, target }: &LocationRule| match target {
            TargetRule::Any => format!("{kind:?}"),
            TargetRule::Exact(target) => format!("{kind:?}={target:?}"),
            TargetRule::Pattern(glob) => format!("{kind:?}~{:?}", glob.as_str()),
        };
        let rule = |rule: &KindRule| {
            let kinds = rule.kinds.iter().map(kind).collect::<Vec<_>>().join(",");
            match &rule.locations {
                Some(all) => {
                    format!("{kinds}@{}", all.iter().map(location).collect::<Vec<_>>().join(","))
                }
                None => kinds,
            }
        };
        self.rules.iter().map(rule).collect::<Vec<_>>().join(";")
    }
}

impl KindRule {
    fn holds_at(&self, origin: &str) -> bool {
        let Some(locations) = &self.locations else { return true };
        locations.iter().filter(|location| location.kind == TYPE).any(|location| {
            match &location.target {
                TargetRule::Any => true,
                TargetRule::Exact(target) => target == origin,
                TargetRule::Pattern(glob) => glob.matches(origin),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://github.com/org/r/blob/main/template.yaml";

    fn only(kind: &str, locations: Vec<LocationRule>) -> AllowedKinds {
        let kinds = vec![(kind.to_owned(), None)];
        AllowedKinds::new(vec![KindRule { kinds, locations: Some(locations) }])
    }

    fn url(target: TargetRule) -> LocationRule {
        LocationRule { kind: "url".into(), target }
    }

    #[test]
    fn kinds_are_allowed_by_name_and_type_in_any_case() {
        let kinds = vec![("User".into(), None), ("group".into(), Some("Team".into()))];
        let rules = AllowedKinds::everywhere(kinds);
        assert!(rules.allows("user", None, ORIGIN));
        assert!(rules.allows("GROUP", Some("team"), ORIGIN));
        assert!(!rules.allows("Group", Some("org"), ORIGIN));
        assert!(!rules.allows("Group", None, ORIGIN));
        assert!(!rules.allows("Component", None, ORIGIN));
        let default = AllowedKinds::default();
        for kind in ["Component", "API", "Resource", "System", "Domain", "Location"] {
            assert!(default.allows(kind, Some("any"), ORIGIN), "{kind}");
        }
        for kind in ["Group", "User", "Template"] {
            assert!(!default.allows(kind, None, ORIGIN), "{kind}");
        }
    }

    #[test]
    fn a_rule_may_hold_for_some_locations_only() {
        let pattern = TargetRule::pattern("https://github.com/org/**/template.yaml").unwrap();
        let by_pattern = only("Template", vec![url(pattern)]);
        assert!(by_pattern.allows("Template", None, ORIGIN));
        assert!(by_pattern.allows("template", None, &ORIGIN.replace("org/r", "ORG/.x")));
        assert!(by_pattern.allows("Template", None, &ORIGIN.replace("main", "a/b/c")));
        assert!(!by_pattern.allows("Template", None, &ORIGIN.replace("org/", "other/")));
        assert!(!by_pattern.allows("User", None, ORIGIN));
        let exactly = only("User", vec![url(TargetRule::Exact(ORIGIN.into()))]);
        assert!(exactly.allows("User", None, ORIGIN));
        assert!(!exactly.allows("User", None, &ORIGIN.replace("org", "Org")), "case counts");
        assert!(only("User", vec![url(TargetRule::Any)]).allows("User", None, "anywhere"));
        assert!(!only("User", vec![]).allows("User", None, ORIGIN), "no location is nowhere");
        let file = LocationRule { kind: "file".into(), target: TargetRule::Any };
        assert!(!only("User", vec![file]).allows("User", None, ORIGIN));
    }

    #[test]
    fn different_rules_have_different_fingerprints() {
        let pattern = |text: &str| url(TargetRule::pattern(text).unwrap());
        let exact = |text: &str| url(TargetRule::Exact(text.into()));
        let all = [
            AllowedKinds::default(),
            AllowedKinds::everywhere(vec![("user".into(), None)]),
            AllowedKinds::everywhere(vec![("user".into(), Some("x".into()))]),
            only("user", vec![]),
            only("user", vec![url(TargetRule::Any)]),
            only("user", vec![exact("a")]),
            only("user", vec![exact("a,b")]),
            only("user", vec![exact("a"), exact("b")]),
            only("user", vec![pattern("a")]),
        ];
        let texts: std::collections::HashSet<String> =
            all.iter().map(AllowedKinds::fingerprint).collect();
        assert_eq!(texts.len(), all.len(), "{texts:?}");
    }
}
