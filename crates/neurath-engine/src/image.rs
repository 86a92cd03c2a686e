//! [`Image`]: a process at a safe point, as bytes.
//!
//! An image is the difference between an instance and its module's initial image, so it means nothing
//! without the module whose hash it carries. How instances are read and written is not known here.
//! Invariant: an [`Image`] has been checked; [`Image::from_bytes`] takes hostile bytes.
//!
//! # Format
//!
//! Integers are little-endian.
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | magic `NRIM` |
//! | 4 | version, 1 |
//! | 32 | artifact hash of the module |
//! | 4 | length of the memory in pages of 64 KiB, at most 65536 |
//! | 4 | number of globals, at most 65536 |
//! | each global | one byte of type as in WebAssembly (`7f` i32, `7e` i64, `7d` f32, `7c` f64, `7b` v128), then 4, 8, 4, 8 or 16 bytes |
//! | 4 | number of spans |
//! | each span | 4 bytes: page of 4 KiB, larger than that of the span before; 2 bytes: first byte within the page; 2 bytes: length, not 0; then the bytes |
//!
//! A span replaces bytes of the initial image; what no span covers is as in the initial image, or zero
//! beyond its end. Version 1 is the first.

use thiserror::Error;
use wasmtime::Val;

use crate::instance::InstanceError;
use crate::pagemap::PAGE;

const MAGIC: [u8; 4] = *b"NRIM";
const VERSION: u32 = 1;
const WASM_PAGES_MAX: u32 = 1 << 16;
const GLOBALS_MAX: u32 = 1 << 16;
/// Bytes of a page as WebAssembly counts them.
pub(crate) const WASM_PAGE: usize = 1 << 16;

/// A captured process: memory and globals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    module: [u8; 32],
    wasm_pages: u32,
    globals: Vec<GlobalValue>,
    spans_at: usize,
}

/// The value of a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GlobalValue {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
    V128(u128),
}

/// Why an image cannot be made, read or put back. Unless it says otherwise, nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The bytes are not those of an image.
    #[error("these bytes are no image of a process: {reason} at byte {at}; get it again from where it came")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
        /// Where.
        at: usize,
    },
    /// It was made by another version of the runtime.
    #[error(
        "the image has format version {found} and this node reads version {VERSION}; resume it on a node of the release that made it"
    )]
    Version {
        /// Its version.
        found: u32,
    },
    /// It belongs to another module version.
    #[error(
        "the image belongs to the module with hash {}, not to {}; fetch that module first",
        hex(found),
        hex(expected)
    )]
    Module {
        /// The hash in the image.
        found: [u8; 32],
        /// The hash of the instance's module.
        expected: [u8; 32],
    },
    /// It is larger than allowed.
    #[error("the image has more than {limit} bytes; raise `image_bytes_max`, or let the process hold less")]
    TooLarge {
        /// Bytes that it may have.
        limit: usize,
    },
    /// Memory and globals are not all that the module changes.
    #[error(
        "the process cannot be captured or restored: {state}; a module that changes its tables cannot be relocated or upgraded with its state"
    )]
    HiddenState {
        /// What else it changes.
        state: String,
    },
    /// There is no room for an instance.
    #[error(transparent)]
    NoRoom(InstanceError),
    /// The instance is in the middle of something, or had a fault.
    #[error("the instance has had a fault, so there is no safe point to capture")]
    Unusable,
    /// The memory of the image is not one that the instance can have. The instance must be restored.
    #[error("the image has a memory of {found} bytes and the process may have {limit}; raise the limit for its memory")]
    Memory {
        /// Bytes of the image's memory.
        found: usize,
        /// Bytes that the instance may have.
        limit: usize,
    },
}

/// A part of a page that differs from the initial image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span<'a> {
    pub(crate) page: u32,
    pub(crate) from: usize,
    pub(crate) bytes: &'a [u8],
}

impl Image {
    /// The image in `bytes`, which may be hostile.
    pub fn from_bytes(bytes: Vec<u8>, limit: usize) -> Result<Self, ImageError> {
        if bytes.len() > limit {
            return Err(ImageError::TooLarge { limit });
        }
        let mut reader = Reader { bytes: &bytes, at: 0 };
        if *reader.array::<4>()? != MAGIC {
            return Err(ImageError::Malformed { reason: "the magic is not NRIM", at: 0 });
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(ImageError::Version { found: version });
        }
        let module = *reader.array()?;
        let wasm_pages = reader.u32()?;
        if wasm_pages > WASM_PAGES_MAX {
            return Err(reader.malformed("a memory of more than 4 GiB"));
        }
        let count = reader.u32()?;
        if count > GLOBALS_MAX {
            return Err(reader.malformed("too many globals"));
        }
        // A global takes five bytes at least, so this allocates no more than the image has.
        let mut globals = Vec::with_capacity((count as usize).min(bytes.len() / 5));
        for _ in 0..count {
            globals.push(reader.global()?);
        }
        let spans = reader.u32()?;
        let spans_at = reader.at;
        let mut pages_free = 0;
        for _ in 0..spans {
            let span = reader.span()?;
            if span.page < pages_free || span.page as usize >= wasm_pages as usize * (WASM_PAGE / PAGE) {
                return Err(reader.malformed("a page out of order or outside of the memory"));
            }
            pages_free = span.page + 1;
        }
        if reader.at != bytes.len() {
            return Err(reader.malformed("more bytes than it says"));
        }
        Ok(Self { module, wasm_pages, globals, spans_at, bytes })
    }

