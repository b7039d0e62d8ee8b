//! `v1` beside `v1alpha1` on a real API server, which asks the conversion webhook of the replicas.

mod applied;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kanary_core::convert::Version;
use kube::api::{Patch, PatchParams, PostParams};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support::{Converting, KANARY, KANARY_V1, Process, World, held, kanary, merge, phase, poll};

/// A manifest in `v1`, as [`kanary`] makes it.
fn v1(name: &str, target: &str, spec: Value) -> Value {
    let mut manifest = kanary(name, target, spec);
    manifest["apiVersion"] = json!(KANARY_V1.api_version());
    let spec = manifest["spec"].as_object_mut().unwrap();
    spec.remove("deploymentName");
    spec.insert("targetRef".to_owned(), json!({"kind": "Deployment", "name": target}));
    manifest
}

/// Reads a Kanary in both versions until it is told to stop.
struct Reader {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(u32, Vec<String>)>,
}

impl Reader {
    fn start(world: &World, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (alpha, v1, name, stopped) = (world.api(&KANARY), world.api(&KANARY_V1), name.to_owned(), stop.clone());
        let task = tokio::spawn(async move {
            let (mut good, mut failures) = (0, Vec::new());
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                alpha
                    .get(&name)
                    .await
                    .expect("nothing disturbs the version that is stored");
                match v1.get(&name).await {
                    Ok(_) => good += 1,
                    Err(error) => failures.push(error.to_string()),
                }
            }
            (good, failures)
        });
        Self { stop, task }
    }

    /// How many reads in `v1` there were, and the failures.
    async fn end(self) -> (u32, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("it only reads")
    }
}

fn generation(kanary: &Value) -> i64 {
    kanary["metadata"]["generation"].as_i64().unwrap()
}

fn run(kanary: &Value) -> i64 {
    kanary["status"]["run"].as_i64().unwrap_or(1)
}

#[tokio::test]
async fn a_kanary_of_v1_is_promoted_and_read_in_both_versions_while_replicas_are_killed() {
    let Some(cluster) = Converting::start("conversion").await else {
        return;
    };
    let world = &cluster.world;
    let mut replicas = vec![cluster.replica("a").await, cluster.replica("b").await];
    world.target("app", 1).await;
    world
        .create(&KANARY_V1, &v1("batman", "app", json!({"validation": held()})))
        .await;
    cluster.converts("batman").await;
    let reader = Reader::start(world, "batman");
    world.phase("batman", "Running").await;
    for new in ["c", "d"] {
        replicas.remove(0).kill().await;
        cluster.converts("batman").await;
        replicas.push(cluster.replica(new).await);
    }
    let verdict = json!({"spec": {"validation": {"items": [{"manual": {"status": "valid"}}]}}});
    world.patch(&KANARY_V1, "batman", verdict).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let (good, failures) = reader.end().await;
    // Only what a replica was about to answer when it was killed.
    assert!(failures.len() <= 4, "{failures:#?}");
    assert!(good > 50, "{good} reads");
    assert_eq!(ended["spec"]["targetRef"], json!({"kind": "Deployment", "name": "app"}));
    let shown = cluster.converts("batman").await;
    assert_eq!(shown["status"], ended["status"]);
    assert_eq!(generation(&shown), 2);
    drop(replicas);
    let replica = cluster.replica("e").await;
    cluster.converts("batman").await;
    cluster.end().await;
    drop(replica);
}

/// `v1alpha1` with words that `v1` does not have.
fn wordy() -> Value {
    let mut manifest = kanary("batman", "app", json!({"serviceName": "app-svc"}));
    let spec = manifest["spec"].as_object_mut().unwrap();
    let mut validation = spec.remove("validation").unwrap();
    validation["noUpdate"] = json!(false);
    validation["items"] = json!([
        {"manual": {"statusAfterDeadline": "valid"}},
        {"labelWatch": {"deploymentInvalidationLabels": {"bad": "true"}}},
    ]);
    spec.insert("validations".to_owned(), validation);
    manifest
}

async fn apply(world: &World, manager: &str, manifest: &Value) -> Result<Value, String> {
    let kind = if manifest["apiVersion"] == KANARY.api_version() {
        KANARY
    } else {
        KANARY_V1
    };
    let name = manifest["metadata"]["name"].as_str().unwrap();
    let patch = Patch::Apply(manifest);
    let applied = world.api(&kind).patch(name, &PatchParams::apply(manager), &patch).await;
    applied
        .map(|object| serde_json::to_value(object).unwrap())
        .map_err(|error| error.to_string())
}

