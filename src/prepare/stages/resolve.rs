//! Which documents are copies of others, and which of them go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::judge::{Judged, MAX_FILE, near_ending};
use super::sets::{CopySet, Member};
use super::work::write_whole;
use super::{DataError, Work};
use crate::documents::Document;
use crate::error::FileError;
use crate::fs::{open_regular, read_file};
use crate::prepare::minhash::Signer;
use crate::prepare::normalise;
use crate::random::Stream;

const STAGE: &str = "resolve";
/// Bytes of a document in a run: its key and its number.
const ENTRY: usize = 16 + 4;
/// Entries of a run that are read at once.
const AHEAD: usize = 4096;
/// Clusters above this are checked.
const LARGE: usize = 100;
/// Pairs of a large cluster that are compared.
const PAIRS: u64 = 50;
/// Median Jaccard similarity of its pairs below which a large cluster is left alone.
const LIKE: f64 = 0.7;

/// Largest sets of which the card shows documents.
const SHOWN: usize = 3;
/// How much of a document it shows [bytes].
const EXCERPT: usize = 300;

/// Why a document goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Copy {
    /// Another of the same words stays.
    Exact = 1,
    /// Another that is nearly the same stays.
    Near = 2,
    /// It is a copy, or nearly one, of a held-out document.
    HeldOut = 3,
}

impl Copy {
    /// Its name on the card.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exact => "copy",
            Self::Near => "near-copy",
            Self::HeldOut => "copy-of-held-out",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Copies {
    /// Sets of documents that are copies of each other.
    pub clusters: u64,
    /// Documents of the largest.
    pub largest: u64,
    /// Large clusters that were left alone, since their documents are not alike: documents, and median similarity.
    pub left_alone: Vec<(u64, f64)>,
    /// The largest sets, with documents of theirs.
    #[serde(default)]
    pub examples: Vec<CopySet>,
}

/// A document: its unit and its number there.
type Place = (u32, u32);

/// Documents that are joined.
#[derive(Default)]
struct Joined {
    parents: HashMap<Place, Place>,
}

impl Joined {
    fn root(&mut self, place: Place) -> Place {
        let mut root = place;
        while let Some(parent) = self.parents.get(&root).filter(|parent| **parent != root) {
            root = *parent;
        }
        let mut at = place;
        while at != root {
            at = self.parents.insert(at, root).unwrap_or(root);
        }
        root
    }

    fn join(&mut self, left: Place, right: Place) {
        let (left, right) = (self.root(left), self.root(right));
        let (low, high) = (left.min(right), left.max(right));
        self.parents.insert(low, low);
        self.parents.insert(high, low);
    }

