package checker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// Figures describe a run in numbers. They are reported in addition to its breaches.
type Figures struct {
	// Tasks and Runs count what is in the store, including Pruned, the tasks that the store has
	// removed. RunsPerTask maps a number of runs to how many tasks had that many.
	Tasks, Runs, Pruned int
	RunsPerTask         map[int]int
	// Faults counts the faults by kind. Skipped has the reason for each kind that could not be made.
	Faults  map[string]int
	Skipped map[string]string
	// Recovery is by kind of fault. For a fault with victims it is the time from its begin until each
	// task of a victim begins its next run. For one without victims it is the time from its end until
	// the next effect is accepted. Tasks that may be delayed by something else are left out: those
	// whose plans fail or kill, those that were the target of a command, and those in queues that were
	// paused.
	Recovery map[string]Spread
	// Repeated counts the steps that were done again, Refused the effects of stale runs that were
	// refused, and Lost the accepted tasks that are gone and may be, since a fault loses commits.
	Repeated, Refused, Lost int
	// Took is the time from the first call to the last effect, Throughput how many tasks ended per
	// second of it.
	Took       time.Duration
	Throughput float64
}

// Spread summarizes durations.
type Spread struct {
	// N is their number. The others are percentiles of the durations.
	N                  int
	Median, P99, Worst time.Duration
}

// spread summarizes durations, and sorts them.
func spread(times []time.Duration) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	slices.Sort(times)
	at := func(percent int) time.Duration { return times[(len(times)*percent+99)/100-1] }
	return Spread{N: len(times), Median: at(50), P99: at(99), Worst: times[len(times)-1]}
}

// Summary returns the figures of a run.
func Summary(h history.History) Figures {
	f := read(h)
	s := Figures{
		Tasks: len(h.State.Tasks), RunsPerTask: make(map[int]int), Faults: make(map[string]int),
		Skipped: make(map[string]string), Recovery: make(map[string]Spread),
	}
	for _, t := range h.State.Tasks {
		s.Runs += len(t.Runs)
		s.RunsPerTask[len(t.Runs)]++
		if !t.Pruned.IsZero() {
			s.Pruned++
		}
	}
	for _, e := range h.Events {
		if e.Fault != nil && e.Fault.Skipped != "" {
			s.Skipped[e.Fault.Kind] = e.Fault.Skipped
		}
	}
	for _, t := range f.tasks {
		s.count(f, t)
	}
	times := f.recoveries(h)
	accepted := acceptedTimes(h)
	for _, x := range f.faults {
		s.Faults[x.Kind]++
		if next, ok := nextAfter(accepted, x.to); ok && len(x.Victims) == 0 && x.over != nil {
			times[x.Kind] = append(times[x.Kind], next.Sub(x.to))
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(times)) {
		if len(times[kind]) > 0 {
			s.Recovery[kind] = spread(times[kind])
		}
	}
	s.pace(h)
	return s
}

// String returns the figures as text for people.
func (s Figures) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d tasks in %v, %.0f ended in a second; %d runs",
		s.Tasks, s.Took.Round(100*time.Millisecond), s.Throughput, s.Runs)
	for _, n := range slices.Sorted(maps.Keys(s.RunsPerTask)) {
		fmt.Fprintf(&b, ", %d tasks with %d", s.RunsPerTask[n], n)
	}
	fmt.Fprintf(&b, "; %d tasks were pruned\n%d steps were done again, %d effects of stale runs refused, %d tasks lost where commits may be\n",
		s.Pruned, s.Repeated, s.Refused, s.Lost)
	fmt.Fprintf(&b, "%-24s %6s %10s %10s %10s %10s\n", "fault", "times", "recoveries", "median", "p99", "worst")
	for _, kind := range slices.Sorted(maps.Keys(s.Faults)) {
		r := s.Recovery[kind]
		fmt.Fprintf(&b, "%-24s %6d %10d %10v %10v %10v\n",
			kind, s.Faults[kind], r.N, short(r.Median), short(r.P99), short(r.Worst))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Skipped)) {
		fmt.Fprintf(&b, "%-24s at least once not made: %s\n", kind, s.Skipped[kind])
	}
	return strings.TrimRight(b.String(), "\n")
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// count adds a task's effects to the figures.
func (s *Figures) count(f *facts, t *task) {
	steps := make(map[int]bool)
	for _, e := range t.effects {
		switch {
		case e.Stale:
			s.Refused++
		case e.Step >= 0 && steps[e.Step]:
			s.Repeated++
		case e.Step >= 0:
			steps[e.Step] = true
		}
	}
	if a := t.acceptedBy(); a != nil && len(t.records) == 0 && f.lossy(a.answered.At) {
		s.Lost++
	}
}

