//! The wait for a row, against the recorded polls and results.

use std::time::Duration;

use drydock::deploy::{
    await_row::BackOff,
    request::{DEPLOYMENT_TIMEOUT_DEFAULT, DeployRequest},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{numbers, read};
use crate::{
    properties::await_row::{Wait, Weather, wait_in},
    scripted::Failures,
};

/// No recorded wait polls more often.
const POLLS_MAX: usize = 2_000;

fn vectors() -> Vec<Value> {
    let Value::Array(vectors) = read(include_str!("../../../fixtures/vectors/await-row.json")) else {
        panic!("a list of vectors")
    };
    vectors
}

fn named(name: &str) -> Value {
    vectors().into_iter().find(|vector| vector["name"] == name).expect("a vector of that name")
}

fn weather(vector: &Value) -> Weather {
    let schedule = &vector["schedule"];
    let latency = schedule["get_latency"].as_u64().unwrap_or(0);
    Weather {
        timeout_ms: vector["options"]["timeoutMs"].as_u64().expect("a plain number of milliseconds"),
        row_at: schedule["row_at"].as_u64(),
        payload_at: schedule["blob_at"].as_u64(),
        get_latencies_ms: vec![latency; POLLS_MAX],
        get_fails: schedule["throw_until"].as_u64().map_or(Failures::None, Failures::Until),
        no_table: schedule["no_table"] == true,
    }
}

fn check(vector: &Value) {
    let wait = wait_in(&weather(vector));
    check_polls(vector, &wait.polls_ms);
    assert_eq!(Some(wait.ended_ms), vector["result"]["at"].as_u64(), "{}", vector["name"]);
    check_result(vector, &wait);
}

fn check_polls(vector: &Value, polls_ms: &[u64]) {
    if vector["polls"].is_array() {
        return assert_eq!(polls_ms, numbers(&vector["polls"]), "{}", vector["name"]);
    }
    let (first, last) = (numbers(&vector["polls_first"]), numbers(&vector["polls_last"]));
    assert_eq!(polls_ms.len() as u64, vector["poll_count"], "{}", vector["name"]);
    assert!(polls_ms.starts_with(&first) && polls_ms.ends_with(&last), "{}", vector["name"]);
}

fn check_result(vector: &Value, wait: &Wait) {
    let result = &vector["result"];
    match &wait.ended {
        Ok(()) => assert_eq!(result["ok"], true, "{}", vector["name"]),
        Err((code, told)) => {
            let cause = match *code {
                "row_timeout" => "row",
                "payload_timeout" => "payload",
                other => other,
            };
            assert_eq!(result["cause"], cause, "{}", vector["name"]);
            assert_eq!(told.contains("last read:"), result["last_error_named"] == true, "{told}");
        }
    }
}

/// Asks for a recorded wait whose time-out is no plain number.
fn asked_with(timeout: Value) -> Result<DeployRequest, String> {
    let request = json!({ "project": "hello", "deployment_timeout": timeout });
    DeployRequest::parse(&request).map_err(|error| error.to_string())
}

#[test]
fn every_recorded_wait_of_a_plain_time_out_polls_and_ends_as_the_original() {
    let plain = |vector: &&Value| {
        let options = vector["options"].as_object().unwrap();
        options.len() == 1 && options.contains_key("timeoutMs")
    };
    let vectors = vectors();
    let checked = vectors.iter().filter(plain).map(check).count();
    assert_eq!(checked, 27, "of {} vectors", vectors.len());
}

/// The original waits 120 s by default, as long as its own operation may take; spec 7 wants 30 s.
#[test]
fn a_wait_is_30_s_by_default_where_the_original_waits_120() {
    assert_eq!(named("never arrives, default timeout")["result"]["at"], 120_000);
    let mut as_we_do = named("never arrives, 30000");
    as_we_do["options"]["timeoutMs"] = json!(DEPLOYMENT_TIMEOUT_DEFAULT.as_millis() as u64);
    check(&as_we_do);
}

/// The original takes what is no number for its default, and an empty text or list for 0. (JSON has no NaN and no
/// Infinity: a client that sends them sends null, which is the default.)
#[test]
fn what_is_no_number_is_refused_where_the_original_waits() {
    let recorded = [("-1", json!(-1)), ("\"\"", json!("")), ("[]", json!([])), ("NaN", json!("NaN"))];
    for (written, value) in recorded {
        assert_eq!(named(&format!("timeoutMs {written}, never"))["result"]["ok"], false);
        assert!(asked_with(value).unwrap_err().starts_with("bad request: `deployment_timeout`"), "{written}");
    }
    assert_eq!(asked_with(json!(f64::INFINITY)).unwrap().deployment_timeout, DEPLOYMENT_TIMEOUT_DEFAULT);
}

/// The original's last sleep but one ends at 12 ms, since its timers have whole milliseconds, and it looks twice.
#[test]
fn a_fraction_is_rounded_up_where_the_original_looks_twice() {
    let mut vector = named("timeoutMs 12.5, never");
    let timeout = asked_with(json!(12.5)).unwrap().deployment_timeout;
    vector["options"] = json!({ "timeoutMs": timeout.as_millis() as u64 });
    assert_eq!(numbers(&vector["polls"]), [0, 5, 12, 13]);
    vector["polls"] = json!([0, 5, 13]);
    check(&vector);
}

/// Steps that the original takes as options, and we as arguments of the back-off. (Steps of 0 ms are none of ours.)
#[test]
fn other_steps_of_the_back_off_poll_as_recorded() {
    for name in ["initial 1, max 8, timeout 50", "initial 500 > max 100, timeout 1000"] {
        let vector = named(name);
        let option = |name: &str| vector["options"][name].as_u64();
        let (first, most) = (option("initialPollIntervalMs").unwrap(), option("pollIntervalMs").unwrap_or(100));
        assert_eq!(polls(first, most, option("timeoutMs").unwrap()), numbers(&vector["polls"]), "{name}");
    }
}

/// When a back-off looks whose looks take no time.
fn polls(first_ms: u64, most_ms: u64, timeout_ms: u64) -> Vec<u64> {
    let start = Instant::now();
    let mut back_off = BackOff::new(
        Duration::from_millis(first_ms),
        Duration::from_millis(most_ms),
        start + Duration::from_millis(timeout_ms),
    );
    let mut at = Duration::ZERO;
    let mut polls = vec![0];
    while let Some(step) = back_off.next(start + at) {
        at += step;
        polls.push(at.as_millis() as u64);
    }
    polls
}
