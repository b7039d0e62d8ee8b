//! Pods, Services, and ways out of production, in the input of cases.

use serde_json::{Value, json};

use super::input::{cause, labels, number, t0, text, time};
use crate::{
    ParsedKanary,
    api::names,
    observation::{Attempt, Pod, Service, Ways},
    spec::Spec,
};

/// A Service. Its default selector is `app: myapp`.
pub(super) fn service(name: &str, value: &Value) -> Service {
    let ports = value["ports"].as_array();
    Service {
        name: name.to_owned(),
        selector: labels(value.get("selector").unwrap_or(&json!({"app": "myapp"}))),
        external: value["external"] == json!(true),
        deleting: value["deleting"] == json!(true),
        owner_name: value["ownerName"].as_str().map(ToOwned::to_owned),
        ports: ports.cloned().unwrap_or_else(|| vec![json!({"port": 80})]),
    }
}

/// Other Services, by name, with their selectors.
pub(super) fn services(value: &Value) -> Vec<Service> {
    let all = value.as_object().into_iter().flatten();
    all.map(|(name, selector)| service(name, &json!({"selector": selector})))
        .collect()
}

pub(super) fn attempts(value: &Value) -> Ways {
    let attempt = |name: &str| {
        let value = value.get(name)?;
        let last = time(&value["last"]).unwrap_or_else(t0);
        Some(Attempt {
            first: time(&value["first"]).unwrap_or(last),
            last,
            times: number(&value["times"]).unwrap_or(1),
            refused: value["refused"] != json!(false),
            message: text(&value["message"]).unwrap_or(format!("no {name}")),
        })
    };
    Ways {
        labels: attempt("labels"),
        deletion: attempt("deletion"),
        scale: attempt("scale"),
    }
}

/// A pod of this run unless `run` names another one. `labels` are additional labels.
pub(super) fn pod(kanary: &ParsedKanary, spec: &Spec, value: &Value) -> Pod {
    let mut pod_labels = labels(&value["labels"]);
    let run = text(&value["run"]).unwrap_or_else(|| kanary.run(spec));
    pod_labels.insert(names::RUN.to_owned(), run);
    let name = text(&value["name"]).unwrap_or("x".to_owned());
    Pod {
        uid: format!("uid-{name}"),
        name,
        labels: pod_labels,
        former_run: (value["lostRun"] == json!(true)).then(|| kanary.run(spec)),
        ready: value["ready"] != json!(false),
        ready_second: None,
        terminating: value["terminating"] == json!(true),
        released: value["released"] == json!(true),
        kanaries: text(&value["owner"]).into_iter().collect(),
        edited: value["edited"] == json!(true),
        node: None,
        cause: cause(&value["cause"]),
    }
}
