package task

import (
	"slices"
	"strings"
	"time"
)

// reserve is how many slots of a worker are kept for interrupted tasks.
//
// A worker fills its slots with tasks that wait. If another worker then stops, the tasks that it
// hands over find no free slot anywhere, and wait as long as the tasks take that were begun last.
// So in a rollout a quarter of the slots, and at least one, takes interrupted tasks only:
//
//   - For two seconds after the start of a worker that is not the only one. It may be there to
//     replace another one, which stops when this one is seen to work.
//   - While other workers stop. As many of the workers that go on keep slots as there are stopping
//     ones, the youngest first. In a rollout these are the new ones; the old ones will be stopped
//     themselves, and would have to hand the task over once more. Where there is no rollout, and
//     one worker of many takes hours to stop, no more than a quarter of one other worker waits for
//     it.
//
// A worker with one slot keeps it only at its start: otherwise it would stand still while another
// one stops. No slot is kept where tasks are prefetched: those take milliseconds.
//
// Only neighbours count that share a kind and a queue with the worker, and have not paused all of
// their kinds.
type reserve struct {
	slots    int       // how many handlers the worker runs at once
	started  time.Time // when it has started, with neighbours; zero: without
	stopping bool      // a worker stops, and this one is to take over from it
	resumed  int       // how many runs of interrupted tasks have a slot or wait for one
}

// reserveAtStart is how long a worker keeps slots after its start.
const reserveAtStart = 2 * time.Second

// kept returns how many free slots are kept for interrupted tasks. Interrupted tasks that have a
// slot fill the reserve.
func (r *reserve) kept(now time.Time) int {
	if now.Sub(r.started) >= reserveAtStart && (!r.stopping || r.slots == 1) {
		return 0
	}
	return max(0, max(1, r.slots/4)-r.resumed)
}

// neighbours are what a worker's reserve depends on.
type neighbours struct {
	some     bool // there are others that live
	takeOver bool // some of them stop, and this one is among those that take over from them
}

// neighboursOf reads the list of all workers from the point of view of one of them.
func neighboursOf(incarnation string, all []WorkerInfo) (n neighbours) {
	i := slices.IndexFunc(all, func(w WorkerInfo) bool { return w.Worker == incarnation })
	if i < 0 {
		return neighbours{some: true} // this worker was marked dead: nothing is known
	}
	own, younger, stop := all[i], 0, 0
	for j, w := range all {
		if j == i || !isNeighbour(own, w) {
			continue
		}
		n.some = true
		switch {
		case w.State == WorkerStopping:
			stop++
		case w.State == WorkerRunning && (w.Since.After(own.Since) || w.Since.Equal(own.Since) && strings.Compare(w.Worker, own.Worker) > 0):
			younger++
		}
	}
	n.takeOver = younger < stop
	return n
}

// isNeighbour reports whether another worker lives that may hand tasks over to a worker, or take
// over tasks in its place.
func isNeighbour(own, w WorkerInfo) bool {
	lives := !w.Dead && w.Liveness != LivenessDead
	paused := w.State == WorkerRunning && len(w.Paused) >= len(w.Kinds)
	return lives && !paused && shares(own.Kinds, w.Kinds) && shares(own.Queues, w.Queues)
}

// shares reports whether two lists have an element in common; an empty list stands for everything.
func shares(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}
