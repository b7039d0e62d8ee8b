//! The examples in the documentation. Every YAML block of README.md and docs/*.md is read, and every Kanary in it has to be one
//! that a cluster accepts, the controller runs, and no warning is about.
//!
//! A block is one of these:
//! - whole objects, each with a `kind`;
//! - a fragment that begins with `spec:`;
//! - a fragment whose first line names where it belongs: `# In spec.validation:` in a Kanary, `# In values.yaml:` elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kanary_core::api::KanaryKind;
use kanary_sim::patch;
use serde_json::{Value, json};

use crate::{
    check::Checker,
    manifests::{self, documents},
};

/// Pages that show Kanaries.
const WITH_KANARIES: [&str; 8] = [
    "README.md",
    "docs/api.md",
    "docs/first-canary.md",
    "docs/front-ends.md",
    "docs/gitops.md",
    "docs/migrating.md",
    "docs/security.md",
    "docs/spec.md",
];

/// A YAML block of a page.
struct Block {
    /// `docs/spec.md:12`, the line of the fence.
    at: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Paths of README.md and docs/*.md, from the root.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
    let mut pages: Vec<_> = docs
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect();
    pages.push(PathBuf::from("README.md"));
    pages.sort();
    pages
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut open, line.trim_start()) {
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([line, "\n"]),
            (None, fence) if fence.starts_with("```yaml") => {
                open = Some(Block {
                    at: format!("{page}:{number}"),
                    text: String::new(),
                });
            }
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "{page}: a YAML block has no end");
    blocks
}

/// The Kanaries that a block shows, fragments as parts of one.
fn kanaries(block: &Block) -> Result<Vec<(KanaryKind, Value)>, String> {
    let objects = documents(&block.text).map_err(|error| format!("no YAML: {error}"))?;
    let first = block.text.lines().next().unwrap_or_default();
    let place = first.strip_prefix("# In ").map(|place| place.trim_end_matches(':'));
    let mut found = Vec::new();
    for object in objects {
        let kind = object.get("kind").and_then(Value::as_str);
        match (kind, place) {
            (Some(_), _) => found.extend(manifests::kanary_kind(&object).map(|kind| (kind, object.clone()))),
            (None, Some(place)) if place == "spec" || place.starts_with("spec.") => {
                found.push((KanaryKind::Deployment, within(place, object)));
            }
            (None, Some(_)) => {}
            (None, None) if object.get("spec").is_some() => found.push((KanaryKind::Deployment, merged(&object))),
            (None, None) => {
                return Err("no kind and no spec: begin with a line like `# In spec.validation:`".to_owned());
            }
        }
    }
    Ok(found)
}

/// A Kanary with this fragment at `spec.validation` or another path.
fn within(place: &str, fragment: Value) -> Value {
    let wrap = |inner, name: &str| json!({ name: inner });
    merged(&place.rsplit('.').fold(fragment, wrap))
}

/// A Kanary with these fields. Its `initialDelay` is enough for queries that look back over a minute.
fn merged(fragment: &Value) -> Value {
    let mut kanary = json!({
        "apiVersion": KanaryKind::Deployment.api_version(),
        "kind": KanaryKind::Deployment.as_str(),
        "metadata": {"name": "batman"},
        "spec": {
            "deploymentName": "myapp",
            "serviceName": "myapp-svc",
            "validation": {"initialDelay": "1m"},
            "template": {"spec": {"template": {
                "metadata": {"labels": {"app": "myapp"}},
                "spec": {"containers": [{"name": "app", "image": "myapp:v2"}]},
            }}},
        },
    });
    patch::merge(&mut kanary, fragment);
    kanary
}

/// The number of Kanaries in a page, and what is wrong with them.
async fn check(checker: &Checker, page: &str, text: &str) -> (usize, Vec<String>) {
    let (mut count, mut problems) = (0, Vec::new());
    for block in blocks(page, text) {
        let found = kanaries(&block).unwrap_or_else(|why| {
            problems.push(format!("{}: {why}", block.at));
            Vec::new()
        });
        for (kind, kanary) in found {
            count += 1;
            let report = checker.check(kind, &kanary).await;
            let name = kanary.pointer("/metadata/name").and_then(Value::as_str);
            let title = format!("{}: {kind} {}", block.at, name.unwrap_or_default());
            // A page about an optional kind says how to serve it.
            let is_expected = |warning: &&String| KanaryKind::OPTIONAL.contains(&kind) && warning.contains("--kinds");
            let warnings = report.warnings.iter().filter(|warning| !is_expected(warning));
            let all = report.problems.iter().chain(warnings);
            problems.extend(all.map(|problem| format!("{title}: {problem}")));
        }
    }
    (count, problems)
}

#[tokio::test]
async fn every_kanary_in_the_documentation_can_run() {
    let checker = Checker::new().unwrap();
    let mut problems = Vec::new();
    let pages = pages();
    for page in &pages {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let page = page.to_str().unwrap();
        let (count, of_page) = check(&checker, page, &text).await;
        println!("{page}: {count} Kanaries");
        problems.extend(of_page);
        if count == 0 && WITH_KANARIES.contains(&page) {
            problems.push(format!("{page}: there is no Kanary in its YAML blocks"));
        }
    }
    let is_missing = |page: &&&str| !pages.iter().any(|other| other == Path::new(page));
    let missing = WITH_KANARIES.iter().filter(is_missing);
    problems.extend(missing.map(|page| format!("{page}: there is no such page")));
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[tokio::test]
async fn a_bad_example_is_named_with_its_page_and_line() {
    let checker = Checker::new().unwrap();
    for (block, expected) in [
        ("spec:\n  retry: 1\n", None),
        ("# In spec.validation:\nitems: [{manual: {}}]\n", None),
        ("# In values.yaml:\nretries: 1\n", None),
        ("kind: Service\n", None),
        ("spec:\n  retries: 1\n", Some("retries")),
        ("# In spec.validation:\nitems: [{manuel: {}}]\n", Some("manuel")),
        ("items: []\n", Some("begin with a line like")),
        (
            "# In spec.validation:\ninitialDelay: 0s\nitems: [ITEM]\n",
            Some("looks back"),
        ),
        ("a: [\n", Some("no YAML")),
        ("kind: KanaryStatefulset\n", Some("apiVersion")),
    ] {
        let item = "{promQL: {prometheusService: 'p:9090', query: 'rate(x[5m])', valueInRange: {}}}";
        let text = format!("# Page\n\n```yaml\n{}```\n", block.replace("ITEM", item));
        let (_, problems) = check(&checker, "page.md", &text).await;
        let is_named = problems.iter().all(|problem| problem.starts_with("page.md:3: "));
        let is_as_expected = expected.map_or(problems.is_empty(), |why| {
            problems.iter().any(|problem| problem.contains(why))
        });
        assert!(is_named && is_as_expected, "{block}{problems:?}");
    }
}
