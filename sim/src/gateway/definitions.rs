//! The CustomResourceDefinitions of Gateway API and Istio.
//!
//! They declare the fields that route traffic, with the limits, defaults and rules of the originals. They keep all other
//! fields, which the originals declare one by one.

#![allow(
    clippy::needless_pass_by_value,
    reason = "the parts of a schema are `json!` literals"
)]

use serde_json::{Value, json};

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const ISTIO: &str = "networking.istio.io";

/// `HTTPRoute`, `GRPCRoute` and `Gateway`, version v1.
#[must_use]
pub fn gateway_api() -> Vec<Value> {
    let names = |kind: &str, plural: &str| json!({"kind": kind, "plural": plural, "categories": ["gateway-api"]});
    vec![
        definition(
            GATEWAY_API,
            names("HTTPRoute", "httproutes"),
            &[("Hostnames", ".spec.hostnames")],
            route(http_rule(), Some(json!([{"matches": any_path()}]))),
            route_status(),
        ),
        definition(
            GATEWAY_API,
            names("GRPCRoute", "grpcroutes"),
            &[("Hostnames", ".spec.hostnames")],
            route(grpc_rule(), None),
            route_status(),
        ),
        definition(
            GATEWAY_API,
            names("Gateway", "gateways"),
            &[("Class", ".spec.gatewayClassName")],
            gateway(),
            object(&[], json!({"conditions": conditions()})),
        ),
    ]
}

/// `VirtualService`, `DestinationRule` and Gateway, version v1.
#[must_use]
pub fn istio() -> Vec<Value> {
    let names = |kind: &str, plural: &str, short: &str| {
        let categories = ["istio-io", "networking-istio-io"];
        json!({"kind": kind, "plural": plural, "shortNames": [short], "categories": categories})
    };
    vec![
        definition(
            ISTIO,
            names("VirtualService", "virtualservices", "vs"),
            &[("Gateways", ".spec.gateways"), ("Hosts", ".spec.hosts")],
            virtual_service(),
            object(&[], json!({})),
        ),
        definition(
            ISTIO,
            names("DestinationRule", "destinationrules", "dr"),
            &[("Host", ".spec.host")],
            object(&["host"], json!({"host": {"type": "string"}})),
            object(&[], json!({})),
        ),
        definition(
            ISTIO,
            names("Gateway", "gateways", "gw"),
            &[],
            object(&[], json!({"selector": {"type": "object"}})),
            object(&[], json!({})),
        ),
    ]
}

fn definition(group: &str, mut names: Value, columns: &[(&str, &str)], mut spec: Value, mut status: Value) -> Value {
    keep_unknown(&mut spec);
    keep_unknown(&mut status);
    let kind = names["kind"].as_str().unwrap_or_default().to_owned();
    names["singular"] = json!(kind.to_lowercase());
    names["listKind"] = json!(format!("{kind}List"));
    let plural = names["plural"].as_str().unwrap_or_default().to_owned();
    let mut columns: Vec<_> = columns
        .iter()
        .map(|(name, path)| json!({"name": name, "type": "string", "jsonPath": path}))
        .collect();
    columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
    // Istio's originals do not require a spec.
    let required: &[&str] = if group == GATEWAY_API { &["spec"] } else { &[] };
    let text = json!({"type": "string"});
    let properties =
        json!({"apiVersion": text, "kind": text, "metadata": {"type": "object"}, "spec": spec, "status": status});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [{
            "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "additionalPrinterColumns": columns,
            "schema": {"openAPIV3Schema": object(required, properties)},
        }]},
    })
}

/// Keeps the undeclared fields of every object in a schema.
fn keep_unknown(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "object") {
                fields.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            }
            // A default is a value and not a schema.
            let inner = fields.iter_mut().filter(|(name, _)| *name != "default");
            inner.for_each(|(_, schema)| keep_unknown(schema));
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(keep_unknown),
        _ => {}
    }
}

fn object(required: &[&str], properties: Value) -> Value {
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn list(most: u32, items: Value) -> Value {
    json!({"type": "array", "maxItems": most, "x-kubernetes-list-type": "atomic", "items": items})
}

/// A list whose entries have different names.
fn named(most: u32, items: Value) -> Value {
    json!({"type": "array", "maxItems": most, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
           "items": items})
}

fn text(most: u32) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": most})
}

