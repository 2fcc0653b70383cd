//! From bytes to the typed view: one function a message, all under one budget.
//!
//! [`Parser::fields`] is the loop that all of them share: it counts, notices repeated fields and collects notes.
//! Recursion (graphs in attributes in nodes in graphs) is bounded by `protobuf::DEPTH_MAX`.

use super::tensor::DataLocation;
use super::{
    Attribute, AttributeValue, DataType, Dimension, Function, Graph, Model, Node, Note, NoteKind, OnnxError, Opset,
    Property, SparseTensor, Tensor, Type, ValueInfo, field, limits,
};
use crate::protobuf::{Bytes, Field, ProtobufError, Reader, Value};

impl<'a> Model<'a> {
    /// Reads a whole `ModelProto`.
    ///
    /// # Errors
    /// Malformed protocol buffers, text that is not UTF-8, a message that appears twice where one may, or more of
    /// anything than [`limits`] allows. What the schema does not know is no error but a [`Note`].
    pub fn parse(file: &'a [u8]) -> Result<Self, OnnxError> {
        let mut parser = Parser::default();
        let mut model = parser.model(Reader::new(file)?)?;
        model.notes = parser.notes;
        model.notes_dropped = parser.notes_dropped;
        Ok(model)
    }
}

/// Reads the `TensorProto` that `bytes` holds, for a writer that walks the file itself.
pub(super) fn tensor<'a>(bytes: &Bytes<'a>, field_offset: usize) -> Result<Tensor<'a>, OnnxError> {
    Parser::default().tensor(bytes, field_offset)
}

#[derive(Default)]
struct Parser {
    messages: usize,
    texts: usize,
    numbers: usize,
    notes: Vec<Note>,
    notes_dropped: usize,
}

/// What a message's function did with a field.
enum Took {
    /// It may appear any number of times.
    Many,
    /// A scalar that may appear once; the last one counts.
    Scalar,
    /// A message that may appear once.
    Message,
    /// Nothing: the schema has it, we do not look inside.
    Unread,
    /// Nothing: the schema does not have it.
    Unknown,
}

impl Parser {
    fn fields<'a>(
        &mut self,
        mut reader: Reader<'a>,
        message: &'static str,
        mut take: impl FnMut(&mut Self, &Field<'a>) -> Result<Took, OnnxError>,
    ) -> Result<(), OnnxError> {
        count(&mut self.messages, 1, "messages", limits::MESSAGES_MAX)?;
        let mut seen = 0u64;
        while let Some(field) = reader.next_field()? {
            let bit = 1u64.checked_shl(field.number).unwrap_or(0);
            let took = take(self, &field)?;
            let note = match took {
                Took::Many => None,
                Took::Unread => Some(NoteKind::Unread),
                Took::Unknown => Some(NoteKind::Unknown),
                Took::Message if seen & bit != 0 => {
                    return Err(OnnxError::Repeated { message, number: field.number, offset: field.offset });
                }
                Took::Scalar if seen & bit != 0 => Some(NoteKind::Repeated),
                Took::Scalar | Took::Message => {
                    seen |= bit;
                    None
                }
            };
            if let Some(kind) = note {
                self.note(Note {
                    kind,
                    message,
                    number: field.number,
                    offset: field.offset,
                    length: field.end - field.offset,
                });
            }
        }
        Ok(())
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() < limits::NOTES_MAX {
            self.notes.push(note);
        } else {
            self.notes_dropped += 1;
        }
    }

