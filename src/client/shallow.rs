//! Answers of the API server, without what is nested too deep to be read.
//!
//! Parameters are free-form, and the API server takes them hundreds of levels deep. A reader that gives up on such an object
//! gives up on every list and every watch that holds it, and so on the whole kind: one object of one user would stop the
//! work for all others. So whatever lies deeper than [`DEEPEST`] levels comes in as `null`, before anything is read. Nothing
//! of ours is so deep, and parameters are refused long before (`reconcilers::parameters`).

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

use crate::json::{Cursor, Step};

/// The deepest that is read. The reader of JSON gives up at 128 levels.
pub const DEEPEST: usize = 100;

/// An answer whose body has no more than [`DEEPEST`] levels, if it is JSON. Logs and the like are none.
pub fn shallow<B>(response: Response<B>) -> Response<Shallow<B>> {
    let (mut parts, body) = response.into_parts();
    let pruner = is_json(&parts.headers).then(Pruner::default);
    if pruner.is_some() {
        parts.headers.remove(CONTENT_LENGTH);
    }
    Response::from_parts(parts, Shallow { body, pruner })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// A body that passes on what comes as it comes: a watch has no end.
pub struct Shallow<B> {
    body: B,
    pruner: Option<Pruner>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Shallow<B> {
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

/// Takes out of JSON what is too deep, piece by piece.
#[derive(Default)]
struct Pruner {
    cursor: Cursor,
}

impl Pruner {
    /// The piece without what is too deep: itself, not a copy, if there is nothing of it.
    fn prune(&mut self, piece: Bytes) -> Bytes {
        let mut pruned = Vec::new();
        // Where what is not yet in `pruned` begins; nowhere while the cursor is too deep.
        let mut kept = (self.cursor.depth() <= DEEPEST).then_some(0);
        for (index, byte) in piece.iter().enumerate() {
            match self.cursor.step(*byte) {
                Step::Opened if self.cursor.depth() == DEEPEST + 1 => {
                    pruned.extend_from_slice(&piece[kept.take().unwrap_or(index)..index]);
                    pruned.extend_from_slice(b"null");
                }
                Step::Closed if self.cursor.depth() == DEEPEST => kept = Some(index + 1),
                Step::Opened | Step::Closed | Step::Separated | Step::Nothing => {}
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
