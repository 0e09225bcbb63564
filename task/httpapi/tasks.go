package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// errStoreLate is the cause of a context that bounds the store's work.
var errStoreLate = errors.New("the store has not answered in time")

// withStoreTimeout bounds the store's work on a request, so that a client gets an answer even if
// the store hangs.
func withStoreTimeout(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(r.Context(), storePatience, errStoreLate)
}

func (h *Handler) submit(a *answer, r *http.Request) error {
	b, err := readBody(a, r, maxBody)
	if err != nil {
		return err
	}
	n, err := h.decodeNewTask(b)
	if err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	if h.knownOnly {
		if err := h.kinds.check(ctx, h.client, n.Kind); err != nil {
			return err
		}
	}
	mark := h.hub.mark()
	done, err := h.client.EnqueueMany(ctx, []task.NewTask{n})
	if len(done) == 1 && done[0].Err != nil {
		return done[0].Err
	} else if err != nil {
		return err
	}
	j := submitted{ID: done[0].ID, Outcome: done[0].Outcome}
	status := http.StatusOK
	switch j.Outcome {
	case task.OutcomeAdded:
		status = http.StatusCreated
		h.hub.queued(mark, n)
		h.audit(a, "task queued", "task", n.ID, "kind", n.Kind, "queue", n.Queue)
		j.WaitsFor = h.kinds.pendingReason(ctx, h.client, n.Kind)
	case task.OutcomeReplaced:
		h.audit(a, "task replaced", "task", j.ID, "kind", n.Kind, "by", n.ID)
	}
	a.Header().Set("Location", "/v1/tasks/"+j.ID)
	return a.json(status, asJSON, j)
}

func (h *Handler) list(a *answer, r *http.Request) error {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem("invalid", "the query is not understood: %v", err)
	}
	q, err := decodeQuery(v)
	if err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	p, err := summaries(ctx, h.client, q)
	if err != nil {
		return err
	}
	return a.json(http.StatusOK, asJSON, p)
}

// summaries finds tasks a few at a time: the store reads their payloads too, which are not wanted
// here and may be large. If it searches for long, it answers with what it has found, and where to
// go on.
func summaries(ctx context.Context, c *task.Client, q task.Query) (page, error) {
	p := page{Tasks: []Task{}}
	want := cmp.Or(q.Limit, defaultPage)
	for began := time.Now(); ; q.After = p.Next {
		q.Limit = min(want-len(p.Tasks), pageStep)
		found, err := c.List(ctx, q)
		if err != nil {
			return page{}, err
		}
		for _, t := range found.Tasks {
			p.Tasks = append(p.Tasks, NewTaskSummary(t))
		}
		p.Next = found.Next
		if p.Next == "" || len(p.Tasks) >= want || time.Since(began) > listPatience {
			return p, nil
		}
	}
}

func (h *Handler) show(a *answer, r *http.Request) error {
	id := r.PathValue("id")
	if err := checkTaskID(id); err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	t, err := h.client.Get(ctx, id)
	if err != nil {
		return err
	}
	runs, err := h.client.History(ctx, id)
	if err != nil {
		return err
	}
	j := NewTask(t)
	asked, err := h.client.Commands(ctx, id)
	if err != nil {
		return err
	}
	j.History, j.Commands = NewRuns(runs), NewCommands(asked)
	if j.WaitsFor, err = h.waitsFor(ctx, t); err != nil {
		return err
	}
	return a.json(http.StatusOK, asJSON, j)
}

func (h *Handler) waitsFor(ctx context.Context, t task.Task) (why string, err error) {
	if t.Status.Ended() {
		return "", nil
	}
	var counts task.Counts
	if t.Status.Claimable() {
		if counts, err = h.count.count(ctx); err != nil {
			return "", err
		}
	}
	workers, err := h.client.Workers(ctx)
	if err != nil {
		return "", err
	}
	return task.PendingReason(t, workers, counts.Paused, time.Now()), nil
}

func (h *Handler) taskLog(a *answer, r *http.Request) error {
	id := r.PathValue("id")
	if err := checkTaskID(id); err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	b, err := h.client.Log(ctx, id)
	if err != nil {
		return err
	}
	// Plain text and nosniff: what a task printed is shown, never interpreted.
	a.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = a.Write(b) // the client may be gone
	return nil
}

// command is a route that applies a command to a task.
func (h *Handler) command(verb task.Verb, ask func(*task.Client, context.Context, string) error) endpoint {
	return func(a *answer, r *http.Request) error {
		_, reason, err := commandBody(a, r)
		if r.Method == http.MethodDelete && err == nil && reason == "" {
			reason = r.URL.Query().Get("reason")
			err = checkReason(reason)
		}
		return h.do(a, r, verb, reason, err, ask)
	}
}

// do applies a command to a task, unless there was an error in the request.
func (h *Handler) do(a *answer, r *http.Request, verb task.Verb, reason string, err error, ask func(*task.Client, context.Context, string) error) error {
	id := r.PathValue("id")
	if err := errors.Join(checkTaskID(id), err); err != nil {
		return err
	}
	ctx, cancel := withStoreTimeout(r)
	defer cancel()
	mark := h.hub.mark()
	if err := ask(h.client.As(a.token, reason), ctx, id); err != nil {
		return err
	}
	h.audit(a, "task command", because(reason, "task", id, "command", verb)...)
	if h.hub.listened() {
		if t, err := h.client.Get(ctx, id); err == nil && t.Status != task.StatusRunning {
			h.hub.changedSince(mark, t)
		}
	}
	a.WriteHeader(http.StatusNoContent)
	return nil
}

// because adds the reason for a command to its log attributes, if there is one.
func because(reason string, args ...any) []any {
	if reason != "" {
		args = append(args, "reason", reason)
	}
	return args
}
