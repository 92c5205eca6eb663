//! The probes: `/livez` (and the original's `/healthz`) while the process runs, `/readyz` (and `/healthz/ready`) once every
//! cache is filled, or while another replica leads; and `/metrics`.

use std::{future::Future, net::SocketAddr};

use anyhow::Context as _;
use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse as _,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

/// How far this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not know yet what there is to do.
    Starting,
    /// Another replica leads, and this one is there to take over: as ready as it can be.
    StandingBy,
    /// It works.
    Working,
}

impl State {
    fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::Starting => (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet"),
            Self::StandingBy => (StatusCode::OK, "ok, standing by: another replica leads"),
            Self::Working => (StatusCode::OK, "ok"),
        }
    }
}

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
    state: watch::Receiver<State>,
    metrics: impl Fn() -> anyhow::Result<String> + Clone + Send + Sync + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let live = || async { "ok" };
    let readiness = move || {
        let state = *state.borrow();
        async move { state.answer() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_original_s_probes_are_served_beside_ours() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ready, seen) = watch::channel(State::Starting);
        let metrics = || Ok("counted 1\n".to_owned());
        let server = tokio::spawn(serve(listener, seen, metrics, std::future::pending()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let status = async |path: &str| {
            client.get(format!("http://{address}{path}")).send().await.unwrap().status().as_u16()
        };
        for (state, answer) in [(State::Starting, 503), (State::StandingBy, 200), (State::Working, 200)] {
            ready.send_replace(state);
            for path in ["/livez", "/healthz", "/metrics"] {
                assert_eq!(status(path).await, 200, "{path}");
            }
            for path in ["/readyz", "/healthz/ready"] {
                assert_eq!(status(path).await, answer, "{path}");
            }
        }
        for path in ["/debug/pprof/", "/configz"] {
            assert_eq!(status(path).await, 404, "{path}");
        }
        server.abort();
    }
}
