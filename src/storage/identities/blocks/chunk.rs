//! Rows of the index packed into the value of one row of the store: in order, each as its distance from the one before.
//!
//! A row is two numbers of variable length (seven bits to a byte, the lowest first): the distance of its block key from
//! that of the row before, and twice the number of the person, plus one if the row says that the person is gone. Where
//! the block is the same, the number is the distance from the person before. Some ten bytes in place of forty.
//!
//! Every [`GROUP`] rows begin anew, as if there were no row before, so that a row is found without reading all those
//! before it. Behind the rows stand the places of these groups, and last how many they are (16 bits each, big-endian).

use crate::storage::engine::StoreError;

/// A person in a block, or not any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) block: u64,
    /// Counted from one, so the highest bit is free.
    pub(super) person: u64,
    /// The person is not in the block any more.
    pub(super) gone: bool,
}

impl Row {
    /// By what rows are in order. Two rows in one place speak of the same.
    pub(super) fn place(self) -> (u64, u64) {
        (self.block, self.person)
    }
}

/// Rows that are packed as distances from one another.
const GROUP: usize = 16;
/// What no row comes before.
const START: (u64, u64) = (0, 0);

/// Packs rows that are in order into as few chunks of about the same size as there can be, none larger than `room`
/// by more than a row. Gives each with its last row.
pub(super) fn pack(rows: &[Row], room: usize) -> Vec<(Row, Vec<u8>)> {
    let mut whole = Packing::default();
    rows.iter().for_each(|row| whole.push(*row));
    let size = whole.len().div_ceil(whole.len().div_ceil(room).max(1));
    let mut chunks = Vec::new();
    let mut chunk = Packing::default();
    for row in rows {
        chunk.push(*row);
        if chunk.len() >= size {
            chunks.push((*row, std::mem::take(&mut chunk).finish()));
        }
    }
    if let (true, Some(last)) = (chunk.rows > 0, rows.last()) {
        chunks.push((*last, chunk.finish()));
    }
    chunks
}

/// A chunk that is being packed.
#[derive(Default)]
struct Packing {
    bytes: Vec<u8>,
    rows: usize,
    groups: Vec<usize>,
    before: (u64, u64),
}

impl Packing {
    fn push(&mut self, row: Row) {
        if self.rows.is_multiple_of(GROUP) {
            self.groups.push(self.bytes.len());
            self.before = START;
        }
        push(&mut self.bytes, self.before, row);
        self.rows += 1;
        self.before = row.place();
    }

    /// Bytes of the chunk.
    fn len(&self) -> usize {
        self.bytes.len() + NUMBER * (self.groups.len() + 1)
    }

    fn finish(mut self) -> Vec<u8> {
        // A chunk fits into a page, so no place is beyond 16 bits.
        for number in self.groups.iter().copied().chain([self.groups.len()]) {
            self.bytes.extend_from_slice(&(number as u16).to_be_bytes());
        }
        self.bytes
    }
}

/// Bytes of the place of a group.
const NUMBER: usize = 2;

/// Where in a chunk somebody reads. The chunk is not held, but told each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    at: usize,
    /// Where the rows end.
    end: usize,
    /// Rows read, counted from the start of a group.
    read: usize,
    before: (u64, u64),
}

impl Reader {
    /// At the group in which a row is, or would be: rows before it may come first.
    pub(super) fn at(chunk: &[u8], from: Row) -> Result<Self, StoreError> {
        Self::find(chunk, from).ok_or(DAMAGED)
    }

    fn find(chunk: &[u8], from: Row) -> Option<Self> {
        let (rest, count) = chunk.split_last_chunk::<NUMBER>()?;
        let end = rest.len().checked_sub(NUMBER * usize::from(u16::from_be_bytes(*count)))?;
        let (rows, groups) = rest.split_at(end);
        let (groups, _) = groups.as_chunks::<NUMBER>();
        let place = |group: &[u8; NUMBER]| usize::from(u16::from_be_bytes(*group));
        let begins_before = |group: &[u8; NUMBER]| {
            let mut row = rows.get(place(group)..)?;
            Some(pull(&mut row, START)?.place() <= from.place())
        };
        let behind = groups.partition_point(|group| begins_before(group).unwrap_or(false));
        let at = groups.get(behind.saturating_sub(1)).map_or(0, place);
        (at <= end).then_some(Self { at, end, read: 0, before: START })
    }

