//! Parses the body of a response.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    api::GoDuration,
    validation::{Answer, Series},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// Maximum number of series. A query about the pods of one canary does not need more.
const MAX_SERIES: usize = 100_000;

/// Maximum distance of a sample from the evaluation time. An older sample comes from a cache. Prometheus' default lookback is
/// the same, so no backend answers a query with an older sample.
const TOLERATED: SignedDuration = SignedDuration::from_mins(5);

/// 100 years in seconds.
const CENTURY: f64 = 100.0 * 365.25 * 86400.0;

#[derive(Deserialize)]
struct Body {
    status: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
    /// `VictoriaMetrics`: some storage nodes did not respond.
    #[serde(rename = "isPartial")]
    partial: Option<Value>,
    data: Option<Data>,
}

impl Body {
    /// What may be wrong with a successful response. Prometheus 2.48 to 2.52 reports annotations of level info among its
    /// warnings; later versions have a separate list.
    fn doubts(&self) -> Option<String> {
        let is_partial = |mark: &Value| !matches!(mark, Value::Null | Value::Bool(false));
        if self.partial.as_ref().is_some_and(is_partial) {
            return Some("the answer is partial (isPartial): a part of the storage did not answer".to_owned());
        }
        let warnings = self.warnings.iter().flatten().map(|warning| warning.trim());
        let warnings: Vec<_> = warnings
            .filter(|warning| !warning.is_empty() && !warning.starts_with(INFO))
            .collect();
        (!warnings.is_empty()).then(|| format!("warnings: {}", warnings.join("; ")))
    }
}

/// Prefix of an annotation that is not a warning.
const INFO: &str = "PromQL info:";

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Items,
}

/// Parses the body of a 2xx response to an instant query evaluated at `at`.
pub(super) fn parse(body: &[u8], at: Timestamp) -> Result<Answer, String> {
    let body: Body = serde_json::from_slice(body).map_err(|error| not_an_answer(body, &error))?;
    if let Some(doubts) = body.doubts() {
        return Err(doubts);
    }
    match (body.status.as_deref(), body.data) {
        (Some("success"), _) if body.error.as_ref().is_some_and(|error| !error.is_empty()) => Err(format!(
            "status success with an error: {}",
            body.error.unwrap_or_default()
        )),
        (Some("success"), Some(data)) => read(data, at),
        (Some("error"), _) => Err(body.error.unwrap_or_else(|| "an error without a message".to_owned())),
        _ => Err(WRONG_SHAPE.to_owned()),
    }
}

/// The error in a response with an error status.
#[derive(Deserialize)]
pub(super) struct ErrorReply {
    /// The error text.
    pub(super) error: String,
    #[serde(rename = "errorType", default)]
    kind: String,
}

impl ErrorReply {
    /// Whether the query itself is at fault: it cannot be parsed or evaluated.
    pub(super) fn blames_the_query(&self) -> bool {
        matches!(self.kind.as_str(), "bad_data" | "execution")
    }

    /// Whether it is an error of Prometheus itself, and not of a gateway.
    pub(super) fn is_prometheus(&self) -> bool {
        !self.kind.is_empty()
    }
}

/// Parses the body of a response with an error status: JSON from Prometheus, plain text from gateways. HTML pages are ignored.
pub(super) fn error(body: &[u8]) -> Option<ErrorReply> {
    let reply = serde_json::from_slice(body).ok().or_else(|| {
        let text = std::str::from_utf8(body).ok()?;
        Some(ErrorReply {
            error: text.split_whitespace().collect::<Vec<_>>().join(" "),
            kind: String::new(),
        })
    });
    reply.filter(|reply| !reply.error.trim().is_empty() && !reply.error.trim_start().starts_with('<'))
}

const WRONG_SHAPE: &str = "the answer is not one of Prometheus' query API: check the address and its path prefix";

/// Describes an invalid body without quoting it, because it may come from any server.
fn not_an_answer(body: &[u8], error: &serde_json::Error) -> String {
    if body.trim_ascii_start().starts_with(b"<") {
        return "the answer is HTML, not JSON: check the address and its path prefix".to_owned();
    }
    match error.classify() {
        serde_json::error::Category::Data => WRONG_SHAPE.to_owned(),
        serde_json::error::Category::Eof => "the answer is not JSON: it is truncated".to_owned(),
        _ => "the answer is not JSON: check the address and its path prefix".to_owned(),
    }
}

