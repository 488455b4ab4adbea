//! Real requests over real connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use pool_core::prelude::*;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A machine may be busy; none of the waits should take a hundredth of this.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A server that lives as long as the runtime.
fn serve(pool: &Arc<Pool>, limit: Duration) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let app = web::app(Arc::clone(pool), limit);
    runtime.spawn(async move { axum::serve(listener, app).await });
    (runtime, address)
}

fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = text.len();
    write!(stream, "POST /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}")
        .unwrap();
    stream
}

/// The status and the body.
fn receive(mut stream: TcpStream) -> (u16, String) {
    let mut text = String::new();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn wait_until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < WATCHDOG, "it does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn values_crashes_and_time_limits() {
    let pool = Arc::new(Pool::new(2).unwrap());
    let (_runtime, address) = serve(&pool, Duration::from_millis(300));
    assert_eq!(receive(send(address, "to be or not to be")), (200, "4".to_owned()));
    assert_eq!(receive(send(address, "crash")), (500, "worker died".to_owned()));
    assert_eq!(receive(send(address, "forever")), (504, "time limit exceeded".to_owned()));
    assert_eq!(receive(send(address, "a b")), (200, "2".to_owned()));
}

#[test]
fn a_full_pool_says_so_and_a_client_that_leaves_makes_room() {
    let pool = Arc::new(Pool::builder().workers(1).max_pending(2).build().unwrap());
    let (_runtime, address) = serve(&pool, Duration::from_secs(3600));
    let clients = [send(address, "forever"), send(address, "forever")];
    wait_until(|| pool.stats().items_pending == 2);
    assert_eq!(receive(send(address, "a")), (503, "no room".to_owned()));
    drop(clients);
    // Both are cancelled, the one that runs, too.
    pool.wait_idle_timeout(WATCHDOG).unwrap();
    assert_eq!(receive(send(address, "a b c")), (200, "3".to_owned()));
}
