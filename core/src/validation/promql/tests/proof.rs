//! `noResult`: the absence of evidence is no evidence.

use super::{Answer, Error, Fail, NoData, PODS, Pass, PromQl, Vars, check, item, parse, shown, vector};
use crate::validation::Outcome::{self, Invalid};

fn with_evidence(item: &PromQl, table: &[(&Answer, Outcome, &str)]) {
    for (evidence, outcome, message) in table {
        let sample = item.judge(&vector(&[]), Some(evidence), &PODS);
        assert_eq!(shown(&sample), (*outcome, *message), "{evidence:?}");
    }
}

#[test]
fn any_series_is_bad_where_none_is_due() {
    let others = "the series name only other pods by the label `pod`, like stable-1: if another label names the pod, set \
                  podNamekey to it; otherwise select the canary's series, as in pod=~\"{{ pods }}\"";
    check(
        &item("noResult: {}"),
        &[
            (
                &[],
                Pass,
                "no series, which is good, and Prometheus knows every ready pod",
            ),
            (&["pod=stable-1 1"], Error, others),
            (
                &["pod=can-1 NaN"],
                Fail,
                "a series where none is due, the first with NaN on pod can-1",
            ),
            (
                &["pod=stable-1 2", "pod=can-1,alertname=A 3", "pod=can-2 4"],
                Fail,
                "2 series where none is due, the first with 3 on pod can-1 {alertname=\"A\"}",
            ),
            (
                &["pod=ksm,exported_pod=can-2 1"],
                Error,
                "a series names the canary pod can-2 by the label `exported_pod`, and ksm by `pod`: set podNamekey to \
                 exported_pod, or have Prometheus honor the labels of what it scrapes",
            ),
            // An alert without the label, next to one for another pod, must not be ignored.
            (
                &["pod=other 1", "job=x 1"],
                Error,
                "not every series has the label `pod`: keep it in the query, set podNamekey to the label that names the \
                 pod, or set allPodsQuery",
            ),
        ],
    );
    check(
        &item("noResult: {}\nallPodsQuery: true"),
        &[(
            &["alertname=HighErrors 1"],
            Fail,
            "a series where none is due, the first with 1 on {alertname=\"HighErrors\"}",
        )],
    );
}

