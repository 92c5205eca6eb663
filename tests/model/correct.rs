//! The machines as they are: nothing breaks within reach.

use service_catalog::{
    crd::common::DeletionPolicy::{self, Prevent, Retain},
    reconcilers::{binding::BindingReconciler, instance::InstanceReconciler},
};

use crate::{
    subject::{Operator, Subject},
    surprises::{
        ALL,
        Surprise::{self, *},
        Surroundings,
    },
    walk::{Scenario, walk},
    wander::wander,
};

/// How many states a walk looks at, unless `MODEL_STATES` says otherwise.
const STATES: usize = 500;

#[expect(clippy::print_stderr, reason = "how far it went")]
fn check<M: Subject>(start: Surroundings, surprises: &'static [Surprise]) {
    let (states, at_once) = (states(), !surprises.contains(&Age));
    let scenario = Scenario { start, surprises, at_once, states, overlooked: &[] };
    let seen = walk::<M>(&scenario, &Operator::faultless()).unwrap_or_else(|violation| panic!("{violation}"));
    eprintln!("{seen:?}");
    assert!(seen.states == states && seen.released > states / 50, "{seen:?}");
}

fn states() -> usize {
    std::env::var("MODEL_STATES").ok().map_or(STATES, |states| states.parse().unwrap())
}

/// Walks at random, about as many states in all.
fn check_far_away<M: Subject>(start: &Surroundings) {
    for seed in 0..states() / 40 {
        let seed = u64::try_from(seed).unwrap();
        let (start, at_once) = (start.clone(), seed % 2 == 0);
        let scenario = Scenario { start, surprises: ALL, at_once, states: 0, overlooked: &[] };
        if let Err(violation) = wander::<M>(&scenario, &Operator::faultless(), seed) {
            panic!("seed {seed}: {violation}");
        }
    }
}

fn own_id() -> Surroundings {
    Surroundings { external_id: true, ..Surroundings::default() }
}

fn retrievable() -> Surroundings {
    Surroundings { retrievable: true, ..Surroundings::default() }
}

fn with_policy(policy: DeletionPolicy, start: Surroundings) -> Surroundings {
    Surroundings { policy, ..start }
}

#[test]
fn an_instance_that_is_retained_survives_answers_crashes_and_deletion() {
    check::<InstanceReconciler>(with_policy(Retain, Surroundings::default()), &[Edit, Delete, Restart]);
    check::<InstanceReconciler>(with_policy(Retain, own_id()), &[Edit, Delete, Restart]);
}

#[test]
fn a_binding_that_is_retained_survives_answers_crashes_and_deletion() {
    check::<BindingReconciler>(with_policy(Retain, retrievable()), &[LoseSecret, Delete, Restart]);
    check::<BindingReconciler>(with_policy(Retain, own_id()), &[LoseSecret, Delete, Restart]);
}

#[test]
fn changes_of_the_deletion_policy_are_survived_at_any_time() {
    check::<InstanceReconciler>(with_policy(Prevent, Surroundings::default()), &[Policy, Edit, Delete]);
    check::<BindingReconciler>(with_policy(Prevent, Surroundings::default()), &[Policy, Delete]);
}

#[test]
fn an_instance_survives_everything_at_once() {
    check::<InstanceReconciler>(Surroundings::default(), ALL);
}

// OSB 148
// v0.3 Q24
#[test]
fn an_instance_survives_answers_crashes_edits_and_deletion() {
    check::<InstanceReconciler>(Surroundings::default(), &[Edit, ChangePlan, UpdateRequest, Delete]);
}

#[test]
fn an_instance_under_an_id_of_the_user_survives_the_same() {
    check::<InstanceReconciler>(own_id(), &[Edit, Delete, Restart]);
}

#[test]
fn an_instance_survives_changes_of_what_brokers_are_told() {
    check::<InstanceReconciler>(Surroundings::default(), &[Annotate, Edit, Delete]);
}

#[test]
fn an_instance_that_can_be_fetched_survives_the_same() {
    check::<InstanceReconciler>(retrievable(), &[Edit, ChangePlan, UpdateRequest, Delete]);
}

// v0.3 Q13, Q58
#[test]
fn an_instance_survives_another_replica_that_stays_behind() {
    check::<InstanceReconciler>(Surroundings::default(), &[Lag, Edit, Delete]);
}

