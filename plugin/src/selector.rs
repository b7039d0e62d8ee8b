//! Label selectors as kubectl writes them: `a=b,c in (d,e),!f`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kanary_core::api::LabelMatch;

/// Parses a selector. One with nothing but `a=b` becomes a plain map, which reads better.
pub(crate) fn parse(text: &str) -> Result<LabelMatch, String> {
    let requirements = split(text)
        .into_iter()
        .map(requirement)
        .collect::<Result<Vec<_>, _>>()?;
    let equal = |requirement: &Requirement| match requirement {
        Requirement::Equals(name, value) => Some((name.clone(), value.clone())),
        Requirement::Other(_) => None,
    };
    if let Some(labels) = requirements.iter().map(equal).collect::<Option<_>>() {
        return Ok(LabelMatch::Labels(labels));
    }
    let labels: std::collections::BTreeMap<_, _> = requirements.iter().filter_map(equal).collect();
    let others = requirements.into_iter().filter_map(|requirement| match requirement {
        Requirement::Other(other) => Some(other),
        Requirement::Equals(..) => None,
    });
    Ok(LabelMatch::Selector(LabelSelector {
        match_labels: Some(labels).filter(|labels| !labels.is_empty()),
        match_expressions: Some(others.collect()),
    }))
}

enum Requirement {
    Equals(String, String),
    Other(LabelSelectorRequirement),
}

/// Splits at commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let other = |key: &str, operator: &str, values: Option<Vec<String>>| {
        let key = named(key, text)?;
        Ok(Requirement::Other(LabelSelectorRequirement {
            key,
            operator: operator.to_owned(),
            values,
        }))
    };
    if let Some((key, value)) = text.split_once("!=") {
        return other(key, "NotIn", Some(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::Equals(named(key, text)?, value.trim().to_owned()));
    }
    if let Some((head, values)) = text.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(|| wrong(text))?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = head
            .trim()
            .rsplit_once(char::is_whitespace)
            .ok_or_else(|| wrong(text))?;
        return match operator {
            "in" => other(key, "In", Some(values)),
            "notin" => other(key, "NotIn", Some(values)),
            _ => Err(wrong(text)),
        };
    }
    match text.strip_prefix('!') {
        Some(key) => other(key, "DoesNotExist", None),
        None => other(text, "Exists", None),
    }
}

fn named(key: &str, text: &str) -> Result<String, String> {
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(wrong(text));
    }
    Ok(key.to_owned())
}

fn wrong(text: &str) -> String {
    format!("{text:?} is no label: write it like monitoring-alert=high-cpu, or alert in (cpu,memory)")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_is_read_as_kubectl_reads_it() {
        for (text, expected) in [
            ("a=b,c==d", json!({"a": "b", "c": "d"})),
            (
                "a=b, c in (d, e),!f,g",
                json!({"matchLabels": {"a": "b"}, "matchExpressions": [
                    {"key": "c", "operator": "In", "values": ["d", "e"]},
                    {"key": "f", "operator": "DoesNotExist"},
                    {"key": "g", "operator": "Exists"},
                ]}),
            ),
            (
                "a notin (b)",
                json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}),
            ),
            (
                "a!=b",
                json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}),
            ),
        ] {
            assert_eq!(serde_json::to_value(parse(text).unwrap()).unwrap(), expected, "{text}");
        }
        for bad in ["", "a=b,", "=b", "a in (b", "a of (b)", "a b"] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains("monitoring-alert=high-cpu"), "{bad}: {error}");
        }
    }
}
