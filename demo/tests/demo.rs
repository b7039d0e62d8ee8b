//! `cargo demo`, as a newcomer starts it: in plain lines, because no terminal is there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that does not find what it expects is to fail there and then"
)]

#[allow(dead_code, reason = "the behaviour suite uses more of it")]
#[path = "../../tests/behaviour/support/waiting.rs"]
mod waiting;

use std::{path::Path, process::Stdio, sync::Mutex};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use waiting::waited;

/// The demo, much faster than by default, with more arguments.
fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kanary-demo"));
    command
        .args(["--speed", "1000"])
        .args(arguments)
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What is told of every demo in the end.
fn check_summary(out: &str) {
    for reported in [
        " of the cluster's time:",
        "promoted: their Deployments run the new version",
        "no data is not success, so they wait and are not promoted",
        "Next:",
    ] {
        assert!(out.contains(reported), "{reported:?} is not in\n{out}");
    }
}

#[tokio::test]
async fn without_a_terminal_the_demo_tells_all_in_plain_lines_and_ends_by_itself() {
    let ran = waited("the demo ends", String::new, demo(&[]).output()).await.unwrap();
    let [out, err] = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(ran.status.code(), Some(0), "{out}\n{err}");
    assert_eq!(err, "");
    assert!(!out.contains(['\x1b', '\r']), "{out}");
    let (news, summary) = out.split_once("\nAfter ").unwrap();
    assert!(news.contains("Kanaries on a cluster in memory"), "{news}");
    let reported = |name: &str, state: &str| news.lines().any(|line| line.contains(name) && line.contains(state));
    for (name, state) in [
        ("checkout-good", "judging"),
        ("checkout-good", "promoted"),
        ("payments-slow", "failed"),
        ("emails-no-data", "waiting"),
        ("cart-weighted", "50 % of the requests (step 3 of 3)"),
        ("orders-weighted", "> 1 % at 25 %, orders left alone"),
    ] {
        assert!(reported(name, state), "no line reports that {name} is {state}:\n{news}");
    }
    check_summary(summary);
}

/// Reads on until a line has `what` in it; all lines that were read.
async fn read_until(out: &mut Lines<BufReader<ChildStdout>>, what: &str) -> Vec<String> {
    let read = Mutex::new(Vec::new());
    let reading = async {
        while let Some(line) = out.next_line().await.unwrap() {
            let found = line.contains(what);
            read.lock().unwrap().push(line);
            if found {
                return;
            }
        }
        panic!("it ended, and did not say {what}: {:#?}", read.lock().unwrap());
    };
    let last = || read.lock().unwrap().join("\n");
    waited(&format!("the demo says {what}"), last, reading).await;
    read.into_inner().unwrap()
}

/// The commands of kubectl among the first lines, by their arguments.
fn kubectl_hints(lines: &[String]) -> Vec<Vec<String>> {
    let parts = lines.iter().flat_map(|line| line.split("  "));
    let commands = parts.filter_map(|part| part.trim().strip_prefix("kubectl "));
    commands
        .map(|command| command.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// Whether this machine has a kubectl; `KANARY_NEEDS_KUBECTL` makes it a failure if not.
fn has_kubectl() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file());
    let needed = std::env::var_os("KANARY_NEEDS_KUBECTL").is_some();
    assert!(there || !needed, "kubectl is not in PATH");
    there
}

/// What kubectl prints, which must succeed.
async fn kubectl(kubeconfig: &Path, arguments: &[String]) -> String {
    let mut command = Command::new("kubectl");
    command.env("KUBECONFIG", kubeconfig).args(arguments).kill_on_drop(true);
    let ran = waited(&format!("kubectl {arguments:?}"), String::new, command.output()).await;
    let ran = ran.unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "kubectl {arguments:?}: {err}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// Ctrl-C.
async fn interrupt(child: &Child) {
    let id = child.id().unwrap().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().await;
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn kubectl_can_do_what_the_demo_says_until_ctrl_c_which_leaves_nothing_behind() {
    let mut child = demo(&["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = read_until(&mut out, "export KUBECONFIG=").await;
    let (_, kubeconfig) = first.last().unwrap().split_once("KUBECONFIG=").unwrap();
    let kubeconfig = Path::new(kubeconfig.trim());
    assert!(kubeconfig.is_file(), "{}", kubeconfig.display());
    let lines = read_until(&mut out, "Ctrl-C ends the cluster").await;
    let hints = kubectl_hints(&lines);
    assert!(hints.len() >= 2, "{lines:#?}");
    if has_kubectl() {
        let mut output = String::new();
        for mut hint in hints {
            // Of a watch, which never ends, what it lists at first.
            hint.retain(|argument| argument != "-w");
            output += &kubectl(kubeconfig, &hint).await;
        }
        assert!(
            output.contains("checkout-good") && output.contains("emails-no-data"),
            "{output}"
        );
    } else {
        eprintln!("kubectl is not in PATH: its hints are not tried");
    }
    interrupt(&child).await;
    let rest = read_until(&mut out, "Next:").await;
    let ended = waited("the demo ends", String::new, child.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    check_summary(&rest.join("\n"));
    assert!(!kubeconfig.exists(), "{} is left", kubeconfig.display());
}
