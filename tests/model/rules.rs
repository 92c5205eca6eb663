//! What must never break. Each rule is a function and stands for a property of `docs/architecture.md` ("What must hold")
//! or for one of these invariants:
//!
//! * *I1 no orphan*, *I2 no double provision*, *I3 no lost Secret*, *I4 finalizer last*, *I5 hands off*, *I6 it comes to
//!   rest*, *I8 silence*, *I10 order*, *I11 ambiguity is remembered*.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Value, json};
use service_catalog::{crd::common::DeletionPolicy, reconcilers::settings::ReconcileSettings};

use crate::{
    broker::{Content, Kind, Ledger, Request},
    instance,
    state::{Path, State},
    subject::{Standing, Subject},
    surprises::{Carried, Surroundings},
};

/// A rule that was broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    Announced,
    Undoable,
    NoChangeWhileDeleting,
    DeletesOnlyWhenDeleted,
    OneAtATime,
    NoIdTwice,
    RepeatsUnchanged,
    OneOperation,
    OnlyWhatMayExist,
    HandsOff,
    BindingsFirst,
    SecretCanBeWritten,
    NoHaste,
    LeftAlone,
    NothingLeft,
    PolicyHolds,
    ReleasesOnlyWhatIsDeleted,
    ReadyIsTrue,
    SecretFirst,
    StaysReady,
    NeverTheSameTwice,
    NoCredentialShown,
    WaitsForTheFuture,
    SaysWhy,
    ClaimsOnce,
    WayBack,
    ComesToRest,
}

/// Which rule, and what is wrong.
pub struct Broken {
    pub rule: Rule,
    pub what: String,
}

/// Whether a rule was kept.
pub type Kept = Result<(), Broken>;

fn keep(rule: Rule, holds: bool, what: impl FnOnce() -> String) -> Kept {
    if holds { Ok(()) } else { Err(Broken { rule, what: what() }) }
}

/// The end of a walk that found something: which rule was broken, and the shortest way there.
pub struct Violation {
    pub rule: Rule,
    pub what: String,
    pub path: Path,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}, after:{}", self.rule, self.what, self.path)
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What holds whenever a request is sent. `announced`: this pass has written an intent for it just now.
pub fn asking<M: Subject>(state: &State<M::Status>, request: &Request, announced: bool) -> Kept {
    let (now, ledger, deleted) = (state.now, &state.broker, state.around.deleted);
    let standing = M::standing(&state.status);
    announced_first(request, announced)?;
    no_change_while_deleting(request, deleted)?;
    deletes_only_when_deleted(request, deleted, &standing)?;
    hands_off(request, ledger)?;
    match request.kind {
        Kind::Create => {
            one_at_a_time(request, ledger, &standing, now)?;
            no_id_twice(request, ledger, state.around.external_id)?;
            repeats_unchanged(request, ledger)?;
            secret_can_be_written(request, &state.around)
        }
        Kind::Delete { .. } => {
            left_alone(request, state)?;
            only_what_may_exist(request, ledger)?;
            bindings_first(request, state.around.bound)
        }
        Kind::Poll { .. } => {
            left_alone(request, state)?;
            no_haste(request, state)
        }
        Kind::Update | Kind::Fetch => Ok(()),
    }
}

/// Property 1, *fence*: what changes something at a broker was announced in the status by compare-and-swap, so that a
/// stale cache or another replica cannot send it. A DELETE is announced by the deletion of its object.
fn announced_first(request: &Request, announced: bool) -> Kept {
    let free = !request.kind.must_be_announced();
    keep(Rule::Announced, free || announced, || format!("{request:?} without an intent"))
}

/// Nothing is ordered or changed for an object that is to go.
fn no_change_while_deleting(request: &Request, deleted: bool) -> Kept {
    let changes = matches!(request.kind, Kind::Create | Kind::Update);
    keep(Rule::NoChangeWhileDeleting, !(changes && deleted), || format!("{request:?} for a deleted object"))
}

/// A DELETE without an intent is for an object that is being deleted, or for a binding whose credentials were replaced;
/// everything else is kept.
fn deletes_only_when_deleted(request: &Request, deleted: bool, standing: &Standing) -> Kept {
    let is_replaced =
        standing.other.as_ref().is_some_and(|other| other.is_replaced && other.id == request.id);
    let holds = deleted || is_replaced || request.kind != Kind::Delete { mitigation: false };
    keep(Rule::DeletesOnlyWhenDeleted, holds, || format!("{request:?} for an object that is to exist"))
}

