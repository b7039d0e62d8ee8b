//! Compares instructions and allocated bytes with the baseline.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    hint::black_box,
    path::Path,
    process::{Command, ExitCode},
};

use stats_alloc::Region;

use crate::{ALLOCATOR, memory, paths};

/// The committed figures.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/paths/baseline.txt");

/// How much more than the baseline is too much, in percent.
const TOLERATED: u64 = 10;

/// How often a path runs before it is measured, so that what is done once does not count.
const WARM_UP: u64 = 3;

/// How often it runs then. Once is not enough: the places of keys in hash tables, and of free memory, are chance.
const COUNTED: u64 = 16;
const ALLOCATING: u64 = 80;

const HEAD: &str = "# Written by `just bench-gate --renew`: instructions, allocated bytes, path.\n";

/// Starts the line of the baseline that names the vector instructions of its machine.
const VECTORS: &str = "# Vector instructions: ";

/// Instructions (none for what is only kept in memory) and bytes.
type Figures = (Option<u64>, u64);

/// The vector instructions of this machine. With others, libc copies and compares by other code, so the counts differ.
fn vectors() -> String {
    #[cfg(target_arch = "x86_64")]
    let present = [
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let present: [(&str, bool); 0] = [];
    let names = present.iter().filter(|(_, is_present)| *is_present);
    let names: Vec<_> = names.map(|(name, _)| *name).collect();
    format!("{} {}", std::env::consts::ARCH, names.join(" "))
}

/// Runs every path under valgrind, which counts the instructions of [`measured_path`].
pub(crate) fn count() {
    for (_, mut run) in paths::all() {
        (0..WARM_UP).for_each(|_| run());
        measured_path(&mut *run);
    }
}

/// valgrind knows it by its name.
#[inline(never)]
fn measured_path(run: &mut dyn FnMut()) {
    (0..COUNTED).for_each(|_| run());
    // Not the last call, which would become a jump.
    black_box(());
}

/// The instructions of each path.
fn instructions() -> Vec<u64> {
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join("paths.callgrind");
    let measured = concat!(module_path!(), "::measured_path");
    let valgrind = Command::new("valgrind")
        .args([
            "--quiet",
            "--tool=callgrind",
            "--combine-dumps=yes",
            "--collect-atstart=no",
        ])
        .arg(format!("--toggle-collect={measured}"))
        // A wildcard would not be matched here.
        .arg(format!("--dump-after={measured}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe().unwrap())
        .arg("--count")
        .status()
        .expect("valgrind starts: it must be installed, as by `apt-get install valgrind`");
    assert!(valgrind.success(), "valgrind failed");
    counts(
        &fs::read_to_string(profile).unwrap(),
        &format!("--dump-after={measured}"),
    )
}

/// The instructions in each part of a profile that was written because of this trigger. Another part follows at the end of the
/// program.
fn counts(profile: &str, trigger: &str) -> Vec<u64> {
    let mut is_counted = false;
    let mut counts = Vec::new();
    for line in profile.lines() {
        if let Some(of_part) = line.strip_prefix("desc: Trigger: ") {
            is_counted = of_part == trigger;
        } else if let Some(total) = line.strip_prefix("totals: ").filter(|_| is_counted) {
            counts.push(total.trim().parse::<u64>().unwrap() / COUNTED);
        }
    }
    counts
}

fn measure() -> Vec<(String, Figures)> {
    let measured: Vec<_> = paths::all()
        .into_iter()
        .map(|(name, mut run)| {
            (0..WARM_UP).for_each(|_| run());
            let region = Region::new(ALLOCATOR);
            (0..ALLOCATING).for_each(|_| run());
            let bytes = u64::try_from(region.change().bytes_allocated).unwrap();
            (name.to_owned(), bytes / ALLOCATING)
        })
        .collect();
    let counts = instructions();
    assert_eq!(counts.len(), measured.len(), "valgrind counts each path once");
    let mut figures: Vec<_> = measured
        .into_iter()
        .zip(counts)
        .map(|((name, bytes), count)| (name, (Some(count), bytes)))
        .collect();
    let kept = u64::try_from(memory::per_canary()).unwrap();
    figures.push(("memory per canary".to_owned(), (None, kept)));
    figures
}

/// Measures all, and writes the baseline or compares with it.
pub(crate) fn run(renew: bool) -> ExitCode {
    let measured = measure();
    let vectors = vectors();
    if renew {
        let mut text = format!("{HEAD}{VECTORS}{vectors}\n");
        for (name, (count, bytes)) in &measured {
            let count = count.map_or_else(|| "-".to_owned(), |count| count.to_string());
            writeln!(text, "{count:>12} {bytes:>12}  {name}").unwrap();
        }
        fs::write(BASELINE, &text).unwrap();
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    let text = fs::read_to_string(BASELINE).unwrap();
    let is_comparable = text.lines().any(|line| line.strip_prefix(VECTORS) == Some(&*vectors));
    if !is_comparable {
        println!("Instructions are not compared: this machine has other vector instructions ({vectors}).");
    }
    let baseline = baseline(&text);
    let mut is_good = true;
    for name in baseline.keys() {
        if measured.iter().all(|(known, _)| known != name) {
            println!("{name} is in the baseline and is not measured");
            is_good = false;
        }
    }
    for (name, (count, bytes)) in &measured {
        let Some((former_count, former_bytes)) = baseline.get(name) else {
            println!("{name} is not in the baseline");
            is_good = false;
            continue;
        };
        let counts = former_count
            .filter(|_| is_comparable)
            .zip(*count)
            .map(|(former, count)| (former, count, "instructions"));
        for (former, now, unit) in counts.into_iter().chain([(*former_bytes, *bytes, "bytes")]) {
            is_good &= compare(name, unit, former, now);
        }
    }
    if is_good {
        return ExitCode::SUCCESS;
    }
    println!("If this is the price of something wanted: just bench-gate --renew");
    ExitCode::FAILURE
}

fn baseline(text: &str) -> BTreeMap<String, Figures> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (count, bytes) = (words.next()?.parse().ok(), words.next()?.parse().ok()?);
        Some((words.collect::<Vec<_>>().join(" "), (count, bytes)))
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|text| line(text).unwrap()).collect()
}

/// Prints a figure. Returns whether it is tolerated.
fn compare(name: &str, unit: &str, former: u64, now: u64) -> bool {
    let is_good = now * 100 <= former * (100 + TOLERATED);
    let change = (i128::from(now) - i128::from(former)) * 1000 / i128::from(former.max(1));
    let verdict = if is_good { "" } else { "  TOO MUCH" };
    let (sign, change) = (if change < 0 { '-' } else { '+' }, change.unsigned_abs());
    println!(
        "{name:<34} {now:>10} {unit:<12} {sign}{}.{} %{verdict}",
        change / 10,
        change % 10
    );
    is_good
}
