//! From the bytes of a pipe to the values that were written to it.

/// Cuts the bytes of one pipe. Any bytes may come: a worker can write anything.
pub(crate) trait Splitter: Send + 'static {
    /// A value, whole.
    type Item: Send + 'static;

    /// Takes the next bytes in, and passes on the values that are whole now.
    fn feed(&mut self, bytes: &[u8], pass_on: &mut dyn FnMut(Self::Item));

    /// The pipe has ended: passes on the rest.
    fn end(&mut self, pass_on: &mut dyn FnMut(Self::Item));

    /// Bytes of memory that the value takes; 0 of a [vital](Splitter::is_vital) one that is never dropped.
    fn bytes_of(item: &Self::Item) -> usize;

    /// Whether the values after it would make no sense without it, so that it is dropped only where twice as much waits.
    fn is_vital(item: &Self::Item) -> bool {
        let _ = item;
        false
    }

    /// The value that says that so many were dropped.
    fn dropped(count: u64) -> Self::Item;
}
