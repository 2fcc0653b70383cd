//! Workers: what they are given works, what they are not given is not there, and every failure is a value.

use std::{fs::File, time::Duration};

use ringfence_sandbox::{
    memfd,
    worker::{Limits, Worker, WorkerError},
};

use crate::stage::example;

fn worker(kind: &str) -> Worker {
    Worker::new(example("sandbox_helper"), ["worker", kind]).limits(limits())
}

fn limits() -> Limits {
    Limits { wall: Duration::from_secs(20), records: 1_000, answer_bytes: 50_000, ..Limits::default() }
}

fn call(kind: &str, request: &[u8]) -> Result<String, WorkerError> {
    worker(kind).call(request, &mut |_| ()).map(|answer| String::from_utf8(answer).unwrap())
}

#[test]
fn a_request_is_answered() {
    assert_eq!(call("echo", b"hello").unwrap(), "hello");
    let long = "x".repeat(300_000);
    let limits = Limits { answer_bytes: 300_000, ..limits() };
    assert_eq!(worker("echo").limits(limits).call(long.as_bytes(), &mut |_| ()).unwrap(), long.as_bytes());
}

#[test]
fn only_the_given_descriptors_arrive_and_in_order() {
    let one = memfd("one", &mut b"first".as_slice()).unwrap();
    let two = memfd("two", &mut b"second".as_slice()).unwrap();
    let answer = worker("join").descriptor(one).descriptor(File::from(two)).call(b"", &mut |_| ()).unwrap();
    assert_eq!(answer, b"first;second;");
}

#[test]
fn threads_and_an_empty_environment_are_there() {
    assert_eq!(call("threads", b"").unwrap(), "140");
    assert_eq!(call("environment", b"").unwrap(), "0");
}

#[test]
fn a_file_cannot_be_opened_or_made() {
    assert!(call("open", b"").unwrap().starts_with("Err("));
    assert!(call("create", b"").unwrap().starts_with("Err("));
    assert!(!std::path::Path::new("/tmp/ringfence-worker-was-here").exists());
}

#[test]
fn sockets_exec_and_signals_kill_the_worker() {
    for kind in ["socket", "exec", "kill"] {
        let killed = call(kind, b"");
        assert!(matches!(killed, Err(WorkerError::Died { signal: Some(31), .. })), "{kind}: {killed:?}");
    }
}

#[test]
fn a_library_is_refused_what_ends_others() {
    let library = |kind: &str| {
        Worker::new(example("sandbox_helper"), ["worker", kind, "library"]).limits(limits()).call(b"", &mut |_| ())
    };
    for kind in ["open", "create", "socket", "exec", "kill"] {
        let answer = String::from_utf8(library(kind).unwrap()).unwrap();
        assert!(answer.starts_with("Err("), "{kind}: {answer}");
    }
    assert_eq!(library("threads").unwrap(), b"140");
}

#[test]
fn a_reader_reads_its_folder_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    std::fs::write(&inside, b"content").unwrap();
    let read = |path: &std::path::Path| {
        let worker =
            Worker::new(example("sandbox_helper"), ["worker".as_ref(), "read".as_ref(), folder.path().as_os_str()]);
        worker.limits(limits()).call(path.to_str().unwrap().as_bytes(), &mut |_| ())
    };
    assert_eq!(read(&inside).unwrap(), b"content");
    assert!(matches!(read("/etc/passwd".as_ref()), Err(WorkerError::Refused { .. })));
    for kind in ["socket", "exec"] {
        let worker =
            Worker::new(example("sandbox_helper"), ["worker".as_ref(), kind.as_ref(), folder.path().as_os_str()]);
        let killed = worker.limits(limits()).call(b"", &mut |_| ());
        assert!(matches!(killed, Err(WorkerError::Died { .. })), "{kind}: {killed:?}");
    }
}

#[test]
fn every_failure_is_a_value() {
    assert!(matches!(call("panic", b"\0"), Err(WorkerError::Died { .. })));
    assert!(matches!(call("long", b""), Err(WorkerError::Protocol { .. })));
    assert!(matches!(call("flood", b""), Err(WorkerError::Protocol { .. })));
    assert!(matches!(call("garbage", b""), Err(WorkerError::Protocol { .. })));
    let refused = call("refuse", b"").unwrap_err();
    assert_eq!(refused.to_string(), "not \\u{1b}[31mtoday");
    let short = Limits { wall: Duration::from_millis(100), ..limits() };
    let late = worker("hang").limits(short).call(b"", &mut |_| ());
    assert!(matches!(late, Err(WorkerError::TimedOut { limit_ms: 100 })), "{late:?}");
    let missing = Worker::new("/nonexistent/worker", ["x"]).call(b"", &mut |_| ());
    assert!(matches!(missing, Err(WorkerError::Start { .. })), "{missing:?}");
    let long = Limits { request_bytes: 3, ..limits() };
    let refused = worker("echo").limits(long).call(b"1234", &mut |_| ());
    assert!(matches!(refused, Err(WorkerError::RequestTooLong { bytes: 4, limit: 3 })), "{refused:?}");
}

#[test]
fn memory_is_bounded_by_the_child_and_by_its_parent() {
    // The child's own limit (512 MiB of address space) ends it.
    assert!(matches!(call("memory", b""), Err(WorkerError::Died { .. } | WorkerError::Memory { .. })));
    // Where the parent's limit is lower, the parent does.
    let low = Limits { memory_bytes: 1 << 20, ..limits() };
    let hung = worker("hang").limits(low).call(b"", &mut |_| ());
    assert!(matches!(hung, Err(WorkerError::Memory { .. })), "{hung:?}");
}
