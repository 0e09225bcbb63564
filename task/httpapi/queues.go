package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// queues lists those that have tasks or are paused; of very many, the largest.
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

// steer is a route that asks for something about a queue.
func (h *Handler) steer(verb string, ask func(context.Context, string) error) endpoint {
	return func(a *answer, r *http.Request) error {
		if err := noBody(a, r); err != nil {
			return err
		}
		return h.askQueue(a, r, ask, "command", verb)
	}
}

// pauseQueue pauses a queue, and has what runs hand over if the body says so.
func (h *Handler) pauseQueue(a *answer, r *http.Request) error {
	var opt task.PauseOptions
	b, err := readBody(a, r, envelope)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) > 0 {
		m, err := members(b)
		if err != nil {
			return err
		}
		for name := range m {
			if name != "running" {
				return problem("invalid", "%.40q is not known: a pause has running", name)
			}
		}
		if err := truth(m, "running", &opt.Running); err != nil {
			return err
		}
	}
	pause := func(ctx context.Context, queue string) error { return h.client.Pause(ctx, queue, &opt) }
	return h.askQueue(a, r, pause, "command", "pause", "running", opt.Running)
}

// askQueue asks for something about the queue of a request.
func (h *Handler) askQueue(a *answer, r *http.Request, ask func(context.Context, string) error, said ...any) error {
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	name := r.PathValue("queue")
	if err := ask(ctx, name); err != nil {
		return err
	}
	h.audit(a, "queue command", append([]any{"queue", name}, said...)...)
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
