//! The model: what really exists at the broker, whatever the scripts make it say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};

use super::catalog::has_plan;
use super::running::Running;
use super::{AsyncScript, Operation, Reply, Request, default_catalog};

/// A service instance that exists.
#[derive(Clone, Debug)]
pub struct Instance {
    pub service_id: String,
    pub plan_id: String,
    pub parameters: Value,
    pub context: Value,
    pub maintenance_info: Value,
    /// The body of the request that created it: a repeated PUT must equal it.
    pub created_by: Value,
    /// The body of the newest update that was taken.
    pub updated_by: Value,
    /// Its creation failed: there is something, but only a deletion helps.
    pub failed: bool,
    pub(super) operation: Option<Running>,
}

/// A service binding that exists.
#[derive(Clone, Debug)]
pub struct Binding {
    pub instance_id: String,
    pub plan_id: String,
    pub parameters: Value,
    pub credentials: Value,
    pub created_by: Value,
    pub failed: bool,
    pub(super) operation: Option<Running>,
}

/// Everything that exists, existed, and was said about it.
pub(super) struct Model {
    pub(super) catalog: Value,
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) bindings: BTreeMap<String, Binding>,
    /// How often each id came into being.
    pub(super) created: BTreeMap<String, usize>,
    pub(super) deleted: BTreeSet<String>,
    pub(super) asynchronous: HashMap<Operation, AsyncScript>,
    pub(super) credentials: Option<Value>,
    pub(super) serialise_bindings: bool,
    pub(super) etags: bool,
    /// Ids may be used again.
    pub(super) ids_return: bool,
    /// Every `operation` that a 202 really carried to the platform, by instance or binding id.
    pub(super) issued: BTreeMap<String, Vec<String>>,
    /// The ids that a change was sent for, and whether the newest success was a 202 with an `operation`.
    pub(super) awaiting: BTreeMap<String, bool>,
    operations: usize,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            catalog: default_catalog(),
            instances: BTreeMap::new(),
            bindings: BTreeMap::new(),
            created: BTreeMap::new(),
            deleted: BTreeSet::new(),
            asynchronous: HashMap::new(),
            credentials: None,
            serialise_bindings: false,
            etags: false,
            ids_return: false,
            issued: BTreeMap::new(),
            awaiting: BTreeMap::new(),
            operations: 0,
        }
    }

    /// Does what the request asks, and says so truthfully.
    pub(super) fn apply(&mut self, request: &Request, script: Option<&AsyncScript>) -> Reply {
        let Some(operation) = request.operation else {
            return error(404, None, "there is no such route");
        };
        let script = script.or_else(|| self.asynchronous.get(&operation)).cloned();
        let refused = script.is_some() && operation.is_mutation() && !request.accepts_incomplete();
        // Nothing asynchronous is needed to say that something is already gone.
        let gone = match operation {
            Operation::Deprovision => !self.instances.contains_key(request.instance()),
            Operation::Unbind => !self.bindings.contains_key(request.id()),
            _ => false,
        };
        if refused && !gone {
            return error(422, Some("AsyncRequired"), "this plan needs asynchronous operations");
        }
        match operation {
            Operation::Catalog => self.catalog(request),
            Operation::Provision => self.provision(request, script),
            Operation::Update => self.update(request, script),
            Operation::Deprovision => self.deprovision(request, script),
            Operation::GetInstance => self.get_instance(request),
            Operation::PollInstance => self.poll_instance(request),
            Operation::Bind => self.bind(request, script),
            Operation::Unbind => self.unbind(request, script),
            Operation::GetBinding => self.get_binding(request),
            Operation::PollBinding => self.poll_binding(request),
        }
    }

    /// Remembers that the platform has sent a change for this id, and may ask about it from now on.
    pub(super) fn note_arrival(&mut self, request: &Request) {
        if request.operation.is_some_and(Operation::is_mutation) {
            self.awaiting.entry(ledger_key(request)).or_insert(false);
        }
    }

    /// Remembers what the platform was told, for it has to poll with exactly that.
    pub(super) fn note_answer(&mut self, request: &Request, reply: &Reply) {
        // An error changes nothing about what the platform already knows.
        let told = (200..300).contains(&reply.status);
        if !told || !request.operation.is_some_and(Operation::is_mutation) {
            return;
        }
        let key = ledger_key(request);
        let operation = (reply.status == 202).then(|| reply.value()["operation"].as_str().map(str::to_owned));
        let operation = operation.flatten().filter(|operation| !operation.is_empty());
        self.awaiting.insert(key.clone(), operation.is_some());
        if let Some(operation) = operation {
            self.issued.entry(key).or_default().push(operation);
        }
    }

    /// Starts an asynchronous operation; its 202 is `Running::accepted`.
    pub(super) fn start(&mut self, kind: Operation, script: AsyncScript, plan_before: &str) -> Running {
        self.operations += 1;
        Running::new(kind, script, &format!("operation-{}", self.operations), plan_before)
    }

    fn catalog(&self, request: &Request) -> Reply {
        let reply = Reply::json(200, self.catalog.clone());
        if !self.etags {
            return reply;
        }
        let mut hash = DefaultHasher::new();
        reply.body.hash(&mut hash);
        let etag = format!("\"{:x}\"", hash.finish());
        let known = request.header("if-none-match") == Some(&etag);
        if known { Reply::bytes(304, "") } else { reply }.header("etag", &etag)
    }

    fn provision(&mut self, request: &Request, script: Option<AsyncScript>) -> Reply {
        let id = request.instance().to_owned();
        if let Some(instance) = self.instances.get(&id) {
            if instance.failed || instance.created_by != request.body {
                return error(409, None, "the instance id is taken");
            }
            return match &instance.operation {
                Some(running) if running.is_going(Operation::Provision) => running.accepted(),
                _ => Reply::json(200, provisioned(&id)),
            };
        }
        if !has_plan(&self.catalog, request.text("service_id"), request.text("plan_id")) {
            return error(400, None, "the catalog has no such plan");
        }
        let running = script.map(|script| self.start(Operation::Provision, script, request.text("plan_id")));
        let reply = match &running {
            Some(running) => running.accepted_with(provisioned(&id)),
            None => Reply::json(201, provisioned(&id)),
        };
        let instance = Instance {
            service_id: request.text("service_id").to_owned(),
            plan_id: request.text("plan_id").to_owned(),
            parameters: request.body["parameters"].clone(),
            context: request.body["context"].clone(),
            maintenance_info: request.body["maintenance_info"].clone(),
            created_by: request.body.clone(),
            updated_by: Value::Null,
            failed: false,
            operation: running,
        };
        self.instances.insert(id.clone(), instance);
        *self.created.entry(id).or_default() += 1;
        reply
    }

    fn update(&mut self, request: &Request, script: Option<AsyncScript>) -> Reply {
        let id = request.instance().to_owned();
        let Some(plan_before) = self.instances.get(&id).map(|instance| instance.plan_id.clone()) else {
            return error(404, None, "there is no such instance");
        };
        let running = script.map(|script| self.start(Operation::Update, script, &plan_before));
        let Some(instance) = self.instances.get_mut(&id) else {
            return error(404, None, "");
        };
        if let Some(going) = instance.operation.as_ref().filter(|going| going.is_unfinished()) {
            return if going.is_going(Operation::Update) && instance.updated_by == request.body {
                going.accepted()
            } else {
                concurrency_error()
            };
        }
        instance.updated_by = request.body.clone();
        instance.operation = running;
        if let Some(running) = &instance.operation {
            return running.accepted();
        }
        instance.apply_update();
        Reply::json(200, json!({}))
    }

    fn deprovision(&mut self, request: &Request, script: Option<AsyncScript>) -> Reply {
        let id = request.instance().to_owned();
        let Some(instance) = self.instances.get(&id) else {
            self.deleted.insert(id);
            return Reply::json(410, json!({}));
        };
        match &instance.operation {
            Some(going) if going.is_going(Operation::Deprovision) => return going.accepted(),
            Some(going) if going.is_going(Operation::Update) => return concurrency_error(),
            // A running creation is stopped by its deletion.
            _ => {}
        }
        if self.bindings.values().any(|binding| binding.instance_id == id) {
            return error(400, None, "the instance still has bindings");
        }
        let plan = instance.plan_id.clone();
        match script {
            None => {
                self.remove_instance(&id);
                Reply::json(200, json!({}))
            }
            Some(script) => {
                let running = self.start(Operation::Deprovision, script, &plan);
                let reply = running.accepted();
                if let Some(instance) = self.instances.get_mut(&id) {
                    instance.operation = Some(running);
                }
                reply
            }
        }
    }

    fn get_instance(&self, request: &Request) -> Reply {
        let Some(instance) = self.instances.get(request.instance()) else {
            return error(404, None, "there is no such instance");
        };
        match &instance.operation {
            Some(going) if going.is_going(Operation::Provision) => error(404, None, "not there yet"),
            Some(going) if going.is_going(Operation::Update) => concurrency_error(),
            _ if instance.failed => error(404, None, "it was never finished"),
            _ => {
                let mut body = provisioned(request.instance());
                body["service_id"] = instance.service_id.clone().into();
                body["plan_id"] = instance.plan_id.clone().into();
                for (name, value) in
                    [("parameters", &instance.parameters), ("maintenance_info", &instance.maintenance_info)]
                {
                    if !value.is_null() {
                        body[name] = value.clone();
                    }
                }
                Reply::json(200, body)
            }
        }
    }

    fn poll_instance(&mut self, request: &Request) -> Reply {
        let id = request.instance().to_owned();
        let Some(instance) = self.instances.get_mut(&id) else {
            return self.poll_absent(&id);
        };
        let Some(running) = &mut instance.operation else {
            return Reply::json(200, json!({ "state": "succeeded" }));
        };
        let poll = running.poll(request.query("operation"));
        match (poll.finished, running.kind()) {
            (Some(true), Operation::Deprovision) => self.remove_instance(&id),
            (Some(true), Operation::Update) => instance.apply_update(),
            (Some(false), Operation::Provision) => instance.failed = true,
            _ => {}
        }
        poll.reply
    }

    pub(super) fn poll_absent(&self, id: &str) -> Reply {
        if self.deleted.contains(id) {
            Reply::json(410, json!({}))
        } else {
            error(404, None, "there is nothing of that id")
        }
    }

    fn remove_instance(&mut self, id: &str) {
        self.instances.remove(id);
        self.deleted.insert(id.to_owned());
    }
}

