//! An instance that is brought to where a request is due, and answered.

use std::sync::Arc;

use jiff::Timestamp;
use service_catalog::{
    crd::{ServiceInstance, ServiceInstanceSpec, progress::Progress, scope::Object as _},
    osb::{Operation, classify, wire::Target},
    reconcilers::{
        instance::{Instance, InstanceDependencies, InstanceReconciler, InstanceReply, InstanceRequest},
        operation::{Answer as BrokerAnswer, Call, Decoded, dependencies::CommonDependencies},
        parameters,
        reconciler::{Next, Observed, Reconciler, Step},
    },
    reconcilers::{memory::OperationMemory, settings::ReconcileSettings},
};

use serde_json::json;
use testkit::objects::patched;

use super::{
    answer::Answer,
    drive::{AN_HOUR, After, Drive, Facts, Verdict, delete, metadata, offering, start},
};

struct Bench {
    object: ServiceInstance,
    memory: OperationMemory,
    now: Timestamp,
    /// Whether the broker can be asked for the instance.
    retrievable: bool,
    /// What an answer asked for.
    follow_up: Option<Call<InstanceRequest>>,
}

impl Bench {
    fn new() -> Self {
        let mut object = ServiceInstance::new("db", ServiceInstanceSpec::default());
        object.metadata = metadata("db");
        Self { object, memory: OperationMemory::default(), now: start(), retrievable: false, follow_up: None }
    }

    fn observed(&self) -> Observed<InstanceReconciler> {
        let parameters = parameters::merge(self.object.spec.parameters.as_ref(), &[]);
        Observed {
            object: Arc::new(self.object.clone()),
            dependencies: InstanceDependencies {
                common: CommonDependencies {
                    precondition_error: None,
                    taken_id: None,
                    parameters: Some(parameters),
                    namespace_uid: Some("ns-uid".into()),
                    cluster_id: "cluster".into(),
                    replacement: None,
                    recorded_broker_exists: true,
                },
                offering: Ok(offering()),
                acknowledged_offering: None,
                requested_offering: self.retrievable.then(offering),
                defaults: None,
                bindings: vec![],
                context_annotations: None,
                legacy: None,
            },
            memory: self.memory,
            settings: ReconcileSettings::default(),
            now: self.now,
        }
    }

    fn provisioned() -> Self {
        Self::new().with(Operation::Provision, "201 valid")
    }

    fn edited(mut self) -> Self {
        *self.object.metadata.generation.get_or_insert(0) += 1;
        self.object.spec.parameters = json!({ "size": 2 }).as_object().cloned().map(Into::into);
        self
    }

    fn deleted(mut self) -> Self {
        delete(&mut self.object, self.now);
        self
    }

    /// What an unfinished provision may have left is being deleted.
    fn mitigating(ambiguous: bool) -> Self {
        // The first time without an answer, and three repetitions.
        let answers: &[_] = if ambiguous { &["stalled after effect"; 4] } else { &["500"] };
        answers.iter().fold(Self::new(), |bench, answer| bench.with(Operation::Provision, answer))
    }
}

impl Drive for Bench {
    type Call = Call<InstanceRequest>;

    fn progress(&mut self) -> Option<&mut Progress> {
        self.object.status.as_mut().map(|status| &mut status.progress)
    }

    /// The request that follows from an answer, or what is due an hour later. Its intent, if it has one, is on record then.
    fn ask(&mut self) -> Call<InstanceRequest> {
        if let Some(call) = self.follow_up.take() {
            return call;
        }
        self.now += AN_HOUR;
        match InstanceReconciler::plan(&self.observed()) {
            Step::Attempt { intent, call } => {
                self.object = patched(&self.object, &intent.patch);
                self.object.status = Some(intent.status);
                call
            }
            Step::Call { call, .. } => call,
            _ => panic!("no request is due"),
        }
    }

