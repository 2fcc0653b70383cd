//! `Einsum` as transpositions and one matrix product for each operand after the first.
//!
//! Each operand's letters are put in the order batch · left · summed · right; what is summed over one operand alone is
//! summed first. Repeated letters in one operand (diagonals) are refused.

use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::linear::Linear;
use crate::kernel::reduce::Reduction;
use crate::load::{Node, Place};
use crate::model::Element;
use crate::tensor::elements;

/// An operand whose axes have letters.
struct Lettered {
    x: Floats,
    letters: Vec<char>,
}

impl Lettered {
    fn length(&self, letter: char) -> Option<usize> {
        self.letters.iter().position(|own| *own == letter).map(|axis| self.x.shape[axis])
    }
}

impl Lowering<'_> {
    pub(super) fn einsum(&mut self, node: &Node, equation: &str) -> Result<Fact, NnError> {
        let place = &node.place;
        let bad = || place.attribute("equation", "does not fit the operands, or is not implemented");
        let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = match equation.split_once("->") {
            Some((left, right)) => (left.to_owned(), Some(right.to_owned())),
            None => (equation, None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != node.inputs.len() || terms.is_empty() {
            return Err(bad());
        }
        let mut operands = Vec::new();
        for (index, term) in terms.iter().enumerate() {
            let x = self.floats(node, index)?;
            let letters = letters(term, x.shape.len()).ok_or_else(bad)?;
            operands.push(Lettered { x, letters });
        }
        let output = match right {
            Some(right) => {
                let dots = operands.iter().flat_map(|operand| &operand.letters).filter(|letter| is_dot(**letter));
                let dots = dots.collect::<std::collections::BTreeSet<_>>().len();
                let written = right.replace("...", "").chars().count();
                letters(&right, written + if right.contains("...") { dots } else { 0 }).ok_or_else(bad)?
            }
            None => implied(&operands),
        };
        for letter in &output {
            if !operands.iter().any(|operand| operand.letters.contains(letter)) {
                return Err(bad());
            }
        }
        let mut rest = operands.into_iter();
        let mut result = rest.next().ok_or_else(bad)?;
        let mut later: Vec<Lettered> = rest.collect();
        result = self.summed_alone(place, result, &output, &later)?;
        while !later.is_empty() {
            let next = later.remove(0);
            let next = self.summed_alone(place, next, &[&output[..], &result.letters[..]].concat(), &later)?;
            result = self.contracted(place, &result, &next, &output, &later)?;
        }
        let order: Option<Vec<usize>> =
            output.iter().map(|letter| result.letters.iter().position(|own| own == letter)).collect();
        let order = order.filter(|order| order.len() == result.letters.len()).ok_or_else(bad)?;
        self.apply_transpose(place, &result.x, &order).map(Fact::Floats)
    }

    /// Sums over the letters that neither the output nor another operand has.
    fn summed_alone(
        &mut self,
        place: &Place,
        operand: Lettered,
        kept: &[char],
        others: &[Lettered],
    ) -> Result<Lettered, NnError> {
        let needed = |letter: &char| kept.contains(letter) || others.iter().any(|other| other.letters.contains(letter));
        let lonely = operand.letters.iter().enumerate().filter(|(_, letter)| !needed(letter));
        let axes: Vec<i64> = lonely.filter_map(|(axis, _)| i64::try_from(axis).ok()).collect();
        if axes.is_empty() {
            return Ok(operand);
        }
        let x = self.apply_reduce(place, Reduction::Sum, &operand.x, Some(axes), false)?;
        let letters = operand.letters.iter().copied().filter(needed).collect();
        Ok(Lettered { x, letters })
    }

    /// One product of two operands.
    fn contracted(
        &mut self,
        place: &Place,
        a: &Lettered,
        b: &Lettered,
        output: &[char],
        later: &[Lettered],
    ) -> Result<Lettered, NnError> {
        let kept = |letter: &char| output.contains(letter) || later.iter().any(|other| other.letters.contains(letter));
        let shared = |letter: &&char| b.letters.contains(letter);
        let batch: Vec<char> = a.letters.iter().filter(shared).filter(|letter| kept(letter)).copied().collect();
        let summed: Vec<char> = a.letters.iter().filter(shared).filter(|letter| !kept(letter)).copied().collect();
        let rows: Vec<char> = a.letters.iter().filter(|letter| !shared(letter)).copied().collect();
        let columns: Vec<char> = b.letters.iter().filter(|letter| !a.letters.contains(letter)).copied().collect();
        if a.letters.iter().filter(shared).any(|letter| a.length(*letter) != b.length(*letter)) {
            return Err(place.problem("has operands that do not fit each other"));
        }
        let size = |operand: &Lettered, letters: &[char]| -> usize {
            letters.iter().filter_map(|letter| operand.length(*letter)).product()
        };
        let left = self.ordered(place, a, &[&batch[..], &rows, &summed].concat())?;
        let right = self.ordered(place, b, &[&batch[..], &summed, &columns].concat())?;
        let (m, inner, n, count) = (size(a, &rows), size(a, &summed), size(b, &columns), size(a, &batch));
        if inner == 0 || elements(&[count, m, n]).is_none() {
            return Err(place.problem("makes a tensor beyond the limits, or sums over an empty axis"));
        }
        self.afford_table::<(usize, usize)>(count)?;
        let products = (0..count).map(|at| (at, at)).collect();
        let linear =
            Linear { m, k: inner, n, transpose_a: false, transpose_b: false, alpha: 1.0, products, rectify: false };
        let letters = [&batch[..], &rows, &columns].concat();
        let length = |letter: &char| a.length(*letter).or_else(|| b.length(*letter)).unwrap_or(1);
        let shape = letters.iter().map(length).collect();
        let product = self.emit_as(Element::Float, place, Kernel::Linear(linear), &[&left, &right], shape)?;
        Ok(Lettered { x: product, letters })
    }

    fn ordered(&mut self, place: &Place, operand: &Lettered, order: &[char]) -> Result<Floats, NnError> {
        let order: Vec<usize> =
            order.iter().filter_map(|letter| operand.letters.iter().position(|own| own == letter)).collect();
        self.apply_transpose(place, &operand.x, &order)
    }
}

/// The letters of a term over `rank` axes; the axes under an ellipsis get letters that nobody can write, counted from the
/// last. `None` where the term does not fit, or has a letter twice.
fn letters(term: &str, rank: usize) -> Option<Vec<char>> {
    let written = term.replace("...", "").chars().count();
    let hidden = rank.checked_sub(written)?;
    let dots: Vec<char> = (0..hidden).rev().filter_map(|at| char::from_u32(DOTS + u32::try_from(at).ok()?)).collect();
    let mut found = Vec::new();
    match term.split_once("...") {
        Some((before, after)) => {
            found.extend(before.chars());
            found.extend(dots);
            found.extend(after.chars());
        }
        None if hidden == 0 => found.extend(term.chars()),
        None => return None,
    }
    let valid = |letter: &char| letter.is_ascii_alphabetic() || is_dot(*letter);
    let twice = (1..found.len()).any(|at| found[..at].contains(&found[at]));
    (found.iter().all(valid) && !twice).then_some(found)
}

fn is_dot(letter: char) -> bool {
    (DOTS..DOTS + 64).contains(&u32::from(letter))
}

/// Without an arrow: what stands under an ellipsis, then the letters that occur once, in their order.
fn implied(operands: &[Lettered]) -> Vec<char> {
    let mut all: Vec<char> = operands.iter().flat_map(|operand| operand.letters.clone()).collect();
    all.sort_unstable();
    let count = |letter: char| all.iter().filter(|other| **other == letter).count();
    let mut dots: Vec<char> = all.iter().copied().filter(|letter| is_dot(*letter)).collect();
    dots.dedup();
    dots.reverse();
    dots.extend(all.iter().copied().filter(|letter| !is_dot(*letter) && count(*letter) == 1));
    dots
}

/// Where the letters of hidden axes begin: private characters.
const DOTS: u32 = 0xe000;
