//! [`Instance`]: one process's code, memory and host.
//!
//! A call into it is a plain function call on the caller's thread and stack; between two calls it
//! depends on no thread. Invariant: after a [`Fault`], the guest runs no more until the instance is
//! equal to a fresh one or to an image.

use std::sync::Arc;

use neurath_proto::abi::{PollStatus, ReceiveId, StartMode};
use thiserror::Error;
use wasmtime::{Func, Global, Memory, ModuleExport, Store, Trap, Val, ValRaw, WasmBacktrace};

use crate::fault::Fault;
use crate::host::Host;
use crate::image::{GlobalValue, Image, ImageError, ImageWriter, WASM_PAGE};
use crate::imports;
use crate::module::{ConverterIndex, EntryIndex, InitialImage, Module};
use crate::pagemap::PAGE;
use crate::prepare::shown;
use crate::state::State;

/// There is no room for another instance. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no instance can be made: {reason}; stop some processes, or raise the engine's limits")]
pub struct InstanceError {
    /// What is missing.
    pub reason: String,
}

/// A process's code, memory and host.
pub struct Instance<H: Host> {
    parts: Parts<H>,
    module: Arc<Module<H>>,
}

/// An instance without its module, so that a module can keep idle ones.
pub(crate) struct Parts<H: Host> {
    store: Store<State<H>>,
    instance: wasmtime::Instance,
    memory: Memory,
    globals: Box<[Global]>,
    alloc: Func,
    poll: Func,
    /// The entry that was started last: an idle instance is often used for the same again.
    start: Option<(EntryIndex, Func)>,
    /// Whether the first of the globals is the stack pointer.
    has_stack_pointer: bool,
    usable: bool,
}

impl<H: Host> Instance<H> {
    /// A fresh instance of `module`; an idle one if there is one.
    pub fn new(module: &Arc<Module<H>>, host: H) -> Result<Self, InstanceError> {
        Self::new_or_back(module, host).map_err(|(_, error)| error)
    }

    fn new_or_back(module: &Arc<Module<H>>, host: H) -> Result<Self, (H, InstanceError)> {
        let mut parts = match module.take_idle() {
            Some(parts) => parts,
            None => match Parts::fresh(module) {
                Ok(parts) => parts,
                Err(error) => return Err((host, error)),
            },
        };
        let state = parts.store.data_mut();
        state.host = Some(host);
        state.standing = None;
        state.memory_bytes_max = module.engine.0.config.memory_bytes_max;
        Ok(Self { parts, module: Arc::clone(module) })
    }

    /// Starts an entry by its name. See [`Instance::start_entry`].
    pub fn start(&mut self, entry: &str, arguments: &[u8], mode: StartMode) -> Result<PollStatus, Fault> {
        match self.module.entry(entry) {
            Some(index) => self.start_entry(index, arguments, mode),
            None => Err(Fault::Missing { what: format!("entry `{entry}`") }),
        }
    }

    /// Starts an entry with encoded arguments, or with an encoded state, and runs it until it waits.
    pub fn start_entry(&mut self, entry: EntryIndex, arguments: &[u8], mode: StartMode) -> Result<PollStatus, Fault> {
        let parts = &mut self.parts;
        parts.begin()?;
        let start = match parts.start {
            Some((last, start)) if last == entry => start,
            _ => {
                let export = self.module.exports.starts.get(entry.0 as usize);
                let start = export.and_then(|export| parts.function(export));
                start.ok_or_else(|| Fault::Missing { what: format!("entry number {}", entry.0) })?
            }
        };
        parts.start = Some((entry, start));
        let (ptr, len) = parts.give(arguments)?;
        let mut values = [ValRaw::u32(ptr), ValRaw::u32(len), ValRaw::u32(mode as u32)];
        // SAFETY: `prepare` has checked that starts are `(i32, i32, i32) -> i32`.
        unsafe { parts.call(start, &mut values)? };
        parts.status(values[0].get_u32())
    }

