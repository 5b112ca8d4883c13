//! A barrier that spins, and that breaks when one of its threads is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Where `ranks` threads wait for each other. [`std::sync::Barrier`] puts threads to sleep, which costs more
/// than a small message, and waits for ever for one that has died.
#[derive(Debug)]
pub(super) struct Barrier {
    ranks: usize,
    spins: u32,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    broken: AtomicBool,
}

/// A thread of the group has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Barrier {
    /// A barrier for `ranks` threads on `cores` cores.
    pub fn new(ranks: usize, cores: usize) -> Self {
        // Spinning would keep a core from those who are still to come where there are more threads than cores.
        let spins = if ranks <= cores { 100 } else { 0 };
        Barrier {
            ranks,
            spins,
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Waits until all have come. What each wrote before it, all see after it.
    ///
    /// # Errors
    /// When a thread of the group has died, or dies while this one waits.
    pub fn wait(&self) -> Result<(), Broken> {
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.ranks {
            self.arrived.store(0, Ordering::Relaxed);
            self.generation.store(generation.wrapping_add(1), Ordering::Release);
        }
        let mut spins = 0;
        while self.generation.load(Ordering::Acquire) == generation {
            if self.broken.load(Ordering::Acquire) {
                return Err(Broken);
            }
            if spins < self.spins {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        if self.broken.load(Ordering::Acquire) { Err(Broken) } else { Ok(()) }
    }

    /// Breaks the barrier for good when what it returns is dropped by a thread that panics.
    pub fn guard(&self) -> Guard<'_> {
        Guard(self)
    }
}

/// See [`Barrier::guard`].
#[derive(Debug)]
pub(super) struct Guard<'a>(&'a Barrier);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Barrier, Broken};

    #[test]
    fn all_come_before_any_goes() {
        let barrier = Barrier::new(5, 2);
        let came = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    for round in 1..=100 {
                        came.fetch_add(1, Ordering::Relaxed);
                        barrier.wait().unwrap();
                        assert_eq!(came.load(Ordering::Relaxed), 5 * round);
                        barrier.wait().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn a_lost_thread_does_not_hold_the_others() {
        let barrier = Barrier::new(3, 2);
        std::thread::scope(|scope| {
            let waiting = [(); 2].map(|()| scope.spawn(|| barrier.wait()));
            let lost = scope.spawn(|| {
                let _guard = barrier.guard();
                std::panic::resume_unwind(Box::new("lost")); // a panic without its message
            });
            assert!(lost.join().is_err());
            assert_eq!(waiting.map(|thread| thread.join().unwrap()), [Err(Broken), Err(Broken)]);
        });
    }
}
