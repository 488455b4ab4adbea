//! A process under ptrace(2): held where it sleeps, moved on by single instructions, killed or stopped wherever it is.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use libc::user_regs_struct;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::procs::{Process, eventually};

/// A process that this thread holds, and only this thread: the kernel takes orders from the thread that began.
///
/// It may be anybody's child. Its end is reported here first, and to its parent when it has been heard here.
#[derive(Debug)]
pub struct Tracee {
    pid: Pid,
    /// Its end has been heard here: the number may be another's by now.
    is_gone: bool,
}

/// The way of a process from where it was held to where it sleeps or pauses.
#[derive(Debug)]
pub struct Path {
    /// Where it was after each instruction.
    addresses: Vec<u64>,
    /// How often it had been there before.
    visits: Vec<usize>,
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One instruction has been done, a system call as a whole.
    Done,
    /// The way ends here: the process sleeps, and nothing will wake it; or it has stopped itself.
    End,
}

/// Whether processes may be traced here. If not, it says so, once.
///
/// Call this from a process of one thread.
pub fn is_permitted() -> bool {
    static ANSWER: LazyLock<bool> = LazyLock::new(|| {
        // SAFETY:
        // - the caller has one thread, so the child finds everything as it should be.
        let child = match unsafe { fork() }.expect("a process") {
            ForkResult::Child => loop {
                nix::unistd::pause();
            },
            ForkResult::Parent { child } => child,
        };
        let answer = ptrace::seize(child, Options::PTRACE_O_EXITKILL);
        kill(child, Signal::SIGKILL).expect("it is our child");
        waitpid(child, Some(WaitPidFlag::__WALL)).expect("it is our child");
        if let Err(error) = answer {
            eprintln!("no process can be traced here ({error}): kills at single instructions are left out");
        }
        answer.is_ok()
    });
    *ANSWER
}

impl Path {
    fn new(addresses: Vec<u64>) -> Path {
        let mut seen = HashMap::new();
        let visits = addresses.iter().map(|address| {
            let count: &mut usize = seen.entry(address).or_default();
            *count += 1;
            *count - 1
        });
        Path { visits: visits.collect(), addresses }
    }

    /// The place from which this one is best stepped to, after a run with a breakpoint: each visit there is two stops.
    fn landmark(&self, place: usize) -> usize {
        let cost = |&at: &usize| place - at + if at == 0 { 0 } else { 2 * (self.visits[at] + 1) };
        (0..=place).min_by_key(cost).expect("at least the beginning")
    }

    /// Instructions from its beginning to its end.
    #[expect(clippy::len_without_is_empty, reason = "no process does nothing")]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// So many places on it: the first and the last fifty, and others at even distances. All, if there are no more.
    pub fn points(&self, count: usize) -> Vec<usize> {
        const EDGE: usize = 50;
        let places = self.len() + 1;
        if count >= places {
            return (0..places).collect();
        }
        let edge = EDGE.min(count / 3);
        let (between, from) = (count - 2 * edge, places - 2 * edge);
        let middle = (0..between).map(|at| edge + at * from / between);
        (0..edge).chain(middle).chain(places - edge..places).collect()
    }
}

impl Tracee {
    /// Takes hold of a process that sleeps, or soon will.
    ///
    /// # Errors
    ///
    /// `EPERM` where this is not permitted, `ESRCH` if the process is gone.
    pub fn seize(pid: u32) -> nix::Result<Tracee> {
        assert!(eventually(|| Process::get(pid).is_none_or(|process| process.state != 'R')), "it does not sleep");
        let pid = Pid::from_raw(pid as i32);
        ptrace::seize(pid, Options::PTRACE_O_EXITKILL)?;
        let mut tracee = Tracee { pid, is_gone: false };
        ptrace::interrupt(pid)?;
        tracee.hear(waitpid(pid, Some(WaitPidFlag::__WALL))?)?;
        Ok(tracee)
    }

    /// Takes hold of a child that calls [`offer`].
    ///
    /// # Errors
    ///
    /// `EPERM` where this is not permitted.
    pub fn adopt(child: Pid) -> nix::Result<Tracee> {
        match waitpid(child, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
            refused => {
                assert_eq!(refused, WaitStatus::Exited(child, REFUSED));
                return Err(Errno::EPERM);
            }
        }
        ptrace::setoptions(child, Options::PTRACE_O_EXITKILL)?;
        Ok(Tracee { pid: child, is_gone: false })
    }

    /// Goes to the end and takes down the way. `look` is called after each instruction, and again and again while the
    /// process may be waiting for somebody; it says whether all is over, so that nobody will wake the process any more.
    ///
    /// # Errors
    ///
    /// `ESRCH` if somebody else kills it.
    pub fn walk(&mut self, mut look: impl FnMut() -> bool) -> nix::Result<Path> {
        let mut addresses = vec![ptrace::getregs(self.pid)?.rip];
        while self.step(&mut look)? == Step::Done {
            look();
            addresses.push(ptrace::getregs(self.pid)?.rip);
        }
        Ok(Path::new(addresses))
    }

