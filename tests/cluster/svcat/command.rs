//! The commands of `svcat` v0.3, as the requests that it sends. Nothing here is kinder to the API than `svcat` is: objects
//! pass through the Go types in both directions, lookups are by label, writes are whole objects.

use kube::core::Status;
use serde_json::{Value, json};
use testkit::stage::objects::{
    BINDING, BROKER, CLASS, CLUSTER_BROKER, CLUSTER_CLASS, CLUSTER_PLAN, INSTANCE, Kind, PLAN, name,
};

use super::wire::{Scope, Svcat, is, label, status, text};

const FINALIZER: &str = "kubernetes-incubator/service-catalog";

fn increase(count: &mut Value) {
    *count = (count.as_i64().unwrap() + 1).into();
}

/// An error of `svcat`'s own.
fn says(message: &str) -> kube::Error {
    kube::Error::Api(Box::new(Status::failure(message, "svcat")))
}

/// Brokers.
impl Svcat<'_> {
    fn broker(scope: Scope) -> Kind {
        if scope == Scope::Cluster { CLUSTER_BROKER } else { BROKER }
    }

    /// `register NAME --url URL --basic-secret SECRET`, with the fields of `more`.
    pub async fn register(
        &self,
        name: &str,
        (url, secret): (&str, &str),
        more: Value,
        scope: Scope,
    ) -> kube::Result<Value> {
        let mut reference = json!({ "name": secret });
        if scope == Scope::Cluster {
            reference["namespace"] = self.0.namespace().into();
        }
        let mut spec = json!({
            "url": url, "catalogRestrictions": {}, "authInfo": { "basic": { "secretRef": reference } },
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.create(Self::broker(scope), name, spec).await
    }

    /// `deregister NAME`
    pub async fn deregister(&self, name: &str, scope: Scope) -> kube::Result<()> {
        self.delete(Self::broker(scope), name).await
    }

    /// `sync broker NAME`
    pub async fn sync(&self, name: &str, scope: Scope) -> kube::Result<Value> {
        let more = |broker: &mut Value| {
            increase(&mut broker["spec"]["relistRequests"]);
        };
        self.change(Self::broker(scope), name, more).await
    }

    /// `get brokers`: name, namespace, URL, status.
    pub async fn get_brokers(&self, scope: Scope) -> kube::Result<Vec<[String; 4]>> {
        let found = self.both([CLUSTER_BROKER, BROKER], scope, [&[], &[]]).await?;
        let row = |broker: &Value| {
            let texts = ["/metadata/name", "/metadata/namespace", "/spec/url"]
                .map(|field| text(broker, field).to_owned());
            let [name, namespace, url] = texts;
            [name, namespace, url, status(broker).0]
        };
        Ok(found.iter().map(row).collect())
    }

    /// `get brokers NAME`, `describe broker NAME`
    pub async fn get_broker(&self, name: &str) -> kube::Result<Value> {
        let (wide, namespaced) = (self.get(CLUSTER_BROKER, name).await, self.get(BROKER, name).await);
        match (wide, namespaced) {
            (Ok(_), Ok(_)) => Err(says(&format!("More than one broker found for '{name}'"))),
            (Ok(broker), Err(other)) | (Err(other), Ok(broker)) if is(&other, 404) => Ok(broker),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

/// Classes and plans.
impl Svcat<'_> {
    /// `get classes [--broker BROKER]`
    pub async fn get_classes(&self, scope: Scope, broker: Option<&str>) -> kube::Result<Vec<Value>> {
        let mut found = self.both([CLUSTER_CLASS, CLASS], scope, [&[], &[]]).await?;
        found.retain(|class| broker.is_none_or(|broker| broker_of(class) == broker));
        Ok(found)
    }

    /// `get classes NAME`, and how the other commands look a class up.
    pub async fn get_class(&self, name: &str, scope: Scope) -> kube::Result<Value> {
        let labels = [label("spec.externalName", name)];
        let mut found = self.both([CLUSTER_CLASS, CLASS], scope, [&labels, &labels]).await?;
        match found.len() {
            0 => Err(says(&format!("class '{name}' not found"))),
            1 => Ok(found.remove(0)),
            _ => Err(says(&format!("more than one matching class found for '{name}'"))),
        }
    }

    /// `describe class NAME`: the class, and its plans out of all that there are.
    pub async fn describe_class(&self, name: &str, scope: Scope) -> kube::Result<(Value, Vec<Value>)> {
        let class = self.get_class(name, scope).await?;
        let mut plans = self.list(CLUSTER_PLAN, false, &[]).await?;
        plans.extend(self.list(PLAN, true, &[]).await?);
        plans.retain(|plan| class_of(plan) == text(&class, "/metadata/name"));
        Ok((class, plans))
    }

    /// `create class NAME --from CLASS`
    pub async fn create_class(&self, name: &str, from: &str, scope: Scope) -> kube::Result<Value> {
        let mut spec = self.get_class(from, scope).await?["spec"].take();
        spec["externalName"] = name.into();
        self.create(if scope == Scope::Cluster { CLUSTER_CLASS } else { CLASS }, name, spec).await
    }

    /// `get plans [--class CLASS]`: all of them with the external names of their classes, for the table.
    pub async fn get_plans(&self, scope: Scope, class: Option<&str>) -> kube::Result<Vec<(Value, String)>> {
        let classes = self.get_classes(scope, None).await?;
        let plans = self.both([CLUSTER_PLAN, PLAN], scope, [&[], &[]]).await?;
        let external = |plan: &Value| {
            let found = classes.iter().find(|class| text(class, "/metadata/name") == class_of(plan));
            found.map_or("", |class| text(class, "/spec/externalName")).to_owned()
        };
        let rows = plans.into_iter().map(|plan| (external(&plan), plan)).map(|(class, plan)| (plan, class));
        Ok(rows.filter(|(_, name)| class.is_none_or(|class| class == name)).collect())
    }

    /// `get plans CLASS/PLAN`, and how `provision` looks a plan up.
    pub async fn get_plan(&self, class: &Value, plan: &str) -> kube::Result<Value> {
        let wide = class["kind"] == CLUSTER_CLASS.name;
        let reference = if wide { "spec.clusterServiceClassRef.name" } else { "spec.serviceClassRef.name" };
        let labels = [label(reference, text(class, "/metadata/name")), label("spec.externalName", plan)];
        let mut found = self.list(if wide { CLUSTER_PLAN } else { PLAN }, false, &labels).await?;
        match found.len() {
            0 => Err(says(&format!("plan not found '{plan}'"))),
            1 => Ok(found.remove(0)),
            _ => Err(says(&format!("more than one matching plan found for '{plan}'"))),
        }
    }

    /// `describe plan CLASS/PLAN`: the plan, its class by its name, and the instances of a label that is not hashed.
    pub async fn describe_plan(
        &self,
        class: &str,
        plan: &str,
        scope: Scope,
    ) -> kube::Result<(Value, Value, usize)> {
        let class = self.get_class(class, scope).await?;
        let plan = self.get_plan(&class, plan).await?;
        let kind = if class["kind"] == CLUSTER_CLASS.name { CLUSTER_CLASS } else { CLASS };
        let class = self.get(kind, class_of(&plan)).await?;
        let labels = [format!("servicecatalog.k8s.io/spec.clusterServicePlanRef.name={}", name(&plan))];
        let instances = self.list(INSTANCE, true, &labels).await?;
        Ok((plan, class, instances.len()))
    }

    /// `marketplace`: class, plans, description.
    pub async fn marketplace(&self) -> kube::Result<Vec<(String, Vec<String>, String)>> {
        let classes = self.get_classes(Scope::All, None).await?;
        let plans = self.both([CLUSTER_PLAN, PLAN], Scope::All, [&[], &[]]).await?;
        let row = |class: &Value| {
            let own = plans.iter().filter(|plan| class_of(plan) == name(class));
            let mut plans: Vec<_> = own.map(|plan| text(plan, "/spec/externalName").to_owned()).collect();
            plans.sort();
            (text(class, "/spec/externalName").to_owned(), plans, text(class, "/spec/description").to_owned())
        };
        Ok(classes.iter().map(row).collect())
    }
}

/// The broker that a class or plan names.
pub fn broker_of(entry: &Value) -> &str {
    either(text(entry, "/spec/clusterServiceBrokerName"), text(entry, "/spec/serviceBrokerName"))
}

/// The class that a plan names.
fn class_of(plan: &Value) -> &str {
    either(text(plan, "/spec/clusterServiceClassRef/name"), text(plan, "/spec/serviceClassRef/name"))
}

fn either<'a>(one: &'a str, other: &'a str) -> &'a str {
    if one.is_empty() { other } else { one }
}

/// Instances.
impl Svcat<'_> {
    /// `provision NAME --class CLASS --plan PLAN`, with the fields of `more`.
    pub async fn provision(&self, name: &str, class: &str, plan: &str, more: Value) -> kube::Result<Value> {
        let class = self.get_class(class, Scope::All).await?;
        let plan = self.get_plan(&class, plan).await?;
        let prefix = if class["kind"] == CLUSTER_CLASS.name { "clusterService" } else { "service" };
        let mut spec = json!({
            format!("{prefix}ClassName"): class["metadata"]["name"],
            format!("{prefix}PlanName"): plan["metadata"]["name"],
            "parameters": {},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.create(INSTANCE, name, spec).await
    }

    /// `get instances [--class CLASS] [--plan PLAN]`: name, class and plan as the cluster-wide fields have them, status.
    pub async fn get_instances(
        &self,
        class: Option<&str>,
        plan: Option<&str>,
    ) -> kube::Result<Vec<[String; 4]>> {
        let found = self.list(INSTANCE, false, &[]).await?;
        let specified = |instance: &Value, what: &str| {
            let spellings = ["ExternalName", "ExternalID", "Name"];
            let fields = spellings.map(|spelling| format!("/spec/clusterService{what}{spelling}"));
            fields
                .iter()
                .map(|field| text(instance, field).to_owned())
                .find(|text| !text.is_empty())
                .unwrap_or_default()
        };
        let rows = found.iter().map(|instance| {
            [
                name(instance).to_owned(),
                specified(instance, "Class"),
                specified(instance, "Plan"),
                status(instance).0,
            ]
        });
        let wanted = |row: &[String; 4]| {
            class.is_none_or(|class| class == row[1]) && plan.is_none_or(|plan| plan == row[2])
        };
        Ok(rows.filter(wanted).collect())
    }

    /// `describe instance NAME`: the instance, and its bindings out of those of the namespace.
    pub async fn describe_instance(&self, instance: &str) -> kube::Result<(Value, Vec<Value>)> {
        let object = self.get(INSTANCE, instance).await?;
        Ok((object, self.bindings_of(instance).await?))
    }

    async fn bindings_of(&self, instance: &str) -> kube::Result<Vec<Value>> {
        let mut bindings = self.list(BINDING, false, &[]).await?;
        bindings.retain(|binding| text(binding, "/spec/instanceRef/name") == instance);
        Ok(bindings)
    }

    /// `touch instance NAME`
    pub async fn touch(&self, name: &str) -> kube::Result<Value> {
        let more = |instance: &mut Value| {
            increase(&mut instance["spec"]["updateRequests"]);
        };
        self.change(INSTANCE, name, more).await
    }

    /// `deprovision NAME`
    pub async fn deprovision(&self, name: &str) -> kube::Result<()> {
        self.delete(INSTANCE, name).await
    }

    /// The first half of `--abandon`: GET, and PUT without our finalizer. It is tried once.
    pub async fn let_go(&self, kind: Kind, name: &str) -> kube::Result<Value> {
        let mut object = self.get(kind, name).await?;
        let metadata = object["metadata"].as_object_mut().unwrap();
        let mut finalizers = metadata.shift_remove("finalizers").unwrap_or_default();
        finalizers.as_array_mut().unwrap().retain(|finalizer| finalizer != FINALIZER);
        if finalizers != json!([]) {
            metadata.insert("finalizers".to_owned(), finalizers);
        }
        self.replace(kind, &object).await
    }

    /// The same by a user who repeats it where it fails with a conflict, as the operator may be writing a status.
    pub async fn let_go_at_last(&self, kind: Kind, name: &str) {
        while let Err(error) = self.let_go(kind, name).await {
            assert!(is(&error, 409), "{error}");
        }
    }
}

/// Bindings.
impl Svcat<'_> {
    /// `bind INSTANCE [--name NAME]`, with the fields of `more`.
    pub async fn bind(&self, instance: &str, name: Option<&str>, more: Value) -> kube::Result<Value> {
        let mut spec = json!({ "instanceRef": { "name": instance }, "parameters": {} });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.create(BINDING, name.unwrap_or(instance), spec).await
    }

    /// `unbind INSTANCE`: the names of the bindings that were deleted.
    pub async fn unbind(&self, instance: &str) -> kube::Result<Vec<String>> {
        self.get(INSTANCE, instance).await?;
        let names: Vec<_> =
            self.bindings_of(instance).await?.iter().map(|one| name(one).to_owned()).collect();
        for name in &names {
            self.unbind_by_name(name).await?;
        }
        Ok(names)
    }

    /// `unbind --name NAME`
    pub async fn unbind_by_name(&self, name: &str) -> kube::Result<()> {
        self.delete(BINDING, name).await
    }

    /// `get bindings`: name, instance, status.
    pub async fn get_bindings(&self) -> kube::Result<Vec<[String; 3]>> {
        let found = self.list(BINDING, false, &[]).await?;
        let row = |binding: &Value| {
            [name(binding).to_owned(), text(binding, "/spec/instanceRef/name").to_owned(), status(binding).0]
        };
        Ok(found.iter().map(row).collect())
    }

    /// `describe binding NAME --show-secrets`: the binding, and the content of the Secret that its *spec* names.
    pub async fn describe_binding(&self, name: &str) -> kube::Result<(Value, Value)> {
        let binding = self.get(BINDING, name).await?;
        let path = format!(
            "/api/v1/namespaces/{}/secrets/{}",
            self.0.namespace(),
            text(&binding, "/spec/secretName")
        );
        let secret = self.send("GET", &path, None).await?;
        Ok((binding, secret["data"].clone()))
    }
}
