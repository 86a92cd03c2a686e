//! [`Prepared`]: a module that has been looked at and may be compiled.
//!
//! Everything that can be said of a module without compiling it is said here: what it offers, whether
//! it is one that this runtime can run, stop, and hold in an image. Nothing of it is run.
//!
//! Invariant: of a [`Prepared`], every export that the engine will call exists and has its type, every
//! import is one that the engine defines, and all that changes while it runs is its memory and the
//! globals that are exported as `neurath:global:N`, unless [`Prepared::hidden_state`] says otherwise.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use neurath_proto::abi::{ABI_VERSION, export};
use neurath_proto::manifest::{EntryKind, Manifest, ManifestError, SECTION};
use thiserror::Error;
use wasmparser::types::EntityType;
use wasmparser::{
    Encoding, Export, ExternalKind, FuncType, FuncValidatorAllocations, FunctionBody, GlobalType, ImportSectionReader,
    MemoryType, Operator, Parser, Payload, TypeRef, ValType, ValidPayload, Validator, WasmFeatures,
};

use crate::imports::{IMPORTS, Import};
use crate::wasi;

/// Exports that the engine adds: `neurath:global:N` is global number N.
pub(crate) const GLOBAL_PREFIX: &str = "neurath:global:";

/// Changes whenever the same artifact would be rewritten differently.
pub(crate) const REWRITE_VERSION: u32 = 1;

/// What a module may ask for.
#[derive(Clone, Debug)]
pub struct ModuleLimits {
    /// Bytes of the wasm.
    pub bytes_max: usize,
    /// Bytes of code of one function: the time to compile one grows faster than its length.
    pub function_bytes_max: usize,
    /// Bytes of linear memory to begin with.
    pub initial_memory_bytes_max: u64,
    /// Elements of all tables, to begin with and later.
    pub table_elements_max: u64,
    /// Functions: each may cost every process some bytes.
    pub functions_max: u32,
    /// Globals, constant ones included: each costs every process some bytes.
    pub globals_max: u32,
    /// Imports.
    pub imports_max: u32,
    /// Exports.
    pub exports_max: u32,
}

impl Default for ModuleLimits {
    fn default() -> Self {
        Self {
            bytes_max: 32 << 20,
            function_bytes_max: 1 << 20,
            initial_memory_bytes_max: 16 << 20,
            table_elements_max: 1 << 17,
            functions_max: 50_000,
            globals_max: 1000,
            imports_max: 1000,
            exports_max: 10_000,
        }
    }
}

/// Why a module is not accepted. Nothing has changed.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// It does not begin as WebAssembly does.
    #[error("this is no WebAssembly module: {found}; give the `.wasm` that `neurath build` made")]
    NotWasm {
        /// What it is instead.
        found: String,
    },
    /// It has no manifest.
    #[error("the module has no section `{SECTION}`, so nothing is known of its entries; build it with `neurath build`")]
    NoManifest,
    /// Its manifest cannot be read, or is of another ABI.
    #[error(
        "the module's manifest is refused: {reason}; this node speaks ABI {ABI_VERSION}: build the program with the SDK of this release"
    )]
    Manifest {
        /// What is wrong with it.
        reason: String,
    },
    /// It is not what was built: some of its bytes have changed since.
    #[error(
        "the module is damaged: its bytes are not those that `neurath build` wrote; build it again, or fetch it anew"
    )]
    Damaged,
    /// It is not valid, or uses what guests may not use.
    #[error(
        "the module is not valid for guests: {reason} (at byte {offset}); build it for wasm32-wasip1 without further target features"
    )]
    Invalid {
        /// What the validator says.
        reason: String,
        /// Where in the wasm.
        offset: usize,
    },
    /// An image could not hold what it uses, or it cannot be stopped.
    #[error("the module has {what}, which {why}; {instead}")]
    Refused {
        /// What it has.
        what: String,
        /// Why that is refused.
        why: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// It imports what no guest has.
    #[error(
        "the module imports `{module}.{name}`{detail}; a guest may import the functions of `neurath` and `{}` only",
        wasi::WASI
    )]
    Import {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// What is wrong with it beyond its name.
        detail: String,
    },
    /// An export is missing or has another type.
    #[error(
        "the module's export `{name}` {problem}; it must be {expected}: build the program with the SDK of this release"
    )]
    Export {
        /// The export's name.
        name: String,
        /// What is wrong with it.
        problem: String,
        /// What it must be.
        expected: String,
    },
    /// It asks for more than the node gives.
    #[error(
        "the module has {what}: {found}, and the limit is {limit}; make it smaller, or raise the limit in the node's configuration"
    )]
    TooLarge {
        /// What is too large or too many.
        what: &'static str,
        /// How large or many.
        found: u64,
        /// How large or many may be.
        limit: u64,
    },
}

