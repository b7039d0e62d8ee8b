//! The meaning of an empty result, depending on the series in Prometheus.

use futures::FutureExt;
use jiff::Timestamp;
use kanary_sim::prometheus::Prometheus;
use serde_json::Value;

use super::{Answer, Error, Fail, NoData, Outcome, Pass, PromQl, Sample, Series, Vars, parse};

const PODS: [&str; 2] = ["can-1", "can-2"];

/// Series of both pods, and healthy ones of a pod that is not the canary's.
const KNOWN: &str = "memory{pod=can-1} 5; memory{pod=can-2} 5; memory{pod=old-1} 5; all{pod=old-1} 9; bad{pod=old-1} 0";

/// A Prometheus server with series like `all{pod=can-1,code=200} 3; …`. A star stands for the label of each pod.
fn prometheus(series: &str) -> Prometheus {
    let prometheus = Prometheus::new();
    for line in format!("{KNOWN}; {series}").split("; ").filter(|line| !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value = value.parse().unwrap();
        for pod in PODS {
            // Without the star both series are identical.
            let labels = name
                .replace('*', &format!("pod={pod}"))
                .replace('=', "=\"")
                .replace(',', "\",");
            let series = labels.replace('}', "\"}").replace("{\"}", "{}");
            prometheus.set(&series, Timestamp::UNIX_EPOCH, value, 0.0).unwrap();
        }
    }
    prometheus
}

fn ask(prometheus: &Prometheus, query: &str) -> Answer {
    let now = Timestamp::from_second(1_600_000_000).unwrap();
    let url = url::Url::parse_with_params("http://p/", [("query", query), ("time", "1600000000")]).unwrap();
    let reply = prometheus.answer("/api/v1/query", url.query().unwrap(), now);
    let reply = reply.now_or_never().unwrap().unwrap();
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    if reply.status != 200 {
        return Answer::Rejected(body["error"].as_str().unwrap().to_owned());
    }
    let series = body["data"]["result"].as_array().unwrap().iter().map(|series| Series {
        labels: serde_json::from_value(series["metric"].clone()).unwrap(),
        value: series["value"][1].as_str().unwrap().parse().unwrap(),
    });
    Answer::Vector(series.collect())
}

pub(super) fn measured(series: &str, item: &PromQl) -> Sample {
    let prometheus = prometheus(series);
    let vars = Vars {
        deployment: "app",
        canary: "app-canary",
        service: "app",
        namespace: "ns",
        kanary: "batman",
        weight: "",
        pods: &PODS,
        all_pods: &PODS,
    };
    let answer = ask(&prometheus, &item.render(&vars));
    let evidence = item.render_evidence(&vars).map(|query| ask(&prometheus, &query));
    item.judge(&answer, evidence.as_ref(), &PODS)
}

fn no_result(query: &str, more: &str) -> PromQl {
    let query = serde_json::to_string(query).unwrap();
    parse(&format!(
        "{{prometheusService: p, query: {query}, noResult: {{}}{more}}}"
    ))
    .unwrap()
}

