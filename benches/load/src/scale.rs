//! Takes the result lines of runs between which one thing was varied, and makes of them a table for
//! each measure (Markdown) and one drawing (SVG).

use std::collections::BTreeMap;
use std::path::PathBuf;

use plotters::prelude::*;

use crate::Error;
use crate::report::median;
use crate::result::RunResult;

#[derive(clap::Args)]
pub struct Arguments {
    /// The result lines, as `send --x` appends them; of several of one contestant and x, the median counts.
    #[arg(long)]
    results: PathBuf,
    /// What was varied, as the axis is to be called.
    #[arg(long)]
    x: String,
    /// Draw here.
    #[arg(long)]
    svg: PathBuf,
}

/// What is drawn, one panel each.
struct Measure {
    name: &'static str,
    of: fn(&RunResult) -> Option<f64>,
    digits: usize,
}

const MEASURES: [Measure; 3] = [
    Measure { name: "events/s", of: |run| Some(run.events_per_second), digits: 0 },
    Measure { name: "p99, ms", of: |run| Some(run.latency.p99_ms), digits: 1 },
    Measure {
        name: "peak memory of the service, MiB",
        of: |run| Some(run.memory?.peak_kib as f64 / 1_024.0),
        digits: 1,
    },
];

/// Told apart without red and green.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 110, 0),
    RGBColor(110, 110, 110),
    RGBColor(150, 60, 160),
    RGBColor(0, 150, 140),
];
const PANEL_PIXELS: (u32, u32) = (420, 320);

/// Contestant → x → value; contestants in the order in which they came.
type Series = Vec<(String, BTreeMap<u64, f64>)>;

pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let runs = RunResult::read_all(&arguments.results)?;
    let measured: Vec<(&Measure, Series)> =
        MEASURES.iter().map(|measure| (measure, series(&runs, measure))).collect();
    for (measure, series) in &measured {
        println!("{}", table(&arguments.x, measure, series));
    }
    let bad: u64 = runs.iter().map(RunResult::not_200).sum();
    // Less than 0 where orders were there before.
    let lost: i64 = runs.iter().filter_map(RunResult::lost).map(|lost| lost.max(0)).sum();
    println!(
        "Answers other than 200 and broken connections, over all runs: {bad}. Lost: {lost}.\n"
    );
    draw(arguments, &measured)
}

fn series(runs: &[RunResult], measure: &Measure) -> Series {
    let mut all: Vec<(String, BTreeMap<u64, Vec<f64>>)> = Vec::new();
    for run in runs {
        let Some(x) = run.x else { continue };
        let known = all.iter().position(|(name, _)| *name == run.contestant);
        let index = known.unwrap_or_else(|| {
            all.push((run.contestant.clone(), BTreeMap::new()));
            all.len() - 1
        });
        // Who has none of these keeps its place, and so its colour, among those who have.
        if let Some(value) = (measure.of)(run) {
            all[index].1.entry(x).or_default().push(value);
        }
    }
    let medians = |values: BTreeMap<u64, Vec<f64>>| {
        let medians = values.into_iter().map(|(x, values)| Some((x, median(values.into_iter())?)));
        medians.flatten().collect()
    };
    all.into_iter().map(|(name, values)| (name, medians(values))).collect()
}

fn table(x: &str, measure: &Measure, series: &Series) -> String {
    let names: Vec<&str> = series.iter().map(|(name, _)| name.as_str()).collect();
    let mut text = format!("{} by {x}:\n\n| {x} | {} |\n", measure.name, names.join(" | "));
    text += &format!("| ---: |{}\n", " ---: |".repeat(names.len()));
    for at in places(series) {
        let cells = series.iter().map(|(_, values)| {
            values
                .get(&at)
                .map_or_else(|| "–".to_owned(), |value| format!("{value:.*}", measure.digits))
        });
        text += &format!("| {at} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// Every x that anyone has.
fn places(series: &Series) -> Vec<u64> {
    let mut places: Vec<u64> =
        series.iter().flat_map(|(_, values)| values.keys().copied()).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The panels side by side; x goes by powers where it spans more than one.
fn draw(arguments: &Arguments, measured: &[(&Measure, Series)]) -> Result<(), Error> {
    let size = (PANEL_PIXELS.0 * MEASURES.len() as u32, PANEL_PIXELS.1);
    let area = SVGBackend::new(&arguments.svg, size).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, (measure, series)) in area.split_evenly((1, MEASURES.len())).iter().zip(measured) {
        let places = places(series);
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return Err("there is nothing to draw: no result has an x".into());
        };
        let (first, last) = (*first as f64, *last as f64);
        let values = series.iter().flat_map(|(_, values)| values.values());
        let most = values.fold(0.0, |most: f64, value| most.max(*value)) * 1.1;
        let mut chart = ChartBuilder::on(panel);
        chart
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(56)
            .caption(measure.name, ("sans-serif", 16));
        if last / first > 10.0 {
            let chart = chart.build_cartesian_2d((first..last).log_scale(), 0.0..most)?;
            lines(chart, &arguments.x, series)?;
        } else {
            let chart = chart.build_cartesian_2d(first..last, 0.0..most)?;
            lines(chart, &arguments.x, series)?;
        }
    }
    area.present()?;
    Ok(())
}

fn lines<'a, X>(
    mut chart: ChartContext<
        'a,
        SVGBackend<'a>,
        Cartesian2d<X, plotters::coord::types::RangedCoordf64>,
    >,
    x: &str,
    series: &Series,
) -> Result<(), Error>
where
    X: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
{
    let number = |value: &f64| format!("{value:.0}");
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(places(series).len())
        .x_desc(x)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .draw()?;
    for ((name, values), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<(f64, f64)> = values.iter().map(|(x, value)| (*x as f64, *value)).collect();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    // Where it covers the least of what grows to the right.
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{MEASURES, table};

    #[test]
    fn a_table_has_a_row_for_every_x_and_a_dash_where_nothing_was_measured() {
        let series = vec![
            ("paidup".to_owned(), BTreeMap::from([(1, 100.4), (8, 700.0)])),
            ("node".to_owned(), BTreeMap::from([(8, 90.0)])),
        ];
        let text = table("connections", &MEASURES[0], &series);
        let rows: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(rows, ["| 1 | 100 | – |", "| 8 | 700 | 90 |"]);
    }
}
