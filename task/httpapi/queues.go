package httpapi

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// queues lists the queues that have tasks or are paused; if there are very many, the largest.
func (h *Handler) queues(a *answer, r *http.Request) error {
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	c, err := h.count.count(ctx)
	if err != nil {
		return err
	}
	return a.json(http.StatusOK, asJSON, map[string][]queue{"queues": queuesOf(c)})
}

func queuesOf(c task.Counts) []queue {
	byName := make(map[string]*queue)
	named := func(name string) *queue {
		q := cmp.Or(byName[name], &queue{Name: name, Tasks: make(map[task.Status]int)})
		byName[name] = q
		return q
	}
	for _, n := range c.Tasks {
		named(n.Queue).Tasks[n.Status] += n.N
	}
	for _, name := range c.Paused {
		named(name).Paused = true
	}
	all := make([]queue, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, *byName[name])
	}
	return all
}

// pauseQueue pauses a queue, and has running tasks hand over if the body says so.
func (h *Handler) pauseQueue(a *answer, r *http.Request) error {
	var opt task.PauseOptions
	m, reason, err := commandBody(a, r, "running")
	if err == nil {
		err = truth(m, "running", &opt.Running)
	}
	if err != nil {
		return err
	}
	pause := func(ctx context.Context, c *task.Client, queue string) error { return c.Pause(ctx, queue, &opt) }
	return h.askQueue(a, r, reason, pause, "command", "pause", "running", opt.Running)
}

// resumeQueue ends a pause.
func (h *Handler) resumeQueue(a *answer, r *http.Request) error {
	_, reason, err := commandBody(a, r)
	if err != nil {
		return err
	}
	resume := func(ctx context.Context, c *task.Client, queue string) error { return c.Resume(ctx, queue) }
	return h.askQueue(a, r, reason, resume, "command", "resume")
}

// askQueue applies a command to the queue of a request.
func (h *Handler) askQueue(a *answer, r *http.Request, reason string, ask func(context.Context, *task.Client, string) error, said ...any) error {
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	name := r.PathValue("queue")
	if err := ask(ctx, h.client.As(a.token, reason), name); err != nil {
		return err
	}
	h.audit(a, "queue command", because(reason, append([]any{"queue", name}, said...)...)...)
	a.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *Handler) workers(a *answer, r *http.Request) error {
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	found, err := h.client.Workers(ctx)
	if err != nil {
		return err
	}
	all := make([]worker, len(found))
	for i, w := range found {
		all[i] = workerOf(w)
	}
	return a.json(http.StatusOK, asJSON, map[string][]worker{"workers": all})
}

func (h *Handler) counts(a *answer, r *http.Request) error {
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	c, err := h.count.count(ctx)
	if err != nil {
		return err
	}
	return a.json(http.StatusOK, asJSON, countsOf(c))
}
