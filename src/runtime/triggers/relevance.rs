//! Which changes of a class or a plan matter to others: to the instances and bindings that name it. Pure.
//!
//! A broker may change a description with every catalog, and each change would make all instances of the class that
//! wait for something read their Secrets again. The functions name all fields, so that nobody adds one without a
//! decision.

use crate::{
    caches::kind::Change,
    crd::{
        class::CommonServiceClassSpec,
        plan::CommonServicePlanSpec,
        scope::{CatalogObject, ClassObject, PlanObject},
    },
};

/// Whether a change of a class matters to instances and bindings.
pub(super) fn class_matters<C: ClassObject>(change: &Change<C>) -> bool {
    matters(change, |before, after| is_same_class(before.common(), after.common()))
}

/// Whether a change of a plan matters to instances and bindings.
pub(super) fn plan_matters<P: PlanObject>(change: &Change<P>) -> bool {
    matters(change, |before, after| {
        before.class_name() == after.class_name() && is_same_plan(before.common(), after.common())
    })
}

/// Whether it is another object than before, or one in which something differs that others use.
fn matters<E: CatalogObject>(change: &Change<E>, is_same_spec: impl Fn(&E, &E) -> bool) -> bool {
    let (Some(before), Some(after), None) = (change.before(), change.after(), change.added()) else {
        return true;
    };
    before.meta().deletion_timestamp != after.meta().deletion_timestamp
        || before.is_removed() != after.is_removed()
        || before.broker_name() != after.broker_name()
        || !is_same_spec(&before, &after)
}

fn is_same_class(before: &CommonServiceClassSpec, after: &CommonServiceClassSpec) -> bool {
    let CommonServiceClassSpec {
        external_name,
        external_id,
        bindable,
        binding_retrievable,
        instance_retrievable,
        plan_updatable,
        allow_context_updates,
        default_provision_parameters,
        defects,
        // For people.
        description: _,
        external_metadata: _,
        tags: _,
        requires: _,
    } = before;
    *external_name == after.external_name
        && *external_id == after.external_id
        && *bindable == after.bindable
        && *binding_retrievable == after.binding_retrievable
        && *instance_retrievable == after.instance_retrievable
        && *plan_updatable == after.plan_updatable
        && *allow_context_updates == after.allow_context_updates
        && *default_provision_parameters == after.default_provision_parameters
        && *defects == after.defects
}

fn is_same_plan(before: &CommonServicePlanSpec, after: &CommonServicePlanSpec) -> bool {
    let CommonServicePlanSpec {
        external_name,
        external_id,
        bindable,
        plan_updatable,
        maximum_polling_duration,
        maintenance_info,
        default_provision_parameters,
        instance_create_parameter_schema,
        instance_update_parameter_schema,
        service_binding_create_parameter_schema,
        defects,
        // Read when a binding is renewed.
        binding_rotatable: _,
        // For people.
        description: _,
        free: _,
        external_metadata: _,
    } = before;
    *external_name == after.external_name
        && *external_id == after.external_id
        && *bindable == after.bindable
        && *plan_updatable == after.plan_updatable
        && *maximum_polling_duration == after.maximum_polling_duration
        && *maintenance_info == after.maintenance_info
        && *default_provision_parameters == after.default_provision_parameters
        && *instance_create_parameter_schema == after.instance_create_parameter_schema
        && *instance_update_parameter_schema == after.instance_update_parameter_schema
        && *service_binding_create_parameter_schema == after.service_binding_create_parameter_schema
        && *defects == after.defects
}
