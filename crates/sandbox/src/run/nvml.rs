//! What NVIDIA's graphics processors say of themselves, through NVML (libnvidia-ml.so.1), loaded at run time.
//!
//! The library is the driver's own and may hang with it, so it lives in a process of its own, the *gauge*: a child of the
//! supervisor that asks once a second and writes a line of JSON. If the library is absent there is no gauge and no error; if
//! it hangs, figures stay away. Only processors that the run holds are asked, by the minor number of their node; the
//! memory is that of the run's own processes where NVML tells it per process, that of the whole processor otherwise.
//!
//! Interface: NVML API Reference, `nvml.h` (functions of version 2 and 3 with the layouts that they have had since R510).

use std::{
    ffi::{CStr, c_int, c_uint, c_void},
    fs::File,
    io::{Read, Write},
    thread,
    time::Duration,
};

use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::{Pid, pipe2},
};
use ringfence_schema::event::GpuUsage;

use super::usage::descendants;
use crate::sys::{self, Side};

/// The process that asks the driver. Killed on drop.
pub(super) struct Gauge {
    process: Pid,
    lines: File,
    partial: Vec<u8>,
    last: Vec<GpuUsage>,
}

impl Gauge {
    /// Starts a gauge for the processors with these minor numbers, held by what runs below `keeper`; `None` where there is
    /// nothing to ask.
    pub(super) fn start(minors: Vec<u32>, keeper: Pid) -> Option<Self> {
        if minors.is_empty() {
            return None;
        }
        let (reader, writer) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).ok()?;
        let supervisor = nix::unistd::getpid();
        match sys::clone_process(0, None).ok()? {
            Side::Child => {
                drop(reader);
                // It holds copies of the supervisor's descriptors: it must not outlive it.
                if sys::die_with_parent().is_err() || nix::unistd::getppid() != supervisor {
                    std::process::exit(1);
                }
                ask_for_ever(&minors, keeper, File::from(writer));
                std::process::exit(0)
            }
            Side::Parent(process) => {
                drop(writer);
                sys::set_nonblocking(&reader).ok()?;
                Some(Self { process, lines: reader.into(), partial: Vec::new(), last: Vec::new() })
            }
        }
    }

    /// The newest figures; empty until there are some.
    pub(super) fn read(&mut self) -> Vec<GpuUsage> {
        let mut buffer = vec![0; LINE_BYTES_MAX];
        while let Ok(count @ 1..) = self.lines.read(&mut buffer) {
            self.partial.extend_from_slice(buffer.get(..count).unwrap_or_default());
            while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                if let Ok(figures) = serde_json::from_slice(&line) {
                    self.last = figures;
                }
            }
            if self.partial.len() > LINE_BYTES_MAX {
                self.partial.clear();
            }
        }
        self.last.clone()
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        let _ = kill(self.process, Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(self.process, None);
    }
}

fn ask_for_ever(minors: &[u32], keeper: Pid, mut lines: File) {
    let Some(library) = Library::open(LIBRARY) else { return };
    loop {
        let own: Vec<u32> = descendants(keeper).iter().map(|process| process.as_raw().unsigned_abs()).collect();
        let Ok(mut line) = serde_json::to_vec(&library.figures(minors, &own)) else { return };
        line.push(b'\n');
        if lines.write_all(&line).is_err() {
            return;
        }
        thread::sleep(INTERVAL);
    }
}

/// The loaded library, initialised. Never unloaded: the process ends with it.
struct Library {
    count: Count,
    handle: Handle,
    minor: Minor,
    utilization: Rates,
    memory: Bytes,
    processes: Option<Processes>,
}

type Initialise = unsafe extern "C" fn() -> c_int;
type Count = unsafe extern "C" fn(*mut c_uint) -> c_int;
type Handle = unsafe extern "C" fn(c_uint, *mut *mut c_void) -> c_int;
type Minor = unsafe extern "C" fn(*mut c_void, *mut c_uint) -> c_int;
type Rates = unsafe extern "C" fn(*mut c_void, *mut Utilization) -> c_int;
type Bytes = unsafe extern "C" fn(*mut c_void, *mut Memory) -> c_int;
type Processes = unsafe extern "C" fn(*mut c_void, *mut c_uint, *mut Process) -> c_int;

