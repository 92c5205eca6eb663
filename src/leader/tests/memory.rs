//! A lease in shared memory, and the network between it and its candidates.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::sleep;

use crate::{kube_api::Error, leader::store::Leases};

/// The time from a request to its answer.
pub const LATENCY: Duration = Duration::from_millis(10);

/// What happens to the requests of one candidate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Up,
    /// Requests fail.
    Down,
    /// Requests have no effect and no answer.
    Silent,
    /// Requests take effect and get no answer.
    AnswersLost,
}

#[derive(Default)]
struct Contents {
    lease: Option<Lease>,
    version: u64,
    /// The requests: candidate and verb.
    requests: Vec<(&'static str, &'static str)>,
}

/// The lease, which all candidates share.
#[derive(Clone, Default)]
pub struct SharedLease(Arc<Mutex<Contents>>);

/// The access of one candidate to the lease.
#[derive(Clone)]
pub struct LeaseAccess {
    who: &'static str,
    shared: SharedLease,
    network: Arc<Mutex<Network>>,
}

impl SharedLease {
    pub fn access(&self, who: &'static str) -> LeaseAccess {
        LeaseAccess { who, shared: self.clone(), network: Arc::new(Mutex::new(Network::Up)) }
    }

    pub fn lease(&self) -> Option<Lease> {
        self.0.lock().unwrap().lease.clone()
    }

    pub fn holder(&self) -> String {
        self.lease().and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
    }

    /// Changes the lease as a person does with kubectl.
    pub fn edit(&self, edit: impl FnOnce(&mut Lease)) {
        let mut contents = self.0.lock().unwrap();
        let mut lease = contents.lease.clone().unwrap();
        edit(&mut lease);
        contents.write(lease);
    }

    /// Changes the holder of the lease.
    pub fn give(&self, to: Option<&str>) {
        self.edit(|lease| {
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = to.map(str::to_owned);
            }
        });
    }

    pub fn delete(&self) {
        self.0.lock().unwrap().lease = None;
    }

    /// The verbs of the requests of one candidate since the last call.
    pub fn requests(&self, who: &str) -> Vec<&'static str> {
        let mut contents = self.0.lock().unwrap();
        let (theirs, others) = contents.requests.drain(..).partition::<Vec<_>, _>(|(asker, _)| *asker == who);
        contents.requests = others;
        theirs.into_iter().map(|(_, verb)| verb).collect()
    }
}

impl Contents {
    fn write(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }
}

impl LeaseAccess {
    pub fn set(&self, network: Network) {
        *self.network.lock().unwrap() = network;
    }

    async fn ask<T>(
        &self,
        verb: &'static str,
        act: impl FnOnce(&mut Contents) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let network = *self.network.lock().unwrap();
        self.shared.0.lock().unwrap().requests.push((self.who, verb));
        sleep(LATENCY / 2).await;
        match network {
            Network::Down => {
                return Err(Error::new("reach the lease", kube::Error::LinesCodecMaxLineLengthExceeded));
            }
            Network::Silent => pending().await,
            Network::Up | Network::AnswersLost => {}
        }
        let done = act(&mut self.shared.0.lock().unwrap());
        if network == Network::AnswersLost {
            pending::<()>().await;
        }
        sleep(LATENCY / 2).await;
        done
    }
}

impl Leases for LeaseAccess {
    fn describe(&self) -> String {
        "there/lock".to_owned()
    }

    fn name(&self) -> &'static str {
        "lock"
    }

    async fn get(&self) -> Result<Option<Lease>, Error> {
        self.ask("get", |contents| Ok(contents.lease.clone())).await
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, Error> {
        let lease = lease.clone();
        self.ask(
            "create",
            |contents| if contents.lease.is_some() { Err(conflict()) } else { Ok(contents.write(lease)) },
        )
        .await
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Error> {
        let lease = lease.clone();
        self.ask("replace", |contents| {
            let present = contents.lease.as_ref().map(|present| &present.metadata.resource_version);
            if present == Some(&lease.metadata.resource_version) {
                Ok(contents.write(lease))
            } else {
                Err(conflict())
            }
        })
        .await
    }
}

fn conflict() -> Error {
    Error::Conflict { action: "write the lease".to_owned() }
}
