//! The webhook over TLS on loopback, and the keeper of its certificate on the embedded cluster.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kanary_core::convert::{Conversion, Version, crds};
use kanary_sim::{
    cluster::{Cluster, Options},
    server::Server,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{certificate::Material, *};

const SPACE: &str = "kanary-system";
const NAME: &str = "kanary-conversion";

fn names() -> Vec<String> {
    vec![format!("{NAME}.{SPACE}.svc"), "127.0.0.1".to_owned()]
}

fn now() -> Timestamp {
    Clock::default().local()
}

/// A webhook that serves on loopback until this is dropped.
struct Serving {
    webhook: Arc<Webhook>,
    url: String,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Serving {
    async fn start() -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("https://{}{PATH}", listener.local_addr().unwrap());
        let (webhook, stop) = (
            Arc::new(Webhook::new(ConversionMetrics::default())),
            CancellationToken::new(),
        );
        let server = tokio::spawn(server::serve(listener, webhook.clone(), stop.clone()));
        Self {
            webhook,
            url,
            stop,
            server,
        }
    }

    fn present(&self, material: &Material) {
        self.webhook
            .present(Presented::read(&material.certificate, &material.key).unwrap());
    }

    fn counted(&self, result: &'static str) -> u64 {
        let labels = crate::metrics::OutcomeLabels { result };
        self.webhook.metrics.requests.get_or_create(&labels).get()
    }
}

/// A client that trusts these authorities, with connections of its own.
fn trusting(bundle: &str) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .build()
        .unwrap()
}

fn review() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "request": {"uid": "42", "desiredAPIVersion": "kanary.k8s-operators.dev/v1", "objects": [{
            "apiVersion": "kanary.k8s-operators.dev/v1alpha1", "kind": "KanaryDeployment", "metadata": {"name": "batman"},
            "spec": {"deploymentName": "myapp"},
        }]},
    })
}

async fn ask(client: &reqwest::Client, url: &str) -> Result<Value, reqwest::Error> {
    let reply = client.post(url).body(review().to_string()).send().await?;
    let reply = reply.error_for_status()?.text().await?;
    Ok(serde_json::from_str(&reply).unwrap())
}

#[tokio::test]
async fn kanaries_are_converted_over_tls_and_a_new_certificate_counts_at_once() {
    let serving = Serving::start().await;
    let first = Material::new(now(), &names(), "").unwrap();
    let problem = serving.webhook.problem().unwrap();
    assert!(problem.contains("not read yet"), "{problem}");
    ask(&trusting(&first.bundle), &serving.url).await.unwrap_err();
    serving.present(&first);
    assert_eq!(serving.webhook.problem(), None);
    let client = trusting(&first.bundle);
    let answer = ask(&client, &serving.url).await.unwrap();
    assert_eq!(answer["response"]["uid"], "42");
    let spec = &answer["response"]["convertedObjects"][0]["spec"];
    assert_eq!(spec["targetRef"], json!({"kind": "Deployment", "name": "myapp"}));

    let second = Material::new(now(), &names(), "").unwrap();
    serving.present(&second);
    ask(&client, &serving.url)
        .await
        .expect("a connection that is open goes on");
    ask(&trusting(&first.bundle), &serving.url).await.unwrap_err();
    ask(&trusting(&second.bundle), &serving.url).await.unwrap();
    assert_eq!(serving.counted("converted"), 3);
}

