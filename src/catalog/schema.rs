//! The schemas that Backstage's catalog holds queries, cursors and locations against, and what it
//! objects to: the same verdicts, with the same findings in the same order.
//!
//! Backstage passes the objections of its schema library (zod 3) on to the client, and clients
//! compare them. A value that fits several forms badly is told what every form would object to. How
//! findings are worded is the business of `finding`.

use serde_json::{Map, Value};

use super::finding::{Finding, Step, What, in_json, in_words};

/// Most steps of one check: a body of the largest size takes a third of it, unless it is made to be
/// costly, because all forms of a value are tried at each level. Some 20 ms.
const STEPS_MAX: usize = 1_000_000;

/// Most findings that are kept at a time; one below long keys counts for more, see
/// [`PATH_BYTES`]. Backstage keeps all, and answers with megabytes of them.
const FINDINGS_MAX: usize = 1_000;

/// Bytes of a path that count like a finding more.
const PATH_BYTES: usize = 100;

/// What a value has to be.
#[derive(Debug)]
pub enum Schema {
    /// A text.
    Text,
    /// The name of a field: no operator, and one line.
    Name,
    /// The name of an operator.
    Operator,
    /// A number.
    Number,
    /// A whole number, at least one.
    Count,
    /// True or false.
    Flag,
    /// Nothing, written down.
    Null,
    /// Nothing fits.
    Never,
    /// This text.
    Word(&'static str),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of such items.
    List(&'static Self),
    /// An object of any number of members.
    Map(&'static Self, &'static Self),
    /// An object of these members.
    Object(&'static [Member]),
    /// An object of these members and no other.
    ClosedObject(&'static [Member]),
    /// One of these forms.
    OneOf(&'static [&'static Self]),
}

/// A member of an object.
#[derive(Debug)]
pub struct Member {
    name: &'static str,
    schema: &'static Schema,
    is_required: bool,
}

const fn required(name: &'static str, schema: &'static Schema) -> Member {
    Member { name, schema, is_required: true }
}

const fn optional(name: &'static str, schema: &'static Schema) -> Member {
    Member { name, schema, is_required: false }
}

/// A `query`.
pub static PREDICATE: Schema = Schema::OneOf(&[&EXPRESSION, &PRIMITIVE, &ALL, &ANY, &NOT]);
static EXPRESSION: Schema = Schema::OneOf(&[&FIELDS, &OPERATORS]);
static FIELDS: Schema = Schema::Map(&Schema::Name, &CONDITION);
static OPERATORS: Schema = Schema::Map(&Schema::Operator, &Schema::Never);
static ALL: Schema = Schema::ClosedObject(&[required("$all", &PREDICATES)]);
static ANY: Schema = Schema::ClosedObject(&[required("$any", &PREDICATES)]);
static NOT: Schema = Schema::ClosedObject(&[required("$not", &PREDICATE)]);
static PREDICATES: Schema = Schema::List(&PREDICATE);
static PRIMITIVE: Schema = Schema::OneOf(&[&Schema::Text, &Schema::Number, &Schema::Flag]);
static CONDITION: Schema = Schema::OneOf(&[
    &PRIMITIVE,
    &Schema::Object(&[required("$exists", &Schema::Flag)]),
    &Schema::Object(&[required("$in", &Schema::List(&PRIMITIVE))]),
    &Schema::Object(&[required("$contains", &PREDICATE)]),
    &Schema::Object(&[required("$hasPrefix", &Schema::Text)]),
]);

/// A cursor of entities. Backstage demands a direction of each order, and makes cursors without.
pub static CURSOR: Schema = Schema::Object(&[
    required("orderFields", &Schema::List(&ORDER_FIELD)),
    optional("fullTextFilter", &FULL_TEXT),
    required("orderFieldValues", &PLACE),
    optional("filter", &ENTITY_FILTER),
    required("isPrevious", &Schema::Flag),
    optional("query", &PREDICATE),
    optional("firstSortFieldValues", &PLACE),
    optional("totalItems", &Schema::Number),
]);
static ORDER_FIELD: Schema = Schema::Object(&[
    required("field", &Schema::Text),
    optional("order", &Schema::Choice(&["asc", "desc"])),
]);
static FULL_TEXT: Schema = Schema::Object(&[
    required("term", &Schema::Text),
    optional("fields", &Schema::List(&Schema::Text)),
]);
static PLACE: Schema = Schema::List(&Schema::OneOf(&[&Schema::Text, &Schema::Null]));
static ENTITY_FILTER: Schema =
    Schema::OneOf(&[&KEY_OR_NOT_OR_ANY, &Schema::Object(&[required("allOf", &ENTITY_FILTERS)])]);
static KEY_OR_NOT_OR_ANY: Schema =
    Schema::OneOf(&[&KEY_OR_NOT, &Schema::Object(&[required("anyOf", &ENTITY_FILTERS)])]);
static KEY_OR_NOT: Schema = Schema::OneOf(&[
    &Schema::Object(&[
        required("key", &Schema::Text),
        optional("values", &Schema::List(&Schema::Text)),
    ]),
    &Schema::Object(&[required("not", &ENTITY_FILTER)]),
]);
static ENTITY_FILTERS: Schema = Schema::List(&ENTITY_FILTER);

/// A cursor of locations.
pub static LOCATIONS_CURSOR: Schema = Schema::Object(&[
    required("limit", &Schema::Count),
    optional("afterId", &Schema::Text),
    optional("query", &PREDICATE),
]);

/// A location that somebody wants to register.
pub static LOCATION: Schema = Schema::ClosedObject(&[
    required("type", &Schema::Text),
    required("target", &Schema::Text),
    optional("presence", &PRESENCE),
]);
static PRESENCE: Schema = Schema::OneOf(&[&Schema::Word("required"), &Schema::Word("optional")]);

/// A location that somebody wants to have analyzed.
pub static ANALYSIS: Schema =
    Schema::Object(&[required("location", &LOCATION), optional("catalogFilename", &Schema::Text)]);

impl Schema {
    /// What is wrong with `value`, in a sentence for people; it is found under the key `at` of
    /// something larger. `None` when nothing is.
    pub fn objections(&'static self, value: &Value, at: Option<&str>) -> Option<String> {
        let findings = self.findings(value, at);
        (!findings.is_empty()).then(|| in_words(&findings))
    }

    /// The same as the JSON text of a list.
    pub fn objections_as_json(&'static self, value: &Value) -> Option<String> {
        let findings = self.findings(value, None);
        (!findings.is_empty()).then(|| in_json(&findings))
    }

    fn findings(&'static self, value: &Value, at: Option<&str>) -> Vec<Finding> {
        let path = at.into_iter().map(|key| Step::Key(key.to_owned())).collect();
        let mut check = Check { path, steps: 0, kept: 0, is_immense: false };
        let mut findings = Vec::new();
        match check.check(self, Some(value), &mut findings) {
            Fit::Good => Vec::new(),
            _ if check.is_immense => vec![Finding { path: Vec::new(), what: What::Immense }],
            _ => findings,
        }
    }
}

/// How well a value fits: one that is well formed but for a key is told of that key alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Good,
    Nearly,
    Bad,
}

struct Check {
    path: Vec<Step>,
    steps: usize,
    /// Findings that are kept at the moment.
    kept: usize,
    /// Whether there was more than is looked at or kept.
    is_immense: bool,
}

impl Check {
    fn find(&mut self, what: What, findings: &mut Vec<Finding>) {
        let bytes = |step: &Step| match step {
            Step::Key(key) => key.len(),
            Step::Index(_) => 0,
        };
        self.kept += 1 + self.path.iter().map(bytes).sum::<usize>() / PATH_BYTES;
        if self.kept <= FINDINGS_MAX {
            findings.push(Finding { path: self.path.clone(), what });
        } else {
            self.is_immense = true;
        }
    }

    fn check(
        &mut self,
        schema: &'static Schema,
        value: Option<&Value>,
        findings: &mut Vec<Finding>,
    ) -> Fit {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.is_immense = true;
            return Fit::Bad;
        }
        match (schema, value) {
            (Schema::Text, Some(Value::String(_)))
            | (Schema::Number, Some(Value::Number(_)))
            | (Schema::Flag, Some(Value::Bool(_)))
            | (Schema::Null, Some(Value::Null)) => Fit::Good,
            (Schema::OneOf(forms), _) => self.check_forms(forms, value, findings),
            (Schema::List(item), Some(Value::Array(items))) => {
                let fits = items.iter().enumerate().map(|(index, value)| {
                    self.check_at(Step::Index(index), item, Some(value), findings)
                });
                fits.max().unwrap_or(Fit::Good)
            }
            (Schema::Map(key, item), Some(Value::Object(members))) => {
                self.check_map((key, item), members, findings)
            }
            (Schema::Object(known) | Schema::ClosedObject(known), Some(Value::Object(members))) => {
                let is_closed = matches!(schema, Schema::ClosedObject(_));
                self.check_members(known, members, is_closed, findings)
            }
            (Schema::Name, Some(Value::String(text))) => self.check_key(is_name(text), findings),
            (Schema::Operator, Some(Value::String(text))) => {
                self.check_key(text.starts_with('$'), findings)
            }
            (Schema::Count, Some(Value::Number(number))) => {
                let what = match number.as_f64() {
                    Some(number) if number.fract() != 0.0 => What::Fraction,
                    Some(number) if number < 1.0 => What::TooSmall,
                    _ => return Fit::Good,
                };
                self.find(what, findings);
                Fit::Nearly
            }
            (Schema::Word(word), Some(Value::String(text))) if text == word => Fit::Good,
            (Schema::Word(expected), _) => {
                self.find(What::Word { received: value.cloned(), expected }, findings);
                Fit::Bad
            }
            (Schema::Choice(options), Some(Value::String(text))) => {
                if options.contains(&text.as_str()) {
                    return Fit::Good;
                }
                self.find(What::Choice { received: text.clone(), options }, findings);
                Fit::Bad
            }
            _ => {
                self.find(
                    What::Type { expected: expected(schema), received: received(value) },
                    findings,
                );
                Fit::Bad
            }
        }
    }

    fn check_at(
        &mut self,
        step: Step,
        schema: &'static Schema,
        value: Option<&Value>,
        findings: &mut Vec<Finding>,
    ) -> Fit {
        self.path.push(step);
        let fit = self.check(schema, value, findings);
        self.path.pop();
        fit
    }

    fn check_key(&mut self, is_good: bool, findings: &mut Vec<Finding>) -> Fit {
        if is_good {
            return Fit::Good;
        }
        self.find(What::Key, findings);
        Fit::Nearly
    }

    /// The first form that fits decides; else the first that nearly does; else all object.
    fn check_forms(
        &mut self,
        forms: &'static [&'static Schema],
        value: Option<&Value>,
        findings: &mut Vec<Finding>,
    ) -> Fit {
        let mut objections = Vec::new();
        let mut near = None;
        let kept = self.kept;
        for form in forms {
            let mut own = Vec::new();
            match self.check(form, value, &mut own) {
                Fit::Good => {
                    self.kept = kept;
                    return Fit::Good;
                }
                Fit::Nearly if near.is_none() => near = Some(own),
                Fit::Nearly | Fit::Bad => objections.push(own),
            }
        }
        if let Some(near) = near {
            findings.extend(near);
            return Fit::Nearly;
        }
        self.find(What::Forms(objections), findings);
        Fit::Bad
    }

