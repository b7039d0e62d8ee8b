//! The cluster of a kubeconfig, and the Kanaries in it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kanary::cluster::{calls::Calls, client, clock::Clock};
use kanary_core::{
    ParsedKanary,
    api::{Kanary, KanaryKind, names::GROUP},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::exit::Missing;

/// Page size of list requests.
const PAGE: u32 = 500;

/// Which cluster and namespace a command is about, with the flags of kubectl.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Connection {
    /// Namespace of the Kanary [default: the namespace of the context].
    #[arg(long, short = 'n', global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig [default: the current context].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Path of the kubeconfig [default: KUBECONFIG, or ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// A cluster.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// The namespace of the command.
    pub(crate) namespace: String,
    /// The cluster's time.
    pub(crate) clock: Clock,
}

/// A Kanary as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) object: Kanary,
    pub(crate) parsed: ParsedKanary,
}

impl Found {
    pub(crate) fn of(kind: KanaryKind, object: Kanary) -> anyhow::Result<Self> {
        let parsed = ParsedKanary::parse(kind, &object)
            .map_err(|why| anyhow::anyhow!("{kind} {} cannot be read: {why}", object.name_any()))?;
        Ok(Self { object, parsed })
    }

    pub(crate) fn name(&self) -> &str {
        &self.parsed.key.name
    }
}

impl Cluster {
    /// Reads the kubeconfig. No request is sent yet.
    pub(crate) async fn connect(connection: &Connection) -> anyhow::Result<Self> {
        let config = config(connection).await?;
        let namespace = connection.namespace.clone().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let clock = Clock::default();
        let client = client::connect(config, clock.clone(), "kubectl-kanary", Calls::default())
            .context("the credentials of the kubeconfig cannot be used")?;
        Ok(Self {
            client,
            namespace,
            clock,
        })
    }

    pub(crate) fn kanaries(&self, kind: KanaryKind) -> Api<Kanary> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn kanaries_in(&self, kind: KanaryKind, all_namespaces: bool) -> Api<Kanary> {
        if all_namespaces {
            Api::all_with(self.client.clone(), &kind)
        } else {
            self.kanaries(kind)
        }
    }

    /// The kinds that the cluster serves and that may be listed.
    pub(crate) async fn served(&self, all_namespaces: bool) -> anyhow::Result<Vec<KanaryKind>> {
        let mut served = Vec::new();
        for kind in KanaryKind::ALL {
            let api = self.kanaries_in(kind, all_namespaces);
            match api.list_metadata(&ListParams::default().limit(1)).await {
                Ok(_) => served.push(kind),
                Err(error) if is_not_served(&error) || is_withheld(kind, &error) => {}
                Err(error) => return Err(said(error, &format!("could not list {}", kind.resource()))),
            }
        }
        anyhow::ensure!(!served.is_empty(), NOT_INSTALLED);
        Ok(served)
    }

    /// The Kanary called `name`, which may begin with its kind: `batman`, `ks/batman`, `kanarydeployment/batman`.
    pub(crate) async fn find(&self, name: &str) -> anyhow::Result<Found> {
        let (kinds, name) = kinds_of(name)?;
        let (mut found, mut served, is_any) = (Vec::new(), false, kinds.len() > 1);
        for kind in kinds {
            match self.kanaries(kind).get(name).await {
                Ok(object) => found.push(Found::of(kind, object)?),
                Err(error) if is_not_served(&error) || (is_any && is_withheld(kind, &error)) => {}
                Err(error) if is_not_found(&error) => served = true,
                Err(error) => return Err(said(error, &format!("could not read {kind} {name}"))),
            }
        }
        if found.len() > 1 {
            let named = found
                .iter()
                .map(|found| format!("{}/{name}", found.parsed.key.kind.singular_resource()));
            bail!(
                "{name} is the name of several Kanaries: write {}",
                named.collect::<Vec<_>>().join(" or ")
            );
        }
        match found.pop() {
            Some(found) => Ok(found),
            None if served => Err(Missing(format!(
                "there is no Kanary {name} in namespace {}: `kubectl kanary get -A` lists all",
                self.namespace
            ))
            .into()),
            None => bail!(NOT_INSTALLED),
        }
    }

    /// All Kanaries of a kind, or `None` if the cluster does not serve it.
    pub(crate) async fn all_of(&self, kind: KanaryKind, all_namespaces: bool) -> anyhow::Result<Option<Vec<Kanary>>> {
        match pages(&self.kanaries_in(kind, all_namespaces)).await {
            Ok(objects) => Ok(Some(objects)),
            Err(error) if is_not_served(&error) => Ok(None),
            Err(error) => Err(said(error, &format!("could not list {}", kind.resource()))),
        }
    }

    /// All Kanaries of the namespace, or of all namespaces, sorted.
    pub(crate) async fn list(&self, all_namespaces: bool) -> anyhow::Result<Vec<(KanaryKind, Kanary)>> {
        let (mut all, mut served) = (Vec::new(), false);
        for kind in KanaryKind::ALL {
            match pages(&self.kanaries_in(kind, all_namespaces)).await {
                Ok(objects) => {
                    served = true;
                    all.extend(objects.into_iter().map(|object| (kind, object)));
                }
                Err(error) if is_not_served(&error) || is_withheld(kind, &error) => {}
                Err(error) => return Err(said(error, &format!("could not list {}", kind.resource()))),
            }
        }
        if !served {
            bail!(NOT_INSTALLED);
        }
        all.sort_by_key(|(kind, object)| place_of(&object.metadata, *kind));
        Ok(all)
    }
}

