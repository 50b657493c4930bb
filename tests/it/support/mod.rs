//! What several tests share.

pub mod clock;
