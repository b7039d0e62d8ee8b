//! Anything that a user may write, a status may say and a cluster may show, sense and nonsense alike.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    arbitrary_spec::spec,
    arbitrary_traffic as traffic,
    input::{self, UID, t0, template},
    under_way::under_way,
};
use crate::{
    api::{GoDuration, ItemState, ItemStatus, KanaryStatus, Verdicts, Word, Words, names::RUN},
    canary::{
        Canary, hash,
        labels::{Labels, Selector},
        observation::{Cause, Deployment, Observation, Outage, Owned, Pod, Refusal, SelectorView, Service, Versions},
        validation::{Outcome, Sample, Tally},
    },
};

/// A moment near T0, and now and then the ends of the calendar.
pub(super) fn time() -> impl Strategy<Value = Timestamp> {
    let near = (-2000_i64..2000).prop_map(|seconds| t0() + jiff::SignedDuration::from_secs(seconds));
    prop_oneof![
        20 => near,
        1 => select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH]),
    ]
}

pub(super) fn any_of(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    select(values).prop_map(|text| serde_yaml_ng::from_str(text).unwrap())
}

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let kind = any_of(&[
        "Scheduled",
        "Activated",
        "Running",
        "Succeeded",
        "Failed",
        "DeploymentUpdated",
        "Errored",
        "Reconciling",
        "Stalled",
        "''",
    ]);
    let reason = any_of(&[
        "WaitingForSchedule",
        "Paused",
        "TargetNotAvailable",
        "DryRun",
        "TargetCreated",
        "''",
    ]);
    let condition = (kind, any_of(&["'True'", "'False'"]), reason, time()).prop_map(|(kind, value, reason, at)| {
        let condition = json!({"type": kind, "status": value, "reason": reason, "message": "", "lastTransitionTime": at.to_string()});
        serde_json::from_value(condition).unwrap()
    });
    vec(condition, 0..6)
}

fn items() -> impl Strategy<Value = Vec<ItemStatus>> {
    let reasons = vec![
        None,
        Some("NoData"),
        Some("Inconclusive"),
        Some("QueryInvalid"),
        Some(""),
    ];
    let item = (
        0..3_u32,
        select(vec![ItemState::Good, ItemState::Inconclusive]),
        select(reasons),
    );
    let item = item.prop_map(|(bad, state, reason)| ItemStatus {
        name: "promQL[0]".to_owned(),
        bad,
        state,
        reason: reason.map(str::to_owned),
        ..ItemStatus::default()
    });
    vec(item, 0..3)
}

fn words() -> impl Strategy<Value = Words> {
    let verdict = select(vec![None, Some(Word::Valid), Some(Word::Invalid)]);
    (verdict, 0..3_u32, 0..3_u32).prop_map(|(verdict, valid, invalid)| Words {
        verdict,
        valid,
        invalid,
    })
}

/// A status; `<this>` as a hash stands for the present template.
fn status() -> impl Strategy<Value = KanaryStatus> {
    let hashes = (
        select(vec![
            None,
            Some("<this>"),
            Some("<this>"),
            Some("<this>"),
            Some("other"),
            Some(""),
        ]),
        select(vec![None, Some("t1"), Some("t1"), Some("t2")]),
        vec(select(vec!["<this>", "a", "b"]), 0..24),
    );
    let numbers = (
        select(vec![None, Some(1)]),
        select(vec![None, Some(1), Some(2), Some(i64::MAX), Some(i64::MIN)]),
    );
    let times = (
        option::of((time(), time(), time())),
        option::of(time()),
        option::of(time()),
        option::of(time()),
        option::of(time()),
        option::of(time()),
    );
    let recorded = (
        select(vec![None, Some("none"), Some("service svc"), Some("other")]),
        option::of((words(), words())),
        option::of((0..9000_u64, 0..9000_u64)),
    );
    (conditions(), hashes, numbers, times, items(), recorded).prop_map(
        |(conditions, hashes, numbers, times, items, recorded)| {
            let (current, target, failed) = hashes;
            KanaryStatus {
                current_hash: current.map(str::to_owned),
                target_hash: target.map(|name| hash::of(&template(name))),
                failed_templates: failed.into_iter().map(str::to_owned).collect(),
                retry: numbers.0,
                run: numbers.1,
                available_at: times.0.map(|times| times.0),
                available_since: times.5,
                unavailable_for: times.5.map(|_| GoDuration::from_secs(7)),
                canary_uid: times.5.map(|_| "uid".to_owned()),
                validation_start_time: times.0.map(|times| times.1),
                deadline: times.0.map(|times| times.2),
                start_time: times.1,
                paused_at: times.2,
                resumed_at: times.3,
                completed_at: times.4,
                current_traffic: recorded.0.map(str::to_owned),
                verdicts: recorded.1.map(|(present, stale)| Verdicts { present, stale }),
                initial_delay: recorded.2.map(|periods| GoDuration::from_secs(periods.0)),
                validation_period: recorded.2.map(|periods| GoDuration::from_secs(periods.1)),
                items,
                conditions,
                ..KanaryStatus::default()
            }
        },
    )
}

