use serde_json::{Value, json};

use super::*;
use crate::manifests::documents;

fn manifests(text: &str) -> Vec<Manifest> {
    let objects = documents(text).unwrap();
    let manifest = |object| Manifest {
        file: "test.yaml".to_owned(),
        object,
        source: None,
    };
    objects.into_iter().map(manifest).collect()
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: podinfo, labels: {app: podinfo}}
spec:
  replicas: 2
  selector: {matchLabels: {app: podinfo}}
  template:
    metadata: {labels: {app: podinfo}}
    spec: {containers: [{name: podinfod, image: 'podinfo:6.0.1'}]}
---
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: not-found-percentage}
spec:
  provider: {type: prometheus, address: 'http://prometheus.linkerd:9090'}
  query: |
    sum(rate(http_requests_total{namespace='{{ namespace }}', workload='{{ target }}', status='404'}[{{ interval }}]))
    / sum(rate(http_requests_total{namespace='{{ namespace }}', workload='{{ target }}'}[{{ interval }}])) * 100
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: success-rate}
spec:
  args: [{name: service}, {name: prometheus, value: 'http://prometheus.monitoring:9090'}]
  metrics:
    - name: success-rate
      interval: 10s
      failureLimit: 3
      successCondition: result[0] >= 0.95
      provider:
        prometheus:
          address: '{{args.prometheus}}'
          query: sum(rate(requests{service='{{args.service}}',code!~'5..'}[1m])) / sum(rate(requests{service='{{args.service}}'}[1m]))
";

fn flagger(analysis: &str) -> anyhow::Result<Converted> {
    let canary = format!(
        "{{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {{name: podinfo, namespace: test}}, spec: {{targetRef: {{apiVersion: \
         apps/v1, kind: Deployment, name: podinfo}}, progressDeadlineSeconds: 60, service: {{port: 80}}, analysis: {analysis}}}}}"
    );
    let all = manifests(DEPLOYMENT);
    super::flagger::convert(&manifests(&canary)[0].object, &all)
}

fn argo(spec: &str) -> Converted {
    let rollout = format!(
        "{{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {{name: podinfo}}, spec: {{replicas: 4, selector: {{matchLabels: \
         {{app: podinfo}}}}, template: {{metadata: {{labels: {{app: podinfo}}}}, spec: {{containers: [{{name: a, image: 'a:2'}}]}}}}, \
         {spec}}}}}"
    );
    super::argo::convert(&manifests(&rollout)[0].object, &manifests(DEPLOYMENT)).unwrap()
}

fn paths(converted: &Converted) -> Vec<&str> {
    converted.lost.iter().map(|lost| lost.path.as_str()).collect()
}

async fn problems(converted: &Converted) -> Vec<String> {
    Checker::new()
        .unwrap()
        .check(KanaryKind::Deployment, &converted.kanary)
        .await
        .problems
}

#[tokio::test]
async fn a_canary_of_flagger_keeps_its_metrics_and_its_pace() {
    let converted = flagger(
        "{interval: 10s, threshold: 5, maxWeight: 50, stepWeight: 5, metrics: [{name: request-success-rate, thresholdRange: {min: 99}}, \
         {name: request-duration, thresholdRange: {max: 500}}, {name: '404s', templateRef: {name: not-found-percentage}, \
         thresholdRange: {max: 5}, interval: 1m}], webhooks: [{name: load-test, url: 'http://x'}]}",
    )
    .unwrap();
    assert_eq!(problems(&converted).await, Vec::<String>::new());
    let spec = &converted.kanary["spec"];
    assert_eq!(
        converted.kanary["metadata"],
        json!({"name": "podinfo", "namespace": "test"})
    );
    assert_eq!(
        (&spec["deploymentName"], &spec["serviceName"]),
        (&json!("podinfo"), &json!("podinfo"))
    );
    let validation = &spec["validation"];
    assert_eq!(
        (&validation["validationPeriod"], &validation["maxIntervalPeriod"]),
        (&json!("1m40s"), &json!("10s"))
    );
    assert_eq!(spec["rollout"]["progressDeadline"], "1m0s");
    let items = validation["items"].as_array().unwrap();
    assert_eq!(items[0]["promQL"]["valueInRange"], json!({"min": 0.99}));
    assert_eq!(items[1]["promQL"]["valueInRange"], json!({"max": 500.0}));
    let query = items[2]["promQL"]["query"].as_str().unwrap();
    assert!(
        query.contains("workload='{{ canary.name }}', status='404'}[1m]"),
        "{query}"
    );
    assert!(
        items.iter().all(|item| item["promQL"]["failureLimit"] == 4),
        "{items:?}"
    );
    assert_eq!(
        paths(&converted),
        ["spec.analysis.stepWeight", "spec.analysis.webhooks", "spec.targetRef"]
    );
}

