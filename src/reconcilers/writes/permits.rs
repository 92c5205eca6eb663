//! How many writes are in progress at the API server?

use tokio::sync::{Semaphore, SemaphorePermit};

/// Limits how many writes are in progress.
pub struct WritePermits {
    semaphore: Semaphore,
    limit: usize,
}

impl WritePermits {
    /// At most so many writes at the same time.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { semaphore: Semaphore::new(limit), limit }
    }

    /// Waits for a permit to write. First come, first served.
    pub async fn acquire(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.semaphore.acquire().await.ok()
    }

    /// Whether more than half of the permits are taken. Then what is less important waits.
    #[must_use]
    pub fn are_scarce(&self) -> bool {
        self.semaphore.available_permits() * 2 < self.limit
    }
}
