//! What every answer means (`tests/answers/table.txt`), through the whole path: a broker on a socket gives the
//! answer, and the objects on an API server and the broker's journal show what was made of it.
//!
//! Of each outcome that the table has for an operation, one answer is played, both after nothing and after an ambiguous
//! attempt; `ANSWERS=all` plays them all in some minutes, and `ANSWERS=unbind` those of one operation. [`table`]: which are
//! played. [`play`]: what the broker does. [`cell`]: what is done with the object, and what must be seen.

mod cell;
mod play;
mod table;

use std::collections::BTreeSet;

use serde_json::json;
use testkit::{broker::Operation, stage::objects::condition};

use self::{
    cell::Cell,
    play::play,
    table::{Row, UNPLAYED, representatives, rows},
};
use super::{Case, unregistered};

/// How many objects there are at a time.
const CROWD: usize = 120;

fn played() -> Vec<Row> {
    let Ok(which) = std::env::var("ANSWERS") else { return representatives() };
    let wanted = |row: &Row| which == "all" || row.operation.starts_with(&which);
    rows().into_iter().filter(|row| !UNPLAYED.contains(&row.answer) && wanted(row)).collect()
}

#[test]
fn every_outcome_of_every_operation_is_played() {
    let outcome = |row: &Row| (row.operation, row.verdicts);
    let all: BTreeSet<_> = rows().iter().map(outcome).collect();
    let played: BTreeSet<_> = representatives().iter().map(outcome).collect();
    assert_eq!(all, played);
    assert!(all.len() > 50, "the table has been read: {all:?}");
    // Not only the outcomes: with as many of them as there are, every answer has its turn.
    let answers = |rows: Vec<Row>| rows.iter().map(|row| row.answer).collect::<BTreeSet<_>>();
    let mut unplayed = answers(rows());
    unplayed.retain(|answer| !answers(representatives()).contains(answer));
    assert_eq!(unplayed, BTreeSet::from(UNPLAYED));
    // Every row is told to somebody, and every cell but those that no object can be brought to.
    for row in rows() {
        let [fresh, ambiguous] = [false, true].map(|ambiguous| Cell::of(0, &row, ambiguous).is_some());
        let alone = row.operation == "catalog";
        assert_eq!(fresh, !alone, "{}", row.operation);
        assert_eq!(ambiguous, !alone && row.operation != "get binding (restore)", "{}", row.operation);
    }
}

// OSB 27, 28, 60, 67, 68, 69, 70, 74, 79, 81, 90, 91, 92, 98, 99, 108, 109, 112, 120, 121, 135, 136, 139
// OSB 140, 144, 145, 148, 150
// v0.3 P5, Q36
#[tokio::test]
async fn every_outcome_is_what_the_table_says() {
    let columns = |(index, row): (usize, &Row)| {
        [false, true]
            .into_iter()
            .filter_map(move |ambiguous| Cell::of(index, row, ambiguous))
            .collect::<Vec<_>>()
    };
    let cells: Vec<Cell> = played().iter().enumerate().flat_map(columns).collect();
    let mut wrong = Vec::new();
    for (number, crowd) in cells.chunks(CROWD).enumerate() {
        let case = unregistered(&format!("answers-{number}"), false).await;
        // The objects wait for the class, so that the broker knows how to answer each before it is asked.
        for cell in crowd {
            cell.prepare(&case).await;
        }
        case.register(json!({})).await;
        futures::future::join_all(crowd.iter().map(|cell| cell.drive(&case))).await;
        // All of them are at rest; what was still to come of an end has come.
        for cell in crowd {
            wrong.extend(cell.check(&case).await);
        }
        case.finish().await;
    }
    assert!(wrong.is_empty(), "{} of {} cells differ:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
}

// OSB 34
#[tokio::test]
async fn a_catalog_is_taken_or_fetched_again() {
    for (number, row) in played().iter().filter(|row| row.operation == "catalog").enumerate() {
        for ambiguous in [false, true] {
            let case = unregistered(&format!("answer-catalog-{number}-{ambiguous}"), false).await;
            catalog(&case, row, ambiguous).await;
            case.finish().await;
        }
    }
}

async fn catalog(case: &Case, row: &Row, ambiguous: bool) {
    let earlier = usize::from(ambiguous);
    if ambiguous {
        play(&case.broker, Operation::Catalog, None, "reset after effect");
    }
    play(&case.broker, Operation::Catalog, None, row.answer);
    case.create_broker(json!({})).await;
    let name = case.broker_name();
    if row.verdicts[earlier] == "retry" {
        case.until(case.broker_kind(), name, "to have no catalog", |object| {
            condition(object, "Ready").is_some_and(|(status, reason, _)| {
                status == "False" && ["ErrorFetchingCatalog", "ErrorSyncingCatalog"].contains(&reason)
            })
        })
        .await;
    }
    case.ready(case.broker_kind(), name).await;
    let asked = case.broker.requests_of(Operation::Catalog).len() - earlier;
    let expected = if row.verdicts[earlier] == "success" { 1 } else { 2 };
    assert_eq!(asked, expected, "{} after {earlier} failures", row.answer);
}
