//! What the controller keeps in memory for a canary in its validation.

use std::time::Duration;

use tokio::time::sleep;

use crate::{ALLOCATOR, sample::in_validation, ticks::virtual_time, world::Wrong};

/// Number of canaries. The tables that grow by doubling are then nearly full.
const CANARIES: usize = 110;

/// Allocated bytes per canary: of the cache, the state of the run, the queue, and all else that belongs to the controller.
pub(crate) fn per_canary() -> usize {
    let without = freed(0);
    (freed(CANARIES) - without) / CANARIES
}

/// The bytes that are freed when a controller with so many canaries ends.
fn freed(canaries: usize) -> usize {
    fastrand::seed(1);
    virtual_time().block_on(async {
        let (_world, controller) = in_validation(canaries, &Wrong::default()).await;
        let before = allocated();
        controller.terminate().await;
        // Its last tasks are dropped when the runtime gets to them.
        sleep(Duration::from_millis(1)).await;
        before - allocated()
    })
}

/// The bytes that are allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