#[tokio::test]
async fn what_is_too_large_or_no_review_is_refused() {
    let serving = Serving::start().await;
    let material = Material::new(now(), &names(), "").unwrap();
    serving.present(&material);
    let client = trusting(&material.bundle);
    let sent = async |body: reqwest::Body| {
        client
            .post(&serving.url)
            .body(body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(sent("{}".into()).await, 400);
    let unbounded = futures::stream::iter([Ok::<_, std::io::Error>("{}")]);
    assert_eq!(sent(reqwest::Body::wrap_stream(unbounded)).await, 411);
    let long = client
        .post(&serving.url)
        .header("content-length", (1_u64 << 30).to_string());
    assert_eq!(long.send().await.unwrap().status(), 413);
    assert_eq!(client.get(&serving.url).send().await.unwrap().status(), 405);
    assert_eq!(serving.counted("refused"), 3);
    ask(&client, &serving.url).await.unwrap();
}

#[tokio::test]
async fn a_replica_that_stops_answers_and_closes_its_connections() {
    let serving = Serving::start().await;
    let material = Material::new(now(), &names(), "").unwrap();
    serving.present(&material);
    let client = trusting(&material.bundle);
    ask(&client, &serving.url).await.unwrap();
    serving.stop.cancel();
    let reply = client
        .post(&serving.url)
        .body(review().to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(reply.headers()["connection"], "close");
    assert_eq!(reply.status(), 200);
}

/// The embedded cluster with the CRDs, and replicas on it.
struct Fleet {
    client: Client,
    time: Arc<Mutex<Timestamp>>,
}

impl Fleet {
    fn start() -> Self {
        let cluster = Cluster::new(Options::default());
        let conversion = Conversion::by_service(SPACE, NAME, PATH, Version::V1Alpha1);
        for crd in crds(&KanaryKind::ALL, &conversion) {
            cluster.create("system:admin", &crd).unwrap();
        }
        let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}});
        let space: Namespace = serde_json::from_value(space).unwrap();
        cluster.create("system:admin", &space).unwrap();
        let client = Client::new(Server::new(cluster).connect("kanary"), SPACE);
        let time = Arc::new(Mutex::new(now()));
        Self { client, time }
    }

    fn replica(&self, leads: bool) -> (Arc<Webhook>, Keeper, Arc<AtomicBool>) {
        let (time, leading) = (self.time.clone(), Arc::new(AtomicBool::new(leads)));
        let asked = leading.clone();
        let parts = Parts {
            client: self.client.clone(),
            clock: Clock::from_source(move || *time.lock().unwrap()),
            kinds: KanaryKind::ALL.to_vec(),
            leads: Box::new(move || asked.load(Ordering::Relaxed)),
            metrics: ConversionMetrics::default(),
        };
        let options = WebhookOptions {
            addr: "127.0.0.1:0".parse().unwrap(),
            names: names(),
            certificate: CertificateSource::Secret {
                namespace: SPACE.to_owned(),
                name: NAME.to_owned(),
            },
        };
        let webhook = Arc::new(Webhook::new(ConversionMetrics::default()));
        (webhook.clone(), Keeper::new(webhook, options, parts), leading)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), SPACE)
    }

    async fn stored(&self) -> Material {
        secret::material(&self.secrets().get(NAME).await.unwrap())
    }

    fn definitions(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client.clone())
    }

    /// The CA bundles of the CRDs of the group.
    async fn trusted(&self) -> Vec<String> {
        let mut bundles = Vec::new();
        for name in ["kanarydeployments", "kanarystatefulsets"] {
            let crd = self
                .definitions()
                .get(&format!("{name}.kanary.k8s-operators.dev"))
                .await
                .unwrap();
            let client = crd.spec.conversion.unwrap().webhook.unwrap().client_config.unwrap();
            bundles.push(String::from_utf8(client.ca_bundle.unwrap_or_default().0).unwrap());
        }
        bundles
    }

    async fn patch_definition(&self, patch: Value) {
        let name = "kanarydeployments.kanary.k8s-operators.dev";
        self.definitions()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    fn pass(&self, time: SignedDuration) {
        *self.time.lock().unwrap() += time;
    }
}

#[tokio::test]
async fn the_first_replica_makes_the_certificate_and_the_leader_tells_the_api_servers() {
    let fleet = Fleet::start();
    let (first, mut one, leads) = fleet.replica(false);
    let (_, mut other, _) = fleet.replica(false);
    one.look().await.unwrap();
    assert_eq!(first.problem(), None);
    let stored = fleet.stored().await;
    other.look().await.unwrap();
    assert_eq!(fleet.stored().await, stored, "all replicas have one certificate");
    assert_eq!(fleet.trusted().await, ["", ""], "nobody leads");
    leads.store(true, Ordering::Relaxed);
    one.look().await.unwrap();
    assert_eq!(fleet.trusted().await, [stored.bundle.clone(), stored.bundle.clone()]);

    let broken = ByteString(b"broken".to_vec());
    let of_client = json!({"webhook": {"clientConfig": {"caBundle": broken}}});
    fleet.patch_definition(json!({"spec": {"conversion": of_client}})).await;
    one.look().await.unwrap();
    assert_eq!(fleet.trusted().await, [stored.bundle.clone(), stored.bundle]);
}

