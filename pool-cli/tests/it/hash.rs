//! `hash`, against `sha256sum`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::{expect_same, finish, pool_cli, run, sha256sum};
use crate::tree::Tree;

/// Names that are hard to print.
const ODD_NAMES: [&[u8]; 15] = [
    b"new\nline",
    b"back\\slash",
    b"carriage\rreturn",
    b"all\\\n\rthree",
    b"\\",
    b"\\n",
    b"not utf-8 \xff\xfe",
    b" blanks  within ",
    b"-dash",
    b"--check",
    b"*star",
    b"tab\tand bell\x07",
    "été".as_bytes(),
    b"a.c",
    b"a/b",
];

#[test]
fn it_prints_the_lines_of_sha256sum() {
    let tree = Tree::new("odd");
    for (number, name) in ODD_NAMES.into_iter().enumerate() {
        tree.file(name, format!("content {number}"));
    }
    tree.file("empty", "");
    tree.file(b"deep/er\n/\xff/and\\deeper/file", "deep");
    // Longer than any buffer, and not a multiple of one.
    tree.file("large", (0..5 * (1 << 20) + 1).map(|i: u32| (i % 251) as u8).collect::<Vec<u8>>());
    fs::create_dir(tree.path().join("empty directory")).unwrap();
    let theirs = sha256sum(tree.path(), ".");
    assert_eq!(theirs.iter().filter(|&&byte| byte == b'\n').count(), ODD_NAMES.len() + 3);
    for workers in ["1", "2", "5"] {
        let ours = run(pool_cli(["hash", ".", "--workers", workers]).current_dir(tree.path())).expect_code(0);
        assert_eq!(ours.err, "");
        expect_same(&ours.out, &theirs);
    }
}

#[test]
fn hundreds_of_files_come_in_the_order_of_their_paths() {
    let tree = Tree::new("many");
    tree.files(700);
    let path = tree.path().to_str().expect("ours is text");
    let ours = run(&mut pool_cli(["hash", path])).expect_code(0);
    expect_same(&ours.out, &sha256sum(tree.path(), path));
}

#[test]
fn sha256sum_accepts_the_output() {
    let tree = Tree::new("accepted");
    for name in ODD_NAMES {
        tree.file(name, name);
    }
    let sums = run(pool_cli(["hash", "."]).current_dir(tree.path())).expect_code(0).out;
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "--quiet"]).current_dir(tree.path());
    let mut child = check.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&sums).unwrap();
    let outcome = finish(child).expect_code(0);
    assert_eq!((outcome.text(), outcome.err.as_str()), ("", ""));
}

#[test]
fn files_and_directories_may_be_mixed_and_given_twice() {
    let tree = Tree::new("mixed");
    for name in ["-dash", "b", "dir/x", "dir/y"] {
        tree.file(name, name);
    }
    let ours =
        run(pool_cli(["hash", "--", "dir/", "b", "-dash", "dir/y", "b"]).current_dir(tree.path())).expect_code(0);
    let mut command = Command::new("sha256sum");
    command.args(["--", "-dash", "b", "b", "dir/x", "dir/y", "dir/y"]).current_dir(tree.path());
    let theirs = run(command.stdout(Stdio::piped())).expect_code(0);
    expect_same(&ours.out, &theirs.out);
}

#[test]
fn links_are_followed_on_the_command_line_and_nowhere_else() {
    let tree = Tree::new("links");
    tree.file("dir/file", "content");
    symlink("file", tree.path().join("dir/to-file")).unwrap();
    symlink("..", tree.path().join("dir/to-parent")).unwrap();
    symlink("nowhere", tree.path().join("dir/dangling")).unwrap();
    symlink("dir", tree.path().join("to-dir")).unwrap();
    symlink("dir/file", tree.path().join("to-file")).unwrap();
    let ours = run(pool_cli(["hash", "dir", "to-dir", "to-file"]).current_dir(tree.path())).expect_code(0);
    let names: Vec<&str> = ours.text().lines().filter_map(|line| Some(line.split_once("  ")?.1)).collect();
    assert_eq!(names, ["dir/file", "to-dir/file", "to-file"]);
    let sums: Vec<&str> = ours.text().lines().map(|line| &line[..64]).collect();
    assert!(sums.iter().all(|&sum| sum == sums[0]), "{sums:?}");
}

#[test]
fn a_fifo_below_a_directory_is_reported_and_the_files_are_hashed() {
    let tree = Tree::new("special");
    tree.file("file", "");
    run(Command::new("mkfifo").arg(tree.path().join("fifo"))).expect_code(0);
    let ours = run(pool_cli(["hash", "."]).current_dir(tree.path())).expect_code(1);
    expect_same(&ours.out, &sha256sum(tree.path(), "."));
    assert_eq!(ours.err, "pool-cli: ./fifo: neither a file nor a directory\n");
}

#[test]
fn standard_input_by_its_name_is_the_file_behind_it() {
    let tree = Tree::new("stdin");
    let file = fs::File::open(tree.file("file", "content")).unwrap();
    let by_name = run(pool_cli(["hash", "/dev/stdin"]).stdin(file)).expect_code(0);
    let direct = run(pool_cli(["hash", "file"]).current_dir(tree.path())).expect_code(0);
    assert_eq!(by_name.text()[..64], direct.text()[..64]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let tree = Tree::new("head");
    // More lines than a pipe holds, so that the writer notices.
    tree.files(1500);
    let mut child = pool_cli(["hash"]).arg(tree.path()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 64];
    out.read_exact(&mut first).unwrap();
    drop(out);
    assert!(first.iter().all(u8::is_ascii_hexdigit), "{}", first.escape_ascii());
    assert_eq!(finish(child).expect_code(0).err, "");
}

#[test]
fn a_trace_tells_which_files_ran_when() {
    let tree = Tree::new("trace");
    (0..20).for_each(|number| _ = tree.file(format!("file {number}").as_bytes(), "content"));
    let trace = Tree::new("trace of");
    let path = trace.path().join("out.json");
    // Relative to the directory of the program.
    let relative = Path::new("..").join(trace.path().file_name().unwrap()).join("out.json");
    let arguments = ["hash".as_ref(), ".".as_ref(), "--trace".as_ref(), relative.as_os_str()];
    assert_eq!(run(pool_cli(arguments).current_dir(tree.path())).expect_code(0).err, "");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with("[\n") && text.ends_with("\n]\n"), "{text}");
    assert!(text.contains(r#""task":"pool_cli::cmd::hash::sha256","item":0"#), "{text}");
    let failure = run(&mut pool_cli(["hash", ".", "--trace", "/no such directory/out.json"])).expect_code(1);
    assert!(failure.err.contains("/no such directory/out.json"), "{}", failure.err);
}
