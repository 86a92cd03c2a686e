//! The index of a store: which versions of which modules there are, and which of each is current.
//!
//! A redb database; `docs/formats/store.md` describes its tables. It refuses to know where artifacts are.
//!
//! Invariants: a name's current version is one of its versions; sequence numbers grow and are not reused.

use std::panic::catch_unwind;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use semver::Version;

use super::names::{ArtifactHash, ModuleName};
use super::{IndexError, ModuleVersion};

/// The version of the tables and of the records in them.
pub(super) const FORMAT: u64 = 1;

/// `format` and `next_sequence`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Name and version to a record.
const VERSIONS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("versions");
/// Name to version.
const CURRENT: TableDefinition<'_, &str, &str> = TableDefinition::new("current");

/// The fixed part of a record: see [`encode`].
const HEAD: usize = 1 + 32 + 8 + 8 + 8;

pub(super) struct Index {
    database: Database,
}

/// Any failure of the database.
type Result<T, E = IndexError> = std::result::Result<T, E>;

impl Index {
    /// Opens it, or makes it; `Ok(Err(format))` if it is of another version.
    pub(super) fn open(path: &Path) -> Result<std::result::Result<Self, u64>> {
        // redb answers some damage with a panic while it opens; what has passed its own check does not.
        let opened = catch_unwind(|| {
            let mut database = Database::create(path)?;
            database.check_integrity()?;
            Ok::<_, redb::Error>(database)
        });
        let database = opened.map_err(|_| IndexError::Damaged)??;
        let write = database.begin_write()?;
        let found = {
            let mut meta = write.open_table(META)?;
            let found = meta.get("format")?.map(|value| value.value());
            if found.is_none() {
                meta.insert("format", FORMAT)?;
            }
            write.open_table(VERSIONS)?;
            write.open_table(CURRENT)?;
            found
        };
        write.commit()?;
        Ok(match found {
            Some(other) if other != FORMAT => Err(other),
            _ => Ok(Self { database }),
        })
    }

    /// Every version of every module, by name and then by age.
    pub(super) fn all(&self) -> Result<Vec<ModuleVersion>> {
        let read = self.database.begin_read()?;
        let table = read.open_table(VERSIONS)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let (name, version) = key.value();
            all.push(decode(name, version, value.value())?);
        }
        all.sort_by_cached_key(|version| (version.name.clone(), version.rank()));
        Ok(all)
    }

    /// The versions of one module, the oldest first.
    pub(super) fn versions(&self, name: &ModuleName) -> Result<Vec<ModuleVersion>> {
        let read = self.database.begin_read()?;
        let table = read.open_table(VERSIONS)?;
        let mut versions = Vec::new();
        for entry in table.range((name.as_str(), "")..)? {
            let (key, value) = entry?;
            let (found, version) = key.value();
            if found != name.as_str() {
                break;
            }
            versions.push(decode(found, version, value.value())?);
        }
        versions.sort_by_cached_key(ModuleVersion::rank);
        Ok(versions)
    }

    /// One version.
    pub(super) fn get(&self, name: &ModuleName, version: &Version) -> Result<Option<ModuleVersion>> {
        let read = self.database.begin_read()?;
        let table = read.open_table(VERSIONS)?;
        let version = version.to_string();
        let found = table.get((name.as_str(), version.as_str()))?;
        found.map(|value| decode(name.as_str(), &version, value.value())).transpose()
    }

    /// Adds a version that is not there yet, with the next sequence number; otherwise gives what is there.
    pub(super) fn add(&self, mut new: ModuleVersion) -> Result<std::result::Result<ModuleVersion, ModuleVersion>> {
        let write = self.database.begin_write()?;
        {
            let mut versions = write.open_table(VERSIONS)?;
            let text = new.version.to_string();
            let key = (new.name.as_str(), text.as_str());
            if let Some(there) = versions.get(key)? {
                return Ok(Err(decode(new.name.as_str(), &text, there.value())?));
            }
            let mut meta = write.open_table(META)?;
            new.sequence = meta.get("next_sequence")?.map_or(1, |value| value.value());
            meta.insert("next_sequence", new.sequence + 1)?;
            versions.insert(key, encode(&new).as_slice())?;
        }
        write.commit()?;
        Ok(Ok(new))
    }

    /// The version that was made current.
    pub(super) fn current(&self, name: &ModuleName) -> Result<Option<ModuleVersion>> {
        let read = self.database.begin_read()?;
        let Some(version) = read.open_table(CURRENT)?.get(name.as_str())?.map(|value| value.value().to_owned()) else {
            return Ok(None);
        };
        let versions = read.open_table(VERSIONS)?;
        let found = versions.get((name.as_str(), version.as_str()))?;
        found.map(|value| decode(name.as_str(), &version, value.value())).transpose()
    }

    /// Makes a version current; false if it is not there.
    pub(super) fn set_current(&self, name: &ModuleName, version: &Version) -> Result<bool> {
        let write = self.database.begin_write()?;
        let text = version.to_string();
        let there = write.open_table(VERSIONS)?.get((name.as_str(), text.as_str()))?.is_some();
        if there {
            write.open_table(CURRENT)?.insert(name.as_str(), text.as_str())?;
        }
        write.commit()?;
        Ok(there)
    }

    /// Forgets a version, also as the current one.
    pub(super) fn remove(&self, name: &ModuleName, version: &Version) -> Result<()> {
        let write = self.database.begin_write()?;
        {
            let text = version.to_string();
            write.open_table(VERSIONS)?.remove((name.as_str(), text.as_str()))?;
            let mut current = write.open_table(CURRENT)?;
            let is_current = current.get(name.as_str())?.is_some_and(|value| value.value() == text);
            if is_current {
                current.remove(name.as_str())?;
            }
        }
        write.commit()?;
        Ok(())
    }
}

