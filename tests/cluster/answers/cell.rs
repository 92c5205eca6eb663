//! One cell of the table: an object that is brought to where a request is due, the answer, and what must be seen after it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{
    broker::{Operation, Request},
    stage::{
        case::Case,
        objects::{BINDING, INSTANCE, Kind, SECRET, condition, is_ready, uid},
        wait,
    },
};

use super::{
    play::{DOUBT, FAULT, UNREADABLE, play},
    table::Row,
};

/// What the user does once the object is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deed {
    Nothing,
    Edit,
    Delete,
    LoseSecret,
}

/// One cell.
pub struct Cell {
    row: Row,
    ambiguous: bool,
    name: String,
    deed: Deed,
    /// What the broker answers, in order; to the last one the verdict applies.
    steps: Vec<Step>,
}

impl Cell {
    /// `None` if no object can be brought there.
    pub fn of(index: usize, row: &Row, ambiguous: bool) -> Option<Self> {
        let (deed, mut steps, asked) = path(row.operation, ambiguous)?;
        steps.push((asked, row.answer));
        let name = format!("{}-{index}", if ambiguous { "again" } else { "fresh" });
        Some(Self { row: *row, ambiguous, name, deed, steps })
    }

    fn is_of_binding(&self) -> bool {
        let (asked, _) = self.asked();
        matches!(asked, Operation::Bind | Operation::Unbind | Operation::PollBinding | Operation::GetBinding)
    }

    fn kind(&self) -> Kind {
        if self.is_of_binding() { BINDING } else { INSTANCE }
    }

    /// The operation that is answered, and which of its requests it is.
    fn asked(&self) -> (Operation, usize) {
        let asked = self.steps.last().map_or(Operation::Catalog, |(operation, _)| *operation);
        (asked, self.steps.iter().filter(|(operation, _)| *operation == asked).count())
    }

