//! Reasons of conditions and of Events: what other programs match on.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// The reason of a condition. The reference of the API lists each with its meaning and its remedy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As conditions hold it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    /// The run waits until the canary is available.
    Activating,
    /// Every validation item was good at the deadline.
    AllItemsGood,
    /// The canary Deployment is available.
    CanaryAvailable,
    /// Somebody changed the canary's template, a pod's image or its owner, so that what was judged is not what would be promoted.
    CanaryChanged,
    /// The canary was deleted to make room, because the target's rollout makes no progress.
    CanaryGaveWay,
    /// The failed canary is kept (`onFailure: retain`).
    CanaryRetained,
    /// Pods of the canary still get requests that they should not get.
    CanaryStillServing,
    /// A container of the canary starts and ends again and again.
    CrashLoopBackOff,
    /// The configuration of a container refers to something that is missing.
    CreateContainerConfigError,
    /// A container cannot be created.
    CreateContainerError,
    /// The Kanary is being deleted.
    Deleting,
    /// The target has rolled out with the template.
    DeploymentUpdated,
    /// The run ends here, because it is a dry-run.
    DryRun,
    /// `status.epoch` is one that no replica can have written.
    EpochForged,
    /// The image is not on the node, and the pull policy is `Never`.
    ErrImageNeverPull,
    /// Pods of the canary cannot be created (a quota, a policy).
    FailedCreate,
    /// A verdict in the spec is from an earlier run and does not count.
    FromEarlierRun,
    /// A gateway has not taken over what the route says.
    GatewayBehind,
    /// The canary's pods would need a port of a node that a pod of the target has.
    HostPortTaken,
    /// The image cannot be inspected.
    ImageInspectError,
    /// The image cannot be pulled.
    ImagePullBackOff,
    /// A query could not be answered `consecutiveErrorLimit` times in a row.
    Inconclusive,
    /// The canary is available and warms up.
    InitialDelay,
    /// The name of the image is invalid.
    InvalidImageName,
    /// The spec cannot be run.
    InvalidSpec,
    /// KEDA is off in this installation.
    KedaDisabled,
    /// The cluster has no CRD for ScaledObjects.
    KedaMissing,
    /// A label matched a labelWatch item.
    LabelMatched,
    /// The last measurement was bad and is tolerated; a good one is needed.
    LastMeasurementBad,
    /// The canary left its Services by deletion, because its pods kept their labels.
    LeftByDeletion,
    /// The canary left its Services by being scaled to 0, because its pods kept their labels.
    LeftByScale,
    /// A manual item is `invalid`.
    ManualInvalid,
    /// A manual item is `valid`, and every other item agreed.
    ManualValid,
    /// A measurement is under way.
    Measuring,
    /// A value of a metrics API was above the target.
    MetricFailed,
    /// An object with the name that Kanary needs belongs to somebody else.
    NameTaken,
    /// A new run starts, because the template, `retry` or the traffic changed.
    NewRun,
    /// A query has no data.
    NoData,
    /// The rollout history has no other template to put back.
    NoFormerTemplate,
    /// The target has no node on which the canary could have a pod.
    NoNodes,
    /// The spec asks for no traffic.
    NoTrafficRequested,
    /// Kanary may not read the nodes.
    NodesForbidden,
    /// Every verdict in the spec counts.
    NoneIgnored,
    /// The query at the deadline had no usable answer.
    NotAnswered,
    /// `rollbackOnFailure` is off, so nothing is put back.
    NotWanted,
    /// `spec.paused` holds the run.
    Paused,
    /// The rollback is under way.
    Pending,
    /// Ready pods of the canary do not have a port that its Service names.
    PortMissing,
    /// The `postStart` hook of a container fails.
    PostStartHookError,
    /// Something was not available, or could not be created, within `progressDeadline`.
    ProgressDeadlineExceeded,
    /// A measurement did not meet the criterion.
    PromQLFailed,
    /// The verdict is stored, and the target is being updated.
    Promoting,
    /// What an item asks cannot be answered before its author changes it: Prometheus rejects the query, or pods without requests have
    /// no utilization.
    QueryInvalid,
    /// The registry does not answer.
    RegistryUnavailable,
    /// The problem is over.
    Resolved,
    /// Several routes lead to the production Service, and the spec names none.
    RouteAmbiguous,
    /// Routes are off in this installation.
    RouteDisabled,
    /// Kanary may not read the route.
    RouteForbidden,
    /// The cluster has no CRD for this kind of route.
    RouteKindMissing,
    /// The route does not exist, or none leads to the production Service.
    RouteNotFound,
    /// The route cannot send the canary the requests that the spec asks for.
    RouteUnsuitable,
    /// A container cannot be started.
    RunContainerError,
    /// The run has ended.
    RunEnded,
    /// The run has failed; `Failed` says why.
    RunFailed,
    /// A Service selects a label that the template lacks, or has with another value.
    ServiceMismatch,
    /// The production Service does not exist.
    ServiceNotFound,
    /// The production Service has no ports to copy.
    ServiceWithoutPorts,
    /// The production Service has no selector.
    ServiceWithoutSelector,
    /// The run has started.
    Started,
    /// The canary Deployment has another `strategy` than it was created with.
    StrategyChanged,
    /// Somebody changed the target's template, so that the comparison no longer holds.
    TargetChanged,
    /// There was no target: it was created, and there is no canary.
    TargetCreated,
    /// The target is itself a canary.
    TargetIsCanary,
    /// Targets of this kind are off.
    TargetKindDisabled,
    /// The target was updated and did not become available in time.
    TargetNotAvailable,
    /// The target does not exist.
    TargetNotFound,
    /// The target was updated, and its user replaces its pods.
    TargetOnDelete,
    /// The target belongs to a `CanaryApp` or a `CanaryDeployment`, which promotes to it.
    TargetOwned,
    /// The target was updated and is paused itself.
    TargetPaused,
    /// The target was updated, and its partition holds back the rollout.
    TargetPartitioned,
    /// The target that Kanary created was replaced before the run ended.
    TargetReplaced,
    /// The target has rolled out.
    TargetRolledOut,
    /// The target rolls out, or not all its pods are available, so no run in place can start.
    TargetRollingOut,
    /// The template failed before and is not run again.
    TemplateFailedBefore,
    /// The target's selector does not match the template.
    TemplateMismatch,
    /// The target has its former template again.
    TemplateRestored,
    /// A run in place would leave no pod of the target with its former template.
    TooFewReplicas,
    /// The item has fewer good measurements than `minSamples`.
    TooFewSamples,
    /// The canary does not get the traffic that the spec asks for.
    TrafficLost,
    /// The route or the production Service belongs to a `CanaryApp`.
    TrafficOwned,
    /// Somebody took the canary's requests out of the route.
    TrafficReverted,
    /// The canary gets the traffic that the spec asks for.
    TrafficSet,
    /// The canary's requests change, and the run waits until they are in force.
    TrafficShifting,
    /// A pod of the canary finds no node.
    Unschedulable,
    /// The spec asks for something that does not exist yet.
    Unsupported,
    /// The canary is judged.
    Validating,
    /// `spec.verdict` is `invalid`.
    VerdictInvalid,
    /// A verdict against the canary came after the target was updated.
    VerdictTooLate,
    /// `spec.verdict` is `valid`.
    VerdictValid,
    /// Volume claims of an earlier canary are left.
    VolumesRemain,
    /// The deadline is over, and the canary is not available.
    WaitingForCanary,
    /// The EndpointSlices of the canary's Service do not have all its pods.
    WaitingForEndpoints,
    /// The run waits for a manual verdict.
    WaitingForManual,
    /// The run waits for a place, because the number of canaries that run at the same time is limited.
    WaitingForPlace,
    /// The run waits for `spec.schedule`.
    WaitingForSchedule,
    /// The target does not exist, and is created after `createTargetAfter`, or awaited.
    WaitingForTarget,
    /// A write does not get done (a webhook that fails or hangs).
    WriteFailed,
    /// The API server rejects a write.
    WriteRefused,
    /// Somebody undoes a write again and again.
    WriteUndone,
}

