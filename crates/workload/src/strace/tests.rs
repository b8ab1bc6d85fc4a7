//! What becomes of a log, call by call; whole logs of real programs are read in `crates/workload/tests/files.rs`.

extern crate std;
use std::string::{String, ToString};
use std::vec::Vec;

use congruent_vm::write_script;

use super::*;

/// The steps that a log becomes, after those of its `execve`.
fn steps(log: &str) -> Vec<String> {
    let log = std::format!("7 execve(\"/bin/x\", [\"x\"], 0x7ffe /* 3 vars */) = 0\n{log}");
    let replay = translate(&log, 4096).unwrap();
    write_script(&replay.steps).lines().skip(4).map(ToString::to_string).collect()
}

#[test]
fn a_program_begins_with_its_code_and_arguments() {
    let replay = translate("execve(\"/bin/echo\", [\"echo\", \"a b\"], 0x7ffe /* 3 vars */) = 0\n", 4096).unwrap();
    let script = write_script(&replay.steps);
    assert_eq!(script, "0: create 0 1 seed 1\n0: exec 0 arguments 9 seed 2\n0: load 1+0 64\n0: run 0+0 64\n");
}

#[test]
fn a_child_is_born_before_its_first_call() {
    let log = "7 vfork( <unfinished ...>\n8 exit_group(1) = ?\n8 +++ exited with 1 +++\n7 <... vfork resumed>) = 8\n7 exit_group(0) = ?\n";
    assert_eq!(steps(log), ["0: fork 1", "0: store 1+0 64 seed 3", "1: store 1+0 64 seed 4", "1: exit", "0: exit"]);
}

#[test]
fn threads_share_memory_and_end_together() {
    let log = "7 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f00}, 88) = 8\n8 brk(NULL) = 0x1000\n7 brk(0x3000) = 0x3000\n7 exit_group(0) = ?\n";
    let expected = ["0: thread 1", "0: map 2 anonymous 2 pages", "0: store 2+0 64 seed 3", "0: exit", "1: exit"];
    assert_eq!(steps(log), expected);
}

#[test]
fn buffers_are_where_the_log_says() {
    let log = "7 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000\n\
               7 openat(AT_FDCWD, \"a,b(\", O_RDONLY|O_CLOEXEC) = 3\n\
               7 read(0x3, 0x7f0000000fff, 0x10) = 0x4\n7 read(3, \"cd\\\")\"..., 16) = 4\n";
    let expected = [
        "0: map 2 anonymous 2 pages",
        "0: store 2+0 64 seed 3",
        "0: create 1 8 seed 4",
        "0: read 1+0 to 2+4095 4",
        "0: load 2+4095 4",
        "0: map 3 anonymous 16 pages",
        "0: read 1+4 to 3+0 4",
        "0: load 3+0 4",
    ];
    assert_eq!(steps(log), expected);
}

#[test]
fn direct_transfers_keep_whole_blocks() {
    let log = "7 open(\"db\", O_RDWR|O_DIRECT) = 3\n7 pread64(3, \"\"..., 8192, 16384) = 8192\n7 pwrite64(3, \"\"..., 512, 0) = 512\n7 read(3, \"\", 512) = 100\n7 fsync(3) = 0\n";
    let expected = [
        "0: create 1 24576 seed 3",
        "0: map 2 anonymous 16 pages",
        "0: direct-read 1+16384 to 2+0 8192",
        "0: load 2+0 8192",
        "0: store 2+8192 512 seed 4",
        "0: direct-write 1+0 from 2+8192 512",
        "0: direct-read 1+0 to 2+8704 512",
        "0: load 2+8704 512",
        "0: sync 1",
    ];
    assert_eq!(steps(log), expected);
}

#[test]
fn a_mapping_that_is_covered_goes_first() {
    let log = "7 open(\"lib\", O_RDONLY) = 3\n7 fstat(3, {st_mode=S_IFREG|0755, st_size=20000, ...}) = 0\n\
               7 mmap(NULL, 20480, PROT_READ, MAP_PRIVATE|MAP_DENYWRITE, 3, 0) = 0x10000\n\
               7 mmap(0x11000, 8192, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED, 3, 0x1000) = 0x11000\n\
               7 mprotect(0x10000, 4096, PROT_READ) = 0\n7 munmap(0x10000, 20480) = 0\n";
    let expected = [
        "0: create 1 20000 seed 3",
        "0: map 2 file 1 pages 0..5",
        "0: load 2+0 64",
        "0: unmap 2 pages 1..3",
        "0: map 3 file 1 pages 1..3",
        "0: protect 3 r-x",
        "0: run 3+0 64",
        "0: unmap 2 pages 0..1",
        "0: unmap 3 pages 0..2",
        "0: unmap 2 pages 3..5",
    ];
    assert_eq!(steps(log), expected);
}

#[test]
fn memory_moves_grows_and_shrinks() {
    let log = "7 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x10000\n\
               7 mremap(0x10000, 8192, 12288, MREMAP_MAYMOVE) = 0x20000\n7 mremap(0x20000, 12288, 4096, 0) = 0x20000\n";
    let expected = [
        "0: map 2 anonymous 2 pages",
        "0: store 2+0 64 seed 3",
        "0: remap 2",
        "0: map 3 anonymous 1 pages",
        "0: store 3+0 64 seed 4",
        "0: unmap 2 pages 1..2",
        "0: unmap 3 pages 0..1",
    ];
    assert_eq!(steps(log), expected);
}

#[test]
fn pipes_join_processes() {
    let log = "7 pipe2([3, 4], 0) = 0\n7 dup2(4, 1) = 1\n7 write(1, \"hi\", 2) = 2\n7 read(3<pipe:[5]>, \"hi\", 9) = 2\n7 write(9, \"x\", 1) = 1\n";
    let expected = [
        "0: map 2 anonymous 16 pages",
        "0: store 2+0 2 seed 3",
        "0: pipe-write 0 from 2+0 2",
        "0: pipe-read 0 to 2+64 2",
        "0: load 2+64 2",
    ];
    assert_eq!(steps(log), expected);
}

#[test]
fn what_is_left_out_is_counted() {
    let log = "1.5 getpid() = 5\n12:00:01.5 getpid() = 5\nopen(\"no\", O_RDONLY) = -1 ENOENT (No such file or directory)\nwrite(1, \"x\", 1) = 1\n--- SIGCHLD {si_signo=SIGCHLD} ---\n";
    let replay = translate(log, 4096).unwrap();
    assert_eq!((replay.calls, replay.failed, replay.tasks), (4, 1, 1));
    let left_out: Vec<_> = replay.not_modelled.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(left_out, [("getpid", 2), ("write of something else than a file or pipe", 1)]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (log, says) in [
        ("hello, world\n", "line 1: expected `NAME(ARGUMENTS) = RESULT` as strace writes it, found `hello, world`"),
        ("getpid() = 5\nread(3, \"abc\n", "line 2: expected"),
        ("getpid() = five\n", "line 1: expected"),
        ("<... read resumed>) = 4\n", "line 1: `read` is resumed, but was not begun"),
        ("munmap(NULL) = 0\n", "line 1: argument 2 of `munmap` is missing or not understood"),
        ("5 getpid() = 5\n6 getpid() = 6\n", "line 2: process 6 comes from nowhere"),
    ] {
        let error = translate(log, 4096).unwrap_err().to_string();
        assert!(error.contains(says), "{log:?}: {error}");
    }
}
