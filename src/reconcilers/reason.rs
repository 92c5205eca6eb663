//! Which reasons do conditions and Events have? The list is closed, and the names are those of v0.3 where
//! v0.3 has one.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The reason of a condition or an Event. The name of a variant is the name in the API.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(
            missing_docs,
            reason = "the names are those of v0.3 and say what they mean; the doubtful ones are documented"
        )]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// The reason as a condition has it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    // Brokers
    FetchedCatalog,
    ErrorFetchingCatalog,
    ErrorSyncingCatalog,
    /// The broker object is being deleted, but instances still need it.
    DeletionBlockedByExistingInstances,

    // Instances
    ProvisionedSuccessfully,
    InstanceUpdatedSuccessfully,
    Provisioning,
    UpdatingInstance,
    Deprovisioning,
    ProvisionRequestInFlight,
    UpdateInstanceRequestInFlight,
    DeprovisionRequestInFlight,
    ProvisionCallFailed,
    /// The operator could not reach the broker.
    ErrorCallingProvision,
    /// The broker refused a provision, and the operator does not try again.
    ClusterServiceBrokerReturnedFailure,
    UpdateInstanceCallFailed,
    ErrorCallingUpdateInstance,
    DeprovisionCallFailed,
    DeprovisionedSuccessfully,
    DeprovisionBlockedByExistingCredentials,
    /// The operator deletes the bindings of an instance that is being deleted.
    ServiceBindingsDeletion,
    StartingInstanceOrphanMitigation,
    ReferencesDeletedServiceClass,
    ReferencesDeletedServicePlan,
    /// Another object has the same id at the same broker.
    ExternalIDInUse,
    /// The spec changes the plan, but the current plan does not allow that.
    PlanNotUpdatable,
    /// The plan does not have the maintenance version that the spec asks for.
    MaintenanceVersionNotOffered,

    // Bindings
    InjectedBindResult,
    Binding,
    Unbinding,
    BindingRequestInFlight,
    UnbindingRequestInFlight,
    BindCallFailed,
    ServiceBindingReturnedFailure,
    UnbindCallFailed,
    UnboundSuccessfully,
    ErrorInjectingBindResult,
    FetchingBindingFailed,
    ErrorNonbindableServiceClass,
    /// Somebody has changed the credentials in the Secret.
    CredentialsEdited,
    /// The credentials have expired.
    CredentialsExpired,
    /// The credentials in the Secret are new, and the previous ones stay valid for a while.
    CredentialsRenewed,
    /// The credentials are valid, and the operator has not been able to renew them yet.
    CredentialsRenewalFailed,
    /// The broker wants the credentials to be renewed.
    CredentialsToBeRenewed,
    ErrorInstanceRefsUnresolved,
    ErrorInstanceNotReady,
    ReferencesNonexistentInstance,
    ErrorAsyncOperationInProgress,
    ServiceBindingNeedsOrphanMitigation,

    // All
    /// The object has what the operator cannot read.
    Unreadable,

    // Both
    /// `spec.deletionPolicy` is `Prevent`, and the object is being deleted.
    DeletionPrevented,
    /// `spec.deletionPolicy` is `Retain`: the object goes, and what the broker has stays.
    Retained,
    /// A person has removed the finalizer.
    Abandoned,
    /// The object was restored from another cluster.
    RestoredFromAnotherCluster,
    /// The operator cannot send requests to the broker because its Secret is missing, or because its object
    /// is invalid.
    ErrorGettingAuthCredentials,
    OrphanMitigationSuccessful,
    OrphanMitigationFailed,
    ErrorPollingLastOperation,
    ErrorReconciliationRetryTimeout,
    ReferencesNonexistentServiceClass,
    ReferencesNonexistentServicePlan,
    ReferencesNonexistentBroker,
    ErrorWithParameters,
    /// The request is not sent yet, because the broker has not answered others.
    WaitingForTurn,
    ErrorFindingNamespaceForInstance,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
