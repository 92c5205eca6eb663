//! Credentials that are renewed.

use jiff::SignedDuration;

use super::*;
use crate::{
    crd::{
        ConditionType::Ready,
        binding::{BindingProperties, ServiceBindingStatus},
        condition,
        rotation::{OtherBinding, Rotation},
    },
    osb::outcome::Lifetime,
    reconcilers::{identity::attempt_id, operation::resource::OperationStatus},
};

fn id(attempt: i64) -> String {
    attempt_id("", UID, attempt)
}

impl Fixture {
    fn rotatable(self) -> Self {
        self.offered(|offering| offering.rotatable = true)
    }

    /// The user asks for new credentials.
    fn renewing(mut self) -> Self {
        let requests = self.object.spec.rotation.map_or(0, |rotation| rotation.requests);
        self.object.spec.rotation = Some(Rotation { requests: requests + 1, ..Rotation::default() });
        *self.object.metadata.generation.get_or_insert(0) += 1;
        self
    }

    /// The broker has bound, and says how long the credentials live, in seconds from now on.
    fn bound_for(self, renew_before: Option<i64>, expires_at: Option<i64>) -> Self {
        let (asked, call) = self.asking();
        let asked = asked.after(1);
        let at = |seconds: i64| asked.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let lifetime = Lifetime { expires_at: expires_at.map(at), renew_before: renew_before.map(at) };
        let answer = BindingAnswer { lifetime, ..answer(&json!({"password": "hunter2"})) };
        asked.absorbing(&call, Outcome::Bound(osb::Outcome::Answered(Bound::Done(answer)))).0
    }

    fn current(&self) -> String {
        self.status().binding_id.to_string()
    }

    fn predecessor(&self) -> Option<OtherBinding> {
        self.status().rotation?.predecessor.map(|other| *other)
    }

    /// `Ready`, as in `True: InjectedBindResult`.
    fn ready(&self) -> String {
        let status = self.status();
        let ready = condition::find(&status.conditions, Ready).unwrap();
        format!("{}: {}", ready.status.name(), ready.reason)
    }

    fn message(&self) -> String {
        condition::find(&self.status().conditions, Ready).unwrap().message.clone()
    }

    fn waits(&self) -> Option<i64> {
        match self.plan() {
            Step::Wait(Wait::Until(at)) => Some(at.duration_since(self.now).as_secs()),
            Step::Wait(Wait::ForChange) => None,
            step => panic!("no wait but {}", shown(&step, self)),
        }
    }
}

fn body(call: &Call<BindingRequest>) -> Value {
    match call {
        Call::Request(_, BindingRequest::Bind(body, _)) => serde_json::to_value(body).unwrap(),
        call => panic!("no bind but {}", name(call)),
    }
}

fn id_of(call: &Call<BindingRequest>) -> String {
    call.address().binding_id.clone().unwrap().to_string()
}

fn credentials() -> Outcome {
    bound(&json!({"password": "new"}))
}

fn unbound() -> Outcome {
    Outcome::Deleted(osb::Outcome::Answered(Deleted::Done))
}

fn refused(status: u16) -> Outcome {
    Outcome::Bound(instances::refused(status, RefusalReason::Other))
}

#[test]
fn the_old_credentials_are_used_until_the_new_ones_are_in_the_secret() {
    for rotatable in [true, false] {
        let settled = Fixture::new().settled();
        let settled = if rotatable { settled.rotatable() } else { settled };
        let (asked, call) = settled.renewing().asking();
        assert_eq!(
            (id_of(&call), asked.current(), &*asked.ready()),
            (id(1), id(0), "True: InjectedBindResult")
        );
        assert_eq!(asked.object.spec.external_id, id(1), "a backup has the id");
        let sent = body(&call);
        if rotatable {
            assert_eq!(sent["predecessor_binding_id"], id(0));
            assert!(sent.get("parameters").is_none(), "the broker takes them over");
        } else {
            assert_eq!(sent["parameters"], json!({"role": "reader"}));
            assert!(sent.get("predecessor_binding_id").is_none());
        }
        let (renewed, wrote) = asked.after(1).absorbing(&call, credentials());
        assert_eq!(
            (wrote, renewed.current(), &*renewed.ready()),
            ("Secret, ", id(1), "True: CredentialsRenewed")
        );
        assert_eq!(renewed.predecessor().unwrap().binding_id.as_str(), id(0));
        assert_eq!(renewed.waits(), Some(3600));
        let asked = renewed.after(3600);
        let Step::Call { before, call } = asked.plan() else { panic!("no request") };
        assert!(before.is_empty(), "the Secret stays");
        assert!(matches!(call, Call::Delete(_, _, DeletePurpose::Deletion)), "no write comes before");
        assert_eq!(id_of(&call), id(0));
        let ended = asked.absorbing(&call, unbound()).0;
        assert_eq!(
            (ended.current(), ended.predecessor(), &*ended.ready()),
            (id(1), None, "True: InjectedBindResult")
        );
        assert_eq!(ended.waits(), None, "one request asks for one renewal");
    }
}

