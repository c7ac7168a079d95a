//! What was measured, as a table of 80 columns, as JSON and as a chart.

use super::{Contestant, METRICS, Measured, Metric};
use crate::observe::Ratios;
use std::fmt::Write as _;

/// Contestants that a table of 80 columns holds.
const BESIDE: usize = 4;

/// All rounds so far: what each contestant reached in each.
#[derive(Debug, Default)]
pub struct Report {
    pub contestants: Vec<Contestant>,
    /// As many for each round as there are contestants.
    pub rounds: Vec<Vec<Measured>>,
    /// What was to be done: for the JSON.
    pub seconds: f64,
    pub mtu: u32,
}

impl Report {
    /// Median of what a contestant reached.
    fn median(&self, metric: usize, who: usize) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| round.get(who)?[metric]).collect())
    }

    /// Median over rounds of what it reached divided by what the kernel reached in the same round.
    fn ratio(&self, metric: usize, who: usize) -> Option<f64> {
        self.ratio_to(Contestant::Kernel, metric, who)
    }

    fn ratio_to(&self, other: Contestant, metric: usize, who: usize) -> Option<f64> {
        let other = self.contestants.iter().position(|known| *known == other)?;
        let pairs =
            self.rounds.iter().filter_map(|round| Some((round.get(who)?[metric]?, round[other][metric]?)));
        median(pairs.filter(|(_, other)| *other > 0.0).map(|(ours, other)| ours / other).collect())
    }

    /// Rates on plain TUNs, each divided by smoltcp's of the same round; nothing where one of the two was not measured.
    pub fn beside_smoltcp(&self) -> String {
        let Some(plain) = self.contestants.iter().position(|known| *known == Contestant::Plain) else {
            return String::new();
        };
        let rates = METRICS.iter().enumerate().filter(|(_, metric)| !metric.less_is_better);
        let ratios: Vec<String> = rates
            .filter_map(|(index, metric)| {
                let ratio = self.ratio_to(Contestant::Smoltcp, index, plain)?;
                Some(format!("  {:22}{ratio:>7.2}x", metric.label.trim_end_matches(", Gbit/s")))
            })
            .collect();
        if ratios.is_empty() {
            String::new()
        } else {
            format!("\nplain TUN / smoltcp\n{}\n", ratios.join("\n"))
        }
    }

    /// Each value with its ratio to the kernel's; more contestants than 80 columns hold stand below.
    pub fn table(&self) -> String {
        let all: Vec<usize> = (0..self.contestants.len()).collect();
        let tables: Vec<String> = all.chunks(BESIDE).map(|some| self.table_of(some)).collect();
        tables.join("\n")
    }

    fn table_of(&self, contestants: &[usize]) -> String {
        let mut text = format!("{:24}", "");
        contestants.iter().for_each(|who| {
            let _ = write!(text, "{:>14}", self.contestants[*who].name());
        });
        text.push('\n');
        for (metric, Metric { label, digits, .. }) in METRICS.iter().enumerate() {
            let values: Vec<_> = contestants.iter().map(|who| (*who, self.median(metric, *who))).collect();
            if values.iter().all(|(_, value)| value.is_none()) {
                continue;
            }
            let _ = write!(text, "{label:24}");
            for (who, value) in values {
                let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
                let ratio = self.ratio(metric, who).filter(|_| self.contestants[who] != Contestant::Kernel);
                let ratio = ratio.map_or_else(String::new, |ratio| match ratio {
                    100.0.. => format!("{ratio:.0}x"),
                    _ => format!("{ratio:.2}x"),
                });
                let _ = write!(text, " {value:>7} {ratio:>5}");
            }
            text.push('\n');
        }
        text
    }

    /// Everything, for programs.
    pub fn json(&self) -> String {
        let names = |values: &dyn Fn(usize) -> Option<f64>| {
            let pairs = METRICS.iter().enumerate().filter_map(|(index, metric)| {
                values(index).map(|value| format!("\"{}\": {value:.6}", metric.name))
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        };
        let each = |of: &dyn Fn(usize) -> String| {
            let pairs = self
                .contestants
                .iter()
                .enumerate()
                .map(|(who, known)| format!("\"{}\": {}", known.name(), of(who)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        };
        let rounds: Vec<String> =
            self.rounds.iter().map(|round| each(&|who| names(&|metric| round.get(who)?[metric]))).collect();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let system = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        format!(
            "{{\n\"version\": \"{}\",\n\"kernel\": \"{}\",\n\"processors\": {processors},\n\"mtu\": {},\n\"seconds\": {},\n\
             \"median\": {},\n\"ratio\": {},\n\"ratio_to_smoltcp\": {},\n\"rounds\": [\n{}\n]\n}}\n",
            env!("CARGO_PKG_VERSION"),
            system.trim().escape_default(),
            self.mtu,
            self.seconds,
            each(&|who| names(&|metric| self.median(metric, who))),
            each(&|who| names(&|metric| self.ratio(metric, who))),
            each(&|who| names(&|metric| self.ratio_to(Contestant::Smoltcp, metric, who))),
            rounds.join(",\n")
        )
    }

    /// How many times better than the kernel each is.
    pub fn svg(&self) -> String {
        let others: Vec<usize> =
            (0..self.contestants.len()).filter(|who| self.contestants[*who] != Contestant::Kernel).collect();
        let names: Vec<&str> = others.iter().map(|who| self.contestants[*who].name()).collect();
        let rows = METRICS.iter().enumerate().filter_map(|(index, metric)| {
            let better = |ratio: f64| if metric.less_is_better { 1.0 / ratio } else { ratio };
            let ratios: Vec<_> = others.iter().map(|who| self.ratio(index, *who).map(better)).collect();
            ratios.iter().any(Option::is_some).then(|| (metric.label.to_owned(), ratios))
        });
        let note = format!(
            "rounds: {}; to the right is better: times and memory are turned round",
            self.rounds.len()
        );
        Ratios {
            title: "How many times the kernel over veth",
            note: &note,
            names: &names,
            rows: rows.collect(),
        }
        .svg()
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let measured = |bulk, p50| {
            let mut values = Measured::default();
            (values[0], values[2]) = (Some(bulk), Some(p50));
            values
        };
        Report {
            contestants: vec![Contestant::Kernel, Contestant::Offload],
            rounds: vec![
                vec![measured(10.0, 20.0), measured(12.0, 10.0)],
                vec![measured(5.0, 20.0), measured(10.0, 10.0)],
                vec![measured(10.0, 20.0), Measured::default()],
            ],
            seconds: 0.5,
            mtu: 1500,
        }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let report = report();
        assert_eq!(report.median(0, 0), Some(10.0));
        assert_eq!(report.median(0, 1), Some(11.0));
        assert_eq!(report.ratio(0, 1), Some(1.6), "between 1.2 and 2");
        assert_eq!(report.ratio(1, 1), None);
    }

    #[test]
    fn table_fits_80_columns_and_shows_only_what_was_measured() {
        let mut report = report();
        for (contestants, lines) in [(4, 3), (5, 5)] {
            report.contestants = Contestant::ALL[..contestants].to_vec();
            let table = report.table();
            assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
            assert_eq!(table.lines().count(), lines, "{table}");
        }
    }

    #[test]
    fn json_and_chart_are_whole() {
        let json = report().json();
        assert!(json.contains("\"ratio\": {\"kernel-veth\": {\"to_gbit\": 1.000000"), "{json}");
        assert_eq!(json.matches('{').count(), json.matches('}').count());
        // Round trips take half the time, which is twice as good.
        assert!(report().svg().contains(">2.00<"));
    }
}
