//! The arrays that the host has given to this worker.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use pool_ipc::{ArrayWindow, FrozenArray};

use super::array::Array;
use super::id::{ArrayId, Kind};
use super::received::io_error;

/// By name, and only those that the host has not asked to forget.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<ArrayId, Entry>);

#[derive(Debug)]
pub(crate) enum Entry {
    Frozen(Arc<Array>),
    /// The item that writes a part of it has the window meanwhile.
    Lent(Rc<RefCell<Option<ArrayWindow>>>),
    /// It could not be received or mapped.
    Failed(io::Error),
}

impl Table {
    pub(crate) const fn new() -> Table {
        Table(BTreeMap::new())
    }

    /// Takes an array that the host gives.
    pub(crate) fn add(&mut self, id: ArrayId, kind: Kind, fd: io::Result<OwnedFd>) {
        let entry = match fd {
            Ok(fd) if kind == Kind::Lent => Ok(Entry::Lent(Rc::new(RefCell::new(Some(ArrayWindow::new(fd)))))),
            Ok(fd) => open(kind, fd).map(|memory| Entry::Frozen(Array::of_host(id, memory))).map_err(io_error),
            Err(error) => Err(error),
        };
        self.0.insert(id, entry.unwrap_or_else(Entry::Failed));
    }

    pub(crate) fn remove(&mut self, id: ArrayId) {
        self.0.remove(&id);
    }

    pub(crate) fn get(&self, id: ArrayId) -> Option<&Entry> {
        self.0.get(&id)
    }

    /// Unmaps all parts of arrays that this worker has written.
    pub(crate) fn unmap_windows(&self) {
        for entry in self.0.values() {
            if let Entry::Lent(window) = entry
                // It is away only while an item runs, and then nothing is unmapped.
                && let Some(window) = &mut *window.borrow_mut()
            {
                window.unmap();
            }
        }
    }

    /// Takes the pages of all arrays out of the worker's resident memory.
    pub(crate) fn forget_pages(&self) {
        // Parts that are mapped count as well, and no item runs now.
        self.unmap_windows();
        for entry in self.0.values() {
            if let Entry::Frozen(array) = entry {
                array.memory().forget_pages();
            }
        }
    }
}

fn open(kind: Kind, fd: OwnedFd) -> Result<FrozenArray, pool_ipc::Error> {
    if kind == Kind::File {
        // SAFETY:
        // - nobody writes the file in any process: the host's code has promised it when it mapped the file.
        return unsafe { FrozenArray::map_file(File::from(fd)) };
    }
    FrozenArray::open(fd)
}
