package pgstore

import (
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// confirm is for how long a lock must have been free. A worker that lost its connection, and not
// its life, has taken the lock again by then.
const confirm = 400 * time.Millisecond

// observer turns locks that are free into evidence of death.
type observer struct {
	confirm time.Duration

	mu   sync.Mutex
	free map[string]sight
}

// sight is since when a worker's lock has been free, while its beat stood still.
type sight struct {
	seq   uint64
	since time.Time
}

// judge fills in the life of each worker. free says whether its lock was; nil that there is no lock
// to look at. lostAgo is how long ago this store lost its own connection: a server that lost all of
// them frees all locks, and kills nobody.
func (o *observer) judge(workers []task.WorkerInfo, free []*bool, lostAgo time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	seen := make(map[string]sight)
	for i := range workers {
		w := &workers[i]
		switch {
		case w.State == task.WorkerLeft:
			w.Life = task.LifeDead
		case free[i] == nil || lostAgo < max(w.Lease, time.Second):
			w.Life = task.LifeUnknown
		case !*free[i]:
			w.Life = task.LifeAlive
		default:
			s, known := o.free[w.Worker]
			if !known || s.seq != w.Seq {
				s = sight{seq: w.Seq, since: now}
			}
			seen[w.Worker] = s
			w.Life = task.LifeUnknown
			if now.Sub(s.since) >= o.confirm {
				w.Life = task.LifeDead
			}
		}
	}
	o.free = seen
}

// confirmed says whether a worker's lock was free for long enough when it was looked at last.
func (o *observer) confirmed(worker string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, known := o.free[worker]
	return known && time.Since(s.since) >= o.confirm
}

// trustsLocks says whether a free lock of a worker is evidence at this moment.
func (s *Store) trustsLocks(worker string) bool {
	return s.observer.confirmed(worker)
}
