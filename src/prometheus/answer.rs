//! What the body of an answer says.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::canary::validation::{Answer, Series};

/// More series than this are refused: no judgement about the pods of one canary needs them.
const MAX_SERIES: usize = 100_000;

#[derive(Deserialize)]
struct Body {
    status: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Items,
}

/// Reads the body of a 2xx answer to an instant query.
pub(super) fn parse(body: &[u8]) -> Result<Answer, String> {
    let body: Body = serde_json::from_slice(body).map_err(|error| not_an_answer(body, &error))?;
    let warnings = body.warnings.unwrap_or_default();
    if !warnings.is_empty() {
        return Err(format!("warnings: {}", warnings.join("; ")));
    }
    match (body.status.as_deref(), body.data) {
        (Some("success"), Some(data)) => read(data),
        (Some("error"), _) => Err(body.error.unwrap_or_else(|| "an error without a text".to_owned())),
        _ => Err(WRONG_SHAPE.to_owned()),
    }
}

/// What Prometheus says beside a status that is no success.
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

/// What Prometheus says beside a status that is no success, if that is who speaks.
pub(super) fn error(body: &[u8]) -> Option<Said> {
    let said: Said = serde_json::from_slice(body).ok()?;
    Some(said).filter(|said| !said.error.trim().is_empty())
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
    fn the_text_of_an_error_is_there_only_if_prometheus_wrote_it() {
        let body = br#"{"status":"error","error":"parse error"}"#;
        assert_eq!(error(body).map(|said| said.error).as_deref(), Some("parse error"));
        for body in ["", "<html>", "{}", r#"{"error":{"code":3}}"#, r#"{"error":" "}"#] {
            assert!(error(body.as_bytes()).is_none(), "{body}");
        }
    }
}
