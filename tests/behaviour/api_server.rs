//! Behaviour of the API server that Kanary and its users rely on. These cases verify that the embedded cluster matches a
//! real one.

use futures::StreamExt;
use kube::{
    Api,
    api::{
        DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
    },
};
use serde_json::{Value, json};

use crate::support::{
    CONFIG_MAP, DEPLOYMENT, EVENT, KANARY, Kind, LEASE, SERVICE, World, again, config_map, deployment, kanary,
};

/// Sends a patch and returns the object, or the status and reason of the refusal.
async fn send(world: &World, kind: &Kind, name: &str, patch: Patch<Value>) -> Result<Value, (u16, String)> {
    let params = match &patch {
        Patch::Apply(_) => PatchParams::apply("alice"),
        _ => PatchParams::default(),
    };
    let api = world.api(kind);
    outcome(again(async || api.patch(name, &params, &patch).await).await)
}

fn outcome(answer: kube::Result<DynamicObject>) -> Result<Value, (u16, String)> {
    match answer {
        Ok(object) => Ok(serde_json::to_value(object).expect("an object is JSON")),
        Err(kube::Error::Api(status)) => Err((status.code, status.reason.clone())),
        Err(error) => panic!("no answer: {error}"),
    }
}

fn refused(code: u16, reason: &str) -> Result<Value, (u16, String)> {
    Err((code, reason.to_owned()))
}

fn json_patch(operations: Value) -> Patch<Value> {
    Patch::Json(serde_json::from_value(operations).expect("it is a JSON Patch"))
}

#[tokio::test]
async fn a_patch_that_changes_nothing_makes_no_version() {
    let world = World::unserved("api").await;
    let made = world.create(&CONFIG_MAP, &config_map("m", json!({"a": "1"}))).await;
    for patch in [
        Patch::Merge(json!({"data": {"a": "1"}})),
        Patch::Strategic(json!({"data": {"a": "1"}})),
        json_patch(json!([{"op": "add", "path": "/data/a", "value": "1"}])),
    ] {
        let same = send(&world, &CONFIG_MAP, "m", patch).await.expect("it is accepted");
        assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    }
}

#[tokio::test]
async fn a_write_on_top_of_something_else_is_refused() {
    let world = World::unserved("api").await;
    let made = world.create(&CONFIG_MAP, &config_map("m", json!({"a": "1"}))).await;
    let version = made["metadata"]["resourceVersion"].clone();
    let replace = |path: &str, value: &Value| {
        json_patch(
            json!([{"op": "replace", "path": path, "value": value}, {"op": "add", "path": "/data/b", "value": "2"}]),
        )
    };
    let test = json_patch(json!([{"op": "test", "path": "/data/a", "value": "2"}]));
    assert_eq!(send(&world, &CONFIG_MAP, "m", test).await, refused(422, "Invalid"));
    let uid = replace("/metadata/uid", &json!("another"));
    assert_eq!(send(&world, &CONFIG_MAP, "m", uid).await, refused(422, "Invalid"));
    let uid = Patch::Merge(json!({"metadata": {"uid": "another"}, "data": {"b": "2"}}));
    assert_eq!(send(&world, &CONFIG_MAP, "m", uid).await, refused(422, "Invalid"));
    let mut whole = made.clone();
    whole["metadata"]["uid"] = json!("another");
    let whole = serde_json::from_value(whole).expect("it is an object");
    let put = outcome(
        world
            .api(&CONFIG_MAP)
            .replace("m", &PostParams::default(), &whole)
            .await,
    );
    assert_eq!(put, refused(409, "Conflict"));
    let fits = send(&world, &CONFIG_MAP, "m", replace("/metadata/resourceVersion", &version)).await;
    assert_eq!(
        fits.expect("the resourceVersion is current")["data"],
        json!({"a": "1", "b": "2"})
    );
    let late = send(&world, &CONFIG_MAP, "m", replace("/metadata/resourceVersion", &version)).await;
    assert_eq!(late, refused(409, "Conflict"));
    // The resourceVersion is checked first: a client that knows an object from before its re-creation gets a conflict.
    let former = json!({"metadata": {"uid": "another", "resourceVersion": version}, "data": {"b": "3"}});
    let former = send(&world, &CONFIG_MAP, "m", Patch::Merge(former)).await;
    assert_eq!(former, refused(409, "Conflict"));
    let gone = send(&world, &CONFIG_MAP, "nobody", Patch::Merge(json!({"data": {}}))).await;
    assert_eq!(gone, refused(404, "NotFound"));
    for lost in [
        json!({"op": "remove", "path": "/data/none"}),
        json!({"op": "add", "path": "/none/a", "value": "1"}),
        json!({"op": "copy", "from": "/none/a", "path": "/data/b"}),
        json!({"op": "move", "from": "/data/none", "path": "/data/b"}),
    ] {
        let lost = send(&world, &CONFIG_MAP, "m", json_patch(json!([lost]))).await;
        assert_eq!(lost, refused(422, "Invalid"));
    }
    let added = json_patch(json!([{"op": "replace", "path": "/data/none", "value": "1"}]));
    let added = send(&world, &CONFIG_MAP, "m", added)
        .await
        .expect("replace adds a missing member");
    assert_eq!(added["data"]["none"], "1");
}

