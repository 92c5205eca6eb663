//! The connections to brokers: one client per broker object, made when first needed, with the credentials from its
//! Secret, and the limits on what may be under way at once.

mod catalogs;

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Instant,
};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::core::v1::Secret;
use kube::{Client as KubeClient, ResourceExt as _};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use self::catalogs::Kept;
pub use self::catalogs::Revision;
use crate::{
    crd::{
        ClusterWide, Namespaced, Scope, ScopeKind,
        broker::{AuthMethod, CommonServiceBrokerSpec, SecretAuth},
        scope::BrokerObject as _,
    },
    metrics::Metrics,
    osb::{
        ApiVersion, Authentication, Client, Endpoint, Hindrance, Outcome, Refusal, RefusalReason, Settings,
        Unsent, text::display, version::InvalidVersion,
    },
    reconcilers::secret::find_secret,
    stores::Stores,
};

/// What is left to a user whose namespace has lost the credentials for its broker before what was ordered there.
const NO_MORE_SECRETS: &str = ", and none can be created in a namespace that is being deleted: have what is left deleted at \
                               the broker, then remove the finalizers (svcat deprovision --abandon)";

/// Which broker object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BrokerKey {
    /// Cluster-wide or of a namespace.
    pub scope: ScopeKind,
    /// The namespace, for a `ServiceBroker`.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl BrokerKey {
    /// The key of a broker of a scope; the namespace is dropped for cluster-wide ones.
    #[must_use]
    pub fn new(scope: ScopeKind, namespace: Option<&str>, name: &str) -> Self {
        let namespace = match scope {
            ScopeKind::Cluster => None,
            ScopeKind::Namespace => namespace.map(str::to_owned),
        };
        Self { scope, namespace, name: name.to_owned() }
    }
}

impl std::fmt::Display for BrokerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            None => write!(f, "ClusterServiceBroker {}", self.name),
            Some(namespace) => write!(f, "ServiceBroker {namespace}/{}", self.name),
        }
    }
}

/// The limits that a request is subject to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lane {
    /// A broker is asked only so many things at once.
    pub broker: BrokerKey,
    /// Of two requests that change the same instance, bindings included, one waits for the other (OSB 2.17,
    /// "Blocking Operations": whether they may overlap is the broker's choice, so they do not).
    pub instance_id: Option<String>,
}

/// The right to send one request now. Gives its place back when dropped.
pub struct Slot {
    /// Whether it had to be waited for, so that what was seen before may not be so any more.
    pub waited: bool,
    _instance: Option<OwnedMutexGuard<()>>,
    _broker: Option<OwnedSemaphorePermit>,
}

/// All brokers that this process has talked to.
pub struct Brokers {
    client: KubeClient,
    settings: Settings,
    concurrency: usize,
    metrics: Arc<Metrics>,
    known: Mutex<HashMap<BrokerKey, Arc<Known>>>,
    outdated: UnboundedSender<BrokerKey>,
    instances: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

struct Known {
    slots: Arc<Semaphore>,
    connection: AsyncMutex<Option<Connection>>,
    catalog: Mutex<Option<Kept>>,
    /// The broker has said that the catalog is not what it was.
    outdated: AtomicBool,
}

struct Connection {
    address: Address,
    authentication: Authentication,
    client: Arc<Client>,
}

/// What a broker object says about how to reach it.
#[derive(PartialEq)]
struct Address {
    transport: Transport,
    auth: Option<SecretAuth>,
}

/// The part of it that does not need a Secret.
#[derive(PartialEq)]
struct Transport {
    common: CommonServiceBrokerSpec,
    version: ApiVersion,
}

impl Brokers {
    /// No connection yet; each broker gets `concurrency` requests at once. The stream tells of brokers whose catalog is to
    /// be fetched, since an answer has said so.
    #[must_use]
    pub fn new(
        client: KubeClient,
        settings: Settings,
        concurrency: usize,
        metrics: Arc<Metrics>,
    ) -> (Self, UnboundedReceiver<BrokerKey>) {
        let (outdated, told) = unbounded();
        let (known, instances) = (Mutex::default(), Mutex::default());
        (Self { client, settings, concurrency, metrics, known, outdated, instances }, told)
    }