impl Library {
    /// Loads and initialises `name`; `None` where it is absent, lacks a function, or finds no driver.
    #[expect(unsafe_code, reason = "a library is loaded and its functions are called")]
    fn open(name: &CStr) -> Option<Self> {
        // SAFETY: the name ends with a null byte. Loading runs the library's own initialisers: it is the driver's, found on
        // the system's library path, and nothing of a stranger can be there.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return None;
        }
        let symbol = |name: &CStr| {
            // SAFETY: the library was loaded above and is never unloaded; the name ends with a null byte.
            let address = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!address.is_null()).then_some(address)
        };
        // SAFETY: each function has the type that nvml.h gives to the function of that name; a pointer to a function has the
        // size of a pointer to data on Linux.
        unsafe {
            let initialise = std::mem::transmute::<*mut c_void, Initialise>(symbol(c"nvmlInit_v2")?);
            let loaded = Self {
                count: std::mem::transmute::<*mut c_void, Count>(symbol(c"nvmlDeviceGetCount_v2")?),
                handle: std::mem::transmute::<*mut c_void, Handle>(symbol(c"nvmlDeviceGetHandleByIndex_v2")?),
                minor: std::mem::transmute::<*mut c_void, Minor>(symbol(c"nvmlDeviceGetMinorNumber")?),
                utilization: std::mem::transmute::<*mut c_void, Rates>(symbol(c"nvmlDeviceGetUtilizationRates")?),
                memory: std::mem::transmute::<*mut c_void, Bytes>(symbol(c"nvmlDeviceGetMemoryInfo")?),
                processes: symbol(c"nvmlDeviceGetComputeRunningProcesses_v3")
                    .map(|address| std::mem::transmute::<*mut c_void, Processes>(address)),
            };
            (initialise() == SUCCESS).then_some(loaded)
        }
    }

    /// Figures of the processors with these minor numbers, in order; those that do not answer are left out.
    #[expect(unsafe_code, reason = "functions of the library are called")]
    fn figures(&self, minors: &[u32], own: &[u32]) -> Vec<GpuUsage> {
        let mut count: c_uint = 0;
        // SAFETY: the library was initialised; the pointer is to a value that outlives the call. So below.
        if unsafe { (self.count)(&raw mut count) } != SUCCESS {
            return Vec::new();
        }
        let mut figures = Vec::new();
        for index in 0..count.min(DEVICES_MAX) {
            let (mut device, mut minor): (*mut c_void, c_uint) = (std::ptr::null_mut(), 0);
            // SAFETY: as above; a handle stays valid while the library is initialised.
            let found = unsafe {
                (self.handle)(index, &raw mut device) == SUCCESS && (self.minor)(device, &raw mut minor) == SUCCESS
            };
            if !found || !minors.contains(&minor) {
                continue;
            }
            let (mut busy, mut memory) = (Utilization::default(), Memory::default());
            // SAFETY: as above; both records have the layout of nvml.h.
            let told = unsafe {
                (self.utilization)(device, &raw mut busy) == SUCCESS
                    && (self.memory)(device, &raw mut memory) == SUCCESS
            };
            if told {
                let memory_bytes = self.memory_of(device, own).unwrap_or(memory.used);
                figures.push(GpuUsage { index: minor, busy_percent: busy.gpu.min(100), memory_bytes });
            }
        }
        figures.sort_by_key(|figure| figure.index);
        figures
    }

    /// Memory of the processes `own` on `device`, if NVML tells it per process.
    #[expect(unsafe_code, reason = "functions of the library are called")]
    fn memory_of(&self, device: *mut c_void, own: &[u32]) -> Option<u64> {
        let mut list = vec![Process::default(); PROCESSES_MAX];
        let mut count = c_uint::try_from(list.len()).ok()?;
        // SAFETY: `count` says how many records `list` has room for, and both outlive the call.
        let result = unsafe { (self.processes?)(device, &raw mut count, list.as_mut_ptr()) };
        if result != SUCCESS {
            return None;
        }
        let list = list.get(..usize::try_from(count).ok()?)?;
        if list.iter().any(|process| process.used == NOT_AVAILABLE) {
            return None;
        }
        let ours = list.iter().filter(|process| own.contains(&process.pid));
        Some(ours.fold(0, |sum, process| sum.saturating_add(process.used)))
    }
}

