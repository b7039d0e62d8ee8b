//! Several replicas, as processes, that share the work.

use kanary_core::api::Slot;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::{
    CONFIG_MAP, DEPLOYMENT, KANARY, LEASE, Process, ROLE_BINDING, World, config_map, create_fleet, fleet_ends, kanary,
    message, phase, poll, reason,
};

/// Number of Kanaries in progress when replicas die.
const FLEET: usize = 40;

const SLOT: &str = "kanary.k8s-operators.dev/slot";

/// Grants the controller access to Leases in the world's namespace, as `deploy/role_binding.yaml` does in its own.
pub(crate) async fn grant(world: &World) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "kanary-leases"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kanary-leases"},
        "subjects": [{"kind": "ServiceAccount", "name": "kanary", "namespace": "kanary-system"}],
    });
    // The embedded cluster does not implement RBAC.
    let _served = world.try_create(&ROLE_BINDING, &binding).await;
}

/// A replica with a short Lease, which soon counts as dead.
fn replica(world: &World, identity: &str) -> Process {
    Process::start_replica(world, identity, "3s", &["--shards", "8"])
}

/// A replica that renews its Lease in time even on a slow machine.
fn calm(world: &World, identity: &str) -> Process {
    Process::start_replica(world, identity, "30s", &["--shards", "8"])
}

async fn until_all_are(world: &World, phases: &[&str]) {
    let what = format!("every Kanary is one of {phases:?}");
    let are =
        |kanaries: &[&Value]| kanaries.len() == FLEET && kanaries.iter().all(|kanary| phases.contains(&phase(kanary)));
    world.until_all(&KANARY, "", &what, are).await;
}

pub(crate) async fn session_ends(world: &World, identity: &str) {
    let session = format!("kanary-session-{identity}");
    let lives = |lease: &Value| lease["metadata"]["name"] == *session && lease["spec"]["holderIdentity"] != "";
    // An expired Lease is soon deleted.
    let over = |leases: &[&Value]| !leases.iter().any(|lease| lives(lease));
    world.until_all(&LEASE, "", "the session has ended", over).await;
}

