//! Which tensors a file has, and where their numbers lie.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read as _, SeekFrom},
};

use ringfence_format::{
    gguf,
    npy::{Header, Literal},
    onnx::{DataType, Model, Payload},
    safetensors,
    zip::{self, Member},
};
use ringfence_schema::{finding::printable, weights::TensorHead};

use super::torch;
use crate::{
    Limits,
    detect::{Kind, detect},
    source::{Source, bytes_at, length},
};

/// Most tensors of a file.
const TENSORS_MAX: usize = 200_000;
/// What is said of a file with more.
const TOO_MANY: &str = "more tensors than are read";
/// Reasons that are kept for what could not be read.
const UNREAD_MAX: usize = 100;
/// Longest pickle that is read for its tensors, in bytes.
const PICKLE_BYTES_MAX: u64 = 64 << 20;
/// Longest npy header that is looked at, in bytes.
const HEADER_BYTES_MAX: u64 = (1 << 20) + 16;
/// Bytes in which an npy header usually ends.
const HEADER_BYTES_USUAL: u64 = 4 << 10;
/// Element types of which each gets its own reason.
const DTYPES_MAX: usize = 20;

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Which tensors it has; nothing is unpacked.
    Heads,
    /// Where their numbers are, too.
    Numbers,
}

/// Element types whose numbers are read; little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
}

impl Element {
    /// By the names of safetensors.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I64" => Self::I64,
            "I32" => Self::I32,
            "I16" => Self::I16,
            "I8" => Self::I8,
            "U64" => Self::U64,
            "U32" => Self::U32,
            "U16" => Self::U16,
            "U8" | "BOOL" => Self::U8,
            _ => return None,
        })
    }

    /// By the numbers of ggml, those of plain numbers.
    fn of_ggml(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::F32,
            1 => Self::F16,
            24 => Self::I8,
            25 => Self::I16,
            26 => Self::I32,
            27 => Self::I64,
            28 => Self::F64,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// By the codes of NumPy.
    fn coded(code: &str) -> Option<Self> {
        Some(match code.strip_prefix(['<', '|', '='])? {
            "f8" => Self::F64,
            "f4" => Self::F32,
            "f2" => Self::F16,
            "i8" => Self::I64,
            "i4" => Self::I32,
            "i2" => Self::I16,
            "i1" => Self::I8,
            "u8" => Self::U64,
            "u4" => Self::U32,
            "u2" => Self::U16,
            "u1" | "b1" => Self::U8,
            _ => return None,
        })
    }
}

/// Where a tensor's numbers are.
#[derive(Debug, Clone)]
pub(super) enum Data {
    /// In the file, as they are.
    At { offset: u64, bytes: u64 },
    /// Unpacked or decoded.
    Bytes(Vec<u8>),
}

/// One tensor.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) element: Element,
    pub(super) shape: Vec<u64>,
    pub(super) data: Data,
}

impl Tensor {
    /// Elements that the shape has; the most there are where it says too many.
    pub(super) fn elements(&self) -> u64 {
        self.shape.iter().try_fold(1_u64, |product, side| product.checked_mul(*side)).unwrap_or(u64::MAX)
    }

    /// Where its numbers begin; 0 for what was unpacked.
    pub(super) fn offset(&self) -> u64 {
        match self.data {
            Data::At { offset, .. } => offset,
            Data::Bytes(_) => 0,
        }
    }
}

/// The tensors of a file, and why some are not among them.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) format: &'static str,
    pub(super) tensors: Vec<Tensor>,
    /// Tensors whose numbers are of a type that is not read.
    pub(super) untyped: Vec<TensorHead>,
    pub(super) unread: Vec<String>,
    want: Want,
    /// Bytes unpacked so far.
    unpacked: u64,
}

impl Contents {
    pub(super) fn read(source: &mut dyn Source, want: Want, limits: &Limits) -> Self {
        let (tensors, untyped, unread) = (Vec::new(), Vec::new(), Vec::new());
        let mut contents = Self { format: "unknown", tensors, untyped, unread, want, unpacked: 0 };
        if let Err(error) = contents.fill(source, limits) {
            contents.unread(format!("reading failed: {error}"));
        }
        if want == Want::Numbers {
            contents.tell_untyped();
        }
        contents
    }

