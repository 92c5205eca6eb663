//! Where the lease is kept. Every write is a compare-and-swap: it creates what is not there, or replaces the version
//! that was read. None is ever forced.

use std::future::Future;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};

use crate::reconcilers::write::MANAGER;

/// Why a lease was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Somebody else was faster, so nothing was written.
    #[error("somebody else has written it meanwhile")]
    Outdated,
    /// Not answered in time; a write may have been done.
    #[error("the API server did not answer in time")]
    Silence,
    /// Refused, or not reached.
    #[error(transparent)]
    Refused(#[from] kube::Error),
}

/// The one lease that a candidate is about.
pub trait Leases {
    /// How people find it.
    fn describe(&self) -> String;

    /// Its name.
    fn name(&self) -> &str;

    /// Reads it.
    fn get(&self) -> impl Future<Output = Result<Option<Lease>, Failure>> + Send;

    /// Creates it, if it is not there.
    fn create(&self, lease: &Lease) -> impl Future<Output = Result<Lease, Failure>> + Send;

    /// Replaces the version that was read.
    fn replace(&self, lease: &Lease) -> impl Future<Output = Result<Lease, Failure>> + Send;
}

/// A lease in the API server.
pub struct ApiLease {
    api: Api<Lease>,
    namespace: String,
    name: String,
}

impl ApiLease {
    /// The lease of this name in this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl Leases for ApiLease {
    fn describe(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn get(&self) -> Result<Option<Lease>, Failure> {
        Ok(self.api.get_opt(&self.name).await?)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, Failure> {
        self.api.create(&parameters(), lease).await.map_err(|error| outdated(error, &[409]))
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Failure> {
        self.api.replace(&self.name, &parameters(), lease).await.map_err(|error| outdated(error, &[404, 409]))
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// The refusals with one of these codes say that what was read is not so any more.
fn outdated(error: kube::Error, codes: &[u16]) -> Failure {
    match error {
        kube::Error::Api(status) if codes.contains(&status.code) => Failure::Outdated,
        error => Failure::Refused(error),
    }
}
