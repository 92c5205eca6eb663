//! The table of dependencies: for each change of each kind, the objects that are reconciled, and no others. A
//! dependency that is not in the table is not guaranteed.

mod cluster;

use std::collections::BTreeMap;

use kube::runtime::watcher::Event::{self, Apply, Delete, Init, InitApply, InitDone};

use self::cluster::{
    annotated, answering, at_url, bindable, bound, broker, cache, cache_plan, class_spec, cluster, db,
    db_plan, deleting, described, edited, instance, local_broker, namespace, on_record, removed, replacing,
    secret, settled, updatable, with_uid, within,
};
use super::*;
use crate::{
    caches::kind::Kind,
    crd::{
        ClusterServiceBroker, ClusterServiceClass, ClusterServicePlan, ServiceClass,
        plan::CommonServicePlanSpec,
        scope::{ClassObject as _, Object},
    },
    json::RawObject,
};
use serde_json::json;

/// A cluster, and the objects that are reconciled after the last event in it.
struct Case(Caches, Vec<ObjectKey>);

type Interested<K> = fn(&Change<K>, &Caches) -> Vec<ObjectKey>;

impl Case {
    fn new() -> Self {
        Self(cluster(), Vec::new())
    }

    fn after<K: Object>(
        self,
        kind: impl Fn(&Caches) -> &Kind<K>,
        interested: Interested<K>,
        event: &Event<K>,
    ) -> Self {
        let Self(caches, _) = self;
        let changes = kind(&caches).apply(event);
        let looks = changes.iter().flat_map(|change| interested(change, &caches)).collect();
        Self(caches, looks)
    }

    fn broker(self, event: &Event<ClusterServiceBroker>) -> Self {
        self.after(|caches| &caches.cluster.brokers, super::broker::<ClusterWide>, event)
    }

    fn class(self, event: &Event<ClusterServiceClass>) -> Self {
        self.after(|caches| &caches.cluster.classes, super::class::<ClusterWide>, event)
    }

    fn plan(self, event: &Event<ClusterServicePlan>) -> Self {
        self.after(|caches| &caches.cluster.plans, super::plan::<ClusterWide>, event)
    }

    fn local_class(self, event: &Event<ServiceClass>) -> Self {
        self.after(|caches| &caches.namespaced.classes, super::class::<Namespaced>, event)
    }

    fn instance(self, event: &Event<ServiceInstance>) -> Self {
        self.after(|caches| &caches.instances, super::instance, event)
    }

    fn binding(self, event: &Event<ServiceBinding>) -> Self {
        self.after(|caches| &caches.bindings, super::binding, event)
    }

    fn namespace(self, event: &Event<PartialObjectMeta<Namespace>>) -> Self {
        self.after(|caches| &caches.namespaces, super::namespace, event)
    }

    fn secret(self, event: &Event<PartialObjectMeta<Secret>>) -> Self {
        self.after(|caches| caches.secrets.as_ref().unwrap(), super::secret, event)
    }

    fn pod(self, event: &Event<PartialObjectMeta<Pod>>) -> Self {
        self.after(|caches| caches.pods.as_ref().unwrap(), super::pod, event)
    }

    /// The object of this name, as it is in the cluster.
    fn present(&self, name: &str) -> ServiceInstance {
        self.0.instance("shop", name).map(Arc::unwrap_or_clone).unwrap()
    }

    /// The objects that are reconciled, by kind and name.
    fn looks(&self) -> String {
        let mut looks: BTreeMap<ObjectKind, BTreeSet<&str>> = BTreeMap::new();
        for key in &self.1 {
            looks.entry(key.kind).or_default().insert(&key.name);
        }
        let kind = |(kind, names): (ObjectKind, BTreeSet<&str>)| {
            format!("{kind:?}: {}", names.into_iter().collect::<Vec<_>>().join(" "))
        };
        looks.into_iter().map(kind).collect::<Vec<_>>().join("; ")
    }
}

#[track_caller]
fn assert_looks(what: &str, case: &Case, expected: &str) {
    let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(case.looks(), expected, "{what}");
}

/// A class and a plan that have left the catalog of a broker that is being deleted.
fn on_the_way_out() -> Case {
    Case::new()
        .broker(&Apply(deleting(broker("broker"))))
        .class(&Apply(removed(db())))
        .plan(&Apply(removed(db_plan("small"))))
}

