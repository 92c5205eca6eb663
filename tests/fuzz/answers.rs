//! Answers to requests: every one means something, and no more of the broker's words is shown than can be.
//!
//! An input is `<operation> <status>`, a line feed, and the body.

use serde_json::Value;
use service_catalog::{
    crd::common::SecretKeyReference,
    osb::{
        Operation, Outcome, Refusal, UnknownOutcome,
        classify::{self, CatalogAnswer, Response},
        outcome::{BindingAnswer, Bound, Deleted, OperationState, Polled, Provisioned},
    },
    printable::clip,
    reconcilers::parameters::{Parameters, Source, SourceValue, merge},
};
use zeroize::Zeroizing;

use crate::{
    harness::{self, Check},
    is_shown, json, promise,
    random::Random,
};

pub const OPERATIONS: [(&str, Operation); 10] = [
    ("catalog", Operation::Catalog),
    ("provision", Operation::Provision),
    ("update", Operation::Update),
    ("deprovision", Operation::Deprovision),
    ("poll_instance", Operation::PollInstance),
    ("get_instance", Operation::GetInstance),
    ("bind", Operation::Bind),
    ("unbind", Operation::Unbind),
    ("poll_binding", Operation::PollBinding),
    ("get_binding", Operation::GetBinding),
];
const STATUSES: [u16; 24] = [
    200, 201, 202, 204, 299, 302, 304, 400, 401, 403, 404, 408, 409, 410, 412, 422, 429, 500, 502, 503, 504,
    599, 600, 999,
];
/// Stands in the corpus as what the broker was sent: in the header, and as a parameter from a Secret.
const PASSWORD: &str = "hunter2-hunter2";
const PARAMETER: &str = "zq7-parameter-from-a-secret";
/// Error code, description, and what we have to say.
const LONGEST: usize = 2048;
const LONGEST_DESCRIPTION: usize = 1024;

#[test]
fn every_answer_means_something_and_shows_what_can_be_shown() {
    harness::run(bolero::check!(), "answers", 500, change, check);
}

#[test]
fn every_error_says_why_in_words_that_can_be_shown() {
    harness::run(bolero::check!(), "errors", 500, change, check);
}

fn change(input: &[u8], random: &mut Random<'_>) -> Vec<u8> {
    let (mut operation, mut status, body) = parts(input).unwrap_or(("bind", 201, b"{}"));
    if random.once_in(4) {
        operation = OPERATIONS[random.below(OPERATIONS.len())].0;
    }
    if random.once_in(4) {
        status = STATUSES[random.below(STATUSES.len())];
    }
    let mut changed = format!("{operation} {status}\n").into_bytes();
    changed.extend(json::change(body, random));
    changed
}

fn parts(input: &[u8]) -> Option<(&str, u16, &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let (operation, status) = std::str::from_utf8(&input[..end]).ok()?.split_once(' ')?;
    Some((operation, status.parse().ok()?, &input[end + 1..]))
}

/// What the broker gave, as far as it is taken.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    pub operation: Option<String>,
    pub dashboard_url: Option<String>,
    pub credentials: Option<Value>,
    pub polled: Option<Polled>,
}

#[derive(Debug, PartialEq)]
pub enum Meaning {
    Answered(Taken),
    Refused(Refusal),
    Unknown(UnknownOutcome),
}

fn meaning<T>(outcome: Outcome<T>, taken: impl FnOnce(T) -> Taken) -> Meaning {
    match outcome {
        Outcome::Answered(answer) => Meaning::Answered(taken(answer)),
        Outcome::Refused(refusal) => Meaning::Refused(refusal),
        Outcome::Unknown(doubt) => Meaning::Unknown(doubt),
        Outcome::Unsent(unsent) => panic!("an answer to what was not sent: {unsent:?}"),
    }
}

pub fn understood(operation: Operation, response: &Response<'_>) -> Meaning {
    let nothing = Taken::default;
    let provisioned = |answer| match answer {
        Provisioned::Done { dashboard_url } => {
            Taken { dashboard_url: dashboard_url.and_then(Result::ok), ..nothing() }
        }
        Provisioned::Accepted { operation, dashboard_url } => {
            Taken { operation, dashboard_url: dashboard_url.and_then(Result::ok), ..nothing() }
        }
    };
    let deleted = |answer| match answer {
        Deleted::Done => nothing(),
        Deleted::Accepted { operation } => Taken { operation, ..nothing() },
    };
    let binding = |BindingAnswer { credentials, extras, .. }: BindingAnswer| {
        assert_eq!(extras.clone().shown(), (*extras, vec![]), "what is shown is short and printable");
        let credentials = credentials.map(|credentials| Value::Object(credentials.expose().clone()));
        Taken { credentials, ..nothing() }
    };
    let bound = |answer| match answer {
        Bound::Done(answer) => binding(answer),
        Bound::Accepted { operation } => Taken { operation, ..nothing() },
    };
    match operation {
        Operation::Catalog => meaning(classify::catalog(response, None::<()>), |answer| match answer {
            CatalogAnswer::Body(_) => nothing(),
            CatalogAnswer::Unchanged(()) => panic!("a catalog that nobody has"),
        }),
        Operation::Provision => meaning(classify::provision(response), provisioned),
        Operation::Update => meaning(classify::update(response), provisioned),
        Operation::Deprovision => meaning(classify::deprovision(response), deleted),
        Operation::Unbind => meaning(classify::unbind(response), deleted),
        Operation::PollInstance | Operation::PollBinding => {
            meaning(classify::poll(operation, response), |polled| Taken { polled: Some(polled), ..nothing() })
        }
        Operation::GetInstance => meaning(classify::get_instance(response), |answer| Taken {
            dashboard_url: answer.dashboard_url.and_then(Result::ok),
            ..nothing()
        }),
        Operation::Bind => meaning(classify::bind(response, true), bound),
        Operation::GetBinding => meaning(classify::get_binding(response), binding),
    }
}