#[test]
fn an_instance_survives_the_coming_and_going_of_what_it_needs() {
    check::<InstanceReconciler>(Surroundings::default(), &[Class, Parameters, Broker, Bindings, Delete]);
}

#[test]
fn an_instance_survives_schemas_that_change() {
    check::<InstanceReconciler>(Surroundings::default(), &[Schemas, Edit, ChangePlan, Delete]);
}

#[test]
fn an_instance_survives_a_broker_that_takes_for_ever() {
    check::<InstanceReconciler>(Surroundings::default(), &[Age, Edit, Delete]);
}

#[test]
fn a_binding_survives_everything_at_once() {
    check::<BindingReconciler>(retrievable(), ALL);
}

#[test]
fn a_binding_survives_answers_crashes_and_deletion() {
    check::<BindingReconciler>(Surroundings::default(), &[Edit, Delete]);
}

#[test]
fn a_binding_under_an_id_of_the_user_survives_the_same() {
    check::<BindingReconciler>(own_id(), &[Edit, Delete, Restart]);
}

#[test]
fn credentials_that_are_renewed_survive_answers_crashes_and_deletion() {
    for start in [Surroundings::default(), retrievable(), own_id()] {
        check::<BindingReconciler>(start, &[Renew, Delete]);
    }
}

#[test]
fn credentials_that_are_renewed_survive_what_may_happen_to_their_secret() {
    check::<BindingReconciler>(retrievable(), &[Renew, LoseSecret, Delete]);
    check::<BindingReconciler>(Surroundings::default(), &[Renew, LoseSecret, Delete]);
}

#[test]
fn credentials_that_are_renewed_survive_another_replica_that_stays_behind() {
    check::<BindingReconciler>(retrievable(), &[Renew, Lag, Delete]);
}

#[test]
fn credentials_that_are_renewed_survive_the_coming_and_going_of_what_they_need() {
    check::<BindingReconciler>(
        Surroundings::default(),
        &[Renew, Class, Parameters, Broker, Instance, Delete],
    );
}

#[test]
fn credentials_that_are_renewed_survive_a_broker_that_takes_for_ever() {
    check::<BindingReconciler>(retrievable(), &[Renew, Age, Delete]);
}

#[test]
fn credentials_that_are_renewed_survive_changes_of_the_deletion_policy() {
    check::<BindingReconciler>(Surroundings::default(), &[Renew, Policy, Delete]);
}

// v0.3 Q58
#[test]
fn a_binding_survives_another_replica_that_stays_behind() {
    check::<BindingReconciler>(retrievable(), &[Lag, Edit, Delete]);
}

#[test]
fn a_binding_survives_the_coming_and_going_of_what_it_needs() {
    check::<BindingReconciler>(Surroundings::default(), &[Class, Parameters, Broker, Instance, Delete]);
}

#[test]
fn a_binding_survives_schemas_that_change() {
    check::<BindingReconciler>(Surroundings::default(), &[Schemas, LoseSecret, Delete]);
}

#[test]
fn a_binding_survives_what_may_happen_to_its_secret() {
    check::<BindingReconciler>(retrievable(), &[TakeName, LoseSecret, Delete]);
}

#[test]
fn a_binding_whose_credentials_cannot_be_fetched_survives_what_may_happen_to_its_secret() {
    check::<BindingReconciler>(Surroundings::default(), &[TakeName, LoseSecret, Delete]);
}

#[test]
fn a_binding_survives_a_broker_that_takes_for_ever() {
    check::<BindingReconciler>(retrievable(), &[Age, Edit, Delete]);
}

#[test]
fn an_instance_survives_what_happens_at_random() {
    check_far_away::<InstanceReconciler>(&Surroundings::default());
}

#[test]
fn an_instance_that_can_be_fetched_survives_what_happens_at_random() {
    check_far_away::<InstanceReconciler>(&retrievable());
}

#[test]
fn an_instance_under_an_id_of_the_user_survives_what_happens_at_random() {
    check_far_away::<InstanceReconciler>(&own_id());
}

#[test]
fn a_binding_survives_what_happens_at_random() {
    check_far_away::<BindingReconciler>(&retrievable());
}

#[test]
fn a_binding_whose_credentials_cannot_be_fetched_survives_what_happens_at_random() {
    check_far_away::<BindingReconciler>(&Surroundings::default());
}

#[test]
fn a_binding_under_an_id_of_the_user_survives_what_happens_at_random() {
    check_far_away::<BindingReconciler>(&own_id());
}
