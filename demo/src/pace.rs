//! Keeps the cluster's time in step with real time.
//!
//! Time in the cluster is tokio's paused clock, which advances to the next timer when all tasks are idle. Timers therefore fire
//! exactly on time at any speed. Between two ticks the clock is held until real time has caught up.

use std::{thread, time::Duration};

use tokio::{task::spawn_blocking, time};

type RealInstant = std::time::Instant;

/// Real time between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// If the cluster is later than this, it does not catch up.
const PATIENCE: Duration = Duration::from_millis(500);

/// The speed of the cluster's time.
#[derive(Debug)]
pub(super) struct Pace {
    /// Cluster seconds per real second; `None` is as fast as possible.
    speed: Option<u32>,
    /// When the next tick is due.
    due: RealInstant,
    /// Recent duration of a tick, in real seconds.
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

    /// Advances by a tenth of a second of real time, or by one second of cluster time if there is no speed.
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
        // Blocking also holds the paused clock, even for zero time, so that network tasks can run.
        let slept = spawn_blocking(move || thread::sleep(wait));
        if let Err(error) = slept.await {
            tracing::debug!(%error, "could not sleep for a tick");
        }
        self.lately += (self.ticked.elapsed().as_secs_f64() - self.lately) / 10.0;
        self.ticked = RealInstant::now();
    }

    /// `30× real time`, or the speed that the machine reaches if it is lower.
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
    async fn without_a_speed_there_is_no_delay() {
        let start = time::Instant::now();
        Pace::new(None).tick().await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
