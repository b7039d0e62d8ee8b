//! Validation of types, and of bounds of strings and numbers.

use serde_json::{Number, Value};

use super::node::{Kind, Node};
use super::path::Path;
use super::wording;
use crate::failure::Cause;

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// The type of a non-null value, and its default format.
    fn of(value: &Value) -> (Self, &'static str) {
        match value {
            Value::Object(_) => (Self::Object, ""),
            Value::Array(_) => (Self::Array, ""),
            Value::Bool(_) | Value::Null => (Self::Boolean, ""),
            Value::Number(number) if number.is_i64() => (Self::Integer, "int64"),
            Value::Number(_) => (Self::Number, "float64"),
            Value::String(_) => (Self::String, ""),
        }
    }
}

/// The error for a value of the wrong type.
pub(super) fn wrong_type(node: &Node, value: &Value, path: &Path) -> Option<Cause> {
    let kinds = node.kinds();
    let wanted = || kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
    if value.is_null() {
        let refused = !kinds.is_empty() && !node.nullable;
        return refused.then(|| wording::type_invalid(path, &wanted(), "null"));
    }
    let (kind, format) = Kind::of(value);
    let fits = kinds.contains(&kind)
        || (kind == Kind::Integer && kinds.contains(&Kind::Number))
        || (kinds.contains(&Kind::Integer) && value.as_f64().is_some_and(is_whole));
    let textual = matches!(kind, Kind::String | Kind::Array);
    match node.format.as_ref() {
        Some(wanted) if !textual && !fits && wanted.name() != format => {
            Some(wording::type_invalid(path, wanted.name(), format))
        }
        // The validator checks a string against the format only; it does not check that a value with a format is a
        // string.
        Some(_) if textual && !kinds.contains(&Kind::Number) && !kinds.contains(&Kind::Integer) => None,
        _ => (!fits).then(|| wording::type_invalid(path, &wanted(), kind.name())),
    }
}

/// Whether the number is an integer that every JSON implementation represents exactly.
fn is_whole(value: f64) -> bool {
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    (-LARGEST..=LARGEST).contains(&value) && value.fract() == 0.0
}

/// Whether an `enum` allows the value. Null never matches, even if it is listed.
pub(super) fn is_choice(value: &Value, choice: &Value) -> bool {
    match (value, choice) {
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (one, other) => one == other,
    }
}

/// Errors of a string: its first violated bound, and its format.
pub(super) fn string(node: &Node, text: &str, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let length = text.chars().count() as u64;
    if let Some(most) = node.lengths.most.filter(|&most| length > most) {
        causes.push(wording::too_long(path, most));
    } else if let Some(least) = node.lengths.least.filter(|&least| length < least) {
        let why = format!("should be at least {least} chars long");
        causes.push(wording::schema_invalid(path, &wording::quoted(text), &why));
    } else if let Some(pattern) = node.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        let why = format!("should match '{pattern}'");
        causes.push(wording::schema_invalid(path, &wording::quoted(text), &why));
    }
    if let Some(format) = node.format.as_ref().filter(|format| !format.holds(text)) {
        causes.push(wording::type_invalid(path, format.name(), text));
    }
    causes
}

/// Errors of a number: its range, then `multipleOf`, `minimum` and `maximum`.
pub(super) fn number(node: &Node, number: &Number, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(wanted) = out_of_range(node, number) {
        let why = format!("Checked value must be of type {wanted} in {}", path.as_schema());
        causes.push(wording::schema_wide(&why));
    }
    let value = number.as_f64().unwrap_or_default();
    let mut refuse = |why: &str| causes.push(wording::schema_invalid(path, &wording::number(number), why));
    // The bounds of an integer are truncated to integers, as in kube-apiserver.
    let bound = |bound: f64| if number.is_i64() { bound.trunc() } else { bound };
    if let Some(factor) = node.multiple_of.map(bound)
        && !is_whole(value / factor)
    {
        refuse(&format!("should be a multiple of {}", wording::float(factor)));
    }
    if let Some(minimum) = &node.minimum {
        let least = bound(minimum.value);
        if minimum.exclusive && value <= least {
            refuse(&format!("should be greater than {}", wording::float(least)));
        } else if value < least {
            refuse(&format!("should be greater than or equal to {}", wording::float(least)));
        }
    }
    if let Some(maximum) = &node.maximum {
        let most = bound(maximum.value);
        if maximum.exclusive && value >= most {
            refuse(&format!("should be less than {}", wording::float(most)));
        } else if value > most {
            refuse(&format!("should be less than or equal to {}", wording::float(most)));
        }
    }
}

/// The type whose range the number exceeds.
fn out_of_range(node: &Node, number: &Number) -> Option<String> {
    let [kind] = node.kinds() else { return None };
    let format = node.format.as_ref().map_or("", |format| format.name());
    let whole = number.as_i64().or_else(|| whole_of(number.as_f64()?));
    let fits = match (kind, format) {
        (Kind::Integer, "int32") => whole.is_some_and(|whole| i32::try_from(whole).is_ok()),
        (Kind::Integer, _) => whole.is_some(),
        (Kind::Number, "float") => number.as_f64().is_some_and(|value| value.abs() <= f64::from(f32::MAX)),
        _ => true,
    };
    let format = if format.is_empty() {
        "(default format)".to_owned()
    } else {
        format!("with format {format}")
    };
    (!fits).then(|| format!("{} {format}", kind.name()))
}

#[allow(clippy::cast_possible_truncation, reason = "the value is an integer in range")]
fn whole_of(value: f64) -> Option<i64> {
    is_whole(value).then_some(value as i64)
}
