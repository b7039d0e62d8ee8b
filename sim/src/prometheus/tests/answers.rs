//! Response formats.

use std::time::Duration;

use futures::FutureExt;

use super::{NOW, Prometheus, Reply, ask, form, reply, time, with};

fn body(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

fn answered(prometheus: &Prometheus, query: &str) -> String {
    body(&reply(prometheus, &form(query))).to_owned()
}

#[test]
fn a_result_looks_as_prometheus_writes_it() {
    let prometheus = with(&[
        ("x{pod=\"a\\\"b\"}", 0.5),
        ("endless", f64::INFINITY),
        ("odd", f64::NAN),
    ]);
    for (query, result) in [
        (
            "x",
            r#""vector","result":[{"metric":{"__name__":"x","pod":"a\"b"},"value":[1600000000,"0.5"]}]"#,
        ),
        (
            "endless",
            r#""vector","result":[{"metric":{"__name__":"endless"},"value":[1600000000,"+Inf"]}]"#,
        ),
        (
            "odd * 1",
            r#""vector","result":[{"metric":{},"value":[1600000000,"NaN"]}]"#,
        ),
        ("nothing", r#""vector","result":[]"#),
        ("-Inf", r#""scalar","result":[1600000000,"-Inf"]"#),
        ("'text'", r#""string","result":[1600000000,"text"]"#),
        (
            "endless[2s]",
            r#""matrix","result":[{"metric":{"__name__":"endless"},"values":[[1599999999,"+Inf"],[1600000000,"+Inf"]]}]"#,
        ),
    ] {
        let expected = format!(r#"{{"status":"success","data":{{"resultType":{result}}}}}"#);
        assert_eq!(answered(&prometheus, query), expected, "{query}");
    }
    assert_eq!(reply(&prometheus, &form("x")).content_type, "application/json");
}

#[test]
fn the_time_is_read_as_rfc_3339_or_seconds() {
    let prometheus = Prometheus::new();
    for (text, shown) in [
        ("2020-04-12T20%3A42%3A00Z", "1586724120"),
        ("2020-04-12T20:42:00.5Z", "1586724120.500"),
        ("2020-04-12T22:42:00%2B02:00", "1586724120"),
        ("1586724120", "1586724120"),
        ("1586724120.007", "1586724120.007"),
        ("-1.5", "-1.500"),
        ("", "1600000000"),
    ] {
        let reply = reply(&prometheus, &format!("query=1&time={text}"));
        assert!(
            body(&reply).contains(&format!("[{shown},\"1\"]")),
            "{text}: {}",
            body(&reply)
        );
    }
}

#[test]
fn what_cannot_be_parsed_is_bad_data() {
    let prometheus = with(&[("up", 1.0)]);
    for (query, error) in [
        ("sum(rate(", "1:10: parse error: unclosed left parenthesis"),
        ("up{a=", "1:6: parse error: unexpected end of input inside braces"),
        ("up +\n(1", "2:3: parse error: unclosed left parenthesis"),
        ("", "unknown position: parse error: no expression found in input"),
        ("up up", "unknown position: parse error: invalid promql query"),
        (
            "nofunction(up)",
            "unknown position: parse error: unknown function with name 'nofunction'",
        ),
        (
            "rate(up)",
            "unknown position: parse error: expected type matrix in call to function 'rate', got vector",
        ),
        ("up[1e300]", "unknown position: parse error: duration out of range"),
    ] {
        let reply = reply(&prometheus, &form(query));
        assert_eq!(reply.status, 400, "{query}");
        let expected = serde_json::json!({
            "status": "error", "errorType": "bad_data", "error": format!("invalid parameter \"query\": {error}"),
        });
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap(),
            expected,
            "{query}"
        );
    }
    assert_eq!(ask(&prometheus, "up"), "up{} 1");
}

#[test]
fn what_cannot_be_evaluated_is_an_error_of_execution() {
    let reply = reply(&Prometheus::new(), &form("deriv(up[5m])"));
    assert_eq!(reply.status, 422);
    assert_eq!(
        body(&reply),
        r#"{"status":"error","errorType":"execution","error":"the function deriv is not supported"}"#
    );
}

#[test]
fn parameters_that_cannot_be_read_are_bad_data() {
    for (parameters, error) in [
        (
            "time=tomorrow",
            "invalid parameter \"time\": cannot parse \"tomorrow\" to a valid timestamp",
        ),
        (
            "time=1e300",
            "invalid parameter \"time\": cannot parse \"1e300\" to a valid timestamp",
        ),
        (
            "timeout=soon",
            "invalid parameter \"timeout\": cannot parse \"soon\" to a valid duration",
        ),
        (
            "timeout=1e300",
            "invalid parameter \"timeout\": cannot parse \"1e300\" to a valid duration",
        ),
    ] {
        let reply = reply(&Prometheus::new(), &format!("query=1&{parameters}"));
        assert_eq!(reply.status, 400, "{parameters}");
        let reply: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            (&reply["errorType"], &reply["error"]),
            (&"bad_data".into(), &error.into())
        );
    }
}

#[test]
fn other_paths_are_not_found() {
    let prometheus = Prometheus::new();
    for path in ["/", "/api/v1/query_range", "/prometheus/api/v1/query"] {
        let answer = prometheus.answer(path, "query=1", time(NOW));
        assert_eq!(answer.now_or_never().unwrap().unwrap().status, 404, "{path}");
    }
    assert_eq!(prometheus.queries(), 0);
}

#[test]
fn what_was_asked_is_remembered_up_to_a_bound() {
    let prometheus = Prometheus::new();
    reply(&prometheus, "query=up&time=5");
    reply(&prometheus, &form("sum(rate("));
    let asked = prometheus.asked();
    assert_eq!(
        (asked[0].query.as_str(), asked[0].time, asked[0].at),
        ("up", time(5), time(NOW))
    );
    assert_eq!((asked[1].query.as_str(), asked[1].time), ("sum(rate(", time(NOW)));
    for _ in 0..10_000 {
        reply(&prometheus, "query=1");
    }
    assert_eq!(prometheus.queries(), 10_002);
    assert_eq!(prometheus.asked().len(), 10_000);
    assert_eq!(prometheus.asked()[0].query, "1");
}

#[test]
fn clones_are_the_same_prometheus() {
    let prometheus = Prometheus::new();
    prometheus.clone().set("x", time(0), 1.0, 0.0).unwrap();
    assert_eq!(ask(&prometheus, "x"), "x{} 1");
}

#[test]
fn thousands_of_canaries_are_answered_in_seconds() {
    let prometheus = Prometheus::new();
    let canaries = 3000;
    for canary in 0..canaries {
        let series = format!("measure{{ns=\"x\",canary=\"{canary}\"}}");
        prometheus.set(&series, time(0), f64::from(canary), 1.0).unwrap();
    }
    let begun = std::time::Instant::now();
    for canary in 0..canaries {
        let query = format!("rate(measure{{ns=\"x\",canary=\"{canary}\"}}[1m])");
        assert_eq!(ask(&prometheus, &query), format!("{{canary={canary},ns=x}} 1"));
    }
    assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
}
