//! The recorded answers of the original, one suite a file. Where drydock differs on purpose, the test names the difference.

mod await_row;
mod event_log;
mod line_splitter;
mod peer_results;

use serde_json::Value;

/// More turns than any task takes without waiting for time.
const TURNS: usize = 16;

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array().into_iter().flatten().map(|number| number.as_u64().expect("whole milliseconds")).collect()
}

/// Lets every task go as far as it comes at this time.
async fn let_tasks_run() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}
