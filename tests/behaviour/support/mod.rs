//! The test harness: a namespace and a controller for each test, and functions that wait for the expected results.
//!
//! Code outside this folder does not depend on the type of cluster: clients come from `plane`, through [`World`].

mod audit;
mod calls;
mod canary_apps;
mod canary_deployments;
mod controller;
mod conversion;
mod daemon_sets;
mod data_plane;
mod embedded;
mod exporter;
mod fake_prometheus;
mod faults;
mod fleet;
mod gateway;
mod interceptor;
mod keda;
mod kinds;
mod kubectl;
mod machine;
mod manifests;
mod metrics_apis;
mod owners;
mod plane;
mod process;
mod recorder;
mod stateful_sets;
mod status;
mod subject;
mod traces;
mod waiting;
mod witness;
mod world;

pub(crate) use audit::{Request, once};
pub(crate) use calls::again;
pub(crate) use canary_deployments::{emoji, failure_rate, image_of};
pub(crate) use controller::Controller;
pub(crate) use conversion::Converting;
pub(crate) use daemon_sets::{daemon_set, kanary_of_nodes, nodes_of, on_nodes};
pub(crate) use data_plane::DataPlane;
pub(crate) use exporter::Exporter;
pub(crate) use fake_prometheus::{Asked, Fake, Says};
pub(crate) use faults::{Faults, Strike};
pub(crate) use fleet::{create_fleet, create_mixed_fleet, fleet_ends, fleet_of_kind_ends};
pub(crate) use gateway::{CANARY, PLAIN};
pub(crate) use interceptor::{Answer, Webhook};
pub(crate) use kinds::{
    CANARY_APP, CANARY_DEPLOYMENT, CONFIG_MAP, CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, DESTINATION_RULE,
    ENDPOINT_SLICE, EVENT, GATEWAY, GRPC_ROUTE, HPA, HTTP_ROUTE, ISTIO_GATEWAY, KANARY, KANARY_DAEMONSET,
    KANARY_STATEFULSET, KANARY_V1, Kind, LEASE, NODE, OLD_KANARY, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD,
    REPLICA_SET, ROLE_BINDING, SCALED_OBJECT, SECRET, SERVICE, STATEFUL_SET, VIRTUAL_SERVICE,
};
pub(crate) use manifests::{
    config_map, deployment, from_yaml, held, kanary, merge, service, slow_deployment, template,
};
pub(crate) use metrics_apis::MetricsServers;
pub(crate) use owners::Owners;
pub(crate) use process::Process;
pub(crate) use recorder::{Recording, Seen};
pub(crate) use stateful_sets::{kanary_of_set, stateful_set, version_of, with_volumes};
pub(crate) use status::{assert_not_before, condition, is_true, labels, message, phase, reason, since, time, version};
pub(crate) use subject::{OF_OLD_GROUP, OF_SET, Subject, USUAL};
pub(crate) use traces::{Jaeger, Span, Spy, assert_is_one_run, has_ended, named};
pub(crate) use waiting::{poll, waited};
pub(crate) use witness::{pods_are_known, time_passes};
pub(crate) use world::World;
