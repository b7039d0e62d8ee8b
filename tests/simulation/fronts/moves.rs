//! Applications that their users move between Istio and Gateway API while images are tried, gateways refuse and controllers are
//! killed. Requests are served all the time, and an image that is not proven gets its share and nothing else.

use std::time::Duration;

use jiff::Timestamp;
use kanary::reconcile::turn::Decide;
use kanary_core::{
    decide,
    observation::{KeptFound, RouteFound},
};
use serde_json::{Value, json};

use super::{
    Sorts,
    case::{BAD, Deed, Front, Sort, UNKNOWN, millis, scales},
    matrix::alone,
    violations,
    way::{self, Gate, Way},
};
use crate::{asked, mutants::decides, world::Wrong};

const SEEDS: u64 = 3;

impl Front {
    /// An application that its user moves between Istio and Gateway API, in the middle of runs and between them.
    pub(super) fn moving(rng: &mut fastrand::Rng, index: usize) -> Self {
        let name = format!("f{index}");
        let mut front = Self {
            first: format!("{name}:v1"),
            created: millis(rng, 500..5000),
            deeds: vec![(Duration::ZERO, Deed::Await)],
            seconds: rng.u32(2..=4),
            way: rng.choice(Way::ALL),
            name,
            ..Self::of_two_versions(Sort::App, "")
        };
        for version in 2..=rng.u8(2..=4) {
            if rng.bool() {
                front.deeds.push((millis(rng, 100..40_000), moves(rng)));
            }
            let suffix = rng.choice(["", "", BAD, UNKNOWN]).unwrap();
            let image = format!("{}:v{version}{suffix}", front.name);
            front.deeds.push((millis(rng, 100..5000), Deed::Version(image)));
            for _ in 0..rng.u8(1..=3) {
                let deed = front.disturbs(rng);
                front.deeds.push((millis(rng, 100..20_000), deed));
            }
            for gate in way::gates(&front.name) {
                front
                    .deeds
                    .push((millis(rng, 100..30_000), Deed::Gate(gate, Gate::Open)));
            }
            let waits = suffix != UNKNOWN && rng.u8(..3) > 0;
            let next = if waits { Deed::Await } else { scales(rng) };
            front.deeds.push((millis(rng, 0..30_000), next));
        }
        front.ends = vec![front.end()];
        if rng.u8(..8) == 0 {
            front.deeds.push((millis(rng, 100..40_000), Deed::Delete));
            front.ends = vec!["deleted"];
        }
        front
    }

    /// One that moves to Gateway API in the middle of a run, and back in the middle of another one, whose version is bad.
    pub(super) fn of_two_moves() -> Self {
        let (wait, pause) = ((Duration::ZERO, Deed::Await), Duration::from_secs(14));
        let version = |image: &str| (Duration::from_secs(1), Deed::Version(image.to_owned()));
        let move_to = |way: Way| (pause, Deed::Move(way));
        let deeds = [
            wait.clone(),
            version("f0:v2"),
            move_to(Way::Web),
            wait.clone(),
            version("f0:v3-unknown"),
            move_to(Way::Istio),
            (pause, Deed::Version("f0:v4".to_owned())),
            wait,
        ];
        Self {
            deeds: deeds.into(),
            way: Some(Way::Istio),
            ..Self::of_two_versions(Sort::App, "")
        }
    }

    /// Something that its user does in the middle of a run.
    fn disturbs(&self, rng: &mut fastrand::Rng) -> Deed {
        match rng.u8(..5) {
            0 => scales(rng),
            1 | 2 => moves(rng),
            _ => {
                let gate = rng.choice(way::gates(&self.name)).unwrap();
                Deed::Gate(gate, rng.choice([Gate::Open, Gate::Refuses, Gate::Gone]).unwrap())
            }
        }
    }
}

fn moves(rng: &mut fastrand::Rng) -> Deed {
    Deed::Move(rng.choice(Way::ALL).unwrap())
}

/// Runs `KANARY_SEEDS` seeds from `KANARY_SEED` on.
#[test]
fn applications_that_move_are_served_all_the_time() {
    let first = asked("KANARY_SEED").unwrap_or(0);
    crate::log_if_asked();
    for seed in first..first + asked("KANARY_SEEDS").unwrap_or(SEEDS) {
        let violations = violations(seed, Sorts::Moving, &Wrong::default());
        assert!(
            violations.is_empty(),
            "{}\nreplay: KANARY_SEED={seed} KANARY_SEEDS=1 cargo test --test simulation applications_that_move -- --nocapture",
            violations.join("\n")
        );
    }
}

