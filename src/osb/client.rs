//! The client: each method sends one request and returns its outcome.
//!
//! The client does not retry, redirect or replay a request. The reconcilers decide whether to send it again,
//! because they know what the status says. [`super::classify`] says what an answer means.
//!
//! # Cancellation
//!
//! If a future is dropped before it is ready, the effect of its request is unknown, as after a lost
//! connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::caching::{Document, Fetched, Validator};
use super::catalog::{Catalog, InvalidCatalog, MAX_ENTRIES};
use super::classify::{self, BodyFault, CatalogAnswer, Response, TransportFault};
use super::connect;
use super::egress::Egress;
use super::endpoint::{self, ClientSettings, Endpoint, EndpointError, Identity};
use super::ids::{BindingId, InstanceId};
use super::operation::Operation;
use super::outcome::{BindingAnswer, Bound, Deleted, InstanceAnswer, Outcome, Polled, Provisioned};
use super::request::{LAST_OPERATION, Request};
use super::resolve;
use super::retry_after::retry_after;
use super::version::ApiVersion;
use super::wire::{BindRequest, ProvisionRequest, Target, UpdateRequest};
use crate::memory_budget::{MemoryBudget, hold, one_at_a_time};

mod body;

use self::body::{Body, LONGEST_STALL, Limits};

pub use body::{FREE_BODY, MAX_BODY, MAX_CATALOG, MAX_HEADERS};

/// How many bytes are reserved for each byte of the text of a catalog: for the entries that are read, the
/// objects that there should be, and the writes.
const CATALOG_FACTOR: usize = 4;

/// How many bytes are reserved for each offering and plan of a catalog in addition: for names, labels and owners.
const ENTRY: usize = 4 << 10;

/// How many bytes are reserved for each byte of another large answer: for the answer, its tree of values, and the
/// Secret or the status that is written from it.
const ANSWER_FACTOR: usize = 8;

const ORIGINATING_IDENTITY: &str = "x-broker-api-originating-identity";
const REQUEST_IDENTITY: &str = "x-broker-api-request-identity";

/// A finished request, for logs and metrics. It contains no text of users or brokers.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// The operation.
    pub operation: Operation,
    /// `X-Broker-API-Request-Identity`, which brokers may write to their logs.
    pub request_id: Uuid,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The outcome: see [`Outcome::name`].
    pub outcome: &'static str,
    /// The time from the beginning of the connection to the last byte of the answer.
    pub duration: Duration,
}

/// A function that is called after each request.
pub type Observer = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// A client for one broker, with its connection pool. Share it behind an `Arc`, and make a new one when the
/// broker object or its Secret changes.
///
/// ```no_run
/// use service_catalog::osb::{Authentication, Client, ClientSettings, Endpoint, Outcome};
///
/// # async fn example() -> Result<(), service_catalog::osb::EndpointError> {
/// let endpoint = Endpoint {
///     url: "https://broker.example".to_owned(),
///     auth: Authentication::Basic { username: "admin".to_owned(), password: "secret".to_owned() },
///     ca_bundle: None,
///     insecure_skip_tls_verify: false,
/// };
/// let client = Client::new(&endpoint, &ClientSettings::default())?;
/// match client.catalog(None).await {
///     Outcome::Answered(Ok(fetched)) => println!("{} offerings", fetched.catalog.offerings.len()),
///     Outcome::Answered(Err(invalid)) => println!("{invalid}"),
///     failed => println!("{}", failed.failure().map(ToString::to_string).unwrap_or_default()),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    version: ApiVersion,
    tells_identity: bool,
    egress: Egress,
    has_proxy: bool,
    has_ca_bundle: bool,
    secrets: Vec<Zeroizing<String>>,
    memory: Arc<MemoryBudget>,
    observer: Option<Observer>,
}

impl Client {
    /// Checks the endpoint and makes a connection pool. Sends nothing.
    pub fn new(endpoint: &Endpoint, settings: &ClientSettings) -> Result<Self, EndpointError> {
        Ok(Self {
            http: connect::http_client(endpoint, settings)?,
            base: endpoint::base(&endpoint.url)?,
            timeout: settings.request_timeout,
            version: settings.api_version,
            tells_identity: settings.originating_identity,
            has_proxy: resolve::has_proxy(&endpoint::base(&endpoint.url)?),
            egress: settings.egress.clone(),
            has_ca_bundle: endpoint.ca_bundle.is_some(),
            secrets: endpoint.auth.secrets(),
            memory: Arc::default(),
            observer: None,
        })
    }

