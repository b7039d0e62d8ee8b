//! Validation of label selectors: they must be complete and able to match an object.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Validates a selector.
pub(super) fn check(selector: &LabelSelector) -> Result<(), String> {
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        complete(expression).map_err(|why| format!("matchExpressions[{index}]: {why}"))?;
    }
    names(selector)?;
    contradictions(selector)
}

fn complete(expression: &LabelSelectorRequirement) -> Result<(), String> {
    let LabelSelectorRequirement { key, operator, values } = expression;
    let operators = "use In, NotIn, Exists or DoesNotExist";
    let values = values.iter().flatten().count();
    if key.is_empty() {
        return Err("key is missing: name the label".to_owned());
    }
    match operator.as_str() {
        "In" | "NotIn" if values == 0 => Err(format!(
            "operator {operator} has no values: list those that the label {key} is compared with under values"
        )),
        "Exists" | "DoesNotExist" if values > 0 => Err(format!(
            "operator {operator} takes no values: remove them, or use In or NotIn"
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => Ok(()),
        "" => Err(format!("operator is missing: {operators}")),
        other => Err(format!("operator {other:?} does not exist: {operators}")),
    }
}

/// The requirements for a label must not contradict each other. Otherwise the selector never matches and never fails a
/// run.
fn contradictions(selector: &LabelSelector) -> Result<(), String> {
    let labels = selector.match_labels.iter().flatten();
    let expressions = || selector.match_expressions.iter().flatten();
    let keys: BTreeSet<&String> = labels
        .map(|(key, _)| key)
        .chain(expressions().map(|e| &e.key))
        .collect();
    for key in keys {
        let wanted = selector.match_labels.as_ref().and_then(|labels| labels.get(key));
        let mut allowed = wanted.map(|value| BTreeSet::from([value]));
        let (mut exists, mut absent, mut excluded) = (wanted.is_some(), false, BTreeSet::new());
        for expression in expressions().filter(|expression| expression.key == *key) {
            let values = expression.values.iter().flatten();
            match expression.operator.as_str() {
                "In" => {
                    let values: BTreeSet<_> = values.collect();
                    exists = true;
                    allowed = Some(match allowed {
                        None => values,
                        Some(allowed) => allowed.intersection(&values).copied().collect(),
                    });
                }
                "NotIn" => excluded.extend(values),
                "Exists" => exists = true,
                _ => absent = true,
            }
        }
        let none_left = allowed.is_some_and(|allowed| allowed.is_subset(&excluded));
        if none_left || exists && absent {
            return Err(format!(
                "what is asked of the label {key} contradicts itself, so nothing can match: remove one of the requirements"
            ));
        }
    }
    Ok(())
}

/// A label that no object can have never matches, so the selector would never fail a run.
fn names(selector: &LabelSelector) -> Result<(), String> {
    let labels = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    let keys = labels
        .clone()
        .map(|(key, _)| key)
        .chain(expressions.clone().map(|e| &e.key));
    let values = labels
        .map(|(_, value)| value)
        .chain(expressions.flat_map(|e| e.values.iter().flatten()));
    for key in keys {
        let (prefix, name) = key
            .rsplit_once('/')
            .map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if !is_name(name) || !prefix.is_none_or(is_domain) {
            return Err(format!(
                "{key:?} is not the name of a label: use letters, digits, '-', '_' and '.', 63 characters at most, behind a \
                 DNS name and a slash if there is a prefix"
            ));
        }
    }
    for value in values {
        if !value.is_empty() && !is_name(value) {
            return Err(format!(
                "{value:?} is not the value of a label: use letters, digits, '-', '_' and '.', 63 characters at most"
            ));
        }
    }
    Ok(())
}

/// The syntax of label names and values, as documented for `metadata.labels`.
fn is_name(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(outer)
        && text.ends_with(outer)
        && text.chars().all(|c| outer(c) || ['-', '_', '.'].contains(&c))
}

/// A DNS subdomain, such as the prefix of a label.
pub(crate) fn is_domain(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text
            .split('.')
            .all(|part| part.starts_with(outer) && part.ends_with(outer) && part.chars().all(|c| outer(c) || c == '-'))
}
