//! Text in a picture.

/// The text as it stands in a file.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
