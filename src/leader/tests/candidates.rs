//! Candidates in time. The clock stands still but for what they wait for.

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
    super::{Candidate, Lost, Term, lease::Timing},
    memory::{LATENCY, Line, Memory, Network},
};

const LEASE: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);
/// One look at the lease and one write.
const TAKEN: Duration = Duration::from_millis(20);

fn candidate(line: &Line, me: &str) -> Candidate<Line> {
    Candidate::new(line.clone(), me.to_owned(), Timing::new(LEASE, RENEW, RETRY).unwrap())
}

/// One that leads.
async fn leader(line: &Line, me: &str) -> (Candidate<Line>, Term) {
    let mut candidate = candidate(line, me);
    let term = candidate.campaign(pending(), || ()).await.unwrap();
    (candidate, term)
}

/// Keeps the lease, and says how that ended and when.
fn keeping(mut candidate: Candidate<Line>) -> JoinHandle<(Lost, Instant)> {
    tokio::spawn(async move { (candidate.keep().await, Instant::now()) })
}

/// What has become of a candidate when it leads.
type Followed = (Candidate<Line>, Term, Instant);

/// Stands by until it leads, and says when that was, and its term.
fn waiting(line: &Line, me: &'static str) -> (JoinHandle<Followed>, Arc<AtomicUsize>) {
    let (line, stood_by) = (line.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&stood_by);
    let waiting = tokio::spawn(async move {
        let mut candidate = candidate(&line, me);
        let stand_by = || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let term = candidate.campaign(pending(), stand_by).await.unwrap();
        (candidate, term, Instant::now())
    });
    (waiting, stood_by)
}