    /// Says of each type that is not read how many tensors have it.
    fn tell_untyped(&mut self) {
        let mut by_type: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        for head in &self.untyped {
            by_type.entry(&head.dtype).or_insert((0, &head.name)).0 += 1;
        }
        let told = |(dtype, (count, name)): (&&str, &(u64, &str))| {
            let others = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            format!("`{}`{others}: numbers of type `{}` are not read", printable(name, 80), printable(dtype, 40))
        };
        let reasons: Vec<String> = by_type.iter().take(DTYPES_MAX).map(told).collect();
        for reason in reasons {
            self.unread(reason);
        }
    }

    fn fill(&mut self, source: &mut dyn Source, limits: &Limits) -> io::Result<()> {
        match detect(source)? {
            Kind::Safetensors => {
                self.safetensors(source);
                Ok(())
            }
            Kind::Npy => {
                self.format = "npy";
                self.npy(source, "array", 0, None)
            }
            Kind::Zip => self.zip(source, limits),
            Kind::Protobuf => self.onnx(source, limits),
            Kind::Gguf => {
                self.gguf(source);
                Ok(())
            }
            _ => {
                self.unread("the content is of no format whose weights are read".to_owned());
                Ok(())
            }
        }
    }

    fn unread(&mut self, reason: String) {
        if self.unread.len() < UNREAD_MAX {
            self.unread.push(reason);
        }
    }

    fn push(&mut self, tensor: Tensor) {
        if self.has_room() {
            self.tensors.push(tensor);
        }
    }

    /// A tensor whose numbers are not read.
    fn push_untyped(&mut self, name: String, dtype: String, shape: Vec<u64>) {
        if self.has_room() {
            self.untyped.push(TensorHead { name, dtype, shape });
        }
    }

    fn has_room(&mut self) -> bool {
        let count = self.tensors.len() + self.untyped.len();
        if count >= TENSORS_MAX && !self.unread.iter().any(|reason| reason == TOO_MANY) {
            self.unread(TOO_MANY.to_owned());
        }
        count < TENSORS_MAX
    }

    fn safetensors(&mut self, source: &mut dyn Source) {
        self.format = "safetensors";
        let audit = match safetensors::audit(source) {
            Ok(audit) => audit,
            Err(error) => {
                self.unread(error.to_string());
                return;
            }
        };
        if audit.table().is_none() {
            self.unread("the header contradicts the data; a scan says how".to_owned());
        }
        for tensor in audit.tensors {
            match Element::named(&tensor.dtype) {
                Some(element) => self.push(Tensor {
                    name: tensor.name,
                    dtype: tensor.dtype,
                    element,
                    shape: tensor.shape,
                    data: Data::At { offset: tensor.start, bytes: tensor.end.saturating_sub(tensor.start) },
                }),
                None => self.push_untyped(tensor.name, tensor.dtype, tensor.shape),
            }
        }
    }

    fn gguf(&mut self, source: &mut dyn Source) {
        self.format = "gguf";
        let file = match gguf::read(source) {
            Ok(file) => file,
            Err(error) => {
                self.unread(error.to_string());
                return;
            }
        };
        if file.data_offset.is_none() || file.truncated || !file.flaws.is_empty() {
            self.unread("the header contradicts the data; a scan says how".to_owned());
        }
        for tensor in file.tensors {
            let (dtype, mut shape) = (gguf::kind_name(tensor.kind), tensor.dimensions);
            // They stand fastest first.
            shape.reverse();
            match (Element::of_ggml(tensor.kind), tensor.bytes) {
                (Some(element), Some(bytes)) if !file.big_endian && file.data_offset.is_some() => {
                    let data = Data::At { offset: tensor.start, bytes };
                    self.push(Tensor { name: tensor.name, dtype, element, shape, data });
                }
                _ => self.push_untyped(tensor.name, dtype, shape),
            }
        }
    }

