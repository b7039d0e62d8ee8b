//! Scheduling of the tests on this machine: most tests share it, and a test that measures waits until it can run alone.

use std::sync::{Arc, LazyLock};

use tokio::sync::watch;

/// Number of tests that share the machine, or -1 while a test runs alone.
static USERS: LazyLock<watch::Sender<i32>> = LazyLock::new(|| watch::Sender::new(0));

/// A reservation of the machine, which ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Place(#[allow(dead_code, reason = "kept for its Drop")] Arc<Leave>);

/// The value to add to the number of users at the end of the reservation.
#[derive(Debug)]
struct Leave(i32);

/// Waits until no test runs alone.
pub(crate) async fn share() -> Place {
    enter(|users| users >= 0, 1).await
}

/// Waits until no other test runs. Tests that share the machine go first.
pub(crate) async fn alone() -> Place {
    enter(|users| users == 0, -1).await
}

async fn enter(may: impl Fn(i32) -> bool, add: i32) -> Place {
    let mut users = USERS.subscribe();
    loop {
        let entered = USERS.send_if_modified(|users| {
            let enters = may(*users);
            *users += if enters { add } else { 0 };
            enters
        });
        if entered {
            return Place(Arc::new(Leave(-add)));
        }
        let changed = users.wait_for(|users| may(*users)).await;
        changed.expect("the sender lives as long as the process");
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        USERS.send_modify(|users| *users += self.0);
    }
}
