//! Candidates over time, on a paused clock that moves only to the next thing that they wait for.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, advance, sleep, timeout},
};

use super::{
    super::{Candidate, Leadership, LeadershipLost, lease::Timing},
    memory::{LATENCY, LeaseAccess, Network, SharedLease},
};

const LEASE: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);
/// One read of the lease and one write.
const TAKEN: Duration = Duration::from_millis(20);

fn candidate(line: &LeaseAccess, me: &str) -> Candidate<LeaseAccess> {
    Candidate::new(line.clone(), me.to_owned(), Timing::new(LEASE, RENEW, RETRY).unwrap())
}

/// A candidate that leads.
async fn leader(line: &LeaseAccess, me: &str) -> (Candidate<LeaseAccess>, Leadership) {
    let mut candidate = candidate(line, me);
    let leadership = candidate.campaign(pending(), || ()).await.unwrap();
    (candidate, leadership)
}

/// Renews the lease, and returns how that ended and when.
fn renewing(mut candidate: Candidate<LeaseAccess>) -> JoinHandle<(LeadershipLost, Instant)> {
    tokio::spawn(async move { (candidate.renew_until_lost().await, Instant::now()) })
}

/// A candidate that leads, its leadership, and when it began.
type Followed = (Candidate<LeaseAccess>, Leadership, Instant);

/// Stands by until it leads. Counts how often it sees another leader.
fn waiting(line: &LeaseAccess, me: &'static str) -> (JoinHandle<Followed>, Arc<AtomicUsize>) {
    let (line, stood_by) = (line.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&stood_by);
    let waiting = tokio::spawn(async move {
        let mut candidate = candidate(&line, me);
        let stand_by = || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let leadership = candidate.campaign(pending(), stand_by).await.unwrap();
        (candidate, leadership, Instant::now())
    });
    (waiting, stood_by)
}