/// A record: format (1 byte), hash (32), then little-endian `u64`s: size in bytes, milliseconds since the
/// Unix epoch, sequence; then the source in UTF-8, to the end.
fn encode(version: &ModuleVersion) -> Vec<u8> {
    let ModuleVersion { name: _, version: _, hash, size_bytes, stored_at_ms, source, sequence } = version;
    let mut record = Vec::with_capacity(HEAD);
    record.push(FORMAT as u8);
    record.extend(hash.0);
    for number in [size_bytes, stored_at_ms, sequence] {
        record.extend(number.to_le_bytes());
    }
    record.extend(source.as_deref().unwrap_or_default().as_bytes());
    record
}

fn decode(name: &str, version: &str, record: &[u8]) -> Result<ModuleVersion> {
    let damaged = || IndexError::Record { key: format!("{name}@{version}") };
    let (head, source) = record.split_at_checked(HEAD).ok_or_else(damaged)?;
    let (&[format], head) = head.split_first_chunk().ok_or_else(damaged)?;
    let (&hash, head) = head.split_first_chunk().ok_or_else(damaged)?;
    let number = |index: usize| -> Result<u64> {
        let bytes = head.get(index * 8..).and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
        Ok(u64::from_le_bytes(*bytes))
    };
    if u64::from(format) != FORMAT {
        return Err(damaged());
    }
    let source = std::str::from_utf8(source).map_err(|_| damaged())?;
    Ok(ModuleVersion {
        name: name.parse().map_err(|_| damaged())?,
        version: version.parse().map_err(|_| damaged())?,
        hash: ArtifactHash(hash),
        size_bytes: number(0)?,
        stored_at_ms: number(1)?,
        source: (!source.is_empty()).then(|| source.to_owned()),
        sequence: number(2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_record_stay_as_documented() {
        let version = ModuleVersion {
            name: "counter".parse().unwrap(),
            version: Version::new(1, 2, 3),
            hash: ArtifactHash([0xab; 32]),
            size_bytes: 0x0102,
            stored_at_ms: 0x0304,
            source: Some("src".into()),
            sequence: 5,
        };
        let mut golden = vec![1];
        golden.extend([0xab; 32]);
        golden.extend([2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend(b"src");
        assert_eq!(encode(&version), golden);
        assert_eq!(decode("counter", "1.2.3", &golden).unwrap(), version);
    }

    #[test]
    fn damaged_records_are_errors_that_name_them() {
        let mut good = vec![1];
        good.extend([0; HEAD]);
        let bad = [&[][..], &good[..HEAD - 1], &[2; HEAD], &[0xff; HEAD + 4]];
        for record in bad {
            let error = decode("counter", "1.0.0", record).unwrap_err();
            assert!(error.to_string().contains("counter@1.0.0"), "{error}");
        }
        assert!(decode("../x", "1.0.0", &good).is_err());
        assert!(decode("counter", "one", &good).is_err());
    }
}
