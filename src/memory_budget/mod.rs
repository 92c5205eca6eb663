//! How much memory may the process take for what comes from outside: Secrets, parameters, bodies of brokers,
//! catalogs? All of it together stays within one budget, whatever users and brokers do.
//!
//! The budget has a fixed [`Share`] for each purpose. Whoever needs memory reserves it first, and waits until
//! the share has it ([`Share::reserve`]). Waiting is first come, first served. A reservation ends when it is
//! dropped, with the bytes that it stands for.
//!
//! # Deadlocks
//!
//! A task that holds a reservation waits only for shares further down in [`MemoryBudget`], never for the same
//! one or for one above. So there is no circle of tasks that wait for each other.
//!
//! # Trees of values
//!
//! A tree of JSON values takes many times the memory of its text. Trees exist only between two points at
//! which a task can be suspended, and large ones one after the other ([`one_at_a_time`]), whatever the number
//! of threads is.

pub mod limit;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::block_in_place,
};

/// The budget if there is neither a setting nor a limit of the container, in bytes.
pub const DEFAULT: u64 = 256 << 20;
/// The smallest budget. With it, one of the largest catalogs can be read.
pub const MIN: u64 = 128 << 20;

/// What a request to a broker takes while it is on its way, apart from what has a share of its own: its
/// connection, its task, and an answer that is not large ([`crate::osb::client::FREE_BODY`]).
pub const REQUEST: usize = 128 << 10;

/// Permits of a semaphore are counted in this many bytes.
const UNIT: usize = 1 << 10;

/// The memory for what comes from outside. Its shares are in the order in which one task may reserve them.
#[derive(Debug)]
pub struct MemoryBudget {
    /// Large objects while they are reconciled. They have it instead of a place among the small ones.
    pub objects: Share,
    /// Parameters: from the moment in which their Secrets are read until the broker has answered.
    pub parameters: Share,
    /// The bytes for requests to brokers that are on their way ([`REQUEST`] each). They are counted where requests wait for
    /// their turn ([`crate::brokers`]).
    pub requests: usize,
    /// Single Secrets while they are read.
    pub secrets: Share,
    /// Large answers of brokers, other than catalogs: until everything that follows from them is written.
    pub answers: Share,
    /// Large catalogs while they arrive.
    pub downloads: Share,
    /// Catalogs from the moment in which they are complete: until their classes and plans are written.
    pub catalogs: Share,
    /// The bytes of catalogs that are kept for conditional requests.
    pub kept_catalogs: usize,
}

impl MemoryBudget {
    /// Divides a number of bytes.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        let part = usize::try_from(bytes).unwrap_or(usize::MAX) / 16;
        Self {
            objects: Share::of(2 * part),
            parameters: Share::of(2 * part),
            requests: 3 * part,
            secrets: Share::of(part),
            answers: Share::of(part),
            downloads: Share::of(2 * part),
            catalogs: Share::of(4 * part),
            kept_catalogs: part,
        }
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::of(DEFAULT)
    }
}

/// The part of the budget that is for one purpose.
#[derive(Debug)]
pub struct Share {
    free: Arc<Semaphore>,
    units: u32,
}

impl Share {
    fn of(bytes: usize) -> Self {
        let units = u32::try_from((bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// The permits for a number of bytes. What is larger than the share takes all of it: it is alone then.
    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units)
    }

    /// Reserves bytes, and waits until they are free.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        // The semaphore is never closed.
        Reservation(Arc::clone(&self.free).acquire_many_owned(self.units(bytes)).await.ok())
    }

    /// Reserves bytes if they are free, and if nobody waits for memory.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let reserved = Arc::clone(&self.free).try_acquire_many_owned(self.units(bytes)).ok()?;
        Some(Reservation(Some(reserved)))
    }

    /// Whether a reservation of this share has so many bytes.
    #[must_use]
    pub fn suffices(&self, reserved: &Reservation, bytes: usize) -> bool {
        reserved.0.as_ref().is_none_or(|permits| permits.num_permits() >= self.units(bytes) as usize)
    }

    /// The bytes that nobody has reserved.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits() * UNIT
    }
}

/// Memory that may be used, until this is dropped.
#[derive(Debug)]
#[must_use = "the memory is free again when this is dropped"]
pub struct Reservation(Option<OwnedSemaphorePermit>);

