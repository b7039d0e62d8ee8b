//! Validation of types, bounds and required fields.

use serde_json::{Map, Value};

use super::node::{Additional, Node};
use super::path::Path;
use super::{scalar, wording};
use crate::failure::Cause;

/// Errors, and the number of valid parts. If several alternatives fail, the errors of the best one are reported.
#[derive(Default)]
struct Outcome {
    causes: Vec<Cause>,
    matches: usize,
}

impl Outcome {
    fn merge(&mut self, other: Outcome) {
        self.causes.extend(other.causes);
        self.matches += other.matches;
    }
}

/// Validates `value` against everything but CEL rules.
pub(super) fn check(root: &Node, value: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut outcome = Outcome::default();
    check_below(root, value, old, &Path::Root, &mut outcome);
    outcome.causes
}

/// Like [`check_node`], but ratcheting: errors in an unchanged part are ignored.
fn check_below(node: &Node, value: &Value, old: Option<&Value>, path: &Path, out: &mut Outcome) {
    if old != Some(value) {
        check_node(node, value, old, path, out);
    }
}

fn check_node(node: &Node, value: &Value, old: Option<&Value>, path: &Path, out: &mut Outcome) {
    let kinds = node.kinds();
    if !kinds.is_empty() || node.format.is_some() {
        match scalar::wrong_type(node, value, path) {
            Some(cause) => out.causes.push(cause),
            None => out.matches += 1,
        }
        out.matches += 1;
    }
    if !value.is_null() {
        check_branches(node, value, old, path, out);
    }
    match value {
        Value::String(text) => {
            out.causes.extend(scalar::string(node, text, path));
            out.matches += 1;
        }
        Value::Number(number) => {
            scalar::number(node, number, path, &mut out.causes);
            out.matches += 2;
        }
        Value::Array(items) => check_items(node, items, old, path, out),
        _ => {}
    }
    if !node.choices.is_empty() && !node.choices.iter().any(|choice| scalar::is_choice(value, choice)) {
        out.causes.push(wording::not_supported(path, value, &node.choices));
    }
    if let Value::Object(fields) = value {
        check_fields(node, fields, old, path, out);
    }
    out.matches += 2;
}

/// Validates `anyOf`, `oneOf`, `allOf` and `not`.
fn check_branches(node: &Node, value: &Value, old: Option<&Value>, path: &Path, out: &mut Outcome) {
    let against = |branch: &Node| {
        let mut outcome = Outcome::default();
        check_node(branch, value, old, path, &mut outcome);
        outcome
    };
    let place = || path.as_schema();
    if !node.any_of.is_empty() {
        let (valid, best) = best_of(node.any_of.iter().map(against));
        if valid == 0 {
            let why = format!("{:?} must validate at least one schema (anyOf)", place());
            out.causes.push(wording::schema_wide(&why));
        }
        out.merge(best);
    }
    if !node.one_of.is_empty() {
        let (valid, best) = best_of(node.one_of.iter().map(against));
        let found = match valid {
            0 => Some("Found none valid".to_owned()),
            1 => None,
            many => Some(format!("Found {many} valid alternatives")),
        };
        if let Some(found) = found {
            let why = format!("{:?} must validate one and only one schema (oneOf). {found}", place());
            out.causes.push(wording::schema_wide(&why));
        }
        out.merge(best);
    }
    if !node.all_of.is_empty() {
        let outcomes: Vec<_> = node.all_of.iter().map(against).collect();
        let valid = outcomes.iter().filter(|outcome| outcome.causes.is_empty()).count();
        for outcome in outcomes {
            out.merge(outcome);
        }
        if valid < node.all_of.len() {
            let nothing = if valid == 0 { ". None validated" } else { "" };
            let why = format!("{:?} must validate all the schemas (allOf){nothing}", place());
            out.causes.push(wording::schema_wide(&why));
        }
    }
    if node.not.as_deref().is_some_and(|not| against(not).causes.is_empty()) {
        let why = format!("{:?} must not validate the schema (not)", place());
        out.causes.push(wording::schema_wide(&why));
    }
}

/// The number of valid alternatives, and the outcome of the first valid one, or otherwise of the one with the most
/// matches.
fn best_of(outcomes: impl Iterator<Item = Outcome>) -> (usize, Outcome) {
    let mut valid = 0;
    let mut best: Option<Outcome> = None;
    for outcome in outcomes {
        if outcome.causes.is_empty() {
            valid += 1;
            if valid == 1 {
                best = Some(outcome);
            }
        } else if valid == 0 && best.as_ref().is_none_or(|best| outcome.matches > best.matches) {
            best = Some(outcome);
        }
    }
    (valid, best.unwrap_or_default())
}

fn check_items(node: &Node, items: &[Value], old: Option<&Value>, path: &Path, out: &mut Outcome) {
    if let Some(inner) = &node.items {
        for (index, item) in items.iter().enumerate() {
            check_below(inner, item, node.correlated(item, old), &Path::Index(path, index), out);
        }
    }
    if let Some(least) = node.items_count.least.filter(|&least| (items.len() as u64) < least) {
        let why = format!("should have at least {least} items");
        out.causes
            .push(wording::schema_invalid(path, &items.len().to_string(), &why));
    }
    if let Some(most) = node.items_count.most.filter(|&most| items.len() as u64 > most) {
        out.causes.push(wording::too_many(path, items.len(), most));
    }
    let mut others = items.iter().enumerate();
    if node.unique_items && others.any(|(index, item)| items.iter().take(index).any(|other| other == item)) {
        out.causes
            .push(wording::schema_invalid(path, "\"\"", "shouldn't contain duplicates"));
    }
    out.matches += 1;
}

fn check_fields(node: &Node, fields: &Map<String, Value>, old: Option<&Value>, path: &Path, out: &mut Outcome) {
    check_count(node, fields, path, out);
    let was = |key: &str| old.and_then(|old| old.get(key));
    for (key, value) in fields {
        if node.properties.contains_key(key) {
            continue;
        }
        match &node.additional {
            Additional::Each(each) => check_below(each, value, was(key), &Path::Key(path, key), out),
            Additional::Nothing => {
                let place = path.as_schema();
                let why = format!("Invalid value: {key:?}: {place}.{key} in body is a forbidden property");
                out.causes.push(wording::cause("FieldValueInvalid", why, place));
            }
            Additional::Unspecified | Additional::Any => {}
        }
    }
    for (key, inner) in &node.properties {
        if let Some(value) = fields.get(key) {
            check_below(inner, value, was(key), &Path::Field(path, key), out);
        }
    }
    for key in node.required.iter().filter(|key| !fields.contains_key(*key)) {
        let place = Path::Field(path, key).as_schema();
        out.causes
            .push(wording::cause("FieldValueRequired", "Required value".to_owned(), place));
    }
}

fn check_count(node: &Node, fields: &Map<String, Value>, path: &Path, out: &mut Outcome) {
    if let Some(least) = node.fields_count.least.filter(|&least| (fields.len() as u64) < least) {
        let why = format!("should have at least {least} properties");
        out.causes
            .push(wording::schema_invalid(path, &fields.len().to_string(), &why));
    }
    if let Some(most) = node.fields_count.most.filter(|&most| fields.len() as u64 > most) {
        out.causes.push(wording::too_many(path, fields.len(), most));
    }
}
