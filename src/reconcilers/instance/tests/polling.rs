//! An operation that is polled: for how long, how often, and what is said of it meanwhile.

use super::*;
use crate::reconcilers::{
    instance::InstanceAction,
    operation::{Awaited, Phase},
};

impl Fixture {
    fn decoded_phase(&self) -> Phase<InstanceAction> {
        Decoded::<Instance>::of(&self.object).phase
    }
}

// v0.3 H13
#[test]
fn a_talkative_broker_is_not_written_down_word_by_word() {
    let say = |words: &str| {
        let words = words.to_owned();
        let Outcome::Polled(osb::Outcome::Answered(polled)) =
            Outcome::Polled(polled(OperationState::InProgress))
        else {
            panic!("is an answer")
        };
        Outcome::Polled(osb::Outcome::Answered(Polled { description: Some(words), ..polled }))
    };
    let first = Fixture::new().answered(accepted()).answered(say("1 %"));
    assert!(first.status().conditions[0].message.ends_with("(1 %)"));
    let second = first.clone().answered(say("2 %"));
    assert_eq!(second.status(), first.status());
    let later = second.after(60).answered(say("3 %"));
    assert!(later.status().conditions[0].message.ends_with("(3 %)"));
}

// OSB 52, 82
#[test]
fn a_plan_can_shorten_how_long_it_is_polled_but_not_lengthen_it() {
    let after = |limit: Option<i64>, seconds: i64| {
        let mut fixture = Fixture::new().answered(accepted());
        fixture.requested_offering = Some(Offering { maximum_polling_duration: limit, ..offering() });
        let polled = fixture.after(seconds).answered(Outcome::Polled(polled(OperationState::InProgress)));
        polled.status().progress.orphan_mitigation_in_progress
    };
    assert!(after(Some(60), 61) && !after(Some(60), 50));
    assert!(!after(None, 61) && !after(Some(0), 61) && !after(Some(-5), 61));
    assert!(after(Some(i64::MAX), 8 * 24 * 3600));
}

// v0.3 Q18
#[test]
fn polls_that_fail_are_repeated_as_often_as_it_takes() {
    let mut fixture = Fixture::new().answered(accepted());
    for number in 0..100 {
        let (asked, call) = fixture.clone().asking();
        assert_eq!(name(&call), "GET last_operation", "after {number} failures");
        let waited = asked.now.duration_since(fixture.now).as_secs();
        assert!(waited <= 75, "{waited} s after {number} failures");
        fixture = asked.after(1).absorbing(&call, Outcome::Polled(doubt(Some(503), true, false))).0;
    }
    let ready = fixture.answered(Outcome::Polled(polled(OperationState::Succeeded)));
    assert_eq!(conditions(&ready.status()), "Ready=True:ProvisionedSuccessfully");
}

// OSB 84
#[test]
fn what_is_polled_for_has_its_time_from_when_it_was_accepted() {
    let throttled = || Outcome::Provisioned(refused(429, RefusalReason::Throttled));
    let patience = Some(60);
    let mut late = Fixture::new();
    for _ in 0..8 {
        late = late.answered(throttled());
    }
    late = late.answered(accepted());
    late.requested_offering = Some(Offering { maximum_polling_duration: patience, ..offering() });
    let busy = || Outcome::Polled(polled(OperationState::InProgress));
    let polling = late.after(50).answered(busy());
    assert_eq!(conditions(&polling.status()), "Ready=False:Provisioning");
    let over = polling.after(61).answered(busy());
    assert!(over.status().progress.orphan_mitigation_in_progress, "{}", conditions(&over.status()));
}

// OSB 71
#[test]
fn a_broker_that_wants_to_be_left_alone_for_longer_than_the_operation_may_take_is_asked_at_its_end() {
    let mut fixture = Fixture::new().answered(accepted());
    fixture.requested_offering = Some(Offering { maximum_polling_duration: Some(60), ..offering() });
    let begun = fixture.now;
    let Outcome::Polled(osb::Outcome::Answered(busy)) = Outcome::Polled(polled(OperationState::InProgress))
    else {
        panic!("is an answer")
    };
    let patient = Polled { retry_after: Some(std::time::Duration::from_secs(24 * 3600)), ..busy };
    let told = fixture.answered(Outcome::Polled(osb::Outcome::Answered(patient)));
    let (asked, _) = told.asking();
    let waited = asked.now.duration_since(begun).as_secs();
    assert!((58..=62).contains(&waited), "{waited}");
}

// OSB 63
#[test]
fn a_deletion_does_not_wait_for_the_end_of_an_operation() {
    let busy = || Outcome::Polled(polled(OperationState::InProgress));
    let blocked = || Outcome::Deleted(refused(422, RefusalReason::ConcurrencyError));
    for begun in [Fixture::new().answered(accepted()), Fixture::new().changing().answered(accepted())] {
        // An end within the grace is waited for.
        let begun = begun.answered(busy()).after(3600);
        let (ended, call) = begun.clone().deleted().asking();
        assert_eq!(name(&call), "GET last_operation");
        let ended = ended.answered(Outcome::Polled(polled(OperationState::Succeeded)));
        assert_eq!(name(&ended.asking().1), "DELETE");
        // Each refusal is followed by polls and, later and later, by another DELETE.
        let (mut leaving, mut tries, mut polls) = (begun.deleted(), vec![], 0);
        let begin = leaving.now;
        for _ in 0..40 {
            let (asked, call) = leaving.asking();
            assert!(matches!(asked.decoded_phase(), Phase::Polling(Awaited::Operation(_), _)));
            leaving = if matches!(call, Call::Delete(..)) {
                assert!(polls > 0, "a poll between two DELETEs");
                polls = 0;
                tries.push(asked.now.duration_since(begin).as_secs());
                asked.absorbing(&call, blocked()).0
            } else {
                polls += 1;
                asked.absorbing(&call, busy()).0
            };
        }
        assert!((29..=31).contains(&tries[0]) && tries.len() > 5, "{tries:?}");
        let longer = tries[tries.len() - 1] - tries[tries.len() - 2] > 2 * (tries[2] - tries[1]);
        assert!(longer, "{tries:?}");
        // A DELETE that is accepted, or without an answer, takes the place of the operation.
        for answer in
            [osb::Outcome::Answered(Deleted::Accepted { operation: None }), doubt(None, false, false)]
        {
            let (polled, call) = leaving.clone().after(3600).asking();
            assert_eq!(name(&call), "GET last_operation", "what is due is polled first");
            let (asked, call) = polled.absorbing(&call, busy()).0.asking();
            assert_eq!(name(&call), "DELETE");
            let (next, _) = asked.absorbing(&call, Outcome::Deleted(answer));
            let deleting = matches!(
                next.decoded_phase(),
                Phase::Deleting { .. } | Phase::Polling(Awaited::Deletion(DeletePurpose::Deletion), _)
            );
            assert!(deleting, "{:?}", next.decoded_phase());
        }
    }
}

// OSB 82
#[test]
fn a_clock_that_is_set_back_does_not_stop_polling() {
    let busy = || Outcome::Polled(polled(OperationState::InProgress));
    let back = Fixture::new().answered(accepted()).answered(busy()).after(-7 * 24 * 3600);
    let now = back.now;
    let (asked, _) = back.asking();
    let waited = asked.now.duration_since(now).as_secs();
    assert!(waited <= 70, "{waited}");
}
