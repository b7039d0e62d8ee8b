//! A tenant whose writes hang in an admission webhook, beside tenants with good canaries. All times are virtual, so they
//! show what waiting costs, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::{
    admission::{Attempt, Effect, Policy},
    cluster::Event,
    network::NetworkFaults,
};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    case::{deployment, template},
    resources::resource,
    run::in_virtual_time,
    world::{NAMESPACE, Replica, Sharing, World, Wrong},
};

/// Good canaries, one every two seconds.
const GOOD: usize = 20;

/// What happened to one good Kanary.
#[derive(Clone, Copy, Debug, Default)]
struct Story {
    /// When the user created it.
    begun: Option<Timestamp>,
    canary: Option<Timestamp>,
    /// How late the verdict was.
    lateness: Option<SignedDuration>,
    verdict: Option<Timestamp>,
    promoted: Option<Timestamp>,
}

/// What happened to all Kanaries.
#[derive(Debug, Default)]
struct Seen {
    good: BTreeMap<String, Story>,
    /// Kanaries whose status says that a webhook may hang, with their namespaces.
    warned: BTreeSet<(String, String)>,
}

/// The result of a run.
struct Times {
    /// The mean times of the good Kanaries: from their creation to their canary, from the deadline to the verdict, and from
    /// the verdict to the promotion.
    means: [Duration; 3],
    /// Number of hostile Kanaries whose status says that a webhook may hang.
    warned: usize,
}

fn holds(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|held| held["type"] == condition && held["status"] == "True")
}

