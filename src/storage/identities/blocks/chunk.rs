//! Rows of the index packed into the value of one row of the store: in order, each as its distance from the one before.
//!
//! A row is two numbers of variable length (seven bits to a byte, the lowest first): the distance of its block key from
//! that of the row before, and twice the number of the person, plus one if the row says that the person is gone. Where
//! the block is the same, the number is the distance from the person before. Some ten bytes in place of forty.

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

/// No row takes more bytes.
const MOST: usize = 20;

/// Packs rows that are in order into as few chunks of about the same size as there can be, none larger than `room`
/// by more than a row. Gives each with its last row.
pub(super) fn pack(rows: &[Row], room: usize) -> Vec<(Row, Vec<u8>)> {
    let mut whole = Vec::with_capacity(rows.len() * MOST);
    let mut before = (0, 0);
    for row in rows {
        push(&mut whole, before, *row);
        before = row.place();
    }
    let size = whole.len().div_ceil(whole.len().div_ceil(room).max(1));
    let mut chunks = Vec::new();
    let mut chunk = Vec::with_capacity(room + MOST);
    for (at, row) in rows.iter().enumerate() {
        let before = if chunk.is_empty() { (0, 0) } else { rows[at - 1].place() };
        push(&mut chunk, before, *row);
        if chunk.len() >= size {
            chunks.push((*row, std::mem::replace(&mut chunk, Vec::with_capacity(room + MOST))));
        }
    }
    if let (false, Some(last)) = (chunk.is_empty(), rows.last()) {
        chunks.push((*last, chunk));
    }
    chunks
}

/// The rows of a chunk that lie between two, and these two, if they are in it.
pub(super) fn unpack(mut chunk: &[u8], from: Row, to: Row) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    let mut before = (0, 0);
    while !chunk.is_empty() {
        let row = pull(&mut chunk, before).ok_or(StoreError::Damaged("the identities"))?;
        before = row.place();
        if before > to.place() {
            break;
        }
        if before >= from.place() {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// All rows of a chunk.
pub(super) fn unpack_all(chunk: &[u8]) -> Result<Vec<Row>, StoreError> {
    let at = |number| Row { block: number, person: number, gone: false };
    unpack(chunk, at(0), at(u64::MAX))
}

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
                let between: Vec<Row> =
                    chunks.iter().flat_map(|(_, chunk)| unpack(chunk, *first, *last).unwrap()).collect();
                prop_assert_eq!(&between[..], &rows[rows.len() / 3..=rows.len() / 2]);
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
