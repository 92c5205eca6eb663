//! Secrets are read only when nothing else decides.

use super::*;

type Change = fn(Fixture) -> Fixture;

fn reads(fixture: Fixture) -> bool {
    matches!(fixture.claimed().plan(), Step::Read)
}

#[test]
fn a_binding_that_can_be_asked_for_reads_its_secrets() {
    assert!(reads(Fixture::new().unread()));
    let mut copies = Fixture::new();
    copies.object.spec.secret_transforms =
        serde_json::from_value(json!([{"addKeysFrom": {"secretRef": {"name": "other"}}}])).unwrap();
    copies.secrets = instances::Secrets::Unread;
    assert!(reads(copies));
}

#[test]
fn a_binding_that_cannot_be_asked_for_reads_nothing() {
    let rows: [(&str, Change); 5] = [
        ("no instance", |mut f| {
            f.instance = None;
            f
        }),
        ("no class", |mut f| {
            f.offering = Err(Unresolved {
                reason: Reason::ReferencesNonexistentServiceClass,
                message: "no such class".into(),
            });
            f
        }),
        ("no namespace", |mut f| {
            f.namespace_known = false;
            f
        }),
        ("the name of the Secret is taken", |f| f.with_secret(SecretState::NotOwned)),
        ("deleted, and never asked for", Fixture::deleted),
    ];
    for (what, change) in rows {
        assert!(!reads(change(Fixture::new()).unread()), "{what}");
    }
}

#[test]
fn a_binding_at_rest_reads_nothing() {
    assert!(!reads(Fixture::new().settled().unread()));
}