/// Rows of series, query, outcome and a part of the message.
pub(super) fn check(more: &str, rows: &[(&str, &str, Outcome, &str)]) {
    let wrong = rows.iter().filter_map(|(series, query, outcome, expected)| {
        let sample = measured(series, &no_result(query, more));
        let is_right = sample.outcome == *outcome && sample.message.contains(expected);
        (!is_right).then(|| format!("{query} with {series}: {:?} {}", sample.outcome, sample.message))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(super) const GOOD: &str = "no series, which is good, and Prometheus knows every ready pod";

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn a_quotient_of_which_the_labels_do_not_match_is_an_error() {
    let by_code = "sum by (pod, code) (bad) / sum by (pod) (all) > 0.1";
    let coded = "bad{*,code=500} 5; all{*} 10";
    let unmatched = "the labels of `sum by (pod, code) (bad)` do not match those of `sum by (pod) (all)` for pods can-1, can-2, \
                     so the query leaves series out: aggregate both sides to the same labels";
    check(
        "",
        &[
            (coded, by_code, Error, unmatched),
            (coded, "100 * (bad / all) >= 10", Error, "the labels of `bad` do not"),
            (
                coded,
                "clamp_max(bad / all, 1) > 0.1",
                Error,
                "the labels of `bad` do not",
            ),
            (coded, "bad / ignoring (code) all > 0.9", Pass, GOOD),
            (coded, "bad / on (pod) all > 0.1", Fail, ""),
            (coded, "bad / on (pod) group_left all > 0.9", Pass, GOOD),
            (coded, "bad{pod=~\"{{ pods }}\"} / all", Error, "do not match"),
            (coded, "bad / all > 0.1 and all > 5", Error, "do not match"),
            (coded, "vector(9) > 10 or (bad / all > 0.1)", Error, "do not match"),
            (
                coded,
                "(bad / all > 0.1) unless on (pod) memory > 9",
                Error,
                "do not match",
            ),
            // Some series match and others do not.
            (
                "bad{*,code=500} 5; bad{*} 0; all{*} 10",
                "bad / all > 0.1",
                Error,
                "the labels of `bad` do not",
            ),
            // A counter that never counted has no labels that could match.
            ("all{*} 10", by_code, Pass, GOOD),
            ("all{*} 10", "bad / all > 0.1", Pass, GOOD),
            (
                "bad{*,code=500} 5; all{*} 0",
                by_code,
                NoData,
                "`sum by (pod) (all)` is 0, NaN or missing",
            ),
            (
                "bad{*,code=500} 5",
                by_code,
                NoData,
                "`sum by (pod) (all)` is 0, NaN or missing",
            ),
            (
                "bad{*} 5; all{} 90",
                "sum by (pod) (bad) / sum(all) > 0.1",
                Error,
                "do not match",
            ),
            (
                "bad{*} 5; all{} 90",
                "bad / on () group_left sum(all) > 0.1",
                Pass,
                GOOD,
            ),
            (
                "bad{pod=can-1} 0; all{*} 10; all{pod=can-2} NaN",
                "bad / all > 0.1",
                NoData,
                "for pod can-2, as it is without",
            ),
        ],
    );
    check(
        ", allPodsQuery: true",
        &[
            (
                "bad{*,code=500} 5; all{*} 10",
                "sum by (code) (bad{pod=~\"{{ pods }}\"}) / sum(all{pod=~\"{{ pods }}\"}) > 0.1",
                Error,
                "do not match those of `sum(all{pod=~\"{{ pods }}\"})`, so the query",
            ),
            (
                "bad{*} 0; all{*} 10",
                "sum(bad{pod=~\"{{ pods }}\"}) / sum(all) > 0.1",
                Pass,
                GOOD,
            ),
            (
                "all{*} 0",
                "sum(bad{pod=~\"{{ pods }}\"}) / sum(all{pod=~\"{{ pods }}\"}) > 0.1",
                NoData,
                "is 0, NaN or missing, as it is without traffic or with a wrong name: see that Prometheus has it, or write an \
                 evidenceQuery",
            ),
        ],
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn both_sides_of_a_comparison_have_to_be_there() {
    let limit = "x > on () group_left limit";
    check(
        "",
        &[
            (
                "x{*} 5",
                limit,
                NoData,
                "`limit` is NaN or missing for pods can-1, can-2",
            ),
            ("x{*} 5; limit{} NaN", limit, NoData, "`limit` is NaN or missing"),
            ("x{*} 5; limit{} 9", limit, Pass, GOOD),
            ("limit{} 9", limit, Pass, GOOD),
            ("x{*} 9; limit{} 5", limit, Fail, ""),
            (
                "x{*} 5; limit{} 9",
                "x > limit",
                Error,
                "the labels of `x` do not match those of `limit`",
            ),
            ("x{*} 5; limit{} 9", "limit < on () group_right x", Pass, GOOD),
            (
                "x{*} 5",
                "x > scalar(limit)",
                NoData,
                "`scalar(limit)` is NaN or missing",
            ),
            ("limit{} 5; x{*} 3", "scalar(limit) < x", Pass, GOOD),
            (
                "bad{*} 5",
                "bad > 0.1 * all",
                NoData,
                "`0.1 * all` is 0, NaN or missing",
            ),
            (
                "bad{*} 0; all{*} 0",
                "bad > 0.1 * all",
                NoData,
                "`0.1 * all` is 0, NaN or missing",
            ),
            ("all{*} 9", "bad > 0.1 * all", Pass, GOOD),
            ("all{*} 9", "0.1 * all < bad", Pass, GOOD),
            (
                "bad{*} 5; all{*,code=1} 9",
                "bad > 0.1 * all",
                Error,
                "the labels of `bad` do not",
            ),
            ("all{*} 9", "ok < 0.9 * all", NoData, "`ok` is missing"),
            ("all{*} 9", "0.9 * all > ok", NoData, "`ok` is NaN or missing"),
            ("all{*} 9; ok{*} 9", "0.9 * all > ok", Pass, GOOD),
            ("all{*} 9", "ok / all < 0.9", NoData, "`ok` is missing"),
            ("all{*} 9; ok{*} 9", "ok / all < 0.9", Pass, GOOD),
            (
                "all{*} 9; ok{*} 9; all{*,path=/} 9",
                "ok / all < 0.9",
                Error,
                "the labels of `all` do not match those of `ok`",
            ),
            ("all{*} 9", "0.9 > ok / all", NoData, "`ok` is missing"),
            ("x{*} 1", "x + y > 5", NoData, "`y` is NaN or missing"),
            ("x{*} 1; y{*} 2", "x + y > 5", Pass, GOOD),
            (
                "x{*} 1",
                "x * on (pod) group_left (node) info > 5",
                NoData,
                "`info` is NaN or missing",
            ),
            (
                "x{*} 1; info{*} 1; info{pod=old-1} 1",
                "x * on (pod) group_left (node) info > 5",
                Pass,
                GOOD,
            ),
        ],
    );
}

#[test]
fn plain_alerts_pass_while_prometheus_knows_the_pods() {
    for query in [
        "ALERTS{alertname=\"A\",pod=~\"{{ pods }}\"}",
        "ALERTS",
        "x > 5",
        "5 < x",
        "memory > 5",
        "(memory) > bool 5 == 1",
        "memory != 5",
        "increase(x[1m]) > 0",
        "sum by (pod) (rate(x[1m])) > 0",
        "sum by (pod) (rate(x[1m])) / 60 * 100 > 5",
        "rate(x[1m]) - 3 > 5",
        "count by (pod) (x > 5) > 0",
        "x > 5 and on (pod) memory > 1",
        "x > 5 or y > 3",
        "x > 5 unless y",
        "ALERTS and memory",
        "{__name__=~\"memory|all\"} > 100",
        "x > -Inf",
        "(x or y) > 5",
        "max_over_time(x[5m]) > 5",
    ] {
        let sample = measured("memory{*,container=a} 5", &no_result(query, ""));
        assert_eq!((sample.outcome, sample.message.as_str()), (Pass, GOOD), "{query}");
    }
    for query in ["sum(rate(x[1m])) / 60 * 100 > 5", "absent(memory)"] {
        let sample = measured("", &no_result(query, ", allPodsQuery: true"));
        assert_eq!((sample.outcome, sample.message.as_str()), (Pass, GOOD), "{query}");
    }
}
