//! Who reads which repository right now: a test of several processes, each with a token of its
//! own, asks whether two calls ever read the same one at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most overlaps that are remembered: the first ones say what is wrong.
const OVERLAPS_MAX: usize = 100;

/// Two calls that read the same repository at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The repository.
    pub node_id: String,
    /// Whose call came first.
    pub earlier: String,
    /// Whose call came while that was not answered yet.
    pub later: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Readings(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    now: HashMap<String, Vec<String>>,
    overlaps: Vec<Overlap>,
}

/// A call that reads; it ends when this is dropped: with the answer's last byte, or when the
/// client has gone.
#[derive(Debug)]
pub(crate) struct Reading {
    readings: Readings,
    node_ids: Vec<String>,
    token: String,
}

impl Readings {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, node_ids: Vec<String>, token: &str) -> Reading {
        let mut inner = self.lock();
        for node_id in &node_ids {
            let readers = inner.now.entry(node_id.clone()).or_default();
            let earlier = readers.first().cloned();
            readers.push(token.to_owned());
            if let Some(earlier) = earlier
                && inner.overlaps.len() < OVERLAPS_MAX
            {
                let (node_id, later) = (node_id.clone(), token.to_owned());
                inner.overlaps.push(Overlap { node_id, earlier, later });
            }
        }
        Reading { readings: self.clone(), node_ids, token: token.to_owned() }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut inner = self.readings.lock();
        for node_id in &self.node_ids {
            let Some(readers) = inner.now.get_mut(node_id) else { continue };
            if let Some(at) = readers.iter().position(|reader| *reader == self.token) {
                readers.swap_remove(at);
            }
            if readers.is_empty() {
                inner.now.remove(node_id);
            }
        }
    }
}

impl crate::World {
    /// Calls by `nodes` that read the same repository at the same time, by their tokens.
    pub fn overlaps(&self) -> Vec<Overlap> {
        self.lock().readings.lock().overlaps.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaps(readings: &Readings) -> usize {
        readings.lock().overlaps.len()
    }

    #[test]
    fn an_overlap_is_of_the_same_repository_at_the_same_time() {
        let readings = Readings::default();
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let first = readings.begin(ids(&["a", "b"]), "one");
        drop(readings.begin(ids(&["c"]), "two"));
        assert_eq!(overlaps(&readings), 0);
        drop(readings.begin(ids(&["b"]), "two"));
        assert_eq!(overlaps(&readings), 1);
        drop(first);
        drop(readings.begin(ids(&["a", "b"]), "two"));
        assert_eq!(overlaps(&readings), 1);
        assert!(readings.lock().now.is_empty());
    }
}