    fn text<'a>(&mut self, bytes: &Bytes<'a>) -> Result<&'a str, OnnxError> {
        count(&mut self.texts, 1, "texts", limits::TEXTS_MAX)?;
        std::str::from_utf8(bytes.data).map_err(|_| OnnxError::Text { offset: bytes.offset })
    }

    fn integers(&mut self, value: &Value<'_>, into: &mut Vec<i64>) -> Result<Took, OnnxError> {
        match value {
            Value::Varint(one) => {
                count(&mut self.numbers, 1, "numbers", limits::NUMBERS_MAX)?;
                into.push(one.cast_signed());
            }
            Value::Bytes(packed) => {
                for number in packed.varints() {
                    count(&mut self.numbers, 1, "numbers", limits::NUMBERS_MAX)?;
                    into.push(number?.cast_signed());
                }
            }
            _ => return Ok(Took::Unknown),
        }
        Ok(Took::Many)
    }

    fn floats(&mut self, value: &Value<'_>, into: &mut Vec<f32>) -> Result<Took, OnnxError> {
        match value {
            Value::Fixed32(bits) => {
                count(&mut self.numbers, 1, "numbers", limits::NUMBERS_MAX)?;
                into.push(f32::from_bits(*bits));
            }
            Value::Bytes(packed) => {
                let (whole, rest) = packed.data.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(ProtobufError::Truncated { offset: packed.offset }.into());
                }
                count(&mut self.numbers, whole.len(), "numbers", limits::NUMBERS_MAX)?;
                into.extend(whole.iter().map(|chunk| f32::from_le_bytes(*chunk)));
            }
            _ => return Ok(Took::Unknown),
        }
        Ok(Took::Many)
    }

    fn model<'a>(&mut self, reader: Reader<'a>) -> Result<Model<'a>, OnnxError> {
        use field::model as f;
        let mut model = Model::default();
        self.fields(reader, "ModelProto", |parser, field| {
            match (field.number, &field.value) {
                (f::IR_VERSION, Value::Varint(value)) => model.ir_version = value.cast_signed(),
                (f::PRODUCER_NAME, Value::Bytes(bytes)) => model.producer_name = parser.text(bytes)?,
                (f::PRODUCER_VERSION, Value::Bytes(bytes)) => model.producer_version = parser.text(bytes)?,
                (f::DOMAIN, Value::Bytes(bytes)) => model.domain = parser.text(bytes)?,
                (f::MODEL_VERSION, Value::Varint(value)) => model.model_version = value.cast_signed(),
                (f::DOC_STRING, Value::Bytes(bytes)) => model.doc_string = parser.text(bytes)?,
                (f::GRAPH, Value::Bytes(bytes)) => {
                    model.graph = Some(parser.graph(bytes, field.offset)?);
                    return Ok(Took::Message);
                }
                (f::OPSET_IMPORT, Value::Bytes(bytes)) => {
                    model.opsets.push(parser.opset(bytes)?);
                    return Ok(Took::Many);
                }
                (f::METADATA, Value::Bytes(bytes)) => {
                    model.metadata.push(parser.property(bytes, field.offset)?);
                    return Ok(Took::Many);
                }
                (f::TRAINING_INFO, Value::Bytes(bytes)) => {
                    parser.training(bytes, &mut model.training)?;
                    return Ok(Took::Many);
                }
                (f::FUNCTIONS, Value::Bytes(bytes)) => {
                    model.functions.push(parser.function(bytes, field.offset)?);
                    return Ok(Took::Many);
                }
                (f::CONFIGURATION, Value::Bytes(_)) => return Ok(Took::Unread),
                _ => return Ok(Took::Unknown),
            }
            Ok(Took::Scalar)
        })?;
        Ok(model)
    }

    fn opset<'a>(&mut self, bytes: &Bytes<'a>) -> Result<Opset<'a>, OnnxError> {
        let mut opset = Opset { domain: "", version: 0 };
        self.fields(bytes.message()?, "OperatorSetIdProto", |parser, field| {
            match (field.number, &field.value) {
                (field::opset::DOMAIN, Value::Bytes(bytes)) => opset.domain = parser.text(bytes)?,
                (field::opset::VERSION, Value::Varint(value)) => opset.version = value.cast_signed(),
                _ => return Ok(Took::Unknown),
            }
            Ok(Took::Scalar)
        })?;
        Ok(opset)
    }

    fn property<'a>(&mut self, bytes: &Bytes<'a>, offset: usize) -> Result<Property<'a>, OnnxError> {
        let mut property = Property { key: "", value: "", offset };
        self.fields(bytes.message()?, "StringStringEntryProto", |parser, field| {
            match (field.number, &field.value) {
                (field::entry::KEY, Value::Bytes(bytes)) => property.key = parser.text(bytes)?,
                (field::entry::VALUE, Value::Bytes(bytes)) => property.value = parser.text(bytes)?,
                _ => return Ok(Took::Unknown),
            }
            Ok(Took::Scalar)
        })?;
        Ok(property)
    }

    fn training<'a>(&mut self, bytes: &Bytes<'a>, into: &mut Vec<Graph<'a>>) -> Result<(), OnnxError> {
        use field::training as f;
        self.fields(bytes.message()?, "TrainingInfoProto", |parser, field| match (field.number, &field.value) {
            (f::INITIALIZATION | f::ALGORITHM, Value::Bytes(bytes)) => {
                into.push(parser.graph(bytes, field.offset)?);
                Ok(Took::Message)
            }
            (f::INITIALIZATION_BINDING | f::UPDATE_BINDING, Value::Bytes(_)) => Ok(Took::Unread),
            _ => Ok(Took::Unknown),
        })
    }

    fn graph<'a>(&mut self, bytes: &Bytes<'a>, offset: usize) -> Result<Graph<'a>, OnnxError> {
        use field::graph as f;
        let mut graph = Graph { offset, ..Graph::default() };
        self.fields(bytes.message()?, "GraphProto", |parser, field| {
            match (field.number, &field.value) {
                (f::NAME, Value::Bytes(bytes)) => {
                    graph.name = parser.text(bytes)?;
                    return Ok(Took::Scalar);
                }
                (f::DOC_STRING, Value::Bytes(bytes)) => {
                    graph.doc_string = parser.text(bytes)?;
                    return Ok(Took::Scalar);
                }
                (f::NODE, Value::Bytes(bytes)) => graph.nodes.push(parser.node(bytes, field.offset)?),
                (f::INITIALIZER, Value::Bytes(bytes)) => graph.initialisers.push(parser.tensor(bytes, field.offset)?),
                (f::SPARSE_INITIALIZER, Value::Bytes(bytes)) => {
                    graph.sparse_initialisers.push(parser.sparse(bytes, field.offset)?);
                }
                (f::INPUT, Value::Bytes(bytes)) => graph.inputs.push(parser.value_info(bytes, field.offset)?),
                (f::OUTPUT, Value::Bytes(bytes)) => graph.outputs.push(parser.value_info(bytes, field.offset)?),
                (f::VALUE_INFO, Value::Bytes(bytes)) => graph.values.push(parser.value_info(bytes, field.offset)?),
                (f::METADATA, Value::Bytes(bytes)) => graph.metadata.push(parser.property(bytes, field.offset)?),
                (f::QUANTIZATION_ANNOTATION, Value::Bytes(_)) => return Ok(Took::Unread),
                _ => return Ok(Took::Unknown),
            }
            Ok(Took::Many)
        })?;
        Ok(graph)
    }

    fn node<'a>(&mut self, bytes: &Bytes<'a>, offset: usize) -> Result<Node<'a>, OnnxError> {
        use field::node as f;
        let mut node = Node { offset, ..Node::default() };
        self.fields(bytes.message()?, "NodeProto", |parser, field| {
            let Value::Bytes(bytes) = &field.value else { return Ok(Took::Unknown) };
            match field.number {
                f::INPUT => node.inputs.push(parser.text(bytes)?),
                f::OUTPUT => node.outputs.push(parser.text(bytes)?),
                f::ATTRIBUTE => node.attributes.push(parser.attribute(bytes, field.offset)?),
                f::METADATA => node.metadata.push(parser.property(bytes, field.offset)?),
                f::DEVICE_CONFIGURATIONS => return Ok(Took::Unread),
                scalar => {
                    let slot = match scalar {
                        f::NAME => &mut node.name,
                        f::OP_TYPE => &mut node.op_type,
                        f::DOC_STRING => &mut node.doc_string,
                        f::DOMAIN => &mut node.domain,
                        f::OVERLOAD => &mut node.overload,
                        _ => return Ok(Took::Unknown),
                    };
                    *slot = parser.text(bytes)?;
                    return Ok(Took::Scalar);
                }
            }
            Ok(Took::Many)
        })?;
        Ok(node)
    }

    fn attribute<'a>(&mut self, bytes: &Bytes<'a>, offset: usize) -> Result<Attribute<'a>, OnnxError> {
        use field::attribute as f;
        let mut attribute =
            Attribute { name: "", reference: "", doc_string: "", kind: 0, value: None, others: Vec::new(), offset };
        let mut lists = Lists::default();
        let mut single = Vec::new();
        self.fields(bytes.message()?, "AttributeProto", |parser, field| {
            let mut took = Took::Scalar;
            match (field.number, &field.value) {
                (f::NAME, Value::Bytes(bytes)) => attribute.name = parser.text(bytes)?,
                (f::REF_ATTR_NAME, Value::Bytes(bytes)) => attribute.reference = parser.text(bytes)?,
                (f::DOC_STRING, Value::Bytes(bytes)) => attribute.doc_string = parser.text(bytes)?,
                (f::TYPE, Value::Varint(value)) => attribute.kind = value.cast_signed(),
                (f::F, Value::Fixed32(bits)) => single.push(AttributeValue::Float(f32::from_bits(*bits))),
                (f::I, Value::Varint(value)) => single.push(AttributeValue::Int(value.cast_signed())),
                (f::S, Value::Bytes(bytes)) => single.push(AttributeValue::Bytes(bytes.data)),
                (f::FLOATS, value) => return parser.floats(value, lists.floats.get_or_insert_default()),
                (f::INTS, value) => return parser.integers(value, lists.ints.get_or_insert_default()),
                (number, Value::Bytes(bytes)) => {
                    took = parser.attribute_message(number, bytes, field.offset, &mut single, &mut lists)?;
                }
                _ => return Ok(Took::Unknown),
            }
            // A repeated value of ours must not be lost: the count bounds what a hostile file can pile up.
            count(&mut parser.numbers, 1, "numbers", limits::NUMBERS_MAX)?;
            Ok(took)
        })?;
        lists.append_to(&mut single);
        attribute.choose(single);
        Ok(attribute)
    }

    fn attribute_message<'a>(
        &mut self,
        number: u32,
        bytes: &Bytes<'a>,
        offset: usize,
        single: &mut Vec<AttributeValue<'a>>,
        lists: &mut Lists<'a>,
    ) -> Result<Took, OnnxError> {
        use field::attribute as f;
        match number {
            f::T => single.push(AttributeValue::Tensor(Box::new(self.tensor(bytes, offset)?))),
            f::G => single.push(AttributeValue::Graph(Box::new(self.graph(bytes, offset)?))),
            f::SPARSE_TENSOR => single.push(AttributeValue::SparseTensor(Box::new(self.sparse(bytes, offset)?))),
            f::TP => single.push(AttributeValue::Type(Box::new(self.value_type(bytes)?))),
            f::STRINGS => {
                count(&mut self.texts, 1, "texts", limits::TEXTS_MAX)?;
                lists.strings.get_or_insert_default().push(bytes.data);
                return Ok(Took::Many);
            }
            f::TENSORS => {
                lists.tensors.get_or_insert_default().push(self.tensor(bytes, offset)?);
                return Ok(Took::Many);
            }
            f::GRAPHS => {
                lists.graphs.get_or_insert_default().push(self.graph(bytes, offset)?);
                return Ok(Took::Many);
            }
            f::SPARSE_TENSORS => {
                lists.sparse_tensors.get_or_insert_default().push(self.sparse(bytes, offset)?);
                return Ok(Took::Many);
            }
            f::TYPE_PROTOS => {
                lists.types.get_or_insert_default().push(self.value_type(bytes)?);
                return Ok(Took::Many);
            }
            _ => return Ok(Took::Unknown),
        }
        Ok(Took::Message)
    }

    fn tensor<'a>(&mut self, bytes: &Bytes<'a>, offset: usize) -> Result<Tensor<'a>, OnnxError> {
        use field::tensor as f;
        let mut tensor = Tensor::empty(*bytes, offset);
        self.fields(bytes.message()?, "TensorProto", |parser, field| {
            let mut took = Took::Scalar;
            match (field.number, &field.value) {
                (f::DIMS, value) => return parser.integers(value, &mut tensor.dims),
                (f::DATA_TYPE, Value::Varint(value)) => tensor.data_type = DataType::from_code(value.cast_signed()),
                (f::NAME, Value::Bytes(bytes)) => tensor.name = parser.text(bytes)?,
                (f::DOC_STRING, Value::Bytes(bytes)) => tensor.doc_string = parser.text(bytes)?,
                (f::DATA_LOCATION, Value::Varint(value)) => {
                    tensor.location = DataLocation::from_code(value.cast_signed());
                }
                (f::RAW_DATA, Value::Bytes(bytes)) => tensor.raw = Some(*bytes),
                (f::SEGMENT, Value::Bytes(_)) => {
                    tensor.segmented = true;
                    took = Took::Unread;
                }
                (f::EXTERNAL_DATA, Value::Bytes(bytes)) => {
                    tensor.external.push(parser.property(bytes, field.offset)?);
                    took = Took::Many;
                }
                (f::METADATA, Value::Bytes(bytes)) => {
                    tensor.metadata.push(parser.property(bytes, field.offset)?);
                    took = Took::Many;
                }
                _ if tensor.add_typed(field) => took = Took::Many,
                _ => took = Took::Unknown,
            }
            Ok(took)
        })?;
        Ok(tensor)
    }

    fn sparse<'a>(&mut self, bytes: &Bytes<'a>, offset: usize) -> Result<SparseTensor<'a>, OnnxError> {
        use field::sparse as f;
        let mut sparse = SparseTensor { values: None, indices: None, dims: Vec::new(), offset };
        self.fields(bytes.message()?, "SparseTensorProto", |parser, field| match (field.number, &field.value) {
            (f::VALUES, Value::Bytes(bytes)) => {
                sparse.values = Some(parser.tensor(bytes, field.offset)?);
                Ok(Took::Message)
            }
            (f::INDICES, Value::Bytes(bytes)) => {
                sparse.indices = Some(parser.tensor(bytes, field.offset)?);
                Ok(Took::Message)
            }
            (f::DIMS, value) => parser.integers(value, &mut sparse.dims),
            _ => Ok(Took::Unknown),
        })?;
        Ok(sparse)
    }

    fn value_info<'a>(&mut self, bytes: &Bytes<'a>, offset: usize) -> Result<ValueInfo<'a>, OnnxError> {
        use field::value as f;
        let mut value = ValueInfo { name: "", value_type: None, offset };
        self.fields(bytes.message()?, "ValueInfoProto", |parser, field| match (field.number, &field.value) {
            (f::NAME, Value::Bytes(bytes)) => {
                value.name = parser.text(bytes)?;
                Ok(Took::Scalar)
            }
            (f::TYPE, Value::Bytes(bytes)) => {
                value.value_type = Some(parser.value_type(bytes)?);
                Ok(Took::Message)
            }
            (f::DOC_STRING | f::METADATA, Value::Bytes(_)) => Ok(Took::Unread),
            _ => Ok(Took::Unknown),
        })?;
        Ok(value)
    }

    fn value_type<'a>(&mut self, bytes: &Bytes<'a>) -> Result<Type<'a>, OnnxError> {
        use field::value_type as f;
        let mut found = Type::Missing;
        self.fields(bytes.message()?, "TypeProto", |parser, field| {
            let Value::Bytes(bytes) = &field.value else { return Ok(Took::Unknown) };
            if field.number == f::DENOTATION {
                return Ok(Took::Unread);
            }
            let value = match field.number {
                f::TENSOR => {
                    let (element, shape) = parser.tensor_type(bytes)?;
                    Type::Tensor { element, shape }
                }
                f::SPARSE_TENSOR => {
                    let (element, shape) = parser.tensor_type(bytes)?;
                    Type::SparseTensor { element, shape }
                }
                f::SEQUENCE => Type::Sequence(parser.inner_type(bytes)?.1),
                f::OPTIONAL => Type::Optional(parser.inner_type(bytes)?.1),
                f::MAP => {
                    let (key, value) = parser.inner_type(bytes)?;
                    Type::Map { key, value }
                }
                f::OPAQUE => Type::Opaque,
                _ => return Ok(Took::Unknown),
            };
            // The members form a `oneof`: the last one counts.
            found = value;
            Ok(Took::Message)
        })?;
        Ok(found)
    }

    fn tensor_type<'a>(&mut self, bytes: &Bytes<'a>) -> Result<(DataType, Option<Vec<Dimension<'a>>>), OnnxError> {
        use field::value_type as f;
        let mut element = DataType::Undefined;
        let mut shape = None;
        self.fields(bytes.message()?, "TypeProto.Tensor", |parser, field| match (field.number, &field.value) {
            (f::ELEMENT, Value::Varint(value)) => {
                element = DataType::from_code(value.cast_signed());
                Ok(Took::Scalar)
            }
            (f::SHAPE, Value::Bytes(bytes)) => {
                shape = Some(parser.shape(bytes)?);
                Ok(Took::Message)
            }
            _ => Ok(Took::Unknown),
        })?;
        Ok((element, shape))
    }

    /// The type inside a sequence or optional (field 1), or the key and value types of a map (fields 1 and 2).
    fn inner_type<'a>(&mut self, bytes: &Bytes<'a>) -> Result<(DataType, Option<Box<Type<'a>>>), OnnxError> {
        use field::value_type as f;
        let mut key = DataType::Undefined;
        let mut inner = None;
        self.fields(bytes.message()?, "TypeProto.Sequence", |parser, field| match (field.number, &field.value) {
            (f::ELEMENT, Value::Varint(value)) => {
                key = DataType::from_code(value.cast_signed());
                Ok(Took::Scalar)
            }
            (f::ELEMENT | f::SHAPE, Value::Bytes(bytes)) => {
                inner = Some(Box::new(parser.value_type(bytes)?));
                Ok(Took::Message)
            }
            _ => Ok(Took::Unknown),
        })?;
        Ok((key, inner))
    }

    fn shape<'a>(&mut self, bytes: &Bytes<'a>) -> Result<Vec<Dimension<'a>>, OnnxError> {
        let mut dimensions = Vec::new();
        self.fields(bytes.message()?, "TensorShapeProto", |parser, field| match (field.number, &field.value) {
            (field::shape::DIM, Value::Bytes(bytes)) => {
                dimensions.push(parser.dimension(bytes)?);
                Ok(Took::Many)
            }
            _ => Ok(Took::Unknown),
        })?;
        Ok(dimensions)
    }

    fn dimension<'a>(&mut self, bytes: &Bytes<'a>) -> Result<Dimension<'a>, OnnxError> {
        use field::shape as f;
        let mut dimension = Dimension::Unknown;
        self.fields(bytes.message()?, "TensorShapeProto.Dimension", |parser, field| {
            match (field.number, &field.value) {
                (f::DIM_VALUE, Value::Varint(value)) => dimension = Dimension::Fixed(value.cast_signed()),
                (f::DIM_PARAM, Value::Bytes(bytes)) => dimension = Dimension::Named(parser.text(bytes)?),
                (f::DENOTATION, Value::Bytes(_)) => return Ok(Took::Unread),
                _ => return Ok(Took::Unknown),
            }
            Ok(Took::Scalar)
        })?;
        Ok(dimension)
    }

    fn function<'a>(&mut self, bytes: &Bytes<'a>, offset: usize) -> Result<Function<'a>, OnnxError> {
        use field::function as f;
        let mut function = Function { offset, ..Function::default() };
        self.fields(bytes.message()?, "FunctionProto", |parser, field| {
            let Value::Bytes(bytes) = &field.value else { return Ok(Took::Unknown) };
            match field.number {
                f::INPUT => function.inputs.push(parser.text(bytes)?),
                f::OUTPUT => function.outputs.push(parser.text(bytes)?),
                f::ATTRIBUTE => function.attributes.push(parser.text(bytes)?),
                f::ATTRIBUTE_PROTO => function.defaults.push(parser.attribute(bytes, field.offset)?),
                f::NODE => function.nodes.push(parser.node(bytes, field.offset)?),
                f::OPSET_IMPORT => function.opsets.push(parser.opset(bytes)?),
                f::VALUE_INFO => function.values.push(parser.value_info(bytes, field.offset)?),
                f::METADATA => function.metadata.push(parser.property(bytes, field.offset)?),
                scalar => {
                    let slot = match scalar {
                        f::NAME => &mut function.name,
                        f::DOC_STRING => &mut function.doc_string,
                        f::DOMAIN => &mut function.domain,
                        f::OVERLOAD => &mut function.overload,
                        _ => return Ok(Took::Unknown),
                    };
                    *slot = parser.text(bytes)?;
                    return Ok(Took::Scalar);
                }
            }
            Ok(Took::Many)
        })?;
        Ok(function)
    }
}

