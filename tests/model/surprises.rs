//! What happens without the operator: the user, the cluster, other controllers, time.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    rc::Rc,
};

use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_catalog::crd::{INTENT_ANNOTATION, common::DeletionPolicy};

use crate::{state::State, subject::Subject};

/// What an object is apart from its status, and what it depends on.
#[allow(
    clippy::struct_excessive_bools,
    clippy::option_option,
    reason = "each is one thing that may be so or not"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Surroundings {
    /// How often the spec was edited.
    pub edits: u8,
    /// How often the user asked for an update although nothing differs.
    pub update_requests: u8,
    /// Whether the parameters in the spec are other ones than at first.
    pub other_parameters: bool,
    /// Whether the plan in the spec is another one than at first.
    pub other_plan: bool,
    /// How often the user asked for new credentials.
    pub renewals: u8,
    /// Whether the annotations that brokers are told of are other ones than at first.
    pub other_annotations: bool,
    /// The object is being deleted.
    pub deleted: bool,
    /// What the user wants to happen at the broker when the object is deleted.
    pub policy: DeletionPolicy,
    /// How often the user has changed that.
    pub policy_changes: u8,
    /// The class is not there.
    pub unresolved: bool,
    /// A parameter Secret is not there.
    pub bad_parameters: bool,
    /// The schemas of the plan allow nothing.
    pub strict: bool,
    /// The broker object is not there.
    pub broker_gone: bool,
    /// The user has given an id of their own.
    pub external_id: bool,
    /// An instance: there are bindings of it.
    pub bound: bool,
    /// A binding: its instance.
    pub instance: Instance,
    /// A binding: whether the broker can be asked for an existing one.
    pub retrievable: bool,
    /// The Secret: none, somebody else's, or ours with the credentials of this id.
    pub secret: Option<Option<String>>,
    /// Whether a week has gone by.
    pub aged: bool,
    /// What the operator has written to the object itself.
    pub carried: Carried,
}

/// What the operator has written to an object itself: ids, references, the intent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The fields of the spec.
    pub spec: BTreeMap<String, Value>,
    /// The annotation.
    pub intent: Option<String>,
    /// How often the spec was changed by that.
    pub changes: i64,
}

/// Times and words in the intent make no difference, nor does how often the spec was changed.
impl Hash for Carried {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.keys().for_each(|field| field.hash(state));
        self.intent.is_some().hash(state);
        self.announces_create().hash(state);
    }
}

impl Carried {
    /// Takes over what a patch writes.
    pub fn apply(&mut self, patch: &Value) {
        if let Some(intent) = patch["metadata"]["annotations"][INTENT_ANNOTATION].as_str() {
            self.intent = Some(intent.to_owned());
        }
        if let Some(fields) = patch["spec"].as_object() {
            self.changes += 1;
            self.spec.extend(fields.clone());
        }
    }

