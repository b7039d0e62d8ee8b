//! The environment of one test: a namespace, a controller for it, and a user with full access.

use std::{collections::BTreeMap, sync::Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};

use super::{
    DEPLOYMENT, KANARY, Kind, REPLICA_SET, SERVICE, again,
    audit::{self, Request},
    calls,
    controller::Controller,
    faults::Faults,
    kubectl::{self, Output},
    machine::{self, Place},
    manifests, phase,
    plane::Plane,
    recorder::Recording,
    waited,
};

/// A namespace with its own controller.
pub(crate) struct World {
    pub(crate) ns: String,
    pub(crate) plane: &'static Plane,
    client: Client,
    controller: Mutex<Option<Controller>>,
    place: Place,
}

impl World {
    /// A namespace with a running controller.
    pub(crate) async fn new(file: &str) -> Self {
        let world = Self::unserved(file).await;
        world.start_controller();
        world
    }

    /// The same for a test of kubectl. Returns `None` if kubectl is not installed; with `KANARY_NEEDS_KUBECTL` that is a
    /// failure, so that CI skips nothing.
    pub(crate) async fn with_kubectl(file: &str) -> Option<Self> {
        if kubectl::is_there() {
            return Some(Self::new(file).await);
        }
        assert!(
            std::env::var_os("KANARY_NEEDS_KUBECTL").is_none(),
            "kubectl is not in PATH"
        );
        eprintln!("kubectl is not in PATH: this case is skipped");
        None
    }

    /// A namespace without a controller.
    pub(crate) async fn unserved(file: &str) -> Self {
        Self::make(file, machine::share().await).await
    }

    /// The same, while no other test runs.
    pub(crate) async fn alone(file: &str) -> Self {
        Self::make(file, machine::alone().await).await
    }

    /// Another namespace for the same test.
    pub(crate) async fn sibling(&self, file: &str) -> Self {
        Self::make(file, self.place.clone()).await
    }

    async fn make(file: &str, beside: Place) -> Self {
        let plane = Plane::ready().await;
        let client = plane.admin().await;
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta {
                generate_name: Some(format!("t-{file}-")),
                ..Default::default()
            },
            ..Default::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let created = again(async || namespaces.create(&PostParams::default(), &namespace).await).await;
        let created = created.expect("a namespace can be created");
        Self {
            ns: created.metadata.name.expect("a namespace has a name"),
            plane,
            client,
            controller: Mutex::new(None),
            place: beside,
        }
    }

    /// Starts the controller, or a new one after it was killed.
    pub(crate) fn start_controller(&self) {
        self.put(Controller::start(self.plane, &self.ns, None));
    }

    /// Starts a controller whose client dies as configured by `faults`.
    pub(crate) fn start_faulty_controller(&self, faults: &Faults) {
        self.put(Controller::start(self.plane, &self.ns, Some(faults.clone())));
    }

    /// Takes a controller that was started.
    pub(crate) fn put(&self, controller: Controller) {
        let former = self.controller.lock().unwrap().replace(controller);
        assert!(former.is_none(), "one controller at a time");
    }

    /// Kills the controller without a graceful shutdown.
    pub(crate) fn kill_controller(&self) {
        let controller = self.controller.lock().unwrap().take();
        controller.expect("a controller is running").kill();
    }

