//! Exit codes of a process of the pool that could not begin, and their meanings.

pub(crate) const NOT_GREETED: i32 = 118;
pub(crate) const ORPHANED: i32 = 119;
pub(crate) const BAD_LANE: i32 = 120;
pub(crate) const OTHER_PROGRAM: i32 = 121;
pub(crate) const NO_DIRECTORY: i32 = 122;
/// A state that a panic had spoiled could not be opened anew.
pub(crate) const NO_STATE: i32 = 123;
/// The code that shells use for this.
pub(crate) const NOT_STARTED: i32 = 127;

pub(crate) fn meaning(code: i32) -> Option<&'static str> {
    Some(match code {
        NOT_GREETED => "it could not receive its orders",
        ORPHANED => "it could not be tied to the fork server (prctl, PR_SET_PDEATHSIG)",
        BAD_LANE => "it could not use the memory that it shares with the host (fcntl, mmap, madvise)",
        OTHER_PROGRAM => "its executable has other tasks",
        NO_DIRECTORY => "it could not enter the working directory that its host had when it made the pool (fchdir)",
        NO_STATE => "it could not open a state anew after a panic",
        NOT_STARTED => "its executable, /proc/self/exe, could not be started",
        _ => return None,
    })
}
