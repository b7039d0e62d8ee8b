//! The HorizontalPodAutoscaler controller, for Deployments.

mod measure;
mod pace;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::{
        HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec,
        HorizontalPodAutoscalerStatus,
    },
};

use self::pace::{Memory, Pace};
use super::{
    behaviour::Behaviour,
    claim::{second, unless_gone},
};
use crate::{cluster::Cluster, failure::Failure, store::Place};

const ACTOR: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
const ABLE: &str = "AbleToScale";
const ACTIVE: &str = "ScalingActive";
const LIMITED: &str = "ScalingLimited";

/// State kept between reconciliations of each autoscaler.
#[derive(Debug, Default)]
pub(super) struct Memories(BTreeMap<Place, Memory>);

impl Memories {
    pub(super) fn forget(&mut self, place: &Place) {
        self.0.remove(place);
    }
}

/// One reconciliation of an autoscaler.
struct Look<'a> {
    cluster: &'a Cluster,
    behaviour: &'a Behaviour,
    place: &'a Place,
    spec: &'a HorizontalPodAutoscalerSpec,
    status: HorizontalPodAutoscalerStatus,
}

/// Reconciles an autoscaler and returns when to reconcile it again.
pub(super) fn sync(
    cluster: &Cluster,
    behaviour: &Behaviour,
    memories: &mut Memories,
    place: &Place,
) -> Result<Option<Duration>, Failure> {
    let Some(autoscaler) = cluster.get::<HorizontalPodAutoscaler>(&place.0, &place.1) else {
        return Ok(None);
    };
    if autoscaler.metadata.deletion_timestamp.is_none() {
        let mut look = Look {
            cluster,
            behaviour,
            place,
            spec: &autoscaler.spec,
            status: autoscaler.status.clone().unwrap_or_default(),
        };
        look.scale(memories.0.entry(place.clone()).or_default())?;
        let status = look.status;
        if autoscaler.status.as_ref() != Some(&status) {
            let mut written = HorizontalPodAutoscaler::clone(&autoscaler);
            written.status = Some(status);
            unless_gone(cluster.update_status(ACTOR, written))?;
        }
    }
    Ok(Some(behaviour.autoscaler_period))
}

impl Look<'_> {
    fn set(&mut self, kind: &str, is_true: bool, reason: &str, message: String) {
        let status = if is_true { "True" } else { "False" };
        let conditions = self.status.conditions.get_or_insert_default();
        let known = conditions
            .iter()
            .find(|known| known.type_ == kind && known.status == status);
        let since = known.and_then(|known| known.last_transition_time.clone());
        let condition = HorizontalPodAutoscalerCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: since.or_else(|| Some(second(self.cluster))),
        };
        match conditions.iter_mut().find(|known| known.type_ == kind) {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }

    /// The Deployment that it scales, or the reason why it is not available.
    fn target(&self) -> Result<Arc<Deployment>, String> {
        let target = &self.spec.scale_target_ref;
        if target.kind != "Deployment" {
            let version = target.api_version.as_deref().unwrap_or_default();
            return Err(format!(
                "no matches for kind \"{}\" in group \"{version}\"",
                target.kind
            ));
        }
        let found = self.cluster.get(&self.place.0, &target.name);
        found.ok_or_else(|| format!("deployments/scale.apps \"{}\" not found", target.name))
    }

    fn scale(&mut self, memory: &mut Memory) -> Result<(), Failure> {
        let target = match self.target() {
            Ok(target) => target,
            Err(why) => {
                let message = format!("the HPA controller was unable to get the target's current scale: {why}");
                self.set(ABLE, false, "FailedGetScale", message);
                return Ok(());
            }
        };
        let message = "the HPA controller was able to get the target's current scale".to_owned();
        self.set(ABLE, true, "SucceededGetScale", message);
        let current = target.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        memory.start(current);
        let Some(desired) = self.desired(&target, current, memory) else {
            self.status.current_replicas = Some(current).filter(|current| *current != 0);
            return Ok(());
        };
        if desired != current {
            let mut target = Deployment::clone(&target);
            target.spec.get_or_insert_default().replicas = Some(desired);
            self.cluster.update(ACTOR, target)?;
            let message = format!("the HPA controller was able to update the target scale to {desired}");
            self.set(ABLE, true, "SucceededRescale", message);
            memory.scaled(desired - current);
            self.status.last_scale_time = Some(second(self.cluster));
        }
        self.status.current_replicas = Some(current).filter(|current| *current != 0);
        self.status.desired_replicas = desired;
        Ok(())
    }

    /// The desired number of replicas, or `None` if it cannot be determined.
    fn desired(&mut self, target: &Deployment, current: i32, memory: &mut Memory) -> Option<i32> {
        let (least, most) = (self.spec.min_replicas.unwrap_or(1), self.spec.max_replicas);
        if current == 0 && least != 0 {
            let message = "scaling is disabled since the replica count of the target is zero".to_owned();
            self.set(ACTIVE, false, "ScalingDisabled", message);
            return Some(0);
        }
        if current > most || current < least {
            return Some(current.clamp(least, most));
        }
        let wanted = match self.measure(target, current) {
            Ok((wanted, metric)) => {
                let message = format!("the HPA was able to successfully calculate a replica count from {metric}");
                self.set(ACTIVE, true, "ValidMetricFound", message);
                wanted
            }
            Err((reason, why)) => {
                let message = format!("the HPA was unable to compute the replica count: {why}");
                self.set(ACTIVE, false, reason, message);
                return None;
            }
        };
        let pace = Pace::of(self.spec, self.behaviour.downscale_window);
        let (stable, why) = memory.stabilized(&pace, current, wanted);
        let message = why.map_or("recommended size matches current size", |(_, message)| message);
        self.set(
            ABLE,
            true,
            why.map_or("ReadyForNewScale", |(reason, _)| reason),
            message.to_owned(),
        );
        let (desired, reason, message) = pace.limited(memory, current, stable, least, most);
        self.set(LIMITED, desired != stable, reason, message.to_owned());
        Some(desired)
    }
}
