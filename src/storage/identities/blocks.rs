//! The search index: which persons share a block key ([`crate::mpi::block`]).
//!
//! A record has some nine keys, and keys are hashes: in one B-tree of fifty million rows each of them lies in another
//! page, and every record would cost nine pages to read and nine to write. So a row goes into a small table first, the
//! recent one, which fits into memory whatever the number of patients. When that is full, a slice of it (rows that are
//! neighbours in the order of the keys) moves into the first level, where many rows are packed into a page
//! ([`chunk`]); a full level gives slices to the next, which is ten times as large ([`merge`]). A page is written for
//! some forty rows then, not for one, and a row is written again a few times instead of a page for every row.
//!
//! | table | key after the tenant | value |
//! |---|---|---|
//! | `identity.blocks.3` | block key, person | [`HERE`] or [`GONE`] |
//! | `identity.blocks.3.1` and so on: the levels | the last row of a chunk | the rows of the chunk |
//! | `identity.blocks.3.turns` (no tenant) | number of a level | where its next slice begins |
//!
//! **Reading** asks the recent table and each level (three for five million patients), in one view of the store, and
//! puts the rows in order; what a younger table says of a row counts. A row that was removed stays as a mark until it
//! comes to the last level that has anything.
//!
//! **Writing** moves slices within the write that filled the table: each row that is added moves a bounded number
//! of rows, so no write is long, nothing waits for a merge, and there is no thread that could fall behind.
//!
//! **Crashes.** The journal has what is put into the recent table and nothing of what moves: a move changes no answer.
//! A crash sets the levels, and what moved out of the recent table, back to the last checkpoint, and the journal puts
//! every row that was acknowledged since then into the recent table again.
//!
//! Why slices and not whole runs that are merged: a slice needs no list of runs, no second copy of a level while it is
//! merged, and no place to go on from. The keys are evenly spread, so all slices cost alike.

mod chunk;
mod merge;

#[cfg(test)]
mod tests;

use std::iter::Peekable;
use std::ops::{Bound, RangeInclusive};

use super::PersonKey;
use super::rows::number;
use crate::storage::engine::{Bytes, Definition, Read, ReadTable, StoreError, Table, Write, table};
use chunk::Row;

/// Rows as they come, each in a row of its own.
const RECENT: Definition = table("identity.blocks.3");
/// Packed rows, the youngest first.
const LEVELS: [Definition; 4] = [
    table("identity.blocks.3.1"),
    table("identity.blocks.3.2"),
    table("identity.blocks.3.3"),
    table("identity.blocks.3.4"),
];
/// What earlier versions of the program had in their place.
pub(super) const EARLIER: [Definition; 2] = [table("identity.blocks"), table("identity.blocks.2")];

/// Value of a recent row: the person is in the block.
const HERE: &[u8] = b"";
/// Value of a recent row: the person is not in the block any more, whatever the levels say.
const GONE: &[u8] = b"-";

/// The index of a tenant, to be searched.
pub(super) struct Blocks<T> {
    prefix: Vec<u8>,
    recent: T,
    levels: Vec<T>,
}

/// The index of a tenant in a write.
pub(super) struct Index<'w> {
    write: &'w Write<'w>,
    tables: Blocks<Table<'w>>,
}

/// A table whose rows can be read in order.
pub(super) trait Ordered {
    /// The rows from one key to another.
    fn rows<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Rows<'s, (Bytes<'s>, Bytes<'s>)>, StoreError>;
}

type Rows<'s, R> = Box<dyn Iterator<Item = Result<R, StoreError>> + 's>;

impl Ordered for ReadTable {
    fn rows<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Rows<'s, (Bytes<'s>, Bytes<'s>)>, StoreError> {
        let rows = self.range(Bound::Included(from), Bound::Included(to))?;
        Ok(Box::new(rows.map(shortly)))
    }
}

/// A row that may be kept for ever, as one that may be kept as long as its table.
fn shortly<'s>(
    row: Result<(Bytes<'static>, Bytes<'static>), StoreError>,
) -> Result<(Bytes<'s>, Bytes<'s>), StoreError> {
    row
}

impl Ordered for Table<'_> {
    fn rows<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Rows<'s, (Bytes<'s>, Bytes<'s>)>, StoreError> {
        Ok(Box::new(self.range(Bound::Included(from), Bound::Included(to))?))
    }
}

impl Blocks<ReadTable> {
    /// The index as a view of the store has it.
    pub(super) fn of(read: &Read, prefix: &[u8]) -> Result<Self, StoreError> {
        let levels = LEVELS.iter().map(|level| read.open_table(*level)).collect::<Result<_, _>>()?;
        Ok(Self { prefix: prefix.to_vec(), recent: read.open_table(RECENT)?, levels })
    }
}

