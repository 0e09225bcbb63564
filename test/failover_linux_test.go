package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// withStandby starts a server on a primary and its standby. Its address names both, and does not
// define which one to use.
func withStandby(t *testing.T, kinds string, args ...string) (s *server, primary *pgtest.Server) {
	t.Helper()
	primary = pgtest.New(t, "fsync=off")
	standby := primary.Standby(t)
	config := filepath.Join(t.TempDir(), "lastcall.yaml")
	if err := os.WriteFile(config, []byte("version: 1\nkinds:\n"+kinds), 0o600); err != nil {
		t.Fatal(err)
	}
	dsn := fmt.Sprintf("host=%s,%s user=lastcall dbname=postgres", primary.Host(), standby.Host())
	return start(t, dsn, append(args, "--config", config)...), primary
}

func (s *server) submits(kind string) (id string) {
	s.t.Helper()
	return strings.TrimSpace(string(command(s.t, "submit", "--server", s.url, kind, "{}")))
}

// The standby answers all the time, and accepts no writes.
func TestFailover_WhileThereIsNoPrimaryTheServerIsNotReadyAndAfterwardsItIsAtOnce(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	s, primary := withStandby(t, fmt.Sprintf("  slow: {exec: [/bin/sh, -c, 'sleep 2; echo done > %s']}\n", out))
	id := s.submits("slow")
	s.reaches(id, "running")
	if err := primary.Stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	s.until("not ready", func() bool { return s.status("/readyz") == http.StatusServiceUnavailable })
	s.until("done with its work", func() bool { _, err := os.Stat(out); return err == nil })
	for range 5 { // each would leave a session on the standby
		if code, text := fails(t, "submit", "--server", s.url, "slow", "{}"); code != 1 || !strings.Contains(string(text), "does not answer, or refuses") {
			t.Errorf("submit: exit code %d, %s", code, text)
		}
		if got := s.status("/readyz"); got != http.StatusServiceUnavailable {
			t.Errorf("/readyz: %d", got)
		}
	}
	if err := primary.Start(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	s.until("ready again", func() bool { return s.status("/readyz") == http.StatusOK })
	if r := s.reaches(s.submits("slow"), "succeeded", "failed"); r.Status != "succeeded" {
		t.Errorf("submitted afterwards: %+v", r)
	}
	if took := time.Since(back); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if r := s.reaches(id, "succeeded", "failed"); r.Status != "succeeded" || r.Runs != 1 || r.Attempts+r.Interruptions+r.Crashes != 0 {
		t.Errorf("%+v", r)
	}
	stop(s)
}

// The programs have ended, and their outcome cannot be recorded: no handler was abandoned.
func TestStop_OfProgramsWhileTheStoreIsAwaySaysWhichOfTheTwoDidNotAnswer(t *testing.T) {
	t.Parallel()
	s, primary := withStandby(t, "  hold: {exec: [/bin/sleep, '60']}\n  unresponsive: {exec: [/bin/sh, -c, 'trap \"\" TERM; while :; do sleep 1; done'], killAfter: 1s}\n")
	for _, kind := range []string{"hold", "unresponsive"} {
		s.reaches(s.submits(kind), "running")
	}
	if err := primary.Stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.signal(syscall.SIGTERM)
	s.waitLog("msg=stop phase=drain")
	s.signal(syscall.SIGTERM) // the interrupt comes now
	s.exits(75)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %v; it had 3s", took)
	}
	if text := s.text(); !strings.Contains(text, "handlers have returned; the store did not answer") || strings.Contains(text, "abandoned go worker") {
		t.Error(text)
	}
}