/// Property 8 and I5, *hands off*: an id that the user gave and that somebody else has is not ours to delete.
fn hands_off(request: &Request, ledger: &Ledger) -> Kept {
    let deletes = matches!(request.kind, Kind::Delete { .. });
    keep(Rule::HandsOff, !(deletes && ledger.is_foreign(&request.id)), || {
        format!("deletes somebody else's {}", request.id)
    })
}

/// I2, *no double provision*: a new id is used only when nothing can be there under an old one. While credentials are
/// replaced, there are two bindings: never more.
fn one_at_a_time(request: &Request, ledger: &Ledger, standing: &Standing, now: Timestamp) -> Kept {
    let mut others: Vec<_> = ledger.ours(now).into_iter().filter(|id| *id != request.id).collect();
    if let Some(other) = &standing.other {
        let beside = if request.id == other.id { &standing.id } else { &other.id };
        others.retain(|id| id != beside);
    }
    keep(Rule::OneAtATime, others.is_empty(), || format!("creates {} beside {others:?}", request.id))
}

/// Property 2 (OSB 2.16): an id that was deleted is not used again, unless it is the user's word.
fn no_id_twice(request: &Request, ledger: &Ledger, given_id: bool) -> Kept {
    let is_given = given_id && request.id == instance::GIVEN_ID;
    keep(Rule::NoIdTwice, is_given || !ledger.is_used_up(&request.id), || {
        format!("uses {} again, which was deleted", request.id)
    })
}

/// I2: a create that was never answered is repeated as it was, or undone; never asked for otherwise under the same id.
fn repeats_unchanged(request: &Request, ledger: &Ledger) -> Kept {
    let asked = ledger.unanswered(&request.id);
    let same = |asked: &Content| {
        Some(&asked.plan) == request.wish.plan.as_ref()
            && Some(&asked.parameters) == request.wish.parameters.as_ref()
    };
    keep(Rule::RepeatsUnchanged, asked.is_none_or(same), || {
        format!("asks for {:?} where {asked:?} was never answered", request.wish)
    })
}

/// No credentials are asked for that cannot be written.
fn secret_can_be_written(request: &Request, around: &Surroundings) -> Kept {
    keep(Rule::SecretCanBeWritten, around.secret != Some(None), || {
        format!("binds {} although the name of the Secret is taken", request.id)
    })
}

/// A DELETE is for what a create may have made: not after a refusal, and not under another id.
fn only_what_may_exist(request: &Request, ledger: &Ledger) -> Kept {
    keep(Rule::OnlyWhatMayExist, ledger.was_asked(&request.id), || {
        format!("deletes {}, which no create can have made", request.id)
    })
}

/// I10, *order*: an instance is not deleted while there are bindings of it.
fn bindings_first(request: &Request, bound: bool) -> Kept {
    let deletion = request.kind == Kind::Delete { mitigation: false };
    keep(Rule::BindingsFirst, !(deletion && bound), || "deletes an instance that has bindings".to_owned())
}

/// Property 5: polls keep their distance, however often something else wakes the operator.
fn no_haste<S>(request: &Request, state: &State<S>) -> Kept {
    let least = ReconcileSettings::default().poll_base * 9 / 10;
    let soon = state.answered.is_some_and(|last| state.now.duration_since(last) < least);
    keep(Rule::NoHaste, !soon, || format!("{request:?} right after the last answer"))
}

/// Property 5: who says `Retry-After` is left alone for so long, as far as nothing else is to be asked now.
fn left_alone<S>(request: &Request, state: &State<S>) -> Kept {
    // Times in a status have no nanoseconds.
    let early = |until: Timestamp| until.duration_since(state.now).as_millis() > 0;
    let early = state.pause.is_some_and(|(kind, until)| kind == request.kind && early(until));
    keep(Rule::LeftAlone, !early, || format!("{request:?} sooner than the broker asked for"))
}

/// An operation that the broker has accepted is followed to its end before the next one is asked for.
pub fn one_operation(request: &Request, before: &Standing) -> Kept {
    let changes = matches!(request.kind, Kind::Create | Kind::Update);
    keep(Rule::OneOperation, !(changes && before.is_polling), || {
        format!("{request:?} while another operation is polled")
    })
}

