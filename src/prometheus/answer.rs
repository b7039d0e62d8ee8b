//! What the body of an answer says.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::canary::validation::{Answer, Series};

/// More series than this are refused: no judgement about the pods of one canary needs them.
const MAX_SERIES: usize = 100_000;

#[derive(Deserialize)]
struct Body {
    status: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
    /// VictoriaMetrics: some of its storage nodes did not answer.
    #[serde(rename = "isPartial")]
    partial: Option<Value>,
    data: Option<Data>,
}

impl Body {
    /// What may be wrong with an answer that seems to be one. Prometheus 2.48 to 2.52 puts remarks that may be mistaken
    /// among its warnings; later ones have a list of their own.
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

/// How a remark begins that is no warning.
const INFO: &str = "PromQL info:";

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Items,
}

/// Reads the body of a 2xx answer to an instant query.
pub(super) fn parse(body: &[u8]) -> Result<Answer, String> {
    let body: Body = serde_json::from_slice(body).map_err(|error| not_an_answer(body, &error))?;
    if let Some(doubts) = body.doubts() {
        return Err(doubts);
    }
    match (body.status.as_deref(), body.data) {
        (Some("success"), _) if body.error.as_ref().is_some_and(|error| !error.is_empty()) => {
            Err(format!("a success with an error: {}", body.error.unwrap_or_default()))
        }
        (Some("success"), Some(data)) => read(data),
        (Some("error"), _) => Err(body.error.unwrap_or_else(|| "an error without a text".to_owned())),
        _ => Err(WRONG_SHAPE.to_owned()),
    }
}

/// What a server says beside a status that is no success.
#[derive(Deserialize)]
pub(super) struct Said {
    /// Its text.
    pub(super) error: String,
    #[serde(rename = "errorType", default)]
    kind: String,
}

impl Said {
    /// The query is to blame: it cannot be parsed, or not be evaluated.
    pub(super) fn blames_the_query(&self) -> bool {
        matches!(self.kind.as_str(), "bad_data" | "execution")
    }
}

/// What a server says beside a status that is no success: Prometheus in its own form, gateways before it in plain text.
/// Pages for people are left out.
pub(super) fn error(body: &[u8]) -> Option<Said> {
    let said = serde_json::from_slice(body).ok().or_else(|| {
        let text = std::str::from_utf8(body).ok()?;
        Some(Said {
            error: text.split_whitespace().collect::<Vec<_>>().join(" "),
            kind: String::new(),
        })
    });
    said.filter(|said| !said.error.trim().is_empty() && !said.error.trim_start().starts_with('<'))
}

const WRONG_SHAPE: &str = "the answer is not one of Prometheus' query API: check the address and its path prefix";

/// Says what is wrong with a body, without repeating it: it may come from anywhere.
fn not_an_answer(body: &[u8], error: &serde_json::Error) -> String {
    if body.trim_ascii_start().starts_with(b"<") {
        return "the answer is HTML, not JSON: check the address and its path prefix".to_owned();
    }
    match error.classify() {
        serde_json::error::Category::Data => WRONG_SHAPE.to_owned(),
        serde_json::error::Category::Eof => "the answer is not JSON: it ends too early".to_owned(),
        _ => "the answer is not JSON: check the address and its path prefix".to_owned(),
    }
}

fn read(data: Data) -> Result<Answer, String> {
    match data.kind.as_str() {
        "vector" if data.result.too_many => Err(format!("more than {MAX_SERIES} series: aggregate in the query")),
        "vector" => data
            .result
            .items
            .into_iter()
            .map(series)
            .collect::<Result<_, _>>()
            .map(Answer::Vector),
        "scalar" => match data.result.items.as_slice() {
            [Item::Number, Item::Text(value)] => number(value).map(Answer::Scalar),
            _ => Err(WRONG_SHAPE.to_owned()),
        },
        kind @ ("matrix" | "string") => Err(format!(
            "the result is a {kind}: write an instant query that yields a vector or a scalar"
        )),
        _ => Err(WRONG_SHAPE.to_owned()),
    }
}