fn choice(choices: &[&str], default: &str) -> Value {
    json!({"type": "string", "enum": choices, "default": default})
}

fn number(least: i64, most: i64) -> Value {
    json!({"type": "integer", "format": "int32", "minimum": least, "maximum": most})
}

fn with(mut schema: Value, field: &str, value: Value) -> Value {
    schema[field] = value;
    schema
}

fn rules(schema: Value, rules: &[(&str, &str)]) -> Value {
    let rules: Vec<_> = rules
        .iter()
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .collect();
    with(schema, "x-kubernetes-validations", json!(rules))
}

fn parent() -> Value {
    let fields = json!({
        "group": {"type": "string", "maxLength": 253, "default": GATEWAY_API},
        "kind": with(text(63), "default", json!("Gateway")),
        "namespace": text(63),
        "name": text(253),
        "sectionName": text(253),
        "port": number(1, 65535),
    });
    object(&["name"], fields)
}

/// The spec of a route.
fn route(rule: Value, default: Option<Value>) -> Value {
    let mut all = rules(
        list(16, rule),
        &[(
            "self.all(l1, !has(l1.name) || self.exists_one(l2, has(l2.name) && l1.name == l2.name))",
            "Rule name must be unique within the route",
        )],
    );
    if let Some(default) = default {
        all["default"] = default;
        all["minItems"] = json!(1);
    }
    let fields = json!({"parentRefs": list(32, parent()), "hostnames": list(16, text(253)), "rules": all});
    object(&[], fields)
}

fn route_status() -> Value {
    let fields = json!({"parentRef": parent(), "controllerName": text(253), "conditions": conditions()});
    let parent = object(&["conditions", "controllerName", "parentRef"], fields);
    object(&["parents"], json!({"parents": list(32, parent)}))
}

fn conditions() -> Value {
    let fields = json!({
        "type": {"type": "string", "maxLength": 316},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": text(1024),
        "message": {"type": "string", "maxLength": 32768},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
    });
    let required = ["lastTransitionTime", "message", "reason", "status", "type"];
    json!({"type": "array", "maxItems": 8, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
           "items": object(&required, fields)})
}

/// A reference to a Service, with these additional fields.
fn backend(more: Value) -> Value {
    let mut fields = json!({
        "group": {"type": "string", "maxLength": 253, "default": ""},
        "kind": with(text(63), "default", json!("Service")),
        "namespace": text(63),
        "name": text(253),
        "port": number(1, 65535),
    });
    crate::patch::merge(&mut fields, &more);
    rules(
        object(&["name"], fields),
        &[(
            "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
            "Must have port for Service reference",
        )],
    )
}

fn filters() -> Value {
    let part = json!({"numerator": {"type": "integer", "format": "int32", "minimum": 0},
                      "denominator": {"type": "integer", "format": "int32", "minimum": 1, "default": 100}});
    let fraction = rules(
        object(&["numerator"], part),
        &[(
            "self.numerator <= self.denominator",
            "numerator must be less than or equal to denominator",
        )],
    );
    let mirror = json!({"backendRef": backend(json!({})), "percent": number(0, 100), "fraction": fraction});
    let mirror = rules(
        object(&["backendRef"], mirror),
        &[(
            "!(has(self.percent) && has(self.fraction))",
            "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter",
        )],
    );
    let filter = object(&["type"], json!({"type": {"type": "string"}, "requestMirror": mirror}));
    let filter = rules(
        filter,
        &[
            (
                "!(has(self.requestMirror) && self.type != 'RequestMirror')",
                "filter.requestMirror must be nil if the filter.type is not RequestMirror",
            ),
            (
                "!(!has(self.requestMirror) && self.type == 'RequestMirror')",
                "filter.requestMirror must be specified for RequestMirror filter.type",
            ),
        ],
    );
    let once = |kind: &str| {
        let rule = format!("self.filter(f, f.type == '{kind}').size() <= 1");
        (rule, format!("{kind} filter cannot be repeated"))
    };
    let once = ["RequestHeaderModifier", "ResponseHeaderModifier", "URLRewrite"].map(once);
    let once: Vec<_> = once.iter().map(|(rule, why)| (rule.as_str(), why.as_str())).collect();
    rules(list(16, filter), &once)
}