#[tokio::test]
async fn what_flagger_judges_elsewhere_is_listed_and_left_to_a_person() {
    let converted = flagger(
        "{iterations: 3, match: [{headers: {}}], metrics: [{name: x, templateRef: {name: absent}}, {name: y, query: 'up{a=\"{{ \
         variables.z }}\"}'}]}",
    )
    .unwrap();
    assert_eq!(problems(&converted).await, Vec::<String>::new());
    assert_eq!(converted.kanary["spec"]["validation"]["items"], json!([{"manual": {}}]));
    assert_eq!(converted.kanary["spec"]["validation"]["validationPeriod"], "3m0s");
    let lost = format!("{:?}", converted.lost);
    for part in ["MetricTemplate absent", "variables.z", "spec.analysis.match"] {
        assert!(lost.contains(part), "{part}: {lost}");
    }
}

#[test]
fn flaggers_target_has_to_be_a_deployment_among_the_files() {
    let canary = |target: Value| json!({"metadata": {"name": "x"}, "spec": {"targetRef": target}});
    for (target, why) in [
        (json!({"kind": "DaemonSet", "name": "x"}), "works on Deployments"),
        (
            json!({"kind": "Deployment", "name": "absent"}),
            "add the manifest of Deployment absent",
        ),
        (json!({}), "has no spec.targetRef.name"),
    ] {
        let error = super::flagger::convert(&canary(target), &manifests(DEPLOYMENT))
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_rollout_of_argo_keeps_its_pauses_and_its_analysis() {
    let converted = argo(
        "strategy: {canary: {stableService: web, steps: [{setWeight: 20}, {pause: {duration: 5m}}, {setWeight: 50}, {pause: {duration: \
         300}}, {analysis: {templates: [{templateName: success-rate}], args: [{name: service, value: web}]}}], trafficRouting: {istio: \
         {}}}}",
    );
    assert_eq!(problems(&converted).await, Vec::<String>::new());
    let spec = &converted.kanary["spec"];
    assert_eq!(spec["scale"], json!({"percent": {"value": 20}}));
    assert_eq!(
        (&spec["serviceName"], &spec["traffic"]["source"]),
        (&json!("web"), &json!("service"))
    );
    assert_eq!(spec["validation"]["validationPeriod"], "10m0s");
    let item = &spec["validation"]["items"][0]["promQL"];
    assert_eq!(item["prometheusURL"], "http://prometheus.monitoring:9090");
    assert_eq!((&item["interval"], &item["failureLimit"]), (&json!("10s"), &json!(3)));
    assert_eq!(item["valueInRange"]["min"], 0.95);
    assert!(item["query"].as_str().unwrap().contains("service='web'"), "{item}");
    let expected = [
        "spec.template",
        "spec.strategy.canary.steps[2]",
        "spec.strategy.canary.trafficRouting",
    ];
    assert_eq!(paths(&converted), expected);
}

#[tokio::test]
async fn a_pause_without_an_end_waits_for_a_person() {
    for strategy in [
        "{canary: {steps: [{pause: {}}]}}",
        "{blueGreen: {activeService: web, previewService: next, autoPromotionEnabled: false}}",
    ] {
        let converted = argo(&format!("strategy: {strategy}"));
        assert_eq!(problems(&converted).await, Vec::<String>::new());
        assert_eq!(converted.kanary["spec"]["validation"]["items"], json!([{"manual": {}}]));
    }
    let unknown = argo("strategy: {canary: {analysis: {templates: [{templateName: success-rate}]}}}");
    let lost = format!("{:?}", unknown.lost);
    assert!(lost.contains("args.service has no value"), "{lost}");
}

/// What is listed for a metric of an `AnalysisTemplate` with these fields.
fn lost_of(fields: &str) -> (usize, String) {
    let template = format!(
        "{{apiVersion: argoproj.io/v1alpha1, kind: AnalysisTemplate, metadata: {{name: t}}, spec: {{metrics: [{{name: m, {fields}, provider: \
         {{prometheus: {{address: 'http://p:9090', query: up}}}}}}]}}}}"
    );
    let rollout = "{kind: Rollout, metadata: {name: x}, spec: {strategy: {canary: {stableService: web, analysis: {templates: \
                   [{templateName: t}]}}}}}";
    let converted = super::argo::convert(&manifests(rollout)[0].object, &manifests(&template)).unwrap();
    let items = converted.kanary["spec"]["validation"]["items"].as_array().unwrap();
    let judging = items.iter().filter(|item| item["promQL"].is_object()).count();
    let of_metric = converted.lost.iter().filter(|lost| lost.path.contains("metric m"));
    let lines: Vec<_> = of_metric.map(|lost| format!("{}: {}", lost.path, lost.why)).collect();
    (judging, lines.join("\n"))
}

#[test]
fn what_a_metric_judges_in_another_way_is_listed() {
    for (fields, part) in [
        ("successCondition: 'result[0] > 0'", "successCondition: the bounds"),
        ("failureCondition: 'result[0] >= 0.05'", "failureCondition: the bounds"),
        (
            "successCondition: 'result[0] >= 1', failureCondition: 'result[0] < 0'",
            "none are inconclusive",
        ),
        ("successCondition: 'result[0] >= 1', interval: 5m", "maxIntervalPeriod"),
        ("successCondition: 'result[0] >= 1', count: 3", ".count: "),
        (
            "successCondition: 'result[0] >= 1', initialDelay: 1m",
            ".initialDelay: ",
        ),
        (
            "successCondition: 'result[0] >= 1', inconclusiveLimit: 2",
            ".inconclusiveLimit: ",
        ),
    ] {
        let (judging, lost) = lost_of(fields);
        assert!(judging == 1 && lost.contains(part), "{fields}: {lost}");
    }
    for fields in [
        "successCondition: 'result[0] >= 1'",
        "failureCondition: 'result[0] > 0.05', interval: 20s",
    ] {
        assert_eq!(lost_of(fields), (1, String::new()), "{fields}");
    }
    // What only the failureCondition calls bad is not all that the metric fails.
    let (judging, lost) = lost_of("successCondition: 'len(result) > 0', failureCondition: 'result[0] > 5'");
    assert!(judging == 0 && lost.contains("one number"), "{lost}");
}

#[test]
fn a_window_that_a_built_in_metric_does_not_get_is_listed() {
    let lost = |analysis: &str| format!("{:?}", paths(&flagger(analysis).unwrap()));
    let metrics = "metrics: [{name: request-success-rate, interval: WINDOW}]}";
    let other = lost(&format!("{{interval: 10s, {}", metrics.replace("WINDOW", "7m")));
    assert!(other.contains("metrics[0].interval"), "{other}");
    let same = lost(&format!(
        "{{interval: 10s, {}",
        metrics.replace("WINDOW", crate::istio::RANGE)
    ));
    assert!(!same.contains("metrics[0].interval"), "{same}");
}

#[test]
fn a_switch_that_is_off_asks_for_nothing() {
    let canary = "{metadata: {name: podinfo}, spec: {targetRef: {kind: Deployment, name: podinfo}, skipAnalysis: false, analysis: \
                  {metrics: [{name: request-success-rate}]}}}";
    let all = manifests(DEPLOYMENT);
    let converted =
        super::flagger::convert(&manifests(&format!("{{kind: Canary, {}", &canary[1..]))[0].object, &all).unwrap();
    assert!(
        !paths(&converted).iter().any(|path| path.contains("skipAnalysis")),
        "{converted:?}"
    );
}

#[test]
fn simple_conditions_become_ranges() {
    use super::argo::range;
    let (least, most) = (
        json!({"min": 0.95, "max": UNLIMITED}),
        json!({"min": -UNLIMITED, "max": 5.0}),
    );
    for (condition, negated, expected) in [
        ("result[0] >= 0.95", false, Some(&least)),
        ("result[0] < 0.95", true, Some(&least)),
        ("result[0]<5", false, Some(&most)),
        ("result[0] > 5", true, Some(&most)),
        ("len(result) > 0", false, None),
        ("result[0] >= 0.95 && result[1] < 2", false, None),
        ("result[0] == 1", false, None),
        ("isNaN(result[0])", true, None),
    ] {
        assert_eq!(range(condition, negated).as_ref(), expected, "{condition}");
    }
}
