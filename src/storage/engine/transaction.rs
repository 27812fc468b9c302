//! What a write may do and what a reader sees.

use std::cell::RefCell;
use std::ops::Bound;

use redb::{ReadableTable, ReadableTableMetadata as _, TableDefinition, TableError, TableHandle as _};

use super::StoreError;
use super::journal;

/// A table of the store.
pub type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A value as read; `value()` gives the bytes.
pub type Bytes<'a> = redb::AccessGuard<'a, &'static [u8]>;

/// A key and its value.
pub type OwnedRow = (Vec<u8>, Vec<u8>);

/// Names a table.
pub const fn table(name: &'static str) -> Definition {
    TableDefinition::new(name)
}

/// One write among those of a batch: sees what the earlier ones of the batch did.
pub struct Write<'t> {
    transaction: &'t redb::WriteTransaction,
    log: RefCell<Vec<u8>>,
}

impl<'t> Write<'t> {
    pub(super) fn new(transaction: &'t redb::WriteTransaction) -> Self {
        Self { transaction, log: RefCell::default() }
    }

    /// The operations so far, as the journal keeps them.
    pub(super) fn into_log(self) -> Vec<u8> {
        self.log.into_inner()
    }

    /// Opens a table, which comes into being if need be. It can be open once at a time in a write.
    pub fn open_table(&self, definition: Definition) -> Result<Table<'_>, StoreError> {
        Ok(Table { rows: self.transaction.open_table(definition)?, name: definition, log: Some(&self.log) })
    }

    /// Opens a table of which the journal knows nothing: a crash sets it back to the last checkpoint, together with
    /// what [`Table::take`] took. Only for rows that say again what others say, so that setting back both changes no
    /// answer. A write that changes nothing else is dropped.
    pub fn open_derived(&self, definition: Definition) -> Result<Table<'_>, StoreError> {
        Ok(Table { rows: self.transaction.open_table(definition)?, name: definition, log: None })
    }

    /// Removes a table with all its rows. It must not be open. True if there was one.
    pub fn delete_table(&self, definition: Definition) -> Result<bool, StoreError> {
        journal::delete_table(&mut self.log.borrow_mut(), definition.name());
        Ok(self.transaction.delete_table(definition)?)
    }
}

/// A table open for writing.
pub struct Table<'w> {
    rows: redb::Table<'w, &'static [u8], &'static [u8]>,
    name: Definition,
    log: Option<&'w RefCell<Vec<u8>>>,
}

impl<'w> Table<'w> {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes<'_>>, StoreError> {
        Ok(self.rows.get(key)?)
    }

    /// Puts a row, in place of the one with that key. True if there was one.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        if let Some(log) = self.log {
            journal::put(&mut log.borrow_mut(), self.name.name(), key, value);
        }
        Ok(self.rows.insert(key, value)?.is_some())
    }

    /// Removes a row. True if there was one.
    pub fn remove(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        if let Some(log) = self.log {
            journal::remove(&mut log.borrow_mut(), self.name.name(), key);
        }
        Ok(self.rows.remove(key)?.is_some())
    }

    /// Takes the first rows of a range of keys out, at most so many, to put them into a table that was opened by
    /// [`Write::open_derived`]. The journal does not learn of it.
    pub fn take(&mut self, from: Bound<&[u8]>, to: Bound<&[u8]>, most: usize) -> Result<Vec<OwnedRow>, StoreError> {
        let rows = self.rows.extract_from_if::<&[u8], _>((from, to), |_, _| true)?.take(most);
        rows.map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).map_err(StoreError::from))
            .collect()
    }

    /// The number of rows.
    pub fn len(&self) -> Result<u64, StoreError> {
        Ok(self.rows.len()?)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// The rows of a range of keys, in order.
    pub fn range<'s>(
        &'s self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<(Bytes<'s>, Bytes<'s>), StoreError>> + use<'s, 'w>, StoreError>
    {
        Ok(self.rows.range::<&[u8]>((from, to))?.map(|row| Ok(row?)))
    }

    /// The rows whose keys start with a prefix, in order.
    pub fn prefix<'s>(
        &'s self,
        prefix: &[u8],
    ) -> Result<impl DoubleEndedIterator<Item = Result<(Bytes<'s>, Bytes<'s>), StoreError>> + use<'s, 'w>, StoreError>
    {
        let end = after_prefix(prefix);
        self.range(Bound::Included(prefix), bound_before(end.as_deref()))
    }
}

/// A consistent view of the store.
pub struct Read(redb::ReadTransaction);

impl Read {
    pub(super) fn new(transaction: redb::ReadTransaction) -> Self {
        Self(transaction)
    }

    /// Opens a table. One that nobody wrote to yet is empty.
    pub fn open_table(&self, definition: Definition) -> Result<ReadTable, StoreError> {
        match self.0.open_table(definition) {
            Ok(rows) => Ok(ReadTable(Some(rows))),
            Err(TableError::TableDoesNotExist(_)) => Ok(ReadTable(None)),
            Err(error) => Err(error.into()),
        }
    }
}

/// A table open for reading.
pub struct ReadTable(Option<redb::ReadOnlyTable<&'static [u8], &'static [u8]>>);

impl ReadTable {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes<'_>>, StoreError> {
        match &self.0 {
            Some(rows) => Ok(ReadableTable::get(rows, key)?),
            None => Ok(None),
        }
    }

    /// The rows of a range of keys, in order.
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<(Bytes<'static>, Bytes<'static>), StoreError>> + use<>, StoreError>
    {
        let rows = self.0.as_ref().map(|rows| rows.range::<&[u8]>((from, to))).transpose()?;
        Ok(rows.into_iter().flatten().map(|row| Ok(row?)))
    }

    /// The rows whose keys start with a prefix, in order.
    pub fn prefix(
        &self,
        prefix: &[u8],
    ) -> Result<impl DoubleEndedIterator<Item = Result<(Bytes<'static>, Bytes<'static>), StoreError>> + use<>, StoreError>
    {
        let end = after_prefix(prefix);
        self.range(Bound::Included(prefix), bound_before(end.as_deref()))
    }

    /// The number of rows.
    pub fn len(&self) -> Result<u64, StoreError> {
        Ok(self.0.as_ref().map(|rows| rows.len()).transpose()?.unwrap_or(0))
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }
}

fn bound_before(end: Option<&[u8]>) -> Bound<&[u8]> {
    end.map_or(Bound::Unbounded, Bound::Excluded)
}

/// The first key after all those with a prefix; none if there can be no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
