//! Checks of a Kanary's status.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    api::{KanaryStatus, names::SLOT},
    status::{FAILED, Phase, SCHEDULED, SUCCEEDED, find, is_true, traffic_lost_since},
};
use kanary_sim::{cluster::Event, object::string_map};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Book, Checker, Invariant,
    evidence::{initial_delay, needed, period},
    is_ours,
};
use crate::history::image;

impl Book {
    fn new(number: usize, name: String, object: Arc<Value>) -> Self {
        Self {
            name,
            number,
            specs: vec![object.clone()],
            object,
            status: KanaryStatus::default(),
            deleted: false,
            passed: std::collections::BTreeMap::new(),
            runs: 1,
            running: None,
            verdict: None,
            paused: false,
        }
    }

    /// The image in the current spec.
    pub(super) fn image(&self) -> String {
        image(&self.object["spec"]["template"]["spec"])
    }

    /// The image with which this run passed.
    pub(super) fn passed(&self, run: i64) -> Option<&String> {
        self.passed.get(&run)
    }

    /// Whether a manual verdict may end the run early.
    fn has_word(&self) -> bool {
        let spec = &self.object["spec"];
        let items = spec["validation"]["items"].as_array();
        let is_valid = |item: &Value| item["manual"]["status"] == "valid";
        spec["verdict"] == "valid" || items.into_iter().flatten().any(is_valid)
    }

    /// The minimum time from available to verdict, by the current spec.
    pub(super) fn needed(&self) -> SignedDuration {
        needed(&self.object["spec"])
    }

    /// The same by the spec with the shortest time: it is unknown which spec determined the start and the deadline.
    fn least_needed(&self) -> SignedDuration {
        let least = |asked: fn(&Value) -> SignedDuration| self.specs.iter().map(|object| asked(&object["spec"])).min();
        least(initial_delay).unwrap_or_default() + least(period).unwrap_or_default()
    }

    /// Whether a field of the spec ever had this value.
    pub(super) fn ever(&self, pointer: &str, value: &Value) -> bool {
        self.specs.iter().any(|object| object.pointer(pointer) == Some(value))
    }

    /// Whether the spec ever had this image.
    pub(super) fn ever_tried(&self, wanted: &str) -> bool {
        let mut specs = self.specs.iter();
        specs.any(|object| image(&object["spec"]["template"]["spec"]) == wanted)
    }
}

fn status_of(object: &Value) -> KanaryStatus {
    KanaryStatus::deserialize(&object["status"]).unwrap_or_default()
}

fn run_of(status: &KanaryStatus) -> i64 {
    status.run.unwrap_or(1)
}

impl Checker {
    pub(super) fn look_at_kanary(&mut self, event: &Event) {
        let Some(new) = &event.change.new else {
            self.evidence
                .look_at_kanary(event, &KanaryStatus::default(), &KanaryStatus::default(), false);
            let gone = event.change.last.as_ref().map(|last| last.meta.uid.clone());
            if let Some(book) = gone.and_then(|uid| self.books.get_mut(&uid)) {
                book.deleted = true;
            }
            return;
        };
        let (uid, value) = (new.meta.uid.clone(), new.json());
        let status = status_of(&value);
        let number = self.books.len();
        let book = self.books.entry(uid.clone());
        let book = book.or_insert_with(|| Book::new(number, new.meta.name.clone(), value.clone()));
        let former = std::mem::replace(&mut book.status, status.clone());
        let before = std::mem::replace(&mut book.object, value);
        book.paused |= book.object["spec"]["paused"] == true;
        self.evidence.look_at_kanary(event, &former, &status, is_ours(event));
        if before["spec"] != book.object["spec"] {
            book.specs.push(book.object.clone());
        }
        if !is_ours(event) {
            return;
        }
        let name = book.name.clone();
        let touched = |field: &str| before[field] != book.object[field];
        let annotations = |object: &Value| string_map(&object["metadata"]["annotations"]);
        let annotated = annotations(&before) != annotations(&book.object);
        // Kanary owns the slot label.
        let labels = |object: &Value| {
            let mut labels = string_map(&object["metadata"]["labels"]);
            labels.remove(SLOT);
            labels
        };
        if touched("spec") || labels(&before) != labels(&book.object) || annotated {
            self.violated(
                Invariant::Trespass,
                event.at,
                &name,
                "the controller changed a user's field of a Kanary",
            );
        }
        if run_of(&former) == run_of(&status) {
            self.check_step(event, &uid, &former, &status);
        } else {
            self.begin_run(event, &uid, &former, &status);
        }
    }

    /// Checks that a new run has a cause.
    fn begin_run(&mut self, event: &Event, uid: &str, former: &KanaryStatus, status: &KanaryStatus) {
        let Some(book) = self.books.get_mut(uid) else { return };
        let name = book.name.clone();
        book.runs += 1;
        (book.running, book.verdict) = (None, None);
        // A target that Kanary created got another template, so the new template can be compared.
        let replaced = find(status, SCHEDULED).is_some_and(|scheduled| scheduled.reason == "TargetReplaced");
        if run_of(status) != run_of(former) + 1 {
            self.violated(
                Invariant::Backward,
                event.at,
                &name,
                "the run number was not incremented by one",
            );
        } else if former.current_hash == status.current_hash
            && former.retry == status.retry
            && former.current_traffic == status.current_traffic
            && !replaced
        {
            self.violated(Invariant::Doubled, event.at, &name, "the same template runs again");
        }
    }

