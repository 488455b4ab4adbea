//! Parts of an array that workers write: as the host names them, and as a worker has one mapped.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytemuck::Pod;
use pool_ipc::ArrayWindow;

use crate::attachments::loan::Loan;
use crate::attachments::scope::{self, Reading};
use crate::attachments::{ArrayId, Attachment, Attachments};
use crate::codec::CodecError;
use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;

/// The arguments of an item that writes one part.
#[derive(Debug)]
pub struct ChunkItem<'a, T> {
    pub(crate) loan: Arc<Loan>,
    /// The elements of the part.
    pub(crate) elements: Range<usize>,
    /// The other arguments, which are the same for all items, encoded.
    pub(crate) args: &'a [u8],
    /// The arrays that these name.
    pub(crate) attachments: &'a Attachments,
    pub(crate) element: PhantomData<fn(T)>,
}

impl<T> ChunkItem<'_, T> {
    /// Writes the name of the array and the range, then the other arguments.
    ///
    /// # Errors
    ///
    /// Too many arrays.
    pub fn encode(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        let Range { start, end } = self.elements;
        for number in [self.loan.id().number(), start as u64, end as u64] {
            out.put_array(number.to_le_bytes());
        }
        out.put(self.args);
        // With each item, since blocks of items go to workers on their own.
        let mut list = self.attachments.clone();
        list.push(Attachment::Lent(Arc::clone(&self.loan)));
        out.attach(list)
    }
}

/// A part of the host's array, which one item of this worker writes.
#[derive(Debug)]
pub(crate) struct Window<T> {
    /// Gone only while it is dropped.
    memory: Option<ArrayWindow>,
    /// Where the window stays until the next item.
    home: Rc<RefCell<Option<ArrayWindow>>>,
    offset: usize,
    elements: PhantomData<T>,
}

impl<T: Pod> Window<T> {
    /// Maps the part that the arguments name first.
    ///
    /// # Errors
    ///
    /// The host has not lent the array to this worker, or the system refuses it.
    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let mut number = || -> Result<u64, CodecError> {
            let bytes = input.take(size_of::<u64>())?.try_into();
            Ok(bytes.map(u64::from_le_bytes).unwrap_or_default())
        };
        let (id, start, end) = (number()?, number()?, number()?);
        let _reading = Reading::begin();
        let home = scope::lent(ArrayId::of_number(id)).map_err(CodecError::new)?;
        let byte = |element: u64| usize::try_from(element).ok()?.checked_mul(size_of::<T>());
        let (Some(first), Some(last)) = (byte(start), byte(end)) else {
            return Err(CodecError::new("a part past every address"));
        };
        let memory = home.take();
        let mut window = Window { memory, home, offset: start as usize, elements: PhantomData };
        let memory = window.memory.as_mut().ok_or_else(|| CodecError::new("another item writes the array"))?;
        // SAFETY:
        // - the host lends each part to one item, which is begun once, and its owner waits until the item's worker has answered
        //   or is gone: it answers when the window, which alone leads to these bytes, hides them.
        let shown = unsafe { memory.show(first..last) };
        shown.map_err(|error| CodecError::new(scope::refuse(error)))?;
        Ok(window)
    }

    /// The elements.
    pub(crate) fn part(&mut self) -> &mut [T] {
        self.memory.as_mut().map(|memory| bytemuck::cast_slice_mut(memory.bytes_mut())).unwrap_or_default()
    }

    /// Index of the first element in the array.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

impl<T> Drop for Window<T> {
    fn drop(&mut self) {
        if let Some(mut memory) = self.memory.take() {
            memory.hide();
            // All of it stays mapped: to map a part anew takes longer than most items.
            self.home.replace(Some(memory));
        }
    }
}