#[tokio::test]
async fn a_delete_keeps_its_preconditions() {
    let world = World::unserved("api").await;
    world.create(&CONFIG_MAP, &config_map("m", json!({}))).await;
    let other = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("another".to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let code = |answer: kube::Result<_>| match answer {
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
        Ok(_) => 200,
    };
    let api = world.api(&CONFIG_MAP);
    assert_eq!(code(api.delete("m", &other).await), 409);
    assert_eq!(code(api.delete("m", &DeleteParams::default()).await), 200);
    assert_eq!(code(api.delete("m", &DeleteParams::default()).await), 404);
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec_and_the_status_is_written_by_itself() {
    let world = World::unserved("api").await;
    world.target("app", 1).await;
    let made = world.kanary("batman", "app", json!({})).await;
    let default = json!({"observedGeneration": -1, "report": {"status": "Scheduled"}});
    assert_eq!(made["status"], default, "nobody has observed it");
    let api = world.api(&KANARY);
    let both = Patch::Merge(json!({"spec": {"paused": true}, "status": {"startTime": "2026-01-01T00:00:00Z"}}));
    let status = outcome(api.patch_status("batman", &PatchParams::default(), &both).await).expect("it is accepted");
    assert_eq!(
        (&status["spec"]["paused"], &status["metadata"]["generation"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(status["status"]["startTime"], "2026-01-01T00:00:00Z");
    let both = Patch::Merge(json!({"spec": {"paused": true}, "status": {"startTime": "2027-01-01T00:00:00Z"}}));
    let spec = send(&world, &KANARY, "batman", both).await.expect("it is accepted");
    assert_eq!(
        (&spec["spec"]["paused"], &spec["metadata"]["generation"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(spec["status"]["startTime"], "2026-01-01T00:00:00Z");
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let labelled = send(&world, &KANARY, "batman", label).await.expect("it is accepted");
    assert_eq!(labelled["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_field_that_nobody_knows_is_dropped() {
    let world = World::unserved("api").await;
    let mut kanary = kanary("batman", "app", json!({"nonsense": 1}));
    kanary["spec"]["validation"]["more"] = json!({"nonsense": 2});
    let made = world.create(&KANARY, &kanary).await;
    assert_eq!(
        (&made["spec"]["nonsense"], &made["spec"]["validation"]["more"]),
        (&Value::Null, &Value::Null)
    );
    let mut deployment = deployment("app", 1);
    deployment["spec"]["nonsense"] = json!(1);
    let made = world.create(&DEPLOYMENT, &deployment).await;
    assert_eq!(made["spec"]["nonsense"], Value::Null);
}

#[tokio::test]
async fn a_deployment_is_defaulted_as_users_know_it() {
    let world = World::unserved("api").await;
    let made = world.target("app", 1).await;
    let spec = &made["spec"];
    assert_eq!(
        spec["strategy"],
        json!({
            "type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        })
    );
    assert_eq!(
        (&spec["progressDeadlineSeconds"], &spec["revisionHistoryLimit"]),
        (&json!(600), &json!(10))
    );
    assert_eq!(
        spec["template"]["spec"],
        json!({
            "containers": [{
                "name": "main", "image": "app:v1", "imagePullPolicy": "IfNotPresent", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30,
        })
    );
}

#[tokio::test]
async fn a_strategic_patch_merges_containers_by_name() {
    let world = World::unserved("api").await;
    world.target("app", 1).await;
    let containers =
        json!([{"name": "side", "image": "side:v1"}, {"name": "main", "env": [{"name": "A", "value": "1"}]}]);
    let patch = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    let patched = send(&world, &DEPLOYMENT, "app", patch).await.expect("it is accepted");
    let containers = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .expect("there are containers");
    let short: Vec<_> = containers
        .iter()
        .map(|c| (c["name"].as_str(), c["image"].as_str(), c["env"][0]["value"].as_str()))
        .collect();
    assert_eq!(short.len(), 2, "{containers:?}");
    assert!(short.contains(&(Some("main"), Some("app:v1"), Some("1"))), "{short:?}");
    assert!(short.contains(&(Some("side"), Some("side:v1"), None)), "{short:?}");
}

#[tokio::test]
async fn a_field_that_is_no_longer_applied_goes() {
    let world = World::unserved("api").await;
    let apply = async |data: Value| send(&world, &CONFIG_MAP, "m", Patch::Apply(config_map("m", data))).await;
    let made = apply(json!({"a": "1", "b": "2"})).await.expect("it is created");
    assert_eq!(apply(json!({"a": "1", "b": "2"})).await, Ok(made), "nothing new");
    world.patch(&CONFIG_MAP, "m", json!({"data": {"c": "3"}})).await;
    let less = apply(json!({"a": "1"})).await.expect("it is accepted");
    assert_eq!(
        less["data"],
        json!({"a": "1", "c": "3"}),
        "fields of other managers are preserved"
    );
    let theirs = Patch::Apply(config_map("m", json!({"a": "4"})));
    let conflict = outcome(
        world
            .api(&CONFIG_MAP)
            .patch("m", &PatchParams::apply("bob"), &theirs)
            .await,
    );
    assert_eq!(conflict, refused(409, "Conflict"));
    let taken = outcome(
        world
            .api(&CONFIG_MAP)
            .patch("m", &PatchParams::apply("bob").force(), &theirs)
            .await,
    );
    assert_eq!(taken.expect("it is forced")["data"]["a"], "4");
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_to_its_watch() {
    let world = World::unserved("api").await;
    let api = world.api(&CONFIG_MAP);
    let list = api.list(&ListParams::default()).await.expect("the kind can be listed");
    let from = list.metadata.resource_version.expect("a list has a version");
    let mut mine = config_map("m", json!({"n": "1"}));
    mine["metadata"]["labels"] = json!({"on": "yes"});
    world.create(&CONFIG_MAP, &mine).await;
    world.patch(&CONFIG_MAP, "m", json!({"data": {"n": "2"}})).await;
    world
        .patch(
            &CONFIG_MAP,
            "m",
            json!({"metadata": {"labels": {"on": "no"}}, "data": {"n": "3"}}),
        )
        .await;
    let off = world.patch(&CONFIG_MAP, "m", json!({"data": {"n": "4"}})).await;
    world
        .patch(&CONFIG_MAP, "m", json!({"metadata": {"labels": {"on": "yes"}}}))
        .await;
    world.delete(&CONFIG_MAP, "m").await;
    let params = WatchParams::default().labels("on=yes").timeout(60);
    let mut events = std::pin::pin!(api.watch(&params, &from).await.expect("the kind can be watched"));
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let (kind, object) = match events
            .next()
            .await
            .expect("the watch continues")
            .expect("it can be read")
        {
            WatchEvent::Added(object) => ("added", object),
            WatchEvent::Modified(object) => ("modified", object),
            WatchEvent::Deleted(object) => ("deleted", object),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(error) => panic!("{error:?}"),
        };
        seen.push((kind, object.data["data"]["n"].as_str().unwrap_or_default().to_owned()));
    }
    let seen: Vec<_> = seen.iter().map(|(kind, n)| (*kind, n.as_str())).collect();
    let expected = [
        ("added", "1"),
        ("modified", "2"),
        ("deleted", "2"),
        ("added", "4"),
        ("deleted", "4"),
    ];
    assert_eq!(seen, expected, "the last selected state is reported as deleted");
    assert_eq!(off["data"]["n"], "4");
}

#[tokio::test]
async fn a_service_that_is_written_without_its_address_keeps_it() {
    let world = World::unserved("api").await;
    let made = world.service("s", "app").await;
    let mut written = made.clone();
    for assigned in ["clusterIP", "clusterIPs"] {
        written["spec"]
            .as_object_mut()
            .expect("there is a spec")
            .remove(assigned);
    }
    written["spec"]["selector"] = json!({"app": "other"});
    let written = serde_json::from_value(written).expect("it is an object");
    let written =
        outcome(world.api(&SERVICE).replace("s", &PostParams::default(), &written).await).expect("it is accepted");
    assert_eq!(written["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    let moved = Patch::Merge(json!({"spec": {"clusterIP": "10.0.99.99", "clusterIPs": ["10.0.99.99"]}}));
    assert_eq!(send(&world, &SERVICE, "s", moved).await, refused(422, "Invalid"));
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let world = World::unserved("api").await;
    for name in ["a", "b", "c"] {
        world.create(&CONFIG_MAP, &config_map(name, json!({}))).await;
    }
    let api = world.api(&CONFIG_MAP);
    let mut names = Vec::new();
    let mut params = ListParams::default().limit(2);
    loop {
        let page = api.list(&params).await.expect("the kind can be listed");
        assert!(page.items.len() <= 2);
        names.extend(page.items.iter().filter_map(|map| map.metadata.name.clone()));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = ListParams::default().limit(2).continue_token(&token),
            None => break,
        }
    }
    names.retain(|name| name != "kube-root-ca.crt");
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn an_object_waits_for_its_finalizers() {
    let world = World::unserved("api").await;
    let mut held = config_map("m", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.create(&CONFIG_MAP, &held).await;
    world.delete(&CONFIG_MAP, "m").await;
    let going = world.get(&CONFIG_MAP, "m").await;
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    world
        .patch(&CONFIG_MAP, "m", json!({"metadata": {"finalizers": null}}))
        .await;
    world.gone(&CONFIG_MAP, "m").await;
}

#[tokio::test]
async fn an_event_is_one_object_in_two_versions() {
    let world = World::unserved("api").await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "Promoted", "action": "Promoted", "note": "it went well",
        "type": "Normal", "reportingController": "kanary", "reportingInstance": "one",
        "regarding": {"kind": "ConfigMap", "name": "m", "namespace": world.ns},
    });
    world.create(&EVENT, &event).await;
    assert_eq!(world.get(&EVENT, "e").await["note"], "it went well");
    let core: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(world.plane.admin().await, &world.ns);
    let about = ListParams::default().fields("involvedObject.name=m");
    let listed = core.list(&about).await.expect("Events can be listed");
    assert_eq!(listed.items[0].message.as_deref(), Some("it went well"));
    let again = world.try_create(&EVENT, &event).await.expect_err("it already exists");
    assert!(again.contains("already exists"), "{again}");
}

#[tokio::test]
async fn a_lease_is_taken_by_one() {
    let world = World::unserved("api").await;
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "", "leaseDurationSeconds": 15}});
    let made = world.create(&LEASE, &lease).await;
    let claim = |who: &str| {
        json_patch(json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/spec/holderIdentity", "value": who},
        ]))
    };
    let mut outcomes = futures::future::join_all(["a", "b"].map(|who| send(&world, &LEASE, "l", claim(who)))).await;
    outcomes.sort_by_key(Result::is_err);
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert_eq!(outcomes[1], refused(422, "Invalid"));
}
