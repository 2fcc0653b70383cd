//! Jinja templates as a tree, read without rendering.
//!
//! [`read`] takes any text: what is outside of `{{ }}`, `{% %}` and `{# #}` is literal, and a block that cannot be parsed is
//! left out and told as the [`Template::flaw`]. The dialect is that of chat templates: Jinja 3 with loop controls, `do`,
//! `generation`, and everything that sandboxed environments refuse only when they render.
//!
//! What holds: texts are unescaped as Jinja does, adjacent ones joined, so a reader of the tree sees no spelling but the
//! meaning; nesting, length and number of nodes are bounded.
//!
//! Grammar: Jinja's `lexer.py` and `parser.py` (Pallets, version 3.1), "Template Designer Documentation".

mod lex;
mod parse;

pub(crate) use lex::unescape;

/// Longest template, in bytes; of a longer one the beginning is read.
pub const BYTES_MAX: usize = 1 << 20;
/// Most expressions and statements.
pub const NODES_MAX: usize = 400_000;
/// Deepest nesting of expressions, and of statements.
pub const DEPTH_MAX: usize = 128;

/// A whole template.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    /// What it does, in order.
    pub body: Vec<Statement>,
    /// The first thing that could not be parsed.
    pub flaw: Option<Flaw>,
    /// Blocks and expressions in braces.
    pub blocks: usize,
    /// Comments, with their offsets in bytes.
    pub comments: Vec<(usize, String)>,
}

/// Something that is no Jinja.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Where, in bytes.
    pub at: usize,
    /// What was wrong.
    pub reason: &'static str,
}

/// What a template does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Statement {
    /// Text outside of braces.
    Literal {
        /// Where, in bytes.
        at: usize,
        /// The text.
        text: String,
    },
    /// `{{ value }}`.
    Output(Node),
    /// `if`, `elif`, `else` (without a condition).
    If(Vec<(Option<Node>, Vec<Statement>)>),
    /// `for`.
    For {
        /// Names that each element is bound to.
        targets: Vec<String>,
        /// What is walked.
        over: Node,
        /// `if` in the loop's head.
        only: Option<Node>,
        /// What is repeated, and what is done when there was nothing.
        body: Vec<Statement>,
        /// The loop's `else`.
        otherwise: Vec<Statement>,
    },
    /// `set`: names (or `name.attribute`), and either a value or a body.
    Set {
        /// What is set.
        targets: Vec<Node>,
        /// The value.
        value: Option<Node>,
        /// What is rendered into the names.
        body: Vec<Statement>,
    },
    /// `macro`, or `call` with its parameters.
    Macro {
        /// Name; empty for `call`.
        name: String,
        /// Parameters and their defaults.
        parameters: Vec<(String, Option<Node>)>,
        /// What is called (`call` only).
        call: Option<Node>,
        /// The body.
        body: Vec<Statement>,
    },
    /// `filter`, `block`, `with`, `autoescape`, `generation`: expressions in the head, then a body.
    Group {
        /// The tag.
        tag: String,
        /// Expressions of the head; for `with` pairs of name and value.
        head: Vec<Node>,
        /// The body.
        body: Vec<Statement>,
    },
    /// `include`, `import`, `from`, `extends`.
    Reach {
        /// Where, in bytes.
        at: usize,
        /// The tag.
        tag: String,
        /// What is reached for.
        target: Node,
        /// Names that come from there.
        names: Vec<String>,
    },
    /// `do`.
    Do(Node),
    /// A tag without effect on others: `break`, `continue`, unknown ones.
    Tag {
        /// Where, in bytes.
        at: usize,
        /// The tag.
        name: String,
    },
}

/// An expression and where it begins, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Offset in bytes.
    pub at: usize,
    /// What it is.
    pub kind: Expression,
}

