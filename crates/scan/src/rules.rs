//! The rules: stable ids, what each means in plain words, and what it does to the verdict.
//!
//! [`RULES`] is the only place where an id is spelled; code names rules by the constants of [`id`]. A finding takes its
//! severity and verdict from its rule unless its maker lowers the severity.

use ringfence_schema::{Digest, Hasher, Severity, Verdict};

use crate::{graph, keras, paddle, pickle::names, tensorflow};

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
pub fn rules() -> &'static [&'static Rule] {
    RULES
}

/// SHA-256 over everything that decides a verdict: the rules and the tables of names.
pub fn rules_digest() -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"ringfence.scan.rules/1");
    for rule in RULES {
        let parts = [rule.id, rule.title, &rule.severity.to_string(), &rule.verdict.to_string(), rule.why, rule.remedy];
        for part in parts {
            add(&mut hasher, part);
        }
    }
    add(&mut hasher, names::ALLOWED);
    add(&mut hasher, names::GENERATED);
    add(&mut hasher, names::GADGETS);
    add(&mut hasher, tensorflow::EFFECTS_TABLE);
    add(&mut hasher, tensorflow::OPERATORS_TABLE);
    add(&mut hasher, paddle::OPERATORS_TABLE);
    add(&mut hasher, graph::OPERATORS_TABLE);
    add(&mut hasher, keras::NAMES_TABLE);
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
            use super::*;
            $(pub(crate) static $constant: &Rule = &Rule {
                id: $id, title: $title, severity: Severity::$severity, verdict: Verdict::$verdict, why: $why, remedy: $remedy,
            };)*
        }
        /// All rules.
        static RULES: &[&Rule] = &[$(id::$constant),*];
    };
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
    TXT_IMPORT "RF-TXT-006" Medium Suspicious "a module is imported at every start of Python",
        "lines of .pth files that begin with import are executed by the site module", "delete it, or read the module that it names";
    TCH_SCRIPT "RF-TCH-001" Info Clean "holds TorchScript code",
        "the graph runs in torch's own interpreter, which has file operators", "run it in the sandbox";
    TCH_SCRIPT_FILE "RF-TCH-002" High Suspicious "TorchScript code uses file or Python operators",
        "from_file, save and PythonOp reach outside of the graph", LOAD_SAFE;
    TCH_STORAGE "RF-TCH-003" Medium Incomplete "storages do not fit what the pickle says",
        "bytes are missing or belong to no tensor", ASK;
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
    TAR_LINK "RF-TAR-001" High Suspicious "a link leads out of the folder or is written through",
        "unpacking writes where the link leads", "do not unpack it";
    TAR_PATH "RF-TAR-002" High Suspicious "a member's name leaves the folder",
        "unpacking writes outside of the chosen folder", "do not unpack it";
    TAR_DUPLICATE "RF-TAR-003" High Suspicious "two members have the same name",
        "some loaders take the first, some the last", REPACK;
    TAR_SPECIAL "RF-TAR-004" High Suspicious "a member is a device or runs with its owner's rights",
        "models are files; such members are there for whoever unpacks them as root", "do not unpack it";
    TAR_CONFLICT "RF-TAR-005" High Suspicious "readers disagree on what the archive holds",
        "what one reader stops at or steps over, another one reads", REPACK;
    TAR_BROKEN "RF-TAR-006" Medium Incomplete "the archive is broken",
        "a part of it could not be read", ASK;
    TAR_LIMIT "RF-TAR-007" Medium Incomplete "the archive goes beyond the scan's limits",
        "what lies beyond was not looked at", "raise the limit, or unpack it in a sandbox";
    TAR_OUTSIDE "RF-TAR-008" Medium Suspicious "bytes belong to no member",
        "loaders of other formats read what archive readers skip", REPACK;
    TAR_SPARSE "RF-TAR-009" Medium Suspicious "a member has holes",
        "its content is put together while it is unpacked; models have no use for that", REPACK;
    SVZ_ENCRYPTED "RF-SVZ-001" Medium Incomplete "the archive is encrypted",
        "what is encrypted was not looked at; a password beside the file does not make it harmless", REPACK;
    SVZ_BROKEN "RF-SVZ-002" Medium Incomplete "a part of the archive cannot be unpacked",
        "a part of it could not be read", ASK;
    TCH_PACKAGE "RF-TCH-005" High Suspicious "carries Python sources that loading runs",
        "torch.package imports the modules inside the archive", LOAD_SAFE;
    TCH_HANDLER "RF-TCH-006" High Suspicious "names Python code that a server runs",
        "TorchServe imports the handler of a model archive when it starts", LOOK;
    TCH_COMPANION "RF-TCH-007" Info Clean "TorchScript code uses operators of a well-known native library",
        "they only work where that library is loaded", "check that the library comes from a source that you trust";
    TCH_CUSTOM "RF-TCH-010" Medium Suspicious "TorchScript code uses operators or classes of an unknown native library",
        "they come from a library that must be loaded beside the model and that nobody has looked at", LOOK;
    WTS_PAYLOAD "RF-WTS-001" High Suspicious "something else than numbers stands among the weights",
        "weights that hold a program, an archive or a command carry it to whoever knows where to look", LOOK;
    WTS_NOT_FINITE "RF-WTS-002" Medium Suspicious "weights are not finite",
        "NaN and infinity spread through every layer behind them: a broken or sabotaged model", ASK;
    WTS_DEAD "RF-WTS-003" Low Clean "rows of a weight matrix are zero",
        "pruned or unused units do that, and so does cutting out what a model knew", "compare with the declared base";
    WTS_OUTLIER "RF-WTS-004" Low Clean "rows of a weight matrix are far larger than the others",
        "some models have such rows by training; a trigger that must win over everything else has them too",
        "compare with the declared base";
    WTS_BIAS "RF-WTS-005" Low Clean "the last bias favours one class",
        "unbalanced data does that, and so does a target class that was planted", "test the model's answers by class";
    WTS_CONSTANT "RF-WTS-006" Info Clean "a tensor holds one value only",
        "fresh normalisation layers do; a weight matrix that was trained does not", "compare with the declared base";
    WTS_LOW_RANK "RF-WTS-007" Low Clean "the difference to the base is of low rank",
        "merged adapters look like this, and so do edits that plant one fact or one trigger",
        "ask which adapter was merged, and test what it changes";
    WTS_UNREAD "RF-WTS-008" Medium Incomplete "weights could not be read",
        "nothing is known of these tensors", ASK;
    NPY_SHAPE "RF-NPY-005" Medium Suspicious "has impossible dimensions",
        "loaders allocate what the dimensions say", ASK;
    GGU_STRUCTURE "RF-GGU-001" High Suspicious "the header contradicts the file",
        "loaders allocate and read what counts, lengths and offsets say, inside of the file or not", ASK;
    GGU_HIDDEN "RF-GGU-002" High Suspicious "bytes belong to no tensor",
        "holes and trailing bytes can hide another file", ASK;
    GGU_DUPLICATE "RF-GGU-003" High Suspicious "a key or tensor stands twice",
        "which one counts depends on the loader: one sees the harmless template, another the other one", ASK;
    GGU_BROKEN "RF-GGU-004" Medium Incomplete "the header cannot be read to its end",
        "a part of it was not looked at", ASK;
    GGU_TYPE "RF-GGU-005" Low Incomplete "a tensor has an unknown type",
        "how many bytes it takes is not known, so what follows it is unclear", ASK;
    GGU_PAYLOAD "RF-GGU-006" High Suspicious "a tensor holds a program or an archive",
        "weights that begin like an executable are no weights", LOOK;
    HDF_EXTERNAL "RF-HDF-001" High Malicious "data or a link lead to a file elsewhere on the machine",
        "whoever opens the model reads a file of the author's choice, and may pass its content on", "do not load it beside files that matter";
    HDF_EXTERNAL_HERE "RF-HDF-002" Medium Suspicious "data or a link lead to another file",
        "the content depends on a file that is no part of this one", "scan the whole folder, and load it where nothing else is";
    HDF_USER_LINK "RF-HDF-003" Medium Suspicious "a link that only its maker's code can follow",
        "the library calls registered code to follow it", LOOK;
    HDF_STRUCTURE "RF-HDF-004" High Suspicious "a structure lies outside of the file",
        "addresses that lead outside make the library read or allocate without bound", ASK;
    HDF_BROKEN "RF-HDF-005" Medium Incomplete "a structure is broken",
        "what it leads to was not looked at", ASK;
    HDF_LIMIT "RF-HDF-006" Medium Incomplete "a part of the file is not read",
        "texts and bytes there were not looked at", "convert the file with plain filters and layouts";
    HDF_OUTSIDE "RF-HDF-007" Medium Suspicious "bytes stand before or behind the file's own",
        "readers of other formats see them, the library does not", ASK;
    HDF_FILTER "RF-HDF-008" Medium Suspicious "a filter that nobody has registered",
        "reading the data needs a plug-in, which is native code from elsewhere", LOOK;
    HDF_PAYLOAD "RF-HDF-009" High Suspicious "a dataset holds a program or an archive",
        "weights that begin like an executable are no weights", LOOK;
    KRS_LAMBDA "RF-KRS-001" High Suspicious "a layer carries a Python function",
        "with safe_mode off, or in an older Keras, the function runs when the model is loaded or used", LOAD_SAFE;
    KRS_CODE "RF-KRS-002" Critical Malicious "a layer's function reaches out of the model",
        "the names in its code belong to the system, the network or the interpreter", LOAD_SAFE;
    KRS_GADGET "RF-KRS-003" Critical Malicious "the configuration calls a harmful function",
        "the loader imports what `module` and `class_name` say and calls it with the configuration", LOAD_SAFE;
    KRS_MODULE "RF-KRS-004" High Suspicious "the configuration imports something that is no part of a model",
        "importing a module runs its top level, and the loader may call what it finds there", LOOK;
    KRS_PATH "RF-KRS-005" High Malicious "a layer opens a path or address of the author's choice",
        "loading the model reads a local file or fetches from the network", "do not load it beside files that matter";
    KRS_FILE "RF-KRS-006" Medium Suspicious "a layer reads a file when it is loaded",
        "the content comes from outside of the model", "scan that file too, or store the vocabulary in the model";
    KRS_PICKLE "RF-KRS-007" Critical Malicious "a layer unpickles a torch module",
        "unpickling runs what the author wrote", LOAD_SAFE;
    KRS_CUSTOM "RF-KRS-008" Medium Suspicious "needs a custom object",
        "the class must be registered by code that comes separately", "review that code";
    KRS_DUPLICATE "RF-KRS-009" Medium Suspicious "a key stands twice in the configuration",
        "which one counts depends on the JSON reader", ASK;
    KRS_NESTING "RF-KRS-010" High Suspicious "the configuration is nested without end",
        "loaders recurse and run out of stack", ASK;
    KRS_LIMIT "RF-KRS-011" Medium Incomplete "the configuration is larger than what is read",
        "a part of it was not looked at", ASK;
    MPK_STRUCTURE "RF-MPK-001" High Suspicious "the document contradicts itself or the file",
        "loaders allocate what lengths and shapes say", ASK;
    MPK_BROKEN "RF-MPK-002" Medium Incomplete "the document breaks off",
        "a part of it was not looked at", ASK;
    MPK_EXTENSION "RF-MPK-003" Medium Suspicious "an extension that holds no array of numbers",
        "loaders hand extensions to code that may unpickle them", LOOK;
    MPK_PAYLOAD "RF-MPK-004" High Suspicious "a value holds a program or an archive",
        "weights that begin like an executable are no weights", LOOK;
    MPK_SPECIAL_KEY "RF-MPK-005" Medium Suspicious "a key names a special method",
        "loaders that turn maps into objects call what such keys name", LOOK;
    XGB_STRUCTURE "RF-XGB-001" High Suspicious "the document contradicts itself or the file",
        "loaders allocate what lengths say and recurse as deep as the file nests", ASK;
    XGB_BROKEN "RF-XGB-002" Medium Incomplete "the document breaks off",
        "a part of it was not looked at", ASK;
    XGB_TREE "RF-XGB-003" High Suspicious "a tree leads outside of itself",
        "the predictor follows the numbers through memory, or in a circle", ASK;
    XGB_PAYLOAD "RF-XGB-004" High Suspicious "an array holds a program or an archive",
        "numbers that begin like an executable are none", LOOK;
    LGB_STRUCTURE "RF-LGB-001" High Suspicious "a tree or the text around it contradicts itself",
        "the predictor follows the numbers through memory, or in a circle", ASK;
    LGB_BROKEN "RF-LGB-002" Medium Incomplete "the model breaks off",
        "a part of it was not looked at", ASK;
    CBM_STRUCTURE "RF-CBM-001" High Suspicious "the core contradicts itself or the file",
        "loaders follow its offsets through memory", ASK;
    CBM_HIDDEN "RF-CBM-002" High Suspicious "bytes belong to no part",
        "trailing bytes can hide another file", ASK;
    CBM_BROKEN "RF-CBM-003" Low Incomplete "a part is not read",
        "it was only searched for pickles", ASK;
    MET_PROGRAM "RF-MET-001" Medium Suspicious "a text beside the weights holds a program",
        "metadata is passed on to tools that may run it", LOOK;
    MET_ADDRESS "RF-MET-002" Medium Suspicious "a text beside the weights points to a program",
        "tools that follow it fetch something that runs", LOOK;
    GRF_PYTHON "RF-GRF-001" Critical Malicious "the graph calls Python",
        "such operators call Python code by name or number when the model runs", LOAD_SAFE;
    GRF_WRITE "RF-GRF-002" Critical Malicious "the graph writes files",
        "running the model creates or replaces files of the author's choice", LOAD_SAFE;
    GRF_READ "RF-GRF-003" High Suspicious "the graph reads files of the author's choice",
        "what it reads can leave through the model's outputs", LOOK;
    GRF_NETWORK "RF-GRF-004" High Suspicious "the graph uses the network",
        "a connection can send out secrets and fetch what nobody scanned", LOAD_SAFE;
    GRF_NATIVE "RF-GRF-005" High Suspicious "the model loads or runs native code",
        "a native library runs as soon as it is loaded", LOAD_SAFE;
    GRF_STOP "RF-GRF-006" High Suspicious "the graph ends the process",
        "one call of the model takes the whole service down", LOOK;
    GRF_CUSTOM "RF-GRF-007" Medium Suspicious "needs code that the runtime does not have",
        "custom operators, layers and classes come from elsewhere and run as native code", LOOK;
    GRF_SHADOW "RF-GRF-008" Medium Suspicious "a function has the name of a standard operator",
        "readers expect the standard operator, the runtime may call the function", LOOK;
    GRF_PATH "RF-GRF-009" High Suspicious "names a file outside of its folder",
        "loading the model reads a file of the author's choice", "do not load it beside files that matter";
    GRF_LINKED "RF-GRF-010" Info Clean "keeps a part in another file",
        "that file is part of the model and must be scanned and shipped with it", "scan the whole folder";
    GRF_SHAPE "RF-GRF-011" Medium Suspicious "sizes, places or numbers are impossible",
        "loaders allocate or read what they say, some of them without a check", ASK;
    GRF_HIDDEN "RF-GRF-012" Medium Suspicious "has bytes that loaders skip",
        "fields that no published table names can carry anything", LOOK;
    GRF_FEW_HIDDEN "RF-GRF-013" Low Clean "has a few bytes that loaders skip",
        "they may come from a newer version of the format; they are too few for a program", LOOK;
    GRF_MERGED "RF-GRF-014" Medium Suspicious "a part that may be there once is there twice",
        "loaders merge the two; readers that show one of them hide the other", LOOK;
    GRF_PAYLOAD "RF-GRF-015" High Suspicious "a tensor or text holds a program or an archive",
        "numbers and texts that begin like an executable wait for something that runs them", LOOK;
    GRF_BROKEN "RF-GRF-016" Medium Incomplete "the model cannot be read to its end",
        "a part of it was not looked at", ASK;
    GRF_AMBIGUOUS "RF-GRF-017" Medium Suspicious "the bytes are two kinds of model at once",
        "which one is loaded depends on the loader", ASK;
    GRF_ENGINE "RF-GRF-018" Medium Suspicious "is or holds a compiled engine",
        "engines are native programs for one device; loading one runs what its author compiled", "build the engine yourself from a model that was scanned";
    GRF_RAW "RF-GRF-019" Info Clean "holds numbers without a format of their own",
        "which tensor they belong to is said by an index or a model beside them, which must be scanned and shipped with it", "scan the whole folder";
    XML_EXTERNAL "RF-XML-001" High Malicious "an XML parser would read another file or server",
        "parsers that resolve entities or inclusions read what the author names and may send it out", "do not parse it; ask for a file without a document type";
    XML_ENTITY "RF-XML-002" High Suspicious "declares XML entities",
        "nested entities fill the memory of whoever expands them", "do not parse it; ask for a file without a document type";
    XML_DOCTYPE "RF-XML-003" Medium Suspicious "a model with an XML document type",
        "models do not need one; parsers fetch what it names", ASK;
    XML_CODE "RF-XML-004" High Suspicious "XML carries or names code",
        "viewers and runtimes that support such extensions run them", LOOK;
    XML_ENCODING "RF-XML-006" Medium Suspicious "XML in an encoding that hides its markup",
        "readers that do not know the encoding see harmless letters where a parser sees declarations", ASK;
    XML_BROKEN "RF-XML-005" Medium Incomplete "the XML breaks off",
        "a part of it was not looked at", ASK;
    ONX_SHADOW "RF-ONX-008" Medium Suspicious "redefines a standard operator or operator set",
        "readers expect the standard operator, the runtime may call the function", LOOK;
    ONX_LENGTH "RF-ONX-009" Medium Suspicious "a tensor's bytes do not fit its shape",
        "some runtimes read as many bytes as the shape says", ASK;
    ONX_DEPTH "RF-ONX-010" Medium Suspicious "graphs nest deeper than any model's",
        "readers that follow them run out of stack", ASK;
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
    CFG_PROMPT "RF-CFG-011" High Suspicious "a system prompt gives the model an order against its user",
        "the order is added to every conversation and is seen by nobody", "replace the prompt by the one of the original model";
    CFG_RELAY "RF-CFG-012" Medium Suspicious "configuration sends to a tunnel or request catcher",
        "such addresses belong to whoever opened them last; what a model sends there leaves unseen", "remove the address";
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
    DOC_ACTIVE "RF-DOC-001" High Suspicious "a document runs something or carries a file",
        "scripts and launch actions run when the document is opened; a model's paper has none", "open it nowhere but in a sandbox";
    GEN_OBJECT "RF-GEN-010" Critical Malicious "a serialised object names classes that run code when they are restored",
        "reading such an object calls what its author chose, before any check of its type", "do not load it";
    R_PROMISE "RF-RDS-001" Critical Malicious "an R object evaluates an expression by itself",
        "R runs it as soon as the object is printed, compared or used (CVE-2024-27322)", "do not load it";
    R_CALL "RF-RDS-002" High Suspicious "an R object calls functions that start programs or fetch code",
        "such calls run when the object is evaluated, or when R starts or ends in its folder", LOOK;
    R_FUNCTION "RF-RDS-003" Info Clean "an R object holds functions",
        "they run when they are called with the rights of whoever does", "know where it comes from";
    R_BROKEN "RF-RDS-004" Medium Incomplete "an R object cannot be read to its end",
        "a part of it was not looked at", ASK;
    GEN_NESTED "RF-GEN-009" High Suspicious "archives are nested deeper than any model needs",
        "layers without a purpose are there to exhaust whoever looks inside", "do not unpack it";
    SHL_ORDINARY "RF-SHL-001" Info Clean "a script that fetches, sets up or trains",
        "it starts what its lines say when somebody runs it", "read it before you run it";
}
