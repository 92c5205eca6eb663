//! The admission policies. They replace the webhook server of v0.3: the API server itself evaluates them.
//!
//! They are generated from the types of [`crd`]. Policies that compare specs read the fields from the schema,
//! so they cover a new field of a type as well.
//!
//! | policy | what it does |
//! | --- | --- |
//! | `finalizer` | adds the finalizer to the CREATE of the user, which saves the operator a write for each object |
//! | `…-user` | sets `spec.userInfo` to the requesting user, whatever the request has there |
//! | `servicebinding-secret-name` | sets an empty `secretName` to the name of the binding |
//! | `servicebinding-spec` | restores the spec of a binding, because it is immutable |
//! | `…-owner` | restores the names of the broker and the class in a class or plan |
//! | `…-requests` | keeps `relistRequests` and `updateRequests` if a Go client sends the zero value |
//! | `…-newer-fields`, `…-dropped-fields` | keep fields that clients of v0.3 do not know |
//! | `…-forged-user` | refuses a `spec.userInfo` that is not the requesting user |
//! | `servicebinding-immutable` | refuses a change of the spec of a binding |
//! | `serviceinstance-one-editor-at-a-time` | refuses an edit while an edit by another user waits for the broker |
//! | `…-secrets` | refuses a spec that names a Secret which the requesting user may not read |
//!
//! The first six and `…-newer-fields` are `MutatingAdmissionPolicy` (served as v1 from Kubernetes 1.36), the
//! others `ValidatingAdmissionPolicy`. `…-forged-user` and `…-immutable` never fail where `…-user` and
//! `…-spec` run before them. They are for clusters without mutating policies: there they protect
//! `spec.userInfo` and the spec of a binding.
//!
//! Every policy fails closed. No policy can block the operator, which only adds and removes the finalizer: an
//! UPDATE that does not change the spec matches no policy, and no policy names the resource `status`.

mod cel;
mod mutating;
mod newer_fields;
mod one_editor_at_a_time;
mod validating;

use serde_json::{Value, json};

pub use self::newer_fields::keeping;
use crate::crd;

/// A policy and its binding.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The topic of the policy. Followed by the API group, it is the name of both objects.
    pub topic: String,
    /// The policy and its binding, in this order.
    pub documents: [Value; 2],
}

/// All policies, each with its binding.
#[must_use]
pub fn policies() -> Vec<Policy> {
    let mut policies = mutating::all();
    policies.extend(validating::all());
    policies.extend(newer_fields::all());
    policies.extend(one_editor_at_a_time::all());
    policies
}

/// All policies and bindings as documents of `admissionregistration.k8s.io/v1`.
#[must_use]
pub fn all() -> Vec<Value> {
    policies().into_iter().flat_map(|policy| policy.documents).collect()
}

/// The name of an expression and the expression.
type NamedExpression = (String, String);

fn name(topic: &str) -> String {
    format!("{topic}.{}", crd::GROUP)
}

fn match_constraints(resources: &[&str], operations: &[&str]) -> Value {
    json!({"resourceRules": [{
        "apiGroups": [crd::GROUP],
        "apiVersions": [crd::VERSION],
        "resources": resources,
        "operations": operations,
        "scope": "*",
    }]})
}

fn named(expressions: &[NamedExpression]) -> Value {
    expressions.iter().map(|(name, expression)| json!({"name": name, "expression": expression})).collect()
}