    /// Every set, by its first document, its documents in order.
    fn sets(mut self) -> BTreeMap<Place, Vec<Place>> {
        let all: Vec<Place> = self.parents.keys().copied().collect();
        let mut out: BTreeMap<Place, Vec<Place>> = BTreeMap::new();
        for place in all {
            out.entry(self.root(place)).or_default().push(place);
        }
        for set in out.values_mut() {
            set.sort_unstable();
        }
        out
    }
}

/// A sorted run on disk. No file stays open, since there may be more runs than files may be.
struct Run {
    path: PathBuf,
    unit: u32,
    read: u64,
    entries: std::vec::IntoIter<(u128, u32)>,
}

impl Run {
    fn next(&mut self) -> Result<Option<(u128, u32)>, DataError> {
        if let Some(entry) = self.entries.next() {
            return Ok(Some(entry));
        }
        let failed = |e| FileError::new("read", &self.path)(e);
        let mut file = open_regular(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.read)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take((ENTRY * AHEAD) as u64).read_to_end(&mut bytes).map_err(failed)?;
        self.read += bytes.len() as u64;
        let entry = |b: &[u8; ENTRY]| {
            let (key, number) = b.split_at(16);
            let key = u128::from_le_bytes(key.try_into().expect("16 bytes"));
            (key, u32::from_le_bytes(number.try_into().expect("4 bytes")))
        };
        let entries: Vec<(u128, u32)> = bytes.as_chunks::<ENTRY>().0.iter().map(entry).collect();
        self.entries = entries.into_iter();
        Ok(self.entries.next())
    }
}

/// Calls `same` for every two neighbours of equal keys over all units.
fn merge(work: &Work, ending: &str, same: &mut dyn FnMut(Place, Place)) -> Result<(), DataError> {
    let across = work.recipe.dedup.across;
    let mut runs: Vec<Run> = (0..work.units.len())
        .map(|unit| Run {
            path: work.file("judge", unit, ending),
            unit: unit as u32,
            read: 0,
            entries: Vec::new().into_iter(),
        })
        .collect();
    let mut heap = BinaryHeap::new();
    for (i, run) in runs.iter_mut().enumerate() {
        heap.extend(run.next()?.map(|(key, number)| Reverse((key, run.unit, number, i))));
    }
    // The last document of the same key, in each domain.
    let mut last: (u128, BTreeMap<usize, Place>) = (0, BTreeMap::new());
    while let Some(Reverse((key, unit, number, i))) = heap.pop() {
        if key != last.0 {
            last = (key, BTreeMap::new());
        }
        let domain = if across { 0 } else { work.units[unit as usize].domain };
        if let Some(before) = last.1.insert(domain, (unit, number)) {
            same(before, (unit, number));
        }
        let run = &mut runs[i];
        heap.extend(run.next()?.map(|(key, number)| Reverse((key, run.unit, number, i))));
    }
    Ok(())
}

/// Finds copies and says which documents go: for each unit a file of numbers and reasons.
pub(super) fn all(work: &Work) -> Result<(), DataError> {
    let near = work.recipe.dedup.near.numbers();
    let mut exact = Joined::default();
    if work.recipe.dedup.exact {
        merge(work, "exact", &mut |left, right| exact.join(left, right))?;
    }
    let mut joined = Joined { parents: exact.parents.clone() };
    for bucket in 0..near.map_or(0, |near| near.buckets) {
        merge(work, &near_ending(bucket), &mut |left, right| joined.join(left, right))?;
    }
    let judged: Vec<Vec<Judged>> =
        (0..work.units.len()).map(|unit| Judged::all(work, unit)).collect::<Result<_, _>>()?;
    let mut copies = Copies::default();
    let mut sets: Vec<Vec<Place>> = joined.sets().into_values().collect();
    if let Some(near) = near {
        sets = checked(work, &Signer::new(near), sets, &mut exact, &mut copies)?;
    }
    let mut drop: Vec<Vec<(u32, Copy)>> = vec![Vec::new(); work.units.len()];
    for set in &sets {
        copies.clusters += 1;
        copies.largest = copies.largest.max(set.len() as u64);
        for (place, why) in goes(work, &judged, set, &mut exact) {
            drop[place.0 as usize].push((place.1, why));
        }
    }
    for (unit, mut drop) in drop.into_iter().enumerate() {
        drop.sort_unstable();
        let bytes: Vec<u8> = drop
            .into_iter()
            .flat_map(|(number, why)| number.to_le_bytes().into_iter().chain([why as u8]))
            .collect();
        write_whole(&work.file(STAGE, unit, "copies"), &bytes)?;
    }
    copies.examples = shown(work, sets)?;
    work.done(STAGE, 0, &copies)
}

/// The largest sets, for the card.
fn shown(work: &Work, mut sets: Vec<Vec<Place>>) -> Result<Vec<CopySet>, DataError> {
    sets.sort_by_key(|set| (Reverse(set.len()), set[0]));
    sets.truncate(SHOWN);
    let ends = |set: &[Place]| [set[0], set[set.len() - 1]];
    let mut members = read(work, sets.iter().flat_map(|set| ends(set)), |document| Member {
        id: work.named(Path::new(&document.id.unwrap_or_default())).display().to_string(),
        begins: document.text[..document.text.floor_char_boundary(EXCERPT)].to_owned(),
    })?;
    let of = |set: Vec<Place>| {
        let mut domains = BTreeMap::new();
        for place in &set {
            *domains.entry(work.domain(place.0 as usize).0.to_owned()).or_default() += 1;
        }
        let members = ends(&set).iter().filter_map(|place| members.remove(place)).collect();
        CopySet { documents: set.len() as u64, domains, members }
    };
    Ok(sets.into_iter().map(of).collect())
}

/// The documents of a set that go, and why.
fn goes(
    work: &Work,
    judged: &[Vec<Judged>],
    set: &[Place],
    exact: &mut Joined,
) -> Vec<(Place, Copy)> {
    let of = |place: &Place| judged[place.0 as usize][place.1 as usize];
    // Held-out documents stay, whatever else is dropped: they are the same under every treatment.
    let train = set.iter().filter(|place| !of(place).held_out);
    if set.iter().any(|place| of(place).held_out) {
        return train.map(|place| (*place, Copy::HeldOut)).collect();
    }
    let rank = |place: &Place| (work.units[place.0 as usize].domain, of(place).key, *place);
    let stays = *set.iter().min_by_key(|place| rank(place)).expect("a set has documents");
    let root = exact.root(stays);
    let why = |place: &Place, exact: &mut Joined| {
        if exact.root(*place) == root { Copy::Exact } else { Copy::Near }
    };
    train.filter(|place| **place != stays).map(|place| (*place, why(place, exact))).collect()
}

/// Large sets are compared, text by text: chains of MinHash have joined thousands of documents that are not alike.
/// Of those that are not, only what is equal stays joined.
fn checked(
    work: &Work,
    signer: &Signer,
    sets: Vec<Vec<Place>>,
    exact: &mut Joined,
    copies: &mut Copies,
) -> Result<Vec<Vec<Place>>, DataError> {
    let mut out = Vec::new();
    for set in sets {
        if set.len() <= LARGE {
            out.push(set);
            continue;
        }
        let stream = Stream::new(u64::from(set[0].0) << 32 | u64::from(set[0].1), "pairs");
        let pick = |n: u64| set[stream.below(n, set.len() as u64) as usize];
        let pairs: Vec<(Place, Place)> =
            (0..PAIRS).map(|n| (pick(2 * n), pick(2 * n + 1))).collect();
        let both = pairs.iter().flat_map(|(l, r)| [*l, *r]);
        let texts = read(work, both, |document| normalise(&document.text))?;
        let mut alike: Vec<f64> =
            pairs.iter().map(|(l, r)| signer.jaccard(&texts[l], &texts[r])).collect();
        alike.sort_by(f64::total_cmp);
        let median = alike[alike.len() / 2];
        if median >= LIKE {
            out.push(set);
            continue;
        }
        copies.left_alone.push((set.len() as u64, median));
        let mut equal: BTreeMap<Place, Vec<Place>> = BTreeMap::new();
        for place in set {
            equal.entry(exact.root(place)).or_default().push(place);
        }
        out.extend(equal.into_values().filter(|set| set.len() > 1));
    }
    Ok(out)
}

/// Something of some documents, which are read again for it.
fn read<T>(
    work: &Work,
    places: impl Iterator<Item = Place>,
    of: impl Fn(Document) -> T,
) -> Result<HashMap<Place, T>, DataError> {
    let mut wanted: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (unit, number) in places {
        wanted.entry(unit).or_default().push(number);
    }
    let mut out = HashMap::new();
    for (unit, numbers) in wanted {
        work.documents(unit as usize, &|_| (), &mut |number, document| {
            if numbers.contains(&number) {
                out.insert((unit, number), of(document));
            }
            Ok(())
        })?;
    }
    Ok(out)
}

/// Which documents of a unit go as copies, and why.
pub(super) fn dropped(work: &Work, unit: usize) -> Result<HashMap<u32, Copy>, DataError> {
    let path = work.file(STAGE, unit, "copies");
    let bytes = read_file(&path, MAX_FILE)?;
    let one = |b: &[u8; 5]| {
        let why = match b[4] {
            1 => Copy::Exact,
            2 => Copy::Near,
            3 => Copy::HeldOut,
            _ => return Err(FileError::new("read", &path)(ErrorKind::InvalidData.into())),
        };
        Ok((u32::from_le_bytes([b[0], b[1], b[2], b[3]]), why))
    };
    let all = bytes.as_chunks::<5>().0.iter().map(one);
    Ok(all.collect::<Result<_, _>>()?)
}

/// What was found of copies.
pub(super) fn found(work: &Work) -> Result<Copies, DataError> {
    work.result(STAGE, 0)
}
