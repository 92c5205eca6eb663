//! From a request on the wire to its answer: journal, checks, scripts, model, and back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request as HttpRequest, State as Shared};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, StreamExt};

use super::model::error;
use super::script::{Action, Delivery, Rule};
use super::wire::{Fate, Line};
use super::{Auth, Inner, Reply, Request, State, check};

/// The bytes a request may have; far more than any that a test sends.
const BODY_LIMIT: usize = 64 << 20;

/// What is put on the wire.
enum Outcome {
    Reply(Reply, Delivery),
    Cut(Fate),
}

/// Everything goes to one handler: axum's router would decode the path, and ids may hold slashes.
pub(super) fn router(inner: Arc<Inner>) -> Router {
    Router::new().fallback(handle).with_state(inner)
}

async fn handle(
    Shared(inner): Shared<Arc<Inner>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: HttpRequest,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        // The platform broke off; there is nobody to answer.
        line.cut(Fate::Closed);
        return Response::new(Body::empty());
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::parse(parts.method.as_str(), target, parts.headers, body.to_vec());
    let index = inner.change(|state| {
        state.journal.push(request.clone());
        state.journal.len() - 1
    });
    // In a task of its own: what has begun at a broker goes on when the platform hangs up, whereas
    // this future ends with the connection.
    let work = tokio::spawn(process(Arc::clone(&inner), request.clone()));
    let outcome = work.await.unwrap_or(Outcome::Cut(Fate::Reset));
    let status = match &outcome {
        Outcome::Reply(reply, _) => Some(reply.status),
        Outcome::Cut(Fate::Raw(bytes)) => raw_status(bytes),
        Outcome::Cut(_) => None,
    };
    inner.change(|state| {
        let entry = &mut state.journal[index];
        entry.status = status;
        entry.answered_at = status.map(|_| Instant::now());
        // A cut answer tells the platform nothing that it could be held to.
        if let Outcome::Reply(reply, Delivery::Whole | Delivery::Dripping(_)) = &outcome {
            state.model.note_answer(&request, reply);
        }
    });
    match outcome {
        Outcome::Reply(reply, delivery) => send(reply, delivery, &line),
        Outcome::Cut(fate) => {
            line.cut(fate);
            Response::new(Body::empty())
        }
    }
}

async fn process(inner: Arc<Inner>, request: Request) -> Outcome {
    let rule = match inner.change(|state| admit(state, &request)) {
        Ok(rule) => rule,
        Err(reply) => return Outcome::Reply(reply, Delivery::Whole),
    };
    let Some(rule) = rule else {
        let reply = inner.change(|state| state.model.apply(&request, None));
        return Outcome::Reply(reply, Delivery::Whole);
    };
    let script = match &rule.action {
        Action::Async(script) => Some(script.clone()),
        _ => None,
    };
    let apply = || inner.change(|state| state.model.apply(&request, script.as_ref()));
    let before = rule.after_effect.then(&apply);
    if let Some(hold) = &rule.hold {
        hold.released().await;
    }
    let truth = || before.unwrap_or_else(apply);
    match rule.action {
        Action::Truth(amendment) => {
            let mut reply = truth();
            if let Some(amend) = amendment {
                amend(&mut reply);
            }
            Outcome::Reply(reply, rule.delivery)
        }
        Action::Async(_) => Outcome::Reply(truth(), rule.delivery),
        Action::Reply(reply) => Outcome::Reply(reply, rule.delivery),
        Action::Reset => Outcome::Cut(Fate::Reset),
        Action::Close => Outcome::Cut(Fate::Closed),
        Action::Raw(bytes) => Outcome::Cut(Fate::Raw(bytes)),
    }
}

/// Who may not come in is turned away; who may gets the script that applies, if any.
fn admit(state: &mut State, request: &Request) -> Result<Option<Rule>, Reply> {
    if !authorised(&state.auth, request) {
        return Err(Reply::bytes(401, "Not authorised\n").header("content-type", "text/plain"));
    }
    let findings = check::findings(&state.model, request);
    if !findings.is_empty() {
        let what = format!("{} {}", request.method, request.raw_target);
        state.violations.extend(findings.iter().map(|finding| format!("{what}: {finding}")));
        return Err(error(400, None, &findings.join("; ")));
    }
    if request.header("x-broker-api-version") != Some(&state.api_version) {
        return Err(error(412, None, &format!("this broker depends on version {}", state.api_version)));
    }
    state.model.note_arrival(request);
    Ok(state.rules.iter_mut().find_map(|rule| rule.takes(request).then(|| rule.clone())))
}

fn authorised(auth: &Auth, request: &Request) -> bool {
    let expected = match auth {
        Auth::None => return true,
        Auth::Basic(user, password) => format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
        Auth::Bearer(token) => format!("Bearer {token}"),
    };
    request.header("authorization") == Some(&expected)
}

fn send(reply: Reply, delivery: Delivery, line: &Line) -> Response {
    let body = match delivery {
        Delivery::Whole => Body::from(reply.body),
        Delivery::Truncated => {
            line.cut(Fate::Raw(truncated(&reply)));
            return Response::new(Body::empty());
        }
        Delivery::Dripping(interval) => {
            let drops = stream::iter(reply.body).then(move |byte| async move {
                // The slowness is the fault; nothing waits on it to learn something.
                tokio::time::sleep(interval).await;
                Ok::<_, Infallible>(vec![byte])
            });
            Body::from_stream(drops)
        }
        Delivery::Stalling => {
            let body = stream::iter([Ok::<_, Infallible>(reply.body)]);
            Body::from_stream(body.chain(stream::pending()))
        }
        Delivery::Endless => {
            let blanks = stream::repeat_with(|| vec![b' '; 16 << 10]);
            Body::from_stream(stream::iter([reply.body]).chain(blanks).map(Ok::<_, Infallible>))
        }
    };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(body).expect("a script's answer has a status of 200 to 999 and valid headers")
}

/// An answer that announces its full length and has half of it.
fn truncated(reply: &Reply) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {} Cut\r\ncontent-length: {}\r\n", reply.status, reply.body.len()).into_bytes();
    for (name, value) in &reply.headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(&reply.body[..reply.body.len() / 2]);
    bytes
}

/// The status in the first line of raw bytes.
fn raw_status(bytes: &[u8]) -> Option<u16> {
    String::from_utf8_lossy(bytes.get(..32.min(bytes.len()))?).split(' ').nth(1)?.get(..3)?.parse().ok()
}
