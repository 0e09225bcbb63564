package main

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task/httpapi"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// scrape returns the answer to a scrape, without comments.
func scrape(t *testing.T, m *metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics_AreThoseThatTheDocumentationLists(t *testing.T) {
	m := newMetrics()
	m.WatchStop(t.Context())
	m.WatchTasks(memstore.New())
	m.served(httpapi.RequestInfo{Route: "GET /v1/tasks", Status: 200, Took: time.Millisecond})
	m.served(httpapi.RequestInfo{Status: 404})
	text := scrape(t, m)
	for _, line := range []string{
		`lastcall_http_request_seconds_count{route="GET /v1/tasks",status="200"} 1`, `lastcall_http_request_seconds_count{route="none",status="404"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	ours := regexp.MustCompile(`(?m)^# TYPE (lastcall\S*) `).FindAllStringSubmatch(text, -1)
	if len(ours) < 7 {
		t.Errorf("%d metrics of ours are there:\n%s", len(ours), text)
	}
	for _, found := range ours {
		if !strings.Contains(string(page), "`"+found[1]+"`") {
			t.Errorf("docs/cli.md does not have %s", found[1])
		}
	}
}

func TestMetrics_BesideTasksWithTokensMetricsAreForThoseWhoMayRead(t *testing.T) {
	log, file := slog.New(slog.DiscardHandler), filepath.Join(t.TempDir(), "tokens")
	reader, submitter := strings.Repeat("r", 24), strings.Repeat("s", 24)
	if err := os.WriteFile(file, []byte("prometheus read "+reader+"\nshop submit "+submitter), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := httpapi.LoadTokens(file, log)
	if err != nil {
		t.Fatal(err)
	}
	h := guarded(newMetrics().handler(log), tokens)
	for secret, want := range map[string]int{"": 401, submitter: 403, reader: 200} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://tasks.example/metrics", nil)
		if secret != "" {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want || strings.Contains(w.Body.String(), "lastcall_task_crashes_total") != (want == 200) {
			t.Errorf("%.1q: %d, want %d\n%.500s", secret, w.Code, want, w.Body)
		}
	}
}

func TestMetrics_AreNotShownToAPageOfAnotherName(t *testing.T) {
	h := guarded(newMetrics().handler(slog.New(slog.DiscardHandler)), nil)
	for host, want := range map[string]int{"127.0.0.1:8321": 200, "localhost": 200, "[::1]:80": 200, "tasks.example:8321": 421, "": 421} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
}