    /// The bytes in which it is stored and sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The artifact hash of its module.
    pub fn module(&self) -> &[u8; 32] {
        &self.module
    }

    /// Bytes of linear memory that the process has when it is restored.
    pub fn memory_bytes(&self) -> usize {
        self.wasm_pages as usize * WASM_PAGE
    }

    pub(crate) fn globals(&self) -> &[GlobalValue] {
        &self.globals
    }

    pub(crate) fn spans(&self) -> impl Iterator<Item = Span<'_>> {
        let mut reader = Reader { bytes: &self.bytes, at: self.spans_at };
        // All spans have been read once already, so this ends exactly with the last.
        std::iter::from_fn(move || reader.span().ok())
    }
}

/// Writes an image span by span.
pub(crate) struct ImageWriter {
    image: Image,
    spans: u32,
    limit: usize,
}

impl ImageWriter {
    pub(crate) fn new(module: [u8; 32], memory_bytes: usize, globals: Vec<GlobalValue>, limit: usize) -> Self {
        let wasm_pages = (memory_bytes / WASM_PAGE) as u32;
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(module);
        bytes.extend(wasm_pages.to_le_bytes());
        bytes.extend((globals.len() as u32).to_le_bytes());
        for global in &globals {
            global.put(&mut bytes);
        }
        bytes.extend([0; 4]);
        let spans_at = bytes.len();
        Self { image: Image { bytes, module, wasm_pages, globals, spans_at }, spans: 0, limit }
    }

    /// Adds what differs between a page as it is and as it was; pages come in ascending order.
    pub(crate) fn page(&mut self, page: u32, now: &[u8; PAGE], before: &[u8; PAGE]) -> Result<(), ImageError> {
        if now == before {
            return Ok(());
        }
        let differ = |at: &usize| now[*at..*at + 8] != before[*at..*at + 8];
        let mut words = (0..PAGE).step_by(8);
        let from = words.find(differ).unwrap_or(0);
        let until = words.rfind(differ).unwrap_or(from) + 8;
        if self.image.bytes.len() + 8 + (until - from) > self.limit {
            return Err(ImageError::TooLarge { limit: self.limit });
        }
        let bytes = &mut self.image.bytes;
        bytes.extend(page.to_le_bytes());
        bytes.extend((from as u16).to_le_bytes());
        bytes.extend(((until - from) as u16).to_le_bytes());
        bytes.extend(&now[from..until]);
        self.spans += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Image {
        let at = self.image.spans_at;
        self.image.bytes[at - 4..at].copy_from_slice(&self.spans.to_le_bytes());
        self.image.bytes.shrink_to_fit();
        self.image
    }
}

impl GlobalValue {
    /// None for a reference, which no image can hold.
    pub(crate) fn from_val(value: Val) -> Option<Self> {
        match value {
            Val::I32(v) => Some(Self::I32(v as u32)),
            Val::I64(v) => Some(Self::I64(v as u64)),
            Val::F32(v) => Some(Self::F32(v)),
            Val::F64(v) => Some(Self::F64(v)),
            Val::V128(v) => Some(Self::V128(v.as_u128())),
            _ => None,
        }
    }

    pub(crate) fn to_val(self) -> Val {
        match self {
            Self::I32(v) => Val::I32(v as i32),
            Self::I64(v) => Val::I64(v as i64),
            Self::F32(v) => Val::F32(v),
            Self::F64(v) => Val::F64(v),
            Self::V128(v) => Val::V128(v.into()),
        }
    }

    /// Whether both are values of one type.
    pub(crate) fn same_type(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::I32(v) => {
                bytes.push(0x7f);
                bytes.extend(v.to_le_bytes());
            }
            Self::I64(v) => {
                bytes.push(0x7e);
                bytes.extend(v.to_le_bytes());
            }
            Self::F32(v) => {
                bytes.push(0x7d);
                bytes.extend(v.to_le_bytes());
            }
            Self::F64(v) => {
                bytes.push(0x7c);
                bytes.extend(v.to_le_bytes());
            }
            Self::V128(v) => {
                bytes.push(0x7b);
                bytes.extend(v.to_le_bytes());
            }
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn malformed(&self, reason: &'static str) -> ImageError {
        ImageError::Malformed { reason, at: self.at }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ImageError> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..count));
        let bytes = bytes.ok_or(self.malformed("it ends too early"))?;
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], ImageError> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        let bytes = bytes.ok_or(self.malformed("it ends too early"))?;
        self.at += N;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, ImageError> {
        Ok(u32::from_le_bytes(*self.array()?))
    }

