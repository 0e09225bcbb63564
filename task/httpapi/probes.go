package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/internal/safelog"
	"github.com/lastcall-go/lastcall/task"
)

// ProbeConfig defines what readiness depends on.
type ProbeConfig struct {
	// Ready reports whether the process accepts requests: false before it is set up and from last call
	// on. Nil means always. Use the Ready of lastcall.Group.
	Ready func() bool
	// Store must answer within a second. If it has a method Ping(context.Context) error, which reports
	// whether it accepts writes, that must succeed too.
	Store task.Store
	// Worker, if set, must be ready: see [task.Worker.Ready].
	Worker *task.Worker
	// Logger gets a line when the store stops answering and when it answers again. Nil means
	// slog.Default().
	Logger *slog.Logger
}

const (
	// probePatience is how long the store may take to answer.
	probePatience = time.Second
	// probeTrusted is how long an answer is reused: a client without a token must not be able to keep
	// the store busy.
	probeTrusted = 250 * time.Millisecond
)

// ProbeHandler returns a handler with two routes, for a platform that checks the health of this
// process:
//
//   - GET /healthz answers 200 as long as the process answers at all. A store that is unreachable
//     is no reason to kill it.
//   - GET /readyz answers 200, or 503 with the reason: before the set-up is done, from last call
//     on, while the store does not answer, and while the worker can run nothing because its machine
//     or process lacks something.
//
// It needs no token and reveals nothing else, so it may listen where [Handler] must not.
func ProbeHandler(cfg ProbeConfig) http.Handler {
	p := &probes{ready: cfg.Ready, store: cfg.Store, worker: cfg.Worker, log: safelog.New(cfg.Logger)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", p.readyz)
	return mux
}

type probes struct {
	ready func() bool
	store task.Store
	// worker is nil if readiness does not depend on one.
	worker *task.Worker
	log    *slog.Logger

	mu    sync.Mutex // held while the store is asked, so that one request asks for all
	asked time.Time
	err   error
}

func (p *probes) readyz(w http.ResponseWriter, r *http.Request) {
	if p.ready != nil && !p.ready() {
		plain(w, http.StatusServiceUnavailable, "not set up yet, or stopping")
		return
	}
	if err := p.ask(r.Context()); err != nil {
		plain(w, http.StatusServiceUnavailable, "the store does not answer")
		return
	}
	if p.worker != nil {
		if err := p.worker.Ready(); err != nil {
			plain(w, http.StatusServiceUnavailable, err.Error())
			return
		}
	}
	plain(w, http.StatusOK, "ok")
}

// ask asks the store whether it accepts writes, and for a task that does not exist. Requests that
// come at the same time share the result.
func (p *probes) ask(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.asked.IsZero() && time.Since(p.asked) < probeTrusted {
		return p.err
	}
	// Not this request's context: other requests use the answer too.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), probePatience, errors.New("no answer within a second"))
	defer cancel()
	var err error
	if pinger, ok := p.store.(interface{ Ping(context.Context) error }); ok {
		err = pinger.Ping(ctx)
	}
	if err == nil {
		_, err = p.store.Find(ctx, task.Query{IDs: []string{"00000000-0000-0000-0000-000000000000"}, Limit: 1})
	}
	switch {
	case err != nil && p.err == nil:
		p.log.Error("not ready: the store does not answer", "error", err)
	case err == nil && p.err != nil:
		p.log.Info("ready again: the store answers")
	}
	p.asked, p.err = time.Now(), err
	return err
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client may be gone
}
