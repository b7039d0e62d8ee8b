//! Arbitrary Kanaries, statuses and clusters, valid and invalid.

use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::Value;

use super::{
    arbitrary_spec::spec,
    arbitrary_status::status,
    arbitrary_traffic as traffic,
    input::{self, UID, t0, template},
    under_way::under_way,
};
use crate::{
    ParsedKanary,
    api::{
        Reason,
        names::{IS_KANARY, KANARY_KIND, KANARY_NAME, RUN},
    },
    hash,
    labels::{Labels, Selector},
    observation::{
        Cause, Limited, Observation, Outage, Owned, Pod, Promotion, Refusal, SelectorView, Service, Versions, Workload,
    },
    validation::{Outcome, Sample, Tally},
};

/// A time near T0, and occasionally one at the limits of the calendar.
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

/// A Kanary with any spec and any status.
pub(super) fn canary() -> BoxedStrategy<ParsedKanary> {
    let any = (spec(), option::weighted(0.8, status()), any::<bool>());
    any.prop_map(|(spec, status, deleting)| {
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
    .boxed()
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

/// Adds the labels that identify a canary without an owner.
fn identified(mut labels: Labels) -> Labels {
    let own = [
        (IS_KANARY, "true"),
        (KANARY_NAME, "batman"),
        (KANARY_KIND, "KanaryDeployment"),
    ];
    labels.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    labels
}

fn deployment(marker: String, run: String) -> BoxedStrategy<Workload> {
    let markers = vec![None, None, Some(marker), Some("uid-robin/x".to_owned())];
    let who = (owner(), labels(run), select(markers.clone()), select(markers));
    let seldom = || proptest::bool::weighted(0.1);
    let flags = (
        (seldom(), any::<bool>(), seldom(), seldom(), seldom(), seldom()),
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
    (who, flags, times, hashes, -1..30_i32)
        .prop_map(|(who, (flags, versions), times, hashes, replicas)| Workload {
            generation: 1,
            uid: "uid".to_owned(),
            owner_name: who.0.clone().map(|uid| format!("KanaryDeployment/{uid}")),
            other_controller: None,
            owner: who.0,
            pod_labels: traffic::unreserved(&who.1),
            labels: if replicas % 2 == 0 { identified(who.1) } else { who.1 },
            annotations: Labels::new(),
            promoted_by: who.2,
            created_by: who.3,
            deleting: flags.0,
            rolled_out: flags.1,
            progress_failed: flags.2,
            paused: flags.3,
            holds_fields: flags.4,
            traffic: None,
            replica_failure: flags.5.then(|| "exceeded quota".to_owned()),
            progressed: times.1,
            created: times.0,
            available_since: times.1,
            unavailable_since: times.2,
            versions: [Versions::One, Versions::Unknown, Versions::Several, Versions::Untouched][usize::from(versions)],
            outage: times.3.map(|(from, before)| Outage { from, before }),
            set: None,
            daemon: None,
            cause: times.2.map(|_| {
                Box::new(Cause {
                    reason: "FailedCreate".to_owned(),
                    message: "no quota".to_owned(),
                })
            }),
            template_hash: hash::of(&template(hashes.0)),
            target_hash: hashes.1.map(|name| hash::of(&template(name))),
            replicas,
            selector: (replicas > 0).then(selector),
        })
        .boxed()
}

fn selector() -> SelectorView {
    let selected = Labels::from([("app".to_owned(), "myapp".to_owned())]);
    SelectorView {
        keys: vec!["app".to_owned()],
        shown: "app=myapp".to_owned(),
        selector: Selector::parse(crate::api::LabelMatch::Labels(selected)).unwrap(),
    }
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

/// An arbitrary observation for this Kanary.
#[allow(clippy::too_many_lines, reason = "one field after the other")]
pub(super) fn observation(kanary: &ParsedKanary) -> BoxedStrategy<Observation> {
    let run = kanary.run(&kanary.spec);
    let marker = kanary.marker(&kanary.spec);
    let owned = || {
        let scales = proptest::option::of(prop_oneof![
            Just("Deployment/myapp".into()),
            Just(kanary.spec.canary.key().into_boxed_str())
        ]);
        (owner(), proptest::bool::weighted(0.2), scales).prop_map(|(owner, deleting, scales)| Owned {
            uid: "uid".to_owned(),
            owner_name: owner.clone().map(|uid| format!("KanaryDeployment/{uid}")),
            other_controller: None,
            owner,
            deleting,
            scales,
        })
    };
    let pod = |run: String, name: &'static str| {
        (labels(run), any::<bool>(), 0..9).prop_map(move |(labels, ready, number)| Pod {
            name: format!("{name}-{number}"),
            uid: "uid-pod".to_owned(),
            labels: if number == 6 { identified(labels) } else { labels },
            former_run: None,
            kanaries: Vec::new(),
            ready,
            ready_second: None,
            terminating: !ready && number == 7,
            released: name == "other" && number > 4,
            edited: number == 8,
            node: None,
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
        reason: Reason::WriteRefused,
        message: String::new(),
        retry_at,
        uncreated_since,
        about: String::new(),
    });
    let given = select(vec!["t1", "t2"]).prop_map(|name| Promotion::Done {
        at: None,
        template_hash: hash::of(&template(name)),
    });
    let requested = kanary.status.place.as_ref().map(|place| place.requested_at);
    let limited = any::<bool>().prop_map(move |grants| Limited {
        total: Some(1),
        granted: requested.filter(|_| grants),
        ..Limited::default()
    });
    let promotion = prop_oneof![2 => Just(Promotion::NotYet), 1 => Just(Promotion::Unknown), 2 => given];
    (
        // Boxed, because the value trees would overflow a test's stack.
        option::weighted(0.9, deployment(marker.clone(), run.clone()).boxed()),
        option::weighted(0.7, deployment(marker, run.clone()).boxed()),
        vec(pod(run, "pod"), 0..3).boxed(),
        option::weighted(0.9, service),
        option::of(owned()),
        [option::of(owned()).boxed(), option::of(owned()).boxed()],
        vec(tally(), 0..4),
        option::weighted(0.2, refusal),
        (vec(others, 0..2), traffic::traffic().boxed()),
        (promotion, option::of(time()), option::weighted(0.4, limited)),
    )
        .prop_map(
            |(
                target,
                canary,
                pods,
                service,
                kanary_service,
                [hpa, scaled_object],
                tallies,
                refusal,
                around,
                (promotion, missing, place),
            )| {
                let (other_pods, traffic) = around;
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
                    scaled_object,
                    tallies,
                    refusal,
                    promotion,
                    target_missing_since: missing,
                    place,
                    ..Observation::default()
                }
            },
        )
        .boxed()
}

/// A Kanary, an observation and a time. Two thirds of them are valid up to the verdict or beyond.
pub(super) fn anything() -> impl Strategy<Value = (ParsedKanary, Observation, Timestamp)> {
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
