//! Calls of one thread whose packets leave together.

use super::driver::Shared;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

thread_local! {
    /// The stack that this thread has a batch of. Compared, never followed.
    static OPEN: Cell<*const Shared> = const { Cell::new(ptr::null()) };
    /// Calls made in batches.
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

/// Calls whose packets wait for each other at most: what one of them sends must not wait for all that a loop may do.
const CALLS: u32 = 256;

/// Has this thread a batch of this stack that the packets of one more call can wait for?
pub(super) fn holds(shared: &Shared) -> bool {
    let open = ptr::eq(OPEN.get(), shared);
    if open {
        COUNT.set(COUNT.get().wrapping_add(1));
    }
    open && !COUNT.get().is_multiple_of(CALLS)
}

/// A batch, from [`Stack::batch`](super::Stack::batch) until it is dropped.
pub struct Batch<'a> {
    /// `None`: the thread had one already.
    shared: Option<&'a Shared>,
    /// It is this thread's.
    here: PhantomData<*const ()>,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl<'a> Batch<'a> {
    pub(super) fn open(shared: &'a Shared) -> Batch<'a> {
        let first = OPEN.get().is_null();
        if first {
            OPEN.set(shared);
        }
        Batch { shared: first.then_some(shared), here: PhantomData }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            OPEN.set(ptr::null());
            shared.flush();
        }
    }
}
