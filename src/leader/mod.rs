//! Leader election: of several replicas, the one that holds a lease works. It follows client-go, which v0.3
//! used.
//!
//! * A candidate waits until it has seen the lease of another replica unchanged for the lease duration. It
//!   measures this with its own monotonic clock.
//! * A write takes or renews the version of the lease that was read, so of two candidates one fails.
//! * The leadership ends one renew deadline after the leader *sent* its last successful renewal. So the
//!   leader knows that it has lost the lease before another replica can take it. It then drops all its work
//!   at once, like in a crash, and becomes a candidate again. A crash leaves nothing that the next leader
//!   cannot continue.
//! * A process that was suspended and continues may still be about to send requests. Before each of them it
//!   asks `Leadership::is_valid`.
//! * A leader that receives a stop signal finishes its work and then releases the lease.
//!
//! `lease` decides, `store` reads and writes, and `Candidate` connects the two. `election` runs a candidate
//! on a thread of its own.

pub(crate) mod election;
pub(crate) mod lease;
pub(crate) mod store;
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
    lease::{JITTER, LeaseAction, ObservedLease, Timing, claimed, evaluate, holder, released},
    store::Leases,
};
use crate::kube_api::Error;

/// The name of the lease. The lock of v0.3 has the same name.
pub const LEASE_NAME: &str = "service-catalog-controller-manager";

/// How often a leader that stops tries to release the lease while other writes get in between.
const RELEASE_ATTEMPTS: usize = 3;

/// The identity of this process as a candidate: the name of the host and a random part. The random part
/// differs between all processes, also between two processes of the same pod.
pub(crate) fn identity() -> String {
    let host = hostname::get().map_or_else(|_| "unknown".into(), |host| host.to_string_lossy().into_owned());
    format!("{host}_{}", Uuid::new_v4())
}

/// The time until which this process leads. Clones of it see every renewal.
#[derive(Clone, Debug)]
pub struct Leadership(Option<watch::Receiver<Instant>>);

impl Leadership {
    /// The leadership of the only replica, where no leader is elected. It has no end.
    pub(crate) fn without_election() -> Self {
        Self(None)
    }

    /// Whether this process still leads.
    pub(crate) fn is_valid(&self) -> bool {
        self.0.as_ref().is_none_or(|until| Instant::now() < *until.borrow())
    }
}

/// Why this process no longer leads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeadershipLost {
    /// Another process holds the lease, or no process does.
    #[error(
        "this replica no longer leads and stops its work: {} the lease {lease}",
        .holder.as_deref().map_or_else(|| "no replica holds".to_owned(), |holder| format!("{holder} holds"))
    )]
    NotHolder { lease: String, holder: Option<String> },
    /// The lease was not renewed in time, so another replica may take it soon.
    #[error(
        "this replica no longer leads and stops its work: the lease {lease} was not renewed within {renew_deadline:?}; check the \
         connection to the API server"
    )]
    Expired { lease: String, renew_deadline: Duration },
}

/// A process that leads or waits to lead.
pub(crate) struct Candidate<L> {
    leases: L,
    /// The identity of this process.
    me: String,
    timing: Timing,
    observed: Option<ObservedLease>,
    /// The lease as this process last wrote it. `None` if another process may have changed it since.
    written: Option<Lease>,
    /// The end of the leadership, unless the lease is renewed.
    valid_until: watch::Sender<Instant>,
}

/// The result of an attempt to take the lease.
enum Acquisition {
    Acquired,
    HeldByAnother { holder: Option<String>, expires: Instant },
}

enum RenewError {
    /// The next attempt may succeed.
    Temporary(Error),
    /// Another process holds the lease, or no process does.
    NotHolder(Option<String>),
}

impl From<Error> for RenewError {
    fn from(error: Error) -> Self {
        Self::Temporary(error)
    }
}

impl<L: Leases> Candidate<L> {
    pub(crate) fn new(leases: L, me: String, timing: Timing) -> Self {
        let valid_until = watch::Sender::new(Instant::now());
        Self { leases, me, timing, observed: None, written: None, valid_until }
    }

    /// Waits until this process leads. Calls `on_standby` each time it sees that another process leads.
    /// Returns `None` if `stop` ends first.
    pub(crate) async fn campaign(
        &mut self,
        stop: impl Future<Output = ()>,
        mut on_standby: impl FnMut(),
    ) -> Option<Leadership> {
        let (mut stop, mut known_holder) = (pin!(stop), None);
        // What is left of an earlier leadership stays invalid.
        self.valid_until = watch::Sender::new(Instant::now());
        let lease = self.leases.describe();
        loop {
            let retry = Instant::now() + self.timing.retry_period.mul_f64(1.0 + JITTER * random_fraction());
            // A request that was sent is waited for, also after a stop signal: a lease that was taken must be
            // released.
            let next = match self.try_acquire().await {
                Ok(Acquisition::Acquired) => {
                    tracing::info!(%lease, me = self.me, "this replica leads");
                    return Some(Leadership(Some(self.valid_until.subscribe())));
                }
                Ok(Acquisition::HeldByAnother { holder, expires }) => {
                    if known_holder.as_ref() != Some(&holder) {
                        let leader = holder.as_deref().unwrap_or("(the lease was deleted)");
                        tracing::info!(%lease, leader, me = self.me, "another replica leads; this replica stands by");
                        known_holder = Some(holder);
                    }
                    on_standby();
                    expires.min(retry)
                }
                Err(Error::Conflict { .. }) => retry,
                Err(error) => {
                    tracing::warn!(%lease, %error, "cannot take part in the leader election; the operator tries again (see --leader-elect)");
                    retry
                }
            };
            tokio::select! {
                () = &mut stop => return None,
                () = sleep_until(next) => {}
            }
        }
    }