    /// Waits for the right to send a request, and says so before it does. Waiting happens *before* an intent is recorded, so
    /// that between intent and request no time passes and the object is checked to be current after the wait.
    pub async fn slot(&self, lane: &Lane, mut waits: impl FnMut()) -> Slot {
        let mut waited = false;
        let mut instance = None;
        if let Some(id) = &lane.instance_id {
            let lock = self.instance_lock(id);
            instance = Arc::clone(&lock).try_lock_owned().ok();
            if instance.is_none() {
                waits();
                waited = true;
                instance = Some(lock.lock_owned().await);
            }
        }
        let slots = Arc::clone(&self.known(&lane.broker).slots);
        let mut broker = Arc::clone(&slots).try_acquire_owned().ok();
        if broker.is_none() {
            waits();
            waited = true;
            // The semaphore is never closed, so the error cannot occur; without a permit the request would go anyway.
            broker = slots.acquire_owned().await.ok();
        }
        Slot { waited, _instance: instance, _broker: broker }
    }

    /// Sends a request to a broker. When the broker does not accept the credentials (401, or a gateway's 403), they are read
    /// again, and if they have changed, the request is sent once more: such a refusal has no effect, so repeating it is safe.
    pub async fn ask<T, F>(
        &self,
        stores: &Stores,
        key: &BrokerKey,
        request: impl Fn(Arc<Client>) -> F + Send,
    ) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>> + Send,
    {
        // The quiet period counts on a request to leave soon after its intent, or not at all.
        let (begun, patience) = (Instant::now(), self.settings.request_timeout / 2);
        let client = match self.connect(stores, key, None).await {
            Ok(client) => client,
            Err(unsent) => return Outcome::Unsent(unsent),
        };
        if begun.elapsed() > patience {
            return Outcome::Unsent(unusable(format!(
                "{key}: reading its Secret took too long; it is tried again"
            )));
        }
        let outcome = request(Arc::clone(&client)).await;
        self.look_for_conflict(key, &outcome);
        let refused = |refusal: &Refusal| refusal.reason == RefusalReason::Unauthorized;
        if !matches!(&outcome, Outcome::Refused(refusal) if refused(refusal)) {
            return outcome;
        }
        match self.connect(stores, key, Some(&client)).await {
            Ok(renewed) if !Arc::ptr_eq(&renewed, &client) && begun.elapsed() <= patience => {
                request(renewed).await
            }
            _ => outcome,
        }
    }

    /// What in this cluster stands in the way of asking a broker: its object, the Secret that it names. Found out before
    /// an intent is written, so that waiting for a Secret costs no writes.
    pub async fn hindrance(&self, stores: &Stores, key: &BrokerKey) -> Option<String> {
        self.connect(stores, key, None).await.err().map(|unsent| unsent.message)
    }

    /// Forgets a broker whose object is gone.
    pub fn forget(&self, key: &BrokerKey) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The client for a broker: the one at hand if it still fits the broker object, else a new one. `rejected` is a
    /// client whose credentials the broker did not accept: then the Secret is read anew.
    async fn connect(
        &self,
        stores: &Stores,
        key: &BrokerKey,
        rejected: Option<&Arc<Client>>,
    ) -> Result<Arc<Client>, Unsent> {
        let address = address(stores, key)?;
        let known = self.known(key);
        let mut connection = known.connection.lock().await;
        if let Some(present) = connection.as_ref()
            && present.address == address
            && rejected.is_none_or(|rejected| !Arc::ptr_eq(rejected, &present.client))
        {
            return Ok(Arc::clone(&present.client));
        }
        let authentication = self.authentication(stores, key, address.auth.as_ref()).await?;
        if let Some(present) = connection.as_ref()
            && present.address.transport == address.transport
            && present.authentication == authentication
        {
            return Ok(Arc::clone(&present.client));
        }
        let Transport { common, version } = &address.transport;
        let endpoint = Endpoint {
            url: common.url.clone(),
            auth: authentication.clone(),
            ca_bundle: common.ca_bundle.as_ref().map(|bytes| bytes.0.clone()),
            insecure_skip_tls_verify: common.insecure_skip_tls_verify,
        };
        let settings = Settings { api_version: *version, ..self.settings.clone() };
        let client =
            Client::new(&endpoint, &settings).map_err(|error| unusable(format!("{key}: {error}")))?;
        let client = Arc::new(client.counted_by(self.metrics.of(key)));
        *connection = Some(Connection { address, authentication, client: Arc::clone(&client) });
        Ok(client)
    }

