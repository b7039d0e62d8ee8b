//! The cluster's time against real time.
//!
//! Time in the cluster is tokio's paused clock, which goes to the next timer whenever nothing else is to be done. So every
//! timer has its exact time, whatever the speed; between two ticks the clock is held until real time has caught up.

use std::{thread, time::Duration};

use tokio::{task::spawn_blocking, time};

type RealInstant = std::time::Instant;

/// Between two ticks, in real time.
const TICK: Duration = Duration::from_millis(100);
/// A cluster that is so much behind does not try to catch up.
const PATIENCE: Duration = Duration::from_millis(500);

/// How fast time goes.
#[derive(Debug)]
pub(super) struct Pace {
    /// Seconds in the cluster for each real one; `None`: as fast as it can.
    speed: Option<u32>,
    /// When the next tick is due.
    due: RealInstant,
    /// How long a tick took lately, in real seconds.
    lately: f64,
    ticked: RealInstant,
}

impl Pace {
    pub(super) fn new(speed: Option<u32>) -> Self {
        let now = RealInstant::now();
        Self {
            speed,
            due: now,
            lately: TICK.as_secs_f64(),
            ticked: now,
        }
    }

    /// Lets a tenth of a second of real time pass, or a second of the cluster's if there is no speed.
    pub(super) async fn tick(&mut self) {
        let Some(speed) = self.speed else {
            return time::sleep(Duration::from_secs(1)).await;
        };
        time::sleep(TICK * speed).await;
        self.due += TICK;
        let now = RealInstant::now();
        let wait = self.due.saturating_duration_since(now);
        if now.saturating_duration_since(self.due) > PATIENCE {
            self.due = now;
        }
        // Holds the paused clock as well, even for no time at all: the network gets its turn.
        let slept = spawn_blocking(move || thread::sleep(wait));
        if let Err(error) = slept.await {
            tracing::debug!(%error, "a tick was not slept through");
        }
        self.lately += (self.ticked.elapsed().as_secs_f64() - self.lately) / 10.0;
        self.ticked = RealInstant::now();
    }

    /// `30× real time`; what the machine manages, if that is less.
    pub(super) fn shown(&self) -> String {
        let Some(speed) = self.speed else {
            return "no real time".to_owned();
        };
        let managed = f64::from(speed) * TICK.as_secs_f64() / self.lately;
        if managed >= 0.85 * f64::from(speed) {
            return format!("{speed}× real time");
        }
        format!("{managed:.0}× of {speed}× real time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clusters_time_goes_faster_than_real_time() {
        let (start, real) = (time::Instant::now(), RealInstant::now());
        let mut pace = Pace::new(Some(600));
        let timer = tokio::spawn(async move {
            time::sleep(Duration::from_millis(61_234)).await;
            start.elapsed()
        });
        for _ in 0..2 {
            pace.tick().await;
        }
        assert_eq!(start.elapsed(), Duration::from_mins(2));
        assert!(real.elapsed() >= Duration::from_millis(200));
        let woken = timer.await.unwrap();
        assert!(woken <= Duration::from_millis(61_235), "{woken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_speed_nobody_waits() {
        let start = time::Instant::now();
        Pace::new(None).tick().await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
