//! What is no answer, or hardly one: bytes that only a socket can carry. Each has one outcome, and none takes longer, or more
//! memory, than a request may.

use std::time::{Duration, Instant};

use service_catalog::osb::{Client, Outcome};

use crate::script::{Act, Broker, answer, bind_request, provision_request, refused, target, update_request};

/// What came of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Meaning {
    Answered,
    Refused(u16),
    Unsent,
    /// With the status, if one came; and whether what may have been created is to be deleted.
    UnknownOutcome(Option<u16>, bool),
}
use Meaning::{Answered, UnknownOutcome};

fn meaning<T>(outcome: &Outcome<T>) -> Meaning {
    match outcome {
        Outcome::Answered(_) => Answered,
        Outcome::Refused(refusal) => Meaning::Refused(refusal.status),
        Outcome::Unsent(_) => Meaning::Unsent,
        Outcome::Unknown(doubt) => UnknownOutcome(doubt.status, doubt.mitigate),
    }
}

async fn provision(client: &Client) -> Meaning {
    meaning(&client.provision(&"i".into(), &provision_request(), None).await)
}

async fn update(client: &Client) -> Meaning {
    meaning(&client.update(&"i".into(), &update_request(), None).await)
}

async fn deprovision(client: &Client) -> Meaning {
    meaning(&client.deprovision(&"i".into(), &target(), None).await)
}

/// A head that is all right, with these fields, and what follows it.
fn said(status: u16, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} x\r\n{fields}\r\n{body}")
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
/// No status was understood, so nobody knows what became of the request.
const NO_HEAD: Meaning = UnknownOutcome(None, true);
/// The status was; the body was not.
const NO_BODY: Meaning = UnknownOutcome(Some(201), true);

/// What a provision, whose success is 201, comes to when these texts are said.
async fn expect(expected: Meaning, texts: &[String]) {
    for text in texts {
        let broker = Broker::start(vec![Act::SayAndClose(text.clone())]).await;
        let shown = text.get(..200).unwrap_or(text);
        assert_eq!(provision(&broker.client()).await, expected, "{shown:?}");
        assert_eq!(broker.requests().len(), 1, "nothing is sent twice: {shown:?}");
    }
}

// OSB 92, 141
#[tokio::test]
async fn a_chunked_body_that_breaks_is_a_malformed_success() {
    let long = format!("2;x={}\r\n{{}}\r\n0\r\n\r\n", "y".repeat(1 << 20));
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let broken = [
        "",
        "ZZ\r\n",
        "-1\r\n{}\r\n0\r\n\r\n",
        "5\r\n{}",
        "5\r\n{}\r\n0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n",
        "2\r\n{}\r\n0",
        "FFFFFFFFFFFFFFFFF\r\n{}",
        &long,
        &trailers,
    ];
    for body in broken {
        let shown = body.get(..40).unwrap_or(body);
        let act = |status| Act::SayAndClose(said(status, CHUNKED, body));
        let broker = Broker::start(vec![act(201), act(200), act(200)]).await;
        let client = broker.client();
        assert_eq!(provision(&client).await, NO_BODY, "{shown:?}");
        assert_eq!(update(&client).await, UnknownOutcome(Some(200), false), "{shown:?}");
        assert_eq!(deprovision(&client).await, Answered, "{shown:?}");
    }
    let fine = [
        "2;a=b\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",
        "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        "0000000002\r\n{}\r\n0\r\n\r\n",
    ];
    expect(Answered, &fine.map(|body| said(201, CHUNKED, body))).await;
}

#[tokio::test]
async fn a_length_that_is_none_leaves_no_answer() {
    let wrong = ["abc", "-1", "2, 3", "0x2", "", "99999999999999999999", "2\r\nContent-Length: 3"];
    expect(NO_HEAD, &wrong.map(|length| said(201, &format!("Content-Length: {length}\r\n"), "{}"))).await;
    let same = said(201, "Content-Length: 2\r\nContent-Length: 2\r\n", "{}");
    expect(Answered, &[same]).await;
    // Both: chunks count, as RFC 9112 has it.
    let both = |body| said(201, &format!("Content-Length: 100\r\n{CHUNKED}"), body);
    expect(Answered, &[both("2\r\n{}\r\n0\r\n\r\n")]).await;
    expect(NO_BODY, &[both("{}")]).await;
    // Another coding has no length at all: it ends with the connection.
    expect(Answered, &[said(201, "Transfer-Encoding: gzip\r\nContent-Length: 1\r\n", "{}")]).await;
}

