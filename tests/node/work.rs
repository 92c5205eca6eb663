//! Orders that are under way while the operator is disturbed.

use std::time::Duration;

use serde_json::json;
use testkit::{
    broker::{Hold, Operation},
    stage::{
        case::Case,
        objects::{BINDING, INSTANCE, SECRET},
    },
};

use super::site::Site;

/// How many instances are ordered at once, each with a binding.
const MANY: usize = 4;

pub struct Work {
    case: Case,
    held: Hold,
}

impl Work {
    /// Instances and bindings on their way in and out, asynchronous ones among them, and one order which the broker has
    /// done, and does not answer before [`Self::release`].
    pub async fn begin(site: &Site, name: &str) -> Self {
        let case = site.case(name).await;
        case.provide("old", json!({})).await;
        case.connect("old-app", "old", json!({})).await;
        let held = case.broker.on(Operation::Provision).once().after_effect().hang();
        case.order("held", "small", json!({})).await;
        case.broker_shows("the order", |broker| broker.requests_of(Operation::Provision).get(1).cloned())
            .await;
        case.broker.set_async(Operation::Provision, 2);
        case.broker.set_async(Operation::Unbind, 1);
        case.delete(BINDING, "old-app").await;
        case.delete(INSTANCE, "old").await;
        for index in 0..MANY {
            case.order(&format!("db{index}"), "small", json!({})).await;
            case.bind(&format!("app{index}"), &format!("db{index}"), json!({})).await;
        }
        Self { case, held }
    }

    /// The broker gives its answer some seconds after this Pod was asked to stop.
    pub async fn release_late(&self, site: &Site, pod: &str) {
        site.stopping(pod).await;
        // Not to let things settle: the broker is slow, and a Pod that is not given its time is gone by then.
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.release();
    }

    /// The broker gives its answer.
    pub fn release(&self) {
        self.held.release();
    }

    /// Everything is done that was ordered: once, and with nothing left over in the end. The broker was asked so many
    /// times for the order that it held.
    pub async fn finish(self, tries: usize) {
        let case = &self.case;
        case.gone(INSTANCE, "old").await;
        case.gone(SECRET, "old-app").await;
        case.ready(INSTANCE, "held").await;
        assert_eq!(self.tries(), tries, "{}", case.broker.summary());
        for index in 0..MANY {
            let name = format!("app{index}");
            case.ready(BINDING, &name).await;
            let id = case.content(&name).await["username"].as_str().unwrap().to_owned();
            assert!(case.broker.live_bindings().contains(&id), "{}", case.broker.summary());
        }
        assert_eq!(case.broker.live_instances().len(), MANY + 1, "{}", case.broker.summary());
        assert_eq!(case.broker.ever_created().len(), 2 * MANY + 3, "{}", case.broker.summary());
        self.case.finish().await;
    }

    fn tries(&self) -> usize {
        let requests = self.case.broker.requests_of(Operation::Provision);
        let held = &requests[1];
        let same = requests.iter().filter(|request| request.instance_id == held.instance_id);
        assert!(same.clone().all(|request| request.body_bytes == held.body_bytes), "{requests:#?}");
        same.count()
    }
}
