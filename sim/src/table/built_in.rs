//! Table columns of the built-in kinds, as the API server prints them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{age, containers, items, joined, labels, name, number, or, selector, since, text};
use super::definitions::{
    AUTOSCALERS, CONFIG_MAPS, CREATED, DEPLOYMENTS, Definitions, ENDPOINT_SLICES, EVENTS, LEASES, NAME_AND_AGE,
    NAMESPACES, NODES, PODS, REPLICA_SETS, ROLE_BINDINGS, SECRETS, SERVICES,
};
use super::{Columns, pods};

/// The columns of a built-in kind. A kind without columns of its own shows its creation time.
pub(super) fn columns(group: &str, plural: &str) -> Columns {
    let (definitions, row): (Definitions, super::Row) = match (group, plural) {
        ("", "pods") => (PODS, pods::row),
        ("", "services") => (SERVICES, service),
        ("", "namespaces") => (NAMESPACES, |it, now| {
            row(it, now, [json!(text(&it["status"]["phase"]))])
        }),
        ("", "nodes") => (NODES, node),
        ("", "secrets") => (SECRETS, |it, now| {
            row(it, now, [it["type"].clone(), entries(&[&it["data"]])])
        }),
        ("", "configmaps") => (CONFIG_MAPS, |it, now| {
            row(it, now, [entries(&[&it["data"], &it["binaryData"]])])
        }),
        ("", "serviceaccounts") => (NAME_AND_AGE, |it, now| row(it, now, [])),
        ("" | "events.k8s.io", "events") => (EVENTS, event),
        ("apps", "deployments") => (DEPLOYMENTS, deployment),
        ("apps", "replicasets") => (REPLICA_SETS, replica_set),
        ("autoscaling", "horizontalpodautoscalers") => (AUTOSCALERS, autoscaler),
        ("discovery.k8s.io", "endpointslices") => (ENDPOINT_SLICES, endpoint_slice),
        ("coordination.k8s.io", "leases") => (LEASES, |it, now| {
            row(it, now, [json!(text(&it["spec"]["holderIdentity"]))])
        }),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => (ROLE_BINDINGS, role_binding),
        _ => (CREATED, |it, _| {
            vec![json!(name(it)), it["metadata"]["creationTimestamp"].clone()]
        }),
    };
    Columns::BuiltIn(definitions, row)
}

/// A row that starts with the name and ends with the age.
fn row<const N: usize>(object: &Value, now: Timestamp, cells: [Value; N]) -> Vec<Value> {
    let mut row = vec![json!(name(object))];
    row.extend(cells);
    row.push(json!(age(object, now)));
    row
}

/// The total number of entries in several maps.
fn entries(maps: &[&Value]) -> Value {
    json!(
        maps.iter()
            .filter_map(|map| map.as_object())
            .map(serde_json::Map::len)
            .sum::<usize>()
    )
}

fn deployment(it: &Value, now: Timestamp) -> Vec<Value> {
    let status = &it["status"];
    let ready = format!(
        "{}/{}",
        number(&status["readyReplicas"]),
        it["spec"]["replicas"].as_i64().unwrap_or(1)
    );
    let count = |field: &str| json!(number(&status[field]));
    let mut row = row(
        it,
        now,
        [json!(ready), count("updatedReplicas"), count("availableReplicas")],
    );
    row.extend(containers(it));
    row.push(json!(selector(&it["spec"]["selector"])));
    row
}

fn replica_set(it: &Value, now: Timestamp) -> Vec<Value> {
    let count = |field: &str| json!(number(&it["status"][field]));
    let desired = json!(it["spec"]["replicas"].as_i64().unwrap_or(1));
    let mut row = row(it, now, [desired, count("replicas"), count("readyReplicas")]);
    row.extend(containers(it));
    row.push(json!(selector(&it["spec"]["selector"])));
    row
}

