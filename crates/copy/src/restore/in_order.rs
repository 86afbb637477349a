//! Work done by several threads, its results taken in the order of the work.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Sender, bounded, unbounded};

use crate::error::CopyError;

/// Who does the work.
pub(crate) struct Crew<W> {
    /// What each thread works with.
    pub(crate) workers: Vec<W>,
    /// How many items may be begun and not yet taken.
    pub(crate) in_flight: usize,
}

impl Crew<()> {
    /// Returns `count` threads that need nothing of their own, kept busy while one result is taken.
    pub(crate) fn of(count: usize) -> Self {
        Self {
            workers: vec![(); count],
            in_flight: in_flight(count),
        }
    }
}

/// Does `work` on each item, with a thread for each worker of the crew, and hands the results
/// to `take` in the items' order until it answers that it wants no more.
pub(crate) fn in_order<I, W, R>(
    mut items: impl Iterator<Item = I>,
    crew: Crew<W>,
    work: impl Fn(&mut W, I) -> Result<R, CopyError> + Sync,
    mut take: impl FnMut(R) -> Result<bool, CopyError>,
) -> Result<(), CopyError>
where
    I: Send,
    W: Send,
    R: Send,
{
    let Crew { workers, in_flight } = crew;
    let most = in_flight.max(1);
    let (jobs, to_do) = bounded::<(u64, I)>(most);
    let (done, results) = unbounded();
    std::thread::scope(|scope| {
        for mut worker in workers {
            let (to_do, done, work) = (to_do.clone(), done.clone(), &work);
            scope.spawn(move || {
                for (number, item) in to_do {
                    // Others go on while one dies, and its result would be waited for forever.
                    let result = catch_unwind(AssertUnwindSafe(|| work(&mut worker, item)))
                        .unwrap_or(Err(CopyError::Internal("a worker died")));
                    if done.send((number, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop((to_do, done));
        let mut early: BTreeMap<u64, Result<R, CopyError>> = BTreeMap::new();
        let (mut begun, mut taken) = (0, 0);
        // Owned here, so that returning lets the threads end.
        let jobs = jobs;
        loop {
            while begun - taken < most as u64 && begin(&jobs, begun, &mut items) {
                begun += 1;
            }
            if begun == taken {
                return Ok(());
            }
            while let Some(result) = early.remove(&taken) {
                taken += 1;
                if !take(result?)? {
                    return Ok(());
                }
            }
            if begun > taken && !early.contains_key(&taken) {
                let Ok((number, result)) = results.recv() else {
                    return Err(CopyError::Internal("a worker died"));
                };
                early.insert(number, result);
            }
        }
    })
}

/// Returns how many items keep so many workers busy while one result is taken.
pub(crate) const fn in_flight(workers: usize) -> usize {
    workers + 1
}

fn begin<I>(jobs: &Sender<(u64, I)>, number: u64, items: &mut impl Iterator<Item = I>) -> bool {
    match items.next() {
        Some(item) => jobs.send((number, item)).is_ok(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Crew, in_order};
    use crate::error::CopyError;
    use std::time::Duration;

    #[test]
    fn results_come_in_order_whoever_is_faster() {
        let mut taken = Vec::new();
        let work = |_: &mut (), item: u64| {
            std::thread::sleep(Duration::from_millis(item * 7 % 5));
            Ok(item * 2)
        };
        in_order(0..50, Crew::of(3), work, |result| {
            taken.push(result);
            Ok(true)
        })
        .unwrap();
        assert_eq!(taken, (0..50).map(|item| item * 2).collect::<Vec<u64>>());
    }

    #[test]
    fn it_ends_at_the_first_error_and_when_no_more_is_wanted() {
        let work = |_: &mut (), item: u64| match item {
            7 => Err(CopyError::Interrupted),
            item => Ok(item),
        };
        let mut taken = 0;
        let result = in_order(0.., Crew::of(2), work, |_| {
            taken += 1;
            Ok(true)
        });
        assert!(matches!(result, Err(CopyError::Interrupted)));
        assert_eq!(taken, 7);
        in_order(0.., Crew::of(2), work, |item| Ok(item < 3)).unwrap();
    }

    #[test]
    fn a_worker_that_dies_is_an_error_and_waited_for_by_nobody() {
        let work = |_: &mut (), item: u64| {
            assert!(item != 5, "as a broken decoder would");
            Ok(item)
        };
        let result = in_order(0.., Crew::of(2), work, |_| Ok(true));
        assert!(matches!(result, Err(CopyError::Internal(_))));
    }
}
