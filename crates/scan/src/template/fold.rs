//! Computes constant expressions to texts, so that `'__cla' ~ 'ss__'` is what it becomes.

use ringfence_format::jinja::{Argument, Expression, Node};

use super::Scope;

/// Longest text that is computed, in bytes.
const FOLDED_BYTES_MAX: usize = 64 << 10;

/// How much is computed for one template, in bytes and steps.
pub(super) const FOLD_BUDGET: u64 = 64 << 20;

/// The text that `node` is, if it is constant. When the budget of `scope` is used up nothing is.
pub(super) fn text(node: &Node, scope: &Scope) -> Option<String> {
    let left = scope.fold_budget.get().checked_sub(1)?;
    scope.fold_budget.set(left);
    let folded = match &node.kind {
        Expression::Text(text) => text.clone(),
        Expression::Number(number) => number.replace('_', ""),
        Expression::Name(name) => scope.constant(name)?.to_owned(),
        Expression::Attribute(base, attribute) => match &base.kind {
            Expression::Name(name) => scope.constant(&format!("{name}.{attribute}"))?.to_owned(),
            _ => return None,
        },
        Expression::Binary("~", left, right) => text(left, scope)? + &text(right, scope)?,
        Expression::Binary("+", left, right) if !is_number(left) && !is_number(right) => {
            text(left, scope)? + &text(right, scope)?
        }
        Expression::Binary("*", left, right) if !is_number(left) => {
            let count = number(right)?;
            let unit = text(left, scope)?;
            let count = usize::try_from(count).ok().filter(|count| count * unit.len().max(1) <= FOLDED_BYTES_MAX)?;
            unit.repeat(count)
        }
        Expression::Binary("%", left, right) if !is_number(left) => {
            printed(&text(left, scope)?, &values(right, scope)?)?
        }
        Expression::Item(base, key) => {
            let (base, key) = (text(base, scope)?, number(key)?);
            let count = i128::try_from(base.chars().count()).ok()?;
            let index = if key < 0 { key + count } else { key };
            base.chars().nth(usize::try_from(index).ok()?)?.to_string()
        }
        Expression::Slice(base, parts) => slice(&text(base, scope)?, parts)?,
        Expression::Filter(Some(base), name, arguments) => method(base, name, arguments, scope)?,
        Expression::Call(base, arguments) => match &base.kind {
            Expression::Attribute(base, name) => called(base, name, arguments, scope)?,
            _ => return None,
        },
        _ => return None,
    };
    scope.fold_budget.set(scope.fold_budget.get().saturating_sub(folded.len() as u64));
    (folded.len() <= FOLDED_BYTES_MAX).then_some(folded)
}

/// The whole number that `node` is; beyond what fits it stays at the largest.
pub(super) fn number(node: &Node) -> Option<i128> {
    match &node.kind {
        Expression::Number(number) => number.replace('_', "").parse().ok(),
        Expression::Unary("-", inner) => number(inner).map(i128::saturating_neg),
        Expression::Unary("+", inner) => number(inner),
        Expression::Binary(sign, left, right) => {
            let (left, right) = (number(left)?, number(right)?);
            Some(match *sign {
                "+" => left.saturating_add(right),
                "-" => left.saturating_sub(right),
                "*" => left.saturating_mul(right),
                "**" => left.saturating_pow(u32::try_from(right.clamp(0, 1 << 20)).unwrap_or(0)),
                _ => return None,
            })
        }
        _ => None,
    }
}

fn is_number(node: &Node) -> bool {
    matches!(node.kind, Expression::Number(_)) || number(node).is_some()
}

fn values(node: &Node, scope: &Scope) -> Option<Vec<String>> {
    match &node.kind {
        Expression::List(items) => items.iter().map(|item| text(item, scope)).collect(),
        _ => Some(vec![text(node, scope)?]),
    }
}

fn of(arguments: &[Argument], scope: &Scope) -> Option<Vec<String>> {
    arguments.iter().map(|argument| text(&argument.value, scope)).collect()
}

