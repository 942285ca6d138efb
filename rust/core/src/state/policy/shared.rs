//! Policies by place in a file: what `mbind` gives shared memory (syscalls 6.2, data-model 10).

use std::collections::BTreeMap;
use std::ops::Range;

use super::Policy;

/// Half-open runs of pages with their policies, by their first page: `start -> (end, policy)`.
pub type Runs = BTreeMap<u64, (u64, Policy)>;

/// The policy of one page, if it has one.
#[inline]
pub fn lookup(runs: &Runs, index: u64) -> Option<Policy> {
    let (_, &(end, policy)) = runs.range(..=index).next_back()?;
    (index < end).then_some(policy)
}

/// Gives `pages` a policy, or takes theirs away; what lies outside keeps its own.
pub fn set(runs: &mut Runs, pages: Range<u64>, policy: Option<Policy>) {
    let Range { start, end } = pages;
    let touched = runs.range(..end).filter(|(_, run)| run.0 > start);
    for (from, (to, old)) in touched.map(|(&from, &run)| (from, run)).collect::<Vec<_>>() {
        runs.remove(&from);
        if from < start {
            runs.insert(from, (start, old));
        }
        if end < to {
            runs.insert(end, (to, old));
        }
    }
    if let Some(policy) = policy {
        runs.insert(start, (end, policy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeMask;
    use crate::state::policy::Mode;

    fn bind(nodes: u64) -> Policy {
        Policy { mode: Mode::Bind, nodes: NodeMask(nodes), ..Policy::default() }
    }

    #[test]
    fn a_new_run_cuts_those_under_it_and_none_takes_them_away() {
        let mut runs = Runs::new();
        set(&mut runs, 2..10, Some(bind(1)));
        set(&mut runs, 4..6, Some(bind(2)));
        let at = |runs: &Runs, index| lookup(runs, index).map(|policy| policy.nodes.0);
        let row = |runs: &Runs| (1..11).map(|index| at(runs, index)).collect::<Vec<_>>();
        let (one, two) = (Some(1), Some(2));
        assert_eq!(row(&runs), [None, one, one, two, two, one, one, one, one, None]);
        set(&mut runs, 3..9, None);
        assert_eq!(row(&runs), [None, one, None, None, None, None, None, None, one, None]);
        set(&mut runs, 0..20, Some(bind(4)));
        assert_eq!(runs.len(), 1);
    }
}