#[tokio::test]
async fn the_leader_renews_the_certificate_and_the_others_follow() {
    let fleet = Fleet::start();
    let (_, mut leader, _) = fleet.replica(true);
    let (webhook, mut other, _) = fleet.replica(false);
    leader.look().await.unwrap();
    other.look().await.unwrap();
    let (first, presented) = (fleet.stored().await, webhook.presented().unwrap());
    fleet.pass(SignedDuration::from_hours(61 * 24));
    other.look().await.unwrap();
    assert_eq!(fleet.stored().await, first, "only the leader renews");
    leader.look().await.unwrap();
    let second = fleet.stored().await;
    assert_ne!(second.certificate, first.certificate);
    assert_eq!(second.bundle, first.bundle);
    other.look().await.unwrap();
    assert_ne!(webhook.presented().unwrap().cert, presented.cert);
}

#[tokio::test]
async fn a_secret_that_is_gone_or_broken_is_made_again_from_what_api_servers_trust() {
    let fleet = Fleet::start();
    let (_, mut replica, _) = fleet.replica(true);
    replica.look().await.unwrap();
    let made = fleet.stored().await;
    fleet.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    replica.look().await.unwrap();
    assert_eq!(fleet.stored().await, made);
    let broken = json!({"data": {"tls.crt": ByteString(b"junk".to_vec())}});
    fleet
        .secrets()
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&broken))
        .await
        .unwrap();
    replica.look().await.unwrap();
    assert_eq!(fleet.stored().await, made);
    // A replica that starts knows only the Secret. What it makes does not end the trust in the others.
    fleet
        .secrets()
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&broken))
        .await
        .unwrap();
    let (_, mut new, _) = fleet.replica(true);
    new.look().await.unwrap();
    let anew = fleet.stored().await;
    assert_ne!(anew.certificate, made.certificate);
    assert!(anew.bundle.ends_with(&made.bundle), "{}", anew.bundle);
    // Without the key of the authority, nothing can be renewed.
    let lost = json!({"data": {"ca.key": null}});
    fleet
        .secrets()
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&lost))
        .await
        .unwrap();
    fleet.pass(SignedDuration::from_hours(61 * 24));
    new.look().await.unwrap();
    assert!(fleet.stored().await.bundle.ends_with(&anew.bundle));
}

#[tokio::test]
async fn definitions_that_do_not_refer_to_the_webhook_are_left_alone_and_reported() {
    let fleet = Fleet::start();
    let (_, mut replica, _) = fleet.replica(true);
    let service = json!({"name": "theirs"});
    fleet
        .patch_definition(json!({"spec": {"conversion": {"webhook": {"clientConfig": {"service": service}}}}}))
        .await;
    let problem = replica.look().await.err();
    assert_eq!(problem, None, "the first look makes the certificate");
    let problem = replica.look().await.unwrap_err();
    assert!(problem.contains("refers to another conversion webhook"), "{problem}");
    let bundle = fleet.stored().await.bundle;
    assert_eq!(fleet.trusted().await, ["", &bundle]);
    fleet.patch_definition(json!({"spec": {"conversion": null}})).await;
    let problem = replica.look().await.unwrap_err();
    assert!(problem.contains("kanary crds --conversion"), "{problem}");
}

#[tokio::test]
async fn a_certificate_in_a_folder_is_read_again_when_it_changes() {
    let fleet = Fleet::start();
    let folder = std::env::temp_dir().join(format!("kanary-webhook-{}", std::process::id()));
    let write = |material: &Material| {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("tls.crt"), &material.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &material.key).unwrap();
    };
    let (webhook, mut replica, _) = fleet.replica(true);
    replica.read_folder(folder.clone());
    let problem = replica.look().await.unwrap_err();
    assert!(problem.contains("tls.crt"), "{problem}");
    let mut presented = Vec::new();
    for _ in 0..2 {
        write(&Material::new(now(), &names(), "").unwrap());
        replica.look().await.unwrap();
        presented.push(webhook.presented().unwrap().cert.clone());
    }
    assert_ne!(presented[0], presented[1]);
    assert_eq!(fleet.trusted().await, ["", ""], "caBundle is not ours");
    std::fs::remove_dir_all(&folder).unwrap();
    replica.look().await.unwrap_err();
    assert_eq!(webhook.problem(), None, "the last certificate is presented");
}
