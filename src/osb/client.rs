//! The one place that talks to a broker's socket.
//!
//! Every method sends one request and says what came of it. Nothing is retried, redirected or replayed here: whether to
//! send again is for the reconcilers, which know what is on record. Meaning is given by [`super::classify`]; this file
//! only tells apart the three things that it alone can see: nothing was sent, nobody knows, and an answer came.
//!
//! # Cancellation
//!
//! A future that is dropped before it is ready leaves the request in doubt, as a lost connection does.

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
use zeroize::{Zeroize as _, Zeroizing};

use super::catalog::{Catalog, InvalidCatalog};
use super::classify::{self, BodyFault, CatalogAnswer, Operation, Response, TransportFault};
use super::endpoint::{self, Endpoint, EndpointError, Identity, Settings};
use super::fetched::{Document, Fetched, Validator};
use super::outcome::{BindingAnswer, Bound, Deleted, InstanceAnswer, Outcome, Polled, Provisioned};
use super::request::{LAST_OPERATION, Request};
use super::text;
use super::version::ApiVersion;
use super::wire::{BindRequest, ProvisionRequest, Target, UpdateRequest};
use crate::metrics::RequestCounter;

/// The longest catalog that is read.
pub const MAX_CATALOG: usize = 16 << 20;
/// The longest other answer that is read: a Secret holds no more than 1 MiB either.
pub const MAX_BODY: usize = 1 << 20;

const ORIGINATING_IDENTITY: &str = "x-broker-api-originating-identity";
const REQUEST_IDENTITY: &str = "x-broker-api-request-identity";

/// A connection to one broker. Cheap to share behind an `Arc`; built anew when the broker object or its Secret changes.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    version: ApiVersion,
    tells_identity: bool,
    secrets: Vec<Zeroizing<String>>,
    counter: Option<RequestCounter>,
}

impl Client {
    /// Checks the endpoint and prepares a connection pool. Sends nothing.
    pub fn new(endpoint: &Endpoint, settings: &Settings) -> Result<Self, EndpointError> {
        Ok(Self {
            http: endpoint::connect(endpoint, settings)?,
            base: endpoint::base(&endpoint.url)?,
            timeout: settings.request_timeout,
            version: settings.api_version,
            tells_identity: settings.originating_identity,
            secrets: endpoint.auth.secrets(),
            counter: None,
        })
    }

    /// Counts its requests from now on.
    #[must_use]
    pub fn counted_by(self, counter: RequestCounter) -> Self {
        Self { counter: Some(counter), ..self }
    }

    /// `GET /v2/catalog`, or the one that was fetched `before`, if the broker says that it still holds. That may only be
    /// one that this client has fetched: another address or user may be offered other things.
    pub async fn catalog(&self, before: Option<&Document>) -> Outcome<Result<Fetched, InvalidCatalog>> {
        let request = Request::new(Operation::Catalog, &["v2", "catalog"]);
        let request = request.unless(before.map(|kept| &kept.validator));
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
        instance_id: &str,
        body: &ProvisionRequest,
        identity: Option<&Identity>,
    ) -> Outcome<Provisioned> {
        let request = Request::instance(Operation::Provision, instance_id).accepting(true).by(identity);
        self.exchange(request.with(body), classify::provision).await
    }

    /// `PATCH /v2/service_instances/:id?accepts_incomplete=true`
    pub async fn update(
        &self,
        instance_id: &str,
        body: &UpdateRequest,
        identity: Option<&Identity>,
    ) -> Outcome<Provisioned> {
        let request = Request::instance(Operation::Update, instance_id).accepting(true).by(identity);
        self.exchange(request.with(body), classify::update).await
    }

    /// `DELETE /v2/service_instances/:id?service_id&plan_id&accepts_incomplete=true`
    pub async fn deprovision(
        &self,
        instance_id: &str,
        target: &Target,
        identity: Option<&Identity>,
    ) -> Outcome<Deleted> {
        let request = Request::instance(Operation::Deprovision, instance_id).of(target).accepting(true);
        self.exchange(request.by(identity), classify::deprovision).await
    }

