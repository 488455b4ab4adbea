//! The models. Each is a use of the protocols in small, and says which weakness it must find.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use loom::model::Builder;
use loom::sync::{Condvar, Mutex};

use super::alarm::{Alarm, NEVER};
use super::leadership::{Duty, Leadership, Place};
use super::rest::{Rest, Resting};
use super::status::Status;
use super::sync::{AtomicBool, AtomicU32, Hub, Ordering, Thread, Weakness, is, thread, weaken};

/// How often loom takes the CPU from a thread that could go on. Known bugs of this kind of code need two.
const PREEMPTIONS: usize = 2;

/// Loom's complaint when a thread is not woken.
const NOT_WOKEN: &str = "deadlock";

/// Runs a model as it is, where it must hold, and with each weakness given, where loom must complain in these words.
fn check(model: fn(), missed: &[(Weakness, &str)]) {
    let mut loom = Builder::new();
    loom.preemption_bound = Some(PREEMPTIONS);
    weaken(Weakness::None);
    loom.check(model);
    for &(weakness, complaint) in missed {
        weaken(weakness);
        let outcome = catch_unwind(AssertUnwindSafe(|| loom.check(model)));
        weaken(Weakness::None);
        let panic = outcome.expect_err("loom must miss something");
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        assert!(message.contains(complaint), "{weakness:?}: {message}");
    }
}

/// A completion: its status, and the inbox with the threads that wait.
struct Completion {
    status: Status,
    waiters: Mutex<Vec<Thread>>,
}

impl Completion {
    fn new() -> Arc<Completion> {
        Arc::new(Completion { status: Status::default(), waiters: Mutex::new(Vec::new()) })
    }

    /// As `set_waiter`; false if there is nothing to wait for.
    fn set_waiter(&self) -> bool {
        if is(Weakness::NoteOutsideLock) && !self.status.begin_wait() {
            return false;
        }
        let mut waiters = self.waiters.lock().unwrap();
        if !is(Weakness::NoteOutsideLock) && !self.status.begin_wait() {
            return false;
        }
        if is(Weakness::OneWaiter) {
            waiters.clear();
        }
        waiters.push(thread::current());
        true
    }

    /// As `complete_short` and the deferred work that follow.
    fn complete_short(&self, words: [u64; 2]) {
        if self.status.finish_short(words, 15) {
            let waiters = std::mem::take(&mut *self.waiters.lock().unwrap());
            waiters.iter().for_each(Thread::unpark);
        }
    }
}

/// Two threads wait for one short value.
#[test]
fn each_waiter_hears_of_a_short_value_and_reads_it_whole() {
    fn model() {
        let completion = Completion::new();
        let wait = |completion: &Completion| {
            // As a future or a callback does: once registered, it does not look again before it is notified.
            if !completion.status.is_finished() && completion.set_waiter() {
                thread::park();
            }
            assert_eq!(completion.status.short(), Some(([7, 8], 15)), "the value is torn");
        };
        let other = thread::spawn({
            let completion = completion.clone();
            move || wait(&completion)
        });
        let completes = thread::spawn({
            let completion = completion.clone();
            move || completion.complete_short([7, 8])
        });
        wait(&completion);
        other.join().unwrap();
        completes.join().unwrap();
    }
    let missed =
        [(Weakness::RelaxedHandOver, "torn"), (Weakness::NoteOutsideLock, NOT_WOKEN), (Weakness::OneWaiter, NOT_WOKEN)];
    check(model, &missed);
}

/// The supervisor's bell.
struct Bell {
    is_rung: Mutex<bool>,
    changed: Condvar,
}

/// The supervisor goes to sleep while another thread sets an earlier time.
#[test]
fn the_supervisor_does_not_sleep_past_its_alarm() {
    const DUE: u64 = 5;
    fn model() {
        let alarm = Arc::new(Alarm::new());
        let bell = Arc::new(Bell { is_rung: Mutex::new(false), changed: Condvar::new() });
        let sets = thread::spawn({
            let (alarm, bell) = (alarm.clone(), bell.clone());
            move || {
                for due in [2 * DUE, DUE] {
                    if alarm.set(due) {
                        *bell.is_rung.lock().unwrap() = true;
                        bell.changed.notify_all();
                    }
                }
            }
        });
        // The time itself never comes here, so only the bell ends a sleep.
        while alarm.sleep(NEVER) > DUE {
            let mut is_rung = bell.is_rung.lock().unwrap();
            while !*is_rung {
                is_rung = bell.changed.wait(is_rung).unwrap();
            }
            *is_rung = false;
        }
        sets.join().unwrap();
    }
    check(model, &[(Weakness::NoStoreLoadFence, NOT_WOKEN)]);
}

