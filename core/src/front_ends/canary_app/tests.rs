use serde_json::{Value, json};

use super::*;
use crate::{
    ParsedKanary,
    api::{Kanary, KanaryKind, TrafficSource},
    front_ends::Kept,
};

mod told;
mod words;

fn sample() -> Value {
    json!({
        "image": "registry.example/hello:v1", "imageListenPort": 8088, "replicas": 2, "testReplicas": 1,
        "prometheusQuery": "increase(requests_total{service=\"hello\",code=~\"5.*\"}[20s]) > 2",
        "prometheusURL": "http://prometheus.monitoring:9090",
    })
}

fn with(over: &Value) -> Value {
    let mut spec = sample();
    for (name, value) in over.as_object().unwrap() {
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(name);
        } else {
            spec[name] = value.clone();
        }
    }
    spec
}

fn parsed(spec: Value, status: Option<Value>) -> ParsedKanary {
    let object = json!({"metadata": {"name": "hello", "namespace": "shop", "uid": "u", "generation": 1}});
    let object = Kanary {
        spec,
        status,
        ..serde_json::from_value(object).unwrap()
    };
    ParsedKanary::parse(KanaryKind::CanaryApp, &object).unwrap()
}

fn problems(over: &Value) -> Vec<String> {
    let problems = parsed(with(over), None).spec.problems.clone();
    problems.into_iter().map(|problem| problem.message).collect()
}

fn kept<'a>(frame: &'a Frame, key: &str) -> &'a Kept {
    frame.kept.iter().find(|kept| kept.key() == key).unwrap()
}

#[test]
fn the_published_sample_is_a_run_with_six_steps_between_two_subsets() {
    let app = parsed(sample(), None);
    let spec = &app.spec;
    assert_eq!(spec.problems, []);
    assert_eq!(spec.target.to_string(), "Deployment hello-primary");
    assert_eq!(spec.canary.to_string(), "Deployment hello-secondary");
    assert_eq!(spec.service.as_deref(), Some("hello"));
    assert_eq!(spec.backends(), ("hello/primary", "hello/secondary"));
    assert_eq!(spec.traffic, TrafficSource::Weighted);
    let routing = spec.routing.as_ref().unwrap();
    let weights: Vec<_> = routing.steps.iter().map(|step| step.weight).collect();
    assert_eq!(weights, [10, 20, 30, 40, 50, 60]);
    assert_eq!(routing.interval.as_secs(), 30);
    assert_eq!(spec.scale.replicas(9), Some(1));
    let template = spec.template.spec();
    assert_eq!(template["replicas"], 2);
    assert_eq!(
        template["template"]["spec"]["containers"],
        json!([{
            "name": "hello", "image": "registry.example/hello:v1",
            "ports": [{"name": "http", "containerPort": 8088, "protocol": "TCP"}],
        }])
    );
    let labels = json!({"app": "hello", "owner": "canaryop", "service": "primary"});
    assert_eq!(template["template"]["metadata"]["labels"], labels);
    assert_eq!(template["selector"]["matchLabels"], labels);
}

#[test]
fn the_owned_objects_have_the_published_names_and_a_gateway_unless_it_is_left_out() {
    let app = parsed(sample(), None);
    let frame = app.spec.frame.as_ref().unwrap();
    let keys: Vec<_> = frame.kept.iter().map(Kept::key).collect();
    let all = [
        "Service/hello",
        "DestinationRule/hello",
        "Gateway/hello",
        "VirtualService/hello",
        "Deployment/hello-primary",
    ];
    assert_eq!(keys, all);
    let route = &kept(frame, "VirtualService/hello").keep["spec"];
    assert_eq!(route["hosts"], json!(["*"]));
    assert_eq!(route["gateways"], json!(["hello"]));
    let destination = json!({"host": "hello", "subset": "primary", "port": {"number": 8088}});
    assert_eq!(
        route["http"],
        json!([{"route": [{"destination": destination, "weight": 100}]}])
    );
    assert_eq!(kept(frame, "Deployment/hello-primary").create, None);

    let app = parsed(with(&json!({"gateway": "mesh"})), None);
    let frame = app.spec.frame.as_ref().unwrap();
    assert!(!frame.kept.iter().any(|kept| kept.resource.kind == "Gateway"));
    let route = &kept(frame, "VirtualService/hello").keep["spec"];
    // Without `mesh`, the Gateway of a former spec would stay.
    assert_eq!(
        (&route["hosts"], &route["gateways"]),
        (&json!(["hello"]), &json!(["mesh"]))
    );
}

