//! Sets of entities by number: the kept ones of an index, and those that a query works out.
//!
//! A `Posting` is kept and shared between snapshots: to add or remove a number copies little,
//! whether it holds one entity or all of them. A [`Set`] belongs to one query: a bit an entity.

use std::sync::Arc;

/// Numbers that are kept as a list; more of them are kept as bits. A list of this size is copied
/// within a microsecond, and spread bits take no more than it.
const LIST_MAX: usize = 256;

/// Words of 64 bits in a piece, the part that a change copies.
const PIECE_WORDS: usize = 16;

const PIECE_BITS: usize = PIECE_WORDS * 64;

type Piece = Arc<[u64; PIECE_WORDS]>;

/// How many numbers are kept without an allocation: as many as make a posting no larger than its
/// other forms do. Most of what entities have only one of them has, or two: a catalog file's
/// entity and the Location that stands for the file.
const INLINE_MAX: usize = 3;

/// Which entities have something in common; never empty. Takes 16 bytes and what it points to.
#[derive(Clone, Debug)]
pub(super) enum Posting {
    /// Sorted, the first `len` of them.
    Inline {
        len: u8,
        numbers: [u32; INLINE_MAX],
    },
    /// Sorted.
    Few(Arc<Vec<u32>>),
    Many(Arc<Bits>),
}

#[derive(Clone, Debug)]
pub(super) struct Bits {
    len: usize,
    pieces: Vec<Option<Piece>>,
}

impl Posting {
    /// Only this number.
    pub(super) fn one(number: u32) -> Self {
        Self::Inline { len: 1, numbers: [number, 0, 0] }
    }

    /// These sorted numbers, at most [`LIST_MAX`].
    fn of(sorted: &[u32]) -> Self {
        if sorted.len() > INLINE_MAX {
            return Self::Few(Arc::new(sorted.to_vec()));
        }
        let mut numbers = [0; INLINE_MAX];
        numbers[..sorted.len()].copy_from_slice(sorted);
        Self::Inline { len: sorted.len() as u8, numbers }
    }

    /// Adds a number.
    pub(super) fn insert(&mut self, number: u32) {
        match self {
            Self::Inline { len, numbers } => {
                let held = usize::from(*len);
                let Err(at) = numbers[..held].binary_search(&number) else { return };
                if held < INLINE_MAX {
                    numbers.copy_within(at..held, at + 1);
                    numbers[at] = number;
                    *len += 1;
                    return;
                }
                let mut grown = numbers.to_vec();
                grown.insert(at, number);
                *self = Self::of(&grown);
            }
            Self::Few(list) => {
                let Err(at) = list.binary_search(&number) else { return };
                if list.len() < LIST_MAX {
                    Arc::make_mut(list).insert(at, number);
                    return;
                }
                let mut bits = Bits { len: 0, pieces: Vec::new() };
                list.iter().chain([&number]).for_each(|number| bits.insert(*number));
                *self = Self::Many(Arc::new(bits));
            }
            Self::Many(bits) => Arc::make_mut(bits).insert(number),
        }
    }

    /// Removes a number; answers whether none is left, and then is of no more use.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        match self {
            Self::Inline { len, numbers } => {
                let held = usize::from(*len);
                if let Ok(at) = numbers[..held].binary_search(&number) {
                    numbers.copy_within(at + 1..held, at);
                    *len -= 1;
                }
                *len == 0
            }
            Self::Few(list) => {
                let Ok(at) = list.binary_search(&number) else { return false };
                let list = Arc::make_mut(list);
                list.remove(at);
                if list.len() <= INLINE_MAX {
                    *self = Self::of(&list.clone());
                }
                false
            }
            Self::Many(bits) => {
                let bits = Arc::make_mut(bits);
                bits.remove(number);
                // Half, so that a set of about this size does not change its form all the time.
                if bits.len <= LIST_MAX / 2 {
                    let mut kept = Vec::with_capacity(bits.len);
                    bits.for_each(|number| kept.push(number));
                    *self = Self::Few(Arc::new(kept));
                }
                false
            }
        }
    }

    /// How many it holds.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Inline { len, .. } => usize::from(*len),
            Self::Few(list) => list.len(),
            Self::Many(bits) => bits.len,
        }
    }

    /// How many of it are in `set`.
    pub(super) fn len_within(&self, set: &Set) -> usize {
        let within = |list: &[u32]| list.iter().filter(|number| set.contains(**number)).count();
        match self {
            Self::Inline { len, numbers } => within(&numbers[..usize::from(*len)]),
            Self::Few(list) => within(list),
            Self::Many(bits) => {
                let words = |(at, piece): (usize, &Option<Piece>)| {
                    let words = set.words.get(at * PIECE_WORDS..).unwrap_or_default();
                    let piece = piece.iter().flat_map(|piece| piece.iter());
                    piece.zip(words).map(|(a, b)| (a & b).count_ones() as usize).sum::<usize>()
                };
                bits.pieces.iter().enumerate().map(words).sum()
            }
        }
    }

    /// Calls `each` with every number, in order.
    pub(super) fn for_each(&self, each: impl FnMut(u32)) {
        match self {
            Self::Inline { len, numbers } => {
                numbers[..usize::from(*len)].iter().copied().for_each(each);
            }
            Self::Few(list) => list.iter().copied().for_each(each),
            Self::Many(bits) => bits.for_each(each),
        }
    }
}

