//! Keeps the certificate: reads it, makes it, renews it, and tells API servers of its authorities.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    CertificateSource, Parts, Webhook, WebhookOptions,
    certificate::{Material, Presented},
    secret::{self, Store},
    trust,
};
use crate::cluster::error::{ApiError, Class};

/// Interval between two looks.
const LOOK: Duration = Duration::from_secs(10);

/// The same while there is no certificate.
const SOON: Duration = Duration::from_secs(1);

pub(super) struct Keeper {
    webhook: Arc<Webhook>,
    parts: Parts,
    names: Vec<String>,
    source: Source,
    /// What is presented now.
    material: Option<Material>,
}

enum Source {
    Secret(Store),
    Folder(PathBuf),
}

impl Keeper {
    pub(super) fn new(webhook: Arc<Webhook>, options: WebhookOptions, parts: Parts) -> Self {
        let source = match options.certificate {
            CertificateSource::Secret { namespace, name } => {
                Source::Secret(Store::new(parts.client.clone(), namespace, name))
            }
            CertificateSource::Folder(folder) => Source::Folder(folder),
        };
        Self {
            webhook,
            parts,
            names: options.names,
            source,
            material: None,
        }
    }

    /// Takes the certificate from a folder from now on.
    #[cfg(test)]
    pub(super) fn read_folder(&mut self, folder: PathBuf) {
        self.source = Source::Folder(folder);
    }

    /// Runs forever.
    pub(super) async fn run(mut self) {
        loop {
            let problem = self.look().await.err();
            self.webhook.set_problem(problem);
            sleep(if self.material.is_some() { LOOK } else { SOON }).await;
        }
    }

    pub(super) async fn look(&mut self) -> Result<(), String> {
        match &self.source {
            Source::Folder(folder) => {
                let material = read(folder).await?;
                self.present(material)
            }
            Source::Secret(_) => self.keep().await,
        }
    }

    /// Presents the certificate, unless it is presented already.
    fn present(&mut self, material: Material) -> Result<(), String> {
        if self.material.as_ref() != Some(&material) {
            self.webhook
                .present(Presented::read(&material.certificate, &material.key)?);
            self.material = Some(material);
        }
        Ok(())
    }

    async fn keep(&mut self) -> Result<(), String> {
        let Source::Secret(store) = &self.source else {
            return Ok(());
        };
        let now = self.parts.clock.now();
        let stored = store.read().await.map_err(|error| error.message())?;
        let found = stored.as_ref().map(secret::material).unwrap_or_default();
        let is_usable = Presented::read(&found.certificate, &found.key);
        if is_usable.is_err() {
            // What API servers trust already is better than anything new.
            let made = match self.material.clone() {
                Some(material) => material,
                None => Material::new(now, &self.names, &found.bundle)?,
            };
            // If another replica was faster, the next look finds what it made.
            let written = store.write(stored, &made).await;
            let written = written.map_err(|error| error.message())?;
            return self.present(secret::material(&written));
        }
        self.present(found.clone())?;
        if !(self.parts.leads)() {
            return Ok(());
        }
        let problem = trust::publish(&self.parts.client, &self.parts.kinds, &self.names, &found.bundle).await;
        // What can't be renewed is made anew.
        let next = match found.next(now, &self.names, problem.is_none()) {
            Ok(next) => next,
            Err(_) => Some(Material::new(now, &self.names, &found.bundle)?),
        };
        if let Source::Secret(store) = &self.source
            && let Some(next) = next
        {
            let written = store.write(stored, &next).await;
            if let Some(written) = unless_another_was_first(written)? {
                tracing::info!("renewed the certificate of the conversion webhook");
                self.present(secret::material(&written))?;
            }
        }
        problem.map_or(Ok(()), Err)
    }
}

fn unless_another_was_first<T>(written: Result<T, ApiError>) -> Result<Option<T>, String> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(error) if error.class() == Class::Conflict => Ok(None),
        Err(error) => Err(error.message()),
    }
}

async fn read(folder: &std::path::Path) -> Result<Material, String> {
    let read = async |name: &str| {
        let path = folder.join(name);
        let text = tokio::fs::read_to_string(&path).await;
        text.map_err(|error| format!("{}: {error}", path.display()))
    };
    Ok(Material {
        certificate: read("tls.crt").await?,
        key: read("tls.key").await?,
        ..Material::default()
    })
}
