//! One of several replicas works: the one that holds a lease. As in client-go, on which the original stood.
//!
//! * A candidate that sees the lease held by another waits until it has not *seen it change* for as long as it is good for.
//!   That is measured by its own monotonic clock; times that other nodes wrote are for people.
//! * A write takes or renews the version that was read, so of two candidates one fails.
//! * The leader counts its term from *before* it sent the renewal that was answered, so it knows to be deposed
//!   before anybody else can know. Then it ends, and so does the process, at once: what is under way is cut off as by a
//!   crash, which leaves nothing that the next leader cannot go on with.
//! * A process that was suspended and goes on may hold requests that it was about to send. [`Term::holds`] is asked before
//!   each of them, so that it sends none.
//! * A leader that is told to stop gives the lease back when it has finished what was under way.
//!
//! [`lease`] decides, [`store`] reads and writes, and [`Candidate`] does the one with the other in time.

pub mod lease;
pub mod store;
#[cfg(test)]
mod tests;

use std::{future::Future, pin::pin, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use uuid::Uuid;

use self::{
    lease::{JITTER, Observed, Timing, Verdict, claimed, evaluate, holder, released},
    store::{Failure, Leases},
};

/// The name of the lease, which is that of the original's lock.
pub const NAME: &str = "service-catalog-controller-manager";

/// How often a leader that stops tries to give the lease back, when it was changed between reading and writing.
const RELEASE_ATTEMPTS: usize = 3;

/// Who this process is among the candidates: the host for people, and a part that no other process has, not even the
/// next one in the same pod.
#[must_use]
pub fn identity() -> String {
    let host = hostname::get().map_or_else(|_| "unknown".into(), |host| host.to_string_lossy().into_owned());
    format!("{host}_{}", Uuid::new_v4())
}

/// Until when this process may act. Cheap to ask and to pass on.
#[derive(Clone, Debug)]
pub struct Term(Option<watch::Receiver<Instant>>);

impl Term {
    /// Without an election there is no end.
    #[must_use]
    pub fn endless() -> Self {
        Self(None)
    }

    /// Whether it lasts.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|until| Instant::now() < *until.borrow())
    }
}

/// Why a leader leads no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another one has the lease, or nobody.
    #[error("the lease {lease} is held by {}, no longer by this process, which ends", .holder.as_deref().unwrap_or("nobody"))]
    Taken {
        /// Which.
        lease: String,
        /// Who holds it.
        holder: Option<String>,
    },
    /// It was not renewed in time, so another one may soon have it.
    #[error(
        "the lease {lease} was not renewed within {within:?}; another replica may soon lead, so this process ends"
    )]
    Expired {
        /// Which.
        lease: String,
        /// The renew deadline.
        within: Duration,
    },
}

/// A process that leads or would like to.
pub struct Candidate<L> {
    leases: L,
    me: String,
    timing: Timing,
    observed: Option<Observed>,
    /// The lease as this process last wrote it, as long as nothing says that it is another by now.
    held: Option<Lease>,
    /// When the term ends if it is not renewed.
    until: watch::Sender<Instant>,
}

/// How a look at the lease ended.
enum Look {
    Leading,
    Led { by: Option<String>, until: Instant },
}

/// Why a renewal failed.
enum Missed {
    /// It may succeed at another time.
    Now(Failure),
    /// It never will.
    ForGood { holder: Option<String> },
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self::Now(failure)
    }
}

impl<L: Leases> Candidate<L> {
    /// One that has not looked yet.
    pub fn new(leases: L, me: String, timing: Timing) -> Self {
        let until = watch::Sender::new(Instant::now());
        Self { leases, me, timing, observed: None, held: None, until }
    }

