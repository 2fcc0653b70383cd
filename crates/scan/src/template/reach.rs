//! Ways out of a template: attributes that lead into the interpreter, unknown calls, other files, endless loops.

use ringfence_format::jinja::{Argument, Expression, Node, Statement};

use super::{Judge, any, each_body, each_inner, each_node, fold};
use crate::rules::id;

/// Attributes that lead from a value to code or to the process, without underscores around them.
const LEADING_OUT: [&str; 22] = [
    "mro",
    "func_globals",
    "func_code",
    "gi_frame",
    "gi_code",
    "cr_frame",
    "cr_code",
    "ag_frame",
    "ag_code",
    "f_globals",
    "f_locals",
    "f_builtins",
    "f_back",
    "tb_frame",
    "popen",
    "Popen",
    "subprocess",
    "check_output",
    "getoutput",
    "builtins",
    "exec_module",
    "load_module",
];
/// The same, but only where they are called.
const LEADING_OUT_CALLED: [&str; 6] = ["system", "eval", "exec", "mro", "spawn", "import_module"];
/// Special names that matter as texts too; others, such as `__media__`, are markers.
const SPECIAL: [&str; 26] = [
    "__class__",
    "__mro__",
    "__base__",
    "__bases__",
    "__subclasses__",
    "__globals__",
    "__builtins__",
    "__import__",
    "__init__",
    "__dict__",
    "__getattribute__",
    "__getattr__",
    "__getitem__",
    "__code__",
    "__closure__",
    "__self__",
    "__module__",
    "__reduce__",
    "__reduce_ex__",
    "__loader__",
    "__spec__",
    "__wrapped__",
    "__call__",
    "__func__",
    "__new__",
    "__subclasshook__",
];
/// Special names that are texts, or lead nowhere without another special name; templates of pages and reports print them.
const LEAVES: [&str; 6] = ["__name__", "__qualname__", "__doc__", "__version__", "__repr__", "__str__"];
/// Objects that web frameworks and Jinja put into every template, and that attacks start from.
const GIFTS: [&str; 7] = ["lipsum", "cycler", "request", "url_for", "get_flashed_messages", "self", "config"];
/// Modules and functions of Python that a renderer would have to hand in for a template to name them.
const MODULES: [&str; 13] = [
    "os",
    "sys",
    "subprocess",
    "builtins",
    "importlib",
    "pickle",
    "marshal",
    "socket",
    "shutil",
    "ctypes",
    "pty",
    "__import__",
    "__builtins__",
];
/// Filters that no Jinja has and that would run what they get.
const RUNNING_FILTERS: [&str; 7] = ["eval", "exec", "system", "popen", "import", "shell", "pickle"];
/// What chat templates may call.
const CALLABLE: [&str; 14] = [
    "range",
    "dict",
    "namespace",
    "raise_exception",
    "strftime_now",
    "joiner",
    "caller",
    "loop",
    "super",
    "gettext",
    "ngettext",
    "_",
    "tojson",
    "cycler",
];
/// Filters that take the name of an attribute.
const BY_ATTRIBUTE: [&str; 10] =
    ["attr", "map", "selectattr", "rejectattr", "groupby", "sum", "sort", "unique", "min", "max"];
/// Filters and methods that put texts together.
const COMPUTING: [&str; 8] = ["join", "format", "replace", "reverse", "lower", "upper", "string", "swapcase"];
/// Repetitions from which a loop is meant to hang the renderer (Jinja's own sandbox stops at 100,000).
const REPEATS_MAX: i128 = 100_000;
/// Letters of a word that a template replaces by another, from which on it is one.
const REWRITTEN_LETTERS: usize = 4;
/// Exponents and repeated texts from which the same is true.
const POWER_MAX: i128 = 1 << 40;

impl Judge {
    pub(super) fn reach(&mut self, body: &[Statement]) {
        self.statements(body, 1);
    }

    /// `repeats`: how often loops around these statements repeat them, as far as it is constant.
    fn statements(&mut self, body: &[Statement], repeats: i128) {
        for statement in body {
            each_node(statement, &mut |node| self.expression(node));
            let mut inside = repeats;
            match statement {
                Statement::Reach { at, tag, .. } if self.is_chat => {
                    self.note(id::TPL_IMPORT, *at, format!("`{tag}` takes in another template"));
                }
                Statement::For { over, .. } => {
                    inside = repeats.saturating_mul(repeated(over).unwrap_or(1).max(1));
                    if inside > REPEATS_MAX {
                        self.note(id::TPL_LOOP, over.at, format!("a loop runs {inside} times"));
                        inside = 1;
                    }
                }
                _ => {}
            }
            each_body(statement, &mut |body| self.statements(body, inside));
        }
    }