    /// Wakes the receive and runs the guest until it waits again.
    #[inline]
    pub fn poll(&mut self, receive: ReceiveId) -> Result<PollStatus, Fault> {
        let parts = &mut self.parts;
        parts.begin()?;
        let handed = parts.hand_over(receive);
        let mut values = [ValRaw::u64(receive.0 | handed)];
        // SAFETY: `prepare` has checked that `neurath_poll` is `(i64) -> i32`.
        unsafe { parts.call(parts.poll, &mut values)? };
        let raw = values[0].get_u32();
        if handed != 0 {
            if raw == PollStatus::Again as u32 {
                return Ok(PollStatus::Pending);
            }
            self.host_mut().over(receive);
        }
        self.parts.status(raw)
    }

    /// Runs a converter by its name. See [`Instance::convert_with`].
    pub fn convert(&mut self, converter: &str, old: &[u8]) -> Result<Vec<u8>, Fault> {
        match self.module.converter(converter) {
            Some(index) => self.convert_with(index, old),
            None => Err(Fault::Missing { what: format!("converter `{converter}`") }),
        }
    }

    /// Runs a converter: encoded old state in, encoded new state out.
    pub fn convert_with(&mut self, converter: ConverterIndex, old: &[u8]) -> Result<Vec<u8>, Fault> {
        let parts = &mut self.parts;
        parts.begin()?;
        let export = self.module.exports.converts.get(converter.0 as usize);
        let convert = export.and_then(|export| parts.function(export));
        let convert = convert.ok_or_else(|| Fault::Missing { what: format!("converter number {}", converter.0) })?;
        let (ptr, len) = parts.give(old)?;
        let mut values = [ValRaw::u32(ptr), ValRaw::u32(len)];
        // SAFETY: `prepare` has checked that converters are `(i32, i32) -> i64`.
        unsafe { parts.call(convert, &mut values)? };
        let packed = values[0].get_u64();
        if packed == 0 {
            parts.usable = false;
            return Err(Fault::Failed);
        }
        parts.bytes("the converted state", packed, self.module.engine.0.config.state_bytes_max)
    }

    /// The encoded state of a server, between two messages.
    pub fn state(&mut self) -> Result<Vec<u8>, Fault> {
        let parts = &mut self.parts;
        parts.begin()?;
        let export = self.module.exports.state.as_ref();
        let state = export.and_then(|export| parts.function(export));
        let state = state.ok_or_else(|| Fault::Missing { what: "server, so no state".into() })?;
        let mut values = [ValRaw::u64(0)];
        // SAFETY: `prepare` has checked that `neurath_state` is `() -> i64`.
        unsafe { parts.call(state, &mut values)? };
        parts.bytes("the state", values[0].get_u64(), self.module.engine.0.config.state_bytes_max)
    }

    /// Memory and globals, to be called between two polls only.
    pub fn capture(&mut self) -> Result<Image, ImageError> {
        let (parts, module) = (&mut self.parts, &self.module);
        if !parts.usable {
            return Err(ImageError::Unusable);
        }
        check_hidden(module)?;
        let memory_bytes = parts.memory.data_size(&parts.store);
        let limit = module.engine.0.config.image_bytes_max;
        let mut writer = ImageWriter::new(module.hash, memory_bytes, parts.global_values(), limit);
        let mut result = Ok(());
        parts.each_page(module, |page, now| {
            if result.is_ok() {
                result = writer.page(page, now, module.initial.page(page));
            }
        });
        result?;
        Ok(writer.finish())
    }

    /// Makes the instance what it was when the image was captured.
    pub fn restore(&mut self, image: &Image) -> Result<(), ImageError> {
        self.check(image)?;
        self.parts.usable = false;
        self.parts.store.data_mut().standing = None;
        if !self.parts.reset(&self.module) {
            return Err(ImageError::Unusable);
        }
        self.parts.apply(&self.module.initial, image)
    }

