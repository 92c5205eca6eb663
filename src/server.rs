//! The probes: `/livez` (and the original's `/healthz`) while the process runs, `/readyz` once every cache is filled.

use std::{future::Future, net::SocketAddr};

use anyhow::Context as _;
use axum::{Router, http::StatusCode, routing::get};
use tokio::{net::TcpListener, sync::watch};

/// Opens the port.
///
/// # Errors
/// The address is taken or not ours.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (see --listen)"))
}

/// Serves the probes until told to stop.
///
/// # Errors
/// The port is lost.
pub async fn serve(
    listener: TcpListener,
    ready: watch::Receiver<bool>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let live = || async { "ok" };
    let readiness = move || {
        let ready = *ready.borrow();
        async move {
            if ready {
                (StatusCode::OK, "ok")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet")
            }
        }
    };
    let router = Router::new()
        .route("/livez", get(live))
        .route("/healthz", get(live))
        .route("/readyz", get(readiness.clone()))
        .route("/healthz/ready", get(readiness));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
        .context("the probes cannot be served any more")
}