fn service(it: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &it["spec"];
    let ports: Vec<_> = items(&spec["ports"])
        .iter()
        .map(|port| {
            let node_port = port["nodePort"]
                .as_i64()
                .map(|port| format!(":{port}"))
                .unwrap_or_default();
            format!("{}{node_port}/{}", number(&port["port"]), or(&port["protocol"], "TCP"))
        })
        .collect();
    let addresses = joined(&spec["externalIPs"], text);
    let balancers = joined(&it["status"]["loadBalancer"]["ingress"], |it| {
        or(&it["ip"], text(&it["hostname"]))
    });
    let kind = or(&spec["type"], "ClusterIP");
    let external = match (kind, balancers.as_str(), addresses.as_str()) {
        ("ExternalName", ..) => text(&spec["externalName"]).to_owned(),
        ("LoadBalancer", "", "") => "<pending>".to_owned(),
        ("LoadBalancer", balancers, "") => balancers.to_owned(),
        ("LoadBalancer", balancers, addresses) if !balancers.is_empty() => format!("{balancers},{addresses}"),
        (_, _, "") => "<none>".to_owned(),
        (_, _, addresses) => addresses.to_owned(),
    };
    let internal = or(&spec["clusterIPs"][0], or(&spec["clusterIP"], "<none>"));
    let ports = if ports.is_empty() {
        "<none>".to_owned()
    } else {
        ports.join(",")
    };
    let mut row = row(it, now, [json!(kind), json!(internal), json!(external), json!(ports)]);
    row.push(json!(or_none(labels(&spec["selector"]))));
    row
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

fn endpoint_slice(it: &Value, now: Timestamp) -> Vec<Value> {
    let ports = items(&it["ports"]).iter().map(|port| match port["port"].as_i64() {
        Some(number) => number.to_string(),
        None => port["name"].as_str().unwrap_or("*").to_owned(),
    });
    let addresses = items(&it["endpoints"])
        .iter()
        .flat_map(|endpoint| items(&endpoint["addresses"]));
    let addresses = addresses.map(|address| text(address).to_owned());
    row(
        it,
        now,
        [
            it["addressType"].clone(),
            json!(first_three(ports)),
            json!(first_three(addresses)),
        ],
    )
}

fn first_three(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<_> = all.collect();
    match all.len() {
        0 => "<unset>".to_owned(),
        1..=3 => all.join(","),
        many => {
            all.truncate(3);
            format!("{} + {} more...", all.join(","), many - 3)
        }
    }
}

fn autoscaler(it: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, target) = (&it["spec"], &it["spec"]["scaleTargetRef"]);
    let least = spec["minReplicas"]
        .as_i64()
        .map_or_else(|| "<unset>".to_owned(), |it| it.to_string());
    let cells = [
        json!(format!("{}/{}", text(&target["kind"]), text(&target["name"]))),
        json!(metrics(&spec["metrics"], &it["status"]["currentMetrics"])),
        json!(least),
        json!(number(&spec["maxReplicas"])),
        json!(number(&it["status"]["currentReplicas"])),
    ];
    row(it, now, cells)
}

/// `cpu: 10%/80%`, for at most two metrics.
fn metrics(specs: &Value, statuses: &Value) -> String {
    let specs = items(specs);
    let names = specs
        .iter()
        .enumerate()
        .take(2)
        .map(|(index, spec)| metric(spec, &statuses[index]));
    match specs.len() {
        0 => "<none>".to_owned(),
        1 | 2 => names.collect::<Vec<_>>().join(", "),
        many => format!("{} + {} more...", names.collect::<Vec<_>>().join(", "), many - 2),
    }
}