/// `nvmlUtilization_t`: percent of the last sample period.
#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlMemory_t`, in bytes.
#[repr(C)]
#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

/// `nvmlProcessInfo_t` (`_v2` layout, which version 3 of the function fills).
#[repr(C)]
#[derive(Clone, Default)]
struct Process {
    pid: c_uint,
    used: u64,
    instance: c_uint,
    compute_instance: c_uint,
}

/// The library's name; its major version is part of it.
const LIBRARY: &CStr = c"libnvidia-ml.so.1";
/// `NVML_SUCCESS`.
const SUCCESS: c_int = 0;
/// `NVML_VALUE_NOT_AVAILABLE`.
const NOT_AVAILABLE: u64 = u64::MAX;
/// Most processors that are asked.
const DEVICES_MAX: c_uint = 256;
/// Most processes on one processor.
const PROCESSES_MAX: usize = 1_024;
/// Longest line of the gauge in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;
/// How often the driver is asked.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{ffi::CString, fs, process::Command};

    use super::*;

    #[test]
    fn a_library_that_is_absent_is_no_error() {
        assert!(Library::open(c"libringfence-no-such-library.so.1").is_none());
    }

    /// A library with NVML's functions for three processors, of which the second does not answer.
    #[test]
    fn figures_are_read_by_minor_number_and_per_process() {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("fake.rs"), folder.path().join("libfake.so"));
        fs::write(&source, FAKE).unwrap();
        let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let built = Command::new(compiler)
            .args(["--edition=2024", "--crate-type=cdylib", "-Cpanic=abort", "-o"])
            .arg(&library)
            .arg(&source)
            .status();
        if !built.is_ok_and(|status| status.success()) {
            return;
        }
        let library = Library::open(&CString::new(library.to_str().unwrap()).unwrap()).unwrap();
        let own = GpuUsage { index: 7, busy_percent: 41, memory_bytes: 300 };
        assert_eq!(library.figures(&[7, 8], &[100, 102]), [own]);
        let shared = GpuUsage { index: 9, busy_percent: 43, memory_bytes: 5_002 };
        assert_eq!(library.figures(&[9], &[100]), [shared]);
        assert_eq!(library.figures(&[3], &[100]), []);
    }

    const FAKE: &str = r#"
#[repr(C)] pub struct Utilization { gpu: u32, memory: u32 }
#[repr(C)] pub struct Memory { total: u64, free: u64, used: u64 }
#[repr(C)] pub struct Process { pid: u32, used: u64, instance: u32, compute: u32 }
#[unsafe(no_mangle)] pub extern "C" fn nvmlInit_v2() -> i32 { 0 }
#[unsafe(no_mangle)] pub extern "C" fn nvmlDeviceGetCount_v2(count: *mut u32) -> i32 { unsafe { *count = 3 }; 0 }
#[unsafe(no_mangle)] pub extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: u32, handle: *mut usize) -> i32 {
    unsafe { *handle = 1 + index as usize }; 0
}
#[unsafe(no_mangle)] pub extern "C" fn nvmlDeviceGetMinorNumber(handle: usize, minor: *mut u32) -> i32 {
    unsafe { *minor = 6 + handle as u32 }; 0
}
#[unsafe(no_mangle)] pub extern "C" fn nvmlDeviceGetUtilizationRates(handle: usize, rates: *mut Utilization) -> i32 {
    if handle == 2 { return 999 }
    unsafe { *rates = Utilization { gpu: 40 + handle as u32, memory: 1 } }; 0
}
#[unsafe(no_mangle)] pub extern "C" fn nvmlDeviceGetMemoryInfo(handle: usize, memory: *mut Memory) -> i32 {
    unsafe { *memory = Memory { total: 9_000, free: 1, used: 4_999 + handle as u64 } }; 0
}
#[unsafe(no_mangle)] pub extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(handle: usize, count: *mut u32, list: *mut Process) -> i32 {
    let known = if handle == 3 { u64::MAX } else { 200 };
    unsafe {
        *list = Process { pid: 100, used: 100, instance: 0, compute: 0 };
        *list.add(1) = Process { pid: 101, used: 1_000, instance: 0, compute: 0 };
        *list.add(2) = Process { pid: 102, used: known, instance: 0, compute: 0 };
        *count = 3;
    }
    0
}
"#;
}
