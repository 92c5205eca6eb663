//! The connections to brokers: one client for each broker object, made when it is first needed, with the
//! credentials from its Secret. [`permits`]: the limits on requests at the same time; `turns`: whose is next. [`catalogs`]: the last
//! catalog of each broker.

pub mod catalogs;
pub mod permits;
mod turns;

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::{Client as KubeClient, ResourceExt as _};
use tokio::sync::Mutex as AsyncMutex;

pub use self::turns::Lane;
use self::{
    catalogs::{KeptCatalog, KeptCatalogs, Revision},
    permits::{ConcurrencyKey, IdLocks, Permit},
    turns::{Places, Tenant},
};
use crate::{
    caches::{Caches, ScopeCaches},
    crd::{
        ClusterWide, Namespaced, Scope, ScopeKind,
        broker::{AuthMethod, SecretAuth},
        common::BrokerKey,
        scope::{BrokerObject as _, Object as _},
    },
    kube_api::secrets::{Keys, SecretValues, read_secret},
    memory_budget::{MemoryBudget, REQUEST},
    metrics::Metrics,
    osb::{
        ApiVersion, Authentication, Catalog, Client, ClientSettings, Egress, Endpoint, InvalidCatalog,
        Limits, Outcome, RefusalReason, Unsent, UnsentReason, client::Exchange,
    },
    printable::display,
};

/// What a user can do whose namespace is being deleted and no longer has the credentials of its broker.
const NO_MORE_SECRETS: &str = ", and none can be created in a namespace that is being deleted: have what is left deleted at \
                               the broker, then remove the finalizers (svcat deprovision --abandon)";

/// All brokers that this process has sent requests to.
pub struct Brokers {
    client: KubeClient,
    settings: ClientSettings,
    limits: Arc<Limits>,
    concurrency: usize,
    memory: Arc<MemoryBudget>,
    metrics: Arc<Metrics>,
    connections: Mutex<HashMap<BrokerKey, Arc<BrokerConnection>>>,
    locks: IdLocks,
    /// The places for requests to all brokers: as many as the memory for them allows.
    requests: Arc<Places<Tenant>>,
    catalogs: KeptCatalogs,
    /// Brokers that have said since the last fetch that their catalog has changed.
    outdated: Mutex<HashSet<BrokerKey>>,
    outdated_sender: UnboundedSender<BrokerKey>,
}

struct BrokerConnection {
    turns: Arc<Places>,
    current: AsyncMutex<Option<Connection>>,
    failed: Mutex<Option<FailedConnection>>,
}

/// Why there is no client for a broker.
struct FailedConnection {
    address: BrokerAddress,
    unsent: Unsent,
    at: Instant,
}

/// How long a failure is believed before the Secret of a broker is read again. All objects of the broker ask for it.
const BELIEVED: Duration = Duration::from_secs(1);

struct Connection {
    address: BrokerAddress,
    endpoint: Endpoint,
    client: Arc<Client>,
}

impl BrokerConnection {
    /// Why there was no client for this address a moment ago.
    fn failure(&self, address: &BrokerAddress) -> Option<Unsent> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failed.as_ref().filter(|failed| failed.address == *address)?;
        (failed.at.elapsed() < BELIEVED).then(|| failed.unsent.clone())
    }

    fn note_failure(&self, address: &BrokerAddress, unsent: &Unsent) {
        let failed =
            FailedConnection { address: address.clone(), unsent: unsent.clone(), at: Instant::now() };
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
    }
}

/// How to reach a broker, according to its object.
#[derive(Clone, PartialEq)]
struct BrokerAddress {
    /// Without credentials: these are in the Secret.
    endpoint: Endpoint,
    version: ApiVersion,
    auth: Option<SecretAuth>,
}

impl Brokers {
    /// No connections yet. Each broker gets up to `concurrency` requests at once. `limits` are those of
    /// namespaced brokers. The stream yields the brokers whose catalog has to be fetched because an answer of
    /// theirs said so.
    #[must_use]
    pub fn new(
        client: KubeClient,
        settings: ClientSettings,
        limits: Limits,
        concurrency: usize,
        memory: Arc<MemoryBudget>,
        metrics: Arc<Metrics>,
    ) -> (Self, UnboundedReceiver<BrokerKey>) {
        let (outdated_sender, receiver) = unbounded();
        let brokers = Self {
            client,
            settings,
            limits: Arc::new(limits),
            concurrency,
            requests: Places::new((memory.requests / REQUEST).max(1)),
            catalogs: KeptCatalogs::within(memory.kept_catalogs),
            memory,
            metrics,
            connections: Mutex::default(),
            locks: IdLocks::default(),
            outdated: Mutex::default(),
            outdated_sender,
        };
        (brokers, receiver)
    }

