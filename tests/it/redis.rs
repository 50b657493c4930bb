//! Against real Redis servers: how they are reached, what happens while they are away, and which
//! of them are refused.

mod checks;
mod connection;
mod failover;
mod histories;
mod pushes;
