//! Descriptors between a host and a worker, also one that sends and names arrays as no worker does.

use std::os::fd::{AsFd, OwnedFd};

use pool_ipc::{ArrayBuffer, FrozenArray, WorkerEnd};

use super::*;
use crate::attachments::array::Array;
use crate::lane::messages::ReplyKind;
use crate::process::socket::Socket;

struct Pair {
    lane: Lane,
    worker: WorkerEnd,
    socket: Socket,
}

impl Pair {
    fn new() -> Pair {
        let (end, memory) = Lane::memory().unwrap();
        let worker = WorkerEnd::open(&memory).unwrap();
        let (ours, socket) = Socket::pair().unwrap();
        Pair { lane: Lane::new(end, 0, memory.host).with_socket(ours), worker, socket }
    }

    /// Sends the descriptors, and then a record that announces an array.
    fn send(&mut self, told: u64, fds: &[&OwnedFd], header: Header) {
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        self.socket.send(&told, &fds).unwrap();
        self.announce(header);
    }

    fn announce(&mut self, header: Header) {
        assert!(self.worker.replies.send(&header, &[], 0).done);
    }

    /// The records of the request ring, taken by the worker: their kinds and names, and the descriptors that have come.
    fn take(&mut self) -> Vec<(u16, u64, bool)> {
        let mut taken = Vec::new();
        while let Some(record) = self.worker.requests.peek().unwrap() {
            let Header { kind, info, .. } = record.header;
            let has_fd = kind == Request::Attach.kind()
                && matches!(self.socket.receive::<u64>(MsgFlags::MSG_DONTWAIT), Ok(Some((told, fds))) if told == info && fds.len() == 1);
            self.worker.requests.release(&record);
            taken.push((kind, info, has_fd));
        }
        taken
    }
}

fn frozen(byte: u8) -> FrozenArray {
    let mut buffer = ArrayBuffer::with_capacity(1).unwrap();
    buffer.bytes_mut()[0] = byte;
    buffer.freeze(1).unwrap()
}

fn array(byte: u8) -> Arc<Array> {
    Array::new(frozen(byte))
}

fn sealed(byte: u8) -> OwnedFd {
    array(byte).memory().as_fd().try_clone_to_owned().unwrap()
}

fn announced(id: u64, kind: Kind) -> Header {
    Header { kind: ReplyKind::Array.kind(), extra: kind as u32, info: id, ..Header::default() }
}

/// The first byte of an array that has come.
fn byte(received: &ReceivedArray) -> Option<u8> {
    match &received.content {
        Content::Frozen(array) => array.memory().bytes().first().copied(),
        _ => None,
    }
}

#[test]
fn descriptors_come_once_in_order_and_not_too_many_at_a_time() {
    let mut pair = Pair::new();
    let mut arrays: Vec<_> = (0..40).map(array).collect();
    let list: Attachments = arrays.iter().map(|array| Attachment::Frozen(Arc::clone(array))).collect();
    pair.lane.attach(&list, None);
    pair.lane.attach(&list, None);
    let mut taken = Vec::new();
    for most in [DESCRIPTORS_AHEAD, DESCRIPTORS_AHEAD, 40 - 2 * DESCRIPTORS_AHEAD, 0] {
        assert_eq!(pair.lane.has_news(), !taken.is_empty() && most > 0);
        pair.lane.pump();
        let some = pair.take();
        assert_eq!(some.len(), most);
        taken.extend(some);
    }
    let attach = Request::Attach.kind();
    assert!(taken.into_iter().eq(arrays.iter().map(|array| (attach, array.id().number(), true))));
    // Only an array that is gone, and that the worker has, is forgotten, and only once.
    let fourth = arrays[3].id();
    pair.lane.forget_array(fourth);
    assert_eq!(pair.take(), [], "it is there");
    drop(list);
    drop(arrays.remove(3));
    for id in [fourth, fourth, ArrayId::new()] {
        pair.lane.forget_array(id);
    }
    assert_eq!(pair.take(), [(Request::Forget.kind(), fourth.number(), false)]);
}

#[test]
fn a_name_that_comes_again_means_the_new_array() {
    let mut pair = Pair::new();
    let id = ArrayId::new();
    let attached = |pair: &mut Pair, byte| {
        let array = Array::of_host(id, frozen(byte));
        pair.lane.attach(&vec![Attachment::Frozen(Arc::clone(&array))], None);
        assert_eq!(pair.take(), [(Request::Attach.kind(), id.number(), true)]);
        array
    };
    let first = attached(&mut pair, 1);
    drop(first);
    let second = attached(&mut pair, 2);
    // The end of the first is told late.
    pair.lane.forget_array(id);
    assert_eq!(pair.take(), []);
    drop(second);
    pair.lane.forget_array(id);
    assert_eq!(pair.take(), [(Request::Forget.kind(), id.number(), false)]);
}

#[test]
fn a_worker_gets_no_further_than_to_its_own_arrays() {
    let mut pair = Pair::new();
    let (given, other) = (array(1), array(2));
    pair.lane.attach(&vec![Attachment::Frozen(Arc::clone(&given))], None);
    // It names both, and sends memory of its own with each.
    for id in [given.id(), other.id()] {
        pair.send(id.number(), &[&sealed(9)], announced(id.number(), Kind::Sealed));
    }
    assert!(pair.lane.next_reply().unwrap().is_none());
    let received = pair.lane.take_received();
    assert_eq!(received.iter().map(byte).collect::<Vec<_>>(), [Some(1), Some(9)]);
    assert!(received.iter().all(|array| array.failure().is_none()));
    assert!(pair.lane.take_received().is_empty());
}

#[test]
fn memory_that_could_change_is_no_array() {
    let mut pair = Pair::new();
    let unsealed = ArrayBuffer::with_capacity(1).unwrap().descriptor();
    for kind in [Kind::Sealed, Kind::File, Kind::Lent] {
        pair.send(5, &[&*unsealed], announced(5, kind));
    }
    // None has come, since this process had no number for it.
    pair.send(6, &[], announced(6, Kind::Sealed));
    assert!(pair.lane.next_reply().unwrap().is_none());
    let received = pair.lane.take_received();
    assert_eq!(received.len(), 4);
    assert!(received.iter().all(|array| array.failure().is_some()));
    assert_eq!(received[3].failure().unwrap().raw_os_error(), Some(libc::EMFILE));
}

#[test]
fn a_worker_that_announces_what_it_does_not_send_is_found_out() {
    let unknown = Header { extra: 7, ..announced(5, Kind::Sealed) };
    let with_items = Header { count: 1, ..announced(5, Kind::Sealed) };
    for header in [announced(6, Kind::Sealed), unknown, with_items] {
        let mut pair = Pair::new();
        pair.send(5, &[&sealed(1)], header);
        assert!(pair.lane.next_reply().is_err(), "{header:?}");
    }
    let mut pair = Pair::new();
    pair.announce(announced(5, Kind::Sealed));
    assert!(pair.lane.next_reply().is_err());
    // More than a result may name.
    let mut pair = Pair::new();
    for number in 0..=ARRAYS_MAX as u64 {
        pair.send(number, &[], announced(number, Kind::Sealed));
        if number < ARRAYS_MAX as u64 {
            assert!(pair.lane.next_reply().unwrap().is_none());
        }
    }
    assert!(pair.lane.next_reply().is_err());
}
