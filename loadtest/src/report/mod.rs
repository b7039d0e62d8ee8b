//! Results: CSV, Markdown and SVG.

mod csv;
mod markdown;
mod summary;
mod svg;

use std::{fs, process::Command};

use anyhow::Context;

use self::summary::Summary;
use crate::{plan::Plan, run::Run};

/// The machine and the tree that were measured.
#[derive(Debug)]
struct Machine {
    cores: usize,
    /// Total memory in bytes.
    memory: u64,
    processor: String,
    kernel: String,
    commit: String,
}

impl Machine {
    fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
                .unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kibibytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kibibytes * 1024,
            processor: field(&read("/proc/cpuinfo"), "model name"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit().unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// The commit of the tree, and whether its files were changed.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let ran = Command::new("git")
            .args(arguments)
            .output()
            .ok()
            .filter(|ran| ran.status.success())?;
        Some(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if changed {
        format!("{commit} with changes")
    } else {
        commit
    })
}

/// Writes all files, and prints the Markdown.
pub(crate) fn write(plan: &Plan, runs: &[Run]) -> anyhow::Result<()> {
    let machine = Machine::this();
    let summaries: Vec<_> = runs.iter().map(|run| Summary::of(plan, run, machine.cores)).collect();
    let text = markdown::text(plan, &machine, runs, &summaries);
    fs::create_dir_all(&plan.results)?;
    for (suffix, content) in [
        (".md", &text),
        (".csv", &csv::summaries(&summaries)),
        ("-canaries.csv", &csv::canaries(runs)),
        ("-samples.csv", &csv::samples(runs)),
        (".svg", &svg::plot(runs, &summaries)),
    ] {
        let file = plan.results.join(format!("{}{suffix}", plan.name));
        fs::write(&file, content).with_context(|| file.display().to_string())?;
        eprintln!("loadtest: wrote {}", file.display());
    }
    println!("{text}");
    Ok(())
}
