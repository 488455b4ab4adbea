//! A value that goes off somewhere on its way to the worker and back.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use pool_core::{current_worker, pool_task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tasks::Way;

/// Where on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// As an argument, in the host.
    EncodeArgs,
    /// As an argument, in the worker.
    DecodeArgs,
    /// In the function.
    Run,
    /// As an argument, when the function is through with it.
    DropArgs,
    /// As a result, in the worker.
    EncodeResult,
    /// As a result that has been encoded.
    DropResult,
    /// In another thread of the worker, while the result is sent: so many microseconds after it was encoded.
    SendResult(u64),
    /// As a result, in the host.
    DecodeResult,
}

/// The way in which it goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// An error, where there can be one.
    Fail,
    /// The end of the worker, or a panic, or no end.
    Crash(Way),
}

/// The value.
#[derive(Debug)]
pub struct Bomb {
    fuse: Option<(Phase, Effect)>,
    is_result: bool,
}

impl Bomb {
    /// One that never goes off.
    pub const DUD: Bomb = Bomb { fuse: None, is_result: false };

    /// One that does.
    pub fn new(phase: Phase, effect: Effect) -> Bomb {
        Bomb { fuse: Some((phase, effect)), is_result: false }
    }

    /// The error that it is here and now, if any. Does not return if that is how it goes off.
    fn pass(&self, here: Phase) -> Result<(), &'static str> {
        match self.fuse {
            Some((phase, Effect::Fail)) if phase == here => Err("it is a bomb"),
            Some((phase, Effect::Crash(way))) if phase == here => way.go(),
            _ => Ok(()),
        }
    }
}

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let here = if self.is_result { Phase::EncodeResult } else { Phase::EncodeArgs };
        self.pass(here).map_err(serde::ser::Error::custom)?;
        (self.fuse, self.is_result).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fuse, is_result) = Deserialize::deserialize(deserializer)?;
        let bomb = Bomb { fuse, is_result };
        let here = if is_result { Phase::DecodeResult } else { Phase::DecodeArgs };
        let passed = bomb.pass(here);
        passed.map(|()| bomb).map_err(serde::de::Error::custom)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if current_worker().is_none() {
            return;
        }
        if let (true, Some((Phase::SendResult(delay), Effect::Crash(way)))) = (self.is_result, self.fuse) {
            // An encoded result is dropped just before it is sent.
            thread::spawn(move || go_in(Duration::from_micros(delay), way));
        }
        let here = if self.is_result { Phase::DropResult } else { Phase::DropArgs };
        // A destructor has no error to give.
        let _ = self.pass(here);
    }
}

/// Panics in another thread than the worker's own.
fn go_in(delay: Duration, way: Way) {
    thread::sleep(delay);
    if way == Way::Hang {
        // A thread that hangs is no matter to the others, so all of them do.
        kill(getpid(), Signal::SIGSTOP).expect("a valid signal");
    }
    way.go();
}

/// Takes one and gives one like it.
#[pool_task]
pub fn carry(bomb: Bomb) -> Bomb {
    bomb.pass(Phase::Run).expect("a function has other ways to fail");
    Bomb { fuse: bomb.fuse, is_result: true }
}

/// Takes one and gives one like it, with so many bytes.
#[pool_task]
pub fn carry_far(bomb: Bomb, bytes: usize) -> (Bomb, Vec<u8>) {
    (carry(bomb), ballast(bytes))
}

/// So many bytes, which are not all the same.
pub fn ballast(bytes: usize) -> Vec<u8> {
    let mut ballast = Vec::from_iter(0..251).repeat(bytes / 251 + 1);
    ballast.truncate(bytes);
    ballast
}
