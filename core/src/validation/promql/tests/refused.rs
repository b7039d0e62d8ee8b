//! Queries that could never fail a canary, or evidence that could never prove anything.

use super::parse;

fn error(query: &str, more: &str) -> Option<String> {
    let query = serde_json::to_string(query).unwrap();
    parse(&format!("{{prometheusService: p, query: {query}, {more}}}")).err()
}

fn refused(more: &str, expected: &str, queries: &[&str]) {
    for query in queries {
        let error = error(query, more).unwrap_or_else(|| panic!("{query} with {more} is accepted"));
        assert!(error.contains(expected), "{query}: {error}");
    }
}

fn accepted(more: &str, queries: &[&str]) {
    for query in queries {
        assert_eq!(error(query, more), None, "{query} with {more}");
    }
}

const NO_POD: [&str; 29] = [
    "sum(a)",
    "SUM(a)",
    "sum(a) / sum(b) > 0.1",
    "count(a)",
    "sum by (job) (a) > 1",
    "sum(a) by (job)",
    "sum without (pod) (a)",
    "sum by () (a)",
    "max by (pod) (sum(a))",
    "100 * (1 - sum(a) / sum(b))",
    "-sum(a)",
    "sum(a) or vector(0)",
    "vector(scalar(a{pod=~\"{{ pods }}\"}))",
    "scalar(a)",
    "time() - max(a)",
    "absent(a{pod=~\"{{ pods }}\"})",
    "a / on () b > 1",
    "a / ignoring (pod) b > 1",
    "a / on (job) b > 1",
    "sum(a) / on (pod) b",
    "a * on (job) group_right sum by (job) (b)",
    "topk(5, sum by (job) (a))",
    "histogram_quantile(0.9, sum by (le) (rate(a[1m])))",
    "max_over_time(sum(a)[5m:10s])",
    "label_replace(sum(a), \"node\", \"$1\", \"x\", \"(.*)\")",
    "count_values(\"version\", a)",
    "sum(a) and a",
    "quantile(0.9, a) offset 5m",
    "hour() > 5",
];

#[test]
fn a_query_per_pod_that_drops_the_label_of_the_pod_is_refused() {
    let expected = "query never has the label `pod` in its result, by which each canary pod is judged, so the item could not \
                 fail: keep the label, as in `sum by (pod) (…)`, set podNamekey to the label that names the pod, or set \
                 allPodsQuery: true";
    refused("valueInRange: {}", expected, &NO_POD);
    accepted("valueInRange: {max: 0.5}, allPodsQuery: true", &NO_POD);
    let of_series = NO_POD.iter().filter(|query| **query != "hour() > 5").copied();
    refused("noResult: {}", expected, &of_series.collect::<Vec<_>>());
    refused(
        "valueInRange: {}, podNamekey: exported_pod",
        "sum by (exported_pod)",
        &["sum by (pod) (a)"],
    );
}

#[test]
fn a_query_that_may_have_the_label_of_the_pod_is_accepted() {
    accepted(
        "valueInRange: {max: 0.5}",
        &[
            "a",
            "sum by (job, pod) (a)",
            "sum by (\"pod\") (a)",
            "sum(a) BY (pod)",
            "sum without (job) (a)",
            // What other servers may read in their own way.
            "sum by (pod # the pod\n) (a)",
            "a / sum(b)",
            "sum(b) < a",
            "label_set(sum(a), \"pod\", \"b\")",
            "count_values_over_time(\"pod\", sum(a)[5m:])",
            "a / fill(0) sum(b)",
            // The label may come from elsewhere.
            "a / on () group_left sum(b)",
            "a / ignoring (pod) group_left sum(b)",
            "sum by (job) (a) * on (job) group_left (pod) b",
            "b * on (job) group_right (pod) sum by (job) (a)",
            "a / on (pod) b",
            "a / ignoring (code) b",
            "a > on (job) group_left limit",
            "limit < on () group_right a",
            "sum(a) or b",
            "a unless sum(b)",
            "a > scalar(sum(b))",
            "label_replace(sum(a), \"pod\", \"b\", \"\", \"\")",
            "label_replace(sum(a), \"{{ canary.name }}\", \"b\", \"\", \"\")",
            "label_join(sum by (job, id) (a), 'pod', '-', 'job', 'id')",
            "count_values('pod', a)",
            "absent(a{pod=\"b\"})",
            "topk(1, a)",
            "hour(a)",
        ],
    );
    accepted(
        "valueInRange: {}, podNamekey: k8s.pod.name",
        &["sum by (\"k8s.pod.name\") (a)"],
    );
}

#[test]
fn a_query_that_drops_the_label_that_is_judged_is_refused() {
    let counts = "discreteValueOutOfList: {key: code, goodValues: ['200']}";
    let expected = "query never has the label `code` in its result, whose values discreteValueOutOfList judges";
    refused(counts, expected, &["sum by (pod) (a)"]);
    refused(&format!("{counts}, allPodsQuery: true"), expected, &["sum(a)"]);
    accepted(counts, &["a", "sum by (pod, code) (a)"]);
    accepted(&format!("{counts}, allPodsQuery: true"), &["sum by (code) (a)"]);
}

