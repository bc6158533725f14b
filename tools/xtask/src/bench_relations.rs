//! Rows that are to be alike: a limit for each row alone does not say so.

use std::fmt::Write as _;

use crate::bench_table::{Values, grouped};

/// Rows of which the highest is at most so much above the lowest.
#[derive(Debug)]
pub(crate) struct Alike {
    /// What that says.
    pub(crate) what: &'static str,
    /// Without the ending of another GIC's rows.
    pub(crate) rows: &'static [&'static str],
    /// How much of the lowest they may differ by.
    pub(crate) permille: u64,
}

/// The ten per cent for the size of an area; what is to be flat differs by a hundredth at most, and a witness by nothing.
pub(crate) const ALIKE: [Alike; 12] = [
    Alike {
        what: "an area's size makes no difference, nor does how it lies: one way",
        rows: &[
            "channel_one_way_4k",
            "channel_one_way_2m",
            "channel_one_way_2m_scattered",
            "channel_one_way_1g",
        ],
        permille: 100,
    },
    Alike {
        what: "the same there and back, asleep in WFI",
        rows: &[
            "channel_round_trip_4k",
            "channel_round_trip_2m",
            "channel_round_trip_2m_scattered",
            "channel_round_trip_1g",
        ],
        permille: 100,
    },
    Alike {
        what: "asleep in WFE",
        rows: &["channel_wfe_trip_4k", "channel_wfe_trip_2m", "channel_wfe_trip_1g"],
        permille: 100,
    },
    Alike {
        what: "polling",
        rows: &["channel_polled_trip_4k", "channel_polled_trip_2m", "channel_polled_trip_1g"],
        permille: 100,
    },
    Alike {
        what: "GICv2: one way",
        rows: &["channel_one_way_4k_v2", "channel_one_way_2m_v2", "channel_one_way_1g_v2"],
        permille: 100,
    },
    Alike {
        what: "GICv2: there and back",
        rows: &["channel_round_trip_4k_v2", "channel_round_trip_2m_v2", "channel_round_trip_1g_v2"],
        permille: 100,
    },
    Alike {
        what: "a short message costs the same whoever lives besides, and with however many ports",
        rows: &[
            "channel_send_short",
            "channel_send_short_60_partitions",
            "channel_send_short_4000_ports",
        ],
        permille: 10,
    },
    Alike {
        what: "so does an area",
        rows: &[
            "channel_send_area",
            "channel_send_area_60_partitions",
            "channel_send_area_4000_ports",
        ],
        permille: 10,
    },
    Alike {
        what: "an event to another partition costs its sender the same whoever lives besides, with however many ports, alone on an SPI or not",
        rows: &[
            "event_send_between",
            "event_send_between_60_partitions",
            "event_send_between_4000_ports",
            "event_send_grouped_4000_ports",
        ],
        permille: 10,
    },
    Alike {
        what: "so does one with all that it takes at the receiver",
        rows: &[
            "event_other_between",
            "event_other_between_60_partitions",
            "event_other_between_4000_ports",
        ],
        permille: 10,
    },
    Alike {
        what: "a flood of events delays a witness that has a core of its own no more than none: its first tick",
        rows: &["witness_alone", "event_flood_witness"],
        permille: 0,
    },
    Alike {
        what: "and the worst of the others",
        rows: &["witness_alone_later", "event_flood_witness_later"],
        permille: 0,
    },
];

impl Alike {
    /// Its rows that were measured.
    fn measured(&self, values: &Values) -> Vec<(&'static str, u64)> {
        let found = |name: &&'static str| values.get(*name).map(|value| (*name, *value));
        self.rows.iter().filter_map(found).collect()
    }

