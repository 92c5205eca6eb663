//! A limit on the depth of the JSON that the API server sends.
//!
//! Parameters are free-form, and the API server accepts them hundreds of levels deep. `serde_json` refuses
//! JSON of more than 128 levels, and with it every list and every watch that contains such an object. One
//! object of one user would stop the work for all users. So values deeper than [`MAX_DEPTH`] levels are
//! replaced by `null` before `serde_json` reads them. No field of the API is that deep, and
//! `reconcilers::parameters` refuses such parameters earlier.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderMap, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::{Body, Frame};

use crate::json::{Cursor, Structure};

/// The deepest level that is kept. `serde_json` refuses more than 128 levels.
pub const MAX_DEPTH: usize = 100;

/// Limits the depth of an answer to [`MAX_DEPTH`] levels if its body is JSON.
pub fn limit_depth<B>(response: Response<B>) -> Response<DepthLimited<B>> {
    let (mut parts, body) = response.into_parts();
    let pruner = is_json(&parts.headers).then(Pruner::default);
    if pruner.is_some() {
        parts.headers.remove(CONTENT_LENGTH);
    }
    Response::from_parts(parts, DepthLimited { body, pruner })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// A body that passes on each frame as it arrives, because a watch has no end.
pub struct DepthLimited<B> {
    body: B,
    pruner: Option<Pruner>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for DepthLimited<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, pruner } = &mut *self;
        loop {
            let frame = match (ready!(Pin::new(&mut *body).poll_frame(context)), pruner.as_mut()) {
                (Some(Ok(frame)), Some(pruner)) => frame.map_data(|data| pruner.prune(data)),
                (other, _) => return Poll::Ready(other),
            };
            if frame.data_ref().is_none_or(|data| !data.is_empty()) {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Replaces deep values in JSON that arrives in pieces.
#[derive(Default)]
struct Pruner {
    cursor: Cursor,
}

impl Pruner {
    /// The piece without the values that are too deep. If it has none, this is the same piece and not a copy.
    fn prune(&mut self, piece: Bytes) -> Bytes {
        let mut pruned = Vec::new();
        // Where the part of the piece begins that `pruned` does not have yet. `None` while the cursor is too
        // deep.
        let mut kept = (self.cursor.depth() <= MAX_DEPTH).then_some(0);
        for (index, byte) in piece.iter().enumerate() {
            match self.cursor.step(*byte) {
                Structure::Opened if self.cursor.depth() == MAX_DEPTH + 1 => {
                    pruned.extend_from_slice(&piece[kept.take().unwrap_or(index)..index]);
                    pruned.extend_from_slice(b"null");
                }
                Structure::Closed if self.cursor.depth() == MAX_DEPTH => kept = Some(index + 1),
                Structure::Opened | Structure::Closed | Structure::Separated | Structure::Nothing => {}
            }
        }
        match kept {
            Some(0) => piece,
            Some(from) => {
                pruned.extend_from_slice(&piece[from..]);
                pruned.into()
            }
            None => pruned.into(),
        }
    }
}

#[cfg(test)]
mod tests;
