//! Where something stands in a text, and the two lines that show it.

/// Characters of a long line that are shown around the place of an error.
const WINDOW: usize = 110;

/// A stretch of one line of one source; lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index among the sources: 0 is the text of the formulas, then the settings.
    pub(super) source: usize,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

impl Place {
    /// Where a source begins.
    pub(super) const fn start_of(source: usize) -> Self {
        Place { source, line: 1, column: 1, length: 1 }
    }
}

/// A text and what to call it in front of a reader.
#[derive(Clone, Debug)]
pub(super) struct Source<'a> {
    pub(super) name: String,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The line of `place` with a caret line below it, both indented by two; nothing for a blank line.
    pub(super) fn excerpt(&self, place: &Place) -> Option<String> {
        let line: Vec<char> = self.text.split('\n').nth(place.line.checked_sub(1)?)?.chars().collect();
        if line.iter().all(|c| c.is_whitespace()) {
            return None;
        }
        let column = place.column.saturating_sub(1).min(line.len());
        let start = if line.len() <= WINDOW { 0 } else { column.saturating_sub(WINDOW / 2) };
        let end = line.len().min(start + WINDOW);
        let shown = &line[start..end];

        let mut text = String::from("  ");
        let mut caret = String::from("  ");
        if start > 0 {
            text.push('…');
            caret.push(' ');
        }
        // A tab stays a tab in both lines, so the caret stands right at every tab width.
        text.extend(shown.iter().map(|&c| if c.is_control() && c != '\t' { ' ' } else { c }));
        caret.extend(line[start..column].iter().map(|&c| if c == '\t' { '\t' } else { ' ' }));
        let carets = place.length.min(end.saturating_sub(column)).max(1);
        caret.extend(std::iter::repeat_n('^', carets));
        let text = text.trim_end();
        let dots = if end < line.len() { "…" } else { "" };
        Some(format!("{text}{dots}\n{caret}"))
    }
}
