//! The waiters of a completion: any number of threads, the task of one future, queues of `wait_any` and `as_completed`, and a
//! callback. None of them displaces another kind.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, Thread, ThreadId};

/// A thread, task, queue or callback that is told of an outcome.
pub(crate) enum Waiter {
    /// A thread that is told of every partial result, once for each time that it asks.
    Thread(Thread),
    /// A thread that is told of the end alone.
    AtEnd(Thread),
    /// The waker of a future's latest poll.
    Task(Waker),
    /// The waker of a stream's latest poll, which is told of the next partial result.
    #[cfg_attr(not(feature = "stream"), allow(dead_code, reason = "streams alone make it"))]
    TaskNews(Waker),
    /// A wait for one of several jobs, where this one has this number.
    OneOf(Arc<CompletionQueue>, usize),
    /// A function for the outcome.
    Callback(Callback),
}

pub(crate) type Callback = Box<dyn FnOnce() + Send>;

/// One waiter or several. As large as a single one, since nearly all jobs have just one.
#[derive(Debug)]
pub(crate) enum Waiters {
    One(Waiter),
    Many(Box<Several>),
}

#[derive(Debug)]
pub(crate) struct Several(Vec<Waiter>);

const _: () = assert!(size_of::<Option<Waiters>>() == size_of::<Waiter>());

impl Waiter {
    fn thread(&self) -> Option<ThreadId> {
        match self {
            Waiter::Thread(thread) | Waiter::AtEnd(thread) => Some(thread.id()),
            _ => None,
        }
    }

    /// Whether the other is this one's successor: a later request of the same thread, or a later poll.
    fn is_replaced_by(&self, other: &Waiter) -> bool {
        match (self, other) {
            // A future belongs to one task at a time, so the latest poll is the one to wake.
            (Waiter::Task(_), Waiter::Task(_)) | (Waiter::TaskNews(_), Waiter::TaskNews(_)) => true,
            _ => self.thread().is_some_and(|thread| other.thread() == Some(thread)),
        }
    }

    pub(crate) fn is_for_news(&self) -> bool {
        matches!(self, Waiter::Thread(_) | Waiter::TaskNews(_))
    }

    pub(crate) fn is_this_thread(&self) -> bool {
        self.thread().is_some_and(|thread| thread == thread::current().id())
    }

    pub(crate) fn is_of(&self, queue: &Arc<CompletionQueue>) -> bool {
        matches!(self, Waiter::OneOf(own, _) if Arc::ptr_eq(own, queue))
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Waiter::Thread(_) => "Thread",
            Waiter::AtEnd(_) => "AtEnd",
            Waiter::Task(_) => "Task",
            Waiter::TaskNews(_) => "TaskNews",
            Waiter::OneOf(..) => "OneOf",
            Waiter::Callback(_) => "Callback",
        })
    }
}

impl Waiters {
    /// Adds a waiter. Returns the one that it replaces: its destructor may be the user's code.
    pub(crate) fn add(place: &mut Option<Waiters>, waiter: Waiter) -> Option<Waiter> {
        // A future that is polled again, or a thread that waits again, must not pile up.
        let several = match place {
            Some(Waiters::One(one)) if one.is_replaced_by(&waiter) => return Some(std::mem::replace(one, waiter)),
            Some(Waiters::Many(several)) => several,
            None | Some(Waiters::One(_)) => {
                *place = Some(match place.take() {
                    Some(Waiters::One(one)) => Waiters::Many(Box::new(Several(vec![one, waiter]))),
                    _ => Waiters::One(waiter),
                });
                return None;
            }
        };
        match several.0.iter_mut().find(|other| other.is_replaced_by(&waiter)) {
            Some(other) => Some(std::mem::replace(other, waiter)),
            None => {
                several.0.push(waiter);
                None
            }
        }
    }

    /// Takes out those for which `is_wanted` is true.
    pub(crate) fn take_if(place: &mut Option<Waiters>, is_wanted: impl Fn(&Waiter) -> bool) -> Option<Waiters> {
        let several = match place {
            Some(Waiters::Many(several)) => several,
            one => return one.take_if(|one| matches!(one, Waiters::One(waiter) if is_wanted(waiter))),
        };
        // The others stay: threads that wait for the end sleep on while parts come.
        let taken: Vec<_> = several.0.extract_if(.., |waiter| is_wanted(waiter)).collect();
        if several.0.is_empty() {
            // An empty list would keep its box for as long as the completion lives.
            *place = None;
        }
        (!taken.is_empty()).then(|| Waiters::Many(Box::new(Several(taken))))
    }

