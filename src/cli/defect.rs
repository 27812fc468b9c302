//! What is told of a defect of the program itself.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// From now on a panic is told like everything else: where it happened, and what only if that is a text of the program
/// itself. A text that was put together may carry what was being handled, and so a patient's name.
pub fn tell_defects() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let what = text(panic.payload());
    if tracing::dispatcher::has_been_set() {
        tracing::error!(at, what, "a defect of the program");
    } else {
        eprintln!("error: a defect of the program at {at}: {what}");
    }
    // Names of functions and files, where RUST_BACKTRACE asks for them.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        eprintln!("{backtrace}");
    }
}

fn text(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(its text may name a patient and is not told)")
}