/// How something ends that must not take for ever.
async fn soon<T>(task: JoinHandle<T>) -> T {
    timeout(LEASE * 10, task).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_at_once_and_renews_with_one_request_a_period() {
    let (memory, start) = (Memory::default(), Instant::now());
    let line = memory.line("a");
    let (candidate, term) = leader(&line, "a").await;
    assert_eq!(start.elapsed(), TAKEN);
    assert_eq!(memory.asked("a"), ["get", "create"]);
    let keeping = keeping(candidate);
    sleep(RETRY * 10 + RETRY / 2).await;
    assert_eq!(memory.asked("a"), ["replace"; 10]);
    assert!(term.holds() && !keeping.is_finished());
    let spec = memory.lease().unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("a"), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn of_many_that_begin_together_one_leads() {
    let memory = Memory::default();
    let lines = ["a", "b", "c", "d"].map(|who| (memory.line(who), who));
    let candidates = lines.each_ref().map(|(line, who)| waiting(line, who).0);
    sleep(RETRY).await;
    let leading = candidates.iter().filter(|candidate| candidate.is_finished()).count();
    assert_eq!(leading, 1, "{} leads", memory.holder());
}

#[tokio::test(start_paused = true)]
async fn the_others_only_look_while_the_leader_renews() {
    let memory = Memory::default();
    let (first, second) = (memory.line("a"), memory.line("b"));
    let (candidate, term) = leader(&first, "a").await;
    let keeping = keeping(candidate);
    let (standby, stood_by) = waiting(&second, "b");
    sleep(LEASE * 10).await;
    assert!(!standby.is_finished() && !keeping.is_finished() && term.holds());
    let asked = memory.asked("b");
    assert!(asked.iter().all(|verb| *verb == "get"), "{asked:?}");
    // A period each, and at most a fifth more.
    assert!((62..=75).contains(&asked.len()), "{} times", asked.len());
    // The last look may not be answered yet.
    let seen = stood_by.load(Ordering::Relaxed);
    assert!((asked.len() - 1..=asked.len()).contains(&seen), "{seen} of {}", asked.len());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_followed_when_its_lease_has_been_seen_unchanged_for_its_length() {
    let memory = Memory::default();
    let (first, second) = (memory.line("a"), memory.line("b"));
    let (candidate, _) = leader(&first, "a").await;
    let keeping = keeping(candidate);
    let (standby, _) = waiting(&second, "b");
    sleep(LEASE * 2).await;
    keeping.abort();
    let died = Instant::now();
    let (_, term, at) = soon(standby).await;
    assert!(term.holds());
    // Renewed last up to a period before it died, and seen up to a period (with its jitter) after that.
    let after = at - died;
    assert!(after + RETRY >= LEASE && after <= LEASE + RETRY.mul_f64(1.2) + TAKEN * 2, "{after:?}");
    let spec = memory.lease().unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_found_is_waited_out_however_old_it_says_it_is() {
    let memory = Memory::default();
    drop(leader(&memory.line("a"), "a").await);
    memory.edit(|lease| lease.spec.as_mut().unwrap().renew_time = None);
    sleep(LEASE * 100).await;
    let (start, line) = (Instant::now(), memory.line("b"));
    drop(leader(&line, "b").await);
    // The first look took a moment.
    assert_eq!(start.elapsed(), LATENCY + LEASE + TAKEN);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_is_followed_within_a_period() {
    let memory = Memory::default();
    let (first, second) = (memory.line("a"), memory.line("b"));
    let (mut candidate, _) = leader(&first, "a").await;
    let (standby, _) = waiting(&second, "b");
    // As the operator does it: a renewal may be under way when it has finished its work.
    let _ = timeout(RETRY * 4 + LATENCY / 4, candidate.keep()).await;
    memory.edit(|lease| lease.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into()));
    candidate.release().await;
    let given_back = Instant::now();
    assert_eq!(memory.holder(), "");
    let (_, _, at) = soon(standby).await;
    assert!(at - given_back <= RETRY.mul_f64(1.2) + TAKEN, "{:?}", at - given_back);
}

#[tokio::test(start_paused = true)]
async fn what_another_has_is_not_given_back() {
    let memory = Memory::default();
    let line = memory.line("a");
    let (mut candidate, _) = leader(&line, "a").await;
    memory.give(Some("b"));
    candidate.release().await;
    assert_eq!(memory.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_ends_before_another_leads() {
    for network in [Network::Down, Network::Silent] {
        let memory = Memory::default();
        let (first, second) = (memory.line("a"), memory.line("b"));
        let (candidate, old) = leader(&first, "a").await;
        let keeping = keeping(candidate);
        let (standby, _) = waiting(&second, "b");
        sleep(LEASE + RETRY / 2).await;
        first.set(network);
        let cut = Instant::now();
        let (lost, ended) = soon(keeping).await;
        assert_eq!(lost, Lost::Expired { lease: "there/lock".to_owned(), within: RENEW });
        let after = ended - cut;
        assert!(after <= RENEW && after + RETRY >= RENEW, "{after:?}");
        assert!(!old.holds(), "the term has ended by itself");
        let (_, new, at) = soon(standby).await;
        assert!(new.holds() && at + RENEW >= ended + LEASE, "{:?}", at - ended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_is_lived_through() {
    for network in [Network::Down, Network::Silent, Network::AnswersLost] {
        let memory = Memory::default();
        let line = memory.line("a");
        let (candidate, term) = leader(&line, "a").await;
        let keeping = keeping(candidate);
        sleep(RETRY * 3 + RETRY / 2).await;
        line.set(network);
        // Up again in time for one more attempt.
        sleep(RETRY * 3).await;
        line.set(Network::Up);
        sleep(LEASE * 2).await;
        assert!(!keeping.is_finished() && term.holds());
        assert_eq!(memory.holder(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_without_our_knowing_is_recognized() {
    let memory = Memory::default();
    let line = memory.line("a");
    line.set(Network::AnswersLost);
    let (waiting, _) = waiting(&line, "a");
    sleep(RETRY / 2).await;
    line.set(Network::Up);
    let (_, term, _) = soon(waiting).await;
    assert!(term.holds());
    assert_eq!(memory.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_another_has_or_nobody_ends_at_once() {
    for (to, holder) in [(Some(Some("b")), Some("b")), (Some(None), None), (None, None)] {
        let memory = Memory::default();
        let line = memory.line("a");
        let (candidate, _) = leader(&line, "a").await;
        let keeping = keeping(candidate);
        sleep(RETRY * 2 + RETRY / 2).await;
        match to {
            Some(holder) => memory.give(holder),
            None => memory.delete(),
        }
        memory.asked("a");
        let changed = Instant::now();
        let (lost, ended) = soon(keeping).await;
        assert_eq!(lost, Lost::Taken { lease: "there/lock".to_owned(), holder: holder.map(str::to_owned) });
        assert!(ended - changed <= RETRY, "{:?}", ended - changed);
        assert_eq!(memory.asked("a"), ["replace", "get"], "it fights for nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_on_the_lease_does_not_depose_its_holder() {
    let memory = Memory::default();
    let line = memory.line("a");
    let (candidate, term) = leader(&line, "a").await;
    let keeping = keeping(candidate);
    sleep(RETRY / 2).await;
    memory.edit(|lease| lease.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into()));
    memory.asked("a");
    sleep(RETRY * 2).await;
    assert!(!keeping.is_finished() && term.holds());
    assert_eq!(memory.asked("a"), ["replace", "get", "replace", "replace"]);
    let labels = memory.lease().unwrap().metadata.labels.unwrap();
    assert_eq!(labels.get("a").map(String::as_str), Some("b"), "it stays");
}

#[tokio::test(start_paused = true)]
async fn who_wakes_up_after_its_term_has_none() {
    let memory = Memory::default();
    let line = memory.line("a");
    let (mut candidate, term) = leader(&line, "a").await;
    assert!(term.holds());
    // Nothing runs meanwhile, as while a process is stopped.
    advance(RENEW.checked_sub(TAKEN).unwrap()).await;
    assert!(term.holds());
    // Counted from before the write, whose answer came 10 ms later.
    advance(LATENCY + LATENCY / 2).await;
    assert!(!term.holds(), "before anything else has run");
    memory.asked("a");
    let lost = candidate.keep().await;
    assert_eq!(lost, Lost::Expired { lease: "there/lock".to_owned(), within: RENEW });
    assert_eq!(memory.asked("a"), Vec::<&str>::new(), "and it asks for nothing");
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_under_its_holder_makes_no_second_leader_of_who_saw_it() {
    let memory = Memory::default();
    let (first, second) = (memory.line("a"), memory.line("b"));
    let (candidate, _) = leader(&first, "a").await;
    let keeping = keeping(candidate);
    let (standby, _) = waiting(&second, "b");
    sleep(LEASE).await;
    memory.delete();
    let (_, ended) = soon(keeping).await;
    let (_, _, at) = soon(standby).await;
    assert!(at >= ended + RENEW, "{:?}", at - ended);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_is_told_to_stop_stands_for_nothing() {
    let memory = Memory::default();
    let (first, second) = (memory.line("a"), memory.line("b"));
    drop(leader(&first, "a").await);
    assert!(candidate(&second, "b").campaign(sleep(RETRY), || ()).await.is_none());
    assert_eq!(memory.holder(), "a");
    // One that gets the lease at that very moment has it, and can give it back.
    memory.delete();
    assert!(candidate(&second, "b").campaign(ready(()), || ()).await.is_some());
    assert_eq!(memory.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn nobody_leads_without_the_api_server() {
    for network in [Network::Down, Network::Silent] {
        let memory = Memory::default();
        let line = memory.line("a");
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
    assert!(Term::endless().holds());
}
