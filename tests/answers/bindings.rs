//! A binding that is brought to where a request is due, and answered.

use std::sync::Arc;

use jiff::Timestamp;
use service_catalog::{
    crd::{
        ConditionType, ServiceBinding, ServiceBindingSpec, ServiceInstance, ServiceInstanceSpec,
        condition::Conditioned as _,
        instance::{InstanceProperties, ProvisionStatus},
        progress::Progress,
        scope::Object as _,
    },
    osb::{Operation, classify},
    reconcilers::{
        binding::{
            Binding, BindingDependencies, BindingReconciler, BindingReply, BindingRequest, Role, SecretState,
            Written, credentials::SourceSecrets,
        },
        operation::{Answer as BrokerAnswer, Call, Decoded, dependencies::CommonDependencies},
        parameters,
        reason::Reason,
        reconciler::{Next, Observed, Reconciler, Step},
        writes::Write,
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
    object: ServiceBinding,
    secret: SecretState,
    memory: OperationMemory,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let mut object = ServiceBinding::new("app", ServiceBindingSpec::default());
        object.metadata = metadata("app");
        object.spec.instance_ref.name = "db".into();
        Self { object, secret: SecretState::Missing, memory: OperationMemory::default(), now: start() }
    }

    fn observed(&self) -> Observed<BindingReconciler> {
        Observed {
            object: Arc::new(self.object.clone()),
            dependencies: BindingDependencies {
                common: CommonDependencies {
                    precondition_error: None,
                    taken_id: None,
                    parameters: Some(parameters::merge(None, &[])),
                    namespace_uid: Some("ns-uid".into()),
                    cluster_id: "cluster".into(),
                    replacement: None,
                    recorded_broker_exists: true,
                },
                instance: Some(Arc::new(instance())),
                offering: Some(Ok(offering())),
                acknowledged_offering: None,
                maximum_polling_duration: None,
                source_secrets: SourceSecrets::default(),
                secret: self.secret.clone(),
                pods: None,
                restart: None,
                role: Role::Current,
                predecessor: None,
            },
            memory: self.memory,
            settings: ReconcileSettings::default(),
            now: self.now,
        }
    }

    fn bound() -> Self {
        Self::new().with(Operation::Bind, "201 valid")
    }

    fn deleted(mut self) -> Self {
        delete(&mut self.object, self.now);
        self
    }

    /// What an unfinished bind may have left is being deleted.
    fn mitigating(ambiguous: bool) -> Self {
        // The first time without an answer, and three repetitions.
        let answers: &[_] = if ambiguous { &["stalled after effect"; 4] } else { &["500"] };
        answers.iter().fold(Self::new(), |bench, answer| bench.with(Operation::Bind, answer))
    }
}

impl Drive for Bench {
    type Call = Call<BindingRequest>;

    fn progress(&mut self) -> Option<&mut Progress> {
        self.object.status.as_mut().map(|status| &mut status.progress)
    }

    /// An hour later the next request is sent. Its intent, if it has one, is on record then.
    fn ask(&mut self) -> Call<BindingRequest> {
        self.now += AN_HOUR;
        match BindingReconciler::plan(&self.observed()) {
            Step::Attempt { intent, call } => {
                self.object = patched(&self.object, &intent.patch);
                self.object.status = Some(intent.status);
                call
            }
            Step::Call { call, .. } => call,
            _ => panic!("no request is due"),
        }
    }