#[test]
fn brokers() {
    let unsettled = "Broker: broker; Instance: deleting inherited new new-any new-large wrong-scope;
        Binding: of-new of-settled orphan";
    let all = "Broker: broker; Instance: deleting inherited moving new new-any new-large renamed settled wrong-scope;
        Binding: of-new of-settled orphan";
    let edited = Case::new().broker(&Apply(edited(broker("broker"))));
    assert_looks("its spec changes", &edited, unsettled);
    let annotated = Case::new().broker(&Apply(annotated(broker("broker"))));
    assert_looks("its annotations change", &annotated, unsettled);
    let answering = Case::new().broker(&Apply(answering(broker("broker"))));
    assert_looks("it answers", &answering, unsettled);
    assert_looks(
        "something else of it changes",
        &answering.broker(&Apply(cluster::answering(broker("broker")))),
        "Broker: broker",
    );
    let leaving = Case::new().broker(&Apply(deleting(broker("broker"))));
    assert_looks("it is being deleted", &leaving, unsettled);
    let gone = leaving.broker(&Delete(broker("broker")));
    assert_looks("it is gone", &gone, unsettled);
    assert_looks("it comes back", &gone.broker(&Apply(broker("broker"))), all);
    let replaced = Case::new().broker(&Apply(with_uid(broker("broker"), "another")));
    assert_looks("another one has its name", &replaced, all);
    let other = Case::new().broker(&Apply(cluster::edited(broker("other-broker"))));
    assert_looks("another broker changes", &other, "Broker: other-broker; Instance: of-other-broker twin");
    let new = Case::new().broker(&Apply(broker("third")));
    assert_looks("one comes that has no classes", &new, "Broker: third");
    let entries = on_the_way_out().broker(&Delete(broker("broker"))).broker(&Apply(broker("broker")));
    let with_entries =
        format!("Broker: broker; Class: db-object; Plan: small-object; {}", &all["Broker: broker; ".len()..]);
    assert_looks("it comes back, and some of its catalog has left it", &entries, &with_entries);
    let local = Case::new().after(
        |caches| &caches.namespaced.brokers,
        super::broker::<Namespaced>,
        &Apply(cluster::edited(local_broker())),
    );
    assert_looks(
        "one of a namespace changes",
        &local,
        "Broker: local-broker; Instance: local-new; Binding: of-local",
    );
}

#[test]
fn brokers_that_take_the_place_of_others() {
    const URL: &str = "https://broker.example";
    let of_broker = "deleting moving renamed settled";
    let by_url = || at_url(broker("new"), URL);
    let by_name = || replacing(broker("new"), "broker");
    let at_url = |broker| at_url(broker, URL);
    let looks = |successor: &dyn Fn() -> ClusterServiceBroker| {
        let both = Case::new().broker(&Apply(at_url(broker("broker")))).broker(&Apply(successor()));
        assert_looks("both are there", &both, "Broker: new");
        let leaving = both.broker(&Apply(deleting(at_url(broker("broker")))));
        let all = "Broker: broker new;
            Instance: deleting inherited moving new new-any new-large renamed settled wrong-scope;
            Binding: of-new of-settled orphan";
        assert_looks("the old one is being deleted", &leaving, all);
        let waiting = format!("Broker: broker new; Instance: {of_broker}; Binding: of-settled orphan");
        assert_looks("the new one changes", &leaving.broker(&Apply(edited(successor()))), &waiting);
        let leaving = Case::new().broker(&Apply(deleting(at_url(broker("broker")))));
        assert_looks("the new one comes later", &leaving.broker(&Apply(successor())), &waiting);
    };
    looks(&by_url);
    looks(&by_name);
    let gone = || Case::new().broker(&Delete(broker("broker")));
    assert_looks(
        "it names one that is gone",
        &gone().broker(&Apply(by_name())),
        &format!("Broker: new; Instance: {of_broker}; Binding: of-settled orphan"),
    );
    let mut recorded = gone().present("settled");
    let record = recorded.status.as_mut().and_then(|status| status.resolved.as_mut());
    record.unwrap().broker_url = Some(URL.into());
    assert_looks(
        "it has the URL of one that is gone and on record",
        &gone().instance(&Apply(recorded)).broker(&Apply(by_url())),
        &format!("Broker: new; Instance: {of_broker}; Binding: of-settled orphan"),
    );
    assert_looks("it has another URL", &gone().broker(&Apply(by_url())), "Broker: new");
}

