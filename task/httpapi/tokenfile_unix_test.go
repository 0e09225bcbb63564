//go:build unix

package httpapi

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTokens_ANamedPipeInPlaceOfTheFileHoldsUpNoRequestAndStartsNoServer(t *testing.T) {
	var log logBook
	path := tokenFile(t, "a read "+readSecret)
	tokens, err := LoadTokens(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, Config{Tokens: tokens})
	tokens.mu.Lock()
	tokens.began = time.Time{} // a second has gone by
	tokens.mu.Unlock()
	if r := s.ask("GET", "/v1/tasks", "", bearer(readSecret)); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	until(t, "it is complained of", func() bool { return strings.Contains(log.String(), "it is no file but p") })
	for _, odd := range []string{path, "/dev/null", t.TempDir()} {
		if _, err := LoadTokens(odd, nil); err == nil || !strings.Contains(err.Error(), "it is no file but") {
			t.Errorf("%s: %v", odd, err)
		}
	}
}