    fn expression(&mut self, node: &Node) {
        match &node.kind {
            Expression::Attribute(base, name) => {
                let is_config = matches!(&base.kind, Expression::Name(base) if base == "config");
                let is_server =
                    matches!(name.as_str(), "items" | "from_pyfile" | "from_object" | "SECRET_KEY" | "root_path");
                if self.is_chat && is_config && is_server && !self.scope.defined.contains("config") {
                    self.note(id::TPL_CALL, node.at, "reads the configuration of a server".to_owned());
                }
                self.attribute(node.at, base, name);
            }
            Expression::Item(_, key) => self.key(key),
            Expression::Call(base, arguments) => self.call(node, base, arguments),
            Expression::Filter(base, name, arguments) => self.filter(node.at, name, base.as_deref(), arguments),
            Expression::Name(name)
                if self.is_chat
                    && (GIFTS.contains(&name.as_str()) || MODULES.contains(&name.as_str()))
                    && !self.scope.defined.contains(name)
                    && name != "config" =>
            {
                self.note(id::TPL_CALL, node.at, format!("uses `{name}`, which no chat template is given"));
            }
            Expression::Binary("**", ..) if fold::number(node).is_some_and(|value| value > POWER_MAX) => {
                self.note(id::TPL_LOOP, node.at, "computes a power that fills the memory".to_owned());
            }
            Expression::Binary("*", left, right) => {
                let is_text = matches!(left.kind, Expression::Text(_) | Expression::List(_));
                if is_text && fold::number(right).is_some_and(|count| count > 10 * REPEATS_MAX) {
                    self.note(id::TPL_LOOP, node.at, "repeats a text until the memory is full".to_owned());
                }
            }
            _ => {}
        }
        if let Some(text) = fold::text(node, &self.scope) {
            if let Some(name) = SPECIAL.iter().find(|name| text.contains(**name)) {
                self.note(id::TXT_TEMPLATE, node.at, format!("spells `{name}`"));
            }
            if let Expression::Text(_) | Expression::Binary(..) = node.kind {
                return;
            }
        }
        each_inner(node, &mut |inner| self.expression(inner));
    }

    fn attribute(&mut self, at: usize, base: &Node, name: &str) {
        let is_special = name.starts_with("__") && name.len() > 4;
        let leads_out = LEADING_OUT.contains(&name)
            && !matches!(&base.kind, Expression::Name(base) if self.scope.defined.contains(&format!("{base}.{name}")));
        let is_leaf = LEAVES.contains(&name) && !self.is_chat;
        if is_special && !is_leaf || leads_out {
            self.note(id::TXT_TEMPLATE, at, format!("reaches for the attribute `{name}`"));
        } else if name.starts_with('_') && self.is_chat {
            self.note(id::TPL_CALL, at, format!("reaches for the private attribute `{name}`"));
        }
    }

    /// What stands in square brackets.
    fn key(&mut self, key: &Node) {
        if let Some(name) = fold::text(key, &self.scope) {
            let is_special = name.starts_with("__") && name.ends_with("__") && name.len() > 4;
            if is_special || LEADING_OUT.contains(&name.as_str()) {
                self.note(id::TXT_TEMPLATE, key.at, format!("reaches for `{name}` by a key"));
            }
        } else if self.is_chat && is_computed(key) {
            self.note(id::TPL_COMPUTED, key.at, "computes the name of what it reaches for".to_owned());
        }
    }

    /// `content | replace('one name', 'another')`: what the user wrote is not what the model reads. Markup is cut out and
    /// blanks are changed by many templates; words are not.
    fn rewrites(&mut self, at: usize, name: &str, base: &Node, arguments: &[Argument]) {
        let is_word = |text: &str| {
            text.chars().filter(char::is_ascii_alphabetic).count() >= REWRITTEN_LETTERS
                && !text.contains(['<', '>', '|', '[', ']', '{', '}', '_', '#'])
        };
        let is_content = any(base, &mut |node| match &node.kind {
            Expression::Attribute(_, key) | Expression::Text(key) => key == "content",
            Expression::Name(name) => self.scope.content.contains(name),
            _ => false,
        });
        let [from, to, ..] = arguments else { return };
        if name == "replace"
            && self.is_chat
            && is_content
            && let (Some(from), Some(to)) = (fold::text(&from.value, &self.scope), fold::text(&to.value, &self.scope))
            && is_word(&from)
            && is_word(&to)
        {
            self.note(id::TPL_TRIGGER, at, format!("replaces `{from}` by `{to}` in what it is given"));
        }
    }

