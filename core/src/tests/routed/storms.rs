//! Arbitrary events at arbitrary times.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Passes(i64),
    Crashes,
    Reverts,
    Ready(bool),
    Hangs(bool),
    Fails,
    Paused(bool),
    Edited,
    Retried,
    Deleted,
    Annotated,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1_i64..40).prop_map(Event::Passes),
        3 => Just(Event::Crashes),
        1 => Just(Event::Reverts),
        2 => any::<bool>().prop_map(Event::Ready),
        1 => any::<bool>().prop_map(Event::Hangs),
        1 => Just(Event::Fails),
        1 => any::<bool>().prop_map(Event::Paused),
        1 => Just(Event::Edited),
        1 => Just(Event::Retried),
        1 => Just(Event::Deleted),
        1 => Just(Event::Annotated),
    ]
}

fn happens(world: &mut World, event: &Event) {
    match event {
        Event::Passes(seconds) => world.run(SignedDuration::from_secs(*seconds)),
        Event::Crashes => world.crash(),
        Event::Reverts => world.revert(),
        Event::Ready(ready) => world.ready = *ready,
        Event::Hangs(hangs) => world.gateway = (!hangs).then(|| SignedDuration::from_secs(1)),
        Event::Fails => world.outcome = Outcome::Fail,
        Event::Paused(paused) => world.spec["paused"] = json!(paused),
        Event::Edited => world.spec["traffic"]["weighted"]["interval"] = json!("15s"),
        Event::Retried => world.spec["retry"] = json!(world.spec["retry"].as_i64().unwrap_or_default() + 1),
        Event::Deleted => {
            world.metadata["deletionTimestamp"] = json!(world.now.to_string());
            if world.metadata.get("finalizers").is_none_or(|all| *all == json!([])) {
                world.gone = true;
            }
        }
        Event::Annotated => {
            let route = world.route.as_mut().unwrap();
            // An edit of the user, which stays.
            for spec in [&mut route["spec"], &mut world.original["spec"]] {
                spec["rules"][0]["timeouts"] = json!({"request": "9s"});
            }
            route["metadata"]["generation"] = json!(route["metadata"]["generation"].as_i64().unwrap() + 1);
            raise(&mut route["metadata"]);
            world.written_at = world.now;
        }
    }
    world.metadata["generation"] = json!(world.writes.len() + 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_the_route_ends_as_its_user_wrote_it(events in prop::collection::vec(event(), 1..25)) {
        let mut world = World::new(&json!({
            "source": "weighted", "route": {"kind": "HTTPRoute", "name": "shop"},
            "weighted": {"steps": [10, 50, 100], "interval": "10s"},
        }));
        for event in &events {
            happens(&mut world, event);
        }
        world.gateway = Some(SignedDuration::from_secs(1));
        world.ready = true;
        world.spec["paused"] = json!(false);
        world.spec["verdict"] = json!("invalid");
        world.run(SignedDuration::from_mins(30));
        world.is_restored();
    }
}