/// The list-valued slots of an attribute.
#[derive(Default)]
struct Lists<'a> {
    floats: Option<Vec<f32>>,
    ints: Option<Vec<i64>>,
    strings: Option<Vec<&'a [u8]>>,
    tensors: Option<Vec<Tensor<'a>>>,
    graphs: Option<Vec<Graph<'a>>>,
    sparse_tensors: Option<Vec<SparseTensor<'a>>>,
    types: Option<Vec<Type<'a>>>,
}

impl<'a> Lists<'a> {
    fn append_to(self, values: &mut Vec<AttributeValue<'a>>) {
        values.extend(self.floats.map(AttributeValue::Floats));
        values.extend(self.ints.map(AttributeValue::Ints));
        values.extend(self.strings.map(AttributeValue::Strings));
        values.extend(self.tensors.map(AttributeValue::Tensors));
        values.extend(self.graphs.map(AttributeValue::Graphs));
        values.extend(self.sparse_tensors.map(AttributeValue::SparseTensors));
        values.extend(self.types.map(AttributeValue::Types));
    }
}

impl<'a> Attribute<'a> {
    /// Takes the value that `kind` names out of all that lie in the message; the last one, as protocol buffers say.
    fn choose(&mut self, mut values: Vec<AttributeValue<'a>>) {
        let wanted = match self.kind {
            0 if values.len() == 1 => Some(0),
            kind => values.iter().rposition(|value| value.kind() == kind),
        };
        self.value = wanted.map(|index| values.remove(index));
        if self.value.is_none() && values.is_empty() && self.reference.is_empty() {
            self.value = AttributeValue::default_of(self.kind);
        }
        self.others = values;
    }
}

