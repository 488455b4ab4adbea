//! `thumbs`: images that crash, hang or are too large cost themselves alone.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use crate::cli::{Outcome, pool_cli, run};
use crate::tree::Tree;

fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let pixels = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(pixels).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// An image of a few bytes that says that it has 60,000 × 60,000 pixels.
fn bomb() -> Vec<u8> {
    let mut bytes = encoded(1, 1, ImageFormat::Png);
    // Behind the signature: the length and the name of the first block, its width and its height.
    for side in [16..20, 20..24] {
        bytes[side].copy_from_slice(&60_000_u32.to_be_bytes());
    }
    let sum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), step))
}

/// 200 images in 20 directories.
fn ordinary(tree: &Tree) -> BTreeSet<PathBuf> {
    let (png, jpeg) = (encoded(96, 64, ImageFormat::Png), encoded(40, 80, ImageFormat::Jpeg));
    let names = (0..200).map(|i| format!("{}/{:02}/{i:03}.{}", i % 2, i % 20, ["png", "jpg", "JPEG"][i % 3]));
    names
        .map(|name| {
            tree.file(&name, if name.ends_with("png") { &png } else { &jpeg });
            PathBuf::from(name)
        })
        .collect()
}

/// Names, contents, and a part of the reason.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let png = encoded(300, 200, ImageFormat::Png);
    let mut hostile = vec![
        ("0/05/bomb.png", bomb(), "needed more than 256 MiB"),
        ("1/odd \n name.jpg", b"no image at all".to_vec(), "format"),
        ("1/07/truncated.png", png[..png.len() / 2].to_vec(), "end of file"),
    ];
    if cfg!(feature = "planted") {
        let planted = |name, fault: &str, reason| (name, format!("planted {fault}").into_bytes(), reason);
        hostile.push(planted("0/abort.png", "abort", "SIGABRT"));
        hostile.push(planted("0/hang.jpeg", "hang", "exceeded its limit of 10 s"));
        hostile.push(planted("panic.png", "panic", "index out of bounds, on purpose"));
    }
    hostile
}

fn files(top: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![top.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(top).unwrap().to_owned());
            }
        }
    }
    found
}

fn thumbs(tree: &Tree, dir: &str, out: &str, options: &[&str]) -> Outcome {
    // A backtrace takes longer than all images, and nobody looks at it.
    run(pool_cli(["thumbs", dir, "--out", out, "--workers", "2", "--timeout", "10s"])
        .args(options)
        .current_dir(tree.path())
        .env_remove("RUST_BACKTRACE"))
}

#[test]
fn each_image_is_under_limits_of_its_own() {
    let (tree, out) = (Tree::new("thumbs"), Tree::new("thumbs of"));
    let names = ordinary(&tree);
    let hostile = hostile();
    hostile.iter().for_each(|(name, bytes, _)| _ = tree.file(name, bytes));
    let to = out.path().to_str().unwrap();
    let outcome = thumbs(&tree, ".", to, &["--size", "32", "--memory", "256M"]).expect_code(1);
    assert_eq!(outcome.err, "");
    assert_eq!(files(out.path()), names);
    let of = |name: &str| image::open(out.path().join(name)).unwrap();
    assert_eq!((of("0/00/000.png").width(), of("0/00/000.png").height()), (32, 21));
    assert_eq!((of("1/01/001.jpg").width(), of("1/01/001.jpg").height()), (16, 32));
    assert_eq!(fs::read(out.path().join("1/01/001.jpg")).unwrap()[..2], [0xff, 0xd8], "a JPEG");

    let (table, summary) = outcome.text().split_once("\n\n").unwrap();
    assert_eq!(summary, format!("200 thumbnails, {} failed\n", hostile.len()));
    assert_eq!(table.lines().count(), 1 + hostile.len(), "{table}");
    for (name, _, reason) in hostile {
        let name = name.escape_debug().to_string();
        let line = table.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{name} in\n{table}"));
        assert!(line[name.len()..].contains(reason), "`{reason}` in: {line}");
    }
}

