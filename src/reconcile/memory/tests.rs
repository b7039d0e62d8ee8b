use kanary_core::{
    api::KanaryKind,
    decision::Notice,
    validation::{Item, Outcome, Tally},
};

use super::*;
use crate::{cluster::error::CAP, prometheus::When, reconcile::check::Question};

fn batman() -> Key {
    Key {
        kind: KanaryKind::Deployment,
        namespace: "shop".to_owned(),
        name: "batman".to_owned(),
    }
}

#[test]
fn a_kanary_without_a_run_is_tried_again_ever_later() {
    let memory = Memory::default();
    fastrand::seed(1);
    let waited: Duration = (0..20).map(|_| memory.back_off(&batman(), CAP, at(0))).sum();
    assert!(waited > Duration::from_secs(30), "{waited:?}");
    memory.status_written(&batman(), &KanaryStatus::default(), &KanaryStatus::default());
    assert!(memory.back_off(&batman(), CAP, at(0)) <= Duration::from_millis(110));
}

#[test]
fn a_write_that_nobody_needs_any_more_does_not_shorten_the_backoff() {
    let (memory, clock) = (Memory::default(), Clock::default());
    let silent = kube::Error::Service("no answer".into());
    memory.failed(
        &batman(),
        &ApiError::new("create", "Deployment".into(), "shop", "myapp-kanary-batman", silent),
        &clock,
    );
    let began = clock.now();
    let waited_longest = |now: Timestamp| (0..20).map(|_| memory.back_off(&batman(), CAP, now)).max().unwrap();
    fastrand::seed(1);
    assert!(waited_longest(began) <= Duration::from_millis(2_010));
    let later = began + jiff::SignedDuration::from_mins(1);
    assert!(waited_longest(later) > Duration::from_secs(10));
}

/// Batman, whose verdict was stored as good.
fn succeeded() -> ParsedKanary {
    let succeeded = serde_json::json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        },
        "status": {"conditions": [{
            "type": "Succeeded", "status": "True", "reason": "Valid", "message": "",
            "lastTransitionTime": "2026-11-22T12:00:00Z",
        }]},
    });
    ParsedKanary::parse(KanaryKind::Deployment, &serde_json::from_value(succeeded).unwrap()).unwrap()
}

#[test]
fn only_the_replica_that_stored_the_verdict_knows_that_no_promotion_happened_yet() {
    let (canary, mut seen) = (succeeded(), Observation::default());
    let memory = Memory::default();
    memory.recall(&canary, &canary.spec, &mut seen);
    assert_eq!(seen.promotion, Promotion::Unknown);

    let memory = Memory::default();
    memory.back_off(&canary.key, CAP, at(0));
    let mut waiting = canary.clone();
    waiting.status = KanaryStatus::default();
    memory.recall(&waiting, &waiting.spec, &mut seen);
    memory.status_written(&canary.key, &waiting.status, &canary.status);
    memory.recall(&canary, &canary.spec, &mut seen);
    assert_eq!(seen.promotion, Promotion::NotYet);
}

/// Batman, judged by a query, and what was seen of its canary.
fn measured() -> (ParsedKanary, Observation) {
    let mut kanary = serde_json::to_value(serde_json::json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
            "validation": {"items": [{"promQL": {"prometheusService": "p:1", "query": "up", "boolean": {}}}]},
        },
    }))
    .unwrap();
    kanary["status"] = serde_json::json!({"canaryUid": "first", "items": [{"name": "promQL[0]", "good": 3, "bad": 1}]});
    let canary = ParsedKanary::parse(KanaryKind::Deployment, &serde_json::from_value(kanary).unwrap()).unwrap();
    let run = canary.run(&canary.spec);
    let made = Workload {
        uid: "first".to_owned(),
        owner: Some("u".to_owned()),
        labels: [(kanary_core::api::names::RUN.to_owned(), run)].into(),
        available_since: Some(at(0)),
        ..Workload::default()
    };
    let seen = Observation {
        canary: Some(made),
        ..Observation::default()
    };
    (canary, seen)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A good measurement at that second of the canary with this uid.
fn passes(memory: &Memory, kanary: &ParsedKanary, uid: &str, second: i64) {
    let spec = &kanary.spec;
    let Item::PromQl(query) = &spec.validation.items[0] else {
        panic!("it is a query")
    };
    let check = Check {
        trace: None,
        key: kanary.key.clone(),
        run: kanary.marker(spec),
        index: 0,
        question: Question::PromQl {
            query: query.clone(),
            text: String::new(),
            evidence: None,
        },
        pods: Vec::new(),
        all_pods: Vec::new(),
        when: When::exactly(at(second)),
        canary: uid.to_owned(),
    };
    let sample = Sample {
        outcome: Outcome::Pass,
        value: None,
        message: String::new(),
    };
    memory.record(&check, sample, check.when.at);
}

