//! The same stories on another storage: what a story's stages are opened on.

use std::cell::Cell;

thread_local! {
    /// Whether stages that this thread opens keep their state in a Redis.
    static ON_REDIS: Cell<bool> = const { Cell::new(false) };
}

/// Whether a stage that is opened now belongs on a Redis.
pub fn is_on_redis() -> bool {
    ON_REDIS.get()
}

/// Plays a story with its stages on a Redis. The story runs on this thread: that is what
/// `#[tokio::test]` makes of it.
pub fn on_redis(story: fn()) {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            ON_REDIS.set(false);
        }
    }
    ON_REDIS.set(true);
    let _back = Back;
    story();
}

/// Plays stories of the surrounding module a second time, on a Redis each.
macro_rules! again_on_redis {
    ($($story:ident),+ $(,)?) => {
        mod on_redis {
            $(
                #[test]
                fn $story() {
                    crate::support::on_redis::on_redis(super::$story);
                }
            )+
        }
    };
}
pub(crate) use again_on_redis;
