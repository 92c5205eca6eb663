//! The client of the API server.

use std::net::IpAddr;

use anyhow::{Context as _, anyhow};
use http::{HeaderValue, header::USER_AGENT};
use kube::{Client, Config, client::ClientBuilder};
use tokio::net::lookup_host;
use tower::util::MapResponseLayer;

use super::{depth_limit::limit_depth, error::describe};

/// A client for the cluster of the kubeconfig, or of the pod that the operator runs in, and the addresses of
/// the API server. Sends no request.
///
/// # Errors
/// There is no usable configuration.
pub async fn connect() -> anyhow::Result<(Client, Vec<IpAddr>)> {
    let config = Config::infer().await.context(
        "cannot find a cluster; set KUBECONFIG, or run the operator in a pod with a service account",
    )?;
    let addresses = addresses(&config).await;
    Ok((with(config)?, addresses))
}

/// The addresses of the API server: those of the configuration, and the one that Kubernetes gives to pods. A
/// name that cannot be resolved has none.
async fn addresses(config: &Config) -> Vec<IpAddr> {
    let configured = config.cluster_url.host().map(|host| host.trim_matches(['[', ']']).to_owned());
    let mut addresses = Vec::new();
    for host in configured.into_iter().chain(std::env::var("KUBERNETES_SERVICE_HOST").ok()) {
        match lookup_host((host.as_str(), 0)).await {
            Ok(found) => addresses.extend(found.map(|address| address.ip())),
            Err(error) => {
                tracing::warn!(host, %error, "the name of the API server cannot be resolved; brokers may have its addresses");
            }
        }
    }
    addresses
}

/// A client with the settings of the operator: its own user agent, no automatic retries, and a limit on the
/// depth of JSON. The runner repeats a failed reconcile as a whole, because a write that was answered with an
/// error may have taken effect.
///
/// # Errors
/// The TLS settings of the configuration are not usable.
pub fn with(mut config: Config) -> anyhow::Result<Client> {
    // Another part of the process may have installed the same provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let agent = HeaderValue::from_static(concat!("service-catalog/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(|error| {
        anyhow!("the configuration of the cluster is not usable; check the kubeconfig: {}", describe(&error))
    })?;
    Ok(builder.with_layer(&MapResponseLayer::new(limit_depth)).build())
}
