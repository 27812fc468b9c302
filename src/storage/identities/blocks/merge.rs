//! How rows move from table to table: a slice at a time, from a full one into the next.

use std::ops::Bound;

use super::chunk::{self, Row};
use super::{GONE, Index, KEY, Ordered as _};
use crate::storage::engine::{Definition, OwnedRow, StoreError, Table, table};

/// Where the next slice of each table begins.
const TURNS: Definition = table("identity.blocks.4.turns");

/// Sizes of the tables. Tests have small ones, so that a few patients go through all of them.
struct Sizes {
    /// Rows that the recent table holds.
    recent: u64,
    /// Rows that leave it together.
    slice: usize,
    /// Bytes of a chunk. With its key and what the store adds it is to fit into a page.
    room: usize,
    /// Chunks that each level but the last holds.
    levels: [u64; 3],
}

#[cfg(not(test))]
const SIZES: Sizes = Sizes { recent: 1 << 18, slice: 512, room: 3_950, levels: [6_400, 64_000, 640_000] };
#[cfg(test)]
const SIZES: Sizes = Sizes { recent: 24, slice: 8, room: 60, levels: [3, 9, 27] };

/// Slices that one table gives away at one time. A slice makes few chunks more than there were, so this is enough to
/// stay within the sizes, and few enough for every write to be short.
const STEPS: usize = 4;

impl<'w> Index<'w> {
    /// Moves rows on where a table holds more than it should.
    pub(super) fn make_room(&mut self) -> Result<(), StoreError> {
        if self.tables.recent.len()? <= SIZES.recent {
            return Ok(());
        }
        self.move_recent()?;
        for (at, most) in SIZES.levels.into_iter().enumerate() {
            for _ in 0..STEPS {
                if self.tables.levels[at].len()? <= most {
                    break;
                }
                self.move_chunk(at)?;
            }
        }
        Ok(())
    }

    fn move_recent(&mut self) -> Result<(), StoreError> {
        let slice = self.next_slice(0, SIZES.slice)?;
        let (Some((first, _)), Some((last, _))) = (slice.first(), slice.last()) else { return Ok(()) };
        let prefix = first[..first.len().saturating_sub(KEY)].to_vec();
        self.set_turn(0, last)?;
        let rows = slice.iter().map(|(key, value)| Row::of_key(key, value == GONE)).collect::<Result<Vec<_>, _>>()?;
        self.move_into(0, &prefix, &rows)
    }

    /// Moves a chunk of a level into the next level.
    fn move_chunk(&mut self, at: usize) -> Result<(), StoreError> {
        let slice = self.next_slice(at + 1, 1)?;
        let Some((key, value)) = slice.first() else { return Ok(()) };
        self.set_turn(at + 1, key)?;
        let rows = chunk::unpack_all(value)?;
        self.move_into(at + 1, &key[..key.len().saturating_sub(KEY)], &rows)
    }

    /// Takes the rows of one tenant that are next out of the recent table (0) or a level.
    fn next_slice(&mut self, number: usize, most: usize) -> Result<Vec<OwnedRow>, StoreError> {
        let turn = self.turn(number)?;
        let from = self.table(number);
        // The tables of all tenants fill up together, so whoever is next moves, whose write it may be.
        let next = from.range(Bound::Excluded(&turn), Bound::Unbounded)?.next().transpose()?;
        let next = next.map(|(key, _)| key.value().to_vec());
        let first = match next {
            Some(key) => Some(key),
            None => {
                from.range(Bound::Unbounded, Bound::Unbounded)?.next().transpose()?.map(|row| row.0.value().to_vec())
            }
        };
        let Some(first) = first else { return Ok(Vec::new()) };
        let last = [&first[..first.len().saturating_sub(KEY)], &[u8::MAX; KEY]].concat();
        from.take(Bound::Included(&first), Bound::Included(&last), most)
    }

    /// Puts rows that are younger than what a level has into it.
    fn move_into(&mut self, at: usize, prefix: &[u8], younger: &[Row]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (younger.first(), younger.last()) else { return Ok(()) };
        let is_last = self.tables.levels[at + 1..].iter().map(Table::is_empty).collect::<Result<Vec<_>, _>>()?;
        let is_last = is_last.into_iter().all(|is_empty| is_empty);
        let level = &mut self.tables.levels[at];
        let key = |row: &Row| [prefix, &row.key()].concat();
        let (mut names, mut older) = (Vec::new(), Vec::new());
        for chunk in level.rows(&key(first), &[prefix, &[u8::MAX; KEY]].concat())? {
            let (name, rows) = chunk?;
            older.extend(chunk::unpack_all(rows.value())?);
            names.push(name.value().to_vec());
            if Row::of_key(name.value(), false)?.place() >= last.place() {
                break;
            }
        }
        let rows = merged(younger, &older, is_last);
        let chunks: Vec<(Vec<u8>, Vec<u8>)> =
            chunk::pack(&rows, SIZES.room).into_iter().map(|(last, chunk)| (key(&last), chunk)).collect();
        for name in names.iter().filter(|name| chunks.binary_search_by(|(new, _)| new.cmp(name)).is_err()) {
            level.remove(name)?;
        }
        for (name, chunk) in &chunks {
            level.insert(name, chunk)?;
        }
        Ok(())
    }

    fn table(&mut self, number: usize) -> &mut Table<'w> {
        match number.checked_sub(1) {
            Some(level) => &mut self.tables.levels[level],
            None => &mut self.tables.recent,
        }
    }

    fn turn(&self, number: usize) -> Result<Vec<u8>, StoreError> {
        let turns = self.write.open_derived(TURNS)?;
        Ok(turns.get(&[number as u8])?.map(|row| row.value().to_vec()).unwrap_or_default())
    }

    fn set_turn(&self, number: usize, last: &[u8]) -> Result<(), StoreError> {
        self.write.open_derived(TURNS)?.insert(&[number as u8], last)?;
        Ok(())
    }
}

/// Rows in order; what the younger ones say of a row counts. Marks of what is gone end where nothing older can be.
fn merged(younger: &[Row], older: &[Row], is_last: bool) -> Vec<Row> {
    let mut rows = Vec::with_capacity(younger.len() + older.len());
    let (mut younger, mut older) = (younger.iter().peekable(), older.iter().peekable());
    loop {
        let row = match (younger.peek(), older.peek()) {
            (Some(one), Some(two)) if two.place() < one.place() => older.next(),
            (Some(one), Some(two)) => {
                if one.place() == two.place() {
                    older.next();
                }
                younger.next()
            }
            (Some(_), None) => younger.next(),
            (None, _) => older.next(),
        };
        let Some(row) = row else { return rows };
        if !(is_last && row.gone) {
            rows.push(*row);
        }
    }
}
