//! A lease in memory, and the network before it.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::sleep;

use super::super::store::{Failure, Leases};

/// How long an answer takes.
pub const LATENCY: Duration = Duration::from_millis(10);

/// What becomes of the requests of one candidate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Up,
    /// They are refused.
    Down,
    /// They are never answered.
    Silent,
    /// They are done and never answered.
    AnswersLost,
}

#[derive(Default)]
struct Kept {
    lease: Option<Lease>,
    version: u64,
    /// Requests by candidate: the verbs.
    asked: Vec<(&'static str, &'static str)>,
}

/// The lease itself.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Kept>>);

/// The way of one candidate to it.
#[derive(Clone)]
pub struct Line {
    who: &'static str,
    memory: Memory,
    network: Arc<Mutex<Network>>,
}

impl Memory {
    pub fn line(&self, who: &'static str) -> Line {
        Line { who, memory: self.clone(), network: Arc::new(Mutex::new(Network::Up)) }
    }

    pub fn lease(&self) -> Option<Lease> {
        self.0.lock().unwrap().lease.clone()
    }

    pub fn holder(&self) -> String {
        self.lease().and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
    }

    /// As a person does with kubectl.
    pub fn edit(&self, edit: impl FnOnce(&mut Lease)) {
        let mut kept = self.0.lock().unwrap();
        let mut lease = kept.lease.clone().unwrap();
        edit(&mut lease);
        kept.keep(lease);
    }

    /// Likewise.
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

    /// What was asked for since the last time, of one candidate.
    pub fn asked(&self, who: &str) -> Vec<&'static str> {
        let mut kept = self.0.lock().unwrap();
        let (theirs, others) = kept.asked.drain(..).partition::<Vec<_>, _>(|(asker, _)| *asker == who);
        kept.asked = others;
        theirs.into_iter().map(|(_, verb)| verb).collect()
    }
}

impl Kept {
    fn keep(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }
}

impl Line {
    pub fn set(&self, network: Network) {
        *self.network.lock().unwrap() = network;
    }

    async fn ask<T>(
        &self,
        verb: &'static str,
        act: impl FnOnce(&mut Kept) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let network = *self.network.lock().unwrap();
        self.memory.0.lock().unwrap().asked.push((self.who, verb));
        sleep(LATENCY / 2).await;
        match network {
            Network::Down => return Err(Failure::Refused(kube::Error::LinesCodecMaxLineLengthExceeded)),
            Network::Silent => pending().await,
            Network::Up | Network::AnswersLost => {}
        }
        let done = act(&mut self.memory.0.lock().unwrap());
        if network == Network::AnswersLost {
            pending::<()>().await;
        }
        sleep(LATENCY / 2).await;
        done
    }
}

impl Leases for Line {
    fn describe(&self) -> String {
        "there/lock".to_owned()
    }

    fn name(&self) -> &'static str {
        "lock"
    }

    async fn get(&self) -> Result<Option<Lease>, Failure> {
        self.ask("get", |kept| Ok(kept.lease.clone())).await
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, Failure> {
        let lease = lease.clone();
        self.ask(
            "create",
            |kept| if kept.lease.is_some() { Err(Failure::Outdated) } else { Ok(kept.keep(lease)) },
        )
        .await
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Failure> {
        let lease = lease.clone();
        self.ask("replace", |kept| {
            let present = kept.lease.as_ref().map(|present| &present.metadata.resource_version);
            if present == Some(&lease.metadata.resource_version) {
                Ok(kept.keep(lease))
            } else {
                Err(Failure::Outdated)
            }
        })
        .await
    }
}