fn check(input: &[u8]) -> Check {
    let Some((name, status, body)) = parts(input) else { return Ok(()) };
    let Some((_, operation)) = OPERATIONS.iter().find(|(known, _)| *known == name) else { return Ok(()) };
    if !(100..=999).contains(&status) {
        return Ok(());
    }
    let secrets = [Zeroizing::new(PASSWORD.to_owned())];
    let response = Response { secrets: &secrets, ..Response::new(status, body) };
    let meaning = understood(*operation, &response);
    promise!(meaning == understood(*operation, &response), "the same answer means two things");
    match &meaning {
        Meaning::Answered(answer) => answered(*operation, status, answer, body),
        Meaning::Refused(refusal) => {
            promise!(
                (300..=499).contains(&status) && refusal.status == status,
                "refused with {status}: {refusal:?}"
            );
            shown(status, &refusal.message.to_string(), body)
        }
        Meaning::Unknown(doubt) => {
            promise!(!(300..=499).contains(&status), "nobody knows, with {status}: {doubt:?}");
            let malformed_200 = status == 200;
            let mitigate = operation.creates() && !malformed_200;
            promise!(doubt.mitigate == mitigate, "mitigate: {} after {status}", doubt.mitigate);
            promise!(
                doubt.answered != matches!(status, 502 | 504),
                "answered: {} with {status}",
                doubt.answered
            );
            if status < 300 {
                let ours = doubt.message.to_string().len() < 160 && doubt.message.to_string().is_ascii();
                promise!(ours, "a success is quoted: {}", doubt.message);
            }
            shown(status, &doubt.message.to_string(), body)
        }
    }
}

/// What counts as an answer, and what is taken of it.
fn answered(operation: Operation, status: u16, taken: &Taken, body: &[u8]) -> Check {
    let foreseen: &[u16] = match operation {
        Operation::Provision | Operation::Bind => &[200, 201, 202],
        Operation::Update => &[200, 202],
        Operation::Deprovision | Operation::Unbind => &[200, 202, 410],
        Operation::PollInstance | Operation::PollBinding => &[200, 410],
        Operation::Catalog | Operation::GetInstance | Operation::GetBinding => &[200],
    };
    promise!(foreseen.contains(&status), "{operation:?} is answered with {status}");
    let document = serde_json::from_slice::<Value>(body).unwrap_or_default();
    if let Some(text) = &taken.operation {
        promise!(status == 202 && document["operation"] == **text, "another operation: {text:?}");
        let length = text.chars().count();
        promise!((1..=10_000).contains(&length), "an operation of {length} characters");
        promise!(text.len() <= 20_000, "an operation of {} bytes, which no URL can hold", text.len());
    }
    if let Some(url) = &taken.dashboard_url {
        promise!(url.len() <= 8192 && !url.contains(char::is_control), "no URL to be shown: {url:?}");
        let scheme = url.get(..5).unwrap_or_default().to_ascii_lowercase();
        promise!(scheme.starts_with("http"), "no page of the web: {url:?}");
        promise!(!url.is_empty() && document["dashboard_url"] == **url, "another dashboard: {url:?}");
    }
    if let Some(credentials) = &taken.credentials {
        promise!(status != 202 && document["credentials"] == *credentials, "other credentials");
    }
    if let Some(polled) = &taken.polled {
        let state = match polled.state {
            OperationState::InProgress => "in progress",
            OperationState::Succeeded => "succeeded",
            OperationState::Failed => "failed",
            OperationState::Gone => "",
        };
        promise!(status == 410 || document["state"] == state, "{state:?} of {}", document["state"]);
        promise!((status == 410) == state.is_empty(), "{state:?} with {status}");
        let description = polled.description.as_deref();
        let fit = description.is_none_or(|text| !text.is_empty() && is_shown(text, LONGEST_DESCRIPTION));
        promise!(fit, "not fit to be shown: {description:?}");
        return description.map_or(Ok(()), |description| confidential(description, body));
    }
    Ok(())
}

fn shown(status: u16, message: &str, body: &[u8]) -> Check {
    promise!(
        message.starts_with(&format!("the broker answered {status}")),
        "does not say what came: {message}"
    );
    promise!(is_shown(message, LONGEST), "not fit to be shown ({} bytes): {message:?}", message.len());
    confidential(message, body)
}

/// Nothing that the broker was sent in confidence is repeated, as a whole or, where our cut fell into it, in part.
fn confidential(message: &str, body: &[u8]) -> Check {
    // As it is shown: chance also puts what nobody sees amid a secret.
    let body = clip(&String::from_utf8_lossy(body), usize::MAX);
    let message = parameters().redact(message);
    for secret in [PASSWORD, PARAMETER] {
        promise!(!message.contains(secret), "{secret} is shown: {message}");
        let start = &secret[..9];
        // Where chance has cut it in the body, its beginning is no secret of ours.
        if body.matches(start).count() == body.matches(secret).count() {
            promise!(!message.contains(start), "the beginning of {secret} is shown: {message}");
        }
    }
    Ok(())
}

fn parameters() -> Parameters {
    let value = serde_json::json!({ "secret": [PARAMETER] }).to_string().into_bytes();
    let reference = SecretKeyReference { name: "s".to_owned(), key: "k".to_owned() };
    let source = Source { reference, value: SourceValue::of(value) };
    merge(None, &[source]).unwrap_or_default()
}
