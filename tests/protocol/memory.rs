//! How much memory answers take, whatever brokers send, and however slowly: on real sockets.

use std::{sync::Arc, time::Duration};

use service_catalog::{
    memory_budget::{MIN, MemoryBudget, holding},
    osb::{Client, ClientSettings, Outcome, client::MAX_CATALOG},
};

use crate::script::{Act, Broker, answer, bind_request, endpoint, unknown};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const CATALOG: &str = r#"{"services":[{"id":"s","name":"s","description":"","bindable":true,"plans":[{"id":"p","name":"p","description":""}]}]}"#;
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that shares a budget with others.
fn client(broker: &Broker, memory: &Arc<MemoryBudget>, timeout: Duration) -> Client {
    let settings = ClientSettings { request_timeout: timeout, ..ClientSettings::default() };
    let client = Client::new(&endpoint(&format!("http://{}", broker.address)), &settings).unwrap();
    client.within(Arc::clone(memory))
}

fn chunk(length: usize) -> String {
    format!("{length:x}\r\n{}\r\n", " ".repeat(length))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn brokers_that_stop_in_the_middle_of_a_catalog_share_one_budget() {
    let memory = Arc::new(MemoryBudget::of(MIN));
    let all = memory.downloads.free();
    assert!(all < 2 * MAX_CATALOG, "one at a time");
    let stalling = Broker::start(vec![Act::SayAndHang(format!("{CHUNKED}{}", chunk(1 << 20)))]).await;
    let brokers = 10;
    let requests: Vec<_> = (0..brokers)
        .map(|_| {
            let client = client(&stalling, &memory, Duration::from_secs(2));
            tokio::spawn(async move { unknown(client.catalog(None).await) })
        })
        .collect();
    until("none of them has memory", || memory.downloads.free() < MAX_CATALOG).await;
    for request in requests {
        // They end after a stall, or when the time of the request is over.
        assert!(request.await.unwrap().message.to_string().contains("did not complete its answer in time"));
    }
    assert_eq!(memory.downloads.free(), all);
}

#[tokio::test]
async fn a_short_answer_waits_for_no_memory() {
    let memory = Arc::new(MemoryBudget::of(MIN));
    let _all = (memory.downloads.reserve(1 << 30).await, memory.answers.reserve(1 << 30).await);
    let broker = Broker::start(vec![Act::Say(answer(200, CATALOG)), Act::Say(answer(201, "{}"))]).await;
    let client = client(&broker, &memory, PATIENCE);
    assert!(matches!(client.catalog(None).await, Outcome::Answered(Ok(_))));
    let bound = client.bind(&"i".into(), &"b".into(), &bind_request(), false, None).await;
    assert!(matches!(bound, Outcome::Answered(_)));
}

#[tokio::test]
async fn a_body_that_stalls_ends_long_before_the_time_of_the_request_if_it_is_large() {
    let stalls = async |length, patience| {
        let broker = Broker::start(vec![Act::SayAndHang(format!("{CHUNKED}{}", chunk(length)))]).await;
        let client = client(&broker, &Arc::default(), Duration::from_secs(20 * 60));
        tokio::time::timeout(patience, client.catalog(None)).await.is_err()
    };
    let (large, small) = tokio::join!(stalls(1 << 20, PATIENCE), stalls(1 << 10, Duration::from_secs(7)));
    assert_eq!((large, small), (false, true));
}

#[tokio::test]
async fn the_memory_of_a_catalog_is_free_when_what_follows_from_it_is_done() {
    let memory = Arc::new(MemoryBudget::of(MIN));
    let (all, downloads) = (memory.catalogs.free(), memory.downloads.free());
    let body = format!("{CATALOG}{}", " ".repeat(100 << 10));
    let tagged = answer(200, &body).replacen("\r\n", "\r\nETag: \"1\"\r\n", 1);
    let unchanged = "HTTP/1.1 304 x\r\nETag: \"1\"\r\n\r\n".to_owned();
    let broker = Broker::start(vec![Act::Say(tagged), Act::Say(unchanged)]).await;
    let client = client(&broker, &memory, PATIENCE);
    let mut kept = None;
    for _ in 0..2 {
        holding(async {
            let Outcome::Answered(Ok(fetched)) = client.catalog(kept.as_ref()).await else {
                panic!("refused")
            };
            kept = fetched.document;
            assert!(memory.catalogs.free() <= all - body.len(), "{}", memory.catalogs.free());
        })
        .await;
        assert_eq!((memory.catalogs.free(), memory.downloads.free()), (all, downloads));
    }
}

#[tokio::test]
async fn the_memory_of_credentials_is_free_when_they_are_written() {
    let memory = Arc::new(MemoryBudget::of(MIN));
    let all = memory.answers.free();
    let body = format!(r#"{{"credentials":{{"a":"{}"}}}}"#, "x".repeat(500 << 10));
    let broker = Broker::start(vec![Act::Say(answer(201, &body))]).await;
    let client = client(&broker, &memory, PATIENCE);
    holding(async {
        let bound = client.bind(&"i".into(), &"b".into(), &bind_request(), false, None).await;
        assert!(matches!(bound, Outcome::Answered(_)));
        assert!(memory.answers.free() <= all - body.len());
    })
    .await;
    assert_eq!(memory.answers.free(), all);
}

#[tokio::test]
async fn headers_that_are_too_long_are_no_answer() {
    for (length, fine) in [(10, true), (200 << 10, false)] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: {}\r\n\r\n",
            "x".repeat(length),
            CATALOG.len()
        );
        let broker = Broker::start(vec![Act::Say(head + CATALOG)]).await;
        let outcome = broker.client().catalog(None).await;
        assert_eq!(matches!(outcome, Outcome::Answered(Ok(_))), fine, "{length}");
    }
}
