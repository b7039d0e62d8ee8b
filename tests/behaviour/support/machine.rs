//! Who has the machine: tests share it, and one that measures has it to itself once no other test runs.

use std::sync::{Arc, LazyLock};

use tokio::sync::watch;

/// Tests that share the machine, or -1 for one that has it to itself.
static USERS: LazyLock<watch::Sender<i32>> = LazyLock::new(|| watch::Sender::new(0));

/// A place on the machine, until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Place(#[allow(dead_code, reason = "only its end matters")] Arc<Leave>);

/// What is added to the users when the place is left.
#[derive(Debug)]
struct Leave(i32);

/// Waits until nobody is alone.
pub(crate) async fn share() -> Place {
    enter(|users| users >= 0, 1).await
}

/// Waits until nobody is there. Others go first, so it is the last to run.
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
