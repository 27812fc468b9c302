//! Work that goes on to its end even if whoever waits for it goes away.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

/// What a panic left of the work.
pub type Panicked = Box<dyn Any + Send>;

/// Work that is done where it is waited for, as long as somebody waits, and by a task of its own from then on.
///
/// A task from the beginning would do the same, but each piece of a request would wake it on the way in, and it its
/// connection on the way out, often on another processor.
pub struct ToTheEnd<T: Send + 'static>(Option<BoxFuture<'static, Result<T, Panicked>>>);

impl<T: Send + 'static> ToTheEnd<T> {
    /// Work to be waited for. A panic ends it and nothing else; nothing that it leaves half-done is looked at again.
    pub fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(AssertUnwindSafe(work).catch_unwind().boxed()))
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Without a runtime the program is ending, and nothing goes on.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_is_done_where_it_is_waited_for() {
        let here = tokio::task::try_id();
        assert_eq!(ToTheEnd::new(async { tokio::task::try_id() }).await.unwrap(), here);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_goes_on() {
        let (go_on, told) = oneshot::channel();
        let (done, outcome) = oneshot::channel();
        let mut work = ToTheEnd::new(async move {
            told.await.unwrap();
            done.send("done").unwrap();
        });
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        go_on.send(()).unwrap();
        assert_eq!(outcome.await.unwrap(), "done");
    }

    #[tokio::test]
    async fn a_panic_is_told() {
        let defect = async { [1].get(1).copied().unwrap() };
        assert!(ToTheEnd::new(defect).await.is_err());
    }

    #[test]
    fn without_a_runtime_work_is_dropped() {
        let (done, mut outcome) = oneshot::channel::<()>();
        drop(ToTheEnd::new(async move { done.send(()).is_ok() }));
        assert!(matches!(outcome.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }
}
