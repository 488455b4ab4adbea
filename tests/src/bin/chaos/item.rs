//! The tasks, and their items: each has a serial number of its own, and a fate.

use std::thread;
use std::time::Duration;

use pool_core::pool_task;
use tests::tasks::Way;

use crate::random::Random;

/// The behaviour of a task with an item, unless its worker is killed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Good,
    Nap,
    Panic,
    Exit,
    Abort,
    Segfault,
    Hang,
}

/// Each of them, by its number, with how many of a thousand items have it.
const FATES: [(Fate, u64); 7] = [
    (Fate::Good, 894),
    (Fate::Nap, 60),
    (Fate::Panic, 20),
    (Fate::Exit, 10),
    (Fate::Abort, 7),
    (Fate::Segfault, 8),
    (Fate::Hang, 1),
];

impl Fate {
    fn draw(random: &mut Random) -> Fate {
        let mut at = random.below(FATES.iter().map(|(_, weight)| weight).sum());
        for (fate, weight) in FATES {
            if at < weight {
                return fate;
            }
            at -= weight;
        }
        unreachable!("it is less than the sum")
    }

    /// How its worker ends by it: with an exit code, or by a signal.
    pub(crate) fn way(self) -> Option<Way> {
        match self {
            Fate::Exit => Some(Way::ExitThree),
            Fate::Abort => Some(Way::Abort),
            Fate::Segfault => Some(Way::Segfault),
            Fate::Good | Fate::Nap | Fate::Panic | Fate::Hang => None,
        }
    }

    pub(crate) fn gives_value(self) -> bool {
        matches!(self, Fate::Good | Fate::Nap)
    }
}

/// One item: the arguments of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item(pub(crate) u64);

impl Item {
    pub(crate) fn new(serial: u64, fate: Fate) -> Item {
        let number = FATES.iter().position(|(known, _)| *known == fate).expect("all are listed");
        Item(serial << 3 | number as u64)
    }

    pub(crate) fn draw(serial: u64, random: &mut Random) -> Item {
        Item::new(serial, Fate::draw(random))
    }

    pub(crate) fn fate(self) -> Fate {
        FATES[self.0 as usize & 7].0
    }

    /// The value that its task returns.
    pub(crate) fn value(self) -> u64 {
        3 * self.0 + 1
    }

    /// The item that this value belongs to.
    pub(crate) fn of_value(value: u64) -> Item {
        Item(value.wrapping_sub(1) / 3)
    }
}

/// Its value, unless its fate is another.
#[pool_task(timeout = "300ms")]
pub(crate) fn ordeal(item: u64) -> u64 {
    let item = Item(item);
    match item.fate() {
        Fate::Good => {}
        Fate::Nap => thread::sleep(Duration::from_micros(item.0 / 8 % 1000)),
        Fate::Panic => panic!("on purpose"),
        Fate::Hang => thread::sleep(Duration::from_secs(3600)),
        Fate::Exit | Fate::Abort | Fate::Segfault => item.fate().way().expect("these have one").go(),
    }
    item.value()
}

/// A harmless one, for maps of many: with so many retries no item of it fails.
#[pool_task(retries = 20)]
pub(crate) fn triple(item: u64) -> u64 {
    Item(item).value()
}

/// Many bytes there and back, of which the first are the item's, and its value on the way back.
#[pool_task(retries = 20)]
pub(crate) fn carry(bytes: &[u8]) -> Vec<u8> {
    let item = Item(head_of(bytes));
    [&item.value().to_le_bytes(), &bytes[HEAD..]].concat()
}

/// Bytes in front of a parcel's filler.
pub(crate) const HEAD: usize = size_of::<u64>();

/// The number in front of a parcel's filler.
pub(crate) fn head_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..HEAD].try_into().expect("that many bytes"))
}
