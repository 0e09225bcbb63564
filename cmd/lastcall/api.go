package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// maxBody bounds the body of a request.
const maxBody = 1 << 20

// api is the HTTP interface of serve.
//
// It listens on this machine only and has no tokens, so what it must keep out is a page in a
// browser of this machine, which can send requests anywhere: a request that changes something must
// have the Content-Type application/json (which no page may send elsewhere unasked) and come from
// the same origin; and the Host header must be a name of this machine, so that a foreign name which
// was made to point here is refused.
type api struct {
	tasks *direct
	kinds []string
	ready func() bool
	log   *slog.Logger
}

// pageJSON is an answer to GET /v1/tasks.
type pageJSON struct {
	Tasks []taskJSON `json:"tasks"`
}

// problem is an error, as RFC 9457 has it.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/tasks", a.submit)
	mux.HandleFunc("GET /v1/tasks", a.list)
	mux.HandleFunc("GET /v1/tasks/{id}", a.show)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", a.readyz)
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.refuse(w, http.StatusForbidden, "this request comes from a page of another origin")
	}))
	return a.ownHost(sameOrigin.Handler(mux))
}

// newHTTPServer has limits for slow clients and large headers.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// ownHost refuses a request whose Host is not this machine.
func (a *api) ownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !isLoopback(host) {
			a.refuse(w, http.StatusMisdirectedRequest, fmt.Sprintf("host %.100q is not this machine: ask for 127.0.0.1 or localhost", host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *api) submit(w http.ResponseWriter, r *http.Request) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		a.refuse(w, http.StatusUnsupportedMediaType, "the Content-Type must be application/json")
		return
	}
	s, err := decodeSubmission(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		a.refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes: put the data into a file and submit its name", tooLarge.Limit))
		return
	}
	if err != nil {
		a.refuse(w, http.StatusBadRequest, "the body is not understood: "+err.Error())
		return
	}
	if !slices.Contains(a.kinds, s.Kind) {
		a.refuse(w, http.StatusUnprocessableEntity, unknownKind(s.Kind, a.kinds))
		return
	}
	t, existed, err := a.tasks.submit(r.Context(), s)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	status := http.StatusOK
	if !existed {
		status = http.StatusCreated
		w.Header().Set("Location", "/v1/tasks/"+t.ID)
		a.log.Info("task queued", "task", t.ID, "kind", t.Kind)
	}
	a.answer(w, status, t)
}

// unknownKind says what to do about a kind that nobody here runs.
func unknownKind(kind string, known []string) string {
	if len(known) == 0 {
		return fmt.Sprintf("no kind is called %.100q: this server has no kinds; start it with --demo-kinds", kind)
	}
	return fmt.Sprintf("no kind is called %.100q: this server has %v", kind, known)
}

// decodeSubmission reads one JSON object with known keys only, and nothing after it.
func decodeSubmission(r io.Reader) (s submission, err error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		if err != nil {
			return s, err
		}
		return s, errors.New("something follows the JSON object")
	}
	if s.Payload == nil {
		return s, errors.New(`"payload" is missing`)
	}
	return s, nil
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := task.Query{Kind: v.Get("kind"), After: v.Get("after")}
	if name := v.Get("status"); name != "" {
		status, err := task.ParseStatus(name)
		if err != nil {
			a.refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		q.Status = status
	}
	if limit := v.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > 1000 {
			a.refuse(w, http.StatusBadRequest, fmt.Sprintf("limit %.20q must be a number from 1 to 1000", limit))
			return
		}
		q.Limit = n
	}
	found, err := a.tasks.find(r.Context(), q)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answer(w, http.StatusOK, pageJSON{Tasks: found})
}

func (a *api) show(w http.ResponseWriter, r *http.Request) {
	t, err := a.tasks.show(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answer(w, http.StatusOK, t)
}

// readyz is false before the server is set up, from last call on, and when the store does not
// answer.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	if !a.ready() {
		plain(w, http.StatusServiceUnavailable, "stopping")
		return
	}
	if _, err := a.tasks.find(r.Context(), task.Query{Limit: 1}); err != nil {
		a.log.Warn("not ready", "error", err)
		plain(w, http.StatusServiceUnavailable, "the store does not answer")
		return
	}
	plain(w, http.StatusOK, "ok")
}

// fail turns an error into an answer; what is not the caller's fault is logged too.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, task.ErrNotFound):
		a.refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, task.ErrInvalid):
		a.refuse(w, http.StatusBadRequest, err.Error())
	default:
		a.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		a.refuse(w, http.StatusServiceUnavailable, err.Error())
	}
}

func (a *api) refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	a.encode(w, status, problem{Title: http.StatusText(status), Status: status, Detail: detail})
}

func (a *api) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	a.encode(w, status, v)
}

func (a *api) encode(w http.ResponseWriter, status int, v any) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		a.log.Debug("answer not delivered", "error", err)
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client may be gone
}
