use kanary_core::{
    api::{Reason, WorkloadKind, WorkloadRef},
    decision::ObjectKind,
};
use kube::core::Status;

use super::*;
use crate::cluster::error::Unanswered;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn failed(code: u16, message: &str) -> ApiError {
    let status = Status::failure(message, "why").with_code(code);
    ApiError::new(
        "create",
        "Deployment".into(),
        "shop",
        "x",
        kube::Error::Api(Box::new(status)),
    )
}

fn create() -> Action {
    Action::Create {
        object: ObjectKind::Workload(WorkloadKind::Deployment),
        name: "x".to_owned(),
        manifest: serde_json::Value::Null,
    }
}

fn scale(replicas: i32) -> Action {
    Action::ScaleCanary {
        canary: WorkloadRef::new(WorkloadKind::Deployment, "x"),
        uid: "u".to_owned(),
        replicas,
    }
}

#[test]
fn a_webhook_that_fails_for_a_while_is_reported_and_asked_ever_later() {
    for code in [500, 404, 409] {
        let mut attempts = Attempts::default();
        attempts.fail(&failed(code, "webhook 1"), false, at(0));
        attempts.fail(&failed(code, "webhook 2"), false, at(4));
        assert_eq!(attempts.refusal, None, "{code}: most go away by themselves");
        attempts.fail(&failed(code, "webhook 3"), false, at(6));
        let reported = attempts.refusal.clone().unwrap();
        assert_eq!(
            (reported.reason, reported.uncreated_since),
            (Reason::WriteFailed, Some(at(0)))
        );
        assert_eq!(reported.message, "could not create Deployment x: webhook 3");
        let mut pauses = Vec::new();
        for attempt in 1..9 {
            let now = at(100 * attempt);
            attempts.fail(&failed(code, &format!("webhook {attempt}")), false, now);
            let refusal = attempts.refusal.clone().unwrap();
            assert_eq!(
                refusal.message, reported.message,
                "a text that only counts is reported once"
            );
            pauses.push(refusal.retry_at.duration_since(now).as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30, 30]);
        attempts.succeed();
        assert_eq!(attempts.refusal, None);
    }
}

#[test]
fn an_api_server_that_does_not_answer_is_not_a_webhook() {
    let mut attempts = Attempts::default();
    let silence = || {
        ApiError::new(
            "create",
            "Deployment".into(),
            "a",
            "b",
            kube::Error::Service("down".into()),
        )
    };
    attempts.fail(&silence(), true, at(0));
    attempts.fail(&silence(), true, at(29));
    assert_eq!(attempts.refusal, None);
    attempts.fail(&silence(), true, at(31));
    assert!(attempts.refusal.is_some(), "one that hangs is");
}

#[test]
fn a_write_that_hangs_while_others_are_answered_is_reported_as_a_webhook_is() {
    let hangs = || {
        let unanswered = Unanswered(Duration::from_secs(10));
        let error = kube::Error::Service(Box::new(unanswered));
        ApiError::new("create", "Deployment".into(), "a", "b", error)
    };
    let mut attempts = Attempts::default();
    attempts.fail(&hangs(), false, at(10));
    assert_eq!(attempts.refusal, None);
    attempts.fail(&hangs(), false, at(20));
    let message = attempts.refusal.map(|refusal| refusal.message);
    let expected = "could not create Deployment b: ServiceError: no answer within 10s, while other requests were answered: an \
                    admission webhook may hang";
    assert_eq!(message.as_deref(), Some(expected));

    let mut attempts = Attempts::default();
    attempts.fail(&hangs(), true, at(10));
    attempts.fail(&hangs(), true, at(20));
    assert_eq!(attempts.refusal, None, "the API server may be down");
}

#[test]
fn what_is_undone_each_time_is_done_ever_later() {
    let mut attempts = Attempts::default();
    let mut done_at = Vec::new();
    for second in 0..600 {
        if !attempts.is_undone(&scale(5), at(second)) {
            attempts.done(&scale(5), at(second));
            done_at.push(second);
        }
    }
    assert_eq!(done_at, [0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513]);
    let refusal = attempts.refusal.unwrap();
    assert_eq!(refusal.reason, Reason::WriteUndone);
    assert!(
        refusal
            .message
            .starts_with("scaling Deployment x to 5 was undone 3 times"),
        "{}",
        refusal.message
    );
    assert_eq!(refusal.uncreated_since, None);
}

#[test]
fn a_canary_that_follows_its_target_up_and_down_is_not_held_up() {
    let mut attempts = Attempts::default();
    for second in 0..100 {
        let action = scale(if second % 2 == 0 { 3 } else { 5 });
        assert!(!attempts.is_undone(&action, at(second)));
        attempts.done(&action, at(second));
    }
}

#[test]
fn a_canary_that_is_deleted_each_time_counts_as_never_created() {
    let mut attempts = Attempts::default();
    for second in 0..3 {
        assert!(!attempts.is_undone(&create(), at(second)));
        attempts.done(&create(), at(second));
        // What it was deleted for does not matter, be it by us.
        let delete = Action::Delete {
            object: ObjectKind::Workload(WorkloadKind::Deployment),
            name: "x".to_owned(),
            uid: second.to_string(),
            unchanged: false,
        };
        attempts.done(&delete, at(second));
        attempts.succeed();
    }
    assert!(attempts.is_undone(&create(), at(2)));
    assert_eq!(attempts.refusal.clone().unwrap().uncreated_since, Some(at(0)));
    assert!(!attempts.is_undone(&create(), at(700)), "long ago");
}

#[test]
fn a_turn_that_never_comes_to_rest_is_taken_ever_later() {
    let mut attempts = Attempts::default();
    let pauses = [0; 8].map(|_| attempts.restless().as_secs());
    assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 256, 300]);
    attempts.came_to_rest();
    assert_eq!(attempts.restless().as_secs(), 4);
}

#[test]
fn a_dry_run_that_is_answered_does_not_make_a_refused_write_be_tried_at_once() {
    let mut attempts = Attempts::default();
    attempts.refuse(&failed(422, "a policy"), at(0));
    let first = attempts.refusal.clone().unwrap().retry_at;
    attempts.answered();
    attempts.refuse(&failed(422, "a policy"), at(60));
    let second = attempts.refusal.clone().unwrap().retry_at;
    assert!(
        second.duration_since(at(60)) > first.duration_since(at(0)),
        "it is tried ever later"
    );
    attempts.succeed();
    for second in [0, 4, 6] {
        attempts.fail(&failed(500, "webhook"), false, at(second));
    }
    assert!(attempts.refusal.is_some());
    attempts.answered();
    assert_eq!(attempts.refusal, None, "the webhook works again");
}
