mod model;

use kanary_core::{
    Key,
    api::{Kanary, KanaryKind, PlaceState},
};
use serde_json::json;

use super::*;
use crate::places::view::Applicant;

const MINUTE: i64 = 60_000;

fn key(namespace: &str, name: &str) -> Key {
    Key::at(KanaryKind::Deployment, (namespace.to_owned(), name.to_owned()))
}

fn applicant(uid: &str, requested: i64, state: PlaceState) -> Applicant {
    Applicant {
        uid: uid.to_owned(),
        priority: 0,
        request: Some((requested, state)),
        is_ready: true,
        has_ended: false,
    }
}

fn waits(uid: &str, requested: i64, priority: i32) -> Applicant {
    Applicant {
        priority,
        ..applicant(uid, requested, PlaceState::Waiting)
    }
}

/// Each Kanary is named after its uid. The namespace precedes it: `shop/a`.
fn view(applicants: &[(&str, Applicant)]) -> View {
    let mut view = View::default();
    for (namespace, applicant) in applicants {
        view.put(key(namespace, &applicant.uid), applicant.clone());
    }
    view
}

fn limits(total: u32, per_namespace: u32) -> CanaryLimits {
    CanaryLimits {
        total: Some(total),
        per_namespace: Some(per_namespace),
    }
}

fn granted(book: &Book) -> Vec<&str> {
    book.granted.keys().map(String::as_str).collect()
}

fn in_line(book: &Book) -> Vec<&str> {
    book.line.iter().map(|next| next.uid.as_str()).collect()
}

fn look(book: &Book, view: &View, limits: CanaryLimits) -> Book {
    next(book, view, |uid, _| view.is_gone(uid), limits, true)
}

#[test]
fn places_go_to_the_highest_priority_and_then_to_the_first_request() {
    let view = view(&[
        ("shop", waits("late", 300, 0)),
        ("shop", waits("early", 100, 0)),
        ("shop", waits("urgent", 400, 1)),
        ("shop", waits("humble", 50, -1)),
    ]);
    let book = look(&Book::default(), &view, limits(2, 9));
    assert_eq!(granted(&book), ["early", "urgent"]);
    assert_eq!(in_line(&book), ["late", "humble"]);
    assert_eq!((book.waiting, book.newest), (2, 300));
    assert_eq!(look(&book, &view, limits(2, 9)), book, "it comes to rest");
}

#[test]
fn ten_minutes_of_waiting_are_worth_a_step_of_the_priority() {
    for (later, first) in [(10 * MINUTE - 1, "urgent"), (10 * MINUTE + 1, "patient")] {
        let view = view(&[("a", waits("patient", 0, 0)), ("b", waits("urgent", later, 1))]);
        assert_eq!(
            granted(&look(&Book::default(), &view, limits(1, 1))),
            [first],
            "{later}"
        );
    }
}

#[test]
fn nobody_starves_even_beside_the_highest_priority() {
    let day_and_a_half = 36 * 60 * MINUTE;
    let view = view(&[
        ("a", waits("lowest", 0, -100)),
        ("b", waits("highest", day_and_a_half, 100)),
    ]);
    assert_eq!(granted(&look(&Book::default(), &view, limits(1, 1))), ["lowest"]);
}

#[test]
fn a_namespace_that_is_full_keeps_no_other_waiting() {
    let view = view(&[
        ("full", waits("a", 1, 0)),
        ("full", waits("b", 2, 0)),
        ("other", waits("c", 3, 0)),
    ]);
    let book = look(&Book::default(), &view, limits(5, 1));
    assert_eq!((granted(&book), in_line(&book)), (vec!["a", "c"], vec!["b"]));
}

#[test]
fn runs_that_started_without_a_place_count_and_keep_running() {
    let mut all = view(&[
        ("shop", applicant("x", 1, PlaceState::Taken)),
        ("shop", applicant("y", 2, PlaceState::Taken)),
        ("shop", waits("z", 3, 0)),
    ]);
    let book = look(&Book::default(), &all, limits(1, 9));
    assert_eq!((granted(&book).len(), in_line(&book)), (0, vec!["z"]));
    for uid in ["x", "y"] {
        let ended = Applicant {
            has_ended: true,
            ..all.get(uid).unwrap().clone()
        };
        all.put(key("shop", uid), ended);
    }
    assert_eq!(granted(&look(&book, &all, limits(1, 9))), ["z"]);
}

#[test]
fn a_lower_limit_takes_no_place_away() {
    let mut view = view(&[("a", waits("a", 1, 0)), ("b", waits("b", 2, 0))]);
    let book = look(&Book::default(), &view, limits(2, 2));
    view.put(key("c", "c"), waits("c", 3, 100));
    let lower = look(&book, &view, limits(1, 2));
    assert_eq!((granted(&lower), in_line(&lower)), (vec!["a", "b"], vec!["c"]));
}

#[test]
fn a_place_is_free_only_when_its_request_is_over() {
    let book = look(&Book::default(), &view(&[("shop", waits("a", 5, 0))]), limits(1, 1));
    let after = |applicant: Option<Applicant>| {
        let mut after = view(&[("shop", waits("b", 9, 0))]);
        if let Some(applicant) = applicant {
            after.put(key("shop", "a"), applicant);
        }
        granted(&look(&book, &after, limits(1, 1)))[0].to_owned()
    };
    let ended = Applicant {
        has_ended: true,
        ..applicant("a", 5, PlaceState::Taken)
    };
    let never_asked = Applicant {
        request: None,
        ..ended.clone()
    };
    assert_eq!(after(Some(ended)), "b");
    assert_eq!(after(Some(applicant("a", 5, PlaceState::Left))), "b");
    assert_eq!(after(Some(applicant("a", 6, PlaceState::Left))), "b", "a later request");
    assert_eq!(after(Some(applicant("a", 5, PlaceState::Taken))), "a");
    assert_eq!(
        after(Some(applicant("a", 4, PlaceState::Left))),
        "a",
        "an older version"
    );
    assert_eq!(after(Some(never_asked)), "a", "an older version");
    assert_eq!(after(None), "a", "not seen yet");
}

#[test]
fn what_cannot_start_gets_no_place() {
    let kanary = |metadata: serde_json::Value, spec: serde_json::Value, place: serde_json::Value| {
        let mut object = json!({"metadata": metadata, "spec": spec, "status": {"place": place}});
        object["metadata"]["uid"] = json!("u");
        Applicant::of(&serde_json::from_value::<Kanary>(object).unwrap()).unwrap()
    };
    let asks = json!({"requestedAt": "2026-01-01T12:00:00Z", "state": "Waiting"});
    let mut blocked = asks.clone();
    blocked["blockedAt"] = json!("2026-01-01T12:00:01Z");
    let gets = |applicant: Applicant| {
        look(&Book::default(), &view(&[("shop", applicant)]), limits(1, 1))
            .granted
            .len()
    };
    assert_eq!(gets(kanary(json!({}), json!({}), asks.clone())), 1);
    assert_eq!(gets(kanary(json!({}), json!({"paused": true}), asks.clone())), 0);
    assert_eq!(gets(kanary(json!({}), json!({}), blocked)), 0);
    let deleted = json!({"deletionTimestamp": "2026-01-01T12:00:00Z"});
    assert_eq!(gets(kanary(deleted, json!({}), asks.clone())), 0);
    for (priority, read) in [(json!(7), 7), (json!(1000), 100), (json!("high"), 0)] {
        assert_eq!(
            kanary(json!({}), json!({"priority": priority}), asks.clone()).priority,
            read
        );
    }
}