/// Something that changes while the module runs and that no image can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenState {
    /// The instruction that changes it.
    pub instruction: &'static str,
    /// The number of the first function that has it.
    pub function: u32,
}

impl fmt::Display for HiddenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in function {} changes what no image can hold", self.instruction, self.function)
    }
}

/// A module that may be compiled.
#[derive(Clone, Debug)]
pub struct Prepared {
    hash: [u8; 32],
    manifest: Manifest,
    inspected: Inspected,
}

/// What was found in a module, manifest or not.
#[derive(Clone, Debug)]
pub(crate) struct Inspected {
    /// The module as it is compiled: with its mutable globals exported.
    pub(crate) wasm: Vec<u8>,
    /// Numbers and types of the mutable globals.
    pub(crate) globals: Vec<(u32, ValType)>,
    pub(crate) hidden_state: Option<HiddenState>,
    /// The functions that are exported, with their types.
    pub(crate) functions: Vec<(String, FuncType)>,
}

/// Checks `wasm`: an artifact as `neurath build` makes it.
pub fn prepare(wasm: &[u8], limits: &ModuleLimits) -> Result<Prepared, PrepareError> {
    check_magic(wasm, limits)?;
    let section = manifest_section(wasm)?.ok_or(PrepareError::NoManifest)?;
    let manifest = manifest_of(wasm, section)?;
    let inspected = inspect(wasm, limits)?;
    check_offers(&manifest, &inspected)?;
    Ok(Prepared { hash: *blake3::hash(wasm).as_bytes(), manifest, inspected })
}

/// The manifest in a section, after the module was found to be what was built.
fn manifest_of(wasm: &[u8], section: Section<'_>) -> Result<Manifest, PrepareError> {
    // What is no manifest of ours, or of another version, has nothing to be checked by.
    let head = |e: ManifestError| PrepareError::Manifest { reason: e.to_string() };
    Manifest::check_head(section.content).map_err(head)?;
    let Some((content, checksum)) = section.content.split_last_chunk() else { return Err(PrepareError::Damaged) };
    let (before, after) = (wasm.get(..section.range.start), wasm.get(section.range.end..));
    if checksum_of([before.unwrap_or_default(), after.unwrap_or_default(), content]) != *checksum {
        return Err(PrepareError::Damaged);
    }
    Manifest::from_section(content).map_err(head)
}

/// BLAKE3 of a module without its section, and of what is in the section.
pub(crate) fn checksum_of(parts: [&[u8]; 3]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl Prepared {
    /// The artifact hash: BLAKE3 of the wasm as it was given.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What the module offers.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Why its processes cannot be captured, if they cannot.
    pub fn hidden_state(&self) -> Option<&HiddenState> {
        self.inspected.hidden_state.as_ref()
    }

    /// Whether it changes its tables, which an image cannot hold.
    pub fn changes_tables(&self) -> bool {
        self.hidden_state().is_some()
    }

    pub(crate) fn inspected(&self) -> &Inspected {
        &self.inspected
    }
}

pub(crate) fn check_magic(wasm: &[u8], limits: &ModuleLimits) -> Result<(), PrepareError> {
    if wasm.get(..4) != Some(b"\0asm") {
        let found = match wasm.get(..4) {
            None => format!("it has {} bytes", wasm.len()),
            Some(b"\x7fELF") => "it is a native ELF file".into(),
            Some(first) => format!("it begins with {first:02x?}"),
        };
        return Err(PrepareError::NotWasm { found });
    }
    limit("bytes", wasm.len() as u64, limits.bytes_max as u64)
}

/// The section with the manifest.
pub(crate) struct Section<'a> {
    content: &'a [u8],
    /// Where all of it is in the module, its head included.
    range: Range<usize>,
}