    /// Checks a status change within a run.
    fn check_step(&mut self, event: &Event, uid: &str, former: &KanaryStatus, status: &KanaryStatus) {
        let Some(book) = self.books.get_mut(uid) else { return };
        let name = book.name.clone();
        let (was, is) = (Phase::of(former), Phase::of(status));
        if was != Phase::Running && is == Phase::Running {
            book.running = Some(event.at);
        }
        if !is_true(former, SUCCEEDED) && is_true(status, SUCCEEDED) {
            book.verdict.get_or_insert(event.at);
            let image = book.image();
            book.passed.insert(run_of(status), image.clone());
            self.note_whole(uid);
            self.check_pass(event, uid, &name, &image);
            let write = self.write(event, &name);
            for (invariant, what) in self.evidence.verdict(uid, status, &write) {
                self.violated(invariant, event.at, &name, &what);
            }
        }
        if was != Phase::Failed && is == Phase::Failed {
            self.books
                .get_mut(uid)
                .and_then(|book| book.verdict.get_or_insert(event.at).into());
        }
        self.check_direction(event, &name, (was, is), status);
        self.check_times(event, uid, &name, former, status);
    }

    fn check_direction(&mut self, event: &Event, name: &str, (was, is): (Phase, Phase), status: &KanaryStatus) {
        let reason = find(status, FAILED)
            .map(|condition| condition.reason.clone())
            .unwrap_or_default();
        let after_success = [
            "TargetChanged",
            "TargetNotAvailable",
            "VerdictInvalid",
            "ManualInvalid",
            "LabelMatched",
        ];
        let back = match (was, is) {
            (Phase::Succeeded, Phase::Failed) if after_success.contains(&reason.as_str()) => return,
            (Phase::Failed | Phase::DeploymentUpdated, _) if was != is => Invariant::Flip,
            (Phase::Succeeded, Phase::Failed | Phase::Scheduled | Phase::Running) => Invariant::Flip,
            (Phase::Running, Phase::Scheduled) => Invariant::Backward,
            _ => return,
        };
        self.violated(back, event.at, name, &format!("{was:?} became {is:?} ({reason})"));
    }

    fn check_times(&mut self, event: &Event, uid: &str, name: &str, former: &KanaryStatus, status: &KanaryStatus) {
        let Some(book) = self.books.get(uid) else { return };
        let moved = |former: Option<Timestamp>, now: Option<Timestamp>| former.is_some() && former != now;
        let earlier = matches!((former.deadline, status.deadline), (Some(was), Some(is)) if is < was);
        let periods = |status: &KanaryStatus| (status.initial_delay, status.validation_period);
        let is_edited = former.deadline.is_some() && periods(former) != periods(status);
        let replaced = former.canary_uid.is_some() && former.canary_uid != status.canary_uid;
        // An outage ends when the canary has a new time of availability.
        let outage = replaced || moved(former.available_since, status.available_since);
        // Measurements without the requested traffic are no evidence.
        let has_traffic = traffic_lost_since(status).is_none() || is_true(status, SUCCEEDED);
        let traffic_is_back = traffic_lost_since(former).is_some() && has_traffic;
        let outage = outage || traffic_is_back;
        let again = moved(former.available_at, status.available_at) && !replaced;
        let restarted = moved(former.deadline, status.deadline) && !book.paused && !outage;
        if (earlier || again || restarted) && !is_edited {
            let what = format!("the deadline moved from {:?} to {:?}", former.deadline, status.deadline);
            self.violated(Invariant::Backward, event.at, name, &what);
        }
    }

    /// Checks a canary that passes: it may pass, and not before its time.
    fn check_pass(&mut self, event: &Event, uid: &str, name: &str, image: &str) {
        let truth = self.truth(name);
        if truth.bad_images.contains(image) {
            self.violated(
                Invariant::Proof,
                event.at,
                name,
                &format!("{image} passed, but must not"),
            );
            return;
        }
        let bootstrapped = self.bootstrapped.contains(image);
        let Some(book) = self.books.get(uid).filter(|book| !book.has_word() && !bootstrapped) else {
            return;
        };
        let needed = if truth.hostile {
            book.least_needed()
        } else {
            book.needed()
        };
        let run = run_of(&book.status);
        let suffix = format!("-{run}");
        // Before its first status is written, a run may have had another template.
        let of_run = |owner: &str, run: &str| owner == uid && run.ends_with(&suffix);
        let tried = self.tried.iter();
        let tried = tried.filter(|((owner, run), tried)| of_run(owner, run) && tried.image == image);
        let Some(available) = tried.filter_map(|(_, canary)| canary.available).max() else {
            self.violated(
                Invariant::Proof,
                event.at,
                name,
                "a canary passed that was never available",
            );
            return;
        };
        // Conditions have a resolution of one second.
        let second = Timestamp::from_second(available.as_second()).unwrap();
        let due = second + needed;
        if event.at + self.tolerance < due {
            let what = format!("the verdict came {} early", due.duration_since(event.at));
            self.violated(Invariant::Early, event.at, name, &what);
        }
        if let Some(book) = self.books.get(uid)
            && let Some(spoiled) = self.spoil.get(&book.name)
        {
            spoiled.lock().unwrap().insert(image.to_owned());
        }
    }
}