#[test]
fn secrets_of_brokers() {
    let named = |name: &str| {
        let mut local = local_broker();
        local.spec = serde_json::from_str(&format!(
            r#"{{ "authInfo": {{ "basic": {{ "secretRef": {{ "name": "{name}" }} }} }} }}"#
        ))
        .unwrap();
        cluster::edited(local)
    };
    let broker = |case: Case, event| {
        case.after(|caches| &caches.namespaced.brokers, super::broker::<Namespaced>, &event)
    };
    let case = broker(Case::new(), Apply(named("credentials")));
    let waiting = "Instance: local-new; Binding: of-local";
    assert_looks("it names one", &case, &format!("Broker: local-broker; {waiting}; Secret: credentials"));
    let secret = |case: Case, event| {
        case.after(|caches| caches.broker_secrets.as_ref().unwrap(), super::broker_secret, &event)
    };
    let held = secret(case, Apply(cluster::secret("nobody")));
    assert_looks("it changes", &held, "Broker: local-broker; Secret: credentials");
    let gone = secret(held, Delete(cluster::secret("nobody")));
    assert_looks("it is gone", &gone, "Broker: local-broker; Secret: credentials");
    let gone = broker(gone, Delete(named("credentials")));
    let all = format!("Broker: local-broker; {waiting}; Secret: credentials");
    assert_looks("nobody names it any more", &gone, &all);
    assert_looks("and it changes", &secret(gone, Apply(cluster::secret("nobody"))), "Secret: credentials");
}

#[test]
fn classes() {
    let of_db = "Class: db-object;
        Instance: deleting inherited moving new new-any new-large renamed settled wrong-scope;
        Binding: of-new of-settled orphan";
    assert_looks("it changes", &Case::new().class(&Apply(bindable(db()))), of_db);
    assert_looks("it is seen again", &Case::new().class(&Apply(db())), "Class: db-object");
    let described = described(db(), |class| {
        class.description = "other words".into();
        class.tags = vec!["sql".into()];
        class.requires = vec!["syslog_drain".into()];
        class.external_metadata = Some(serde_json::Map::new().into());
    });
    assert_looks("only its words change", &Case::new().class(&Apply(described)), "Class: db-object");
    let left = Case::new().class(&Apply(removed(db())));
    assert_looks("it leaves the catalog", &left, of_db);
    assert_looks("it returns to the catalog", &left.class(&Apply(db())), of_db);
    let gone = Case::new().class(&Delete(db()));
    assert_looks("it is gone", &gone, of_db);
    assert_looks("it comes back", &gone.class(&Apply(db())), of_db);
    // Instances that refer to its old name count, and so do those that refer to its new name.
    let renamed = ClusterServiceClass::build("db-object", "broker", class_spec("db-id", "mq"));
    assert_looks(
        "it gets another name in the catalog",
        &Case::new().class(&Apply(renamed)),
        "Class: db-object;
        Instance: deleting inherited moving new new-any new-large of-other-broker renamed settled twin wrong-scope;
        Binding: of-new of-settled orphan",
    );
    let of_leaving = Case::new().broker(&Apply(deleting(broker("broker")))).class(&Delete(db()));
    assert_looks("the broker waits for it to go", &of_leaving, &format!("Broker: broker; {of_db}"));
    assert_looks(
        "one of a namespace changes",
        &Case::new().local_class(&Apply(removed(cache()))),
        "Class: cache-object; Instance: local local-new; Binding: of-local",
    );
    let twin = within(ServiceClass::build("other-db", "local-broker", class_spec("other-id", "db")), "shop");
    assert_looks(
        "one comes that the other scope has, too",
        &Case::new().local_class(&Apply(twin)),
        "Class: other-db; Instance: deleting inherited new new-any new-large wrong-scope",
    );
}

