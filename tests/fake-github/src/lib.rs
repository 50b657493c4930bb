//! A strict stand-in for GitHub.
