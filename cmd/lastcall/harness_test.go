package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// run runs the program's command line in this process.
func run(t *testing.T, args ...string) (out, remarks string, err error) {
	t.Helper()
	return runWith(t, "", args...)
}

// runWith is run with a standard input.
func runWith(t *testing.T, in string, args ...string) (out, remarks string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(in))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// fixture is a store in a file of its own.
type fixture struct {
	path   string
	store  *sqlitestore.Store
	client *task.Client
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tasks.db")
	s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{path: path, store: s, client: task.NewClient(s)}
}
