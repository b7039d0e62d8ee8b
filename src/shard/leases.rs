//! Requests for Leases: compare-and-swap on the version that was read, or plain reads.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kanary_core::api::names::FIELD_MANAGER;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};

use super::lease::{self, Read, Session, Shard, session_name, shard_name};
use crate::cluster::{client::within, error::ApiError};

/// The Leases of a namespace.
#[derive(Clone, Debug)]
pub struct Leases {
    api: Api<Lease>,
    namespace: String,
    shards: u16,
}

impl Leases {
    /// Sessions and the Leases of `shards` shards.
    #[must_use]
    pub fn new(client: Client, namespace: &str, shards: u16) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            shards,
        }
    }

    /// Reads the session of a replica.
    ///
    /// # Errors
    ///
    /// The request failed or timed out.
    pub async fn session(&self, identity: &str, patience: Duration) -> Result<Option<Session>, ApiError> {
        match self.get(session_name(identity), patience).await? {
            Some(Read::Session(session)) => Ok(Some(session)),
            _ => Ok(None),
        }
    }

    /// Reads the Lease of a shard.
    ///
    /// # Errors
    ///
    /// As [`Leases::session`].
    pub async fn shard(&self, index: u16, patience: Duration) -> Result<Option<Shard>, ApiError> {
        match self.get(shard_name(self.shards, index), patience).await? {
            Some(Read::Shard(shard)) => Ok(Some(shard)),
            _ => Ok(None),
        }
    }

    fn failed(&self, verb: &'static str, name: &str, source: kube::Error) -> ApiError {
        ApiError::new(verb, "Lease".into(), &self.namespace, name, source)
    }

    async fn get(&self, name: String, patience: Duration) -> Result<Option<Read>, ApiError> {
        let found = within(patience, self.api.get_opt(&name)).await;
        let found = found.map_err(|error| self.failed("get", &name, error))?;
        Ok(found.and_then(|lease| lease::read(&lease, self.shards)))
    }

    /// Updates a session at the version it has, or creates it if it has none. Returns the stored session.
    ///
    /// # Errors
    ///
    /// Another client wrote it first, or the request failed or timed out.
    pub async fn write_session(
        &self,
        session: &Session,
        now: Timestamp,
        patience: Duration,
    ) -> Result<Session, ApiError> {
        let written = self.write(&session.write(now), patience).await?;
        match lease::read(&written, self.shards) {
            Some(Read::Session(session)) => Ok(session),
            _ => Ok(session.clone()),
        }
    }

    /// Updates the Lease of a shard at the version it has, or creates it if it has none. Returns the stored Lease.
    ///
    /// # Errors
    ///
    /// As [`Leases::write_session`].
    pub async fn write_shard(&self, shard: &Shard, now: Timestamp, patience: Duration) -> Result<Shard, ApiError> {
        let written = self.write(&shard.write(self.shards, now), patience).await?;
        match lease::read(&written, self.shards) {
            Some(Read::Shard(shard)) => Ok(shard),
            _ => Ok(shard.clone()),
        }
    }

    async fn write(&self, lease: &Lease, patience: Duration) -> Result<Lease, ApiError> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let name = lease.metadata.name.clone().unwrap_or_default();
        if lease.metadata.resource_version.is_none() {
            let created = within(patience, self.api.create(&params, lease)).await;
            return created.map_err(|error| self.failed("create", &name, error));
        }
        let replaced = within(patience, self.api.replace(&name, &params, lease)).await;
        replaced.map_err(|error| self.failed("write", &name, error))
    }

    /// Deletes a session that has ended, with the version that was read as a precondition.
    ///
    /// # Errors
    ///
    /// The session has changed, or the request failed or timed out.
    pub async fn delete(&self, session: &Session) -> Result<(), ApiError> {
        let name = session_name(&session.identity);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: session.version.clone(),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        let deleted = within(Duration::from_secs(5), self.api.delete(&name, &params)).await;
        deleted.map(drop).map_err(|error| self.failed("delete", &name, error))
    }
}
