//! The admission policies: what the original's webhook server did, as documents that the API server itself evaluates.
//!
//! They are generated from the types of [`crd`]. A policy that must know whether the spec was edited walks
//! the schema, so a field that is added to a type is in the policy as well, without anybody remembering it.
//!
//! | policy | what the API server does with it |
//! | --- | --- |
//! | `finalizer` | puts the finalizer into the user's own CREATE, which saves the operator a write per object |
//! | `…-user` | records who asked in `spec.userInfo`, whatever the request says there |
//! | `servicebinding-secret-name` | fills in `secretName` |
//! | `servicebinding-spec` | puts the spec of a binding back: it is for good |
//! | `…-owner` | puts back to which broker and class a class or plan belongs |
//! | `…-requests` | keeps `relistRequests` and `updateRequests` where a Go client sends its zero value |
//! | `…-newer-fields`, `…-dropped-fields` | keep what clients of the original do not know |
//! | `…-forged-user` | refuses a `spec.userInfo` that is not the requesting user |
//! | `servicebinding-immutable` | refuses another spec of a binding |
//! | `serviceinstance-turns` | refuses an edit while one by another user waits for the broker |
//! | `…-secrets` | refuses to name a Secret that the requesting user may not read |
//!
//! The first six are `MutatingAdmissionPolicy` (served as v1 from Kubernetes 1.36), the others
//! `ValidatingAdmissionPolicy`. `…-forged-user` and `…-immutable` can never fail where `…-user` and `…-spec` run before
//! them; on a cluster without mutating policies they are what makes `spec.userInfo` trustworthy and a binding what it
//! was.
//!
//! Every policy fails closed. So that none can ever stand in the way of the operator, which only adds and removes the
//! finalizer, an UPDATE that leaves the spec as it was matches no policy at all; and `status` is a resource of its own
//! that none of them names.

mod cel;
mod mutating;
mod newer;
mod turns;
mod validating;

use serde_json::{Value, json};

pub use self::newer::keeping;
use crate::crd;

/// One policy and the binding that puts it into force.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What the policy is about; with the API group behind it, the name of both objects.
    pub topic: String,
    /// The policy, then its binding.
    pub documents: [Value; 2],
}

/// All policies, each with its binding.
#[must_use]
pub fn policies() -> Vec<Policy> {
    let mut policies = mutating::all();
    policies.extend(validating::all());
    policies.extend(newer::all());
    policies.extend(turns::all());
    policies
}

/// All policies and bindings as documents of `admissionregistration.k8s.io/v1`.
#[must_use]
pub fn all() -> Vec<Value> {
    policies().into_iter().flat_map(|policy| policy.documents).collect()
}

/// An expression with the name that the API server reports it under, or that others refer to it by.
type Named = (String, String);

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

fn named(expressions: &[Named]) -> Value {
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

    /// What goes must not be kept by a rule of ours, and who deletes is nobody's business to record.
    #[test]
    fn no_policy_is_asked_about_a_deletion() {
        for Policy { documents, topic } in policies() {
            for rule in documents[0]["spec"]["matchConstraints"]["resourceRules"].as_array().expect("rules") {
                let operations = rule["operations"].as_array().expect("operations");
                let known = operations.iter().all(|operation| operation == "CREATE" || operation == "UPDATE");
                assert!(known && !operations.is_empty(), "{topic}: {rule}");
            }
        }
    }

    /// A finalizer patch, the one write of the operator to the main resource, must reach no policy.
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