    fn answer(&mut self, call: &Call<InstanceRequest>, answer: &Answer) -> After {
        let outcome = match call {
            Call::Request(address, InstanceRequest::Provision(body)) => {
                let target = Target { service_id: body.service_id.clone(), plan_id: body.plan_id.clone() };
                let outcome = answer.classified(classify::provision);
                BrokerAnswer::Request(InstanceReply::Provision(address.clone(), target, outcome))
            }
            Call::Request(_, InstanceRequest::Update(_)) => {
                BrokerAnswer::Request(InstanceReply::Update(answer.classified(classify::update)))
            }
            Call::Request(_, InstanceRequest::Fetch(target, fetching)) => {
                let outcome = answer.classified(classify::get_instance);
                BrokerAnswer::Request(InstanceReply::Fetch(target.clone(), fetching.clone(), outcome))
            }
            Call::Delete(_, _, cause) => {
                BrokerAnswer::Delete(*cause, answer.classified(classify::deprovision))
            }
            Call::Poll(..) => {
                BrokerAnswer::Poll(answer.classified(|response| classify::poll(answer.operation, response)))
            }
        };
        let absorbed = InstanceReconciler::absorb(&self.observed(), call.answered(outcome));
        assert!(absorbed.writes.is_empty());
        self.memory = absorbed.memory;
        match absorbed.next {
            Next::RemoveFinalizer => After::Released,
            Next::Call(call) => {
                self.follow_up = Some(call);
                After::Asked
            }
            Next::Record(status) => {
                self.object.status = Some(status);
                self.object = patched(&self.object, &json!({})).complete();
                After::Recorded(self.facts())
            }
        }
    }

    fn facts(&self) -> Facts {
        let status = self.object.status.clone().unwrap_or_default();
        Facts::of(&status.progress, status.current_operation.is_none(), &status.conditions)
    }
}

fn asked_to_provision(ambiguous: bool) -> Bench {
    if ambiguous { Bench::new().with_no_answer() } else { Bench::new() }
}

pub fn provision(answer: &Answer, ambiguous: bool) -> Verdict {
    asked_to_provision(ambiguous).verdict(answer)
}

/// Whether the broker would be told, were the object deleted after this answer to a provision.
pub fn is_owed(answer: &Answer, ambiguous: bool) -> bool {
    let mut bench = asked_to_provision(ambiguous);
    let call = bench.ask();
    bench.answer(&call, answer);
    Decoded::<Instance>::of(&bench.object).may_exist()
}

pub fn update(answer: &Answer, ambiguous: bool) -> Verdict {
    let bench = Bench::provisioned().edited();
    let bench = if ambiguous { bench.with_no_answer() } else { bench };
    bench.verdict(answer)
}

/// The GET that follows an asynchronous success, or, where an attempt was ambiguous, a 409 to its repetition.
pub fn fetch(answer: &Answer, ambiguous: bool) -> Verdict {
    let bench = Bench { retrievable: true, ..asked_to_provision(ambiguous) };
    if ambiguous {
        return bench.with(Operation::Provision, "409").verdict(answer);
    }
    let bench = bench.with(Operation::Provision, "202 with operation");
    let verdict = bench.with(Operation::PollInstance, "200 valid").verdict(answer);
    assert_eq!(verdict, Verdict::Success, "the instance is there, whatever the GET says");
    // What the broker has not told is kept.
    if answer.classified(classify::get_instance).failure().is_none() { verdict } else { Verdict::Keep }
}

pub fn deprovision(variant: &str, answer: &Answer, ambiguous: bool) -> Verdict {
    if variant == "mitigation)" {
        return Bench::mitigating(ambiguous).verdict(answer);
    }
    let bench = Bench::provisioned().deleted();
    let bench = if ambiguous { bench.with(answer.operation, "stalled after effect") } else { bench };
    bench.verdict(answer)
}

pub fn poll(variant: &str, answer: &Answer, ambiguous: bool) -> Verdict {
    let (bench, operation) = match variant {
        "" => (Bench::new(), Operation::Provision),
        "update)" => (Bench::provisioned().edited(), Operation::Update),
        "deletion)" => (Bench::provisioned().deleted(), Operation::Deprovision),
        "mitigation)" => (Bench::mitigating(ambiguous), Operation::Deprovision),
        other => panic!("{other:?} is not awaited"),
    };
    bench.with(operation, "202 with operation").doubtful(ambiguous).verdict(answer)
}
