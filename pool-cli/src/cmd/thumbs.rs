//! `thumbs`: thumbnails of a tree of images. Decoders of images crash, hang and eat memory; here that costs one file.

mod decode;
mod plan;
mod report;

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use pool_core::{Completed, Task};

use self::plan::{File, Plan};
use self::report::{Report, Thumbnail};
use super::ending::{Failure, Verdict, builder, concerns_one_file};
use super::file::write_atomically;
use crate::args::Thumbs;
use crate::render::{complain_of, reason};
use crate::watch::Watch;

pub(super) fn run(
    options: &Thumbs,
    workers: Option<usize>,
    trace: Option<&Path>,
    watch: &Watch,
) -> Result<Verdict, Failure> {
    let Plan { files, failures } = Plan::new(&options.dir, &options.out)?;
    for (path, error) in &failures {
        complain_of(path, &reason(error));
    }
    let mut report = Report::new(files.len(), options.json, watch);
    #[cfg(feature = "planted")]
    if options.one_process {
        for file in &files {
            report.done(file, written(decode::thumbnail(&file.source, options.size), &file.target))?;
        }
        return Ok(Verdict::all_well_if(report.finish()? && failures.is_empty()));
    }
    let outcomes = if options.machines.are_elsewhere() { elsewhere } else { here };
    outcomes(options, &files, workers, trace, watch, &mut report)?;
    Ok(Verdict::all_well_if(report.finish()? && failures.is_empty()))
}

/// Memory that each worker may allocate, unless said.
const MEMORY_MAX: u64 = 512 << 20;

/// Has workers of this machine read the files.
fn here(
    options: &Thumbs,
    files: &[File],
    workers: Option<usize>,
    trace: Option<&Path>,
    watch: &Watch,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    // The table has the reasons; the last words of a decoder would tear the bar.
    let builder = builder(workers, "thumbs", trace)?.on_output(|_| ());
    let pool = builder.memory_limit(options.memory.unwrap_or(MEMORY_MAX)).build()?;
    let sources = files.iter().map(|file| (file.source.as_path(), options.size));
    // One file at a time: a large one may follow a thousand small ones, and nothing shall wait behind it.
    let task = decode::thumbnail::Task.timeout(options.timeout).retries(options.retries).chunk_size(1);
    let done = pool.imap_unordered(task, sources)?.detailed();
    watch.beside(&pool, || write_all(done, |index| &files[index], report))
}

/// Sends the content of the files to workers of other machines, which have other files.
fn elsewhere(
    options: &Thumbs,
    files: &[File],
    workers: Option<usize>,
    trace: Option<&Path>,
    watch: &Watch,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    if options.memory.is_some() {
        let text = "`--memory` is a limit of the workers: give it to `pool-cli agent` on the other machines";
        return Err(Failure::Usage(text.to_owned()));
    }
    let pool = options.machines.have(builder(workers, "thumbs", trace)?)?.build()?;
    let (sent, unreadable) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    // Each is read when a worker is about to have room for it, so there are few in memory.
    let sources = files.iter().filter_map(|file| match fs::read(&file.source) {
        Ok(bytes) => {
            sent.borrow_mut().push(file);
            Some((bytes, file.name.as_path(), options.size))
        }
        Err(error) => {
            unreadable.borrow_mut().push((file, reason(&error)));
            None
        }
    });
    let task = decode::thumbnail_of::Task.timeout(options.timeout).retries(options.retries).chunk_size(1);
    let done = pool.imap_unordered(task, sources)?.detailed();
    watch.beside(&pool, || write_all(done, |index| sent.borrow()[index], report))?;
    for (file, reason) in unreadable.take() {
        report.done(file, Err(reason))?;
    }
    Ok(())
}

/// Writes the thumbnails as they come.
fn write_all<'f>(
    done: impl Iterator<Item = Completed<Result<Thumbnail, String>>>,
    file: impl Fn(usize) -> &'f File,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    for done in done {
        let file = file(done.index);
        let outcome = match done.result {
            Ok(thumbnail) => written(thumbnail, &file.target),
            Err(error) if concerns_one_file(error.kind()) => Err(why(&error)),
            Err(error) => return Err(error.into()),
        };
        report.done(file, outcome)?;
    }
    Ok(())
}

/// The error without the names of task and worker, which a reader of the table does not need.
fn why(error: &pool_core::Error) -> String {
    let text = error.to_string();
    text.split_once(": ").map_or(text.as_str(), |(_, why)| why).to_owned()
}

/// Writes the thumbnail here and not in the worker: a decoder that runs wild has nothing to write to.
fn written(thumbnail: Result<Thumbnail, String>, target: &Path) -> Result<Thumbnail, String> {
    let thumbnail = thumbnail?;
    write_atomically(target, &thumbnail.bytes).map_err(|error| format!("{}: {}", target.display(), reason(&error)))?;
    Ok(thumbnail)
}
