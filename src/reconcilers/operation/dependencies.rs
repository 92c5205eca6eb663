//! What does every operation depend on, outside the object itself?

use crate::reconcilers::{
    parameters::{Parameters, ParametersError},
    references::replaced::Replacement,
};

/// State outside an object that every operation depends on.
#[derive(Clone)]
pub struct CommonDependencies {
    /// The parameters, or `None` while they are not read.
    pub parameters: Option<Result<Parameters, ParametersError>>,
    /// Whether the object of the broker of the last request exists, or another one replaces it.
    pub recorded_broker_exists: bool,
    /// The class and plan of the broker object that replaces the recorded one, if one does.
    pub replacement: Replacement,
    /// The uid of the namespace, or `None` while the cache does not have it.
    pub namespace_uid: Option<String>,
    /// The id of this cluster.
    pub cluster_id: String,
    /// Why the operator cannot send a request to the broker, as far as it can tell without one. It is
    /// determined only when there is a request to send.
    pub precondition_error: Option<String>,
    /// The id, if another object has it.
    pub taken_id: Option<TakenId>,
}

/// An id that another object has.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenId {
    /// The id, in normal form.
    pub id: String,
    /// The name of the object that has it, if that is in the same namespace. Of other namespaces a user
    /// learns nothing.
    pub by: Option<String>,
}

/// State outside an object of one kind.
pub trait OperationDependencies: Send + Sync {
    /// The part that both kinds have.
    fn common(&self) -> &CommonDependencies;
    /// How long an operation may be polled, in seconds, if the plan says so.
    fn maximum_polling_duration(&self) -> Option<i64>;
}
