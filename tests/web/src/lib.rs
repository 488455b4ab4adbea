//! A pool behind an HTTP server. Each request is a call: it has a time limit, it is refused when too much is pending, and it is
//! cancelled when its client leaves.

#![deny(unsafe_code)]

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use pool_core::prelude::*;

/// The number of words that are different, after some time for each.
#[pool_task]
fn count_words(text: &str) -> usize {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    words.dedup();
    // Work of a kind that may crash or take for ever: these words ask for it.
    if words.contains(&"crash") {
        std::process::abort();
    }
    while words.contains(&"forever") {
        std::thread::park();
    }
    words.len()
}

/// The routes, over a pool that says by [`max_pending`](PoolBuilder::max_pending) how many requests it takes at once.
pub fn app(pool: Arc<Pool>, limit: Duration) -> Router {
    let handler = move |State(pool): State<Arc<Pool>>, text: String| count(pool, limit, text);
    Router::new().route("/count", post(handler)).with_state(pool)
}

async fn count(pool: Arc<Pool>, limit: Duration, text: String) -> Result<String, (StatusCode, String)> {
    // It does not wait for room, so a thread of the server is held up for no longer than the text takes to be copied.
    let call = pool.try_apply_async(count_words::Task.timeout(limit), &text).map_err(answer)?;
    // The server drops this future when the client has left. Then the call ends, even if it runs.
    let words = call.cancel_on_drop().await.map_err(answer)?;
    Ok(words.to_string())
}

/// The failure, for the client.
fn answer(error: Error) -> (StatusCode, String) {
    let status = match error.kind() {
        ErrorKind::TaskTimeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Full | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    // The kind alone: the whole text names tasks and processes, which are for the server's log.
    (status, error.kind().to_string())
}
