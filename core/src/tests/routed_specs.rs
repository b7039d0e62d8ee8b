//! What `spec.traffic` may ask of a route.

use std::collections::BTreeSet;

use super::input::read;

#[test]
#[allow(clippy::too_many_lines, reason = "one row for each mistake")]
fn blocks_that_do_not_fit_the_source_are_refused_with_the_sources_that_they_are_for() {
    let tags = "{headers: [{name: x, value: y}]}";
    for (traffic, why) in [
        ("{source: weighted}".to_owned(), "needs spec.traffic.weighted.steps"),
        (
            "{source: weighted, weighted: {steps: [10, 5]}}".to_owned(),
            "in ascending order",
        ),
        (
            "{source: weighted, weighted: {steps: [0, 5]}}".to_owned(),
            "is 0: use a number from 1 to 100",
        ),
        (
            "{source: weighted, weighted: {steps: [5, 101]}}".to_owned(),
            "is 101: use a number from 1 to 100",
        ),
        (
            "{source: weighted, weighted: {steps: [5], promoteAbove: 50}}".to_owned(),
            "reaches promoteAbove 50",
        ),
        (
            "{source: weighted, weighted: {steps: [5], interval: 500ms}}".to_owned(),
            "interval is shorter than 1s",
        ),
        (
            "{source: service, weighted: {steps: [5]}}".to_owned(),
            "is for source weighted",
        ),
        (
            format!("{{source: mirror, tagged: {tags}}}"),
            "is for source tagged or weighted",
        ),
        ("{source: tagged}".to_owned(), "needs a header or a cookie"),
        (
            "{source: tagged, tagged: {cookies: [{name: x}]}}".to_owned(),
            "the cookie x of spec.traffic.tagged needs one of value and regex",
        ),
        (
            "{source: tagged, tagged: {headers: [{name: x, value: a, regex: b}]}}".to_owned(),
            "the header x of spec.traffic.tagged needs one of value and regex",
        ),
        (
            "{source: tagged, tagged: {headers: [{name: x, regex: '(?!a)b'}]}}".to_owned(),
            "the regex of the header x of spec.traffic.tagged is not one that every proxy accepts (RE2): look-around",
        ),
        (
            "{source: weighted, weighted: {steps: [5]}, tagged: {cookies: [{name: x, regex: 'a)|(b'}]}}".to_owned(),
            "the regex of the cookie x of spec.traffic.tagged is not one that every proxy accepts (RE2): unopened group, at character 2",
        ),
        (
            "{source: mirror, mirror: {percent: 0}}".to_owned(),
            "mirror.percent is 0",
        ),
        (
            "{source: service, mirror: {activate: true}}".to_owned(),
            "mirror.activate is for source mirror",
        ),
        (
            "{source: both, route: {kind: HTTPRoute}}".to_owned(),
            "route is for source weighted or tagged or mirror",
        ),
        (
            format!("{{source: tagged, tagged: {tags}, sessionAffinity: {{}}}}"),
            "sessionAffinity is for source weighted",
        ),
        (
            "{source: weighted, weighted: {steps: [5]}, sessionAffinity: {maxAge: 1ms}}".to_owned(),
            "maxAge is shorter than 1s",
        ),
    ] {
        let input = read(&format!("spec: {{serviceName: myapp-svc, traffic: {traffic}}}"));
        let problems = &input.kanary.spec.problems;
        assert!(
            problems.iter().any(|problem| problem.message.contains(why)),
            "{traffic}: {problems:?}"
        );
        assert_eq!(input.kanary.spec.problems.len(), 1, "{traffic}: {problems:?}");
    }
}

#[test]
fn the_steps_end_at_the_first_share_above_the_limit() {
    for (above, steps) in [
        ("", vec![5, 10, 50]),
        (", promoteAbove: 10", vec![5, 10]),
        (", promoteAbove: 6", vec![5, 10]),
    ] {
        let input = read(&format!(
            "spec: {{serviceName: s, traffic: {{source: weighted, weighted: {{steps: [5, 10, 50]{above}}}}}}}"
        ));
        let routing = input.kanary.spec.routing.clone().unwrap();
        let weights: Vec<_> = routing.steps.iter().map(|step| step.weight).collect();
        assert_eq!(weights, steps);
    }
}

#[test]
fn samples_that_do_not_fit_into_a_step_are_refused() {
    let item = "{promQL: {prometheusService: 'p:9090', query: 'up', boolean: {}, interval: 10s, minSamples: 7}}";
    let input = read(&format!(
        "spec: {{serviceName: s, traffic: {{source: weighted, weighted: {{steps: [5, 50]}}}}, validation: {{items: [{item}]}}}}"
    ));
    let problems = &input.kanary.spec.problems;
    assert!(
        problems.iter().any(|problem| problem
            .message
            .contains("each step of spec.traffic.weighted has 6 measurements")),
        "{problems:?}"
    );
}

#[test]
fn any_edit_of_the_route_or_its_steps_is_another_traffic() {
    let key = |traffic: &str| {
        let input = read(&format!("spec: {{serviceName: s, traffic: {traffic}}}"));
        input.kanary.spec.traffic_key.clone()
    };
    let keys = [
        "{source: weighted, weighted: {steps: [5]}}",
        "{source: weighted, weighted: {steps: [6]}}",
        "{source: weighted, weighted: {steps: [5], interval: 2m}}",
        "{source: weighted, weighted: {steps: [5]}, route: {kind: HTTPRoute}}",
        "{source: weighted, weighted: {steps: [5]}, tagged: {headers: [{name: a, value: b}]}}",
        "{source: mirror}",
    ]
    .map(key);
    let different: BTreeSet<_> = keys.iter().collect();
    assert_eq!(different.len(), keys.len(), "{keys:?}");
    assert!(keys[0].starts_with("weighted s s-kanary-batman "), "{}", keys[0]);
}