/// The state that all threads of a pool share, in small.
struct Pool {
    hub: Hub,
    leadership: Leadership,
    rest: Rest,
    /// Under the engine's lock: a quiet call is out.
    engine: Mutex<bool>,
}

impl Pool {
    fn notify_router(&self) {
        self.hub.switchboard().router.notify();
    }
}

/// Somebody comes in to lead, sends a quiet call, and leaves: the router must then look up from time to time by itself.
#[test]
fn the_router_does_not_sleep_on_when_a_quiet_call_is_left_to_it() {
    fn model() {
        let pool = Arc::new(Pool {
            hub: Hub::new(),
            leadership: Leadership::default(),
            rest: Rest::new(),
            engine: Mutex::new(false),
        });
        let leads = thread::spawn({
            let pool = pool.clone();
            move || {
                let place = pool.leadership.enter(&pool.hub);
                *pool.engine.lock().unwrap() = true;
                if pool.rest.end(Resting::Sleeps) {
                    pool.notify_router();
                }
                if pool.leadership.leave(place, &pool.hub) == Duty::LeaveToRouter {
                    if !is(Weakness::LeaveWithoutLock) {
                        drop(pool.engine.lock().unwrap());
                    }
                    if pool.rest.end(Resting::ReliesOnCallers) {
                        pool.notify_router();
                    }
                }
            }
        });
        loop {
            let early = is(Weakness::LookOutsideLock).then(|| pool.leadership.is_watched());
            let engine = pool.engine.lock().unwrap();
            let is_watched = early.unwrap_or_else(|| pool.leadership.is_watched());
            let resting = match (*engine, is_watched) {
                (false, _) => Resting::Sleeps,
                (true, true) => Resting::ReliesOnCallers,
                (true, false) => Resting::Naps,
            };
            pool.rest.begin(resting);
            drop(engine);
            if resting == Resting::Naps {
                break;
            }
            pool.hub.switchboard().router.wait(|| pool.rest.has_ended(resting), None);
        }
        leads.join().unwrap();
    }
    let missed = [
        (Weakness::LookOutsideLock, NOT_WOKEN),
        (Weakness::LeaveWithoutLock, NOT_WOKEN),
        (Weakness::NoStoreLoadFence, NOT_WOKEN),
    ];
    check(model, &missed);
}

/// Two callers, and a worker that answers the second, and the first only when the second has returned.
struct Callers {
    hub: Hub,
    leadership: Leadership,
    /// Replies that the worker has published.
    replies: AtomicU32,
    /// Under the engine's lock: those that were taken in.
    engine: Mutex<u32>,
    completions: [Waited; 2],
    /// The second caller has returned.
    is_back: Mutex<bool>,
    comes_back: Condvar,
}

/// Where the outcome of a call arrives, and the thread that waits for it.
struct Waited {
    is_done: AtomicBool,
    waiter: Mutex<Option<Thread>>,
}

impl Callers {
    fn is_done(&self, call: usize) -> bool {
        self.completions[call].is_done.load(Ordering::Acquire)
    }

    fn has_news(&self) -> bool {
        self.replies.load(Ordering::Acquire) > *self.engine.lock().unwrap()
    }

    /// As `with(Engine::route_news)`.
    fn route(&self) {
        let mut told = Vec::new();
        let mut taken = self.engine.lock().unwrap();
        while *taken < self.replies.load(Ordering::Acquire) {
            let completion = &self.completions[1 - *taken as usize];
            completion.is_done.store(true, Ordering::Release);
            told.extend(completion.waiter.lock().unwrap().take());
            *taken += 1;
        }
        drop(taken);
        told.iter().for_each(Thread::unpark);
        if !told.is_empty() {
            self.leadership.note_taken();
        }
        self.hub.switchboard().caller.notify_if(|| self.leadership.has_unregistered());
    }

    fn do_duty(&self, duty: Duty) {
        if duty == Duty::LeaveToRouter || duty == Duty::LookOnce && !is(Weakness::NoLastLook) {
            self.route();
        }
    }

    /// As `Host::wait`.
    fn wait(&self, call: usize) {
        while !self.is_done(call) {
            let mut place = self.leadership.enter(&self.hub);
            if place == Place::Awake {
                self.route();
                if !self.is_done(call) {
                    let (next, duty) = self.leadership.settle(&self.hub);
                    place = next;
                    self.do_duty(duty);
                }
            }
            match place {
                Place::Awake => {}
                Place::Leader => loop {
                    self.route();
                    if self.is_done(call) {
                        break;
                    }
                    self.hub.switchboard().caller.wait(|| self.is_done(call) || self.has_news(), None);
                },
                Place::Follower => {
                    let is_done = self.is_done(call);
                    *self.completions[call].waiter.lock().unwrap() = Some(thread::current());
                    let is_done = if is(Weakness::LookBeforeRegistering) { is_done } else { self.is_done(call) };
                    if !is_done {
                        thread::park();
                    }
                }
            }
            if is(Weakness::StayLeader) && place == Place::Leader {
                return;
            }
            self.do_duty(self.leadership.leave(place, &self.hub));
        }
    }
}

