//! What a reader may ask of the view, in the words of Backstage's catalog API.
//!
//! What all questions share: `fields`, full text, the two forms of ordering, and why a question is
//! refused. Filters are the business of [`super::filter`], cursors of [`super::cursor`].

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::search::TEXT_UNITS_MAX;

/// Why a query is refused; the words are those that Backstage's clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A statement of a filter has no key.
    #[error(
        "Invalid filter, '{0}' is not a valid statement (expected a string on the form a=b or a= \
         or a)"
    )]
    Statement(String),
    /// A field names an item of a list.
    #[error("Invalid field \"{0}\", array type fields are not supported")]
    Field(String),
    /// An `order` has no direction or no field.
    #[error("Invalid order parameter \"{0}\", expected \"<asc or desc>:<field name>\"")]
    Order(String),
    /// An `orderField` has a wrong direction.
    #[error("Invalid order field order, must be asc or desc")]
    OrderField,
    /// A `query` is no predicate.
    #[error("Invalid query: Validation error: {0}")]
    Predicate(String),
    /// A predicate asks for what cannot be told.
    #[error("{0}")]
    Unanswered(String),
    /// A cursor of no text.
    #[error("Cursor cannot be empty")]
    EmptyCursor,
    /// A cursor of locations that is no text of ours.
    #[error("Malformed cursor, unknown encoding")]
    CursorEncoding,
    /// A cursor that we did not make.
    #[error("Malformed cursor: {0}")]
    Cursor(String),
}

/// `fields=`: the parts of each entity that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    paths: Vec<String>,
}

impl Fields {
    /// Reads all `fields` parameters; `None` when they ask for whole entities.
    pub fn parse(params: &[String]) -> Result<Option<Self>, QueryError> {
        let texts = params.iter().flat_map(|param| param.split(','));
        let paths = texts.map(str::trim).filter(|path| !path.is_empty());
        Self::whole(paths.map(str::to_owned).collect())
    }

    /// The same where each text is one path, commas and all.
    pub fn whole(paths: Vec<String>) -> Result<Option<Self>, QueryError> {
        match paths.iter().find(|path| path.contains('[')) {
            Some(path) => Err(QueryError::Field(path.clone())),
            None => Ok((!paths.is_empty()).then_some(Self { paths })),
        }
    }

    /// The entity with these parts only.
    pub fn project(&self, entity: &Value) -> Value {
        let mut projected = Value::Object(Map::new());
        for path in &self.paths {
            if let Some((steps, leaf)) = locate(entity, path) {
                insert(&mut projected, &steps, leaf.clone());
            }
        }
        projected
    }
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Follows a dotted path. Keys may contain dots themselves: a part that is no key is joined with
/// the next one, the shortest key that exists is taken.
fn locate<'e, 'p>(entity: &'e Value, path: &'p str) -> Option<(Vec<Step<'p>>, &'e Value)> {
    let mut at = entity;
    let mut steps = Vec::new();
    let mut start = 0;
    let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
    for end in ends {
        let part = &path[start..end];
        let found = match at {
            Value::Object(members) => members.get(part).map(|next| (Step::Key(part), next)),
            Value::Array(items) => part
                .parse()
                .ok()
                .and_then(|index| items.get(index).map(|next| (Step::Index(index), next))),
            _ => None,
        };
        if let Some((step, next)) = found {
            steps.push(step);
            at = next;
            start = end + 1;
        }
    }
    (start == path.len() + 1).then_some((steps, at))
}

fn insert(into: &mut Value, steps: &[Step<'_>], leaf: Value) {
    let Some((step, rest)) = steps.split_first() else {
        *into = leaf;
        return;
    };
    let slot = match step {
        Step::Key(key) => {
            if !into.is_object() {
                *into = Value::Object(Map::new());
            }
            &mut into[*key]
        }
        Step::Index(index) => {
            if !into.is_array() {
                *into = Value::Array(Vec::new());
            }
            if let Value::Array(items) = into
                && items.len() <= *index
            {
                items.resize(index + 1, Value::Null);
            }
            &mut into[*index]
        }
    };
    insert(slot, rest, leaf);
}

/// A field to order by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderField {
    /// The key in lower case.
    pub key: String,
    /// Which way.
    pub direction: Direction,
}

/// Which way to order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl OrderField {
    /// Reads an `order` of `/entities`: `asc:metadata.name`.
    pub fn parse_order(text: &str) -> Result<Self, QueryError> {
        let wrong = || QueryError::Order(text.to_owned());
        let (direction, field) = text.split_once(':').ok_or_else(wrong)?;
        let direction = Direction::parse(direction).ok_or_else(wrong)?;
        if field.is_empty() {
            return Err(wrong());
        }
        Ok(Self { key: field.to_lowercase(), direction })
    }

