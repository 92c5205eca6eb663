//! The reasons of conditions and Events: a closed list, spelled as in v0.3 where it has one.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A reason. Its name in code is its name on the wire.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(
            missing_docs,
            reason = "the names are those of v0.3 and say what they mean; the doubtful ones are documented"
        )]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// The reason as it stands in a condition.
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
    /// The broker is to be deleted but instances still need it.
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
    /// No answer: the broker could not be reached.
    ErrorCallingProvision,
    /// The broker refused a provision for good.
    ClusterServiceBrokerReturnedFailure,
    UpdateInstanceCallFailed,
    ErrorCallingUpdateInstance,
    DeprovisionCallFailed,
    DeprovisionBlockedByExistingCredentials,
    /// The bindings of an instance that is being deleted are deleted first.
    ServiceBindingsDeletion,
    StartingInstanceOrphanMitigation,
    ReferencesDeletedServiceClass,
    ReferencesDeletedServicePlan,
    /// Another object has the same id at the same broker.
    ExternalIDInUse,
    /// The plan was changed, but the plan that the instance has does not allow that.
    PlanNotUpdatable,
    /// The version that is asked for is not the one that the plan has.
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
    ErrorInjectingBindResult,
    FetchingBindingFailed,
    ErrorNonbindableServiceClass,
    /// The time is over for which the broker gave the credentials.
    CredentialsExpired,
    /// The time has come by which the broker wants the credentials renewed.
    CredentialsToBeRenewed,
    ErrorInstanceRefsUnresolved,
    ErrorInstanceNotReady,
    ReferencesNonexistentInstance,
    ErrorAsyncOperationInProgress,
    ServiceBindingNeedsOrphanMitigation,

    // Both
    /// The broker cannot be asked for want of its Secret, or because of what its object says.
    ErrorGettingAuthCredentials,
    OrphanMitigationSuccessful,
    OrphanMitigationFailed,
    ErrorPollingLastOperation,
    ErrorReconciliationRetryTimeout,
    ReferencesNonexistentServiceClass,
    ReferencesNonexistentServicePlan,
    ReferencesNonexistentBroker,
    ErrorWithParameters,
    ErrorFindingNamespaceForInstance,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
