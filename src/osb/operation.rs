//! The names of the requests. Pure.

/// The requests of OSB 2.17.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `GET /v2/catalog`
    Catalog,
    /// `PUT /v2/service_instances/:id`
    Provision,
    /// `PATCH /v2/service_instances/:id`
    Update,
    /// `DELETE /v2/service_instances/:id`
    Deprovision,
    /// `GET /v2/service_instances/:id/last_operation`
    PollInstance,
    /// `GET /v2/service_instances/:id`
    GetInstance,
    /// `PUT /v2/service_instances/:id/service_bindings/:id`
    Bind,
    /// `DELETE /v2/service_instances/:id/service_bindings/:id`
    Unbind,
    /// `GET /v2/service_instances/:id/service_bindings/:id/last_operation`
    PollBinding,
    /// `GET /v2/service_instances/:id/service_bindings/:id`
    GetBinding,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 10] = [
        Self::Catalog,
        Self::Provision,
        Self::Update,
        Self::Deprovision,
        Self::PollInstance,
        Self::GetInstance,
        Self::Bind,
        Self::Unbind,
        Self::PollBinding,
        Self::GetBinding,
    ];

    /// The HTTP method.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Provision | Self::Bind => "PUT",
            Self::Update => "PATCH",
            Self::Deprovision | Self::Unbind => "DELETE",
            Self::Catalog | Self::PollInstance | Self::GetInstance | Self::PollBinding | Self::GetBinding => {
                "GET"
            }
        }
    }

    /// The name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Provision => "provision",
            Self::Update => "update",
            Self::Deprovision => "deprovision",
            Self::PollInstance => "poll_instance",
            Self::GetInstance => "get_instance",
            Self::Bind => "bind",
            Self::Unbind => "unbind",
            Self::PollBinding => "poll_binding",
            Self::GetBinding => "get_binding",
        }
    }

    /// Whether the request creates something that the broker may keep although it failed ("Orphan
    /// Mitigation").
    #[must_use]
    pub fn creates(self) -> bool {
        matches!(self, Self::Provision | Self::Bind)
    }

    /// Whether an answer may hold credentials. Its body is not quoted then, whatever the status is.
    pub(crate) fn is_confidential(self) -> bool {
        matches!(self, Self::Bind | Self::GetBinding)
    }
}
