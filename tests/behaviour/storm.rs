//! Five hundred Kanaries of all kinds in progress while replicas are killed, frozen and replaced twice, and the API server is killed.

use std::collections::BTreeMap;

use kanary_core::api::Layout;
use kube::Api;
use serde_json::{Value, json};

use crate::{
    shards::{grant, session_ends},
    support::{
        OF_OLD_GROUP, OF_SET, Owners, Process, Request, Subject, USUAL, World, create_mixed_fleet, fleet_of_kind_ends,
        phase, poll, template, time,
    },
};

const FLEET: usize = 500;

/// The replica that is frozen for longer than its Lease lasts.
const FROZEN: &str = "a-1";

/// The kinds in the storm. A Kanary has the one at its number, in turn.
const SUBJECTS: [Subject; 7] = [USUAL, USUAL, OF_SET, USUAL, OF_OLD_GROUP, USUAL, OF_SET];

fn subject(number: usize) -> Subject {
    SUBJECTS[number % SUBJECTS.len()]
}

/// The planned result of a Kanary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Promoted,
    /// A label fails it as soon as it runs.
    FailedEarly,
    /// It fails at its deadline.
    FailedLate,
    DryRun,
}

impl Fate {
    fn of(number: usize) -> Self {
        match number % 8 {
            0 => Self::FailedEarly,
            1 => Self::FailedLate,
            2 => Self::DryRun,
            _ => Self::Promoted,
        }
    }

    fn phase(self) -> &'static str {
        match self {
            Self::Promoted => "DeploymentUpdated",
            Self::FailedEarly | Self::FailedLate => "Failed",
            Self::DryRun => "Succeeded",
        }
    }
}

/// A Kanary with a deadline between 20 s and a minute after its start.
fn spec(number: usize) -> Value {
    let (fate, target) = (Fate::of(number), format!("app-{number}"));
    let mut pod = template(&target, "v2");
    if fate == Fate::FailedEarly {
        pod["metadata"]["labels"]["validation"] = json!("failed");
    }
    let deadline = if fate == Fate::FailedLate { "invalid" } else { "valid" };
    json!({
        "template": {"spec": {"template": pod}},
        "rollout": {"mode": if fate == Fate::DryRun { "dry-run" } else { "auto" }},
        "validation": {"validationPeriod": format!("{}s", 20 + number % 40), "items": [
            {"labelWatch": {"podInvalidationLabels": {"validation": "failed"}}},
            {"manual": {"statusAfterDeadline": deadline}},
        ]},
    })
}

fn replica(world: &World, identity: &str, template: &str) -> Process {
    let kinds = [
        "--kinds",
        "KanaryDeployment.kanary.k8s.io",
        "--target-kinds",
        "StatefulSet",
    ];
    let arguments = [["--pod-template-hash", template].as_slice(), &kinds].concat();
    Process::start_replica(world, identity, "3s", &arguments)
}

/// A rolling update: each old replica ends when its replacement is ready.
async fn roll(world: &World, old: &mut [Process], template: &str) {
    for (number, replica_before) in old.iter_mut().enumerate() {
        let new = replica(world, &format!("{template}-{number}"), template);
        new.ready().await;
        assert!(
            replica_before.terminate().await.success(),
            "{:#?}",
            replica_before.lines()
        );
        *replica_before = new;
    }
}

/// The API server is unavailable for longer than a Lease lasts.
async fn outage(world: &World, replicas: &[Process]) {
    world.plane.kill_api_server().await;
    for replica in replicas {
        poll("the replica knows that it may not write", async || {
            let (_, text) = replica.page("/readyz").await?;
            // The second text appears if the replica had just lost its Lease.
            let knows = text.contains("not renewed in time") || text.contains("no session: ");
            if knows { Ok(()) } else { Err(text) }
        })
        .await;
    }
    world.plane.revive_api_server().await;
    for replica in replicas {
        replica.ready().await;
    }
}

/// The number in the name of a target, a Kanary, a canary or its pod.
fn number(name: &str) -> usize {
    let number = name.split('-').nth(1).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{name} does not belong to the fleet"))
}

