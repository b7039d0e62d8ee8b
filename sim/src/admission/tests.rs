//! Policies that refuse, change or delay a write.

use std::time::Duration;

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Namespace, Pod, ResourceQuota},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Attempt, Effect, Policy};
use crate::{
    cluster::{Cluster, Options},
    controllers::{self, Behaviour},
    failure::Failure,
    gateway::Gateway,
    server::Server,
};

struct World {
    cluster: Cluster,
    client: Client,
}

fn world() -> World {
    let cluster = Cluster::new(Options::default());
    tokio::spawn(controllers::run(
        cluster.clone(),
        Gateway::new(&cluster),
        Behaviour::default(),
    ));
    let client = Server::new(cluster.clone()).client("tester");
    World { cluster, client }
}

fn from<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn map(name: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name}, "data": {"a": "1"}}))
}

fn deployment(replicas: i32) -> Deployment {
    from(json!({"metadata": {"name": "app"}, "spec": {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "app"}},
        "template": {
            "metadata": {"labels": {"app": "app"}},
            "spec": {"containers": [{"name": "main", "image": "app:v1"}]},
        },
    }}))
}

fn is_of(resource: &'static str) -> impl Fn(&Attempt<'_>) -> bool {
    move |attempt| attempt.resource == resource
}

fn refused<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("{other}"),
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

