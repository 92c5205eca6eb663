//! The policy that lets a user order only plans that this user has the verb `use` for. It is not part of the
//! installation: an administrator adds it (`config/restricted-plans`).
//!
//! A spec can name its class and plan in several ways, and only the operator knows which object a name of the
//! catalog means. So a user with the right for single classes or plans names them by the names of their
//! objects, which are also the names in rules of RBAC. A user with the right for all plans names them as before.

use serde_json::json;

use super::{Policy, cel, validating::policy};
use crate::crd::{
    GROUP,
    instance::{CLASS_FIELDS, PLAN_FIELDS},
};

const PLURAL: &str = "serviceinstances";

pub(super) fn all() -> Vec<Policy> {
    let fields = CLASS_FIELDS.iter().chain(&PLAN_FIELDS).map(|name| cel::spec_field(PLURAL, name));
    let changed = cel::any(
        std::iter::once("request.operation == 'CREATE'".to_owned())
            .chain(fields.map(|field| field.changed())),
    );
    let named = |name: &str, expression: String| (name.to_owned(), expression);
    // A variable for each check: the cost of an expression allows only two.
    let may_use = |entries: &str, which: &str| {
        let group = cel::text(GROUP);
        format!(
            "authorizer.group({group}).resource(variables.{entries}).namespace(request.namespace){which}.check('use').allowed()"
        )
    };
    vec![policy(
        "serviceinstance-plan-use",
        PLURAL,
        &["CREATE", "UPDATE"],
        &[named("names-another-plan", format!("has(object.spec) && (\n{changed})"))],
        &[
            named("is_of_cluster", given(CLASS_FIELDS.iter().filter(|name| name.starts_with("cluster")))),
            named("class", object_name("clusterServiceClassName", "serviceClassName")),
            named("plan", object_name("clusterServicePlanName", "servicePlanName")),
            named("classes", "(variables.is_of_cluster ? 'clusterserviceclasses' : 'serviceclasses')".into()),
            named("plans", "(variables.is_of_cluster ? 'clusterserviceplans' : 'serviceplans')".into()),
            named("uses_all", may_use("plans", "")),
            named(
                "uses_plan",
                format!("variables.plan != '' && {}", may_use("plans", ".name(variables.plan)")),
            ),
            named(
                "uses_class",
                format!("variables.class != '' && {}", may_use("classes", ".name(variables.class)")),
            ),
        ],
        &[json!({
            "expression": "variables.uses_all || variables.uses_plan || variables.uses_class",
            "messageExpression":
                "'user \"' + request.userInfo.username + '\" may not use this plan in namespace \"' + request.namespace + \
                 '\": name the class and the plan by the names of their objects (' + \
                 (variables.is_of_cluster\n\
                 ? 'spec.clusterServiceClassName, spec.clusterServicePlanName'\n\
                 : 'spec.serviceClassName, spec.servicePlanName') + \
                 '), and choose one that this user has the verb \"use\" for'",
            "message": "the requesting user may not use this plan",
            "reason": "Forbidden",
        })],
    )]
}

/// CEL: whether one of these fields is given.
fn given<'a>(fields: impl Iterator<Item = &'a &'static str>) -> String {
    cel::any(fields.map(|name| format!("({})", cel::spec_field(PLURAL, name).is_given())))
}

/// CEL: the name of an object in one of these two fields, or the empty string. The rules of the definition
/// allow only one field for the class and one for the plan.
fn object_name(of_cluster: &str, of_namespace: &str) -> String {
    let [of_cluster, of_namespace] =
        [of_cluster, of_namespace].map(|name| cel::spec_field(PLURAL, name).of("object"));
    format!("string({of_cluster} != '' ? {of_cluster} : {of_namespace})")
}
