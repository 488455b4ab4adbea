//! Waits for several descriptors.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use pool_ipc::sys::monotonic_ns;

/// Tells which descriptors are ready, after one is or the time on the monotonic clock has come; see poll(2). Absent ones never
/// are.
pub(crate) fn wait_for<const N: usize>(
    fds: [Option<(BorrowedFd<'_>, PollFlags)>; N],
    until_ns: u64,
) -> nix::Result<[bool; N]> {
    // Without the absent ones, so that the results are matched by their order.
    let mut polled: Vec<_> = fds.iter().flatten().map(|&(fd, events)| PollFd::new(fd, events)).collect();
    let left = (until_ns < u64::MAX).then(|| until_ns.saturating_sub(monotonic_ns()));
    let timeout = left.map(|left| TimeSpec::from_duration(Duration::from_nanos(left)));
    match nix::poll::ppoll(&mut polled, timeout, None) {
        // After a signal all descriptors count as not ready, and the caller looks again.
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    let mut results = polled.iter().map(|fd| fd.any().unwrap_or(false));
    Ok(fds.map(|fd| fd.is_some() && results.next().unwrap_or(false)))
}