/// Property 3: from the intent alone, whatever becomes of class and spec, the deletion finds the broker, the id, the
/// service and the plan. `found` is what it would send.
pub fn undoable(create: &Request, found: Option<&Request>) -> Kept {
    let holds = found.is_some_and(|delete| {
        let plan = delete.target.as_ref().map(|target| target.plan_id.as_str());
        delete.broker == create.broker
            && delete.id == create.id
            && plan == create.wish.plan.as_deref()
            && delete.target.as_ref().map(|target| &target.service_id)
                == create.target.as_ref().map(|target| &target.service_id)
    });
    keep(Rule::Undoable, holds, || format!("{create:?} could be undone only by {found:?}"))
}

/// I1, I4, I11: the finalizer goes when the broker has nothing, and nothing can come any more. What is to be retained is
/// there, or has an id that the user gave. `seen`: what the operator has seen, and `id` the id in use then.
pub fn nothing_left<S>(state: &State<S>, seen: &Surroundings, id: &str) -> Kept {
    keep(Rule::ReleasesOnlyWhatIsDeleted, seen.deleted, || {
        "lets go of an object that is to exist".to_owned()
    })?;
    let may_stay = seen.policy == DeletionPolicy::Retain && (seen.external_id || state.broker.holds(id));
    let mut left = state.broker.ours(state.now);
    left.retain(|left| !(may_stay && *left == id));
    keep(Rule::NothingLeft, left.is_empty(), || format!("leaves {left:?} behind"))
}

/// What the broker has acknowledged is not deleted if it is to be retained, and nothing is if that is prevented. The policy
/// is that of the binding whose credentials are in the Secret.
pub fn policy_holds<M: Subject>(request: &Request, seen: &Surroundings, standing: &Standing) -> Kept {
    let deletes = request.kind == Kind::Delete { mitigation: false };
    // An unbind has the properties of a bind that may not be acknowledged.
    let is_acknowledged = standing.is_ready || (!M::HAS_SECRET && standing.acknowledged.is_some());
    let is_replaced = standing.other.as_ref().is_some_and(|other| other.id == request.id);
    let holds = match seen.policy {
        _ if is_replaced => true,
        DeletionPolicy::Delete => true,
        DeletionPolicy::Retain => !(deletes && is_acknowledged),
        DeletionPolicy::Prevent => !deletes,
    };
    keep(Rule::PolicyHolds, holds, || format!("{request:?} against {:?}", seen.policy))
}

/// What the operator fills in is filled in once.
pub fn claims_once(before: &Carried, after: &Carried) -> Kept {
    let differs = before.spec != after.spec || before.announces_create() != after.announces_create();
    keep(Rule::ClaimsOnce, differs, || "fills in what is there".to_owned())
}

/// What holds in every state. I3: ready means that the Secret is there, with the credentials of the id in use; and that the
/// broker has what it acknowledged.
pub fn being<M: Subject>(before: &Standing, state: &State<M::Status>) -> Kept {
    let standing = M::standing(&state.status);
    stays_ready(before, &standing, &state.around)?;
    // Nobody has looked since.
    if !standing.is_ready || before.is_ready && before.id == standing.id {
        return Ok(());
    }
    if M::HAS_SECRET {
        let written = state.around.secret == Some(Some(standing.id.clone()));
        keep(Rule::SecretFirst, written, || format!("ready, but the Secret is {:?}", state.around.secret))?;
    }
    ready_is_true(&standing, &state.broker)
}

/// Credentials that are replaced are valid until they are, and those that replace them from then on.
fn stays_ready(before: &Standing, after: &Standing, around: &Surroundings) -> Kept {
    let renews = before.other.is_some() && !around.deleted;
    let has_secret = around.secret == Some(Some(after.id.clone()));
    keep(Rule::StaysReady, after.is_ready || !(before.is_ready && renews && has_secret), || {
        format!("is not ready while {} is replaced", before.id)
    })
}

/// I1, I6: what is said to be ready is at the broker, finished, as it was acknowledged. After a failed update it is there,
/// and can be used; how far the update came nobody can say, and the status does not.
fn ready_is_true(standing: &Standing, ledger: &Ledger) -> Kept {
    let content = ledger.content(&standing.id);
    let as_said = content.is_some() && content == standing.acknowledged.as_ref();
    let holds = as_said || standing.has_failed && ledger.holds(&standing.id);
    keep(Rule::ReadyIsTrue, holds, || {
        format!("ready with {:?}, but the broker has {content:?}", standing.acknowledged)
    })
}

/// Property 6 and I8, *silence*: a status is written only when it says something new.
pub fn never_the_same_twice<S: PartialEq>(before: &S, after: &S) -> Kept {
    keep(Rule::NeverTheSameTwice, before != after, || "writes what is there".to_owned())
}