    /// The right to send a request, if there is no need to wait for it. Call this or [`Self::acquire`] *before* the
    /// intent is recorded, so that no time passes between the intent and the request.
    pub fn try_acquire(&self, caches: &Caches, key: &ConcurrencyKey) -> Option<Permit> {
        let locks = self.locks.try_lock(key, &caches.reached_broker(&key.broker))?;
        let place = self.connection(&key.broker).turns.try_take(&key.lane)?;
        let request = self.requests.try_take(&Tenant::of(&key.broker))?;
        Some(Permit { _locks: locks, _place: place, _request: request })
    }

    /// Waits for the right to send a request.
    pub async fn acquire(&self, caches: &Caches, key: &ConcurrencyKey) -> Permit {
        let turns = Arc::clone(&self.connection(&key.broker).turns);
        let locks = self.locks.lock(key, &caches.reached_broker(&key.broker)).await;
        let place = turns.take(&key.lane).await;
        let request = self.requests.take(&Tenant::of(&key.broker)).await;
        Permit { _locks: locks, _place: place, _request: request }
    }

    /// Ends when somebody who begins to wait now for this broker has to say so. Returns how many requests are under way.
    pub async fn long_wait(&self, key: &ConcurrencyKey) -> usize {
        let turns = Arc::clone(&self.connection(&key.broker).turns);
        turns.notice().await;
        turns.under_way()
    }

    /// Sends a request to a broker. When the broker does not accept the credentials (401, or 403 of a
    /// gateway), reads their Secret again, and if they have changed, sends the request once more. Such a
    /// refusal has no effect at the broker, so repeating the request is safe.
    pub async fn ask<T, F>(
        &self,
        caches: &Caches,
        key: &BrokerKey,
        request: impl Fn(Arc<Client>) -> F + Send,
    ) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>> + Send,
    {
        // The quiet period is correct only if a request is sent soon after its intent, or not at all.
        let (begun, patience) = (Instant::now(), self.settings.request_timeout / 2);
        let client = match self.connect(caches, key, None).await {
            Ok(client) => client,
            Err(unsent) => return Outcome::Unsent(unsent),
        };
        if begun.elapsed() > patience {
            return Outcome::Unsent(misconfigured(format!(
                "{key}: reading its Secret took too long; the operator tries again"
            )));
        }
        let outcome = request(Arc::clone(&client)).await;
        self.note_outdated_catalog(key, &outcome);
        if !is_refused_for(&outcome, RefusalReason::Unauthorized) {
            return outcome;
        }
        match self.connect(caches, key, Some(&client)).await {
            Ok(renewed) if !Arc::ptr_eq(&renewed, &client) && begun.elapsed() <= patience => {
                request(renewed).await
            }
            _ => outcome,
        }
    }

