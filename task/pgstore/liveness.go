package pgstore

import (
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// failureDetector turns sessions that are gone into evidence of death. Two witnesses are needed:
// the worker's session is gone, and its beat stands still, both for as long as the worker said it
// may need to connect again. A worker that lost its connection, and not its life, has made the
// session again by then, or has withdrawn it as evidence.
//
// Of a worker that was killed this is known after 400 ms where it connected in less than 130 ms,
// and at most after 1.75 s. One that needs longer than a second to connect, or loses its connection
// time and again, has no session that counts.
type failureDetector struct {
	// most bounds for how long a worker is watched.
	most time.Duration

	mu        sync.Mutex
	suspected map[string]observation // by worker: those whose sessions are gone
}

// observation is since when a worker's session has been seen gone, while its beat stood still.
type observation struct {
	seq   uint64
	since time.Time
	dead  bool
}

// sessionReading is what a worker's row and session say.
type sessionReading struct {
	// gone is whether the session was gone; nil means that there is none that counts.
	gone *bool
	// confirm is for how long it must have been so.
	confirm time.Duration
}

// assess fills in the life of each worker. asked is when the server was asked for the readings;
// lost is how long ago this store lost its own session: a server that lost all of them kills
// nobody.
func (d *failureDetector) assess(workers []task.WorkerInfo, sessions []sessionReading, asked time.Time, lost time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	answered := time.Now()
	suspected := make(map[string]observation)
	for i := range workers {
		w := &workers[i]
		switch {
		case w.State == task.WorkerStopped:
			w.Liveness = task.LivenessDead
		case sessions[i].gone == nil || lost < max(w.Lease, time.Second):
			w.Liveness = task.LivenessUnknown
		case !*sessions[i].gone:
			w.Liveness = task.LivenessAlive
		default:
			o, known := d.suspected[w.Worker]
			if !known || o.seq != w.Seq {
				o = observation{seq: w.Seq, since: answered}
			}
			// The first reading was made before its answer came, and this one after it was asked
			// for: the time between them was at least that between these moments.
			o.dead = o.dead || asked.Sub(o.since) >= min(sessions[i].confirm, d.most)
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
