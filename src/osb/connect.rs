//! The HTTP client for one broker, and messages for people about failed connections.

use std::{error::Error, io, time::Duration};

use reqwest::{
    ClientBuilder,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue},
    redirect, retry, tls,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    endpoint::{ClientSettings, Endpoint, EndpointError, base},
    resolve::{NoAddress, Resolver, check_literal, has_proxy},
    tls::{explain, trusting},
};

/// The header that names the version of the API.
pub(super) const API_VERSION: &str = "x-broker-api-version";

/// The time limit for a connection. It is separate, because a broker that could not be connected has
/// certainly received nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be idle before it is not used again. If a server closes an idle connection while
/// a request is on its way, it is unknown whether it received the request, and an unknown outcome of a PUT
/// costs a DELETE. The shortest keep-alive that brokers are known to have is two seconds (gunicorn), so
/// connections only serve bursts.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The client with its connection pool: certificates are verified, and so are addresses ([`Resolver`]); no
/// redirects, replays, compression or HTTP/2.
///
/// # Replays
///
/// `reqwest` replays nothing under [`retry::never`]. Below it, `hyper-util` (0.1.21,
/// `client/legacy/client.rs`, `send_request`) takes another connection only if `hyper` hands the request back
/// *unstarted* and the connection was a used one; `hyper` (1.12, `client/dispatch.rs`,
/// `proto/h1/dispatch.rs`) hands back only what is still queued before its connection (`message: Some`),
/// never what has begun to be written (`message: None`). So a request on a connection that turns out to be
/// dead is either sent once on a fresh one, or reported as lost.
pub(super) fn http_client(
    endpoint: &Endpoint,
    settings: &ClientSettings,
) -> Result<reqwest::Client, EndpointError> {
    let url = base(&endpoint.url)?;
    check_literal(&settings.egress, &url)?;
    let builder = builder(endpoint, settings)?;
    let builder = if has_proxy(&url) {
        builder
    } else {
        builder.no_proxy().dns_resolver(Resolver(settings.egress.clone()))
    };
    let builder = match &endpoint.ca_bundle {
        Some(_) if endpoint.insecure_skip_tls_verify => return Err(EndpointError::CaBundleUnused),
        Some(bundle) => {
            let config = trusting(certificates(bundle)?).map_err(|_| EndpointError::CaBundle)?;
            builder.tls_backend_preconfigured(config)
        }
        // Without TLS no roots are needed, so an image without any can be used for brokers inside the
        // cluster.
        None if url.scheme() == "http" => builder.tls_certs_only([]),
        None => builder.tls_danger_accept_invalid_certs(endpoint.insecure_skip_tls_verify),
    };
    builder.build().map_err(|error| EndpointError::Setup(cause(&error)))
}

fn builder(endpoint: &Endpoint, settings: &ClientSettings) -> Result<ClientBuilder, EndpointError> {
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
        // At most half of the time limit of the request. If both limits were equal, it would be unknown which
        // of them has ended the request.
        .connect_timeout(CONNECT_TIMEOUT.min(settings.request_timeout / 2))
        .pool_idle_timeout(POOL_IDLE_TIMEOUT))
}

fn certificates(bundle: &[u8]) -> Result<Vec<CertificateDer<'static>>, EndpointError> {
    let certificates = CertificateDer::pem_slice_iter(bundle).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| EndpointError::CaBundle)?;
    if certificates.is_empty() { Err(EndpointError::CaBundleEmpty) } else { Ok(certificates) }
}

/// Why a connection failed, and what to do. `has_bundle`: the broker has a `spec.caBundle`.
pub(super) fn failure(error: &reqwest::Error, has_bundle: bool) -> String {
    let cause = if error.is_timeout() {
        "no connection in time".to_owned()
    } else if let Some(none) = chain(error).find_map(|error| error.downcast_ref::<NoAddress>()) {
        none.to_string()
    } else if let Some(error) = tls_error(error) {
        explain(error, has_bundle)
    } else {
        network_failure(error)
    };
    match tunnel_error(error) {
        Some(tunnel) if tunnel.contains("authorization") => {
            "the proxy asks for a user name and password: put them into the URL in the operator's HTTPS_PROXY".to_owned()
        }
        Some(tunnel) if tunnel.contains("unsuccessful") => {
            "the proxy does not let the connection through: allow it there, or add the host to the operator's NO_PROXY"
                .to_owned()
        }
        Some(_) => format!("through the proxy of the operator's HTTPS_PROXY: {cause}"),
        None => cause,
    }
}

/// The error of the operating system, and what it means.
fn network_failure(error: &(dyn Error + 'static)) -> String {
    let cause = cause(error);
    let meaning = match io_error(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "no program listens there; check spec.url",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            "there is no route to it; check spec.url and network policies"
        }
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
            "the other side closed the connection; check spec.url and its port"
        }
        _ if cause.contains("failed to lookup address") => {
            "the name is not known; check the host in spec.url"
        }
        _ => return cause,
    };
    format!("{cause}: {meaning}")
}

/// The innermost reason of an error: the outer ones only say that a request failed.
pub(super) fn cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn io_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).last()
}

/// The message of a proxy's refusal to be a tunnel. Its type is private to `hyper-util`.
fn tunnel_error(error: &(dyn Error + 'static)) -> Option<String> {
    chain(error).map(ToString::to_string).find(|message| message.starts_with("tunnel error"))
}

/// An error and its causes. An `io::Error` shows what it wraps only through `get_ref` (its `source` is that
/// of the wrapped error), and the TLS layers wrap twice.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| {
        let error: &'e (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