/// Waits for a log line. The last lines of a process may be read after it has ended.
async fn says(replica: &Process, what: &str) {
    poll(&format!("the log contains {what}"), async || {
        let lines = replica.lines();
        let told = lines.iter().any(|line| line.contains(what));
        if told { Ok(()) } else { Err(lines.join("\n")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_replicas_are_killed_stopped_and_replaced() {
    let world = World::alone("shards").await;
    grant(&world).await;
    let mut first = replica(&world, "first");
    let mut second = replica(&world, "second");
    let third = replica(&world, "third");
    for replica in [&first, &second, &third] {
        replica.ready().await;
    }
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"validation": "failed"}}});
    let spec = json!({"validation": {"validationPeriod": "25s", "items": [watch]}});
    create_fleet(&world, FLEET, |_| spec.clone()).await;
    until_all_are(&world, &["Running", "Succeeded", "DeploymentUpdated"]).await;

    // A container that restarts, a pod that is replaced, and a process that is frozen and resumes.
    first.kill().await;
    let first = replica(&world, "first");
    assert!(second.terminate().await.success(), "{:#?}", second.lines());
    session_ends(&world, "second").await;
    let fourth = replica(&world, "fourth");
    third.signal("STOP").await;
    session_ends(&world, "third").await;
    third.signal("CONT").await;

    fleet_ends(&world, FLEET).await;
    until_all_are(&world, &["DeploymentUpdated"]).await;
    for number in 0..FLEET {
        let target = world.get(&DEPLOYMENT, &format!("app-{number}")).await;
        assert_eq!(target["metadata"]["generation"], 2, "app-{number} was promoted once");
    }
    world
        .none_left(&DEPLOYMENT, "kanary.k8s-operators.dev/iskanary=true")
        .await;
    says(&third, "another replica ended this session").await;
    drop((first, third, fourth));
}

#[tokio::test]
async fn a_kanary_gets_its_slot_however_it_comes_and_keeps_it() {
    let world = World::unserved("slots").await;
    grant(&world).await;
    let one = calm(&world, "one");
    one.ready().await;
    world.target("app", 1).await;
    world.kanary("batman", "app", waits_for_a_word()).await;
    let labelled = |kanary: &Value| kanary["metadata"]["labels"][SLOT].is_string();
    let batman = world.until(&KANARY, "batman", "it has a slot", labelled).await;
    let slot = batman["metadata"]["labels"][SLOT].clone();
    world.phase("batman", "Running").await;
    for forged in [Value::Null, json!("zz"), json!(if slot == "00" { "ff" } else { "00" })] {
        world
            .patch(&KANARY, "batman", json!({"metadata": {"labels": {SLOT: forged}}}))
            .await;
        let back = |kanary: &Value| kanary["metadata"]["labels"][SLOT] == slot;
        world.until(&KANARY, "batman", "its slot label is restored", back).await;
    }
    world.edit("batman", json!({"verdict": "valid"})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(
        ended["status"]["epoch"].as_i64().is_some_and(|epoch| epoch > 0),
        "{ended}"
    );
    let canaries = world.list(&DEPLOYMENT, "kanary.k8s-operators.dev/iskanary=true").await;
    assert!(canaries.iter().all(|canary| canary["metadata"]["labels"][SLOT] == slot));
    let (_, text) = one.page("/metrics").await.unwrap();
    for line in [
        "kanary_shards_owned 8",
        "kanary_shard_epoch{shard=\"7\"} ",
        "kanary_fence_margin_seconds ",
        "kanary_handovers_total{what=\"taken\"} 8",
        "kanary_watch_age_seconds{watch=\"shards\"} ",
        "kanary_writes_total{write=\"label\",result=\"ok\"} ",
    ] {
        assert!(text.contains(&format!("\n{line}")), "{line} is not in {text}");
    }
    let (_, text) = one.page("/readyz").await.unwrap();
    for line in [
        "shards: 0,1,2,3,4,5,6,7\n",
        "handovers: taken 8, released 0, lost 0, seized 0\nwrites refused: ",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let shown = one.run(&world, &["shards", "--lease-namespace", &world.ns]).await;
    assert!(shown.contains("SHARD  SLOTS") && shown.contains("one "), "{shown}");
}

fn waits_for_a_word() -> Value {
    json!({"validation": {"items": [{"manual": {"statusAfterDeadline": "none"}}], "validationPeriod": "1s"}})
}

/// Waits until a Kanary has the slot of its target.
async fn gets_its_slot(world: &World, name: &str, target: &str) {
    let slot = Slot::of(&world.ns, target).to_string();
    let has_it = |kanary: &Value| kanary["metadata"]["labels"][SLOT] == *slot;
    world.until(&KANARY, name, &format!("its slot is {slot}"), has_it).await;
}

/// Creates a Kanary with a generated name and returns that name.
async fn generated(world: &World, target: &str) -> String {
    let mut manifest = kanary("", target, waits_for_a_word());
    manifest["metadata"] = json!({"generateName": "robin-"});
    let created = world.create(&KANARY, &manifest).await;
    let name = created["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("robin-"), "{name}");
    name
}

/// Applies a manifest as a server-side apply tool does.
async fn apply(world: &World, name: &str, manifest: &Value) -> DynamicObject {
    let (api, params) = (world.api(&KANARY), PatchParams::apply("gitops"));
    poll("it is applied", async || {
        api.patch(name, &params, &Patch::Apply(manifest)).await
    })
    .await
}

/// A Kanary that such a tool applies, and applies again after it got its slot. The tool does not know about the slot.
async fn applied(world: &World, target: &str) {
    let mut manifest = kanary("batman", target, waits_for_a_word());
    apply(world, "batman", &manifest).await;
    gets_its_slot(world, "batman", target).await;
    manifest["metadata"]["labels"] = json!({"team": "heroes"});
    let labels = apply(world, "batman", &manifest).await.metadata.labels.unwrap();
    let slot = Slot::of(&world.ns, target).to_string();
    assert_eq!([&labels["team"], &labels[SLOT]], ["heroes", &*slot]);
}

/// A Kanary that is replaced by itself without labels after it got its slot.
async fn replaced(world: &World, target: &str) {
    world.kanary("hulk", target, waits_for_a_word()).await;
    gets_its_slot(world, "hulk", target).await;
    let api = world.api(&KANARY);
    let stripped = poll("it is replaced", async || {
        let mut live = api.get("hulk").await?;
        live.metadata.labels = None;
        // A conflict if the status was written in the meantime.
        api.replace("hulk", &PostParams::default(), &live).await
    })
    .await;
    assert_eq!(stripped.metadata.labels, None);
}

#[tokio::test]
async fn a_kanary_that_is_generated_applied_or_replaced_gets_its_slot_keeps_it_and_runs() {
    let world = World::unserved("written").await;
    grant(&world).await;
    let one = calm(&world, "one");
    one.ready().await;
    for target in ["generated", "applied", "replaced"] {
        world.target(target, 1).await;
    }
    let robin = generated(&world, "generated").await;
    applied(&world, "applied").await;
    replaced(&world, "replaced").await;
    for (name, target) in [(&*robin, "generated"), ("batman", "applied"), ("hulk", "replaced")] {
        gets_its_slot(&world, name, target).await;
        world.edit(name, json!({"verdict": "valid"})).await;
        let ended = world.ends(name, "DeploymentUpdated").await;
        let slot = Slot::of(&world.ns, target).to_string();
        assert_eq!(ended["metadata"]["labels"][SLOT], *slot, "{name}");
    }
    drop(one);
}

#[tokio::test]
async fn the_reply_to_the_slot_label_starts_a_run_that_reads_its_canary_and_its_target_only() {
    let world = World::unserved("reads").await;
    grant(&world).await;
    let one = calm(&world, "one");
    one.ready().await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({})).await;
    world.ends("batman", "DeploymentUpdated").await;
    let requests = world.requests().await;
    let of = |verb: &str, name: &str| {
        let asked = requests
            .iter()
            .filter(|request| request.verb == verb && request.name == name);
        asked.filter(|request| !request.resource.contains('/')).count()
    };
    let labels = of("patch", "batman");
    assert!(labels >= 1, "{requests:#?}");
    // A label whose reply was lost is looked at again.
    assert!(of("get", "batman") < labels, "{requests:#?}");
    assert!(
        of("get", "app-kanary-batman") >= 1 && of("get", "app") >= 1,
        "{requests:#?}"
    );
}

#[tokio::test]
async fn of_two_processes_with_one_identity_the_older_ends_and_says_why() {
    let world = World::unserved("identity").await;
    grant(&world).await;
    let mut older = replica(&world, "one");
    older.ready().await;
    let newer = replica(&world, "one");
    assert!(!older.ends().await.success());
    says(&older, "another process runs as one").await;
    newer.ready().await;
}

#[tokio::test]
async fn a_replica_that_stops_gives_its_shards_to_a_replica_that_has_read_them() {
    let world = World::unserved("farewell").await;
    grant(&world).await;
    let mut leaves = calm(&world, "leaves");
    leaves.ready().await;
    let stays = calm(&world, "stays");
    let has = async |replica: &Process, shards: usize| {
        poll(&format!("it has {shards} shards"), async || {
            let (_, text) = replica.page("/metrics").await?;
            let has = text.contains(&format!("\nkanary_shards_owned {shards}\n"));
            if has { Ok(()) } else { Err(text) }
        })
        .await;
    };
    has(&leaves, 4).await;
    has(&stays, 4).await;
    assert!(leaves.terminate().await.success());
    has(&stays, 8).await;
    says(&leaves, "session ended").await;
    let lines = leaves.lines();
    let given: Vec<_> = lines.iter().filter(|line| line.contains("shard given away")).collect();
    // Four at the end, and possibly four when the other replica joined: each shard was assigned to a replica that had
    // already read the assignment.
    assert!(given.len() >= 4, "{lines:#?}");
    assert!(given.iter().all(|line| line.contains("stays/")), "{given:#?}");
}

#[tokio::test]
async fn a_replica_that_cannot_tell_the_number_of_shards_lives_and_says_so_until_it_can() {
    let world = World::unserved("shardmap").await;
    grant(&world).await;
    let unreadable = config_map("kanary-shardmap", json!({"shards": "many"}));
    world.create(&CONFIG_MAP, &unreadable).await;
    let one = replica(&world, "one");
    says(&one, "delete it, and start them again").await;
    assert_eq!(one.page("/livez").await.map(|(status, _)| status), Ok(200));
    let (status, text) = one.page("/readyz").await.unwrap();
    assert!(status == 503 && text.contains("kanary-shardmap"), "{status} {text}");
    world.delete(&CONFIG_MAP, "kanary-shardmap").await;
    one.ready().await;
}

#[tokio::test]
async fn replicas_that_count_the_shards_otherwise_wait_for_the_others_to_end() {
    let world = World::unserved("counts").await;
    grant(&world).await;
    let mut of_eight = calm(&world, "eight");
    of_eight.ready().await;
    world.delete(&CONFIG_MAP, "kanary-shardmap").await;
    let of_sixteen = Process::start_replica(&world, "sixteen", "30s", &["--shards", "16"]);
    poll("the other process waits", async || {
        let (_, text) = of_sixteen.page("/readyz").await?;
        let waits = text.contains("eight still runs with 8 shards") && text.contains("shards: \n");
        if waits { Ok(()) } else { Err(text) }
    })
    .await;
    assert!(of_eight.terminate().await.success());
    of_sixteen.ready().await;
}

#[tokio::test]
async fn a_kanary_whose_epoch_was_forged_is_left_alone_says_so_and_costs_no_shard() {
    let world = World::unserved("forged").await;
    grant(&world).await;
    // With a single shard, giving it up would also affect the other Kanary.
    let one = Process::start_replica(&world, "one", "30s", &["--shards", "1"]);
    one.ready().await;
    for target in ["app", "other"] {
        world.target(target, 1).await;
    }
    world.kanary("batman", "app", waits_for_a_word()).await;
    world.phase("batman", "Running").await;
    let forged = Patch::Merge(json!({"status": {"epoch": i32::MAX}}));
    let (api, params) = (world.api(&KANARY), PatchParams::default());
    let patched = api.patch_status("batman", &params, &forged).await;
    patched.expect("the schema allows it");
    let told =
        |kanary: &Value| reason(kanary, "Errored") == "EpochForged" && reason(kanary, "Stalled") == "EpochForged";
    let told = world.until(&KANARY, "batman", "its epoch is reported", told).await;
    assert_eq!(told["status"]["epoch"], i32::MAX);
    assert!(message(&told, "Errored").contains("create it again"), "{told:#}");

    // The verdict has no effect while another Kanary of the same shard completes its run.
    world.edit("batman", json!({"verdict": "valid"})).await;
    world.kanary("robin", "other", waits_for_a_word()).await;
    world.edit("robin", json!({"verdict": "valid"})).await;
    world.ends("robin", "DeploymentUpdated").await;
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
    let seen = |kanary: &Value| kanary["status"]["observedGeneration"] == 2;
    let kept = world.until(&KANARY, "batman", "its edit was observed", seen).await;
    assert_eq!(
        kept["status"]["conditions"], told["status"]["conditions"],
        "it is reported once"
    );
    let (_, text) = one.page("/readyz").await.unwrap();
    let none_lost = "handovers: taken 1, released 0, lost 0, seized 0\n";
    assert!(text.contains(none_lost), "{text}");
}

#[tokio::test]
async fn a_status_of_a_lower_epoch_is_refused_by_the_api_server() {
    let world = World::unserved("epoch").await;
    world.kanary("batman", "app", json!({})).await;
    let status = async |epoch: Value| {
        let api = world.api(&KANARY);
        let patch = kube::api::Patch::Merge(json!({"status": {"epoch": epoch}}));
        let params = kube::api::PatchParams::default();
        api.patch_status("batman", &params, &patch)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(status(json!(7)).await, Ok(()));
    assert_eq!(status(json!(7)).await, Ok(()));
    for stale in [json!(6), Value::Null] {
        let refused = status(stale).await.unwrap_err();
        assert!(refused.contains("status.epoch never goes down"), "{refused}");
    }
    let api = world.api(&KANARY);
    let none = kube::api::Patch::Merge(json!({"status": null}));
    let refused = api
        .patch_status("batman", &kube::api::PatchParams::default(), &none)
        .await;
    assert!(refused.is_err());
    world.edit("batman", json!({"retry": 1})).await;
    assert_eq!(status(json!(8)).await, Ok(()));
}
