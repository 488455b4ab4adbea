//! `demo`.

use crate::cli::{pool_cli, run};

#[test]
fn every_step_is_as_expected() {
    for workers in ["4", "1"] {
        let outcome = run(&mut pool_cli(["demo", "--workers", workers])).expect_code(0);
        let text = outcome.text();
        assert!(!text.contains("DIFFERS"), "{text}");
        assert!(text.contains("all as expected"), "{text}");
        assert_eq!(outcome.err, "");
    }
}

#[test]
fn workers_print_into_the_step_that_runs_them() {
    let outcome = run(&mut pool_cli(["demo"])).expect_code(0);
    let step = outcome.text().split("\n\n").find(|step| step.contains("Ten times apply_async")).expect("a step");
    assert_eq!(step.matches(" begins in process ").count(), 10, "{step}");
    assert_eq!(step.matches(" ends in process ").count(), 10, "{step}");
}

#[test]
fn a_file_gets_no_colour() {
    let outcome = run(&mut pool_cli(["demo", "--workers", "2"])).expect_code(0);
    assert!(!outcome.text().contains('\x1b'), "{}", outcome.text());
}

#[test]
fn a_number_that_no_pool_takes_stops_it_at_once() {
    let outcome = run(&mut pool_cli(["demo", "--workers", "1000000"])).expect_code(2);
    assert_eq!(outcome.text(), "");
    assert!(outcome.err.contains("at most"), "{}", outcome.err);
}
