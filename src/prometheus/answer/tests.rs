use jiff::Timestamp;

use super::{Answer, MAX_SERIES, error};

fn parse(body: &[u8]) -> Result<Answer, String> {
    super::parse(body, Timestamp::UNIX_EPOCH)
}

fn result(kind: &str, result: &str) -> Result<Answer, String> {
    parse(format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#).as_bytes())
}

#[test]
fn vectors_and_scalars_are_read_with_their_odd_numbers() {
    let Ok(Answer::Vector(all)) = result(
        "vector",
        r#"[{"metric":{"pod":"a","__name__":"up"},"value":[120.123,"0.47"]},{"metric":{},"value":[1,"NaN"]},
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
    assert_eq!(result("scalar", r#"[120.5,"3"]"#), Ok(Answer::Scalar(3.0)));
    let infos = br#"{"data":{"result":[1,"3"],"resultType":"scalar"},"infos":["x"],"warnings":[],"status":"success"}"#;
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
    assert_eq!(error, "status success with an error: store b: unavailable");
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
            "is truncated",
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
        (
            "vector",
            r#"[{"metric":{},"value":[1,"x"]}]"#,
            "whose value is not a number",
        ),
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
fn a_sample_of_another_time_is_refused() {
    let at = |asked: &str, time: &str| {
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"value":[{time},"3"]}}]}}}}"#);
        super::parse(body.as_bytes(), asked.parse().unwrap())
    };
    let asked = "2026-11-22T12:00:00Z";
    for near in ["1795348800", "1795348500", "1795349100.4"] {
        assert!(at(asked, near).is_ok(), "{near}");
    }
    for (time, off) in [
        (
            "1795345200",
            "1h0m0s before the evaluation time, and 5m0s are tolerated",
        ),
        ("1795349101", "5m1s after the evaluation time"),
        ("0", "before the evaluation time"),
        ("1e300", "876600h0m0s after the evaluation time"),
        ("-1e300", "876600h0m0s before the evaluation time"),
    ] {
        let error = at(asked, time).expect_err(time);
        assert!(error.contains(off), "{time}: {error}");
    }
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[900,"3"]}}"#;
    assert!(
        parse(scalar.as_bytes())
            .unwrap_err()
            .contains("a sample from 15m0s after")
    );
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
        assert_eq!(
            error(body.as_bytes()).map(|reply| reply.error).as_deref(),
            text,
            "{body}"
        );
    }
    assert!(error(&[0xff, 0xfe]).is_none());
}
