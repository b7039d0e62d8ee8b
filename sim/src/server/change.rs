//! Create, update, patch and delete.

use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Body, Request,
    call::{Call, unknown},
    read::{Selection, scale_of},
    respond::{View, json as respond},
};
use crate::{
    builtin,
    cluster::Cluster,
    failure::Failure,
    object::Object,
    patch::{self, Apply, PatchKind},
    write::{DeleteOptions, Deleted, Part, Txn, WriteOptions},
};

/// Name of the object in a call. A create has it in its body.
pub(crate) fn name_of(call: &Call, request: &Request<'_>) -> String {
    if call.verb != "create" {
        return call.name.clone();
    }
    let body: Named = serde_json::from_slice(request.body).unwrap_or_default();
    let name = body.metadata.and_then(|metadata| metadata.name);
    name.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Parses only an object's name.
#[derive(Default, Deserialize)]
struct Named {
    metadata: Option<NamedMetadata>,
}

#[derive(Deserialize)]
struct NamedMetadata {
    name: Option<Value>,
}

fn options(call: &Call) -> WriteOptions {
    WriteOptions {
        dry_run: call.query.is_dry_run(),
        strict: call.query.text("fieldValidation") == "Strict",
        patched: call.verb == "patch",
        typed: false,
        scale: call.subresource == "scale",
    }
}

/// Parses the object in a request's body as JSON or YAML.
fn body(request: &Request<'_>) -> Result<Value, Failure> {
    let bad = |why: String| Failure::bad_request(format!("the object provided is unrecognized: {why}"));
    if request.header("content-type").contains("protobuf") {
        let why = "the body of the request was in an unknown format - accepted media types include: application/json, \
                   application/yaml (this cluster reads no protobuf, which `kubectl create KIND` sends: write the object \
                   to a file, and `kubectl apply -f` it)";
        return Err(Failure::new(415, "UnsupportedMediaType", why));
    }
    if request.header("content-type").contains("yaml") {
        return serde_yaml_ng::from_slice(request.body).map_err(|error| bad(error.to_string()));
    }
    serde_json::from_slice(request.body).map_err(|error| bad(error.to_string()))
}

/// Converts an Event of events.k8s.io to the core Event that is stored.
fn stored(cluster: &Cluster, call: &Call, object: &mut Value) -> Result<Call, Failure> {
    let mut call = call.clone();
    if call.resource.is_view() {
        if object.is_object() {
            builtin::to_core(object);
        }
        let core = cluster.lock().registry.get("", "v1", "events").cloned();
        call.resource = core.ok_or_else(unknown)?;
    }
    Ok(call)
}

pub(crate) fn create(cluster: &Cluster, call: &Call, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    let mut object = body(request)?;
    let to = stored(cluster, call, &mut object)?;
    let namespace = call.namespace.clone().unwrap_or_default();
    let created = cluster.transact(request.user, |txn| {
        txn.create(&to.resource, &namespace, object, options(call))
    })?;
    Ok(View::of(call, request).object(cluster, 201, &created))
}

pub(crate) fn update(cluster: &Cluster, call: &Call, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    let mut object = body(request)?;
    let to = stored(cluster, call, &mut object)?;
    change(cluster, &to, request, |live| {
        let Some(live) = live else { return Ok(None) };
        if to.subresource == "scale" {
            return scaled(live.value(), &object).map(Some);
        }
        Ok(Some(object))
    })
}

pub(crate) fn patch(cluster: &Cluster, call: &Call, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    let content_type = request.header("content-type");
    let kind = match call.resource.typed {
        Some(_) => PatchKind::from_content_type(content_type)?,
        None => PatchKind::of_custom_resource(content_type)?,
    };
    let patch = kind.parse(request.body)?;
    let now = cluster.clock().second();
    let to = stored(cluster, call, &mut Value::Null)?;
    change(cluster, &to, request, |live| {
        let was_scale = call.subresource == "scale";
        let mut value = match live {
            None if matches!(kind, PatchKind::Apply) && !was_scale => Value::Null,
            None => return Ok(None),
            Some(live) if was_scale => scale_of(live)?,
            // An apply starts from an empty object.
            Some(_) if matches!(kind, PatchKind::Apply) => Value::Null,
            Some(live) => live.value(),
        };
        if call.resource.is_view() && value.is_object() {
            builtin::from_core(&mut value);
        }
        match kind {
            PatchKind::Json => patch::json(&mut value, &patch)?,
            PatchKind::Merge => patch::merge(&mut value, &patch),
            PatchKind::Apply if was_scale => patch::merge(&mut value, &patch),
            PatchKind::Strategic => patch::strategic(&mut value, &patch)?,
            PatchKind::Apply => value = applied(call, live, &patch, &now)?,
        }
        if call.resource.is_view() {
            builtin::to_core(&mut value);
        }
        match live {
            Some(live) if was_scale => scaled(live.value(), &value).map(Some),
            _ => Ok(Some(value)),
        }
    })
}

/// Calls `act` with the parameters for field ownership: the manager and the schema of the kind.
fn as_writer<T>(call: &Call, manager: &str, now: &str, act: impl FnOnce(&Apply<'_>) -> T) -> T {
    let custom = call
        .resource
        .custom
        .as_ref()
        .map(|custom| patch::Schema(&custom.open_api));
    let lists: &dyn patch::ListTypes = match &custom {
        Some(schema) => schema,
        None => &patch::BuiltIn,
    };
    act(&Apply {
        manager,
        force: call.query.is_true("force"),
        subresource: &call.subresource,
        now,
        lists,
    })
}

fn applied(call: &Call, live: Option<&Object>, config: &Value, now: &str) -> Result<Value, Failure> {
    let live = live.map(Object::json);
    let manager = call.query.text("fieldManager");
    let mut value = as_writer(call, manager, now, |how| patch::apply(live.as_deref(), config, how))?;
    // The name is taken from the path if the body has none.
    if value["metadata"]["name"].is_null() {
        value["metadata"]["name"] = json!(call.name);
    }
    Ok(value)
}

/// The default field manager: the name of the client program.
fn writer(call: &Call, request: &Request<'_>) -> String {
    let program = request.header("user-agent").split('/').next().unwrap_or_default();
    [call.query.text("fieldManager"), program, "unknown"]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default()
        .to_owned()
}

fn is_apply(request: &Request<'_>) -> bool {
    request
        .header("content-type")
        .starts_with(PatchKind::Apply.media_type())
}

/// Applies a change of an object's `/scale` to the object.
fn scaled(mut object: Value, scale: &Value) -> Result<Value, Failure> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
    if replicas < 0 {
        let why = "Invalid value: spec.replicas: must be greater than or equal to 0";
        return Err(Failure::new(422, "Invalid", why));
    }
    object["spec"]["replicas"] = json!(replicas);
    for precondition in ["resourceVersion", "uid"] {
        let given = &scale["metadata"][precondition];
        if given.is_string() {
            object["metadata"][precondition] = given.clone();
        }
    }
    Ok(object)
}

/// Reads, changes and writes an object under one lock. If it does not exist, the result of `make` is created.
fn change(
    cluster: &Cluster,
    call: &Call,
    request: &Request<'_>,
    make: impl FnOnce(Option<&Object>) -> Result<Option<Value>, Failure>,
) -> Result<Response<Body>, Failure> {
    let part = if call.subresource == "status" {
        Part::Status
    } else {
        Part::Whole
    };
    let now = cluster.clock().second();
    let (code, written) = cluster.transact(request.user, |txn: &mut Txn<'_>| {
        let place = call.place();
        let live = txn.live(&call.resource, &place);
        let options = options(call);
        match (make(live.as_deref().ok())?, live) {
            (Some(mut object), Ok(live)) => {
                if live.meta.managed && !is_apply(request) {
                    let live = live.json();
                    as_writer(call, &writer(call, request), &now, |how| {
                        patch::track(Some(&live), &mut object, how);
                    });
                }
                let written = txn.update(&call.resource, &place, part, object, options);
                written.map(|written| (200, written))
            }
            (Some(object), Err(_)) if call.subresource.is_empty() => {
                let created = txn.create(&call.resource, &place.0, object, options);
                created.map(|created| (201, created))
            }
            (_, Err(missing)) => Err(missing),
            (None, Ok(_)) => Err(unknown()),
        }
    })?;
    if call.subresource == "scale" {
        return Ok(respond(code, scale_of(&written)?.to_string()));
    }
    Ok(View::of(call, request).object(cluster, code, &written))
}

