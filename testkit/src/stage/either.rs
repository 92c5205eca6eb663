//! A namespace with either of two brokers, ours or a third party's, behind one face: so that one flow is run with both.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Stage,
    case::{Case, with},
    python_broker::{self, PythonBroker},
    wait,
};
use crate::broker::{AsyncScript, Hold, Operation, Reply};

/// Why an asynchronous operation fails, in the words of both.
pub const FAILURE: &str = "could not";

/// Who has written the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Maker {
    /// `testkit/src/broker`.
    Us,
    /// `demo/broker`, on openbrokerapi.
    ThirdParty,
}

/// A request, as both brokers note it.
#[derive(Clone, Debug)]
pub struct Line {
    pub operation: Option<Operation>,
    /// The id of the binding, or else that of the instance.
    pub id: String,
    pub status: u16,
    /// Since something that is the same for all.
    pub at: Duration,
}

/// A namespace with a `ServiceBroker`, which offers `postgresql` with the plans `small` and `large`.
pub struct Either {
    pub case: Case,
    maker: Maker,
    third_party: Option<PythonBroker>,
    began: Instant,
    hold: std::sync::Mutex<Hold>,
}

impl Either {
    /// The broker is ready, and its catalog has an `ETag`. `more` is of the broker object's spec.
    pub async fn open(stage: &'static Stage, maker: Maker, namespace: &str, more: Value) -> Self {
        let began = Instant::now();
        let case = Case::new(stage, namespace, false).await;
        let third_party = match maker {
            Maker::Us => None,
            Maker::ThirdParty => Some(PythonBroker::start(stage.plane.dir(), namespace).await.unwrap()),
        };
        let mut spec = more;
        if let Some(broker) = &third_party {
            let credentials =
                json!({ "username": python_broker::USERNAME, "password": python_broker::PASSWORD });
            case.hand.secret("python", credentials).await.unwrap();
            let auth = json!({ "basic": { "secretRef": { "name": "python" } } });
            spec = with(spec, json!({ "url": broker.url, "authInfo": auth }));
        }
        case.broker.set_etags();
        case.register(spec).await;
        Self { case, maker, third_party, began, hold: std::sync::Mutex::new(Hold::new()) }
    }

    /// What a spec needs in order to be slow; our broker is told by [`Self::slow`].
    pub fn slow_parameters(&self) -> Value {
        match self.maker {
            Maker::Us => json!({}),
            Maker::ThirdParty => json!({ "parameters": { "async": true } }),
        }
    }

    /// Everything that has [`Self::slow_parameters`] is asynchronous from now on, does not go on before
    /// [`Self::release`], and fails if that is wanted. Polls are told to come back after a second.
    pub async fn slow(&self, failing: bool) {
        if let Some(broker) = &self.third_party {
            broker.mischief(json!({ "held": true, "failing": failing })).await.unwrap();
            return;
        }
        let hold = Hold::new();
        *self.hold.lock().unwrap() = hold.clone();
        for operation in [
            Operation::Provision,
            Operation::Update,
            Operation::Deprovision,
            Operation::Bind,
            Operation::Unbind,
        ] {
            let script =
                if failing { AsyncScript::failing(1, "could not do it") } else { AsyncScript::succeeding(1) };
            let deletes = matches!(operation, Operation::Deprovision | Operation::Unbind) && !failing;
            let script = if deletes { script.ending(Reply::json(410, json!({}))) } else { script };
            let script = script.held_by(&hold).progress_header("retry-after", "1");
            self.case.broker.set_async_script(operation, script);
        }
    }

    /// What is held back goes on, and ends well unless it is to fail.
    pub async fn release(&self) {
        match &self.third_party {
            Some(broker) => broker.mischief(json!({ "held": false })).await.unwrap(),
            None => self.hold.lock().unwrap().release(),
        }
    }

