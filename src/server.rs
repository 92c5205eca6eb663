//! The probes: `/livez` (and the original's `/healthz`) while the process runs, `/readyz` (and `/healthz/ready`) once every
//! cache is filled; and `/metrics`.

use std::{future::Future, net::SocketAddr};

use anyhow::Context as _;
use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse as _,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

/// Opens the port.
///
/// # Errors
/// The address is taken or not ours.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (see --listen)"))
}

/// Serves the probes and the metrics, whose text `metrics` gives, until told to stop.
///
/// # Errors
/// The port is lost.
pub async fn serve(
    listener: TcpListener,
    ready: watch::Receiver<bool>,
    metrics: impl Fn() -> anyhow::Result<String> + Clone + Send + Sync + 'static,
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
    let shown = move || {
        let text = metrics();
        async move {
            match text {
                Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
                Err(error) => {
                    tracing::error!(error = %error, "the metrics cannot be shown");
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            }
        }
    };
    let router = Router::new()
        .route("/metrics", get(shown))
        .route("/livez", get(live))
        .route("/healthz", get(live))
        .route("/readyz", get(readiness.clone()))
        .route("/healthz/ready", get(readiness));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
        .context("the probes cannot be served any more")
}