fn metric(spec: &Value, status: &Value) -> String {
    let source = match text(&spec["type"]) {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let (target, current) = (&spec[source]["target"], &status[source]["current"]);
    let resource = source.ends_with("esource");
    let prefix = if resource {
        format!("{}: ", text(&spec[source]["name"]))
    } else {
        String::new()
    };
    if target["averageValue"].is_string() {
        let average = if resource || source == "pods" { "" } else { " (avg)" };
        let current = or(&current["averageValue"], "<unknown>");
        return format!("{prefix}{current}/{}{average}", text(&target["averageValue"]));
    }
    if !resource {
        return format!("{}/{}", or(&current["value"], "<unknown>"), text(&target["value"]));
    }
    let percent = |value: &Value, instead: &str| match value["averageUtilization"].as_i64() {
        Some(percent) => format!("{percent}%"),
        None => instead.to_owned(),
    };
    format!(
        "{prefix}{}/{}",
        percent(current, "<unknown>"),
        percent(target, "<auto>")
    )
}

fn node(it: &Value, now: Timestamp) -> Vec<Value> {
    let (status, info) = (&it["status"], &it["status"]["nodeInfo"]);
    let ready = items(&status["conditions"]).iter().find(|it| it["type"] == "Ready");
    let mut state = match ready.map(|ready| &ready["status"]) {
        None => "Unknown",
        Some(status) if status == "True" => "Ready",
        Some(_) => "NotReady",
    }
    .to_owned();
    if it["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let labels = it["metadata"]["labels"].as_object().into_iter().flatten();
    let roles = labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/").filter(|it| !it.is_empty()));
    let roles = or_none(roles.collect::<Vec<_>>().join(","));
    let address = |kind: &str| {
        let found = items(&status["addresses"]).iter().find(|it| it["type"] == kind);
        json!(found.map_or("<none>", |it| text(&it["address"])))
    };
    let architecture = match text(&info["architecture"]) {
        "" => String::new(),
        architecture => format!(" ({architecture})"),
    };
    let mut row = row(it, now, [json!(state), json!(roles)]);
    row.extend([
        json!(text(&info["kubeletVersion"])),
        address("InternalIP"),
        address("ExternalIP"),
        json!(or(&info["osImage"], "<unknown>")),
        json!(format!("{}{architecture}", or(&info["kernelVersion"], "<unknown>"))),
        json!(or(&info["containerRuntimeVersion"], "<unknown>")),
    ]);
    row
}

/// An event of the core group or of events.k8s.io, which use different field names.
fn event(it: &Value, now: Timestamp) -> Vec<Value> {
    let either = |one: &str, other: &str| if it[one].is_null() { &it[other] } else { &it[one] };
    let time = |time: &Value, instead: String| if time.is_string() { since(time, now) } else { instead };
    let first = time(
        either("firstTimestamp", "deprecatedFirstTimestamp"),
        since(&it["eventTime"], now),
    );
    let mut last = time(either("lastTimestamp", "deprecatedLastTimestamp"), first.clone());
    let mut count = number(either("count", "deprecatedCount")).max(1);
    if it["series"].is_object() {
        last = since(&it["series"]["lastObservedTime"], now);
        count = number(&it["series"]["count"]);
    }
    let about = either("involvedObject", "regarding");
    let kind = text(&about["kind"]).to_lowercase();
    let target = match text(&about["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = either("source", "deprecatedSource");
    let component = or(
        &source["component"],
        or(&it["reportingComponent"], text(&it["reportingController"])),
    );
    let source = match or(&source["host"], text(&it["reportingInstance"])) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    };
    vec![
        json!(last),
        json!(text(&it["type"])),
        json!(text(&it["reason"])),
        json!(target),
        json!(text(&about["fieldPath"])),
        json!(source),
        json!(text(either("message", "note")).trim()),
        json!(first),
        json!(count),
        json!(name(it)),
    ]
}

fn role_binding(it: &Value, now: Timestamp) -> Vec<Value> {
    let role = format!("{}/{}", text(&it["roleRef"]["kind"]), text(&it["roleRef"]["name"]));
    let subjects = |kind: &str| {
        let of_kind = items(&it["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let names: Vec<_> = of_kind
            .map(|subject| match text(&subject["namespace"]) {
                "" => text(&subject["name"]).to_owned(),
                namespace => format!("{namespace}/{}", text(&subject["name"])),
            })
            .collect();
        json!(names.join(", "))
    };
    let mut row = row(it, now, [json!(role)]);
    row.extend([subjects("User"), subjects("Group"), subjects("ServiceAccount")]);
    row
}