    /// The next one of these is answered so, after it was done or instead.
    pub async fn answer(&self, operation: Operation, status: u16, body: Value, after_effect: bool) {
        if let Some(broker) = &self.third_party {
            let name = match operation {
                Operation::Provision => "provision",
                Operation::Update => "update",
                Operation::Deprovision => "deprovision",
                Operation::Bind => "bind",
                Operation::Unbind => "unbind",
                other => panic!("{other:?} is not answered otherwise in any flow"),
            };
            let answer =
                json!({ "operation": name, "status": status, "body": body, "after_effect": after_effect });
            broker.mischief(json!({ "answers": [answer] })).await.unwrap();
            return;
        }
        let script = self.case.broker.on(operation).once();
        if after_effect { script.after_effect() } else { script }.respond(status, body);
    }

    /// What a binding's spec needs to be answered with `metadata` and `endpoints` beside its credentials.
    pub fn described_binding(&self) -> Value {
        if self.maker == Maker::Us {
            let described = |reply: &mut Reply| {
                let times = json!({ "expires_at": "2099-01-01T00:00:00.0Z", "renew_before": "2098-01-01T00:00:00.0Z" });
                reply.set("metadata", times);
                reply.set("endpoints", json!([{ "host": "db.example.com", "ports": ["5432", "7000-7010"] }]));
            };
            self.case.broker.on(Operation::Bind).once().amend(described);
        }
        json!({ "parameters": { "lifetime_s": 3600 } })
    }

    /// The offering has another description from now on.
    pub async fn describe_offering(&self, description: &str) {
        if let Some(broker) = &self.third_party {
            broker.mischief(json!({ "offering": { "description": description } })).await.unwrap();
            return;
        }
        let offering = self.case.offering().with("description", description);
        self.case.broker.set_catalog(crate::broker::catalog([offering]));
    }

    /// Whether the broker has this instance or binding.
    pub async fn has(&self, id: &str) -> bool {
        match &self.third_party {
            Some(broker) => broker.remembered().await.unwrap().iter().any(|known| known == id),
            None => self.case.broker.instance(id).is_some() || self.case.broker.binding(id).is_some(),
        }
    }

    /// The requests so far.
    pub fn journal(&self) -> Vec<Line> {
        if let Some(broker) = &self.third_party {
            let lines = broker.journal().unwrap().into_iter();
            return lines
                .filter(|line| line.path != "/mischief")
                .map(|line| {
                    let (operation, instance, binding) = Operation::of(&line.method, &line.path);
                    let id = binding.or(instance).unwrap_or_default();
                    Line { operation, id, status: u16::try_from(line.status).unwrap(), at: line.at }
                })
                .collect();
        }
        let requests = self.case.broker.journal().into_iter();
        requests
            .map(|request| Line {
                operation: request.operation,
                id: request.id().to_owned(),
                status: request.status.unwrap_or_default(),
                at: request.at.duration_since(self.began),
            })
            .collect()
    }

    /// The requests of one operation.
    pub fn requests_of(&self, operation: Operation) -> Vec<Line> {
        let mut lines = self.journal();
        lines.retain(|line| line.operation == Some(operation));
        lines
    }

    /// The statuses of one operation's answers.
    pub fn statuses(&self, operation: Operation) -> Vec<u16> {
        self.requests_of(operation).iter().map(|line| line.status).collect()
    }

    /// Waits until the journal shows something.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn until(&self, what: &str, shown: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + wait::PATIENCE;
        while !shown(self) {
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}; the journal: {:#?}",
                self.journal()
            );
            // The journal of a process is a file, and nobody tells when it grows.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Deletes what is there, and holds the broker's books against what happened.
    pub async fn finish(self) {
        self.release().await;
        let third_party = self.third_party;
        self.case.finish().await;
        if let Some(broker) = third_party {
            assert_eq!(broker.remembered().await.unwrap(), Vec::<String>::new(), "left at the broker");
            let journal = broker.journal().unwrap();
            let mut created: Vec<_> =
                journal.iter().filter(|line| line.status == 201).map(|line| &line.path).collect();
            let all = created.len();
            created.sort();
            created.dedup();
            assert_eq!(created.len(), all, "created twice: {journal:#?}");
        }
    }
}
