//! What the client says of a request: enough to find it in the broker's log, and nothing of what it holds.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use service_catalog::osb::Operation;

use crate::script::{Act, Broker, answer, answered, bind_request};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps what is told in this process from now on: a subscriber of one thread is not always heard while others have none.
    fn keep(&self) {
        let log = self.clone();
        let lines = tracing_subscriber::fmt().with_env_filter("service_catalog=debug").with_ansi(false);
        tracing::subscriber::set_global_default(lines.with_writer(move || log.clone()).finish()).unwrap();
    }

    /// The lines about these requests.
    fn about(&self, ids: &[String]) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| ids.iter().any(|id| line.contains(id.as_str())));
        lines.map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// OSB 11
#[tokio::test]
async fn request_is_observed_by_its_id_and_an_answer_that_names_another_is_logged() {
    let body = r#"{"credentials":{"password":"hunter2"}}"#;
    let odd = format!(
        "HTTP/1.1 200 OK\r\nX-Broker-API-Request-Identity: another\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let broker = Broker::start(vec![Act::Say(answer(200, body)), Act::Say(odd)]).await;
    let (observed, log) = (Arc::new(Mutex::new(Vec::new())), Log::default());
    let keep = Arc::clone(&observed);
    let client = broker.client().observed_by(Arc::new(move |exchange| keep.lock().unwrap().push(*exchange)));
    log.keep();
    for _ in 0..2 {
        answered(client.bind(&"i".into(), &"b".into(), &bind_request(), true, None).await);
    }
    let id = |request: &String| {
        let header = request.lines().find(|line| line.starts_with("x-broker-api-request-identity"));
        header.and_then(|line| line.split_once(": ")).unwrap().1.to_owned()
    };
    let ids: Vec<String> = broker.requests().iter().map(id).collect();
    assert_ne!(ids[0], ids[1], "an id names one request");
    let seen: Vec<_> = observed.lock().unwrap().clone();
    let named: Vec<String> = seen.iter().map(|exchange| exchange.request_id.to_string()).collect();
    assert_eq!(named, ids);
    assert!(seen.iter().all(|exchange| exchange.operation == Operation::Bind));
    assert!(seen.iter().all(|exchange| (exchange.status, exchange.outcome) == (Some(200), "answered")));
    let lines = log.about(&ids);
    let [line] = &lines[..] else { panic!("one line: {lines:#?}") };
    assert!(line.contains("the identity of another request") && line.contains(&ids[1]), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}