impl Instance {
    /// Takes over what the newest update said; what it did not mention stays.
    fn apply_update(&mut self) {
        let body = self.updated_by.clone();
        if let Some(plan_id) = body["plan_id"].as_str() {
            plan_id.clone_into(&mut self.plan_id);
        }
        if let (Some(new), true) = (body["parameters"].as_object(), self.parameters.is_object()) {
            for (name, value) in new {
                self.parameters[name] = value.clone();
            }
        } else if body["parameters"].is_object() {
            self.parameters = body["parameters"].clone();
        }
        for (name, property) in
            [("context", &mut self.context), ("maintenance_info", &mut self.maintenance_info)]
        {
            if !body[name].is_null() {
                *property = body[name].clone();
            }
        }
    }
}

/// An instance and a binding may have equal `operation`s, but not equal keys here.
pub(super) fn ledger_key(request: &Request) -> String {
    match &request.binding_id {
        Some(binding) => format!("binding {binding}"),
        None => format!("instance {}", request.instance()),
    }
}

pub(super) fn error(status: u16, code: Option<&str>, description: &str) -> Reply {
    let mut body = json!({});
    if let Some(code) = code {
        body["error"] = code.into();
    }
    if !description.is_empty() {
        body["description"] = description.into();
    }
    Reply::json(status, body)
}

pub(super) fn concurrency_error() -> Reply {
    error(422, Some("ConcurrencyError"), "another operation on this instance is in progress")
}

fn provisioned(id: &str) -> Value {
    json!({ "dashboard_url": format!("https://dashboard.example.com/{id}") })
}