    /// Ends the instance, which lives on in its image: [`Instance::resume`] makes the same again of both.
    ///
    /// # Errors
    /// The instance as it was, if it cannot be captured.
    #[expect(clippy::result_large_err, reason = "what fails is given back, and seldom fails")]
    pub fn suspend(mut self) -> Result<(Image, H), (Self, ImageError)> {
        match self.capture() {
            Ok(image) => Ok((image, self.recycle())),
            Err(error) => Err((self, error)),
        }
    }

    /// A new instance that goes on where the image was captured.
    ///
    /// # Errors
    /// The host again, and why not.
    pub fn resume(module: &Arc<Module<H>>, host: H, image: &Image) -> Result<Self, (H, ImageError)> {
        let mut instance = match Self::new_or_back(module, host) {
            Ok(instance) => instance,
            Err((host, error)) => return Err((host, ImageError::NoRoom(error))),
        };
        let done = instance.check(image).and_then(|()| instance.parts.apply(&module.initial, image));
        match done {
            Ok(()) => Ok(instance),
            Err(error) => Err((instance.recycle(), error)),
        }
    }

    /// Whether the image is one of this module, and not too large for this instance.
    fn check(&self, image: &Image) -> Result<(), ImageError> {
        let module = &self.module;
        check_hidden(module)?;
        if *image.module() != module.hash {
            return Err(ImageError::Module { found: *image.module(), expected: module.hash });
        }
        let initial = &module.initial;
        let types_agree = image.globals().len() == initial.globals.len()
            && image.globals().iter().zip(&initial.globals).all(|(a, b)| a.same_type(b));
        if !types_agree {
            return Err(ImageError::Malformed { reason: "its globals are not those of the module", at: 44 });
        }
        let limit = self.parts.store.data().memory_bytes_max;
        if !(initial.memory_bytes..=limit).contains(&image.memory_bytes()) {
            return Err(ImageError::Memory { found: image.memory_bytes(), limit });
        }
        Ok(())
    }

    /// Makes the instance equal to a fresh one; false if that is impossible, then it is of no more use.
    pub fn reset(&mut self) -> bool {
        self.module.hidden_state.is_none() && self.parts.reset(&self.module)
    }

    /// The host.
    pub fn host(&self) -> &H {
        self.parts.store.data().host.as_ref().expect("an instance has a host from `new` to `into_host`")
    }

    /// The host.
    pub fn host_mut(&mut self) -> &mut H {
        self.parts.store.data_mut().host.as_mut().expect("an instance has a host from `new` to `into_host`")
    }

    /// Gives it another host; the one it had.
    pub fn replace_host(&mut self, host: H) -> H {
        std::mem::replace(self.host_mut(), host)
    }

    /// The module.
    pub fn module(&self) -> &Arc<Module<H>> {
        &self.module
    }

    /// Whether a fault has made it unusable.
    pub fn is_usable(&self) -> bool {
        self.parts.usable
    }

    /// Bytes of linear memory that it has at present.
    pub fn memory_bytes(&self) -> usize {
        self.parts.memory.data_size(&self.parts.store)
    }

    /// Sets the bytes of linear memory that it may grow to.
    pub fn set_memory_bytes_max(&mut self, bytes: usize) {
        self.parts.store.data_mut().memory_bytes_max = bytes;
    }

    /// Ends the instance: its memory is wiped and waits for the next spawn. Its host.
    pub fn recycle(self) -> H {
        let Self { mut parts, module } = self;
        let host = parts.store.data_mut().host.take().expect("an instance has a host from `new` to `recycle`");
        module.keep(parts);
        host
    }
}

impl<H: Host> std::fmt::Debug for Instance<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance of {:?}", self.module)
    }
}

