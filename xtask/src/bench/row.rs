//! The runs of a measurement: each program at each speed.

/// One program at one speed.
#[derive(Debug)]
pub(crate) struct Row<P, O> {
    pub(crate) peer: P,
    /// In million bytes per second; 0 is without limit.
    pub(crate) speed_mbps: u64,
    pub(crate) result: Result<O, String>,
}

impl<P: Copy, O> Row<P, O> {
    /// Measures a program at a speed, and says so, as `name` calls it.
    pub(crate) fn measure(
        peer: P,
        speed_mbps: u64,
        name: fn(P) -> &'static str,
        run: impl FnOnce() -> Result<O, String>,
    ) -> Self {
        eprintln!("{} at {} ...", name(peer), speed_name(speed_mbps));
        Self {
            peer,
            speed_mbps,
            result: run(),
        }
    }
}

/// Returns what `peer` did at a speed; `None` where it failed or was not measured.
pub(crate) fn outcome_of<P: PartialEq, O>(
    rows: &[Row<P, O>],
    peer: P,
    speed_mbps: u64,
) -> Option<&O> {
    let is_it = |row: &&Row<P, O>| row.peer == peer && row.speed_mbps == speed_mbps;
    // What failed is a line of the table, and nothing to compare with.
    rows.iter().find(is_it)?.result.as_ref().ok()
}

/// Returns a speed in words.
pub(crate) fn speed_name(speed_mbps: u64) -> String {
    match speed_mbps {
        0 => "full speed".to_owned(),
        speed => format!("{speed} MB/s"),
    }
}
