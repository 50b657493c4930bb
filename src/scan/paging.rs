//! How many repositories a page asks for: fewer when GitHub chokes on it, more again later.
//!
//! GitHub ends a query after 10 s. How many repositories fit depends on how large they are and how
//! many files are looked up in each, so it is found out by asking.

/// Repositories per page at most: GitHub's own limit.
pub const PAGE_MAX: u32 = 100;

/// The smallest page that is tried: 100 halved four times. An account that GitHub cannot list by
/// six is one that GitHub is in trouble with.
pub const PAGE_MIN: u32 = 6;

/// Good pages after which twice as many are asked for: an account whose repositories are all
/// heavy costs one page in four at most.
const GROW_AFTER: u32 = 3;

/// The size of the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSize {
    size: u32,
    good: u32,
}

impl Default for PageSize {
    fn default() -> Self {
        Self::of(PAGE_MAX)
    }
}

impl PageSize {
    /// Starts at a size that was found out before.
    pub(super) fn of(size: u32) -> Self {
        Self { size: size.clamp(PAGE_MIN, PAGE_MAX), good: 0 }
    }

    /// The size now.
    pub(super) const fn get(self) -> u32 {
        self.size
    }

    /// A page of this size came.
    pub(super) fn answered(&mut self) {
        self.good += 1;
        if self.good >= GROW_AFTER && self.size < PAGE_MAX {
            *self = Self::of(self.size * 2);
        }
    }

    /// This size was too much. Whether there is a smaller one to try.
    pub(super) fn refused(&mut self) -> bool {
        let may_shrink = self.size > PAGE_MIN;
        *self = Self::of(self.size / 2);
        may_shrink
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_halves_down_to_the_smallest_and_doubles_after_three_good_ones() {
        let mut page = PageSize::default();
        let mut sizes = vec![page.get()];
        while page.refused() {
            sizes.push(page.get());
        }
        assert_eq!(sizes, [100, 50, 25, 12, 6]);
        let mut grown = Vec::new();
        for _ in 0..16 {
            page.answered();
            grown.push(page.get());
        }
        assert_eq!(grown, [6, 6, 12, 12, 12, 24, 24, 24, 48, 48, 48, 96, 96, 96, 100, 100]);
        page.refused();
        page.answered();
        page.answered();
        page.refused();
        assert_eq!(page.get(), 25, "good pages before a bad one do not count");
        assert_eq!(PageSize::of(0).get(), PAGE_MIN);
    }
}