fn series(item: Item) -> Result<Series, String> {
    match item {
        Item::Series {
            labels,
            value: Some((_, value)),
            ..
        } => Ok(Series {
            labels,
            value: number(&value)?,
        }),
        Item::Series { histogram: true, .. } => {
            Err("the result holds histograms: reduce them to numbers, as histogram_quantile does".to_owned())
        }
        _ => Err(WRONG_SHAPE.to_owned()),
    }
}

/// Reads `0.5`, `1e-3`, `NaN`, `+Inf` and `-Inf`.
fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| WRONG_SHAPE.to_owned())
}

/// The elements of `result`. Its shape depends on `resultType`, which may come after it.
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
    Number,
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

            fn visit_f64<E>(self, _: f64) -> Result<Item, E> {
                Ok(Item::Number)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Item, E> {
                Ok(Item::Number)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
                Ok(Item::Number)
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
mod tests {
    use super::{Answer, MAX_SERIES, error, parse};

    fn result(kind: &str, result: &str) -> Result<Answer, String> {
        parse(format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#).as_bytes())
    }

    #[test]
    fn vectors_and_scalars_are_read_with_their_odd_numbers() {
        let Ok(Answer::Vector(all)) = result(
            "vector",
            r#"[{"metric":{"pod":"a","__name__":"up"},"value":[1586724120.123,"0.47"]},{"metric":{},"value":[1,"NaN"]},
                {"metric":{},"value":[1,"+Inf"]},{"metric":{},"value":[1,"-Inf"]},{"metric":{},"value":[1,"1e-3"]}]"#,
        ) else {
            panic!("no vector");
        };
        assert_eq!(all[0].labels["pod"], "a");
        assert!(all[1].value.is_nan());
        let values: Vec<_> = all
            .iter()
            .map(|series| series.value)
            .filter(|value| !value.is_nan())
            .collect();
        assert_eq!(values, [0.47, f64::INFINITY, f64::NEG_INFINITY, 0.001]);
        assert_eq!(result("vector", "[]"), Ok(Answer::Vector(vec![])));
        assert_eq!(result("scalar", r#"[1586724120.5,"3"]"#), Ok(Answer::Scalar(3.0)));
        let infos =
            br#"{"data":{"result":[1,"3"],"resultType":"scalar"},"infos":["x"],"warnings":[],"status":"success"}"#;
        assert_eq!(parse(infos), Ok(Answer::Scalar(3.0)));
    }

    /// An answer that holds a number, with `more` beside it.
    fn marked(more: &str) -> Result<Answer, String> {
        parse(format!(r#"{{"status":"success",{more},"data":{{"resultType":"scalar","result":[1,"3"]}}}}"#).as_bytes())
    }

    #[test]
    fn an_answer_that_its_server_calls_partial_is_none() {
        for partial in ["true", "\"true\"", "1"] {
            let error = marked(&format!(r#""isPartial":{partial}"#)).expect_err(partial);
            assert!(error.contains("the answer is partial (isPartial)"), "{error}");
        }
        for whole in ["false", "null"] {
            assert_eq!(marked(&format!(r#""isPartial":{whole}"#)), Ok(Answer::Scalar(3.0)));
        }
        let error = marked(r#""warnings":["No StoreAPIs matched for this query"]"#).unwrap_err();
        assert_eq!(error, "warnings: No StoreAPIs matched for this query");
        let error = marked(r#""errorType":"internal","error":"store b: unavailable""#).unwrap_err();
        assert_eq!(error, "a success with an error: store b: unavailable");
    }

    #[test]
    fn infos_do_not_block_wherever_they_stand_and_warnings_do() {
        let info = r#"PromQL info: metric might not be a counter, name does not end in _total: \"x\" (1:6)"#;
        assert_eq!(
            marked(&format!(r#""warnings":["{info}","{info}"],"infos":["{info}"]"#)),
            Ok(Answer::Scalar(3.0))
        );
        let warning = "PromQL warning: bucket label \\\"le\\\" is missing";
        let error = marked(&format!(r#""warnings":["{info}","{warning}"]"#)).unwrap_err();
        assert_eq!(error, "warnings: PromQL warning: bucket label \"le\" is missing");
    }

    #[test]
    fn what_is_no_instant_answer_is_refused_with_what_it_is() {
        for (body, why) in [
            ("<html><body>hunter2</body></html>", "HTML, not JSON"),
            ("hunter2", "not JSON"),
            ("", "not JSON"),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[{"metric""#,
                "ends too early",
            ),
            ("[]", "not one of Prometheus' query API"),
            ("{}", "not one of Prometheus' query API"),
            (r#"{"status":"success"}"#, "not one of Prometheus' query API"),
            (r#"{"status":7}"#, "not one of Prometheus' query API"),
            (
                r#"{"status":"success","data":"hunter2"}"#,
                "not one of Prometheus' query API",
            ),
            (
                r#"{"status":"error","errorType":"bad_data","error":"parse error: x"}"#,
                "parse error: x",
            ),
            (
                r#"{"status":"success","warnings":["store a is down","b"],"data":null}"#,
                "warnings: store a is down; b",
            ),
        ] {
            let error = parse(body.as_bytes()).expect_err(body);
            assert!(error.contains(why) && !error.contains("hunter2"), "{body}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_result_of_another_shape_is_refused() {
        for (kind, items, why) in [
            ("vector", "{}", "not one of"),
            ("vector", "null", "not one of"),
            ("vector", r#"[1,"3"]"#, "not one of"),
            ("vector", r#"[{"metric":{}}]"#, "not one of"),
            ("vector", r#"[{"metric":{},"value":[1]}]"#, "not one of"),
            ("vector", r#"[{"metric":{},"value":[1,"x"]}]"#, "not one of"),
            ("vector", r#"[{"metric":{},"value":[1,2]}]"#, "not one of"),
            ("vector", r#"[{"metric":{"a":1},"value":[1,"2"]}]"#, "not one of"),
            (
                "vector",
                r#"[{"metric":{},"histogram":[1,{"count":"3"}]}]"#,
                "histogram_quantile",
            ),
            ("scalar", "[]", "not one of"),
            ("scalar", r#"[1,"2","3"]"#, "not one of"),
            (
                "matrix",
                r#"[{"metric":{},"values":[[1,"2"]]}]"#,
                "is a matrix: write an instant query",
            ),
            ("string", r#"[1,"text"]"#, "is a string: write an instant query"),
            ("streams", "[]", "not one of"),
        ] {
            let error = result(kind, items).expect_err(items);
            assert!(error.contains(why), "{kind} {items}: {error}");
        }
    }

    #[test]
    fn more_series_than_any_judgement_needs_are_refused() {
        let items = |number| format!("[{}]", vec![r#"{"value":[1,"2"]}"#; number].join(","));
        assert!(result("vector", &items(MAX_SERIES)).is_ok());
        assert!(
            result("vector", &items(MAX_SERIES + 1))
                .unwrap_err()
                .contains("more than 100000 series")
        );
    }

    #[test]
    fn the_text_of_an_error_is_prometheus_own_or_a_gateways() {
        for (body, text) in [
            (r#"{"status":"error","error":"parse error"}"#, Some("parse error")),
            ("no org id\n", Some("no org id")),
            (r#"{"message": "no\n token"}"#, Some(r#"{"message": "no\n token"}"#)),
            ("", None),
            (" \n", None),
            ("\n<html>Sign in</html>", None),
            (r#"{"error":" "}"#, None),
        ] {
            assert_eq!(error(body.as_bytes()).map(|said| said.error).as_deref(), text, "{body}");
        }
        assert!(error(&[0xff, 0xfe]).is_none());
    }
}