#[test]
fn plans() {
    let of_small = "Plan: small-object;
        Instance: deleting inherited moving new new-any renamed settled;
        Binding: of-new of-settled orphan";
    assert_looks("it changes", &Case::new().plan(&Apply(updatable(db_plan("small")))), of_small);
    assert_looks("it is seen again", &Case::new().plan(&Apply(db_plan("small"))), "Plan: small-object");
    let reworded = described(db_plan("small"), |plan| {
        plan.description = "other words".into();
        plan.free = !plan.free;
        plan.external_metadata = Some(serde_json::Map::new().into());
    });
    assert_looks("only its words change", &Case::new().plan(&Apply(reworded)), "Plan: small-object");
    let schemas: [fn(&mut CommonServicePlanSpec) -> &mut Option<RawObject>; 3] = [
        |plan| &mut plan.instance_create_parameter_schema,
        |plan| &mut plan.instance_update_parameter_schema,
        |plan| &mut plan.service_binding_create_parameter_schema,
    ];
    for schema in schemas {
        let changed = described(db_plan("small"), |plan| *schema(plan) = Some(RawObject::default()));
        assert_looks("it checks parameters in another way", &Case::new().plan(&Apply(changed)), of_small);
    }
    let left = Case::new().plan(&Apply(removed(db_plan("small"))));
    assert_looks("it leaves the catalog", &left, of_small);
    assert_looks("it returns to the catalog", &left.plan(&Apply(db_plan("small"))), of_small);
    let gone = Case::new().plan(&Delete(db_plan("small")));
    assert_looks("it is gone", &gone, of_small);
    assert_looks("it comes back", &gone.plan(&Apply(db_plan("small"))), of_small);
    assert_looks(
        "another plan of the class changes",
        &Case::new().plan(&Apply(updatable(db_plan("large")))),
        "Plan: large-object; Instance: moving new-any new-large",
    );
    assert_looks(
        "one comes that no instance names",
        &Case::new().plan(&Apply(db_plan("huge"))),
        "Plan: huge-object; Instance: new-any",
    );
    assert_looks(
        "its class is not there: those that name the class look when it comes",
        &Case::new().class(&Delete(db())).plan(&Apply(updatable(db_plan("small")))),
        "Plan: small-object; Instance: deleting inherited moving renamed settled; Binding: of-settled orphan",
    );
    let mut renamed = db_plan("small");
    renamed.spec.common.external_name = "large".into();
    assert_looks(
        "it gets another name in the catalog",
        &Case::new().plan(&Apply(renamed)),
        "Plan: small-object;
        Instance: deleting inherited moving new new-any new-large renamed settled;
        Binding: of-new of-settled orphan",
    );
    let of_leaving = Case::new().broker(&Apply(deleting(broker("broker")))).plan(&Delete(db_plan("small")));
    assert_looks("the broker waits for it to go", &of_leaving, &format!("Broker: broker; {of_small}"));
    let local = Case::new().after(
        |caches| &caches.namespaced.plans,
        super::plan::<Namespaced>,
        &Apply(removed(cache_plan())),
    );
    assert_looks(
        "one of a namespace changes",
        &local,
        "Plan: tiny-object; Instance: local local-new; Binding: of-local",
    );
}

#[test]
fn instances() {
    let new = Case::new();
    let present = new.present("new");
    assert_looks("it changes", &new.instance(&Apply(present)), "Instance: new; Binding: of-new");
    let comes = Case::new().instance(&Apply(instance("gone", "db", None)));
    assert_looks("it comes", &comes, "Instance: gone; Binding: orphan");
    let settled_one = Case::new();
    let present = settled_one.present("settled");
    // Another instance waits for its id, and its class, plan and broker stay.
    let of_settled = "Instance: settled twin; Binding: bound of-settled";
    let changed = settled_one.instance(&Apply(present.clone()));
    assert_looks("it changes, and is at rest", &changed, of_settled);
    assert_looks("it is gone", &changed.instance(&Delete(present)), of_settled);
    let let_go = "Broker: broker; Class: db-object; Plan: small-object;";
    let deleted = on_the_way_out();
    let present = deleted.present("deleting");
    assert_looks(
        "it is gone, and its broker, class and plan wait for that",
        &deleted.instance(&Delete(present)),
        &format!("{let_go} Instance: deleting; Binding: of-deleting"),
    );
    let inherited = on_the_way_out();
    let present = inherited.present("inherited");
    assert_looks(
        "one of v0.3 is gone that was never recorded",
        &inherited.instance(&Delete(present)),
        &format!("{let_go} Instance: inherited"),
    );
    let moved = Case::new().plan(&Apply(removed(db_plan("small"))));
    let large = settled(instance("moving", "db", Some("large")), on_record("large-object"), "large-id");
    assert_looks(
        "it has another plan now, and the earlier one waits for that",
        &moved.instance(&Apply(large)),
        "Plan: small-object; Instance: moving",
    );
}