/// Asserts that a mutant is caught when an application on this way has a second version, and its user does this.
fn assert_caught(wrong: Decide, (way, deeds): (Way, &[(u64, Deed)]), expected: &[&str]) {
    let deeds = deeds.iter().cloned();
    let deeds = deeds.map(|(seconds, deed)| (Duration::from_secs(seconds), deed));
    let front = Front {
        deeds: std::iter::once((Duration::ZERO, Deed::Await)).chain(deeds).collect(),
        way: Some(way),
        ..Front::of_two_versions(Sort::App, "")
    };
    let right = alone(&front, &Wrong::default());
    assert_eq!(right, Vec::<String>::new());
    let found = alone(&front, &decides(wrong));
    let is_it = |violation: &String| expected.iter().any(|text| violation.contains(text));
    assert!(found.iter().any(is_it), "nobody noticed {expected:?}: {found:?}");
}

/// The route as if all its Gateways had accepted it.
fn accepted(route: &Value) -> Value {
    let mut route = route.clone();
    let generation = &route["metadata"]["generation"];
    let condition = |name: &str| json!({"type": name, "status": "True", "observedGeneration": generation});
    let conditions = json!([condition("Accepted"), condition("ResolvedRefs")]);
    let parents = route["spec"]["parentRefs"].as_array().into_iter().flatten();
    let parents = parents.map(|parent| json!({"parentRef": parent, "conditions": conditions}));
    let parents = json!(parents.collect::<Vec<_>>());
    route["status"]["parents"] = parents;
    route
}

#[test]
fn a_former_route_that_goes_before_the_new_one_is_accepted_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut seen = seen.clone();
        for found in seen.kept.iter_mut().flat_map(|kept| kept.objects.values_mut()) {
            if let KeptFound::There(object) = found
                && object["kind"] == "HTTPRoute"
            {
                *object = accepted(object).into();
            }
        }
        decide(kanary, &seen, now)
    };
    let (web, moves) = ("f0-web".to_owned(), Deed::Move(Way::Web));
    let deeds = [
        (1, Deed::Gate(web.clone(), Gate::Refuses)),
        (20, moves),
        (20, Deed::Gate(web, Gate::Open)),
    ];
    assert_caught(wrong, (Way::Istio, &deeds), &["goes although"]);
}

#[test]
fn a_share_that_one_gateway_does_not_serve_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut seen = seen.clone();
        if let Some(route) = &mut seen.route
            && let RouteFound::There(_, object) = &mut route.found
        {
            *object = accepted(object).into();
            route.taken = route.taken.or(Some(route.since));
        }
        decide(kanary, &seen, now)
    };
    let (edge, version) = ("f0-edge".to_owned(), Deed::Version("f0:v2".to_owned()));
    let deeds = [
        (1, Deed::Gate(edge.clone(), Gate::Refuses)),
        (20, version),
        (40, Deed::Gate(edge, Gate::Open)),
    ];
    assert_caught(wrong, (Way::Both, &deeds), &["has not served it for"]);
}

#[test]
fn a_former_route_that_loses_what_it_leads_to_first_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let kanary = crate::mutants::with_spec(kanary, |spec| {
            spec.frame.iter_mut().for_each(|frame| frame.unwanted.reverse());
        });
        decide(&kanary, seen, now)
    };
    let expected = ["while the VirtualService leads to it", "of the requests through"];
    assert_caught(wrong, (Way::Istio, &[(1, Deed::Move(Way::Web))]), &expected);
}

#[test]
fn a_service_that_leads_to_both_while_proxies_follow_the_former_route_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut seen = seen.clone();
        seen.kept.iter_mut().for_each(|kept| kept.gone = Timestamp::MIN);
        decide(kanary, &seen, now)
    };
    let version = Deed::Version("f0:v2-unknown".to_owned());
    let deeds = [
        (1, version),
        (20, Deed::Move(Way::Istio)),
        (30, Deed::Version("f0:v3".to_owned())),
    ];
    assert_caught(wrong, (Way::Web, &deeds), &["leads to both while proxies follow"]);
}