#[test]
fn a_renewal_that_fails_is_tried_again_with_another_id_and_without_rotation() {
    let (asked, call) = Fixture::new().rotatable().settled().renewing().asking();
    assert_eq!(body(&call)["predecessor_binding_id"], id(0));
    let failed = asked.after(1).absorbing(&call, refused(400)).0;
    assert_eq!((failed.current(), &*failed.ready()), (id(0), "True: CredentialsRenewalFailed"));
    let message = failed.message();
    assert!(message.contains("without success") && message.contains("tries again at"), "{message}");
    assert!(!message.contains("delete this binding"), "{message}");
    let (asked, call) = failed.asking();
    assert_eq!((id_of(&call), body(&call).get("predecessor_binding_id")), (id(2), None));
    let renewed = asked.after(1).absorbing(&call, credentials()).0;
    assert_eq!((renewed.current(), &*renewed.ready()), (id(2), "True: CredentialsRenewed"));
}

#[test]
fn the_tries_of_a_renewal_become_rarer_and_do_not_end() {
    let mut fixture = Fixture::new().settled().renewing();
    let mut delays = vec![];
    for _ in 0..30 {
        let before = fixture.now;
        let (asked, call) = fixture.asking();
        delays.push(asked.now.duration_since(before).as_secs());
        fixture = asked.absorbing(&call, refused(400)).0;
    }
    assert!(delays.windows(2).all(|pair| pair[0] <= pair[1]), "{delays:?}");
    assert!((1080..=1320).contains(delays.last().unwrap()), "{delays:?}");
}

#[test]
fn what_an_unanswered_renewal_may_have_left_is_deleted_before_the_next_one() {
    let mut fixture = Fixture::new().settled().renewing();
    for _ in 0..4 {
        fixture = fixture.answered(Outcome::Bound(instances::doubt(None, false, true)));
        assert!(fixture.ready().starts_with("True: "), "{}", fixture.ready());
    }
    let (asked, call) = fixture.asking();
    assert!(matches!(call, Call::Delete(_, _, DeletePurpose::Mitigation)));
    assert_eq!((id_of(&call), asked.current()), (id(1), id(0)));
    let (asked, call) = asked.after(1).absorbing(&call, unbound()).0.asking();
    assert_eq!(id_of(&call), id(2));
    assert_eq!(asked.absorbing(&call, credentials()).0.current(), id(2));
}

#[test]
fn a_crash_after_the_secret_costs_no_request() {
    let (mut asked, call) = Fixture::new().settled().renewing().asking();
    let absorbed = BindingReconciler::absorb(&asked.observed(), credentials().to(&call));
    assert!(!absorbed.writes.is_empty());
    let binding_id = id(1).into();
    asked.secret = SecretState::Owned { binding_id, uid: None, written: Written::default() };
    let Step::Record(status) = asked.plan() else { panic!("no status") };
    let asked = asked.with_status(&status);
    assert_eq!((asked.current(), asked.predecessor().unwrap().binding_id.as_str()), (id(1), &*id(0)));
}