    fn call(&mut self, node: &Node, base: &Node, arguments: &[Argument]) {
        match &base.kind {
            Expression::Name(name) => {
                if self.is_chat && !CALLABLE.contains(&name.as_str()) && !self.scope.defined.contains(name) {
                    self.note(id::TPL_CALL, node.at, format!("calls `{name}`, which no chat template is given"));
                }
                let count = arguments.last().and_then(|argument| fold::number(&argument.value));
                if name == "range" && count.is_some_and(|count| count > REPEATS_MAX) {
                    self.note(id::TPL_LOOP, node.at, "asks for an endless range".to_owned());
                }
            }
            Expression::Attribute(_, name) => {
                if LEADING_OUT_CALLED.contains(&name.as_str()) {
                    self.note(id::TXT_TEMPLATE, node.at, format!("calls `{name}` on a value"));
                }
                self.by_format(node.at, base, name);
                self.rewrites(node.at, name, base, arguments);
            }
            // A list of macros is called so; anything else that is not the template's own is not.
            Expression::Item(..) | Expression::Call(..) if self.is_chat && !self.is_own(base) => {
                self.note(id::TPL_CALL, node.at, "calls what another expression returns".to_owned());
            }
            _ => {}
        }
    }

    /// Whether what `node` begins with is defined in the template.
    fn is_own(&self, node: &Node) -> bool {
        match &node.kind {
            Expression::Name(name) => self.scope.defined.contains(name),
            Expression::Attribute(base, _) | Expression::Item(base, _) | Expression::Call(base, _) => self.is_own(base),
            _ => false,
        }
    }

    /// `'{0.__class__}'.format(x)` walks attributes on its own.
    fn by_format(&mut self, at: usize, base: &Node, name: &str) {
        let Expression::Attribute(pattern, _) = &base.kind else { return };
        if !matches!(name, "format" | "format_map") {
            return;
        }
        match fold::text(pattern, &self.scope) {
            Some(text) if text.contains('{') && (text.contains("._") || text.contains("[_")) => {
                self.note(id::TXT_TEMPLATE, at, "formats a text that walks through attributes".to_owned());
            }
            None if self.is_chat
                && any(
                    pattern,
                    &mut |node| matches!(&node.kind, Expression::Attribute(_, key) if key == "content"),
                ) =>
            {
                self.note(id::TPL_COMPUTED, at, "formats with a pattern that comes from a message".to_owned());
            }
            _ => {}
        }
    }

    fn filter(&mut self, at: usize, name: &str, base: Option<&Node>, arguments: &[Argument]) {
        if self.is_chat && RUNNING_FILTERS.contains(&name) {
            self.note(id::TPL_CALL, at, format!("uses the filter `{name}`, which no chat template is given"));
        }
        if let Some(base) = base {
            self.rewrites(at, name, base, arguments);
        }
        if !BY_ATTRIBUTE.contains(&name) {
            return;
        }
        for (index, argument) in arguments.iter().enumerate() {
            let is_name =
                argument.name.as_deref() == Some("attribute") || index == 0 && argument.name.is_none() || name == "map";
            if !is_name {
                continue;
            }
            match fold::text(&argument.value, &self.scope) {
                Some(path) => {
                    let is_out = |part: &str| part.starts_with("__") && part.len() > 4 || LEADING_OUT.contains(&part);
                    if path.split('.').any(is_out) {
                        self.note(id::TXT_TEMPLATE, at, format!("`{name}` reaches for the attribute `{path}`"));
                    } else if name == "attr" && path.starts_with('_') && self.is_chat {
                        self.note(id::TPL_CALL, at, format!("reaches for the private attribute `{path}`"));
                    }
                }
                None if name == "attr" || is_computed(&argument.value) => {
                    self.note(id::TPL_COMPUTED, at, format!("`{name}` computes the name of what it reaches for"));
                }
                None => {}
            }
        }
    }
}

/// A text is put together here. Arithmetic on indexes is not that.
fn is_computed(node: &Node) -> bool {
    any(node, &mut |node| match &node.kind {
        Expression::Binary("~", ..) => true,
        Expression::Binary("+" | "%", left, right) => {
            matches!(left.kind, Expression::Text(_)) || matches!(right.kind, Expression::Text(_))
        }
        Expression::Filter(_, name, _) => COMPUTING.contains(&name.as_str()) && name != "string",
        Expression::Call(base, _) => {
            matches!(&base.kind, Expression::Attribute(_, name) if matches!(name.as_str(), "join" | "format" | "replace" | "decode"))
        }
        _ => false,
    })
}

/// How often a loop over `node` repeats, if that is constant.
fn repeated(node: &Node) -> Option<i128> {
    let Expression::Call(base, arguments) = &node.kind else { return None };
    if !matches!(&base.kind, Expression::Name(name) if name == "range") {
        return None;
    }
    let bound = |index: usize| arguments.get(index).and_then(|argument| fold::number(&argument.value));
    match arguments.len() {
        1 => bound(0),
        2 => Some(bound(1)?.saturating_sub(bound(0)?)),
        _ => Some(bound(1)?.saturating_sub(bound(0)?).checked_div(bound(2)?).unwrap_or(i128::MAX)),
    }
}
