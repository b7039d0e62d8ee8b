//! That shards are owned, balanced, and moved no more than they have to.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

type Owners = Vec<Option<String>>;

fn member(session: impl Into<String>, template: &str, since: i64) -> Candidate {
    Candidate {
        session: session.into(),
        template: template.to_owned(),
        since,
        draining: false,
    }
}

/// Members of one template.
fn alike(number: usize) -> Vec<Candidate> {
    (0..number).map(|pod| member(format!("pod-{pod}"), "a", 0)).collect()
}

fn load(owners: &[Option<String>], session: &str) -> usize {
    owners.iter().filter(|owner| owner.as_deref() == Some(session)).count()
}

/// What each shard that changes hands is taken from, and whom it goes to.
fn moves<'a>(before: &'a [Option<String>], after: &'a [Option<String>]) -> Vec<(Option<&'a str>, Option<&'a str>)> {
    before
        .iter()
        .zip(after)
        .filter(|(from, to)| from != to)
        .map(|(from, to)| (from.as_deref(), to.as_deref()))
        .collect()
}

fn is_balanced(owners: &[Option<String>], members: &[Candidate]) -> bool {
    let loads: BTreeSet<usize> = staying(members).map(|member| load(owners, &member.session)).collect();
    loads
        .first()
        .zip(loads.last())
        .is_none_or(|(least, most)| most - least <= 1)
}

/// Members of up to `templates` templates, some of them draining, and who owns the shards: members, sessions that are
/// gone, nobody.
fn world(templates: u8, shards: usize) -> impl Strategy<Value = (Owners, Vec<Candidate>)> {
    let members = vec((0..templates, 0..20_i64, prop::bool::weighted(0.2)), 0..9).prop_map(|members| {
        let member = |(pod, (template, since, draining)): (usize, (u8, _, _))| Candidate {
            draining,
            ..member(format!("pod-{pod}"), &format!("template-{template}"), since)
        };
        members.into_iter().enumerate().map(member).collect()
    });
    let owner = prop::option::weighted(0.8, (0..11).prop_map(|pod| format!("pod-{pod}")));
    (vec(owner, 0..=shards), members)
}

fn newest(members: &[Candidate]) -> &str {
    &staying(members)
        .max_by_key(|member| (member.since, &member.session))
        .unwrap()
        .template
}

