//! Reading a node's attributes so that none is overlooked.

use ringfence_format::onnx::{AttributeValue, Node};

use super::nice;
use crate::error::NnError;

/// Where an operator stands, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) operator: String,
    pub(crate) opset: i64,
}

impl Place {
    pub(crate) fn problem(&self, problem: &'static str) -> NnError {
        NnError::Node { node: self.node.clone(), operator: self.operator.clone(), opset: self.opset, problem }
    }

    pub(crate) fn unknown(&self) -> NnError {
        NnError::Operator { node: self.node.clone(), operator: self.operator.clone(), opset: self.opset }
    }

    pub(crate) fn attribute(&self, attribute: &str, problem: &'static str) -> NnError {
        NnError::Attribute {
            node: self.node.clone(),
            operator: self.operator.clone(),
            opset: self.opset,
            attribute: attribute.to_owned(),
            problem,
        }
    }
}

/// The attributes of one node. [`Attributes::finish`] refuses what nobody asked for.
pub(super) struct Attributes<'m, 'a> {
    node: &'m Node<'a>,
    pub(super) place: &'m Place,
    asked: Vec<&'static str>,
}

impl<'m, 'a> Attributes<'m, 'a> {
    /// Refuses attributes that appear twice, refer to a function's caller, or carry more than one value.
    pub(super) fn new(node: &'m Node<'a>, place: &'m Place) -> Result<Self, NnError> {
        for (index, attribute) in node.attributes.iter().enumerate() {
            let before = node.attributes.iter().take(index);
            if before.into_iter().any(|earlier| earlier.name == attribute.name) {
                return Err(place.attribute(attribute.name, "appears twice"));
            }
            if !attribute.reference.is_empty() || !attribute.others.is_empty() {
                return Err(place.attribute(attribute.name, "has an ambiguous value"));
            }
        }
        Ok(Self { node, place, asked: Vec::new() })
    }

    pub(super) fn operator(&self) -> &'m str {
        self.node.op_type
    }

    pub(super) fn domain(&self) -> &'m str {
        self.node.domain
    }

    pub(super) fn opset(&self) -> i64 {
        self.place.opset
    }

    /// How many outputs the node names.
    pub(super) fn outputs(&self) -> usize {
        self.node.outputs.len()
    }

    fn value(&mut self, name: &'static str) -> Option<&'m AttributeValue<'a>> {
        self.asked.push(name);
        self.node.attributes.iter().find(|attribute| attribute.name == name)?.value.as_ref()
    }

    fn wrong(&self, name: &str) -> NnError {
        self.place.attribute(name, "has a value of the wrong type")
    }

    pub(super) fn int(&mut self, name: &'static str, default: i64) -> Result<i64, NnError> {
        Ok(self.optional_int(name)?.unwrap_or(default))
    }

    pub(super) fn optional_int(&mut self, name: &'static str) -> Result<Option<i64>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(AttributeValue::Int(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(name)),
        }
    }

    /// An attribute that is 0 or 1.
    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, NnError> {
        match self.int(name, i64::from(default))? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.place.attribute(name, "is neither 0 nor 1")),
        }
    }

    pub(super) fn float(&mut self, name: &'static str, default: f64) -> Result<f64, NnError> {
        match self.value(name) {
            None => Ok(default),
            Some(AttributeValue::Float(value)) => Ok(nice::nice(*value)),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn ints(&mut self, name: &'static str) -> Result<Option<Vec<i64>>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(AttributeValue::Ints(values)) => Ok(Some(values.clone())),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn floats(&mut self, name: &'static str) -> Result<Option<Vec<f32>>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(AttributeValue::Floats(values)) => Ok(Some(values.clone())),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn text(&mut self, name: &'static str, default: &'static str) -> Result<&'m str, NnError>
    where
        'a: 'm,
    {
        match self.value(name) {
            None => Ok(default),
            Some(AttributeValue::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| self.wrong(name)),
            Some(_) => Err(self.wrong(name)),
        }
    }

    /// A one-element tensor, as `ConstantOfShape` has: its number, and whether that is an integer.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<(f64, bool)>, NnError> {
        let tensor = match self.value(name) {
            None => return Ok(None),
            Some(AttributeValue::Tensor(tensor)) => tensor,
            Some(_) => return Err(self.wrong(name)),
        };
        let number = match tensor.floats() {
            Ok(numbers) => <[f64; 1]>::try_from(numbers).ok().map(|[number]| (number, false)),
            Err(_) => <[i64; 1]>::try_from(tensor.integers()?).ok().map(|[number]| (number as f64, true)),
        };
        number.map(Some).ok_or_else(|| self.wrong(name))
    }

    /// A tensor of floating-point numbers.
    pub(super) fn tensor_floats(&mut self, name: &'static str) -> Result<Option<Vec<f64>>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(AttributeValue::Tensor(tensor)) => Ok(Some(tensor.floats()?)),
            Some(_) => Err(self.wrong(name)),
        }
    }

    /// A list of texts.
    pub(super) fn text_list(&mut self, name: &'static str) -> Result<Vec<&'a [u8]>, NnError> {
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(AttributeValue::Strings(texts)) => Ok(texts.clone()),
            Some(_) => Err(self.wrong(name)),
        }
    }

    /// How many texts a list has.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<usize, NnError> {
        self.text_list(name).map(|texts| texts.len())
    }

    /// Accepts an attribute that has no say.
    pub(super) fn skip(&mut self, name: &'static str) {
        self.asked.push(name);
    }

    /// Refuses an attribute that has a value other than the one that is implemented.
    pub(super) fn only(&mut self, name: &'static str, implemented: i64) -> Result<(), NnError> {
        match self.int(name, implemented)? {
            value if value == implemented => Ok(()),
            _ => Err(self.place.attribute(name, "has a value that is not implemented")),
        }
    }

    /// Refuses attributes that nobody asked for: unknown, or of another version of the operator.
    pub(super) fn finish(&self) -> Result<(), NnError> {
        match self.node.attributes.iter().find(|attribute| !self.asked.contains(&attribute.name)) {
            Some(attribute) => Err(self.place.attribute(attribute.name, "is not known")),
            None => Ok(()),
        }
    }
}
