//! The HTTP endpoints: `/livez` (`/healthz` in v0.3) succeeds while the process runs; `/readyz`
//! (`/healthz/ready` in v0.3) succeeds when every cache is filled or another replica leads, and the policies
//! that the settings require are installed; `/metrics` has
//! the metrics.

mod connections;

use std::{future::Future, net::SocketAddr};

use anyhow::Context as _;
use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse as _,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

/// What `/readyz` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Not ready: the caches are not filled yet.
    Starting,
    /// Ready: another replica leads, and this one can take over.
    StandingBy,
    /// Ready: this replica leads and its caches are filled.
    Working,
    /// Not ready, although this replica works: admission policies are not in force, and the settings require
    /// them.
    WithoutPolicies,
}

impl Readiness {
    fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::Starting => (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet"),
            Self::StandingBy => (StatusCode::OK, "ok: another replica leads, and this one stands by"),
            Self::Working => (StatusCode::OK, "ok"),
            Self::WithoutPolicies => (
                StatusCode::SERVICE_UNAVAILABLE,
                "admission policies are missing or outdated: the log names them; apply config/admission of this version",
            ),
        }
    }
}

/// Opens the port for `serve`.
///
/// # Errors
/// The address is in use, or this host does not have it.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; set another address with --listen"))
}

/// Serves the endpoints until `stop` ends. `metrics` returns the text of `/metrics`.
pub(crate) async fn serve(
    listener: TcpListener,
    state: watch::Receiver<Readiness>,
    metrics: impl Fn() -> anyhow::Result<String> + Clone + Send + Sync + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let live = || async { "ok" };
    let readiness = move || {
        let state = *state.borrow();
        async move { state.answer() }
    };
    let render = move || {
        let text = metrics();
        async move {
            match text {
                Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
                Err(error) => {
                    tracing::error!(error = %error, "cannot render the metrics");
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            }
        }
    };
    let router = Router::new()
        .route("/metrics", get(render))
        .route("/livez", get(live))
        .route("/healthz", get(live))
        .route("/readyz", get(readiness.clone()))
        .route("/healthz/ready", get(readiness));
    connections::serve(listener, router, stop).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::timeout,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn started() -> SocketAddr {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_, seen) = watch::channel(Readiness::Working);
        tokio::spawn(serve(listener, seen, || Ok("counted 1\n".to_owned()), std::future::pending()));
        address
    }

    /// A connection on which a client has sent this.
    async fn open(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// What the server sends until it ends the connection, within the patience of a kubelet for `/livez`.
    async fn said(mut stream: TcpStream, patience: Duration) -> String {
        let mut text = Vec::new();
        // A reset is an end as well.
        let _ = timeout(patience, stream.read_to_end(&mut text)).await.expect("the connection does not end");
        String::from_utf8(text).unwrap()
    }

    const PROBE: &str = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn clients_that_say_nothing_keep_nobody_from_an_answer() {
        let address = started().await;
        let mut silent = Vec::new();
        for text in ["", "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "].repeat(100) {
            silent.push(open(address, text).await);
        }
        assert!(said(open(address, PROBE).await, PATIENCE).await.starts_with("HTTP/1.1 200"));
        // The oldest had to go at once, and the newest after the time for a head.
        said(silent.remove(0), PATIENCE).await;
        for stream in silent.into_iter().rev().take(2) {
            said(stream, PATIENCE).await;
        }
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let address = started().await;
        let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(17 << 10));
        assert!(said(open(address, &long).await, PATIENCE).await.starts_with("HTTP/1.1 431"));
    }

    // v0.3 K9, M2, M5
    #[tokio::test]
    async fn the_probes_of_v0_3_are_served_as_well() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ready, seen) = watch::channel(Readiness::Starting);
        let metrics = || Ok("counted 1\n".to_owned());
        let server = tokio::spawn(serve(listener, seen, metrics, std::future::pending()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let status = async |path: &str| {
            client.get(format!("http://{address}{path}")).send().await.unwrap().status().as_u16()
        };
        for (state, answer) in [
            (Readiness::Starting, 503),
            (Readiness::StandingBy, 200),
            (Readiness::Working, 200),
            (Readiness::WithoutPolicies, 503),
        ] {
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
