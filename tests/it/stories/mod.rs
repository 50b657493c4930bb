//! Stories: what the catalog looks like after something happened on GitHub.

mod disorder;
mod files;
mod kill;
mod lifecycle;
mod scanning;
mod trouble;