    fn expected(&self) -> &'static str {
        self.row.verdicts[usize::from(self.ambiguous)]
    }

    /// Creates the objects, and tells the broker what to answer them.
    pub async fn prepare(&self, case: &Case) {
        let instance = case.order(&self.name, "small", json!({ "parameters": { "size": 1 } })).await;
        let object =
            if self.is_of_binding() { case.bind(&self.name, &self.name, json!({})).await } else { instance };
        for (operation, answer) in &self.steps {
            play(&case.broker, *operation, Some(uid(&object)), answer);
        }
    }

    /// Does what the user does, and waits until the object is at rest.
    pub async fn drive(&self, case: &Case) {
        let (kind, name) = (self.kind(), self.name.as_str());
        if self.deed != Deed::Nothing {
            case.ready(kind, name).await;
        }
        let mut lost = String::new();
        match self.deed {
            Deed::Nothing => {}
            Deed::Edit => drop(case.edit(kind, name, json!({ "parameters": { "size": 2 } })).await),
            Deed::Delete => case.delete(kind, name).await,
            Deed::LoseSecret => {
                uid(&case.get(SECRET, name).await).clone_into(&mut lost);
                case.delete(SECRET, name).await;
            }
        }
        if self.deed == Deed::LoseSecret {
            // The object may be ready all along, and then nobody tells when.
            case.until(SECRET, name, "to be restored", |secret| uid(secret) != lost).await;
        }
        let what = format!("to be at rest: {self}");
        let at_rest = |object: Option<&Value>| {
            let rests = match object {
                None => self.deed == Deed::Delete,
                Some(object) => self.deed != Deed::Delete && (is_ready(object) || has_failed(object)),
            };
            rests && self.answered(case).is_some()
        };
        wait::until(case.stage, &case.hand, (kind, name), &what, at_rest).await;
    }

    /// What is not as the table says.
    pub async fn check(&self, case: &Case) -> Option<String> {
        let object = case.hand.get(self.kind(), &self.name).await.unwrap();
        let (trace, at) = self.answered(case)?;
        let wrong = self.verdict(self.expected(), &trace, at, object.as_ref()).err()?;
        let logs = case.stage.operator.logs().unwrap();
        let about = format!("/{}.{}", self.name, case.namespace());
        let logged: Vec<&str> = logs.lines().filter(|line| line.contains(&about)).collect();
        // On a busy machine the intent may be on record so late that nothing is sent then: an attempt in doubt.
        let late = logged.iter().any(|line| line.contains("category=\"late\""));
        if late && self.verdict(self.row.verdicts[1], &trace, at, object.as_ref()).is_ok() {
            return None;
        }
        let seen: Vec<String> =
            trace.iter().enumerate().map(|(index, request)| mark(index == at, request)).collect();
        let status = object.map(|object| object["status"].to_string()).unwrap_or_default();
        Some(format!("{self}: {wrong}\n{}\n  {status}\n{}", seen.join("\n"), logged.join("\n")))
    }

    fn verdict(
        &self,
        expected: &str,
        trace: &[Request],
        at: usize,
        object: Option<&Value>,
    ) -> Result<(), String> {
        let asked = self.asked().0;
        // Before a provision is undone whose repetition met a conflict, the broker is asked whether there is anything.
        let looks = |request: &&Request| asked == Operation::Provision && request.is(Operation::GetInstance);
        let (request, next) = (&trace[at], trace[at + 1..].iter().find(|request| !looks(request)));
        let follows = |operations: &[Operation]| {
            next.is_some_and(|next| operations.iter().any(|operation| next.is(*operation)))
        };
        let (create, delete, poll) = if self.is_of_binding() {
            (Operation::Bind, Operation::Unbind, Operation::PollBinding)
        } else {
            (Operation::Provision, Operation::Deprovision, Operation::PollInstance)
        };
        let same_id = next.is_some_and(|next| next.id() == request.id());
        let mitigated = self.row.operation.ends_with("(mitigation)");
        let right = match expected {
            "success" if mitigated => follows(&[create]) && !same_id,
            "success" if asked == poll && self.deed != Deed::Delete => {
                follows(&[Operation::GetBinding, Operation::GetInstance]) && same_id
            }
            "success" | "terminal" | "keep" => next.is_none(),
            "wait" if asked == Operation::GetBinding => follows(&[poll, asked]) && same_id,
            "wait" => follows(&[poll, asked]) && same_id,
            "retry" if asked == poll => follows(&[delete]) && same_id,
            "retry" => {
                let repeated =
                    |next: &Request| next.raw_target == request.raw_target && says_the_same(request, next);
                follows(&[asked]) && next.is_some_and(repeated)
            }
            "mitigate" => {
                let later: BTreeSet<&str> = trace[at..]
                    .iter()
                    .filter(|request| request.is(create))
                    .skip(usize::from(asked == create))
                    .map(Request::id)
                    .collect();
                follows(&[delete]) && same_id && !later.contains(request.id())
            }
            other => return Err(format!("{other:?} is no verdict")),
        };
        if !right {
            return Err("the broker was asked something else next".to_owned());
        }
        self.end(expected, object)
    }

    /// What the object must be in the end.
    fn end(&self, expected: &str, object: Option<&Value>) -> Result<(), String> {
        let state = match object {
            None => "gone",
            Some(object) if is_ready(object) => "ready",
            Some(object) if has_failed(object) => "failed",
            Some(_) => "under way",
        };
        let right = match expected {
            _ if self.deed == Deed::Delete => state == "gone",
            "terminal" => state == "failed",
            "mitigate" => state == "ready" || state == "failed",
            _ => state == "ready",
        };
        if right { Ok(()) } else { Err(format!("the object is {state}")) }
    }

    /// The requests for the object, under whichever ids, and which of them was answered as the row says.
    fn answered(&self, case: &Case) -> Option<(Vec<Request>, usize)> {
        let broker = &case.broker;
        let of_this = |request: &Request| {
            request.is(Operation::Provision) && request.body["context"]["instance_name"] == *self.name
        };
        let ids: BTreeSet<String> =
            broker.requests(of_this).iter().map(|request| request.instance().to_owned()).collect();
        let trace = broker.requests(|request| {
            ids.contains(request.instance()) && request.binding_id.is_some() == self.is_of_binding()
        });
        let (asked, number) = self.asked();
        let at = trace.iter().enumerate().filter(|(_, request)| request.is(asked)).nth(number - 1)?.0;
        Some((trace, at))
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Row { operation, answer, .. } = self.row;
        let column = if self.ambiguous { "after an ambiguous attempt" } else { "fresh" };
        write!(f, "{} = {operation} | {answer} | {column} | {}", self.name, self.expected())
    }
}

