//! The steps done to a folder of indexes, as numbers: a step follows from the seed and its number,
//! so that the parent knows what a child does without being told, and one seed repeats the same
//! steps.
//!
//! An item is a number and a version, and its vector follows from both: a state is small, and no
//! two of its vectors are equal. A step is one commit or several; [`Step::stages`] are the states
//! after each of them. LMDB is not used here, but in `world`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use voisin::Codes;

/// Enough that a vector is not stored inline and that a block holds some hundred of them.
pub(crate) const DIMENSIONS: usize = 48;
/// Item numbers are below this: about half of the items exist at a time.
const ITEMS: u32 = 2500;
/// Spreads the seeds of neighboring steps and items.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// Items by number, with their versions.
pub(crate) type Items = BTreeMap<u32, u64>;

/// The vector of an item.
pub(crate) fn vector(item: u32, version: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(version.wrapping_mul(MIX) ^ u64::from(item));
    (0..DIMENSIONS).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The key of an item in the index with keys. Keys are in the order of the numbers.
pub(crate) fn key(item: u32) -> String {
    format!("text {item:08}")
}

/// One of the indexes of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Euclidean, items by id.
    Plain,
    /// Cosine, items by key, sometimes with codes.
    Texts,
    /// Euclidean, created and removed again and again.
    Spare,
}

impl Which {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Texts, Self::Spare];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Texts => "texts",
            Self::Spare => "spare",
        }
    }
}

/// The contents of the indexes of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    plain: Items,
    texts: Items,
    spare: Option<Items>,
}

impl State {
    /// `None` if the index does not exist.
    pub(crate) fn items(&self, which: Which) -> Option<&Items> {
        match which {
            Which::Plain => Some(&self.plain),
            Which::Texts => Some(&self.texts),
            Which::Spare => self.spare.as_ref(),
        }
    }

    /// The items of an index, which is created if it does not exist.
    fn items_mut(&mut self, which: Which) -> &mut Items {
        match which {
            Which::Plain => &mut self.plain,
            Which::Texts => &mut self.texts,
            Which::Spare => self.spare.get_or_insert_default(),
        }
    }

    fn changed(&self, which: Which, changes: &[(u32, Option<u64>)]) -> Self {
        let mut after = self.clone();
        let items = after.items_mut(which);
        for (item, version) in changes {
            match version {
                Some(version) => _ = items.insert(*item, *version),
                None => _ = items.remove(item),
            }
        }
        after
    }

    /// The name of each existing index, its number of items, and a hash of them: what an
    /// examination of the folder must find.
    pub(crate) fn contents(&self) -> Vec<Contents> {
        let contents = |which: Which| {
            let mut hash = ContentsHasher::default();
            for (item, version) in self.items(which)? {
                match which {
                    Which::Texts => hash.add(&key(*item), &vector(*item, *version)),
                    _ => hash.add(item, &vector(*item, *version)),
                }
            }
            Some(hash.finish(which.name()))
        };
        Which::ALL.into_iter().filter_map(contents).collect()
    }
}

/// The contents of one index: its name, the number of its items, a hash of keys and vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) name: String,
    pub(crate) items: u64,
    pub(crate) hash: u64,
}

/// Hashes items in the order of their keys, vectors bit for bit.
#[derive(Debug, Default)]
pub(crate) struct ContentsHasher {
    items: u64,
    hasher: DefaultHasher,
}

impl ContentsHasher {
    pub(crate) fn add(&mut self, key: &(impl Hash + ?Sized), vector: &[f32]) {
        self.items += 1;
        key.hash(&mut self.hasher);
        vector.iter().for_each(|component| component.to_bits().hash(&mut self.hasher));
    }

    pub(crate) fn finish(self, name: &str) -> Contents {
        Contents { name: name.to_owned(), items: self.items, hash: self.hasher.finish() }
    }
}

