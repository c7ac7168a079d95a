//! Charts as SVG: bars of ratios and curves over time. Text in, text out.

use core::fmt::Write as _;

const COLOURS: [&str; 5] = ["#5c6670", "#d1641d", "#1f6fb2", "#2f8f4e", "#8a4fa3"];
const INK: &str = "#22272e";
const FAINT: &str = "#d5d9de";

/// Shapes on a white page.
struct Page {
    width: f64,
    height: f64,
    shapes: String,
}

/// Where a text's point is.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Page {
    fn new(width: f64, height: f64) -> Page {
        Page { width, height, shapes: String::new() }
    }

    fn text(&mut self, (x, y): (f64, f64), size: u32, anchor: Anchor, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.shapes,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" text-anchor="{anchor}" fill="{INK}">{}</text>"#,
            words.replace('&', "&amp;").replace('<', "&lt;")
        );
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.shapes,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        );
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.shapes,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#
        );
    }

    fn curve(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str, dashed: bool) {
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dashes = if dashed { r#" stroke-dasharray="6 4""# } else { "" };
        let _ = writeln!(
            self.shapes,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"{dashes}/>"#,
            points.join(" ")
        );
    }

    fn finish(self) -> String {
        let Page { width, height, shapes } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{shapes}</svg>\n"
        )
    }
}

/// Bars of ratios on a logarithmic scale, with a line at 1: a group for each row, a colour for each name.
pub struct Ratios<'a> {
    /// What is shown.
    pub title: &'a str,
    /// A remark below it.
    pub note: &'a str,
    /// The colours' names.
    pub names: &'a [&'a str],
    /// Each with a ratio for every name that has one.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

impl Ratios<'_> {
    /// The chart as SVG.
    pub fn svg(&self) -> String {
        const LEFT: f64 = 230.0;
        const TOP: f64 = 92.0;
        const WIDE: f64 = 470.0;
        const THICK: f64 = 13.0;
        let step = THICK * self.names.len() as f64 + 12.0;
        let ratios = self.rows.iter().flat_map(|(_, row)| row.iter().flatten().copied());
        let (low, high) = ratios
            .filter(|ratio| *ratio > 0.0)
            .fold((0.5, 2.0), |(low, high), ratio| (f64::min(low, ratio), f64::max(high, ratio)));
        let (low, high) = (f64::max(low / 1.1, 0.001), f64::min(high * 1.1, 1000.0));
        let place = |ratio: f64| LEFT + WIDE * (ratio.clamp(low, high) / low).ln() / (high / low).ln();
        let bottom = TOP + step * self.rows.len() as f64;
        let mut page = Page::new(LEFT + WIDE + 70.0, bottom + 40.0);
        page.text((16.0, 26.0), 16, Anchor::Start, self.title);
        page.text((16.0, 45.0), 11, Anchor::Start, self.note);
        for (index, name) in self.names.iter().enumerate() {
            let x = 16.0 + 170.0 * index as f64;
            page.bar((x, 56.0), (11.0, 11.0), COLOURS[index % COLOURS.len()]);
            page.text((x + 17.0, 66.0), 11, Anchor::Start, name);
        }
        for mark in [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0] {
            if (low..=high).contains(&mark) {
                let colour = if mark == 1.0 { INK } else { FAINT };
                page.line((place(mark), TOP - 8.0), (place(mark), bottom), colour);
                page.text((place(mark), bottom + 16.0), 10, Anchor::Middle, &format!("{mark}"));
            }
        }
        for (number, (label, row)) in self.rows.iter().enumerate() {
            let y = TOP + step * number as f64;
            page.text((LEFT - 10.0, y + step / 2.0), 11, Anchor::End, label);
            for (index, ratio) in row.iter().enumerate() {
                let Some(ratio) = ratio else { continue };
                let (from, to) = (place(1.0).min(place(*ratio)), place(1.0).max(place(*ratio)));
                let y = y + THICK * index as f64;
                page.bar((from, y), ((to - from).max(1.0), THICK - 2.0), COLOURS[index % COLOURS.len()]);
                page.text((to + 5.0, y + 10.0), 10, Anchor::Start, &format!("{ratio:.2}"));
            }
        }
        page.finish()
    }
}

