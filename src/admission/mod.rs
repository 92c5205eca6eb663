//! The admission policies. They replace the webhook server of v0.3: the API server itself evaluates them.
//!
//! They are generated from the types of [`crd`]. Policies that compare specs read the fields from the schema,
//! so they cover a new field of a type as well.
//!
//! | policy | what it does |
//! | --- | --- |
//! | `finalizer` | adds the finalizer to the CREATE of the user, which saves the operator a write for each object |
//! | `…-user` | sets `spec.userInfo` to the requesting user, and ignores the value in the request |
//! | `servicebinding-secret-name` | sets an empty `secretName` to the name of the binding |
//! | `servicebinding-spec` | restores the spec of a binding, because all of it but `deletionPolicy`, `pods`, `rotation` and `secret` is immutable |
//! | `…-owner` | restores the names of the broker and the class in a class or plan |
//! | `…-requests` | keeps `relistRequests` and `updateRequests` if a Go client sends the zero value |
//! | `…-newer-fields`, `…-dropped-fields` | keep fields that clients of v0.3 do not know |
//! | `…-operator-fields` | puts back what the operator has written: ids, references, the intent |
//! | `kept-finalizer` | puts back the finalizer if a manifest replaces the object |
//! | `…-operator-only` | refuses other ids, references and intents, a restored object without the verb `restore`, and an id that a user gave without the verb `adopt` |
//! | `…-forged-user` | refuses a `spec.userInfo` that is not the requesting user |
//! | `servicebinding-immutable` | refuses a change of the spec of a binding |
//! | `serviceinstance-one-editor-at-a-time` | refuses an edit while an edit by another user waits for the broker |
//! | `…-secrets` | refuses a spec that names a Secret which the requesting user may not read |
//! | `…-address` | refuses another address of a broker from a user who may not read the Secrets that could be sent there |
//! | `…-prevented-deletion` | refuses the deletion of an object whose `deletionPolicy` is `Prevent` |
//! | `servicebinding-secret-creation` | refuses a binding of a user who may not create Secrets |
//! | `servicebinding-pods` | refuses `spec.pods` of a user who may not create pods, or not restart them |
//! | `pod-injection` | gives pods the credentials of the bindings that name them |
//!
//! The first six, `…-newer-fields`, `…-operator-fields`, `kept-finalizer` and `pod-injection` are `MutatingAdmissionPolicy`
//! (served as v1 from Kubernetes 1.36), the others `ValidatingAdmissionPolicy`. `…-forged-user` and
//! `…-immutable` never fail where `…-user` and `…-spec` run before them. They are for clusters without mutating
//! policies: there they protect `spec.userInfo` and the spec of a binding.
//!
//! [`restricted_plans`] is one more, which an administrator adds: a user orders only plans that this user has the
//! verb `use` for.
//!
//! Every policy fails closed, except for `pod-injection`, which must not keep pods from being created. No policy can block the operator: those that match an UPDATE of an instance or a
//! binding leave its account alone, and no policy names the resource `status`. So a patch of the operator
//! costs no more than a patch of the status, and `spec.userInfo` does not name the operator.
//!
//! An UPDATE by a user that changes neither the spec nor one of the annotations of the operator matches no
//! policy.

mod broker_address;
mod cel;
mod injection;
mod mutating;
mod newer_fields;
mod one_editor_at_a_time;
mod operator_fields;
mod plan_use;
mod validating;

use serde_json::{Value, json};

pub use self::newer_fields::keeping;
use crate::crd;

/// The account of the operator in `config/`, as the API server names it in requests.
pub const OPERATOR: &str = "system:serviceaccount:service-catalog:service-catalog";

/// The label of the policies that leave the account of the operator alone. `config/operator-account` finds
/// them by it.
const LABEL: (&str, &str) = ("servicecatalog.k8s.io/leaves-alone", "operator");

/// The label of all policies and bindings. Its value is the topic.
pub const POLICY_LABEL: &str = "servicecatalog.k8s.io/policy";

/// A policy and its binding.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The topic of the policy. Followed by the API group, it is the name of both objects.
    pub topic: String,
    /// The policy and its binding, in this order.
    pub documents: [Value; 2],
}

/// All policies, each with its binding. `operator` is the account of the operator, for example [`OPERATOR`].
#[must_use]
pub fn policies(operator: &str) -> Vec<Policy> {
    let mut policies = mutating::all();
    policies.extend(validating::all());
    policies.extend(newer_fields::all());
    policies.extend(one_editor_at_a_time::all());
    policies.extend(operator_fields::all());
    policies.extend(broker_address::all());
    policies.push(injection::policy());
    leaving_alone(operator, policies)
}

/// The policy that an administrator may add: a user orders only what this user has the verb `use` for.
#[must_use]
pub fn restricted_plans(operator: &str) -> Vec<Policy> {
    leaving_alone(operator, plan_use::all())
}

fn leaving_alone(operator: &str, mut policies: Vec<Policy>) -> Vec<Policy> {
    for policy in &mut policies {
        leave_alone(operator, policy);
    }
    policies
}

/// A policy that matches an UPDATE of an instance or a binding does not match one by the operator.
fn leave_alone(operator: &str, policy: &mut Policy) {
    let [document, _] = &mut policy.documents;
    let rule = &document["spec"]["matchConstraints"]["resourceRules"][0];
    let names = |list: &str, wanted: &[&str]| {
        rule[list]
            .as_array()
            .is_some_and(|values| values.iter().any(|value| wanted.iter().any(|it| value == it)))
    };
    if !names("operations", &["UPDATE"]) || !names("resources", &["serviceinstances", "servicebindings"]) {
        return;
    }
    let expression = format!("request.userInfo.username != {}", cel::text(operator));
    let mut conditions = vec![json!({"name": "not-the-operator", "expression": expression})];
    if let Value::Array(others) = document["spec"]["matchConditions"].take() {
        conditions.extend(others);
    }
    document["spec"]["matchConditions"] = conditions.into();
    document["metadata"]["labels"][LABEL.0] = json!(LABEL.1);
}

