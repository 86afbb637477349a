//! The card drawn in one line: how much of each stretch is used.

use cardkeep_ops::{AllocationMap, Extent, State};

/// How full a cell is, from nothing to all.
const CELLS: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// Returns `width` cells, each for an equal stretch of the medium.
pub(crate) fn bar(map: &AllocationMap, width: u64) -> String {
    if map.is_empty() {
        return String::new();
    }
    let edge = |index: u64| (u128::from(map.len()) * u128::from(index) / u128::from(width)) as u64;
    (0..width)
        .map(|index| {
            let cell = Extent::between(edge(index), edge(index + 1));
            let used: u64 = map
                .runs_in(cell)
                .filter(|run| run.state == State::Used)
                .map(|run| run.extent.len())
                .sum();
            CELLS[level(used, cell.len())]
        })
        .collect()
}

/// Nothing and all have cells of their own; between them it is by thirds.
fn level(used: u64, len: u64) -> usize {
    match used {
        0 => 0,
        _ if used == len => CELLS.len() - 1,
        _ => 1 + (u128::from(used) * 3 / u128::from(len.max(1))).min(2) as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::bar;
    use cardkeep_ops::{AllocationMap, Extent, Run, State};

    #[test]
    fn cells_show_how_much_is_used() {
        let used = [
            Run::new(Extent::between(0, 100), State::Used),
            Run::new(Extent::between(200, 201), State::Used),
            Run::new(Extent::between(300, 390), State::Used),
            Run::new(Extent::between(400, 500), State::Zero),
        ];
        let map = AllocationMap::all(500, State::Free).replaced(&used);
        assert_eq!(bar(&map, 5), "█·░▓·");
        assert_eq!(
            bar(&map, 500).chars().filter(|&cell| cell == '█').count(),
            191
        );
        assert_eq!(bar(&AllocationMap::all(0, State::Used), 5), "");
        assert_eq!(
            bar(&AllocationMap::all(2, State::Used), 5).chars().count(),
            5
        );
    }
}
