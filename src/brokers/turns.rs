//! Whose request to a broker is next. A broker gets only so many requests at once, and those that want to send one
//! stand in lanes: each namespace has a lane for its orders and one for everything else, and the catalog has its own.
//!
//! * Free places go round the lanes. Within a lane, who came first is first.
//! * A lane that has requests under way leaves a quarter of what is free, and at least one place. A broker that does
//!   not answer keeps a place for as long as the time-out of a request. Without the rest, one namespace with many such
//!   requests would keep all others waiting, because a request that was sent cannot be taken back. With 16 places, one
//!   lane takes 12 at most, a second one 3, a third one 1. So a namespace waits only behind a broker on which two others
//!   wait already, and then for no longer than until its turn in the round.
//! * Orders (PUT, PATCH) of a namespace do not delay its DELETEs, polls and GETs, because these have a lane of their
//!   own.
//!
//! The requests to all brokers together have a limit too, the memory for them. There each [`Tenant`] has a lane, so many
//! brokers that do not answer leave a part to others.
//!
//! [`Turns`] is the pure part: it only counts. [`Places`] makes tasks wait.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use crate::crd::common::BrokerKey;

/// Which part of the free places a lane with requests under way leaves to others.
const RESERVE: usize = 4;

/// How long a task waits before it says so. A burst of orders that the broker answers at once passes sooner.
const QUICK_TURN: Duration = Duration::from_secs(10);

/// The time between two tasks that say that they wait. Behind a broker that answers faster than this, the turn of a task
/// comes before it has to say anything, so that a burst of orders costs no further writes.
const NOTICE_INTERVAL: Duration = Duration::from_millis(100);

/// Who wants to send a request.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Lane {
    /// The operator, for the catalog.
    Catalog,
    /// A namespace, for a PUT or PATCH.
    Orders(String),
    /// A namespace, for anything else.
    Others(String),
}

/// Whose brokers share the places for all requests.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Tenant {
    /// A cluster-wide broker.
    Broker(String),
    /// The brokers of a namespace.
    Namespace(String),
}

impl Tenant {
    pub(super) fn of(broker: &BrokerKey) -> Self {
        match &broker.namespace {
            Some(namespace) => Self::Namespace(namespace.clone()),
            None => Self::Broker(broker.name.clone()),
        }
    }
}

/// The place of a task in its lane.
type Ticket = u64;

/// The places for requests, and who waits for one. `L` names a lane, `W` is what the owner of the structure keeps of a waiting task.
struct Turns<L, W> {
    places: usize,
    taken: usize,
    /// How many places each lane has. No entry is zero.
    taken_by: HashMap<L, usize>,
    /// The tasks that wait. No entry is empty.
    waiting: HashMap<L, BTreeMap<Ticket, W>>,
    /// The lanes in which tasks wait, the next one first. Each of them once.
    round: VecDeque<L>,
    next_ticket: Ticket,
}

impl<L: Clone + Eq + Hash, W> Turns<L, W> {
    fn new(places: usize) -> Self {
        Self {
            places,
            taken: 0,
            taken_by: HashMap::new(),
            waiting: HashMap::new(),
            round: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Takes a place, if the lane may have one at once.
    fn try_take(&mut self, lane: &L) -> bool {
        // Others that wait are no reason to wait too: those that could have the place would have it.
        let can_take = !self.waiting.contains_key(lane) && self.may_take(lane);
        if can_take {
            self.take(lane);
        }
        can_take
    }

    /// Queues a task. [`Self::next`] gives it its place.
    fn queue(&mut self, lane: &L, task: W) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let waiting = self.waiting.entry(lane.clone()).or_default();
        if waiting.is_empty() {
            self.round.push_back(lane.clone());
        }
        waiting.insert(ticket, task);
        ticket
    }

    /// Removes a task that waits no longer. `false`: it has got its place already.
    fn withdraw(&mut self, lane: &L, ticket: Ticket) -> bool {
        let Some(waiting) = self.waiting.get_mut(lane) else { return false };
        let was_waiting = waiting.remove(&ticket).is_some();
        if waiting.is_empty() {
            self.waiting.remove(lane);
            self.round.retain(|other| other != lane);
        }
        was_waiting
    }

    /// Gives a place back. [`Self::next`] gives it to others.
    fn release(&mut self, lane: &L) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(taken) = self.taken_by.get_mut(lane) {
            *taken -= 1;
            if *taken == 0 {
                self.taken_by.remove(lane);
            }
        }
    }

