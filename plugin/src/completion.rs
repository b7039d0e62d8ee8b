//! Completion: scripts for shells, and the answers for kubectl's own completion.

use std::time::Duration;

use clap::CommandFactory;
use clap_complete::Shell;
use kube::ResourceExt;
use tokio::time::timeout;

use crate::{
    cli::Cli,
    cluster::{Cluster, Connection},
    exit::Exit,
    terminal::print,
};

/// Print the completion script of a shell, for the program `kubectl-kanary`. `kubectl kanary` is completed by the script
/// `kubectl_complete-kanary`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completion {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Candidates for the last word, for `kubectl_complete-kanary`.
#[derive(Debug, clap::Args)]
pub(crate) struct Complete {
    /// The words after `kubectl kanary`; the last one is completed.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// How long a completion may wait for the API server.
const PATIENCE: Duration = Duration::from_secs(2);

/// Directives of kubectl's completion.
const NO_FILES: &str = ":4";
const FILES: &str = ":0";

pub(crate) fn completion(options: &Completion) -> anyhow::Result<Exit> {
    print(&script(options.shell)?)?;
    Ok(Exit::Done)
}

fn script(shell: Shell) -> anyhow::Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kubectl-kanary", &mut script);
    // For bash, clap writes the name of a program with a hyphen in two ways, and then finds no flags of its commands.
    Ok(String::from_utf8(script)?.replace("kubectl__subcmd__kanary", "kubectl__kanary"))
}

pub(crate) async fn complete(options: &Complete, connection: &Connection) -> anyhow::Result<Exit> {
    let (before, word) = match options.words.split_last() {
        Some((word, before)) => (before, word.as_str()),
        None => (&[] as &[String], ""),
    };
    let mut text = String::new();
    let directive = match candidates(before, word) {
        Candidates::Words(words) => {
            text.extend(words.into_iter().map(|word| format!("{word}\n")));
            NO_FILES
        }
        Candidates::Files => FILES,
        Candidates::Kanaries => {
            // A completion that fails shows nothing: an error would be printed into the command line.
            let names = timeout(PATIENCE, names(before, connection))
                .await
                .ok()
                .and_then(Result::ok);
            let names = names.into_iter().flatten().filter(|name| name.starts_with(word));
            text.extend(names.map(|name| format!("{name}\n")));
            NO_FILES
        }
    };
    print(&format!("{text}{directive}\n"))?;
    Ok(Exit::Done)
}

#[derive(Debug, PartialEq, Eq)]
enum Candidates {
    Words(Vec<String>),
    /// Names of Kanaries.
    Kanaries,
    Files,
}

/// What the last word may be.
fn candidates(before: &[String], word: &str) -> Candidates {
    let root = Cli::command();
    let globals: Vec<_> = root.get_arguments().cloned().collect();
    let find = |command: &clap::Command, flag: &str| {
        let mut all = command.get_arguments().chain(&globals);
        let is_called = |arg: &&clap::Arg| {
            arg.get_long().is_some_and(|long| flag == format!("--{long}"))
                || arg.get_short().is_some_and(|short| flag == format!("-{short}"))
        };
        all.find(is_called).cloned()
    };
    let mut command = &root;
    let mut owed: Option<clap::Arg> = None;
    for word in before {
        if owed.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            owed = find(command, word).filter(|arg| arg.get_action().takes_values());
        } else if let Some(sub) = command.find_subcommand(word) {
            command = sub;
        }
    }
    let matching =
        |words: Vec<String>| Candidates::Words(words.into_iter().filter(|it| it.starts_with(word)).collect());
    let values = |arg: &clap::Arg| {
        arg.get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect::<Vec<_>>()
    };
    if let Some(arg) = owed {
        let is_file = ["filename", "kubeconfig"].contains(&arg.get_id().as_str());
        return if is_file {
            Candidates::Files
        } else {
            matching(values(&arg))
        };
    }
    if word.starts_with('-') {
        let flags = command.get_arguments().chain(&globals).filter(|arg| !arg.is_hide_set());
        return matching(
            flags
                .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
                .collect(),
        );
    }
    if command.has_subcommands() {
        let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        return matching(visible.map(|sub| sub.get_name().to_owned()).collect());
    }
    let positional = command.get_positionals().next();
    match positional.map(|arg| arg.get_id().as_str()) {
        Some("name" | "names") => Candidates::Kanaries,
        _ => matching(positional.map(values).unwrap_or_default()),
    }
}

/// The names of the Kanaries in the namespace that the words before name.
async fn names(before: &[String], connection: &Connection) -> anyhow::Result<Vec<String>> {
    let value = |long: &str, short: &str| {
        let with = before.windows(2).find_map(|pair| match pair {
            [flag, value] if flag == long || flag == short => Some(value.clone()),
            _ => None,
        });
        let joined = || {
            before
                .iter()
                .find_map(|word| word.strip_prefix(long)?.strip_prefix('=').map(str::to_owned))
        };
        with.or_else(joined)
    };
    let connection = Connection {
        namespace: value("--namespace", "-n").or_else(|| connection.namespace.clone()),
        context: value("--context", "--context").or_else(|| connection.context.clone()),
        kubeconfig: value("--kubeconfig", "--kubeconfig")
            .map(Into::into)
            .or_else(|| connection.kubeconfig.clone()),
    };
    let cluster = Cluster::connect(&connection).await?;
    let found = cluster.list(false).await?;
    Ok(found.into_iter().map(|(_, object)| object.name_any()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Candidates {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let (word, before) = words.split_last().unwrap();
        candidates(before, word)
    }

    #[test]
    fn every_kind_of_word_is_completed() {
        let words = |words: &[&str]| Candidates::Words(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(of(&["st"]), words(&["status"]));
        assert_eq!(of(&["-n", "shop", "pro"]), words(&["promote"]));
        assert_eq!(of(&["status", "--ti"]), words(&["--timeout"]));
        assert_eq!(of(&["status", "--name"]), words(&["--namespace"]));
        assert_eq!(of(&["status", ""]), Candidates::Kanaries);
        assert_eq!(of(&["get", "-n", "shop", "b"]), Candidates::Kanaries);
        assert_eq!(of(&["lint", "-f", ""]), Candidates::Files);
        assert_eq!(of(&["generate", "myapp", "--traffic", "k"]), words(&["kanary-service"]));
        assert_eq!(of(&["completion", "b"]), words(&["bash"]));
        assert!(matches!(of(&[""]), Candidates::Words(all) if !all.contains(&"__complete".to_owned())));
    }

    #[test]
    fn the_script_for_bash_knows_the_flags_of_each_command() {
        let script = script(Shell::Bash).unwrap();
        let commands = script.split("cmd=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let commands: Vec<_> = commands.filter(|command| !command.is_empty()).collect();
        assert!(commands.len() > 10, "{commands:?}");
        for command in commands {
            assert!(
                script.contains(&format!("\n        {command})\n")),
                "{command} has no flags"
            );
        }
    }
}
