//! Room for submissions: how much may be pending, and the line of submissions that wait for room (backpressure).
//!
//! A submission that finds no room draws a *ticket*. Tickets are granted in their order, first come, first served. The room
//! that a granted ticket needs is reserved until the ticket is redeemed or given back, so no submission can overtake it. A
//! submission that never comes for its room, such as a future that is not polled, holds up that much room and no more.

use std::collections::BTreeMap;

use crate::job::waiters::Waiter;

/// Items, and bytes of their encoded arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

impl Amount {
    pub(crate) const UNLIMITED: Amount = Amount { items: u64::MAX, bytes: u64::MAX };

    fn plus(self, other: Amount) -> Amount {
        Amount { items: self.items.saturating_add(other.items), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn minus(self, other: Amount) -> Amount {
        Amount { items: self.items.saturating_sub(other.items), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// A place in the line. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
struct Waiting {
    wanted: Amount,
    /// Woken when the ticket is granted, or when the pool is closed or ends.
    waiter: Option<Waiter>,
}

#[derive(Debug)]
pub(crate) struct Room {
    most: Amount,
    /// Room of granted tickets.
    reserved: Amount,
    /// Tickets that are not granted. A map and not a queue, since a future in the middle may be dropped.
    waiting: BTreeMap<Ticket, Waiting>,
    granted: BTreeMap<Ticket, Amount>,
    next: u64,
}

impl Room {
    pub(crate) fn new(most: Amount) -> Self {
        Room { most, reserved: Amount::default(), waiting: BTreeMap::new(), granted: BTreeMap::new(), next: 0 }
    }

    /// Whether `wanted` fits beside the `pending` and the reserved amount. A submission of more bytes than may ever be
    /// pending fits when no other bytes are pending.
    fn fits(&self, pending: Amount, wanted: Amount) -> bool {
        let taken = pending.plus(self.reserved);
        let all = taken.plus(wanted);
        all.items <= self.most.items && (all.bytes <= self.most.bytes || taken.bytes == 0)
    }

    /// Whether a submission without a ticket may go ahead: the line is empty, and there is room.
    pub(crate) fn is_open(&self, pending: Amount, wanted: Amount) -> bool {
        // Room that is free beside a line is too small for its first; taking it would starve that one.
        self.waiting.is_empty() && self.fits(pending, wanted)
    }

    #[inline]
    pub(crate) fn is_unlimited(&self) -> bool {
        self.most == Amount::UNLIMITED
    }

    /// Items that a map may pull: those that may be pending, if any bytes may. The size of an item is not known before it
    /// is pulled.
    pub(crate) fn items_to_pull(&self, pending: Amount) -> u64 {
        // One byte stands for the item: if not even that fits, no item does.
        let next = Amount { items: 1, bytes: 1 };
        if self.is_open(pending, next) { self.most.minus(pending.plus(self.reserved)).items } else { 0 }
    }

    /// Pulled items that may go ahead, of so many bytes each. `has_turn` says that a ticket was redeemed for one of them.
    pub(crate) fn items_to_feed(&self, pending: Amount, item_bytes: u64, has_turn: bool) -> u64 {
        if !has_turn && !self.is_open(pending, Amount { items: 1, bytes: item_bytes }) {
            return 0;
        }
        let free = self.most.minus(pending.plus(self.reserved));
        // With others in line the ticket stands for one item, and the next one draws again.
        let by_bytes = if self.waiting.is_empty() { free.bytes.checked_div(item_bytes).unwrap_or(u64::MAX) } else { 1 };
        free.items.min(by_bytes).max(1)
    }

    /// Stands in line.
    pub(crate) fn draw(&mut self, wanted: Amount) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, Waiting { wanted, waiter: None });
        ticket
    }

    /// Has the waiter woken when the ticket is granted; it must not be granted yet. Returns the waiter that it replaces: its
    /// destructor may be the user's code.
    pub(crate) fn set_waiter(&mut self, ticket: Ticket, waiter: Waiter) -> Option<Waiter> {
        self.waiting.get_mut(&ticket).expect("it waits").waiter.replace(waiter)
    }

    pub(crate) fn is_granted(&self, ticket: Ticket) -> bool {
        self.granted.contains_key(&ticket)
    }

    /// Ends the reservation of a granted ticket, so that its submission can take the room; false if it is not granted.
    pub(crate) fn redeem(&mut self, ticket: Ticket) -> bool {
        let Some(wanted) = self.granted.remove(&ticket) else { return false };
        self.reserved = self.reserved.minus(wanted);
        true
    }

    /// Leaves the line, or gives the room back. Returns the waiter: its destructor may be the user's code.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<Waiter> {
        self.redeem(ticket);
        self.waiting.remove(&ticket)?.waiter
    }

    /// Whether submissions wait.
    #[inline]
    pub(crate) fn has_line(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Grants tickets, in their order, as long as there is room. Returns whether it has granted any, and the waiters to wake.
    pub(crate) fn grant(&mut self, pending: Amount) -> (bool, Vec<Waiter>) {
        let (mut has_granted, mut woken) = (false, Vec::new());
        while let Some(first) = self.waiting.first_entry() {
            let wanted = first.get().wanted;
            let ticket = *first.key();
            // The first one alone decides, though a later one might fit: that is the price of serving in order.
            if !self.fits(pending, wanted) {
                break;
            }
            let waiting = self.waiting.remove(&ticket).expect("it has just been looked at");
            woken.extend(waiting.waiter);
            // At once, so that no submission that comes before the woken thread runs takes the room.
            self.reserved = self.reserved.plus(wanted);
            self.granted.insert(ticket, wanted);
            has_granted = true;
        }
        (has_granted, woken)
    }

    /// Returns the waiters of all that stand in line, since the pool takes no more calls. Threads stay registered: that of a
    /// map may have to wait on, and looks no further than whether it is its turn.
    pub(crate) fn wake_all(&mut self) -> Vec<Waiter> {
        let wake = |waiting: &mut Waiting| match &waiting.waiter {
            Some(Waiter::Thread(thread)) => Some(Waiter::Thread(thread.clone())),
            // A future that is woken registers again with its next poll.
            _ => waiting.waiter.take(),
        };
        self.waiting.values_mut().filter_map(wake).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const ITEM: Amount = Amount { items: 1, bytes: 10 };

    fn amount(items: u64, bytes: u64) -> Amount {
        Amount { items, bytes }
    }

    fn waiter() -> Waiter {
        Waiter::Thread(thread::current())
    }

    #[test]
    fn tickets_are_granted_in_their_order_and_nobody_overtakes() {
        let mut room = Room::new(amount(2, u64::MAX));
        assert!(room.is_open(amount(1, 0), ITEM) && !room.is_open(amount(2, 0), ITEM));
        let tickets = [(); 3].map(|()| room.draw(ITEM));
        tickets.iter().for_each(|ticket| assert!(room.set_waiter(*ticket, waiter()).is_none()));
        assert!(!room.grant(amount(2, 0)).0);
        // A submission waits, so a newcomer may not go ahead though there would be room.
        assert!(!room.is_open(amount(1, 0), ITEM) && room.items_to_pull(amount(1, 0)) == 0);
        assert_eq!(room.grant(amount(1, 0)).1.len(), 1);
        assert!(room.is_granted(tickets[0]) && !room.is_granted(tickets[1]));
        // The room is reserved.
        assert!(!room.grant(amount(1, 0)).0);
        assert!(room.redeem(tickets[0]) && !room.redeem(tickets[0]));
        assert_eq!(room.grant(amount(0, 0)).1.len(), 2);
        assert!(!room.has_line());
        assert!(!room.is_open(amount(0, 0), ITEM), "both places are reserved");
        assert!(room.redeem(tickets[2]) && room.is_open(amount(0, 0), ITEM));
    }

    #[test]
    fn a_ticket_that_is_given_back_makes_room_for_the_next() {
        let mut room = Room::new(amount(1, u64::MAX));
        let tickets = [(); 3].map(|()| room.draw(ITEM));
        let (has_granted, woken) = room.grant(amount(0, 0));
        assert!(has_granted && woken.is_empty(), "nobody has set a waiter");
        assert!(room.is_granted(tickets[0]));
        room.set_waiter(tickets[1], waiter());
        assert!(room.leave(tickets[1]).is_some(), "from the middle of the line");
        assert!(room.leave(tickets[0]).is_none());
        room.grant(amount(0, 0));
        assert!(room.is_granted(tickets[2]));
        room.leave(tickets[2]);
        assert_eq!((room.reserved, room.has_line()), (Amount::default(), false));
    }

    #[test]
    fn bytes_are_bounded_and_a_giant_goes_alone() {
        let mut room = Room::new(amount(u64::MAX, 100));
        assert!(room.is_open(amount(5, 90), ITEM) && !room.is_open(amount(5, 91), ITEM));
        let giant = amount(1, 1000);
        assert!(!room.is_open(amount(1, 1), giant) && room.is_open(amount(1, 0), giant));
        let ticket = room.draw(giant);
        let behind = room.draw(ITEM);
        room.grant(amount(1, 1));
        assert!(!room.is_granted(ticket) && !room.is_granted(behind), "small ones behind it do not starve it");
        room.grant(amount(0, 0));
        assert!(room.is_granted(ticket) && !room.is_granted(behind));
        assert!(room.redeem(ticket));
        room.grant(giant);
        assert!(!room.is_granted(behind));
        room.grant(amount(0, 0));
        assert!(room.is_granted(behind));
    }

    #[test]
    fn a_map_pulls_as_long_as_any_bytes_may_be_pending_and_feeds_what_fits() {
        let mut room = Room::new(amount(10, 100));
        assert_eq!(room.items_to_pull(amount(4, 99)), 6);
        assert_eq!(room.items_to_pull(amount(4, 100)), 0);
        assert_eq!(room.items_to_pull(amount(10, 0)), 0);
        assert_eq!(Room::new(Amount::UNLIMITED).items_to_pull(amount(5, 5)), u64::MAX - 5);
        assert_eq!(room.items_to_feed(amount(4, 80), 10, false), 2);
        assert_eq!(room.items_to_feed(amount(4, 80), 0, false), 6);
        assert_eq!(room.items_to_feed(amount(4, 95), 10, false), 0);
        assert_eq!(room.items_to_feed(amount(0, 0), 1000, false), 1, "a giant goes alone");
        // With others in line only the item with a ticket goes.
        room.draw(ITEM);
        assert_eq!(room.items_to_feed(amount(4, 0), 10, false), 0);
        assert_eq!(room.items_to_feed(amount(4, 0), 10, true), 1);
    }

    #[test]
    fn all_are_woken_when_the_pool_ends() {
        let mut room = Room::new(amount(0, 0));
        let tickets = [(); 2].map(|()| room.draw(ITEM));
        tickets.iter().for_each(|ticket| _ = room.set_waiter(*ticket, waiter()));
        let task = room.draw(ITEM);
        room.set_waiter(task, Waiter::Task(std::task::Waker::noop().clone()));
        assert_eq!(room.wake_all().len(), 3);
        assert_eq!(room.wake_all().len(), 2, "threads stay registered, tasks poll");
        assert!(room.has_line());
    }
}