/// All policies and bindings as documents of `admissionregistration.k8s.io/v1`.
#[must_use]
pub fn all(operator: &str) -> Vec<Value> {
    policies(operator).into_iter().flat_map(|policy| policy.documents).collect()
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
        "metadata": {"name": name(topic), "labels": {POLICY_LABEL: topic}},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn policy(topic: &str) -> Value {
        let found = policies(OPERATOR).into_iter().find(|policy| policy.topic == topic);
        let [policy, _] = found.expect("there is such a policy").documents;
        policy
    }

    #[test]
    fn names_are_unique_per_kind_and_bindings_name_their_policy() {
        let mut seen = BTreeSet::new();
        for Policy { documents, .. } in policies(OPERATOR) {
            let [policy, binding] = documents;
            assert!(seen.insert(policy["metadata"]["name"].to_string()));
            assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
            assert_eq!(binding["kind"], format!("{}Binding", policy["kind"].as_str().expect("kind")));
        }
    }

    // v0.3 F15
    #[test]
    fn every_policy_but_the_one_for_pods_fails_closed_and_matches_main_resources_only() {
        for Policy { documents, topic } in policies(OPERATOR) {
            let spec = &documents[0]["spec"];
            if topic == "pod-injection" {
                assert_eq!(spec["failurePolicy"], "Ignore");
                continue;
            }
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

    /// No other policy may block a deletion, and no policy records the user who deletes.
    // v0.3 F14
    #[test]
    fn a_deletion_is_refused_only_where_its_object_says_so() {
        for Policy { documents, topic } in policies(OPERATOR) {
            for rule in documents[0]["spec"]["matchConstraints"]["resourceRules"].as_array().expect("rules") {
                let operations = rule["operations"].as_array().expect("operations");
                if topic.ends_with("-prevented-deletion") {
                    let condition = documents[0]["spec"]["matchConditions"].to_string();
                    assert!(condition.contains("oldObject.spec.deletionPolicy == 'Prevent'"), "{condition}");
                    assert_eq!(rule["operations"], json!(["DELETE"]));
                    continue;
                }
                let known = operations.iter().all(|operation| operation == "CREATE" || operation == "UPDATE");
                assert!(known && !operations.is_empty(), "{topic}: {rule}");
            }
        }
    }

    /// Finalizers, labels and annotations of users. Only policies about metadata look at more than the spec.
    // v0.3 Q5
    #[test]
    fn an_update_that_leaves_the_spec_alone_matches_nothing() {
        for Policy { documents, topic } in policies(OPERATOR) {
            let spec = &documents[0]["spec"];
            let operations = &spec["matchConstraints"]["resourceRules"][0]["operations"];
            if operations == &json!(["CREATE"]) || about_metadata(&topic) {
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

    fn about_metadata(topic: &str) -> bool {
        topic == "kept-finalizer" || topic.ends_with("-operator-fields") || topic.ends_with("-operator-only")
    }

    #[test]
    fn a_policy_about_metadata_matches_only_what_concerns_the_operator() {
        let conditions = |topic: &str| policy(topic)["spec"]["matchConditions"][1]["expression"].to_string();
        let about: Vec<_> =
            policies(OPERATOR).into_iter().map(|it| it.topic).filter(|it| about_metadata(it)).collect();
        assert_eq!(about.len(), 5, "{about:?}");
        for topic in &about {
            let text = conditions(topic);
            if topic == "kept-finalizer" {
                assert!(text.contains("metadata.finalizers") && !text.contains("annotations"), "{text}");
                continue;
            }
            assert!(text.contains(crd::INTENT_ANNOTATION), "{topic}: {text}");
            assert_eq!(text.contains(crd::ADOPT_ANNOTATION), topic.ends_with("-only"), "{topic}: {text}");
        }
        for field in ["externalID", "clusterServiceClassRef", "servicePlanRef"] {
            for topic in ["serviceinstance-operator-fields", "serviceinstance-operator-only"] {
                assert!(conditions(topic).contains(&format!("object.spec.{field})")), "{topic}: {field}");
            }
        }
    }

    #[test]
    fn no_policy_that_matches_an_update_of_an_instance_or_binding_matches_one_by_the_operator() {
        let account = "system:serviceaccount:elsewhere:it's";
        let expected = r"request.userInfo.username != 'system:serviceaccount:elsewhere:it\'s'";
        let mut count = 0;
        for Policy { documents, topic } in policies(account) {
            let (spec, labels) = (&documents[0]["spec"], &documents[0]["metadata"]["labels"]);
            let rule = spec["matchConstraints"]["resourceRules"][0].to_string();
            let matches = rule.contains("UPDATE")
                && (rule.contains("\"serviceinstances\"") || rule.contains("\"servicebindings\""));
            let condition = &spec["matchConditions"][0];
            assert_eq!(condition["name"] == "not-the-operator", matches, "{topic}");
            assert_eq!(labels[LABEL.0] == LABEL.1, matches, "{topic}");
            assert!(!matches || condition["expression"] == expected, "{topic}: {condition}");
            count += usize::from(matches);
        }
        assert!(count > 10, "{count}");
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
                let written = field == "userInfo" || cel::is_written_by_the_operator(field);
                assert_eq!(known, !written, "{topic}: {field}");
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
        all(OPERATOR).iter().for_each(check);
    }
}