/// A Kanary with any spec and any status.
pub(super) fn canary() -> impl Strategy<Value = Canary> {
    (spec().boxed(), option::weighted(0.8, status().boxed()), any::<bool>()).prop_map(|(spec, status, deleting)| {
        let mut canary = input::parse(&spec, None, &Value::Null);
        canary.status = status.unwrap_or_default();
        canary.deleting = deleting && canary.status.failed_templates.len() > 12;
        let this = |hash: &mut String| {
            if hash == "<this>" {
                canary.spec.template_hash.clone_into(hash);
            }
        };
        canary.status.current_hash.iter_mut().for_each(this);
        canary.status.failed_templates.iter_mut().for_each(this);
        canary
    })
}

fn owner() -> impl Strategy<Value = Option<String>> {
    select(vec![Some(UID), Some(UID), Some(UID), Some("uid-robin"), Some(""), None])
        .prop_map(|owner| owner.map(str::to_owned))
}

fn labels(run: String) -> impl Strategy<Value = Labels> {
    let run = prop_oneof![6 => Just(run), 1 => Just("older".to_owned()), 1 => Just(String::new())];
    (run, any::<bool>(), proptest::bool::weighted(0.1)).prop_map(|(run, behind, bad)| {
        let mut labels = Labels::from([(RUN.to_owned(), run)]);
        labels.extend(behind.then(|| ("app".to_owned(), "myapp".to_owned())));
        labels.extend(bad.then(|| ("bad".to_owned(), "true".to_owned())));
        labels
    })
}

fn deployment(marker: String, run: String) -> impl Strategy<Value = Deployment> {
    let markers = vec![None, None, Some(marker), Some("uid-robin/x".to_owned())];
    let who = (owner(), labels(run), select(markers.clone()), select(markers));
    let flags = (
        proptest::bool::weighted(0.1),
        any::<bool>(),
        proptest::bool::weighted(0.1),
        prop_oneof![4 => Just(0_u8), 1 => 1..4_u8],
    );
    let times = (
        time(),
        option::of(time()),
        option::of(time()),
        option::of((time(), time())),
    );
    let hashes = (
        select(vec!["t1", "t1", "t2"]),
        select(vec![None, Some("t1"), Some("t2")]),
    );
    (who, flags, times, hashes, -1..30_i32).prop_map(|(who, flags, times, hashes, replicas)| {
        let selected = Labels::from([("app".to_owned(), "myapp".to_owned())]);
        let selector = Selector::parse(crate::api::LabelMatch::Labels(selected)).unwrap();
        Deployment {
            uid: "uid".to_owned(),
            owner_name: who.0.clone().map(|uid| format!("KanaryDeployment/{uid}")),
            owner: who.0,
            pod_labels: traffic::unreserved(&who.1),
            labels: who.1,
            annotations: Labels::new(),
            promoted_by: who.2,
            created_by: who.3,
            deleting: flags.0,
            rolled_out: flags.1,
            progress_failed: flags.2,
            created: times.0,
            available_since: times.1,
            unavailable_since: times.2,
            versions: [Versions::One, Versions::Unknown, Versions::Several, Versions::Untouched][usize::from(flags.3)],
            outage: times.3.map(|(from, before)| Outage { from, before }),
            cause: times.2.map(|_| {
                Box::new(Cause {
                    reason: "FailedCreate".to_owned(),
                    message: "no quota".to_owned(),
                })
            }),
            template_hash: hash::of(&template(hashes.0)),
            target_hash: hashes.1.map(|name| hash::of(&template(name))),
            replicas,
            paused: false,
            traffic: None,
            selector: (replicas > 0).then(|| SelectorView {
                keys: vec!["app".to_owned()],
                shown: "app=myapp".to_owned(),
                selector,
            }),
        }
    })
}

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    select(vec![
        Outcome::Pass,
        Outcome::Pass,
        Outcome::Fail,
        Outcome::NoData,
        Outcome::Error,
        Outcome::Invalid,
    ])
}