    fn check_map(
        &mut self,
        (key, item): (&'static Schema, &'static Schema),
        members: &Map<String, Value>,
        findings: &mut Vec<Finding>,
    ) -> Fit {
        let mut worst = Fit::Good;
        for (name, value) in members {
            let name_value = Value::String(name.clone());
            let step = Step::Key(name.clone());
            let key = self.check_at(step.clone(), key, Some(&name_value), findings);
            worst = worst.max(key).max(self.check_at(step, item, Some(value), findings));
        }
        worst
    }

    fn check_members(
        &mut self,
        known: &'static [Member],
        members: &Map<String, Value>,
        is_closed: bool,
        findings: &mut Vec<Finding>,
    ) -> Fit {
        let mut worst = Fit::Good;
        for Member { name, schema, is_required } in known {
            let value = members.get(*name);
            if value.is_some() || *is_required {
                let step = Step::Key((*name).to_owned());
                worst = worst.max(self.check_at(step, schema, value, findings));
            }
        }
        let is_other = |key: &&String| !known.iter().any(|member| member.name == key.as_str());
        let others: Vec<String> = members.keys().filter(is_other).cloned().collect();
        if is_closed && !others.is_empty() {
            self.find(What::Keys(others), findings);
            worst = worst.max(Fit::Nearly);
        }
        worst
    }
}

