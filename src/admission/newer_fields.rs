//! The policies that keep fields which clients of v0.3 do not know. Such a client (`svcat touch`, for
//! example) reads an object and writes back only the fields of its own types. So if an UPDATE does not have
//! such a field, the policies keep it. An UPDATE can change the field, but not remove it.
//!
//! Such fields are `deletionPolicy`, `pods`, `rotation` and `secret`. [`HARMLESS`] has those that may be lost. Of a binding
//! another mutating policy restores the whole spec.

use serde_json::json;

use super::{Policy, cel, mutating, validating};

/// The kinds whose objects clients of v0.3 replace: topic, resource, and the fields that these clients know.
const KNOWN: [(&str, &str, &[&str]); 4] = [
    ("serviceinstance", "serviceinstances", &INSTANCE),
    ("servicebinding", "servicebindings", &BINDING),
    ("clusterservicebroker", "clusterservicebrokers", &BROKER),
    ("servicebroker", "servicebrokers", &BROKER),
];

const INSTANCE: [&str; 21] = [
    "clusterServiceClassExternalName",
    "clusterServicePlanExternalName",
    "clusterServiceClassExternalID",
    "clusterServicePlanExternalID",
    "clusterServiceClassName",
    "clusterServicePlanName",
    "serviceClassExternalName",
    "servicePlanExternalName",
    "serviceClassExternalID",
    "servicePlanExternalID",
    "serviceClassName",
    "servicePlanName",
    "clusterServiceClassRef",
    "clusterServicePlanRef",
    "serviceClassRef",
    "servicePlanRef",
    "parameters",
    "parametersFrom",
    "externalID",
    "userInfo",
    "updateRequests",
];

const BINDING: [&str; 7] = [
    "instanceRef",
    "parameters",
    "parametersFrom",
    "secretName",
    "secretTransforms",
    "externalID",
    "userInfo",
];

/// Fields that clients of v0.3 do not know and may remove: an absent field means no change.
const HARMLESS: [(&str, &str); 1] = [("serviceinstances", "maintenanceVersion")];

const BROKER: [&str; 8] = [
    "url",
    "insecureSkipTLSVerify",
    "caBundle",
    "relistBehavior",
    "relistDuration",
    "relistRequests",
    "catalogRestrictions",
    "authInfo",
];

pub(super) fn all() -> Vec<Policy> {
    let policies = KNOWN.map(|(kind, plural, known)| {
        let names = cel::spec_fields(plural).into_iter().map(|field| field.name);
        let harmful =
            |name: &String| !known.contains(&name.as_str()) && !HARMLESS.contains(&(plural, name.as_str()));
        keeping(kind, plural, &names.filter(harmful).collect::<Vec<_>>())
    });
    policies.into_iter().flatten().collect()
}

/// Two policies for these fields of the spec of one kind. The first keeps a field that an UPDATE does not
/// have. The second is for clusters without mutating policies and refuses such an UPDATE. Without fields
/// there are no policies.
#[must_use]
pub fn keeping(kind: &str, plural: &str, fields: &[String]) -> Vec<Policy> {
    if fields.is_empty() {
        return Vec::new();
    }
    let dropped = |field: &String| {
        let given = |root| cel::given(root, &["spec", field], 1);
        format!("{} && !({})", given("oldObject"), given("object"))
    };
    let condition =
        ("spec-changed".to_owned(), "has(object.spec) && object.spec != oldObject.spec".to_owned());
    let patches = fields.iter().map(|field| {
        let patch = format!("JSONPatch{{op: 'add', path: '/spec/{field}', value: oldObject.spec.{field}}}");
        format!("({}\n? [{patch}]\n: [])", dropped(field))
    });
    let rules = fields.iter().map(|field| {
        json!({
            "expression": format!("!({})", dropped(field)),
            "message": format!(
                "spec.{field} can be changed, but not removed, because clients of v0.3 remove it without knowing it: set it to a value"
            ),
            "reason": "Invalid",
        })
    });
    vec![
        mutating::policy(
            &format!("{kind}-newer-fields"),
            &[plural],
            &["UPDATE"],
            std::slice::from_ref(&condition),
            &[],
            &patches.collect::<Vec<_>>().join("\n+ "),
        ),
        validating::policy(
            &format!("{kind}-dropped-fields"),
            plural,
            &["UPDATE"],
            &[condition],
            &[],
            &rules.collect::<Vec<_>>(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_old_clients_exist() {
        for (_, plural, known) in KNOWN {
            let fields: Vec<_> = cel::spec_fields(plural).into_iter().map(|field| field.name).collect();
            let unknown: Vec<_> =
                known.iter().filter(|name| !fields.iter().any(|field| field == *name)).collect();
            assert!(unknown.is_empty(), "{plural} has no {unknown:?}");
        }
    }

    #[test]
    fn a_field_that_old_clients_do_not_know_is_kept() {
        let made = keeping("serviceinstance", "serviceinstances", &["deletionPolicy".to_owned()]);
        let topics: Vec<_> = made.iter().map(|policy| policy.topic.as_str()).collect();
        assert_eq!(topics, ["serviceinstance-newer-fields", "serviceinstance-dropped-fields"]);
        let dropped = "has(oldObject.spec.deletionPolicy) && dyn(oldObject.spec.deletionPolicy) != null && \
                       !(has(object.spec.deletionPolicy) && dyn(object.spec.deletionPolicy) != null)";
        let patch = &made[0].documents[0]["spec"]["mutations"][0]["jsonPatch"]["expression"];
        assert_eq!(
            patch.as_str().expect("an expression"),
            format!(
                "({dropped}\n? [JSONPatch{{op: 'add', path: '/spec/deletionPolicy', value: \
                 oldObject.spec.deletionPolicy}}]\n: [])"
            )
        );
        assert_eq!(
            made[1].documents[0]["spec"]["validations"][0]["expression"],
            format!("!({dropped})").as_str()
        );
    }

    // v0.3 F13
    #[test]
    fn every_field_that_old_clients_do_not_know_has_its_policies() {
        let text: String = all().iter().map(|policy| policy.documents[0].to_string()).collect();
        for (kind, plural, known) in KNOWN {
            for field in cel::spec_fields(plural) {
                let kept = text.contains(&format!("/spec/{}'", field.name));
                let harmless = HARMLESS.contains(&(plural, field.name.as_str()));
                assert!(known.contains(&field.name.as_str()) || harmless || kept, "{kind}: {}", field.name);
            }
        }
    }
}
