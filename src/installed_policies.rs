//! Are the admission policies of this version installed? The operator relies on them: they keep users from
//! forging what the operator believes, and they vouch for the user that a spec names. So it compares them with
//! the ones that this program generates, when it starts to lead and then again and again.
//!
//! A policy is found by the label [`POLICY_LABEL`], because kustomize can give it another name. It is installed
//! if its spec and the spec of its binding are the generated ones, for the account that the operator has.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    admission::{self, POLICY_LABEL, Policy},
    crd::{ServiceBinding, ServiceInstance},
    kube_api::{self, request::timed},
    metrics::Metrics,
};

const GROUP: &str = "admissionregistration.k8s.io";

/// The kinds of policies and bindings, with the names of their resources.
const KINDS: [(&str, &str); 4] = [
    ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    (MUTATING, "mutatingadmissionpolicies"),
    ("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
];

/// Kubernetes 1.35 does not serve this kind in version v1.
const MUTATING: &str = "MutatingAdmissionPolicy";

/// What the operator knows of the installed policies.
#[derive(Default)]
pub struct InstalledPolicies {
    /// The account of the operator, as the API server names it in requests.
    account: OnceCell<String>,
    findings: Mutex<Option<Findings>>,
}

/// The policies that are not installed as this version has them, by topic.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Findings {
    /// There is no such policy, or no binding puts it into force.
    missing: Vec<String>,
    /// The policy or its binding is another one.
    outdated: Vec<String>,
    /// The API server does not serve the kind of these policies.
    unserved: Vec<String>,
}

impl Findings {
    fn is_installed(&self, topic: &str) -> bool {
        ![&self.missing, &self.outdated, &self.unserved].into_iter().flatten().any(|other| other == topic)
    }
}

/// A policy or a binding in the cluster.
struct Found {
    kind: &'static str,
    object: Value,
}

impl Found {
    fn of(kind: &'static str, object: &DynamicObject) -> Self {
        let topic = object.labels().get(POLICY_LABEL);
        let object = json!({ "name": object.name_any(), "topic": topic, "spec": object.data["spec"] });
        Self { kind, object }
    }
}

impl InstalledPolicies {
    /// Whether somebody vouches for `spec.userInfo` of the objects of this kind: one policy sets it to the
    /// requesting user, and another one refuses any other user. Either is enough. Before the first check nobody
    /// does.
    pub fn vouch_for<K: Resource<DynamicType = ()>>(&self) -> bool {
        let kind = K::kind(&());
        let topics = if kind == ServiceInstance::kind(&()) {
            ["serviceinstance-user", "serviceinstance-forged-user"]
        } else if kind == ServiceBinding::kind(&()) {
            ["servicebinding-user", "servicebinding-forged-user"]
        } else {
            return false;
        };
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.as_ref().is_some_and(|findings| topics.iter().any(|topic| findings.is_installed(topic)))
    }

    /// Whether all policies that this API server can have are installed, as far as is known.
    pub fn are_complete(&self) -> bool {
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.as_ref().is_some_and(|it| it.missing.is_empty() && it.outdated.is_empty())
    }

    /// Reads the policies, and says in the log and in a metric what is wrong with them.
    pub async fn check(&self, client: &Client, metrics: &Metrics) {
        let read = self.read(client).await;
        let mut known = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let findings = match read {
            Ok(findings) => findings,
            Err(error) => {
                // A user could have taken the right away to hide what follows.
                if error.is_rejection() {
                    *known = None;
                }
                metrics.set_policy_problems([0, 0, 1]);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot check whether the admission policies are installed; apply config/rbac of this version"
                );
                return;
            }
        };
        metrics.set_policy_problems([findings.missing.len(), findings.outdated.len(), 0]);
        let Findings { missing, outdated, .. } = &findings;
        if !missing.is_empty() || !outdated.is_empty() {
            let (missing, outdated) = (missing.join(","), outdated.join(","));
            tracing::warn!(
                missing,
                outdated,
                "ADMISSION POLICIES ARE NOT IN FORCE: users can do what they have no right to; apply config/admission of this version"
            );
        } else if known.as_ref() != Some(&findings) {
            tracing::info!("the admission policies of this version are installed");
        }
        *known = Some(findings);
    }

    async fn read(&self, client: &Client) -> Result<Findings, kube_api::Error> {
        let account = self.account.get_or_try_init(|| account(client)).await?;
        let (mut found, mut serves_mutating) = (Vec::new(), true);
        for (kind, plural) in KINDS {
            let resource =
                ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", kind), plural);
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let labelled = ListParams::default().labels(POLICY_LABEL);
            match timed(&format!("list {plural}"), api.list(&labelled)).await {
                Ok(list) => found.extend(list.items.iter().map(|object| Found::of(kind, object))),
                Err(error) if error.is_not_found() && kind.starts_with(MUTATING) => serves_mutating = false,
                Err(error) => return Err(error),
            }
        }
        Ok(findings(&admission::policies(account), &found, serves_mutating))
    }
}

async fn account(client: &Client) -> Result<String, kube_api::Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let (post, review) = (PostParams::default(), SelfSubjectReview::default());
    let answer = timed("ask for the own account", reviews.create(&post, &review)).await?;
    let user = answer.status.and_then(|status| status.user_info);
    Ok(user.and_then(|user| user.username).unwrap_or_default())
}

fn findings(expected: &[Policy], found: &[Found], serves_mutating: bool) -> Findings {
    let mut findings = Findings::default();
    for policy in expected {
        let list = if policy.documents[0]["kind"] == MUTATING && !serves_mutating {
            &mut findings.unserved
        } else {
            match state(policy, found) {
                State::Installed => continue,
                State::Outdated => &mut findings.outdated,
                State::Missing => &mut findings.missing,
            }
        };
        list.push(policy.topic.clone());
    }
    findings
}