/// Asserts that every Kanary reached its planned result exactly once.
async fn assert_fates(world: &World, kanaries: &[Value], requests: &[Request]) {
    let mut ends = BTreeMap::<_, usize>::new();
    for kanary in kanaries {
        let name = kanary["metadata"]["name"].as_str().unwrap_or_default();
        assert_eq!(phase(kanary), Fate::of(number(name)).phase(), "{kanary:#}");
        *ends.entry(phase(kanary).to_owned()).or_default() += 1;
    }
    println!("{ends:?}");
    for kind in [USUAL.target, OF_SET.target] {
        for target in world.list(&kind, "").await {
            let name = target["metadata"]["name"].as_str().unwrap_or_default();
            let versions = if Fate::of(number(name)) == Fate::Promoted { 2 } else { 1 };
            assert_eq!(target["metadata"]["generation"], versions, "{name}");
        }
    }
    assert_eq!(
        created_twice(kanaries, requests),
        Vec::<&str>::new(),
        "every canary is created once"
    );
}

/// Canaries that were created twice. A run that fails early may be cleaned up before the API server processes a creation
/// that a dead replica had sent; such a creation does not count.
fn created_twice<'a>(kanaries: &[Value], requests: &'a [Request]) -> Vec<&'a str> {
    let of = |kanary: &Value| number(kanary["metadata"]["name"].as_str().unwrap_or_default());
    let early: BTreeMap<_, _> = kanaries
        .iter()
        .filter(|kanary| Fate::of(of(kanary)) == Fate::FailedEarly)
        .map(|kanary| (of(kanary), time(kanary, "/status/completedAt")))
        .collect();
    let mut created = BTreeMap::<&str, usize>::new();
    for request in requests {
        let is_workload = [USUAL.target.plural, OF_SET.target.plural].contains(&request.resource.as_str());
        if request.verb != "create" || !is_workload || !request.is_done() {
            continue;
        }
        let over = early.get(&number(&request.name));
        let counts = over.is_none_or(|over| request.at <= *over);
        *created.entry(&request.name).or_default() += usize::from(counts);
    }
    let twice = created.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_end_as_they_would_have_whatever_happens_to_replicas_and_the_api_server() {
    let world = World::alone("storm").await;
    grant(&world).await;
    let owners = Owners::watch(Api::namespaced(world.plane.admin().await, &world.ns), Layout::DEFAULT);
    let mut replicas: Vec<_> = (0..3)
        .map(|number| replica(&world, &format!("a-{number}"), "a"))
        .collect();
    for replica in &replicas {
        replica.ready().await;
    }
    create_mixed_fleet(&world, FLEET, subject, spec).await;

    replicas[0].kill().await;
    replicas[0] = replica(&world, "a-0", "a");
    replicas[1].signal("STOP").await;
    session_ends(&world, FROZEN).await;
    replicas[1].signal("CONT").await;
    roll(&world, &mut replicas, "b").await;
    outage(&world, &replicas).await;
    roll(&world, &mut replicas, "c").await;

    let mut kanaries = Vec::new();
    for kind in [USUAL.kanary, OF_SET.kanary, OF_OLD_GROUP.kanary] {
        let number = (0..FLEET).filter(|number| subject(*number).kanary == kind).count();
        kanaries.extend(fleet_of_kind_ends(&world, &kind, number).await);
    }
    for kind in [USUAL.target, OF_SET.target] {
        world.none_left(&kind, "kanary.k8s-operators.dev/iskanary=true").await;
    }
    let mut requests = world.requests().await;
    // Only requests that change objects count: Events do not, and Leases and ConfigMaps only coordinate the replicas.
    requests.retain(|request| !["events", "leases", "configmaps"].contains(&request.resource.as_str()));
    assert_fates(&world, &kanaries, &requests).await;
    let judged = owners.judge(&requests, |request| {
        (world.ns.clone(), format!("app-{}", number(&request.name)))
    });
    println!(
        "{} writes by owners, {} while Leases could not be watched; {} times a shard was taken",
        judged.inside,
        judged.unknown,
        owners.handovers()
    );
    // This includes the frozen replica: its pending requests stay in its connections when it resumes.
    assert!(judged.outside.is_empty(), "{:#?}", judged.outside);
    assert!(judged.inside > FLEET * 4, "{judged:?}");
}
