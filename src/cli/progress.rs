//! How far something is that takes long: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bulk::import::Progress;

/// Between two lines where there is no terminal.
const BETWEEN: Duration = Duration::from_secs(5);

/// Shows how far something is, on the error output. Clones are one bar.
#[derive(Clone)]
pub struct Bar(Option<Arc<Shown>>);

struct Shown {
    bar: ProgressBar,
    is_terminal: bool,
    started: Mutex<Option<Start>>,
}

/// When it began, where it was then, and when a line was printed last.
#[derive(Clone, Copy)]
struct Start {
    at: Instant,
    done: u64,
    read: u64,
    printed: Instant,
}

impl Bar {
    /// Shows nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Shows it.
    pub fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  about {eta} left") {
            bar.set_style(style);
        }
        Self(Some(Arc::new(Shown { bar, is_terminal, started: Mutex::new(None) })))
    }

    /// Shows how far it is.
    pub fn show(&self, progress: Progress) {
        let Some(shown) = &self.0 else { return };
        let now = Instant::now();
        let mut started = shown.started.lock().unwrap_or_else(PoisonError::into_inner);
        let start = started.get_or_insert(Start {
            at: now,
            // An import that goes on has a rate of its own.
            done: progress.done,
            read: progress.counts.read,
            printed: now,
        });
        let seconds = now.duration_since(start.at).as_secs_f64();
        let share = |part: u64| part as f64 / seconds.max(1e-3);
        let rate = share(progress.counts.read - start.read);
        let text = format!("{} read, {} rejected, {rate:.0}/s", progress.counts.read, progress.counts.rejected);
        shown.bar.set_length(progress.size);
        shown.bar.set_position(progress.done);
        shown.bar.set_message(text.clone());
        if !shown.is_terminal && now.duration_since(start.printed) >= BETWEEN {
            start.printed = now;
            let left = progress.size.saturating_sub(progress.done) as f64 / share(progress.done - start.done).max(1e-3);
            let percent = 100 * progress.done / progress.size.max(1);
            eprintln!("{percent} %  {text}  about {left:.0} s left");
        }
    }

    /// Takes it away.
    pub fn end(&self) {
        if let Some(shown) = &self.0 {
            shown.bar.finish_and_clear();
        }
    }
}