#[test]
fn an_asynchronous_renewal_and_an_asynchronous_unbind_are_polled() {
    let polled = |state| {
        Outcome::Polled(osb::Outcome::Answered(Polled {
            state,
            description: None,
            retry_after: None,
            instance_usable: None,
            update_repeatable: None,
        }))
    };
    let fixture = Fixture::new().retrievable().settled().renewing().answered(accepted());
    assert_eq!((fixture.current(), &*fixture.ready()), (id(0), "True: InjectedBindResult"));
    let (asked, call) = fixture.asking();
    assert!(matches!(call, Call::Poll(..)));
    assert_eq!(id_of(&call), id(1));
    let absorbed = BindingReconciler::absorb(&asked.observed(), polled(OperationState::Succeeded).to(&call));
    let Next::Call(fetch) = absorbed.next else { panic!("no GET") };
    let fetched = Outcome::Fetched(osb::Outcome::Answered(answer(&json!({"password": "new"}))));
    let (renewed, wrote) = asked.absorbing(&fetch, fetched);
    assert_eq!((wrote, renewed.current()), ("Secret, ", id(1)));
    let (asked, call) = renewed.after(3600).asking();
    let deleting = asked
        .after(1)
        .absorbing(&call, Outcome::Deleted(osb::Outcome::Answered(Deleted::Accepted { operation: None })))
        .0;
    assert_eq!(&*deleting.ready(), "True: CredentialsRenewed");
    let (asked, call) = deleting.asking();
    assert!(matches!(call, Call::Poll(..)));
    let ended = asked.absorbing(&call, polled(OperationState::Succeeded)).0;
    assert_eq!((ended.current(), ended.predecessor()), (id(1), None));
}

#[test]
fn a_deletion_deletes_both_bindings_the_other_one_first() {
    let renewed = Fixture::new().settled().renewing().answered(credentials()).deleted();
    let in_flight = Fixture::new().settled().renewing().intending().deleted();
    for (fixture, other, current) in [(renewed, id(0), id(1)), (in_flight, id(1), id(0))] {
        let (asked, call) = fixture.asking();
        assert!(matches!(call, Call::Delete(_, _, DeletePurpose::Deletion)));
        assert_eq!(id_of(&call), other);
        let (asked, end) = asked.absorbing(&call, unbound());
        assert_eq!(end, "", "the object stays");
        let (asked, call) = asked.asking();
        assert_eq!(id_of(&call), current);
        assert_eq!(asked.absorbing(&call, unbound()).1, "let go");
    }
}

#[test]
fn a_binding_that_is_retained_leaves_no_other_one_behind() {
    let mut fixture = Fixture::new().settled().renewing().answered(credentials()).deleted();
    fixture.object.spec.deletion_policy = crate::crd::common::DeletionPolicy::Retain;
    let (asked, call) = fixture.asking();
    assert_eq!(id_of(&call), id(0));
    let asked = asked.absorbing(&call, unbound()).0;
    let Step::Record(status) = asked.plan() else { panic!("no status") };
    assert!(asked.with_status(&status).message().contains(&id(1)));
}

#[test]
fn credentials_are_renewed_shortly_before_the_broker_wants_it() {
    let fixture = Fixture::new().bound_for(Some(10_000), Some(20_000));
    let wait = fixture.waits().unwrap();
    assert!((9_500..=10_000).contains(&wait), "{wait}");
    let (asked, call) = fixture.after(wait + 1).asking();
    assert_eq!((id_of(&call), &*asked.ready()), (id(1), "True: InjectedBindResult"));
    // The old ones do not live longer than the broker says.
    let renewed = asked.after(8_000).answered(credentials());
    assert!(
        renewed.predecessor().unwrap().unbind_after.unwrap().0
            < renewed.now.checked_add(SignedDuration::from_hours(1)).unwrap()
    );
}

#[test]
fn credentials_that_only_end_are_renewed_before_they_do() {
    let wait = Fixture::new().bound_for(None, Some(10_000)).waits().unwrap();
    assert!((8_500..=9_000).contains(&wait), "{wait}");
}

#[test]
fn a_schedule_counts_from_the_bind() {
    let mut fixture = Fixture::new().settled();
    let interval = Some(std::time::Duration::from_secs(1000).into());
    fixture.object.spec.rotation = Some(Rotation { interval, ..Rotation::default() });
    let wait = fixture.waits().unwrap();
    assert!((950..=1000).contains(&wait), "{wait}");
}

#[test]
fn credentials_that_had_expired_when_they_were_made_are_not_renewed_again_and_again() {
    let fixture = Fixture::new().bound_for(Some(-3600), Some(-1800));
    assert_eq!((&*fixture.ready(), fixture.waits()), ("False: CredentialsExpired", None));
    assert!(fixture.message().contains("clocks"), "{}", fixture.message());
    // Those in the Secret may be better than the new ones.
    let fixture = Fixture::new().settled().renewing().bound_for(None, Some(-1));
    assert_eq!((fixture.current(), &*fixture.ready()), (id(0), "True: CredentialsRenewalFailed"));
    let (_, call) = fixture.asking();
    assert!(matches!(call, Call::Delete(_, _, DeletePurpose::Mitigation)));
}

