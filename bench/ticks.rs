//! The work queue as a large fleet uses it: in each tick a part of the Kanaries is due, which are queued again 20 s later.

use std::time::Duration;

use kanary::queue::Queue;
use kanary_core::{Key, api::KanaryKind};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, advance},
};

const NAMESPACES: u32 = 100;

/// Ticks from one time of a Kanary to the next.
pub(crate) const TICKS: u32 = 80;
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// From a tick to the next time of what is due in it, which is in the middle of a tick.
pub(crate) const LATER: Duration = Duration::from_millis(20_000 - 125);

/// A runtime whose time passes when nothing else is to be done.
pub(crate) fn virtual_time() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// So many Kanaries, and when each is due first.
pub(crate) fn keys(kanaries: u32) -> impl Iterator<Item = (Key, Duration)> {
    (0..kanaries).map(|number| {
        let key = Key {
            kind: KanaryKind::Deployment,
            namespace: format!("namespace-{}", number / TICKS % NAMESPACES),
            name: format!("kanary-{number}"),
        };
        (key, TICK * (number % TICKS) + TICK / 2)
    })
}

/// A queue with so many Kanaries.
pub(crate) fn filled(runtime: &Runtime, kanaries: u32) -> Queue {
    let queue = Queue::default();
    let start = runtime.block_on(async { Instant::now() });
    for (key, at) in keys(kanaries) {
        queue.push_at(key, start + at);
    }
    queue
}

/// One tick of a queue with so many Kanaries.
pub(crate) async fn tick(queue: &Queue, kanaries: u32) {
    advance(TICK).await;
    let mut due = 0;
    while due < kanaries / TICKS {
        for key in queue.ready().await {
            due += 1;
            queue.done(&key, Some(Instant::now() + LATER));
        }
    }
}