/// The sort key of a Kanary: namespace, name, kind.
pub(crate) fn place_of(metadata: &ObjectMeta, kind: KanaryKind) -> (String, String, KanaryKind) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&metadata.namespace), text(&metadata.name), kind)
}

const NOT_INSTALLED: &str = "the cluster does not serve KanaryDeployment: install Kanary (docs/install.md), or select another \
                             cluster with --context";

async fn pages(api: &Api<Kanary>) -> kube::Result<Vec<Kanary>> {
    let (mut params, mut all) = (ListParams::default().limit(PAGE), Vec::new());
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items);
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(all);
        }
    }
}

async fn config(connection: &Connection) -> anyhow::Result<Config> {
    let is_named = connection.context.is_some() || connection.kubeconfig.is_some();
    let options = KubeConfigOptions {
        context: connection.context.clone(),
        ..KubeConfigOptions::default()
    };
    let read = match &connection.kubeconfig {
        Some(path) => {
            Kubeconfig::read_from(path).with_context(|| format!("could not read --kubeconfig {}", path.display()))
        }
        None => Kubeconfig::read().context("could not read the kubeconfig"),
    };
    let config = match read {
        Ok(read) => Config::from_custom_kubeconfig(read, &options)
            .await
            .context("the kubeconfig cannot be used"),
        Err(error) => Err(error),
    };
    match config {
        Ok(config) => Ok(config),
        // In a pod there is no kubeconfig.
        Err(error) if !is_named => Config::incluster()
            .map_err(|_| error.context("no cluster to talk to: set KUBECONFIG, or name a file with --kubeconfig")),
        Err(error) => Err(error),
    }
}

/// Splits `ks/batman` into the kinds that are looked for and the name.
pub(crate) fn kinds_of(text: &str) -> anyhow::Result<(Vec<KanaryKind>, &str)> {
    let Some((kind, name)) = text.split_once('/') else {
        return Ok((KanaryKind::ALL.to_vec(), text));
    };
    let kind = kind.to_lowercase();
    let (short, group) = kind.split_once('.').unwrap_or((kind.as_str(), GROUP));
    // A version may precede the group, as in `kanarydeployments.v1alpha1.kanary.k8s.io`.
    let without = |version: &str| group.strip_prefix(version)?.strip_prefix('.');
    let is_called = |known: &KanaryKind| {
        known.api_group() == without(known.version()).unwrap_or(group)
            && (known.singular() == short || known.plural() == short || known.short_names().contains(&short))
    };
    match KanaryKind::ALL.into_iter().find(is_called) {
        Some(kind) if !name.is_empty() => Ok((vec![kind], name)),
        Some(_) => bail!("{text} has no name: write it like kanarydeployment/batman"),
        None => bail!("{kind} is not a kind of Kanary: write the name only, or kanarydeployment/{name}"),
    }
}

/// Whether the object does not exist.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether the user has no right to a kind that most clusters do not serve.
fn is_withheld(kind: KanaryKind, error: &kube::Error) -> bool {
    KanaryKind::OPTIONAL.contains(&kind) && matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Whether the API server does not know the kind: it then names no object.
fn is_not_served(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let names_object = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    status.code == 404 && !names_object
}

/// An error of a request, with its remedy.
pub(crate) fn said(error: kube::Error, what: &str) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => {
            let remedy = match status.code {
                401 => ": log in again, or select another user with --context",
                403 => ": ask for the rights of deploy/limited-user, or see docs/kubectl.md",
                _ => "",
            };
            anyhow::anyhow!("{what}: {}{remedy}", status.message)
        }
        error => anyhow::Error::new(error).context(format!("{what}: the API server does not answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_begin_with_its_kind() {
        for (text, kinds, name) in [
            ("batman", KanaryKind::ALL.len(), "batman"),
            ("kd/batman", 1, "batman"),
            ("ks/batman", 1, "batman"),
            ("KanaryDeployment/batman", 1, "batman"),
            ("kanarystatefulsets/batman", 1, "batman"),
            ("kanarydeployments.kanary.k8s-operators.dev/batman", 1, "batman"),
        ] {
            let (found, rest) = kinds_of(text).unwrap();
            assert_eq!((found.len(), rest), (kinds, name), "{text}");
        }
        for text in [
            "kanarydeployment.kanary.k8s.io/batman",
            "KanaryDeployment.kanary.k8s.io/batman",
            "kanarydeployments.v1alpha1.kanary.k8s.io/batman",
        ] {
            let (found, _) = kinds_of(text).unwrap();
            assert_eq!(found, [KanaryKind::OldDeployment], "{text}");
        }
        let (found, _) = kinds_of("canaryapps.v1.canary.atze.io/hello").unwrap();
        assert_eq!(found, [KanaryKind::CanaryApp]);
        for (text, why) in [
            ("deployment/x", "write the name only"),
            ("kd.example.com/x", "is not a kind of Kanary"),
            ("kd/", "has no name"),
        ] {
            let error = kinds_of(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
