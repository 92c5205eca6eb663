//! Two replicas: one works, the other stands by, and takes over whatever becomes of the first.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{
    broker::{AsyncScript, Hold, Operation},
    stage::{
        Stage,
        case::Case,
        objects::{BINDING, Hand, INSTANCE, ROLE_BINDING},
        operator::{ACCOUNT, Operator},
        wait::PATIENCE,
    },
};
use tokio::time::timeout;

use super::{AuditEvent, Meter, api_server::Gate, is_election, is_write, namespaced, show, turn};

/// A takeover within seconds, and a leader that is not deposed because the machine is busy.
const SHORT: [&str; 3] = [
    "--leader-elect-lease-duration=5s",
    "--leader-elect-renew-deadline=4s",
    "--leader-elect-retry-period=500ms",
];

/// A lease that no test waits out.
const LONG: [&str; 3] = [
    "--leader-elect-lease-duration=300s",
    "--leader-elect-renew-deadline=200s",
    "--leader-elect-retry-period=500ms",
];

/// Two replicas in place of the one that the tests share.
struct Replicas {
    stage: &'static Stage,
    /// The one that leads at the beginning.
    first: Operator,
    second: Operator,
}

impl Replicas {
    async fn of(stage: &'static Stage, name: &str, flags: &[&str]) -> Self {
        let replicas = Self::idle(stage, name, flags).await;
        replicas.first.begin().await.unwrap();
        replicas.second.begin().await.unwrap();
        replicas.in_order().await
    }

    async fn idle(stage: &'static Stage, name: &str, flags: &[&str]) -> Self {
        assert!(stage.operator.stop().await.unwrap(), "{}", stage.operator.log_tail());
        stage.operator.take_lease_away().await.unwrap();
        let replica = |which: &str| stage.operator.replica(&format!("{name}-{which}"), flags);
        Self { stage, first: replica("first"), second: replica("second") }
    }

    /// Both are ready, and the first leads.
    async fn in_order(self) -> Self {
        assert!(self.first.leads().await.unwrap(), "{}", self.first.log_tail());
        assert!(!self.second.leads().await.unwrap(), "{}", self.second.log_tail());
        self
    }