#[test]
fn a_query_that_never_yields_anything_is_refused() {
    for criterion in ["noResult: {}", "valueInRange: {}", "boolean: {}, onNoData: fail"] {
        refused(
            criterion,
            "query never yields anything, because nothing meets `",
            &[
                "a > NaN",
                "a == NaN",
                "a > Inf",
                "a < -Inf",
                "Inf < a",
                "a > 1 / 0",
                "a < 0 / 0",
                "clamp(a, 1, 0)",
                "clamp_max(a, 1) > 1",
                "clamp(a, 0, 1) >= 2",
                "sum by (pod) (a > Inf)",
                "a > 5 < 3",
                "(a > bool 5) > 1",
                "rate(a[1m]) < 0",
                "rate(a[1m]) / rate(b[1m]) < 0",
                "abs(a - b) == -1",
                "a > Inf and b",
                "a > Inf or b < -Inf",
                "a unless a",
                "max_over_time((a > Inf)[5m:])",
            ],
        );
    }
    refused(
        "noResult: {}",
        "because nothing meets `a > Inf`, so",
        &["b * (a > Inf)"],
    );
    refused(
        "noResult: {}",
        "(a count is never 0: where there is nothing to count, there is no result)",
        &[
            "count by (pod) (a) == 0",
            "count by (pod) (a) < 1",
            "count_over_time(a[1m]) < 1",
        ],
    );
}

#[test]
fn a_comparison_that_something_can_meet_is_accepted() {
    accepted(
        "noResult: {}",
        &[
            "a != NaN",
            "a != a",
            "a > -Inf",
            "a >= Inf",
            "a > 5 < 7",
            "a > Inf or b > 1",
            "b unless a > Inf",
            "clamp(a, 0, 1) >= 1",
            "rate(a[1m]) == 0",
            "rate(a[1m]) - 1 < 0",
            "delta(a[1m]) < 0",
            "a / b < 0",
            "count by (pod) (a) < 2",
            "(count by (pod) (a) or b * 0) == 0",
            "(a > bool 5) == 1",
            "time() - a > 60",
            "a > 5m",
        ],
    );
}

#[test]
fn a_query_that_yields_only_good_values_is_refused_unless_missing_data_fails_the_run() {
    for (criterion, query, expected) in [
        ("boolean: {}", "a == 1", "write `bool` behind its operator"),
        ("boolean: {}, allPodsQuery: true", "absent(a)", "write a criterion"),
        ("valueInRange: {}", "a > bool 5", "write a criterion"),
        (
            "valueInRange: {min: 0, max: 5}",
            "rate(a[1m]) < 5",
            "leave it to valueInRange",
        ),
        ("valueInRange: {min: 1, max: 2}", "clamp(a, 1, 2)", "write a criterion"),
    ] {
        let expected = [expected, ", or set onNoData: fail"];
        let error = error(query, criterion).unwrap_or_else(|| panic!("{query} with {criterion} is accepted"));
        assert!(
            expected.iter().all(|expected| error.contains(expected)),
            "{query}: {error}"
        );
        accepted(&format!("{criterion}, onNoData: fail"), &[query]);
    }
    accepted(
        "boolean: {}",
        &["a", "a == bool 1", "a >= 0", "a < bool Inf", "absent(b{pod='b'}) or a"],
    );
    accepted("valueInRange: {min: 1}", &["a > bool 5", "a > 0.5", "a"]);
}

#[test]
fn evidence_that_proves_nothing_is_refused() {
    for (evidence, expected) in [
        (
            "absent(foo)",
            "evidenceQuery has `absent(foo)`, which yields a value where nothing is there, so it would prove nothing",
        ),
        ("a or absent_over_time(foo[5m])", "has `absent_over_time(foo[5m])`"),
        ("label_replace(absent(foo), 'pod', 'a', '', '')", "has `absent(foo)`"),
        ("absent(foo) and on () up", "has `absent(foo)`"),
        (
            "sum(up)",
            "evidenceQuery never has the label `pod` in its result, and every ready pod has to be in it",
        ),
        ("up > Inf", "evidenceQuery never yields a value above 0"),
        ("up == 0", "evidenceQuery never yields a value above 0"),
        ("-rate(a[1m])", "evidenceQuery never yields a value above 0"),
    ] {
        let evidence = serde_json::to_string(evidence).unwrap();
        refused(&format!("noResult: {{}}, evidenceQuery: {evidence}"), expected, &["up"]);
    }
    for evidence in [
        "up unless absent(foo)",
        "up and on () absent(foo)",
        "rate(a[1m])",
        "up == 1",
    ] {
        accepted(&format!("noResult: {{}}, evidenceQuery: '{evidence}'"), &["up"]);
    }
    accepted(
        "noResult: {}, allPodsQuery: true, evidenceQuery: 'sum(rate(a[1m]))'",
        &["sum(b) > 5"],
    );
}