/// Whether a key may name a field: `$` starts operators.
fn is_name(key: &str) -> bool {
    let mut letters = key.chars();
    letters.next().is_none_or(|first| !['$', '\n', '\r'].contains(&first))
        && letters.all(|letter| !['\n', '\r', '\u{2028}', '\u{2029}'].contains(&letter))
}

/// The name of the type that a schema asks for.
fn expected(schema: &Schema) -> String {
    let name = match schema {
        Schema::Text | Schema::Name | Schema::Operator | Schema::Word(_) => "string",
        Schema::Number | Schema::Count => "number",
        Schema::Flag => "boolean",
        Schema::Null => "null",
        Schema::Never | Schema::OneOf(_) => "never",
        Schema::List(_) => "array",
        Schema::Map(..) | Schema::Object(_) | Schema::ClosedObject(_) => "object",
        Schema::Choice(options) => {
            let quoted: Vec<String> = options.iter().map(|option| format!("'{option}'")).collect();
            return quoted.join(" | ");
        }
    };
    name.to_owned()
}

/// The name of the type of a value; of none, too.
fn received(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_is_not_objected_to_however_large() {
        let numbers: Vec<u32> = (0..40_000).collect();
        for query in [
            json!({}),
            json!({"kind": "api", "metadata.tags": {"$contains": "x"}, "n": 1, "b": true}),
            json!({"$any": [{"$not": {"a": {"$exists": false}}}, {"$all": []}, "x"]}),
            json!({"kind": {"$in": numbers}}),
            json!({ "$all": numbers }),
        ] {
            assert_eq!(PREDICATE.objections(&query, None), None);
        }
    }

    #[test]
    fn what_is_told_of_a_query_that_is_made_to_be_large_is_not() {
        let mut nested = json!(null);
        for _ in 0..40 {
            nested = json!({ "$not": { "$contains": nested.clone() }, "$contains": 1 });
        }
        for query in [
            json!({ "$all": vec![Value::Null; 20_000] }),
            json!({ "a".repeat(90_000): vec![Value::Null; 1_000] }),
            json!({ "a".repeat(50_000): { "$in": vec![Value::Null; 1_000] } }),
            nested,
        ] {
            let said = PREDICATE.objections(&query, None).unwrap();
            assert!(said.len() < 1_000_000, "{} bytes", said.len());
        }
    }
}
