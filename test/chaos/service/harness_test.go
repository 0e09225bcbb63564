//go:build linux

package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wiretest"
)

func TestMain(m *testing.M) {
	if wiretest.Driver() {
		os.Exit(command(os.Args[1:]))
	}
	os.Exit(pgtest.Main(m))
}

// onBothStores runs a test on a SQLite file and on a PostgreSQL database, both with the schema.
func onBothStores(t *testing.T, test func(t *testing.T, h *wiretest.Harness)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, onSQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, onStore(t, pgtest.DSN(t)))
	})
}

func onSQLite(t *testing.T) *wiretest.Harness {
	t.Helper()
	return onStore(t, "sqlite:"+filepath.Join(t.TempDir(), "tasks.db"))
}

func onStore(t *testing.T, store string) *wiretest.Harness {
	t.Helper()
	if err := setUp(settings{store: store, log: slog.New(slog.DiscardHandler)}, io.Discard); err != nil {
		t.Fatal(err)
	}
	return wiretest.New(t, store)
}

// inspected returns the content of a store, and its tasks by number.
func inspected(t *testing.T, store string) (history.State, map[int]history.Task) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	state, err := readState(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	tasks := make(map[int]history.Task)
	for _, t := range state.Tasks {
		tasks[t.Seq] = t
	}
	return state, tasks
}