    /// Waits until the second leads.
    async fn taken_over(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.second.leads().await.unwrap() {
            assert!(Instant::now() < deadline, "it does not lead:\n{}", self.second.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Suspends the first.
    async fn suspend(&self) {
        self.first.signal("STOP").unwrap();
        // It answers as long as it runs.
        while matches!(timeout(Duration::from_millis(300), self.first.metrics()).await, Ok(Ok(_))) {}
    }

    /// The first has noticed that it leads no more.
    async fn deposed(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.first.leads().await.unwrap() {
            assert!(Instant::now() < deadline, "it leads:\n{}", self.first.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(self.first.logs().unwrap().contains("no longer leads"), "{}", self.first.log_tail());
    }

    async fn finish(self) {
        self.first.kill();
        assert!(self.second.stop().await.unwrap(), "{}", self.second.log_tail());
        self.stage.operator.restart().await.unwrap();
    }
}

/// The requests to the broker of a case that a replica has counted.
async fn sent(replica: &Operator, case: &Case) -> usize {
    let count = format!("servicecatalog_osb_request_count{{broker=\"{}\",", case.broker_name());
    let metrics = replica.metrics().await.unwrap();
    let counts = metrics.lines().filter(|line| line.starts_with(&count));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

// v0.3 K7
#[tokio::test]
async fn of_two_replicas_one_works_and_the_other_asks_for_the_lease_and_nothing_else() {
    let (stage, _turn) = turn().await;
    let replicas = Replicas::idle(stage, "replicas", &SHORT).await;
    replicas.first.begin().await.unwrap();
    // The second is somebody else to the API server, who may do in the operator's namespace what the operator may, and
    // nothing anywhere else.
    let operators = Hand { client: stage.plane.admin_client().unwrap(), namespace: ACCOUNT.to_owned() };
    let subject = json!({ "kind": "User", "name": "standby", "apiGroup": "rbac.authorization.k8s.io" });
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT });
    let binding = json!({ "subjects": [subject], "roleRef": role });
    operators.make(ROLE_BINDING, "standby", binding).await.unwrap();
    let standby = stage.plane.user("standby", &[]).unwrap();
    replicas.second.begin_as(&standby, stage.plane.url()).await.unwrap();
    let replicas = replicas.in_order().await;

    let case = namespaced(stage, "replicas").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    assert_eq!(sent(&replicas.first, &case).await, case.broker.journal().len(), "{}", case.broker.summary());
    let metrics = replicas.second.metrics().await.unwrap();
    assert!(!metrics.contains("servicecatalog_osb_"), "the broker never heard of it:\n{metrics}");
    case.finish().await;

    // It has looked at the lease all the while, or the rest would mean little.
    let by_standby = |event: &AuditEvent| event.user == "standby";
    let asked = stage.plane.audit_of(PATIENCE, by_standby).await.unwrap();
    assert!(asked.len() > 1 && asked.iter().all(is_election), "{}", show(&asked));
    assert!(asked.iter().all(|event| event.verb == "get" && event.code == 200), "{}", show(&asked));
    let replicas = replicas.in_order().await;
    replicas.second.kill();
    assert!(replicas.first.stop().await.unwrap(), "{}", replicas.first.log_tail());
    stage.operator.restart().await.unwrap();
}

// v0.3 K9
#[tokio::test]
async fn a_leader_that_is_killed_is_followed_and_nothing_is_done_twice() {
    let (stage, _turn) = turn().await;
    let replicas = Replicas::of(stage, "killed-leader", &SHORT).await;
    let case = namespaced(stage, "killed-leader").await;
    case.provide("there", json!({})).await;
    // The broker has done it, and the answer finds nobody.
    let hold = case.broker.on(Operation::Provision).once().after_effect().hang();
    let script = AsyncScript::succeeding(1);
    case.order("db", "small", json!({})).await;
    case.broker_shows("the request", |broker| broker.requests_of(Operation::Provision).get(1).cloned()).await;
    case.broker.set_async_script(Operation::Bind, script);
    replicas.first.kill();
    hold.release();
    // Ordered while nobody is there.
    case.bind("app", "there", json!({})).await;
    replicas.taken_over().await;
    case.ready(INSTANCE, "db").await;
    case.ready(BINDING, "app").await;
    let provisions = case.broker.requests_of(Operation::Provision);
    assert_eq!(provisions.len(), 3, "{}", case.broker.summary());
    assert_eq!(provisions[1].body_bytes, provisions[2].body_bytes, "the same request again");
    assert_eq!(case.broker.ever_created().len(), 3, "{}", case.broker.summary());
    case.finish().await;
    replicas.finish().await;
}

// v0.3 K7
#[tokio::test]
async fn a_leader_that_is_stopped_finishes_its_work_and_then_hands_over_at_once() {
    let (stage, _turn) = turn().await;
    let replicas = Replicas::of(stage, "stopped-leader", &LONG).await;
    let case = namespaced(stage, "stopped-leader").await;
    let hold = case.broker.on(Operation::Provision).once().hang();
    case.order("db", "small", json!({})).await;
    case.broker_shows("the request", |broker| broker.requests_of(Operation::Provision).first().cloned())
        .await;
    let work = async {
        let deadline = Instant::now() + PATIENCE;
        while !replicas.first.logs().unwrap().contains("received a stop signal") {
            assert!(Instant::now() < deadline, "it does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!replicas.second.leads().await.unwrap(), "the request is still under way");
        hold.release();
        let ready = case.ready(INSTANCE, "db").await;
        (ready, Instant::now())
    };
    let (stopped, (ready, finished)) = tokio::join!(replicas.first.stop(), work);
    assert!(stopped.unwrap(), "it had to be killed; {}", replicas.first.logs().unwrap());
    replicas.taken_over().await;
    assert!(finished.elapsed() < Duration::from_secs(30), "not after the length of the lease");
    // The second had nothing left to do about it.
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1, "{}", case.broker.summary());
    case.provide("next", json!({})).await;
    assert_eq!(
        case.get(INSTANCE, "db").await["metadata"]["resourceVersion"],
        ready["metadata"]["resourceVersion"]
    );
    case.finish().await;
    replicas.finish().await;
}

/// How many operations the one that is stopped follows.
const FOLLOWED: usize = 12;

// v0.3 Q58
#[tokio::test]
async fn a_leader_that_was_suspended_past_its_lease_wakes_up_and_does_nothing_more() {
    let (stage, _turn) = turn().await;
    let replicas = Replicas::of(stage, "zombie", &SHORT).await;
    let case = namespaced(stage, "zombie").await;
    // The first follows operations, each with a request that is due soon, and waits for two answers.
    let running = Hold::new();
    case.broker.set_async_script(Operation::Provision, AsyncScript::succeeding(1).held_by(&running));
    for index in 0..FOLLOWED {
        case.order(&format!("db{index}"), "small", json!({})).await;
    }
    for index in 0..FOLLOWED {
        case.says(INSTANCE, &format!("db{index}"), "Provisioning", &[]).await;
    }
    let answer = case.broker.on(Operation::Provision).times(2).after_effect().hang();
    for name in ["late0", "late1"] {
        case.order(name, "small", json!({})).await;
    }
    let both = FOLLOWED + 2;
    case.broker_shows("both requests", |broker| {
        broker.requests_of(Operation::Provision).get(both - 1).is_some().then_some(())
    })
    .await;
    replicas.suspend().await;
    // The answers for which it has waited are there when it wakes up.
    answer.release();
    replicas.taken_over().await;
    running.release();
    let names = (0..FOLLOWED).map(|index| format!("db{index}")).chain(["late0".into(), "late1".into()]);
    for name in names {
        case.ready(INSTANCE, &name).await;
        case.told(&name, "ProvisionedSuccessfully").await;
    }
    let (asked, meter) = (case.broker.journal().len(), Meter::start(stage));

    replicas.first.signal("CONT").unwrap();
    replicas.deposed().await;
    assert!(replicas.second.leads().await.unwrap());
    // What the second does from now on comes after anything that the first has done.
    case.provide("probe", json!({})).await;
    let requests = case.broker.journal().split_off(asked);
    let probe = case.get(INSTANCE, "probe").await["status"]["instanceID"].as_str().unwrap().to_owned();
    assert!(requests.iter().all(|request| request.concerns(&probe)), "{}", case.broker.summary());
    let others = |event: &AuditEvent| is_write(event) && event.name != "probe";
    let written: Vec<_> = meter.requests().into_iter().filter(others).collect();
    assert!(written.is_empty(), "{}", show(&written));
    assert_eq!(case.broker.ever_created().len(), both + 1, "{}", case.broker.summary());
    case.finish().await;
    replicas.finish().await;
}

// v0.3 K7
#[tokio::test]
async fn a_leader_that_is_cut_off_from_the_api_server_stops_and_stands_by_when_it_is_back() {
    let (stage, _turn) = turn().await;
    let gate = Gate::before(stage.plane.url()).await;
    let replicas = Replicas::idle(stage, "cut-off", &SHORT).await;
    let account = stage.plane.service_account(ACCOUNT, ACCOUNT).await.unwrap();
    replicas.first.begin_as(&account, &gate.url()).await.unwrap();
    replicas.second.begin().await.unwrap();
    let replicas = replicas.in_order().await;
    let case = namespaced(stage, "cut-off").await;
    let running = Hold::new();
    case.broker.set_async_script(Operation::Provision, AsyncScript::succeeding(1).held_by(&running));
    case.order("db", "small", json!({})).await;
    case.says(INSTANCE, "db", "Provisioning", &[]).await;
    gate.open(false);
    replicas.deposed().await;
    let log = replicas.first.logs().unwrap();
    assert!(log.contains("was not renewed within 4s"), "{log}");
    replicas.taken_over().await;
    running.release();
    case.ready(INSTANCE, "db").await;
    assert_eq!(case.broker.requests_of(Operation::Provision).len(), 1, "{}", case.broker.summary());
    // It is a candidate again, in the same process.
    gate.open(true);
    replicas.second.kill();
    let deadline = Instant::now() + PATIENCE;
    while !replicas.first.leads().await.unwrap() {
        assert!(Instant::now() < deadline, "it does not lead:\n{}", replicas.first.log_tail());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    case.provide("after", json!({})).await;
    case.finish().await;
    replicas.second.begin().await.unwrap();
    replicas.first.kill();
    replicas.finish().await;
}

/// The only replica loses its lease, and has it again as soon as it can: the process does not end, so no kubelet waits
/// before it starts it. What was under way is done once.
#[tokio::test]
async fn the_only_replica_goes_on_in_the_same_process_after_it_has_lost_its_lease() {
    let (stage, _turn) = turn().await;
    let gate = Gate::before(stage.plane.url()).await;
    let replicas = Replicas::idle(stage, "only", &SHORT).await;
    let account = stage.plane.service_account(ACCOUNT, ACCOUNT).await.unwrap();
    replicas.first.begin_as(&account, &gate.url()).await.unwrap();
    let case = namespaced(stage, "only").await;
    case.provide("there", json!({})).await;
    let hold = case.broker.on(Operation::Provision).once().after_effect().hang();
    case.order("db", "small", json!({})).await;
    case.broker_shows("the request", |broker| broker.requests_of(Operation::Provision).get(1).cloned()).await;
    for _ in 0..2 {
        gate.open(false);
        replicas.deposed().await;
        gate.open(true);
        let deadline = Instant::now() + PATIENCE;
        while !replicas.first.leads().await.unwrap() {
            assert!(Instant::now() < deadline, "it does not lead:\n{}", replicas.first.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    hold.release();
    case.ready(INSTANCE, "db").await;
    let provisions = case.broker.requests_of(Operation::Provision);
    assert!(
        provisions[1..].iter().all(|again| again.body_bytes == provisions[1].body_bytes),
        "the same request"
    );
    case.provide("next", json!({})).await;
    case.finish().await;
    assert!(replicas.first.stop().await.unwrap(), "{}", replicas.first.log_tail());
    stage.operator.restart().await.unwrap();
}
