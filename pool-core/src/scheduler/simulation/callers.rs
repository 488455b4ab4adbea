//! The requests of callers, at random: submissions, cancels, the end.

use super::books::Pin;
use super::shell::World;
use super::{Plant, invariants};
use crate::priority::Priority;
use crate::scheduler::worker::Phase;
use crate::scheduler::{JobId, JobSpec, State, WorkerId};

impl World {
    pub(super) fn call(&mut self) {
        self.scheduler.set_now(self.books.now);
        let is_open = self.scheduler.state() == State::Open;
        let has_room = self.books.unsettled() < 300;
        match self.rng.below(1000) {
            roll if roll < self.plan.ends_early => {
                if self.rng.permille(500) {
                    self.scheduler.close()
                } else {
                    self.scheduler.terminate()
                }
            }
            roll if roll < 10 + self.plan.cancels => self.cancel(),
            roll if roll < 10 + self.plan.cancels + self.plan.resizes => {
                if is_open {
                    let workers = self.rng.up_to(8) as usize;
                    self.trace(|| format!("resize to {workers}"));
                    self.workers.grow(workers, Default::default);
                    self.scheduler.resize(workers);
                }
            }
            0..300 => (0..self.rng.up_to(5)).filter(|_| is_open && has_room).for_each(|_| self.submit_call()),
            300..500 if is_open && has_room => {
                let (spec, job) = self.new_job();
                self.jobs.push((self.scheduler.submit(spec, |_| job), spec));
                self.add_items(job);
            }
            300..750 => {
                let open = self.books.open_jobs();
                if has_room && !open.is_empty() {
                    let job = self.rng.pick(&open);
                    self.add_items(job);
                }
            }
            970..980 => self.cancel_pending(),
            980..990 if is_open && has_room => self.broadcast(),
            750..970 => {
                let open = self.books.open_jobs();
                if !open.is_empty() {
                    let job = self.rng.pick(&open);
                    self.seal(job);
                }
            }
            _ => self.seal_lazy(),
        }
        self.act();
    }

    /// The books have the options that were asked for; with a planted fault the scheduler was told others.
    pub(super) fn new_job(&mut self) -> (JobSpec, usize) {
        let mut spec = self.plan.spec(&mut self.rng);
        let job = self.books.submit(spec);
        if self.errs(Plant::RetriesLess) {
            spec.retries = spec.retries.saturating_sub(1);
        } else if self.errs(Plant::RetriesMore) {
            spec.retries += 1;
        } else if self.errs(Plant::RetriesPanics) {
            spec.retry_panics = true;
        }
        self.trace(|| format!("job {job}: {spec:?}"));
        (spec, job)
    }

    pub(super) fn submit_call(&mut self) {
        let calls = self.books.live_calls();
        if !calls.is_empty() && self.rng.permille(700) {
            return self.join_call(calls);
        }
        let (spec, job) = self.new_job();
        self.books.add_items(job, 0, 1);
        self.books.jobs[job].are_calls();
        let id = self.scheduler.call(spec, |_| job);
        self.jobs.push((id, spec));
        self.act();
    }

    pub(super) fn join_call(&mut self, calls: Vec<usize>) {
        let job = self.rng.pick(&calls);
        let beside = self.rng.permille(800);
        let (id, spec) = self.jobs[job];
        let end = self.books.jobs[job].end;
        self.trace(|| format!("job {job}: call {end}, beside: {beside}"));
        assert_eq!(self.scheduler.next_call(id, spec), Some(end), "a job that is not done takes further calls");
        self.books.add_items(job, end, 1);
        self.scheduler.join(id, beside);
        self.act();
    }

    /// A call for each worker that is there or about to be.
    fn broadcast(&mut self) {
        let spec = self.plan.spec(&mut self.rng);
        // Else more items of its task might run at once than may.
        if self.plan.max_concurrent[spec.task as usize].is_some() {
            return;
        }
        let spec = JobSpec { retries: 0, lazy: false, pinned: true, ..spec };
        let takes_part = |worker: &WorkerId| {
            let handle = &self.workers[*worker];
            let stays = |id: usize| !self.books.processes[id].killed && !self.books.processes[id].told_to_leave;
            match &handle.process {
                Some(process) => stays(process.id),
                None => handle.launching || matches!(self.scheduler.workers[*worker].phase, Phase::BackingOff(_)),
            }
        };
        let workers = self.workers.ids().take(self.scheduler.workers()).filter(takes_part);
        let pins: Vec<_> = workers
            .map(|worker| Pin { worker, process: self.workers[worker].process.as_ref().map(|process| process.id) })
            .collect();
        let job = self.books.submit(spec);
        self.trace(|| format!("job {job}: broadcast to {pins:?}"));
        let items = pins.len() as u32;
        self.books.pin(job, pins);
        let mut told = 0;
        let id = self.scheduler.broadcast(spec, |_, items| {
            told = items;
            job
        });
        assert_eq!(told, items, "workers that have a part in a broadcast");
        self.jobs.push((id, spec));
        self.act();
    }

    /// Opens a map with these options.
    pub(super) fn submit_map(&mut self, spec: JobSpec) -> usize {
        let job = self.books.submit(spec);
        self.jobs.push((self.scheduler.submit(spec, |_| job), spec));
        job
    }