    fn answer(&mut self, call: &Call<BindingRequest>, answer: &Answer) -> After {
        let outcome = match call {
            Call::Request(_, BindingRequest::Bind(_, incomplete)) => {
                let outcome = answer.classified(|response| classify::bind(response, *incomplete));
                BrokerAnswer::Request(BindingReply::Bind(outcome))
            }
            Call::Request(_, BindingRequest::Fetch(_)) => {
                BrokerAnswer::Request(BindingReply::Fetch(answer.classified(classify::get_binding)))
            }
            Call::Delete(_, _, cause) => BrokerAnswer::Delete(*cause, answer.classified(classify::unbind)),
            Call::Poll(..) => {
                BrokerAnswer::Poll(answer.classified(|response| classify::poll(answer.operation, response)))
            }
        };
        let absorbed = BindingReconciler::absorb(&self.observed(), call.answered(outcome));
        for write in absorbed.writes.into_iter().flatten() {
            assert!(matches!(write, Write::ApplySecret(_)), "only the Secret is written");
            let status = self.object.status.clone().unwrap_or_default();
            self.secret = SecretState::Owned {
                binding_id: status.binding_id,
                uid: Some("secret-uid".into()),
                written: Written::default(),
            };
        }
        self.memory = absorbed.memory;
        match absorbed.next {
            Next::RemoveFinalizer => After::Released,
            Next::Call(_) => After::Asked,
            Next::Record(status) => {
                self.object.status = Some(status);
                self.object = patched(&self.object, &json!({})).complete();
                let facts = self.facts();
                assert!(!facts.ready || self.secret != SecretState::Missing, "Ready without a Secret");
                After::Recorded(facts)
            }
        }
    }

    fn facts(&self) -> Facts {
        let status = self.object.status.clone().unwrap_or_default();
        Facts::of(&status.progress, status.current_operation.is_none(), &status.conditions)
    }
}

/// An instance that can be bound to.
fn instance() -> ServiceInstance {
    let mut instance = ServiceInstance::new("db", ServiceInstanceSpec::default());
    instance.metadata = metadata("db");
    let status = instance.status.get_or_insert_default();
    status.provision_status = ProvisionStatus::Provisioned;
    status.resolved = Some(offering().to_record());
    status.external_properties =
        Some(InstanceProperties { cluster_service_plan_external_id: "p".into(), ..Default::default() });
    let ready =
        (ConditionType::Ready, service_catalog::crd::ConditionStatus::True, Reason::ProvisionedSuccessfully);
    status.set_condition(ready.0, ready.1, ready.2, "", start());
    instance
}

fn asked_to_bind(ambiguous: bool) -> Bench {
    if ambiguous { Bench::new().with_no_answer() } else { Bench::new() }
}

pub fn bind(answer: &Answer, ambiguous: bool) -> Verdict {
    asked_to_bind(ambiguous).verdict(answer)
}

/// Whether the broker would be told, were the object deleted after this answer to a bind.
pub fn is_owed(answer: &Answer, ambiguous: bool) -> bool {
    let mut bench = asked_to_bind(ambiguous);
    let call = bench.ask();
    bench.answer(&call, answer);
    Decoded::<Binding>::of(&bench.object).may_exist()
}

pub fn unbind(variant: &str, answer: &Answer, ambiguous: bool) -> Verdict {
    if variant == "mitigation)" {
        return Bench::mitigating(ambiguous).verdict(answer);
    }
    let bench = Bench::bound().deleted();
    let bench = if ambiguous { bench.with(answer.operation, "stalled after effect") } else { bench };
    bench.verdict(answer)
}

/// The credentials are fetched when an asynchronous bind has succeeded, or to restore a Secret that is gone.
pub fn fetch(variant: &str, answer: &Answer, ambiguous: bool) -> Verdict {
    if variant == "restore)" {
        let mut bench = Bench::bound().doubtful(ambiguous);
        bench.secret = SecretState::Missing;
        return bench.verdict(answer);
    }
    let mut bench = Bench::new().with(Operation::Bind, "202 with operation").doubtful(ambiguous);
    let Call::Poll(address, target, _) = bench.ask() else { panic!("no poll is due") };
    bench.verdict_on(&Call::Request(address, BindingRequest::Fetch(target)), answer)
}

pub fn poll(variant: &str, answer: &Answer, ambiguous: bool) -> Verdict {
    let (bench, operation) = match variant {
        "" => (Bench::new(), Operation::Bind),
        "deletion)" => (Bench::bound().deleted(), Operation::Unbind),
        "mitigation)" => (Bench::mitigating(ambiguous), Operation::Unbind),
        other => panic!("{other:?} is not awaited"),
    };
    bench.with(operation, "202 with operation").doubtful(ambiguous).verdict(answer)
}
