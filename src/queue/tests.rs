use std::time::Duration;

use kanary_core::api::KanaryKind;

use super::{
    schedule::{SPARE, Started, TURNS, WORKERS},
    *,
};

fn key(name: &str) -> Key {
    key_in("n", name)
}

pub(super) fn key_in(namespace: &str, name: &str) -> Key {
    Key {
        kind: KanaryKind::Deployment,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn the_earliest_wish_for_a_key_wins() {
    let queue = Queue::default();
    let start = Instant::now();
    queue.push_at(key("a"), after(500));
    queue.push_at(key("a"), after(200));
    queue.push_at(key("a"), after(900));
    assert_eq!(queue.depth().queued, 1);
    queue.ready().await;
    assert_eq!(start.elapsed(), Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_key_never_has_two_turns_and_comes_again_when_pushed_meanwhile() {
    let queue = Queue::default();
    queue.push(key("a"));
    queue.push_at(key("b"), after(10));
    assert_eq!(queue.ready().await, [key("a")]);
    queue.push(key("a"));
    assert_eq!(queue.ready().await, [key("b")], "a has a turn");
    queue.done(&key("a"), None);
    assert_eq!(queue.ready().await, [key("a")]);
    queue.done(&key("a"), None);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_asks_for_a_wake_gets_it_on_time() {
    let queue = Queue::default();
    queue.push(key("a"));
    let start = Instant::now();
    queue.ready().await;
    queue.done(&key("a"), Some(after(300)));
    queue.ready().await;
    assert_eq!(start.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn no_key_is_early_or_more_than_a_tick_late_and_all_of_a_tick_come_together() {
    let queue = Queue::default();
    let (start, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
    let mut times = std::collections::HashMap::new();
    for number in 0..2_000_u32 {
        let key = key_in(&format!("ns-{}", number % 400), &format!("k-{number}"));
        // Most keys share a time with others, as after a takeover.
        let at = start + Duration::from_micros(rng.u64(..4_000)) * 1_000;
        times.insert(key.clone(), at);
        queue.push_at(key, at);
    }
    let mut former = start;
    while !times.is_empty() {
        let (keys, now) = (queue.ready().await, Instant::now());
        assert!(
            now > former || times.len() + keys.len() == 2_000,
            "one tick yields all that is due"
        );
        former = now;
        for key in keys {
            let at = times.remove(&key).unwrap();
            assert!(
                at <= now && now - at <= Duration::from_millis(1),
                "{key}: {:?}",
                now - at
            );
            queue.done(&key, None);
        }
    }
    assert!(start.elapsed() >= Duration::from_secs(3));
}

/// Starts whatever may start, and returns the namespaces in the order of their turns.
fn start(schedule: &mut Schedule, now: Instant) -> Vec<String> {
    let started = schedule.start(now, &mut Happened::default());
    started.into_iter().map(|Started { key, .. }| key.namespace).collect()
}

fn push(schedule: &mut Schedule, namespace: &str, count: usize, now: Instant) {
    for number in 0..count {
        schedule.push(key_in(namespace, &format!("{number:04}")), now);
    }
}

#[test]
fn a_namespace_with_one_key_does_not_wait_for_one_with_thousands() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    push(&mut schedule, "many", 5_000, now);
    push(&mut schedule, "one", 1, now + Duration::from_millis(1));
    let started = start(&mut schedule, now + Duration::from_millis(1));
    assert_eq!(started.iter().position(|namespace| namespace == "one"), Some(1));
    assert_eq!(
        started.len(),
        WORKERS,
        "the other workers are for namespaces without one"
    );
    push(&mut schedule, "other", 1, now);
    assert_eq!(start(&mut schedule, now), ["other"]);
}

#[test]
fn a_namespace_alone_uses_all_workers() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    push(&mut schedule, "alone", 1_000, now);
    assert_eq!(start(&mut schedule, now).len(), WORKERS);
    for number in 0..10 {
        schedule.done(&key_in("alone", &format!("{number:04}")), None, now);
    }
    assert_eq!(start(&mut schedule, now).len(), 10);
}

/// Namespaces whose turns never end. Returns when the turn of another one starts that becomes due every 100 ms, for a minute.
fn waits_beside(hostile: usize) -> Vec<Duration> {
    let (mut schedule, begin) = (Schedule::default(), Instant::now());
    for number in 0..hostile {
        push(&mut schedule, &format!("hangs-{number}"), 500, begin);
    }
    let (good, mut waits) = (key_in("good", "a"), Vec::new());
    let mut pushed = None;
    for millis in 0..60_000 {
        let now = begin + Duration::from_millis(millis);
        if millis % 100 == 0 && pushed.is_none() {
            schedule.push(good.clone(), now);
            pushed = Some(now);
        }
        // Each call hangs for ten seconds, and is repeated at once.
        let ended: Vec<_> = schedule.turns_older_than(Duration::from_secs(10), now);
        for key in ended {
            schedule.done(&key, Some(now), now);
        }
        if start(&mut schedule, now).contains(&good.namespace) {
            waits.push(now - pushed.take().unwrap());
            schedule.done(&good, None, now);
        }
    }
    assert!(schedule.turns() <= TURNS);
    waits
}

#[test]
fn namespaces_whose_turns_hang_do_not_make_others_wait() {
    for hostile in [1, 2, 5, 20, 100] {
        let waits = waits_beside(hostile);
        let longest = waits.iter().max().unwrap();
        // When more namespaces than there are workers begin to hang at the same time, others wait until these are slow.
        let begin = SLOW * u32::try_from(hostile / (WORKERS + SPARE)).unwrap();
        assert!(*longest <= begin && waits.len() > 570, "{hostile}: {longest:?}");
        let waited = waits.iter().filter(|wait| !wait.is_zero()).count();
        assert!(waited <= 1, "{hostile}: {waited}");
    }
}

#[test]
fn slow_turns_and_namespaces_that_are_passed_over_are_counted_once() {
    let (mut schedule, now, mut happened) = (Schedule::default(), Instant::now(), Happened::default());
    push(&mut schedule, "hangs", 100, now);
    for millis in [0, 100, 499, 500, 600, 5_000] {
        schedule.start(now + Duration::from_millis(millis), &mut happened);
    }
    let expected = Happened { slowed: 32, held: 1 };
    assert_eq!(happened, expected);
    let depth = schedule.depth(now + SLOW);
    assert_eq!((depth.queued, depth.due, depth.turns, depth.slow), (68, 68, 32, 32));
}

#[test]
fn a_namespace_with_a_few_keys_has_spare_workers_beside_namespaces_that_hang() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    for number in 0..40 {
        push(&mut schedule, &format!("hangs-{number}"), 10, now);
    }
    start(&mut schedule, now);
    start(&mut schedule, now + SLOW);
    assert_eq!(
        schedule.ordinary(),
        WORKERS,
        "these hang as well, and take no spare worker"
    );
    push(&mut schedule, "good", 10, now + SLOW);
    assert_eq!(start(&mut schedule, now + SLOW), ["good"; SPARE / 2]);
    push(&mut schedule, "other", 1, now + SLOW);
    assert_eq!(start(&mut schedule, now + SLOW), ["other"]);
}