/// Writes a Kanary that is [wordy] again, in both versions: nothing changes.
async fn write_again(cluster: &Converting, ended: &Value) {
    let world = &cluster.world;
    let mut same = cluster.converts("batman").await;
    assert_eq!(
        same["spec"]["validation"]["items"][1]["labelWatch"]["workloadInvalidationLabels"],
        json!({"bad": "true"})
    );
    assert!(same["spec"].get("validations").is_none(), "{same:#}");
    let put = world.api(&KANARY_V1);
    let object = serde_json::from_value(same.clone()).unwrap();
    put.replace("batman", &PostParams::default(), &object).await.unwrap();
    let mut mine = json!({"apiVersion": same["apiVersion"], "kind": same["kind"], "metadata": {"name": "batman"}});
    mine["spec"] = same["spec"].take();
    for _ in 0..2 {
        apply(world, "one", &mine)
            .await
            .expect("the values are the same, so nobody is in the way");
        apply(world, "alpha", &wordy()).await.expect("nor in the other version");
    }
    let stored = world.get(&KANARY, "batman").await;
    assert_eq!(stored["spec"], ended["spec"]);
    assert_eq!(generation(&stored), generation(ended));
    let managers = stored["metadata"]["managedFields"].as_array().unwrap().iter();
    let managers: Vec<_> = managers
        .map(|entry| (&entry["manager"], &entry["apiVersion"]))
        .collect();
    for (manager, kind) in [("alpha", KANARY), ("one", KANARY_V1)] {
        assert!(
            managers.contains(&(&json!(manager), &json!(kind.api_version()))),
            "{managers:?}"
        );
    }
}

#[tokio::test]
async fn what_is_written_again_in_either_version_changes_nothing_and_an_edit_makes_one_run() {
    let Some(cluster) = Converting::start("conversion").await else {
        return;
    };
    let world = &cluster.world;
    let replica = cluster.replica("a").await;
    world.target("app", 1).await;
    apply(world, "alpha", &wordy()).await.unwrap();
    let ended = world.ends("batman", "DeploymentUpdated").await;

    write_again(&cluster, &ended).await;
    let refused = world
        .try_patch(&KANARY_V1, "batman", &json!({"spec": {"targetRef": {"name": "other"}}}))
        .await;
    let refused = refused.unwrap_err();
    assert!(refused.contains("spec.targetRef can't change once set"), "{refused}");
    let image = json!([{"name": "main", "image": "app:v3"}]);
    let edit = json!({"spec": {"template": {"spec": {"template": {"spec": {"containers": image}}}}}});
    world.patch(&KANARY_V1, "batman", edit).await;
    let second = |kanary: &Value| run(kanary) > run(&ended) && phase(kanary) == "DeploymentUpdated";
    let again = world.until(&KANARY, "batman", "the edit is promoted", second).await;
    assert_eq!(run(&again), run(&ended) + 1);
    assert_eq!(generation(&again), generation(&ended) + 1);
    let mut words = again["spec"].clone();
    merge(&mut words, json!({"template": ended["spec"]["template"]}));
    assert_eq!(words, ended["spec"], "an edit in v1 keeps the words of v1alpha1");

    // A client that drops the annotation changes the words, and starts nothing.
    let mut bare = cluster.converts("batman").await;
    bare["metadata"]["annotations"] = json!({});
    let object = serde_json::from_value(bare).unwrap();
    let put = world.api(&KANARY_V1);
    put.replace("batman", &PostParams::default(), &object).await.unwrap();
    let is_seen = |kanary: &Value| kanary["status"]["observedGeneration"] == kanary["metadata"]["generation"];
    let bare = world
        .until(&KANARY, "batman", "the controller has seen it", is_seen)
        .await;
    assert_eq!(bare["spec"]["targetRef"], json!({"kind": "Deployment", "name": "app"}));
    assert_eq!((run(&bare), phase(&bare)), (run(&again), "DeploymentUpdated"));
    cluster.end().await;
    drop(replica);
}

#[tokio::test]
async fn without_the_webhook_v1alpha1_and_all_runs_go_on() {
    let Some(cluster) = Converting::start("conversion").await else {
        return;
    };
    let world = &cluster.world;
    let controller = Process::start(world, &[]);
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({})).await;
    world.ends("batman", "DeploymentUpdated").await;
    let failed = cluster.try_v1("batman").await.unwrap_err();
    assert!(failed.contains("conversion webhook"), "{failed}");
    world.edit("batman", json!({"retry": 1})).await;
    let again = |kanary: &Value| kanary["status"]["run"] == 2 && phase(kanary) == "DeploymentUpdated";
    world.until(&KANARY, "batman", "it ran again", again).await;
    drop(controller);
    let replica = cluster.replica("a").await;
    cluster.converts("batman").await;
    read_beside_a_deep_one(world).await;
    cluster.end().await;
    drop(replica);
}

/// A Kanary that is nested deeply keeps nobody from reading the others.
async fn read_beside_a_deep_one(world: &World) {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(2_000), "}".repeat(2_000));
    let manifest = kanary("nested", "app", json!({"template": {"spec": "deep"}})).to_string();
    let manifest = manifest.replace("\"deep\"", &deep);
    let created = world.try_kubectl(&["create", "--filename", "-"], &manifest).await;
    assert!(created.ok, "{}", created.err);
    let all = "kanarydeployments.v1.kanary.k8s-operators.dev";
    let listed = world.kubectl(&["get", all, "--output", "json"]).await;
    assert!(
        listed.contains("\"name\": \"batman\"") && listed.contains("\"name\": \"nested\""),
        "{listed}"
    );
    world.kubectl(&["delete", all, "nested"]).await;
}