    fn global(&mut self) -> Result<GlobalValue, ImageError> {
        let [kind] = *self.array()?;
        Ok(match kind {
            0x7f => GlobalValue::I32(self.u32()?),
            0x7e => GlobalValue::I64(u64::from_le_bytes(*self.array()?)),
            0x7d => GlobalValue::F32(self.u32()?),
            0x7c => GlobalValue::F64(u64::from_le_bytes(*self.array()?)),
            0x7b => GlobalValue::V128(u128::from_le_bytes(*self.array()?)),
            _ => return Err(self.malformed("an unknown type of global")),
        })
    }

    fn span(&mut self) -> Result<Span<'a>, ImageError> {
        let page = self.u32()?;
        let from = usize::from(u16::from_le_bytes(*self.array()?));
        let length = usize::from(u16::from_le_bytes(*self.array()?));
        if length == 0 || from + length > PAGE {
            return Err(self.malformed("a span that is not within its page"));
        }
        Ok(Span { page, from, bytes: self.take(length)? })
    }
}

/// A hash as users see it.
pub(crate) fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Image {
        let globals = vec![
            GlobalValue::I32(0x100f),
            GlobalValue::I64(u64::MAX),
            GlobalValue::F32(1.5_f32.to_bits()),
            GlobalValue::F64(f64::NAN.to_bits()),
            GlobalValue::V128(7),
        ];
        let mut writer = ImageWriter::new([0xab; 32], 2 * WASM_PAGE, globals, 1 << 20);
        let (zero, mut now) = ([0; PAGE], [0; PAGE]);
        writer.page(0, &zero, &zero).expect("fits");
        now[9..12].fill(3);
        writer.page(1, &now, &zero).expect("fits");
        now.fill(0);
        now[PAGE - 1] = 4;
        writer.page(31, &now, &zero).expect("fits");
        writer.finish()
    }

    #[test]
    fn the_bytes_of_version_1_do_not_change() {
        let expected = [
            "4e52494d",
            "01000000",
            &"ab".repeat(32),
            "02000000",
            "05000000",
            "7f0f100000",
            "7effffffffffffffff",
            "7d0000c03f",
            "7c000000000000f87f",
            "7b07000000000000000000000000000000",
            "02000000",
            "01000000",
            "0800",
            "0800",
            "0003030300000000",
            "1f000000",
            "f80f",
            "0800",
            "0000000000000004",
        ]
        .concat();
        let image = sample();
        let found: String = image.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, expected);
        assert_eq!(Image::from_bytes(image.as_bytes().to_vec(), 1 << 20), Ok(image));
    }

    #[test]
    fn spans_come_back() {
        let image = sample();
        let spans: Vec<_> = image.spans().map(|s| (s.page, s.from, s.bytes.len())).collect();
        assert_eq!(spans, [(1, 8, 8), (31, 4088, 8)]);
        assert_eq!(image.memory_bytes(), 2 * WASM_PAGE);
    }

    #[test]
    fn hostile_bytes_are_errors_and_never_panics() {
        let sound = sample().into_bytes();
        for length in 0..sound.len() {
            assert!(Image::from_bytes(sound[..length].to_vec(), 1 << 20).is_err(), "length {length}");
        }
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(image) = Image::from_bytes(bytes, 1 << 20) {
                for span in image.spans() {
                    assert!((span.page as usize + 1) * PAGE <= image.memory_bytes());
                    assert!(span.from + span.bytes.len() <= PAGE);
                }
            }
        }
        let mut long = sound.clone();
        long.push(0);
        assert!(matches!(Image::from_bytes(long, 1 << 20), Err(ImageError::Malformed { .. })));
        assert_eq!(Image::from_bytes(sound.clone(), 10), Err(ImageError::TooLarge { limit: 10 }));
        let mut newer = sound;
        newer[4] = 2;
        assert_eq!(Image::from_bytes(newer, 1 << 20), Err(ImageError::Version { found: 2 }));
    }

    #[test]
    fn an_image_stops_at_its_limit() {
        let mut writer = ImageWriter::new([0; 32], WASM_PAGE, Vec::new(), 5000);
        writer.page(0, &[1; PAGE], &[0; PAGE]).expect("fits");
        assert_eq!(writer.page(1, &[1; PAGE], &[0; PAGE]), Err(ImageError::TooLarge { limit: 5000 }));
    }
}
