package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// patience bounds every wait for something that will happen.
const patience = 30 * time.Second

const (
	someID  = "0197c0de-0000-7000-8000-000000000000"
	otherID = "0197c0de-0000-7000-8000-000000000001"
)

// stores are the engines that the API is tested on.
var stores = map[string]func(t testing.TB) task.Store{
	"memory": func(testing.TB) task.Store { return memstore.New() },
	"SQLite": func(t testing.TB) task.Store { return openSQLite(t, filepath.Join(t.TempDir(), "tasks.db")) },
}

func openSQLite(t testing.TB, path string) task.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onEachStore runs a test on each engine.
func onEachStore(t *testing.T, test func(t *testing.T, s *site)) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) { test(t, serve(t, Config{Store: open(t)})) })
	}
}

// site is a handler behind a real server on loopback.
type site struct {
	t       testing.TB
	store   task.Store
	tasks   *task.Client
	handler *Handler
	url     string
	log     *logBook
}

// serve starts a site. If the configuration has no store it uses an empty one in memory; the store
// is closed when the test ends.
func serve(t testing.TB, cfg Config, change ...func(*http.Server)) *site {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = memstore.New()
	}
	s := &site{t: t, store: cfg.Store, tasks: task.NewClient(cfg.Store), log: &logBook{}}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Addr == nil {
		cfg.Addr = l.Addr()
	}
	if s.handler, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	srv := NewServer(s.handler, cfg.Logger)
	for _, c := range change {
		c(srv)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) }) // until Close
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
		if err := cfg.Store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// logBook is what was logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// host changes the Host of a request.
func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// ask sends a request as a program does: a POST has the right Content-Type.
func (s *site) ask(method, target, body string, change ...func(*http.Request)) reply {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.url+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", asJSON)
	}
	if target == "/v1/tasks/batch" {
		r.Header.Set("Content-Type", asLines)
	}
	for _, c := range change {
		c(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: string(b)}
}

// into decodes an answer that must have a status.
func (s *site) into(r reply, status int, v any) {
	s.t.Helper()
	if r.status != status {
		s.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		s.t.Fatalf("%v: %s", err, r.body)
	}
}

// refused checks that an answer is a problem of a sort whose detail contains some words.
func (s *site) refused(r reply, sort string, says string) {
	s.t.Helper()
	var p Problem
	err := json.Unmarshal([]byte(r.body), &p)
	want := problem(sort, "")
	if err != nil || r.status != want.Status || p.Status != want.Status || p.Type != want.Type || p.Title != want.Title || !strings.Contains(p.Detail, says) {
		s.t.Errorf("%d %s, %v; want %d %s with %q", r.status, r.body, err, want.Status, want.Type, says)
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		s.t.Errorf("the Content-Type of a problem is %q", got)
	}
}

// client is a client of the site.
func (s *site) client(token string) *Client {
	s.t.Helper()
	c, err := NewClient(ClientConfig{Server: s.url, Token: token})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// work runs a worker on the site's store until the test ends. It stops before the store is closed.
func (s *site) work(mux *task.Mux, observe func(context.Context, task.Event)) {
	s.t.Helper()
	w, err := task.NewWorker(task.WorkerConfig{Store: s.store, Mux: mux, Observe: observe, Poll: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() {
		if err := w.Serve(ctx); err != nil {
			s.t.Errorf("worker: %v", err)
		}
	})
	s.t.Cleanup(func() {
		stop()
		working.Wait()
	})
}

// until polls until something has happened.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// nothing is a handler that succeeds at once.
func nothing(context.Context, *task.Run, any) error { return nil }