fn read(data: Data, at: Timestamp) -> Result<Answer, String> {
    match data.kind.as_str() {
        "vector" if data.result.too_many => Err(format!("more than {MAX_SERIES} series: aggregate in the query")),
        "vector" => data
            .result
            .items
            .into_iter()
            .map(|item| series(item, at))
            .collect::<Result<_, _>>()
            .map(Answer::Vector),
        "scalar" => match data.result.items.as_slice() {
            [Item::Number(time), Item::Text(value)] => {
                timely(*time, at)?;
                number(value).map(Answer::Scalar)
            }
            _ => Err(WRONG_SHAPE.to_owned()),
        },
        kind @ ("matrix" | "string") => Err(format!(
            "the result is a {kind}: write an instant query that yields a vector or a scalar"
        )),
        _ => Err(WRONG_SHAPE.to_owned()),
    }
}

fn series(item: Item, at: Timestamp) -> Result<Series, String> {
    match item {
        Item::Series {
            labels,
            value: Some((time, value)),
            ..
        } => {
            timely(time, at)?;
            Ok(Series {
                labels,
                value: number(&value)?,
            })
        }
        Item::Series { histogram: true, .. } => {
            Err("the result holds histograms: reduce them to numbers, as histogram_quantile does".to_owned())
        }
        _ => Err(WRONG_SHAPE.to_owned()),
    }
}

/// Parses `0.5`, `1e-3`, `NaN`, `+Inf` and `-Inf`.
fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| "the answer has a sample whose value is not a number".to_owned())
}

/// Refuses a sample whose time, in seconds since 1970, is too far from `at`.
fn timely(time: f64, at: Timestamp) -> Result<(), String> {
    let asked = at.as_duration().as_secs_f64();
    // A server may send any time, so limit it to a century.
    let off = SignedDuration::from_secs_f64((time - asked).round().clamp(-CENTURY, CENTURY));
    if off.abs() <= TOLERATED {
        return Ok(());
    }
    let side = if off.is_negative() { "before" } else { "after" };
    let off = GoDuration(off.unsigned_abs());
    let tolerated = GoDuration(TOLERATED.unsigned_abs());
    Err(format!(
        "the answer has a sample from {off} {side} the evaluation time, and {tolerated} are tolerated: check the caches \
         between Kanary and the server, and the server's clock"
    ))
}

/// The elements of `result`. Their shape depends on `resultType`, which may follow later.
struct Items {
    items: Vec<Item>,
    too_many: bool,
}

enum Item {
    Series {
        labels: BTreeMap<String, String>,
        value: Option<(f64, String)>,
        histogram: bool,
    },
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items, A::Error> {
                let mut items = Vec::new();
                while items.len() < MAX_SERIES {
                    match seq.next_element()? {
                        Some(item) => items.push(item),
                        None => return Ok(Items { items, too_many: false }),
                    }
                }
                let mut too_many = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    too_many = true;
                }
                Ok(Items { items, too_many })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Element;
        impl<'de> Visitor<'de> for Element {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a series, a number or a text")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Item, E> {
                Ok(Item::Number(number))
            }

            #[allow(clippy::cast_precision_loss, reason = "a time in seconds fits by far")]
            fn visit_i64<E>(self, number: i64) -> Result<Item, E> {
                Ok(Item::Number(number as f64))
            }

            #[allow(clippy::cast_precision_loss, reason = "a time in seconds fits by far")]
            fn visit_u64<E>(self, number: u64) -> Result<Item, E> {
                Ok(Item::Number(number as f64))
            }

            fn visit_str<E>(self, text: &str) -> Result<Item, E> {
                Ok(Item::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let (mut labels, mut value, mut histogram) = (BTreeMap::new(), None, false);
                while let Some(field) = map.next_key::<String>()? {
                    match field.as_str() {
                        "metric" => labels = map.next_value()?,
                        "value" => value = Some(map.next_value()?),
                        field => {
                            histogram |= field == "histogram";
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(Item::Series {
                    labels,
                    value,
                    histogram,
                })
            }
        }
        deserializer.deserialize_any(Element)
    }
}

#[cfg(test)]
mod tests;