    async fn authentication(
        &self,
        stores: &Stores,
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
            return Err(unusable(message));
        }
        let place = display(&format!("{}/{}", auth.namespace, auth.name));
        let secret = find_secret(&self.client, &auth.namespace, &auth.name)
            .await
            .map_err(|error| unusable(format!("{key}: {field}: {error}")))?;
        let secret = secret.ok_or_else(|| {
            let remedy = if key.scope == ScopeKind::Namespace && stores.is_namespace_ending(&auth.namespace) {
                NO_MORE_SECRETS
            } else {
                "; create it"
            };
            unusable(format!("{key}: the Secret {place} that {field} names does not exist{remedy}"))
        })?;
        let text = |name: &str| {
            credential(&secret, name).map_err(|what| {
                unusable(format!("{key}: the Secret {place} that {field} names {what}; set the key {name:?}"))
            })
        };
        Ok(match auth.method {
            AuthMethod::Basic => {
                Authentication::Basic { username: text("username")?, password: text("password")? }
            }
            AuthMethod::Bearer => Authentication::Bearer { token: text("token")? },
        })
    }

    fn known(&self, key: &BrokerKey) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Known {
                slots: Arc::new(Semaphore::new(self.concurrency)),
                connection: AsyncMutex::default(),
                catalog: Mutex::default(),
                outdated: AtomicBool::default(),
            })
        };
        Arc::clone(known.entry(key.clone()).or_insert_with(new))
    }

    fn instance_lock(&self, id: &str) -> Arc<AsyncMutex<()>> {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        // A lock that only this map holds is nobody's: drop those now and then, so that the map does not grow for ever.
        if instances.len() >= 1024 {
            instances.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(instances.entry(id.to_owned()).or_default())
    }
}

fn address(stores: &Stores, key: &BrokerKey) -> Result<Address, Unsent> {
    type Found = Option<Result<Address, InvalidVersion>>;
    fn of<S: Scope>(stores: &crate::stores::ScopeStores<S>, key: &BrokerKey) -> Found {
        let broker = stores.broker(key.namespace.as_deref(), &key.name)?;
        let version = ApiVersion::of_annotations(broker.annotations());
        Some(version.map(|version| Address {
            transport: Transport { common: transport(broker.common()), version },
            auth: broker.auth(),
        }))
    }
    let address = match key.scope {
        ScopeKind::Cluster => of::<ClusterWide>(&stores.cluster, key),
        ScopeKind::Namespace => of::<Namespaced>(&stores.namespaced, key),
    };
    let address = address.ok_or_else(|| unusable(format!("the {key} does not exist; create it again")))?;
    address.map_err(|invalid| unusable(format!("{key}: {invalid}")))
}

/// A request that cannot be sent for want of what this cluster has to say.
fn unusable(message: String) -> Unsent {
    Unsent { message, hindrance: Hindrance::Settings }
}

/// The part of a broker's spec that a connection depends on.
fn transport(common: &CommonServiceBrokerSpec) -> CommonServiceBrokerSpec {
    CommonServiceBrokerSpec {
        url: common.url.clone(),
        insecure_skip_tls_verify: common.insecure_skip_tls_verify,
        ca_bundle: common.ca_bundle.clone(),
        ..CommonServiceBrokerSpec::default()
    }
}

fn credential(secret: &Secret, key: &str) -> Result<String, &'static str> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).ok_or("lacks a key")?;
    let text = std::str::from_utf8(&bytes.0).map_err(|_| "has a value that is not UTF-8")?;
    Ok(text.to_owned())
}
