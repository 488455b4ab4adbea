//! Planted faults that the books must find.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use pool_core::ErrorKind;

use crate::item::{Fate, Item};
use crate::ledger::{Ledger, Outcome, Page, Shape, Tally};

/// Sums of the books of a map over a thousand good items, after `change` was done to the page of well-settled ones.
fn sums(change: impl FnOnce(&mut Page)) -> Tally {
    sums_of(Fate::Good, false, 1, change)
}

fn sums_of(fate: Fate, is_harmless: bool, settled_from: usize, change: impl FnOnce(&mut Page)) -> Tally {
    let ledger = Ledger::default();
    let items = (0..1000).map(|serial| Item::new(serial, if serial == 0 { fate } else { Fate::Good })).collect();
    let mut page = ledger.open(Shape::Map, items, is_harmless);
    for at in settled_from..1000 {
        page.settle(at, Outcome::Value(page.items[at].value()));
    }
    change(&mut page);
    ledger.close(page);
    ledger.tally()
}

fn value(page: &Page, at: usize) -> Outcome {
    Outcome::Value(page.items[at].value())
}

fn died_of(item: Option<usize>, raw: i32) -> Outcome {
    Outcome::Failed { kind: ErrorKind::WorkerDied, item, status: Some(ExitStatus::from_raw(raw)) }
}

fn failed(kind: ErrorKind) -> Outcome {
    Outcome::Failed { kind, item: Some(0), status: None }
}

#[test]
fn all_is_well_if_each_item_ends_once() {
    let tally = sums(|page| page.settle(0, value(page, 0)));
    assert!(tally.is_clean(), "{tally:?}");
    assert_eq!((tally.jobs, tally.items, tally.succeeded), (1, 1000, 1000));
}

#[test]
fn a_lost_item_is_found() {
    let tally = sums(|_| {});
    assert_eq!((tally.lost, tally.doubled, tally.wrong), (1, 0, 0));
    assert!(!tally.is_clean());
}

#[test]
fn a_doubled_item_is_found() {
    let tally = sums(|page| (0..2).for_each(|_| page.settle(0, value(page, 0))));
    assert_eq!((tally.lost, tally.doubled, tally.wrong), (0, 1, 0));
    assert!(!tally.is_clean());
}

#[test]
fn a_doubled_item_does_not_make_up_for_a_lost_one() {
    let tally = sums(|page| page.settle(7, value(page, 7)));
    assert_eq!((tally.lost, tally.doubled, tally.wrong), (1, 1, 0));
    let tally = sums(|page| page.settle_unordered(value(page, 7)));
    assert_eq!((tally.lost, tally.doubled, tally.wrong), (1, 1, 0));
}

#[test]
fn one_outcome_too_many_is_found() {
    let tally = sums(|page| [0, 1000].into_iter().for_each(|at| page.settle(at, value(page, 0))));
    assert_eq!((tally.lost, tally.doubled, tally.wrong), (0, 1, 0));
}

#[test]
fn another_items_value_is_found() {
    let tally = sums(|page| page.settle(0, value(page, 1)));
    assert_eq!((tally.lost, tally.doubled, tally.wrong), (0, 0, 1));
    assert!(!tally.is_clean());
    let tally = sums(|page| page.settle_unordered(Outcome::Value(12)));
    assert_eq!((tally.lost, tally.doubled, tally.wrong), (1, 0, 1));
}

#[test]
fn a_page_that_is_never_closed_is_found() {
    let ledger = Ledger::default();
    let page = ledger.open(Shape::Calls, vec![Item::new(1, Fate::Good)], false);
    assert!(!ledger.tally().is_clean());
    ledger.close(page);
    assert_eq!(ledger.tally().lost, 1);
}

#[test]
fn an_item_may_fail_only_as_its_fate_and_the_harm_allow() {
    let is_clean =
        |fate, is_harmless, outcome| sums_of(fate, is_harmless, 1, |page| page.settle(0, outcome)).is_clean();
    let exited = died_of(Some(0), 3 << 8);
    assert!(is_clean(Fate::Exit, false, exited));
    assert!(!is_clean(Fate::Good, false, exited), "nothing makes a good item exit");
    assert!(is_clean(Fate::Segfault, false, died_of(Some(0), libc::SIGSEGV)));
    assert!(!is_clean(Fate::Good, false, died_of(Some(0), libc::SIGSEGV)));
    assert!(is_clean(Fate::Good, false, died_of(Some(0), libc::SIGKILL)));
    assert!(!is_clean(Fate::Good, true, died_of(Some(0), libc::SIGKILL)), "it has retries enough");
    assert!(!is_clean(Fate::Good, false, died_of(Some(1), libc::SIGKILL)), "it is another's error");
    assert!(!is_clean(Fate::Good, false, died_of(None, libc::SIGKILL)), "it does not say whose error it is");
    assert!(is_clean(Fate::Panic, false, failed(ErrorKind::Panicked)));
    assert!(!is_clean(Fate::Good, false, failed(ErrorKind::Panicked)));
    assert!(!is_clean(Fate::Panic, false, Outcome::Value(Item::new(0, Fate::Panic).value())), "it cannot succeed");
    assert!(!is_clean(Fate::Good, false, failed(ErrorKind::Cancelled)), "nobody has cancelled it");
    assert!(!is_clean(Fate::Good, false, failed(ErrorKind::Broken)));
}

#[test]
fn cancelled_and_given_up_items_are_not_lost() {
    let tally = sums(|page| {
        page.cancel(0);
        page.settle(0, failed(ErrorKind::Cancelled));
    });
    assert!(tally.is_clean(), "{tally:?}");
    let tally = sums(Page::give_up_the_rest);
    assert!(tally.is_clean(), "{tally:?}");
    assert_eq!((tally.given_up, tally.succeeded), (1, 999));
}
