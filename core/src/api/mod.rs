//! The API types that users write and read: one file per block of the spec, without behaviour.
//!
//! The CRD schemas are generated from these types, and `kubectl explain` prints the field docs. The semantics of a spec are in
//! [`crate`], which parses a [`KanarySpec`] into a [`ParsedKanary`](crate::ParsedKanary).

mod crd;
mod duration;
mod face;
mod in_place;
mod kanary;
mod metric;
pub mod names;
mod place;
mod prometheus;
mod reason;
mod rollout;
mod route;
mod scale;
mod slot;
mod spec;
mod status;
mod traffic;
mod validation;
mod workload;

pub use crd::{EPOCH_RULE, crds};
pub use duration::GoDuration;
pub use face::{CanaryAppSpec, CanaryDeploymentSpec, CanaryDeploymentTracks};
pub use in_place::{InPlace, InPlaceScale};
pub use kanary::{Kanary, KanaryKind};
pub use metric::{
    ContainerResourceMetric, DescribedObject, ExternalMetric, MetricItem, MetricName, MetricQuantity, MetricSource,
    MetricTarget, ObjectMetric, PodsMetric, ResourceMetric, TargetKind,
};
pub use place::{InLine, PlaceState, RunPlace};
pub use prometheus::{PrometheusAuth, QueryHeader, SecretKey};
pub use reason::{EventReason, Reason};
pub use rollout::{OnFailure, OnTargetChange, OnTargetMissing, RolloutMode, RolloutSpec};
pub use route::{RouteKind, RouteRef, RouteSpec};
pub use scale::{HpaScale, KedaScale, NodesScale, PercentScale, ScaleSpec, StaticScale};
pub use slot::{Layout, Slot, stable_hash};
pub use spec::{KanarySpec, TargetRef, Template};
pub use status::{
    ItemState, ItemStatus, KanaryStatus, ManualVerdicts, OwnFields, Report, Snapshot, Tracks, TrafficStatus, Verdicts,
    Written,
};
pub use traffic::{MirrorSpec, SessionAffinitySpec, TagSpec, TaggedSpec, TrafficSource, TrafficSpec, WeightedSpec};
pub use validation::{
    AfterDeadline, Boolean, ContinuousValueDeviation, DeviationOf, DiscreteValueOutOfList, LabelMatch, LabelWatchItem,
    ManualItem, ManualVerdict, NoResult, OnNoData, PromQlItem, ValidationItem, ValidationSpec, ValueInRange,
};
pub use workload::{WorkloadKind, WorkloadRef};
