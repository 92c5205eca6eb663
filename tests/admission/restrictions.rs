//! Restrictions of the catalog: what the API server accepts is what the operator understands.

use kube::{Api, api::PostParams};
use serde_json::json;
use service_catalog::{
    crd::{ClusterServiceBroker, ScopeKind, broker::CatalogRestrictions},
    reconcilers::broker::restrictions::Restrictions,
};

use super::{client, object, plane};

const TEXTS: [&str; 44] = [
    "name",
    "!name",
    "! name",
    " name ",
    "name=a",
    "name==a",
    "name!=a",
    "name = a",
    "name=",
    "name==",
    "name=in",
    "name in (a)",
    "name in(a)",
    "name in ( a , b )",
    "name in ()",
    "name in (,)",
    "name notin (a,b)",
    "name\tnotin\t(a)",
    "spec.externalName=ä/ö:ü",
    "spec.externalID=5f2b,name!=x",
    "spec.externalID in (a, b), name",
    "spec.free=true",
    "spec.clusterServiceClass.name notin (c)",
    "",
    " ",
    ",",
    "name,",
    ",name",
    "name in",
    "name in a",
    "name in (a",
    "name in (a=b)",
    "name in (a) b",
    "nameIn (a)",
    "name>1",
    "name a",
    "name=a b",
    "name=a=b",
    "name===a",
    "name!",
    "!",
    "!name=a",
    "=x",
    "spec.nothing=x",
];

// v0.3 B8
#[tokio::test]
async fn what_is_accepted_is_what_the_operator_understands() {
    plane().await;
    let brokers: Api<ClusterServiceBroker> = Api::all(client("dave").await);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let mut understood = 0;
    for text in TEXTS {
        for list in ["serviceClass", "servicePlan"] {
            let restrictions: CatalogRestrictions = serde_json::from_value(json!({ list: [text] })).unwrap();
            let parsed = Restrictions::parse(Some(&restrictions), ScopeKind::Cluster);
            let broker = object(
                "restricted",
                json!({ "url": "http://x" }),
                &json!({ "catalogRestrictions": restrictions }),
            );
            let accepted = brokers.create(&dry, &broker).await;
            assert_eq!(accepted.is_ok(), parsed.is_ok(), "{list} {text:?}: {accepted:?}, {parsed:?}");
            understood += usize::from(parsed.is_ok());
        }
    }
    assert_eq!(understood, 2 * 21 + 2, "what only plans have counts once");
}