#[test]
fn bindings() {
    let changed = Case::new().binding(&Apply(bound("bound", "settled")));
    assert_looks("it changes", &changed, "Binding: bound");
    let gone = Case::new().binding(&Delete(bound("of-deleting", "deleting")));
    assert_looks(
        "it is gone, and its instance waits for that",
        &gone,
        "Instance: deleting; Binding: of-deleting",
    );
}

#[test]
fn secrets() {
    assert_looks("it is gone", &Case::new().secret(&Delete(secret("bound"))), "Binding: bound");
    let mut foreign = secret("bound");
    foreign.owner_references_mut()[0].kind = "Deployment".into();
    assert_looks("it is of something else", &Case::new().secret(&Delete(foreign)), "");
}

#[test]
fn pods() {
    let case = || {
        let naming = |name: &str, app: &str| {
            let mut naming = bound(name, "settled");
            let pods = json!({ "selector": { "matchLabels": { "app": app } } });
            naming.spec.pods = serde_json::from_value(pods).unwrap();
            naming
        };
        Case::new().binding(&Apply(naming("bound", "web"))).binding(&Apply(naming("of-batch", "batch")))
    };
    let pod = |app: &str| -> PartialObjectMeta<Pod> {
        let metadata = json!({ "name": "pod", "namespace": "shop", "uid": "u", "labels": { "app": app } });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    };
    assert_looks("one comes that is named", &case().pod(&Apply(pod("web"))), "Binding: bound");
    assert_looks("one comes that nobody names", &case().pod(&Apply(pod("mail"))), "");
    let here = || case().pod(&Apply(pod("web")));
    assert_looks("it is gone", &here().pod(&Delete(pod("web"))), "Binding: bound");
    assert_looks("it is named by another", &here().pod(&Apply(pod("batch"))), "Binding: bound of-batch");
    assert_looks("it is leaving", &here().pod(&Apply(deleting(pod("web")))), "Binding: bound");
    let mut newer = pod("web");
    newer.metadata.resource_version = Some("7".into());
    assert_looks("its status changes", &here().pod(&Apply(newer)), "");
    let elsewhere = within(pod("web"), "search");
    assert_looks("it is of another namespace", &case().pod(&Apply(elsewhere)), "");
}

#[test]
fn namespaces() {
    let unsettled_bindings = "Binding: of-local of-new of-settled orphan";
    let all = format!(
        "Instance: deleting inherited local local-new moving new new-any new-large of-other-broker renamed settled twin wrong-scope;
        {unsettled_bindings}"
    );
    let gone = Case::new().namespace(&Delete(namespace("payments")));
    assert_looks("it comes", &gone.namespace(&Apply(namespace("payments"))), &all);
    let annotated = Case::new().namespace(&Apply(namespace("search")));
    assert_looks("its annotations change", &annotated, &all);
    assert_looks(
        "something else of it changes",
        &Case::new().namespace(&Apply(deleting(namespace("payments")))),
        &format!(
            "Instance: deleting inherited local-new new new-any new-large of-other-broker twin wrong-scope;
            {unsettled_bindings}"
        ),
    );
}

#[test]
fn a_list_that_lacks_an_object_says_that_it_is_gone() {
    let case = Case::new();
    let present = case.present("settled");
    let listed = case.instance(&Init).instance(&InitApply(present)).instance(&InitDone);
    let looks = listed.looks();
    for gone in ["deleting", "new", "local"] {
        assert!(looks.contains(gone), "{gone}: {looks}");
    }
    assert_eq!(listed.0.instances.len(), 1);
}