/// An operation, and how it is answered.
type Step = (Operation, &'static str);

/// What the user does, what the broker answers before the answer in question, and what it is that is answered then.
fn path(operation: &str, ambiguous: bool) -> Option<(Deed, Vec<Step>, Operation)> {
    use Operation as O;
    let (name, variant) = operation.split_once(" (").unwrap_or((operation, ""));
    let (create, delete, poll) = match name {
        "provision" | "update" | "deprovision" | "poll instance" | "get instance" => {
            (O::Provision, O::Deprovision, O::PollInstance)
        }
        "bind" | "unbind" | "poll binding" | "get binding" => (O::Bind, O::Unbind, O::PollBinding),
        _ => return None,
    };
    let before = |operation, doubt| if ambiguous { vec![(operation, doubt)] } else { vec![] };
    let accepted = |operation| vec![(operation, "202 with operation")];
    // Without an answer, the request is repeated three times first.
    let lost = if ambiguous { vec![(create, "reset after effect"); 4] } else { vec![(create, "500")] };
    Some(match (name, variant) {
        ("provision" | "bind", "") => (Deed::Nothing, before(create, DOUBT), create),
        ("update", "") => (Deed::Edit, before(O::Update, FAULT), O::Update),
        ("deprovision" | "unbind", "") => (Deed::Delete, before(delete, FAULT), delete),
        ("deprovision" | "unbind", "mitigation)") => (Deed::Nothing, lost, delete),
        ("poll instance" | "poll binding", "") => {
            (Deed::Nothing, [before(create, DOUBT), accepted(create)].concat(), poll)
        }
        ("poll instance", "update)") => {
            (Deed::Edit, [before(O::Update, FAULT), accepted(O::Update)].concat(), poll)
        }
        ("poll instance" | "poll binding", "deletion)") => {
            (Deed::Delete, [before(delete, FAULT), accepted(delete)].concat(), poll)
        }
        ("poll instance" | "poll binding", "mitigation)") => {
            (Deed::Nothing, [lost, accepted(delete)].concat(), poll)
        }
        ("get instance", "") if ambiguous => {
            (Deed::Nothing, vec![(create, UNREADABLE), (create, "409")], O::GetInstance)
        }
        ("get instance", "") => (Deed::Nothing, accepted(create), O::GetInstance),
        ("get binding", "") => {
            (Deed::Nothing, [before(create, DOUBT), accepted(create)].concat(), O::GetBinding)
        }
        // A binding that is ready has no attempt in doubt.
        ("get binding", "restore)") if !ambiguous => (Deed::LoseSecret, vec![], O::GetBinding),
        _ => return None,
    })
}

fn has_failed(object: &Value) -> bool {
    let status = &object["status"];
    let under_way = ["currentOperation", "asyncOpInProgress", "orphanMitigationInProgress"];
    condition(object, "Failed").is_some_and(|(failed, ..)| failed == "True")
        // A binding has none: its spec does not change.
        && (status["observedGeneration"].is_null()
            || status["observedGeneration"] == object["metadata"]["generation"])
        && under_way.iter().all(|field| status[*field].is_null() || status[*field] == false)
}

/// Whether a request is the same again. After an update that may have taken effect, the plan is said along with it.
fn says_the_same(request: &Request, next: &Request) -> bool {
    if !request.is(Operation::Update) {
        return next.body_bytes == request.body_bytes;
    }
    let (mut said, mut again) = (request.body.clone(), next.body.clone());
    let plans = [&mut said, &mut again]
        .map(|body| body.as_object_mut().and_then(|body| body.shift_remove("plan_id")));
    said == again && (plans[0] == plans[1] || plans[0].is_none())
}

fn mark(marked: bool, request: &Request) -> String {
    format!("  {} {request}", if marked { ">" } else { " " })
}
