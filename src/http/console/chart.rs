//! Bars of events over time, as numbers for an SVG that the page draws: a bar for each span of minutes, and
//! in it a piece for each outcome.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::store::console::Span;

/// The outcomes, in the order in which they are stacked.
const OUTCOMES: [&str; 5] = ["applied", "unchanged", "parked", "ignored", "duplicate"];

/// The size in the units of the drawing.
pub(super) const WIDTH: i64 = 720;
/// Of the bars alone.
pub(super) const HEIGHT: i64 = 120;

/// A piece of a bar: events of one span that came to the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) height: i64,
    pub(super) outcome: &'static str,
}

/// A time below the bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) x: i64,
    pub(super) text: String,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) pieces: Vec<Piece>,
    pub(super) marks: Vec<Mark>,
    /// Of a bar.
    pub(super) width: i64,
    /// The events of the highest bar.
    pub(super) most: i64,
    pub(super) total: i64,
    /// How many events came to what; none of those that nothing came to.
    pub(super) outcomes: Vec<(&'static str, i64)>,
}

/// What a chart shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// How many bars.
    pub(super) bars: i64,
    /// Minutes of a bar.
    pub(super) minutes: i64,
    /// A time stands below every so many bars.
    pub(super) mark_every: i64,
}

impl Frame {
    /// The span of the first bar, if this minute is in the last one.
    pub(super) fn first(self, minute: i64) -> i64 {
        minute / self.minutes - self.bars + 1
    }

    /// Draws what was recorded in the spans up to the one with this minute.
    pub(super) fn draw(self, spans: &[Span], minute: i64) -> Chart {
        let first = self.first(minute);
        let mut counts: BTreeMap<i64, [i64; OUTCOMES.len()]> = BTreeMap::new();
        let mut totals = [0; OUTCOMES.len()];
        for span in spans.iter().filter(|span| (0..self.bars).contains(&(span.span - first))) {
            let Some(place) = OUTCOMES.iter().position(|outcome| *outcome == span.outcome) else {
                continue;
            };
            counts.entry(span.span - first).or_default()[place] += span.events;
            totals[place] += span.events;
        }
        let most = counts.values().map(|bar| bar.iter().sum()).max().unwrap_or(0);
        let step = WIDTH / self.bars;
        let pieces = counts.iter().flat_map(|(place, bar)| pieces(place * step, bar, most));
        Chart {
            id: self.id,
            title: self.title,
            pieces: pieces.collect(),
            marks: self.marks(first, step),
            width: (step - 1).max(1),
            most,
            total: totals.iter().sum(),
            outcomes: OUTCOMES.into_iter().zip(totals).filter(|(_, count)| *count > 0).collect(),
        }
    }

    fn marks(self, first: i64, step: i64) -> Vec<Mark> {
        let mark = |bar: i64| {
            let minute = (first + bar) * self.minutes;
            let time = Timestamp::from_second(minute * 60).ok()?;
            let is_marked = (first + bar) % self.mark_every == 0;
            is_marked.then(|| Mark { x: bar * step, text: time.strftime("%H:%M").to_string() })
        };
        (0..self.bars).filter_map(mark).collect()
    }
}

/// From the bottom up. What there is can be seen, however little it is beside the rest.
fn pieces(x: i64, bar: &[i64; OUTCOMES.len()], most: i64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut below = 0;
    for (outcome, count) in OUTCOMES.into_iter().zip(bar).filter(|(_, count)| **count > 0) {
        let height = (count.saturating_mul(HEIGHT) / most.max(1)).max(1);
        let height = height.min(HEIGHT - below);
        below += height;
        pieces.push(Piece { x, y: HEIGHT - below, height, outcome });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { id: "t", title: "t", bars: 60, minutes: 1, mark_every: 15 };

    fn span(span: i64, outcome: &str, events: i64) -> Span {
        Span { span, outcome: outcome.to_owned(), events }
    }

    #[test]
    fn bars_stand_where_their_minutes_are_and_are_as_high_as_they_count() {
        let minute = 28_000_000;
        let spans = [
            span(minute - 60, "applied", 1000),
            span(minute - 59, "applied", 50),
            span(minute, "applied", 60),
            span(minute, "parked", 40),
            span(minute, "unheard of", 900),
        ];
        let chart = FRAME.draw(&spans, minute);
        assert_eq!((chart.most, chart.total, chart.width), (100, 150, 11));
        assert_eq!(chart.outcomes, [("applied", 110), ("parked", 40)]);
        let piece = |x, y, height, outcome| Piece { x, y, height, outcome };
        assert_eq!(
            chart.pieces,
            [
                piece(0, 60, 60, "applied"),
                piece(708, 48, 72, "applied"),
                piece(708, 0, 48, "parked"),
            ]
        );
    }

    #[test]
    fn the_least_is_seen_and_nothing_leaves_the_frame() {
        let pieces = pieces(0, &[1_000_000, 1, 1, 1, 1], 1_000_004);
        assert!(pieces.iter().all(|piece| piece.y >= 0 && piece.height >= 0), "{pieces:?}");
        assert_eq!(pieces.iter().map(|piece| piece.height).sum::<i64>(), HEIGHT);
        assert!(FRAME.draw(&[], 28_000_000).pieces.is_empty());
    }

    #[test]
    fn times_stand_at_round_minutes() {
        // 2023-03-28T10:40:00Z
        let chart = FRAME.draw(&[], 28_000_000);
        let marks: Vec<(i64, &str)> =
            chart.marks.iter().map(|mark| (mark.x, mark.text.as_str())).collect();
        assert_eq!(marks.len(), 4, "{marks:?}");
        assert!(marks.iter().all(|(x, text)| x % 12 == 0 && text.len() == 5), "{marks:?}");
        assert!(marks.iter().all(|(_, text)| ["00", "15", "30", "45"].contains(&&text[3..])));
    }
}