    /// Renews the lease once in each retry period. Returns when this process no longer leads.
    pub(crate) async fn renew_until_lost(&mut self) -> LeadershipLost {
        let lease = self.leases.describe();
        loop {
            let valid_until = *self.valid_until.borrow();
            sleep_until(valid_until.min(Instant::now() + self.timing.retry_period)).await;
            if Instant::now() >= valid_until {
                return LeadershipLost::Expired { lease, renew_deadline: self.timing.renew_deadline };
            }
            let error = match timeout_at(valid_until, self.renew()).await {
                Ok(Ok(())) => continue,
                Ok(Err(RenewError::NotHolder(holder))) => {
                    return LeadershipLost::NotHolder { lease, holder };
                }
                Ok(Err(RenewError::Temporary(error))) => error,
                Err(_) => self.timeout(),
            };
            let remaining = valid_until.saturating_duration_since(Instant::now());
            tracing::warn!(%lease, %error, ?remaining, "cannot renew the lease; the operator tries again");
        }
    }

    /// Gives the lease back, so that another replica can lead at once.
    pub(crate) async fn release(&mut self) {
        let lease = self.leases.describe();
        for _ in 0..RELEASE_ATTEMPTS {
            match self.try_release().await {
                Ok(()) => {
                    tracing::info!(%lease, "released the lease");
                    return;
                }
                Err(RenewError::Temporary(Error::Conflict { .. })) => {}
                Err(RenewError::Temporary(error)) => {
                    tracing::warn!(%lease, %error, "cannot release the lease; other replicas wait until it expires");
                    return;
                }
                Err(RenewError::NotHolder(_)) => return,
            }
        }
    }

    async fn try_acquire(&mut self) -> Result<Acquisition, Error> {
        let lease = self.within_timeout(self.leases.get()).await?;
        let spec = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        let now = Instant::now();
        self.observed = ObservedLease::after(self.observed.take(), spec.as_ref(), now);
        match evaluate(spec.as_ref(), self.observed.as_ref(), &self.me, now) {
            LeaseAction::Wait(expires) => {
                let holder = spec.as_ref().and_then(holder).map(str::to_owned);
                Ok(Acquisition::HeldByAnother { holder, expires })
            }
            LeaseAction::Acquire | LeaseAction::Renew => {
                self.write(lease).await.map(|()| Acquisition::Acquired)
            }
        }
    }

    /// Renews the lease, usually with one request: it replaces the version that this process wrote last. If
    /// another process has changed that version, it reads the lease and tries once more.
    async fn renew(&mut self) -> Result<(), RenewError> {
        let written = self.written.take();
        let is_fresh = written.is_none();
        let lease = self.own_lease(written).await?;
        match self.write(Some(lease)).await {
            Err(Error::Conflict { .. }) if !is_fresh => {
                let lease = self.own_lease(None).await?;
                Ok(self.write(Some(lease)).await?)
            }
            result => Ok(result?),
        }
    }

    async fn try_release(&mut self) -> Result<(), RenewError> {
        let written = self.written.take();
        let lease = released(self.own_lease(written).await?, Timestamp::now());
        self.within_timeout(self.leases.replace(&lease)).await?;
        Ok(())
    }

    /// The lease that this process holds: the known version, or a fresh read.
    async fn own_lease(&self, known: Option<Lease>) -> Result<Lease, RenewError> {
        let lease = match known {
            Some(lease) => Some(lease),
            None => self.within_timeout(self.leases.get()).await?,
        };
        let holder = lease.as_ref().and_then(|lease| holder(lease.spec.as_ref()?)).map(str::to_owned);
        match lease {
            Some(lease) if holder.as_deref() == Some(&self.me) => Ok(lease),
            _ => Err(RenewError::NotHolder(holder)),
        }
    }

    /// Takes or renews this version of the lease. The leadership counts from before the request, because
    /// other replicas see the write later.
    async fn write(&mut self, lease: Option<Lease>) -> Result<(), Error> {
        let (exists, before) = (lease.is_some(), Instant::now());
        let lease = claimed(lease, self.leases.name(), &self.me, &self.timing, Timestamp::now());
        let written = if exists {
            self.within_timeout(self.leases.replace(&lease)).await?
        } else {
            self.within_timeout(self.leases.create(&lease)).await?
        };
        self.written = Some(written);
        self.valid_until.send_replace(before + self.timing.renew_deadline);
        Ok(())
    }

    async fn within_timeout<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.timing.request_timeout(), request).await.unwrap_or_else(|_| Err(self.timeout()))
    }

    fn timeout(&self) -> Error {
        let action = format!("read or write Lease {}", self.leases.describe());
        Error::Timeout { action, limit: self.timing.request_timeout() }
    }
}

/// A random number from 0 to 1.
fn random_fraction() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
