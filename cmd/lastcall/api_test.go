package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/memstore"
	"github.com/lastcall-go/lastcall/task"
)

// newAPI is an interface on an empty store, with one kind.
func newAPI(t *testing.T) (*api, http.Handler) {
	t.Helper()
	s := memstore.New()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	a := &api{
		tasks: &direct{store: s, client: task.NewClient(s)}, kinds: []string{"k"},
		ready: func() bool { return true }, log: slog.New(slog.DiscardHandler),
	}
	return a, a.handler()
}

// ask sends a request as a program does.
func ask(t *testing.T, h http.Handler, method, target, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8321"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const someID = "0197c0de-0000-7000-8000-000000000000"

func TestASubmitIsCreatedOnceAndCanBeRepeated(t *testing.T) {
	_, h := newAPI(t)
	body := `{"id": "` + someID + `", "kind": "k", "payload": {"a": 1}, "priority": 2, "delay": "90s"}`
	for _, status := range []int{http.StatusCreated, http.StatusOK} {
		w := ask(t, h, "POST", "/v1/tasks", body)
		var got taskJSON
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != status {
			t.Fatalf("%d %s, %v; want %d", w.Code, w.Body, err, status)
		}
		if got.ID != someID || got.Status != task.Queued || got.Priority != 2 || string(got.Payload) != `{"a":1}` || got.RunAt.Sub(got.CreatedAt).Seconds() != 90 {
			t.Errorf("%s", w.Body)
		}
	}
	if w := ask(t, h, "GET", "/v1/tasks?status=queued&kind=k&limit=5", ""); w.Code != http.StatusOK || strings.Count(w.Body.String(), someID) != 1 {
		t.Errorf("list: %d %s", w.Code, w.Body)
	}
	if w := ask(t, h, "GET", "/v1/tasks?after="+someID, ""); w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"tasks":[]}` {
		t.Errorf("after the last: %d %s", w.Code, w.Body)
	}
	if w := ask(t, h, "GET", "/v1/tasks/"+someID, ""); w.Code != http.StatusOK {
		t.Errorf("show: %d %s", w.Code, w.Body)
	}
}

func TestARequestThatCannotBeServedIsAProblemThatSaysWhy(t *testing.T) {
	_, h := newAPI(t)
	for _, c := range []struct {
		method, target, body string
		status               int
		says                 string
	}{
		{"POST", "/v1/tasks", `{"kind": "other", "payload": {}}`, 422, "this server has [k]"},
		{"POST", "/v1/tasks", `{"kind": "k"}`, 400, "payload"},
		{"POST", "/v1/tasks", `{"kind": "k", "payload": {}, "queue": "q"}`, 400, "queue"},
		{"POST", "/v1/tasks", `{"kind": "k", "payload": {}} {}`, 400, "follows"},
		{"POST", "/v1/tasks", `{"kind": "k", "payload": {`, 400, "not understood"},
		{"POST", "/v1/tasks", `{"id": "x", "kind": "k", "payload": {}}`, 400, "UUID"},
		{"POST", "/v1/tasks", `{"kind": "k", "payload": {}, "delay": "soon"}`, 400, "as 90s"},
		{"POST", "/v1/tasks", `{"kind": "k", "payload": "` + strings.Repeat("x", maxBody) + `"}`, 413, "submit its name"},
		{"GET", "/v1/tasks?status=done", "", 400, "use one of"},
		{"GET", "/v1/tasks?limit=0", "", 400, "1 to 1000"},
		{"GET", "/v1/tasks/" + someID, "", 404, "not found"},
	} {
		w := ask(t, h, c.method, c.target, c.body)
		var p problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.status || p.Status != c.status || !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s %s %.60s: %d %s, %v; want %d with %q", c.method, c.target, c.body, w.Code, w.Body, err, c.status, c.says)
		}
		if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s %s: Content-Type %q", c.method, c.target, got)
		}
	}
}

func TestAPageInABrowserCannotSubmit(t *testing.T) {
	_, h := newAPI(t)
	body := `{"kind": "k", "payload": {}}`
	set := func(key, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(key, value) }
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"a form":                  {set("Content-Type", "application/x-www-form-urlencoded"), 415},
		"text, sent unasked":      {set("Content-Type", "text/plain"), 415},
		"another site":            {set("Sec-Fetch-Site", "cross-site"), 403},
		"another origin":          {set("Origin", "http://example.com"), 403},
		"another port":            {set("Origin", "http://127.0.0.1:3000"), 403},
		"a name made to point us": {func(r *http.Request) { r.Host = "example.com:8321" }, 421},
	} {
		if w := ask(t, h, "POST", "/v1/tasks", body, c.change); w.Code != c.status {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.status)
		}
	}
	if w := ask(t, h, "GET", "/v1/tasks", "", func(r *http.Request) { r.Host = "example.com" }); w.Code != 421 {
		t.Errorf("reading by a foreign name: %d", w.Code)
	}
	if w := ask(t, h, "GET", "/v1/tasks", ""); w.Body.String() != `{"tasks":[]}`+"\n" {
		t.Errorf("something was submitted: %s", w.Body)
	}
	for _, host := range []string{"localhost:1", "[::1]:8321", "127.0.0.2"} {
		if w := ask(t, h, "GET", "/healthz", "", func(r *http.Request) { r.Host = host }); w.Code != 200 {
			t.Errorf("host %s: %d", host, w.Code)
		}
	}
}

func TestReadinessEndsWithLastCallAndWithTheStoreAndLifeDoesNot(t *testing.T) {
	a, h := newAPI(t)
	status := func(path string) int { return ask(t, h, "GET", path, "").Code }
	if got := status("/readyz"); got != 200 {
		t.Errorf("ready: %d", got)
	}
	a.ready = func() bool { return false }
	if got := status("/readyz"); got != 503 {
		t.Errorf("after last call: %d", got)
	}
	a.ready = func() bool { return true }
	if err := a.tasks.store.Close(); err != nil {
		t.Fatal(err)
	}
	if got := status("/readyz"); got != 503 {
		t.Errorf("without a store: %d", got)
	}
	if got := status("/healthz"); got != 200 {
		t.Errorf("alive: %d", got)
	}
}

func FuzzASubmissionIsDecodedOrRefused(f *testing.F) {
	f.Add(`{"kind": "k", "payload": {}}`)
	f.Add(`{"kind": "k", "payload": null, "delay": "1s"} `)
	f.Fuzz(func(t *testing.T, body string) {
		s, err := decodeSubmission(strings.NewReader(body))
		if err == nil && !json.Valid(s.Payload) {
			t.Errorf("%q: payload %q", body, s.Payload)
		}
	})
}
