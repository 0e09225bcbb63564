package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/lastcall-go/lastcall/internal/safelog"
	"github.com/lastcall-go/lastcall/task"
)

// Config configures a handler. Only Store is required on loopback, and Tokens too on any other
// address.
type Config struct {
	// Store has the tasks. The caller closes it, after the server has ended.
	Store task.Store
	// Use is middleware for what is submitted, as for [task.Client.Use]. Its context is the request's,
	// so that it can copy a trace id from there into the task's Meta.
	Use []func(next task.EnqueueFunc) task.EnqueueFunc
	// Addr is where the server listens, as its listener reports it. On a loopback address only names
	// of this machine are accepted as the Host of a request. Nil means such an address.
	Addr net.Addr
	// Hosts are further names, without a port, that are accepted on a loopback address: those that a
	// proxy on this machine passes on.
	Hosts []string
	// Queues are the queues of tasks that are submitted without one, by kind. A kind that is not
	// listed has the default queue.
	Queues map[string]string
	// KnownKindsOnly refuses a task whose kind no running worker knows. Otherwise the task is
	// accepted, and waits for a worker that knows it.
	KnownKindsOnly bool
	// Tokens define who may do what. Nil means that everyone may do everything; it is refused unless
	// Addr is a loopback address or a Unix socket.
	Tokens *Tokens
	// Stopping returns a channel that closes at last call, for a request's context: streams of events
	// end then. Use lastcall.LastCall. Nil means that they end with their requests only.
	Stopping func(context.Context) <-chan struct{}
	// PollInterval is how often the store is polled for changes by other processes, while a client
	// listens to events. 0 means a second. Polls take at most a tenth of the time.
	PollInterval time.Duration
	// OnResponse, if set, is called for every request that has been answered, for metrics. Many
	// goroutines call it at once, and it must return soon.
	OnResponse func(RequestInfo)
	// Logger gets a line for each change that a client requested. Nil means slog.Default().
	Logger *slog.Logger
}

// RequestInfo is a request that has been answered.
type RequestInfo struct {
	// Route is the method and the path's pattern, such as "GET /v1/tasks/{id}". It is empty when no
	// route matched, or when the request was refused before.
	Route string
	// Status is the answer's.
	Status int
	// Token is the name of the token of the request, if it was valid.
	Token string
	// Took is the time until the answer was written; for a stream, until its end.
	Took time.Duration
}

// Handler serves the API. It starts no goroutine of its own.
type Handler struct {
	client     *task.Client
	local      bool
	hosts      []string
	waiting    map[string]string // Config.Queues
	tokens     *Tokens
	stopping   func(context.Context) <-chan struct{}
	onResponse func(RequestInfo)
	log        *slog.Logger
	sameOrigin *http.CrossOriginProtection
	mux        *http.ServeMux
	kinds      kindCache
	knownOnly  bool
	count      *counter
	hub        *hub
	// beat and reading are streamBeat and streamPatience.
	beat, reading time.Duration
}

// New checks the configuration and returns a handler. Its paths begin with /v1/.
func New(cfg Config) (*Handler, error) {
	if cfg.Store == nil {
		return nil, errors.New("httpapi: Config.Store must be set")
	}
	unix, local := reach(cfg.Addr)
	if cfg.Tokens == nil && !unix && !local {
		return nil, fmt.Errorf("httpapi: %v is not a loopback address: everyone who can reach it could start tasks; give a token file, or listen on 127.0.0.1", cfg.Addr)
	}
	if cfg.PollInterval < 0 {
		return nil, fmt.Errorf("httpapi: Config.PollInterval is %v: use a positive duration, or 0 for a second", cfg.PollInterval)
	}
	h := &Handler{
		client: task.NewClient(cfg.Store), local: local, hosts: cfg.Hosts, waiting: cfg.Queues, knownOnly: cfg.KnownKindsOnly, tokens: cfg.Tokens,
		stopping: cfg.Stopping, onResponse: cfg.OnResponse, log: safelog.New(cfg.Logger),
		sameOrigin: http.NewCrossOriginProtection(),
		beat:       streamBeat, reading: streamPatience,
	}
	h.client.Use(cfg.Use...)
	if h.stopping == nil {
		h.stopping = func(context.Context) <-chan struct{} { return nil }
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = time.Second
	}
	h.count = newCounter(cfg.Store)
	h.hub = newHub(h.client, h.count, cfg.PollInterval)
	h.mux = h.routes()
	return h, nil
}

