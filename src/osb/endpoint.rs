//! The address of a broker, the credentials for it, and the user on whose behalf a request is made.
//!
//! All of it is checked when a client is built. So a mistake in a broker object causes one message about one
//! field, and not a failure of every request.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Url, header::HeaderValue};
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use super::{egress::Egress, version::ApiVersion, wire::PLATFORM};

/// A broker's address and how to authenticate to it. No `Debug`: it holds a password or token.
#[derive(Clone, PartialEq)]
pub struct Endpoint {
    /// `spec.url`, which may have a path, with or without a slash at its end.
    pub url: String,
    /// The credentials from the Secret of `spec.authInfo`.
    pub auth: Authentication,
    /// `spec.caBundle`, PEM. Replaces the system's roots for this broker.
    pub ca_bundle: Option<Vec<u8>>,
    /// `spec.insecureSkipTLSVerify`
    pub insecure_skip_tls_verify: bool,
}

/// Credentials ("Platform to Service Broker Authentication"). They are wiped when dropped, and can be
/// compared, to find out whether a Secret has changed.
#[derive(Clone, PartialEq, Eq)]
pub enum Authentication {
    /// No authentication.
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

/// The settings of requests, apart from address and credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// The time for one request, from the connection to the last byte of the answer. The spec names 60
    /// seconds as typical.
    pub request_timeout: Duration,
    /// `X-Broker-API-Version`.
    pub api_version: ApiVersion,
    /// Whether `X-Broker-API-Originating-Identity` is sent.
    pub originating_identity: bool,
    /// Which addresses the broker may have.
    pub egress: Egress,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(60),
            api_version: ApiVersion::SPOKEN,
            originating_identity: true,
            egress: Egress::default(),
        }
    }
}

/// What to do about a value with a line end: it often comes from a file.
const RECREATE_SECRET: &str =
    "create the Secret anew, for example with `kubectl create secret generic --from-literal`";

/// Why no client can be made for an endpoint. Every message names the field, and none repeats its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// `spec.url` is not a URL.
    #[error("spec.url is not a URL: {0}")]
    Url(String),
    /// `spec.url` has another scheme than http and https.
    #[error("spec.url must begin with http:// or https://")]
    Scheme,
    /// `spec.url` has a user name or password, which would be shown wherever the URL is shown.
    #[error("spec.url must not hold a user name or password: use spec.authInfo")]
    UserInfo,
    /// `spec.url` has a query or a fragment, which would be lost.
    #[error("spec.url must not have a query or a fragment")]
    Query,
    /// `spec.url` is the address of the catalog.
    #[error(
        "spec.url must not end with /v2/catalog: give the part before /v2, which the operator adds itself"
    )]
    Catalog,
    /// `spec.caBundle` holds no certificate.
    #[error("spec.caBundle holds no PEM certificate")]
    CaBundleEmpty,
    /// `spec.caBundle` holds something that is not a certificate.
    #[error("spec.caBundle holds a certificate that cannot be read")]
    CaBundle,
    /// `spec.caBundle` and `spec.insecureSkipTLSVerify` contradict each other.
    #[error("spec.caBundle cannot be combined with spec.insecureSkipTLSVerify")]
    CaBundleUnused,
    /// HTTP Basic (RFC 7617) cannot express it.
    #[error("spec.authInfo: the user name must not hold a colon")]
    UserName,
    /// HTTP Basic (RFC 7617) forbids control characters.
    #[error(
        "spec.authInfo: the {0} ends with a line end, which belongs to the file that the Secret was made from: {RECREATE_SECRET}"
    )]
    LineEnd(&'static str),
    /// HTTP Basic (RFC 7617) forbids control characters.
    #[error(
        "spec.authInfo: the {0} holds control characters, such as a line end or a tab: {RECREATE_SECRET}"
    )]
    Control(&'static str),
    /// An empty token.
    #[error("spec.authInfo: the token is empty: put a token into the Secret, or remove spec.authInfo")]
    TokenEmpty,
    /// A token that no header can carry.
    #[error("spec.authInfo: the token holds characters that a header cannot carry: {RECREATE_SECRET}")]
    Token,
    /// The host is an address that no broker may have ([`Egress`]).
    #[error(
        "spec.url: the operator never connects to link-local addresses and to the metadata services of clouds; give the address of the broker"
    )]
    LinkLocal,
    /// The host is an address that a broker of a namespace may not have ([`Egress`]).
    #[error(
        "spec.url: a ServiceBroker may not have a private, loopback or reserved address, or that of the API server; give a public address, or ask an administrator to allow this one (--namespaced-broker-allowed-cidrs)"
    )]
    Denied,
    /// The TLS stack cannot be set up, for example as the system has no root certificates.
    #[error("cannot set up the connection: {0}")]
    Setup(String),
}