    /// Waits until this process leads, and says `stand_by` when it sees that another one does. `None`: told to stop.
    pub async fn campaign(
        &mut self,
        stop: impl Future<Output = ()>,
        mut stand_by: impl FnMut(),
    ) -> Option<Term> {
        let (mut stop, mut known) = (pin!(stop), None);
        let lease = self.leases.describe();
        loop {
            let again = Instant::now() + self.timing.retry.mul_f64(1.0 + JITTER * chance());
            // What is being asked is waited for, also when told to stop: a lease that is taken is to be given back.
            let again = match self.look().await {
                Ok(Look::Leading) => {
                    tracing::info!(%lease, me = self.me, "this replica leads");
                    return Some(Term(Some(self.until.subscribe())));
                }
                Ok(Look::Led { by, until }) => {
                    if known.as_ref() != Some(&by) {
                        let leader = by.as_deref().unwrap_or("(the lease is gone)");
                        tracing::info!(%lease, leader, me = self.me, "another replica leads; standing by");
                        known = Some(by);
                    }
                    stand_by();
                    until.min(again)
                }
                Err(Failure::Outdated) => again,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%lease, error, "cannot take part in the election (see --leader-elect); it is tried again");
                    again
                }
            };
            tokio::select! {
                () = &mut stop => return None,
                () = sleep_until(again) => {}
            }
        }
    }

    /// Keeps the lease, for as long as that is possible.
    pub async fn keep(&mut self) -> Lost {
        let lease = self.leases.describe();
        loop {
            let until = *self.until.borrow();
            sleep_until(until.min(Instant::now() + self.timing.retry)).await;
            if Instant::now() >= until {
                return Lost::Expired { lease, within: self.timing.renew };
            }
            let missed = match timeout_at(until, self.renew()).await {
                Ok(Ok(())) => continue,
                Ok(Err(Missed::ForGood { holder })) => return Lost::Taken { lease, holder },
                Ok(Err(Missed::Now(failure))) => failure,
                Err(_) => Failure::Silence,
            };
            let left = until.saturating_duration_since(Instant::now());
            let error = &missed as &dyn std::error::Error;
            tracing::warn!(%lease, error, ?left, "cannot renew the lease; it is tried again");
        }
    }

    /// Gives the lease back, so that nobody has to wait for its end.
    pub async fn release(&mut self) {
        let lease = self.leases.describe();
        for _ in 0..RELEASE_ATTEMPTS {
            match self.give_back().await {
                Ok(()) => {
                    tracing::info!(%lease, "the lease is given back");
                    return;
                }
                Err(Missed::Now(Failure::Outdated)) => {}
                Err(Missed::Now(failure)) => {
                    let error = &failure as &dyn std::error::Error;
                    tracing::warn!(%lease, error, "cannot give the lease back; others wait for its end");
                    return;
                }
                Err(Missed::ForGood { .. }) => return,
            }
        }
    }

    async fn look(&mut self) -> Result<Look, Failure> {
        let lease = self.timed(self.leases.get()).await?;
        let (spec, now) =
            (lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default()), Instant::now());
        self.observed = Observed::after(self.observed.take(), spec.as_ref(), now);
        match evaluate(spec.as_ref(), self.observed.as_ref(), &self.me, now) {
            Verdict::Wait { until } => {
                Ok(Look::Led { by: spec.as_ref().and_then(holder).map(str::to_owned), until })
            }
            Verdict::Acquire | Verdict::Renew => self.write(lease).await.map(|()| Look::Leading),
        }
    }

    /// Renews the lease. What was last written is taken for what is there: so a renewal is one request.
    async fn renew(&mut self) -> Result<(), Missed> {
        let written = self.held.take();
        let fresh = written.is_none();
        let lease = self.ours(written).await?;
        match self.write(Some(lease)).await {
            Err(Failure::Outdated) if !fresh => {
                let lease = self.ours(None).await?;
                Ok(self.write(Some(lease)).await?)
            }
            written => Ok(written?),
        }
    }

    async fn give_back(&mut self) -> Result<(), Missed> {
        let written = self.held.take();
        let lease = released(self.ours(written).await?, Timestamp::now());
        self.timed(self.leases.replace(&lease)).await?;
        Ok(())
    }

    /// The lease as it is known or else read, if this process holds it.
    async fn ours(&self, known: Option<Lease>) -> Result<Lease, Missed> {
        let lease = match known {
            Some(lease) => Some(lease),
            None => self.timed(self.leases.get()).await?,
        };
        let holder = lease.as_ref().and_then(|lease| holder(lease.spec.as_ref()?)).map(str::to_owned);
        match lease {
            Some(lease) if holder.as_deref() == Some(&self.me) => Ok(lease),
            _ => Err(Missed::ForGood { holder }),
        }
    }

    /// Takes or renews this version of the lease. The term counts from before: others see the write later.
    async fn write(&mut self, lease: Option<Lease>) -> Result<(), Failure> {
        let (exists, before) = (lease.is_some(), Instant::now());
        let lease = claimed(lease, self.leases.name(), &self.me, &self.timing, Timestamp::now());
        let written = if exists {
            self.timed(self.leases.replace(&lease)).await?
        } else {
            self.timed(self.leases.create(&lease)).await?
        };
        self.held = Some(written);
        self.until.send_replace(before + self.timing.renew);
        Ok(())
    }

    async fn timed<T>(&self, request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        timeout(self.timing.request(), request).await.unwrap_or(Err(Failure::Silence))
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
