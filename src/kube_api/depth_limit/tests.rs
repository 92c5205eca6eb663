use std::{collections::VecDeque, convert::Infallible};

use futures::{FutureExt as _, future::poll_fn};
use serde_json::Value;

use super::*;
use crate::json::depth;

/// A body whose pieces are ready at once. After them it has no more data and no end.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.pop_front().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
    }
}

fn answer(kind: &str, pieces: impl IntoIterator<Item = Bytes>) -> Response<DepthLimited<Pieces>> {
    let pieces = Pieces(pieces.into_iter().collect());
    let answer = Response::builder().header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, "1");
    limit_depth(answer.body(pieces).unwrap())
}

/// The pieces that can be read without waiting.
fn read(answer: Response<DepthLimited<Pieces>>) -> Vec<Bytes> {
    let mut body = answer.into_body();
    let mut next = || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).now_or_never().flatten();
    std::iter::from_fn(|| next().map(|frame| frame.unwrap().into_data().unwrap())).collect()
}

fn json(text: &str, size: usize) -> String {
    let pieces = text.as_bytes().chunks(size).map(Bytes::copy_from_slice);
    let pieces = read(answer("application/json", pieces));
    assert!(pieces.iter().all(|piece| !piece.is_empty()), "a reader may take an empty piece for the end");
    String::from_utf8(pieces.concat()).unwrap()
}

fn nested(levels: usize, core: &str) -> String {
    format!("{}{core}{}", "{\"k\":[".repeat(levels / 2), "]}".repeat(levels / 2))
}

/// The same JSON with deep values replaced by null. Reads the text into a tree, so it works for up to 127
/// levels.
fn expected(text: &str) -> Value {
    fn prune(value: &mut Value, levels: usize) {
        match value {
            Value::Array(_) | Value::Object(_) if levels == 0 => *value = Value::Null,
            Value::Array(items) => items.iter_mut().for_each(|item| prune(item, levels - 1)),
            Value::Object(members) => members.values_mut().for_each(|member| prune(member, levels - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut value = serde_json::from_str(text).unwrap();
    prune(&mut value, MAX_DEPTH);
    value
}

#[test]
fn deep_values_are_null_however_the_pieces_are_cut() {
    let core = r#"{"a]}\\\"[":"}]\"","b":[[],{}],"c":"\\","d":7},"é",{}"#;
    for levels in [MAX_DEPTH - 2, MAX_DEPTH, MAX_DEPTH + 2, 120] {
        let text =
            format!(r#"{{"items":[{},{}],"kind":"X"}}"#, nested(levels - 2, core), nested(levels, core));
        for size in [1, 2, 3, 7, 64, 10_000] {
            let read: Value = serde_json::from_str(&json(&text, size)).unwrap();
            assert_eq!(read, expected(&text), "{levels} levels in pieces of {size}");
        }
    }
}

#[test]
fn json_that_serde_refuses_can_be_read() {
    let text = format!("{{\"a\":{},\"b\":1}}", nested(100_000, "0"));
    assert!(serde_json::from_str::<Value>(&text).is_err());
    let read = json(&text, 1000);
    assert_eq!(depth(read.as_bytes()), MAX_DEPTH);
    assert_eq!(serde_json::from_str::<Value>(&read).unwrap()["b"], 1);
}

#[test]
fn a_watch_is_passed_on_piece_by_piece() {
    let lines = ["{\"n\":1}\n".to_owned(), nested(300, "0") + "\n", "{\"n\":2}\n".to_owned()];
    let pieces = lines.iter().map(|line| Bytes::copy_from_slice(line.as_bytes()));
    let read = read(answer("application/json;stream=watch", pieces));
    assert_eq!([&read[0], &read[2]], [lines[0].as_bytes(), lines[2].as_bytes()]);
    assert_eq!(read.len(), 3);
    assert_eq!(depth(&read[1]), MAX_DEPTH);
}

#[test]
fn shallow_json_is_not_copied() {
    let piece = Bytes::from(nested(MAX_DEPTH, "{}").replace("{}", "0"));
    let answer = answer("application/json", [piece.clone()]);
    assert!(answer.headers().contains_key(CONTENT_TYPE));
    assert!(!answer.headers().contains_key(CONTENT_LENGTH), "the length may have changed");
    let read = read(answer);
    assert_eq!(read[0].as_ptr(), piece.as_ptr());
}

#[test]
fn other_content_is_not_changed() {
    let log = Bytes::from("[".repeat(1000));
    for kind in ["text/plain", "application/vnd.kubernetes.protobuf", "application/json-seq", ""] {
        let answer = answer(kind, [log.clone()]);
        assert!(answer.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(read(answer).concat(), log, "{kind}");
    }
}