fn delete_options(call: &Call, request: &Request<'_>) -> Result<DeleteOptions, Failure> {
    let given: Value = if request.body.is_empty() {
        Value::Null
    } else {
        body(request)?
    };
    let text = |pointer: &str| given.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let asked = |name: &str| Some(call.query.text(name).to_owned()).filter(|text| !text.is_empty());
    let orphans = given["orphanDependents"] == true;
    Ok(DeleteOptions {
        dry_run: call.query.is_dry_run() || given["dryRun"][0] == "All",
        uid: text("/preconditions/uid"),
        resource_version: text("/preconditions/resourceVersion"),
        propagation: text("/propagationPolicy")
            .or_else(|| asked("propagationPolicy"))
            .or_else(|| orphans.then(|| "Orphan".to_owned())),
        grace: given["gracePeriodSeconds"]
            .as_i64()
            .or_else(|| call.query.text("gracePeriodSeconds").parse().ok()),
    })
}

pub(crate) fn delete(cluster: &Cluster, call: &Call, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    let options = delete_options(call, request)?;
    let deleted = cluster.transact(request.user, |txn| txn.delete(&call.resource, &call.place(), &options))?;
    Ok(match deleted {
        Deleted::Gone(last) => {
            let details = json!({
                "name": last.meta.name, "group": call.resource.group, "kind": call.resource.plural, "uid": last.meta.uid,
            });
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            respond(200, status.to_string())
        }
        Deleted::Going(object) => View::of(call, request).object(cluster, 200, &object),
    })
}

pub(crate) fn delete_collection(
    cluster: &Cluster,
    call: &Call,
    request: &Request<'_>,
) -> Result<Response<Body>, Failure> {
    let options = delete_options(call, request)?;
    let selection = Selection::of(call)?;
    let objects = cluster.objects(&call.resource.name, call.namespace.as_deref());
    let picked = objects.into_iter().filter(|object| selection.picks(object));
    for object in picked {
        let place = (object.meta.namespace.clone(), object.meta.name.clone());
        let deleted = cluster.transact(request.user, |txn| txn.delete(&call.resource, &place, &options));
        // Another client may have deleted the object first.
        if let Err(failure) = deleted
            && failure.code != 404
        {
            return Err(failure);
        }
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    Ok(respond(200, status.to_string()))
}
