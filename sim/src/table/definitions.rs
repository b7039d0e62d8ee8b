//! The columns of built-in kinds: name, type, and priority, which is 1 for those that `-o wide` adds.

pub(super) type Definitions = &'static [(&'static str, &'static str, i32)];

const TEXT: &str = "string";

pub(super) const CREATED: Definitions = &[("Name", TEXT, 0), ("Created At", "date", 0)];
pub(super) const NAME_AND_AGE: Definitions = &[("Name", TEXT, 0), ("Age", TEXT, 0)];
pub(super) const PODS: Definitions = &[
    ("Name", TEXT, 0),
    ("Ready", TEXT, 0),
    ("Status", TEXT, 0),
    ("Restarts", TEXT, 0),
    ("Age", TEXT, 0),
    ("IP", TEXT, 1),
    ("Node", TEXT, 1),
    ("Nominated Node", TEXT, 1),
    ("Readiness Gates", TEXT, 1),
];
pub(super) const SERVICES: Definitions = &[
    ("Name", TEXT, 0),
    ("Type", TEXT, 0),
    ("Cluster-IP", TEXT, 0),
    ("External-IP", TEXT, 0),
    ("Port(s)", TEXT, 0),
    ("Age", TEXT, 0),
    ("Selector", TEXT, 1),
];
pub(super) const NAMESPACES: Definitions = &[("Name", TEXT, 0), ("Status", TEXT, 0), ("Age", TEXT, 0)];
pub(super) const NODES: Definitions = &[
    ("Name", TEXT, 0),
    ("Status", TEXT, 0),
    ("Roles", TEXT, 0),
    ("Age", TEXT, 0),
    ("Version", TEXT, 0),
    ("Internal-IP", TEXT, 1),
    ("External-IP", TEXT, 1),
    ("OS-Image", TEXT, 1),
    ("Kernel-Version", TEXT, 1),
    ("Container-Runtime", TEXT, 1),
];
pub(super) const SECRETS: Definitions = &[
    ("Name", TEXT, 0),
    ("Type", TEXT, 0),
    ("Data", TEXT, 0),
    ("Age", TEXT, 0),
];
pub(super) const CONFIG_MAPS: Definitions = &[("Name", TEXT, 0), ("Data", TEXT, 0), ("Age", TEXT, 0)];
pub(super) const EVENTS: Definitions = &[
    ("Last Seen", TEXT, 0),
    ("Type", TEXT, 0),
    ("Reason", TEXT, 0),
    ("Object", TEXT, 0),
    ("Subobject", TEXT, 1),
    ("Source", TEXT, 1),
    ("Message", TEXT, 0),
    ("First Seen", TEXT, 1),
    ("Count", TEXT, 1),
    ("Name", TEXT, 1),
];
pub(super) const DEPLOYMENTS: Definitions = &[
    ("Name", TEXT, 0),
    ("Ready", TEXT, 0),
    ("Up-to-date", TEXT, 0),
    ("Available", TEXT, 0),
    ("Age", TEXT, 0),
    ("Containers", TEXT, 1),
    ("Images", TEXT, 1),
    ("Selector", TEXT, 1),
];
pub(super) const REPLICA_SETS: Definitions = &[
    ("Name", TEXT, 0),
    ("Desired", "integer", 0),
    ("Current", "integer", 0),
    ("Ready", "integer", 0),
    ("Age", TEXT, 0),
    ("Containers", TEXT, 1),
    ("Images", TEXT, 1),
    ("Selector", TEXT, 1),
];
pub(super) const AUTOSCALERS: Definitions = &[
    ("Name", TEXT, 0),
    ("Reference", TEXT, 0),
    ("Targets", TEXT, 0),
    ("MinPods", TEXT, 0),
    ("MaxPods", TEXT, 0),
    ("Replicas", TEXT, 0),
    ("Age", TEXT, 0),
];
pub(super) const ENDPOINT_SLICES: Definitions = &[
    ("Name", TEXT, 0),
    ("AddressType", TEXT, 0),
    ("Ports", TEXT, 0),
    ("Endpoints", TEXT, 0),
    ("Age", TEXT, 0),
];
pub(super) const LEASES: Definitions = &[("Name", TEXT, 0), ("Holder", TEXT, 0), ("Age", TEXT, 0)];
pub(super) const ROLE_BINDINGS: Definitions = &[
    ("Name", TEXT, 0),
    ("Role", TEXT, 0),
    ("Age", TEXT, 0),
    ("Users", TEXT, 1),
    ("Groups", TEXT, 1),
    ("ServiceAccounts", TEXT, 1),
];