    /// kube's API for a kind in this namespace.
    pub(crate) fn api(&self, kind: &Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.ns, &kind.resource())
    }

    /// Creates an object. Panics if it is refused.
    pub(crate) async fn create(&self, kind: &Kind, manifest: &Value) -> Value {
        match self.try_create(kind, manifest).await {
            Ok(created) => created,
            Err(error) => panic!("{manifest:#} was refused: {error}"),
        }
    }

    /// Creates an object, or returns the reason of the refusal.
    pub(crate) async fn try_create(&self, kind: &Kind, manifest: &Value) -> Result<Value, String> {
        let object = serde_json::from_value(manifest.clone()).expect("a manifest is an object");
        let api = self.api(kind);
        let created = calls::create(&api, &object).await;
        created.map(|object| to_value(&object)).map_err(|e| e.to_string())
    }

    /// A target of `replicas` pods at version `v1`.
    pub(crate) async fn target(&self, name: &str, replicas: i32) -> Value {
        self.create(&DEPLOYMENT, &manifests::deployment(name, replicas)).await
    }

    /// A Service in front of the Deployment `app`.
    pub(crate) async fn service(&self, name: &str, app: &str) -> Value {
        self.create(&SERVICE, &manifests::service(name, app)).await
    }

    /// A KanaryDeployment as in [`manifests::kanary`].
    pub(crate) async fn kanary(&self, name: &str, target: &str, spec: Value) -> Value {
        self.create(&KANARY, &manifests::kanary(name, target, spec)).await
    }

    /// A merge patch, as `kubectl patch --type merge` sends it.
    pub(crate) async fn patch(&self, kind: &Kind, name: &str, patch: Value) -> Value {
        match self.try_patch(kind, name, &patch).await {
            Ok(patched) => patched,
            Err(error) => panic!("{patch:#} was refused: {error}"),
        }
    }

    /// A merge patch, or the reason of the refusal.
    pub(crate) async fn try_patch(&self, kind: &Kind, name: &str, patch: &Value) -> Result<Value, String> {
        let api = self.api(kind);
        let patched = again(async || api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await).await;
        patched.map(|object| to_value(&object)).map_err(|e| e.to_string())
    }

    /// Equivalent of `kubectl label`.
    pub(crate) async fn label(&self, kind: &Kind, name: &str, label: &str, value: &str) {
        self.patch(kind, name, json!({"metadata": {"labels": {label: value}}}))
            .await;
    }

    /// Equivalent of `kubectl set image` for the container of a Deployment.
    pub(crate) async fn set_image(&self, deployment: &str, image: &str) {
        let containers = json!([{"name": "main", "image": image}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        self.write(&DEPLOYMENT, deployment, &Patch::Strategic(patch)).await;
    }

    /// Equivalent of `kubectl rollout undo`: restores the previous template.
    pub(crate) async fn undo(&self, deployment: &str) {
        let uid = self.get(&DEPLOYMENT, deployment).await["metadata"]["uid"].clone();
        let mut history = self.list(&REPLICA_SET, "").await;
        history.retain(|set| set["metadata"]["ownerReferences"][0]["uid"] == uid);
        history.sort_by_key(|set| {
            let revision = set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
            revision.and_then(|revision| revision.parse::<u64>().ok())
        });
        let mut former = history[history.len() - 2]["spec"]["template"].clone();
        let labels = former["metadata"]["labels"].as_object_mut();
        labels.expect("a template has labels").remove("pod-template-hash");
        let patch = json!([{"op": "replace", "path": "/spec/template", "value": former}]);
        let patch = Patch::Json(serde_json::from_value(patch).expect("it is a JSON Patch"));
        self.write(&DEPLOYMENT, deployment, &patch).await;
    }

    async fn write(&self, kind: &Kind, name: &str, patch: &Patch<Value>) {
        let api = self.api(kind);
        let patched = again(async || api.patch(name, &PatchParams::default(), patch).await).await;
        patched.unwrap_or_else(|error| panic!("{patch:?} was refused: {error}"));
    }

    /// Edits the spec of a KanaryDeployment.
    pub(crate) async fn edit(&self, kanary: &str, spec: Value) -> Value {
        self.patch(&KANARY, kanary, json!({"spec": spec})).await
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, kind: &Kind, name: &str) {
        self.delete_with(kind, name, &DeleteParams::default()).await;
    }

    /// Deletes an object with the options `params`.
    pub(crate) async fn delete_with(&self, kind: &Kind, name: &str, params: &DeleteParams) {
        let deleted = calls::delete(&self.api(kind), name, params).await;
        deleted.expect("the object can be deleted");
    }

    /// Deletes the namespace.
    pub(crate) async fn delete_namespace(&self) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let deleted = calls::delete(&api, &self.ns, &DeleteParams::default()).await;
        deleted.expect("the namespace can be deleted");
    }

    /// Reads an object. Panics if it does not exist.
    pub(crate) async fn get(&self, kind: &Kind, name: &str) -> Value {
        self.find(kind, name)
            .await
            .unwrap_or_else(|| panic!("{} {name} does not exist", kind.kind))
    }

    /// Reads an object, if it exists.
    pub(crate) async fn find(&self, kind: &Kind, name: &str) -> Option<Value> {
        let api = self.api(kind);
        let found = again(async || api.get_opt(name).await).await;
        found.expect("the object can be read").map(|object| to_value(&object))
    }

    /// All objects of a kind with these labels.
    pub(crate) async fn list(&self, kind: &Kind, selector: &str) -> Vec<Value> {
        let (api, params) = (self.api(kind), ListParams::default().labels(selector));
        let list = again(async || api.list(&params).await).await;
        list.expect("the kind can be listed").iter().map(to_value).collect()
    }

    /// Waits until the object `name` exists and satisfies `test`.
    pub(crate) async fn until(&self, kind: &Kind, name: &str, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let what = format!("{} {name}: {what}", kind.kind);
        self.until_some(kind, config, &what, |objects| {
            objects.get(name).filter(|object| test(object)).cloned()
        })
        .await
    }

    /// Waits until the object `name` does not exist.
    pub(crate) async fn gone(&self, kind: &Kind, name: &str) {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let what = format!("{} {name} is gone", kind.kind);
        self.until_some(kind, config, &what, |objects| objects.is_empty().then_some(()))
            .await;
    }

    /// Waits until the list of objects with these labels satisfies `test`.
    pub(crate) async fn until_all(
        &self,
        kind: &Kind,
        selector: &str,
        what: &str,
        test: impl Fn(&[&Value]) -> bool,
    ) -> Vec<Value> {
        let config = watcher::Config::default().labels(selector);
        self.until_some(kind, config, what, |objects| {
            let objects: Vec<_> = objects.values().collect();
            test(&objects).then(|| objects.into_iter().cloned().collect())
        })
        .await
    }

    /// Waits until no object has these labels. There is no time limit while their number decreases.
    pub(crate) async fn none_left(&self, kind: &Kind, selector: &str) {
        let mut left = self.list(kind, selector).await.len();
        let step = left.div_ceil(10);
        while left > 0 {
            let most = left.saturating_sub(step);
            let what = format!("no more than {most} {} with {selector} are left", kind.plural);
            let fewer = |objects: &[&Value]| objects.len() <= most;
            left = self.until_all(kind, selector, &what, fewer).await.len();
        }
    }

    /// Waits until a KanaryDeployment has `wanted` under STATUS.
    pub(crate) async fn phase(&self, kanary: &str, wanted: &str) -> Value {
        let what = format!("STATUS is {wanted}");
        self.until(&KANARY, kanary, &what, |k| phase(k) == wanted).await
    }

    /// Waits until a run has ended and asserts that it ended with `wanted`.
    pub(crate) async fn ends(&self, kanary: &str, wanted: &str) -> Value {
        self.ends_as(&KANARY, kanary, wanted).await
    }

    /// The same for any Kanary kind.
    pub(crate) async fn ends_as(&self, kind: &Kind, kanary: &str, wanted: &str) -> Value {
        let what = format!("the run has ended with {wanted}");
        let ended = self
            .until(kind, kanary, &what, |k| !k["status"]["completedAt"].is_null())
            .await;
        assert_eq!(phase(&ended), wanted, "{ended:#}");
        ended
    }

    async fn until_some<T>(
        &self,
        kind: &Kind,
        config: watcher::Config,
        what: &str,
        mut test: impl FnMut(&BTreeMap<String, Value>) -> Option<T>,
    ) -> T {
        let last = Mutex::new(BTreeMap::new());
        let show = || format!("{:#}", json!(*last.lock().unwrap()));
        waited(what, show, async {
            let mut events = std::pin::pin!(watcher(self.api(kind), config));
            let mut complete = false;
            while let Some(event) = events.next().await {
                // A watch that fails is restarted.
                let Ok(event) = event else { continue };
                let mut objects = last.lock().unwrap();
                match event {
                    Event::Init => {
                        complete = false;
                        objects.clear();
                    }
                    Event::InitApply(object) | Event::Apply(object) => {
                        objects.insert(object.metadata.name.clone().unwrap_or_default(), to_value(&object));
                    }
                    Event::Delete(object) => {
                        objects.remove(&object.metadata.name.unwrap_or_default());
                    }
                    Event::InitDone => complete = true,
                }
                if let Some(found) = Some(&objects).filter(|_| complete).and_then(|objects| test(objects)) {
                    return found;
                }
            }
            panic!("a watch never ends");
        })
        .await
    }

    /// Starts recording the objects of a kind.
    pub(crate) async fn record(&self, kind: Kind) -> Recording {
        Recording::start(self.api(&kind), kind).await
    }

    /// The controller's requests in this namespace so far, except watches.
    pub(crate) async fn requests(&self) -> Vec<Request> {
        audit::requests(self.plane, &self.ns).await
    }

    /// Runs kubectl and returns its output. Panics if kubectl fails.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments, "").await;
        assert!(output.ok, "kubectl {arguments:?}: {}", output.err);
        output.out
    }

    /// Runs kubectl with `input` as its standard input.
    pub(crate) async fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        kubectl::run(self.plane, &self.ns, arguments, input).await
    }

    /// A kubectl command that is not started yet.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> tokio::process::Command {
        kubectl::command(self.plane, &self.ns, arguments)
    }
}

fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).expect("an object is JSON")
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.controller.lock().unwrap().take());
        let (plane, ns) = (self.plane, self.ns.clone());
        let cleanup = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be created").block_on(async {
                let api: Api<Namespace> = Api::all(plane.admin().await);
                // If the deletion fails, the namespace is removed with the test environment.
                let _ = api.delete(&ns, &DeleteParams::default()).await;
            });
        });
        let _ = cleanup.join();
    }
}