/// Notes what a change says about a Kanary.
fn note(seen: &Mutex<Seen>, event: &Event) {
    let Some(new) = event.change.new.as_ref().map(|new| new.json()) else {
        return;
    };
    let text = |field: &str| new["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    let seen = &mut *seen.lock().unwrap();
    if namespace != NAMESPACE {
        let conditions = new["status"]["conditions"].to_string();
        if conditions.contains("WriteFailed") && conditions.contains("an admission webhook may hang") {
            seen.warned.insert((namespace, name));
        }
        return;
    }
    let old = event.change.old.as_ref().map(|old| old.json());
    let is_ours = event.actor.starts_with("kanary-");
    let stories = &mut seen.good;
    if event.resource.starts_with("kanary") {
        let story = stories.entry(name).or_default();
        let Some(old) = old else {
            story.begun = Some(event.at);
            return;
        };
        if holds(&new, "Succeeded") && !holds(&old, "Succeeded") {
            let deadline: Timestamp = new["status"]["deadline"].as_str().unwrap().parse().unwrap();
            story.verdict = Some(event.at);
            story.lateness = Some(event.at.duration_since(deadline));
        }
    } else if &*event.resource == "deployments.apps" && is_ours {
        let kanary = name.rsplit('-').next().unwrap_or_default().to_owned();
        let Some(story) = stories.get_mut(&kanary) else { return };
        match old {
            None => story.canary = Some(event.at),
            Some(old) if old["spec"]["template"] != new["spec"]["template"] => story.promoted = Some(event.at),
            Some(_) => {}
        }
    }
}

fn kanary(name: &str, target: &str, period: &str) -> Value {
    json!({
        "apiVersion": "kanary.k8s-operators.dev/v1alpha1", "kind": "KanaryDeployment", "metadata": {"name": name},
        "spec": {
            "deploymentName": target,
            "template": {"spec": {
                "selector": {"matchLabels": {"app": target}},
                "template": template(target, &format!("{target}:v2")),
            }},
            "validation": {"validationPeriod": period, "items": [{"manual": {"statusAfterDeadline": "valid"}}]},
        },
    })
}

async fn create(world: &World, namespace: &str, manifest: &Value) {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
    let kind = resource(manifest["kind"].as_str().unwrap());
    let api: Api<DynamicObject> = Api::namespaced_with(world.user.clone(), namespace, &kind);
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Which writes of the controller hang.
type Hangs = fn(&Attempt<'_>) -> bool;

fn all_of_hostile(attempt: &Attempt<'_>) -> bool {
    attempt.namespace.starts_with("hostile")
}

/// Good Kanaries beside `hostile` namespaces with `each` Kanaries.
fn beside(hostile: usize, each: usize, hangs: Hangs) -> Times {
    in_virtual_time(5, async move {
        let seen = Arc::<Mutex<Seen>>::default();
        let told = seen.clone();
        let world = World::start(5, Box::new(move |event| note(&told, event)));
        let concerns = move |attempt: &Attempt<'_>| attempt.user.starts_with("kanary-") && hangs(attempt);
        let webhook = Policy::new("hangs", concerns, Effect::Hang(Duration::from_secs(30)));
        world.stack.cluster.set_policy(webhook);
        let sharing = Sharing::of("kanary-0");
        let skew = SignedDuration::ZERO;
        let replica = Replica::start(&world, "kanary-1", 1, skew, &Wrong::default(), Some(&sharing));
        // No differences by chance.
        let latency = Duration::from_millis(5)..=Duration::from_millis(5);
        replica.set_network(&NetworkFaults {
            latency,
            ..NetworkFaults::default()
        });
        sleep(Duration::from_secs(20)).await;
        for number in 0..hostile {
            let name = format!("hostile-{number}");
            let mut namespace = k8s_openapi::api::core::v1::Namespace::default();
            namespace.metadata.name = Some(name.clone());
            world.stack.cluster.create("system:admin", &namespace).unwrap();
            for number in 0..each {
                let target = format!("app{number}");
                create(&world, &name, &deployment(&target, 1)).await;
                create(&world, &name, &kanary(&format!("k{number}"), &target, "20s")).await;
            }
        }
        for number in 0..GOOD {
            let target = format!("app{number}");
            create(&world, NAMESPACE, &deployment(&target, 1)).await;
            // So that the target is in the cache of the controller.
            sleep(Duration::from_secs(1)).await;
            // The deadline comes before a call that hangs at the start ends.
            create(&world, NAMESPACE, &kanary(&target, &target, "5s")).await;
            sleep(Duration::from_secs(1)).await;
        }
        sleep(Duration::from_secs(40)).await;
        drop(replica);
        let seen = seen.lock().unwrap();
        let stories = &seen.good;
        assert_eq!(stories.len(), GOOD);
        let mean = |time: fn(&Story) -> Option<SignedDuration>| {
            let times = stories.iter().map(|(name, story)| {
                let time = time(story).unwrap_or_else(|| panic!("{name}: {story:?}"));
                Duration::try_from(time).unwrap_or_else(|_| panic!("{name} is early: {story:?}"))
            });
            times.sum::<Duration>() / u32::try_from(GOOD).unwrap()
        };
        Times {
            means: [
                mean(|story| Some(story.canary?.duration_since(story.begun?))),
                mean(|story| story.lateness),
                mean(|story| Some(story.promoted?.duration_since(story.verdict?))),
            ],
            warned: seen.warned.len(),
        }
    })
}

/// Asserts that the good Kanaries are about as quick as without what hangs. Returns the number of hostile
/// Kanaries whose status says that a webhook may hang.
fn assert_undisturbed(hostile: usize, each: usize, hangs: Hangs) -> usize {
    let alone = beside(0, 0, |_| false).means;
    let Times { means, warned } = beside(hostile, each, hangs);
    println!("{hostile} hostile namespaces with {each} Kanaries each: {means:?}, without them {alone:?}");
    for (alone, mean) in alone.into_iter().zip(means) {
        assert!(mean <= alone.mul_f64(1.2), "{mean:?} instead of {alone:?}");
    }
    warned
}

#[test]
fn a_tenant_whose_writes_hang_does_not_make_others_wait() {
    assert_undisturbed(1, 320, all_of_hostile);
}

#[test]
fn forty_tenants_whose_canaries_hang_do_not_make_others_wait() {
    let deployments = |attempt: &Attempt<'_>| all_of_hostile(attempt) && attempt.resource == "deployments.apps";
    assert_eq!(assert_undisturbed(40, 2, deployments), 80, "their users see why");
}

#[test]
fn events_that_hang_delay_no_verdict() {
    assert_undisturbed(0, 0, |attempt| attempt.resource.starts_with("events"));
}