    /// Whether the task of this waker is to be told. Compares pointers only.
    pub(crate) fn has_task(&self, waker: &Waker) -> bool {
        let is_it =
            |waiter: &Waiter| matches!(waiter, Waiter::Task(task) | Waiter::TaskNews(task) if task.will_wake(waker));
        match self {
            Waiters::One(waiter) => is_it(waiter),
            Waiters::Many(several) => several.0.iter().any(is_it),
        }
    }

    #[inline]
    pub(crate) fn for_each(self, mut each: impl FnMut(Waiter)) {
        match self {
            Waiters::One(waiter) => each(waiter),
            Waiters::Many(several) => several.0.into_iter().for_each(each),
        }
    }
}

/// Numbers of jobs in the order in which these finish, and the thread that waits for the next.
#[derive(Debug, Default)]
pub(crate) struct CompletionQueue {
    state: Mutex<(VecDeque<usize>, Option<Thread>)>,
}

impl CompletionQueue {
    fn state(&self) -> MutexGuard<'_, (VecDeque<usize>, Option<Thread>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, number: usize) {
        let mut state = self.state();
        state.0.push_back(number);
        // Under the lock: unparking runs no code of the user's, and the thread cannot leave between.
        if let Some(thread) = state.1.take() {
            thread.unpark();
        }
    }

    pub(crate) fn pop(&self) -> Option<usize> {
        self.state().0.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().0.is_empty()
    }

    pub(crate) fn set_thread(&self, thread: Thread) {
        // Set again before each sleep: a push uses it up.
        self.state().1 = Some(thread);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    struct Deaf;

    impl Wake for Deaf {
        fn wake(self: Arc<Self>) {}
    }

    /// Each is another one.
    fn waker() -> Waker {
        Waker::from(Arc::new(Deaf))
    }

    fn other_thread() -> Thread {
        thread::spawn(thread::current).join().unwrap()
    }

    fn names(place: Option<Waiters>) -> Vec<String> {
        let mut names = Vec::new();
        place.into_iter().for_each(|waiters| waiters.for_each(|waiter| names.push(format!("{waiter:?}"))));
        names
    }

    #[test]
    fn no_kind_displaces_another_and_each_thread_stands_once() {
        let mut place = None;
        let (first, second) = (waker(), waker());
        assert!(Waiters::add(&mut place, Waiter::Task(first.clone())).is_none());
        assert!(Waiters::add(&mut place, Waiter::AtEnd(thread::current())).is_none());
        assert!(Waiters::add(&mut place, Waiter::AtEnd(other_thread())).is_none());
        assert!(Waiters::add(&mut place, Waiter::OneOf(Arc::default(), 3)).is_none());
        assert!(Waiters::add(&mut place, Waiter::Callback(Box::new(|| ()))).is_none());
        assert!(matches!(Waiters::add(&mut place, Waiter::Thread(thread::current())), Some(Waiter::AtEnd(_))));
        let replaced = Waiters::add(&mut place, Waiter::Task(second.clone()));
        assert!(matches!(replaced, Some(Waiter::Task(task)) if task.will_wake(&first)));
        let waiters = place.as_ref().unwrap();
        assert!(waiters.has_task(&second) && !waiters.has_task(&first));
        assert!(Waiters::add(&mut place, Waiter::TaskNews(first)).is_none());
        assert!(matches!(Waiters::add(&mut place, Waiter::TaskNews(second)), Some(Waiter::TaskNews(_))));
        assert_eq!(names(place), ["Task", "Thread", "AtEnd", "OneOf", "Callback", "TaskNews"]);
    }

    #[test]
    fn those_that_are_wanted_are_taken() {
        let queue = Arc::default();
        let mut place = None;
        assert!(Waiters::take_if(&mut place, |_| true).is_none());
        Waiters::add(&mut place, Waiter::Thread(thread::current()));
        assert!(Waiters::take_if(&mut place, |waiter| waiter.is_of(&queue)).is_none());
        assert_eq!(names(Waiters::take_if(&mut place, Waiter::is_for_news)), ["Thread"]);
        assert!(place.is_none());
        Waiters::add(&mut place, Waiter::OneOf(Arc::clone(&queue), 0));
        Waiters::add(&mut place, Waiter::AtEnd(other_thread()));
        assert!(Waiters::take_if(&mut place, Waiter::is_for_news).is_none());
        assert!(Waiters::take_if(&mut place, Waiter::is_this_thread).is_none());
        assert_eq!(names(Waiters::take_if(&mut place, |waiter| waiter.is_of(&queue))), ["OneOf"]);
        assert_eq!(names(place.take()), ["AtEnd"]);
        Waiters::add(&mut place, Waiter::AtEnd(thread::current()));
        assert_eq!(names(Waiters::take_if(&mut place, Waiter::is_this_thread)), ["AtEnd"]);
    }
}
