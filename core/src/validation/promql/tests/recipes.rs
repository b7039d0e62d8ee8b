//! The recipes of docs/api.md.

use super::{Fail, NoData, Pass, PromQl, absence::measured};
use crate::{api::ValidationItem, validation::promql::PromQl as Parsed};

/// The items of the YAML block behind this text.
fn recipes() -> Vec<PromQl> {
    let docs = include_str!("../../../../../docs/api.md");
    let (_, behind) = docs.split_once("These\nitems can be copied.").unwrap();
    let (_, block) = behind.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let items: Vec<ValidationItem> = serde_yaml_ng::from_str(block).unwrap();
    let parse = |item: ValidationItem| Parsed::parse(&item.prom_ql.unwrap(), std::time::Duration::from_secs(20));
    items.into_iter().map(|item| parse(item).unwrap()).collect()
}

const RUNNING: &str = "kube_pod_status_phase{*,namespace=ns,phase=Running} 1";

#[test]
fn a_recipe_passes_a_good_canary_and_fails_a_bad_one() {
    let recipes = recipes();
    let [killed, crashing, alert] = recipes.as_slice() else {
        panic!("{} recipes", recipes.len());
    };
    let [oom, waiting] = ["last_terminated_reason", "waiting_reason"]
        .map(|name| format!("kube_pod_container_status_{name}{{*,namespace=ns,reason=OOMKilled}} 1"));
    let waiting = waiting.replace("OOMKilled", "CrashLoopBackOff");
    let restarts = |number: u8| format!("kube_pod_container_status_restarts_total{{*,namespace=ns}} {number}");
    for (item, good, bad) in [
        (killed, restarts(1), [oom.clone(), oom]),
        (crashing, restarts(2), [waiting, restarts(3)]),
    ] {
        assert_eq!(measured(&format!("{RUNNING}; {good}"), item).outcome, Pass);
        assert_eq!(measured("", item).outcome, NoData);
        for bad in bad {
            assert_eq!(measured(&format!("{RUNNING}; {bad}"), item).outcome, Fail, "{bad}");
        }
    }
    // The controller judges only ready pods, and the alert needs requests.
    assert_eq!(measured("http_requests_total{*} 9", alert).outcome, NoData);
    let firing = "ALERTS{*,alertname=HighErrorRate,alertstate=firing} 1";
    assert_eq!(measured(firing, alert).outcome, Fail);
    for item in &recipes {
        let hints = item.hints(std::time::Duration::from_mins(10));
        assert_eq!(hints, Vec::<String>::new());
    }
}