/// The one section with the manifest.
pub(crate) fn manifest_section(wasm: &[u8]) -> Result<Option<Section<'_>>, PrepareError> {
    let (mut found, mut sections) = (None, 0);
    let mut end_of_last = wasm_encoder::Module::HEADER.len();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        match &payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Err(PrepareError::NotWasm { found: "it is a component".into() });
            }
            Payload::CustomSection(section) if section.name() == SECTION => {
                sections += 1;
                found = Some(Section { content: section.data(), range: end_of_last..section.range().end });
            }
            _ => {}
        }
        if let Some((_, range)) = payload.as_section() {
            end_of_last = range.end;
        }
    }
    if sections > 1 {
        return Err(PrepareError::Manifest { reason: format!("there are {sections} sections `{SECTION}`") });
    }
    Ok(found)
}

/// The features that guests may use: what `wasm32-wasip1` uses, and what is as harmless.
fn features() -> WasmFeatures {
    let more = WasmFeatures::EXTENDED_CONST | WasmFeatures::TAIL_CALL;
    (WasmFeatures::WASM2 | more).difference(WasmFeatures::GC_TYPES)
}

/// Validates the module and finds out all that the engine must know.
pub(crate) fn inspect(wasm: &[u8], limits: &ModuleLimits) -> Result<Inspected, PrepareError> {
    let mut validator = Validator::new_with_features(features());
    let mut allocations = FuncValidatorAllocations::default();
    let mut found = Found::default();
    let mut code_index = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        // What is refused by name comes before the validator's general answer.
        found.look(&payload, limits)?;
        match validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => {
                let bytes = body.range().len() as u64;
                limit(
                    "a function with more code than is compiled in one piece",
                    bytes,
                    limits.function_bytes_max as u64,
                )?;
                let mut function = function.into_validator(allocations);
                function.validate(&body).map_err(invalid)?;
                allocations = function.into_allocations();
                found.look_at_body(&body, found.imports.len() as u32 + code_index).map_err(invalid)?;
                code_index += 1;
            }
            ValidPayload::End(types) => {
                let types = types.as_ref();
                for import in &found.imports {
                    if let Some(EntityType::Func(id)) = types.entity_type_from_import(import) {
                        check_import(import, types[id].unwrap_func())?;
                    }
                }
                let mut functions = Vec::new();
                for export in &found.exports {
                    if let Some(EntityType::Func(id)) = types.entity_type_from_export(export) {
                        functions.push((export.name.to_owned(), types[id].unwrap_func().clone()));
                    }
                }
                check_memory(&found)?;
                return Ok(Inspected {
                    wasm: export_globals(wasm, &found)?,
                    globals: found.globals.clone(),
                    hidden_state: found.hidden_state,
                    functions,
                });
            }
            _ => {}
        }
    }
    Err(PrepareError::Invalid { reason: "the module has no end".into(), offset: wasm.len() })
}

/// What one walk through a module has seen.
#[derive(Default)]
struct Found<'a> {
    exports: Vec<Export<'a>>,
    globals: Vec<(u32, ValType)>,
    globals_seen: u32,
    memories: u32,
    table_elements: u64,
    imports: Vec<wasmparser::Import<'a>>,
    hidden_state: Option<HiddenState>,
}

