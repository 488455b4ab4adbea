//! Workers that are threads of this process, in place of a fork server and its processes.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use nix::sys::eventfd::EventFd;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::gettid;
use pool_ipc::Descriptors;

use crate::error::{Error, Result};
#[cfg(feature = "remote")]
use crate::lane::parcels::Parcels;
use crate::launch::messages::{Launch, ServerReport};
use crate::process::panic;
use crate::process::signals;
use crate::process::socket::Socket;
use crate::process::standing::Stop;
#[cfg(feature = "remote")]
use crate::worker::courier::Route;
use crate::worker::limits::WorkerLimits;
use crate::worker::position::Worker;
use crate::worker::thread::WorkerThread;

/// Starts workers, and hears of their ends.
#[derive(Debug)]
pub(crate) struct Threads {
    ends: Arc<Ends>,
    hub: Arc<Descriptors>,
    settings: Arc<WorkerLimits>,
    /// The signals that the thread which made the pool blocks.
    blocked: SigSet,
    stack_bytes: usize,
    /// The way to other machines, if they run the items.
    #[cfg(feature = "remote")]
    pub(crate) route: Option<Arc<Route>>,
}

/// The ends of workers that the host has not taken in.
#[derive(Debug)]
struct Ends {
    reports: Mutex<Vec<ServerReport>>,
    /// Wakes the supervisor.
    bell: Arc<EventFd>,
}

impl Threads {
    pub(crate) fn new(settings: &WorkerLimits, hub: Arc<Descriptors>, bell: &Arc<EventFd>) -> Threads {
        // Here, in the thread that makes the pool: a hook that a worker set could meet the program setting its own.
        panic::report_panics_of_threads();
        Threads {
            ends: Arc::new(Ends { reports: Mutex::default(), bell: Arc::clone(bell) }),
            hub,
            settings: Arc::new(settings.clone()),
            blocked: SigSet::thread_get_mask().unwrap_or(SigSet::empty()),
            stack_bytes: stack_bytes(),
            #[cfg(feature = "remote")]
            route: None,
        }
    }

    /// Starts a worker, or the thread of the preload, which is none. Returns the number of its thread, and the word by which it is told to end.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(crate) fn launch(
        &self,
        launch: Option<&Launch>,
        lane: Descriptors,
        socket: Socket,
        #[cfg(feature = "remote")] parcels: Option<Arc<Parcels>>,
    ) -> Result<(u32, Arc<Stop>)> {
        let &Launch { worker, incarnation } = launch.unwrap_or(&Launch { worker: 0, incarnation: 0 });
        let is_worker = launch.is_some();
        let stop = Arc::new(Stop::default());
        let (tell, hear) = mpsc::channel();
        let (for_thread, ends) = (Arc::clone(&stop), Arc::clone(&self.ends));
        let (hub, settings, blocked) = (Arc::clone(&self.hub), Arc::clone(&self.settings), self.blocked);
        #[cfg(feature = "remote")]
        let route = self.route.clone().zip(parcels);
        let body = move || {
            // The supervisor, which starts the later ones, blocks all signals.
            let _ = blocked.thread_set_mask();
            let tid = gettid().as_raw() as u32;
            // Made before anything can fail or panic, since a thread whose end is not told would be waited for without end.
            let mut end = End { ends, worker, tid, status: PANICKED << 8 };
            // Nobody hears it if the launch was given up; then the worker never begins.
            if tell.send(tid).is_ok() {
                let worker = is_worker.then(|| Worker::of_process(worker as usize, incarnation, tid));
                let thread = WorkerThread {
                    worker,
                    lane,
                    socket,
                    hub: &hub,
                    settings: &settings,
                    stop: &for_thread,
                    #[cfg(feature = "remote")]
                    route,
                };
                let code = thread.run();
                // As of a process that was killed, if the host has told it to end.
                let is_killed = code == 0 && !for_thread.standing().is_here();
                end.status = if is_killed { Signal::SIGKILL as i32 } else { code << 8 };
            }
        };
        let name = signals::process_name(&self.settings.name, worker).to_string_lossy().into_owned();
        // By `std`, so that it inherits the captured output of a test.
        let thread = thread::Builder::new().name(name).stack_size(self.stack_bytes).spawn(body);
        thread.map_err(|error| Error::system("starting a thread as a worker", error))?;
        // It does so before anything of the user's.
        let tid = hear
            .recv()
            .map_err(|error| Error::system("starting a thread as a worker", std::io::Error::other(error)))?;
        Ok((tid, stop))
    }

    /// Whether its workers have other machines run the items.
    #[cfg(feature = "remote")]
    pub(crate) fn is_remote(&self) -> bool {
        self.route.is_some()
    }

    /// The workers that have ended.
    pub(crate) fn take_ends(&self) -> Vec<ServerReport> {
        std::mem::take(&mut *self.ends.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The exit code of a program that panicked.
const PANICKED: i32 = 101;

/// Tells the host of the end when it is dropped, also by a panic.
struct End {
    ends: Arc<Ends>,
    worker: u32,
    tid: u32,
    /// As wait(2) would give it.
    status: i32,
}

impl Drop for End {
    fn drop(&mut self) {
        let report = ServerReport::Exited { worker: self.worker, pid: self.tid, status: Some(self.status) };
        self.ends.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        // After the report: the supervisor looks once for each time that it hears the bell.
        let _ = self.ends.bell.write(1);
    }
}

/// The stack of a worker: that of a process, so that tasks may recurse as deep. Memory is taken as it is used.
fn stack_bytes() -> usize {
    let limit = getrlimit(Resource::RLIMIT_STACK).map_or(STACK_BYTES_MIN, |(soft, _)| soft);
    // A soft limit may be small, too, and `std` would give a thread two mebibytes.
    limit.clamp(STACK_BYTES_MIN, STACK_BYTES_MAX) as usize
}

const STACK_BYTES_MIN: u64 = 8 << 20;
/// For a host without a limit: all threads share its address space.
const STACK_BYTES_MAX: u64 = 64 << 20;