#[test]
fn evidence_is_asked_for_only_where_it_decides() {
    let (no_result, range) = (item("noResult: {}"), item("valueInRange: {}"));
    assert!(no_result.wants_evidence(&vector(&[]), &PODS));
    for answer in [
        vector(&["pod=can-1 1"]),
        Answer::Scalar(1.0),
        Answer::Unanswered("down".to_owned()),
        Answer::Rejected("parse error".to_owned()),
    ] {
        assert!(!no_result.wants_evidence(&answer, &PODS), "{answer:?}");
    }
    assert!(!no_result.wants_evidence(&vector(&[]), &[]));
    assert!(!range.wants_evidence(&vector(&[]), &PODS));
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn no_result_passes_only_with_evidence_of_every_ready_pod() {
    let own = item("noResult: {}\nevidenceQuery: up");
    let nothing = own.judge(&vector(&[]), None, &PODS);
    assert_eq!(
        shown(&nothing),
        (
            NoData,
            "no series, which proves nothing: nobody asked whether Prometheus knows the pods"
        )
    );
    with_evidence(
        &own,
        &[
            (
                &vector(&["pod=can-1 7", "pod=can-2 1", "pod=stable-1 NaN", "job=a 1"]),
                Pass,
                "no series, which is good, and evidenceQuery yields a value above 0 for every ready pod",
            ),
            (
                &vector(&[]),
                NoData,
                "no series, which proves nothing: evidenceQuery yields no series of pods can-1, can-2 by the label `pod`: see \
                 that every ready pod is in its result",
            ),
            (
                &vector(&["pod=can-1 7", "pod=stable-1 7"]),
                NoData,
                "no series, which proves nothing: evidenceQuery yields no series of pod can-2 by the label `pod`: see that \
                 every ready pod is in its result",
            ),
            (
                &vector(&["pod=can-1 7", "pod=can-2 NaN"]),
                NoData,
                "no series, which proves nothing: the value of the evidence is NaN for pod can-2, as a quotient is without traffic",
            ),
            (
                &vector(&["pod=can-1 7", "pod=can-2 7", " NaN"]),
                NoData,
                "no series, which proves nothing: the value of the evidence is NaN for all pods, as a quotient is without traffic",
            ),
            (
                &vector(&["pod=can-1 7", "pod=can-2 0"]),
                NoData,
                "no series, which proves nothing: the value of the evidence for pod can-2 is 0, and has to be above 0",
            ),
            (
                &vector(&["pod=can-1 7", "pod=can-2 +Inf"]),
                NoData,
                "no series, which proves nothing: the value of the evidence for pod can-2 is +Inf, and has to be above 0",
            ),
            (
                &vector(&["pod=ksm,exported_pod=can-1 7"]),
                Error,
                "no series, which proves nothing: a series names the canary pod can-1 by the label `exported_pod`, and ksm \
                 by `pod`: set podNamekey to exported_pod, or have Prometheus honor the labels of what it scrapes",
            ),
            (
                &vector(&["pod=stable-1 7"]),
                Error,
                "no series, which proves nothing: the series name only other pods by the label `pod`, like stable-1: if \
                 another label names the pod, set podNamekey to it; otherwise select the canary's series, as in \
                 pod=~\"{{ pods }}\"",
            ),
            (
                &vector(&["job=a 7"]),
                Error,
                "no series, which proves nothing: no series has the label `pod`: keep it in the query, set podNamekey to \
                 the label that names the pod, or set allPodsQuery",
            ),
            (
                &Answer::Scalar(1.0),
                Error,
                "evidenceQuery yields a scalar, which is always there: write a query that yields a vector",
            ),
            (
                &Answer::Unanswered("connection refused".to_owned()),
                Error,
                "evidenceQuery: connection refused",
            ),
            (
                &Answer::Rejected("parse error".to_owned()),
                Invalid,
                "evidenceQuery: parse error",
            ),
        ],
    );
    with_evidence(
        &item("noResult: {}"),
        &[(
            &Answer::Rejected("parse error".to_owned()),
            Invalid,
            "the query for evidence (write evidenceQuery to ask another): parse error",
        )],
    );
}

#[test]
fn evidence_for_a_query_for_all_pods_may_stand_for_all_pods() {
    let own = item("noResult: {}\nallPodsQuery: true\nevidenceQuery: sum(up)");
    let good = "no series, which is good, and evidenceQuery yields only values above 0";
    let good_for_each = "no series, which is good, and evidenceQuery yields a value above 0 for every ready pod";
    with_evidence(
        &own,
        &[
            (&vector(&[" 7"]), Pass, good),
            (&vector(&["pod=can-1 7", "pod=can-2 1"]), Pass, good_for_each),
            (
                &vector(&["pod=can-1 7"]),
                NoData,
                "no series, which proves nothing: evidenceQuery yields no series of pod can-2 by the label `pod`: see that \
                 every ready pod is in its result",
            ),
            (
                &vector(&[" 0"]),
                NoData,
                "no series, which proves nothing: the value of the evidence for all pods is 0, and has to be above 0",
            ),
            (
                &vector(&[]),
                NoData,
                "no series, which proves nothing: evidenceQuery yields no series either: see that Prometheus has what it \
                 selects",
            ),
        ],
    );
    // The default evidence query contains the pod names.
    with_evidence(
        &item("noResult: {}\nallPodsQuery: true"),
        &[(
            &vector(&["pod=can-1 7"]),
            NoData,
            "no series, which proves nothing: Prometheus has no series of pod can-2 by the label `pod`, which is asked for \
             because the query alone does not show that it is about the canary: set podNamekey to the label that names pods, \
             or write an evidenceQuery",
        )],
    );
}

fn evidence(query: &str, more: &str) -> String {
    let yaml = format!("{{prometheusService: p, query: '{query}', noResult: {{}}{more}}}");
    let vars = Vars {
        deployment: "myapp",
        canary: "myapp-kanary-batman",
        service: "svc",
        namespace: "shop",
        kanary: "batman",
        weight: "",
        pods: &["can-1", "can.2"],
        all_pods: &["can-1", "can.2"],
    };
    parse(&yaml).unwrap().render_evidence(&vars).unwrap()
}

#[test]
fn the_usual_evidence_is_any_series_of_a_pod_unless_every_scrape_of_it_fails() {
    assert_eq!(
        evidence("ALERTS", ""),
        "count by (pod) ({__name__!~\"up|scrape_.+|ALERTS.*\",pod=~\"(?:can-1|can\\\\.2)\"}) unless on (pod) (max by (pod) \
         (up{pod=~\"(?:can-1|can\\\\.2)\"}) == 0)"
    );
    assert!(evidence("x", ", podNamekey: k8s.pod.name").contains("by (\"k8s.pod.name\") ({__name__!~"));
    assert_eq!(
        evidence("x", ", evidenceQuery: \"up{c=\\\"{{ canary.name }}\\\"}\""),
        "up{c=\"myapp-kanary-batman\"}"
    );
    assert!(
        item("valueInRange: {}")
            .render_evidence(&Vars {
                deployment: "",
                canary: "",
                service: "",
                namespace: "",
                kanary: "",
                weight: "",
                pods: &[],
                all_pods: &[],
            })
            .is_none()
    );
}

#[test]
fn the_usual_evidence_for_a_comparison_asks_about_its_operands_as_well() {
    let known = evidence("x", "");
    let with = |facts: &[&str]| {
        let facts = facts.iter().enumerate().map(|(index, fact)| {
            format!("label_replace(count by (pod) ({fact}), \"kanary_fact\", \"{index}\", \"\", \"\")")
        });
        let facts: Vec<_> = facts.collect();
        format!(
            "({known}) or (({}) and on (pod) (({known}) or vector(1)))",
            facts.join(" or ")
        )
    };
    let filled = "rate(b{p=~\"(?:can-1|can\\\\.2)\"}[1m])";
    for (query, facts) in [
        (
            "rate(a[1m]) / on (pod) group_left rate(b{p=~\"{{ pods }}\"}[1m]) > 0.1 # x",
            vec![
                format!("(\nrate(a[1m]) / on (pod) group_left {filled}\n) <= Inf"),
                format!("(\n{filled}\n) > 0"),
                format!("(\nrate(a[1m])\n) unless on (pod) (\n{filled}\n)"),
                "(\na\n)".to_owned(),
                "(\nrate(a[1m])\n)".to_owned(),
            ],
        ),
        (
            "a > scalar(b)",
            vec![
                "vector(\nscalar(b)\n) <= Inf".to_owned(),
                "(\na\n)".to_owned(),
                "(\na\n) <= Inf".to_owned(),
            ],
        ),
        ("a > 5", vec!["(\na\n)".to_owned(), "(\na\n) <= Inf".to_owned()]),
    ] {
        let facts: Vec<_> = facts.iter().map(String::as_str).collect();
        assert_eq!(evidence(query, ""), with(&facts), "{query}");
    }
    assert!(evidence("a > 5", ", podNamekey: k8s.pod.name").contains(") and on (\"k8s.pod.name\") ("));
}

#[test]
fn a_query_that_is_not_understood_is_held_unless_the_user_tells_what_proves_it() {
    let item = |more: &str| {
        parse(&format!(
            "{{prometheusService: p, query: 'a / fill(0) b > 1', noResult: {{}}{more}}}"
        ))
    };
    let unknown = item("").unwrap();
    let vars = Vars {
        deployment: "",
        canary: "",
        service: "",
        namespace: "",
        kanary: "",
        weight: "",
        pods: &PODS,
        all_pods: &PODS,
    };
    assert_eq!(unknown.render_evidence(&vars), None);
    let sample = unknown.judge(&vector(&[]), None, &PODS);
    assert_eq!(
        shown(&sample),
        (
            NoData,
            "no series, which proves nothing: Kanary cannot tell whether there was anything that the query could have found: \
             write an evidenceQuery that yields a value above 0 where there is, or use valueInRange"
        )
    );
    let hints = unknown.hints(std::time::Duration::from_secs(1));
    assert!(
        hints.iter().any(|hint| hint.contains("write an evidenceQuery")),
        "{hints:?}"
    );
    let own = item(", evidenceQuery: b").unwrap();
    let known = vector(&["pod=can-1 1", "pod=can-2 1"]);
    assert_eq!(own.judge(&vector(&[]), Some(&known), &PODS).outcome, Pass);
    assert!(own.hints(std::time::Duration::from_secs(1)).is_empty());
    // Without an operator nothing can hide an operand.
    assert!(!evidence("new_syntax a", "").is_empty());
}

#[test]
fn a_query_that_selects_nothing_is_refused() {
    let filled = parse("{prometheusService: p, query: up, noResult: {}, evidenceQuery: 'sum(up or vector(1))'}");
    assert!(filled.unwrap_err().contains("leave `or vector(…)` out"));
    for query in ["vector(1) > 2", "1 > bool 2", "time() > 5", "sum by (pod) (vector(1))"] {
        let error = parse(&format!("{{prometheusService: p, query: '{query}', noResult: {{}}}}")).unwrap_err();
        assert!(
            error.contains("query selects no series, so with noResult it could never fail"),
            "{error}"
        );
        let error = parse(&format!(
            "{{prometheusService: p, query: up, noResult: {{}}, evidenceQuery: '{query}'}}"
        ));
        assert!(
            error
                .unwrap_err()
                .contains("evidenceQuery yields a value without any series")
        );
    }
}