    /// `GET /v2/service_instances/:id/last_operation?service_id&plan_id[&operation]`
    ///
    /// `operation` is what the 202 gave, unchanged; while a plan changes, `target` has the plan before the change.
    pub async fn poll_instance(
        &self,
        instance_id: &str,
        target: &Target,
        operation: Option<&str>,
        identity: Option<&Identity>,
    ) -> Outcome<Polled> {
        let request = Request::instance(Operation::PollInstance, instance_id).then(LAST_OPERATION);
        let request = request.of(target).polling(operation).by(identity);
        self.exchange(request, |response| classify::poll(Operation::PollInstance, response)).await
    }

    /// `GET /v2/service_instances/:id?service_id&plan_id`, only for offerings with `instances_retrievable`.
    pub async fn get_instance(
        &self,
        instance_id: &str,
        target: &Target,
        identity: Option<&Identity>,
    ) -> Outcome<InstanceAnswer> {
        let request = Request::instance(Operation::GetInstance, instance_id).of(target).by(identity);
        self.exchange(request, classify::get_instance).await
    }

    /// `PUT /v2/service_instances/:id/service_bindings/:id[?accepts_incomplete=true]`
    ///
    /// `accepts_incomplete` only where the offering has `bindings_retrievable`: credentials of an asynchronous bind
    /// can only be fetched.
    pub async fn bind(
        &self,
        instance_id: &str,
        binding_id: &str,
        body: &BindRequest,
        accepts_incomplete: bool,
        identity: Option<&Identity>,
    ) -> Outcome<Bound> {
        let request = Request::binding(Operation::Bind, instance_id, binding_id);
        let request = request.accepting(accepts_incomplete).by(identity).with(body);
        self.exchange(request, |response| classify::bind(response, accepts_incomplete)).await
    }

    /// `DELETE /v2/service_instances/:id/service_bindings/:id?service_id&plan_id&accepts_incomplete=true`
    ///
    /// Always so, unlike [`Self::bind`]: there is nothing to be fetched afterwards, and a broker that can only unbind
    /// asynchronously must not be left with bindings that nobody can delete.
    pub async fn unbind(
        &self,
        instance_id: &str,
        binding_id: &str,
        target: &Target,
        identity: Option<&Identity>,
    ) -> Outcome<Deleted> {
        let request = Request::binding(Operation::Unbind, instance_id, binding_id).of(target).accepting(true);
        self.exchange(request.by(identity), classify::unbind).await
    }

    /// `GET /v2/service_instances/:id/service_bindings/:id/last_operation?service_id&plan_id[&operation]`
    pub async fn poll_binding(
        &self,
        instance_id: &str,
        binding_id: &str,
        target: &Target,
        operation: Option<&str>,
        identity: Option<&Identity>,
    ) -> Outcome<Polled> {
        let request = Request::binding(Operation::PollBinding, instance_id, binding_id).then(LAST_OPERATION);
        let request = request.of(target).polling(operation).by(identity);
        self.exchange(request, |response| classify::poll(Operation::PollBinding, response)).await
    }

    /// `GET /v2/service_instances/:id/service_bindings/:id?service_id&plan_id`
    pub async fn get_binding(
        &self,
        instance_id: &str,
        binding_id: &str,
        target: &Target,
        identity: Option<&Identity>,
    ) -> Outcome<BindingAnswer> {
        let request =
            Request::binding(Operation::GetBinding, instance_id, binding_id).of(target).by(identity);
        self.exchange(request, classify::get_binding).await
    }

