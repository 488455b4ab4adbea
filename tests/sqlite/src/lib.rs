//! A shop's SQLite database behind a pool. Each worker holds one connection as its state, and tasks take it beside their arguments.

#![deny(unsafe_code)]

use std::path::Path;

use pool_core::prelude::*;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use serde::{Deserialize, Serialize};

const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The orders and payments of a customer, in cents.
#[derive(Serialize, Deserialize, Debug, Default, PartialEq)]
pub struct Totals {
    /// The number of orders.
    pub orders: i64,
    /// The sum of all orders.
    pub ordered: i64,
    /// The sum of those that are paid.
    pub paid: i64,
}

/// Makes a database of customers 1, 2, 3 and so on. Customer `n` has two orders, of `n` and `2n` cents; each 25th customer's second
/// order has no amount, which is the fault that [`pay`](fn@pay) panics at.
pub fn create(path: &Path, customers: i64) -> rusqlite::Result<()> {
    let mut db = Connection::open(path)?;
    // With a write-ahead log, which the file remembers, workers read while one of them writes.
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.execute_batch(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, cents INTEGER, is_paid INTEGER NOT NULL DEFAULT 0);
         CREATE INDEX orders_of ON orders (customer);",
    )?;
    // One transaction for all rows, since each commit waits for the disk.
    let transaction = db.transaction()?;
    for customer in 1..=customers {
        let second = (customer % 25 != 0).then_some(2 * customer);
        for cents in [Some(customer), second] {
            transaction.execute("INSERT INTO orders (customer, cents) VALUES (?, ?)", (customer, cents))?;
        }
    }
    transaction.commit()
}

/// Opens the connection of a worker. It is opened in the worker, since SQLite forbids to carry a connection over a fork.
#[pool_state]
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    // Without the flag to create: a wrong path is an error here instead of an empty database.
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // One connection writes at a time; the others wait instead of failing at once.
    db.busy_timeout(BUSY_TIMEOUT)?;
    Ok(db)
}

/// Adds up the orders of a customer.
#[pool_task]
pub fn totals_of(#[state] db: &Connection, customer: i64) -> anyhow::Result<Totals> {
    let query =
        "SELECT count(*), coalesce(sum(cents), 0), coalesce(sum(cents * is_paid), 0) FROM orders WHERE customer = ?";
    let totals = db.query_row(query, [customer], |row| {
        Ok(Totals { orders: row.get(0)?, ordered: row.get(1)?, paid: row.get(2)? })
    })?;
    Ok(totals)
}

/// Pays all open orders of a customer, or none. Returns the sum in cents.
///
/// An attempt that follows a worker's death pays nothing twice: an order is marked in the transaction that adds it up. If that was
/// committed before the death, the sum of the later attempt is 0.
#[pool_task]
pub fn pay(#[state] db: &mut Connection, customer: i64) -> anyhow::Result<i64> {
    // It takes the lock before it reads: a reader that turns into a writer fails if another one has written in between.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut sum = 0;
    {
        let mut orders =
            transaction.prepare("SELECT id, cents FROM orders WHERE customer = ? AND NOT is_paid ORDER BY id")?;
        let mut rows = orders.query([customer])?;
        while let Some(row) = rows.next()? {
            let cents: Option<i64> = row.get(1)?;
            // A panic here leaves the transaction half done. It is rolled back, and the worker opens its connection anew.
            sum += cents.expect("an order has an amount");
            transaction.execute("UPDATE orders SET is_paid = 1 WHERE id = ?", [row.get::<_, i64>(0)?])?;
        }
    }
    transaction.commit()?;
    Ok(sum)
}