impl<H: Host> Parts<H> {
    /// An instance as wasmtime makes it: before `_initialize`.
    pub(crate) fn instantiate(module: &Module<H>) -> Result<Self, InstanceError> {
        let config = &module.engine.0.config;
        let tables = usize::try_from(config.module.table_elements_max).unwrap_or(usize::MAX);
        let mut store = State::store(&module.engine.0.wasmtime, config.memory_bytes_max, tables);
        store.set_epoch_deadline(1);
        let failed = |e: wasmtime::Error| InstanceError { reason: format!("{e:#}") };
        let lost = || InstanceError { reason: "an export was lost; this is a bug in the engine".into() };
        let instance = module.pre.instantiate(&mut store).map_err(failed)?;
        let exports = &module.exports;
        let mut of = |export: &ModuleExport| instance.get_module_export(&mut store, export);
        let memory = of(&exports.memory).and_then(|e| e.into_memory()).ok_or_else(lost)?;
        let alloc = of(&exports.alloc).and_then(|e| e.into_func()).ok_or_else(lost)?;
        let poll = of(&exports.poll).and_then(|e| e.into_func()).ok_or_else(lost)?;
        let globals = exports.globals.iter().map(|export| of(export).and_then(|e| e.into_global()));
        let globals: Box<[Global]> = globals.collect::<Option<_>>().ok_or_else(lost)?;
        store.data_mut().memory = Some(memory);
        let mut parts =
            Self { store, instance, memory, globals, alloc, poll, start: None, has_stack_pointer: false, usable: true };
        parts.has_stack_pointer = exports.begins_with_global_0 && parts.begins_with_a_stack();
        Ok(parts)
    }

    /// An instance with the module's initial image.
    pub(crate) fn fresh(module: &Module<H>) -> Result<Self, InstanceError> {
        let mut parts = Self::instantiate(module)?;
        let done = if module.hidden_state.is_some() {
            // What it changes beside memory and globals can only be made by running it.
            parts.initialize(module).is_ok()
        } else if !module.initial.is_instantiated {
            let more = module.initial.memory_bytes.saturating_sub(parts.memory.data_size(&parts.store)) / WASM_PAGE;
            parts.memory.grow(&mut parts.store, more as u64).is_ok() && parts.reset(module)
        } else {
            true
        };
        match done {
            true => Ok(parts),
            false => Err(InstanceError { reason: "there is no room for the initial image".into() }),
        }
    }

    /// Runs `_initialize`, if there is one, without a host.
    pub(crate) fn initialize(&mut self, module: &Module<H>) -> Result<(), Fault> {
        let Some(export) = &module.exports.initialize else { return Ok(()) };
        let initialize = self.function(export).ok_or_else(|| Fault::Missing { what: "`_initialize`".into() })?;
        self.begin()?;
        // SAFETY: `prepare` has checked that `_initialize` is `() -> ()`.
        unsafe { self.call(initialize, &mut []) }
    }

    /// Calls the export `name`, which must be `() -> i64`, and reads the bytes that it points to.
    ///
    /// # Safety
    /// `name` must be a function of that type.
    pub(crate) unsafe fn bytes_of(&mut self, name: &str, limit: usize) -> Result<Vec<u8>, Fault> {
        let function = self.instance.get_func(&mut self.store, name);
        let function = function.ok_or_else(|| Fault::Missing { what: format!("export `{name}`") })?;
        self.begin()?;
        let mut values = [ValRaw::u64(0)];
        // SAFETY: the caller has checked the type.
        unsafe { self.call(function, &mut values)? };
        self.bytes("the description", values[0].get_u64(), limit)
    }

    /// What memory and globals are now.
    pub(crate) fn look(&mut self, module: &Module<H>) -> InitialImage {
        let mut pages = Vec::new();
        self.each_page(module, |page, now| {
            if now.iter().any(|byte| *byte != 0) {
                pages.push((page, Box::new(*now)));
            }
        });
        InitialImage {
            memory_bytes: self.memory.data_size(&self.store),
            pages,
            globals: self.global_values(),
            is_instantiated: false,
        }
    }

    /// Makes memory and globals those of the initial image; false if that is impossible.
    pub(crate) fn reset(&mut self, module: &Module<H>) -> bool {
        let initial = &module.initial;
        let base = self.memory.data_ptr(&self.store);
        // SAFETY: the memory belongs to this instance, which is borrowed, so no guest runs.
        let done = unsafe { module.engine.0.slots.reset(base, initial.memory_bytes, &initial.pages) };
        // To grow by nothing tells wasmtime the new size.
        let told = done && self.memory.grow(&mut self.store, 0).is_ok();
        self.usable =
            told && self.memory.data_size(&self.store) == initial.memory_bytes && self.set_globals(&initial.globals);
        self.usable
    }