    async fn exchange<T>(
        &self,
        request: Request<'_>,
        meaning: impl FnOnce(&Response<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let operation = request.operation;
        match self.send(request).await {
            Err(fault) => classify::transport(operation, fault),
            Ok(Answer { status, retry_after, version, validator, body }) => meaning(&Response {
                status,
                retry_after,
                spoken: self.version,
                version,
                validator,
                body: body.as_ref().map(|body| body.as_slice()).map_err(|fault| *fault),
                secrets: &self.secrets,
            }),
        }
    }

    async fn send(&self, request: Request<'_>) -> Result<Answer, TransportFault> {
        let operation = request.operation;
        let id = Uuid::new_v4();
        let started = Instant::now();
        let result = self.attempt(request, id).await;
        let status = result.as_ref().ok().map(|answer| answer.status);
        if let Some(counter) = &self.counter {
            counter.count(operation, status);
        }
        let milliseconds = started.elapsed().as_millis();
        // The id is what brokers log; nothing else of the request is free of what users may have put there.
        tracing::debug!(operation = operation.name(), request = %id, status, milliseconds, "asked a broker");
        result
    }

    async fn attempt(&self, request: Request<'_>, id: Uuid) -> Result<Answer, TransportFault> {
        let (operation, request) = self.prepare(request, id)?;
        let response = self.http.execute(request).await.map_err(|error| self.fault(error))?;
        if response
            .headers()
            .get(REQUEST_IDENTITY)
            .is_some_and(|echo| echo.as_bytes() != id.to_string().as_bytes())
        {
            tracing::debug!(request = %id, "the broker names another request in its answer");
        }
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: retry_after_of(response.headers()),
            version: version_of(response.headers()),
            validator: Validator::of(response.headers()).filter(|_| operation == Operation::Catalog),
            body: body_of(response, if operation == Operation::Catalog { MAX_CATALOG } else { MAX_BODY })
                .await,
        })
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
        if let Some(validator) = request.validator {
            prepared.headers_mut().extend([validator.header()]);
        }
        let id = HeaderValue::try_from(id.to_string()).map_err(|_| unsent("the request has no id"))?;
        prepared.headers_mut().insert(REQUEST_IDENTITY, id);
        Ok((request.operation, prepared))
    }

    /// What an error before the response's headers proves. Only what failed while connecting (name, TCP, TLS handshake,
    /// a proxy's CONNECT, and the time limit for these) is known not to have been sent.
    fn fault(&self, error: reqwest::Error) -> TransportFault {
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            let hint = tls_hint(&error);
            let cause =
                if error.is_timeout() { "no connection in time".to_owned() } else { endpoint::cause(&error) };
            let host = self.base.host_str().unwrap_or_default();
            let port = self.base.port_or_known_default().unwrap_or_default();
            TransportFault::Unsent(format!("cannot connect to the broker at {host}:{port}: {cause}{hint}"))
        } else if error.is_timeout() {
            TransportFault::TimedOut(self.timeout)
        } else {
            TransportFault::Lost(endpoint::cause(&error))
        }
    }
}

/// One response, read to its end or to what ended it.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    version: Option<ApiVersion>,
    validator: Option<Validator>,
    body: Result<Zeroizing<Vec<u8>>, BodyFault>,
}

fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    text::retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, Timestamp::now())
}

fn version_of(headers: &HeaderMap) -> Option<ApiVersion> {
    headers.get(endpoint::API_VERSION)?.to_str().ok()?.trim().parse().ok()
}

/// Reads a body, at most `limit` bytes of it. The client's time-out spans this as well.
async fn body_of(mut response: reqwest::Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, BodyFault> {
    let mut body = Zeroizing::new(Vec::new());
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(BodyFault::TooLong),
            Ok(Some(chunk)) => append(&mut body, &chunk),
            Err(error) if error.is_timeout() => return Err(BodyFault::TimedOut),
            Err(_) => return Err(BodyFault::Lost),
        }
    }
}

/// Grows by hand, so that no outgrown buffer keeps a copy of credentials.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let needed = body.len() + chunk.len();
    if body.capacity() < needed {
        let mut grown = Vec::with_capacity(needed.max(2 * body.capacity()));
        grown.extend_from_slice(body);
        body.zeroize();
        **body = grown;
    }
    body.extend_from_slice(chunk);
}

/// What to look at when TLS has failed. An `io::Error` shows what it wraps only through `get_ref` (its `source` is that of
/// the wrapped error), and the TLS layers wrap twice.
fn tls_hint(error: &(dyn std::error::Error + 'static)) -> &'static str {
    match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(_)) => return " (check spec.url and spec.caBundle)",
        Some(rustls::Error::InvalidMessage(_)) => {
            return " (what answers there does not speak TLS: should spec.url begin with http://?)";
        }
        Some(_) => return "",
        None => {}
    }
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => tls_hint(wrapped),
        None => error.source().map_or("", tls_hint),
    }
}
