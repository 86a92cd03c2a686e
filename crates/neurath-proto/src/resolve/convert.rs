//! Converting values, one after another.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{NodeId, Part, Plan, Resolution, Step, WriterVariant};
use crate::data::{Data, DecodeError, DecodeFault, Reader, put_varint, put_varint_u128, zigzag_u128};
use crate::schema::{NO_VARIANT, Type, VALUE_DEPTH_MAX, skip_leaf};

/// Why one value was refused; the steps of its path are in reverse.
pub(super) struct Refusal(Box<Inner>);

struct Inner {
    message: String,
    path: Vec<Box<str>>,
}

impl Refusal {
    #[cold]
    fn new(message: String) -> Self {
        Self(Box::new(Inner { message, path: Vec::new() }))
    }

    #[cold]
    fn below(mut self, step: &str) -> Self {
        self.0.path.push(step.into());
        self
    }
}

impl Refusal {
    /// The whole path, from `root`, and what is wrong there.
    pub(super) fn into_parts(self, root: &str) -> (String, String) {
        let Inner { message, path } = *self.0;
        (path.iter().rev().fold(root.into(), |whole: String, step| whole + step), message)
    }
}

impl WriterVariant {
    #[cold]
    fn below(&self, refusal: Refusal) -> Refusal {
        refusal.below(&format!(".{}", self.name))
    }

    #[cold]
    fn unknown(&self) -> Refusal {
        self.below(Refusal::new(format!("the reader does not know variant `{}`", self.name)))
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(error.to_string())
    }
}

impl Resolution {
    /// Converts one value. Without `out` it is only read.
    pub(super) fn convert(
        &self,
        node: NodeId,
        reader: &mut Reader<'_>,
        mut out: Option<&mut Vec<u8>>,
        depth: usize,
    ) -> Result<(), Refusal> {
        if depth >= VALUE_DEPTH_MAX {
            return Err(reader.fault(DecodeFault::TooDeep).into());
        }
        reader.spend()?;
        let node = &self.nodes[node as usize];
        if node.identity {
            let before = reader.left();
            self.convert_step(&node.step, reader, None, depth + 1)?;
            put(&before[..before.len() - reader.left().len()], &mut out)
        } else {
            self.convert_step(&node.step, reader, out, depth + 1)
        }
    }

    fn convert_step(
        &self,
        step: &Step,
        reader: &mut Reader<'_>,
        mut out: Option<&mut Vec<u8>>,
        depth: usize,
    ) -> Result<(), Refusal> {
        match step {
            Step::Copy(_) | Step::Widen { .. } | Step::WidenFloat => convert_leaf(step, reader, out)?,
            Step::Wrap(some) => {
                put(&[1], &mut out)?;
                self.convert(*some, reader, out, depth)?;
            }
            Step::Option(some) => {
                let is_some = bool::decode(reader)?;
                put(&[u8::from(is_some)], &mut out)?;
                if is_some {
                    self.convert(*some, reader, out, depth)?;
                }
            }
            Step::Seq(item) => {
                let length = self.convert_length(reader, &mut out)?;
                for _ in 0..length {
                    self.convert(*item, reader, out.as_deref_mut(), depth).map_err(|refusal| refusal.below("[]"))?;
                }
            }
            Step::Map(key, value) => {
                let length = self.convert_length(reader, &mut out)?;
                for _ in 0..length {
                    self.convert(*key, reader, out.as_deref_mut(), depth).map_err(|refusal| refusal.below("[key]"))?;
                    self.convert(*value, reader, out.as_deref_mut(), depth).map_err(|refusal| refusal.below("[]"))?;
                }
            }
            Step::Array(item, length) => {
                for _ in 0..*length {
                    self.convert(*item, reader, out.as_deref_mut(), depth).map_err(|refusal| refusal.below("[]"))?;
                }
            }
            Step::Struct(plan) => self.convert_fields(plan, reader, out, depth)?,
            Step::Enum(variants) => {
                let index = u32::decode(reader)?;
                let variant = variants.get(index as usize).ok_or_else(|| Refusal::from(reader.fault(NO_VARIANT)))?;
                let Some((reader_index, plan)) = &variant.known else { return Err(variant.unknown()) };
                if let Some(out) = out.as_deref_mut() {
                    put_varint(u64::from(*reader_index), out);
                }
                if let Err(refusal) = self.convert_fields(plan, reader, out, depth) {
                    return Err(variant.below(refusal));
                }
            }
        }
        Ok(())
    }

