//! An operator that is there before what it works with.

use std::{cell::Cell, time::Duration};

use testkit::{
    control_plane::{ControlPlane, audit::AuditEvent},
    stage::{
        WITH_POLICIES,
        install::{install, kubectl},
        operator::{Operator, USER},
    },
};

use super::OPERATOR;

const PATIENCE: Duration = Duration::from_secs(30);

/// The original ended after three minutes without its definitions, and did not look for one of them that went later.
// v0.3 M2, M3
#[tokio::test]
async fn an_operator_that_lacks_one_kind_is_not_ready_until_it_is_there() {
    let plane = ControlPlane::shared().await.unwrap();
    install(plane, WITH_POLICIES).await.unwrap();
    kubectl(plane, &["delete", "crd", "servicebindings.servicecatalog.k8s.io"]).await.unwrap();
    let operator = Operator::idle(OPERATOR, plane, &[]);
    let is_there = Cell::new(false);
    let ready = async {
        operator.begin().await.unwrap();
        assert!(is_there.get(), "it is ready, and knows of no bindings");
    };
    let comes = async {
        let in_vain = |event: &AuditEvent| {
            event.user == USER && event.resource == "servicebindings" && event.code == 404
        };
        plane.audit_of(PATIENCE, in_vain).await.unwrap();
        is_there.set(true);
        install(plane, WITH_POLICIES).await.unwrap();
    };
    tokio::join!(ready, comes);
}