    /// The catalog of a broker: a new one, or the last one if the broker answers that it has not changed
    /// (304).
    ///
    /// The request is conditional only if the same client (same address, same credentials) got the last
    /// catalog, for the same revision of the broker object (so that `relistRequests` always fetches in full),
    /// in the same process, and if no request for the catalog has failed since. The caller compares an
    /// unchanged catalog with the classes and plans like a new one.
    pub async fn catalog(
        &self,
        caches: &Caches,
        key: &BrokerKey,
        revision: &Revision,
    ) -> Outcome<Result<Arc<Catalog>, InvalidCatalog>> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        let kept = self.catalogs.take(key);
        let fetch = |client: Arc<Client>| {
            let before = kept.as_ref().and_then(|kept| kept.usable_for(&client, revision)).cloned();
            async move {
                let outcome = client.catalog(before.as_ref()).await;
                outcome.map(|result| result.map(|fetched| (Arc::downgrade(&client), fetched)))
            }
        };
        let outcome = self.ask(caches, key, fetch).await;
        outcome.map(|result| {
            let (client, fetched) = result?;
            if let Some(document) = fetched.document {
                self.catalogs.keep(key, KeptCatalog { revision: revision.clone(), client, document });
            }
            Ok(fetched.catalog)
        })
    }

    /// A broker answers `MaintenanceInfoConflict` when its catalog has changed. Then the operator fetches the
    /// catalog again (OSB 2.17, "Service Broker Errors").
    fn note_outdated_catalog<T>(&self, key: &BrokerKey, outcome: &Outcome<T>) {
        if is_refused_for(outcome, RefusalReason::MaintenanceInfoConflict) {
            self.outdated.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
            // This fails only when the operator stops and the receiver is gone.
            let _ = self.outdated_sender.unbounded_send(key.clone());
        }
    }

    /// Whether a broker has said since the last fetch that its catalog has changed.
    pub fn is_catalog_outdated(&self, key: &BrokerKey) -> bool {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Why no request can be sent to the broker, as far as this cluster can tell: its object, or the Secret
    /// that it names. Check this before an intent is written, so that waiting for a Secret costs no writes.
    pub async fn precondition_error(&self, caches: &Caches, key: &BrokerKey) -> Option<String> {
        self.connect(caches, key, None).await.err().map(|unsent| unsent.message.to_string())
    }

    /// Drops everything about a broker whose object is gone.
    pub fn forget(&self, key: &BrokerKey) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.catalogs.take(key);
        self.metrics.forget(key);
    }

    /// The client for a broker: the present one if the broker object still says the same, else a new one.
    /// `rejected` is a client whose credentials the broker did not accept: then the Secret is read again.
    async fn connect(
        &self,
        caches: &Caches,
        key: &BrokerKey,
        rejected: Option<&Arc<Client>>,
    ) -> Result<Arc<Client>, Unsent> {
        let address = address(caches, key)?;
        let connection = self.connection(key);
        let mut current = connection.current.lock().await;
        if let Some(present) = current.as_ref()
            && present.address == address
            && rejected.is_none_or(|rejected| !Arc::ptr_eq(rejected, &present.client))
        {
            return Ok(Arc::clone(&present.client));
        }
        if let Some(unsent) = connection.failure(&address).filter(|_| rejected.is_none()) {
            return Err(unsent);
        }
        let auth = self.authentication(caches, key, address.auth.as_ref()).await;
        let auth = auth.inspect_err(|unsent| connection.note_failure(&address, unsent))?;
        let endpoint = Endpoint { auth, ..address.endpoint.clone() };
        let unchanged = current
            .as_ref()
            .filter(|present| present.endpoint == endpoint && present.address.version == address.version);
        let client = match unchanged {
            Some(present) => Arc::clone(&present.client),
            None => Arc::new(self.client_for(key, &endpoint, address.version)?),
        };
        *current = Some(Connection { address, endpoint, client: Arc::clone(&client) });
        Ok(client)
    }

    fn client_for(
        &self,
        key: &BrokerKey,
        endpoint: &Endpoint,
        version: ApiVersion,
    ) -> Result<Client, Unsent> {
        let egress = match key.scope {
            ScopeKind::Cluster => Egress::Open,
            ScopeKind::Namespace => Egress::Limited(Arc::clone(&self.limits)),
        };
        let settings = ClientSettings { api_version: version, egress, ..self.settings.clone() };
        let client =
            Client::new(endpoint, &settings).map_err(|error| misconfigured(format!("{key}: {error}")))?;
        let (metrics, broker) = (Arc::clone(&self.metrics), key.clone());
        let client = client.within(Arc::clone(&self.memory));
        Ok(client.observed_by(Arc::new(move |exchange| {
            metrics.broker_request(&broker, exchange);
            log(&broker, exchange);
        })))
    }

    async fn authentication(
        &self,
        caches: &Caches,
        key: &BrokerKey,
        auth: Option<&SecretAuth>,
    ) -> Result<Authentication, Unsent> {
        let Some(auth) = auth else {
            return Ok(Authentication::None);
        };
        let field = match auth.method {
            AuthMethod::Basic => "spec.authInfo.basic.secretRef",
            AuthMethod::Bearer => "spec.authInfo.bearer.secretRef",
        };
        if auth.name.is_empty() || auth.namespace.is_empty() {
            let message = format!(
                "{key}: {field} does not name a Secret; set its name (and, for a ClusterServiceBroker, namespace)"
            );
            return Err(misconfigured(message));
        }
        let place = display(&format!("{}/{}", auth.namespace, auth.name));
        let keys = match auth.method {
            AuthMethod::Basic => Keys::Only(&["username", "password"]),
            AuthMethod::Bearer => Keys::Only(&["token"]),
        };
        let secret = read_secret(&self.client, &self.memory.secrets, (&auth.namespace, &auth.name), keys)
            .await
            .map_err(|error| misconfigured(format!("{key}: {field}: {error}")))?;
        let secret = secret.ok_or_else(|| {
            let remedy = if key.scope == ScopeKind::Namespace && caches.is_namespace_ending(&auth.namespace) {
                NO_MORE_SECRETS
            } else {
                "; create it"
            };
            misconfigured(format!("{key}: the Secret {place} that {field} names does not exist{remedy}"))
        })?;
        let text = |name: &str| {
            credential(&secret, name).map_err(|what| {
                misconfigured(format!(
                    "{key}: the Secret {place} that {field} names {what}; set the key {name:?}"
                ))
            })
        };
        Ok(match auth.method {
            AuthMethod::Basic => {
                Authentication::Basic { username: text("username")?, password: text("password")? }
            }
            AuthMethod::Bearer => Authentication::Bearer { token: text("token")? },
        })
    }

    fn connection(&self, key: &BrokerKey) -> Arc<BrokerConnection> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(BrokerConnection {
                turns: Places::new(self.concurrency),
                current: AsyncMutex::default(),
                failed: Mutex::default(),
            })
        };
        Arc::clone(connections.entry(key.clone()).or_insert_with(new))
    }
}

