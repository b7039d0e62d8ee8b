//! Scripted load: requests at a steady rate, and a record of their answers.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    counts::{Fact, Facts},
    plane::{Plane, Sessions},
    request::{Outcome, Request, SetCookie},
};

/// Requests at a steady rate.
#[derive(Clone, Debug)]
pub struct Load {
    /// Its name. Starting another load with the same name ends this one.
    pub name: String,
    /// The request.
    pub request: Request,
    /// Requests per second.
    pub per_second: f64,
    /// Number of users, who send the requests in turn and keep the cookies that they get. Without users, nobody keeps a
    /// cookie.
    pub users: usize,
    /// Seed of its random numbers.
    pub seed: u64,
}

impl Load {
    /// 100 requests per second without cookies.
    #[must_use]
    pub fn new(name: &str, request: Request) -> Self {
        Self {
            name: name.to_owned(),
            request,
            per_second: 100.0,
            users: 0,
            seed: 0,
        }
    }

    /// Sets the number of requests per second.
    #[must_use]
    pub fn per_second(mut self, per_second: f64) -> Self {
        self.per_second = per_second;
        self
    }

    /// Sets the number of users, who keep their cookies.
    #[must_use]
    pub fn users(mut self, users: usize) -> Self {
        self.users = users;
        self
    }

    /// Sets the seed of its random numbers.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// What decides how a request ends.
#[derive(Clone, Copy)]
pub(super) struct Ways<'a> {
    pub(super) plane: &'a Plane,
    pub(super) sessions: Sessions,
    /// The part of the answers of a version that are errors, from 0 to 1.
    pub(super) errors: &'a BTreeMap<String, f64>,
}

/// A load that was started.
#[derive(Debug)]
pub(super) struct Running {
    load: Load,
    started: Timestamp,
    ended: Option<Timestamp>,
    sent: u32,
    rng: fastrand::Rng,
    users: Vec<User>,
    pub(super) facts: Facts,
}

/// A user with the cookies that answers have set.
#[derive(Clone, Debug, Default)]
struct User {
    cookies: BTreeMap<String, (String, Timestamp)>,
    /// The version that answered last.
    version: Option<String>,
}

impl User {
    fn keep(&mut self, cookie: SetCookie, at: Timestamp) {
        let expires = cookie.max_age.map_or(Timestamp::MAX, |age| {
            at.checked_add(SignedDuration::from_secs(age)).unwrap_or(Timestamp::MAX)
        });
        self.cookies.insert(cookie.name, (cookie.value, expires));
    }
}

impl Running {
    pub(super) fn new(load: Load, started: Timestamp) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(load.seed),
            users: vec![User::default(); load.users],
            load,
            started,
            ended: None,
            sent: 0,
            facts: Facts::default(),
        }
    }

    pub(super) fn end(&mut self, at: Timestamp) {
        self.ended.get_or_insert(at);
    }

    /// Sends the requests that are due before `until`.
    pub(super) fn run(&mut self, ways: Ways<'_>, until: Timestamp) {
        let until = self.ended.map_or(until, |ended| ended.min(until));
        loop {
            let at = self.next();
            if at >= until {
                return;
            }
            self.send(ways, at);
            self.sent += 1;
        }
    }

    /// The time of the next request.
    fn next(&self) -> Timestamp {
        if self.load.per_second <= 0.0 {
            return Timestamp::MAX;
        }
        let passed = Duration::from_secs_f64(f64::from(self.sent) / self.load.per_second);
        self.started.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    fn send(&mut self, ways: Ways<'_>, at: Timestamp) {
        let count = self.users.len().max(1);
        let index = usize::try_from(self.sent).unwrap_or_default() % count;
        let Some(user) = self.users.get_mut(index) else {
            let outcome = ways.plane.lead(&self.load.request, ways.sessions, &mut self.rng);
            self.facts.note(&outcome, self.rng.f64(), ways.errors, at);
            return;
        };
        user.cookies.retain(|_, (_, expires)| *expires > at);
        let mut request = self.load.request.clone();
        let cookies = user
            .cookies
            .iter()
            .map(|(name, (value, _))| (name.clone(), value.clone()));
        request.cookies.extend(cookies);
        let outcome: Outcome = ways.plane.lead(&request, ways.sessions, &mut self.rng);
        self.facts.note(&outcome, self.rng.f64(), ways.errors, at);
        if let Ok(reached) = &outcome.answer {
            let former = user.version.replace(reached.version.clone());
            if !user.cookies.is_empty() && former.is_some_and(|former| former != reached.version) {
                self.facts.add(Fact::Moved, at);
            }
        }
        for cookie in outcome.cookies {
            user.keep(cookie, at);
        }
    }
}
