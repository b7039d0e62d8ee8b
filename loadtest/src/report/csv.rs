//! CSV files.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::summary::Summary;
use crate::{figures::Spread, replicas::KANARY, run::Run};

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.4}"))
}

fn spread(spread: Option<Spread>) -> [String; 3] {
    [
        number(spread.map(|s| s.p50)),
        number(spread.map(|s| s.p99)),
        number(spread.map(|s| s.max)),
    ]
}

const COLUMNS: &str = "scenario,run,operator,canaries,replicas,promoted,failed,unfinished,seconds,\
      start_p50,start_p99,start_max,start_from_arrival_p50,start_from_arrival_p99,start_from_arrival_max,\
      promotion_p50,promotion_p99,promotion_max,\
      promotion_from_arrival_p50,promotion_from_arrival_p99,promotion_from_arrival_max,\
      verdict_p50,verdict_p99,verdict_max,earliest_verdict,\
      cpu_api_server,cpu_etcd,cpu_controllers,cpu_kanary,cpu_generator,\
      memory_kanary_idle,memory_kanary_peak,memory_api_server_peak,\
      reads,writes,events,watches,leases_per_second,refused,queries,queries_per_interval,\
      write_p99,throttled,full_seconds,api_server_peak_cores,other_cores,saturated";

/// One line for each run. Delays are in seconds, memory in bytes, CPU in seconds per canary.
pub(super) fn summaries(summaries: &[Summary]) -> String {
    let lines = summaries.iter().map(|summary| fields(summary).join(","));
    let mut text = std::iter::once(COLUMNS.to_owned())
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n");
    text.push('\n');
    text
}

fn fields(summary: &Summary) -> Vec<String> {
    let kanary = summary.totals.get(KANARY).copied().unwrap_or_default();
    let api_server = summary.totals.get("kube-apiserver").copied().unwrap_or_default();
    let mut fields = vec![
        summary.scenario.to_owned(),
        format!("\"{}\"", summary.label),
        summary.operator.name().to_owned(),
    ];
    let counts = [
        summary.canaries,
        summary.replicas,
        summary.promoted,
        summary.failed,
        summary.unfinished,
    ];
    fields.extend(counts.map(|count| count.to_string()));
    fields.push(number(Some(summary.seconds)));
    for delays in [
        summary.start,
        summary.start_from_arrival,
        summary.promotion,
        summary.promotion_from_arrival,
        summary.verdict,
    ] {
        fields.extend(spread(delays));
    }
    fields.push(number(summary.earliest_verdict));
    let cpu = [
        summary.cpu_of("kube-apiserver"),
        summary.cpu_of("etcd"),
        summary.cpu_of_controllers(),
        summary.cpu_of(KANARY),
        summary.cpu_of(crate::run::GENERATOR),
    ];
    fields.extend(cpu.map(|cpu| number(Some(cpu))));
    fields.extend([kanary.idle, kanary.peak, api_server.peak].map(|bytes| bytes.to_string()));
    fields.extend([summary.reads, summary.writes, summary.events].map(|each| number(Some(each))));
    fields.push(summary.watches.to_string());
    fields.push(number(Some(summary.leases_per_second)));
    fields.push(summary.refused.to_string());
    fields.extend([summary.queries_per_canary, summary.queries_per_interval].map(|each| number(Some(each))));
    fields.push(number(summary.write_p99));
    let load = [
        summary.throttled,
        summary.full_seconds,
        summary.api_server_peak,
        summary.others,
    ];
    fields.extend(load.map(|value| number(Some(value))));
    fields.push((!summary.saturation.is_empty()).to_string());
    fields
}

/// One line for each canary: seconds since the first arrival.
pub(super) fn canaries(runs: &[Run]) -> String {
    let mut text = String::from(
        "run,canary,intended,created,canary_created,available,deadline,verdict,promoted,ended,cleaned,failure\n",
    );
    for run in runs {
        for (index, canary) in run.canaries.iter().enumerate() {
            let since = |at: Option<Timestamp>| number(at.map(|at| at.duration_since(run.begin).as_secs_f64()));
            let times = [
                canary.intended,
                canary.created,
                canary.started,
                canary.available,
                canary.deadline,
                canary.verdict,
                canary.promoted,
                canary.ended,
                canary.cleaned,
            ];
            let failure = canary.failure.as_deref().unwrap_or_default().replace('"', "\"\"");
            let times = times.map(since).join(",");
            let _infallible = writeln!(text, "{},{index},{times},\"{failure}\"", run.part.number + 1);
        }
    }
    text
}

/// One line for each process and second.
pub(super) fn samples(runs: &[Run]) -> String {
    let mut text = String::from("run,seconds,process,cores,memory_bytes\n");
    for run in runs {
        for sample in &run.samples {
            let (at, cores) = (sample.at, sample.cores);
            let _infallible = writeln!(
                text,
                "{},{at:.1},{},{cores:.3},{}",
                run.part.number + 1,
                sample.process,
                sample.memory
            );
        }
    }
    text
}