proptest! {
    #[test]
    fn every_shard_has_an_owner_if_there_is_one_who_may((owners, members) in world(3, 70)) {
        let next = assign(&owners, &members);
        prop_assert_eq!(next.len(), owners.len());
        let may = |owner: &String| staying(&members).any(|member| member.session == *owner);
        if staying(&members).count() == 0 {
            prop_assert!(next.iter().all(Option::is_none));
        } else {
            prop_assert!(next.iter().all(|owner| owner.as_ref().is_some_and(may)));
        }
    }

    #[test]
    fn the_order_of_the_members_does_not_matter(
        ((owners, members), shuffled) in world(3, 70)
            .prop_flat_map(|world| (Just(world.clone()), Just(world.1).prop_shuffle()))
    ) {
        prop_assert_eq!(assign(&owners, &members), assign(&owners, &shuffled));
        prop_assert_eq!(order(7, &members), order(7, &shuffled));
    }

    #[test]
    fn what_was_assigned_stays((owners, members) in world(3, 70)) {
        let next = assign(&owners, &members);
        prop_assert_eq!(assign(&next, &members), next);
    }

    #[test]
    fn half_a_handover_does_not_make_it_longer(
        (owners, members) in world(3, 70), done in vec(any::<bool>(), 70), released in any::<bool>()
    ) {
        let next = assign(&owners, &members);
        let taken = owners.iter().zip(&next).zip(done).map(|((from, to), done)| if done { to } else { from }.clone());
        let given = owners.iter().zip(&next).map(|(from, to)| if from == to { from.clone() } else { None });
        let half: Owners = if released { given.collect() } else { taken.collect() };
        let last = assign(&half, &members);
        let left = half.iter().zip(&next).filter(|(has, should)| has != should).count();
        prop_assert_eq!(moves(&half, &last).len(), left);
    }

    #[test]
    fn members_of_one_template_are_balanced((owners, members) in world(1, 70)) {
        let next = assign(&owners, &members);
        prop_assert!(is_balanced(&next, &members), "{:?}", next);
    }

    #[test]
    fn no_balanced_assignment_moves_less((owners, members) in world(1, 5)) {
        let sessions: Vec<_> = staying(&members).map(|member| Some(member.session.clone())).take(4).collect();
        let members: Vec<_> = sessions.iter().flatten().map(|session| member(session, "a", 0)).collect();
        let mut all: Vec<Owners> = vec![vec![]];
        for _ in &owners {
            all = all.iter().flat_map(|some| sessions.iter().map(|one| [some.clone(), vec![one.clone()]].concat()))
                .collect();
        }
        let balanced = all.iter().filter(|owners| is_balanced(owners, &members));
        if let Some(fewest) = balanced.map(|next| moves(&owners, next).len()).min() {
            prop_assert_eq!(moves(&owners, &assign(&owners, &members)).len(), fewest);
        }
    }

    #[test]
    fn a_newcomer_takes_its_share_and_nothing_else_moves(shards in 0..300_usize, pods in 1..12_usize) {
        let before = assign(&vec![None; shards], &alike(pods));
        let after = assign(&before, &alike(pods + 1));
        let newcomer = format!("pod-{pods}");
        let moves = moves(&before, &after);
        prop_assert!(moves.iter().all(|&(_, to)| to == Some(&newcomer)));
        let share = shards / (pods + 1);
        prop_assert!(moves.len() == share || moves.len() == shards.div_ceil(pods + 1), "{} {}", moves.len(), share);
    }

    #[test]
    fn only_the_shards_of_who_leaves_or_drains_move(shards in 0..300_usize, pods in 2..12_usize, index: Index) {
        let mut members = alike(pods);
        let before = assign(&vec![None; shards], &members);
        let leaver = index.index(pods);
        members[leaver].draining = true;
        let after = assign(&before, &members);
        let leaver = members.remove(leaver).session;
        prop_assert!(moves(&before, &after).iter().all(|&(from, _)| from == Some(&leaver)));
        prop_assert_eq!(load(&after, &leaver), 0);
        prop_assert_eq!(assign(&before, &members), after);
    }

    #[test]
    fn while_templates_differ_the_newest_goes_first_up_to_the_cap((owners, mut members) in world(3, 70)) {
        members.extend([member("pod-9", "template-1", 10), member("pod-10", "template-2", 10)]);
        let cap = owners.len().div_ceil(staying(&members).count() - 1);
        let next = assign(&owners, &members);
        for member in staying(&members) {
            let (had, has) = (load(&owners, &member.session), load(&next, &member.session));
            prop_assert!(has <= cap);
            let given = moves(&owners, &next).iter().filter(|&&(from, _)| from == Some(&member.session)).count();
            prop_assert_eq!(given, had.saturating_sub(cap), "gives what is over the cap and no more");
            if has > had && member.template != newest(&members) {
                for new in staying(&members).filter(|member| member.template == newest(&members)) {
                    prop_assert_eq!(load(&next, &new.session), cap, "{} is not full, but {} was given some",
                        &new.session, &member.session);
                }
            }
        }
    }

    #[test]
    fn a_shard_goes_to_the_first_in_its_order((_, members) in world(1, 0)) {
        let next = assign(&[None], &members);
        prop_assert_eq!(next[0].as_deref(), order(0, &members).first().copied());
    }

    #[test]
    fn a_rolling_update_moves_each_shard_once(
        shards in select(&[8, 32, 64, 256][..]),
        (pods, victims) in (1..=8_usize).prop_flat_map(|pods| (Just(pods), vec(any::<Index>(), pods))),
        leaving in select(&[Leaving::Drained, Leaving::DrainedLate, Leaving::Killed][..]),
        names: u32,
    ) {
        let update = Update { leaving, names, ..Update::new(pods, shards) };
        prop_assert_eq!(update.run(|left| victims[left - 1].index(left)), shards);
    }
}

/// How an old pod ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaving {
    /// It drains, and leaves before the next pod joins.
    Drained,
    /// It still drains when the next pod has joined.
    DrainedLate,
    /// It is gone at once.
    Killed,
}

/// A rolling update with `maxSurge: 1` and `maxUnavailable: 0`.
struct Update {
    pods: usize,
    leaving: Leaving,
    names: u32,
    members: Vec<Candidate>,
    owners: Owners,
    moved: usize,
}

