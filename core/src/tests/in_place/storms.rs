use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// What happens at any time.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes.
    Wait(i64),
    /// The controller dies.
    Crash,
    /// A user edits the Kanary.
    Spec(Value),
    /// Somebody changes the target.
    Template,
    Partition(i32),
    Scale(usize),
    /// The target loses its annotation.
    Unmark,
    /// The Kanary loses its finalizer.
    Unhold,
    /// Somebody adds to the template of the target.
    Restart,
    /// The target is deleted and created again.
    Again,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..400_i64).prop_map(Event::Wait),
        3 => Just(Event::Crash),
        3 => select(vec![
            json!({"verdict": "valid"}),
            json!({"verdict": "invalid"}),
            json!({"verdict": null}),
            json!({"paused": true}),
            json!({"paused": false}),
            json!({"retry": 7}),
            json!({"template": {"spec": {"template": version(4)}}}),
            json!({"scale": {"inPlace": {"replicas": 2}}}),
            json!({"scale": {"inPlace": {"replicas": -1}}}),
        ])
        .prop_map(Event::Spec),
        1 => Just(Event::Template),
        1 => (0..3_i32).prop_map(Event::Partition),
        2 => (1..6_usize).prop_map(Event::Scale),
        1 => Just(Event::Unmark),
        1 => Just(Event::Unhold),
        1 => Just(Event::Restart),
        1 => Just(Event::Again),
    ]
}

fn happen(place: &mut Place, event: &Event) {
    let now = place.now;
    let set = place.set.as_mut().unwrap();
    match event {
        Event::Wait(seconds) => place.now += SignedDuration::from_secs(*seconds),
        Event::Crash => place.crash(),
        Event::Spec(change) => place.edit(change),
        Event::Template => set.edit(now, |set| set.template = version(9)),
        Event::Partition(partition) => set.edit(now, |set| set.partition = *partition),
        Event::Unhold => {
            place.metadata["finalizers"] = json!([]);
            place.version += 1;
            // A deletion at the same moment cannot be held.
            place.settle();
        }
        Event::Restart => set.edit(now, |set| {
            set.template["metadata"]["annotations"] = json!({"restarted": now});
        }),
        Event::Unmark => {
            set.promoted_by = None;
            set.version += 1;
        }
        Event::Scale(replicas) => set.scale(now, *replicas),
        Event::Again => {
            let mut next = Set::new(set.pods.len());
            next.uid = format!("{}+", set.uid);
            next.version = set.version + 1;
            *set = next;
        }
    }
}

/// Whether somebody may have given the target a partition of their own, when no run was under way.
fn is_foreign(event: &Event) -> bool {
    matches!(event, Event::Partition(_))
}

proptest! {
    /// The model asserts on each write that the record, the finalizer and the verdict were written ahead, and that no workload is
    /// created, scaled or deleted.
    #[test]
    fn whatever_happens_a_target_ends_as_a_whole(
        events in vec((event(), 0..4_usize), 0..12),
        deletes in any::<bool>(),
    ) {
        let mut place = Place::new(4, 1);
        for (event, turns) in &events {
            for _ in 0..*turns {
                place.turn();
            }
            happen(&mut place, event);
        }
        if deletes {
            place.delete();
        }
        // Nobody edits any more, and a run that waits for its user gets a verdict.
        if !place.gone && !deletes {
            place.edit(&json!({"paused": false, "verdict": null, "scale": {"inPlace": {"replicas": 1}}}));
            place.settle();
            place.edit(&json!({"verdict": "invalid"}));
        }
        place.end();
        let is_kept = place.metadata["finalizers"] == json!([names::IN_PLACE_FINALIZER]);
        prop_assert!(place.gone || !deletes, "{:#?}", place.writes);
        let has_ended = matches!(place.phase(), Phase::Failed | Phase::DeploymentUpdated);
        prop_assert!(!(is_kept && has_ended) || place.gone, "{:#?}", place.writes);
        if !events.iter().any(|(event, _)| is_foreign(event)) {
            let set = place.set();
            prop_assert_eq!(set.partition, 0);
            let images = set.images();
            prop_assert!(images.windows(2).all(|two| two[0] == two[1]), "{:?} {:#?}", images, place.writes);
        }
    }
}