    /// Makes an instance with the module's initial image what it was when the image was captured.
    fn apply(&mut self, initial: &InitialImage, image: &Image) -> Result<(), ImageError> {
        self.usable = false;
        let more = (image.memory_bytes() - initial.memory_bytes) / WASM_PAGE;
        if self.memory.grow(&mut self.store, more as u64).is_err() {
            let limit = self.store.data().memory_bytes_max;
            return Err(ImageError::Memory { found: image.memory_bytes(), limit });
        }
        let memory = self.memory.data_mut(&mut self.store);
        for span in image.spans() {
            let at = span.page as usize * PAGE + span.from;
            if let Some(room) = memory.get_mut(at..at + span.bytes.len()) {
                room.copy_from_slice(span.bytes);
            }
        }
        if !self.set_globals(image.globals()) {
            return Err(ImageError::Unusable);
        }
        self.usable = true;
        Ok(())
    }

    /// Prepares a call: time begins anew.
    #[inline]
    fn begin(&mut self) -> Result<(), Fault> {
        if !self.usable {
            return Err(Fault::Unusable);
        }
        self.store.set_epoch_deadline(1);
        let state = self.store.data_mut();
        state.ticks = 0;
        state.panicked = false;
        state.memory_refused = false;
        Ok(())
    }

    /// Calls a function: `values` are the parameters and then the results.
    ///
    /// # Safety
    /// `values` must have the types of the parameters, and room for the results.
    #[inline]
    unsafe fn call<const N: usize>(&mut self, function: Func, values: &mut [ValRaw; N]) -> Result<(), Fault> {
        // SAFETY: the function belongs to this store; the rest is what the caller promises.
        match unsafe { function.call_unchecked(&mut self.store, values as *mut [ValRaw]) } {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    fn function(&mut self, export: &ModuleExport) -> Option<Func> {
        self.instance.get_module_export(&mut self.store, export)?.into_func()
    }

    /// Copies bytes to where the guest wants them.
    fn give(&mut self, bytes: &[u8]) -> Result<(u32, u32), Fault> {
        let len = u32::try_from(bytes.len());
        let len =
            len.map_err(|_| Fault::TooLarge { what: "the value", bytes: bytes.len(), limit: u32::MAX as usize })?;
        let mut values = [ValRaw::u32(len)];
        // SAFETY: `prepare` has checked that `neurath_alloc` is `(i32) -> i32`.
        unsafe { self.call(self.alloc, &mut values)? };
        let ptr = values[0].get_u32();
        let memory = self.memory.data_mut(&mut self.store);
        let size = memory.len();
        match memory.get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Ok((ptr, len))
            }
            None => Err(self.trap(format!(
                "`neurath_alloc` gave {len} bytes at {ptr}, which are not inside the memory of {size} bytes"
            ))),
        }
    }

    /// Reads the bytes that `ptr << 32 | len` names.
    fn bytes(&mut self, what: &'static str, packed: u64, limit: usize) -> Result<Vec<u8>, Fault> {
        let (ptr, len) = ((packed >> 32) as usize, packed as u32 as usize);
        let memory = self.memory.data(&self.store);
        let size = memory.len();
        match memory.get(ptr..ptr + len) {
            Some(_) if len > limit => {
                self.usable = false;
                Err(Fault::TooLarge { what, bytes: len, limit })
            }
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(self.trap(format!("{what}: {len} bytes at {ptr} are not inside the memory of {size} bytes"))),
        }
    }

    /// The bits for `neurath_poll`: whether the receive's message is in its buffer already.
    #[inline]
    fn hand_over(&mut self, receive: ReceiveId) -> u64 {
        let Some(standing) = self.store.data().standing.filter(|standing| standing.receive == receive) else {
            return 0;
        };
        let (memory, state) = self.memory.data_and_store_mut(&mut self.store);
        match state.host.as_mut() {
            Some(host) => imports::hand_over(memory, host, standing),
            None => 0,
        }
    }

