//! Canaries of DaemonSets that somebody edits.

use serde_json::json;

use super::{decided, of_nodes, placed, running, said, scaled};
use crate::{api::Reason, observation::Versions, status::FAILED};

#[test]
fn a_canary_that_somebody_changed_gets_no_other_nodes() {
    let input = scaled(of_nodes("seen: {target: {}}"), &json!({"static": {"replicas": 2}}));
    let mut input = running(input, &["a", "gone"], 5, &["a"]);
    input.seen.created = None;
    input.seen.canary.as_mut().unwrap().versions = Versions::Unknown;
    let decision = decided(&input);
    assert_eq!((placed(&decision), decision.needs), (None, None));
}

#[test]
fn a_canary_that_somebody_gave_other_nodes_fails_the_run() {
    let input = scaled(of_nodes("seen: {target: {}}"), &json!({"static": {"replicas": 1}}));
    let mut input = running(input, &["a", "b", "c"], 5, &["a", "b", "c"]);
    assert_eq!(decided(&input).actions, []);
    input.seen.canary.as_mut().unwrap().daemon.as_mut().unwrap().moved = true;
    let decision = decided(&input);
    assert_eq!((placed(&decision), decision.needs), (None, None));
    let (reason, message) = said(&decision, FAILED);
    assert_eq!(reason, Reason::CanaryChanged.as_str());
    assert!(
        message.starts_with(
            "DaemonSet myapp-kanary-batman has other nodes than Kanary chose, so it is not the canary that spec.scale asks for"
        ),
        "{message}"
    );
}
