//! Answers as the client reports them: what the classification makes of a broker's words.

use std::time::Duration;

use service_catalog::osb::{
    self, Refusal, RefusalReason, UnknownOutcome, Unsent, UnsentReason,
    outcome::{OperationState, Polled},
};

use crate::broker::Answer;

/// How long a broker that answers 429 wants to be left alone.
pub const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The outcome of a request that asks for something; inside is whether it came at once.
pub fn outcome(answer: Answer, creates: bool) -> osb::Outcome<bool> {
    match answer {
        Answer::Done => osb::Outcome::Answered(true),
        Answer::Accepted => osb::Outcome::Answered(false),
        Answer::BadRequest => refused(400, RefusalReason::BadRequest),
        Answer::Forbidden => refused(403, RefusalReason::Other),
        Answer::Missing => refused(404, RefusalReason::Other),
        Answer::Conflict => refused(409, RefusalReason::Conflict),
        Answer::Concurrency => refused(422, RefusalReason::ConcurrencyError),
        Answer::Throttled => match refused(429, RefusalReason::Throttled) {
            osb::Outcome::Refused(refusal) => {
                osb::Outcome::Refused(Refusal { retry_after: Some(RETRY_AFTER), ..refusal })
            }
            other => other,
        },
        Answer::Unsent => {
            let message = "connection refused".into();
            osb::Outcome::Unsent(Unsent { message, reason: UnsentReason::Network })
        }
        Answer::Broken(_) => doubt(Some(500), true, creates),
        Answer::Garbled => doubt(Some(200), true, false),
        Answer::Lost(_) => doubt(None, false, creates),
        Answer::InProgress | Answer::Succeeded | Answer::Failed | Answer::Gone => {
            panic!("{answer:?} answers polls only")
        }
    }
}

/// The outcome of a poll.
pub fn polled(answer: Answer) -> osb::Outcome<Polled> {
    let state = match answer {
        Answer::InProgress => OperationState::InProgress,
        Answer::Succeeded => OperationState::Succeeded,
        Answer::Failed => OperationState::Failed,
        Answer::Gone => OperationState::Gone,
        other => return outcome(other, false).map(|_| panic!("{other:?} is no answer to a poll")),
    };
    osb::Outcome::Answered(Polled {
        state,
        description: Some("words".into()),
        retry_after: None,
        instance_usable: None,
        update_repeatable: None,
    })
}

fn refused<T>(status: u16, reason: RefusalReason) -> osb::Outcome<T> {
    osb::Outcome::Refused(Refusal {
        status,
        reason,
        message: format!("the broker answered {status}").into(),
        retry_after: None,
        instance_usable: None,
        update_repeatable: None,
    })
}

fn doubt<T>(status: Option<u16>, answered: bool, mitigate: bool) -> osb::Outcome<T> {
    let message = "nobody knows".into();
    osb::Outcome::Unknown(UnknownOutcome { status, message, answered, mitigate, ..UnknownOutcome::default() })
}