impl Reservation {
    /// Gives back what is not needed.
    pub fn shrink_to(&mut self, bytes: usize) {
        if let Some(reserved) = &mut self.0 {
            let surplus = reserved.num_permits().saturating_sub(bytes.div_ceil(UNIT));
            drop(reserved.split(surplus));
        }
    }
}

tokio::task_local! {
    static HELD: RefCell<Vec<Reservation>>;
}

/// Runs a future. What it [`hold`]s is reserved until it ends.
pub async fn holding<F: Future>(future: F) -> F::Output {
    HELD.scope(RefCell::default(), future).await
}

/// Keeps a reservation until the innermost [`holding`] around this call ends, because what it stands for
/// is passed on to others. Without one, the reservation ends now.
pub fn hold(reservation: Reservation) {
    let _ = HELD.try_with(|held| held.borrow_mut().push(reservation));
}

/// Texts that are shorter than this make small trees, in bytes.
const SMALL_TEXT: usize = 64 << 10;

/// Does work that makes a tree of values from a text of this many bytes. If it is large, other such work
/// waits meanwhile.
pub fn one_at_a_time<T>(text: usize, work: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    thread_local! {
        static IS_ALONE: Cell<bool> = const { Cell::new(false) };
    }
    if text < SMALL_TEXT || IS_ALONE.get() {
        return work();
    }
    let alone = || {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        IS_ALONE.set(true);
        let done = work();
        IS_ALONE.set(false);
        done
    };
    // Other tasks of this thread go on meanwhile.
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(alone),
        _ => alone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn shares_together_are_the_budget() {
        for total in [MIN, DEFAULT, 1 << 33] {
            let all = MemoryBudget::of(total);
            let whole = all.requests + all.kept_catalogs;
            let MemoryBudget { objects, parameters, secrets, answers, downloads, catalogs, .. } = all;
            let shares = [objects, parameters, secrets, answers, downloads, catalogs];
            let sum: usize = shares.iter().map(Share::free).sum::<usize>() + whole;
            assert_eq!(sum as u64, total);
        }
    }

    #[tokio::test]
    async fn a_reservation_is_free_again_when_it_is_dropped_or_shrinks() {
        let share = Share::of(4 * MIB);
        let mut first = share.reserve(3 * MIB).await;
        assert!(share.try_reserve(2 * MIB).is_none());
        first.shrink_to(MIB);
        first.shrink_to(2 * MIB);
        assert_eq!(share.free(), 3 * MIB);
        let second = share.try_reserve(3 * MIB).unwrap();
        drop(first);
        assert_eq!(share.free(), MIB);
        drop(second);
        assert_eq!(share.free(), 4 * MIB);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_share_has_it_alone() {
        let share = Share::of(MIB);
        let large = share.reserve(100 * MIB).await;
        assert!(share.try_reserve(1).is_none());
        drop(large);
        assert!(share.try_reserve(1).is_some());
    }

    #[tokio::test]
    async fn nobody_overtakes_one_that_waits() {
        let share = Share::of(2 * MIB);
        let first = share.reserve(MIB).await;
        let mut large = std::pin::pin!(share.reserve(2 * MIB));
        assert!(futures::poll!(&mut large).is_pending());
        assert!(share.try_reserve(1).is_none(), "one waits for more than there is");
        drop(first);
        drop(large.await);
        assert_eq!(share.free(), 2 * MIB);
    }

    #[tokio::test]
    async fn what_a_future_holds_ends_with_it() {
        let share = Share::of(MIB);
        holding(async {
            hold(share.reserve(MIB).await);
            assert_eq!(share.free(), 0);
        })
        .await;
        assert_eq!(share.free(), MIB);
        hold(share.reserve(MIB).await);
        assert_eq!(share.free(), MIB, "nobody holds it");
    }

    #[test]
    fn large_trees_are_made_one_after_the_other() {
        let (now, most) = (Mutex::new(0), Mutex::new(0));
        let tree = || {
            one_at_a_time(MIB, || {
                *now.lock().unwrap() += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
                let inner = one_at_a_time(MIB, || *now.lock().unwrap());
                let mut most = most.lock().unwrap();
                *most = inner.max(*most);
                *now.lock().unwrap() -= 1;
            });
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(tree))));
        assert_eq!(*most.lock().unwrap(), 1);
    }
}