#[cfg(feature = "planted")]
#[test]
fn a_loop_in_one_process_dies_of_the_same_images() {
    use std::os::unix::process::ExitStatusExt;

    let (tree, out) = (Tree::new("one process"), Tree::new("one process of"));
    ordinary(&tree);
    for (name, bytes, _) in hostile() {
        tree.file(name, bytes);
    }
    let to = out.path().to_str().unwrap();
    let outcome = thumbs(&tree, ".", to, &["--one-process"]);
    assert_eq!(outcome.status.signal(), Some(6), "{}", outcome.err);
    assert!(files(out.path()).len() < 200);
}

#[test]
fn lines_of_json_for_programs() {
    let (tree, out) = (Tree::new("json thumbs"), Tree::new("json thumbs of"));
    tree.file("a/one.png", encoded(10, 20, ImageFormat::Png));
    tree.file("b/two.png", b"");
    tree.file("b/no image.txt", b"");
    let to = out.path().to_str().unwrap();
    let outcome = thumbs(&tree, ".", to, &["--json"]).expect_code(1);
    let mut lines: Vec<serde_json::Value> =
        outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["file"].to_string());
    let target = out.path().join("a/one.png");
    let target = target.canonicalize().unwrap();
    let one = serde_json::json!({"file": "a/one.png", "thumbnail": target, "width": 10, "height": 20});
    assert_eq!(lines[0], one);
    assert_eq!((&lines[1]["file"], lines[1]["error"].is_string(), lines.len()), (&"b/two.png".into(), true, 2));
}

#[test]
fn an_output_within_the_tree_is_no_part_of_it_and_links_are_passed_over() {
    let tree = Tree::new("within");
    tree.file("a/one.png", encoded(10, 20, ImageFormat::Png));
    symlink("..", tree.path().join("a/loop")).unwrap();
    symlink("one.png", tree.path().join("a/link.png")).unwrap();
    for _ in 0..2 {
        let outcome = thumbs(&tree, ".", "small", &[]).expect_code(0);
        assert_eq!(outcome.text(), "1 thumbnails, 0 failed\n");
        assert_eq!(files(&tree.path().join("small")), BTreeSet::from([PathBuf::from("a/one.png")]));
    }
}

#[test]
fn a_fifo_with_the_name_of_an_image_is_reported() {
    let tree = Tree::new("fifo");
    tree.file("in/one.png", encoded(10, 20, ImageFormat::Png));
    for name in ["in/fifo.png", "in/fifo"] {
        run(Command::new("mkfifo").arg(tree.path().join(name))).expect_code(0);
    }
    let outcome = thumbs(&tree, "in", "out", &[]).expect_code(1);
    let complaints: Vec<&str> = outcome.err.lines().collect();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].ends_with("/in/fifo.png: neither a file nor a directory"), "{complaints:?}");
}

#[test]
fn thumbnails_never_take_the_places_of_images() {
    let tree = Tree::new("over");
    let image = tree.file("a/a/one.png", encoded(10, 20, ImageFormat::Png));
    let before = fs::read(&image).unwrap();
    for (dir, out) in [(".", "."), ("a", "."), ("a", "a"), ("a/a", "a/../a")] {
        let outcome = thumbs(&tree, dir, out, &[]).expect_code(2);
        assert!(outcome.err.contains("would take the places of images"), "{}", outcome.err);
    }
    assert_eq!(fs::read(&image).unwrap(), before);
}

#[test]
fn a_directory_that_is_none_or_a_place_that_cannot_be_written() {
    let tree = Tree::new("no directory");
    tree.file("file", "");
    assert_eq!(thumbs(&tree, "none", "out", &[]).expect_code(1).err, "pool-cli: none: No such file or directory\n");
    assert!(thumbs(&tree, "file", "out", &[]).expect_code(1).err.contains("file: not a directory"));
    assert!(thumbs(&tree, ".", "file", &[]).expect_code(1).err.starts_with("pool-cli: file: "));
    tree.file("a/one.png", encoded(10, 20, ImageFormat::Png));
    // A file stands where a directory of thumbnails must be.
    tree.file("out/a", "");
    let outcome = thumbs(&tree, ".", "out", &[]).expect_code(1);
    assert!(outcome.text().contains("0 thumbnails, 1 failed"), "{}", outcome.text());
}
