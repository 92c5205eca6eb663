//! The connections of the probe port. Anybody who reaches the port can open many of them and say nothing, or
//! read nothing. None of that may keep a kubelet from its answer, or take much memory.

use std::{collections::VecDeque, future::Future, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

/// How long a client may take to send the head of a request, also the next one on the same connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection lasts at most. A client that does not read its answer holds the text of the metrics.
const LIFETIME: Duration = Duration::from_secs(120);

/// The most connections at the same time. With one more, the oldest one ends.
const MAX_CONNECTIONS: usize = 64;

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// The pause after a failure to accept a connection: the process has no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until `stop` ends.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send) {
    let mut stop = std::pin::pin!(stop);
    // Dropping it ends all connections.
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.add(stream, router.clone()),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection for the probes");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.open.join_next() => {}
        }
    }
}

#[derive(Default)]
struct Connections {
    open: JoinSet<()>,
    /// From the oldest to the newest. Some of them may have ended.
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, stream: TcpStream, router: Router) {
        self.by_age.retain(|connection| !connection.is_finished());
        if self.by_age.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.by_age.pop_front()
        {
            oldest.abort();
        }
        self.by_age.push_back(self.open.spawn(answer(stream, router)));
    }
}

async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // What goes wrong on a connection concerns only its client.
    let _ = timeout(LIFETIME, connection).await;
}
