//! The body of one answer: how long it may be, how slowly it may come, and the memory for it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::BodyFault;
use crate::{
    memory_budget::{Reservation, Share},
    wiped::{append, grow},
};

/// The longest catalog that is read, in bytes.
pub const MAX_CATALOG: usize = 16 << 20;
/// The longest other answer that is read, in bytes: a Secret cannot hold more than 1 MiB either.
pub const MAX_BODY: usize = 1 << 20;
/// The longest headers of an answer, names and values together, in bytes.
pub const MAX_HEADERS: usize = 32 << 10;
/// A body that is not longer than this, in bytes, may be as slow as the time limit of the request allows. The
/// reservation of the request covers it ([`crate::memory_budget::REQUEST`]).
pub const FREE_BODY: usize = 32 << 10;

/// The slowest that the rest of a body may come, in bytes in a second.
const LEAST_RATE: u64 = 16 << 10;
/// The time over which the rate is averaged.
pub(super) const LONGEST_STALL: Duration = Duration::from_secs(5);

/// What a body is subject to.
pub(super) struct Limits<'a> {
    /// The longest body, in bytes.
    pub most: usize,
    /// Where the memory for a body comes from that is longer than [`FREE_BODY`].
    pub share: &'a Share,
    /// How many bytes are reserved for each byte of such a body.
    pub factor: usize,
    /// The time over which the rate is averaged.
    pub stall: Duration,
}

/// A complete body, with the memory that it takes. It is wiped when dropped, as it may hold credentials.
pub(super) struct Body {
    pub bytes: Zeroizing<Vec<u8>>,
    pub memory: Option<Reservation>,
}

/// Reads a body. The client's time-out includes this. The memory for a long body is reserved at once for all
/// that may come, because tasks that each hold a part and wait for more would wait for each other.
pub(super) async fn read(response: &mut reqwest::Response, limits: &Limits<'_>) -> Result<Body, BodyFault> {
    let length = response.content_length().and_then(|length| usize::try_from(length).ok());
    if headers_length(response) > MAX_HEADERS || length.is_some_and(|length| length > limits.most) {
        return Err(BodyFault::TooLong);
    }
    let mut body = Body { bytes: Zeroizing::new(Vec::new()), memory: None };
    let mut pace = Pace::new(limits.stall);
    loop {
        let chunk = match timeout_at(pace.until, response.chunk()).await {
            Ok(Ok(None)) => return Ok(body),
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Err(error)) if error.is_timeout() => return Err(BodyFault::TimedOut),
            Ok(Err(_)) => return Err(BodyFault::Lost),
            Err(_) if body.memory.is_some() && !pace.is_kept() => return Err(BodyFault::TimedOut),
            Err(_) => {
                pace = Pace::new(limits.stall);
                continue;
            }
        };
        let needed = body.bytes.len() + chunk.len();
        if needed > limits.most {
            return Err(BodyFault::TooLong);
        }
        if needed > FREE_BODY && body.memory.is_none() {
            let most = length.unwrap_or(limits.most).max(needed);
            body.memory = Some(limits.share.reserve(limits.factor * most).await);
            grow(&mut body.bytes, most);
            pace = Pace::new(limits.stall);
        }
        pace.received += chunk.len() as u64;
        append(&mut body.bytes, &chunk);
        if body.memory.is_some() && pace.is_over() {
            if !pace.is_kept() {
                return Err(BodyFault::TimedOut);
            }
            pace = Pace::new(limits.stall);
        }
    }
}

/// How much of a body has come in the present interval.
struct Pace {
    until: Instant,
    received: u64,
    least: u64,
}

impl Pace {
    fn new(interval: Duration) -> Self {
        let least = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).saturating_mul(LEAST_RATE) / 1000;
        Self { until: Instant::now() + interval, received: 0, least }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn is_kept(&self) -> bool {
        self.received >= self.least
    }
}

fn headers_length(response: &reqwest::Response) -> usize {
    response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
