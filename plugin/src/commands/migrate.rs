//! `kubectl kanary migrate`: Kanaries of the group `kanary.k8s.io`, or of the operator of 2019, as Kanaries of today.

mod moving;
mod rewrite;
mod standing;
#[cfg(test)]
mod tests;

use anyhow::{bail, ensure};
use kanary_core::api::{Kanary, KanaryKind};
use kube::ResourceExt;
use serde_json::{Value, json};

use self::{
    moving::{Move, Moved},
    rewrite::{Rewritten, rewrite},
};
use crate::{
    check::Checker,
    cluster::{Cluster, Connection},
    exit::Exit,
    manifests::{self, Format},
    terminal::print,
};

/// Replace Kanaries of the group kanary.k8s.io by Kanaries of kanary.k8s-operators.dev, or rewrite manifests. Their Deployments stay
/// as they are. Without --apply, it says what it would do.
#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    /// Names of Kanaries of the group kanary.k8s.io [default: all].
    #[arg(value_name = "NAME", conflicts_with = "filename")]
    names: Vec<String>,
    /// Kanaries of all namespaces.
    #[arg(long, short = 'A', conflicts_with_all = ["namespace", "names", "filename"])]
    all_namespaces: bool,
    /// Do it.
    #[arg(long, conflicts_with = "filename")]
    apply: bool,
    /// Rewrite these files instead, YAML or JSON, and print the result. `-` is standard input. No cluster is needed.
    #[arg(long, short = 'f', value_name = "FILE")]
    filename: Vec<String>,
    /// Output format with -f.
    #[arg(
        long,
        short = 'o',
        value_enum,
        default_value = "yaml",
        value_name = "FORMAT",
        requires = "filename"
    )]
    output: Format,
}

pub(crate) async fn migrate(options: &Migrate, connection: &Connection) -> anyhow::Result<Exit> {
    if options.filename.is_empty() {
        in_cluster(&Cluster::connect(connection).await?, options).await
    } else {
        in_files(options).await
    }
}

/// Rewrites files. Documents that need no change are printed as they are.
async fn in_files(options: &Migrate) -> anyhow::Result<Exit> {
    let (checker, mut text, mut found, mut is_valid) = (Checker::new()?, String::new(), 0, true);
    for manifest in manifests::read(&options.filename)? {
        let mut object = manifest.object.clone();
        if rewrite::is_known(&object) {
            found += 1;
            let title = manifest.title();
            let Rewritten { kanary, changes } = rewrite(&object);
            for change in changes {
                eprintln!("{title}: {change}");
            }
            for problem in checker.check(KanaryKind::Deployment, &kanary).await.problems {
                is_valid = false;
                eprintln!("{title}: this has to be corrected by hand: {problem}");
            }
            object = kanary;
        }
        let same = manifest.source.filter(|_| object == manifest.object);
        let written = match (options.output, same) {
            (Format::Json, _) => options.output.write(&object)?,
            (Format::Yaml, None) => format!("---\n{}", options.output.write(&object)?),
            (Format::Yaml, Some(source)) => as_written(&source),
        };
        text += &written;
    }
    if found == 0 {
        bail!("there is no KanaryDeployment in {}", options.filename.join(", "));
    }
    print(&text)?;
    Ok(if is_valid { Exit::Done } else { Exit::Failed })
}

/// A document of a file as one of several.
fn as_written(source: &str) -> String {
    let separator = if source.starts_with("---") { "" } else { "---\n" };
    let end = if source.ends_with('\n') { "" } else { "\n" };
    format!("{separator}{source}{end}")
}

