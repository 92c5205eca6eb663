//! An API server that goes away and comes back, as when it is upgraded.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::{
    broker::Operation,
    stage::{
        objects::{INSTANCE, SECRET},
        operator::ACCOUNT,
        wait::PATIENCE,
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{served, turn};

/// Stands between the operator and the API server, and lets nothing through while it is shut.
pub struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    pub async fn before(server: &str) -> Self {
        let server = server.trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                let (mut state, server) = (state.clone(), server.clone());
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let Ok(mut outside) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

/// Without an election nothing else is asked for first, so this is about what the operator reads before it begins.
#[tokio::test]
async fn an_operator_that_finds_no_api_server_at_its_start_waits_for_it() {
    let (stage, _turn) = turn().await;
    let gate = Gate::before(stage.plane.url()).await;
    assert!(stage.operator.stop().await.unwrap(), "{}", stage.operator.log_tail());
    let operator = stage.operator.replica("early-start", &["--leader-elect=false"]);
    let account = stage.plane.service_account(ACCOUNT, ACCOUNT).await.unwrap();
    gate.open(false);
    let opens = async {
        let deadline = Instant::now() + PATIENCE;
        while !operator.was_started() || !operator.logs().unwrap().contains("cannot begin") {
            assert!(Instant::now() < deadline, "it does not say that it waits: {}", operator.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate.open(true);
    };
    let url = gate.url();
    let (begun, ()) = tokio::join!(operator.begin_as(&account, &url), opens);
    begun.unwrap();
    assert!(operator.stop().await.unwrap(), "{}", operator.log_tail());
    stage.operator.restart().await.unwrap();
}

// v0.3 P2
#[tokio::test]
async fn an_api_server_that_goes_away_is_waited_for() {
    let (stage, _turn) = turn().await;
    let gate = Gate::before(stage.plane.url()).await;
    stage.operator.turn_to(&gate.url()).unwrap();
    stage.operator.restart().await.unwrap();
    let case = served(stage, "outage").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let content = case.content("app").await;

    // An answer of the broker comes while nothing can be written, and users go on: their API server is another one.
    let hold = case.broker.on(Operation::Provision).once().after_effect().hang();
    case.order("early", "small", json!({})).await;
    case.broker_shows("the request", |broker| {
        broker.requests_of(Operation::Provision).get(2).is_some().then_some(())
    })
    .await;
    case.says(INSTANCE, "early", "ProvisionRequestInFlight", &["has not answered since"]).await;
    gate.open(false);
    hold.release();
    case.order("late", "small", json!({})).await;
    case.delete(SECRET, "app").await;
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "early", "ProvisionRequestInFlight", &[]).await;
    gate.open(true);

    for name in ["early", "late"] {
        case.ready(INSTANCE, name).await;
    }
    case.until(SECRET, "app", "to come back", |_| true).await;
    assert_eq!(case.content("app").await, content);
    case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &["delete app"]).await;
    case.finish().await;

    stage.operator.turn_to(stage.plane.url()).unwrap();
    stage.operator.restart().await.unwrap();
}
