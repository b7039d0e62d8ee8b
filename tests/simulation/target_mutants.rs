//! Mutants with bugs that show only with targets of some kind, or with Kanaries of some kind. The checker must catch each.

use kanary::reconcile::turn::Decide;
use kanary_core::{
    api::{AfterDeadline, KanaryKind, WorkloadKind},
    decide,
    decision::Action,
    validation::Item,
};
use serde_json::json;

use crate::{
    checker::Invariant::{Exposed, Measured, Orphan, Proof, Sample, Template, Trespass},
    daemons,
    kinds::{self, passes, traffic_fails},
    mutants::{decides, is_caught_in, tampers, with_spec},
    run,
    scenario::Scenario,
    target_kinds::{Targets, creates_workload},
    trials,
    world::Wrong,
};

/// Number of seeds in a plain `cargo test`. `KANARY_TARGETS=1` runs others.
const SEEDS: u64 = 6;

const SET: Targets = Targets::Only("StatefulSet");

fn good_sets(seed: u64) -> Scenario {
    Scenario::of_targets(seed, &[passes], SET)
}

#[test]
fn nothing_goes_wrong_with_targets_of_any_kind() {
    for seed in 0..SEEDS {
        let outcome = run::run(Scenario::mixed(seed), &Wrong::default());
        let stories: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(stories.is_empty(), "seed {seed}: {}", stories.join("\n"));
    }
}

#[test]
fn a_stateful_set_that_is_promoted_without_data_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let is_untold = seen.tallies.iter().all(|tally| tally.good == 0);
        let is_over = kanary.status.deadline.is_some_and(|deadline| deadline <= now);
        let kanary = with_spec(kanary, |spec| {
            let is_set = spec.target.kind == WorkloadKind::StatefulSet;
            for item in spec
                .validation
                .items
                .iter_mut()
                .filter(|_| is_set && is_untold && is_over)
            {
                if matches!(item, Item::PromQl(_)) {
                    *item = Item::Manual {
                        status: None,
                        after_deadline: AfterDeadline::Valid,
                        ignored: None,
                    };
                }
            }
        });
        decide(&kanary, seen, now)
    };
    let unmeasured = |seed| Scenario::of_targets(seed, &[trials::nothing_is_measured], SET);
    is_caught_in(unmeasured, &decides(wrong), &[Proof, Measured]);
}

#[test]
fn volumes_of_a_canary_that_stay_are_caught() {
    let wrong = tampers(|head, mut body| {
        if creates_workload(head)
            && let Some(spec) = body["spec"].as_object_mut()
        {
            spec.remove("persistentVolumeClaimRetentionPolicy");
        }
        vec![body]
    });
    is_caught_in(good_sets, &wrong, &[Orphan]);
}

#[test]
fn a_canary_that_gets_the_volumes_of_an_earlier_one_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut seen = seen.clone();
        if let Some(claims) = &mut seen.claims {
            claims.earlier.clear();
            claims.others.clear();
        }
        decide(kanary, &seen, now)
    };
    let left = |seed| Scenario::of_targets(seed, &[crate::sets::volumes_remain], SET);
    is_caught_in(left, &decides(wrong), &[Template]);
}

/// A promotion without preconditions, of the Deployment of this name, with the labels that its selector needs.
#[test]
fn a_promotion_of_the_wrong_kind_of_the_same_name_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        for action in &mut decision.actions {
            if let Action::SetTemplate(set) = action {
                set.target.kind = WorkloadKind::Deployment;
            }
        }
        decision
    };
    let unchecked = tampers(|head, mut body| {
        let target = head.uri.path().rsplit_once("/deployments/").map(|(_, name)| name);
        let operations = body.as_array_mut().filter(|_| target.is_some());
        if let Some(operations) = operations {
            operations.retain(|operation| operation["op"] != "test");
            let mut templates = operations
                .iter_mut()
                .filter(|operation| operation["path"] == "/spec/template");
            if let Some(template) = templates.next() {
                template["value"]["metadata"]["labels"]["app"] = json!(target);
            }
        }
        vec![body]
    });
    let wrong = Wrong {
        decide: wrong,
        ..unchecked
    };
    is_caught_in(Scenario::namesakes, &wrong, &[Proof]);
}

#[test]
fn a_stateful_set_that_is_changed_beyond_its_template_is_caught() {
    let wrong = tampers(|head, mut body| {
        let of_sets = head.uri.path().contains("/statefulsets/");
        let sets = |op: &serde_json::Value| op["path"] == "/spec/template" && op["op"] != "test";
        if of_sets
            && let Some(operations) = body.as_array_mut()
            && operations.iter().any(sets)
        {
            let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
            operations.push(json!({"op": "replace", "path": "/spec/updateStrategy", "value": strategy}));
        }
        vec![body]
    });
    let partitioned = |seed| Scenario::of_targets(seed, &[crate::sets::partitioned], SET);
    is_caught_in(partitioned, &wrong, &[Trespass]);
}

