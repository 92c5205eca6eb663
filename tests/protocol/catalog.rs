//! A catalog that need not be sent again.

use service_catalog::osb::RefusalReason;

use crate::script::{Act, Broker, answer, answered, refused};

const EMPTY: &str = r#"{"services":[]}"#;
const ONE: &str = r#"{"services":[{"id":"i","name":"n","description":"d","bindable":true,
    "plans":[{"id":"p","name":"n","description":"d"}]}]}"#;
const NOT_MODIFIED: &str = "HTTP/1.1 304 x\r\n\r\n";

fn with_headers(headers: &str) -> Act {
    let length = ONE.len();
    Act::Say(format!("HTTP/1.1 200 x\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{ONE}"))
}

/// The conditions in a request.
fn conditions(request: &str) -> Vec<String> {
    request.lines().filter(|line| line.starts_with("if-")).map(str::to_owned).collect()
}

// OSB 38
#[tokio::test]
async fn a_catalog_that_still_holds_is_the_one_that_was_fetched() {
    for (headers, condition) in [
        ("ETag: \"v1\"", "if-none-match: \"v1\""),
        ("etag: W/\"v1\"", "if-none-match: W/\"v1\""),
        (
            "Date: Thu, 01 Jan 2026 00:00:10 GMT\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
            "if-modified-since: Thu, 01 Jan 2026 00:00:00 GMT",
        ),
    ] {
        let broker = Broker::start(vec![
            with_headers(headers),
            Act::Say(NOT_MODIFIED.into()),
            Act::Say(answer(200, EMPTY)),
        ])
        .await;
        let client = broker.client();
        let first = answered(client.catalog(None).await).unwrap();
        let second = answered(client.catalog(first.document.as_ref()).await).unwrap();
        assert_eq!(first.catalog, second.catalog);
        assert!(!first.catalog.offerings.is_empty());
        // The 304 said nothing of it, so the next question is the same; and 200 is a new catalog.
        let third = answered(client.catalog(second.document.as_ref()).await).unwrap();
        assert!(third.catalog.offerings.is_empty() && third.document.is_none());
        let requests = broker.requests();
        assert_eq!(conditions(&requests[0]), [""; 0]);
        assert_eq!(conditions(&requests[1]), [condition]);
        assert_eq!(conditions(&requests[2]), [condition]);
    }
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_is_a_failure() {
    let broker = Broker::start(vec![Act::Say(answer(200, EMPTY)), Act::Say(NOT_MODIFIED.into())]).await;
    let client = broker.client();
    let first = answered(client.catalog(None).await).unwrap();
    for before in [None, first.document.as_ref()] {
        let refusal = refused(client.catalog(before).await);
        assert_eq!((refusal.status, refusal.reason), (304, RefusalReason::Other));
        assert!(
            refusal.message.to_string().contains("the request was not conditional"),
            "{}",
            refusal.message
        );
    }
    assert!(broker.requests().iter().all(|request| conditions(request).is_empty()));
}

#[tokio::test]
async fn what_is_no_etag_is_not_sent_back() {
    let long = format!("ETag: \"{}\"", "x".repeat(1023));
    for headers in ["ETag: *", "ETag: v1", "ETag: \"a\", \"b\"", "ETag: \"\u{e9}\"", long.as_str()] {
        let broker = Broker::start(vec![with_headers(headers)]).await;
        let client = broker.client();
        let first = answered(client.catalog(None).await).unwrap();
        answered(client.catalog(first.document.as_ref()).await).unwrap();
        assert!(broker.requests().iter().all(|request| conditions(request).is_empty()), "{headers}");
    }
}
