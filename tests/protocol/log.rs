//! What the client tells the log: enough to find a request in the broker's log, and nothing of what it holds.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

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

#[tokio::test]
async fn a_request_is_logged_by_its_id_and_so_is_an_answer_that_names_another() {
    let body = r#"{"credentials":{"password":"hunter2"}}"#;
    let odd = format!(
        "HTTP/1.1 200 OK\r\nX-Broker-API-Request-Identity: another\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let broker = Broker::start(vec![Act::Say(answer(200, body)), Act::Say(odd)]).await;
    let (client, log) = (broker.client(), Log::default());
    log.keep();
    for _ in 0..2 {
        answered(client.bind("i", "b", &bind_request(), true, None).await);
    }
    let id = |request: &String| {
        let header = request.lines().find(|line| line.starts_with("x-broker-api-request-identity"));
        header.and_then(|line| line.split_once(": ")).unwrap().1.to_owned()
    };
    let ids: Vec<String> = broker.requests().iter().map(id).collect();
    assert_ne!(ids[0], ids[1], "an id names one request");
    let lines = log.about(&ids);
    let expected =
        [("asked a broker", &ids[0]), ("names another request", &ids[1]), ("asked a broker", &ids[1])];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (words, id)) in lines.iter().zip(expected) {
        assert!(line.contains(words) && line.contains(id.as_str()), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}
