//! Latencies, and what a process under load uses.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

/// Ticks of `/proc/PID/stat` in a second, which Linux has fixed for programs.
const TICKS: f64 = 100.0;

/// What one connection saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Microseconds of each answer that was right.
    pub latencies: Vec<u32>,
    /// Bytes of answers.
    pub bytes: u64,
    /// Exchanges that failed, by kind.
    pub errors: BTreeMap<String, u64>,
}

impl Seen {
    /// Counts an answer.
    pub fn answer(&mut self, took: Duration, bytes: u64) {
        self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.bytes += bytes;
    }

    /// Counts a failure.
    pub fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }

    /// Adds what another connection saw.
    pub fn merge(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.bytes += other.bytes;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
    }
}

/// Processor time and memory of processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds of processor time in user mode and in the kernel, of all processes together.
    pub cpu: f64,
    /// Resident kilobytes at the start.
    pub resident_before: u64,
    /// Resident kilobytes at the end.
    pub resident_after: u64,
    /// The most resident kilobytes that were seen in between.
    pub resident_most: u64,
}

/// Watches processes until it is asked.
pub struct Watch {
    processes: Vec<u32>,
    cpu: f64,
    before: u64,
    most: Arc<Mutex<u64>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching.
    pub fn start(processes: &[u32]) -> Self {
        let before = resident(processes);
        let (most, stop) = (Arc::new(Mutex::new(before)), Arc::new(AtomicBool::new(false)));
        let thread = (!processes.is_empty()).then(|| {
            let (processes, most, stop) = (processes.to_vec(), Arc::clone(&most), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let now = resident(&processes);
                    let mut most = most.lock().unwrap_or_else(PoisonError::into_inner);
                    *most = now.max(*most);
                    drop(most);
                    std::thread::sleep(Duration::from_millis(50));
                }
            })
        });
        Self { processes: processes.to_vec(), cpu: processor_seconds(processes), before, most, stop, thread }
    }

    /// Stops watching.
    pub fn stop(mut self) -> Usage {
        let cpu = processor_seconds(&self.processes) - self.cpu;
        let resident_after = resident(&self.processes);
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        let most = *self.most.lock().unwrap_or_else(PoisonError::into_inner);
        Usage { cpu, resident_before: self.before, resident_after, resident_most: most.max(resident_after) }
    }
}

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// What was measured.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// What was seen; sorted latencies.
    pub seen: Seen,
    /// What the server used.
    pub usage: Usage,
}

impl Report {
    /// Puts a result together.
    pub fn new(name: &str, took: Duration, mut seen: Seen, usage: Usage) -> Self {
        seen.latencies.sort_unstable();
        Self { name: name.to_owned(), seconds: took.as_secs_f64(), seen, usage }
    }

    /// Answers in a second.
    pub fn rate(&self) -> f64 {
        self.answers() / self.seconds.max(1e-9)
    }

    /// Microseconds that this share of the answers did not exceed.
    pub fn percentile(&self, share: f64) -> u32 {
        let latencies = &self.seen.latencies;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the list")]
        let at = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(at).copied().unwrap_or(0)
    }

    /// Microseconds of the server's processor time for an answer.
    pub fn cpu_micros(&self) -> f64 {
        self.usage.cpu * 1e6 / self.answers().max(1.0)
    }

    fn answers(&self) -> f64 {
        self.seen.latencies.len() as f64
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        json!({
            "name": self.name,
            "answers": self.seen.latencies.len(),
            "seconds": self.seconds,
            "rate": self.rate(),
            "p50_us": self.percentile(0.5),
            "p90_us": self.percentile(0.9),
            "p99_us": self.percentile(0.99),
            "max_us": self.percentile(1.0),
            "bytes": self.seen.bytes,
            "errors": self.seen.errors,
            "cpu_us": self.cpu_micros(),
            "cpu_seconds": self.usage.cpu,
            "resident_before_kb": self.usage.resident_before,
            "resident_after_kb": self.usage.resident_after,
            "resident_most_kb": self.usage.resident_most,
        })
        .to_string()
    }

    /// Some lines for a reader.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}: {} answers in {:.2} s, {:.0}/s; p50 {} us, p90 {} us, p99 {} us, max {} us; {:.1} MB",
            self.name,
            self.seen.latencies.len(),
            self.seconds,
            self.rate(),
            self.percentile(0.5),
            self.percentile(0.9),
            self.percentile(0.99),
            self.percentile(1.0),
            self.seen.bytes as f64 / 1e6,
        );
        if self.usage.resident_before > 0 {
            text.push_str(&format!(
                "\n  server: {:.1} us of CPU for an answer ({:.2} s), resident {} kB before, {} kB at most, {} kB after",
                self.cpu_micros(),
                self.usage.cpu,
                self.usage.resident_before,
                self.usage.resident_most,
                self.usage.resident_after,
            ));
        }
        for (kind, count) in &self.seen.errors {
            text.push_str(&format!("\n  {count} times: {kind}"));
        }
        text
    }
}

/// Seconds of processor time of the calling thread, to the nanosecond.
pub fn thread_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Seconds of processor time of processes.
pub fn processor_seconds(processes: &[u32]) -> f64 {
    let ticks = |process: &u32| {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name of the program, in brackets, may hold spaces. utime and stime are the 12th and 13th after it.
        let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
        after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>()
    };
    processes.iter().map(ticks).sum::<f64>() / TICKS
}

fn resident(processes: &[u32]) -> u64 {
    let of = |process: &u32| {
        let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
    };
    processes.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let mut seen = Seen::default();
        (1..=100).rev().for_each(|millis| seen.answer(Duration::from_millis(millis), 10));
        seen.error("refused");
        let report = Report::new("test", Duration::from_secs(2), seen, Usage::default());
        assert_eq!(
            (report.percentile(0.5), report.percentile(0.99), report.percentile(1.0)),
            (51_000, 100_000, 100_000)
        );
        assert!((report.rate() - 50.0).abs() < 1e-9);
        assert!(report.text().contains("1 times: refused") && report.json().contains("\"bytes\":1000"));
    }

    #[test]
    fn our_own_process_uses_memory_and_time() {
        let watch = Watch::start(&[std::process::id()]);
        let from = thread_seconds();
        let mut sum = 0_u64;
        while thread_seconds() - from < 0.05 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let usage = watch.stop();
        assert!(usage.cpu >= 0.02 && usage.resident_most > 100, "{usage:?}");
    }
}
