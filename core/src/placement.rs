//! The nodes of a canary that has no number of replicas: chosen before it is created, and again when one is lost or the target has others.
//!
//! Nothing watches nodes. The statuses of the target and of the canary say how many there are, and the pods of the target, which are read
//! only when that matters, say which.

use jiff::SignedDuration;

use super::{
    activation::Activation,
    decision::{Action, Need},
    integrity::{Origin, is_of_run, origin},
    nodes::{self, Choice},
    observation::{DaemonView, NodesFound, Pod, Workload},
    overdue, patience,
    step::Step,
};
use crate::api::Reason;

/// How soon the nodes are read again if there is none.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// The nodes that the canary should have, if they are to be chosen now.
pub(super) fn settle(step: &Step<'_>, target: &Workload) -> Result<Option<Choice>, Box<Activation>> {
    if step.spec.canary.kind.has_replicas() {
        return Ok(None);
    }
    let view = target.daemon.as_deref().cloned().unwrap_or_default();
    match &step.seen.canary {
        None => first(step, &view).map(Some),
        Some(canary) if is_of_run(step, canary) => again(step, &view, canary),
        Some(_) => Ok(None),
    }
}

/// The nodes of a canary that is about to be created.
fn first(step: &Step<'_>, target: &DaemonView) -> Result<Choice, Box<Activation>> {
    if target.nodes == 0 {
        return Err(Box::new(if target.observed {
            none(step, "has no node")
        } else {
            // It was just created, and the change of its status is an event.
            Activation::default()
        }));
    }
    if nodes::matches_none(step.spec.template.pod_template().pointer("/spec/affinity")) {
        return Err(Box::new(nowhere(step)));
    }
    let candidates = match &step.seen.nodes {
        None => return Err(Box::new(overdue::unconfirmed(Need::Nodes))),
        Some(NodesFound::Forbidden(why)) => return Err(Box::new(forbidden(step, why))),
        Some(NodesFound::Found(candidates)) => candidates,
    };
    let wanted = wanted(step, target).unwrap_or(candidates.len());
    let nodes = nodes::choose(&step.kanary.run(step.spec), wanted, candidates, &[]);
    if nodes.is_empty() {
        return Err(Box::new(none(step, "has no node that spec.scale asks for")));
    }
    Ok(Choice {
        nodes,
        of: target.nodes,
    })
}

/// The nodes of a canary that exists, if they have to change.
fn again(step: &Step<'_>, target: &DaemonView, canary: &Workload) -> Result<Option<Choice>, Box<Activation>> {
    let Some(view) = canary.daemon.as_ref().filter(|_| origin(step, canary) == Origin::Kept) else {
        return Ok(None);
    };
    let wanted = wanted(step, target);
    let lost = lost(step, view);
    let lacks = wanted.is_none_or(|wanted| wanted > view.chosen.len());
    let is_news = lacks && view.chosen_of != target.nodes;
    if lost.is_empty() && !is_news {
        return Ok(None);
    }
    let candidates = match &step.seen.nodes {
        None => return Err(Box::new(overdue::unconfirmed(Need::Nodes))),
        // The canary keeps the nodes that it has.
        Some(NodesFound::Forbidden(_)) => return Ok(None),
        Some(NodesFound::Found(candidates)) => candidates,
    };
    let run = step.kanary.run(step.spec);
    // Without a change of the number, the node is there and not for this canary. Each of the others is tried once, in their order.
    let tried = lost.iter().map(|node| nodes::rank(&run, node)).max();
    let tried = tried.filter(|_| view.chosen_of == target.nodes);
    let is_open =
        |name: &str| !lost.contains(&name) && tried.as_ref().is_none_or(|tried| nodes::rank(&run, name) > *tried);
    let candidates: Vec<_> = candidates.iter().filter(|node| is_open(&node.name)).cloned().collect();
    let kept = view.chosen.iter().map(|node| &**node);
    let kept: Vec<_> = kept.filter(|node| !lost.contains(node)).collect();
    let wanted = wanted.unwrap_or(kept.len() + candidates.len());
    let nodes = nodes::choose(&run, wanted, &candidates, &kept);
    let is_same = view.has_just(&nodes);
    let of = target.nodes;
    let is_settled = nodes.is_empty() || is_same && view.chosen_of == of;
    Ok((!is_settled).then_some(Choice { nodes, of }))
}

/// How many nodes the canary should have, or `None` for all.
fn wanted(step: &Step<'_>, target: &DaemonView) -> Option<usize> {
    let wanted = step.spec.scale.replicas(target.nodes)?;
    Some(usize::try_from(wanted).unwrap_or_default().min(nodes::LARGEST))
}

/// Nodes that are gone, or on which the canary may not have a pod. Its status has only their number, so its pods have to be known first.
fn lost<'a>(step: &Step<'_>, canary: &'a DaemonView) -> Vec<&'a str> {
    let chosen = canary.chosen.len();
    let left = usize::try_from(canary.nodes).unwrap_or_default();
    if !canary.observed || left >= chosen {
        return Vec::new();
    }
    let has_pod = |node: &str| {
        let on_it = |pod: &Pod| pod.node.as_deref() == Some(node) && !pod.terminating;
        step.seen.pods.iter().any(on_it)
    };
    let nodes = canary.chosen.iter().map(|node| &**node);
    let lost: Vec<_> = nodes.filter(|node| !has_pod(node)).collect();
    if lost.len() == chosen - left { lost } else { Vec::new() }
}

/// The target has no node for a canary.
fn none(step: &Step<'_>, what: &str) -> Activation {
    let message = format!(
        "{} {what}, so a canary would have no pod and prove nothing: the run starts as soon as there is one",
        step.spec.target
    );
    patience::look_again(step, LOOK_AGAIN, Reason::NoNodes, message)
}

/// The canary would have no pod anywhere, and neither would the target after a promotion.
fn nowhere(step: &Step<'_>) -> Activation {
    let message = "the node affinity of spec.template has only empty nodeSelectorTerms, which match no node: remove them, or give them \
                   matchExpressions"
        .to_owned();
    patience::look_again(step, LOOK_AGAIN, Reason::NoNodes, message)
}

fn forbidden(step: &Step<'_>, why: &str) -> Activation {
    let message = format!(
        "spec.scale.nodes chooses nodes by their labels, and Kanary may not list nodes ({why}): use static or percent, or ask the operator \
         for this right, which an installation for one namespace cannot have"
    );
    patience::look_again(step, LOOK_AGAIN, Reason::NodesForbidden, message)
}

/// Gives a canary these nodes.
pub(super) fn place(step: &Step<'_>, canary: &Workload, choice: &Choice) -> Action {
    let template = step.spec.template.pod_template();
    let view = canary.daemon.as_deref();
    let is_change = view.is_none_or(|view| !view.has_just(&choice.nodes));
    Action::PlaceCanary {
        canary: step.spec.canary.clone(),
        uid: canary.uid.clone(),
        nodes: choice.nodes.clone(),
        affinity: nodes::pinned(template.pointer("/spec/affinity"), &choice.nodes),
        // A change of the spec by somebody else makes it another generation.
        chosen: choice.annotation(canary.generation + i64::from(is_change)),
    }
}
