//! One question for all who want to know: a call to GitHub whose answer everybody who waits gets.
//!
//! Whoever may have an answer to a question that is under way [joins](Flights::join) it. Whoever
//! needs an answer that is no older than his own asking [joins the next](Flights::join_next), which
//! begins when the one under way has ended; however many they are, it is one more call. Nothing is
//! kept of an answer here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

/// A question that is asked, or will be.
type Flight<T> = Shared<BoxFuture<'static, T>>;

struct State<T: Clone> {
    under_way: Option<Flight<T>>,
    /// Not begun.
    next: Option<Flight<T>>,
}

/// The askings of one question.
pub(super) struct Flights<T: Clone>(Arc<Mutex<State<T>>>);

impl<T: Clone> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { under_way: None, next: None })))
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// The answer to the question under way, else to `ask`.
    pub(super) fn join(&self, ask: impl Future<Output = T> + Send + 'static) -> Flight<T> {
        let under_way = {
            let state = lock(&self.0);
            state.next.clone().or_else(|| state.under_way.clone())
        };
        under_way.unwrap_or_else(|| self.join_next(ask))
    }

    /// The answer to a question that begins no earlier than now.
    pub(super) fn join_next(&self, ask: impl Future<Output = T> + Send + 'static) -> Flight<T> {
        let mut state = lock(&self.0);
        if let Some(next) = &state.next {
            return next.clone();
        }
        let (before, shared) = (state.under_way.clone(), self.0.clone());
        let flight = async move {
            if let Some(before) = before {
                before.await;
            }
            {
                let mut state = lock(&shared);
                state.under_way = state.next.take();
            }
            let answer = ask.await;
            lock(&shared).under_way = None;
            answer
        };
        let flight = flight.boxed().shared();
        state.next = Some(flight.clone());
        flight
    }
}

fn lock<T: Clone>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn who_joins_gets_the_answer_under_way_and_who_needs_a_later_one_the_next() {
        let (flights, asked, go) = (Flights::default(), Arc::new(AtomicU32::new(0)), Notify::new());
        let go = Arc::new(go);
        let ask = || {
            let (asked, go) = (asked.clone(), go.clone());
            async move {
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                go.notified().await;
                number
            }
        };
        let first = flights.join(ask());
        assert!(first.clone().now_or_never().is_none(), "it has begun and waits");
        let joined = flights.join(ask());
        let later: Vec<_> = (0..3).map(|_| flights.join_next(ask())).collect();
        go.notify_one();
        assert_eq!((first.await, joined.await), (1, 1));
        go.notify_one();
        assert_eq!(join_all(later).await, [2, 2, 2]);
        go.notify_one();
        assert_eq!(flights.join(ask()).await, 3, "nothing is kept");
    }
}
