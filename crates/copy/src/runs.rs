//! Runs of a frame or of a part of one: the requests that read them, and zeros where none counts.

use cardkeep_block::{Extent, Run};

/// What decides whether two parts are read by one request or by two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestCost {
    /// Requests begin and end at multiples of this, in bytes: a power of two.
    pub(crate) alignment: u64,
    /// A gap of up to this many bytes is read with what lies around it.
    pub(crate) read_through_bytes: u64,
}

/// Returns the requests that read `parts`, which come in ascending order: widened to the alignment
/// but for the end of `window`, and joined where the gap between two is no larger than is read through.
pub(crate) fn requests_for(
    parts: impl Iterator<Item = Extent>,
    window: Extent,
    cost: RequestCost,
) -> Vec<Extent> {
    let RequestCost {
        alignment,
        read_through_bytes,
    } = cost;
    let mut requests: Vec<Extent> = Vec::new();
    for part in parts {
        let start = part.start() / alignment * alignment;
        let end = part.end().div_ceil(alignment).saturating_mul(alignment);
        let end = end.min(window.end());
        match requests.last_mut() {
            Some(last) if start <= last.end().saturating_add(read_through_bytes) => {
                *last = Extent::between(last.start(), end.max(last.end()));
            }
            _ => requests.push(Extent::between(start, end)),
        }
    }
    requests
}

/// Fills with zeros what `runs` cover of the content that begins at `start`.
pub(crate) fn clear(runs: impl Iterator<Item = Run>, start: u64, content: &mut [u8]) {
    let end = start.saturating_add(content.len() as u64);
    let whole = Extent::between(start, end);
    let parts = runs.map(|run| run.extent.intersection(whole));
    for part in parts.filter(|part| !part.is_empty()) {
        // OK to cast: offsets within a buffer in memory.
        let from = (part.start() - start) as usize;
        content[from..from + part.len() as usize].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Extent, Run, State};

    use super::clear;

    #[test]
    fn runs_are_cleared_as_far_as_there_is_content() {
        let run = |start, end| Run::new(Extent::between(start, end), State::Free);
        let mut content = [7; 8];
        let runs = [run(90, 102), run(104, 105), run(107, 120), run(200, 300)];
        clear(runs.into_iter(), 100, &mut content);
        assert_eq!(content, [0, 0, 7, 7, 0, 7, 7, 0]);
    }
}
