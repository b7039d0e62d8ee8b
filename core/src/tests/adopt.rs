//! Pods that their ReplicaSet released are deleted with their Kanary.

use expect_test::expect;

use super::check;

/// Kanary's own labels.
const OWN: &str = "kanary.k8s-operators.dev/iskanary: 'true', kanary.k8s-operators.dev/name: batman, \
                   kanary.k8s-operators.dev/kind: KanaryDeployment";

/// A run in a phase, with a pod.
fn with(phase: &str, pod: &str) -> String {
    format!(
        "
        spec: {{rollout: {{onFailure: retain}}, validation: {{items: [{{manual: {{}}}}]}}}}
        status: {{phase: {phase}}}
        seen: {{canary: {{available: +0s}}, otherPods: [{{name: aside, {pod}}}]}}
        now: +1m
        "
    )
}

#[test]
fn a_pod_that_its_replica_set_released_becomes_the_kanarys_own() {
    check(
        &with("Failed", &format!("released: true, labels: {{{OWN}}}")),
        expect![[r#"
            add an owner to pod aside
        "#]],
    );
}

#[test]
fn one_that_is_the_kanarys_own_already_costs_nothing() {
    check(
        &with(
            "Failed",
            &format!("released: true, owner: uid-batman, labels: {{{OWN}}}"),
        ),
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_pod_without_all_of_kanarys_labels_or_with_a_controller_or_that_terminates_is_left_to_others() {
    for pod in [
        "released: true, labels: {kanary.k8s-operators.dev/iskanary: 'true', kanary.k8s-operators.dev/name: batman}"
            .to_owned(),
        format!("labels: {{{OWN}}}"),
        format!("released: true, terminating: true, labels: {{{OWN}}}"),
    ] {
        let input = super::input::read(&with("Failed", &pod));
        let decision = crate::decide(&input.kanary, &input.seen, input.now);
        assert!(decision.actions.is_empty(), "{pod}: {decision:?}");
    }
}

#[test]
fn an_attempt_that_failed_is_made_again_later_and_holds_nothing() {
    let input = with("Failed", &format!("released: true, labels: {{{OWN}}}"));
    check(
        &input.replace("seen: {", "seen: {adoptAfter: +90s, "),
        expect![[r#"
            wake at +1m30s
        "#]],
    );
}
