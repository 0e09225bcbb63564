package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// A task that ends while the database is unavailable keeps its outcome in the server until it is
// back.
func TestOutage_WhileTheDatabaseIsAwayTasksGoOnAndTheServerIsNotReadyAndNotBusy(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t, "fsync=off")
	work := t.TempDir()
	config, out := filepath.Join(work, "lastcall.yaml"), filepath.Join(work, "out")
	text := fmt.Sprintf("version: 1\nkinds:\n  slow:\n    exec: [/bin/sh, -c, 'sleep 2; echo done > %s']\n", out)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, database.DSN("postgres"), "--config", config)
	id := strings.TrimSpace(string(command(t, "submit", "--server", s.url, "slow", "{}")))
	s.reaches(id, "running")
	if err := database.Stop(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	s.until("not ready", func() bool { return s.status("/readyz") == http.StatusServiceUnavailable })
	s.until("done with its work", func() bool { _, err := os.Stat(out); return err == nil })
	const away = 5 * time.Second
	before, lines := ticks(t, s.pid()), strings.Count(s.text(), "\n")
	pause(t.Context(), away) // the outage itself
	if used := time.Duration(ticks(t, s.pid())-before) * 10 * time.Millisecond; used > away/4 {
		t.Errorf("the server used %v of the processor in %v without a database", used, away)
	}
	if n := strings.Count(s.text(), "\n") - lines; n > 60 {
		t.Errorf("the server printed %d lines in %v:\n%s", n, away, s.text())
	}
	if got := s.status("/healthz"); got != http.StatusOK {
		t.Errorf("/healthz: %d; a restart of the server would not bring the database back", got)
	}
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	s.until("ready again", func() bool { return s.status("/readyz") == http.StatusOK })
	if r := s.reaches(id, "succeeded", "failed"); r.Status != "succeeded" || r.Runs != 1 || r.Attempts+r.Interruptions+r.Crashes != 0 {
		t.Errorf("%+v", r)
	}
	stop(s)
}

// ticks returns the processor time of a process, in hundredths of a second (man 5 proc).
func ticks(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, f := range strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}