// pace fills in how long the work took.
func (s *Figures) pace(h history.History) {
	var first, last time.Time
	for _, e := range h.Events {
		if e.Call != nil && first.IsZero() {
			first = e.At
		}
		if e.Effect != nil {
			last = e.At
		}
	}
	if first.IsZero() || !last.After(first) {
		return
	}
	ended := 0
	for _, t := range h.State.Tasks {
		if t.Status == succeeded || t.Status == failed || t.Status == cancelled {
			ended++
		}
	}
	s.Took = last.Sub(first)
	s.Throughput = float64(ended) / s.Took.Seconds()
}

// acceptedTimes returns the times of the accepted effects, in their order.
func acceptedTimes(h history.History) (times []time.Time) {
	for _, e := range h.Events {
		if e.Effect != nil && !e.Effect.Stale {
			times = append(times, e.At)
		}
	}
	return times
}

func nextAfter(times []time.Time, at time.Time) (time.Time, bool) {
	i, _ := slices.BinarySearchFunc(times, at, time.Time.Compare)
	if i == len(times) {
		return time.Time{}, false
	}
	return times[i], true
}

// recovery follows the tasks through the events to measure how long their recovery takes.
type recovery struct {
	margin  time.Duration
	running map[string]map[int]bool // by process: its running tasks
	waiting map[int][]*fault        // by task: the faults that have hit its run
	latest  map[int]history.Effect  // by task: its last effect
	times   map[string][]time.Duration
}

// recoveries returns, by kind of fault, the times until the tasks of its victims began their next
// runs. A run that returns, or continues after the fault, has none.
func (f *facts) recoveries(h history.History) map[string][]time.Duration {
	r := recovery{
		margin: f.margin, running: make(map[string]map[int]bool), waiting: make(map[int][]*fault),
		latest: make(map[int]history.Effect), times: make(map[string][]time.Duration),
	}
	begins := make(map[*history.Event]*fault, len(f.faults))
	for _, x := range f.faults {
		begins[x.begin] = x
	}
	for i := range h.Events {
		e := &h.Events[i]
		if x := begins[e]; x != nil {
			for _, v := range x.Victims {
				for seq := range r.running[v] {
					if !f.heldBack(f.bySeq[seq]) {
						r.waiting[seq] = append(r.waiting[seq], x)
					}
				}
			}
		}
		if e.Effect != nil && !e.Effect.Stale {
			r.effect(e)
		}
	}
	return r.times
}

// heldBack reports whether a task may be delayed by something other than a fault.
func (f *facts) heldBack(t *task) bool {
	return t.plan.Fail > 0 || t.plan.Exit > 0 || len(t.controls) > 0 || len(f.queues[t.plan.Queue]) > 0
}

// effect handles the next accepted effect.
func (r *recovery) effect(e *history.Event) {
	seq := e.Effect.Seq
	if before := r.latest[seq]; e.Effect.Fence > before.Fence {
		for _, x := range r.waiting[seq] {
			r.times[x.Kind] = append(r.times[x.Kind], e.At.Sub(x.begin.At))
		}
		delete(r.waiting, seq)
		delete(r.running[before.Process], seq)
	}
	r.latest[seq] = *e.Effect
	tasks := r.running[e.Effect.Process]
	if tasks == nil {
		tasks = make(map[int]bool)
		r.running[e.Effect.Process] = tasks
	}
	switch e.Effect.Step {
	case history.Finished:
		delete(r.waiting, seq)
		delete(tasks, seq)
	case history.HandedOver:
		delete(tasks, seq)
	default:
		tasks[seq] = true
		r.waiting[seq] = slices.DeleteFunc(r.waiting[seq], func(x *fault) bool { return x.to.Add(r.margin).Before(e.At) })
	}
}
