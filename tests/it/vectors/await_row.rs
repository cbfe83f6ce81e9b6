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

/// Those that stand in a test of their own, which says why.
const WITH_A_TEST_OF_THEIR_OWN: [&str; 10] = [
    "never arrives, default timeout",
    "timeoutMs -1, never",
    "timeoutMs NaN, never",
    "timeoutMs Infinity, never",
    "timeoutMs \"\", never",
    "timeoutMs [], never",
    "timeoutMs 12.5, never",
    "initial 1, max 8, timeout 50",
    "initial 0, timeout 20",
    "initial 500 > max 100, timeout 1000",
];

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
    vectors.iter().filter(plain).for_each(check);
    let others: Vec<_> = vectors.iter().filter(|vector| !plain(vector)).map(|vector| &vector["name"]).collect();
    assert_eq!(others, WITH_A_TEST_OF_THEIR_OWN);
}

/// The original waits 120 s by default, as long as its own operation may take; spec 7 wants 30 s.
#[test]
fn a_wait_is_30_s_by_default_where_the_original_waits_120() {
    assert_eq!(named("never arrives, default timeout")["result"]["at"], 120_000);
    let mut as_we_do = named("never arrives, 30000");
    as_we_do["options"]["timeoutMs"] = json!(DEPLOYMENT_TIMEOUT_DEFAULT.as_millis() as u64);
    check(&as_we_do);
}

/// The original takes an empty text or list for 0, and anything else that is no number, or negative, for its default.
#[test]
fn what_is_no_number_is_refused_where_the_original_waits() {
    let recorded = [
        ("-1", json!(-1), 120_000),
        ("NaN", json!("NaN"), 120_000),
        ("Infinity", json!("Infinity"), 120_000),
        ("\"\"", json!(""), 0),
        ("[]", json!([]), 0),
    ];
    for (written, value, at) in recorded {
        let result = json!({ "ok": false, "at": at, "cause": "row" });
        assert_eq!(named(&format!("timeoutMs {written}, never"))["result"], result);
        assert!(asked_with(value).unwrap_err().starts_with("bad request: `deployment_timeout`"), "{written}");
    }
}

/// JSON has no NaN and no Infinity: a client's library sends null for them. Null is the default, as in the original,
/// but ours is 30 s.
#[test]
fn what_json_cannot_say_is_the_default_as_in_the_original() {
    for (written, value) in [("NaN", f64::NAN), ("Infinity", f64::INFINITY)] {
        let recorded = named(&format!("timeoutMs {written}, never"));
        assert_eq!(recorded["polls_last"], named("never arrives, default timeout")["polls_last"]);
        assert_eq!(asked_with(json!(value)).unwrap().deployment_timeout, DEPLOYMENT_TIMEOUT_DEFAULT, "{written}");
    }
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

/// Steps that the original takes as options, and we as arguments of the back-off.
#[test]
fn other_steps_of_the_back_off_poll_as_recorded() {
    for name in ["initial 1, max 8, timeout 50", "initial 500 > max 100, timeout 1000"] {
        let vector = named(name);
        let option = |name: &str| vector["options"][name].as_u64();
        let (first, most) = (option("initialPollIntervalMs").unwrap(), option("pollIntervalMs").unwrap_or(100));
        assert_eq!(polls(first, most, option("timeoutMs").unwrap()), numbers(&vector["polls"]), "{name}");
    }
}

/// Doubling leaves a first step of 0 what it is, and the original's timers make 1 ms of it: it polls every millisecond.
/// Nothing lets anybody set our steps, which are 5 to 100 ms; told what the original's come to, ours poll the same.
#[test]
fn a_first_step_of_0_is_one_of_1_ms_that_does_not_grow() {
    let recorded = named("initial 0, timeout 20");
    assert_eq!(recorded["options"], json!({ "timeoutMs": 20, "initialPollIntervalMs": 0 }));
    assert_eq!(polls(1, 1, 20), numbers(&recorded["polls"]));
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
    while let Some(step) = back_off.next(start + at, start + at) {
        at += step;
        polls.push(at.as_millis() as u64);
    }
    polls
}
