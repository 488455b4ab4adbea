//! The server: `cargo run -p web`, then `curl --data 'to be or not to be' http://127.0.0.1:3000/count`.

use std::sync::Arc;

use pool_core::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Arc::new(Pool::builder().max_pending(100).build()?);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
        axum::serve(listener, web::app(pool, Duration::from_secs(10))).await?;
        Ok(())
    })
}
