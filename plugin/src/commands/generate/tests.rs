use clap::Parser;
use k8s_openapi::api::core::v1::Service;

use super::*;
use crate::cli::{Cli, Command};

fn options(arguments: &[&str]) -> Result<Generate, String> {
    options_for("myapp", arguments)
}

fn options_for(target: &str, arguments: &[&str]) -> Result<Generate, String> {
    let cli = Cli::try_parse_from([&["kubectl-kanary", "generate", target], arguments].concat());
    match cli.map_err(|error| error.to_string())?.command {
        Command::Generate(options) => Ok(*options),
        other => panic!("{other:?}"),
    }
}

fn source(target: &WorkloadRef, fields: &Value) -> Source {
    let mut object = json!({
        "metadata": {
            "name": "myapp", "labels": {"team": "shop"}, "uid": "u",
            "annotations": {"deployment.kubernetes.io/revision": "7"},
        },
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": "myapp"}},
            "template": {
                "metadata": {"labels": {"app": "myapp"}, "creationTimestamp": null},
                "spec": {"containers": [{"name": "app", "image": "myapp:v1"}]},
            },
        },
        "status": {"replicas": 4},
    });
    kanary_sim::patch::merge(&mut object["spec"], fields);
    Source::of(target, &object).unwrap()
}

fn deployment() -> Source {
    source(&WorkloadRef::new(WorkloadKind::Deployment, "myapp"), &json!({}))
}

fn service(selector: &Value, ports: &Value) -> Service {
    serde_json::from_value(json!({"spec": {"selector": selector, "ports": ports}})).unwrap()
}

/// What is generated, which the API server and the controller accept.
async fn generated(arguments: &[&str]) -> (Value, Vec<String>) {
    let options = options(arguments).unwrap();
    let (kanary, notes) = build(&options, "shop", &deployment()).unwrap();
    let report = Checker::new().unwrap().check(KanaryKind::Deployment, &kanary).await;
    assert_eq!(report.problems, Vec::<String>::new(), "{arguments:?}");
    assert_eq!(report.warnings, Vec::<String>::new(), "{arguments:?}");
    (kanary, notes)
}

#[tokio::test]
async fn every_combination_of_the_published_flags_is_accepted() {
    for scale in ["static", "static=2", "percent", "percent=30"] {
        for traffic in ["none", "service", "kanary-service", "both"] {
            for validation in [
                &[] as &[&str],
                &[
                    "--validation-labelwatch-pod",
                    "alert in (cpu,memory)",
                    "--validation-labelwatch-dep",
                    "validation=failed",
                ],
                &["--validation-promql-istio-quantile", "P99<310"],
                &[
                    "--validation-promql-istio-success",
                    "0.95",
                    "--validation-promql-istio-quantile",
                    "P50<0.2s",
                ],
            ] {
                let is_measured = validation.iter().any(|flag| flag.contains("istio"));
                if is_measured && traffic == "none" {
                    continue;
                }
                let flags = [
                    "--name",
                    "batman",
                    "--service",
                    "myapp-svc",
                    "--scale",
                    scale,
                    "--traffic",
                    traffic,
                ];
                generated(&[&flags, validation].concat()).await;
            }
        }
    }
}

#[tokio::test]
async fn the_kanary_has_what_was_asked_for_and_nothing_of_the_server() {
    let flags = [
        "--validation-period",
        "2m",
        "--dry-run",
        "--service",
        "myapp-svc",
        "--traffic",
        "service",
    ];
    let (kanary, notes) = generated(&flags).await;
    assert_eq!(kanary["metadata"], json!({"name": "myapp", "namespace": "shop"}));
    let spec = &kanary["spec"];
    assert_eq!(
        (&spec["deploymentName"], &spec["serviceName"]),
        (&json!("myapp"), &json!("myapp-svc"))
    );
    let validation = json!({"validationPeriod": "2m0s", "noUpdate": true, "items": [{"manual": {}}]});
    assert_eq!(spec["validation"], validation);
    assert_eq!(spec["template"]["metadata"], json!({"labels": {"team": "shop"}}));
    assert_eq!(
        spec["template"]["spec"]["template"]["metadata"],
        json!({"labels": {"app": "myapp"}})
    );
    assert!(notes[0].contains("put the new image"), "{notes:?}");
}

