//! From words to statements and expressions, by recursive descent with a counted depth.

#![deny(clippy::indexing_slicing)]

use super::{
    Argument, DEPTH_MAX, Expression, Flaw, Inner, NODES_MAX, Node, Statement, Template,
    lex::{Kind, Lexed, Token},
};

/// A block that is no Jinja: why.
type Parsed<T> = Result<T, &'static str>;

pub(super) fn parse(lexed: Lexed) -> Template {
    let blocks = lexed.tokens.iter().filter(|token| matches!(token.kind, Kind::BlockStart | Kind::OutputStart)).count();
    let mut parser = Parser { tokens: lexed.tokens, at: 0, depth: 0, links: 0, nodes: 0, flaw: lexed.flaw };
    let mut body = Vec::new();
    while parser.at < parser.tokens.len() {
        body.extend(parser.body(&[], 0).0);
    }
    Template { body, flaw: parser.flaw, blocks, comments: lexed.comments }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Operators, subscripts and filters of this block: each makes a tree deeper without recursion here.
    links: usize,
    nodes: usize,
    flaw: Option<Flaw>,
}

/// Most operators, subscripts and filters of one block.
const LINKS_MAX: usize = 600;

const END: Kind = Kind::Bad;

impl Parser {
    fn kind(&self) -> &Kind {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> &Kind {
        self.tokens.get(self.at + by).map_or(&END, |token| &token.kind)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).or_else(|| self.tokens.last()).map_or(0, |token| token.at)
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.kind(), Kind::Sign(found) if *found == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.kind(), Kind::Name(name) if name == word)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_it = self.is_sign(sign);
        self.at += usize::from(is_it);
        is_it
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_it = self.is_word(word);
        self.at += usize::from(is_it);
        is_it
    }

    fn sign(&mut self, sign: &str, reason: &'static str) -> Parsed<()> {
        if self.take_sign(sign) { Ok(()) } else { Err(reason) }
    }

    fn name(&mut self) -> Parsed<String> {
        let Kind::Name(name) = self.kind() else { return Err("a name is missing") };
        let name = name.clone();
        self.at += 1;
        Ok(name)
    }

    fn flawed(&mut self, reason: &'static str) {
        let at = self.place();
        self.flaw.get_or_insert(Flaw { at, reason });
    }

    /// Behind the end of the block or expression in which the parser stands.
    fn skip_block(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            match token.kind {
                Kind::BlockEnd | Kind::OutputEnd => {
                    self.at += 1;
                    return;
                }
                Kind::Data(_) | Kind::BlockStart | Kind::OutputStart => return,
                _ => self.at += 1,
            }
        }
    }

    /// Statements up to a tag of `ends`, which is taken with its name only; `None` at the end of the template.
    fn body(&mut self, ends: &[&str], depth: usize) -> (Vec<Statement>, Option<String>) {
        let mut body = Vec::new();
        while let Some(token) = self.tokens.get(self.at) {
            let at = token.at;
            match &token.kind {
                Kind::Data(text) => {
                    body.push(Statement::Literal { at, text: text.clone() });
                    self.at += 1;
                }
                Kind::OutputStart => {
                    self.at += 1;
                    self.links = 0;
                    match self.tuple() {
                        Ok(node) if *self.kind() == Kind::OutputEnd => {
                            body.push(Statement::Output(node));
                            self.at += 1;
                        }
                        Ok(node) => {
                            // What was understood still counts.
                            body.push(Statement::Output(node));
                            self.flawed("an expression goes on where it should end");
                            self.skip_block();
                        }
                        Err(reason) => {
                            self.flawed(reason);
                            self.skip_block();
                        }
                    }
                }
                Kind::BlockStart => {
                    if let Kind::Name(tag) = self.ahead(1)
                        && ends.contains(&tag.as_str())
                    {
                        let tag = tag.clone();
                        self.at += 2;
                        return (body, Some(tag));
                    }
                    self.at += 1;
                    if depth >= DEPTH_MAX || self.nodes > NODES_MAX {
                        self.flawed("nested too deeply, or too long");
                        self.at = self.tokens.len();
                        return (body, None);
                    }
                    self.nodes += 1;
                    self.links = 0;
                    match self.statement(at, depth) {
                        Ok(statement) => body.push(statement),
                        Err(reason) => {
                            self.flawed(reason);
                            self.skip_block();
                        }
                    }
                }
                _ => {
                    self.flawed("words outside of a block");
                    self.at += 1;
                }
            }
        }
        (body, None)
    }

    /// Ends the head of a block.
    fn head_end(&mut self) {
        if *self.kind() != Kind::BlockEnd {
            self.flawed("a block goes on where it should end");
        }
        self.skip_block();
    }

    /// A body with one end tag; whatever stands behind the tag's name is skipped.
    fn until(&mut self, end: &str, depth: usize) -> Vec<Statement> {
        let (body, tag) = self.body(&[end], depth + 1);
        if tag.is_none() {
            self.flawed("a block is not closed");
        } else {
            self.skip_block();
        }
        body
    }

    fn statement(&mut self, at: usize, depth: usize) -> Parsed<Statement> {
        let tag = self.name()?;
        match tag.as_str() {
            "if" => self.branches(depth),
            "for" => self.repeat(depth),
            "set" => self.set(depth),
            "macro" => {
                let name = self.name()?;
                let parameters = self.parameters()?;
                self.head_end();
                let body = self.until("endmacro", depth);
                Ok(Statement::Macro { name, parameters, call: None, body })
            }
            "call" => {
                let parameters = if self.is_sign("(") { self.parameters()? } else { Vec::new() };
                let call = Some(self.expression()?);
                self.head_end();
                let body = self.until("endcall", depth);
                Ok(Statement::Macro { name: String::new(), parameters, call, body })
            }
            "filter" => {
                let mut head = self.filters(None)?;
                while self.take_sign("|") {
                    head = self.filters(Some(Box::new(head)))?;
                }
                self.head_end();
                let body = self.until("endfilter", depth);
                Ok(Statement::Group { tag, head: vec![head], body })
            }
            "with" => {
                let mut head = Vec::new();
                while *self.kind() != Kind::BlockEnd {
                    head.push(self.primary()?);
                    self.sign("=", "`with` needs `=`")?;
                    head.push(self.expression()?);
                    if !self.take_sign(",") {
                        break;
                    }
                }
                self.head_end();
                let body = self.until("endwith", depth);
                Ok(Statement::Group { tag, head, body })
            }
            "block" | "autoescape" | "generation" | "trans" => {
                let head = if tag == "autoescape" { vec![self.expression()?] } else { Vec::new() };
                self.skip_block();
                let body = self.until(&format!("end{tag}"), depth);
                Ok(Statement::Group { tag, head, body })
            }
            "include" | "import" | "from" | "extends" => self.reach(at, tag),
            "do" => {
                let node = self.tuple()?;
                self.head_end();
                Ok(Statement::Do(node))
            }
            _ => {
                if !matches!(tag.as_str(), "break" | "continue" | "debug" | "pluralize") {
                    self.flawed("an unknown tag, or an end without a beginning");
                }
                self.skip_block();
                Ok(Statement::Tag { at, name: tag })
            }
        }
    }

    fn branches(&mut self, depth: usize) -> Parsed<Statement> {
        let mut branches = Vec::new();
        let mut test = self.condition();
        loop {
            self.head_end();
            let (body, tag) = self.body(&["elif", "else", "endif"], depth + 1);
            branches.push((test, body));
            match tag.as_deref() {
                Some("elif") => test = self.condition(),
                Some("else") => test = None,
                Some(_) => {
                    self.skip_block();
                    return Ok(Statement::If(branches));
                }
                None => {
                    self.flawed("`if` is not closed");
                    return Ok(Statement::If(branches));
                }
            }
        }
    }

    /// A condition that cannot be read is a flaw, and its branch is still looked at.
    fn condition(&mut self) -> Option<Node> {
        match self.tuple() {
            Ok(node) => Some(node),
            Err(reason) => {
                self.flawed(reason);
                None
            }
        }
    }

    fn repeat(&mut self, depth: usize) -> Parsed<Statement> {
        let mut targets = Vec::new();
        while !self.take_word("in") {
            match self.kind() {
                Kind::Name(name) => targets.push(name.clone()),
                Kind::Sign("," | "(" | ")" | ".") => {}
                _ => return Err("`for` needs names and `in`"),
            }
            self.at += 1;
        }
        let over = self.tuple_of(Self::either)?;
        let only = if self.take_word("if") { Some(self.expression()?) } else { None };
        self.take_word("recursive");
        self.head_end();
        let (body, tag) = self.body(&["else", "endfor"], depth + 1);
        let otherwise = if tag.as_deref() == Some("else") {
            self.skip_block();
            self.until("endfor", depth)
        } else {
            if tag.is_none() {
                self.flawed("`for` is not closed");
            }
            self.skip_block();
            Vec::new()
        };
        Ok(Statement::For { targets, over, only, body, otherwise })
    }

    fn set(&mut self, depth: usize) -> Parsed<Statement> {
        let mut targets = Vec::new();
        loop {
            let is_grouped = self.take_sign("(");
            let target = self.primary()?;
            targets.push(self.postfix(target)?);
            if is_grouped {
                self.take_sign(")");
            }
            if !self.take_sign(",") {
                break;
            }
        }
        self.take_sign(")");
        if self.take_sign("=") {
            let value = Some(self.tuple()?);
            self.head_end();
            return Ok(Statement::Set { targets, value, body: Vec::new() });
        }
        let mut value = None;
        while self.take_sign("|") {
            value = Some(self.filters(value.map(Box::new))?);
        }
        self.head_end();
        let body = self.until("endset", depth);
        Ok(Statement::Set { targets, value, body })
    }

    fn parameters(&mut self) -> Parsed<Vec<(String, Option<Node>)>> {
        self.sign("(", "parameters are missing")?;
        let mut parameters = Vec::new();
        while !self.take_sign(")") {
            while self.take_sign("*") || self.take_sign("**") {}
            let name = self.name()?;
            let default = if self.take_sign("=") { Some(self.expression()?) } else { None };
            parameters.push((name, default));
            if !self.take_sign(",") {
                self.sign(")", "parameters are not closed")?;
                break;
            }
        }
        Ok(parameters)
    }

    fn reach(&mut self, at: usize, tag: String) -> Parsed<Statement> {
        let target = self.expression()?;
        let mut names = Vec::new();
        while let Kind::Name(_) | Kind::Sign(",") = self.kind() {
            if let Kind::Name(name) = self.kind()
                && !matches!(name.as_str(), "import" | "as" | "with" | "without" | "context" | "ignore" | "missing")
            {
                names.push(name.clone());
            }
            self.at += 1;
        }
        self.head_end();
        Ok(Statement::Reach { at, tag, target, names })
    }

    // --- expressions ------------------------------------------------------------------------------------------------

    fn node(&mut self, at: usize, kind: Expression) -> Node {
        self.nodes += 1;
        Node { at, kind }
    }

    /// One level deeper, or an error.
    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX || self.nodes > NODES_MAX {
            return Err("nested too deeply, or too long");
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// Expressions with commas between them are one tuple.
    fn tuple(&mut self) -> Parsed<Node> {
        self.tuple_of(Self::expression)
    }

    fn tuple_of(&mut self, part: fn(&mut Self) -> Parsed<Node>) -> Parsed<Node> {
        let at = self.place();
        let first = part(self)?;
        if !self.is_sign(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_sign(",") {
            if matches!(self.kind(), Kind::BlockEnd | Kind::OutputEnd | Kind::Sign(")" | "=")) {
                break;
            }
            items.push(part(self)?);
        }
        Ok(self.node(at, Expression::List(items)))
    }

    fn expression(&mut self) -> Parsed<Node> {
        self.deeper(|parser| {
            let at = parser.place();
            let mut value = parser.either()?;
            while parser.take_word("if") {
                let test = Box::new(parser.either()?);
                let otherwise = if parser.take_word("else") { Some(Box::new(parser.expression()?)) } else { None };
                value = parser.node(at, Expression::Choice { then: Box::new(value), test, otherwise });
            }
            Ok(value)
        })
    }

    fn binary(&mut self, at: usize, sign: &'static str, left: Node, right: Node) -> Parsed<Node> {
        self.link()?;
        Ok(self.node(at, Expression::Binary(sign, Box::new(left), Box::new(right))))
    }

    fn link(&mut self) -> Parsed<()> {
        self.links += 1;
        if self.links > LINKS_MAX { Err("an expression is too long") } else { Ok(()) }
    }

    fn either(&mut self) -> Parsed<Node> {
        let at = self.place();
        let mut left = self.both()?;
        while self.take_word("or") {
            let right = self.both()?;
            left = self.binary(at, "or", left, right)?;
        }
        Ok(left)
    }

    fn both(&mut self) -> Parsed<Node> {
        let at = self.place();
        let mut left = self.negation()?;
        while self.take_word("and") {
            let right = self.negation()?;
            left = self.binary(at, "and", left, right)?;
        }
        Ok(left)
    }

    fn negation(&mut self) -> Parsed<Node> {
        let at = self.place();
        if self.is_word("not") {
            return self.deeper(|parser| {
                parser.at += 1;
                let inner = Box::new(parser.negation()?);
                Ok(parser.node(at, Expression::Unary("not", inner)))
            });
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed<Node> {
        let at = self.place();
        let mut left = self.sum()?;
        loop {
            let sign = match self.kind() {
                Kind::Sign(sign @ ("==" | "!=" | "<" | "<=" | ">" | ">=")) => *sign,
                Kind::Name(word) if word == "in" => "in",
                Kind::Name(word) if word == "not" && matches!(self.ahead(1), Kind::Name(next) if next == "in") => {
                    self.at += 1;
                    "not in"
                }
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.sum()?;
            left = self.binary(at, sign, left, right)?;
        }
    }

    fn sum(&mut self) -> Parsed<Node> {
        self.level(&["+", "-"], |parser| {
            parser.level(&["~"], |parser| parser.level(&["*", "//", "/", "%"], Self::power))
        })
    }

    fn level(&mut self, signs: &[&'static str], part: impl Fn(&mut Self) -> Parsed<Node>) -> Parsed<Node> {
        let at = self.place();
        let mut left = part(self)?;
        while let Some(sign) = signs.iter().find(|sign| self.is_sign(sign)) {
            self.at += 1;
            let right = part(self)?;
            left = self.binary(at, sign, left, right)?;
        }
        Ok(left)
    }

    fn power(&mut self) -> Parsed<Node> {
        let at = self.place();
        let mut left = self.unary(true)?;
        while self.take_sign("**") {
            let right = self.unary(true)?;
            left = self.binary(at, "**", left, right)?;
        }
        Ok(left)
    }

    fn unary(&mut self, with_filters: bool) -> Parsed<Node> {
        let at = self.place();
        let sign = if self.is_sign("-") { "-" } else { "+" };
        let base = if self.is_sign(sign) {
            self.deeper(|parser| {
                parser.at += 1;
                let inner = Box::new(parser.unary(false)?);
                Ok(parser.node(at, Expression::Unary(sign, inner)))
            })?
        } else {
            self.primary()?
        };
        let base = self.postfix(base)?;
        if with_filters { self.pipes(base) } else { Ok(base) }
    }

    fn primary(&mut self) -> Parsed<Node> {
        let at = self.place();
        let kind = match self.kind().clone() {
            Kind::Name(name) => {
                self.at += 1;
                if matches!(name.as_str(), "true" | "false" | "none" | "True" | "False" | "None") {
                    Expression::Word(name)
                } else {
                    Expression::Name(name)
                }
            }
            Kind::Text(first) => {
                let mut text = first;
                self.at += 1;
                while let Kind::Text(more) = self.kind() {
                    text.push_str(more);
                    self.at += 1;
                }
                Expression::Text(text)
            }
            Kind::Number(number) => {
                self.at += 1;
                Expression::Number(number)
            }
            Kind::Sign("(") => {
                self.at += 1;
                return self.deeper(|parser| {
                    if parser.take_sign(")") {
                        return Ok(parser.node(at, Expression::List(Vec::new())));
                    }
                    let inner = parser.tuple()?;
                    parser.sign(")", "a bracket is not closed")?;
                    Ok(inner)
                });
            }
            Kind::Sign("[") => {
                self.at += 1;
                Expression::List(self.items("]")?)
            }
            Kind::Sign("{") => {
                self.at += 1;
                self.pairs()?
            }
            _ => return Err("an expression is missing"),
        };
        Ok(self.node(at, kind))
    }

    fn items(&mut self, end: &str) -> Parsed<Vec<Node>> {
        let mut items = Vec::new();
        while !self.take_sign(end) {
            items.push(self.expression()?);
            if !self.take_sign(",") {
                self.sign(end, "a list is not closed")?;
                break;
            }
        }
        Ok(items)
    }

    fn pairs(&mut self) -> Parsed<Expression> {
        let mut pairs = Vec::new();
        while !self.take_sign("}") {
            let key = self.expression()?;
            self.sign(":", "a map needs `:`")?;
            pairs.push((key, self.expression()?));
            if !self.take_sign(",") {
                self.sign("}", "a map is not closed")?;
                break;
            }
        }
        Ok(Expression::Map(pairs))
    }

    /// `.a`, `[b]`, `(c)` behind a value. Each makes the tree deeper, so each counts.
    fn postfix(&mut self, mut base: Node) -> Parsed<Node> {
        let at = base.at;
        loop {
            let kind = if self.take_sign(".") {
                match self.kind().clone() {
                    Kind::Name(name) | Kind::Number(name) => {
                        self.at += 1;
                        Expression::Attribute(Box::new(base), name)
                    }
                    _ => return Err("an attribute is missing"),
                }
            } else if self.take_sign("[") {
                self.subscript(Box::new(base))?
            } else if self.is_sign("(") {
                let arguments = self.arguments()?;
                Expression::Call(Box::new(base), arguments)
            } else {
                return Ok(base);
            };
            base = self.node(at, kind);
            self.link()?;
        }
    }

    fn subscript(&mut self, base: Inner) -> Parsed<Expression> {
        let at = self.place();
        let mut parts: Vec<Option<Node>> = vec![None];
        let mut keys = Vec::new();
        loop {
            if self.take_sign("]") {
                break;
            }
            if self.take_sign(":") {
                parts.push(None);
            } else if self.take_sign(",") {
                keys.extend(parts.last_mut().and_then(Option::take));
            } else {
                let value = self.expression()?;
                match parts.last_mut() {
                    Some(slot @ None) => *slot = Some(value),
                    _ => return Err("a subscript is not closed"),
                }
            }
        }
        if parts.len() > 1 {
            return Ok(Expression::Slice(base, parts));
        }
        let last = parts.pop().flatten();
        let key = match last {
            Some(key) if keys.is_empty() => key,
            last => {
                keys.extend(last);
                self.node(at, Expression::List(keys))
            }
        };
        Ok(Expression::Item(base, Box::new(key)))
    }

    fn arguments(&mut self) -> Parsed<Vec<Argument>> {
        self.sign("(", "arguments are missing")?;
        let mut arguments = Vec::new();
        while !self.take_sign(")") {
            let name = match (self.kind(), self.ahead(1)) {
                (Kind::Sign(stars @ ("*" | "**")), _) => {
                    let stars = (*stars).to_owned();
                    self.at += 1;
                    Some(stars)
                }
                (Kind::Name(name), Kind::Sign("=")) => {
                    let name = name.clone();
                    self.at += 2;
                    Some(name)
                }
                _ => None,
            };
            arguments.push(Argument { name, value: self.expression()? });
            if !self.take_sign(",") {
                self.sign(")", "arguments are not closed")?;
                break;
            }
        }
        Ok(arguments)
    }

    /// Filters and tests behind a value.
    fn pipes(&mut self, mut base: Node) -> Parsed<Node> {
        loop {
            let at = self.place();
            if self.take_sign("|") {
                base = self.filters(Some(Box::new(base)))?;
            } else if self.take_word("is") {
                base = self.test(at, base)?;
            } else if self.is_sign("(") {
                let arguments = self.arguments()?;
                base = self.node(at, Expression::Call(Box::new(base), arguments));
            } else {
                return Ok(base);
            }
            self.link()?;
        }
    }

    /// One filter's name and arguments.
    fn filters(&mut self, base: Option<Inner>) -> Parsed<Node> {
        let at = self.place();
        let name = self.dotted()?;
        let arguments = if self.is_sign("(") { self.arguments()? } else { Vec::new() };
        Ok(self.node(at, Expression::Filter(base, name, arguments)))
    }

    fn dotted(&mut self) -> Parsed<String> {
        let mut name = self.name()?;
        while self.take_sign(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name)
    }

    fn test(&mut self, at: usize, base: Node) -> Parsed<Node> {
        let is_negated = self.take_word("not");
        let name = self.dotted()?;
        let arguments = if self.is_sign("(") {
            self.arguments()?
        } else {
            let takes_one = match self.kind() {
                Kind::Name(word) => {
                    !matches!(word.as_str(), "else" | "or" | "and" | "is" | "if" | "in" | "not" | "recursive")
                }
                Kind::Text(_) | Kind::Number(_) | Kind::Sign("[" | "{") => true,
                _ => false,
            };
            if takes_one {
                let value = self.deeper(Self::primary)?;
                let value = self.postfix(value)?;
                vec![Argument { name: None, value }]
            } else {
                Vec::new()
            }
        };
        let test = self.node(at, Expression::Test(Box::new(base), name, arguments));
        Ok(if is_negated { self.node(at, Expression::Unary("not", Box::new(test))) } else { test })
    }
}
