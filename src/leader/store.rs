//! Reads and writes of the lease. Every write is a compare-and-swap: it creates a lease that does not exist,
//! or replaces the version that was read. No write is forced.

use std::future::Future;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, core::Status};

use crate::kube_api::{Error, request::post_params};

/// Access to the one lease of an election. [`Error::Conflict`] says that another process has created, changed
/// or deleted the lease since it was read.
pub(crate) trait Leases {
    /// `namespace/name`, for logs.
    fn describe(&self) -> String;

    fn name(&self) -> &str;

    fn get(&self) -> impl Future<Output = Result<Option<Lease>, Error>> + Send;

    /// Creates the lease, which must not exist.
    fn create(&self, lease: &Lease) -> impl Future<Output = Result<Lease, Error>> + Send;

    /// Replaces the version of the lease that was read.
    fn replace(&self, lease: &Lease) -> impl Future<Output = Result<Lease, Error>> + Send;
}

/// A lease in the API server.
pub(crate) struct ApiLease {
    api: Api<Lease>,
    namespace: String,
    name: String,
}

impl ApiLease {
    /// The lease of this name in this namespace.
    pub(crate) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The error of a request. `is_outdated` recognizes the answers that mean [`Error::Conflict`].
    fn error(&self, verb: &str, cause: kube::Error, is_outdated: impl FnOnce(&Status) -> bool) -> Error {
        let action = format!("{verb} Lease {}", self.describe());
        match &cause {
            kube::Error::Api(status) if is_outdated(status) => Error::Conflict { action },
            _ => Error::new(action, cause),
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

    async fn get(&self) -> Result<Option<Lease>, Error> {
        self.api.get_opt(&self.name).await.map_err(|error| self.error("read", error, |_| false))
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, Error> {
        let created = self.api.create(&post_params(), lease).await;
        // "Not found" means here that there is no such namespace.
        created.map_err(|error| self.error("create", error, Status::is_already_exists))
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Error> {
        let replaced = self.api.replace(&self.name, &post_params(), lease).await;
        replaced.map_err(|error| {
            self.error("replace", error, |status| status.is_not_found() || status.is_conflict())
        })
    }
}
