//! Conditions that find nothing because something is missing, in forms that hide it.

use super::{
    Fail, NoData, Pass,
    absence::{GOOD, check},
    parse,
};

#[test]
fn each_series_needs_a_partner_behind_and() {
    let none = "has series for which `and` finds none of";
    check(
        "",
        &[
            (
                "bad{*} 5; all{*} 10; all{*,code=1} 9",
                "sum by (pod) (bad) / sum by (pod) (all) > 0.1 and all{code='1'} > 1",
                NoData,
                none,
            ),
            ("bad{*} 5; all{*} 10", "bad / all > 0.1 and info", NoData, none),
            (
                "bad{*} 5; all{*} 10; info{*,node=a} 1",
                "bad / all > 0.1 and on (pod, node) info",
                NoData,
                none,
            ),
            (
                "bad{*} 5; all{*} 10",
                "bad / all > 0.1 and on (pod) vector(1)",
                NoData,
                none,
            ),
            (
                "bad{*} 5; all{*} 10",
                "count by (pod) (bad / all > 0.1 and on (pod) vector(1)) > 0",
                NoData,
                none,
            ),
            (
                "bad{*} 5; all{*} 10; info{*,node=a} 1",
                "bad / all > 0.1 and on (pod) info",
                Fail,
                "",
            ),
            (
                "bad{*} 0; all{*} 10; info{*,node=a} 1",
                "bad / all > 0.1 and on (pod) info",
                Pass,
                GOOD,
            ),
            ("bad{*} 0; all{*} 10", "bad / all > 0.1 and all > 5", Pass, GOOD),
        ],
    );
}

#[test]
fn what_is_more_where_there_is_less_has_to_be_there() {
    check(
        "",
        &[
            ("", "max by (pod) (time() - ok) > 60", NoData, "is missing"),
            ("", "floor(1 - ok) > 0.1", NoData, "is missing"),
            ("all{*} 10", "abs(ok / all - 1) > 0.1", NoData, "is missing"),
            ("", "abs(ok - 10) > 5", NoData, "is missing"),
            ("", "abs(log2(ok)) > 1", NoData, "is missing"),
            ("ok{*} 9", "abs(ok - 10) > 5", Pass, GOOD),
            ("", "abs(delta(x[5m])) > 5", Pass, GOOD),
        ],
    );
}

#[test]
fn a_chain_of_comparisons_is_as_strict_as_each_of_them() {
    check(
        "",
        &[
            ("all{*} 10", "0 <= ok / all < 0.9", NoData, "is missing"),
            ("", "ok > -1 < 5", NoData, "is missing"),
            ("ok{*} 9", "ok > -1 < 5", Pass, GOOD),
            ("", "x > 5 > 2", Pass, GOOD),
        ],
    );
}

#[test]
fn what_is_missing_counts_as_zero_where_it_is_compared_with_a_number() {
    check(
        "",
        &[
            ("", "ok == 0", NoData, "is missing"),
            ("", "sum by (pod) (increase(ok[8s])) == 0", NoData, "is missing"),
            ("", "ok != 10", NoData, "is missing"),
            ("ok{*} 10", "ok != 10", Pass, GOOD),
            ("", "reason == 1", Pass, GOOD),
            ("", "restarts != 0", Pass, GOOD),
        ],
    );
}

#[test]
fn a_query_by_the_exported_pod_is_judged_by_that_label() {
    let parsed = |query: &str, more: &str| {
        parse(&format!(
            "{{prometheusService: p, query: '{query}', noResult: {{}}{more}}}"
        ))
    };
    let query = r#"rate(bad{exported_pod=~"{{ pods }}"}[1m]) / rate(all{exported_pod=~"{{ pods }}"}[1m]) > 0.1"#;
    let error = parsed(query, "").unwrap_err();
    assert!(error.contains("set podNamekey: exported_pod"), "{error}");
    assert!(parsed(query, ", podNamekey: exported_pod").is_ok());
    assert!(parsed(query, ", evidenceQuery: up").is_ok());
    let error = parsed("sum by (exported_pod) (bad) > 0", "").unwrap_err();
    assert!(error.contains("set podNamekey to the label"), "{error}");
    assert!(parsed("sum by (exported_pod) (bad) > 0", ", podNamekey: exported_pod").is_ok());
}
