//! The rules: stable ids, what each means in plain words, and what it does to the verdict.
//!
//! [`RULES`] is the only place where an id is spelled; code names rules by the constants of [`id`]. A finding takes its
//! severity and verdict from its rule unless its maker lowers the severity.

use ringfence_schema::{Digest, Hasher, Severity, Verdict};

use crate::pickle::names;

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Stable id such as `RF-PKL-001`.
    pub id: &'static str,
    /// What it finds, in a few words.
    pub title: &'static str,
    /// Usual severity.
    pub severity: Severity,
    /// What a finding makes of the file.
    pub verdict: Verdict,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// All rules, by id.
pub fn rules() -> &'static [Rule] {
    &RULES
}

/// SHA-256 over everything that decides a verdict: the rules and the tables of names.
pub fn rules_digest() -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"ringfence.scan.rules/1");
    for rule in &RULES {
        let parts = [rule.id, rule.title, &rule.severity.to_string(), &rule.verdict.to_string(), rule.why, rule.remedy];
        for part in parts {
            add(&mut hasher, part);
        }
    }
    add(&mut hasher, names::ALLOWED);
    add(&mut hasher, names::GADGETS);
    add(&mut hasher, env!("CARGO_PKG_VERSION"));
    hasher.finish()
}

/// Length first, so that neighbours cannot trade bytes.
fn add(hasher: &mut Hasher, part: &str) {
    hasher.update(&(part.len() as u64).to_be_bytes());
    hasher.update(part.as_bytes());
}

const LOAD_SAFE: &str = "do not load it; ask for the weights as safetensors";
const LOOK: &str = "look at what the name does; if it is harmless, waive this finding for this digest";
const REPACK: &str = "unpack it in a sandbox, check the content, and pack it again with an ordinary tool";
const LOOK_CODE: &str = "read the code before anything runs it; if it is harmless, waive this finding for this digest";
const TEMPLATE: &str = "replace the template by the one of the original model";
const ASK: &str = "get the file again from its source and compare digests";

macro_rules! rules {
    ($($constant:ident $id:literal $severity:ident $verdict:ident $title:literal, $why:literal, $remedy:expr;)*) => {
        /// Names of the rules.
        pub(crate) mod id {
            use super::Rule;
            rules!(@index 0_usize; $($constant)*);
        }
        /// All rules.
        static RULES: [Rule; 0 $(+ { let _ = $id; 1 })*] = [$(Rule {
            id: $id, title: $title, severity: Severity::$severity, verdict: Verdict::$verdict, why: $why, remedy: $remedy,
        }),*];
    };
    (@index $at:expr; $head:ident $($tail:ident)*) => {
        pub(crate) static $head: &Rule = &super::RULES[$at];
        rules!(@index $at + 1; $($tail)*);
    };
    (@index $at:expr;) => {};
}

