//! `--listen`: serves the cluster to kubectl.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use kanary_sim::server::{Listener, Server, kubeconfig};

/// The user of the kubeconfig.
const USER: &str = "you";

/// Parses a loopback address. Other addresses are refused, because the API server has no authentication.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let why = "write an address and a port, like 127.0.0.1:6443 (port 0 takes any free one); names like localhost are \
               not supported";
    let address: SocketAddr = text.parse().map_err(|_| why.to_owned())?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(
        "not a loopback address: this API server has no authentication, so anyone who reaches it could do anything; \
         listen on 127.0.0.1"
            .to_owned(),
    )
}

/// A listener and its kubeconfig, which is removed with it.
#[derive(Debug)]
pub(super) struct Serving {
    listener: Option<Listener>,
    kubeconfig: Kubeconfig,
}

#[derive(Debug)]
struct Kubeconfig(PathBuf);

impl Serving {
    pub(super) async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = Listener::bind(address)
            .await
            .with_context(|| format!("could not listen on {address}"))?;
        let path = std::env::temp_dir().join(format!("kanary-demo-{}.kubeconfig", std::process::id()));
        write(&path, &kubeconfig(listener.address(), USER))
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(Self {
            listener: Some(listener),
            kubeconfig: Kubeconfig(path),
        })
    }

    /// Commands to try, at this speed.
    pub(super) fn hints(&self, speed: u32) -> Vec<String> {
        let mut hints = vec![
            format!("export KUBECONFIG={}", self.kubeconfig.0.display()),
            "kubectl get kanary -w    kubectl describe kanary checkout-good".to_owned(),
        ];
        if speed > 1 {
            hints.push("kubectl get events    (describe counts their ages by your clock: <invalid>)".to_owned());
        }
        hints
    }

    /// Serves until it is dropped.
    pub(super) async fn serve(mut self, server: Server) -> anyhow::Result<()> {
        if let Some(listener) = self.listener.take() {
            listener.serve(server, &[USER]).await?;
        }
        Ok(())
    }
}

/// Writes a file that only its owner can read, and refuses to follow an existing link.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        // The kubeconfig is useless now, so a failure to remove it does not matter.
        let _removed = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use kanary_core::api::KanaryKind;

    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        for good in ["127.0.0.1:0", "127.0.0.1:6443", "[::1]:6443"] {
            assert_eq!(loopback(good), Ok(good.parse().unwrap()), "{good}");
        }
        for (bad, why) in [
            ("nonsense", "like 127.0.0.1:6443"),
            ("6443", "like 127.0.0.1:6443"),
            ("localhost:0", "names like localhost are not supported"),
            ("127.0.0.1:99999", "like 127.0.0.1:6443"),
            ("0.0.0.0:6443", "anyone who reaches it could do anything"),
            ("192.168.1.2:6443", "anyone who reaches it could do anything"),
        ] {
            let error = loopback(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn every_hint_fits_a_narrow_terminal_and_names_one_kind() {
        let path = std::env::temp_dir().join("kanary-demo-hints.kubeconfig");
        let serving = Serving {
            listener: None,
            kubeconfig: Kubeconfig(path),
        };
        let hints = serving.hints(30);
        assert!(hints.iter().skip(1).all(|hint| hint.len() < 80), "{hints:#?}");
        assert_eq!(serving.hints(1), hints[..2]);
        // `kubectl get -w` refuses a name of several kinds.
        assert!(hints[1].starts_with("kubectl get kanary -w"), "{hints:#?}");
        let kinds = KanaryKind::ALL.into_iter();
        assert_eq!(kinds.filter(|kind| kind.short_names().contains(&"kanary")).count(), 1);
    }
}