#[tokio::test]
async fn what_exceeds_its_length_is_no_part_of_the_next_answer() {
    let forged = answer(200, r#"{"operation":"forged"}"#);
    for (length, expected) in [(0, NO_BODY), (1, NO_BODY), (2, Answered)] {
        let text = said(201, &format!("Content-Length: {length}\r\n"), &format!("{{}}{forged}"));
        let broker = Broker::start(vec![Act::Say(text), Act::Say(answer(410, "{}"))]).await;
        let client = broker.client();
        assert_eq!(provision(&client).await, expected, "{length}");
        // Whether it was on the way already when the next request was sent cannot be controlled; it is not believed.
        let next = meaning(&client.provision(&"j".into(), &provision_request(), None).await);
        assert!([Meaning::Refused(410), NO_HEAD].contains(&next), "{length}: {next:?}");
    }
}

#[tokio::test]
async fn a_flood_of_headers_is_cut() {
    let many = "X: y\r\n".repeat(5000);
    let long = format!("X: {}\r\n", "y".repeat(4 << 20));
    let name = format!("{}: x\r\n", "x".repeat(1 << 20));
    expect(NO_HEAD, &[many, long, name].map(|fields| said(201, &fields, "{}"))).await;
    let status = format!("HTTP/1.1 201 {}\r\n\r\n{{}}", "x".repeat(4 << 20));
    expect(NO_HEAD, &[status]).await;
    for act in [
        Act::Flood("HTTP/1.1 201 x\r\nX: ".into()),
        Act::Flood("HTTP/1.1 201 ".into()),
        Act::Flood(String::new()),
        Act::Repeat("X: y\r\n".into()),
        Act::Repeat("\r\n".into()),
    ] {
        let broker = Broker::start(vec![act]).await;
        let started = Instant::now();
        assert_eq!(provision(&broker.hasty_client()).await, NO_HEAD);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

// OSB 92
#[tokio::test]
async fn a_head_that_breaks_leaves_no_answer() {
    let heads = [
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 2000 x\r\n\r\n{}",
        "HTTP/1.1 -20 x\r\n\r\n{}",
        "HTTP/1.1 201 x\r\nno colon\r\n\r\n{}",
        "HTTP/1.1 201 x\r\nbad name: x\r\n\r\n{}",
        "HTTP/1.1 201 x\r\nX: a\0b\r\n\r\n{}",
        "HTTP/1.1 201 x\r\nContent-Length: 2\r\n",
        "HTTP/3 201 x\r\n\r\n{}",
        "HTTP/2.0 201 x\r\n\r\n{}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "ICY 200 OK\r\n\r\n{}",
        "{\"operation\":\"x\"}",
        "",
    ];
    expect(NO_HEAD, &heads.map(str::to_owned)).await;
}

#[tokio::test]
async fn a_head_that_is_only_odd_is_read() {
    let heads = [
        "HTTP/1.1 201\r\n\r\n{}",
        "HTTP/1.1 201 \r\n\r\n{}",
        "HTTP/1.1 201 x\n\n{}",
        "HTTP/1.1 201 x\r\nX:\r\n\r\n{}",
    ];
    expect(Answered, &heads.map(str::to_owned)).await;
    for (status, expected) in [
        (299, UnknownOutcome(Some(299), true)),
        (599, UnknownOutcome(Some(599), true)),
        (700, UnknownOutcome(Some(700), true)),
        (999, UnknownOutcome(Some(999), true)),
        (499, Meaning::Refused(499)),
    ] {
        expect(expected, &[answer(status, "{}")]).await;
    }
}

// OSB 25a
#[tokio::test]
async fn interim_answers_without_end_take_no_longer_than_an_answer_may() {
    for status in [100, 102, 103, 199] {
        let broker = Broker::start(vec![Act::Repeat(format!("HTTP/1.1 {status} x\r\n\r\n"))]).await;
        let started = Instant::now();
        assert_eq!(provision(&broker.hasty_client()).await, NO_HEAD, "{status}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    // The one that ends the protocol is an answer, and none that is foreseen.
    let upgrade = said(101, "Connection: upgrade\r\nUpgrade: websocket\r\n", "");
    expect(UnknownOutcome(Some(101), true), &[upgrade]).await;
}

// OSB 25a
#[tokio::test]
async fn a_head_that_drips_takes_no_longer_than_an_answer_may() {
    for text in ["", "HTTP/1.1 201 x", "HTTP/1.1 201 x\r\nX: "] {
        let broker = Broker::start(vec![Act::Drip(text.into())]).await;
        let started = Instant::now();
        assert_eq!(provision(&broker.hasty_client()).await, NO_HEAD, "{text:?}");
        assert!(started.elapsed() < Duration::from_secs(3));
    }
    let broker = Broker::start(vec![Act::Drip(said(201, CHUNKED, "2\r\n{}\r\n"))]).await;
    assert_eq!(provision(&broker.hasty_client()).await, NO_BODY);
}

/// Nothing that is compressed is asked for, so nothing is unpacked: a bomb is as long as its bytes.
#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    // `{}`, by gzip.
    let packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00"
        .as_slice();
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let head =
            said(201, &format!("Content-Encoding: {coding}\r\nContent-Length: {}\r\n", packed.len()), "");
        let broker = Broker::start(vec![Act::SayBytes([head.as_bytes(), packed].concat())]).await;
        assert_eq!(provision(&broker.client()).await, NO_BODY, "{coding}");
        assert!(!broker.requests()[0].to_ascii_lowercase().contains("accept-encoding"));
    }
    // What only says that it is compressed is read as it is.
    expect(Answered, &[said(201, "Content-Encoding: gzip\r\n", "{}")]).await;
}

#[tokio::test]
async fn a_body_in_another_encoding_is_read_or_malformed() {
    let utf16: Vec<u8> = "{\"operation\":\"x\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let nested = format!(r#"{{"metadata":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let cases: [(&[u8], Meaning); 9] = [
        (b"{\"dashboard_url\":\"\xff\xfe\"}", NO_BODY),
        (&utf16, NO_BODY),
        (b"\xef\xbb\xbf{}", NO_BODY),
        (br#"{"dashboard_url":"\ud800"}"#, NO_BODY),
        (nested.as_bytes(), NO_BODY),
        (br#"{"metadata":1e999}"#, NO_BODY),
        (b"{} {}", NO_BODY),
        (b" \r\n\t{} \r\n", Answered),
        (br#"{"dashboard_url":"a","dashboard_url":"b"}"#, Answered),
    ];
    for (body, expected) in cases {
        let head = said(201, "", "");
        let broker = Broker::start(vec![Act::SayBytes([head.as_bytes(), body].concat())]).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(provision(&broker.client()).await, expected, "{shown}");
    }
}

// OSB 121
// v0.3 Q8
#[tokio::test]
async fn no_redirect_of_any_operation_is_followed() {
    let elsewhere = Broker::start(vec![Act::Say(answer(200, "{}"))]).await;
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for location in [
            format!("http://{}/v2/catalog", elsewhere.address),
            "/v2/catalog".into(),
            "//".into(),
            "\u{e9}:".into(),
        ] {
            let redirect = said(status, &format!("Location: {location}\r\nContent-Length: 0\r\n"), "");
            let broker = Broker::start(vec![Act::Say(redirect)]).await;
            let client = broker.client();
            refused(client.catalog(None).await);
            refused(client.provision(&"i".into(), &provision_request(), None).await);
            refused(client.update(&"i".into(), &update_request(), None).await);
            refused(client.deprovision(&"i".into(), &target(), None).await);
            refused(client.get_instance(&"i".into(), &target(), None).await);
            refused(client.poll_instance(&"i".into(), &target(), None, None).await);
            refused(client.bind(&"i".into(), &"b".into(), &bind_request(), true, None).await);
            refused(client.unbind(&"i".into(), &"b".into(), &target(), None).await);
            refused(client.get_binding(&"i".into(), &"b".into(), &target(), None).await);
            refused(client.poll_binding(&"i".into(), &"b".into(), &target(), None, None).await);
            assert_eq!(broker.requests().len(), 10, "not even here: {status} {location}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_broker_that_hangs_up_with_its_answer_has_answered_if_that_was_whole() {
    let broker =
        Broker::start(vec![Act::SayAndReset(said(413, "Connection: close\r\nContent-Length: 2\r\n", "{}"))])
            .await;
    assert_eq!(provision(&broker.client()).await, Meaning::Refused(413));
    let broker = Broker::start(vec![Act::SayAndReset(said(201, "", "{}"))]).await;
    assert_eq!(provision(&broker.client()).await, NO_BODY);
}