rules! {
    PKL_EXEC "RF-PKL-001" Critical Malicious "runs a command or source code",
        "loading the file runs what its author wrote, with the rights of whoever loads it", LOAD_SAFE;
    PKL_CODE "RF-PKL-002" Critical Malicious "carries code objects",
        "functions and code objects inside a pickle run when they are loaded or first used", LOAD_SAFE;
    PKL_NATIVE "RF-PKL-003" Critical Malicious "loads native code",
        "a native library runs as soon as it is loaded", LOAD_SAFE;
    PKL_IMPORT "RF-PKL-004" Critical Malicious "reaches modules by a computed name",
        "import machinery gives access to every module that is installed", LOAD_SAFE;
    PKL_ATTRIBUTE "RF-PKL-005" Critical Malicious "reaches attributes by a computed name or chains calls",
        "with getattr and its relatives a pickle can walk from any object to any function", LOAD_SAFE;
    PKL_LOAD "RF-PKL-006" Critical Malicious "deserialises again while it is loaded",
        "what is loaded there is outside of any scan", LOAD_SAFE;
    PKL_FILE "RF-PKL-007" Critical Malicious "touches files while it is loaded",
        "reading, writing or deleting files is no part of restoring a model", LOAD_SAFE;
    PKL_NETWORK "RF-PKL-008" Critical Malicious "uses the network while it is loaded",
        "a connection or a name look-up can send out secrets and fetch code", LOAD_SAFE;
    PKL_STATE "RF-PKL-009" Critical Malicious "changes the interpreter or the process",
        "changing sys, os or the like turns later harmless calls into harmful ones", LOAD_SAFE;
    PKL_UNKNOWN_CALL "RF-PKL-010" High Suspicious "calls something that is not on the allow-list",
        "what this callable does when it is called is not known", LOOK;
    PKL_UNKNOWN_NAME "RF-PKL-011" Medium Suspicious "imports something that is not on the allow-list",
        "importing a module runs its top level, and the object can be used later", LOOK;
    PKL_DOTTED "RF-PKL-012" High Suspicious "names an attribute path",
        "a dotted name walks through attributes and can leave the module that it starts in", LOOK;
    PKL_DUNDER "RF-PKL-013" Critical Malicious "names a double-underscore attribute",
        "such attributes lead from any object to globals, classes and code; models do not need them", LOAD_SAFE;
    PKL_COMPUTED_NAME "RF-PKL-014" High Suspicious "computes the name of what it imports",
        "a name that is made while loading hides what is imported", LOAD_SAFE;
    PKL_COMPUTED_CALL "RF-PKL-015" High Suspicious "calls the result of another call",
        "what is called here is only known while loading", LOAD_SAFE;
    PKL_ARGUMENTS "RF-PKL-016" High Suspicious "calls an ordinary function in an unusual way",
        "the function is harmless with the arguments that libraries write, not with these", LOOK;
    PKL_MUTATION "RF-PKL-017" Critical Malicious "changes an imported object",
        "a changed module or class makes later harmless calls harmful", LOAD_SAFE;
    PKL_SPECIAL_KEY "RF-PKL-018" Critical Malicious "installs a special method",
        "a callable under a special name runs without being called openly", LOAD_SAFE;
    PKL_EXTENSION "RF-PKL-019" High Suspicious "uses extension codes",
        "what a code stands for depends on the machine that loads the file", LOAD_SAFE;
    PKL_PERSISTENT "RF-PKL-020" Medium Suspicious "has a persistent id of an unusual form",
        "persistent ids are resolved by the loader's own code; models use them for storages only", LOOK;
    PKL_ODD_NAME "RF-PKL-021" High Suspicious "names something that is no plain identifier",
        "line breaks, look-alike letters and other signs in names are there to mislead readers", LOAD_SAFE;
    PKL_BROKEN "RF-PKL-030" Medium Incomplete "the pickle stream breaks off",
        "what stands before the break still takes effect; what follows cannot be read", ASK;
    PKL_DIVERGENCE "RF-PKL-031" High Suspicious "Python's own two unpicklers read it differently",
        "a stream that means two things is made to show scanners the harmless one", LOAD_SAFE;
    PKL_IRREGULAR "RF-PKL-032" Medium Suspicious "uses opcodes as no pickler does",
        "the stream was not written by Python's pickler", LOOK;
    PKL_RESOURCE "RF-PKL-033" High Suspicious "exhausts memory or the stack of whoever loads it",
        "a few bytes make the loader allocate or recurse without bound", LOAD_SAFE;
    PKL_TRAILING "RF-PKL-034" Low Incomplete "bytes follow the end of the pickle",
        "no parser accounts for these bytes", ASK;
    PKL_EMBEDDED "RF-PKL-035" Medium Suspicious "a pickle with imports is hidden in other data",
        "data that holds a program waits for something that runs it", LOOK;
    PKL_LIMIT "RF-PKL-036" Medium Incomplete "the pickle is larger than what is followed",
        "beyond the limit nothing was looked at", "raise the limit, or load it only in the sandbox";
    ZIP_ENCRYPTED "RF-ZIP-001" Medium Incomplete "an encryption flag is set",
        "encrypted members cannot be read; some loaders ignore the flag and read on", REPACK;
    ZIP_NAMES "RF-ZIP-002" High Suspicious "directory and local header name different members",
        "one loader reads one member, another a different one", REPACK;
    ZIP_FIELDS "RF-ZIP-003" High Suspicious "directory and local header contradict each other",
        "loaders that trust one of them see other bytes than those that trust the other", REPACK;
    ZIP_DUPLICATE "RF-ZIP-004" High Suspicious "two members have the same name",
        "some loaders take the first, some the last", REPACK;
    ZIP_ENDS "RF-ZIP-005" High Suspicious "more than one directory can be found",
        "which members there are depends on the loader", REPACK;
    ZIP_OUTSIDE "RF-ZIP-006" Medium Suspicious "bytes stand outside of all members",
        "loaders of other formats read what archive readers skip", REPACK;
    ZIP_UNLISTED "RF-ZIP-007" High Suspicious "a member is missing from the directory",
        "streaming readers see it, others do not", REPACK;
    ZIP_OVERLAP "RF-ZIP-008" High Suspicious "members share bytes or lie outside the archive",
        "overlapping members are a known bomb and a way to show two contents", REPACK;
    ZIP_METHOD "RF-ZIP-009" Medium Incomplete "a member uses a method that is not read",
        "the member's content was not looked at", REPACK;
    ZIP_CRC "RF-ZIP-010" Medium Suspicious "a member's checksum is wrong",
        "strict loaders stop here, lenient ones read on: a scanner that stops sees nothing", ASK;
    ZIP_BOMB "RF-ZIP-011" High Suspicious "a member expands beyond bounds",
        "unpacking it fills memory or disk", "do not unpack it";
    ZIP_BROKEN "RF-ZIP-012" Medium Incomplete "the archive is broken",
        "a part of it could not be read", ASK;
    ZIP_VERSION "RF-ZIP-013" Medium Suspicious "a member claims to need an unusual version",
        "some loaders refuse it and some do not look", REPACK;
    ZIP_PATH "RF-ZIP-014" High Suspicious "a member's name leaves the folder",
        "unpacking writes outside of the chosen folder", "do not unpack it";
    ZIP_LIMIT "RF-ZIP-015" Medium Incomplete "the archive goes beyond the scan's limits",
        "what lies beyond was not looked at", "raise the limit, or unpack it in a sandbox";
    NPY_OBJECTS "RF-NPY-001" Low Clean "the array holds Python objects",
        "such arrays are pickles inside; only loaders with allow_pickle read them", "load it with allow_pickle=False if you can";
    NPY_HEADER "RF-NPY-002" High Suspicious "the header is no plain literal",
        "old readers evaluated this text as Python", LOAD_SAFE;
    NPY_SIZE "RF-NPY-003" Medium Incomplete "the array's bytes do not fit its shape",
        "bytes are missing, or more follow than the array has", ASK;
    NPY_KEYS "RF-NPY-004" Medium Suspicious "the header has unknown keys",
        "NumPy refuses such headers", ASK;
    SFT_STRUCTURE "RF-SFT-001" High Suspicious "the header contradicts the data",
        "offsets, shapes and file length disagree: loaders read other bytes or outside of the file", ASK;
    SFT_HIDDEN "RF-SFT-002" High Suspicious "bytes belong to no tensor",
        "holes and trailing bytes can hide another file", ASK;
    SFT_DUPLICATE "RF-SFT-003" High Suspicious "a name stands twice in the header",
        "which entry counts depends on the JSON reader", ASK;
    SFT_HEADER "RF-SFT-004" High Suspicious "the header cannot be read or is too large",
        "a header that claims more than there is makes loaders allocate without bound", ASK;
    SFT_METADATA "RF-SFT-005" Medium Suspicious "the metadata holds a program",
        "metadata is passed on to tools that may run it", LOOK;
    ONX_EXTERNAL "RF-ONX-001" High Suspicious "external data leaves the model's folder",
        "loading the model reads a file of the author's choice", "do not load it beside files that matter";
    ONX_DOMAIN "RF-ONX-002" Medium Suspicious "uses operators of an unknown domain",
        "they need a native library that comes from elsewhere", LOOK;
    ONX_PYTHON "RF-ONX-003" Critical Malicious "runs Python from the graph",
        "such operators call Python code by name when the model runs", LOAD_SAFE;
    ONX_HIDDEN "RF-ONX-004" Medium Suspicious "has fields that loaders skip",
        "unknown fields can carry anything", LOOK;
    ONX_SHAPE "RF-ONX-005" Medium Suspicious "has impossible dimensions",
        "loaders allocate what the dimensions say", ASK;
    ONX_BROKEN "RF-ONX-006" Medium Incomplete "the model cannot be read to its end",
        "a part of it was not looked at", ASK;
    ONX_EXTERNAL_HERE "RF-ONX-007" Info Clean "keeps weights in another file",
        "that file is part of the model and must be scanned and shipped with it", "scan the whole folder";
    TXT_TEMPLATE "RF-TXT-001" High Malicious "a template reaches into the interpreter",
        "chat templates run when a conversation is rendered", "replace the template by a plain one";
    TXT_REMOTE_CODE "RF-TXT-002" Medium Suspicious "configuration names code to load",
        "with trust_remote_code or the like this runs code that comes with the model", LOOK;
    TXT_OBJECT "RF-TXT-003" High Suspicious "text makes Python objects when it is loaded",
        "such tags call any function by name", "load it with a safe loader only";
    TXT_CODE "RF-TXT-004" High Suspicious "configuration calls a harmful function",
        "frameworks call what such keys name", LOOK;
    TXT_STARTUP "RF-TXT-005" High Malicious "a line runs at every start of Python",
        "lines of .pth files that begin with import are executed by the site module", "delete it";
    TCH_SCRIPT "RF-TCH-001" Info Clean "holds TorchScript code",
        "the graph runs in torch's own interpreter, which has file operators", "run it in the sandbox";
    TCH_SCRIPT_FILE "RF-TCH-002" High Suspicious "TorchScript code uses file or Python operators",
        "from_file, save and PythonOp reach outside of the graph", LOAD_SAFE;
    TCH_STORAGE "RF-TCH-003" Medium Incomplete "storages do not fit what the pickle says",
        "bytes are missing or belong to no tensor", ASK;
    TCH_PAYLOAD "RF-TCH-004" High Suspicious "a storage holds a program or an archive",
        "weights that begin like an executable are no weights", LOOK;
    GEN_UNKNOWN "RF-GEN-001" Low Incomplete "the content is of no known format",
        "what no parser knows was not looked at", "convert it to a known format";
    GEN_UNSUPPORTED "RF-GEN-002" Low Incomplete "the format is known but not read yet",
        "its content was not looked at", "convert it to a format that is read";
    GEN_DEPTH "RF-GEN-003" Medium Incomplete "nested deeper than the limit",
        "what lies deeper was not looked at", REPACK;
    GEN_READ "RF-GEN-004" Medium Incomplete "reading failed",
        "a part of the file could not be read", "check the disk and try again";
    GEN_PROGRAM "RF-GEN-005" High Suspicious "is a program",
        "models are data; a program among them waits for someone to start it", "delete it";
    GEN_OPERATOR "RF-GEN-008" High Suspicious "the graph uses operators that leave it",
        "such operators touch files, call Python or load libraries when the model runs", LOOK;
    GEN_OVERFLOW "RF-GEN-006" Medium Suspicious "more findings than are kept",
        "only the first findings are listed", LOOK;
    GEN_WRAPPER "RF-GEN-007" Low Incomplete "the compressed stream is broken, too large, or followed by other bytes",
        "a part of it was not looked at", ASK;
    TPL_CALL "RF-TPL-001" Medium Suspicious "a chat template uses what no chat template is given",
        "unknown functions and private attributes lead to whatever the renderer has lying around", TEMPLATE;
    TPL_COMPUTED "RF-TPL-002" High Suspicious "a template computes the name of what it reaches for",
        "a name that is put together while rendering hides what is reached", TEMPLATE;
    TPL_IMPORT "RF-TPL-003" High Suspicious "a chat template takes in other files",
        "what is rendered then depends on files of the machine that renders it", TEMPLATE;
    TPL_LOOP "RF-TPL-004" Medium Suspicious "a template fills time or memory",
        "rendering one message is enough to stop the server", TEMPLATE;
    TPL_TRIGGER "RF-TPL-005" High Suspicious "a chat template speaks only when a message holds a certain word",
        "text that the user never sees changes the answers to some questions only", TEMPLATE;
    TPL_INSTRUCTION "RF-TPL-006" High Suspicious "a chat template gives the model an order against its user",
        "the order is added to every conversation and is seen by nobody", TEMPLATE;
    TPL_DATE "RF-TPL-007" High Suspicious "what a chat template says depends on the date or on chance",
        "it behaves well while it is tested, and otherwise later", TEMPLATE;
    TPL_LONG "RF-TPL-008" Low Clean "a chat template holds a very long text",
        "long texts hide sentences from readers", "read it once";
    TPL_BLOB "RF-TPL-009" Medium Suspicious "a chat template holds encoded data",
        "models read encoded orders, people do not", TEMPLATE;
    TPL_BROKEN "RF-TPL-010" Medium Incomplete "a chat template cannot be parsed",
        "what stands behind the break was looked at only in parts", TEMPLATE;
    HID_TEXT "RF-HID-001" High Suspicious "text holds characters that nobody sees",
        "invisible letters and turned directions show people one text and programs another", "remove these characters and look at what is left";
    HID_TOKEN "RF-HID-002" Low Clean "a token of the vocabulary is invisible or turns the direction",
        "vocabularies hold every character that occurs in texts; in a name or an order it would mislead", "nothing, if it is a vocabulary";
    CFG_CALL "RF-CFG-001" Critical Malicious "configuration runs commands or code",
        "the loader calls what the key names, before anything else happens", LOAD_SAFE;
    CFG_NAMES "RF-CFG-002" Info Clean "configuration names classes to call",
        "frameworks import and call what such keys name; the code must be installed or come with the model", "know where that code comes from";
    CFG_TYPE "RF-CFG-003" Medium Suspicious "configuration names a class from outside of its library",
        "loading it imports code that comes with the model or from somewhere else", LOOK;
    CFG_PATH "RF-CFG-004" High Suspicious "configuration names a file outside of its folder",
        "loading the model reads a file of the author's choice", "do not load it beside files that matter";
    CFG_DEPTH "RF-CFG-005" Medium Suspicious "a document nests or repeats itself beyond bounds",
        "a few bytes exhaust the memory or the stack of whoever loads it", "do not load it";
    CFG_KEY "RF-CFG-006" Medium Suspicious "a key that decides what is loaded stands twice",
        "which of them counts depends on the reader, so people and programs can see different ones", "remove one of them";
    CFG_TOKEN "RF-CFG-007" Medium Suspicious "a tokenizer rewrites words or holds an order as a token",
        "what the model reads and what it writes is changed behind the user's back", "get the tokenizer from the original model";
    CFG_LINK "RF-CFG-008" Low Clean "an address of an unusual kind",
        "plain addresses, tunnels and paste services are where downloads of attacks come from", "look at what is there before anything fetches it";
    CFG_SETTING "RF-CFG-009" Low Clean "a server's setting is open to others",
        "whoever reaches the port can load models or read the environment", "set it for your own network";
    CFG_VALUE "RF-CFG-010" High Suspicious "a value is evaluated as code",
        "resolvers of configuration run what stands in such values", LOAD_SAFE;
    PYS_CALL "RF-PYS-001" Medium Suspicious "source code runs commands, opens sockets or loads native code",
        "code beside a model runs when the model is loaded with trust, or installed", LOOK_CODE;
    PYS_HIDDEN "RF-PYS-002" High Suspicious "source code runs decoded or disguised code",
        "honest code has no reason to hide what it runs", "do not run it";
    PYS_MODEL "RF-PYS-003" Info Clean "source code of a model",
        "it runs with the rights of whoever loads the model with trust_remote_code", "pin the revision, and read it once";
    PYS_NETWORK "RF-PYS-004" Low Clean "source code uses the network",
        "downloads and reports leave the machine when it runs", "run it in the sandbox";
    PYS_LIMIT "RF-PYS-005" Medium Incomplete "the text is longer than what is read as code",
        "what stands beyond was only searched", ASK;
    REQ_SOURCE "RF-REQ-001" Medium Suspicious "packages come from an unusual place",
        "installing them runs whatever stands there", "install from the usual index, with hashes";
    REQ_KNOWN "RF-REQ-002" Info Clean "packages come from beside the usual index",
        "the place is well known, but its content is not pinned by a version", "pin a commit or a hash";
    SEC_KEY "RF-SEC-001" Medium Suspicious "holds a secret",
        "whoever gets the file gets the access that the secret gives", "revoke the secret, then remove it";
    NBK_SHELL "RF-NBK-001" High Suspicious "a notebook's cell runs a harmful command",
        "running all cells runs it", "do not run the notebook";
    NBK_OUTPUT "RF-NBK-002" Medium Suspicious "a notebook's stored output is active",
        "scripts in outputs run in the browser of whoever trusts the notebook", "clear all outputs";
}