/// Curves over time.
pub struct Curves<'a> {
    /// What is shown.
    pub title: &'a str,
    /// A remark below it.
    pub note: &'a str,
    /// What the axes are.
    pub axes: (&'a str, &'a str),
    /// What is drawn.
    pub curves: Vec<Curve>,
}

/// One curve of [`Curves`].
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
    /// Is it dashed?
    pub dashed: bool,
}

impl Curves<'_> {
    /// The chart as SVG.
    pub fn svg(&self) -> String {
        const LEFT: f64 = 70.0;
        const TOP: f64 = 92.0;
        const WIDE: f64 = 760.0;
        const HIGH: f64 = 340.0;
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        let (far, most) =
            points.fold((1e-9, 1e-9), |(far, most), (x, y)| (f64::max(far, *x), f64::max(most, *y)));
        let most = most * 1.05;
        let place = |x: f64, y: f64| (LEFT + WIDE * x / far, TOP + HIGH - HIGH * y / most);
        let mut page = Page::new(LEFT + WIDE + 30.0, TOP + HIGH + 56.0);
        page.text((16.0, 26.0), 16, Anchor::Start, self.title);
        page.text((16.0, 45.0), 11, Anchor::Start, self.note);
        for mark in marks(most) {
            let (x, y) = place(0.0, mark);
            page.line((x, y), (x + WIDE, y), FAINT);
            page.text((x - 8.0, y + 4.0), 10, Anchor::End, &format!("{mark}"));
        }
        for mark in marks(far) {
            let (x, y) = place(mark, 0.0);
            page.line((x, y), (x, y - HIGH), FAINT);
            page.text((x, y + 16.0), 10, Anchor::Middle, &format!("{mark}"));
        }
        page.text((LEFT + WIDE / 2.0, TOP + HIGH + 40.0), 11, Anchor::Middle, self.axes.0);
        page.text((16.0, TOP - 8.0), 11, Anchor::Start, self.axes.1);
        let mut x = LEFT + 60.0;
        for (index, Curve { name, points, dashed }) in self.curves.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            page.curve([(x, 66.0), (x + 24.0, 66.0)].into_iter(), colour, *dashed);
            page.text((x + 30.0, 70.0), 11, Anchor::Start, name);
            x += 50.0 + 7.0 * name.chars().count() as f64;
            page.curve(points.iter().map(|(x, y)| place(*x, *y)), colour, *dashed);
        }
        page.finish()
    }
}

/// Round numbers from zero to `most`, about six of them.
fn marks(most: f64) -> impl Iterator<Item = f64> {
    let rough = most / 6.0;
    let size = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * size).find(|step| *step >= rough);
    let step = step.unwrap_or(size * 10.0);
    // Counted, so that no error adds up; rounded, so that 0.3 is shown as 0.3.
    (0..=(most / step) as u32).map(move |count| (f64::from(count) * step / size).round() * size).map(trimmed)
}

fn trimmed(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_reach_the_end() {
        assert_eq!(marks(1.0).collect::<Vec<_>>(), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(marks(117.0).collect::<Vec<_>>(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(marks(0.05).count(), 6);
    }

    #[test]
    fn ratios_stand_beside_the_line_at_one() {
        let rows =
            vec![("a < b".to_owned(), vec![Some(2.0), None]), ("c".to_owned(), vec![Some(1.0), Some(0.25)])];
        let svg = Ratios { title: "T", note: "N", names: &["x", "y"], rows }.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains(">0.25<") && svg.contains(">2.00<"));
        assert_eq!(svg.matches("<rect").count(), 1 + 2 + 3, "the page, two colours, three bars");
    }

    #[test]
    fn curves_stay_within_their_axes() {
        let curves =
            vec![Curve { name: "grows".to_owned(), points: vec![(0.0, 0.0), (10.0, 300.0)], dashed: false }];
        let svg = Curves { title: "T", note: "N", axes: ("s", "segments"), curves }.svg();
        assert!(svg.contains("70.0,432.0 830.0,108.2"), "{svg}");
    }
}
