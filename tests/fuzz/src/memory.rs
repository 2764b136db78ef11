//! How much memory a thread takes: the allocator of every program that is fuzzed counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// What this thread has taken and not given back, and the most that it ever was, in bytes.
    /// Memory that another thread frees makes the first too large or negative: it is only ever
    /// compared with itself.
    static USED: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    // Past a thread's end there is nothing to count in.
    let _ = USED.try_with(|used| {
        let (now, most) = used.get();
        used.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing, for
// USED is a constant at first and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `memory` came from `alloc` or `realloc` above, and so from the system's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Measures from its start.
pub struct Peak(isize);

impl Peak {
    pub fn start() -> Self {
        let (now, _) = USED.get();
        USED.set((now, now));
        Peak(now)
    }

    /// The most that was taken at one time since then.
    pub fn bytes(&self) -> usize {
        usize::try_from(USED.get().1 - self.0).unwrap_or_default()
    }
}