#[test]
fn what_cannot_work_is_refused() {
    let refused = |arguments: &[&str]| {
        let options = options(arguments).unwrap();
        build(&options, "shop", &deployment()).unwrap_err().to_string()
    };
    let error = refused(&["--validation-promql-istio-success", "0.95"]);
    assert!(error.contains("gets no requests"), "{error}");
    let error = refused(&["--scale", "hpa"]);
    assert!(
        error.contains("container app") && error.contains("resources.requests.cpu"),
        "{error}"
    );
    for (arguments, why) in [
        (["--scale", "many"], "write static, percent or hpa"),
        (["--scale", "static=0"], "not a number above 0"),
        (["--scale", "percent=101"], "1 to 100"),
        (["--traffic", "mirror"], "possible values"),
        (["--validation-period", "15"], "is not a duration"),
        (["--validation-promql-istio-quantile", "P99>310"], "the sign is <"),
        (["--validation-promql-istio-success", "95"], "like 0.95"),
        (["--validation-labelwatch-pod", "a b"], "is no label"),
    ] {
        let error = options(&arguments).unwrap_err();
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
}

#[test]
fn a_service_has_to_select_the_pods() {
    let ports = json!([{"port": 80}]);
    let check = |selector: Value, ports: &Value| deployment().is_selected_by("web", &self::service(&selector, ports));
    assert!(check(json!({"app": "myapp"}), &ports).is_ok());
    for (selector, ports, why) in [
        (json!({"app": "other"}), &ports, "they have no label app=other"),
        (json!({}), &ports, "has no selector"),
        (json!({"app": "myapp"}), &json!([]), "has no ports"),
    ] {
        let error = check(selector, ports).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn an_autoscaler_has_the_replicas_of_the_target_by_default() {
    let requests = json!([{"name": "app", "image": "a", "resources": {"requests": {"cpu": "100m"}}}]);
    let target = WorkloadRef::new(WorkloadKind::StatefulSet, "myapp");
    let source = source(&target, &json!({"template": {"spec": {"containers": requests}}}));
    let max = |scale| scale_spec(scale, &target, &source).unwrap().hpa.unwrap().max_replicas;
    assert_eq!((max(Scale::Hpa(None)), max(Scale::Hpa(Some(2)))), (4, 2));
}

/// The Kanary for a workload with these fields, which the API server and the controller accept.
async fn generated_for(target: &str, fields: Value, arguments: &[&str]) -> (Value, Vec<String>) {
    let options = options_for(target, arguments).unwrap();
    let (kanary, notes) = build(&options, "shop", &source(&options.target, &fields)).unwrap();
    let report = Checker::new().unwrap().check(kind(&options), &kanary).await;
    assert_eq!(report.problems, Vec::<String>::new(), "{target}");
    assert_eq!(report.warnings, Vec::<String>::new(), "{target}");
    (kanary, notes)
}

#[tokio::test]
async fn a_stateful_set_gets_a_kanary_of_its_own_kind() {
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "creationTimestamp": null},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"},
        "status": {"phase": "Pending"},
    });
    let fields = json!({"serviceName": "db", "volumeClaimTemplates": [claim]});
    for target in ["statefulset/db", "sts/db", "StatefulSet.apps/db"] {
        let (kanary, notes) = generated_for(target, fields.clone(), &["--scale", "percent=50"]).await;
        assert_eq!(kanary["kind"], "KanaryStatefulset");
        assert_eq!(kanary["metadata"]["name"], "db");
        let spec = &kanary["spec"];
        assert_eq!(
            (&spec["statefulSetName"], &spec["deploymentName"], &spec["targetRef"]),
            (&json!("db"), &Value::Null, &Value::Null)
        );
        assert_eq!(spec["template"]["spec"]["serviceName"], "db");
        assert!(notes[0].contains("that StatefulSet db has now"), "{notes:?}");
        assert!(notes[1].contains("--target-kinds=StatefulSet"), "{notes:?}");
        assert_eq!(notes.len(), 2);
    }
}

#[tokio::test]
async fn a_daemon_set_is_referred_to_by_a_kanary_that_every_controller_serves() {
    let fields = json!({"replicas": null});
    let (kanary, notes) = generated_for("daemonset/agent", fields.clone(), &["--scale", "percent"]).await;
    assert_eq!(kanary["kind"], "KanaryDeployment");
    let spec = &kanary["spec"];
    assert_eq!(spec["targetRef"], json!({"kind": "DaemonSet", "name": "agent"}));
    assert_eq!(
        (&spec["deploymentName"], &spec["statefulSetName"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(spec["scale"], json!({"percent": {"value": 10}}));
    assert!(notes[1].contains("--target-kinds=DaemonSet"), "{notes:?}");
    assert_eq!(notes.len(), 2);
    let ports = json!([{"name": "app", "image": "a", "ports": [{"containerPort": 9100, "hostPort": 9100}]}]);
    let fields = json!({"replicas": null, "template": {"spec": {"containers": ports}}});
    let (_, notes) = generated_for("ds/agent", fields, &[]).await;
    assert!(notes[2].contains("have port 9100/TCP of each node"), "{notes:?}");
    let options = options_for("ds/agent", &["--scale", "hpa"]).unwrap();
    let source = source(&options.target, &json!({"replicas": null}));
    let error = build(&options, "shop", &source).unwrap_err().to_string();
    assert!(error.contains("a DaemonSet has a pod on each of its nodes"), "{error}");
}

#[test]
fn another_kind_is_no_target() {
    let error = options_for("pod/myapp", &[]).unwrap_err();
    assert!(
        error.contains("pod is no kind of target: write deployment/NAME, statefulset/NAME or daemonset/NAME"),
        "{error}"
    );
    for text in ["", "sts/", "ds/a/b"] {
        let error = options_for(text, &[]).unwrap_err();
        assert!(error.contains("write the name of a workload"), "{text}: {error}");
    }
    for text in ["myapp", "deploy/myapp", "deployments.apps/myapp"] {
        assert_eq!(options_for(text, &[]).unwrap().target.to_string(), "Deployment myapp");
    }
    let canary = json!({"metadata": {"labels": {
        "kanary.k8s-operators.dev/iskanary": "true", "kanary.k8s-operators.dev/name": "batman",
    }}});
    let error = Source::of(&WorkloadRef::new(WorkloadKind::DaemonSet, "x"), &canary)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "DaemonSet x is the canary of Kanary batman: name the DaemonSet that a canary is to be promoted to"
    );
    let owner = json!({"apiVersion": "canary.atze.io/v1", "kind": "CanaryApp", "name": "hello", "controller": true});
    let primary = json!({"metadata": {"ownerReferences": [owner]}});
    let error = Source::of(&WorkloadRef::new(WorkloadKind::Deployment, "hello-primary"), &primary);
    assert_eq!(
        error.err().unwrap().to_string(),
        "Deployment hello-primary belongs to CanaryApp hello, which promotes to it: put the new version there"
    );
}