    /// An array at `offset` of `source`, or wholly in `unpacked`.
    fn npy(&mut self, source: &mut dyn Source, name: &str, offset: u64, unpacked: Option<Vec<u8>>) -> io::Result<()> {
        let header = if let Some(bytes) = &unpacked {
            Header::read(&mut Cursor::new(bytes))
        } else {
            let usual = Header::read(&mut Cursor::new(bytes_at(source, offset, HEADER_BYTES_USUAL)?));
            match usual {
                Ok(header) => Ok(header),
                Err(_) => Header::read(&mut Cursor::new(bytes_at(source, offset, HEADER_BYTES_MAX)?)),
            }
        };
        let header = match header {
            Ok(header) => header,
            Err(error) => {
                self.unread(format!("`{}`: {error}", printable(name, 80)));
                return Ok(());
            }
        };
        let code = match &header.descr {
            Literal::Text(code) => code.clone(),
            _ => "a record".to_owned(),
        };
        let (Some(element), Some(bytes)) = (Element::coded(&code), header.data_bytes()) else {
            self.push_untyped(name.to_owned(), code, header.shape);
            return Ok(());
        };
        let data = match unpacked {
            Some(bytes) => {
                let start = usize::try_from(header.data_offset).unwrap_or(usize::MAX);
                Data::Bytes(bytes.get(start..).unwrap_or_default().to_vec())
            }
            None => Data::At { offset: offset + header.data_offset, bytes },
        };
        let mut shape = header.shape;
        if header.fortran_order {
            // In memory the dimensions stand the other way round.
            shape.reverse();
        }
        self.push(Tensor { name: name.to_owned(), dtype: code, element, shape, data });
        Ok(())
    }

    fn zip(&mut self, source: &mut dyn Source, limits: &Limits) -> io::Result<()> {
        self.format = "zip";
        let archive = match zip::read(source) {
            Ok(archive) => archive,
            Err(error) => {
                self.unread(error.to_string());
                return Ok(());
            }
        };
        let pickle = archive.members.iter().find(|member| crate::torch::is_torch_pickle(member));
        if let Some(pickle) = pickle {
            self.format = "pytorch-zip";
            return self.torch(source, pickle, &archive.members, limits);
        }
        for member in archive.members.iter().filter(|member| member.name.ends_with(b".npy")) {
            self.format = "npz";
            let full = member.name_lossy();
            let name = full.strip_suffix(".npy").unwrap_or(&full);
            if member.method == 0 {
                self.npy(source, name, member.data_offset, None)?;
            } else if let Some(bytes) = self.unpack(source, member, limits)? {
                self.npy(source, name, 0, Some(bytes))?;
            }
        }
        if self.format == "zip" {
            self.unread("the archive holds no arrays that are known".to_owned());
        }
        Ok(())
    }

    fn torch(
        &mut self,
        source: &mut dyn Source,
        pickle: &Member,
        members: &[Member],
        limits: &Limits,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        if let Some(reader) = pickle.open(source)? {
            reader.take(PICKLE_BYTES_MAX).read_to_end(&mut text)?;
        }
        let name = pickle.name_lossy();
        let folder = name.get(..name.len().saturating_sub(4)).unwrap_or_default();
        let found = match torch::tensors(&text) {
            Ok(found) => found,
            Err(reason) => {
                self.unread(format!("the pickle is no plain state: {reason}"));
                return Ok(());
            }
        };
        for tensor in found {
            let member = format!("{folder}/{}", tensor.key);
            let Some(member) = members.iter().find(|other| other.name == member.as_bytes()) else {
                self.unread(format!("`{}`: its storage is missing", printable(&tensor.name, 80)));
                continue;
            };
            let Some(element) = Element::named(tensor.dtype) else {
                self.push_untyped(tensor.name, tensor.dtype.to_owned(), tensor.shape);
                continue;
            };
            let item = element.bytes() as u64;
            let count = tensor.shape.iter().try_fold(1_u64, |product, side| product.checked_mul(*side));
            let range = count.and_then(|count| Some((tensor.offset.checked_mul(item)?, count.checked_mul(item)?)));
            let Some((start, bytes)) =
                range.filter(|(start, bytes)| start.checked_add(*bytes).is_some_and(|end| end <= member.size))
            else {
                self.unread(format!("`{}` lies outside of its storage", printable(&tensor.name, 80)));
                continue;
            };
            let data = if member.method == 0 {
                Data::At { offset: member.data_offset + start, bytes }
            } else if self.want == Want::Heads {
                Data::Bytes(Vec::new())
            } else {
                let Some(unpacked) = self.unpack(source, member, limits)? else { continue };
                let (start, bytes) = (usize::try_from(start).unwrap_or(0), usize::try_from(bytes).unwrap_or(0));
                Data::Bytes(unpacked.get(start..start.saturating_add(bytes)).unwrap_or_default().to_vec())
            };
            let dtype = tensor.dtype.to_owned();
            self.push(Tensor { name: tensor.name, dtype, element, shape: tensor.shape, data });
        }
        Ok(())
    }

