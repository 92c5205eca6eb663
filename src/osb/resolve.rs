//! From the name of a broker's host to addresses that it may have ([`super::egress`]).

use std::{fmt, net::SocketAddr, time::Duration};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tokio::{net::lookup_host, time::timeout};

use super::{
    egress::Egress,
    endpoint::{EndpointError, literal},
};

/// Resolves names for the connections to one broker. The connection goes to the very addresses that were
/// checked, so a name that has another address each time gains nothing.
pub(super) struct Resolver(pub(super) Egress);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.0.clone();
        Box::pin(async move { Ok(Box::new(resolve(&egress, name.as_str()).await?) as Addrs) })
    }
}

/// Why a name has no address to connect to.
#[derive(Debug)]
pub(super) enum NoAddress {
    /// The name cannot be resolved, with the reason of the system.
    Unknown(std::io::Error),
    /// The name has only addresses that no broker may have.
    LinkLocal,
    /// One of both. Which one stays secret: the user could otherwise find out which names there are in the
    /// cluster.
    UnknownOrDenied,
}

impl std::error::Error for NoAddress {}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(error) => write!(f, "{error}: the name is not known; check the host in spec.url"),
            Self::LinkLocal => write!(f, "{}", EndpointError::LinkLocal),
            Self::UnknownOrDenied => f.write_str(
                "the name of the host is not known, or it has only addresses that a ServiceBroker may not have (private, \
                 loopback and reserved ones, and the API server); check the host in spec.url, or ask an administrator to \
                 allow its addresses (--namespaced-broker-allowed-cidrs)",
            ),
        }
    }
}

async fn resolve(egress: &Egress, name: &str) -> Result<std::vec::IntoIter<SocketAddr>, NoAddress> {
    let failure = match lookup_host((name, 0)).await {
        Ok(addresses) => {
            let (allowed, denied): (Vec<_>, Vec<_>) =
                addresses.partition(|address| egress.allows(address.ip()));
            if let Some(address) = denied.first() {
                let address = address.ip();
                tracing::info!(host = name, %address, "the host of a broker has an address that the operator does not connect to");
            }
            if !allowed.is_empty() {
                return Ok(allowed.into_iter());
            }
            NoAddress::LinkLocal
        }
        Err(error) => NoAddress::Unknown(error),
    };
    Err(if egress.is_open() { failure } else { NoAddress::UnknownOrDenied })
}

/// Checks the host of a broker's URL, if it is an address.
pub(super) fn check_literal(egress: &Egress, url: &Url) -> Result<(), EndpointError> {
    match literal(url) {
        Some(address) if !egress.allows(address) => {
            Err(if egress.is_open() || !Egress::Open.allows(address) {
                EndpointError::LinkLocal
            } else {
                EndpointError::Denied
            })
        }
        _ => Ok(()),
    }
}

/// Whether requests to a broker go through the proxy that the environment names.
pub(super) fn has_proxy(url: &Url) -> bool {
    let target = url.as_str().parse::<http::Uri>();
    target.is_ok_and(|target| Matcher::from_system().intercept(&target).is_some())
}

/// Checks a name before a request that goes through a proxy. The proxy resolves the name itself, so this
/// check is only worth something where both know the same names; a name that only the proxy knows passes.
pub(super) async fn check_before_proxy(egress: &Egress, url: &Url) -> Result<(), NoAddress> {
    let Some(host) = url.host_str().filter(|_| literal(url).is_none()) else { return Ok(()) };
    match timeout(LOOKUP_TIMEOUT, lookup_host((host, 0))).await {
        Ok(Ok(addresses)) => {
            let mut addresses = addresses.map(|address| address.ip());
            match addresses.find(|address| !egress.allows(*address)) {
                None => Ok(()),
                Some(_) if egress.is_open() => Err(NoAddress::LinkLocal),
                Some(_) => Err(NoAddress::UnknownOrDenied),
            }
        }
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// How long the check before a proxy may take. It comes before the time of the request, which must be sent
/// soon after its intent.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
