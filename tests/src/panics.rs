//! Panics that a check provokes in its own process.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

/// The text of the panic that `body` ends in. Nothing is printed.
pub fn expect_panic<R>(body: impl FnOnce() -> R) -> String {
    let caught = silently(|| panic::catch_unwind(AssertUnwindSafe(body)));
    text(&*caught.err().expect("a panic"))
}

/// Runs `body` while no panic of this process is printed.
pub fn silently<R>(body: impl FnOnce() -> R) -> R {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = body();
    panic::set_hook(hook);
    result
}

fn text(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => panic!("a panic with something that is no text"),
    }
}
