package httpapi

import (
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
func (h *Handler) steer(verb task.Verb, ask func(*task.Client, context.Context, string) error) endpoint {
	return func(a *answer, r *http.Request) error {
		reason, err := commandBody(a, r)
		if err != nil {
			return err
		}
		ctx, cancel := withStoreTimeout(r)
		defer cancel()
		name := r.PathValue("queue")
		if err := ask(h.client.As(a.token, reason), ctx, name); err != nil {
			return err
		}
		h.audit(a, "queue command", because(reason, "queue", name, "command", verb)...)
		a.WriteHeader(http.StatusNoContent)
		return nil
	}
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
