//! Pays the orders of a hundred customers and prints a summary: `cargo run -p sqlite`.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::path::Path;

use pool_core::prelude::*;

const CUSTOMERS: i64 = 100;

fn main() -> anyhow::Result<()> {
    let directory = std::env::temp_dir().join(format!("pool-sqlite-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let outcome = run(&directory.join("shop.db"));
    // SQLite keeps its log and its locks in files beside the database, so the whole directory goes.
    std::fs::remove_dir_all(&directory)?;
    outcome
}

fn run(path: &Path) -> anyhow::Result<()> {
    sqlite::create(path, CUSTOMERS)?;
    let pool = Pool::builder().state(sqlite::open::State, path).build()?;

    let payments = pool.map_results(sqlite::pay::Task.retries(2), 1..=CUSTOMERS)?;
    for (customer, payment) in (1..).zip(&payments) {
        if let Err(error) = payment {
            println!("customer {customer} has paid nothing: {}", error.kind());
        }
    }

    let totals: Vec<sqlite::Totals> =
        pool.map(sqlite::totals_of::Task, 1..=CUSTOMERS)?.into_iter().collect::<anyhow::Result<_>>()?;
    let orders: i64 = totals.iter().map(|totals| totals.orders).sum();
    let ordered: i64 = totals.iter().map(|totals| totals.ordered).sum();
    let paid: i64 = totals.iter().map(|totals| totals.paid).sum();
    println!("{CUSTOMERS} customers, {orders} orders of {ordered} cents, {paid} cents paid");
    Ok(())
}
