//! A forked process that follows the orders in its mailbox.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::memory::{Bell, InSharedMemory, Shared, wait_awake};
use crate::data::{increment, sqrt_of, square_of, sum_of, work};

/// The orders of a worker.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// Increments `a`.
    Increment,
    /// Copies `a` bytes of its data to the part behind them.
    Copy,
    /// Increments `a` words of its data in the part behind them.
    IncrementAll,
    /// Increments `a` numbers that come one by one through a ring, into another ring.
    Stream,
    /// Works on the `a` items of the common list together with other workers, taking `b` at once.
    Work,
    /// Adds up the `a` numbers of the common array together with other workers, taking `b` at once.
    Sum,
    /// Takes their square roots, likewise.
    Sqrt,
    /// Squares its integers, likewise.
    Square,
    /// Keeps a CPU busy until [`Worker::end_spin`].
    Spin,
    /// Copies `b` bytes from offset `a` into memory of its own.
    Read,
    Stop,
}

const ORDERS: [Order; 11] = [
    Order::Increment,
    Order::Copy,
    Order::IncrementAll,
    Order::Stream,
    Order::Work,
    Order::Sum,
    Order::Sqrt,
    Order::Square,
    Order::Spin,
    Order::Read,
    Order::Stop,
];

#[repr(C)]
struct Mailbox {
    call: Bell,
    reply: Bell,
    /// Neither side waits awake: not 0.
    sleepy: AtomicU64,
    order: AtomicU64,
    a: AtomicU64,
    b: AtomicU64,
    result: AtomicU64,
}

// SAFETY: bells and atomic numbers.
unsafe impl InSharedMemory for Mailbox {}

/// A ring of numbers; the sides are on cache lines of their own.
#[repr(C, align(128))]
pub(super) struct Ring {
    tail: Line,
    head: Line,
    slots: [AtomicU64; RING_SLOTS],
}

#[repr(C, align(128))]
struct Line(AtomicU64);

const RING_SLOTS: usize = 4096;

// SAFETY: atomic numbers.
unsafe impl InSharedMemory for Ring {}

impl Ring {
    pub(super) fn try_push(&self, number: u64) -> bool {
        let tail = self.tail.0.load(Ordering::Relaxed);
        if tail - self.head.0.load(Ordering::Acquire) == RING_SLOTS as u64 {
            return false;
        }
        self.slots[tail as usize % RING_SLOTS].store(number, Ordering::Relaxed);
        self.tail.0.store(tail + 1, Ordering::Release);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.0.load(Ordering::Relaxed) == self.tail.0.load(Ordering::Acquire)
    }

    pub(super) fn try_pop(&self) -> Option<u64> {
        let head = self.head.0.load(Ordering::Relaxed);
        if head == self.tail.0.load(Ordering::Acquire) {
            return None;
        }
        let number = self.slots[head as usize % RING_SLOTS].load(Ordering::Relaxed);
        self.head.0.store(head + 1, Ordering::Release);
        Some(number)
    }
}

/// Where things are in a worker's memory.
const CALLS_AT: usize = 4096;
const REPLIES_AT: usize = CALLS_AT + (64 << 10);
pub(super) const DATA_AT: usize = REPLIES_AT + (64 << 10);

const _: () = assert!(size_of::<Mailbox>() <= CALLS_AT && size_of::<Ring>() <= 64 << 10);

/// Memory that all workers share: the next item's number, then the items, then an array.
pub(super) const NEXT_AT: usize = 0;
pub(super) const ITEMS_AT: usize = 128;
pub(super) const ARRAY_AT: usize = (ITEMS_AT + (256 << 10) * 8).next_multiple_of(4096);

/// A worker as its parent sees it.
pub(super) struct Worker {
    pub(super) pid: u32,
    pub(super) memory: Shared,
    orders: u32,
}

