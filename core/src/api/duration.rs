//! Durations as Go writes them: `1m0s`, `500ms`, `1.5h`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Value, json};

/// A duration in Go's notation, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

impl GoDuration {
    /// A duration of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = |reason: &dyn fmt::Display| format!("`{text}` is not a duration like 500ms, 20s or 1m30s: {reason}");
        if text.is_empty() {
            return Err(why(&"it is empty"));
        }
        // A longer run of digits overflows when it is converted to seconds, and the parser panics.
        let long = text.len() > 64
            || text
                .split(|c: char| !c.is_ascii_digit())
                .any(|digits| digits.len() > 12);
        if long {
            return Err(why(&"it is too long"));
        }
        let parsed: kube_core::Duration = text.parse().map_err(|e| why(&e))?;
        if parsed.is_negative() {
            return Err(why(&"it is negative"));
        }
        let parsed = std::time::Duration::from(parsed);
        // Go's own limit, about 292 years. Sums of a few such durations stay within the calendar.
        if parsed.as_nanos() > i64::MAX.unsigned_abs().into() {
            return Err(why(&"it is too long"));
        }
        Ok(Self(parsed))
    }
}

impl fmt::Display for GoDuration {
    /// Hours, minutes and seconds, as Go prints them, to the tenth of a second: `1h0m0s`, `1m20s`, `19.1s`, `250ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        if millis < 1000 {
            return write!(f, "{millis}ms");
        }
        let tenths = millis / 100;
        let (hours, minutes, rest) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        match rest % 10 {
            0 => write!(f, "{}s", rest / 10),
            tenth => write!(f, "{}.{tenth}s", rest / 10),
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Not `format: duration`, because the API server also accepts "15 minutes" there. `maxLength` limits the estimated cost of
    // the CEL rules that compare durations.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [is_duration()],
        })
    }
}

const PATTERN: &str = "self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$')";

fn is_duration() -> Value {
    json!({"rule": PATTERN, "message": "write a duration as 500ms, 20s, 15m or 1h30m"})
}

/// The rules for a field that must be at least 100 ms. The comparison is skipped for an invalid duration, which has its own
/// message, because CEL would otherwise report an evaluation error.
pub(crate) fn at_least_100ms(field: &str) -> Value {
    json!([is_duration(), {
        "rule": format!("!{PATTERN} || duration(self) >= duration('100ms')"),
        "message": format!("{field} is shorter than 100ms: raise it"),
    }])
}

/// The rules for a field that must be at least a second.
pub(crate) fn at_least_1s(field: &str) -> Value {
    json!([is_duration(), {
        "rule": format!("!{PATTERN} || duration(self) >= duration('1s')"),
        "message": format!("{field} is shorter than 1s: raise it"),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_as_go_does() {
        for (text, shown) in [
            ("1m0s", "1m0s"),
            ("80s", "1m20s"),
            ("500ms", "500ms"),
            ("1.5h", "1h30m0s"),
            ("19.083109926s", "19s"),
            ("19.1s", "19.1s"),
            ("0s", "0s"),
        ] {
            assert_eq!(
                text.parse::<GoDuration>().map(|d| d.to_string()),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in [
            "",
            "15",
            "15 minutes",
            "-1s",
            "1x",
            "s",
            "99999999999999999999999999h",
            "2562048h",
        ] {
            let error = text.parse::<GoDuration>().expect_err(text);
            assert!(error.contains("1m30s"), "{text}: {error}");
        }
    }
}
