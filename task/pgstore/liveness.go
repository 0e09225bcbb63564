package pgstore

import (
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// failureDetector turns locks that are free into evidence of death. Two witnesses are needed: the
// worker's lock is free, and its beat stands still, both for as long as the worker said it may need
// to connect again. A worker that lost its connection, and not its life, has taken the lock again
// by then, or has withdrawn it as evidence.
//
// Of a worker that was killed this is known after 400 ms where it connected in less than 130 ms,
// and at most after 1.75 s. One that needs longer than a second to connect, or loses its connection
// time and again, has no lock that counts.
type failureDetector struct {
	// most bounds for how long a lock is watched.
	most time.Duration

	mu        sync.Mutex
	suspected map[string]observation // by worker: those whose locks are free
}

// observation is since when a worker's lock has been seen free, while its beat stood still.
type observation struct {
	seq   uint64
	since time.Time
	dead  bool
}

// lockReading is what a worker's row and lock say.
type lockReading struct {
	// free is whether the lock was free; nil means that there is none that counts.
	free *bool
	// confirm is for how long it must have been so.
	confirm time.Duration
}

// assess fills in the life of each worker. asked is when the server was asked for the readings;
// lost is how long ago this store lost its own session: a server that lost all of them frees all
// locks, and kills nobody.
func (d *failureDetector) assess(workers []task.WorkerInfo, locks []lockReading, asked time.Time, lost time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	answered := time.Now()
	suspected := make(map[string]observation)
	for i := range workers {
		w := &workers[i]
		switch {
		case w.State == task.WorkerStopped:
			w.Liveness = task.LivenessDead
		case locks[i].free == nil || lost < max(w.Lease, time.Second):
			w.Liveness = task.LivenessUnknown
		case !*locks[i].free:
			w.Liveness = task.LivenessAlive
		default:
			o, known := d.suspected[w.Worker]
			if !known || o.seq != w.Seq {
				o = observation{seq: w.Seq, since: answered}
			}
			// The first reading was made before its answer came, and this one after it was asked
			// for: the time between them was at least that between these moments.
			o.dead = o.dead || asked.Sub(o.since) >= min(locks[i].confirm, d.most)
			suspected[w.Worker] = o
			w.Liveness = task.LivenessUnknown
			if o.dead {
				w.Liveness = task.LivenessDead
			}
		}
	}
	d.suspected = suspected
}

// confirmed returns the beat at which a worker was found dead in the last assessment.
func (d *failureDetector) confirmed(worker string) (seq uint64, dead bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.suspected[worker]
	return o.seq, o.dead
}
