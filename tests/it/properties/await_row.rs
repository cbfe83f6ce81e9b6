//! A peer's wait for its row: result, looks and words follow from a model without tasks, timers and tables.

use std::time::Duration;

use drydock::{
    check::NodeIndex,
    deploy::{
        await_row::await_deployment_row,
        budget::Budget,
        row::{Deployment, Status},
    },
    env::{BlobId, Record, Version},
    sim::choice::Calm,
};
use proptest::{option, prelude::*};
use uuid::Uuid;

use super::kept_in;
use crate::{
    scripted::{Failures, Script, ScriptedEnv},
    story::{cluster_of, tell},
};

const ID: Uuid = Uuid::from_u128(0x6f1b_2ad0_54b4_4f5e_8c2c_0a2f_3f2f_9f10);

/// What a wait meets; times are milliseconds from its start.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) timeout_ms: u64,
    pub(crate) row_at: Option<u64>,
    /// The row with its payload.
    pub(crate) payload_at: Option<u64>,
    pub(crate) get_latencies_ms: Vec<u64>,
    pub(crate) get_fails: Failures,
    pub(crate) no_table: bool,
}

/// How a wait went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) polls_ms: Vec<u64>,
    pub(crate) ended_ms: u64,
    /// The row came, or the error's code and words.
    pub(crate) ended: Result<(), (&'static str, String)>,
}

/// Lets the deploy logic wait.
pub(crate) fn wait_in(weather: &Weather) -> Wait {
    let timeout = Duration::from_millis(weather.timeout_ms);
    let script = weather.script();
    let story = async move |cluster: drydock::sim::cluster::Cluster| {
        let env = ScriptedEnv::new(cluster.env(NodeIndex(0)), script);
        let ended = await_deployment_row(&env, ID, Budget::starting_now(timeout)).await;
        let ended =
            ended.map(|row| assert_eq!(row.deployment_id, ID)).map_err(|error| (error.code(), error.to_string()));
        Wait { ended_ms: env.now_ms(), polls_ms: env.take_seen().polls_ms, ended }
    };
    tell(&cluster_of(1), Calm, story).0
}

impl Weather {
    fn script(&self) -> Script {
        let bare = self.row_at.map(|at| (at, record(None)));
        let whole = self.payload_at.map(|at| (at, record(Some(BlobId(ID)))));
        Script {
            no_table: self.no_table,
            rows: bare.into_iter().chain(whole).collect(),
            get_latencies_ms: self.get_latencies_ms.clone(),
            get_fails: self.get_fails.clone(),
            put_latencies_ms: vec![],
        }
    }

    /// Spec 7, step by step.
    fn expected(&self) -> Wait {
        let (mut now, mut step, mut polls_ms) = (0, 5, vec![]);
        let (mut row_seen, mut last_error) = (false, String::new());
        loop {
            let number = polls_ms.len();
            let began = now;
            polls_ms.push(began);
            now += self.get_latencies_ms.get(number).copied().unwrap_or(0);
            if self.get_fails.hit(number, now) {
                last_error = format!(" (last read: the store refused: read {number} failed)");
            } else if self.payload_at.is_some_and(|at| at <= now) {
                return Wait { polls_ms, ended_ms: now, ended: Ok(()) };
            } else {
                row_seen |= self.row_at.is_some_and(|at| at <= now);
            }
            if began >= self.timeout_ms {
                let ended = Err(self.words(row_seen, &last_error));
                return Wait { polls_ms, ended_ms: now, ended };
            }
            now = now.max(self.timeout_ms.min(now + step));
            step = 100.min(2 * step);
        }
    }

    fn words(&self, row_seen: bool, last_error: &str) -> (&'static str, String) {
        let (code, missing) = match row_seen {
            false => ("row_timeout", "the row never replicated to this node; is replication from the origin alive?"),
            true => ("payload_timeout", "the row came, its payload did not; did the origin's upload end?"),
        };
        let waited = format!("timed out after {} ms waiting for hdb_deployment row {ID}", self.timeout_ms);
        (code, format!("{waited}: {missing}{last_error}"))
    }
}

fn record(blob: Option<BlobId>) -> Record {
    let row = serde_json::json!({
        "deployment_id": ID, "project": "hello", "status": Status::Pending, "origin_node": "n2", "started_at": 1,
        "payload_blob": blob,
    });
    let version = Version { stamp: 1, node: "n2".into() };
    Record { key: Deployment::key_of(ID), version, value: row.to_string().into(), blob }
}

fn weather() -> impl Strategy<Value = Weather> {
    let timeout_ms = prop_oneof![0u64..20, 0u64..700, Just(30_000)];
    let latency_ms = prop_oneof![3 => Just(0u64), 1 => 0u64..150];
    let latencies = proptest::collection::vec(latency_ms, 0..10);
    let failures = prop_oneof![
        2 => Just(Failures::None),
        1 => (0u64..800).prop_map(Failures::Until),
        2 => proptest::collection::vec(any::<bool>(), 0..12).prop_map(Failures::Of),
    ];
    let row = option::weighted(0.8, (0u64..800, option::weighted(0.7, prop_oneof![Just(0u64), 0u64..100])));
    (timeout_ms, row, latencies, failures).prop_map(|(timeout_ms, row, get_latencies_ms, get_fails)| Weather {
        timeout_ms,
        row_at: row.map(|(at, _)| at),
        payload_at: row.and_then(|(at, later)| Some(at + later?)),
        get_latencies_ms,
        get_fails,
        no_table: false,
    })
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/await_row.txt"))]

    #[test]
    fn a_wait_looks_when_it_must_and_says_what_was_missing(weather in weather()) {
        prop_assert_eq!(wait_in(&weather), weather.expected());
    }

    #[test]
    fn a_row_that_is_there_at_the_deadline_is_never_missed(timeout_ms in 0u64..2_000, early in 0u64..2_000) {
        let at = timeout_ms.saturating_sub(early);
        let weather = Weather {
            timeout_ms, row_at: Some(at), payload_at: Some(at), get_latencies_ms: vec![], get_fails: Failures::None,
            no_table: false,
        };
        let wait = wait_in(&weather);
        prop_assert_eq!(wait.ended, Ok(()));
        prop_assert!(wait.ended_ms <= timeout_ms && wait.ended_ms - at <= 100);
    }
}
