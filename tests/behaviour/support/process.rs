//! The `kanary` program, run as deployed.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
};

use super::{World, poll, waited};

/// A running `kanary run`.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `kanary run` as the only replica for the world's namespace, with additional arguments.
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        Self::start_sharing(world, &[&["--standalone"], arguments].concat())
    }

    /// Starts `kanary run` for the world's namespace, with additional arguments.
    fn start_sharing(world: &World, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kanary"))
            .args(["run", "--namespace", &world.ns, "--admin-addr", "127.0.0.1:0"])
            .args(arguments)
            .env("KUBECONFIG", world.plane.kanary_kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        read(child.stdout.take().expect("the output is piped"), lines.clone());
        read(child.stderr.take().expect("the output is piped"), lines.clone());
        Self { child, lines }
    }

    /// Starts one of several replicas with the session TTL `ttl` and additional arguments.
    pub(crate) fn start_replica(world: &World, identity: &str, ttl: &str, arguments: &[&str]) -> Self {
        let shared = [
            "--identity",
            identity,
            "--session-ttl",
            ttl,
            "--lease-namespace",
            &world.ns,
        ];
        Self::start_sharing(world, &[&shared, arguments].concat())
    }

    /// All log lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Address of the admin server, read from the log.
    pub(crate) async fn admin(&self) -> String {
        self.address("admin server listens").await
    }

    /// The address in the log line that says this.
    pub(crate) async fn address(&self, says: &str) -> String {
        poll(&format!("the log says {says}"), async || {
            let lines = self.lines();
            let told = lines.iter().find(|line| line.contains(says));
            let (_, address) = told
                .and_then(|line| line.split_once("127.0.0.1:"))
                .ok_or_else(|| lines.join("\n"))?;
            let port: String = address.chars().take_while(char::is_ascii_digit).collect();
            Ok::<_, String>(format!("127.0.0.1:{port}"))
        })
        .await
    }

    /// Status code and text of an admin server page.
    pub(crate) async fn page(&self, path: &str) -> Result<(u16, String), String> {
        let url = format!("http://{}{path}", self.admin().await);
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| error.to_string())?))
    }

    /// Waits until the process is ready.
    pub(crate) async fn ready(&self) {
        poll("the program is ready", async || match self.page("/readyz").await? {
            (200, text) => Ok(text),
            (_, text) => Err(text),
        })
        .await;
    }

    /// Output of another `kanary` command.
    pub(crate) async fn run(&self, world: &World, arguments: &[&str]) -> String {
        let ran = Command::new(env!("CARGO_BIN_EXE_kanary"))
            .args(arguments)
            .env("KUBECONFIG", world.plane.kanary_kubeconfig())
            .output();
        let ran = ran.await.expect("the program starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Sends a signal.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status().await;
        assert!(sent.expect("kill is in PATH").success());
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("the process can be killed");
    }

    /// Sends SIGTERM and returns the exit status.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.ends().await
    }

    /// Waits until the process ends by itself and returns the exit status.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let ended = waited("the program ends", String::new, self.child.wait()).await;
        ended.expect("the process was started")
    }
}

fn read(from: impl AsyncRead + Unpin + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    tokio::spawn(async move {
        let mut reader = BufReader::new(from).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            lines.lock().unwrap().push(line);
        }
    });
}