/// Fields of an application behind a Gateway of Gateway API.
fn behind_gateway() -> Value {
    json!({
        "parentRefs": [{"name": "web", "namespace": "infra", "sectionName": "https"}, {"name": "internal"}],
        "prometheusQuery": "errors{workload=\"{{ canary.name }}\"} > 2",
    })
}

fn behind_gateway_with(over: &Value) -> Value {
    let mut spec = behind_gateway();
    spec.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    spec
}

#[test]
fn behind_a_gateway_of_gateway_api_an_http_route_leads_to_two_services() {
    let app = parsed(with(&behind_gateway()), None);
    let spec = &app.spec;
    assert_eq!(spec.problems, []);
    assert_eq!(spec.backends(), ("hello", "hello-secondary"));
    assert!(!spec.shares_service("hello"));
    let routing = spec.routing.as_ref().unwrap();
    assert_eq!(
        (routing.kind, routing.name.as_deref()),
        (Some(RouteKind::Http), Some("hello"))
    );
    let frame = spec.frame.as_ref().unwrap();
    let keys: Vec<_> = frame.kept.iter().map(Kept::key).collect();
    assert_eq!(keys, ["Service/hello", "HTTPRoute/hello", "Deployment/hello-primary"]);
    let selector = &kept(frame, "Service/hello").keep["spec"]["selector"];
    assert_eq!(
        *selector,
        json!({"app": "hello", "owner": "canaryop", "service": "primary"})
    );
    let parent = |name: &str, namespace: Value, section: Value| {
        json!({
            "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name, "namespace": namespace,
            "sectionName": section, "port": null,
        })
    };
    let route = &kept(frame, "HTTPRoute/hello").keep["spec"];
    let expected = json!({
        "parentRefs": [parent("web", json!("infra"), json!("https")), parent("internal", json!(null), json!(null))],
        "hostnames": [],
        "rules": [{"backendRefs": [{"name": "hello", "port": 8088}]}],
    });
    assert_eq!(*route, expected);
    let named = parsed(with(&behind_gateway_with(&json!({"hosts": ["hello.example"]}))), None);
    let route = &kept(named.spec.frame.as_ref().unwrap(), "HTTPRoute/hello").keep["spec"];
    assert_eq!(route["hostnames"], json!(["hello.example"]));
}

#[test]
fn another_way_of_the_requests_starts_a_run_that_is_under_way_again_and_keeps_what_it_must() {
    let key = |over: &Value| parsed(with(over), None).spec.traffic_key.clone();
    assert_eq!(key(&json!({})), key(&json!({"gateway": "mesh"})));
    assert_ne!(key(&json!({})), key(&behind_gateway()));
    let unwanted = |over: &Value| {
        let app = parsed(with(over), None);
        let all = app.spec.frame.as_ref().unwrap().unwanted.clone();
        let keys = all.into_iter().map(|(resource, name)| resource.key(&name));
        keys.collect::<Vec<_>>()
    };
    assert_eq!(unwanted(&json!({})), ["HTTPRoute/hello"]);
    assert_eq!(
        unwanted(&json!({"gateway": "mesh"})),
        ["HTTPRoute/hello", "Gateway/hello"]
    );
    assert_eq!(
        unwanted(&behind_gateway()),
        ["VirtualService/hello", "DestinationRule/hello", "Gateway/hello"]
    );
}

