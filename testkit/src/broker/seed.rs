//! What exists at the broker before the platform under test comes: an earlier platform has asked for it.

use serde_json::Value;

use super::running::Running;
use super::{AsyncScript, Binding, Broker, Instance, Operation};

/// What an earlier platform was told of an operation that is still going on.
#[derive(Clone, Debug)]
pub struct Begun {
    pub kind: Operation,
    pub operation: String,
    /// The body of the update, where it is one.
    pub body: Value,
    pub script: AsyncScript,
}

impl Begun {
    /// An operation of this name that succeeds with the second poll.
    pub fn new(kind: Operation, operation: &str) -> Self {
        let script = AsyncScript::succeeding(1).operation(operation);
        Self { kind, operation: operation.to_owned(), body: Value::Null, script }
    }

    /// The body of an update.
    #[must_use]
    pub fn with_body(self, body: Value) -> Self {
        Self { body, ..self }
    }

    fn run(&self, plan: &str) -> Running {
        Running::new(self.kind, self.script.clone(), &self.operation, plan)
    }
}

impl Broker {
    /// An instance that was made by this request.
    pub fn seed_instance(&self, id: &str, body: &Value, begun: Option<&Begun>) {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let instance = Instance {
            service_id: text("service_id"),
            plan_id: text("plan_id"),
            parameters: body["parameters"].clone(),
            context: body["context"].clone(),
            maintenance_info: body["maintenance_info"].clone(),
            created_by: body.clone(),
            updated_by: begun.map_or(Value::Null, |begun| begun.body.clone()),
            failed: false,
            operation: begun.map(|begun| begun.run(&text("plan_id"))),
        };
        self.inner.change(|state| state.model.instances.insert(id.to_owned(), instance));
        self.seeded(id, &format!("instance {id}"), begun);
    }

    /// A binding that was made by this request.
    pub fn seed_binding(
        &self,
        id: &str,
        instance_id: &str,
        body: &Value,
        credentials: &Value,
        begun: Option<&Begun>,
    ) {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let binding = Binding {
            instance_id: instance_id.to_owned(),
            plan_id: text("plan_id"),
            parameters: body["parameters"].clone(),
            credentials: credentials.clone(),
            created_by: body.clone(),
            failed: false,
            operation: begun.map(|begun| begun.run(&text("plan_id"))),
        };
        self.inner.change(|state| state.model.bindings.insert(id.to_owned(), binding));
        self.seeded(id, &format!("binding {id}"), begun);
    }

    fn seeded(&self, id: &str, key: &str, begun: Option<&Begun>) {
        self.inner.change(|state| {
            *state.model.created.entry(id.to_owned()).or_default() += 1;
            if let Some(begun) = begun {
                state.model.awaiting.insert(key.to_owned(), true);
                state.model.issued.entry(key.to_owned()).or_default().push(begun.operation.clone());
            }
        });
    }

    /// An instance that is not to stay, because its platform did not learn of it. Its id may be used again: where a user
    /// has chosen it, a platform has no other.
    pub fn seed_orphan(&self, id: &str, body: &Value, begun: Option<&Begun>) {
        self.seed_instance(id, body, begun);
        self.inner.change(|state| {
            state.model.created.remove(id);
            state.model.ids_return = true;
        });
    }
}
