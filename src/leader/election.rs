//! The election of this process, on a thread with connections of its own. So a renewal waits neither for the writes of
//! the operator nor for its computations: under load these take seconds, and a leader that is late loses the lease.

use std::future::Future;

use anyhow::Context as _;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
};

use super::{Candidate, LEASE_NAME, Leadership, LeadershipLost, identity, lease::Timing, store::ApiLease};
use crate::kube_api;

const PANIC: &str = "the leader election ended in a panic";

/// A process that takes part in the election.
pub(crate) struct Election {
    thread: Thread,
    candidate: Option<Candidate<ApiLease>>,
}

/// The time in which this process leads.
pub(crate) struct Term {
    lost: oneshot::Receiver<LeadershipLost>,
    release: oneshot::Sender<()>,
    renewal: JoinHandle<Candidate<ApiLease>>,
}

/// The thread. It ends when this is dropped, whatever it does.
struct Thread(Option<Runtime>);

impl Thread {
    fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> anyhow::Result<JoinHandle<T>> {
        Ok(self.0.as_ref().context("the election has ended")?.spawn(task))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Election {
    /// Starts the thread. Sends no request.
    ///
    /// # Errors
    /// There is no thread, or no usable configuration of the cluster.
    pub(crate) async fn new(namespace: &str, timing: Timing) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("election")
            .enable_all()
            .build()
            .context("cannot start a thread for the leader election")?;
        let thread = Thread(Some(runtime));
        // The connections of a client belong to the thread on which it is made.
        let (client, _) = thread.spawn(kube_api::client::connect())?.await.context(PANIC)??;
        let lease = ApiLease::new(client, namespace, LEASE_NAME);
        Ok(Self { thread, candidate: Some(Candidate::new(lease, identity(), timing)) })
    }

    /// Waits until this process leads, and then renews the lease. Calls `on_standby` each time it sees that another
    /// process leads. Returns `None` if `stop` ends first.
    ///
    /// # Errors
    /// A bug: the task of the election has ended.
    pub(crate) async fn campaign(
        &mut self,
        stop: impl Future<Output = ()> + Send + 'static,
        on_standby: impl FnMut() + Send + 'static,
    ) -> anyhow::Result<Option<(Leadership, Term)>> {
        let mut candidate = self.candidate.take().context("this process leads already")?;
        let campaign = self.thread.spawn(async move {
            let leadership = candidate.campaign(stop, on_standby).await;
            (candidate, leadership)
        })?;
        let (mut candidate, leadership) = campaign.await.context(PANIC)?;
        let Some(leadership) = leadership else { return Ok(None) };
        let ((release, released), (told, lost)) = (oneshot::channel(), oneshot::channel());
        let renewal = self.thread.spawn(async move {
            let ended = tokio::select! {
                biased;
                lost = candidate.renew_until_lost() => Some(lost),
                Ok(()) = released => None,
            };
            match ended {
                // Nobody listens when the process ends.
                Some(lost) => drop(told.send(lost)),
                None => candidate.release().await,
            }
            candidate
        })?;
        Ok(Some((leadership, Term { lost, release, renewal })))
    }

    /// Makes the process a candidate again after a term that it has lost. All work of that term must have ended.
    ///
    /// # Errors
    /// A bug: the task of the election has ended.
    pub(crate) async fn again(&mut self, term: Term) -> anyhow::Result<()> {
        self.candidate = Some(term.renewal.await.context(PANIC)?);
        Ok(())
    }
}

impl Term {
    /// Waits until the leadership is lost.
    ///
    /// # Errors
    /// A bug: the task of the election has ended.
    pub(crate) async fn lost(&mut self) -> anyhow::Result<LeadershipLost> {
        (&mut self.lost).await.context(PANIC)
    }

    /// Gives the lease back, so that another replica can lead at once.
    pub(crate) async fn release(self) {
        // Whoever has lost the lease has nothing to give back.
        if self.release.send(()).is_ok() {
            let _ = self.renewal.await;
        }
    }
}
