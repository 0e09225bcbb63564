package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestOpen_WaitsForAServerThatIsAway(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	dsn := server.DSN("postgres")
	if err := server.Stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	log := slog.New(slog.NewTextHandler(lineWriter(lines), nil))
	opened := make(chan error)
	go func() {
		s, err := Open(t.Context(), Config{DSN: dsn, Migrate: true, Wait: time.Minute, Logger: log})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	for range 2 {
		if line := <-lines; !strings.Contains(line, "the database is not available; trying again") {
			t.Errorf("the log says %s", line)
		}
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// lineWriter hands over what a logger writes, line by line.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	select {
	case w <- string(p):
	default: // the test has seen enough
	}
	return len(p), nil
}

func TestOpen_WaitsNoLongerThanItIsTold(t *testing.T) {
	t.Parallel()
	const nobody = "postgres://u@127.0.0.1:1/d"
	quiet := slog.New(slog.DiscardHandler)
	for wait, atLeast := range map[time.Duration]time.Duration{0: 0, time.Second: time.Second} {
		began := time.Now()
		_, err := Open(t.Context(), Config{DSN: nobody, Wait: wait, Logger: quiet})
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "is the server running") || took < atLeast || took > 20*time.Second {
			t.Errorf("told to wait for %v it took %v: %v", wait, took, err)
		}
	}
	stop := errors.New("a stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(300*time.Millisecond, func() { cancel(stop) })
	if _, err := Open(ctx, Config{DSN: nobody, Wait: time.Hour, Logger: quiet}); !errors.Is(err, stop) {
		t.Errorf("when its context has ended: %v", err)
	}
	if _, err := Open(t.Context(), Config{DSN: nobody, Wait: -1}); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("%v", err)
	}
}
