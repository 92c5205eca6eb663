//! The client of the API server.

use anyhow::Context as _;
use http::{HeaderValue, header::USER_AGENT};
use kube::{Client, Config, client::ClientBuilder};
use tower::util::MapResponseLayer;

mod shallow;

/// Connects to the cluster of the kubeconfig, or of the pod that this runs in.
///
/// # Errors
/// There is no usable configuration.
pub async fn connect() -> anyhow::Result<Client> {
    let config =
        Config::infer().await.context("there is no cluster to work for: set KUBECONFIG, or run in a pod")?;
    with(config)
}

/// A client as the operator uses it: it says who it is, and repeats nothing by itself. A pass that failed is repeated as
/// a whole, and a write that was answered with an error may have been done. What is nested too deep is not read.
///
/// # Errors
/// The TLS set-up of the configuration is not usable.
pub fn with(mut config: Config) -> anyhow::Result<Client> {
    // Another part of the process may have chosen the same provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let agent = HeaderValue::from_static(concat!("service-catalog/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    config.default_retry = false;
    let builder =
        ClientBuilder::try_from(config).context("the configuration of the cluster is not usable")?;
    Ok(builder.with_layer(&MapResponseLayer::new(shallow::shallow)).build())
}