impl Update {
    fn new(pods: usize, shards: usize) -> Self {
        Self {
            pods,
            leaving: Leaving::Drained,
            names: 0,
            members: vec![],
            owners: vec![None; shards],
            moved: 0,
        }
    }

    /// How many moves it takes. `victim` chooses which of the old pods that are left goes.
    fn run(mut self, victim: impl Fn(usize) -> usize) -> usize {
        self.members = (0..self.pods).map(|pod| self.pod("old", pod)).collect();
        self.owners = assign(&self.owners, &self.members);
        for pod in 0..self.pods {
            self.members.push(self.pod("new", pod));
            self.step();
            if self.leaving == Leaving::DrainedLate {
                self.members.retain(|member| !member.draining);
                self.step();
            }
            let victim = victim(self.pods - pod);
            if self.leaving == Leaving::Killed {
                self.members.remove(victim);
            } else {
                self.members[victim].draining = true;
            }
            self.step();
            if self.leaving == Leaving::Drained {
                self.members.retain(|member| !member.draining);
                self.step();
            }
        }
        assert!(is_balanced(&self.owners, &self.members));
        assert!(staying(&self.members).all(|member| member.template == "new"));
        self.moved
    }

    fn pod(&self, template: &str, pod: usize) -> Candidate {
        let since = if template == "new" {
            1000 + i64::try_from(pod).unwrap()
        } else {
            0
        };
        member(
            format!("{:x}", stable_hash(format!("{template}{pod}{}", self.names).bytes())),
            template,
            since,
        )
    }

    fn step(&mut self) {
        let next = assign(&self.owners, &self.members);
        self.moved += moves(&self.owners, &next).len();
        self.owners = next;
        let fair = self.owners.len().div_ceil(self.pods);
        assert!(
            self.members
                .iter()
                .all(|member| load(&self.owners, &member.session) <= fair),
            "a share too large"
        );
    }
}

#[test]
fn a_rolling_update_of_any_size_moves_each_shard_once() {
    for pods in 1..=8 {
        for shards in [8, 32, 64, 256] {
            assert_eq!(
                Update::new(pods, shards).run(|_| 0),
                shards,
                "oldest first, {pods} pods"
            );
            assert_eq!(
                Update::new(pods, shards).run(|left| left - 1),
                shards,
                "youngest first, {pods} pods"
            );
        }
    }
}

#[test]
fn an_old_pod_that_restarts_during_an_update_moves_only_its_own() {
    let mut members = alike(3);
    let before = assign(&vec![None; 32], &members);
    members.push(member("new", "b", 1));
    members[0] = member("pod-0-restarted", "a", 2);
    let after = assign(&before, &members);
    assert!(moves(&before, &after).iter().all(|&(from, _)| from == Some("pod-0")));
}

#[test]
fn what_a_large_surge_has_too_much_goes_to_the_new_pods() {
    let mut members = alike(2);
    let before = assign(&vec![None; 32], &members);
    members.extend((0..5).map(|pod| member(format!("new-{pod}"), "b", 1)));
    let after = assign(&before, &members);
    let loads: Vec<_> = members.iter().map(|member| load(&after, &member.session)).collect();
    assert_eq!(loads, [6, 6, 4, 4, 4, 4, 4]);
}

#[test]
fn replicas_of_different_versions_agree_on_the_order() {
    let members = alike(5);
    let pods = |shard| {
        order(shard, &members)
            .iter()
            .map(|pod| pod.trim_start_matches("pod-"))
            .collect::<String>()
    };
    assert_eq!([0, 1, 2, 255].map(pods), ["04213", "02341", "04321", "02341"]);
}

#[test]
fn each_session_is_the_first_choice_of_about_as_many_shards() {
    let members = alike(4);
    let firsts: Vec<_> = (0..256).map(|shard| order(shard, &members)[0]).collect();
    for pod in &members {
        let count = firsts.iter().filter(|first| **first == pod.session).count();
        assert!((44..=84).contains(&count), "{count} of 256");
    }
}

#[test]
fn who_drains_is_not_in_the_order() {
    let mut members = alike(3);
    members[1].draining = true;
    assert!(!order(0, &members).contains(&"pod-1"));
    assert_eq!(order(0, &members).len(), 2);
}
