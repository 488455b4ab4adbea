//! The twin of `src/sync.rs` and of its parts from `pool-ipc`, and the means to weaken it.

use std::cell::Cell;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;

pub(crate) use self::thread::Thread;
pub(crate) use super::doorbell::Watch;
use super::doorbell::{Doorbell, Switchboard};
use super::futex::Futex;

/// An ordering or step that is left out, to see that loom misses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    None,
    /// A short value is handed over without Release and Acquire.
    RelaxedHandOver,
    /// A store may pass a later load of another word.
    NoStoreLoadFence,
    /// A waiter says that it waits before it holds the inbox, where it then puts itself.
    NoteOutsideLock,
    /// A second waiter takes the place of the first.
    OneWaiter,
    /// The router looks for a leader before it holds the engine's lock.
    LookOutsideLock,
    /// A leader that leaves does not take the engine's lock once more.
    LeaveWithoutLock,
    /// A leader does not leave its place, as if it had unwound without a guard.
    StayLeader,
    /// A follower looks for its outcome, and only then says that it waits.
    LookBeforeRegistering,
    /// A thread that was awake goes to sleep, or leaves, and does not look once more.
    NoLastLook,
    /// A thread that takes the leader's registration does not say so.
    TakeSilently,
    /// A leader registers, and only then says so.
    NoteAfterRegistering,
}

thread_local! {
    // One for each thread that runs a model: loom's threads are coroutines on it, so they see it, and other tests do not.
    static WEAKNESS: Cell<Weakness> = const { Cell::new(Weakness::None) };
}

pub(crate) fn weaken(weakness: Weakness) {
    WEAKNESS.set(weakness);
}

pub(crate) fn is(weakness: Weakness) -> bool {
    WEAKNESS.get() == weakness
}

pub(crate) fn hand_over_order() -> Ordering {
    if is(Weakness::RelaxedHandOver) { Ordering::Relaxed } else { Ordering::AcqRel }
}

pub(crate) fn store_load_fence() {
    let order = if is(Weakness::NoStoreLoadFence) { Ordering::AcqRel } else { Ordering::SeqCst };
    loom::sync::atomic::fence(order);
}

/// Parking, by a token of each thread: loom's own `unpark` also wakes a thread that waits for a lock or for another's end.
pub(crate) mod thread {
    use std::sync::Arc;

    use loom::sync::{Condvar, Mutex};
    pub(crate) use loom::thread::spawn;

    #[derive(Clone, Debug)]
    pub(crate) struct Thread(Arc<Token>);

    #[derive(Debug)]
    struct Token {
        is_there: Mutex<bool>,
        changed: Condvar,
    }

    loom::thread_local! {
        static THIS: Thread = Thread(Arc::new(Token { is_there: Mutex::new(false), changed: Condvar::new() }));
    }

    pub(crate) fn current() -> Thread {
        THIS.with(Clone::clone)
    }

    /// Sleeps until the token is there, and takes it.
    pub(crate) fn park() {
        let token = current().0;
        let mut is_there = token.is_there.lock().unwrap();
        while !*is_there {
            is_there = token.changed.wait(is_there).unwrap();
        }
        *is_there = false;
    }

    impl Thread {
        pub(crate) fn id(&self) -> *const () {
            Arc::as_ptr(&self.0).cast()
        }

        pub(crate) fn unpark(&self) {
            *self.0.is_there.lock().unwrap() = true;
            self.0.changed.notify_one();
        }
    }
}

/// The two bells by which workers wake their host, and the word that says which of them to notify.
#[derive(Debug)]
pub(crate) struct Hub {
    watch: AtomicU32,
    asleep: [AtomicU32; 2],
    bells: [Futex; 2],
}

impl Hub {
    pub(crate) fn new() -> Hub {
        let asleep = [AtomicU32::new(0), AtomicU32::new(0)];
        Hub { watch: AtomicU32::new(0), asleep, bells: [Futex::new(), Futex::new()] }
    }

    pub(crate) fn switchboard(&self) -> Switchboard<'_> {
        let bell = |at: usize| Doorbell { asleep: &self.asleep[at], bell: &self.bells[at] };
        Switchboard { watch: &self.watch, caller: bell(0), router: bell(1) }
    }

    pub(crate) fn set_watch(&self, watch: Watch) {
        self.switchboard().set_watch(watch);
    }
}
