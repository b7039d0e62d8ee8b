//! The conversion webhook, if it is switched on.

use std::sync::Arc;

use kanary_core::api::KanaryKind;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Error, Parts, Tasks, spawn};
use crate::{
    cluster::clock::Clock,
    webhook::{self, Webhook, WebhookOptions},
};

/// Binds the address of the webhook.
pub(super) async fn listen(options: Option<&WebhookOptions>) -> Result<Option<TcpListener>, Error> {
    let Some(WebhookOptions { addr, .. }) = options else {
        return Ok(None);
    };
    let listener = webhook::listen(*addr).await;
    listener
        .map(Some)
        .map_err(|source| Error::Listen { addr: *addr, source })
}

impl Parts {
    /// Starts the webhook.
    pub(super) fn convert(
        &self,
        (options, (listener, stop)): (WebhookOptions, (TcpListener, CancellationToken)),
        client: Client,
        clock: &Clock,
        kinds: &[KanaryKind],
        tasks: &mut Tasks,
    ) -> Arc<Webhook> {
        let member = self.member.clone();
        let parts = webhook::Parts {
            client,
            clock: clock.clone(),
            kinds: kinds.to_vec(),
            leads: Box::new(move || member.as_ref().is_none_or(|member| member.leads())),
            metrics: self.context.metrics.conversions.clone(),
        };
        let (webhook, server, keeper) = webhook::start(listener, options, parts, stop);
        spawn(tasks, "conversions", server);
        spawn(tasks, "certificate", keeper);
        webhook
    }
}