impl AttributeValue<'_> {
    /// The code that `AttributeProto.type` has for this kind of value.
    pub fn kind(&self) -> i64 {
        match self {
            Self::Float(_) => 1,
            Self::Int(_) => 2,
            Self::Bytes(_) => 3,
            Self::Tensor(_) => 4,
            Self::Graph(_) => 5,
            Self::Floats(_) => 6,
            Self::Ints(_) => 7,
            Self::Strings(_) => 8,
            Self::Tensors(_) => 9,
            Self::Graphs(_) => 10,
            Self::SparseTensor(_) => 11,
            Self::SparseTensors(_) => 12,
            Self::Type(_) => 13,
            Self::Types(_) => 14,
        }
    }

    /// What a kind means where its field is absent: zero and the empty list are not written by every encoder.
    fn default_of(kind: i64) -> Option<Self> {
        Some(match kind {
            1 => Self::Float(0.0),
            2 => Self::Int(0),
            3 => Self::Bytes(&[]),
            6 => Self::Floats(Vec::new()),
            7 => Self::Ints(Vec::new()),
            8 => Self::Strings(Vec::new()),
            _ => return None,
        })
    }
}

fn count(counter: &mut usize, more: usize, what: &'static str, limit: usize) -> Result<(), OnnxError> {
    *counter = counter.saturating_add(more);
    if *counter > limit { Err(OnnxError::TooMany { what, limit }) } else { Ok(()) }
}