/// An authority and a certificate for 127.0.0.1 that is soon due, as PEM: the authority, its key, the certificate, its key.
fn nearly_expired() -> [String; 4] {
    let now = OffsetDateTime::now_utc();
    let day = Duration::from_hours(24);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    (params.not_before, params.not_after) = (now - day, now + day * 700);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "an authority of a test");
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let authority_key = key.serialize_pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (now - day, now + day * 5);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    [authority, authority_key, certificate, key.serialize_pem()]
}

#[tokio::test]
async fn certificates_are_renewed_while_v1_is_read_and_authorities_that_somebody_breaks_are_restored() {
    let Some(cluster) = Converting::start("conversion").await else {
        return;
    };
    let world = &cluster.world;
    let replicas = [cluster.replica("a").await, cluster.replica("b").await];
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({"validation": held()})).await;
    cluster.converts("batman").await;
    let made = cluster.secret("ca.crt").await;
    assert_eq!(cluster.trusted().await, made);

    let reader = Reader::start(world, "batman");
    let [authority, authority_key, certificate, key] = nearly_expired();
    let both = format!("{made}{authority}");
    cluster.set_secret(&[("ca.crt", &both)]).await;
    let trusts = async |bundle: &str| {
        poll("the API server trusts the authorities", async || {
            let trusted = cluster.trusted().await;
            if trusted == bundle { Ok(()) } else { Err(trusted) }
        })
        .await;
    };
    trusts(&both).await;
    let both = format!("{authority}{made}");
    let secret = [
        ("ca.crt", &*both),
        ("ca.key", &authority_key),
        ("tls.crt", &certificate),
        ("tls.key", &key),
    ];
    cluster.set_secret(&secret).await;
    let renewed = poll("the certificate is renewed", async || {
        let found = cluster.secret("tls.crt").await;
        if found == certificate { Err(found) } else { Ok(found) }
    })
    .await;
    assert_ne!(renewed, certificate);
    trusts(&both).await;
    cluster.converts("batman").await;
    let (good, failures) = reader.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {good} reads");
    assert!(good > 50, "{good} reads");

    let [stranger, ..] = nearly_expired();
    cluster.trust(&stranger).await;
    trusts(&both).await;
    cluster.converts("batman").await;
    cluster.end().await;
    drop(replicas);
}

/// Writes every Kanary again, so that it is stored in the present version, and forgets the former one, as docs/migrating.md says.
async fn migrate(world: &World, version: &str) {
    let forgotten = json!({"status": {"storedVersions": [version]}}).to_string();
    for kind in ["kanarydeployments", "kanarystatefulsets"] {
        let all = format!("{kind}.kanary.k8s-operators.dev");
        for name in world.kubectl(&["get", &all, "--output", "name"]).await.lines() {
            let written = ["patch", name, "--type", "merge", "--patch", "{}"];
            world.kubectl(&written).await;
        }
        let crd = format!("customresourcedefinitions.apiextensions.k8s.io/{kind}.kanary.k8s-operators.dev");
        let status = "--subresource status --type merge --patch".split(' ');
        let status: Vec<_> = ["patch", &crd].into_iter().chain(status).chain([&*forgotten]).collect();
        world.kubectl(&status).await;
    }
}

#[tokio::test]
async fn the_stored_version_changes_and_no_run_starts_for_it() {
    let Some(cluster) = Converting::start("conversion").await else {
        return;
    };
    let world = &cluster.world;
    let replica = cluster.replica("a").await;
    world.target("app", 1).await;
    world.service("app-svc", "app").await;
    world.create(&KANARY, &wordy()).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;

    for (stored, versions) in [
        (Version::V1, ["v1alpha1", "v1"]),
        (Version::V1Alpha1, ["v1", "v1alpha1"]),
    ] {
        cluster.store(stored).await;
        poll("the version is known", async || {
            let found = cluster.stored_versions().await;
            if found == versions {
                Ok(())
            } else {
                Err(found.join(", "))
            }
        })
        .await;
        let former = world.get(&KANARY, "batman").await;
        migrate(world, stored.as_str()).await;
        assert_eq!(cluster.stored_versions().await, [stored.as_str()]);
        let found = world.get(&KANARY, "batman").await;
        assert_eq!(
            (&found["spec"], generation(&found)),
            (&ended["spec"], generation(&ended))
        );
        let version = |kanary: &Value| kanary["metadata"]["resourceVersion"].clone();
        assert_ne!(version(&found), version(&former), "it was written");
        assert_eq!((run(&found), phase(&found)), (run(&ended), "DeploymentUpdated"));
        // The controller goes on, whatever is stored.
        let name = format!("of-{}", stored.as_str());
        world.target(&name, 1).await;
        world.create(&KANARY_V1, &v1(&name, &name, json!({}))).await;
        world.ends(&name, "DeploymentUpdated").await;
    }
    cluster.end().await;
    drop(replica);
}
