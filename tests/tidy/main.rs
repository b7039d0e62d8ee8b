//! The tree keeps its own rules.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot read the tree has failed"
)]

mod order;

use std::{
    fs,
    path::{Path, PathBuf},
};

use kanary::webhook::PATH;
use kanary_core::{
    api::{KanaryKind, names::GROUP},
    convert::{Conversion, Version},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// A file without comment lines.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_crds_in_the_tree_are_the_generated_ones() {
    let conversion = Conversion::by_service("kanary-system", "kanary-conversion", PATH, Version::V1Alpha1);
    let of_group = KanaryKind::ALL.into_iter().filter(|kind| kind.api_group() == GROUP);
    let folders = [
        ("crds", KanaryKind::ALL.to_vec(), None),
        ("crds/conversion", of_group.collect(), Some(conversion)),
    ];
    let generated = folders.into_iter().flat_map(|(folder, kinds, conversion)| {
        let crds = match conversion {
            None => kanary_core::api::crds(&kinds),
            Some(conversion) => kanary_core::convert::crds(&kinds, &conversion),
        };
        kinds.into_iter().zip(crds).map(move |(kind, crd)| (folder, kind, crd))
    });
    for (folder, kind, crd) in generated {
        let file = root().join(folder).join(format!("{}.yaml", kind.resource()));
        let stored = fs::read_to_string(&file).unwrap();
        let generated = serde_yaml_ng::to_string(&crd).unwrap();
        assert!(
            stored == generated,
            "{} is out of date: run `just generate`",
            file.display()
        );
    }
}

/// The compiler already keeps tokio and kube's client out of the core, because it does not depend on them. std is always
/// available.
#[test]
fn the_core_does_no_input_or_output() {
    let banned = [
        "async ",
        ".await",
        "Timestamp::now",
        "Zoned::now",
        "std::time::Instant",
        "SystemTime",
        "std::fs",
        "std::env",
        "std::net",
        "std::thread",
    ];
    for file in sources(&root().join("core/src")) {
        let code = code(&file);
        for word in banned {
            assert!(!code.contains(word), "{} contains `{word}`", file.display());
        }
    }
    let manifest = fs::read_to_string(root().join("core/Cargo.toml")).unwrap();
    for dependency in ["tokio", "kube ", "kube.", "tracing", "fastrand"] {
        assert!(
            !manifest.lines().any(|line| line.starts_with(dependency)),
            "the core depends on {dependency}"
        );
    }
}

#[test]
fn only_act_writes_to_the_cluster() {
    let writes = [
        ".create(",
        ".patch(",
        ".patch_status(",
        ".delete(",
        ".delete_collection(",
        ".replace_status(",
    ];
    for file in sources(&root().join("src")) {
        // Tests act as users as well.
        let folders = [
            "src/reconcile/act",
            "src/cache/watch/tests",
            "src/shard/serve/tests.rs",
            "src/webhook/tests.rs",
        ];
        let folders = folders.map(|folder| root().join(folder));
        // Coordination of replicas and the conversion webhook, which are separate from the actions for runs.
        let files = [
            "src/places/map.rs",
            "src/reconcile/act.rs",
            "src/shard/label.rs",
            "src/shard/leases.rs",
            "src/shard/map.rs",
            "src/webhook/secret.rs",
            "src/webhook/trust.rs",
        ];
        let may =
            folders.iter().any(|folder| file.starts_with(folder)) || files.iter().any(|name| file.ends_with(name));
        let code = code(&file);
        for call in writes.iter().filter(|_| !may && code.contains("kube::")) {
            assert!(!code.contains(call), "{} calls `{call}`", file.display());
        }
    }
}

/// A simulation has its own clock and random generator, and one seed produces one history.
#[test]
fn time_and_chance_come_from_where_a_simulation_can_set_them() {
    let banned = [
        "SystemTime",
        "std::time::Instant",
        "Timestamp::now",
        "Zoned::now",
        // Wakes waiters in a random order.
        "sync::watch",
    ];
    let folders = ["src", "core/src", "demo/src"].map(|folder| root().join(folder));
    for file in folders.iter().flat_map(|folder| sources(folder)) {
        let code = code(&file).replace("Self::from_source(Timestamp::now)", "");
        // The only place that relates virtual time to real time.
        let is_pace = file.ends_with("demo/src/pace.rs");
        for word in banned {
            let may = is_pace && word == "std::time::Instant";
            assert!(may || !code.contains(word), "{} contains `{word}`", file.display());
        }
        for (at, select) in code.match_indices("select! {") {
            let biased = code[at + select.len()..].trim_start().starts_with("biased;");
            assert!(biased, "{} has a `select!` with a random order", file.display());
        }
    }
}

/// Every Rust file in the tree.
fn all_sources() -> Vec<PathBuf> {
    let folders = [
        "src",
        "core/src",
        "tests",
        "bench",
        "dataplane",
        "demo",
        "loadtest",
        "plugin",
        "sim/src",
    ]
    .map(|folder| root().join(folder));
    folders.iter().flat_map(|folder| sources(folder)).collect()
}

#[test]
fn files_stay_of_a_readable_size() {
    let is_long = |file: &PathBuf| fs::read_to_string(file).unwrap().lines().count() > 400;
    let long: Vec<_> = all_sources().into_iter().filter(is_long).collect();
    assert_eq!(long, Vec::<PathBuf>::new());
}

#[test]
fn no_test_is_ignored() {
    let word = concat!("#[", "ignore");
    for file in all_sources() {
        assert!(!fs::read_to_string(&file).unwrap().contains(word), "{}", file.display());
    }
}

/// A command of the guide that looks for a line of the log finds it.
#[test]
fn the_guide_for_operators_looks_for_lines_that_are_logged() {
    let code: String = sources(&root().join("src"))
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let guide = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let patterns = guide.split("grep ").skip(1).filter_map(|rest| {
        let (options, rest) = rest.split_once('\'')?;
        (!options.contains('\n')).then(|| rest.split('\'').next())?
    });
    let texts: Vec<_> = patterns.flat_map(|pattern| pattern.split('|')).collect();
    assert!(texts.len() > 8, "{texts:?}");
    for text in texts {
        assert!(code.contains(text), "nothing logs {text}");
    }
}

/// The operators' guide documents every environment variable and every metric.
#[test]
fn the_guide_for_operators_lists_every_variable_and_every_metric() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let guide = read("docs/operations.md");
    for part in read("src/cli.rs").split("env = \"").skip(1) {
        let variable = part.split('"').next().unwrap();
        assert!(guide.contains(&format!("`{variable}`")), "{variable} is not listed");
    }
    let mut metrics = 0;
    for file in sources(&root().join("src/metrics")) {
        for part in fs::read_to_string(file).unwrap().split("registry.register(").skip(1) {
            let metric = part.split('"').nth(1).unwrap();
            let listed = ["", "_total"].map(|suffix| guide.contains(&format!("`kanary_{metric}{suffix}`")));
            assert!(listed.contains(&true), "{metric} is not listed");
            metrics += 1;
        }
    }
    assert!(metrics > 30, "only {metrics} metrics were found");
}
