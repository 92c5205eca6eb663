//! Asynchronous operations, and the bindings of the model, which can have them too.

use serde_json::{Value, json};

use super::asynchrony::Handed;
use super::model::{Binding, Model, concurrency_error, error};
use super::{AsyncScript, Operation, Reply, Request};

/// An asynchronous operation, during and after its run.
#[derive(Clone, Debug)]
pub(super) struct Running {
    kind: Operation,
    script: AsyncScript,
    operation: Option<Value>,
    pub(super) plan_before: String,
    polls: usize,
    /// The final answer, repeated for as long as somebody asks.
    finished: Option<Reply>,
}

/// The answer to a poll, and whether this very poll ended the operation (and how).
pub(super) struct Polled {
    pub(super) reply: Reply,
    pub(super) finished: Option<bool>,
}

impl Running {
    pub(super) fn new(kind: Operation, script: AsyncScript, generated: &str, plan_before: &str) -> Self {
        let operation = match &script.operation {
            Handed::Generated => Some(generated.into()),
            Handed::This(operation) => Some(operation.clone()),
            Handed::Nothing => None,
        };
        Self { kind, script, operation, plan_before: plan_before.to_owned(), polls: 0, finished: None }
    }

    pub(super) fn kind(&self) -> Operation {
        self.kind
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.finished.is_none()
    }

    pub(super) fn is_going(&self, kind: Operation) -> bool {
        self.kind == kind && self.is_unfinished()
    }

    /// The 202, the same each time.
    pub(super) fn accepted(&self) -> Reply {
        self.accepted_with(json!({}))
    }

    pub(super) fn accepted_with(&self, mut body: Value) -> Reply {
        if let Some(operation) = &self.operation {
            body["operation"] = operation.clone();
        }
        Reply::json(202, body)
    }

    pub(super) fn poll(&mut self, operation: Option<&str>) -> Polled {
        let ours = self.operation.as_ref().and_then(Value::as_str).filter(|ours| !ours.is_empty());
        if let (Some(asked), Some(ours)) = (operation, ours)
            && asked != ours
        {
            let body = json!({ "state": "failed", "description": "a later operation took over" });
            return Polled { reply: Reply::json(200, body), finished: None };
        }
        if let Some(reply) = &self.finished {
            return Polled { reply: reply.clone(), finished: None };
        }
        let held = self.script.hold.as_ref().is_some_and(|hold| !hold.is_released());
        if held || self.polls < self.script.polls {
            self.polls += 1;
            let body = json!({ "state": "in progress", "description": self.script.progress });
            let mut reply = Reply::json(200, body);
            reply.headers.extend(self.script.headers.iter().cloned());
            return Polled { reply, finished: None };
        }
        let state = if self.script.succeeds { "succeeded" } else { "failed" };
        let usual = || Reply::json(200, json!({ "state": state }));
        let mut reply = self.script.end.clone().unwrap_or_else(usual);
        for (name, value) in &self.script.fields {
            reply.set(name, value.clone());
        }
        self.finished = Some(reply.clone());
        Polled { reply, finished: Some(self.script.succeeds) }
    }
}

