//! Is this query one that GitHub would run? Fields, arguments, variables, and the node limits.

use std::collections::{HashMap, HashSet};

use graphql_parser::query::{Field, Selection, Type as Declared, TypeCondition};
use graphql_parser::query::{Value as Literal, VariableDefinition};
use serde_json::{Value, json};

use super::schema::{Argument, Input, Type};
use super::{Request, response_key};

/// GitHub's largest page.
const FIRST_MAX: i64 = 100;

/// GitHub's most ids in `nodes`.
const NODE_IDS_MAX: usize = 100;

/// GitHub's most nodes that a query may reach.
const NODES_MAX: u64 = 500_000;

/// What a query costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bill {
    pub(super) points: u64,
    pub(super) nodes: u64,
}

/// Checks everything that can be known before execution.
pub(super) fn check(request: &Request<'_>) -> Result<Bill, Vec<Value>> {
    let mut checker = Checker {
        request,
        operation: request.query.name.unwrap_or("query"),
        used: HashSet::new(),
        spread: HashSet::new(),
        path: vec![format!("query {}", request.query.name.unwrap_or("")).trim().to_owned()],
        requests: 0,
        nodes: 0,
        errors: Vec::new(),
        limits: Vec::new(),
    };
    checker.variables_given();
    checker.selections(Type::Query, &request.query.selection_set.items, 1);
    checker.all_used();
    if !checker.errors.is_empty() {
        return Err(checker.errors);
    }
    if checker.nodes > NODES_MAX {
        let message = format!(
            "This query requests up to {} possible nodes which exceeds the maximum limit of {}.",
            grouped(checker.nodes),
            grouped(NODES_MAX)
        );
        checker.limits.push(json!({"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message}));
    }
    if !checker.limits.is_empty() {
        return Err(checker.limits);
    }
    let points = (checker.requests + 50) / 100;
    Ok(Bill { points: points.max(1), nodes: checker.nodes })
}

struct Checker<'r, 'q> {
    request: &'r Request<'q>,
    operation: &'q str,
    used: HashSet<&'q str>,
    spread: HashSet<&'q str>,
    path: Vec<String>,
    /// Calls of connections, as GitHub counts points.
    requests: u64,
    nodes: u64,
    errors: Vec<Value>,
    limits: Vec<Value>,
}

impl<'r, 'q> Checker<'r, 'q> {
    fn refuse(&mut self, code: &str, message: String) {
        let extensions = json!({ "code": code });
        self.errors.push(json!({
            "path": self.path, "extensions": extensions, "message": message,
        }));
    }

    fn limit(&mut self, kind: &str, message: String) {
        self.limits.push(json!({"type": kind, "path": self.path, "message": message}));
    }

    fn variables_given(&mut self) {
        for declared in &self.request.query.variable_definitions {
            let name = declared.name;
            let given = self.request.variables.get(name).unwrap_or(&Value::Null);
            let missing = given.is_null();
            let wrong = match missing {
                true => is_required(declared) && declared.default_value.is_none(),
                false => !shaped(&declared.var_type, given),
            };
            if wrong {
                let of = declared.var_type.to_string();
                let message = format!("Variable ${name} of type {of} was provided invalid value");
                self.errors.push(json!({
                    "extensions": {"value": given, "problems": [{"path": []}]},
                    "message": message,
                }));
            }
        }
    }

    fn all_used(&mut self) {
        let request = self.request;
        let operation = self.operation;
        for declared in &request.query.variable_definitions {
            if !self.used.contains(declared.name) {
                let name = declared.name;
                let message = format!("Variable ${name} is declared by {operation} but not used");
                self.refuse("variableNotUsed", message);
            }
        }
        for name in request.fragments.keys() {
            if !self.spread.contains(name) {
                let message = format!("Fragment {name} was defined, but not used");
                self.refuse("useAndDefineFragment", message);
            }
        }
    }

    fn selections(&mut self, on: Type, items: &'r [Selection<'q, &'q str>], times: u64) {
        let mut seen: HashMap<&str, &Field<'q, &'q str>> = HashMap::new();
        for item in items {
            match item {
                Selection::Field(field) => {
                    let key = response_key(field);
                    if let Some(other) = seen.insert(key, field) {
                        self.same(key, other, field);
                    }
                    self.path.push(key.to_owned());
                    self.field(on, field, times);
                    self.path.pop();
                }
                Selection::InlineFragment(inline) => {
                    let to = match &inline.type_condition {
                        Some(TypeCondition::On(name)) => self.narrowed(on, name),
                        None => Some(on),
                    };
                    if let Some(to) = to {
                        self.selections(to, &inline.selection_set.items, times);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name;
                    self.spread.insert(name);
                    let request = self.request;
                    let Some(fragment) = request.fragments.get(name) else {
                        let message = format!("Fragment {name} was used, but not defined");
                        self.refuse("useAndDefineFragment", message);
                        continue;
                    };
                    let TypeCondition::On(condition) = &fragment.type_condition;
                    if let Some(to) = self.narrowed(on, condition) {
                        self.selections(to, &fragment.selection_set.items, times);
                    }
                }
            }
        }
    }

    /// Two fields under one key must be the same field with the same arguments.
    fn same(&mut self, key: &str, one: &Field<'q, &'q str>, two: &Field<'q, &'q str>) {
        if one.name != two.name {
            let message =
                format!("Field '{key}' has a field conflict: {} or {}?", one.name, two.name);
            self.refuse("fieldConflict", message);
        } else if one.arguments != two.arguments {
            self.refuse("fieldConflict", format!("Field '{key}' has an argument conflict"));
        }
    }

    fn narrowed(&mut self, on: Type, name: &str) -> Option<Type> {
        let Some(to) = Type::by_name(name) else {
            let message = format!("No such type {name}, so it can't be a fragment condition");
            self.refuse("undefinedType", message);
            return None;
        };
        let possible = on.possible();
        if to.possible().iter().any(|ty| possible.contains(ty)) {
            return Some(to);
        }
        let message = format!("Fragment on {name} can't be spread inside {}", on.name());
        self.refuse("cannotSpreadFragment", message);
        None
    }

    fn field(&mut self, on: Type, field: &'r Field<'q, &'q str>, times: u64) {
        let name = field.name;
        let Some(known) = on.field(name) else {
            let message = format!("Field '{name}' doesn't exist on type '{}'", on.name());
            self.refuse("undefinedField", message);
            return;
        };
        if !field.directives.is_empty() {
            self.refuse("directive", "the fake knows no directives".to_owned());
        }
        self.arguments(field, known.arguments);
        let result = known.result.name();
        let empty = field.selection_set.items.is_empty();
        match known.result {
            Type::Scalar(_) if !empty => {
                let message = format!(
                    "Selections can't be made on scalars (field '{name}' returns {result})"
                );
                self.refuse("selectionMismatch", message);
                return;
            }
            Type::Scalar(_) => return,
            _ if empty => {
                let message = format!(
                    "Field must have selections (field '{name}' returns {result} but has no \
                     selections. Did you mean '{name} {{ ... }}'?)"
                );
                self.refuse("selectionMismatch", message);
                return;
            }
            _ => {}
        }
        let reached = self.reached(known.result, field, times);
        self.selections(known.result, &field.selection_set.items, reached);
    }

    /// Counts requests and nodes, and says how often the selection below is run.
    fn reached(&mut self, result: Type, field: &Field<'q, &'q str>, times: u64) -> u64 {
        if field.name == "nodes" && result == Type::Node {
            let ids = self.request.node_count();
            if ids > NODE_IDS_MAX {
                let message = format!(
                    "You may not provide more than {NODE_IDS_MAX} node ids; you provided {ids}."
                );
                self.limit("ARGUMENT_LIMIT", message);
            }
            self.nodes += ids as u64;
            return ids as u64;
        }
        if !result.is_connection() {
            return times;
        }
        let name = field.name;
        let size = ["first", "last"].map(|side| (side, self.request.argument(field, side)));
        let given = size.into_iter().find_map(|(side, value)| Some((side, value?.as_i64()?)));
        let Some((side, size)) = given else {
            let message = format!(
                "You must provide a `first` or `last` value to properly paginate the `{name}` \
                 connection."
            );
            self.limit("MISSING_PAGINATION_BOUNDARIES", message);
            return times;
        };
        if !(0..=FIRST_MAX).contains(&size) {
            let message = format!(
                "Requesting {size} records on the `{name}` connection exceeds the `{side}` limit \
                 of {FIRST_MAX} records."
            );
            self.limit("EXCESSIVE_PAGINATION", message);
        }
        let reached = times.saturating_mul(size.unsigned_abs());
        self.requests += times;
        self.nodes = self.nodes.saturating_add(reached);
        reached
    }

    fn arguments(&mut self, field: &Field<'q, &'q str>, known: &[Argument]) {
        let name = field.name;
        for (given, literal) in &field.arguments {
            match known.iter().find(|argument| argument.name == *given) {
                Some(argument) => self.argument(name, argument, literal),
                None => {
                    let message = format!("Field '{name}' doesn't accept argument '{given}'");
                    self.refuse("argumentNotAccepted", message);
                }
            }
        }
        for argument in known.iter().filter(|argument| argument.required) {
            if !field.arguments.iter().any(|(given, _)| *given == argument.name) {
                let message =
                    format!("Field '{name}' is missing required arguments: {}", argument.name);
                self.refuse("missingRequiredArguments", message);
            }
        }
    }

    fn argument(&mut self, field: &str, known: &Argument, literal: &Literal<'q, &'q str>) {
        let (argument, of) = (known.name, known.input.type_name());
        if let Literal::Variable(name) = literal {
            self.used.insert(name);
            let request = self.request;
            let mut all = request.query.variable_definitions.iter();
            let Some(declared) = all.find(|declared| declared.name == *name) else {
                let message =
                    format!("Variable ${name} is used by {} but not declared", self.operation);
                self.refuse("variableNotDefined", message);
                return;
            };
            let given = declared.var_type.to_string();
            let nullable = known.required && !given.ends_with('!');
            if given.trim_end_matches('!') != of || nullable {
                let kind = if nullable { "Nullability" } else { "Type" };
                let message = format!(
                    "{kind} mismatch on variable ${name} and argument {argument} ({given} / {of})"
                );
                self.refuse("variableMismatch", message);
            }
        } else if !fits(known.input, literal) {
            let message = format!(
                "Argument '{argument}' on Field '{field}' has an invalid value ({literal}). \
                 Expected type '{of}'."
            );
            self.refuse("argumentLiteralsIncompatible", message);
        }
    }
}

fn is_required<'q>(declared: &VariableDefinition<'q, &'q str>) -> bool {
    matches!(declared.var_type, Declared::NonNullType(_))
}

/// Whether a variable's value has the shape of its declared type.
fn shaped<'q>(declared: &Declared<'q, &'q str>, value: &Value) -> bool {
    match declared {
        Declared::NonNullType(inner) => !value.is_null() && shaped(inner, value),
        _ if value.is_null() => true,
        Declared::ListType(inner) => {
            value.as_array().is_some_and(|items| items.iter().all(|item| shaped(inner, item)))
        }
        Declared::NamedType("Int") => value.is_i64(),
        Declared::NamedType("Boolean") => value.is_boolean(),
        Declared::NamedType("String") => value.is_string(),
        Declared::NamedType("ID") => value.is_string() || value.is_i64(),
        Declared::NamedType(_) => true,
    }
}

/// Whether a literal may stand for an argument.
fn fits<'q>(input: Input, literal: &Literal<'q, &'q str>) -> bool {
    match (input, literal) {
        (_, Literal::Null)
        | (Input::Int, Literal::Int(_))
        | (Input::Boolean, Literal::Boolean(_))
        | (Input::Id | Input::String, Literal::String(_)) => true,
        (Input::Ids, Literal::List(items)) => {
            items.iter().all(|item| matches!(item, Literal::String(_)))
        }
        (Input::Affiliations, Literal::List(items)) => items.iter().all(|item| {
            matches!(item, Literal::Enum("OWNER" | "COLLABORATOR" | "ORGANIZATION_MEMBER"))
        }),
        (Input::Order, Literal::Object(fields)) => {
            let direction = fields.get("direction");
            let field = fields.get("field");
            fields.len() == 2
                && matches!(direction, Some(Literal::Enum("ASC" | "DESC")))
                && matches!(
                    field,
                    Some(Literal::Enum("CREATED_AT" | "PUSHED_AT" | "UPDATED_AT" | "NAME"))
                )
        }
        _ => false,
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