    /// Gives a free place to the next task. `None`: nobody who waits may have one.
    fn next(&mut self) -> Option<W> {
        if self.taken == self.places {
            return None;
        }
        // Only lanes that have places already are passed over, so no more of them than there are places.
        let index = self.round.iter().position(|lane| self.may_take(lane))?;
        let lane = self.round.remove(index)?;
        let waiting = self.waiting.get_mut(&lane)?;
        let (_, task) = waiting.pop_first()?;
        self.take(&lane);
        if self.waiting.get(&lane).is_some_and(BTreeMap::is_empty) {
            self.waiting.remove(&lane);
        } else {
            self.round.push_back(lane);
        }
        Some(task)
    }

    fn may_take(&self, lane: &L) -> bool {
        let (free, taken) = (self.places - self.taken, self.taken_by.get(lane).copied().unwrap_or_default());
        let reserve = if taken == 0 { 0 } else { ((taken + free) / RESERVE).max(1) };
        free > reserve
    }

    fn take(&mut self, lane: &L) {
        self.taken += 1;
        *self.taken_by.entry(lane.clone()).or_default() += 1;
    }
}

/// The places at one broker, or for all requests.
pub(super) struct Places<L: Clone + Eq + Hash = Lane>(Mutex<State<L>>);

struct State<L> {
    turns: Turns<L, oneshot::Sender<()>>,
    /// When the last task says, or has said, that it waits.
    noticed: Option<Instant>,
}

impl<L: Clone + Eq + Hash> Places<L> {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { turns: Turns::new(places), noticed: None })))
    }

    /// Takes a place, if there is one at once.
    pub(super) fn try_take(self: &Arc<Self>, lane: &L) -> Option<Place<L>> {
        let taken = self.lock().turns.try_take(lane);
        taken.then(|| Place { turns: Arc::clone(self), lane: lane.clone() })
    }

    /// Takes a place as soon as there is one. A task that stops waiting leaves nothing behind.
    pub(super) async fn take(self: &Arc<Self>, lane: &L) -> Place<L> {
        let (grant, granted) = oneshot::channel();
        let ticket = {
            let mut state = self.lock();
            let ticket = state.turns.queue(lane, grant);
            state.grant();
            ticket
        };
        let mut waiting = Waiting { turns: self, lane, ticket: Some(ticket) };
        // The sender is never dropped before it has sent.
        let _ = granted.await;
        waiting.ticket = None;
        Place { turns: Arc::clone(self), lane: lane.clone() }
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.lock().turns.taken
    }

    /// Ends when a task that begins to wait now has to say so.
    pub(super) async fn notice(&self) {
        sleep(QUICK_TURN).await;
        let at = {
            let mut state = self.lock();
            let now = Instant::now();
            let at = state.noticed.map_or(now, |last| now.max(last + NOTICE_INTERVAL));
            state.noticed = Some(at);
            at
        };
        sleep_until(at).await;
    }

    fn release(&self, lane: &L) {
        let mut state = self.lock();
        state.turns.release(lane);
        state.grant();
    }

    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Clone + Eq + Hash> State<L> {
    fn grant(&mut self) {
        while let Some(task) = self.turns.next() {
            // A task that stops waiting removes its ticket, or gives the place back.
            let _ = task.send(());
        }
    }
}

/// A place that was taken. It is free again when this is dropped.
pub(super) struct Place<L: Clone + Eq + Hash = Lane> {
    turns: Arc<Places<L>>,
    lane: L,
}

impl<L: Clone + Eq + Hash> Drop for Place<L> {
    fn drop(&mut self) {
        self.turns.release(&self.lane);
    }
}

/// A task that waits.
struct Waiting<'a, L: Clone + Eq + Hash> {
    turns: &'a Arc<Places<L>>,
    lane: &'a L,
    /// `None` when the place was handed over.
    ticket: Option<Ticket>,
}

