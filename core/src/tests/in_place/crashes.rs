use super::*;

/// What a run comes to.
fn outcome(place: &Place) -> (Phase, Vec<String>, i32, i64, bool) {
    let set = place.set();
    let images = set.images().into_iter().map(str::to_owned).collect();
    let is_kept = place.metadata["finalizers"] == json!([names::IN_PLACE_FINALIZER]);
    (place.phase(), images, set.partition, set.generation, is_kept)
}

/// Runs with this edit in mid-run, and with a controller that dies at a write.
fn run(edit: &Value, deletes: bool, fate: Option<(usize, Fate)>) -> Place {
    let mut place = Place::new(4, 2);
    place.fate = fate;
    place.until_running();
    place.edit(edit);
    if deletes {
        place.delete();
    }
    place.end();
    place
}

#[test]
fn a_controller_that_dies_at_any_write_leaves_the_run_with_the_same_end() {
    for (edit, deletes) in [
        (json!({"verdict": "valid"}), false),
        (json!({"verdict": "invalid"}), false),
        (json!({}), true),
        (
            json!({"template": {"spec": {"template": version(3)}}, "verdict": null}),
            false,
        ),
    ] {
        let undisturbed = run(&edit, deletes, None);
        let writes = undisturbed.writes.len();
        assert!(writes > 5, "{:#?}", undisturbed.writes);
        for number in 1..=writes {
            for fate in [Fate::Before, Fate::After] {
                let place = run(&edit, deletes, Some((number, fate)));
                assert_eq!(place.gone, undisturbed.gone, "{fate:?} {number}: {:#?}", place.writes);
                assert_eq!(
                    outcome(&place),
                    outcome(&undisturbed),
                    "{fate:?} {number}: {:#?}",
                    place.writes
                );
            }
        }
    }
}

/// A run whose first write was sent and does not arrive.
fn with_late_first_write() -> (Place, SetTemplate) {
    let mut place = Place::new(4, 2);
    place.loses_first = true;
    for _ in 0..8 {
        if place.late.is_some() {
            break;
        }
        place.turn();
    }
    let late = place.late.take().expect("the first write was sent");
    (place, late)
}

#[test]
fn a_first_write_that_arrives_after_the_end_does_nothing() {
    for deletes in [false, true] {
        let (mut place, late) = with_late_first_write();
        if deletes {
            place.delete();
        } else {
            place.edit(&json!({"verdict": "invalid"}));
        }
        place.end();
        assert_eq!((place.gone, place.phase() == Phase::Failed), (deletes, !deletes));
        let now = place.now;
        assert!(!place.set.as_mut().unwrap().write(&late, now), "{:#?}", place.writes);
        assert_eq!((place.set().images(), place.set().partition), (vec!["app:v1"; 4], 0));
    }
}

#[test]
fn a_first_write_that_arrives_late_during_the_run_counts_once() {
    let (mut place, late) = with_late_first_write();
    place.loses_first = false;
    let now = place.now;
    assert!(place.set.as_mut().unwrap().write(&late, now));
    place.end();
    assert_eq!((place.set().images(), place.set().generation), (vec!["app:v2"; 4], 3));
}

#[test]
fn an_old_target_in_a_watch_does_not_fail_a_run_that_was_promoted() {
    let mut place = Place::new(3, 1);
    place.until_running();
    place.now = place.stored().deadline.unwrap();
    while place.phase() != Phase::Succeeded {
        place.turn();
    }
    // The promotion was stored by another controller, and the watch of this one is late.
    place.status.as_mut().unwrap()["inPlace"] = Value::Null;
    place.crash();
    place.set = Some(Set::new(3));
    let kanary = place.kanary();
    let seen = place.seen(&kanary);
    let decision = decide(&kanary, &seen, place.now);
    assert_eq!((decision.needs, decision.status), (Some(Need::Target), None));
}
