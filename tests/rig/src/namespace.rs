//! The thread that lives in the host's namespaces.
//!
//! A thread may have a mount namespace of its own, and what it spawns starts there. So the
//! test needs no second program: it sends closures to this thread.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// A mount namespace, and a pid namespace for children, held by one thread.
pub struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A copy of the caller's mount namespace. The first process spawned inside is the pid
    /// namespace's init.
    pub fn unshare() -> Self {
        use nix::sched::{CloneFlags, unshare};

        let (jobs, inbox) = channel::<Job>();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
                .expect("can't unshare mount and pid namespaces (the rig needs root)");
            for job in inbox {
                job();
            }
        });
        Namespace { jobs: Some(jobs), thread: Some(thread) }
    }

    /// Runs `job` inside and returns what it returns. A panic inside is the caller's.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, outcome) = channel();
        let guarded: Job = Box::new(move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            // The caller waits for the answer; if it is gone, nobody wants it.
            let _ = answer.send(result);
        });
        self.jobs.as_ref().expect("namespace is open").send(guarded).expect("thread lives");
        match outcome.recv().expect("thread could not enter its namespaces") {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It ends with the channel; its own panics were handed to the caller.
            let _ = thread.join();
        }
    }
}
