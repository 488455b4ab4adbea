//! The preload: a call that each fork server runs before it forks, in a lane of its own, like a worker's first call.

use nix::sys::signal::Signal;
use pool_ipc::sys::monotonic_ns;

use crate::engine::own_call::OwnCall;
use crate::engine::wording::{OVERWRITTEN, exceeded};
use crate::error::{Error, ErrorKind, Result};
use crate::lane::Lane;
use crate::lane::messages::{Request, request};
use crate::launch::ServerEnd;
use crate::process::last_words::LastWords;
use crate::units::Nanos;

#[derive(Debug)]
pub(crate) struct Preload {
    call: OwnCall,
    /// The present fork server runs it.
    run: Option<Run>,
    /// It has failed in the server that is being given up.
    has_failed: bool,
}

/// The call in one fork server.
#[derive(Debug)]
struct Run {
    lane: Lane,
    asked_at: Nanos,
    outcome: Option<std::result::Result<(), String>>,
    /// The pause before the next look at the lane: no bell tells of it, since there may be no router yet.
    pause: Nanos,
}

/// Pauses while a long message is under way, and while the task runs.
const MESSAGE_PAUSE_NS: Nanos = 100_000;
const PAUSE_NS_MAX: Nanos = 20_000_000;

/// Time in which a new fork server has begun its preload, beyond the time limit.
const BEGIN_NS: Nanos = 10_000_000_000;

impl Preload {
    pub(crate) fn new(call: OwnCall) -> Self {
        Preload { call, run: None, has_failed: false }
    }

    /// The error of a server that is to be given up for this.
    fn fail(&mut self, kind: ErrorKind, problem: &str) -> Error {
        self.has_failed = true;
        Error::new(kind, self.call.fault(problem))
    }

    /// Takes in replies, and sends the rest of the request.
    ///
    /// # Errors
    ///
    /// It takes too long, or has written nonsense.
    pub(super) fn mind(&mut self) -> Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        // First: the task may wait for the rest of a long request.
        run.lane.pump();
        let is_sound = loop {
            match run.lane.next_reply() {
                Ok(Some(reply)) => {
                    let body = run.lane.take(reply.body);
                    if reply.items > 0 {
                        run.outcome = Some(self.call.outcome(reply.failed, &body));
                    }
                }
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        // Behind both: it may sleep for want of a request, or of room for its reply.
        run.lane.wake();
        let longer = (2 * run.pause).min(PAUSE_NS_MAX);
        run.pause = if run.lane.expects_news() { MESSAGE_PAUSE_NS } else { longer };
        if !is_sound {
            return Err(self.fail(ErrorKind::Broken, OVERWRITTEN));
        }
        let (Some(limit), None) = (self.call.timeout, &run.outcome) else { return Ok(()) };
        // By its own word when it began, as with items; a time to come is a scribble.
        let now = monotonic_ns();
        let begun = run.lane.running().map(|(_, since)| since).filter(|since| (1..=now).contains(since));
        let (since, most) = begun.map_or((run.asked_at, limit.saturating_add(BEGIN_NS)), |since| (since, limit));
        let ran = now.saturating_sub(since);
        let is_thread = run.lane.pidfd().is_none();
        if ran < most { Ok(()) } else { Err(self.fail(ErrorKind::Broken, &exceeded(limit, ran, is_thread))) }
    }

    /// Whether a fork server runs it.
    pub(super) fn runs(&self) -> bool {
        self.run.is_some()
    }

    /// Its outcome has come.
    pub(super) fn has_answered(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.outcome.is_some())
    }

    /// Ends the thread in which it runs, where workers are threads.
    pub(super) fn stop_thread(&mut self) {
        if let Some(run) = &mut self.run {
            run.lane.kill();
        }
    }

    /// The pause before the next look at it.
    pub(super) fn pause(&self) -> Option<Nanos> {
        self.run.as_ref().map(|run| run.pause)
    }

    /// It is asked for through this lane of a new fork server.
    pub(super) fn begin(&mut self, mut lane: Lane) {
        lane.attach(&self.call.attachments, None);
        lane.send_cut(self.call.request(Request::Init, request::init_seq(0)), self.call.args.clone());
        self.run = Some(Run { lane, asked_at: monotonic_ns(), outcome: None, pause: MESSAGE_PAUSE_NS });
        self.has_failed = false;
    }

    /// It has ended, and has left so many threads behind, of these names.
    ///
    /// # Errors
    ///
    /// It has failed.
    pub(super) fn end(&mut self, threads: u32, names: &str) -> Result<()> {
        // Its replies were written before the report of its end.
        self.mind()?;
        match self.run.take().and_then(|run| run.outcome) {
            Some(Ok(())) => {}
            Some(Err(text)) => {
                self.has_failed = true;
                // It is the whole sentence already.
                return Err(Error::new(ErrorKind::Broken, text));
            }
            None => return Err(self.fail(ErrorKind::Broken, "gave no result")),
        }
        // Only now: a task that failed is told by its own error, and its threads may be a consequence.
        if threads == 0 {
            return Ok(());
        }
        let threads = if threads == 1 { "a thread".to_owned() } else { format!("{threads} threads") };
        let problem = format!(
            "has left {threads} behind ({names}), which no worker would have: workers are copies of a process of one thread; \
             end it before the task returns, or use an initializer"
        );
        Err(self.fail(ErrorKind::Unsupported, &problem))
    }

    /// The fork server ended like this; the error, if that was in the middle of it.
    pub(super) fn lose(&mut self, end: ServerEnd) -> Option<Error> {
        let words = self.run.as_ref()?.lane.last_words();
        let why = match (words, end) {
            (Some(LastWords::StackOverflow), _) => ": stack overflow".to_owned(),
            // Any other end has another cause, and the panic was caught before.
            (Some(LastWords::Panicked(report)), ServerEnd::Signaled(Signal::SIGABRT)) => format!(": it {report}"),
            _ => String::new(),
        };
        Some(self.fail(ErrorKind::Broken, &format!("did not end: the fork server, in which it ran, {end}{why}")))
    }

    /// Whether the fork server is given up in the middle of it, or for it.
    pub(super) fn take_failure(&mut self) -> bool {
        self.run.take().is_some() | std::mem::take(&mut self.has_failed)
    }
}
