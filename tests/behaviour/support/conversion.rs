//! The conversion webhook of processes, on a real control plane.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use k8s_openapi::{
    ByteString,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, WebhookClientConfig},
};
use kanary_core::{
    api::{self, KanaryKind},
    convert::{self, Conversion, Version},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{KANARY, KANARY_STATEFULSET, KANARY_V1, Process, SECRET, World, from_yaml, plane, poll};

/// Name of the Secret, and of what the chart makes for the webhook.
const NAME: &str = "kanary-conversion";

/// A namespace in a cluster that serves both versions. No other test runs meanwhile. [`Converting::end`] restores the CRDs.
pub(crate) struct Converting {
    pub(crate) world: World,
    /// Where API servers find the webhook, as behind a Service.
    front: Front,
}

/// A Service: passes connections on to one of the replicas that accept them.
struct Front {
    address: SocketAddr,
    replicas: Arc<Mutex<Vec<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let replicas: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let known = replicas.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let known = known.lock().unwrap().clone();
                tokio::spawn(async move {
                    for replica in known {
                        if let Ok(mut server) = TcpStream::connect(replica).await {
                            let _closed = copy_bidirectional(&mut client, &mut server).await;
                            return;
                        }
                    }
                });
            }
        });
        Self {
            address,
            replicas,
            task,
        }
    }
}

impl Converting {
    /// `None` on the embedded cluster, which asks no webhooks.
    pub(crate) async fn start(file: &str) -> Option<Self> {
        if matches!(plane::Plane::ready().await.kind(), plane::Kind::Embedded(_)) {
            eprintln!("this control plane asks no webhooks: this case is skipped");
            return None;
        }
        let world = World::alone(file).await;
        let manifests = from_yaml(include_str!("../../../deploy/optional/conversion.yaml"));
        let here = manifests
            .into_iter()
            .filter(|object| object["kind"] != "Service")
            .map(|mut object| {
                if object["metadata"]["namespace"].is_string() {
                    object["metadata"]["namespace"] = json!(world.ns);
                }
                object
            });
        plane::apply(&world.plane.admin().await, here).await;
        crate::shards::grant(&world).await;
        let this = Self {
            world,
            front: Front::start().await,
        };
        this.forget_others().await;
        this.store(Version::V1Alpha1).await;
        Some(this)
    }