/// Whichever leads: the second caller hears of its own outcome, though the first goes on waiting.
#[test]
fn a_follower_is_told_or_leads() {
    fn model() {
        let completion = || Waited { is_done: AtomicBool::new(false), waiter: Mutex::new(None) };
        let pool = Arc::new(Callers {
            hub: Hub::new(),
            leadership: Leadership::default(),
            replies: AtomicU32::new(0),
            engine: Mutex::new(0),
            completions: [completion(), completion()],
            is_back: Mutex::new(false),
            comes_back: Condvar::new(),
        });
        let worker = thread::spawn({
            let pool = pool.clone();
            move || {
                pool.replies.store(1, Ordering::Release);
                pool.hub.switchboard().notify();
                let mut is_back = pool.is_back.lock().unwrap();
                while !*is_back {
                    is_back = pool.comes_back.wait(is_back).unwrap();
                }
                drop(is_back);
                pool.replies.store(2, Ordering::Release);
                pool.hub.switchboard().notify();
            }
        });
        let other = thread::spawn({
            let pool = pool.clone();
            move || {
                pool.wait(1);
                *pool.is_back.lock().unwrap() = true;
                pool.comes_back.notify_all();
            }
        });
        pool.wait(0);
        other.join().unwrap();
        worker.join().unwrap();
    }
    let missed = [
        (Weakness::StayLeader, NOT_WOKEN),
        (Weakness::LookBeforeRegistering, NOT_WOKEN),
        (Weakness::NoLastLook, NOT_WOKEN),
    ];
    check(model, &missed);
}

/// A leader that has been registered leaves, and leads again. Another thread notifies it in vain, then takes its outcome in, and notifies
/// it only if it must.
#[test]
fn a_leader_that_sleeps_hears_of_an_outcome_that_another_thread_takes_in() {
    struct Call {
        hub: Hub,
        leadership: Leadership,
        is_done: AtomicBool,
        /// Under the inbox's lock: the leader is among the waiters.
        is_awaited: Mutex<bool>,
    }
    impl Call {
        fn register(&self) {
            if !is(Weakness::NoteAfterRegistering) {
                self.leadership.note_registered();
            }
            *self.is_awaited.lock().unwrap() = true;
            if is(Weakness::NoteAfterRegistering) {
                self.leadership.note_registered();
            }
        }
        /// As `Host::run`.
        fn tell(&self) {
            let is_awaited = std::mem::take(&mut *self.is_awaited.lock().unwrap());
            if is_awaited && !is(Weakness::TakeSilently) {
                self.leadership.note_taken();
            }
            self.hub.switchboard().caller.notify_if(|| self.leadership.has_unregistered());
        }
        fn is_done(&self) -> bool {
            self.is_done.load(Ordering::Acquire)
        }
    }
    fn model(registers: bool) {
        let call = Arc::new(Call {
            hub: Hub::new(),
            leadership: Leadership::default(),
            is_done: AtomicBool::new(false),
            is_awaited: Mutex::new(false),
        });
        let takes_in = thread::spawn({
            let call = call.clone();
            move || {
                call.tell();
                call.is_done.store(true, Ordering::Release);
                call.tell();
            }
        });
        let place = call.leadership.enter(&call.hub);
        call.leadership.note_registered();
        assert_eq!(call.leadership.leave(place, &call.hub), Duty::LeaveToRouter);
        let place = call.leadership.enter(&call.hub);
        loop {
            let looked = call.is_done();
            if registers {
                call.register();
            }
            let mut looks = 0;
            let wakes_up = || {
                looks += 1;
                let is_done = if is(Weakness::LookBeforeRegistering) { looked } else { call.is_done() };
                is_done || looks > 1
            };
            call.hub.switchboard().caller.wait(wakes_up, None);
            if call.is_done() {
                break;
            }
        }
        assert_eq!(call.leadership.leave(place, &call.hub), Duty::LeaveToRouter);
        takes_in.join().unwrap();
    }
    check(|| model(false), &[(Weakness::NoStoreLoadFence, NOT_WOKEN)]);
    let missed = [
        (Weakness::NoStoreLoadFence, NOT_WOKEN),
        (Weakness::LookBeforeRegistering, NOT_WOKEN),
        (Weakness::TakeSilently, NOT_WOKEN),
        (Weakness::NoteAfterRegistering, NOT_WOKEN),
    ];
    check(|| model(true), &missed);
}
