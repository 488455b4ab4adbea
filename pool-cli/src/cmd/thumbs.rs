//! `thumbs`: thumbnails of a tree of images. Decoders of images crash, hang and eat memory; here that costs one file.

mod decode;
mod plan;
mod report;

use std::path::Path;

use pool_core::Task;

use self::plan::Plan;
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
            report.done(file, written(decode::decode(&file.source, options.size), &file.target))?;
        }
        return Ok(Verdict::all_well_if(report.finish()? && failures.is_empty()));
    }
    // The table has the reasons; the last words of a decoder would tear the bar.
    let builder = builder(workers, "thumbs", trace)?.memory_limit(options.memory).on_output(|_| ());
    let pool = builder.build()?;
    // One file at a time: a large one may follow a thousand small ones, and nothing shall wait behind it.
    let task = decode::thumbnail::Task.timeout(options.timeout).retries(options.retries).chunk_size(1);
    let sources = files.iter().map(|file| (file.source.as_path(), options.size));
    watch.beside(&pool, || {
        for done in pool.imap_unordered(task, sources)?.detailed() {
            let outcome = match done.result {
                Ok(thumbnail) => written(thumbnail, &files[done.index].target),
                Err(error) if concerns_one_file(error.kind()) => Err(why(&error)),
                Err(error) => return Err(error.into()),
            };
            report.done(&files[done.index], outcome)?;
        }
        Ok::<(), Failure>(())
    })?;
    Ok(Verdict::all_well_if(report.finish()? && failures.is_empty()))
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