    /// Deletes the Kanaries that earlier cases have left in other namespaces: only a webhook could convert them, and lists of `v1` wait
    /// for that.
    async fn forget_others(&self) {
        for kind in [&KANARY, &KANARY_STATEFULSET] {
            let client = self.world.plane.admin().await;
            let all: Api<DynamicObject> = Api::all_with(client.clone(), &kind.resource());
            for left in all.list(&ListParams::default()).await.expect("Kanaries are listed") {
                let (namespace, name) = (left.namespace().unwrap_or_default(), left.name_any());
                let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind.resource());
                let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let _gone = api.patch(&name, &PatchParams::default(), &freed).await;
                let _gone = api.delete(&name, &DeleteParams::default()).await;
            }
        }
    }

    async fn definitions(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.world.plane.admin().await)
    }

    async fn define(&self, crds: Vec<CustomResourceDefinition>) {
        let definitions = self.definitions().await;
        for crd in crds {
            let name = crd.metadata.name.clone().expect("a CRD has a name");
            let applied = PatchParams::apply("behaviour-suite").force();
            let applied = definitions.patch(&name, &applied, &Patch::Apply(&crd)).await;
            applied.expect("the API server accepts the CRD");
        }
    }

    /// Defines both versions, and waits until both are served.
    pub(crate) async fn store(&self, stored: Version) {
        let client = WebhookClientConfig {
            url: Some(format!("https://{}{}", self.front.address, kanary::webhook::PATH)),
            ..WebhookClientConfig::default()
        };
        let conversion = Conversion { client, stored };
        self.define(convert::crds(&KanaryKind::ALWAYS, &conversion)).await;
        // Nothing is in this namespace yet, or a webhook converts it.
        let api = self.world.api(&KANARY_V1);
        poll("v1 is served", async || {
            api.list(&ListParams::default()).await.map(drop)
        })
        .await;
    }

    /// Starts a replica with the webhook, with a short Lease.
    pub(crate) async fn replica(&self, identity: &str) -> Process {
        let arguments = ["--conversion-addr", "127.0.0.1:0", "--conversion-names", "127.0.0.1"];
        let replica = Process::start_replica(&self.world, identity, "3s", &arguments);
        let address = replica.address("conversion webhook listens").await;
        self.front
            .replicas
            .lock()
            .unwrap()
            .push(address.parse().expect("it is an address"));
        replica.ready().await;
        replica
    }

    /// Waits until Kanaries of this namespace can be read as `v1`.
    pub(crate) async fn converts(&self, name: &str) -> Value {
        let api = self.world.api(&KANARY_V1);
        let read = poll("v1 can be read", async || api.get(name).await).await;
        to_value(&read)
    }

    /// One attempt to read a Kanary as `v1`.
    pub(crate) async fn try_v1(&self, name: &str) -> Result<Value, String> {
        let read = self.world.api(&KANARY_V1).get(name).await;
        read.map(|object| to_value(&object)).map_err(|error| error.to_string())
    }

    /// The authorities that the API server trusts.
    pub(crate) async fn trusted(&self) -> String {
        let crd = self
            .definitions()
            .await
            .get("kanarydeployments.kanary.k8s-operators.dev")
            .await;
        let conversion = crd
            .expect("the CRD exists")
            .spec
            .conversion
            .and_then(|conversion| conversion.webhook);
        let bundle = conversion.and_then(|webhook| webhook.client_config?.ca_bundle);
        String::from_utf8(bundle.unwrap_or_default().0).expect("PEM is text")
    }

    /// Writes the authorities that the API server trusts, as somebody who breaks them.
    pub(crate) async fn trust(&self, bundle: &str) {
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": bundle}}}}});
        let definitions = self.definitions().await;
        let name = "kanarydeployments.kanary.k8s-operators.dev";
        let patched = definitions
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.expect("the API server accepts the authorities");
    }

    /// A key of the Secret.
    pub(crate) async fn secret(&self, key: &str) -> String {
        let secret = self.world.get(&SECRET, NAME).await;
        let value: ByteString = serde_json::from_value(secret["data"][key].clone()).expect("the key is there");
        String::from_utf8(value.0).expect("PEM is text")
    }

    /// Writes keys of the Secret.
    pub(crate) async fn set_secret(&self, keys: &[(&str, &str)]) {
        let data: serde_json::Map<_, _> = keys
            .iter()
            .map(|(key, text)| ((*key).to_owned(), json!(ByteString(text.as_bytes().to_vec()))))
            .collect();
        self.world.patch(&SECRET, NAME, json!({"data": data})).await;
    }

    /// The versions in which Kanaries may be stored.
    pub(crate) async fn stored_versions(&self) -> Vec<String> {
        let crd = self
            .definitions()
            .await
            .get("kanarydeployments.kanary.k8s-operators.dev")
            .await;
        crd.expect("the CRD exists")
            .status
            .and_then(|status| status.stored_versions)
            .unwrap_or_default()
    }

    /// Serves only `v1alpha1` again. All objects have to be stored in it.
    pub(crate) async fn end(self) {
        for object in self.world.list(&KANARY, "").await {
            let name = object["metadata"]["name"].as_str().expect("an object has a name");
            self.world.delete(&KANARY, name).await;
        }
        let definitions = self.definitions().await;
        for crd in api::crds(&KanaryKind::ALWAYS) {
            let name = crd.metadata.name.clone().expect("a CRD has a name");
            // Replaced as a whole: with server-side apply, `caBundle` would stay.
            poll("the CRD is replaced", async || {
                let mut crd = crd.clone();
                crd.metadata.resource_version = definitions.get(&name).await?.metadata.resource_version;
                definitions.replace(&name, &PostParams::default(), &crd).await
            })
            .await;
        }
    }
}

fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).expect("an object is JSON")
}