/// One call of a program.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// One batch; `None` deletes.
    Write {
        to: Which,
        changes: Vec<(u32, Option<u64>)>,
        link_later: bool,
    },
    /// One batch that fails at its end, by an error or by a panic.
    Abort {
        to: Which,
        changes: Vec<(u32, Option<u64>)>,
        panics: bool,
    },
    Load {
        to: Which,
        items: Vec<(u32, u64)>,
        commit_every: Option<usize>,
        optimize: bool,
    },
    Clear(Which),
    Link(Which),
    Optimize(Which),
    Rebuild(Which),
    Codes(Which, Option<Codes>),
    /// Makes a copy and compares it.
    Copy,
    /// Takes a snapshot, to be compared when it is dropped.
    Hold,
    LetGo,
    /// Removes the spare index.
    Remove,
}

impl Step {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(
            seed.wrapping_mul(MIX) ^ number.wrapping_mul(MIX.rotate_left(17)),
        );
        // Most of the work is in the index of ids.
        let to = [Which::Plain, Which::Plain, Which::Texts, Which::Spare][rng.random_range(0..4)];
        // The spare one may not exist, so it gets only the steps that can create it.
        let kept = if to == Which::Spare { Which::Texts } else { to };
        let changes = |rng: &mut StdRng| {
            let count = [1, 3, 40, 400][rng.random_range(0..4)];
            (0..count)
                .map(|_| (rng.random_range(0..ITEMS), rng.random_bool(0.6).then_some(number)))
                .collect()
        };
        match rng.random_range(0..100) {
            0..46 => {
                Self::Write { to, changes: changes(&mut rng), link_later: rng.random_bool(0.2) }
            }
            46..52 => {
                Self::Abort { to: kept, changes: changes(&mut rng), panics: rng.random_bool(0.5) }
            }
            52..66 => {
                let first = rng.random_range(0..ITEMS);
                let items = (first..first + [30, 300, 1200][rng.random_range(0..3)])
                    .map(|item| (item % ITEMS, number));
                let commit_every = rng.random_bool(0.5).then(|| rng.random_range(20..400));
                Self::Load {
                    to,
                    items: items.collect(),
                    commit_every,
                    optimize: rng.random_bool(0.2),
                }
            }
            66..68 => Self::Clear(kept),
            68..73 => Self::Link(kept),
            73..79 => Self::Optimize(kept),
            79..83 => Self::Rebuild(kept),
            83..88 => {
                let codes = [None, Some(Codes::Bits8), Some(Codes::Bits4), Some(Codes::Bits1)];
                Self::Codes(kept, codes[rng.random_range(0..4)])
            }
            88..90 => Self::Copy,
            90..94 => Self::Hold,
            94..97 => Self::LetGo,
            _ => Self::Remove,
        }
    }

    /// The states after each of its commits, in order: one, or one for each batch of a load.
    pub(crate) fn stages(&self, before: &State) -> Vec<State> {
        match self {
            Self::Write { to, changes, .. } => {
                // Creating an index is a commit of its own.
                let created = before.changed(*to, &[]);
                let after = created.changed(*to, changes);
                vec![created, after]
            }
            Self::Load { to, items, commit_every, .. } => {
                let mut stages = vec![before.changed(*to, &[])];
                for part in items.chunks(commit_every.unwrap_or(items.len())) {
                    let changes: Vec<_> =
                        part.iter().map(|(item, version)| (*item, Some(*version))).collect();
                    stages.push(stages[stages.len() - 1].changed(*to, &changes));
                }
                stages
            }
            Self::Clear(to) => {
                let mut after = before.clone();
                after.items_mut(*to).clear();
                vec![after]
            }
            Self::Remove => vec![State { spare: None, ..before.clone() }],
            _ => vec![before.clone()],
        }
    }

    /// The state after it.
    pub(crate) fn after(&self, before: &State) -> State {
        self.stages(before).pop().unwrap_or_else(|| before.clone())
    }
}