impl Worker {
    /// Forks. The process has but one thread, so the child may do anything.
    pub(super) fn start(memory: Shared, common: &Shared) -> io::Result<Worker> {
        // SAFETY: see above; the child never returns from here.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => serve(&memory, common),
            pid => Ok(Worker { pid: pid.cast_unsigned(), memory, orders: 0 }),
        }
    }

    pub(super) fn order(&mut self, order: Order, a: u64, b: u64) {
        let mailbox: &Mailbox = self.memory.at(0);
        mailbox.order.store(order as u64, Ordering::Relaxed);
        mailbox.a.store(a, Ordering::Relaxed);
        mailbox.b.store(b, Ordering::Relaxed);
        self.orders += 1;
        mailbox.call.ring();
    }

    /// From the order after the next on, both sides sleep at once when they wait.
    pub(super) fn be_sleepy(&self, is_sleepy: bool) {
        let mailbox: &Mailbox = self.memory.at(0);
        mailbox.sleepy.store(is_sleepy.into(), Ordering::Relaxed);
    }

    pub(super) fn end_spin(&self) {
        let mailbox: &Mailbox = self.memory.at(0);
        mailbox.b.store(1, Ordering::Relaxed);
    }

    /// Waits for the result of the order before.
    pub(super) fn result(&self) -> u64 {
        let mailbox: &Mailbox = self.memory.at(0);
        mailbox.reply.wait_for(self.orders, mailbox.sleepy.load(Ordering::Relaxed) == 0);
        mailbox.result.load(Ordering::Relaxed)
    }

    /// Numbers on their way to the worker, and back.
    pub(super) fn rings(&self) -> (&Ring, &Ring) {
        (self.memory.at(CALLS_AT), self.memory.at(REPLIES_AT))
    }

    /// Waits until the process is gone.
    pub(super) fn reap(&self) -> io::Result<()> {
        // SAFETY: our own child, and no status is asked for.
        match unsafe { libc::waitpid(self.pid.cast_signed(), std::ptr::null_mut(), 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

fn serve(memory: &Shared, common: &Shared) -> ! {
    let mailbox: &Mailbox = memory.at(0);
    let (mut orders, mut is_over) = (0, false);
    let mut private: Vec<u8> = Vec::new();
    while !is_over {
        orders += 1;
        mailbox.call.wait_for(orders, mailbox.sleepy.load(Ordering::Relaxed) == 0);
        let (a, b) = (mailbox.a.load(Ordering::Relaxed), mailbox.b.load(Ordering::Relaxed));
        let len = a as usize;
        let result = match ORDERS[mailbox.order.load(Ordering::Relaxed) as usize] {
            Order::Increment => increment(a),
            Order::Copy => {
                memory.copy(DATA_AT, DATA_AT + len, len);
                0
            }
            Order::IncrementAll => {
                memory.map(DATA_AT, DATA_AT + len * 8, len, increment);
                0
            }
            Order::Stream => stream(memory, a),
            Order::Work => work_on(common, len, b),
            Order::Sum => take_parts(common, len, b, |part: &mut [f64]| sum_of(part) as u64),
            Order::Sqrt => take_parts(common, len, b, sqrt_of),
            Order::Square => take_parts(common, len, b, square_of),
            Order::Spin => {
                while mailbox.b.load(Ordering::Relaxed) == 0 {
                    work(100);
                }
                0
            }
            Order::Read => {
                private.clear();
                memory.read(len, b as usize, &mut private);
                private.len() as u64
            }
            Order::Stop => {
                is_over = true;
                0
            }
        };
        mailbox.result.store(result, Ordering::Relaxed);
        mailbox.reply.ring();
    }
    // SAFETY: nothing of the parent's is to be done here.
    unsafe { libc::_exit(0) }
}

fn stream(memory: &Shared, count: u64) -> u64 {
    let (calls, replies): (&Ring, &Ring) = (memory.at(CALLS_AT), memory.at(REPLIES_AT));
    for _ in 0..count {
        let number = std::cell::Cell::new(0);
        wait_awake(|| calls.try_pop().map(|next| number.set(next)).is_some());
        wait_awake(|| replies.try_push(increment(number.get())));
    }
    0
}

fn work_on(common: &Shared, items: usize, at_once: u64) -> u64 {
    let next = &common.words(NEXT_AT, 1)[0];
    let items = common.words(ITEMS_AT, items);
    let mut sum = 0_u64;
    loop {
        let from = next.fetch_add(at_once, Ordering::Relaxed) as usize;
        let Some(rest) = items.get(from..).filter(|rest| !rest.is_empty()) else { return sum };
        for steps in &rest[..rest.len().min(at_once as usize)] {
            sum = sum.wrapping_add(work(steps.load(Ordering::Relaxed)));
        }
    }
}

fn take_parts<T: Copy>(common: &Shared, len: usize, at_once: u64, body: impl Fn(&mut [T]) -> u64) -> u64 {
    let next = &common.words(NEXT_AT, 1)[0];
    let mut sum = 0;
    loop {
        let from = next.fetch_add(at_once, Ordering::Relaxed) as usize;
        if from >= len {
            return sum;
        }
        sum += common.with_part(ARRAY_AT + from * size_of::<T>(), (len - from).min(at_once as usize), &body);
    }
}
