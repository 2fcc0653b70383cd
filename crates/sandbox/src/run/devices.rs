//! Graphics processors by name: which device nodes a run gets, and nothing else of a driver.
//!
//! No hook, no helper, no library of a container toolkit: only the nodes are shown, after it is checked that each is a
//! character device itself and, for NVIDIA's, that it has the numbers its name promises. `nvidia-uvm-tools` (profilers that
//! look at other processes) and `nvidia-modeset` (displays) are left out on purpose.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::sys::stat::{major, minor};

use super::{Gpus, SandboxError};

/// The nodes that `gpus` needs, or why it cannot have them.
pub(super) fn nodes(gpus: &Gpus) -> Result<Vec<PathBuf>, SandboxError> {
    nodes_in(Path::new("/dev"), gpus, is_driver_node).map_err(|detail| SandboxError::Job { detail })
}

/// The indices of NVIDIA's processors among `nodes`.
pub(super) fn nvidia_indices(nodes: &[PathBuf]) -> Vec<u32> {
    let index = |path: &PathBuf| numbered(path.file_name()?.to_str()?, "nvidia");
    nodes.iter().filter_map(index).collect()
}

fn nodes_in(dev: &Path, gpus: &Gpus, is_node: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, String> {
    let wanted = match gpus {
        Gpus::None => return Ok(Vec::new()),
        Gpus::All => None,
        Gpus::These(list) if list.is_empty() => return Ok(Vec::new()),
        Gpus::These(list) if list.len() > GPUS_MAX => {
            return Err(format!("{} graphics processors, limit is {GPUS_MAX}", list.len()));
        }
        Gpus::These(list) => Some(list),
    };
    let vendors: [(&str, &[&str], PathBuf, &str, u32); 2] = [
        ("nvidiactl", &["nvidia-uvm"], dev.to_owned(), "nvidia", 0),
        ("kfd", &[], dev.join("dri"), "renderD", RENDER_NODE_FIRST),
    ];
    for (control, further, folder, prefix, first) in vendors {
        let control = dev.join(control);
        if !is_node(&control) {
            continue;
        }
        let mut nodes = vec![control];
        nodes.extend(further.iter().map(|name| dev.join(name)).filter(|path| is_node(path)));
        let numbers = match wanted {
            Some(list) => list.iter().map(|index| first.saturating_add(*index)).collect(),
            None => numbers(&folder, prefix).map_err(|error| error.to_string())?,
        };
        for number in numbers {
            let node = folder.join(format!("{prefix}{number}"));
            if is_node(&node) {
                nodes.push(node);
            } else if wanted.is_some() {
                return Err(format!("there is no graphics processor `{}`", node.display()));
            }
        }
        return Ok(nodes);
    }
    match wanted {
        Some(_) => Err("this host has no graphics processor that a run could hold".to_owned()),
        None => Ok(Vec::new()),
    }
}

/// The numbers of the entries `<prefix><number>` of `folder`, in order.
fn numbers(folder: &Path, prefix: &str) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)?.take(ENTRIES_MAX) {
        numbers.extend(entry?.file_name().to_str().and_then(|name| numbered(name, prefix)));
    }
    numbers.sort_unstable();
    numbers.truncate(GPUS_MAX);
    Ok(numbers)
}

fn numbered(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Whether `path` itself, not what a link leads to, is a character device with the numbers of its name.
fn is_driver_node(path: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    if !metadata.file_type().is_char_device() {
        return false;
    }
    let device = metadata.rdev();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match (name, numbered(name, "nvidia"), numbered(name, "renderD")) {
        ("nvidiactl", ..) => (major(device), minor(device)) == (NVIDIA_MAJOR, NVIDIA_CONTROL_MINOR),
        (_, Some(number), _) => (major(device), minor(device)) == (NVIDIA_MAJOR, u64::from(number)),
        (_, _, Some(number)) => (major(device), minor(device)) == (DRM_MAJOR, u64::from(number)),
        // nvidia-uvm and kfd get their major number when their driver is loaded.
        _ => true,
    }
}

/// Most processors of one run.
const GPUS_MAX: usize = 256;
/// Most entries of a device folder that are looked at.
const ENTRIES_MAX: usize = 65_536;
/// The first render node (Linux: gpu/drm-uapi.rst).
const RENDER_NODE_FIRST: u32 = 128;
/// Major number of NVIDIA's nodes (Linux: admin-guide/devices.txt).
const NVIDIA_MAJOR: u64 = 195;
/// Minor number of `nvidiactl`.
const NVIDIA_CONTROL_MINOR: u64 = 255;
/// Major number of the kernel's graphics nodes.
const DRM_MAJOR: u64 = 226;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(present: &[&str], gpus: &Gpus) -> Result<Vec<String>, String> {
        let dev = tempfile::tempdir().unwrap();
        for name in present {
            let path = dev.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let nodes = nodes_in(dev.path(), gpus, Path::exists)?;
        Ok(nodes.iter().map(|path| path.strip_prefix(dev.path()).unwrap().display().to_string()).collect())
    }

    #[test]
    fn only_the_exact_nodes_are_chosen() {
        let nvidia =
            ["nvidiactl", "nvidia0", "nvidia1", "nvidia10", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"];
        let all = names(&nvidia, &Gpus::All).unwrap();
        assert_eq!(all, ["nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1", "nvidia10"]);
        assert_eq!(names(&nvidia, &Gpus::These(vec![1])).unwrap(), ["nvidiactl", "nvidia-uvm", "nvidia1"]);
        assert_eq!(names(&nvidia, &Gpus::None).unwrap(), [""; 0]);
        let amd = ["kfd", "dri/renderD128", "dri/renderD129", "dri/card0"];
        assert_eq!(names(&amd, &Gpus::All).unwrap(), ["kfd", "dri/renderD128", "dri/renderD129"]);
        assert_eq!(names(&amd, &Gpus::These(vec![1])).unwrap(), ["kfd", "dri/renderD129"]);
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        assert!(names(&["nvidiactl", "nvidia0"], &Gpus::These(vec![3])).unwrap_err().contains("nvidia3"));
        assert!(names(&["null"], &Gpus::These(vec![0])).is_err());
        assert_eq!(names(&["null"], &Gpus::All).unwrap(), [""; 0]);
        assert!(names(&["nvidiactl"], &Gpus::These((0..1_000).collect())).is_err());
    }

    #[test]
    fn a_file_or_a_link_is_no_node() {
        assert!(!is_driver_node(Path::new("/dev/stdin")));
        assert!(!is_driver_node(Path::new("/etc/passwd")));
        assert!(is_driver_node(Path::new("/dev/null")));
    }
}
