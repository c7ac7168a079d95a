//! Calls of one thread whose packets leave together.

use super::driver::Shared;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

thread_local! {
    /// The stack that this thread has a batch of. Compared, never followed.
    static OPEN: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// Does this thread have a batch of this stack?
pub(super) fn is_open(shared: &Shared) -> bool {
    ptr::eq(OPEN.get(), shared)
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
