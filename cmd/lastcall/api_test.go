package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func TestServe_OffersTasksToThisMachineAndProbesToThePlatform(t *testing.T) {
	store := memstore.New()
	ready := true
	log := slog.New(slog.DiscardHandler)
	probes := newProbes(store, nil, func() bool { return ready }, log)
	api, err := httpapi.New(httpapi.Config{Store: store, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	server := withProbes(api, probes)
	status := func(method, host, path string) int {
		r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(`{"kind": "k", "payload": 1}`))
		r.Host = host
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct {
		method, host, path string
		want               int
	}{
		{"POST", "127.0.0.1:8321", "/v1/tasks", 201},
		{"POST", "tasks.example", "/v1/tasks", 421},
		{"GET", "10.0.0.7:8321", "/healthz", 200},
		{"GET", "10.0.0.7:8321", "/readyz", 200},
	} {
		if got := status(c.method, c.host, c.path); got != c.want {
			t.Errorf("%s %s of %s: %d, want %d", c.method, c.path, c.host, got, c.want)
		}
	}
	ready = false
	if got := status("GET", "localhost", "/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("after last call: %d", got)
	}
}

func TestServe_ThePlatformsListenerTellsNothingOfTasks(t *testing.T) {
	store := memstore.New()
	probes := newProbes(store, nil, nil, slog.New(slog.DiscardHandler))
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/v1/tasks": 404, "/v1/counts": 404, "/": 404} {
		w := httptest.NewRecorder()
		probes.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestServe_ThePlatformsListenerOnLoopbackAnswersThisMachinesNamesAlone(t *testing.T) {
	probes := newProbes(memstore.New(), nil, nil, slog.New(slog.DiscardHandler))
	for address, answers := range map[string]map[string]int{
		"127.0.0.1:8322": {"127.0.0.1:8322": 200, "localhost": 200, "[::1]:8322": 200, "evil.example": 421, "127.0.0.1.evil.example:8322": 421, "": 421},
		"0.0.0.0:8322":   {"10.0.0.7:8322": 200, "pod.example": 200},
	} {
		at, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range answers {
			r, w := httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil), httptest.NewRecorder()
			r.Host = host
			if forPlatform(probes, at).ServeHTTP(w, r); w.Code != want {
				t.Errorf("at %s, asked by %q: %d, want %d", address, host, w.Code, want)
			}
		}
	}
}

// readOnlyStore answers queries, and refuses writes.
type readOnlyStore struct{ task.Store }

func (readOnlyStore) Ping(context.Context) error { return errors.New("read-only") }

func TestMeteredStore_IsNotReadyWhenItsStoreTakesNoWrites(t *testing.T) {
	for _, c := range []struct {
		store task.Store
		want  int
	}{{readOnlyStore{memstore.New()}, http.StatusServiceUnavailable}, {memstore.New(), http.StatusOK}} {
		probes := newProbes(newMetrics().Store(c.store), nil, nil, slog.New(slog.DiscardHandler))
		w := httptest.NewRecorder()
		probes.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
		if w.Code != c.want {
			t.Errorf("%T: %d", c.store, w.Code)
		}
	}
}