impl<T: Ordered> Blocks<T> {
    /// Who is in a range of blocks, in the order of the blocks.
    pub(super) fn members(
        &self,
        blocks: RangeInclusive<u64>,
    ) -> Result<impl Iterator<Item = Result<(u64, PersonKey), StoreError>> + '_, StoreError> {
        let from = Row { block: *blocks.start(), person: 0, gone: false };
        let to = Row { block: *blocks.end(), person: u64::MAX, gone: false };
        let mut sources = Vec::with_capacity(1 + self.levels.len());
        sources.push(self.recent(from, to)?.peekable());
        for level in &self.levels {
            sources.push(self.packed(level, from, to)?.peekable());
        }
        let rows = std::iter::from_fn(move || youngest(&mut sources).transpose());
        Ok(rows.filter_map(|row| match row {
            Ok(Row { gone: true, .. }) => None,
            Ok(Row { block, person, .. }) => Some(Ok((block, PersonKey(person)))),
            Err(error) => Some(Err(error)),
        }))
    }

    fn key(&self, row: Row) -> Vec<u8> {
        [self.prefix.as_slice(), &row.key()].concat()
    }

    fn recent(&self, from: Row, to: Row) -> Result<Rows<'_, Row>, StoreError> {
        let rows = self.recent.rows(&self.key(from), &self.key(to))?;
        Ok(Box::new(rows.map(|row| {
            let (key, value) = row?;
            Row::of_key(key.value(), value.value() == GONE)
        })))
    }

    fn packed<'s>(&'s self, level: &'s T, from: Row, to: Row) -> Result<Rows<'s, Row>, StoreError> {
        // A chunk is named by its last row, so the first one that is named by `from` or a later row may have it.
        let last = Row { block: u64::MAX, person: u64::MAX, gone: false };
        let chunks = level.rows(&self.key(from), &self.key(last))?;
        let mut is_over = false;
        let chunks = chunks.map_while(move |found| {
            if is_over {
                return None;
            }
            let rows = found.and_then(|(key, value)| {
                is_over = Row::of_key(key.value(), false)?.place() >= to.place();
                chunk::unpack(value.value(), from, to)
            });
            Some(rows)
        });
        Ok(Box::new(chunks.flat_map(|rows| {
            let (rows, error) = rows.map_or_else(|error| (Vec::new(), Some(Err(error))), |rows| (rows, None));
            rows.into_iter().map(Ok).chain(error)
        })))
    }
}

/// The next row of sources of which the youngest comes first, as the youngest that has it tells it.
fn youngest(sources: &mut [Peekable<Rows<'_, Row>>]) -> Result<Option<Row>, StoreError> {
    let mut next: Option<Row> = None;
    for source in sources.iter_mut() {
        match source.peek() {
            Some(Ok(row)) if next.is_none_or(|next| row.place() < next.place()) => next = Some(*row),
            Some(Err(error)) => return Err(error.clone()),
            Some(Ok(_)) | None => {}
        }
    }
    let Some(found) = next else { return Ok(None) };
    for source in sources {
        source.next_if(|row| row.as_ref().is_ok_and(|row| row.place() == found.place()));
    }
    Ok(next)
}

impl<'w> Index<'w> {
    pub(super) fn open(write: &'w Write<'_>, prefix: &[u8]) -> Result<Self, StoreError> {
        let levels = LEVELS.iter().map(|level| write.open_derived(*level)).collect::<Result<_, _>>()?;
        Ok(Self { write, tables: Blocks { prefix: prefix.to_vec(), recent: write.open_table(RECENT)?, levels } })
    }

    /// Puts a person into a block.
    pub(super) fn insert(&mut self, block: u64, person: PersonKey) -> Result<(), StoreError> {
        self.put(block, person, HERE)
    }

    /// Takes a person out of a block.
    pub(super) fn remove(&mut self, block: u64, person: PersonKey) -> Result<(), StoreError> {
        self.put(block, person, GONE)
    }

    /// Who is in a block.
    pub(super) fn members(
        &self,
        block: u64,
    ) -> Result<impl Iterator<Item = Result<PersonKey, StoreError>> + '_, StoreError> {
        Ok(self.tables.members(block..=block)?.map(|row| row.map(|(_, person)| person)))
    }

    fn put(&mut self, block: u64, person: PersonKey, value: &[u8]) -> Result<(), StoreError> {
        let key = self.tables.key(Row { block, person: person.0, gone: false });
        self.tables.recent.insert(&key, value)?;
        self.make_room()
    }
}

impl Row {
    /// The end of the key of a recent row, and of a chunk that ends with the row.
    fn key(self) -> [u8; KEY] {
        let mut key = [0; KEY];
        key[..8].copy_from_slice(&self.block.to_be_bytes());
        key[8..].copy_from_slice(&self.person.to_be_bytes());
        key
    }

    fn of_key(key: &[u8], gone: bool) -> Result<Self, StoreError> {
        let start = key.len().checked_sub(KEY).ok_or(StoreError::Damaged("the identities"))?;
        Ok(Self { block: number(&key[start..start + 8])?, person: number(&key[start + 8..])?, gone })
    }
}

/// Bytes of a block key and the number of a person.
const KEY: usize = 16;