impl Model {
    pub(super) fn bind(&mut self, request: &Request, script: Option<AsyncScript>) -> Reply {
        let id = request.id().to_owned();
        if let Some(binding) = self.bindings.get(&id) {
            let same = binding.instance_id == request.instance() && binding.created_by == request.body;
            if binding.failed || !same {
                return error(409, None, "the binding id is taken");
            }
            return match &binding.operation {
                Some(running) if running.is_going(Operation::Bind) => running.accepted(),
                _ => Reply::json(200, json!({ "credentials": binding.credentials })),
            };
        }
        let Some(instance) = self.instances.get(request.instance()) else {
            return error(404, None, "there is no such instance");
        };
        let unfinished = |running: &Option<Running>| running.as_ref().is_some_and(Running::is_unfinished);
        let busy = self.serialise_bindings
            && self
                .bindings
                .values()
                .any(|binding| binding.instance_id == request.instance() && unfinished(&binding.operation));
        if busy || unfinished(&instance.operation) || instance.failed {
            return concurrency_error();
        }
        let predecessor = request.body["predecessor_binding_id"].as_str();
        let carried = predecessor.and_then(|id| self.bindings.get(id));
        // A rotation says no parameters: the broker carries them over.
        let parameters = match (&request.body["parameters"], carried) {
            (Value::Null, Some(predecessor)) => predecessor.parameters.clone(),
            (parameters, _) => parameters.clone(),
        };
        let credentials = self.credentials.clone().unwrap_or_else(|| {
            json!({
                "uri": format!("postgresql://{id}:s3cret@db.example.com:5432/{}", request.instance()),
                "username": id,
                "password": "s3cret",
            })
        });
        let running = script.map(|script| self.start(Operation::Bind, script, request.text("plan_id")));
        let reply = match &running {
            Some(running) => running.accepted(),
            None => Reply::json(201, json!({ "credentials": credentials })),
        };
        let binding = Binding {
            instance_id: request.instance().to_owned(),
            plan_id: request.text("plan_id").to_owned(),
            parameters,
            credentials,
            created_by: request.body.clone(),
            failed: false,
            operation: running,
        };
        self.bindings.insert(id.clone(), binding);
        *self.created.entry(id).or_default() += 1;
        reply
    }

    pub(super) fn unbind(&mut self, request: &Request, script: Option<AsyncScript>) -> Reply {
        let id = request.id().to_owned();
        let Some(binding) = self.bindings.get(&id) else {
            self.deleted.insert(id);
            return Reply::json(410, json!({}));
        };
        if let Some(going) = binding.operation.as_ref().filter(|going| going.is_going(Operation::Unbind)) {
            return going.accepted();
        }
        let busy = self.serialise_bindings
            && self.bindings.iter().any(|(other, binding)| {
                *other != id
                    && binding.instance_id == request.instance()
                    && binding.operation.as_ref().is_some_and(Running::is_unfinished)
            });
        if busy {
            return concurrency_error();
        }
        let Some(script) = script else {
            self.remove_binding(&id);
            return Reply::json(200, json!({}));
        };
        let plan = binding.plan_id.clone();
        let running = self.start(Operation::Unbind, script, &plan);
        let reply = running.accepted();
        if let Some(binding) = self.bindings.get_mut(&id) {
            binding.operation = Some(running);
        }
        reply
    }

    pub(super) fn get_binding(&self, request: &Request) -> Reply {
        let Some(binding) = self.bindings.get(request.id()) else {
            return error(404, None, "there is no such binding");
        };
        let unfinished = binding.operation.as_ref().is_some_and(|going| going.is_going(Operation::Bind));
        if unfinished || binding.failed || binding.instance_id != request.instance() {
            return error(404, None, "there is no such binding yet");
        }
        let mut body = json!({ "credentials": binding.credentials });
        if !binding.parameters.is_null() {
            body["parameters"] = binding.parameters.clone();
        }
        Reply::json(200, body)
    }

    pub(super) fn poll_binding(&mut self, request: &Request) -> Reply {
        let id = request.id().to_owned();
        let Some(binding) = self.bindings.get_mut(&id) else {
            return self.poll_absent(&id);
        };
        let Some(running) = &mut binding.operation else {
            return Reply::json(200, json!({ "state": "succeeded" }));
        };
        let poll = running.poll(request.query("operation"));
        match (poll.finished, running.kind()) {
            (Some(true), Operation::Unbind) => self.remove_binding(&id),
            (Some(false), Operation::Bind) => binding.failed = true,
            _ => {}
        }
        poll.reply
    }

    fn remove_binding(&mut self, id: &str) {
        self.bindings.remove(id);
        self.deleted.insert(id.to_owned());
    }
}
