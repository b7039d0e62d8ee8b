//! What the controller does most often, with pod templates as large as those of users: `cargo bench --bench paths`.
//!
//! Instructions and allocated bytes repeat, so they are compared with `baseline.txt`: `just bench-gate`. What was changed on
//! purpose is accepted by `just bench-gate --renew`. `just bench-gate --memory` prints only the memory per canary.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed measurement aborts the benchmark"
)]

mod feed;
mod gate;
#[allow(dead_code, reason = "only the tests use the rest")]
#[path = "../../tests/simulation/heard.rs"]
mod heard;
mod memory;
mod paths;
#[allow(dead_code, reason = "only the tests use the rest")]
#[path = "../../tests/simulation/resources.rs"]
mod resources;
mod sample;
#[allow(dead_code, reason = "the rest is compared with other timers")]
#[path = "../ticks.rs"]
mod ticks;
#[allow(dead_code, unused_imports, reason = "only the load tests use the rest")]
#[path = "../../loadtest/src/workload.rs"]
mod workload;
#[allow(dead_code, reason = "only the tests use the rest")]
#[path = "../../tests/simulation/world.rs"]
mod world;

/// Of the load tests, whose manifests are used here.
mod plan {
    #[allow(dead_code, reason = "only the load tests use the rest")]
    #[derive(Clone, Copy)]
    pub(crate) enum Template {
        Small,
        Realistic,
    }
}

use std::{alloc::System, process::ExitCode};

use criterion::Criterion;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The allocator of the program, which counts.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let is_asked = |name: &str| std::env::args().any(|arg| arg == name);
    if is_asked("--count") {
        gate::count();
    } else if is_asked("--memory") {
        println!("{} bytes per canary", memory::per_canary());
    } else if is_asked("--gate") {
        return gate::run(is_asked("--renew"));
    } else {
        let mut criterion = Criterion::default().configure_from_args();
        for (name, mut run) in paths::all() {
            criterion.bench_function(name, |bench| bench.iter(&mut run));
        }
        criterion.final_summary();
    }
    ExitCode::SUCCESS
}
