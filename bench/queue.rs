//! What timers cost with 100,000 entries: the work queue, an ordered set, and tokio-util's `DelayQueue`.
//!
//! An iteration is one tick of 250 ms in which 1,250 Kanaries are due, as with 100,000 Kanaries and a check every 20 s. Each
//! is taken and queued again 20 s later.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a failed measurement aborts the benchmark"
)]

mod ticks;

use std::{
    collections::{BTreeSet, HashMap},
    hint::black_box,
    time::Duration,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use ticks::{LATER, TICK, TICKS, keys, tick, virtual_time};
use tokio::time::{Instant, advance};
use tokio_util::time::DelayQueue;

const KANARIES: u32 = 100_000;
const INTERVAL: Duration = Duration::from_secs(20);
const DUE: u32 = KANARIES / TICKS;

fn queue(bench: &mut Criterion) {
    let runtime = virtual_time();
    let queue = ticks::filled(&runtime, KANARIES);
    let mut group = bench.benchmark_group("tick of 1,250 among 100,000");
    group.throughput(Throughput::Elements(DUE.into()));
    group.bench_function("queue", |bench| {
        bench.iter(|| runtime.block_on(tick(&queue, KANARIES)));
    });
    group.bench_function("ordered set", |bench| {
        let start = Instant::now();
        let mut waiting: BTreeSet<_> = keys(KANARIES).map(|(key, at)| (start + at, key)).collect();
        let mut times: HashMap<_, _> = waiting.iter().map(|(at, key)| (key.clone(), *at)).collect();
        let mut now = start;
        bench.iter(|| {
            now += TICK;
            while waiting.first().is_some_and(|(at, _)| *at <= now) {
                let (at, key) = waiting.pop_first().unwrap();
                times.remove(&key);
                times.insert(key.clone(), at + INTERVAL);
                waiting.insert((at + INTERVAL, black_box(key)));
            }
        });
    });
    group.bench_function("DelayQueue", |bench| {
        let mut waiting = runtime.block_on(async { DelayQueue::with_capacity(KANARIES as usize) });
        let mut times = HashMap::new();
        runtime.block_on(async {
            for (key, at) in keys(KANARIES) {
                let token = waiting.insert(key.clone(), at);
                times.insert(key, token);
            }
        });
        bench.iter(|| {
            runtime.block_on(async {
                advance(TICK).await;
                for _ in 0..DUE {
                    let key = waiting.next().await.unwrap().into_inner();
                    times.remove(&key);
                    let token = waiting.insert(key.clone(), LATER);
                    times.insert(black_box(key), token);
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, queue);
criterion_main!(benches);
