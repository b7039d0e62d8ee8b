//! `kubectl kanary lint`: checks manifests of Kanaries without a cluster.

use crate::{
    check::Checker,
    exit::Exit,
    manifests,
    terminal::{Terminal, print_lines},
    text::{Colour, clean},
};

/// Check manifests of Kanaries without a cluster, with the rules and messages of the API server and of the controller. Exit code 3:
/// there are problems, or no Kanary.
#[derive(Debug, clap::Args)]
pub(crate) struct Lint {
    /// Files to check, YAML or JSON; `-` is standard input.
    #[arg(long, short = 'f', required = true, value_name = "FILE")]
    filename: Vec<String>,
}

pub(crate) async fn lint(options: &Lint) -> anyhow::Result<Exit> {
    let manifests = manifests::read(&options.filename)?;
    let checker = Checker::new()?;
    let coloured = Terminal::of_stdout().coloured;
    let (mut seen, mut bad) = (0, 0);
    for manifest in &manifests {
        let title = clean(&manifest.title());
        let Some(kind) = manifests::kanary_kind(&manifest.object) else {
            eprintln!("{title}: not checked, because it is no Kanary");
            continue;
        };
        seen += 1;
        let report = checker.check(kind, &manifest.object).await;
        let line = |word: &str, colour: Colour, text: &str| {
            let word = colour.paint(word, coloured);
            if text.is_empty() {
                format!("{title}: {word}")
            } else {
                format!("{title}: {word}: {}", clean(text))
            }
        };
        let problems = report
            .problems
            .iter()
            .map(|problem| line("error", Colour::Red, problem));
        let warnings = report
            .warnings
            .iter()
            .map(|warning| line("warning", Colour::Yellow, warning));
        let mut lines: Vec<_> = problems.chain(warnings).collect();
        if report.problems.is_empty() {
            lines.push(line("valid", Colour::Green, ""));
        } else {
            bad += 1;
        }
        print_lines(&lines)?;
    }
    if seen == 0 {
        eprintln!("error: there is no Kanary in {}", options.filename.join(", "));
        return Ok(Exit::Failed);
    }
    if bad > 0 {
        return Ok(Exit::Failed);
    }
    eprintln!(
        "Checked without a cluster: whether the target, the Services and Prometheus exist shows only at run time."
    );
    Ok(Exit::Done)
}