    /// Goes to a place on a way that another one like it has gone; or to the end, should it come before. `look` is as for
    /// [`walk`](Tracee::walk), but only called while the process may be waiting.
    ///
    /// # Errors
    ///
    /// As for [`walk`](Tracee::walk).
    pub fn go_to(&mut self, path: &Path, place: usize, mut look: impl FnMut() -> bool) -> nix::Result<Step> {
        let landmark = path.landmark(place.min(path.len() - 1));
        if landmark > 0 {
            let address = path.addresses[landmark];
            // The beginning is such a visit, too, and a breakpoint does not stop an instruction at which the process stands already.
            let passed = usize::from(address == path.addresses[0]);
            for _ in passed..path.visits[landmark] {
                if self.run_to(address, &mut look)? == Step::End || self.step(&mut look)? == Step::End {
                    return Ok(Step::End);
                }
            }
            if self.run_to(address, &mut look)? == Step::End {
                return Ok(Step::End);
            }
        }
        for _ in landmark..place {
            if self.step(&mut look)? == Step::End {
                return Ok(Step::End);
            }
        }
        Ok(Step::Done)
    }

    /// Executes one instruction.
    fn step(&mut self, look: impl FnMut() -> bool) -> nix::Result<Step> {
        let registers = ptrace::getregs(self.pid)?;
        ptrace::step(self.pid, None)?;
        // Also where it was interrupted in one, which it then begins again (ERESTARTSYS and its like).
        let is_again = registers.orig_rax == libc::SYS_futex as u64 && (-516..=-512).contains(&(registers.rax as i64));
        let is_futex = registers.rax == libc::SYS_futex as u64 || is_again;
        if is_futex && registers.rsi as i32 == libc::FUTEX_WAIT {
            return self.await_stop(look);
        }
        self.hear(waitpid(self.pid, Some(WaitPidFlag::__WALL))?)
    }

    /// Runs to the next time that the instruction at this address is to be executed.
    fn run_to(&mut self, address: u64, look: impl FnMut() -> bool) -> nix::Result<Step> {
        const BREAKPOINT: i64 = 0xcc;
        let at = std::ptr::without_provenance_mut(address as usize);
        let code = ptrace::read(self.pid, at)?;
        ptrace::write(self.pid, at, code & !0xff | BREAKPOINT)?;
        ptrace::cont(self.pid, None)?;
        let step = self.await_stop(look)?;
        ptrace::write(self.pid, at, code)?;
        if step == Step::Done {
            let registers = user_regs_struct { rip: address, ..ptrace::getregs(self.pid)? };
            ptrace::setregs(self.pid, registers)?;
        }
        Ok(step)
    }

    /// Waits for the process, which may never get there, because it sleeps.
    fn await_stop(&mut self, mut look: impl FnMut() -> bool) -> nix::Result<Step> {
        for glance in 0.. {
            let status = waitpid(self.pid, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG))?;
            if status != WaitStatus::StillAlive {
                return self.hear(status);
            }
            if look() && Process::get(self.pid.as_raw() as u32).is_some_and(|process| process.state == 'S') {
                // That holds it, too.
                kill(self.pid, Signal::SIGSTOP)?;
                return self.hear(waitpid(self.pid, Some(WaitPidFlag::__WALL))?);
            }
            if glance < 100 { thread::yield_now() } else { thread::sleep(Duration::from_micros(50)) }
        }
        unreachable!("it waits for ever")
    }

    fn hear(&mut self, status: WaitStatus) -> nix::Result<Step> {
        match status {
            WaitStatus::Stopped(_, Signal::SIGTRAP) | WaitStatus::PtraceEvent(..) => Ok(Step::Done),
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Ok(Step::End),
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => {
                self.is_gone = true;
                Err(Errno::ESRCH)
            }
            other => panic!("the traced process: {other:?}"),
        }
    }

    /// Kills it where it stands, or is content if somebody else has.
    pub fn kill(mut self) {
        if !self.is_gone {
            kill(self.pid, Signal::SIGKILL).expect("it is not reaped");
            // Its parent hears of it only after this.
            let ended = waitpid(self.pid, Some(WaitPidFlag::__WALL)).expect("it is ours");
            assert_eq!(self.hear(ended), Err(Errno::ESRCH));
        }
    }

    /// Leaves it stopped where it stands, as by somebody's SIGSTOP.
    ///
    /// # Errors
    ///
    /// As for [`walk`](Tracee::walk).
    pub fn stop(&self) -> nix::Result<()> {
        kill(self.pid, Signal::SIGSTOP)?;
        ptrace::detach(self.pid, None)
    }
}

/// Exit code of a child that must not be traced.
const REFUSED: i32 = 77;

/// Called by the child: here its way begins, when its parent has [adopted](Tracee::adopt) it.
pub fn offer() {
    if ptrace::traceme().is_err() {
        // SAFETY:
        // - `_exit` has no preconditions.
        unsafe { libc::_exit(REFUSED) }
    }
    pause();
}

/// Called by the child: here its way ends.
pub fn pause() {
    nix::sys::signal::raise(Signal::SIGSTOP).expect("a valid signal");
}