impl Reason {
    /// The reason that a condition holds. `None` if it is one of another version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<Reason> for String {
    fn eq(&self, other: &Reason) -> bool {
        self == other.as_str()
    }
}

/// The reason of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventReason {
    /// The validation starts.
    Started,
    /// The canary of a dry-run passed.
    Succeeded,
    /// The target has rolled out with the template.
    Promoted,
    /// The run failed.
    Failed,
    /// The target has its former template again.
    RolledBack,
    /// Something is wrong that is not the canary's fault.
    Errored,
    /// A verdict in the spec is from an earlier run and does not count.
    VerdictIgnored,
    /// The canary gets the requests of a step of its traffic.
    TrafficShifted,
    /// A Deployment of a `CanaryDeployment` was created.
    CreatedDeployment,
    /// A Deployment of a `CanaryDeployment` was updated.
    UpdatedDeployment,
    /// The canary of a `CanaryDeployment` is ready, and its metrics are checked after the delay.
    DelayMetricsCheck,
    /// The metrics of a `CanaryDeployment` were checked.
    MetricsCheckResult,
    /// The template of a `CanaryDeployment` failed.
    MetricsCheckUnsuccessful,
    /// Both tracks of a `CanaryDeployment` run the template.
    DoneProcessing,
    /// Somebody should look, for the reason of the condition `Stalled`, or of `Activated` for a verdict that came too late.
    Of(Reason),
}

impl EventReason {
    /// As Events hold it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Succeeded => "Succeeded",
            Self::Promoted => "Promoted",
            Self::Failed => "Failed",
            Self::RolledBack => "RolledBack",
            Self::Errored => "Errored",
            Self::VerdictIgnored => "VerdictIgnored",
            Self::TrafficShifted => "TrafficShifted",
            Self::CreatedDeployment => "CreatedDeployment",
            Self::UpdatedDeployment => "UpdatedDeployment",
            Self::DelayMetricsCheck => "DelayMetricsCheck",
            Self::MetricsCheckResult => "MetricsCheckResult",
            Self::MetricsCheckUnsuccessful => "MetricsCheckUnsuccessful",
            Self::DoneProcessing => "DoneProcessing",
            Self::Of(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