    /// The lowest and the highest of the rows that were measured; none if there is nothing to compare.
    fn ends(&self, values: &Values) -> Option<[(&'static str, u64); 2]> {
        let measured = self.measured(values);
        let lowest = *measured.iter().min_by_key(|(_, value)| *value)?;
        let highest = *measured.iter().max_by_key(|(_, value)| *value)?;
        (measured.len() > 1).then_some([lowest, highest])
    }

    fn problem(&self, values: &Values) -> Option<String> {
        let [lowest, highest] = self.ends(values)?;
        let most = lowest.1.saturating_mul(1000 + self.permille);
        (highest.1.saturating_mul(1000) > most).then(|| {
            format!(
                "{}: {} is {}, and {} is {}: they differ by {}, and may by {}",
                self.what,
                highest.0,
                grouped(highest.1),
                lowest.0,
                grouped(lowest.1),
                percent(permille(lowest.1, highest.1)),
                percent(self.permille)
            )
        })
    }
}

/// One line for each rule that the values break. Rows that a board does not have are not compared.
pub(crate) fn problems(values: &Values) -> Vec<String> {
    ALIKE.iter().filter_map(|alike| alike.problem(values)).collect()
}

/// The rules as a table, with what the values are.
pub(crate) fn table(values: &Values) -> String {
    let mut text =
        "| what is alike | rows | may differ by | differ by |\n|---|---|--:|--:|\n".to_owned();
    for alike in &ALIKE {
        let Some([lowest, highest]) = alike.ends(values) else { continue };
        let rows: Vec<_> =
            alike.measured(values).iter().map(|(name, _)| format!("`{name}`")).collect();
        let (may, is) = (percent(alike.permille), percent(permille(lowest.1, highest.1)));
        // Writing to a text does not fail.
        let _written = writeln!(text, "| {} | {} | {may} | {is} |", alike.what, rows.join(", "));
    }
    text
}

/// By how much the higher is above the lower, in thousandths of that, rounded up.
fn permille(lowest: u64, highest: u64) -> u64 {
    (highest - lowest).saturating_mul(1000).div_ceil(lowest.max(1))
}

fn percent(permille: u64) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use shikiri_qemu_tests::paths;

    use super::*;
    use crate::{bench_table, doc_table};

    fn values(rows: &[(&str, u64)]) -> Values {
        rows.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn sizes_that_differ_by_more_than_a_tenth_are_a_problem() {
        let rows = [("channel_one_way_4k", 1000), ("channel_one_way_2m", 1100)];
        assert_eq!(problems(&values(&rows)), Vec::<String>::new());
        let rows = [("channel_one_way_4k", 1000), ("channel_one_way_2m", 1101)];
        let found = problems(&values(&rows));
        let [problem] = &found[..] else { panic!("{found:?}") };
        let end = "channel_one_way_2m is 1,101, and channel_one_way_4k is 1,000: they differ by 10.1 %, and may by 10.0 %";
        assert!(problem.ends_with(end), "{problem}");
    }

    #[test]
    fn a_send_that_grows_with_what_is_there_is_a_problem() {
        for more in ["channel_send_short_60_partitions", "channel_send_short_4000_ports"] {
            let rows = |value| values(&[("channel_send_short", 500), (more, value)]);
            assert_eq!(problems(&rows(505)), Vec::<String>::new());
            assert_eq!(problems(&rows(506)).len(), 1);
        }
    }

    #[test]
    fn the_order_of_rows_is_of_no_account() {
        let rows = [("channel_one_way_4k", 1200), ("channel_one_way_1g", 1000)];
        assert_eq!(problems(&values(&rows)).len(), 1);
    }

    #[test]
    fn every_rule_holds_in_the_document_and_has_all_of_its_rows_on_virt() {
        let file = paths::root().join("hyp/doc/spec.md");
        let virt = bench_table::measured(&doc_table::read(&file, "bench").unwrap()).unwrap();
        for alike in &ALIKE {
            assert_eq!(alike.measured(&virt).len(), alike.rows.len(), "{}", alike.what);
        }
        let rpi4 = bench_table::measured(&doc_table::read(&file, "bench-rpi4").unwrap()).unwrap();
        for alike in ALIKE.iter().filter(|alike| !alike.what.starts_with("GICv2")) {
            assert!(alike.ends(&rpi4).is_some(), "{}", alike.what);
        }
        for values in [virt, rpi4] {
            assert_eq!(problems(&values), Vec::<String>::new());
        }
    }
}