/// A boxed expression.
pub type Inner = Box<Node>;

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Expression {
    /// A text, unescaped.
    Text(String),
    /// A number as written.
    Number(String),
    /// `true`, `false`, `none`.
    Word(String),
    /// A variable.
    Name(String),
    /// `base.name`.
    Attribute(Inner, String),
    /// `base[key]`.
    Item(Inner, Inner),
    /// `base[a:b:c]`.
    Slice(Inner, Vec<Option<Node>>),
    /// `base(arguments)`.
    Call(Inner, Vec<Argument>),
    /// `base | name(arguments)`; without a base inside of `filter` blocks.
    Filter(Option<Inner>, String, Vec<Argument>),
    /// `base is name arguments`.
    Test(Inner, String, Vec<Argument>),
    /// `not`, `-`, `+`.
    Unary(&'static str, Inner),
    /// Two operands: arithmetic, `~`, comparisons, `in`, `not in`, `and`, `or`.
    Binary(&'static str, Inner, Inner),
    /// `then if test else otherwise`.
    Choice {
        /// Value if the test holds.
        then: Inner,
        /// The test.
        test: Inner,
        /// Value if not.
        otherwise: Option<Inner>,
    },
    /// A list or a tuple.
    List(Vec<Node>),
    /// Keys and values.
    Map(Vec<(Node, Node)>),
}

/// An argument of a call, filter or test.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// `name=value`, or `*`, `**`.
    pub name: Option<String>,
    /// The value.
    pub value: Node,
}

/// Reads `text`, at most [`BYTES_MAX`] bytes of it.
pub fn read(text: &str) -> Template {
    let end = text.floor_char_boundary(BYTES_MAX.min(text.len()));
    let lexed = lex::tokens(text.get(..end).unwrap_or_default());
    let mut template = parse::parse(lexed);
    if end < text.len() && template.flaw.is_none() {
        template.flaw = Some(Flaw { at: end, reason: "longer than what is read" });
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> Template {
        let template = read(text);
        assert_eq!(template.flaw, None, "{text}");
        template
    }

    fn only_output(text: &str) -> Expression {
        match clean(text).body.into_iter().next() {
            Some(Statement::Output(node)) => node.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_construct_of_chat_templates() {
        let texts = [
            "{%- for m in messages if m.role == 'user' -%}{{ loop.index0 }}{% else %}none{%- endfor %}",
            "{% set ns = namespace(a=1, b=[1,2,]) %}{% set ns.a = 2 %}{% set x, y = 1, 2 %}",
            "{% macro f(a, b=none, *c) %}{{ caller() }}{% endmacro %}{% call(x) f(1, b=2) %}{{ x }}{% endcall %}",
            "{% if a is defined and b is not none or c is string %}{% elif not x in y and x not in z %}{% else %}{% endif %}",
            "{{ a[1:] ~ b[::-1] + c[-1].d | default('', true) | tojson(indent=4) }}",
            "{{ 'x' if a else 'y' }}{{ 'x' if a }}{{ {'a': 1, 'b': [1, (2, 3), ()]}.items() }}",
            "{%+ raw %}{{ nothing }}{% endraw %}{# a comment {{ x }} #}{% generation %}{{ a }}{% endgeneration %}",
            "{% for a in b %}{% break %}{% continue %}{% endfor %}{% do x.append(1) %}{% filter upper|trim %}a{% endfilter %}",
            "{{ x is divisibleby 3 }}{{ x is sameas(none) }}{{ a.0 }}{{ 1.5e3 // 2 ** -x % 3 }}{{ a == b == c }}",
            "{% with a = 1, b = 2 %}{{ a }}{% endwith %}{% set x %}body{% endset %}{% set x | trim %}body{% endset %}",
            "{% for a, (b, c) in d.items() recursive %}{{ loop(a) }}{% endfor %}{% block x scoped %}{% endblock x %}",
            "{% include 'a' ignore missing %}{% import 'a' as b %}{% from 'a' import b as c, d with context %}{% extends 'a' %}",
            "{{ f(*a, **b) }}{{ a.b.c(d)(e)[f] }}{{ x|map(attribute='a')|list|length > 0 }}{{ -1 }}{{ not a }}{{ 1_000 }}",
        ];
        for text in texts {
            clean(text);
        }
    }

    #[test]
    fn spellings_are_resolved() {
        for text in [r"{{ '\x5f\x5fa' }}", r#"{{ "\u005f_" 'a' }}"#, r"{{ '\137\N{LOW LINE}a' }}"] {
            assert_eq!(only_output(text), Expression::Text("__a".to_owned()), "{text}");
        }
    }

    #[test]
    fn precedence() {
        let Expression::Binary("+", _, right) = only_output("{{ a + b ~ c * d }}") else { panic!() };
        assert!(matches!(right.kind, Expression::Binary("~", ..)));
        assert!(matches!(only_output("{{ not a in b }}"), Expression::Unary("not", _)));
        assert!(matches!(only_output("{{ a ~ b | upper }}"), Expression::Binary("~", ..)));
    }

    #[test]
    fn broken_blocks_do_not_hide_others() {
        for text in ["{{ a b }}{{ c.__class__ }}", "{% if %}{{ c.__class__ }}", "{{ $ }}{% endfor %}{{ c.__class__ }}"]
        {
            let template = read(text);
            assert!(template.flaw.is_some(), "{text}");
            assert!(format!("{:?}", template.body).contains("__class__"), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        for text in ["{{ ", "{{ not ", "{{ a"] {
            let inside = if text.ends_with('a') { "[a" } else { "(-" };
            assert!(read(&format!("{text}{}", inside.repeat(100_000))).flaw.is_some());
        }
        assert!(read(&"{% if a %}".repeat(10_000)).flaw.is_some());
    }
}