    /// A packed member, within the limits of all that is unpacked.
    fn unpack(&mut self, source: &mut dyn Source, member: &Member, limits: &Limits) -> io::Result<Option<Vec<u8>>> {
        let mut room = limits.member_bytes_max.min(limits.inflated_bytes_max.saturating_sub(self.unpacked));
        let shown = printable(&member.name_lossy(), 80);
        if self.want == Want::Heads {
            room = room.min(HEADER_BYTES_MAX);
        } else if member.size > room {
            self.unread(format!("`{shown}` is larger than what is unpacked"));
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let whole = match member.open(source)? {
            Some(reader) => reader.take(room).read_to_end(&mut bytes).is_ok(),
            None => false,
        };
        self.unpacked = self.unpacked.saturating_add(bytes.len() as u64);
        if !whole {
            self.unread(format!("`{shown}` cannot be unpacked"));
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    fn onnx(&mut self, source: &mut dyn Source, limits: &Limits) -> io::Result<()> {
        self.format = "onnx";
        if length(source)? > limits.model_bytes_max {
            self.unread("the model is larger than what is read whole".to_owned());
            return Ok(());
        }
        source.seek(SeekFrom::Start(0))?;
        let bytes = bytes_at(source, 0, limits.model_bytes_max)?;
        let model = match Model::parse(&bytes) {
            Ok(model) => model,
            Err(error) => {
                self.unread(error.to_string());
                return Ok(());
            }
        };
        for (_, tensor) in model.tensors() {
            let shape: Option<Vec<u64>> = tensor.dims.iter().map(|side| u64::try_from(*side).ok()).collect();
            let name = tensor.name.to_owned();
            let dtype = format!("{:?}", tensor.data_type).to_uppercase();
            let read = match (tensor.payload(), onnx_element(tensor.data_type)) {
                (Payload::Raw(raw), Some(element)) => {
                    Some((element, Data::At { offset: raw.offset as u64, bytes: raw.data.len() as u64 }))
                }
                (Payload::Typed { .. }, Some(_)) => tensor
                    .floats()
                    .ok()
                    .map(|values| (Element::F64, Data::Bytes(values.into_iter().flat_map(f64::to_le_bytes).collect()))),
                (Payload::Absent, _) => continue,
                _ => None,
            };
            match (read, shape) {
                (Some((element, data)), Some(shape)) => self.push(Tensor { name, dtype, element, shape, data }),
                (None, Some(shape)) => self.push_untyped(name, dtype, shape),
                (_, None) => self.unread(format!("`{}` has no shape", printable(&name, 80))),
            }
        }
        Ok(())
    }
}

fn onnx_element(kind: DataType) -> Option<Element> {
    Some(match kind {
        DataType::Double => Element::F64,
        DataType::Float => Element::F32,
        DataType::Float16 => Element::F16,
        DataType::Bfloat16 => Element::Bf16,
        DataType::Int64 => Element::I64,
        DataType::Int32 => Element::I32,
        DataType::Int16 => Element::I16,
        DataType::Int8 => Element::I8,
        DataType::Uint64 => Element::U64,
        DataType::Uint32 => Element::U32,
        DataType::Uint16 => Element::U16,
        DataType::Uint8 | DataType::Bool => Element::U8,
        _ => return None,
    })
}
