//! Which errors of the API server are rejections, which a retry does not help? All functions are pure.

use crate::{kube_api, printable::clip};

/// How many rejections a message names, and how many bytes of the API server's text it quotes for each.
const MAX_NAMED: usize = 5;
const QUOTE_LIMIT: usize = 512;

/// A write that the API server rejects, so that a retry does not help, or that would change an object of
/// another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedWrite {
    /// A sentence for the user.
    pub message: String,
}

impl RejectedWrite {
    /// Combines several rejections into one. The result does not depend on their order. Otherwise the status
    /// would change without a reason.
    #[must_use]
    pub fn all(mut refused: Vec<Self>) -> Option<Self> {
        refused.sort_unstable_by(|one, other| one.message.cmp(&other.message));
        let more = refused.len().saturating_sub(MAX_NAMED);
        let named: Vec<_> = refused.into_iter().take(MAX_NAMED).map(|refused| refused.message).collect();
        let message = match (named.is_empty(), more) {
            (true, _) => return None,
            (false, 0) => named.join("; "),
            (false, more) => format!("{}; and {more} more", named.join("; ")),
        };
        Some(Self { message })
    }

    /// The rejection for an error. `None` if a retry may help.
    fn of(error: &kube_api::Error) -> Option<Self> {
        let (kube_api::Error::Api { action, .. }, Some(status)) = (error, error.status()) else {
            return None;
        };
        error
            .is_rejection()
            .then(|| Self { message: format!("cannot {action}: {}", clip(&status.message, QUOTE_LIMIT)) })
    }
}

/// Turns the errors that are rejections into a result.
pub(super) fn or_rejected<T>(
    result: Result<T, kube_api::Error>,
) -> Result<Option<RejectedWrite>, kube_api::Error> {
    match result {
        Ok(_) => Ok(None),
        Err(error) => RejectedWrite::of(&error).map(Some).ok_or(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_one_order_and_counted() {
        let refused = |names: &[&str]| {
            RejectedWrite::all(
                names.iter().map(|name| RejectedWrite { message: (*name).to_owned() }).collect(),
            )
        };
        let message = |names: &[&str]| refused(names).map(|refused| refused.message);
        assert_eq!(message(&[]), None);
        assert_eq!(message(&["b", "a"]).as_deref(), Some("a; b"));
        assert_eq!(
            message(&["g", "f", "e", "d", "c", "b", "a"]).as_deref(),
            Some("a; b; c; d; e; and 2 more")
        );
    }

    #[test]
    fn an_error_that_another_try_may_mend_is_no_refusal() {
        let answer = |code: u16| {
            let status =
                kube::core::Status { code, message: "x".repeat(1000), ..kube::core::Status::default() };
            let cause = Box::new(kube::Error::Api(Box::new(status)));
            or_rejected::<()>(Err(kube_api::Error::Api { action: "create Kind a/b".to_owned(), cause }))
        };
        for code in [400, 403, 413, 422] {
            let message = answer(code).unwrap().unwrap().message;
            assert!(message.starts_with("cannot create Kind a/b: xxx") && message.len() < 600, "{message}");
        }
        for code in [401, 404, 409, 429, 500, 503, 504] {
            assert!(answer(code).is_err(), "{code}");
        }
    }
}