    /// Reads an `orderField` of `/entities/by-query`: `metadata.name,asc`, ascending by default.
    pub fn parse_order_field(text: &str) -> Result<Self, QueryError> {
        let mut parts = text.split(',');
        let (field, direction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("asc"));
        let direction = Direction::parse(direction).ok_or(QueryError::OrderField)?;
        Ok(Self { key: field.to_lowercase(), direction })
    }
}

impl Direction {
    /// `asc` or `desc`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "asc" => Some(Self::Ascending),
            "desc" => Some(Self::Descending),
            _ => None,
        }
    }
}

/// The order of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// By uid.
    Uid,
    /// By ref.
    Ref,
    /// By the values of a field, then by uid; once for each value, and without the entities that
    /// have none.
    Values(OrderField),
    /// By several fields, then by uid; entities without a value come last.
    Fields(Vec<OrderField>),
}

/// `fullTextFilterTerm`: a text to look for in some fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullText {
    /// In lower case, without spaces around it; not empty.
    pub term: String,
    /// The keys to look under, in lower case; `None` means the order field, or else the uid.
    pub fields: Option<Vec<String>>,
}

impl FullText {
    /// `None` when the term asks for nothing.
    pub fn new(term: &str, fields: Option<Vec<String>>) -> Option<Self> {
        let term = term.trim().to_lowercase();
        let fields = fields.map(|fields| {
            let mut lower: Vec<String> = Vec::new();
            let mut known = HashSet::new();
            let each = fields.iter().map(|field| field.to_lowercase());
            lower.extend(each.filter(|field| known.insert(field.clone())));
            lower
        });
        (!term.is_empty()).then_some(Self { term, fields })
    }

    /// What finds the term in values.
    pub fn matcher(&self) -> Matcher<'_> {
        let literal = self.term.chars().filter(|c| *c != '%').map(char::len_utf16).sum::<usize>();
        // In lower case a value may be three times as long.
        if literal > 3 * TEXT_UNITS_MAX {
            return Matcher::Nothing;
        }
        if !self.term.contains(['%', '_']) {
            return Matcher::Text(&self.term);
        }
        let mut pattern = vec!['%'];
        pattern.extend(self.term.chars());
        pattern.push('%');
        // Several in a row are one.
        pattern.dedup_by(|one, before| *one == '%' && *before == '%');
        Matcher::Pattern(pattern)
    }
}

/// A full text, made ready to be looked for in many values.
#[derive(Debug)]
pub enum Matcher<'a> {
    /// It is longer than any value.
    Nothing,
    /// A text.
    Text(&'a str),
    /// As in SQL, `%` stands for any text and `_` for any character: Backstage does not escape
    /// them.
    Pattern(Vec<char>),
}

impl Matcher<'_> {
    /// Whether a value contains the term.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Text(text) => value.contains(text),
            Self::Pattern(pattern) => like(value, pattern),
        }
    }
}

/// SQL's LIKE, in a time of value × pattern at most.
fn like(value: &str, pattern: &[char]) -> bool {
    let value: Vec<char> = value.chars().collect();
    let (mut at, mut part) = (0, 0);
    // Where to go on when the text after the last `%` does not match here.
    let mut again: Option<(usize, usize)> = None;
    while at < value.len() {
        match pattern.get(part) {
            Some('%') => {
                again = Some((at, part + 1));
                part += 1;
            }
            Some(wanted) if *wanted == '_' || *wanted == value[at] => {
                at += 1;
                part += 1;
            }
            _ => {
                let Some((from, rest)) = again else { return false };
                again = Some((from + 1, rest));
                (at, part) = (from + 1, rest);
            }
        }
    }
    pattern[part..].iter().all(|rest| *rest == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_text_is_found_anywhere_and_knows_the_wildcards_of_sql() {
        let check = |term: &str, value: &str, expected: bool| {
            let text = FullText::new(term, None).unwrap();
            assert_eq!(text.matcher().matches(value), expected, "{term} in {value}");
        };
        check(" Pay ", "the payments", true);
        check("pay", "play", false);
        check("p%y", "the plan for july", true);
        check("p_y", "the play", false);
        check("p_ay", "the play", true);
        check("%", "", true);
        check("_", "", false);
        check("a%b%c", "xxaxxbxxbxx", false);
        assert_eq!(FullText::new("  ", None), None);
    }

    #[test]
    fn a_full_text_asks_for_each_field_once_and_is_not_longer_than_values_are() {
        let fields = ["Kind", "kind", "metadata.name", "KIND"].map(str::to_owned).to_vec();
        let text = FullText::new("%%%%a%%", Some(fields)).unwrap();
        assert_eq!(
            text.fields.as_deref(),
            Some(&["kind".to_owned(), "metadata.name".to_owned()][..])
        );
        assert!(matches!(text.matcher(), Matcher::Pattern(pattern) if pattern == ['%', 'a', '%']));
        let long = FullText::new(&"a_".repeat(301), None).unwrap();
        assert!(matches!(long.matcher(), Matcher::Nothing));
        let any = FullText::new(&"%".repeat(10_000), None).unwrap();
        assert!(any.matcher().matches("x"));
    }
}
