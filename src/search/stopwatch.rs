//! Real time, for the tool itself: speeds and time limits. No run ever sees it.

use std::time::{Duration, Instant};

/// Measures real time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the speed of the tool itself is measured in real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

/// Clock ticks per second in `/proc`: Linux has shown 100 to programs on every platform since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time that this process has used; `None` where `/proc` does not tell.
pub fn cpu_seconds() -> Option<f64> {
    parse_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// User and system time from a `/proc/…/stat`: the 14th and 15th field, counted behind the name, which may hold anything.
fn parse_stat(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// The most memory that this process has had resident, in bytes; `None` where `/proc` does not tell.
pub fn memory_bytes_max() -> Option<u64> {
    parse_status(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_status(status: &str) -> Option<u64> {
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(most.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_spaces() {
        let stat = "17 (a ) name) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(parse_stat(stat), Some(3.0));
        assert_eq!(parse_stat("17 (cut"), None);
    }

    #[test]
    fn peak_memory_is_read_by_its_name() {
        assert_eq!(parse_status("VmPeak:\t  9 kB\nVmHWM:\t  12345 kB\nVmRSS:\t 1 kB\n"), Some(12_641_280));
        assert_eq!(parse_status("VmPeak:\t  9 kB\n"), None);
    }
}