/// The user whose action caused a request ("Originating Identity"), as the value of the header. No `Debug`.
#[derive(Clone, PartialEq)]
pub struct Identity(HeaderValue);

impl Identity {
    /// From the user info of Kubernetes. The profile requires all four members, so empty ones are sent too.
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
    // Without this check, the parser would answer "relative URL without a base", which does not help the
    // user.
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
    if path.ends_with("/v2/catalog") {
        return Err(EndpointError::Catalog);
    }
    url.set_path(&path);
    Ok(url)
}

/// The host of a URL, if it is an address. The parser has turned all spellings of an IPv4 address into one.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// `spec.url` in the form in which it is recorded and compared. It has no credentials. `None` if it is not
/// valid.
#[must_use]
pub fn bare_url(url: &str) -> Option<String> {
    base(url).ok().map(|url| url.as_str().trim_end_matches('/').to_owned())
}

impl Authentication {
    /// The value of `Authorization`.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, EndpointError> {
        let value = match self {
            Self::None => return Ok(None),
            Self::Basic { username, .. } if username.contains(':') => return Err(EndpointError::UserName),
            Self::Basic { username, password } => {
                check("user name", username)?;
                check("password", password)?;
                Zeroizing::new(format!("Basic {}", basic(username, password).as_str()))
            }
            Self::Bearer { token } if token.is_empty() => return Err(EndpointError::TokenEmpty),
            Self::Bearer { token } => {
                check("token", token)?;
                Zeroizing::new(format!("Bearer {token}"))
            }
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| EndpointError::Token)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Texts that must not be shown if the broker repeats them: the secret, and its form in the header.
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

/// Checks a credential for characters that credentials never contain.
fn check(what: &'static str, text: &str) -> Result<(), EndpointError> {
    match text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        Some(line) if !line.contains(char::is_control) => Err(EndpointError::LineEnd(what)),
        _ if text.contains(char::is_control) => Err(EndpointError::Control(what)),
        _ => Ok(()),
    }
}

fn basic(username: &str, password: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(Zeroizing::new(format!("{username}:{password}")).as_str()))
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
        Client::new(endpoint, &ClientSettings::default()).err().unwrap().to_string()
    }

    // v0.3 Q10
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
            (
                "https://b/x/v2/catalog/",
                "spec.url must not end with /v2/catalog: give the part before /v2, which the operator adds itself",
            ),
        ] {
            assert_eq!(error(&endpoint(url)), message);
        }
        assert!(Client::new(&endpoint("http://b:8080/path/"), &ClientSettings::default()).is_ok());
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

    // OSB 14
    #[test]
    fn credentials_that_cannot_be_sent_are_named() {
        let with = |auth| Endpoint { auth, ..endpoint("http://b") };
        assert!(error(&with(basic("a:b", "c"))).starts_with("spec.authInfo: the user name"));
        let bearer = |token: &str| Authentication::Bearer { token: token.into() };
        let line_end = "ends with a line end, which belongs to the file that the Secret was made from: create the Secret anew";
        for (auth, message) in [
            (basic("jane", "hunter2\n"), format!("spec.authInfo: the password {line_end}")),
            (basic("jane\r\n", "hunter2"), format!("spec.authInfo: the user name {line_end}")),
            (bearer("hunter2\n"), format!("spec.authInfo: the token {line_end}")),
            (basic("jane", "hun\tter2"), "spec.authInfo: the password holds control characters".to_owned()),
            (bearer("hun\nter2\n"), "spec.authInfo: the token holds control characters".to_owned()),
            (bearer(""), "spec.authInfo: the token is empty".to_owned()),
        ] {
            let error = error(&with(auth));
            assert!(error.starts_with(&message) && !error.contains("hun"), "{error}");
        }
        for good in [basic("ü", "p:w ö"), basic("", ""), bearer("ü")] {
            assert!(Client::new(&with(good), &ClientSettings::default()).is_ok());
        }
    }

    #[test]
    fn credentials_can_be_compared() {
        assert!(basic("a", "b") == basic("a", "b"));
        assert!(basic("a", "b") != basic("a", "c"));
        assert!(Authentication::Bearer { token: "b".into() } != basic("a", "b"));
    }

    // OSB 9, 152, 153
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
