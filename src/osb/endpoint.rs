//! Where a broker is, who we are to it, and on whose behalf a request is made.
//!
//! Everything here is checked when a client is built, so that a mistake in a broker object is one message about one
//! field and not a failure of every request.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Certificate, ClientBuilder, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue},
    redirect, retry, tls,
};
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use super::{version::ApiVersion, wire::PLATFORM};

/// The header that names the version of the API.
pub(super) const API_VERSION: &str = "x-broker-api-version";

/// How long to wait for a connection. Bounded apart from the request, so that a broker that cannot be reached is known
/// to have received nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may idle before it is not used again. A server that closes an idle connection while a request
/// is on its way leaves the request in doubt, and a doubtful PUT costs a DELETE. The shortest keep-alive met in the
/// field is two seconds (gunicorn), so connections serve bursts only.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A broker's address and how to authenticate to it. No `Debug`: it holds a password or token.
#[derive(Clone, PartialEq)]
pub struct Endpoint {
    /// `spec.url`: may have a path, with or without a slash at its end.
    pub url: String,
    /// What the Secret of `spec.authInfo` holds.
    pub auth: Authentication,
    /// `spec.caBundle`, PEM. Replaces the system's roots for this broker.
    pub ca_bundle: Option<Vec<u8>>,
    /// `spec.insecureSkipTLSVerify`
    pub insecure_skip_tls_verify: bool,
}

/// How to authenticate ("Platform to Service Broker Authentication"). Wiped when dropped; comparable, so that a Secret
/// that was read again can be seen to be unchanged.
#[derive(Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    None,
    /// HTTP Basic.
    Basic {
        /// The user name; must not hold a colon (RFC 7617).
        username: String,
        /// The password.
        password: String,
    },
    /// A bearer token.
    Bearer {
        /// The token.
        token: String,
    },
}

impl Drop for Authentication {
    fn drop(&mut self) {
        match self {
            Self::None => {}
            Self::Basic { username, password } => {
                username.zeroize();
                password.zeroize();
            }
            Self::Bearer { token } => token.zeroize(),
        }
    }
}

/// What may differ from broker to broker in how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The time for one request, from the connection to the last byte of the answer. The spec names 60 seconds as
    /// typical.
    pub request_timeout: Duration,
    /// `X-Broker-API-Version`.
    pub api_version: ApiVersion,
    /// Whether `X-Broker-API-Originating-Identity` is sent.
    pub originating_identity: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(60),
            api_version: ApiVersion::SPOKEN,
            originating_identity: true,
        }
    }
}

/// Why there can be no client for an endpoint. Every message names the field to look at, and none repeats its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// `spec.url` is not a URL.
    #[error("spec.url is not a URL: {0}")]
    Url(String),
    /// `spec.url` has another scheme than http and https.
    #[error("spec.url must begin with http:// or https://")]
    Scheme,
    /// `spec.url` has a user name or password in it, which would be shown wherever the URL is.
    #[error("spec.url must not hold a user name or password: use spec.authInfo")]
    UserInfo,
    /// `spec.url` has a query or a fragment, which would be lost.
    #[error("spec.url must not have a query or a fragment")]
    Query,
    /// `spec.caBundle` holds no certificate.
    #[error("spec.caBundle holds no PEM certificate")]
    CaBundleEmpty,
    /// `spec.caBundle` holds something that is no certificate.
    #[error("spec.caBundle holds a certificate that cannot be read")]
    CaBundle,
    /// A CA to check against, and the order not to check.
    #[error("spec.caBundle cannot be combined with spec.insecureSkipTLSVerify")]
    CaBundleUnused,
    /// RFC 7617 has no way to send it.
    #[error("spec.authInfo: the user name must not hold a colon")]
    UserName,
    /// Often the line end of a file that a Secret was made from.
    #[error("spec.authInfo: the token holds characters that cannot be sent (a line end?)")]
    Token,
    /// The TLS stack cannot be set up, e.g. for want of the system's roots.
    #[error("cannot set up the connection: {0}")]
    Setup(String),
}

/// The user on whose account a request is made ("Originating Identity"), as the header's value. No `Debug`.
#[derive(Clone, PartialEq)]
pub struct Identity(HeaderValue);

