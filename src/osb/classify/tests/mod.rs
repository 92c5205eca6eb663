//! What the answers of a broker mean, for every operation. This file makes the answers and compares the
//! outcomes.

mod bodies;
mod refusals;
mod rows;

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::osb::{Refusal, RefusalReason};

const ALL: [Operation; 10] = [
    Operation::Catalog,
    Operation::Provision,
    Operation::Update,
    Operation::Deprovision,
    Operation::PollInstance,
    Operation::GetInstance,
    Operation::Bind,
    Operation::Unbind,
    Operation::PollBinding,
    Operation::GetBinding,
];
const CREATING: [Operation; 2] = [Operation::Provision, Operation::Bind];
const DELETING: [Operation; 2] = [Operation::Deprovision, Operation::Unbind];
const POLLING: [Operation; 2] = [Operation::PollInstance, Operation::PollBinding];
const MALFORMED: [&[u8]; 9] =
    [b"", b"null", b"[]", b"\"x\"", b"7", b"{\"a\":", b"<html></html>", b"\xff\xfe{}", b"{\"a\":1e999}"];

/// An outcome without the content of the answer, so that it can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Answered,
    Refused(Refusal),
    Unsent,
    Unknown(UnknownOutcome),
}

fn kind<T>(outcome: Outcome<T>) -> Kind {
    match outcome {
        Outcome::Answered(_) => Kind::Answered,
        Outcome::Refused(refusal) => Kind::Refused(refusal),
        Outcome::Unsent(_) => Kind::Unsent,
        Outcome::Unknown(unknown) => Kind::Unknown(unknown),
    }
}

fn ask(operation: Operation, response: &Response<'_>) -> Kind {
    match operation {
        Operation::Catalog => kind(catalog(response, None::<()>)),
        Operation::Provision => kind(provision(response)),
        Operation::Update => kind(update(response)),
        Operation::Deprovision => kind(deprovision(response)),
        Operation::Unbind => kind(unbind(response)),
        Operation::PollInstance | Operation::PollBinding => kind(poll(operation, response)),
        Operation::GetInstance => kind(get_instance(response)),
        Operation::Bind => kind(bind(response, true)),
        Operation::GetBinding => kind(get_binding(response)),
    }
}

fn answer(operation: Operation, status: u16, body: &[u8]) -> Kind {
    ask(operation, &Response::new(status, body))
}

fn valid_body(operation: Operation) -> &'static [u8] {
    if POLLING.contains(&operation) { br#"{"state":"in progress"}"# } else { b"{}" }
}

#[track_caller]
fn unknown(kind: Kind) -> UnknownOutcome {
    let Kind::Unknown(unknown) = kind else { panic!("not unknown: {kind:?}") };
    unknown
}

#[track_caller]
fn refusal(kind: Kind) -> Refusal {
    let Kind::Refused(refusal) = kind else { panic!("not refused: {kind:?}") };
    refusal
}

#[track_caller]
fn answered<T>(outcome: Outcome<T>) -> T {
    let Outcome::Answered(answer) = outcome else { panic!("not answered: {:?}", kind(outcome)) };
    answer
}