    /// The next row.
    pub(super) fn next(&mut self, chunk: &[u8]) -> Result<Option<Row>, StoreError> {
        let mut rest = chunk.get(self.at..self.end).ok_or(DAMAGED)?;
        if rest.is_empty() {
            return Ok(None);
        }
        let before = if self.read.is_multiple_of(GROUP) { START } else { self.before };
        let row = pull(&mut rest, before).filter(|row| row.place() >= self.before).ok_or(DAMAGED)?;
        *self = Self { at: self.end - rest.len(), end: self.end, read: self.read + 1, before: row.place() };
        Ok(Some(row))
    }
}

/// All rows of a chunk.
pub(super) fn unpack_all(chunk: &[u8]) -> Result<Vec<Row>, StoreError> {
    let mut reader = Reader::at(chunk, Row { block: 0, person: 0, gone: false })?;
    std::iter::from_fn(|| reader.next(chunk).transpose()).collect()
}

const DAMAGED: StoreError = StoreError::Damaged("the identities");

fn push(chunk: &mut Vec<u8>, (block, person): (u64, u64), row: Row) {
    let distance = row.block - block;
    let person = if distance == 0 { row.person - person } else { row.person };
    push_number(chunk, distance);
    push_number(chunk, person << 1 | u64::from(row.gone));
}

fn push_number(chunk: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        chunk.push(number as u8 | 0x80);
        number >>= 7;
    }
    chunk.push(number as u8);
}

fn pull(chunk: &mut &[u8], (block, person): (u64, u64)) -> Option<Row> {
    let distance = pull_number(chunk)?;
    let number = pull_number(chunk)?;
    let person = if distance == 0 { person.checked_add(number >> 1)? } else { number >> 1 };
    Some(Row { block: block.checked_add(distance)?, person, gone: number & 1 == 1 })
}

fn pull_number(chunk: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = chunk.split_first()?;
        *chunk = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// No row takes more bytes.
    const MOST: usize = 20;

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (any::<u8>(), 0..4_u32, any::<u64>(), any::<bool>());
        prop::collection::vec(row, 0..200).prop_map(|parts| {
            let rows = parts.into_iter().map(|(block, spread, person, gone)| {
                let row = Row { block: u64::from(block) << (spread * 18), person: person >> 1 >> (spread * 15), gone };
                (row.place(), row)
            });
            rows.collect::<std::collections::BTreeMap<_, _>>().into_values().collect()
        })
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked_from_chunks_that_are_full(rows in rows(), room in 40..400_usize) {
            let chunks = pack(&rows, room);
            let unpacked: Vec<Row> = chunks.iter().flat_map(|(_, chunk)| unpack_all(chunk).unwrap()).collect();
            prop_assert_eq!(&unpacked, &rows);
            for (last, chunk) in &chunks {
                prop_assert_eq!(unpack_all(chunk).unwrap().pop(), Some(*last));
                prop_assert!(chunk.len() <= room + 2 * MOST);
            }
            if let (Some(first), Some(last)) = (rows.get(rows.len() / 3), rows.get(rows.len() / 2)) {
                // Few rows more than those asked for are read, and they come first.
                let from_first = |chunk: &[u8]| {
                    let mut reader = Reader::at(chunk, *first).unwrap();
                    std::iter::from_fn(|| reader.next(chunk).unwrap()).collect::<Vec<_>>()
                };
                let at = chunks.partition_point(|(last, _)| last.place() < first.place());
                let found: Vec<Row> = chunks[at..].iter().flat_map(|(_, chunk)| from_first(chunk)).collect();
                let before = found.len() - (rows.len() - rows.len() / 3);
                prop_assert!(before < GROUP);
                prop_assert_eq!(&found[before..][..=rows.len() / 2 - rows.len() / 3], &rows[rows.len() / 3..=rows.len() / 2]);
                prop_assert!(last.place() >= first.place());
            }
        }

        #[test]
        fn bytes_that_are_no_chunk_are_rows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(rows) = unpack_all(&bytes) {
                prop_assert!(rows.is_sorted_by_key(|row| row.place()));
            }
        }
    }

    #[test]
    fn a_chunk_that_is_cut_short_is_damaged() {
        let row = Row { block: 1 << 40, person: 9, gone: false };
        let (_, chunk) = pack(&[row], 100).remove(0);
        assert!(unpack_all(&chunk[..chunk.len() - 1]).is_err());
    }
}