impl Bits {
    fn word(&mut self, number: u32) -> (&mut u64, u64) {
        let (piece, bit) = (number as usize / PIECE_BITS, number as usize % PIECE_BITS);
        if self.pieces.len() <= piece {
            self.pieces.resize(piece + 1, None);
        }
        let piece = self.pieces[piece].get_or_insert_with(|| Arc::new([0; PIECE_WORDS]));
        (&mut Arc::make_mut(piece)[bit / 64], 1 << (bit % 64))
    }

    fn insert(&mut self, number: u32) {
        let (word, bit) = self.word(number);
        let is_new = *word & bit == 0;
        *word |= bit;
        self.len += usize::from(is_new);
    }

    fn remove(&mut self, number: u32) {
        let (word, bit) = self.word(number);
        let is_there = *word & bit != 0;
        *word &= !bit;
        self.len -= usize::from(is_there);
    }

    fn for_each(&self, mut each: impl FnMut(u32)) {
        for (at, piece) in self.pieces.iter().enumerate() {
            for (index, word) in piece.iter().flat_map(|piece| piece.iter()).enumerate() {
                each_bit(*word, at * PIECE_BITS + index * 64, &mut each);
            }
        }
    }
}

fn each_bit(mut word: u64, base: usize, each: &mut impl FnMut(u32)) {
    while word != 0 {
        let number = base + word.trailing_zeros() as usize;
        each(u32::try_from(number).expect("numbers of entities are u32"));
        word &= word - 1;
    }
}

/// A set of entities of one view, a bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    words: Vec<u64>,
    /// The one kind, in lower case, that all of them are known to be of.
    kind: Option<Box<str>>,
}

impl Set {
    /// Nothing, with room for numbers below `numbers`.
    pub(super) fn empty(numbers: usize) -> Self {
        Self { words: vec![0; numbers.div_ceil(64)], kind: None }
    }

    /// The same set, all of which are of one kind.
    pub(super) fn of_kind(self, kind: Option<&str>) -> Self {
        Self { kind: kind.map(Into::into), ..self }
    }

    /// The one kind that all of them are known to be of.
    pub(super) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Adds a number that there is room for.
    pub(super) fn insert(&mut self, number: u32) {
        self.words[number as usize / 64] |= 1 << (number % 64);
    }

    /// Adds all of a posting.
    pub(super) fn add(&mut self, posting: &Posting) {
        match posting {
            Posting::Many(bits) => {
                for (at, piece) in bits.pieces.iter().enumerate() {
                    let Some(piece) = piece else { continue };
                    let words = self.words.iter_mut().skip(at * PIECE_WORDS);
                    words.zip(piece.iter()).for_each(|(word, more)| *word |= more);
                }
            }
            few => few.for_each(|number| self.insert(number)),
        }
    }

    /// Whether it holds a number.
    pub(super) fn contains(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Keeps what is in the other set too.
    pub(super) fn keep(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Adds what is in the other set.
    pub(super) fn merge(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Takes away what is in the other set.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// Calls `each` with every number, in order.
    pub(super) fn for_each(&self, mut each: impl FnMut(u32)) {
        for (index, word) in self.words.iter().enumerate() {
            each_bit(*word, index * 64, &mut each);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn numbers(posting: &Posting) -> Vec<u32> {
        let mut numbers = Vec::new();
        posting.for_each(|number| numbers.push(number));
        numbers
    }

    #[test]
    fn a_posting_holds_what_was_put_in_whatever_its_form() {
        for (seed, spread) in [(1, 40), (2, 700), (3, 5_000)] {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut expected = BTreeSet::from([7]);
            let mut posting = Posting::one(7);
            for step in 0..4_000 {
                let number = random.u32(0..spread);
                // Grows first, then shrinks.
                if random.u32(0..4_000) > step {
                    posting.insert(number);
                    expected.insert(number);
                } else if expected.len() > 1 || !expected.contains(&number) {
                    let before = posting.clone();
                    let held = numbers(&before);
                    assert!(!posting.remove(number));
                    assert_eq!(numbers(&before), held, "a snapshot does not change");
                    expected.remove(&number);
                }
                assert_eq!(posting.len(), expected.len());
            }
            assert_eq!(numbers(&posting), expected.iter().copied().collect::<Vec<_>>());
            let mut set = Set::empty(spread as usize);
            (0..spread).step_by(3).for_each(|number| set.insert(number));
            let within = expected.iter().filter(|number| *number % 3 == 0).count();
            assert_eq!(posting.len_within(&set), within);
            let mut all = Set::empty(spread as usize);
            all.add(&posting);
            assert_eq!(all.len(), expected.len());
            all.keep(&set);
            assert_eq!(all.len(), within);
        }
    }

    #[test]
    fn the_last_number_leaves_nothing() {
        let mut posting = Posting::one(3);
        posting.insert(3);
        assert!(!posting.remove(4));
        assert!(posting.remove(3));
    }
}
