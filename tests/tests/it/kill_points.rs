//! A worker killed or stopped at some machine instructions of a job; `cargo xtask kill-points` does so at all.

use tests::kill_points::{End, Ledger, Scenario, When, kill_job, kill_ring, stop_job};
use tests::tracer;
use tests::trial::{Check, Setup, once};

pub(crate) fn checks() -> Vec<Check> {
    let checks = vec![
        once(a_worker_killed_at_any_instruction_of_a_call_costs_at_most_that_call).workers(&[1, 2]),
        once(so_it_does_while_nobody_waits).workers(&[1]),
        once(a_worker_killed_at_any_instruction_of_a_map_costs_at_most_one_item).workers(&[1, 2]),
        once(a_result_of_several_records_comes_whole_or_not_at_all).workers(&[1]),
        once(a_worker_killed_at_any_instruction_of_an_exchange_of_arrays_costs_at_most_that_call).workers(&[1, 2]),
        once(a_worker_killed_at_any_instruction_of_parts_of_an_array_costs_at_most_one).workers(&[1, 2]),
        once(a_worker_killed_at_any_instruction_of_reports_has_made_them_heard).workers(&[1, 2]),
        once(a_worker_stopped_after_it_has_claimed_a_call_meets_its_limit).workers(&[1]),
        once(a_worker_stopped_before_it_has_claimed_a_call_is_relieved_of_it).workers(&[1]),
        once(a_producer_killed_at_any_instruction_leaves_whole_messages),
        once(a_consumer_killed_at_any_instruction_leaves_a_usable_ring),
        once(a_record_published_before_it_is_filled_is_found),
        once(an_item_counted_before_it_is_written_is_found),
    ];
    checks.into_iter().map(|check| check.only_if(tracer::is_permitted)).collect()
}

#[track_caller]
fn assert_clean(ledger: nix::Result<Ledger>) {
    let ledger = ledger.expect("it was permitted before");
    assert!(ledger.is_clean() && ledger.points > 0, "{ledger}");
}

fn a_worker_killed_at_any_instruction_of_a_call_costs_at_most_that_call(setup: &Setup) {
    assert_clean(kill_job(setup.workers, Scenario::Call, 150));
}

fn so_it_does_while_nobody_waits(setup: &Setup) {
    assert_clean(kill_job(setup.workers, Scenario::Posted, 60));
}

fn a_worker_killed_at_any_instruction_of_a_map_costs_at_most_one_item(setup: &Setup) {
    assert_clean(kill_job(setup.workers, Scenario::Map, 150));
}

fn a_result_of_several_records_comes_whole_or_not_at_all(setup: &Setup) {
    assert_clean(kill_job(setup.workers, Scenario::Long, 20));
}

fn a_worker_killed_at_any_instruction_of_an_exchange_of_arrays_costs_at_most_that_call(setup: &Setup) {
    assert_clean(kill_job(setup.workers, Scenario::Array, 80));
}

fn a_worker_killed_at_any_instruction_of_parts_of_an_array_costs_at_most_one(setup: &Setup) {
    assert_clean(kill_job(setup.workers, Scenario::Parts, 80));
}

fn a_worker_killed_at_any_instruction_of_reports_has_made_them_heard(setup: &Setup) {
    assert_clean(kill_job(setup.workers, Scenario::Reports, 150));
}

fn a_worker_stopped_after_it_has_claimed_a_call_meets_its_limit(setup: &Setup) {
    assert_clean(stop_job(setup.workers, When::Claimed(8)));
}

fn a_worker_stopped_before_it_has_claimed_a_call_is_relieved_of_it(setup: &Setup) {
    assert_clean(stop_job(setup.workers, When::BeforeClaim));
}

fn a_producer_killed_at_any_instruction_leaves_whole_messages(_: &Setup) {
    assert_clean(kill_ring(End::Producer, 150));
}

fn a_consumer_killed_at_any_instruction_leaves_a_usable_ring(_: &Setup) {
    assert_clean(kill_ring(End::Consumer, 150));
}

fn a_record_published_before_it_is_filled_is_found(_: &Setup) {
    assert!(kill_ring(End::HastyProducer, 3).expect("it was permitted before").torn > 0);
}

fn an_item_counted_before_it_is_written_is_found(_: &Setup) {
    assert!(kill_ring(End::HastyWriter, 3).expect("it was permitted before").torn > 0);
}