/// The way back to v0.3: a status is one that v0.3 can go on from. These are the rules that v0.3 has for a status.
pub fn way_back(status: &str, around: &Surroundings) -> Kept {
    let status: Value = serde_json::from_str(status).unwrap_or_default();
    let given = |field: &str| status.get(field).is_some_and(|value| !value.is_null() && *value != json!(""));
    let is = |field: &str, value: &str| status[field] == value;
    let operates = given("currentOperation");
    let rules = [
        (
            "properties are in progress during an operation",
            given("inProgressProperties") || !operates || is("currentOperation", "Unbind"),
        ),
        (
            "no properties are in progress during an unbind",
            !(given("inProgressProperties") && is("currentOperation", "Unbind")),
        ),
        (
            "an operation has a start time, unless an orphan is deleted",
            !operates || given("operationStartTime") || status["orphanMitigationInProgress"] == true,
        ),
        ("what is polled is an operation", status["asyncOpInProgress"] != true || operates),
        ("a deletion is required or not", given("deprovisionStatus") || given("unbindStatus")),
        (
            "what is provisioned has external properties",
            !is("provisionStatus", "Provisioned") || given("externalProperties"),
        ),
        ("the spec has an id", !instance::external_id(around).is_empty()),
    ];
    let broken = rules.iter().find(|(_, holds)| !holds).map(|(rule, _)| rule);
    keep(Rule::WayBack, broken.is_none(), || format!("v0.3 stops, as {}: {status}", broken.unwrap_or(&"")))
}

/// Property 9: no credential is in a status.
pub fn no_credential_shown(status: &str) -> Kept {
    keep(Rule::NoCredentialShown, !status.contains(CREDENTIAL), || "shows a credential".to_owned())
}

/// What every binding of the model gives.
pub const CREDENTIAL: &str = "hunter2";

/// Property 5: what is waited for lies in the future, or the operator would spin.
pub fn waits_for_the_future(until: Timestamp, now: Timestamp) -> Kept {
    keep(Rule::WaitsForTheFuture, until > now, || "waits for the past".to_owned())
}

/// Whoever waits for a change says what for.
pub fn says_why(standing: &Standing) -> Kept {
    keep(Rule::SaysWhy, standing.is_ready || standing.says_why, || "waits without a word".to_owned())
}

/// I6, *it comes to rest*, and I1 there: ready as the spec asks (or as before, with an update that has failed), or failed
/// with a reason and nothing forgotten.
pub fn at_rest<M: Subject>(state: &State<M::Status>) -> Kept {
    let standing = M::standing(&state.status);
    let broken = |what: String| Err(Broken { rule: Rule::ComesToRest, what });
    let text =
        || serde_json::to_value(&state.status).map_or_else(|_| String::new(), |it: Value| it.to_string());
    if state.around.deleted {
        let is_prevented = state.around.policy == DeletionPolicy::Prevent;
        if is_prevented && standing.says_why && !standing.is_ready {
            return Ok(());
        }
        return broken(format!("rests although the object is to go: {}", text()));
    }
    let ours = state.broker.ours(state.now);
    if standing.is_ready {
        ready_is_true(&standing, &state.broker)?;
        let wanted = M::wanted(&state.around, standing.acknowledged.as_ref());
        // The update that was refused for good is the user's to mend.
        if standing.acknowledged != wanted && !standing.has_failed {
            return broken(format!("rests with {:?} where {wanted:?} is wanted", standing.acknowledged));
        }
        if ours.into_iter().ne([standing.id.as_str()]) {
            return broken(format!("rests with more than {}", standing.id));
        }
        if M::HAS_SECRET && state.around.secret != Some(Some(standing.id)) {
            return broken(format!("rests with the Secret {:?}", state.around.secret));
        }
        return Ok(());
    }
    if !(standing.has_failed && standing.says_why) {
        return broken(format!("rests neither ready nor failed: {}", text()));
    }
    // What failed and exists is still to be deleted one day.
    let forgotten: Vec<_> =
        ours.into_iter().filter(|id| !(standing.may_exist && *id == standing.id)).collect();
    keep(Rule::NothingLeft, forgotten.is_empty(), || format!("has failed, and forgotten {forgotten:?}"))
}

/// I6: it does so within a bounded number of steps.
pub fn restless(steps: usize) -> Kept {
    keep(Rule::ComesToRest, false, || format!("does not come to rest within {steps} steps"))
}