// Observe passes the events of this process's worker on to the listeners; it is meant for Observe
// of [task.WorkerConfig].
func (h *Handler) Observe(_ context.Context, e task.Event) { h.hub.observe(e) }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	r, served := watchBody(w, r)
	defer served()
	a := &answer{ResponseWriter: w}
	if err := h.serve(a, r); err != nil {
		h.refuse(a, r, err)
	}
	if h.onResponse != nil {
		defer func() {
			if v := recover(); v != nil {
				h.log.Error("Config.OnResponse panicked", "route", a.route, "panic", v, "stack", string(debug.Stack()))
			}
		}()
		h.onResponse(RequestInfo{Route: a.route, Status: a.status, Token: a.token, Took: time.Since(began)})
	}
}

// serve answers a request, or returns why it is not answered.
func (h *Handler) serve(a *answer, r *http.Request) error {
	a.Header().Set("X-Content-Type-Options", "nosniff")
	a.Header().Set("Cache-Control", "no-store")
	if err := h.checkHost(r.Host); err != nil {
		return err
	}
	if err := h.sameOrigin.Check(r); err != nil {
		return problem("cross-origin", "this request comes from a page of another origin, and no page may change anything here: use a program")
	}
	h.mux.ServeHTTP(a, r) // an endpoint leaves its error in a
	return a.err
}

// refuse answers with a problem.
func (h *Handler) refuse(a *answer, r *http.Request, err error) {
	p := h.problemOf(r, err)
	if a.status != 0 {
		return // an answer has begun
	}
	if p.Status == http.StatusServiceUnavailable {
		a.Header().Set("Retry-After", "1")
	}
	_ = a.json(p.Status, asProblem, p) // a problem always encodes
}

// problemOf returns the problem of a request, and logs it if it is not the client's fault.
func (h *Handler) problemOf(r *http.Request, err error) *Problem {
	p := problemOf(err)
	if p.Status < http.StatusInternalServerError || r.Context().Err() != nil {
		return p
	}
	args := []any{"method", r.Method, "path", r.URL.Path, "error", err}
	if p.Request != "" {
		args = append(args, "request", p.Request)
	}
	h.log.Error("request failed", args...)
	return p
}

// audit logs what a client has done, with the name of its token, if any.
func (h *Handler) audit(a *answer, what string, args ...any) {
	if a.token != "" {
		args = append(args, "by", a.token)
	}
	h.log.Info(what, args...)
}

// answer is where an answer is written. It remembers the status.
type answer struct {
	http.ResponseWriter
	route  string
	token  string
	status int
	err    error
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// json writes an answer.
func (a *answer) json(status int, media string, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // payloads go out as they came
	if err := enc.Encode(v); err != nil {
		return err
	}
	a.Header().Set("Content-Type", media)
	a.WriteHeader(status)
	_, _ = io.Copy(a, &buf) // the client may be gone
	return nil
}

// reach reports whether an address is a Unix socket's, and whether it is this machine's only.
func reach(addr net.Addr) (unix, local bool) {
	switch a := addr.(type) {
	case nil:
		return false, true
	case *net.UnixAddr:
		return true, false
	case *net.TCPAddr:
		return false, a.IP.IsLoopback()
	default:
		host, _, err := net.SplitHostPort(a.String())
		return false, err == nil && isLoopback(host)
	}
}