#[test]
fn a_bad_canary_of_a_stateful_set_that_stays_in_production_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        let of_set = |action: &Action| match action {
            Action::ScaleCanary { canary, .. } => canary.kind == WorkloadKind::StatefulSet,
            Action::Unlabel { .. } | Action::Delete { .. } => true,
            _ => false,
        };
        decision.actions.retain(|action| !of_set(action));
        decision
    };
    let bad = |seed| Scenario::of_targets(seed, &[traffic_fails], SET);
    is_caught_in(bad, &decides(wrong), &[Exposed, Orphan]);
}

#[test]
fn an_ignored_dry_run_of_the_old_group_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let is_old = kanary.key.kind == KanaryKind::OldDeployment;
        let kanary = with_spec(kanary, |spec| spec.dry_run &= !is_old);
        decide(&kanary, seen, now)
    };
    let dry = |seed| Scenario::of_targets(seed, &[kinds::dry_run], Targets::Mixed);
    is_caught_in(dry, &decides(wrong), &[Proof]);
}

const DAEMONS: Targets = Targets::Only("DaemonSet");

fn creates_daemon_set(head: &http::request::Parts) -> bool {
    creates_workload(head) && head.uri.path().ends_with("/daemonsets")
}

#[test]
fn a_canary_on_all_nodes_of_a_daemon_set_is_caught() {
    let wrong = tampers(|head, mut body| {
        if creates_daemon_set(head)
            && let Some(pod) = body["spec"]["template"]["spec"].as_object_mut()
        {
            pod.remove("affinity");
        }
        vec![body]
    });
    let good = |seed| Scenario::of_targets(seed, &[passes], DAEMONS);
    is_caught_in(good, &wrong, &[Sample]);
}

#[test]
fn a_canary_on_too_many_nodes_is_caught() {
    let wrong = tampers(|head, mut body| {
        if creates_daemon_set(head) && body["spec"]["template"]["spec"]["affinity"].is_object() {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            let app = name
                .split_once("-kanary-")
                .map(|(app, _)| app.to_owned())
                .unwrap_or_default();
            let nodes: Vec<_> = (0..4).map(|index| format!("{app}-node-{index}")).collect();
            body["spec"]["template"]["spec"]["affinity"] = kanary_core::nodes::pinned(None, &nodes);
        }
        vec![body]
    });
    let good = |seed| Scenario::of_targets(seed, &[passes], DAEMONS);
    is_caught_in(good, &wrong, &[Sample]);
}

#[test]
fn a_canary_that_leaves_a_node_for_another_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        for action in &mut decision.actions {
            if let Action::PlaceCanary { nodes, affinity, .. } = action
                && nodes.len() > 1
            {
                nodes.remove(0);
                *affinity = kanary_core::nodes::pinned(None, nodes);
            }
        }
        decision
    };
    let grows = |seed| Scenario::of_targets(seed, &[daemons::gets_nodes], DAEMONS);
    is_caught_in(grows, &decides(wrong), &[Sample]);
}

#[test]
fn a_daemon_set_that_is_changed_beyond_its_template_is_caught() {
    let wrong = tampers(|head, mut body| {
        let of_sets = head.uri.path().contains("/daemonsets/");
        let sets = |op: &serde_json::Value| op["path"] == "/spec/template" && op["op"] != "test";
        if of_sets
            && let Some(operations) = body.as_array_mut()
            && operations.iter().any(sets)
        {
            operations.push(json!({"op": "add", "path": "/spec/minReadySeconds", "value": 1}));
        }
        vec![body]
    });
    let good = |seed| Scenario::of_targets(seed, &[passes], DAEMONS);
    is_caught_in(good, &wrong, &[Trespass]);
}

/// It would be promoted with the nodes of its canary.
#[test]
fn a_target_that_gets_the_nodes_of_its_canary_is_caught() {
    let wrong = tampers(|head, mut body| {
        let name = head.uri.path().rsplit('/').next().unwrap_or_default();
        if head.uri.path().contains("/daemonsets/")
            && let Some(operations) = body.as_array_mut()
            && let Some(sets) = operations
                .iter_mut()
                .find(|op| op["path"] == "/spec/template" && op["op"] != "test")
        {
            let node = format!("{name}-node-0");
            sets["value"]["spec"]["affinity"] = kanary_core::nodes::pinned(None, &[node]);
        }
        vec![body]
    });
    let good = |seed| Scenario::of_targets(seed, &[passes], DAEMONS);
    is_caught_in(good, &wrong, &[Template]);
}

#[test]
fn a_bad_canary_of_a_daemon_set_that_stays_in_production_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        decision
            .actions
            .retain(|action| !matches!(action, Action::Unlabel { .. } | Action::Delete { .. }));
        decision
    };
    let bad = |seed| Scenario::of_targets(seed, &[traffic_fails], DAEMONS);
    is_caught_in(bad, &decides(wrong), &[Exposed, Orphan]);
}