impl Identity {
    /// From the user info of Kubernetes. The profile requires all four members, so empty ones are sent as well.
    #[must_use]
    pub fn new(username: &str, uid: &str, groups: &[String], extra: &BTreeMap<String, Vec<String>>) -> Self {
        let user = json!({ "username": username, "uid": uid, "groups": groups, "extra": extra });
        let value = format!("{PLATFORM} {}", STANDARD.encode(user.to_string()));
        // Base64 always fits into a header; the fallback is the empty object.
        let mut value = HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("kubernetes e30="));
        value.set_sensitive(true);
        Self(value)
    }

    /// The value of `X-Broker-API-Originating-Identity`.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

/// Checks `spec.url`.
pub(super) fn base(url: &str) -> Result<Url, EndpointError> {
    // Without a scheme, what the parser says helps nobody: "relative URL without a base".
    let wrong = |error: &dyn std::fmt::Display| {
        if url.contains("://") { EndpointError::Url(error.to_string()) } else { EndpointError::Scheme }
    };
    let mut url = Url::parse(url).map_err(|error| wrong(&error))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(EndpointError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EndpointError::UserInfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(EndpointError::Query);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

impl Authentication {
    fn header(&self) -> Result<Option<HeaderValue>, EndpointError> {
        let value = match self {
            Self::None => return Ok(None),
            Self::Basic { username, .. } if username.contains(':') => return Err(EndpointError::UserName),
            Self::Basic { username, password } => {
                Zeroizing::new(format!("Basic {}", basic(username, password).as_str()))
            }
            Self::Bearer { token } => Zeroizing::new(format!("Bearer {token}")),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| EndpointError::Token)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What must not be shown if the broker repeats it: the secret, and the form in which it was sent.
    pub(super) fn secrets(&self) -> Vec<Zeroizing<String>> {
        match self {
            Self::None => Vec::new(),
            Self::Basic { username, password } => {
                vec![basic(username, password), Zeroizing::new(password.clone())]
            }
            Self::Bearer { token } => vec![Zeroizing::new(token.clone())],
        }
    }
}

fn basic(username: &str, password: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(Zeroizing::new(format!("{username}:{password}")).as_str()))
}

/// The connection pool for an endpoint: verified, without redirects, replays, compression or HTTP/2.
///
/// # Replays
///
/// `reqwest` replays nothing under [`retry::never`]. Below it, `hyper-util` (0.1.21, `client/legacy/client.rs`,
/// `send_request`) takes another connection only if `hyper` hands the request back *unstarted* and the connection was
/// a used one; `hyper` (1.12, `client/dispatch.rs`, `proto/h1/dispatch.rs`) hands back only what is still queued
/// before its connection (`message: Some`), never what has begun to be written (`message: None`). So a request on a
/// connection that turns out to be dead is either sent once on a fresh one, or reported as lost.
pub(super) fn connect(endpoint: &Endpoint, settings: &Settings) -> Result<reqwest::Client, EndpointError> {
    let url = base(&endpoint.url)?;
    let builder = builder(endpoint, settings)?;
    let builder = match &endpoint.ca_bundle {
        Some(_) if endpoint.insecure_skip_tls_verify => return Err(EndpointError::CaBundleUnused),
        Some(bundle) => builder.tls_certs_only(certificates(bundle)?),
        // No TLS, so no roots: an image without any must do for brokers inside the cluster.
        None if url.scheme() == "http" => builder.tls_certs_only([]),
        None => builder.tls_danger_accept_invalid_certs(endpoint.insecure_skip_tls_verify),
    };
    builder.build().map_err(|error| match endpoint.ca_bundle {
        Some(_) => EndpointError::CaBundle,
        None => EndpointError::Setup(cause(&error)),
    })
}

fn builder(endpoint: &Endpoint, settings: &Settings) -> Result<ClientBuilder, EndpointError> {
    let mut headers = HeaderMap::new();
    let version = HeaderValue::try_from(settings.api_version.to_string());
    headers.insert(API_VERSION, version.map_err(|error| EndpointError::Setup(error.to_string()))?);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(value) = endpoint.auth.header()? {
        headers.insert(AUTHORIZATION, value);
    }
    Ok(reqwest::Client::builder()
        .default_headers(headers)
        .user_agent(concat!("service-catalog/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .http1_only()
        .tls_version_min(tls::Version::TLS_1_2)
        .timeout(settings.request_timeout)
        // Half of the request's time at most: were both to end together, nobody could say which it was.
        .connect_timeout(CONNECT_TIMEOUT.min(settings.request_timeout / 2))
        .pool_idle_timeout(POOL_IDLE_TIMEOUT))
}

fn certificates(bundle: &[u8]) -> Result<Vec<Certificate>, EndpointError> {
    let certificates = Certificate::from_pem_bundle(bundle).map_err(|_| EndpointError::CaBundle)?;
    if certificates.is_empty() { Err(EndpointError::CaBundleEmpty) } else { Ok(certificates) }
}

/// The innermost reason of an error: the outer ones only say that a request failed.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::osb::Client;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint {
            url: url.into(),
            auth: Authentication::None,
            ca_bundle: None,
            insecure_skip_tls_verify: false,
        }
    }

    fn basic(username: &str, password: &str) -> Authentication {
        Authentication::Basic { username: username.into(), password: password.into() }
    }

    #[track_caller]
    fn error(endpoint: &Endpoint) -> String {
        Client::new(endpoint, &Settings::default()).err().unwrap().to_string()
    }

    #[test]
    fn a_bad_url_is_named_but_not_repeated() {
        for (url, message) in [
            ("", "spec.url must begin with http:// or https://"),
            ("broker.example", "spec.url must begin with http:// or https://"),
            ("127.0.0.1:8080", "spec.url must begin with http:// or https://"),
            ("http://", "spec.url is not a URL: empty host"),
            ("ftp://b", "spec.url must begin with http:// or https://"),
            ("broker:8080", "spec.url must begin with http:// or https://"),
            ("https://u:hunter2@b", "spec.url must not hold a user name or password: use spec.authInfo"),
            ("https://u@b", "spec.url must not hold a user name or password: use spec.authInfo"),
            ("https://b/?x=1", "spec.url must not have a query or a fragment"),
            ("https://b/#x", "spec.url must not have a query or a fragment"),
        ] {
            assert_eq!(error(&endpoint(url)), message);
        }
        assert!(Client::new(&endpoint("http://b:8080/path/"), &Settings::default()).is_ok());
    }

    #[test]
    fn a_bad_ca_bundle_is_named() {
        let with = |bundle: &[u8]| Endpoint { ca_bundle: Some(bundle.to_vec()), ..endpoint("https://b") };
        assert_eq!(error(&with(b"")), "spec.caBundle holds no PEM certificate");
        assert_eq!(error(&with(b"no pem")), "spec.caBundle holds no PEM certificate");
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(error(&with(broken)), "spec.caBundle holds a certificate that cannot be read");
        let unused = Endpoint { insecure_skip_tls_verify: true, ..with(broken) };
        assert_eq!(error(&unused), "spec.caBundle cannot be combined with spec.insecureSkipTLSVerify");
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_named() {
        let with = |auth| Endpoint { auth, ..endpoint("http://b") };
        assert!(error(&with(basic("a:b", "c"))).starts_with("spec.authInfo: the user name"));
        let token = Authentication::Bearer { token: "t\n".into() };
        assert!(error(&with(token)).starts_with("spec.authInfo: the token"));
        assert!(Client::new(&with(basic("ü", "p:w\n")), &Settings::default()).is_ok());
    }

    #[test]
    fn credentials_can_be_compared() {
        assert!(basic("a", "b") == basic("a", "b"));
        assert!(basic("a", "b") != basic("a", "c"));
        assert!(Authentication::Bearer { token: "b".into() } != basic("a", "b"));
    }

    #[test]
    fn an_identity_has_all_four_members() {
        let identity = Identity::new("jane", "", &[], &BTreeMap::new());
        let encoded = identity.header().to_str().unwrap().strip_prefix("kubernetes ").unwrap();
        let user = STANDARD.decode(encoded).unwrap();
        assert_eq!(user, br#"{"username":"jane","uid":"","groups":[],"extra":{}}"#);
        let extra = BTreeMap::from([("scopes".to_owned(), vec!["ü".to_owned()])]);
        let identity = Identity::new("jane", "7", &["dev".to_owned()], &extra);
        assert!(identity.header().is_sensitive());
        let encoded = identity.header().to_str().unwrap().strip_prefix("kubernetes ").unwrap();
        let user = STANDARD.decode(encoded).unwrap();
        let expected = r#"{"username":"jane","uid":"7","groups":["dev"],"extra":{"scopes":["ü"]}}"#;
        assert_eq!(user, expected.as_bytes());
    }
}
