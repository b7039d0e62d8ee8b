use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn options(arguments: &[&str]) -> Result<Generate, String> {
    let cli = Cli::try_parse_from([&["kubectl-kanary", "generate", "myapp"], arguments].concat());
    match cli.map_err(|error| error.to_string())?.command {
        Command::Generate(options) => Ok(*options),
        other => panic!("{other:?}"),
    }
}

fn deployment() -> Deployment {
    serde_json::from_value(json!({
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
    }))
    .unwrap()
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
    let check = |selector: Value, ports: &Value| selects("web", &self::service(&selector, ports), &deployment());
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
    let mut pods: PodSpec = deployment().spec.unwrap().template.spec.unwrap();
    pods.containers[0].resources = serde_json::from_value(json!({"requests": {"cpu": "100m"}})).unwrap();
    let max = |scale| {
        scale_spec(scale, Some(4), Some(&pods), "myapp")
            .unwrap()
            .hpa
            .unwrap()
            .max_replicas
    };
    assert_eq!((max(Scale::Hpa(None)), max(Scale::Hpa(Some(2)))), (4, 2));
}