    /// Adds so many items to a map.
    pub(super) fn feed(&mut self, job: usize, items: u32) {
        self.scheduler.set_now(self.books.now);
        let first = self.books.jobs[job].end;
        self.books.add_items(job, first, items);
        assert!(self.scheduler.add_items(self.jobs[job].0, first, items), "an open map takes items");
        self.act();
    }

    /// Sees to it that at least so many calls wait.
    pub(super) fn keep_calling(&mut self, waiting: u64) {
        self.scheduler.set_now(self.books.now);
        let waits = |(id, spec): &&(JobId, JobSpec)| {
            spec.calls && self.scheduler.jobs.get(*id).is_some_and(|job| job.queued >= waiting)
        };
        if self.jobs.iter().any(|job| waits(&job)) {
            return;
        }
        let spec = JobSpec { priority: Priority::Normal, timeout: None, ..self.plan.spec(&mut self.rng) };
        let spec = JobSpec { calls: true, chunk_size: None, ..spec };
        let job = self.books.submit(spec);
        self.books.jobs[job].are_calls();
        self.books.add_items(job, 0, 1);
        let id = self.scheduler.call(spec, |_| job);
        self.jobs.push((id, spec));
        for call in 1..4 * waiting {
            self.books.add_items(job, call, 1);
            self.scheduler.join(id, true);
        }
        self.act();
    }

    pub(super) fn add_items(&mut self, job: usize) {
        let items = self.rng.pick(&[0, 1, 3, 10, 60]);
        let items = if items > 0 { self.rng.up_to(items) as u32 } else { 0 };
        let first = self.books.jobs[job].end + self.rng.below(3);
        self.trace(|| format!("job {job}: items {first} +{items}"));
        self.books.add_items(job, first, items);
        assert!(self.scheduler.add_items(self.jobs[job].0, first, items), "an open job takes items");
        self.act();
    }

    pub(super) fn seal(&mut self, job: usize) {
        self.trace(|| format!("job {job}: sealed"));
        self.books.jobs[job].open = false;
        self.scheduler.seal(self.jobs[job].0);
        self.act();
        invariants::end_is_noticed(&self.scheduler);
    }

    pub(super) fn seal_lazy(&mut self) {
        self.trace(|| "lazy jobs: sealed".to_owned());
        self.books.jobs.iter_mut().filter(|job| job.spec.lazy).for_each(|job| job.open = false);
        self.scheduler.seal_lazy();
        self.act();
    }

    pub(super) fn cancel(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let live = self.books.live_jobs();
        let any = self.rng.index(self.jobs.len());
        // A worker may be at a chunk that is not its first as far as the host has heard.
        let behind = self.scheduler.workers.values().filter_map(|state| state.in_flight.get(1));
        let behind: Vec<usize> = behind.filter_map(|sent| self.scheduler.record(sent.range.job).copied()).collect();
        let job = match self.rng.below(10) {
            0 => any,
            1..6 if !behind.is_empty() => self.rng.pick(&behind),
            _ if live.is_empty() => any,
            _ => self.rng.pick(&live),
        };
        if let Some(item) = self.books.some_call(job, &mut self.rng) {
            return self.cancel_call(job, item);
        }
        let running = self.rng.permille(500);
        self.trace(|| format!("job {job}: cancelled, running: {running}"));
        self.books.jobs[job].cancelled = true;
        let has_ended = self.books.jobs[job].ended;
        self.books.jobs[job].kills_running |= running && !has_ended;
        assert_ne!(self.scheduler.cancel(self.jobs[job].0, running), has_ended, "a live job can be cancelled");
        self.act();
        if !has_ended {
            invariants::end_is_noticed(&self.scheduler);
        }
    }

    pub(super) fn cancel_pending(&mut self) {
        self.trace(|| "all that waits: cancelled".to_owned());
        self.books.jobs.iter_mut().filter(|job| job.spec.lazy).for_each(|job| job.open = false);
        let was_finished = self.scheduler.is_finished();
        self.scheduler.begin_cancel_pending();
        self.act();
        let mut sent = Vec::new();
        for chunk in self.scheduler.workers.values().flat_map(|state| &state.in_flight) {
            if let Some(&job) = self.scheduler.record(chunk.range.job) {
                sent.push((job, chunk.next_item()..chunk.range.end()));
            }
        }
        let are_sent = |job, item| sent.iter().any(|(of, items)| *of == job && items.contains(&item));
        let dropped = self.books.cancel_pending(are_sent);
        assert_eq!(self.scheduler.end_cancel_pending(|_, _, _| ()), dropped, "items that have not begun");
        self.act();
        if !was_finished {
            invariants::end_is_noticed(&self.scheduler);
        }
    }

    pub(super) fn cancel_call(&mut self, job: usize, item: u64) {
        self.trace(|| format!("job {job}: call {item} cancelled"));
        self.books.cancel_call(job, item);
        assert!(self.scheduler.cancel_call(self.jobs[job].0, item), "a live job can be cancelled");
        self.act();
        assert!(self.books.has_ended(job, item), "the one that was cancelled goes on");
        invariants::end_is_noticed(&self.scheduler);
    }
}
