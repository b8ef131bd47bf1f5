//! Which environments the current thread is in the middle of searching: a closure that a search
//! calls must not wait for that search to end.

use std::cell::RefCell;
use std::marker::PhantomData;

thread_local! {
    /// The environments in which this thread is in the middle of a search, one for each search.
    static SEARCHED: RefCell<Vec<*const ()>> = const { RefCell::new(Vec::new()) };
}

/// A search of this thread, until it is dropped.
#[derive(Debug)]
pub(in crate::index) struct Searching {
    // It ends where it began.
    one_thread: PhantomData<*const ()>,
}

impl Drop for Searching {
    fn drop(&mut self) {
        // They end in the order in which they began, the last first.
        _ = SEARCHED.try_with(|searched| searched.borrow_mut().pop());
    }
}

impl Searching {
    /// Says that this thread searches `env`, until it is dropped.
    pub(super) fn begin<T>(env: &T) -> Self {
        SEARCHED.with_borrow_mut(|searched| searched.push(std::ptr::from_ref(env).cast()));
        Self { one_thread: PhantomData }
    }
}

/// Whether this thread is in the middle of searching `env`.
pub(super) fn is_searched_here<T>(env: &T) -> bool {
    SEARCHED.with_borrow(|searched| searched.contains(&std::ptr::from_ref(env).cast()))
}