#[test]
fn behind_a_gateway_of_gateway_api_a_query_has_to_find_the_errors_of_the_secondary() {
    for query in [
        "x{service=\"secondary\"} > 2",
        "x{workload=\"{{canary.name}}\"}",
        "x{pod=~\"{{ canary.pods }}\"}",
        "x{pod=~\"{{ pods }}\"}",
    ] {
        let over = behind_gateway_with(&json!({"prometheusQuery": query}));
        assert_eq!(problems(&over), Vec::<String>::new(), "{query}");
    }
    for query in [
        "x{destination_service_name=\"hello\"} > 2",
        "secondary > 2",
        "x{workload=\"hello\"} > 2 # secondary",
        "x{pod=~\"hellox-secondary.*\"} > 2",
    ] {
        let over = behind_gateway_with(&json!({"prometheusQuery": query}));
        let [problem] = problems(&over).try_into().unwrap();
        assert!(
            problem.contains("no matcher of spec.prometheusQuery selects"),
            "{query}: {problem}"
        );
        assert!(problem.contains("pod=~\"{{ pods }}\""), "{problem}");
    }
    for (over, expected) in [
        (json!({"gateway": "mesh"}), "remove one of them"),
        (json!({"parentRefs": [{"name": ""}]}), "has no name: set it"),
        (json!({"parentRefs": [{}]}), "missing field `name`"),
    ] {
        let [problem] = problems(&behind_gateway_with(&over)).try_into().unwrap();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn a_primary_that_somebody_deleted_gets_the_image_that_passed_last() {
    let status = json!({"lastSuccessfulTag": "registry.example/hello:v0", "observedGeneration": 1, "report": {}});
    let app = parsed(sample(), Some(status));
    let create = kept(app.spec.frame.as_ref().unwrap(), "Deployment/hello-primary")
        .create
        .clone();
    let image = create
        .unwrap()
        .pointer("/spec/template/spec/containers/0/image")
        .cloned();
    assert_eq!(image, Some(json!("registry.example/hello:v0")));
}

#[test]
fn only_the_image_and_the_port_make_another_run() {
    let hash = |over: Value| parsed(with(&over), None).spec.template_hash.clone();
    let same = hash(json!({}));
    for over in [
        json!({"replicas": 5}),
        json!({"testReplicas": 3}),
        json!({"trafficShiftUpdateInterval": 5}),
        json!({"failWhenPrometheusFails": true}),
    ] {
        assert_eq!(hash(over.clone()), same, "{over}");
    }
    assert_ne!(hash(json!({"image": "registry.example/hello:v2"})), same);
    assert_ne!(hash(json!({"imageListenPort": 80})), same);
}

#[test]
fn what_is_missing_or_wrong_is_named_as_the_user_wrote_it() {
    for (over, expected) in [
        (json!({"image": null}), "spec.image is missing: set it"),
        (
            json!({"imageListenPort": null}),
            "spec.imageListenPort is missing: set it",
        ),
        (json!({"replicas": 0}), "spec.replicas is 0: use 1 or more"),
        (json!({"testReplicas": null}), "spec.testReplicas is missing: set it"),
        (
            json!({"prometheusQuery": ""}),
            "spec.prometheusQuery is missing: set it",
        ),
        (json!({"gateway": "nginx"}), "spec.gateway is nginx: use istio or mesh"),
    ] {
        assert_eq!(problems(&over), [expected], "{over}");
    }
    let [unreadable] = problems(&json!({"replicas": "two"}))
        .try_into()
        .unwrap_or_else(|all| panic!("{all:?}"));
    assert!(unreadable.starts_with("spec.replicas"), "{unreadable}");
    let [query] = problems(&json!({"prometheusQuery": "vector(1) > 2"}))
        .try_into()
        .unwrap();
    assert!(query.starts_with("spec.prometheusQuery selects no series"), "{query}");
    for (query, why) in [
        ("sum(errors > 2", "spec.prometheusQuery has a `(` that is not closed"),
        ("# errors > 2", "spec.prometheusQuery has no expression"),
    ] {
        let [refused] = problems(&json!({"prometheusQuery": query})).try_into().unwrap();
        assert!(refused.starts_with(why), "{refused}");
    }
}

#[test]
fn an_unanswered_query_holds_unless_the_user_says_that_it_fails() {
    let fails = |over: Value| parsed(with(&over), None).spec.frame.as_ref().unwrap().fails_unanswered;
    assert!(!fails(json!({})));
    assert!(!fails(json!({"failWhenPrometheusFails": false})));
    assert!(fails(json!({"failWhenPrometheusFails": true})));
}

#[test]
fn a_status_of_another_kind_has_no_such_fields() {
    let status = json!({"trafficShift": 10, "observedGeneration": 1, "report": {}});
    let object = json!({
        "metadata": {"name": "hello", "namespace": "shop", "uid": "u"}, "spec": {"template": {"spec": {}}}, "status": status,
    });
    let object: Kanary = serde_json::from_value(object).unwrap();
    let kanary = ParsedKanary::parse(KanaryKind::Deployment, &object).unwrap();
    assert_eq!(kanary.status.own, OwnFields::default());
    let app = ParsedKanary::parse(KanaryKind::CanaryApp, &object).unwrap();
    assert_eq!(app.status.own.get("trafficShift"), Some(&json!(10)));
}

#[test]
fn messages_of_the_engine_speak_of_the_image() {
    let said = "this template failed before and is not run again: change the template, or set spec.retry to another number to run it \
                once more";
    let told = crate::front_ends::in_words(&CanaryApp, said.to_owned());
    assert!(told.starts_with("this image failed before"), "{told}");
    assert!(told.contains("change spec.image, or set spec.retry"), "{told}");
}
