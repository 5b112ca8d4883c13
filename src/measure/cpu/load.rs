//! What this process gets of the cores, and how fast they run.

use std::fs;
use std::time::Duration;

use crate::measure::Clock;
use crate::units::Seconds;

/// Steps of the loop that shows the clock: about a millisecond of it.
const STEPS: u32 = 1 << 18;

/// Looks at the clock, the fastest of which counts: an interrupt only makes it seem slower.
const LOOKS: usize = 3;

/// What the names of threads that are ranks begin with.
pub(super) const RANK: &str = "rank ";

/// Core time that all threads of this process have had, over the number of cores.
#[derive(Clone, Copy, Debug)]
pub(super) struct CoreClock {
    cores: usize,
}

impl CoreClock {
    /// A clock of so many cores; none where the system does not tell.
    pub fn new(cores: usize) -> Option<Self> {
        clock(Whose::Process).map(|_| CoreClock { cores: cores.max(1) })
    }
}

impl Clock for CoreClock {
    fn now(&self) -> Duration {
        let seconds = clock(Whose::Process).unwrap_or(0.0) / self.cores as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

/// Time for which threads of this process were ready to run and had no core, over `cores`. Ranks are left out: where
/// there are more of them than cores they wait for each other.
pub(super) fn waited(cores: usize) -> Option<Seconds> {
    let of = |thread: fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).ok();
        if read("comm")?.starts_with(RANK) { None } else { waited_nanoseconds(&read("schedstat")?) }
    };
    let threads = fs::read_dir("/proc/self/task").ok()?.flatten();
    let waited: u64 = threads.filter_map(of).sum();
    Seconds::new(waited as f64 * 1e-9 / cores.max(1) as f64).ok()
}

/// The second of three numbers, as Linux writes them: time on a core, time waiting for one, times it got one.
fn waited_nanoseconds(text: &str) -> Option<u64> {
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Steps a second of a chain of multiplications, each of which waits for the one before: nothing but the clock of
/// the core decides it.
pub(super) fn pace() -> Option<f64> {
    let look = |_| {
        let begun = clock(Whose::Thread)?;
        let mut x = std::hint::black_box(1_u64);
        for _ in 0..STEPS {
            x = std::hint::black_box(x.wrapping_mul(0x5851_f42d_4c95_7f2d));
        }
        let seconds = clock(Whose::Thread)? - begun;
        (seconds > 0.0).then(|| f64::from(STEPS) / seconds)
    };
    (0..LOOKS).filter_map(look).reduce(f64::max)
}

#[derive(Clone, Copy)]
enum Whose {
    Process,
    Thread,
}

/// Core time in seconds.
#[cfg(unix)]
fn clock(whose: Whose) -> Option<f64> {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(match whose {
        Whose::Process => ClockId::ProcessCPUTime,
        Whose::Thread => ClockId::ThreadCPUTime,
    });
    Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

#[cfg(not(unix))]
const fn clock(_: Whose) -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::waited_nanoseconds;

    #[test]
    fn schedstat_as_linux_writes_it() {
        assert_eq!(waited_nanoseconds("1203456 789 12\n"), Some(789));
        assert_eq!(waited_nanoseconds("1203456"), None);
    }
}
