//! What becomes of a log, call by call; whole logs of real programs are read in `crates/workload/tests/files.rs`.

extern crate std;
use std::borrow::ToOwned;
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

#[test]
fn a_number_that_is_used_again_is_somebody_else() {
    // Each of the three has the next one, and the last one's child gets the number of the first.
    let log = "7 fork() = 200\n7 exit_group(0) = ?\n7 +++ exited with 0 +++\n200 fork() = 300\n300 fork( <unfinished ...>\n7 brk(NULL) = 0x1000\n\
               300 <... fork resumed>) = 7\n7 brk(0x2000) = 0x2000\n";
    let expected = [
        "0: fork 1",
        "0: store 1+0 64 seed 3",
        "1: store 1+0 64 seed 4",
        "0: exit",
        "1: fork 2",
        "1: store 1+0 64 seed 5",
        "2: store 1+0 64 seed 6",
        "2: fork 3",
        "2: store 1+0 64 seed 7",
        "3: store 1+0 64 seed 8",
        "3: map 2 anonymous 1 pages",
        "3: store 2+0 64 seed 9",
    ];
    assert_eq!(steps(log), expected);
}

#[test]
fn a_number_is_used_again_where_the_log_shows_no_end_and_by_its_own_descendant() {
    let log = "7 fork() = 8\n8 exit_group(0) = ?\n7 fork() = 8\n8 brk(NULL) = 0x1000\n8 brk(0x2000) = 0x2000\n7 fork() = 8\n";
    let steps = steps(log);
    let births = steps.iter().filter(|step| step.contains(": fork ")).cloned().collect::<Vec<_>>();
    assert_eq!(births, ["0: fork 1", "0: fork 2", "0: fork 3"]);
    assert!(steps.contains(&"2: map 2 anonymous 1 pages".to_owned()) && steps.contains(&"2: exit".to_owned()), "{steps:?}");
    let replay = translate("5 fork() = 6\n6 fork() = 5\n", 4096).unwrap();
    assert_eq!(replay.tasks, 3);
}

#[test]
fn births_that_would_be_their_own_ancestors_end_in_an_error_or_in_order_however_many_there_are() {
    // Nobody of these acts before the whole chain is told of, backwards.
    let mut log = String::from("1 brk(NULL) = 0x1000\n100000 brk(NULL) = 0x1000\n");
    for parent in (1..100_000).rev() {
        log.push_str(&std::format!("{parent} fork() = {}\n", parent + 1));
    }
    let error = translate(&log, 4096).unwrap_err();
    assert!(matches!(error.reason, StraceErrorReason::TooManyTasks), "{error}");
    let replay = translate("1 fork() = 2\n2 fork() = 3\n3 fork() = 1\n1 fork() = 2\n", 4096).unwrap();
    assert_eq!(replay.tasks, 5);
    assert!(translate("1 fork() = 1\n2 fork() = 2\n", 4096).is_err());
}

#[test]
fn numbers_that_no_file_or_address_has_are_left_out_and_do_not_wrap() {
    let open = "7 open(\"f\", O_RDWR|O_DIRECT) = 3\n7 open(\"g\", O_RDWR) = 4\n7 pipe([5, 6]) = 0\n";
    let top = "0xffffffffffffffff";
    let calls = [
        std::format!("lseek(4, {top}, SEEK_SET) = {top}\n7 read(4, \"\", 9) = 9\n7 write(4, \"\", 9) = 9"),
        String::from("lseek(4, 0, SEEK_SET) = 0x7fffffffffffffff\n7 read(4, \"\", 9) = 9\n7 splice(4, NULL, 6, NULL, 9, 0) = 9"),
        std::format!("pread64(4, \"\", 9, {top}) = 9"),
        String::from("pread64(3, \"\", 4294967295, 0) = 4294967295"),
        String::from("pwrite64(3, \"\", 512, 4294966784) = 512"),
        std::format!("read(4, {top}, 9) = 9"),
        std::format!("splice(4, [{top}], 6, NULL, 9, 0) = 9"),
        String::from("splice(4, [4294967290], 6, NULL, 9, 0) = 9"),
        std::format!("lseek(4, {top}, SEEK_SET) = {top}\n7 splice(5, NULL, 4, NULL, 9, 0) = 9"),
        std::format!("splice(4, NULL, 6, NULL, {top}, 0) = 0x100000001"),
        std::format!("mmap(NULL, 8192, PROT_READ, MAP_SHARED, 4, {top}) = 0x10000"),
        String::from("mmap2(NULL, 8192, PROT_READ, MAP_SHARED, 4, 0x7fffffffffffffff) = 0x10000"),
        String::from("mmap2(NULL, 8192, PROT_READ, MAP_SHARED, 4, 0xfffff) = 0x10000"),
        std::format!("mmap({top}, {top}, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = {top}"),
        std::format!("munmap({top}, {top}) = 0\n7 mprotect({top}, {top}, PROT_WRITE) = 0"),
        std::format!("mremap({top}, {top}, {top}, 0) = {top}\n7 mremap(0, {top}, 1, 0) = 0x1000"),
        std::format!("brk(NULL) = {top}\n7 brk(0) = 0x1000\n7 brk(0) = {top}"),
        std::format!("fstat(4, {{st_size={top}}}) = 0"),
        std::format!("ptrace(PTRACE_PEEKDATA, 7, {top}, 0) = 0\n7 ptrace(PTRACE_PEEKDATA, {top}, 0, 0) = 0"),
        std::format!("process_vm_readv(7, [], 1, [{{iov_base={top}, iov_len={top}}}], 1, 0) = {top}"),
        std::format!("process_vm_readv({top}, [], 1, [{{iov_base=1, iov_len=1}}], 1, 0) = 1"),
        std::format!("fork() = {top}\n7 clone(0) = 4294967296\n7 vfork() = ?\n7 close({top}) = 0\n7 dup2(4, {top}) = {top}"),
    ];
    for page in [4096, 65536] {
        for call in &calls {
            let log = std::format!("7 execve(\"/bin/x\", [\"x\"], 0x7ffe /* 3 vars */) = 0\n{open}7 {call}\n");
            let replay = translate(&log, page).unwrap();
            assert!(replay.steps.len() < 1 << 20 && replay.tasks == 1, "{call}: {} steps", replay.steps.len());
        }
    }
}

#[test]
fn a_heap_that_grows_over_a_mapping_takes_its_place() {
    let log = "7 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x11000\n\
               7 brk(NULL) = 0x10000\n7 brk(0) = 0x20000\n7 open(\"f\", O_RDONLY) = 3\n7 read(3, 0x10800, 0x2000) = 0x2000\n";
    let steps = steps(log);
    assert!(
        steps.contains(&"0: unmap 2 pages 0..2".to_owned()) && steps.contains(&"0: read 1+0 to 2+2048 8192".to_owned()),
        "{steps:?}"
    );
}