/// `pattern` with each `hole` filled.
fn filled(pattern: &str, hole: &str, values: &[String]) -> String {
    let mut out = pattern.to_owned();
    for (index, value) in values.iter().enumerate().take(64) {
        out = out.replace(&format!("{{{index}}}"), value).replacen(hole, value, 1);
    }
    out
}

/// `pattern % values`: `%s` and `%d` take a value's text, `%c` the character of a number; `None`: anything else.
fn printed(pattern: &str, values: &[String]) -> Option<String> {
    let mut values = values.iter();
    let mut out = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match if letter == '%' { letters.next()? } else { '\0' } {
            '\0' => out.push(letter),
            '%' => out.push('%'),
            's' | 'd' | 'i' => out.push_str(values.next()?),
            'c' => match values.next()? {
                one if one.chars().count() == 1 && !one.starts_with(|c: char| c.is_ascii_digit()) => out.push_str(one),
                number => out.push(char::from_u32(number.parse().ok()?)?),
            },
            _ => return None,
        }
    }
    Some(out)
}

fn slice(base: &str, parts: &[Option<Node>]) -> Option<String> {
    let part = |index: usize| parts.get(index).and_then(Option::as_ref).map(number);
    let characters: Vec<char> = base.chars().collect();
    let count = i128::try_from(characters.len()).ok()?;
    let step = part(2).map_or(Some(1), |step| step)?;
    let bound = |value: i128| if value < 0 { (value + count).max(-1) } else { value.min(count) };
    let (first, last) = if step > 0 { (0, count) } else { (count - 1, -1) };
    let mut at = part(0).map_or(Some(first), |start| start.map(bound))?;
    let end = part(1).map_or(Some(last), |end| end.map(bound))?;
    if step == 0 {
        return None;
    }
    let mut out = String::new();
    while if step > 0 { at < end } else { at > end } {
        out.extend(usize::try_from(at).ok().and_then(|at| characters.get(at)));
        at = at.saturating_add(step);
    }
    Some(out)
}

/// `base | name(arguments)`.
fn method(base: &Node, name: &str, arguments: &[Argument], scope: &Scope) -> Option<String> {
    if name == "join" {
        let glue = of(arguments, scope)?.into_iter().next().unwrap_or_default();
        return Some(values(base, scope)?.join(&glue));
    }
    let base_text = text(base, scope)?;
    let arguments = of(arguments, scope)?;
    Some(match (name, arguments.as_slice()) {
        ("lower", _) => base_text.to_lowercase(),
        ("upper", _) => base_text.to_uppercase(),
        (
            "trim" | "string" | "safe" | "e" | "escape" | "urlencode" | "default" | "d" | "forceescape" | "capitalize"
            | "title",
            _,
        ) => base_text,
        ("reverse", _) => base_text.chars().rev().collect(),
        ("replace", [from, to, ..]) if !from.is_empty() => base_text.replace(from, to),
        ("format", values) => printed(&base_text, values)?,
        _ => return None,
    })
}

/// `base.name(arguments)`.
fn called(base: &Node, name: &str, arguments: &[Argument], scope: &Scope) -> Option<String> {
    if name == "join" {
        let glue = text(base, scope)?;
        return Some(values(&arguments.first()?.value, scope)?.join(&glue));
    }
    let base_text = text(base, scope)?;
    let arguments = of(arguments, scope)?;
    Some(match (name, arguments.as_slice()) {
        ("lower" | "casefold", _) => base_text.to_lowercase(),
        ("upper", _) => base_text.to_uppercase(),
        ("strip" | "lstrip" | "rstrip", []) => base_text.trim().to_owned(),
        ("replace", [from, to, ..]) if !from.is_empty() => base_text.replace(from, to),
        ("format", values) => filled(&base_text, "{}", values),
        ("swapcase", _) => {
            let turned = |c: char| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            base_text.chars().map(turned).collect()
        }
        _ => return None,
    })
}
