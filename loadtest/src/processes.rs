//! CPU time and memory of processes, from /proc.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

/// Allows as many open files as the system permits: each connection is one.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // The limit may be fixed. Then a run that needs more files reports the error.
    let _kept = setrlimit(Resource::Nofile, raised);
}

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// CPU time in seconds, user and system.
    pub(crate) cpu: f64,
    /// Resident memory in bytes.
    pub(crate) memory: u64,
}

/// Reads `/proc/PID/stat`. None if the process is gone.
fn usage(pid: u32) -> Option<Usage> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Usage> {
    // The name of the program, in brackets, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    Some(Usage {
        cpu: ticks as f64 / clock_ticks_per_second() as f64,
        memory: number(21)? * page_size() as u64,
    })
}

/// CPU time of the whole machine in ticks: all, and idle.
fn machine() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let numbers: Vec<u64> = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // Guest time, which comes after the first eight, is part of the user time.
    let all = numbers.iter().take(8).sum();
    Some((all, numbers.get(3)? + numbers.get(4)?))
}

/// One process during one period between two samples.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// End of the period, in seconds since the start of the recording.
    pub(crate) at: f64,
    pub(crate) process: String,
    /// CPU time divided by real time.
    pub(crate) cores: f64,
    pub(crate) memory: u64,
}

/// Name of the sample that is the whole machine.
pub(crate) const MACHINE: &str = "machine";

#[derive(Debug)]
struct Tracked {
    name: String,
    pid: u32,
    first: Usage,
    last: Usage,
    peak: u64,
}

#[derive(Debug)]
struct State {
    tracked: Vec<Tracked>,
    samples: Vec<Sample>,
    begin: Instant,
    before: Instant,
    machine: Option<(u64, u64)>,
}

/// Total of one process, or of all processes with the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Total {
    /// CPU time in seconds during the recording.
    pub(crate) cpu: f64,
    /// Memory at the start of the recording, of the largest process.
    pub(crate) idle: u64,
    /// Peak memory of the largest process.
    pub(crate) peak: u64,
}

/// Records processes once a second.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Arc<Mutex<State>>);

/// Ends the samples when it is dropped.
pub(crate) struct Sampling(AbortHandle);

impl Drop for Sampling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            tracked: Vec::new(),
            samples: Vec::new(),
            begin: now,
            before: now,
            machine: machine(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a process that existed before the recording.
    pub(crate) fn track(&self, name: &str, pid: u32) {
        if let Some(first) = usage(pid) {
            let name = name.to_owned();
            self.state().tracked.push(Tracked {
                name,
                pid,
                first,
                last: first,
                peak: first.memory,
            });
        }
    }

    /// Records a process that was started during the recording: all its CPU time counts.
    pub(crate) fn track_new(&self, name: &str, pid: u32) {
        let (name, none) = (name.to_owned(), Usage::default());
        self.state().tracked.push(Tracked {
            name,
            pid,
            first: none,
            last: none,
            peak: 0,
        });
    }

    /// Begins the recording: what was used before does not count.
    pub(crate) fn begin(&self) -> Sampling {
        let mut state = self.state();
        for tracked in &mut state.tracked {
            if let Some(now) = usage(tracked.pid) {
                (tracked.first, tracked.last, tracked.peak) = (now, now, now.memory);
            }
        }
        state.begin = Instant::now();
        state.before = state.begin;
        state.machine = machine();
        drop(state);
        let recorder = self.clone();
        let task = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                recorder.sample();
            }
        });
        Sampling(task.abort_handle())
    }

    /// Takes a sample now, such as before a process is killed.
    pub(crate) fn sample(&self) {
        let mut state = self.state();
        let now = Instant::now();
        let lasted = now.duration_since(state.before).as_secs_f64().max(0.001);
        let at = now.duration_since(state.begin).as_secs_f64();
        let mut samples = Vec::new();
        for tracked in &mut state.tracked {
            let Some(used) = usage(tracked.pid) else { continue };
            let cores = (used.cpu - tracked.last.cpu) / lasted;
            tracked.last = used;
            tracked.peak = tracked.peak.max(used.memory);
            samples.push(Sample {
                at,
                process: tracked.name.clone(),
                cores,
                memory: used.memory,
            });
        }
        let after = machine();
        if let (Some(before), Some(after)) = (state.machine, after) {
            let busy = |(all, idle): (u64, u64)| all.saturating_sub(idle);
            let ticks = busy(after).saturating_sub(busy(before)) as f64;
            let cores = ticks / clock_ticks_per_second() as f64 / lasted;
            samples.push(Sample {
                at,
                process: MACHINE.to_owned(),
                cores,
                memory: 0,
            });
        }
        state.machine = after;
        state.before = now;
        state.samples.extend(samples);
    }

    /// All samples so far.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.state().samples.clone()
    }

    /// Totals by name.
    pub(crate) fn totals(&self) -> BTreeMap<String, Total> {
        let mut totals = BTreeMap::<_, Total>::new();
        for tracked in &self.state().tracked {
            let total = totals.entry(tracked.name.clone()).or_default();
            total.cpu += tracked.last.cpu - tracked.first.cpu;
            total.idle = total.idle.max(tracked.first.memory);
            total.peak = total.peak.max(tracked.peak);
        }
        totals
    }
}

/// Share of the machine that was busy while `wait` passed, from 0 to 1.
pub(crate) async fn busy_during(wait: Duration) -> f64 {
    let before = machine();
    tokio::time::sleep(wait).await;
    let (Some((all_before, idle_before)), Some((all, idle))) = (before, machine()) else {
        return 0.0;
    };
    let passed = all.saturating_sub(all_before).max(1) as f64;
    1.0 - idle.saturating_sub(idle_before) as f64 / passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_contain_anything() {
        let fields: Vec<_> = (3..=30).map(|field| field.to_string()).collect();
        let stat = format!("42 (a) b (c) {}", fields.join(" "));
        let expected = Usage {
            cpu: 29.0 / clock_ticks_per_second() as f64,
            memory: 24 * page_size() as u64,
        };
        assert_eq!(parse(&stat), Some(expected));
    }

    #[test]
    fn this_process_can_be_recorded() {
        let recorder = Recorder::new();
        recorder.track("self", std::process::id());
        recorder.track("nobody", u32::MAX);
        recorder.sample();
        let names: Vec<_> = recorder.samples().into_iter().map(|sample| sample.process).collect();
        assert_eq!(names, ["self", MACHINE]);
        assert!(recorder.totals()["self"].peak > 0);
    }
}