/// Waits for a task, with a deadline.
async fn soon<T>(task: JoinHandle<T>) -> T {
    timeout(LEASE * 10, task).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_at_once_and_renews_with_one_request_a_period() {
    let (shared, start) = (SharedLease::default(), Instant::now());
    let line = shared.access("a");
    let (candidate, leadership) = leader(&line, "a").await;
    assert_eq!(start.elapsed(), TAKEN);
    assert_eq!(shared.requests("a"), ["get", "create"]);
    let renewing = renewing(candidate);
    sleep(RETRY * 10 + RETRY / 2).await;
    assert_eq!(shared.requests("a"), ["replace"; 10]);
    assert!(leadership.is_valid() && !renewing.is_finished());
    let spec = shared.lease().unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("a"), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn of_many_candidates_that_start_together_one_leads() {
    let shared = SharedLease::default();
    let lines = ["a", "b", "c", "d"].map(|who| (shared.access(who), who));
    let candidates = lines.each_ref().map(|(line, who)| waiting(line, who).0);
    sleep(RETRY).await;
    let leading = candidates.iter().filter(|candidate| candidate.is_finished()).count();
    assert_eq!(leading, 1, "{} leads", shared.holder());
}

#[tokio::test(start_paused = true)]
async fn the_others_only_read_the_lease_while_the_leader_renews_it() {
    let shared = SharedLease::default();
    let (first, second) = (shared.access("a"), shared.access("b"));
    let (candidate, leadership) = leader(&first, "a").await;
    let renewing = renewing(candidate);
    let (standby, stood_by) = waiting(&second, "b");
    sleep(LEASE * 10).await;
    assert!(!standby.is_finished() && !renewing.is_finished() && leadership.is_valid());
    let asked = shared.requests("b");
    assert!(asked.iter().all(|verb| *verb == "get"), "{asked:?}");
    // Each read comes after one period and at most a fifth more.
    assert!((62..=75).contains(&asked.len()), "{} times", asked.len());
    // The last read may still have no answer.
    let seen = stood_by.load(Ordering::Relaxed);
    assert!((asked.len() - 1..=asked.len()).contains(&seen), "{seen} of {}", asked.len());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_followed_when_its_lease_has_been_seen_unchanged_for_its_length() {
    let shared = SharedLease::default();
    let (first, second) = (shared.access("a"), shared.access("b"));
    let (candidate, _) = leader(&first, "a").await;
    let renewing = renewing(candidate);
    let (standby, _) = waiting(&second, "b");
    sleep(LEASE * 2).await;
    renewing.abort();
    let died = Instant::now();
    let (_, leadership, at) = soon(standby).await;
    assert!(leadership.is_valid());
    // The leader renewed the lease last up to one period before it died. The candidate reads it up to one
    // period (with jitter) after that.
    let after = at - died;
    assert!(after + RETRY >= LEASE && after <= LEASE + RETRY.mul_f64(1.2) + TAKEN * 2, "{after:?}");
    let spec = shared.lease().unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_waits_for_the_lease_duration_however_old_the_lease_says_it_is() {
    let shared = SharedLease::default();
    drop(leader(&shared.access("a"), "a").await);
    shared.edit(|lease| lease.spec.as_mut().unwrap().renew_time = None);
    sleep(LEASE * 100).await;
    let (start, line) = (Instant::now(), shared.access("b"));
    drop(leader(&line, "b").await);
    // The first read took some time.
    assert_eq!(start.elapsed(), LATENCY + LEASE + TAKEN);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_is_followed_within_a_period() {
    let shared = SharedLease::default();
    let (first, second) = (shared.access("a"), shared.access("b"));
    let (mut candidate, _) = leader(&first, "a").await;
    let (standby, _) = waiting(&second, "b");
    // As in the operator: a renewal may be in progress when its work is finished.
    let _ = timeout(RETRY * 4 + LATENCY / 4, candidate.renew_until_lost()).await;
    shared.edit(|lease| lease.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into()));
    candidate.release().await;
    let given_back = Instant::now();
    assert_eq!(shared.holder(), "");
    let (_, _, at) = soon(standby).await;
    assert!(at - given_back <= RETRY.mul_f64(1.2) + TAKEN, "{:?}", at - given_back);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_another_replica_is_not_released() {
    let shared = SharedLease::default();
    let line = shared.access("a");
    let (mut candidate, _) = leader(&line, "a").await;
    shared.give(Some("b"));
    candidate.release().await;
    assert_eq!(shared.holder(), "b");
}

// v0.3 K7
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_ends_before_another_leads() {
    for network in [Network::Down, Network::Silent] {
        let shared = SharedLease::default();
        let (first, second) = (shared.access("a"), shared.access("b"));
        let (candidate, old) = leader(&first, "a").await;
        let renewing = renewing(candidate);
        let (standby, _) = waiting(&second, "b");
        sleep(LEASE + RETRY / 2).await;
        first.set(network);
        let cut = Instant::now();
        let (lost, ended) = soon(renewing).await;
        assert_eq!(lost, LeadershipLost::Expired { lease: "there/lock".to_owned(), renew_deadline: RENEW });
        let after = ended - cut;
        assert!(after <= RENEW && after + RETRY >= RENEW, "{after:?}");
        assert!(!old.is_valid(), "the leadership has ended by itself");
        let (_, new, at) = soon(standby).await;
        assert!(new.is_valid() && at + RENEW >= ended + LEASE, "{:?}", at - ended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_survives_a_short_outage() {
    for network in [Network::Down, Network::Silent, Network::AnswersLost] {
        let shared = SharedLease::default();
        let line = shared.access("a");
        let (candidate, leadership) = leader(&line, "a").await;
        let renewing = renewing(candidate);
        sleep(RETRY * 3 + RETRY / 2).await;
        line.set(network);
        // The API server answers again in time for one more attempt.
        sleep(RETRY * 3).await;
        line.set(Network::Up);
        sleep(LEASE * 2).await;
        assert!(!renewing.is_finished() && leadership.is_valid());
        assert_eq!(shared.holder(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_taken_without_an_answer_is_recognized() {
    let shared = SharedLease::default();
    let line = shared.access("a");
    line.set(Network::AnswersLost);
    let (waiting, _) = waiting(&line, "a");
    sleep(RETRY / 2).await;
    line.set(Network::Up);
    let (_, leadership, _) = soon(waiting).await;
    assert!(leadership.is_valid());
    assert_eq!(shared.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_lost_its_lease_ends_at_once() {
    for (to, holder) in [(Some(Some("b")), Some("b")), (Some(None), None), (None, None)] {
        let shared = SharedLease::default();
        let line = shared.access("a");
        let (candidate, _) = leader(&line, "a").await;
        let renewing = renewing(candidate);
        sleep(RETRY * 2 + RETRY / 2).await;
        match to {
            Some(holder) => shared.give(holder),
            None => shared.delete(),
        }
        shared.requests("a");
        let changed = Instant::now();
        let (lost, ended) = soon(renewing).await;
        assert_eq!(
            lost,
            LeadershipLost::NotHolder { lease: "there/lock".to_owned(), holder: holder.map(str::to_owned) }
        );
        assert!(ended - changed <= RETRY, "{:?}", ended - changed);
        assert_eq!(shared.requests("a"), ["replace", "get"], "it fights for nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_on_the_lease_does_not_depose_its_holder() {
    let shared = SharedLease::default();
    let line = shared.access("a");
    let (candidate, leadership) = leader(&line, "a").await;
    let renewing = renewing(candidate);
    sleep(RETRY / 2).await;
    shared.edit(|lease| lease.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into()));
    shared.requests("a");
    sleep(RETRY * 2).await;
    assert!(!renewing.is_finished() && leadership.is_valid());
    assert_eq!(shared.requests("a"), ["replace", "get", "replace", "replace"]);
    let labels = shared.lease().unwrap().metadata.labels.unwrap();
    assert_eq!(labels.get("a").map(String::as_str), Some("b"), "it stays");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_leads_again_does_not_make_its_earlier_leadership_valid() {
    let shared = SharedLease::default();
    let line = shared.access("a");
    let (mut candidate, old) = leader(&line, "a").await;
    line.set(Network::Down);
    candidate.renew_until_lost().await;
    assert!(!old.is_valid());
    line.set(Network::Up);
    let back = Instant::now();
    let new = candidate.campaign(pending(), || ()).await.unwrap();
    assert_eq!(back.elapsed(), TAKEN, "nobody else holds the lease, so it waits for nothing");
    assert!(new.is_valid() && !old.is_valid());
}

// v0.3 Q58
#[tokio::test(start_paused = true)]
async fn a_process_that_wakes_up_too_late_does_not_lead() {
    let shared = SharedLease::default();
    let line = shared.access("a");
    let (mut candidate, leadership) = leader(&line, "a").await;
    assert!(leadership.is_valid());
    // Nothing runs meanwhile, as in a stopped process.
    advance(RENEW.checked_sub(TAKEN).unwrap()).await;
    assert!(leadership.is_valid());
    // The time counts from before the write, whose answer came 10 ms later.
    advance(LATENCY + LATENCY / 2).await;
    assert!(!leadership.is_valid(), "before anything else has run");
    shared.requests("a");
    let lost = candidate.renew_until_lost().await;
    assert_eq!(lost, LeadershipLost::Expired { lease: "there/lock".to_owned(), renew_deadline: RENEW });
    assert_eq!(shared.requests("a"), Vec::<&str>::new(), "and it asks for nothing");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_not_taken_by_a_replica_that_saw_it_held() {
    let shared = SharedLease::default();
    let (first, second) = (shared.access("a"), shared.access("b"));
    let (candidate, _) = leader(&first, "a").await;
    let renewing = renewing(candidate);
    let (standby, _) = waiting(&second, "b");
    sleep(LEASE).await;
    shared.delete();
    let (_, ended) = soon(renewing).await;
    let (_, _, at) = soon(standby).await;
    assert!(at >= ended + RENEW, "{:?}", at - ended);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_is_stopped_does_not_lead() {
    let shared = SharedLease::default();
    let (first, second) = (shared.access("a"), shared.access("b"));
    drop(leader(&first, "a").await);
    assert!(candidate(&second, "b").campaign(sleep(RETRY), || ()).await.is_none());
    assert_eq!(shared.holder(), "a");
    // A candidate that gets the lease at that moment holds it, and can release it.
    shared.delete();
    assert!(candidate(&second, "b").campaign(ready(()), || ()).await.is_some());
    assert_eq!(shared.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn no_replica_leads_without_the_api_server() {
    for network in [Network::Down, Network::Silent] {
        let shared = SharedLease::default();
        let line = shared.access("a");
        line.set(network);
        let (waiting, stood_by) = waiting(&line, "a");
        sleep(LEASE * 4).await;
        assert!(!waiting.is_finished());
        assert_eq!(stood_by.load(Ordering::Relaxed), 0, "it does not know that another leads");
        line.set(Network::Up);
        sleep(RENEW).await;
        assert!(waiting.is_finished());
    }
}

#[test]
fn no_two_processes_are_the_same_candidate() {
    let (one, other) = (super::super::identity(), super::super::identity());
    assert_ne!(one, other);
    let host = |identity: &str| identity.rsplit_once('_').map(|(host, _)| host.to_owned());
    assert!(host(&one).is_some_and(|name| !name.is_empty()) && host(&one) == host(&other), "{one}");
    assert!(Leadership::without_election().is_valid());
}
