//! What functions of Python do to the machine, by their full names.
//!
//! Narrower than the tables for pickles: source code calls `open` and `getattr` every day.

use ringfence_format::python::{Kind, Token};

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// Runs source code.
    Evaluates,
    /// Starts a process.
    Runs,
    /// Loads a native library.
    Native,
    /// Makes code objects.
    Code,
    /// Restores pickles.
    Unpickles,
    /// Makes a socket, which may only listen.
    Socket,
    /// Opens a connection.
    Connects,
    /// Fetches or sends over the web.
    Network,
    /// Deletes files.
    Deletes,
    /// The whole environment.
    Environment,
}

/// Names that turn encoded data into plain, as they stand in arguments.
pub(super) const DECODING: [&str; 14] = [
    "b64decode",
    "b32decode",
    "b85decode",
    "a85decode",
    "fromhex",
    "unhexlify",
    "decompress",
    "decodebytes",
    "loads",
    "urlopen",
    "chr",
    "rot13",
    "urlsafe_b64decode",
    "decode",
];
/// Commands that ask the machine something, as scripts of models do.
const ORDINARY: [&str; 18] = [
    "git",
    "nvidia-smi",
    "nvcc",
    "uname",
    "which",
    "lscpu",
    "ninja",
    "rocm-smi",
    "rocminfo",
    "hostname",
    "ffmpeg",
    "ffprobe",
    "ldconfig",
    "sysctl",
    "clear",
    "cls",
    "lspci",
    "gcc",
];

const EVALUATES: [&str; 6] = ["eval", "exec", "execfile", "code.interact", "runpy.run_path", "runpy.run_module"];
const RUNS: [&str; 30] = [
    "os.system",
    "os.popen",
    "os.popen2",
    "os.popen3",
    "os.startfile",
    "os.posix_spawn",
    "os.posix_spawnp",
    "os.dup2",
    "posix.system",
    "nt.system",
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "pty.spawn",
    "commands.getoutput",
    "commands.getstatusoutput",
    "platform.popen",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "pexpect.spawn",
    "pexpect.run",
    "pip.main",
    "pip._internal.main",
    "timeit.timeit",
    "_posixsubprocess.fork_exec",
    "distutils.spawn.spawn",
];
const NATIVE: [&str; 16] = [
    "ctypes.CDLL",
    "ctypes.PyDLL",
    "ctypes.WinDLL",
    "ctypes.OleDLL",
    "ctypes.cdll.LoadLibrary",
    "ctypes.windll.LoadLibrary",
    "ctypes.CFUNCTYPE",
    "ctypes.windll",
    "ctypes.pythonapi",
    "cffi.FFI",
    "torch.ops.load_library",
    "torch.classes.load_library",
    "tensorflow.load_op_library",
    "tf.load_op_library",
    "tensorflow.load_library",
    "ctypes.memmove",
];
const CODE: [&str; 6] = [
    "marshal.loads",
    "marshal.load",
    "types.FunctionType",
    "types.CodeType",
    "types.LambdaType",
    "zipimport.zipimporter",
];
const UNPICKLES: [&str; 6] =
    ["pickle.loads", "pickle.load", "_pickle.loads", "cPickle.loads", "dill.loads", "cloudpickle.loads"];
const CONNECTS: [&str; 8] = [
    "socket.create_connection",
    "smtplib.SMTP",
    "smtplib.SMTP_SSL",
    "ftplib.FTP",
    "telnetlib.Telnet",
    "paramiko.SSHClient",
    "paramiko.Transport",
    "socket.getaddrinfo",
];
const NETWORK: [&str; 22] = [
    "urllib.request.urlopen",
    "urllib.request.urlretrieve",
    "urllib.request.Request",
    "urllib.urlopen",
    "urllib2.urlopen",
    "http.client.HTTPConnection",
    "http.client.HTTPSConnection",
    "requests.get",
    "requests.post",
    "requests.put",
    "requests.request",
    "requests.Session",
    "httpx.get",
    "httpx.post",
    "httpx.Client",
    "httpx.AsyncClient",
    "aiohttp.ClientSession",
    "urllib3.PoolManager",
    "xmlrpc.client.ServerProxy",
    "websocket.create_connection",
    "websockets.connect",
    "wget.download",
];
const DELETES: [&str; 6] = ["shutil.rmtree", "os.remove", "os.unlink", "os.rmdir", "os.removedirs", "os.truncate"];

/// What `path` does.
pub(super) fn of(path: &str) -> Option<Harm> {
    let is_of = |list: &[&str]| list.contains(&path);
    let starts = |names: &[&str]| names.iter().any(|name| path.starts_with(name));
    Some(if is_of(&EVALUATES) || path.starts_with("code.Interactive") {
        Harm::Evaluates
    } else if is_of(&RUNS) || starts(&["os.exec", "os.spawn", "posix.exec", "posix.spawn"]) {
        Harm::Runs
    } else if is_of(&NATIVE) || starts(&["ctypes.cdll.", "ctypes.windll.", "torch.utils.cpp_extension.load"]) {
        Harm::Native
    } else if is_of(&CODE) {
        Harm::Code
    } else if is_of(&UNPICKLES) {
        Harm::Unpickles
    } else if path == "socket.socket" {
        Harm::Socket
    } else if is_of(&CONNECTS) && path != "socket.getaddrinfo" {
        Harm::Connects
    } else if is_of(&NETWORK) {
        Harm::Network
    } else if is_of(&DELETES) {
        Harm::Deletes
    } else if path == "os.environ" {
        Harm::Environment
    } else {
        return None;
    })
}

/// A constant command that only asks the machine something.
pub(super) fn is_ordinary_command(given: &[Token]) -> bool {
    let Some(first) = given.iter().find(|token| !matches!(token.kind, Kind::Sign("[" | "("))) else { return false };
    let Kind::Text(command) = &first.kind else { return false };
    let is_plain = !command.contains(['|', ';', '&', '`', '$', '>', '<', '\n']);
    let program = command.split_whitespace().next().unwrap_or_default();
    is_plain && ORDINARY.contains(&program)
}
