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
//! | `identity.blocks.4` | block key, person | [`HERE`] or [`GONE`] |
//! | `identity.blocks.4.1` and so on: the levels | the last row of a chunk | the rows of the chunk |
//! | `identity.blocks.4.turns` (no tenant) | number of a level | where its next slice begins |
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

use std::ops::{Bound, RangeInclusive};

use super::PersonKey;
use super::rows::number;
use crate::storage::engine::{Bytes, Definition, Read, ReadTable, StoreError, Table, Write, table};
use chunk::{Reader, Row};

/// Rows as they come, each in a row of its own.
const RECENT: Definition = table("identity.blocks.4");
/// Packed rows, the youngest first.
const LEVELS: [Definition; 4] = [
    table("identity.blocks.4.1"),
    table("identity.blocks.4.2"),
    table("identity.blocks.4.3"),
    table("identity.blocks.4.4"),
];
/// What earlier versions of the program had in their place.
pub(super) const EARLIER: [Definition; 8] = [
    table("identity.blocks"),
    table("identity.blocks.2"),
    table("identity.blocks.3"),
    table("identity.blocks.3.1"),
    table("identity.blocks.3.2"),
    table("identity.blocks.3.3"),
    table("identity.blocks.3.4"),
    table("identity.blocks.3.turns"),
];

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
    fn rows<'s>(
        &'s self,
        from: &[u8],
        to: &[u8],
    ) -> Result<impl Iterator<Item = Result<(Bytes<'s>, Bytes<'s>), StoreError>> + use<'s, Self>, StoreError>;
}

impl Ordered for ReadTable {
    fn rows<'s>(
        &'s self,
        from: &[u8],
        to: &[u8],
    ) -> Result<impl Iterator<Item = Result<(Bytes<'s>, Bytes<'s>), StoreError>> + use<'s>, StoreError> {
        Ok(self.range(Bound::Included(from), Bound::Included(to))?.map(shortly))
    }
}

/// A row that may be kept for ever, as one that may be kept as long as its table.
fn shortly<'s>(
    row: Result<(Bytes<'static>, Bytes<'static>), StoreError>,
) -> Result<(Bytes<'s>, Bytes<'s>), StoreError> {
    row
}

impl<'w> Ordered for Table<'w> {
    fn rows<'s>(
        &'s self,
        from: &[u8],
        to: &[u8],
    ) -> Result<impl Iterator<Item = Result<(Bytes<'s>, Bytes<'s>), StoreError>> + use<'s, 'w>, StoreError> {
        self.range(Bound::Included(from), Bound::Included(to))
    }
}

impl Blocks<ReadTable> {
    /// The index as a view of the store has it.
    pub(super) fn of(read: &Read, prefix: &[u8]) -> Result<Self, StoreError> {
        let mut levels = LEVELS.iter().map(|level| read.open_table(*level)).collect::<Result<Vec<_>, _>>()?;
        // Most communities never fill more than one or two.
        levels.retain(|level| !level.is_empty().unwrap_or(false));
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
        // A chunk is named by its last row, so the first one that is named by `from` or a later row may have it.
        let end = Row { block: u64::MAX, person: u64::MAX, gone: false };
        let (first, last, end) = (self.key(from), self.key(to), self.key(end));
        // Most tables have nothing in most blocks: they are not asked again.
        let mut sources = Vec::new();
        sources.extend(Source::new(self.recent.rows(&first, &last)?, false, from, to)?);
        for level in &self.levels {
            sources.extend(Source::new(level.rows(&first, &end)?, true, from, to)?);
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
}

/// The rows of one table that are still to come.
struct Source<'s, I> {
    table: I,
    is_packed: bool,
    from: Row,
    to: Row,
    /// The chunk that is being read, where rows are packed.
    chunk: Option<(Bytes<'s>, Reader)>,
    /// No chunk after this one has a row of the range.
    is_last: bool,
    next: Option<Row>,
}

impl<'s, I: Iterator<Item = Result<(Bytes<'s>, Bytes<'s>), StoreError>>> Source<'s, I> {
    /// The rows of a table from one to another. None if there are none.
    fn new(table: I, is_packed: bool, from: Row, to: Row) -> Result<Option<Self>, StoreError> {
        let mut source = Self { table, is_packed, from, to, chunk: None, is_last: false, next: None };
        source.next = source.pull()?;
        Ok(source.next.is_some().then_some(source))
    }

    fn pull(&mut self) -> Result<Option<Row>, StoreError> {
        loop {
            while let Some((chunk, reader)) = &mut self.chunk {
                match reader.next(chunk.value())? {
                    Some(row) if row.place() < self.from.place() => {}
                    Some(row) => return Ok((row.place() <= self.to.place()).then_some(row)),
                    None => self.chunk = None,
                }
            }
            if self.is_last {
                return Ok(None);
            }
            let Some((key, value)) = self.table.next().transpose()? else { return Ok(None) };
            if !self.is_packed {
                return Row::of_key(key.value(), value.value() == GONE).map(Some);
            }
            self.is_last = Row::of_key(key.value(), false)?.place() >= self.to.place();
            let reader = Reader::at(value.value(), self.from)?;
            self.chunk = Some((value, reader));
        }
    }
}

/// The next row of sources of which the youngest comes first, as the youngest that has it tells it.
fn youngest<'s, I>(sources: &mut [Source<'s, I>]) -> Result<Option<Row>, StoreError>
where
    I: Iterator<Item = Result<(Bytes<'s>, Bytes<'s>), StoreError>>,
{
    let Some(found) = sources.iter().filter_map(|source| source.next).min_by_key(|row| row.place()) else {
        return Ok(None);
    };
    for source in sources {
        if source.next.is_some_and(|row| row.place() == found.place()) {
            source.next = source.pull()?;
        }
    }
    Ok(Some(found))
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