    /// Takes the memory for answers from this budget, which clients of other brokers use too. Without this
    /// call, the client has a budget of its own.
    #[must_use]
    pub fn within(self, memory: Arc<MemoryBudget>) -> Self {
        Self { memory, ..self }
    }

    /// Calls `observer` after each request from now on, for metrics.
    #[must_use]
    pub fn observed_by(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// `GET /v2/catalog`. If there is a catalog that was fetched `before`, the broker is asked whether it has
    /// changed. It must have been fetched by this client, because another address or user may be offered
    /// another catalog.
    pub async fn catalog(&self, before: Option<&Document>) -> Outcome<Result<Fetched, InvalidCatalog>> {
        let request = Request::new(Operation::Catalog, &["v2", "catalog"]);
        let request = request.conditional_on(before);
        self.exchange(request, |response| {
            classify::catalog(response, before).map(|answer| {
                let document = match answer {
                    CatalogAnswer::Unchanged(kept) => Some(kept.clone()),
                    CatalogAnswer::Body(body) => response.validator.clone().map(|validator| Document {
                        body: Arc::new(Zeroizing::new(body.to_vec())),
                        validator,
                    }),
                };
                let body = match answer {
                    CatalogAnswer::Unchanged(kept) => &kept.body,
                    CatalogAnswer::Body(body) => body,
                };
                let catalog = Arc::new(Catalog::parse_redacting(body, &self.secrets)?);
                Ok(Fetched { catalog, document })
            })
        })
        .await
    }

    /// `PUT /v2/service_instances/:id?accepts_incomplete=true`
    pub async fn provision(
        &self,
        instance_id: &InstanceId,
        body: &ProvisionRequest,
        identity: Option<&Identity>,
    ) -> Outcome<Provisioned> {
        let request =
            Request::instance(Operation::Provision, instance_id).accepting(true).on_behalf_of(identity);
        self.exchange(request.with(body), classify::provision).await
    }

    /// `PATCH /v2/service_instances/:id?accepts_incomplete=true`
    pub async fn update(
        &self,
        instance_id: &InstanceId,
        body: &UpdateRequest,
        identity: Option<&Identity>,
    ) -> Outcome<Provisioned> {
        let request =
            Request::instance(Operation::Update, instance_id).accepting(true).on_behalf_of(identity);
        self.exchange(request.with(body), classify::update).await
    }

    /// `DELETE /v2/service_instances/:id?service_id&plan_id&accepts_incomplete=true`
    pub async fn deprovision(
        &self,
        instance_id: &InstanceId,
        target: &Target,
        identity: Option<&Identity>,
    ) -> Outcome<Deleted> {
        let request = Request::instance(Operation::Deprovision, instance_id).of(target).accepting(true);
        self.exchange(request.on_behalf_of(identity), classify::deprovision).await
    }

    /// `GET /v2/service_instances/:id/last_operation?service_id&plan_id[&operation]`
    ///
    /// `operation` is that of the 202, unchanged. While the plan of an instance changes, `target` has the
    /// plan before the change.
    pub async fn poll_instance(
        &self,
        instance_id: &InstanceId,
        target: &Target,
        operation: Option<&str>,
        identity: Option<&Identity>,
    ) -> Outcome<Polled> {
        let request = Request::instance(Operation::PollInstance, instance_id).then(LAST_OPERATION);
        let request = request.of(target).polling(operation).on_behalf_of(identity);
        self.exchange(request, |response| classify::poll(Operation::PollInstance, response)).await
    }

    /// `GET /v2/service_instances/:id?service_id&plan_id`, only for offerings with `instances_retrievable`.
    pub async fn get_instance(
        &self,
        instance_id: &InstanceId,
        target: &Target,
        identity: Option<&Identity>,
    ) -> Outcome<InstanceAnswer> {
        let request =
            Request::instance(Operation::GetInstance, instance_id).of(target).on_behalf_of(identity);
        self.exchange(request, classify::get_instance).await
    }

    /// `PUT /v2/service_instances/:id/service_bindings/:id[?accepts_incomplete=true]`
    ///
    /// Set `accepts_incomplete` only if the offering has `bindings_retrievable`, because the credentials of
    /// an asynchronous bind must be fetched.
    pub async fn bind(
        &self,
        instance_id: &InstanceId,
        binding_id: &BindingId,
        body: &BindRequest,
        accepts_incomplete: bool,
        identity: Option<&Identity>,
    ) -> Outcome<Bound> {
        let request = Request::binding(Operation::Bind, instance_id, binding_id);
        let request = request.accepting(accepts_incomplete).on_behalf_of(identity).with(body);
        self.exchange(request, |response| classify::bind(response, accepts_incomplete)).await
    }

    /// `DELETE /v2/service_instances/:id/service_bindings/:id?service_id&plan_id&accepts_incomplete=true`
    ///
    /// It always accepts an asynchronous answer, unlike [`Self::bind`]: nothing is fetched afterwards, and
    /// bindings of a broker that can only unbind asynchronously could not be deleted otherwise.
    pub async fn unbind(
        &self,
        instance_id: &InstanceId,
        binding_id: &BindingId,
        target: &Target,
        identity: Option<&Identity>,
    ) -> Outcome<Deleted> {
        let request = Request::binding(Operation::Unbind, instance_id, binding_id).of(target).accepting(true);
        self.exchange(request.on_behalf_of(identity), classify::unbind).await
    }

    /// `GET /v2/service_instances/:id/service_bindings/:id/last_operation?service_id&plan_id[&operation]`
    pub async fn poll_binding(
        &self,
        instance_id: &InstanceId,
        binding_id: &BindingId,
        target: &Target,
        operation: Option<&str>,
        identity: Option<&Identity>,
    ) -> Outcome<Polled> {
        let request = Request::binding(Operation::PollBinding, instance_id, binding_id).then(LAST_OPERATION);
        let request = request.of(target).polling(operation).on_behalf_of(identity);
        self.exchange(request, |response| classify::poll(Operation::PollBinding, response)).await
    }

    /// `GET /v2/service_instances/:id/service_bindings/:id?service_id&plan_id`
    pub async fn get_binding(
        &self,
        instance_id: &InstanceId,
        binding_id: &BindingId,
        target: &Target,
        identity: Option<&Identity>,
    ) -> Outcome<BindingAnswer> {
        let request = Request::binding(Operation::GetBinding, instance_id, binding_id)
            .of(target)
            .on_behalf_of(identity);
        self.exchange(request, classify::get_binding).await
    }

    async fn exchange<T>(
        &self,
        request: Request<'_>,
        meaning: impl FnOnce(&Response<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let (operation, request_id, started) = (request.operation, Uuid::new_v4(), Instant::now());
        let kept = request.kept.map(|kept| Arc::clone(&kept.body));
        let result = self.send(request, request_id).await;
        let duration = started.elapsed();
        let status = result.as_ref().ok().map(|answer| answer.status);
        let outcome = match result {
            Err(fault) => classify::transport(operation, fault),
            Ok(RawResponse { status, retry_after, version, validator, body }) => {
                let text = body.as_ref().map_or(&[][..], |body| body.bytes.as_slice());
                // The text of an unchanged catalog is the kept one.
                let text = kept.as_ref().filter(|_| status == 304).map_or(text, |kept| kept.as_slice());
                let length = text.len();
                if operation == Operation::Catalog {
                    hold(self.memory.catalogs.reserve(memory_of_catalog(text)).await);
                }
                let outcome = one_at_a_time(length, || {
                    meaning(&Response {
                        status,
                        retry_after,
                        spoken: self.version,
                        version,
                        validator,
                        body: body.as_ref().map(|body| body.bytes.as_slice()).map_err(|fault| *fault),
                        secrets: &self.secrets,
                        quotes_errors: operation != Operation::Catalog || self.egress.is_open(),
                    })
                });
                if operation != Operation::Catalog
                    && let Ok(Body { memory: Some(memory), .. }) = body
                {
                    hold(memory);
                }
                outcome
            }
        };
        if let Some(observer) = &self.observer {
            observer(&Exchange { operation, request_id, status, outcome: outcome.name(), duration });
        }
        outcome
    }

    async fn send(&self, request: Request<'_>, id: Uuid) -> Result<RawResponse, TransportFault> {
        let (operation, request) = self.prepare(request, id)?;
        if self.has_proxy {
            let checked = resolve::check_before_proxy(&self.egress, &self.base).await;
            checked.map_err(|error| self.unsent(&error.to_string()))?;
        }
        let mut response = self.http.execute(request).await.map_err(|error| self.fault(error))?;
        if response
            .headers()
            .get(REQUEST_IDENTITY)
            .is_some_and(|echo| echo.as_bytes() != id.to_string().as_bytes())
        {
            tracing::debug!(request = %id, "the answer has the identity of another request");
        }
        Ok(RawResponse {
            status: response.status().as_u16(),
            retry_after: retry_after_of(response.headers()),
            version: version_of(response.headers()),
            validator: Validator::of(response.headers()).filter(|_| operation == Operation::Catalog),
            body: body::read(&mut response, &self.body_limits(operation)).await,
        })
    }

    fn body_limits(&self, operation: Operation) -> Limits<'_> {
        let (most, share, factor) = if operation == Operation::Catalog {
            (MAX_CATALOG, &self.memory.downloads, 1)
        } else {
            (MAX_BODY, &self.memory.answers, ANSWER_FACTOR)
        };
        Limits { most, share, factor, stall: LONGEST_STALL.min(self.timeout / 4) }
    }

    fn prepare(
        &self,
        request: Request<'_>,
        id: Uuid,
    ) -> Result<(Operation, reqwest::Request), TransportFault> {
        let unsent = |message: &str| TransportFault::Unsent(message.to_owned());
        let Some(url) = request.url(&self.base) else {
            return Err(unsent("an id that is empty, `.` or `..` cannot be part of a URL"));
        };
        let method = Method::from_bytes(request.operation.method().as_bytes()).unwrap_or_default();
        let mut prepared = reqwest::Request::new(method, url);
        if let Some(body) = request.body {
            let body = body.map_err(|_| unsent("the request cannot be written as JSON"))?;
            prepared.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *prepared.body_mut() = Some(body.into());
        }
        if let Some(identity) = request.identity.filter(|_| self.tells_identity) {
            prepared.headers_mut().insert(ORIGINATING_IDENTITY, identity.header().clone());
        }
        if let Some(validator) = request.kept.map(|kept| &kept.validator) {
            prepared.headers_mut().extend([validator.header()]);
        }
        let id = HeaderValue::try_from(id.to_string()).map_err(|_| unsent("the request has no id"))?;
        prepared.headers_mut().insert(REQUEST_IDENTITY, id);
        Ok((request.operation, prepared))
    }

    /// What an error before the headers of the response proves. Only if the connection failed (name, TCP, TLS
    /// handshake, CONNECT of a proxy, or the time limit for these) is it certain that the request was not
    /// sent.
    fn fault(&self, error: reqwest::Error) -> TransportFault {
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            self.unsent(&connect::failure(&error, self.has_ca_bundle))
        } else if error.is_timeout() {
            TransportFault::TimedOut(self.timeout)
        } else {
            TransportFault::Lost(connect::cause(&error))
        }
    }

    fn unsent(&self, cause: &str) -> TransportFault {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or_default();
        TransportFault::Unsent(format!("cannot connect to the broker at {host}:{port}: {cause}"))
    }
}

/// How much memory a catalog takes until its classes and plans are written, in bytes.
fn memory_of_catalog(text: &[u8]) -> usize {
    // Each entry is an object. There are more objects than entries.
    let entries = text.split(|byte| *byte == b'{').take(MAX_ENTRIES).count();
    CATALOG_FACTOR * text.len() + ENTRY * entries
}

/// One response, with its body or the reason why the body is not complete.
struct RawResponse {
    status: u16,
    retry_after: Option<Duration>,
    version: Option<ApiVersion>,
    validator: Option<Validator>,
    body: Result<Body, BodyFault>,
}

fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, Timestamp::now())
}

fn version_of(headers: &HeaderMap) -> Option<ApiVersion> {
    headers.get(connect::API_VERSION)?.to_str().ok()?.trim().parse().ok()
}
