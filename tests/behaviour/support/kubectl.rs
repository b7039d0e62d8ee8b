//! kubectl, as a user runs it.

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};

use super::plane::Plane;

/// Output of kubectl.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whether it exited with code 0.
    pub(crate) ok: bool,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Whether kubectl is installed on this machine.
pub(crate) fn is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file())
}

/// A kubectl command of the administrator in `namespace`.
pub(crate) fn command(plane: &Plane, namespace: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("kubectl");
    command
        .env("KUBECONFIG", plane.admin_kubeconfig())
        .args(["--namespace", namespace])
        .args(arguments)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Error texts of a busy API server that did not accept the connection, so that no request was sent.
const NOT_ASKED: [&str; 2] = ["handshake timeout", "connection refused"];

/// Runs kubectl to its end. Retries if no request was sent.
pub(crate) async fn run(plane: &Plane, namespace: &str, arguments: &[&str], input: &str) -> Output {
    let mut output = run_once(plane, namespace, arguments, input).await;
    for _ in 0..4 {
        let asked = output.ok || !NOT_ASKED.iter().any(|words| output.err.contains(words));
        if asked {
            break;
        }
        output = run_once(plane, namespace, arguments, input).await;
    }
    output
}

async fn run_once(plane: &Plane, namespace: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = command(plane, namespace, arguments)
        .spawn()
        .expect("kubectl is in PATH");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // A kubectl that reads no input closes it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.expect("kubectl ends");
    Output {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
