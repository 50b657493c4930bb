//! The App of the tests: an id and keys that protect nothing.

/// The App's id.
pub const APP: u64 = 4711;

/// Its private key, in PEM.
pub const KEY: &str = include_str!("../../../fixtures/github-app/key-for-tests.pem");

/// Its public key, which the fake GitHub checks signatures with.
pub const PUBLIC_KEY: &str = include_str!("../../../fixtures/github-app/key-for-tests.pub.pem");

/// A key that is not its own.
pub const WRONG_KEY: &str = include_str!("../../../fixtures/github-app/another-key-for-tests.pem");