fn tally() -> impl Strategy<Value = Tally> {
    let counts = (0..3_u32, 0..3_u32, 0..3_u32, 0..5_u32, 0..5_u32, 0..3_u32);
    let last = (option::of(outcome()), option::of(time()));
    (counts, last, any::<[bool; 3]>()).prop_map(
        |((good, bad, empty, errors, silence, answers), (last, last_check), [pending, resumed, knows])| Tally {
            good,
            bad,
            empty,
            errors,
            silence,
            answers,
            last: last.map(|outcome| Sample {
                outcome,
                value: Some(0.5),
                message: "measured".to_owned(),
            }),
            last_check,
            pods: (0..9).filter(|_| knows).map(|number| format!("pod-{number}")).collect(),
            pending,
            resumed,
            ..Tally::default()
        },
    )
}

/// Whatever may be seen around this Kanary.
#[allow(clippy::too_many_lines, reason = "one field after the other")]
pub(super) fn observation(canary: &Canary) -> impl Strategy<Value = Observation> + use<> {
    let run = canary.run(&canary.spec);
    let marker = canary.marker(&canary.spec);
    let owned = || {
        (owner(), proptest::bool::weighted(0.2)).prop_map(|(owner, deleting)| Owned {
            uid: "uid".to_owned(),
            owner_name: owner.clone().map(|uid| format!("KanaryDeployment/{uid}")),
            owner,
            deleting,
        })
    };
    let pod = |run: String, name: &'static str| {
        (labels(run), any::<bool>(), 0..9).prop_map(move |(labels, ready, number)| Pod {
            name: format!("{name}-{number}"),
            uid: "uid-pod".to_owned(),
            labels,
            ready,
            edited: number == 8,
            cause: (number % 3 == 0).then(|| {
                let reason = if number == 0 {
                    "CrashLoopBackOff"
                } else {
                    "Unschedulable"
                };
                Box::new(Cause {
                    reason: reason.to_owned(),
                    message: "why".to_owned(),
                })
            }),
        })
    };
    let others = prop_oneof![pod("other-1".to_owned(), "other"), pod("a-1".to_owned(), "failed")];
    let service = any::<bool>().prop_map(|selects| Service {
        name: "svc".to_owned(),
        selector: selects
            .then(|| ("app".to_owned(), "myapp".to_owned()))
            .into_iter()
            .collect(),
        ..Service::default()
    });
    let refusal = (time(), option::of(time())).prop_map(|(retry_at, uncreated_since)| Refusal {
        reason: "Forbidden".to_owned(),
        message: String::new(),
        retry_at,
        uncreated_since,
    });
    (
        // Boxed, or the trees of values are more than a test's stack can hold.
        option::weighted(0.9, deployment(marker.clone(), run.clone()).boxed()),
        option::weighted(0.7, deployment(marker, run.clone()).boxed()),
        vec(pod(run, "pod"), 0..3).boxed(),
        option::weighted(0.9, service),
        option::of(owned()),
        option::of(owned()),
        vec(tally(), 0..4),
        option::weighted(0.2, refusal),
        (vec(others, 0..2), traffic::traffic().boxed()),
    )
        .prop_map(
            |(target, canary, pods, service, kanary_service, hpa, tallies, refusal, (other_pods, traffic))| {
                Observation {
                    other_pods,
                    services: traffic.services,
                    ways: traffic.ways,
                    target_is_canary_of: traffic.target_is_canary_of,
                    confirmed: pods.len() % 2 == 0,
                    target,
                    canary,
                    pods,
                    service,
                    kanary_service,
                    hpa,
                    tallies,
                    refusal,
                    ..Observation::default()
                }
            },
        )
}

/// A Kanary, what is seen around it, and the time: two thirds of them make sense, up to the verdict or beyond.
pub(super) fn anything() -> impl Strategy<Value = (Canary, Observation, Timestamp)> {
    let wild = canary().boxed().prop_flat_map(|canary| {
        let seen = observation(&canary).boxed();
        (Just(canary), seen, time())
    });
    (wild, 0..3).prop_map(|((mut canary, mut seen, now), sense)| {
        if sense > 0 {
            under_way(&mut canary, &mut seen, sense > 1);
        }
        (canary, seen, now)
    })
}