    #[inline]
    fn status(&mut self, raw: u32) -> Result<PollStatus, Fault> {
        match PollStatus::from_raw(raw) {
            Some(status) if status != PollStatus::Again => Ok(status),
            _ => Err(self.trap(format!("it returned the status {raw}, which does not exist"))),
        }
    }

    /// Calls `found` with each page that may differ from zero, in ascending order.
    fn each_page(&mut self, module: &Module<H>, mut found: impl FnMut(u32, &[u8; PAGE])) {
        let memory = self.memory.data(&self.store);
        let pages = memory.as_chunks::<PAGE>().0;
        module.engine.0.slots.touched(memory.as_ptr(), memory.len(), |run| {
            for page in run {
                if let Some(content) = pages.get(page) {
                    found(page as u32, content);
                }
            }
        });
    }

    fn global_values(&mut self) -> Vec<GlobalValue> {
        self.globals.iter().filter_map(|global| GlobalValue::from_val(global.get(&mut self.store))).collect()
    }

    fn set_globals(&mut self, values: &[GlobalValue]) -> bool {
        values.len() == self.globals.len()
            && self
                .globals
                .iter()
                .zip(values)
                .all(|(global, value)| global.set(&mut self.store, value.to_val()).is_ok())
    }

    /// Linkers make the stack pointer global number 0, and let it begin at the stack's upper end.
    fn begins_with_a_stack(&mut self) -> bool {
        let memory_bytes = self.memory.data_size(&self.store);
        match self.first_global() {
            Some(top) => top > 0 && top.is_multiple_of(16) && top as usize <= memory_bytes,
            None => false,
        }
    }

    /// Whether the stack has grown beyond its lower end, which is address 0: the pointer has wrapped around, or all that
    /// is left is what a function that calls no other may use below it without moving it.
    fn stack_overflowed(&mut self) -> bool {
        const RED_ZONE: u32 = 128;
        self.has_stack_pointer && self.first_global().is_some_and(|top| top < RED_ZONE || top > i32::MAX as u32)
    }

    fn first_global(&mut self) -> Option<u32> {
        match self.globals.first()?.get(&mut self.store) {
            Val::I32(value) => Some(value as u32),
            _ => None,
        }
    }

    #[cold]
    fn trap(&mut self, message: String) -> Fault {
        self.usable = false;
        Fault::Trap { message }
    }

    /// Why a call did not return.
    #[cold]
    fn fault(&mut self, error: &wasmtime::Error) -> Fault {
        self.usable = false;
        let stack_overflowed = self.stack_overflowed();
        let state = self.store.data_mut();
        if let Some(fault) = state.fault.take() {
            return fault;
        }
        if state.panicked {
            return Fault::Panic;
        }
        let what = match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => "the stack overflowed".to_owned(),
            Some(Trap::MemoryOutOfBounds) if stack_overflowed => "the stack overflowed".to_owned(),
            Some(Trap::UnreachableCodeReached) => "unreachable code was reached".to_owned(),
            Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
            None => error.to_string(),
        };
        let what = match state.memory_refused {
            true => format!("it wanted more memory than the {} bytes that it may have: {what}", state.memory_bytes_max),
            false => what,
        };
        let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
        match frames.first() {
            Some(frame) => {
                let place = match frame.func_name() {
                    // Longer names are no compiler's.
                    Some(name) if name.len() < 1000 => {
                        format!("`{}`", shown(&format!("{:#}", rustc_demangle::demangle(name))))
                    }
                    Some(name) => format!("`{}`", shown(name)),
                    None => format!("function {}", frame.func_index()),
                };
                Fault::Trap { message: format!("{what} in {place}") }
            }
            None => Fault::Trap { message: what },
        }
    }
}

fn check_hidden<H: Host>(module: &Module<H>) -> Result<(), ImageError> {
    match &module.hidden_state {
        Some(state) => Err(ImageError::HiddenState { state: state.to_string() }),
        None => Ok(()),
    }
}
