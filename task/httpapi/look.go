package httpapi

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// look is what was seen of the store when it was looked at last, to find what other processes have
// done. There is no goroutine for it: a stream that waits takes a turn.
type look struct {
	turn chan struct{} // held by the one who looks

	// Guarded by turn.
	next   time.Time // not before
	counts task.Counts

	// Guarded by the hub's mu.
	base    bool                     // there has been a first look
	running map[string]task.Progress // what runs, as it was told last
	recent  map[string]bool          // the newest tasks
	oldest  task.Task                // of them; without an id when there were no others
}

const (
	// lookRunning and lookRecent bound a look: so many running and so many new tasks are followed
	// one by one.
	lookRunning = 200
	lookRecent  = 50
)

// runs notes that a task runs: the caller holds the hub's mu, as for submitted.
func (l *look) runs(id string, p task.Progress) {
	if l.running != nil {
		l.running[id] = p
	}
}

// submitted notes that a new task has been told of.
func (l *look) submitted(id string) {
	if l.recent != nil {
		l.recent[id] = true
	}
}

// begin makes the first look, before a listener is told that everything that changes from now on is
// told.
func (h *hub) begin(ctx context.Context) error {
	select {
	case h.look.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.look.turn }()
	h.mu.Lock()
	base := h.look.base
	h.mu.Unlock()
	if base {
		return nil
	}
	return h.lookNow(ctx, true)
}

// lookAgain looks if it is time, and nobody else does.
func (h *hub) lookAgain(ctx context.Context) error {
	select {
	case h.look.turn <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-h.look.turn }()
	if time.Now().Before(h.look.next) {
		return nil
	}
	return h.lookNow(ctx, false)
}

// lookNow looks at the store and tells what is new: the caller has the turn. The first look only
// remembers.
func (h *hub) lookNow(ctx context.Context, first bool) error {
	began, mark := time.Now(), h.mark()
	// A slow store is looked at less often.
	defer func() { h.look.next = began.Add(max(h.every, 10*time.Since(began))) }()
	counts, err := h.client.Count(ctx)
	if err != nil {
		return err
	}
	same := reflect.DeepEqual(counts, h.look.counts)
	if !first && same && !slices.ContainsFunc(counts.Tasks, func(c task.Count) bool { return c.Status == task.StatusRunning }) {
		return nil
	}
	running, err := findWithoutBlobs(ctx, h.client, task.Query{Status: task.StatusRunning, Limit: lookRunning})
	if err != nil {
		return err
	}
	recent, err := findWithoutBlobs(ctx, h.client, task.Query{Limit: lookRecent})
	if err != nil {
		return err
	}
	h.look.counts = counts
	if first {
		h.remember(running, recent)
		return nil
	}
	gone := h.tellSeen(mark, running, recent)
	for part := range slices.Chunk(gone, pageStep) {
		found, err := findWithoutBlobs(ctx, h.client, task.Query{IDs: part, Limit: pageStep})
		if err != nil {
			return err
		}
		h.tellGone(mark, part, found)
	}
	if !same {
		h.mu.Lock()
		h.tell(EventCounts, "", countsOf(counts))
		h.mu.Unlock()
	}
	return nil
}

// remember is the first look.
func (h *hub) remember(running, recent []task.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.look.base = true
	h.look.running = make(map[string]task.Progress)
	for _, t := range running {
		h.look.running[t.ID] = t.Progress
	}
	h.rememberNewest(recent)
}

// rememberNewest remembers the newest tasks: the caller holds mu.
func (h *hub) rememberNewest(recent []task.Task) {
	h.look.recent, h.look.oldest = make(map[string]bool, len(recent)), task.Task{}
	for _, t := range recent {
		h.look.recent[t.ID] = true
	}
	if len(recent) == lookRecent {
		h.look.oldest = recent[len(recent)-1]
	}
}

// tellSeen tells of the tasks that run now and did not, that have got on, and that are new. It
// returns those that ran and were not seen. What has been told since the mark is newer than what
// was seen.
func (h *hub) tellSeen(mark uint64, running, recent []task.Task) (gone []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	runs := make(map[string]bool, len(running))
	for _, t := range running {
		runs[t.ID] = true
		last, known := h.look.running[t.ID]
		if known && last == t.Progress || h.toldSince(mark, t.ID) {
			continue
		}
		h.look.running[t.ID] = t.Progress
		h.tell(EventTask, t.ID, eventOf(t))
	}
	for id := range h.look.running {
		if !runs[id] {
			gone = append(gone, id)
		}
	}
	for _, t := range recent {
		// One behind the oldest is not new: another one has been removed.
		known := h.look.recent[t.ID] || h.look.oldest.ID != "" && older(t, h.look.oldest)
		if !known && !runs[t.ID] && !h.toldSince(mark, t.ID) {
			h.tell(EventTask, t.ID, eventOf(t))
		}
	}
	h.rememberNewest(recent)
	return gone
}

// older reports whether a comes behind b in a listing, which begins with the newest.
func older(a, b task.Task) bool {
	return a.Created.Before(b.Created) || a.Created.Equal(b.Created) && a.ID < b.ID
}

// tellGone tells what has become of tasks that ran.
func (h *hub) tellGone(mark uint64, ids []string, found []task.Task) {
	now := make(map[string]task.Task, len(found))
	for _, t := range found {
		now[t.ID] = t
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		t, exists := now[id]
		switch {
		case h.toldSince(mark, id):
		case !exists: // removed
			delete(h.look.running, id)
		case t.Status == task.StatusRunning: // one of very many
			h.look.running[id] = t.Progress
		default:
			delete(h.look.running, id)
			h.tell(EventTask, id, eventOf(t))
		}
	}
}

// findWithoutBlobs finds tasks a few at a time, without what may be large.
func findWithoutBlobs(ctx context.Context, c *task.Client, q task.Query) ([]task.Task, error) {
	var all []task.Task
	for want := q.Limit; want > 0; {
		q.Limit = min(want, pageStep)
		found, err := c.Find(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].Payload, found[i].Checkpoint, found[i].Result = nil, nil, nil
		}
		all = append(all, found...)
		if len(found) < q.Limit {
			break
		}
		want -= len(found)
		q.After = found[len(found)-1].ID
	}
	return all, nil
}
