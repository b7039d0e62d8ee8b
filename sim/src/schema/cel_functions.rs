//! CEL functions that differ between Kubernetes and the CEL library.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use chrono::TimeDelta;
use kube_cel::KubeCelExt;
use kube_cel::cel::extractors::This;
use kube_cel::cel::{Context, ExecutionError, Value};
use regex::Regex;

/// A context with all functions and without variables.
pub(super) static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| {
    let mut context = Context::default().with_all();
    context.add_function("duration", duration);
    context.add_function("matches", matches);
    context
});

/// Parses a duration. The whole string must match: `2sx` is invalid.
#[allow(clippy::needless_pass_by_value, reason = "the library requires this signature")]
fn duration(text: Arc<String>) -> Result<Value, ExecutionError> {
    let why = "type conversion error from 'string' to 'google.protobuf.Duration'";
    let nanoseconds = duration_nanoseconds(&text).ok_or_else(|| ExecutionError::function_error("duration", why))?;
    Ok(Value::Duration(TimeDelta::nanoseconds(nanoseconds)))
}

/// `matches` with a cache of compiled patterns.
fn matches(This(text): This<Arc<String>>, pattern: Arc<String>) -> Result<bool, ExecutionError> {
    static COMPILED: Mutex<BTreeMap<Arc<String>, Regex>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = compiled.get(&pattern) {
        return Ok(regex.is_match(&text));
    }
    let regex = Regex::new(&pattern).map_err(|error| ExecutionError::function_error("matches", error))?;
    let matched = regex.is_match(&text);
    compiled.insert(pattern, regex);
    Ok(matched)
}

/// Parses a duration in Go's format: `1h30m`, `-1.5s`, `.5h`, `0`.
pub(super) fn duration_nanoseconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|it: char| !it.is_ascii_digit() && it != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|it: char| it.is_ascii_digit() || it == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        total += part(number, unit)?;
        rest = next;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// Nanoseconds of one number and unit, such as `1.5` and `h`.
fn part(number: &str, unit: &str) -> Option<i128> {
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let parse = |digits: &str| {
        if digits.is_empty() {
            Some(0)
        } else {
            digits.parse::<i64>().ok().map(i128::from)
        }
    };
    // Digits below a nanosecond are dropped.
    let fraction = fraction.get(..fraction.len().min(15))?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(parse(whole)? * unit + parse(fraction)? * unit / scale)
}
