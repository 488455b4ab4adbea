//! The examples run to their ends. Each makes sure of its own results.

#[path = "../examples/arrays.rs"]
#[cfg(feature = "arrays")]
mod arrays;
#[path = "../examples/c_library.rs"]
mod c_library;
#[path = "../examples/crawler.rs"]
mod crawler;
#[path = "../examples/monte_carlo.rs"]
mod monte_carlo;
#[path = "../examples/preload.rs"]
#[cfg(feature = "arrays")]
mod preload;
#[path = "../examples/progress.rs"]
mod progress;
#[path = "../examples/sweep.rs"]
mod sweep;

#[test]
#[cfg(feature = "arrays")]
fn arrays_with_bytes_and_ndarray() {
    arrays::main().unwrap();
}

#[test]
fn a_c_library_that_crashes_and_leaks() {
    c_library::main().unwrap();
}

#[test]
fn a_crawler_with_results_as_its_input() {
    crawler::main().unwrap();
}

#[test]
fn the_same_random_numbers_whatever_dies() {
    monte_carlo::main().unwrap();
}

#[test]
#[cfg(feature = "arrays")]
fn a_model_that_is_parsed_once() {
    preload::main().unwrap();
}

#[test]
fn bars_out_of_running_items() {
    progress::main().unwrap();
}

#[test]
fn a_sweep_with_a_bar() {
    sweep::main().unwrap();
}