    /// Whether the intent is one to create.
    pub fn announces_create(&self) -> bool {
        let creates = |text: &String| {
            text.contains(r#""currentOperation":"Provision""#)
                || text.contains(r#""currentOperation":"Bind""#)
        };
        self.intent.as_ref().is_some_and(creates)
    }

    /// A field that was written, or else the value that the user gave.
    pub fn field<T: DeserializeOwned>(&self, name: &str, given: T) -> T {
        self.spec.get(name).map_or(given, |value| serde_json::from_value(value.clone()).unwrap())
    }
}

/// The instance that a binding is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Instance {
    #[default]
    Ready,
    /// It has an operation in progress.
    Busy,
    Gone,
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surprise {
    /// The user edits the parameters, or edits them back.
    Edit,
    /// The user changes the plan, or changes it back.
    ChangePlan,
    Delete,
    /// The user changes the deletion policy, also while the object is being deleted.
    Policy,
    /// The class comes or goes.
    Class,
    /// A parameter Secret comes or goes.
    Parameters,
    /// The schemas of the plan become strict, or allow everything again.
    Schemas,
    /// The broker object comes or goes.
    Broker,
    /// Bindings of the instance come or go.
    Bindings,
    /// The instance of the binding becomes busy, goes, comes back.
    Instance,
    /// The operator is restarted.
    Restart,
    /// Somebody creates a Secret of the binding's name.
    TakeName,
    /// The Secret is deleted.
    LoseSecret,
    /// A week goes by.
    Age,
    /// From now on, one replica or one cache stays behind; or it catches up.
    Lag,
    /// The user asks for an update although nothing differs.
    UpdateRequest,
    /// Somebody changes an annotation that brokers are told of.
    Annotate,
    /// The user asks for new credentials.
    Renew,
}

/// All that may happen.
pub const ALL: &[Surprise] = &[
    Surprise::Edit,
    Surprise::ChangePlan,
    Surprise::Delete,
    Surprise::Policy,
    Surprise::Class,
    Surprise::Parameters,
    Surprise::Schemas,
    Surprise::Broker,
    Surprise::Bindings,
    Surprise::Instance,
    Surprise::Restart,
    Surprise::TakeName,
    Surprise::LoseSecret,
    Surprise::Age,
    Surprise::Lag,
    Surprise::UpdateRequest,
    Surprise::Annotate,
    Surprise::Renew,
];

/// How often a user edits at most.
const EDITS: u8 = 2;

/// What may happen next, of these surprises; and late effects at the broker, which always may.
pub fn surprises<M: Subject<Status: DeserializeOwned>>(
    state: &State<M::Status>,
    of: &[Surprise],
) -> Vec<State<M::Status>> {
    let mut next: Vec<_> = of.iter().filter_map(|surprise| happen::<M>(state, *surprise)).collect();
    for (id, until) in state.broker.late() {
        if until > state.now {
            let mut changed = state.then("a late create takes effect");
            changed.broker.take_effect(&id);
            next.push(changed);
        }
    }
    next
}

fn happen<M: Subject>(state: &State<M::Status>, surprise: Surprise) -> Option<State<M::Status>> {
    let around = &state.around;
    let may_edit = around.edits < EDITS && !around.deleted;
    let change = |what: &str, apply: &dyn Fn(&mut Surroundings)| {
        let mut changed = state.then(what);
        apply(&mut changed.around);
        Some(changed)
    };
    match surprise {
        Surprise::Edit if may_edit => change("the user edits the parameters", &|around| {
            around.edits += 1;
            around.other_parameters ^= true;
        }),
        Surprise::ChangePlan if may_edit && !M::HAS_SECRET => {
            change("the user changes the plan", &|around| {
                around.edits += 1;
                around.other_plan ^= true;
            })
        }
        Surprise::Delete if !around.deleted => {
            change("the user deletes the object", &|around| around.deleted = true)
        }
        Surprise::Policy if around.policy_changes < EDITS => {
            change("the user changes the deletion policy", &|around| {
                around.policy_changes += 1;
                around.policy = match around.policy {
                    DeletionPolicy::Delete => DeletionPolicy::Retain,
                    DeletionPolicy::Retain => DeletionPolicy::Prevent,
                    DeletionPolicy::Prevent => DeletionPolicy::Delete,
                };
            })
        }
        Surprise::Class => change("the class comes or goes", &|around| around.unresolved ^= true),
        Surprise::Parameters => {
            change("a parameter Secret comes or goes", &|around| around.bad_parameters ^= true)
        }
        Surprise::Schemas => change("the schemas of the plan change", &|around| around.strict ^= true),
        Surprise::Broker => change("the broker object comes or goes", &|around| around.broker_gone ^= true),
        // A binding that comes when its instance is being deleted is not bound.
        Surprise::Bindings if !M::HAS_SECRET && (around.bound || !around.deleted) => {
            change("bindings come or go", &|around| around.bound ^= true)
        }
        Surprise::Instance if M::HAS_SECRET => change("the instance changes", &|around| {
            around.instance = match around.instance {
                Instance::Ready => Instance::Busy,
                Instance::Busy => Instance::Gone,
                Instance::Gone => Instance::Ready,
            };
        }),
        Surprise::TakeName if M::HAS_SECRET && around.secret.is_none() => {
            change("somebody takes the name of the Secret", &|around| around.secret = Some(None))
        }
        Surprise::LoseSecret if around.secret.is_some() => {
            change("the Secret is deleted", &|around| around.secret = None)
        }
        Surprise::Restart => {
            let mut restarted = state.then("the operator is restarted");
            restarted.forget();
            Some(restarted)
        }
        Surprise::Age if !around.aged => {
            let mut aged = state.then("a week goes by");
            aged.around.aged = true;
            aged.advance(state.now + SignedDuration::from_hours(8 * 24));
            Some(aged)
        }
        Surprise::Annotate if !M::HAS_SECRET && !around.deleted => {
            change("an annotation changes", &|around| around.other_annotations ^= true)
        }
        Surprise::UpdateRequest if may_edit && !M::HAS_SECRET => {
            change("the user asks for an update", &|around| {
                around.edits += 1;
                around.update_requests += 1;
            })
        }
        Surprise::Renew if M::HAS_SECRET && around.renewals < EDITS => {
            change("the user asks for new credentials", &|around| around.renewals += 1)
        }
        Surprise::Lag if state.stale.is_some() => {
            let mut present = state.then("the one who is behind catches up");
            present.stale = None;
            Some(present)
        }
        Surprise::Lag => {
            let mut behind = state.then("another replica stays behind, here");
            behind.stale = Some(Rc::new(behind.version::<M>()));
            Some(behind)
        }
        _ => None,
    }
}