/// What the rules of both kinds of routes have.
fn rule(matches: Value) -> Value {
    let weight = with(number(0, 1_000_000), "default", json!(1));
    let backends = list(16, backend(json!({"weight": weight, "filters": filters()})));
    let cookie = json!({"name": text(256), "lifetimeType": choice(&["Permanent", "Session"], "Session"),
                        "path": {"type": "string", "maxLength": 1024, "default": "/"}});
    let persistence = json!({
        "type": choice(&["Cookie", "Header"], "Cookie"),
        "cookie": object(&[], cookie),
        "header": object(&["name"], json!({"name": text(256)})),
        "absoluteTimeout": {"type": "string"},
    });
    let persistence = rules(
        object(&[], persistence),
        &[
            (
                "!has(self.cookie) || !has(self.cookie.lifetimeType) || self.cookie.lifetimeType != 'Permanent' || \
                 has(self.absoluteTimeout)",
                "AbsoluteTimeout must be specified when cookie lifetimeType is Permanent",
            ),
            (
                "self.type != 'Cookie' || has(self.cookie)",
                "cookie must be specified for Cookie type",
            ),
        ],
    );
    let fields = json!({"name": text(253), "matches": matches, "filters": filters(), "backendRefs": backends,
                        "sessionPersistence": persistence});
    object(&[], fields)
}

/// A match of a header or of a parameter by its name.
fn pair(longest: u32) -> Value {
    let kinds = choice(&["Exact", "RegularExpression"], "Exact");
    object(
        &["name", "value"],
        json!({"type": kinds, "name": text(256), "value": text(longest)}),
    )
}

fn any_path() -> Value {
    json!([{"path": {"type": "PathPrefix", "value": "/"}}])
}

fn http_rule() -> Value {
    let path = json!({
        "type": choice(&["Exact", "PathPrefix", "RegularExpression"], "PathPrefix"),
        "value": {"type": "string", "maxLength": 1024, "default": "/"},
    });
    let path = rules(
        object(&[], path),
        &[(
            "(self.type in ['Exact','PathPrefix']) ? self.value.startsWith('/') : true",
            "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
        )],
    );
    let fields = json!({
        "path": with(path, "default", json!({"type": "PathPrefix", "value": "/"})),
        "headers": named(16, pair(4096)),
        "queryParams": named(16, pair(1024)),
        "method": {"type": "string"},
    });
    rule(with(list(64, object(&[], fields)), "default", any_path()))
}

fn grpc_rule() -> Value {
    let method = json!({
        "type": choice(&["Exact", "RegularExpression"], "Exact"),
        "service": {"type": "string", "maxLength": 1024},
        "method": {"type": "string", "maxLength": 1024},
    });
    let method = rules(
        object(&[], method),
        &[(
            "has(self.type) ? has(self.service) || has(self.method) : true",
            "One or both of 'service' or 'method' must be specified",
        )],
    );
    rule(list(
        64,
        object(&[], json!({"method": method, "headers": named(16, pair(4096))})),
    ))
}

fn gateway() -> Value {
    let listener = json!({"name": text(253), "hostname": text(253), "port": number(1, 65535), "protocol": text(255)});
    let listeners = with(
        named(64, object(&["name", "port", "protocol"], listener)),
        "minItems",
        json!(1),
    );
    let fields = json!({"gatewayClassName": text(253), "listeners": listeners});
    object(&["gatewayClassName", "listeners"], fields)
}

fn virtual_service() -> Value {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let port = object(
        &[],
        json!({"number": {"type": "integer", "minimum": 0, "maximum": u32::MAX}}),
    );
    let destination = json!({"host": {"type": "string"}, "subset": {"type": "string"}, "port": port});
    let destination = object(&["host"], destination);
    let percentage = object(&[], json!({"value": {"type": "number", "format": "double"}}));
    // The webhook checks weights and percentages.
    let weight = json!({"type": "integer", "format": "int32"});
    let route = object(&["destination"], json!({"destination": destination, "weight": weight}));
    let mirror = object(
        &["destination"],
        json!({"destination": destination, "percentage": percentage}),
    );
    let http = json!({
        "name": {"type": "string"},
        "match": {"type": "array", "items": object(&[], json!({}))},
        "route": {"type": "array", "items": route},
        "mirror": destination,
        "mirrorPercentage": percentage,
        "mirrors": {"type": "array", "items": mirror},
    });
    let http = json!({"type": "array", "items": object(&[], http)});
    object(
        &[],
        json!({"hosts": texts, "gateways": texts, "exportTo": texts, "http": http}),
    )
}