#[test]
fn a_year_far_away_is_waited_for() {
    let far = Timestamp::MAX.duration_since(Fixture::new().now).as_secs() - 3600;
    assert!(Fixture::new().bound_for(Some(far), Some(far)).waits().unwrap() > 1_000_000);
}

#[test]
fn credentials_that_expire_while_they_cannot_be_renewed_say_so_and_are_renewed_all_the_same() {
    let mut fixture = Fixture::new().bound_for(Some(100), Some(200)).after(101);
    for _ in 0..12 {
        fixture = fixture.answered(refused(500));
    }
    assert_eq!(&*fixture.ready(), "False: CredentialsExpired");
    assert!(fixture.message().contains("without success"), "{}", fixture.message());
    let renewed = fixture.answered(credentials());
    assert_eq!(&*renewed.ready(), "True: CredentialsRenewed");
}

#[test]
fn nothing_is_renewed_because_of_an_upgrade() {
    let mut fixture = Fixture::new().bound_for(Some(10_000), Some(20_000));
    let mut status = fixture.status();
    (status.bound_at, status.rotation) = (None, None);
    fixture.object.metadata.creation_timestamp = Some(Time(fixture.now));
    let fixture = fixture.with_status(&status);
    assert!(fixture.waits().unwrap() > 9_000);
    assert_eq!(Fixture::new().settled().without_intent().waits(), None);
}

#[test]
fn requests_that_came_with_the_object_ask_for_nothing() {
    let mut fixture = Fixture::new();
    fixture.object.spec.rotation = Some(Rotation { requests: 3, ..Rotation::default() });
    assert_eq!(fixture.settled().waits(), None);
}

#[test]
fn a_lost_secret_is_restored_before_it_is_renewed() {
    let lost = Fixture::new().retrievable().settled().renewing().with_secret(SecretState::Missing);
    let (_, call) = lost.asking();
    assert!(matches!(call, Call::Request(_, BindingRequest::Fetch(_))));
    assert_eq!(id_of(&call), id(0));
    // What may be at the broker comes first.
    let in_flight = Fixture::new().settled().renewing().intending().with_secret(SecretState::Missing);
    assert_eq!(id_of(&in_flight.asking().1), id(1));
}

/// Whatever comes, the status is one that the next decision starts from: a status that is recorded is not recorded again.
#[test]
fn an_obstacle_to_a_renewal_is_told_once() {
    let fixture = Fixture::new().settled().renewing().without_namespace();
    let Step::Record(status) = fixture.plan() else { panic!("no status") };
    let fixture = fixture.with_status(&status);
    assert_eq!((&*fixture.ready(), fixture.waits()), ("True: CredentialsRenewalFailed", None));
}

#[test]
fn a_long_grace_period_does_not_let_the_next_credentials_expire() {
    let mut fixture = Fixture::new().settled();
    let grace_period = Some(std::time::Duration::from_secs(1_000_000).into());
    fixture.object.spec.rotation = Some(Rotation { requests: 1, grace_period, ..Rotation::default() });
    let renewed = fixture.bound_for(Some(1_000), Some(2_000));
    let (asked, call) = renewed.after(1_000).asking();
    assert_eq!((id_of(&call), asked.current()), (id(0), id(1)));
    let (asked, call) = asked.absorbing(&call, unbound()).0.asking();
    assert_eq!((id_of(&call), asked.current()), (id(2), id(1)));
}

#[test]
fn what_may_be_in_use_in_another_cluster_is_left_alone() {
    let mut copied = Fixture::new().settled().renewing().answered(credentials());
    copied.object.metadata.uid = Some("11111111-3c67-4c5b-9d3f-0d7f2a2f5b11".into());
    let mut copied = copied.after(10_000).deleted();
    copied.object.metadata.finalizers = Some(vec![FINALIZER.into()]);
    copied.object = copied.object.complete();
    let decoded = Decoded::<Binding>::of(&copied.object);
    assert!(decoded.has_intent_of_another());
    assert!(!matches!(copied.plan(), Step::Call { call, .. } if id_of(&call) == id(0)));
}

/// The broker refuses the successor, so nothing of it is there, and the Secret is lost.
fn refused_and_lost() -> Fixture {
    Fixture::new().settled().renewing().answered(refused(400)).with_secret(SecretState::Missing)
}