impl<'a> Found<'a> {
    fn look(&mut self, payload: &Payload<'a>, limits: &ModuleLimits) -> Result<(), PrepareError> {
        match payload {
            Payload::StartSection { .. } => Err(PrepareError::Refused {
                what: "a start function".into(),
                why: "would run outside of any process",
                instead: "build it as a library (crate-type cdylib), which has `_initialize` instead",
            }),
            Payload::ImportSection(section) => self.look_at_imports(section.clone(), limits),
            Payload::MemorySection(section) => section
                .clone()
                .into_iter()
                .try_for_each(|memory| self.look_at_memory(&memory.map_err(invalid)?, limits)),
            Payload::TableSection(section) => section.clone().into_iter().try_for_each(|table| {
                self.table_elements = self.table_elements.saturating_add(table.map_err(invalid)?.ty.initial);
                limit("table elements", self.table_elements, limits.table_elements_max)
            }),
            Payload::GlobalSection(section) => section
                .clone()
                .into_iter()
                .try_for_each(|global| self.look_at_global(global.map_err(invalid)?.ty, limits)),
            Payload::FunctionSection(section) => {
                limit("functions", u64::from(section.count()), u64::from(limits.functions_max))
            }
            Payload::ExportSection(section) => {
                limit("exports", u64::from(section.count()), u64::from(limits.exports_max))?;
                for export in section.clone() {
                    let export = export.map_err(invalid)?;
                    if export.name.starts_with(GLOBAL_PREFIX) {
                        return Err(PrepareError::Export {
                            name: shown(export.name),
                            problem: "has a name that the engine uses".into(),
                            expected: "absent".into(),
                        });
                    }
                    self.exports.push(export);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn look_at_imports(&mut self, section: ImportSectionReader<'a>, limits: &ModuleLimits) -> Result<(), PrepareError> {
        for import in section.into_imports() {
            let import = import.map_err(invalid)?;
            let refused = |detail: &str| PrepareError::Import {
                module: shown(import.module),
                name: shown(import.name),
                detail: detail.into(),
            };
            let TypeRef::Func(_) = import.ty else { return Err(refused(", which is no function")) };
            if allowed_import(&import).is_none() {
                return Err(refused(", which does not exist"));
            }
            self.imports.push(import);
            limit("imports", self.imports.len() as u64, u64::from(limits.imports_max))?;
        }
        Ok(())
    }

    fn look_at_memory(&mut self, memory: &MemoryType, limits: &ModuleLimits) -> Result<(), PrepareError> {
        self.memories += 1;
        let what = match memory {
            _ if self.memories > 1 => "several memories",
            MemoryType { shared: true, .. } => "a shared memory",
            MemoryType { memory64: true, .. } => "a 64-bit memory",
            MemoryType { page_size_log2: Some(_), .. } => "a memory with pages of its own size",
            _ => {
                let bytes = memory.initial.saturating_mul(1 << 16);
                return limit("bytes of initial memory", bytes, limits.initial_memory_bytes_max);
            }
        };
        Err(PrepareError::Refused {
            what: what.into(),
            why: "no image can hold",
            instead: "build it for wasm32-wasip1 without threads and other target features",
        })
    }

    fn look_at_global(&mut self, ty: GlobalType, limits: &ModuleLimits) -> Result<(), PrepareError> {
        let number = self.globals_seen;
        self.globals_seen += 1;
        limit("globals", u64::from(self.globals_seen), u64::from(limits.globals_max))?;
        if !ty.mutable {
            return Ok(());
        }
        if ty.content_type.is_reference_type() {
            return Err(PrepareError::Refused {
                what: format!("the mutable global {number} of type {}", ty.content_type),
                why: "no image can hold",
                instead: "keep an index into the function table instead of a reference",
            });
        }
        self.globals.push((number, ty.content_type));
        Ok(())
    }

    fn look_at_body(&mut self, body: &FunctionBody<'_>, function: u32) -> wasmparser::Result<()> {
        if self.hidden_state.is_some() {
            return Ok(());
        }
        for operator in body.get_operators_reader()? {
            let instruction = match operator? {
                Operator::TableSet { .. } => "table.set",
                Operator::TableGrow { .. } => "table.grow",
                Operator::TableFill { .. } => "table.fill",
                Operator::TableCopy { .. } => "table.copy",
                Operator::TableInit { .. } => "table.init",
                Operator::ElemDrop { .. } => "elem.drop",
                Operator::DataDrop { .. } => "data.drop",
                _ => continue,
            };
            self.hidden_state = Some(HiddenState { instruction, function });
            break;
        }
        Ok(())
    }
}

fn allowed_import(import: &wasmparser::Import<'_>) -> Option<Import> {
    allowed_imports().find(|a| a.module == import.module && a.name == import.name)
}

fn check_import(import: &wasmparser::Import<'_>, ty: &FuncType) -> Result<(), PrepareError> {
    match allowed_import(import) {
        Some(allowed) if ty.params() != allowed.params || ty.results() != allowed.results => {
            let (is, must) = (signature(ty.params(), ty.results()), signature(allowed.params, allowed.results));
            Err(PrepareError::Import {
                module: shown(import.module),
                name: shown(import.name),
                detail: format!(" as {is}, and it is {must}"),
            })
        }
        _ => Ok(()),
    }
}

pub(crate) fn allowed_imports() -> impl Iterator<Item = Import> {
    let own = IMPORTS.iter().map(|i| Import { module: i.module, name: i.name, params: i.params, results: i.results });
    own.chain(wasi::imports())
}

fn check_memory(found: &Found<'_>) -> Result<(), PrepareError> {
    let problem = match found.exports.iter().find(|e| e.name == export::MEMORY) {
        Some(Export { kind: ExternalKind::Memory, .. }) => return Ok(()),
        Some(_) => "is no memory",
        None => "is missing",
    };
    Err(PrepareError::Export {
        name: export::MEMORY.into(),
        problem: problem.into(),
        expected: "the module's one memory".into(),
    })
}

/// Whether the module has what the ABI and its manifest promise.
fn check_offers(manifest: &Manifest, inspected: &Inspected) -> Result<(), PrepareError> {
    use ValType::{I32, I64};
    inspected.check(export::ALLOC, &[I32], &[I32])?;
    inspected.check(export::POLL, &[I64], &[I32])?;
    if inspected.has(export::INITIALIZE) {
        inspected.check(export::INITIALIZE, &[], &[])?;
    }
    if inspected.has(export::STATE) || manifest.entries.iter().any(|e| e.kind == EntryKind::Server) {
        inspected.check(export::STATE, &[], &[I64])?;
    }
    let mut names = BTreeSet::new();
    for entry in &manifest.entries {
        if !names.insert(&entry.name) {
            return Err(PrepareError::Manifest { reason: format!("it has two entries `{}`", shown(&entry.name)) });
        }
        inspected.check(&format!("{}{}", export::START_PREFIX, entry.name), &[I32, I32, I32], &[I32])?;
    }
    let mut names = BTreeSet::new();
    for converter in &manifest.converters {
        if !names.insert(&converter.name) {
            return Err(PrepareError::Manifest {
                reason: format!("it has two converters `{}`", shown(&converter.name)),
            });
        }
        inspected.check(&format!("{}{}", export::CONVERT_PREFIX, converter.name), &[I32, I32], &[I64])?;
    }
    Ok(())
}

impl Inspected {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.functions.iter().any(|(n, _)| n == name)
    }

    /// Whether the function `name` is exported with this type.
    pub(crate) fn check(&self, name: &str, params: &[ValType], results: &[ValType]) -> Result<(), PrepareError> {
        let problem = match self.functions.iter().find(|(n, _)| n == name) {
            Some((_, ty)) if ty.params() == params && ty.results() == results => return Ok(()),
            Some((_, ty)) => format!("is {}", signature(ty.params(), ty.results())),
            None => "is missing".into(),
        };
        Err(PrepareError::Export {
            name: shown(name),
            problem,
            expected: format!("a function {}", signature(params, results)),
        })
    }
}

/// The module with its mutable globals exported, and without sections that only debuggers read.
fn export_globals(wasm: &[u8], found: &Found<'_>) -> Result<Vec<u8>, PrepareError> {
    let mut exports = wasm_encoder::ExportSection::new();
    for export in &found.exports {
        let kind = match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => wasm_encoder::ExportKind::Func,
            ExternalKind::Table => wasm_encoder::ExportKind::Table,
            ExternalKind::Memory => wasm_encoder::ExportKind::Memory,
            ExternalKind::Global => wasm_encoder::ExportKind::Global,
            ExternalKind::Tag => wasm_encoder::ExportKind::Tag,
        };
        exports.export(export.name, kind, export.index);
    }
    for (number, _) in &found.globals {
        exports.export(&format!("{GLOBAL_PREFIX}{number}"), wasm_encoder::ExportKind::Global, *number);
    }
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        match &payload {
            Payload::ExportSection(_) => {
                module.section(&exports);
            }
            Payload::CustomSection(section) if section.name() != "name" => {}
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    module.section(&wasm_encoder::RawSection { id, data: slice(wasm, range)? });
                }
            }
        }
    }
    Ok(module.finish())
}

fn slice(wasm: &[u8], range: Range<usize>) -> Result<&[u8], PrepareError> {
    let offset = range.start;
    wasm.get(range).ok_or(PrepareError::Invalid { reason: "a section ends beyond the module".into(), offset })
}

/// A name out of a module, fit for a message: hostile ones are long, or move the cursor.
pub(crate) fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 200;
    let mut text: String = name.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

fn signature(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({})", list(params), list(results))
}

fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), PrepareError> {
    if found > limit { Err(PrepareError::TooLarge { what, found, limit }) } else { Ok(()) }
}

pub(crate) fn invalid(error: wasmparser::BinaryReaderError) -> PrepareError {
    PrepareError::Invalid { reason: error.message().into(), offset: error.offset() }
}
