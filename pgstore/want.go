package pgstore

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// wanted is a claim in terms of lanes.
type wanted struct {
	lanes         []int32
	kinds         []string
	most          []int64
	ranks         []int64
	fresh         []bool
	runAts        []time.Time
	ids           [][16]byte
	attempts      []int32
	crashes       []int32
	interruptions []int32
	caps          map[string]task.Caps // by kind
}

func (s *Store) want(req task.ClaimRequest) *wanted {
	all := s.allLanes()
	w := &wanted{lanes: []int32{}, caps: make(map[string]task.Caps)}
	for _, k := range req.Kinds {
		most := min(k.Max, req.Max)
		if most <= 0 {
			continue
		}
		w.caps[k.Kind] = k.Caps
		for l, n := range all {
			if l.kind != k.Kind || len(req.Queues) > 0 && !slices.Contains(req.Queues, l.queue) {
				continue
			}
			b := s.claimer.from(n)
			w.lanes, w.kinds, w.most = append(w.lanes, n), append(w.kinds, k.Kind), append(w.most, int64(most))
			w.ranks, w.fresh, w.runAts, w.ids = append(w.ranks, b.rank), append(w.fresh, b.fresh), append(w.runAts, b.runAt), append(w.ids, b.id)
			w.attempts, w.crashes = append(w.attempts, small(k.Caps.MaxAttempts)), append(w.crashes, small(k.Caps.MaxCrashes))
			w.interruptions = append(w.interruptions, small(k.Caps.MaxInterruptions))
		}
	}
	return w
}

// args are those of a claim.
func (w *wanted) args(req task.ClaimRequest) []any {
	except := make([][16]byte, 0, len(req.Except))
	for _, id := range req.Except {
		if key, ok := parseID(id); ok {
			except = append(except, key)
		}
	}
	return []any{req.Worker, w.lanes, w.kinds, w.most, w.ranks, w.fresh, w.runAts, w.ids, w.attempts, w.crashes, w.interruptions,
		req.Suspect, except, int64(max(req.Max, 0))}
}
