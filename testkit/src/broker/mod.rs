//! A scripted Open Service Broker: truthful by default, and misbehaving exactly as a test says.
//!
//! Behind every answer is a model of what really exists, so a test can compare the cluster's claims
//! with the truth; in front of it are scripts that hide or distort the truth, before or after the
//! effect took place; and beside it is a journal of every request and of every rule a request broke.
//!
//! ```ignore
//! let broker = Broker::start().await;
//! broker.on(Operation::Provision).once().after_effect().respond(500, json!({}));
//! // … let the platform work …
//! broker.wait_for(|journal| journal.iter().find(|r| r.is(Operation::Deprovision)).cloned(),
//!     Duration::from_secs(10), "the orphan's deletion").await;
//! assert!(broker.live_instances().is_empty());
//! assert_eq!(broker.violations(), Vec::<String>::new());
//! ```

#![allow(clippy::new_without_default, reason = "constructors are named alike, with arguments or without")]

mod asynchrony;
mod catalog;
mod check;
mod journal;
mod ledger;
mod model;
mod running;
mod script;
mod seed;
mod serve;
mod tls;
mod wire;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use asynchrony::{AsyncScript, Hold};
pub use catalog::{LARGE, Offering, POSTGRESQL, Plan, SMALL, catalog, default_catalog};
pub use journal::Request;
pub use model::{Binding, Instance};
pub use script::{Operation, Reply, Script, ScriptBuilder};
pub use seed::Begun;

/// The user name a broker expects at first.
pub const USERNAME: &str = "catalog";
/// The password a broker expects at first.
pub const PASSWORD: &str = "broker-s3cret";

/// How a platform has to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    None,
    Basic(String, String),
    Bearer(String),
}

impl Auth {
    pub fn basic(username: &str, password: &str) -> Self {
        Self::Basic(username.to_owned(), password.to_owned())
    }

    pub fn bearer(token: &str) -> Self {
        Self::Bearer(token.to_owned())
    }
}

struct State {
    model: model::Model,
    journal: Vec<Request>,
    violations: Vec<String>,
    rules: Vec<script::Rule>,
    auth: Auth,
    api_version: String,
}

struct Inner {
    state: Mutex<State>,
    /// Notified after every change: a request, an answer, an effect.
    changed: Notify,
}

impl Inner {
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
        result
    }
}

/// A running broker. It ends when it is dropped.
pub struct Broker {
    inner: Arc<Inner>,
    port: tokio::sync::Mutex<wire::Port>,
    server: JoinHandle<()>,
    url: String,
}

impl Broker {
    /// Starts a broker on a free port of the loopback interface, with [`default_catalog`], basic
    /// authentication as [`USERNAME`] and [`PASSWORD`], and synchronous operations.
    #[allow(clippy::unused_async, reason = "starting needs a runtime, and the signature says so")]
    pub async fn start() -> Self {
        Self::listen(Ipv4Addr::LOCALHOST, None)
    }

    /// The same on another address, one that pods can reach for example.
    #[allow(clippy::unused_async, reason = "starting needs a runtime, and the signature says so")]
    pub async fn start_at(address: Ipv4Addr) -> Self {
        Self::listen(address, None)
    }

    /// The same over TLS, and as PEM the certificate of the (otherwise unknown) authority and its own.
    #[allow(clippy::unused_async, reason = "starting needs a runtime, and the signature says so")]
    pub async fn start_tls() -> (Self, [String; 2]) {
        let (acceptor, certificates) = tls::acceptor();
        (Self::listen(Ipv4Addr::LOCALHOST, Some(acceptor)), certificates)
    }

    fn listen(address: Ipv4Addr, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let inner = Arc::new(Inner {
            state: Mutex::new(State {
                model: model::Model::new(),
                journal: Vec::new(),
                violations: Vec::new(),
                rules: Vec::new(),
                auth: Auth::basic(USERNAME, PASSWORD),
                api_version: "2.17".to_owned(),
            }),
            changed: Notify::new(),
        });
        let (port, incoming) = wire::Port::open(address, tls);
        let url = format!("{scheme}://{}", port.address());
        let service = serve::router(Arc::clone(&inner)).into_make_service_with_connect_info::<wire::Line>();
        let server = tokio::spawn(async move {
            let _ = axum::serve(incoming, service).await;
        });
        Self { inner, port: tokio::sync::Mutex::new(port), server, url }
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Closes the port and every connection: from now on connections are refused.
    pub async fn stop(&self) {
        self.port.lock().await.close().await;
    }

    /// Listens again, on the same port, with everything as it was.
    pub async fn restart_on_same_port(&self) {
        self.port.lock().await.reopen();
    }

    /// Begins a script for an operation.
    pub fn on(&self, operation: Operation) -> ScriptBuilder<'_> {
        ScriptBuilder::new(self, operation)
    }

    /// Forgets every script; what they hold back stays held.
    pub fn clear_scripts(&self) {
        self.inner.change(|state| state.rules.clear());
    }

    fn add_rule(&self, rule: script::Rule) {
        self.inner.change(|state| state.rules.push(rule));
    }

    /// Replaces the catalog; any JSON is served as it is.
    pub fn set_catalog(&self, catalog: Value) {
        self.inner.change(|state| state.model.catalog = catalog);
    }

    /// The catalog has an `ETag` from now on, and 304 is said to who has it already.
    pub fn set_etags(&self) {
        self.inner.change(|state| state.model.etags = true);
    }

    /// The credentials of every binding from now on, instead of ones that name the binding.
    pub fn set_credentials(&self, credentials: Value) {
        self.inner.change(|state| state.model.credentials = Some(credentials));
    }

    /// Makes an operation asynchronous: `in progress` for so many polls, then `succeeded`. Without
    /// `accepts_incomplete=true` it is refused with `AsyncRequired`.
    pub fn set_async(&self, operation: Operation, polls: usize) {
        self.set_async_script(operation, AsyncScript::succeeding(polls));
    }

    /// Makes an operation asynchronous, in detail.
    pub fn set_async_script(&self, operation: Operation, script: AsyncScript) {
        self.inner.change(|state| state.model.asynchronous.insert(operation, script));
    }

    /// Refuses with `ConcurrencyError` what concerns a binding while another one of the same instance
    /// is being made or deleted asynchronously.
    pub fn set_serialised_bindings(&self, serialised: bool) {
        self.inner.change(|state| state.model.serialise_bindings = serialised);
    }

    pub fn set_auth(&self, auth: Auth) {
        self.inner.change(|state| state.auth = auth);
    }

    /// The only `X-Broker-API-Version` that is not answered with 412; 2.17 at first.
    pub fn set_api_version(&self, version: &str) {
        self.inner.change(|state| version.clone_into(&mut state.api_version));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.server.abort();
    }
}