async fn in_cluster(cluster: &Cluster, options: &Migrate) -> anyhow::Result<Exit> {
    let (all, unfinished) = (wanted(cluster, options).await?, unfinished(cluster, options).await?);
    if all.is_empty() && unfinished.is_empty() {
        eprintln!("There is nothing to migrate.");
        return Ok(Exit::Done);
    }
    let checker = Checker::new()?;
    let mut exit = Exit::Done;
    for new in &unfinished {
        // Also one that was created again: two Kanaries must not act at the same time.
        let is_old_there = all.iter().any(|old| title(old) == title(new));
        if is_old_there {
            continue;
        }
        let what = title(new);
        if options.apply {
            moving::finish(cluster, new).await?;
            print(&format!("{what}: migrated: the command had been interrupted\n"))?;
        } else {
            print(&format!(
                "{what}: would be finished: the command had been interrupted\n"
            ))?;
        }
    }
    for old in all {
        let (what, planned) = (title(&old), Move::plan(cluster, &checker, old).await?);
        print(&said(&what, &planned, options.apply))?;
        let moved = match &planned {
            Move::Blocked(_) => Exit::Failed,
            Move::Waits(_) => Exit::Unfinished,
            Move::Ready(ready) if options.apply => match ready.apply(cluster).await? {
                Moved::Done => {
                    print(&format!("{what}: migrated\n"))?;
                    Exit::Done
                }
                Moved::Stopped(why) => {
                    print(&format!("{what}: stopped: {why}; run the command again\n"))?;
                    Exit::Unfinished
                }
            },
            Move::Ready(_) => Exit::Done,
        };
        exit = worse(exit, moved);
    }
    if !options.apply {
        eprintln!("Nothing was changed: --apply does it.");
    }
    Ok(exit)
}

/// A problem counts more than a run that goes on.
fn worse(one: Exit, other: Exit) -> Exit {
    match (one, other) {
        (Exit::Failed, _) | (_, Exit::Failed) => Exit::Failed,
        (Exit::Unfinished, _) | (_, Exit::Unfinished) => Exit::Unfinished,
        _ => Exit::Done,
    }
}

fn title(kanary: &Kanary) -> String {
    format!("{}/{}", kanary.namespace().unwrap_or_default(), kanary.name_any())
}

/// What is planned, with one line for each detail.
fn said(what: &str, planned: &Move, apply: bool) -> String {
    let (head, details): (String, &[String]) = match planned {
        Move::Blocked(why) => (format!("cannot be migrated: {why}"), &[]),
        Move::Waits(why) => (
            format!("left alone until its run has ended, because it is not taken over: {why}"),
            &[],
        ),
        Move::Ready(ready) if apply => (format!("is being migrated: {}", ready.outcome()), &ready.details),
        Move::Ready(ready) => (format!("would be migrated: {}", ready.outcome()), &ready.details),
    };
    let details = details.iter().map(|detail| format!("  {detail}"));
    let mut lines: Vec<_> = std::iter::once(format!("{what}: {head}")).chain(details).collect();
    // The last line ends as well.
    lines.push(String::new());
    lines.join("\n")
}

/// The Kanaries of the old group that the command is about.
async fn wanted(cluster: &Cluster, options: &Migrate) -> anyhow::Result<Vec<Kanary>> {
    let kind = KanaryKind::OldDeployment;
    let Some(mut all) = cluster.all_of(kind, options.all_namespaces).await? else {
        return Ok(Vec::new());
    };
    for name in &options.names {
        ensure!(
            all.iter().any(|kanary| kanary.name_any() == *name) || !unfinished(cluster, options).await?.is_empty(),
            "there is no {kind} {name} in namespace {}",
            cluster.namespace
        );
    }
    all.retain(|kanary| is_named(options, kanary));
    Ok(all)
}

/// Kanaries of today whose migration was interrupted.
async fn unfinished(cluster: &Cluster, options: &Migrate) -> anyhow::Result<Vec<Kanary>> {
    let all = cluster.all_of(KanaryKind::Deployment, options.all_namespaces).await?;
    let Some(mut all) = all else {
        bail!("the cluster does not serve KanaryDeployment: install Kanary first (docs/install.md)");
    };
    all.retain(|kanary| moving::is_begun(kanary) && is_named(options, kanary));
    Ok(all)
}

fn is_named(options: &Migrate, kanary: &Kanary) -> bool {
    options.names.is_empty() || options.names.contains(&kanary.name_any())
}

/// An object of the API as a manifest.
fn manifest(kind: KanaryKind, kanary: &Kanary) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": kanary.metadata, "spec": kanary.spec,
    })
}
