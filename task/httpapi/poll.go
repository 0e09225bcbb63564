package httpapi

import (
	"context"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// polled is what the last poll of the store has found, so that the next poll finds what other
// processes have done since. It needs no goroutine: a waiting stream polls for all.
type polled struct {
	turn chan struct{} // held by the stream that polls

	// Guarded by turn.
	next   time.Time // not before
	counts task.Counts

	// Guarded by the hub's mu.
	base    bool                     // there has been a first poll
	running map[string]task.Progress // what runs, as the last events said
	recent  map[string]bool          // the newest tasks
	oldest  task.Task                // of them; without an id when there were no others
}

const (
	// maxPolledRunning and maxPolledNewest bound a poll: that many running tasks and that many new
	// ones are followed one by one.
	maxPolledRunning = 200
	maxPolledNewest  = 50
)

// noteRunning remembers that a task runs. As for noteSubmitted, the caller holds the hub's mu.
func (p *polled) noteRunning(id string, progress task.Progress) {
	if p.running != nil {
		p.running[id] = progress
	}
}

// noteSubmitted remembers that listeners got an event about a new task.
func (p *polled) noteSubmitted(id string) {
	if p.recent != nil {
		p.recent[id] = true
	}
}

// begin polls for the first time. After it every change causes an event.
func (h *hub) begin(ctx context.Context) error {
	select {
	case h.polled.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.polled.turn }()
	h.mu.Lock()
	base := h.polled.base
	h.mu.Unlock()
	if base {
		return nil
	}
	return h.pollNow(ctx, true)
}

// pollIfDue polls if it is time, and no other stream does.
func (h *hub) pollIfDue(ctx context.Context) error {
	select {
	case h.polled.turn <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-h.polled.turn }()
	if time.Now().Before(h.polled.next) {
		return nil
	}
	return h.pollNow(ctx, false)
}

// pollNow reads the store and sends events for what is new. The caller has the turn. The first poll
// only remembers.
func (h *hub) pollNow(ctx context.Context, first bool) error {
	began, mark := time.Now(), h.mark()
	// A slow store is polled less often.
	defer func() { h.polled.next = began.Add(max(h.every, 10*time.Since(began))) }()
	counts, err := h.counts.count(ctx)
	if err != nil {
		return err
	}
	same := counts.Digest == h.polled.counts.Digest
	if !first && same && !slices.ContainsFunc(counts.Tasks, func(c task.Count) bool { return c.Status == task.StatusRunning }) {
		return nil
	}
	running, err := findWithoutBlobs(ctx, h.client, task.Query{Status: task.StatusRunning, Limit: maxPolledRunning})
	if err != nil {
		return err
	}
	recent, err := findWithoutBlobs(ctx, h.client, task.Query{Limit: maxPolledNewest})
	if err != nil {
		return err
	}
	h.polled.counts = counts
	if first {
		h.remember(running, recent)
		return nil
	}
	gone := h.tellPolled(mark, running, recent)
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

// remember keeps what the first poll has found.
func (h *hub) remember(running, recent []task.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.polled.base = true
	h.polled.running = make(map[string]task.Progress)
	for _, t := range running {
		h.polled.running[t.ID] = t.Progress
	}
	h.rememberNewest(recent)
}

// rememberNewest remembers the newest tasks: the caller holds mu.
func (h *hub) rememberNewest(recent []task.Task) {
	h.polled.recent, h.polled.oldest = make(map[string]bool, len(recent)), task.Task{}
	for _, t := range recent {
		h.polled.recent[t.ID] = true
	}
	if len(recent) == maxPolledNewest {
		h.polled.oldest = recent[len(recent)-1]
	}
}

// tellPolled sends events for the tasks that run now and did not before, for those that have new
// progress, and for new ones. It returns those that ran and were not seen. An event that was sent
// since the mark is newer than what was seen.
func (h *hub) tellPolled(mark uint64, running, recent []task.Task) (gone []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	runs := make(map[string]bool, len(running))
	for _, t := range running {
		runs[t.ID] = true
		last, known := h.polled.running[t.ID]
		if known && last == t.Progress || h.toldSince(mark, t.ID) {
			continue
		}
		h.polled.running[t.ID] = t.Progress
		h.tell(EventTask, t.ID, eventOf(t))
	}
	for id := range h.polled.running {
		if !runs[id] {
			gone = append(gone, id)
		}
	}
	for _, t := range recent {
		// A task behind the oldest is not new: another one has been removed.
		known := h.polled.recent[t.ID] || h.polled.oldest.ID != "" && older(t, h.polled.oldest)
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

// tellGone sends events for tasks that no longer run.
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
			delete(h.polled.running, id)
		case t.Status == task.StatusRunning: // one of very many
			h.polled.running[id] = t.Progress
		default:
			delete(h.polled.running, id)
			h.tell(EventTask, id, eventOf(t))
		}
	}
}

// findWithoutBlobs finds tasks a few at a time, without what may be large.
func findWithoutBlobs(ctx context.Context, c *task.Client, q task.Query) ([]task.Task, error) {
	var all []task.Task
	for want := q.Limit; len(all) < want; {
		q.Limit = min(want-len(all), pageStep)
		found, err := c.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range found.Tasks {
			found.Tasks[i].Payload, found.Tasks[i].Checkpoint, found.Tasks[i].Result = nil, nil, nil
		}
		all = append(all, found.Tasks...)
		if found.Next == "" {
			break
		}
		q.After = found.Next
	}
	return all, nil
}