/// Writes one line for each request.
fn log(broker: &BrokerKey, exchange: &Exchange) {
    let Exchange { operation, request_id, status, outcome, duration } = exchange;
    let (operation, milliseconds) = (operation.name(), duration.as_millis());
    tracing::info!(%broker, operation, status, outcome, milliseconds, %request_id, "broker request finished");
}

fn is_refused_for<T>(outcome: &Outcome<T>, reason: RefusalReason) -> bool {
    matches!(outcome, Outcome::Refused(refusal) if refusal.reason == reason)
}

fn address(caches: &Caches, key: &BrokerKey) -> Result<BrokerAddress, Unsent> {
    type Found = Option<Result<BrokerAddress, String>>;
    fn of<S: Scope>(caches: &ScopeCaches<S>, key: &BrokerKey) -> Found {
        let broker = caches.broker(key.namespace.as_deref(), &key.name)?;
        if let Some(defects) = broker.defects().filter(|defects| !defects.spec.is_empty()) {
            return Some(Err(format!("the operator cannot read {defects}; correct the object")));
        }
        let common = broker.common();
        let endpoint = Endpoint {
            url: common.url.clone(),
            auth: Authentication::None,
            ca_bundle: common.ca_bundle.as_ref().map(|bytes| bytes.0.clone()),
            insecure_skip_tls_verify: common.insecure_skip_tls_verify,
        };
        let version = ApiVersion::of_annotations(broker.annotations()).map_err(|invalid| invalid.to_string());
        Some(version.map(|version| BrokerAddress { endpoint, version, auth: broker.auth() }))
    }
    let address = match key.scope {
        ScopeKind::Cluster => of::<ClusterWide>(&caches.cluster, key),
        ScopeKind::Namespace => of::<Namespaced>(&caches.namespaced, key),
    };
    let address =
        address.ok_or_else(|| misconfigured(format!("the {key} does not exist; create it again")))?;
    address.map_err(|invalid| misconfigured(format!("{key}: {invalid}")))
}

/// A request that cannot be sent because something in this cluster is missing or wrong.
fn misconfigured(message: String) -> Unsent {
    Unsent { message: message.into(), reason: UnsentReason::Configuration }
}

/// The longest user name, password or token, in bytes. Servers refuse headers of far less, and a broker keeps its
/// credentials in memory.
const MAX_CREDENTIAL: usize = 16 << 10;

fn credential(secret: &SecretValues, key: &str) -> Result<String, &'static str> {
    let bytes = secret.get(key).ok_or("lacks a key")?;
    if bytes.len() > MAX_CREDENTIAL {
        return Err("has a value of more than 16 KiB");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "has a value that is not UTF-8")?;
    Ok(text.to_owned())
}