impl World {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::default_namespaced(self.client.clone())
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        self.api().create(&PostParams::default(), &from(object)).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_refuses_by_verb_and_user_until_it_is_gone() {
    let world = world();
    let maps: Api<ConfigMap> = world.api();
    let denied = Effect::denied("policy.shop", 404, "NotFound", "no such team");
    world.cluster.set_policy(Policy::new(
        "policy",
        |attempt| attempt.resource == "configmaps" && attempt.verb == "delete" && attempt.user == "tester",
        Effect::Deny(denied),
    ));
    maps.create(&PostParams::default(), &map("m")).await.unwrap();
    let (code, reason, message) = refused(maps.delete("m", &DeleteParams::default()).await);
    assert_eq!((code, reason.as_str()), (404, "NotFound"));
    assert_eq!(
        message,
        "admission webhook \"policy.shop\" denied the request: no such team"
    );
    assert!(maps.get_opt("m").await.unwrap().is_some());
    world.cluster.remove_policy("policy");
    maps.delete("m", &DeleteParams::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_policy_judges_what_is_written_and_what_it_replaces() {
    let world = world();
    let maps: Api<ConfigMap> = world.api();
    let check = |object: Option<&Value>, old: Option<&Value>| {
        let frozen = old.is_some_and(|old| old["data"]["frozen"] == "yes");
        let changed = object.map(|object| &object["data"]) != old.map(|old| &old["data"]);
        if frozen && changed {
            return Err(Failure::forbidden("configmaps", "m", "it is frozen"));
        }
        Ok(())
    };
    let policy = Policy::new("frozen", is_of("configmaps"), Effect::Check(std::sync::Arc::new(check)));
    world.cluster.set_policy(policy);
    maps.create(&PostParams::default(), &map("m")).await.unwrap();
    let patch = |data: Value| {
        let (maps, patch) = (maps.clone(), Patch::Merge(json!({"data": data})));
        async move { maps.patch("m", &PatchParams::default(), &patch).await }
    };
    patch(json!({"frozen": "yes"})).await.unwrap();
    assert_eq!(
        refused(patch(json!({"a": "2"})).await).2,
        "configmaps \"m\" is forbidden: it is frozen"
    );
    assert_eq!(refused(maps.delete("m", &DeleteParams::default()).await).0, 403);
}

/// A mutating policy, such as a sidecar injector or a cap on replicas. Its output is defaulted and validated like any
/// object.
#[tokio::test(start_paused = true)]
async fn a_policy_changes_the_writes_of_every_client() {
    let world = world();
    let cap = |object: &mut Value| {
        if object["spec"]["replicas"].as_i64() > Some(2) {
            object["spec"]["replicas"] = json!(2);
        }
        object["metadata"]["name"] = json!("another");
    };
    let add = |object: &mut Value| {
        let sidecar = json!({"name": "proxy", "image": "proxy:v1"});
        object["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
    };
    let cap = Policy::new(
        "cap",
        is_of("deployments.apps"),
        Effect::Change(std::sync::Arc::new(cap)),
    );
    world.cluster.set_policy(cap);
    let creates_pods = |attempt: &Attempt<'_>| attempt.resource == "pods" && attempt.verb == "create";
    let add = Policy::new("add", creates_pods, Effect::Change(std::sync::Arc::new(add)));
    world.cluster.set_policy(add);
    let made: Deployment = world.create(serde_json::to_value(deployment(5)).unwrap()).await;
    assert_eq!(made.metadata.name.as_deref(), Some("app"), "the name is preserved");
    assert_eq!(made.spec.unwrap().replicas, Some(2));
    pass(5).await;
    let pods = world.cluster.list::<Pod>(Some("default"));
    assert_eq!(pods.len(), 2);
    for pod in pods {
        let containers = &pod.spec.as_ref().unwrap().containers;
        assert_eq!(containers.len(), 2);
        assert!(
            containers[1].image_pull_policy.is_some(),
            "the added container is defaulted"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_held_up_and_one_whose_webhook_hangs_fails() {
    let world = world();
    let maps: Api<ConfigMap> = world.api();
    let delay = Effect::Delay(Duration::from_secs(4));
    world
        .cluster
        .set_policy(Policy::new("hook", is_of("configmaps"), delay));
    let begun = Instant::now();
    maps.create(&PostParams::default(), &map("m")).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(4));
    maps.get("m").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(4), "reads are not delayed");
    let hang = Effect::Hang(Duration::from_secs(10));
    world.cluster.set_policy(Policy::new("hook", is_of("configmaps"), hang));
    let (code, reason, message) = refused(maps.create(&PostParams::default(), &map("n")).await);
    assert_eq!((code, reason.as_str()), (500, "InternalError"));
    assert!(message.contains("failed calling webhook \"hook\"") && message.ends_with("context deadline exceeded"));
    assert_eq!(begun.elapsed(), Duration::from_secs(14));
}

#[tokio::test(start_paused = true)]
async fn a_quota_refuses_pods_and_the_deployment_says_so() {
    let world = world();
    let quota = json!({"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1", "count/deployments.apps": "1"}}});
    let _: ResourceQuota = world.create(quota).await;
    let _: Deployment = world.create(serde_json::to_value(deployment(2)).unwrap()).await;
    pass(5).await;
    let failure = |conditions: Value| {
        let conditions = conditions.as_array().cloned().unwrap_or_default();
        let found = conditions
            .into_iter()
            .find(|condition| condition["type"] == "ReplicaFailure");
        found.map(|found| (found["reason"].clone(), found["message"].as_str().unwrap().to_owned()))
    };
    let set = world.cluster.list::<ReplicaSet>(Some("default")).remove(0);
    let reported = failure(json!(set.status.as_ref().unwrap().conditions)).unwrap();
    assert_eq!(reported.0, "FailedCreate");
    assert!(reported.1.starts_with("pods \"app-"), "{}", reported.1);
    let why = "is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1";
    assert!(reported.1.ends_with(why), "{}", reported.1);
    let app = world.cluster.get::<Deployment>("default", "app").unwrap();
    assert_eq!(failure(json!(app.status.as_ref().unwrap().conditions)), Some(reported));
    let quota: ResourceQuota = world.api().get("few").await.unwrap();
    let status = json!(quota.status);
    assert_eq!(status["hard"], json!({"count/deployments.apps": "1", "pods": "1"}));
    assert_eq!(status["used"], json!({"count/deployments.apps": "1", "pods": "1"}));
    let api: Api<ResourceQuota> = world.api();
    let more = Patch::Merge(json!({"spec": {"hard": {"pods": "2"}}}));
    api.patch("few", &PatchParams::default(), &more).await.unwrap();
    pass(20).await;
    assert_eq!(
        world.cluster.list::<Pod>(Some("default")).len(),
        2,
        "a refused client retries"
    );
    let mut second = deployment(1);
    second.metadata.name = Some("second".to_owned());
    let deployments: Api<Deployment> = world.api();
    let (code, _, message) = refused(deployments.create(&PostParams::default(), &second).await);
    assert_eq!(code, 403);
    assert!(
        message.contains("requested: count/deployments.apps=1, used: count/deployments.apps=1"),
        "{message}"
    );
}

fn requires_team(message: Option<&str>) -> ValidatingAdmissionPolicy {
    from(json!({"metadata": {"name": "team"}, "spec": {
        "matchConstraints": {"resourceRules": [{
            "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"],
        }]},
        "matchConditions": [{"name": "users", "expression": "request.userInfo.username == 'tester'"}],
        "validations": [{"expression": "has(object.metadata.labels) && 'team' in object.metadata.labels", "message": message}],
    }}))
}

fn binding(actions: &[&str]) -> ValidatingAdmissionPolicyBinding {
    from(json!({"metadata": {"name": "everywhere"}, "spec": {
        "policyName": "team", "validationActions": actions,
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
    }}))
}

#[tokio::test(start_paused = true)]
async fn a_validating_admission_policy_refuses_once_it_is_bound() {
    let world = world();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client.clone());
    let params = PostParams::default();
    let deployments: Api<Deployment> = world.api();
    policies.create(&params, &requires_team(None)).await.unwrap();
    bindings.create(&params, &binding(&["Audit"])).await.unwrap();
    deployments.create(&params, &deployment(1)).await.unwrap();
    bindings.delete("everywhere", &DeleteParams::default()).await.unwrap();
    bindings.create(&params, &binding(&["Deny"])).await.unwrap();
    let label = |value: Value| {
        let patch = Patch::Merge(json!({"metadata": {"labels": value}}));
        let deployments = deployments.clone();
        async move { deployments.patch("app", &PatchParams::default(), &patch).await }
    };
    let (code, reason, message) = refused(label(json!({"a": "b"})).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert_eq!(
        message,
        "deployments.apps \"app\" is forbidden: ValidatingAdmissionPolicy 'team' with binding 'everywhere' denied request: \
         failed expression: has(object.metadata.labels) && 'team' in object.metadata.labels"
    );
    label(json!({"team": "shop"})).await.unwrap();
    policies.delete("team", &DeleteParams::default()).await.unwrap();
    policies
        .create(&params, &requires_team(Some("name a team")))
        .await
        .unwrap();
    assert!(
        refused(label(json!({"team": null})).await)
            .2
            .ends_with("denied request: name a team")
    );
    deployments.delete("app", &DeleteParams::default()).await.unwrap();
    let elsewhere: Api<Deployment> = Api::namespaced(world.client.clone(), "other");
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let other = from(json!({"metadata": {"name": "other"}}));
    namespaces.create(&params, &other).await.unwrap();
    elsewhere.create(&params, &deployment(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_stays_until_its_finalizers_are_off_and_gets_no_others() {
    let world = world();
    let maps: Api<ConfigMap> = world.api();
    let mut held = map("m");
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.delete("m", &DeleteParams::default()).await.unwrap();
    let left = maps.get("m").await.unwrap();
    assert!(left.metadata.deletion_timestamp.is_some());
    let finalizers = |names: &[&str]| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": names}}));
        let maps = maps.clone();
        async move { maps.patch("m", &PatchParams::default(), &patch).await }
    };
    let (code, _, message) = refused(finalizers(&["example.com/hold", "example.com/more"]).await);
    assert_eq!(code, 422);
    assert!(
        message.contains("no new finalizers can be added if the object is being deleted"),
        "{message}"
    );
    finalizers(&[]).await.unwrap();
    assert!(maps.get_opt("m").await.unwrap().is_none());
}
