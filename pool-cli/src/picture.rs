//! Lines at the end of the terminal that are drawn anew.

use std::io::Write;

use console::{Term, measure_text_width, truncate_str};

/// The lines at the end of the terminal.
#[derive(Debug)]
pub(crate) struct Picture {
    terminal: Term,
    pub(crate) note: String,
    pub(crate) lines: Vec<String>,
    /// The widths of the lines that are on the screen.
    pub(crate) drawn: Vec<usize>,
}

impl Picture {
    pub(crate) fn new(terminal: Term) -> Picture {
        Picture { terminal, note: String::new(), lines: Vec::new(), drawn: Vec::new() }
    }

    /// Lines and columns of the terminal at this moment.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (height, width) = self.terminal.size();
        (usize::from(height), usize::from(width).max(1))
    }

    /// The text that removes the picture from a terminal of this width.
    pub(crate) fn erase(&mut self, width: usize) -> String {
        // A terminal that has become narrower since has broken long lines.
        let rows: usize = self.drawn.drain(..).map(|drawn| drawn.div_ceil(width).max(1)).sum();
        if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A\x1b[J") }
    }

    pub(crate) fn redraw(&mut self, height: usize, width: usize) {
        let mut text = self.erase(width);
        // All of it must fit, together with the line of the cursor: lines that have left the screen cannot be removed.
        let room = height.saturating_sub(2).max(1);
        let shown = if self.lines.len() <= room { self.lines.len() } else { room - 1 };
        let hidden = self.lines.len() - shown;
        let more = (hidden > 0).then(|| format!("… and {hidden} more"));
        for line in self.lines[..shown].iter().chain(&more) {
            // A column is left free: some terminals break a line that fills the last one.
            let line = truncate_str(line, width - 1, "…");
            self.drawn.push(measure_text_width(&line));
            text.push_str(&line);
            text.push('\n');
        }
        self.write(&text);
    }

    /// At once, so that no picture is seen half drawn. If it fails, there is nobody to tell.
    pub(crate) fn write(&self, text: &str) {
        let _ = (&self.terminal).write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_lines_are_removed_whole() {
        let mut picture = Picture { drawn: vec![30, 79, 0], ..Picture::new(Term::stderr()) };
        assert_eq!(picture.erase(40), "\r\x1b[4A\x1b[J");
        assert_eq!(picture.erase(40), "", "once");
    }
}
