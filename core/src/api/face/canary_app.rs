//! `CanaryApp`: an application by its image, with a share of the requests for each new image.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Face;
use crate::api::crd::schema_of;

pub(super) const FACE: Face = Face {
    description: "An application: Kanary runs its image, and gives each new image a growing share of the requests before it \
                  replaces the former one.",
    spec: schema_of::<CanaryAppSpec>,
    status,
    columns: &[
        ("Status", "string", ".status.report.status"),
        ("Image", "string", ".spec.image"),
        ("Successful", "boolean", ".status.successfulRelease"),
        ("Testing", "boolean", ".status.testRunning"),
        ("Shift", "integer", ".status.trafficShift"),
        ("Failed", "string", ".status.lastFailedTag"),
    ],
    rules: &[
        (
            "size(self.metadata.name) <= 53 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "Services are named after a CanaryApp: use at most 53 lower-case letters, digits and hyphens, with a letter first",
        ),
        (
            "!has(self.spec.gateway) || self.spec.gateway != 'mesh' || !has(self.spec.hosts) || !('*' in self.spec.hosts)",
            "inside the mesh, the host * would catch the requests of every Service: name hosts, or leave spec.hosts out",
        ),
        (
            "self.spec.imageListenPort == oldSelf.spec.imageListenPort",
            "spec.imageListenPort cannot change, because pods of the former image listen on the former port: create another CanaryApp \
             with the new port, and move the hosts to it",
        ),
        (
            "!has(self.spec.parentRefs) || !has(self.spec.gateway)",
            "spec.gateway is about Istio, and spec.parentRefs about Gateway API: remove one of them",
        ),
        (
            "!has(self.spec.parentRefs) || \
             self.spec.prometheusQuery.matches('secondary|[{][{]\\\\s*(canary[.](name|pods)|pods)\\\\s*[}][}]')",
            "with spec.parentRefs, the primary and the secondary have a Service each: select the secondary in spec.prometheusQuery, for \
             example with {{ canary.name }} or {{ pods }}",
        ),
        (
            "!has(self.spec.parentRefs) || !has(self.spec.hosts) || self.spec.hosts.all(host, host == '*' || \
             host.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",
            "spec.hosts are host names of an HTTPRoute: use lower-case letters, digits, hyphens and dots, with *. in front for all \
             subdomains, or * alone for every host",
        ),
    ],
};

/// The application: what runs, and how each new image is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = [
    "image", "imageListenPort", "replicas", "testReplicas", "prometheusQuery", "prometheusURL"
]))]
pub struct CanaryAppSpec {
    /// The image with its tag or digest. Another image starts a run, at the end of which it replaces the former one, or not.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// The port on which the container listens. The Service and the Gateway's route lead to it.
    #[serde(default)]
    #[schemars(with = "u16", range(min = 1, max = 65535))]
    pub image_listen_port: Option<u16>,
    /// Number of pods of the primary, which gets all requests between two runs. A change alone scales the primary.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 1))]
    pub replicas: Option<i32>,
    /// Number of pods of the secondary, which runs a new image during its run.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 1))]
    pub test_replicas: Option<i32>,
    /// A `PromQL` query that finds errors: any series in its result fails the new image. An empty result counts only if Prometheus
    /// knows the pods of the secondary.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 16384))]
    pub prometheus_query: Option<String>,
    /// http or https URL of Prometheus, with an optional path prefix.
    #[serde(rename = "prometheusURL", default)]
    #[schemars(with = "String", length(min = 1, max = 2048))]
    pub prometheus_url: Option<String>,
    /// `true` fails a new image as soon as Prometheus does not answer the query. Default: the run waits for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_when_prometheus_fails: Option<bool>,
    /// Seconds for which a new image is judged at each share of the requests. Default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub traffic_shift_update_interval: Option<u32>,
    /// Seconds for which the secondary warms up after it has become available. Default 0: readiness is watched, not waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub deployment_ready_wait_time: Option<u32>,
    /// Change this number to try the same image again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
    /// Where requests come from. `istio` (the default): through a Gateway of Istio that is created beside the application, with the
    /// selector `istio: ingressgateway` and port 80. `mesh`: from pods of the mesh, without a Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["istio", "mesh"]))]
    pub gateway: Option<String>,
    /// Gateways of Gateway API through which requests come, instead of Istio's: an `HTTPRoute` is created that is attached to them, and
    /// nothing of Istio. They have to exist, and to allow routes from this namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// Hosts of the requests. Default: `*` with a Gateway, and the name of the Service inside the mesh. For an `HTTPRoute`, `*` stands for
    /// all hosts of its listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hosts: Vec<String>,
}

/// A Gateway of Gateway API, with the fields of `parentRefs` of an `HTTPRoute`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Default: that of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The name of a listener. Default: all listeners of the Gateway that admit the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

fn status() -> Value {
    json!({
        "successfulRelease": {"type": "boolean", "description": "Whether the primary runs the last image that was tried."},
        "testRunning": {"type": "boolean", "description": "Whether a new image is being tried."},
        "trafficShift": {
            "type": "integer", "format": "int32",
            "description": "The share of the requests in percent that the secondary gets.",
        },
        "lastFailedTag": {
            "type": "string",
            "description": "The last image that failed, with its name. It is not tried again before another one.",
        },
        "lastTrafficShift": {
            "type": "string", "format": "date-time", "description": "Since when the last share has been in force.",
        },
        "lastSuccessfulTag": {
            "type": "string", "description": "The image that the primary runs, with its name.",
        },
        "primaryTag": {
            "type": "string", "description": "The image of the primary. If somebody deletes the primary, it is created with this image again.",
        },
    })
}
