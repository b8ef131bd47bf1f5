//! Records the environments that the current thread is searching: a closure that a search calls
//! must not wait for that search to end.

use std::cell::RefCell;
use std::marker::PhantomData;

thread_local! {
    /// The environments that this thread is searching, one entry for each search.
    static SEARCHED: RefCell<Vec<*const ()>> = const { RefCell::new(Vec::new()) };
}

/// A search of this thread, until it is dropped.
#[derive(Debug)]
pub(in crate::index) struct Searching {
    // It ends on the thread where it began.
    one_thread: PhantomData<*const ()>,
}

impl Drop for Searching {
    fn drop(&mut self) {
        // Searches end in reverse order.
        _ = SEARCHED.try_with(|searched| searched.borrow_mut().pop());
    }
}

impl Searching {
    /// Records that this thread searches `env`, until the result is dropped.
    pub(super) fn begin<T>(env: &T) -> Self {
        SEARCHED.with_borrow_mut(|searched| searched.push(std::ptr::from_ref(env).cast()));
        Self { one_thread: PhantomData }
    }
}

/// Whether this thread is searching `env`.
pub(super) fn is_searched_here<T>(env: &T) -> bool {
    SEARCHED.with_borrow(|searched| searched.contains(&std::ptr::from_ref(env).cast()))
}
