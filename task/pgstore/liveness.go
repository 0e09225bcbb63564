package pgstore

import (
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// failureDetector decides when a session that is gone is evidence of death. Two things are needed:
// the worker's session is gone, and its beat stands still, both for the time that the worker has
// recorded it may need to connect again. By then a worker that has only lost its connection has
// opened the session again, or has withdrawn it as evidence.
//
// The death of a killed worker is known after 400 ms if the worker connected in less than 130 ms,
// and after 1.75 s at most. The session of a worker that needs more than a second to connect, or
// that often loses its connection, is never evidence.
type failureDetector struct {
	// most bounds how long a worker is watched before it counts as dead.
	most time.Duration

	mu        sync.Mutex
	suspected map[string]observation // the workers whose sessions are gone
}

// observation is the time since when a worker's session has been seen gone while its beat stood
// still.
type observation struct {
	seq   uint64
	since time.Time
	dead  bool
}

// sessionReading is what the worker's row and the server's list of sessions show.
type sessionReading struct {
	// gone is whether the session was gone; nil means that the session is no evidence.
	gone *bool
	// confirm is how long it must have been gone.
	confirm time.Duration
}

// assess sets the liveness of each worker. asked is when the server was asked for the readings.
// lost is how long ago this store lost its own session: when the server loses all sessions, that
// kills nobody.
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
			// The first reading was made before its answer came, and this one after the question
			// was sent. So at least the time between these two moments has passed between them.
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

// confirmed reports whether the last assessment found a worker dead, and returns the beat at which
// it did.
func (d *failureDetector) confirmed(worker string) (seq uint64, dead bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.suspected[worker]
	return o.seq, o.dead
}
