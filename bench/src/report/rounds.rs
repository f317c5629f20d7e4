//! The same load on ours and on a peer, in turn, and what one costs against the other. Only ratios of one session are
//! worth anything: machines differ, and this one differs from hour to hour.

use super::Spread;
use std::future::Future;

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Ours,
    Peer,
}

/// What all rounds that count have measured, in order.
#[derive(Clone, Debug)]
pub(crate) struct Rounds<T> {
    pub(crate) ours: Vec<T>,
    pub(crate) peer: Vec<T>,
}

/// Runs ours and the peer in turn, `rounds` times each. The first of each warms up caches, clocks and page tables and
/// is thrown away, unless it is the only one. `measured` takes what counts.
///
/// # Errors
/// The first that `run` returns.
pub(crate) async fn alternate<T, E, F>(
    rounds: u32,
    measured: &mut Rounds<T>,
    mut run: impl FnMut(Side, u32) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<T, E>>,
{
    for round in 0..rounds {
        let ours = run(Side::Ours, round).await?;
        let peer = run(Side::Peer, round).await?;
        if round > 0 || rounds == 1 {
            measured.ours.push(ours);
            measured.peer.push(peer);
        }
    }
    Ok(())
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self { ours: Vec::new(), peer: Vec::new() }
    }
}

impl<T> Rounds<T> {
    /// Ours over the peer's in each round, of what `figure` takes out of a measurement: neighbours in time are
    /// compared. `None` where a round lacks it on either side.
    pub(crate) fn ratio(&self, figure: impl Fn(&T) -> Option<f64>) -> Option<Spread> {
        let pairs = self.ours.iter().zip(&self.peer);
        let ratios: Option<Vec<f64>> =
            pairs.map(|(ours, peer)| Some(figure(ours)? / figure(peer).filter(|peer| *peer > 0.0)?)).collect();
        Spread::of(&ratios?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn sides_take_turns_and_the_first_of_each_is_thrown_away() {
        let order = RefCell::new(Vec::new());
        let run = |side, round| {
            order.borrow_mut().push((side, round));
            async move { Ok::<_, ()>(f64::from(round) + if side == Side::Ours { 1.0 } else { 9.0 }) }
        };
        let mut rounds = Rounds::default();
        alternate(3, &mut rounds, run).await.unwrap();
        let turns: Vec<Side> = order.borrow().iter().map(|(side, _)| *side).collect();
        assert_eq!(turns, [Side::Ours, Side::Peer].repeat(3));
        assert_eq!((rounds.ours.as_slice(), rounds.peer.as_slice()), ([2.0, 3.0].as_slice(), [10.0, 11.0].as_slice()));
        let ratio = rounds.ratio(|figure| Some(*figure)).unwrap();
        assert_eq!((ratio.min, ratio.max), (0.2, 3.0 / 11.0));
        assert!(rounds.ratio(|figure| (*figure < 3.0).then_some(*figure)).is_none());
    }

    #[tokio::test]
    async fn a_single_round_counts_and_an_error_ends_it_all() {
        let mut single = Rounds::default();
        alternate(1, &mut single, |_, _| async { Ok::<_, ()>(1.0) }).await.unwrap();
        assert_eq!((single.ours.len(), single.peer.len()), (1, 1));
        let mut whole = Rounds::default();
        let run = |side, round| async move { if side == Side::Peer && round == 2 { Err("died") } else { Ok(1.0) } };
        assert_eq!(alternate(3, &mut whole, run).await.unwrap_err(), "died");
        assert_eq!((whole.ours.len(), whole.peer.len()), (1, 1), "what was measured before stays");
    }
}