fn document(kind: &str, topic: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name(topic)},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn policy(topic: &str) -> Value {
        let found = policies().into_iter().find(|policy| policy.topic == topic);
        let [policy, _] = found.expect("there is such a policy").documents;
        policy
    }

    #[test]
    fn names_are_unique_per_kind_and_bindings_name_their_policy() {
        let mut seen = BTreeSet::new();
        for Policy { documents, .. } in policies() {
            let [policy, binding] = documents;
            assert!(seen.insert(policy["metadata"]["name"].to_string()));
            assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
            assert_eq!(binding["kind"], format!("{}Binding", policy["kind"].as_str().expect("kind")));
        }
    }

    // v0.3 F15
    #[test]
    fn every_policy_fails_closed_and_matches_main_resources_only() {
        for Policy { documents, topic } in policies() {
            let spec = &documents[0]["spec"];
            assert_eq!(spec["failurePolicy"], "Fail", "{topic}");
            for resource in
                spec["matchConstraints"]["resourceRules"][0]["resources"].as_array().expect("resources")
            {
                let resource = resource.as_str().expect("a string");
                assert!(
                    crd::all().iter().any(|crd| crd.spec.names.plural == resource),
                    "{topic}: {resource}"
                );
            }
        }
    }

    /// A policy must not block a deletion, and no policy records the user who deletes.
    // v0.3 F14
    #[test]
    fn no_policy_matches_a_deletion() {
        for Policy { documents, topic } in policies() {
            for rule in documents[0]["spec"]["matchConstraints"]["resourceRules"].as_array().expect("rules") {
                let operations = rule["operations"].as_array().expect("operations");
                let known = operations.iter().all(|operation| operation == "CREATE" || operation == "UPDATE");
                assert!(known && !operations.is_empty(), "{topic}: {rule}");
            }
        }
    }

    /// The operator writes only finalizers to the main resource. No policy may match such a write.
    // v0.3 Q5
    #[test]
    fn an_update_that_leaves_the_spec_alone_matches_nothing() {
        for Policy { documents, topic } in policies() {
            let spec = &documents[0]["spec"];
            let operations = &spec["matchConstraints"]["resourceRules"][0]["operations"];
            if operations == &json!(["CREATE"]) {
                continue;
            }
            let conditions = spec["matchConditions"].as_array().expect(&topic);
            assert!(
                conditions.iter().any(|condition| condition["expression"]
                    .as_str()
                    .expect("an expression")
                    .contains("oldObject.spec")),
                "{topic}"
            );
        }
    }

    #[test]
    fn the_user_policies_know_every_field_of_the_instance_spec() {
        let definitions = crd::all();
        let instance =
            definitions.iter().find(|crd| crd.spec.names.kind == "ServiceInstance").expect("defined");
        let schema = instance.spec.versions[0].schema.as_ref().expect("a schema");
        let spec = &schema
            .open_api_v3_schema
            .as_ref()
            .expect("a schema")
            .properties
            .as_ref()
            .expect("properties")["spec"];
        for topic in ["serviceinstance-user", "serviceinstance-forged-user"] {
            let text = policy(topic)["spec"]["variables"].to_string();
            for field in spec.properties.as_ref().expect("fields").keys() {
                let known = text.contains(&format!("object.spec.{field})"));
                assert_eq!(known, field != "userInfo", "{topic}: {field}");
            }
        }
    }

    // v0.3 Q5
    #[test]
    fn a_broker_that_is_given_another_address_is_checked_but_not_one_that_is_synced() {
        for topic in ["clusterservicebroker-secrets", "servicebroker-secrets"] {
            let conditions = policy(topic)["spec"]["matchConditions"].to_string();
            for field in ["url", "insecureSkipTLSVerify", "caBundle", "authInfo"] {
                assert!(conditions.contains(&format!("object.spec.{field})")), "{topic}: {field}");
            }
            assert!(!conditions.contains("relist"), "{topic}");
        }
    }

    #[test]
    fn parentheses_and_brackets_balance() {
        fn check(value: &Value) {
            match value {
                Value::String(text) => {
                    for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
                        assert_eq!(text.matches(open).count(), text.matches(close).count(), "{text}");
                    }
                }
                Value::Array(values) => values.iter().for_each(check),
                Value::Object(values) => values.values().for_each(check),
                _ => {}
            }
        }
        all().iter().for_each(check);
    }
}
