//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// store is the database of a run, with what makes faults in it.
type store interface {
	// address is what the processes of a slot get, direct what nothing disturbs.
	address(slot string) (string, error)
	direct() string
	// heal ends all faults.
	heal(ctx context.Context) error
	// sizes are those of the tables, in bytes.
	sizes(ctx context.Context) map[string]int64
	close() error
}

func openStore(r *run) (store, error) {
	switch r.opt.store {
	case sqlite:
		dir := filepath.Join(r.scratch, "store")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		return &sqliteStore{path: filepath.Join(dir, "tasks.db")}, nil
	default:
		return nil, fmt.Errorf("no store is called %s: use %s or %s", r.opt.store, sqlite, postgres)
	}
}

// sqliteStore is a file.
type sqliteStore struct{ path string }

func (s *sqliteStore) address(string) (string, error) { return s.direct(), nil }
func (s *sqliteStore) direct() string                 { return "sqlite:" + s.path }
func (s *sqliteStore) heal(context.Context) error     { return nil }
func (s *sqliteStore) close() error                   { return nil } // the file goes with its directory

func (s *sqliteStore) sizes(context.Context) map[string]int64 {
	sizes := make(map[string]int64)
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.path + suffix); err == nil {
			sizes[filepath.Base(s.path)+suffix] = info.Size()
		}
	}
	return sizes
}
