//! The output of `thumbs`: a bar while it works, then a table of the images that have no thumbnail; or lines of JSON.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plan::File;
use crate::render::table;
use crate::watch::Watch;

/// A thumbnail.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Thumbnail {
    pub(super) width: u32,
    pub(super) height: u32,
    /// The file's content.
    pub(super) bytes: Vec<u8>,
}

/// Outcomes as they come.
pub(super) struct Report<'w> {
    bar: ProgressBar,
    watch: &'w Watch,
    is_json: bool,
    made: usize,
    /// Names and reasons.
    failed: Vec<[String; 2]>,
}

impl<'w> Report<'w> {
    pub(super) fn new(files: usize, is_json: bool, watch: &'w Watch) -> Self {
        let bar = if watch.leaves_room_for_bar() {
            let bar = ProgressBar::with_draw_target(Some(files as u64), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{elapsed:>4} [{wide_bar}] {pos} of {len} images{msg}");
            bar.with_style(style.expect("it is written above").progress_chars("=> "))
        } else {
            ProgressBar::hidden()
        };
        Report { bar, watch, is_json, made: 0, failed: Vec::new() }
    }

    /// An image is done, well or not.
    pub(super) fn done(&mut self, file: &File, outcome: Result<Thumbnail, String>) -> io::Result<()> {
        self.bar.inc(1);
        if self.is_json {
            let line = match &outcome {
                Ok(Thumbnail { width, height, .. }) => {
                    let target = file.target.to_string_lossy();
                    json!({ "file": file.name.to_string_lossy(), "thumbnail": target, "width": width, "height": height })
                }
                Err(reason) => json!({ "file": file.name.to_string_lossy(), "error": reason }),
            };
            self.watch.suspend_with(&self.bar, || writeln!(io::stdout(), "{line}"))?;
        }
        match outcome {
            Ok(_) => self.made += 1,
            Err(reason) => {
                self.failed
                    .push([&file.name.display().to_string(), &reason].map(|text| text.escape_debug().to_string()));
                self.bar.set_message(format!(", {} failed", self.failed.len()));
            }
        }
        self.watch.note(|| format!("{} thumbnails, {} failed", self.made, self.failed.len()));
        Ok(())
    }

    /// Shows the rest. True if all images have their thumbnails.
    pub(super) fn finish(mut self) -> io::Result<bool> {
        self.bar.finish_and_clear();
        self.failed.sort();
        if !self.is_json {
            let mut out = io::stdout().lock();
            if !self.failed.is_empty() {
                let headings = ["IMAGE", "WHY IT HAS NO THUMBNAIL"].map(str::to_owned);
                writeln!(out, "{}", table(&headings, &self.failed))?;
            }
            writeln!(out, "{} thumbnails, {} failed", self.made, self.failed.len())?;
            out.flush()?;
        }
        Ok(self.failed.is_empty())
    }
}