impl<L: Clone + Eq + Hash> Drop for Waiting<'_, L> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket
            && !self.turns.lock().turns.withdraw(self.lane, ticket)
        {
            self.turns.release(self.lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;

    use super::*;

    fn orders(namespace: &str) -> Lane {
        Lane::Orders(namespace.to_owned())
    }

    /// Each entry asks for so many places; returns how many each has got at once.
    fn taken(places: usize, wanted: &[(&str, usize)]) -> Vec<usize> {
        let mut turns = Turns::<Lane, ()>::new(places);
        let take = |&(namespace, wanted): &(&str, usize)| {
            (0..wanted).filter(|_| turns.try_take(&orders(namespace))).count()
        };
        wanted.iter().map(take).collect()
    }

    #[test]
    fn no_namespace_takes_the_places_of_all() {
        for (places, wanted, expected) in [
            (16, &[("a", 200)][..], &[12][..]),
            (16, &[("a", 200), ("b", 200), ("c", 200), ("d", 1)], &[12, 3, 1, 0]),
            (16, &[("a", 8), ("b", 8)], &[8, 6]),
            (4, &[("a", 9), ("b", 9)], &[3, 1]),
            (2, &[("a", 9), ("b", 9)], &[1, 1]),
            (1, &[("a", 9), ("b", 9)], &[1, 0]),
            (100, &[("a", 200), ("b", 200), ("c", 200)], &[75, 19, 5]),
        ] {
            assert_eq!(taken(places, wanted), expected, "{places} {wanted:?}");
        }
    }

    /// All requests of the process: many brokers of one namespace that do not answer, and those of others.
    #[test]
    fn a_tenant_with_many_brokers_takes_no_more_than_its_part() {
        let tenant = |namespace: &str, name: &str| {
            Tenant::of(&BrokerKey::new(crate::crd::ScopeKind::Namespace, Some(namespace), name))
        };
        let mut turns = Turns::<Tenant, ()>::new(384);
        let taken = (0..1000).filter(|index| turns.try_take(&tenant("a", &index.to_string()))).count();
        assert_eq!(taken, 288);
        for namespace in 0..20 {
            assert!(turns.try_take(&tenant(&format!("ns{namespace}"), "broker")), "{namespace}");
        }
    }

    #[test]
    fn free_places_go_round_the_lanes_and_in_a_lane_to_the_first() {
        let mut turns = Turns::new(1);
        assert!(turns.try_take(&orders("a")));
        for (lane, task) in [
            (orders("a"), "a1"),
            (orders("a"), "a2"),
            (orders("b"), "b1"),
            (Lane::Catalog, "c"),
            (orders("b"), "b2"),
        ] {
            assert!(!turns.try_take(&lane));
            turns.queue(&lane, (lane.clone(), task));
        }
        let mut order = vec![];
        let mut held = orders("a");
        loop {
            turns.release(&held);
            let Some((lane, task)) = turns.next() else { break };
            assert!(turns.next().is_none(), "one place, one task");
            order.push(task);
            held = lane;
        }
        assert_eq!(order, ["a1", "b1", "c", "a2", "b2"]);
        assert!(turns.waiting.is_empty() && turns.round.is_empty() && turns.taken_by.is_empty());
    }

    #[test]
    fn a_place_goes_to_the_lane_that_has_fewer() {
        let mut turns = Turns::new(16);
        for (namespace, wanted) in [("a", 12), ("b", 3)] {
            for _ in 0..wanted {
                assert!(turns.try_take(&orders(namespace)));
            }
            turns.queue(&orders(namespace), namespace);
        }
        assert!(turns.next().is_none(), "the last place is for a third one");
        turns.release(&orders("a"));
        assert_eq!(turns.next(), Some("b"));
        assert!(turns.try_take(&orders("c")));
    }

    #[test]
    fn those_who_stop_waiting_leave_nothing_behind() {
        let mut turns = Turns::new(1);
        assert!(turns.try_take(&orders("a")));
        let tickets = [turns.queue(&orders("b"), "b1"), turns.queue(&orders("b"), "b2")];
        assert!(turns.withdraw(&orders("b"), tickets[0]));
        assert!(!turns.withdraw(&orders("b"), tickets[0]));
        turns.release(&orders("a"));
        assert_eq!(turns.next(), Some("b2"));
        assert!(!turns.withdraw(&orders("b"), tickets[1]), "it has its place");
        assert!(turns.waiting.is_empty() && turns.round.is_empty());
    }

    #[tokio::test]
    async fn a_place_that_nobody_takes_goes_to_the_next() {
        let turns = Places::<Lane>::new(1);
        let first = turns.try_take(&orders("a")).unwrap();
        assert!(turns.try_take(&orders("b")).is_none());
        let (lane_b, lane_c) = (orders("b"), orders("c"));
        let mut last = pin!(turns.take(&lane_c));
        {
            let mut gone = pin!(turns.take(&lane_b));
            assert!(gone.as_mut().now_or_never().is_none());
            assert!(last.as_mut().now_or_never().is_none());
            // It gets the place, and ends before it looks.
            drop(first);
            assert_eq!(turns.under_way(), 1);
        }
        let place = last.now_or_never().expect("the place went on");
        drop(place);
        assert_eq!(turns.under_way(), 0);
        assert!(turns.try_take(&Lane::Catalog).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_long_say_so_one_after_the_other() {
        let turns = Places::<Lane>::new(1);
        let begun = Instant::now();
        let notices = futures::future::join_all((0..21).map(|_| {
            let notice = turns.notice();
            async move {
                notice.await;
                begun.elapsed()
            }
        }));
        let said = notices.await;
        assert!(said[0] >= QUICK_TURN && said[0] < QUICK_TURN + NOTICE_INTERVAL, "{said:?}");
        assert!(said[20] >= QUICK_TURN + 20 * NOTICE_INTERVAL, "{said:?}");
    }
}