enum State {
    Installed,
    Outdated,
    Missing,
}

fn state(policy: &Policy, found: &[Found]) -> State {
    let [wanted, wanted_binding] = &policy.documents;
    let of = |document: &Value| {
        let of_topic = found.iter().filter(|it| it.object["topic"] == policy.topic.as_str());
        let kind = document["kind"].clone();
        of_topic.filter(move |it| kind == it.kind).map(|it| &it.object).collect::<Vec<_>>()
    };
    let (policies, bindings) = (of(wanted), of(wanted_binding));
    if policies.is_empty() || bindings.is_empty() {
        return State::Missing;
    }
    let is_bound = |name: &Value| {
        let mut spec = wanted_binding["spec"].clone();
        spec["policyName"] = name.clone();
        bindings.iter().any(|binding| without_defaults(&binding["spec"]) == spec)
    };
    let is_installed = |it: &&Value| without_defaults(&it["spec"]) == wanted["spec"] && is_bound(&it["name"]);
    if policies.iter().any(is_installed) { State::Installed } else { State::Outdated }
}

/// A spec without the defaults that the API server sets.
fn without_defaults(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(constraints) = spec.get_mut("matchConstraints").and_then(Value::as_object_mut) {
        for (field, default) in [
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
        ] {
            if constraints.get(field) == Some(&default) {
                constraints.shift_remove(field);
            }
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(policies: &[Policy]) -> Vec<Found> {
        let documents =
            policies.iter().flat_map(|policy| policy.documents.iter().map(|it| (&policy.topic, it)));
        let found = documents.map(|(topic, document)| {
            let mut spec = document["spec"].clone();
            if let Some(constraints) = spec.get_mut("matchConstraints") {
                constraints["matchPolicy"] = json!("Equivalent");
                constraints["namespaceSelector"] = json!({});
                constraints["objectSelector"] = json!({});
            }
            let (kind, _) = *KINDS.iter().find(|(kind, _)| document["kind"] == *kind).unwrap();
            Found {
                kind,
                object: json!({ "name": document["metadata"]["name"], "topic": topic, "spec": spec }),
            }
        });
        found.collect()
    }

    #[test]
    fn what_is_generated_is_installed_under_any_name() {
        let policies = admission::policies(admission::OPERATOR);
        let mut found = installed(&policies);
        assert_eq!(findings(&policies, &found, true), Findings::default());
        for it in &mut found {
            let name = format!("a-{}", it.object["name"].as_str().unwrap());
            if it.kind.ends_with("Binding") {
                it.object["spec"]["policyName"] = json!(name);
            }
            it.object["name"] = json!(name);
        }
        assert_eq!(findings(&policies, &found, true), Findings::default());
    }

    #[test]
    fn every_difference_is_found() {
        let policies = admission::policies(admission::OPERATOR);
        let topic = "serviceinstance-secrets";
        let of_topic = |it: &Found| it.object["topic"] == topic;
        let (missing, outdated) = (vec![topic.to_owned()], vec![topic.to_owned()]);
        for binding in [false, true] {
            let mut found = installed(&policies);
            found.retain(|it| !of_topic(it) || it.kind.ends_with("Binding") == binding);
            assert_eq!(
                findings(&policies, &found, true),
                Findings { missing: missing.clone(), ..Findings::default() }
            );
        }
        let condition = json!([{ "name": "x", "expression": "false" }]);
        let changes = [
            (false, "/failurePolicy", json!("Ignore")),
            (false, "/matchConditions", condition),
            (false, "/validations", json!([])),
            (false, "/matchConstraints/namespaceSelector", json!({ "matchLabels": { "a": "b" } })),
            (true, "/validationActions", json!(["Audit"])),
            (true, "/policyName", json!("another")),
        ];
        for (binding, field, value) in changes {
            let mut found = installed(&policies);
            let wanted = found.iter_mut().find(|it| of_topic(it) && it.kind.ends_with("Binding") == binding);
            *wanted.unwrap().object["spec"].pointer_mut(field).unwrap() = value;
            assert_eq!(
                findings(&policies, &found, true),
                Findings { outdated: outdated.clone(), ..Findings::default() }
            );
        }
        // The policies of another account block the operator.
        let found = installed(&admission::policies("system:serviceaccount:a:b"));
        assert!(findings(&policies, &found, true).outdated.len() > 10);
    }

    #[test]
    fn a_user_is_vouched_for_by_one_of_two_policies() {
        let policies = admission::policies(admission::OPERATOR);
        let after = |gone: &[&str], serves_mutating: bool| {
            let mut found = installed(&policies);
            found.retain(|it| !gone.iter().any(|topic| it.object["topic"] == *topic));
            let findings = Mutex::new(Some(findings(&policies, &found, serves_mutating)));
            let known = InstalledPolicies { findings, ..InstalledPolicies::default() };
            [known.vouch_for::<ServiceInstance>(), known.vouch_for::<ServiceBinding>(), known.are_complete()]
        };
        let nothing = InstalledPolicies::default();
        assert!(!nothing.vouch_for::<ServiceInstance>() && !nothing.are_complete());
        assert_eq!(after(&[], true), [true, true, true]);
        assert_eq!(after(&["serviceinstance-user"], true), [true, true, false]);
        assert_eq!(
            after(&["serviceinstance-user", "serviceinstance-forged-user"], true),
            [false, true, false]
        );
        assert_eq!(after(&["servicebinding-user", "servicebinding-forged-user"], true), [true, false, false]);
        // Kubernetes 1.35.
        assert_eq!(after(&[], false), [true, true, true]);
        assert_eq!(after(&["serviceinstance-forged-user"], false), [false, true, false]);
    }
}