    fn convert_field(
        &self,
        (step, node): &(Box<str>, NodeId),
        reader: &mut Reader<'_>,
        out: Option<&mut Vec<u8>>,
        depth: usize,
    ) -> Result<(), Refusal> {
        match self.convert(*node, reader, out, depth) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(refusal.below(step)),
        }
    }

    fn convert_length(&self, reader: &mut Reader<'_>, out: &mut Option<&mut Vec<u8>>) -> Result<usize, Refusal> {
        let length = reader.length()?;
        if let Some(out) = out {
            put_varint(length as u64, out);
        }
        Ok(length)
    }

    fn convert_fields(
        &self,
        plan: &Plan,
        reader: &mut Reader<'_>,
        out: Option<&mut Vec<u8>>,
        depth: usize,
    ) -> Result<(), Refusal> {
        let Some(out) = out else {
            for written in &plan.written {
                self.convert_field(written, reader, None, depth)?;
            }
            return Ok(());
        };
        if plan.in_order {
            for part in &plan.parts {
                match part {
                    Part::Written(index) => self.convert_field(&plan.written[*index], reader, Some(out), depth)?,
                    Part::Default(bytes) => put(bytes, &mut Some(out))?,
                }
            }
            return Ok(());
        }
        // Converted in the writer's order, then put into the reader's.
        let start = out.len();
        let mut ends = Vec::with_capacity(plan.written.len() + 1);
        ends.push(0);
        for written in &plan.written {
            self.convert_field(written, reader, Some(out), depth)?;
            ends.push(out.len() - start);
        }
        let converted = out.split_off(start);
        for part in &plan.parts {
            match part {
                Part::Written(index) => out.extend_from_slice(&converted[ends[*index]..ends[index + 1]]),
                Part::Default(bytes) => put(bytes, &mut Some(out))?,
            }
        }
        Ok(())
    }
}

/// Appends within the bound.
fn put(bytes: &[u8], out: &mut Option<&mut Vec<u8>>) -> Result<(), Refusal> {
    let Some(out) = out else { return Ok(()) };
    if out.len() + bytes.len() > Resolution::OUTPUT_MAX {
        let message = format!("converted, the value is larger than {} bytes", Resolution::OUTPUT_MAX);
        return Err(Refusal::new(message));
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// Out of the way of the recursion, so that its frames are small.
#[inline(never)]
fn convert_leaf(step: &Step, reader: &mut Reader<'_>, mut out: Option<&mut Vec<u8>>) -> Result<(), Refusal> {
    match step {
        Step::Copy(ty) => {
            // Always an identity: whoever asked copies.
            skip_leaf(ty, reader)?;
        }
        Step::Widen { from, signed } => {
            let value = match from {
                Type::U8 => i128::from(reader.byte()?),
                Type::I8 => i128::from(reader.byte()? as i8),
                Type::U16 => u16::decode(reader)?.into(),
                Type::U32 => u32::decode(reader)?.into(),
                _ => u64::decode(reader)?.into(),
            };
            if let Some(out) = out {
                put_varint_u128(if *signed { zigzag_u128(value) } else { value as u128 }, out);
            }
        }
        Step::WidenFloat => {
            let value = f64::from(f32::decode(reader)?);
            put(&value.to_le_bytes(), &mut out)?;
        }
        _ => unreachable!("it has others below"),
    }
    Ok(())
}
