//! The sums are right, and neither a panic nor a kill in the middle of a transaction leaves half of it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use pool_core::prelude::*;
use rusqlite::Connection;
use sqlite::Totals;

/// A machine may be busy; the wait should not take a hundredth of this.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A database in a directory that ends with it.
struct Shop {
    directory: PathBuf,
}

impl Shop {
    fn new(name: &str, customers: i64) -> Self {
        let directory = std::env::temp_dir().join(format!("pool-sqlite-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let shop = Self { directory };
        sqlite::create(&shop.path(), customers).unwrap();
        shop
    }

    fn path(&self) -> PathBuf {
        self.directory.join("shop.db")
    }

    fn pool(&self, workers: usize) -> Pool {
        Pool::builder().workers(workers).state(sqlite::open::State, &self.path()).build().unwrap()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The worker's process, and how often this was asked over its connection: a temporary table ends with its connection.
#[pool_task]
fn visit(#[state] db: &Connection) -> anyhow::Result<(u32, i64)> {
    db.execute_batch("CREATE TEMP TABLE IF NOT EXISTS visits (n INTEGER); INSERT INTO visits VALUES (1);")?;
    Ok((std::process::id(), db.query_row("SELECT count(*) FROM visits", (), |row| row.get(0))?))
}

/// Marks all orders as paid and leaves the transaction open in the connection, without a guard that rolls it back.
fn pay_all_and_stop(db: &Connection) -> anyhow::Result<()> {
    db.execute_batch("BEGIN IMMEDIATE; UPDATE orders SET is_paid = 1;")?;
    let paid: i64 = db.query_row("SELECT count(*) FROM orders WHERE is_paid", (), |row| row.get(0))?;
    anyhow::ensure!(paid > 0, "it has not begun");
    Ok(())
}

#[pool_task]
fn pay_all_and_panic(#[state] db: &mut Connection) -> anyhow::Result<()> {
    pay_all_and_stop(db)?;
    panic!("in the middle");
}

#[pool_task]
fn pay_all_and_hang(#[state] db: &mut Connection) -> anyhow::Result<()> {
    pay_all_and_stop(db)?;
    loop {
        std::thread::park();
    }
}

#[test]
fn each_customer_pays_all_or_nothing() {
    let shop = Shop::new("pay", 100);
    let pool = shop.pool(4);
    let payments = pool.map_results(sqlite::pay::Task, 1..=100).unwrap();
    let totals = pool.map(sqlite::totals_of::Task, 1..=100).unwrap();
    for ((customer, payment), totals) in (1..).zip(payments).zip(totals) {
        let totals = totals.unwrap();
        if customer % 25 == 0 {
            // The first order was marked before the second one caused the panic.
            assert_eq!(payment.unwrap_err().kind(), ErrorKind::Panicked);
            assert_eq!(totals, Totals { orders: 2, ordered: customer, paid: 0 });
        } else {
            assert_eq!(payment.unwrap().unwrap(), 3 * customer);
            assert_eq!(totals, Totals { orders: 2, ordered: 3 * customer, paid: 3 * customer });
        }
    }
    assert_eq!(pool.apply(sqlite::pay::Task, 1).unwrap().unwrap(), 0, "all is paid");
}

#[test]
fn a_panic_drops_the_connection_and_its_transaction() {
    let shop = Shop::new("panic", 3);
    let pool = shop.pool(1);
    let (process, _) = pool.apply(visit::Task, ()).unwrap().unwrap();
    assert_eq!(pool.apply(visit::Task, ()).unwrap().unwrap(), (process, 2));
    assert_eq!(pool.apply(pay_all_and_panic::Task, ()).unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(pool.apply(sqlite::totals_of::Task, 3).unwrap().unwrap(), Totals { orders: 2, ordered: 9, paid: 0 });
    assert_eq!(pool.apply(visit::Task, ()).unwrap().unwrap(), (process, 1), "the same worker, another connection");
    // Nothing holds the lock of the transaction that ended.
    assert_eq!(pool.apply(sqlite::pay::Task, 3).unwrap().unwrap(), 9);
}

#[test]
fn a_kill_ends_the_transaction_and_the_replacement_opens_its_own_connection() {
    let shop = Shop::new("kill", 3);
    let pool = shop.pool(1);
    let (process, _) = pool.apply(visit::Task, ()).unwrap().unwrap();
    let call = pool.apply_async(pay_all_and_hang::Task, ()).unwrap();
    // The lock is taken as soon as the transaction has begun.
    let host = Connection::open(shop.path()).unwrap();
    host.busy_timeout(Duration::ZERO).unwrap();
    let begun = Instant::now();
    while host.execute_batch("BEGIN IMMEDIATE; ROLLBACK;").is_ok() {
        assert!(begun.elapsed() < WATCHDOG, "it does not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    call.cancel();
    assert_eq!(call.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.apply(sqlite::totals_of::Task, 3).unwrap().unwrap(), Totals { orders: 2, ordered: 9, paid: 0 });
    let (replacement, visits) = pool.apply(visit::Task, ()).unwrap().unwrap();
    assert_ne!(replacement, process);
    assert_eq!(visits, 1);
    assert_eq!(pool.apply(sqlite::pay::Task, 3).unwrap().unwrap(), 9);
}

#[test]
fn a_database_that_is_not_there_is_told_in_the_job() {
    let path = std::env::temp_dir().join(format!("pool-sqlite-none-{}", std::process::id()));
    let pool = Pool::builder().workers(1).state(sqlite::open::State, &path).build().unwrap();
    let error = pool.apply(sqlite::totals_of::Task, 1).unwrap_err().to_string();
    assert!(error.contains("unable to open database file"), "{error}");
    assert!(!path.exists());
}

#[test]
fn the_program_prints_a_summary() {
    let output = Command::new(env!("CARGO_BIN_EXE_sqlite")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // 3 × (1 + … + 100) without the second order of four customers; these have paid nothing.
    assert!(text.ends_with("100 customers, 200 orders of 14650 cents, 14400 cents paid\n"), "{text}");
    assert_eq!(text.matches("has paid nothing: task panicked").count(), 4, "{text}");
}