#[test]
fn what_is_under_way_for_the_current_binding_ends_before_a_successor_is_made() {
    // The repeated bind has no credentials, so they are lost.
    let lost = refused_and_lost().answered(bound(&json!(null))).with_secret(SecretState::Unchecked);
    let (asked, call) = lost.asking();
    assert!(matches!(call, Call::Delete(_, _, DeletePurpose::Mitigation)));
    assert_eq!(id_of(&call), id(0));
    // The successor has a number already. The current binding gets one that nobody had.
    let (asked, call) = asked.absorbing(&call, unbound()).0.asking();
    assert_eq!(id_of(&call), id(3));
    let bound = asked.after(1).absorbing(&call, credentials()).0;
    let (asked, call) = bound.asking();
    assert_eq!((asked.current(), id_of(&call)), (id(3), id(4)));
    let renewed = asked.after(1).absorbing(&call, credentials()).0;
    assert_eq!(renewed.predecessor().unwrap().binding_id.as_str(), id(3));
    assert_eq!(renewed.status().progress.next_attempt_time, None);
}

#[test]
fn a_plan_that_is_no_longer_bindable_is_told_now_and_then() {
    let mut fixture = Fixture::new().settled().renewing().offered(|offering| offering.bindable = false);
    for _ in 0..5 {
        let Step::Record(status) = fixture.plan() else { panic!("{}", shown(&fixture.plan(), &fixture)) };
        fixture = fixture.with_status(&status);
        assert_eq!(&*fixture.ready(), "True: CredentialsRenewalFailed");
        let wait = fixture.waits().unwrap();
        assert!(wait > 0, "{wait}");
        fixture = fixture.after(wait + 1);
    }
}

#[test]
fn a_process_that_starts_after_the_expiry_goes_on_with_what_the_secret_has() {
    let (mut asked, call) = Fixture::new().settled().renewing().asking();
    let end = asked.now.checked_add(SignedDuration::from_secs(600)).unwrap();
    let lifetime = Lifetime { expires_at: Some(end), renew_before: None };
    let written = Written { lifetime, ..Written::default() };
    let binding_id = call.address().binding_id.clone().unwrap();
    asked = asked.after(900).with_secret(SecretState::Owned { binding_id, uid: None, written });
    let Step::Record(status) = asked.plan() else { panic!("no status") };
    let switched = asked.with_status(&status);
    assert_eq!((switched.current(), &*switched.ready()), (id(1), "False: CredentialsExpired"));
    assert!(!switched.message().contains("clocks"), "{}", switched.message());
    let (asked, call) = switched.asking();
    assert_eq!(id_of(&call), id(0), "the previous one ends first");
    assert_eq!(id_of(&asked.absorbing(&call, unbound()).0.asking().1), id(2));
}

#[test]
fn a_deletion_that_is_prevented_leaves_the_secret_and_the_grace_period_as_they_are() {
    let mut fixture = Fixture::new().settled().renewing().answered(credentials()).deleted();
    fixture.object.spec.deletion_policy = crate::crd::common::DeletionPolicy::Prevent;
    let Step::Record(status) = fixture.plan() else { panic!("{}", shown(&fixture.plan(), &fixture)) };
    let fixture = fixture.with_status(&status);
    assert!(fixture.message().contains("Prevent"), "{}", fixture.message());
    let Step::Call { before, call } = fixture.after(3600).plan() else { panic!("no request") };
    assert!(before.is_empty() && id_of(&call) == id(0));
}

/// A large intent leaves out the parameters, or the annotation could grow past what an object may hold.
#[test]
fn the_parameters_of_all_bindings_can_be_left_out() {
    let mut status = ServiceBindingStatus::default();
    let properties = BindingProperties {
        parameters: Some(serde_json::from_value(json!({ "role": "reader" })).unwrap()),
        ..BindingProperties::default()
    };
    let other = OtherBinding {
        in_progress_properties: Some(properties.clone()),
        external_properties: Some(properties.clone()),
        ..OtherBinding::default()
    };
    status.external_properties = Some(properties);
    let rotation = status.rotation.get_or_insert_default();
    rotation.successor = Some(Box::new(other.clone()));
    rotation.predecessor = Some(Box::new(other));
    assert_eq!(json!(status).to_string().matches("reader").count(), 5);
    status.clear_parameters();
    assert!(!json!(status).to_string().contains("reader"), "{}", json!(status));
}