fn recalled(memory: &Memory, kanary: &ParsedKanary, seen: &mut Observation) -> Tally {
    memory.recall(kanary, &kanary.spec, seen);
    seen.tallies[0].clone()
}

#[test]
fn what_was_measured_of_a_canary_says_nothing_about_its_successor() {
    let ((canary, mut seen), memory) = (measured(), Memory::default());
    assert_eq!(recalled(&memory, &canary, &mut seen).bad, 1, "a restart goes on");
    seen.canary.as_mut().unwrap().uid = "second".to_owned();
    assert_eq!(recalled(&memory, &canary, &mut seen), Tally::default());
    passes(&memory, &canary, "first", 10);
    assert_eq!(
        recalled(&memory, &canary, &mut seen),
        Tally::default(),
        "asked before it was replaced"
    );
    assert_eq!(
        recalled(&Memory::default(), &canary, &mut seen),
        Tally::default(),
        "also after a restart"
    );
}

#[test]
fn an_answer_that_counts_for_nothing_is_no_longer_waited_for() {
    let ((canary, mut seen), memory) = (measured(), Memory::default());
    let before = recalled(&memory, &canary, &mut seen);
    let run = canary.marker(&canary.spec);
    // It was asked for while the canary was not known here, or was another one.
    for asked in ["", "another"] {
        memory.mark_pending(&canary.key, &run, 0);
        assert!(recalled(&memory, &canary, &mut seen).pending);
        passes(&memory, &canary, asked, 10);
        assert_eq!(recalled(&memory, &canary, &mut seen), before, "{asked:?}");
    }
}

#[test]
fn good_measurements_of_a_canary_that_was_not_available_prove_nothing() {
    let ((canary, mut seen), memory) = (measured(), Memory::default());
    recalled(&memory, &canary, &mut seen);
    passes(&memory, &canary, "first", 8);
    passes(&memory, &canary, "first", 10);
    assert_eq!(recalled(&memory, &canary, &mut seen).good, 2);
    let down = seen.canary.as_mut().unwrap();
    (down.available_since, down.unavailable_since) = (None, Some(at(9)));
    let tally = recalled(&memory, &canary, &mut seen);
    assert_eq!((tally.good, tally.bad, tally.last), (1, 1, None), "the watch was late");
    passes(&memory, &canary, "first", 12);
    let tally = recalled(&memory, &canary, &mut seen);
    assert_eq!((tally.good, tally.last, tally.last_check), (1, None, Some(at(12))));
}

#[test]
fn the_news_of_a_kanary_without_a_run_is_reported_once() {
    let memory = Memory::default();
    let errored = Notice {
        reason: EventReason::Errored,
        note: String::new(),
        warning: true,
        at: Timestamp::UNIX_EPOCH,
    };
    let unannounced = || memory.unannounced(&batman(), vec![errored.clone()], Timestamp::UNIX_EPOCH);
    assert_eq!(unannounced().len(), 1);
    memory.mark_announced(&batman(), &errored);
    assert_eq!(unannounced(), []);
}

#[test]
fn a_target_is_missing_since_it_was_looked_for_until_it_comes_or_the_run_is_paused() {
    let (canary, memory) = (succeeded(), Memory::default());
    let missing = |paused: bool, there: bool| {
        let mut spec = Spec::clone(&canary.spec);
        spec.paused = paused;
        let mut seen = Observation {
            target: there.then(Default::default),
            ..Observation::default()
        };
        memory.recall(&canary, &spec, &mut seen);
        seen.target_missing_since
    };
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let object = || object::<k8s_openapi::api::apps::v1::Deployment>("myapp");
    let look = |now| memory.mark_missing(&canary.key, object(), now);
    assert_eq!(missing(false, false), None);
    look(at(1));
    look(at(2));
    assert_eq!(missing(false, false), Some(at(1)));
    for (paused, there) in [(true, false), (false, true)] {
        assert_eq!(missing(paused, there), None);
        assert_eq!(missing(false, false), None, "it has to be looked for again");
        look(at(3));
        assert_eq!(missing(false, false), Some(at(3)));
    }
}
