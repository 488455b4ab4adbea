//! The text, the fields and the `io::Error` of errors.

use super::*;

const KINDS: [ErrorKind; 19] = ErrorKind::ALL;

fn killed() -> Error {
    let mut error = Error::worker_killed(ExitStatus::from_raw(libc::SIGKILL), "not by this pool");
    error.0.task = Some("m::f".to_owned());
    error.of_item(Some(3)).in_worker(77).with_attempts(2).with_ran(Some(Duration::from_millis(1500)))
}

#[test]
fn debug_is_the_sentence_and_then_the_fields() {
    let error = killed();
    let sentence = "task `m::f`, item 3, worker 77, attempt 2: killed by signal 9 (SIGKILL), not by this pool";
    assert_eq!(error.to_string(), sentence);
    let fields = format!(
        "kind: WorkerDied, task: \"m::f\", item: 3, worker_pid: 77, exit_status: {:?}, attempts: 2, ran: 1.5s",
        error.exit_status().unwrap()
    );
    assert_eq!(format!("{error:?}"), format!("{sentence} {{ {fields} }}"));
    assert!(format!("{error:#?}").starts_with(&format!("{sentence} {{\n    kind: WorkerDied,\n")), "{error:#?}");
    let bare = Error::new(ErrorKind::Closed, "the pool is closed and takes no more jobs");
    assert_eq!(format!("{bare:?}"), "the pool is closed and takes no more jobs { kind: Closed }");
}

#[test]
fn debug_ends_with_the_backtrace_of_a_panic() {
    let backtrace = Some("   0: m::f\n   1: main\n".to_owned());
    let report = PanicReport { message: "on purpose".to_owned(), location: None, backtrace };
    let text = format!("{:?}", Error::panicked(report));
    let expected =
        "panicked: on purpose { kind: Panicked }\nbacktrace of the panic in the worker:\n   0: m::f\n   1: main";
    assert_eq!(text, expected);
}

#[test]
fn a_system_error_shows_its_source() {
    let error = Error::system("fork of a worker", io::Error::from_raw_os_error(libc::EAGAIN));
    assert!(format!("{error:?}").contains("source: Os { code: 11"), "{error:?}");
}

#[test]
fn kinds_have_phrases_of_their_own() {
    let phrases: std::collections::BTreeSet<_> = KINDS.iter().map(ToString::to_string).collect();
    assert_eq!(phrases.len(), KINDS.len());
    assert!(phrases.iter().all(|phrase| !phrase.is_empty() && *phrase == phrase.to_lowercase()), "{phrases:?}");
    assert_eq!(format!("{:>20}|", ErrorKind::TaskTimeout), " time limit exceeded|");
}

#[test]
fn the_kinds_that_may_pass_are_retryable() {
    let retryable: Vec<_> = KINDS.into_iter().filter(|kind| Error::new(*kind, "").is_retryable()).collect();
    let expected = [
        ErrorKind::Full,
        ErrorKind::Timeout,
        ErrorKind::TaskTimeout,
        ErrorKind::WorkerDied,
        ErrorKind::MemoryLimit,
        ErrorKind::Protocol,
        ErrorKind::System,
        ErrorKind::Unreachable,
    ];
    assert_eq!(retryable, expected);
}

#[test]
fn an_io_error_has_the_kind_and_keeps_the_error() {
    let expected = [
        (ErrorKind::Full, io::ErrorKind::WouldBlock),
        (ErrorKind::Timeout, io::ErrorKind::TimedOut),
        (ErrorKind::TaskTimeout, io::ErrorKind::TimedOut),
        (ErrorKind::MemoryLimit, io::ErrorKind::OutOfMemory),
        (ErrorKind::InvalidInput, io::ErrorKind::InvalidInput),
        (ErrorKind::Decode, io::ErrorKind::InvalidData),
        (ErrorKind::Unsupported, io::ErrorKind::Unsupported),
        (ErrorKind::Broken, io::ErrorKind::BrokenPipe),
        (ErrorKind::Cancelled, io::ErrorKind::Other),
        (ErrorKind::System, io::ErrorKind::Other),
        (ErrorKind::Unreachable, io::ErrorKind::HostUnreachable),
    ];
    for (kind, io_kind) in expected {
        let error = io::Error::from(Error::new(kind, "text").of_item(Some(4)));
        assert_eq!((error.kind(), error.to_string().as_str()), (io_kind, "text"));
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).expect("the pool's own error");
        assert_eq!((inner.kind(), inner.item()), (kind, Some(4)));
    }
    let system = Error::system("fork", io::Error::from_raw_os_error(libc::ENOMEM));
    assert_eq!(io::Error::from(system).kind(), io::ErrorKind::OutOfMemory);
}

#[test]
fn no_kind_makes_readers_and_writers_call_again() {
    assert!(KINDS.into_iter().all(|kind| kind.io_kind() != io::ErrorKind::Interrupted));
    // A later call may succeed only where that says so.
    let would_block = KINDS.into_iter().filter(|kind| kind.io_kind() == io::ErrorKind::WouldBlock);
    assert_eq!(would_block.collect::<Vec<_>>(), [ErrorKind::Full]);
}
