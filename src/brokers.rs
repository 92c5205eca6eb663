//! The connections to brokers: one client per broker object, made when first needed, with the credentials from its
//! Secret, and the limits on what may be under way at once.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client as KubeClient};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{
    crd::{
        ClusterWide, Namespaced, Scope, ScopeKind,
        broker::{AuthMethod, CommonServiceBrokerSpec, SecretAuth},
        scope::BrokerObject as _,
    },
    osb::{Authentication, Client, Endpoint, Hindrance, Outcome, RefusalReason, Settings, Unsent},
    reconcilers::write::timed,
    stores::Stores,
};

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
#[derive(Clone, Debug)]
pub struct Lane {
    /// A broker is asked only so many things at once.
    pub broker: BrokerKey,
    /// Of two requests that change the same instance, bindings included, one waits for the other (OSB 2.17,
    /// "Blocking Operations": whether they may overlap is the broker's choice, so they do not).
    pub instance_id: Option<String>,
}

/// The right to send one request now. Gives its place back when dropped.
pub struct Slot {
    _instance: Option<OwnedMutexGuard<()>>,
    _broker: Option<OwnedSemaphorePermit>,
}

/// All brokers that this process has talked to.
pub struct Brokers {
    client: KubeClient,
    settings: Settings,
    concurrency: usize,
    known: Mutex<HashMap<BrokerKey, Arc<Known>>>,
    instances: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

struct Known {
    slots: Arc<Semaphore>,
    connection: AsyncMutex<Option<Connection>>,
}

struct Connection {
    common: CommonServiceBrokerSpec,
    auth: Option<SecretAuth>,
    authentication: Authentication,
    client: Arc<Client>,
}

/// What a broker object says about how to reach it.
struct Address {
    common: CommonServiceBrokerSpec,
    auth: Option<SecretAuth>,
}

impl Brokers {
    /// No connection yet; each broker gets `concurrency` requests at once.
    #[must_use]
    pub fn new(client: KubeClient, settings: Settings, concurrency: usize) -> Self {
        Self { client, settings, concurrency, known: Mutex::default(), instances: Mutex::default() }
    }

    /// Waits for the right to send a request. Waiting happens *before* an intent is recorded, so that between intent and
    /// request no time passes and the object is checked to be current after the wait.
    pub async fn slot(&self, lane: &Lane) -> Slot {
        let instance = match &lane.instance_id {
            Some(id) => Some(self.instance_lock(id).lock_owned().await),
            None => None,
        };
        let slots = Arc::clone(&self.known(&lane.broker).slots);
        // The semaphore is never closed, so the error cannot occur; without a permit the request would go anyway.
        Slot { _instance: instance, _broker: slots.acquire_owned().await.ok() }
    }

    /// Sends a request to a broker. When the broker does not accept the credentials (401), they are read again, and if
    /// they have changed, the request is sent once more: a 401 has no effect, so repeating it is safe.
    pub async fn ask<T, F>(
        &self,
        stores: &Stores,
        key: &BrokerKey,
        request: impl Fn(Arc<Client>) -> F + Send,
    ) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>> + Send,
    {
        let client = match self.connect(stores, key, None).await {
            Ok(client) => client,
            Err(unsent) => return Outcome::Unsent(unsent),
        };
        let outcome = request(Arc::clone(&client)).await;
        let refused = matches!(&outcome, Outcome::Refused(refusal) if refusal.status == 401 && refusal.reason == RefusalReason::Unauthorized);
        if !refused {
            return outcome;
        }
        match self.connect(stores, key, Some(&client)).await {
            Ok(renewed) if !Arc::ptr_eq(&renewed, &client) => request(renewed).await,
            _ => outcome,
        }
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
            && present.common == address.common
            && present.auth == address.auth
            && rejected.is_none_or(|rejected| !Arc::ptr_eq(rejected, &present.client))
        {
            return Ok(Arc::clone(&present.client));
        }
        let authentication = self.authentication(key, address.auth.as_ref()).await?;
        if let Some(present) = connection.as_ref()
            && present.common == address.common
            && present.authentication == authentication
        {
            return Ok(Arc::clone(&present.client));
        }
        let endpoint = Endpoint {
            url: address.common.url.clone(),
            auth: authentication.clone(),
            ca_bundle: address.common.ca_bundle.as_ref().map(|bytes| bytes.0.clone()),
            insecure_skip_tls_verify: address.common.insecure_skip_tls_verify,
        };
        let client =
            Client::new(&endpoint, &self.settings).map_err(|error| unusable(format!("{key}: {error}")))?;
        let client = Arc::new(client);
        let Address { common, auth } = address;
        *connection = Some(Connection { common, auth, authentication, client: Arc::clone(&client) });
        Ok(client)
    }

    async fn authentication(
        &self,
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
        let place = format!("{}/{}", auth.namespace, auth.name);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &auth.namespace);
        let secret = timed(&format!("read Secret {place}"), secrets.get_opt(&auth.name))
            .await
            .map_err(|error| unusable(format!("{key}: {field}: {error}")))?;
        let secret = secret.ok_or_else(|| {
            unusable(format!("{key}: the Secret {place} that {field} names does not exist; create it"))
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
    fn of<S: Scope>(stores: &crate::stores::ScopeStores<S>, key: &BrokerKey) -> Option<Address> {
        let broker = stores.broker(key.namespace.as_deref(), &key.name)?;
        Some(Address { common: transport(broker.common()), auth: broker.auth() })
    }
    let address = match key.scope {
        ScopeKind::Cluster => of::<ClusterWide>(&stores.cluster, key),
        ScopeKind::Namespace => of::<Namespaced>(&stores.namespaced, key),
    };
    address.ok_or_else(|| unusable(format!("the {key} does not exist; create it again")))
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
