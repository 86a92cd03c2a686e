//! [`describe`]: asks a freshly built module what it offers, and writes the answer into it.
//!
//! It is for `neurath build`, on the machine of the program's author. Invariant: the same module gives
//! the same bytes.

use neurath_proto::abi::export;
use neurath_proto::manifest::{Converter, Entry, MANIFEST_MAX, Manifest, SECTION};
use thiserror::Error;
use wasmparser::{Parser, Payload, ValType};

use crate::engine::Engine;
use crate::fault::Fault;
use crate::host::NoHost;
use crate::instance::{InstanceError, Parts};
use crate::module::CompileError;
use crate::prepare::{PrepareError, check_magic, checksum_of, inspect, shown};

/// Who a module is: what it cannot say itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The crate's name.
    pub package: String,
    /// Its semantic version.
    pub version: String,
    /// The version of the SDK that it was built with.
    pub sdk: String,
}

/// Why a module could not be described. Nothing has changed.
#[derive(Debug, Error)]
pub enum DescribeError {
    /// It is not a module that a node would take.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// There is no room for an instance of it.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// It describes nothing.
    #[error(
        "the module offers nothing to start: give a function the attribute `#[neurath::process]`, or an impl `#[neurath::server]`"
    )]
    Nothing,
    /// A description did not return.
    #[error("the export `{name}` failed: {fault}; build the program with the SDK of this release")]
    Fault {
        /// The export.
        name: String,
        /// How it ended.
        fault: Fault,
    },
    /// A description cannot be read.
    #[error("what the export `{name}` gave cannot be read: {reason}; build the program with the SDK of this release")]
    Description {
        /// The export.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The whole is longer than a manifest may be.
    #[error("the module's manifest has {bytes} bytes and the limit is {MANIFEST_MAX}; split the program")]
    TooLarge {
        /// Bytes of the manifest.
        bytes: usize,
    },
}

/// The module with its manifest in the section `neurath`, in place of any that it had.
pub fn describe(engine: &Engine, wasm: &[u8], identity: &Identity) -> Result<Vec<u8>, DescribeError> {
    let limits = &engine.config().module;
    check_magic(wasm, limits)?;
    let inspected = inspect(wasm, limits)?;
    let mut manifest = Manifest {
        package: identity.package.clone(),
        version: identity.version.clone(),
        sdk: identity.sdk.clone(),
        entries: Vec::new(),
        converters: Vec::new(),
    };
    // Said first: of a program without entries the linker leaves nothing of the SDK either.
    if !inspected.functions.iter().any(|(name, _)| name.starts_with(export::DESCRIBE_ENTRY_PREFIX)) {
        return Err(DescribeError::Nothing);
    }
    inspected.check(export::ALLOC, &[ValType::I32], &[ValType::I32])?;
    inspected.check(export::POLL, &[ValType::I64], &[ValType::I32])?;
    let module = engine.build::<NoHost>(*blake3::hash(wasm).as_bytes(), manifest.clone(), &inspected)?;
    let mut names: Vec<&str> = inspected.functions.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    for name in names {
        let entry = name.strip_prefix(export::DESCRIBE_ENTRY_PREFIX);
        let converter = name.strip_prefix(export::DESCRIBE_CONVERTER_PREFIX);
        if entry.is_none() && converter.is_none() {
            continue;
        }
        inspected.check(name, &[], &[ValType::I64])?;
        let mut parts = Parts::fresh(&module)?;
        // SAFETY: the type has just been checked.
        let bytes = unsafe { parts.bytes_of(name, MANIFEST_MAX) };
        let bytes = bytes.map_err(|fault| DescribeError::Fault { name: shown(name), fault })?;
        let unreadable = |reason: String| DescribeError::Description { name: shown(name), reason };
        let other = |found: &str| unreadable(format!("it is about `{}`", shown(found)));
        match (entry, converter) {
            (Some(expected), _) => {
                let entry = Entry::from_bytes(&bytes).map_err(|e| unreadable(e.to_string()))?;
                if entry.name != expected {
                    return Err(other(&entry.name));
                }
                manifest.entries.push(entry);
            }
            (None, Some(expected)) => {
                let converter = Converter::from_bytes(&bytes).map_err(|e| unreadable(e.to_string()))?;
                if converter.name != expected {
                    return Err(other(&converter.name));
                }
                manifest.converters.push(converter);
            }
            (None, None) => {}
        }
    }
    let section = manifest.to_section();
    if section.len() > MANIFEST_MAX {
        return Err(DescribeError::TooLarge { bytes: section.len() });
    }
    Ok(with_section(wasm, &section)?)
}

/// The module with this content as its only section `neurath`, followed there by a checksum of it all; all else stays to
/// the byte.
pub fn with_section(wasm: &[u8], content: &[u8]) -> Result<Vec<u8>, PrepareError> {
    let mut out = wasm_encoder::Module::HEADER.to_vec();
    let mut end_of_last = out.len();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(crate::prepare::invalid)?;
        let Some((_, range)) = payload.as_section() else { continue };
        let section = wasm.get(end_of_last..range.end).unwrap_or_default();
        end_of_last = range.end;
        if !matches!(&payload, Payload::CustomSection(custom) if custom.name() == SECTION) {
            out.extend_from_slice(section);
        }
    }
    use wasm_encoder::Section;
    let mut data = content.to_vec();
    data.extend_from_slice(&checksum_of([&out, &[], content]));
    wasm_encoder::CustomSection { name: SECTION.into(), data: data.into() }.append_to(&mut out);
    Ok(out)
}
