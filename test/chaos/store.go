//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/test/chaos/proxy"
	"github.com/lastcall-go/lastcall/test/chaos/server"
)

// store is the database of a run.
type store interface {
	// address is the store's address for the processes of a slot. direct is an address without faults.
	address(slot string) (string, error)
	direct() string
	// begin begins a fault of the database itself.
	begin(ctx context.Context, kind string) (server.End, error)
	// sizes returns the sizes of the tables, in bytes. It returns none while the database is down.
	sizes(ctx context.Context) map[string]int64
	// keep writes the content of the database into a directory, and returns the file's name.
	keep(dir string) (string, error)
	// unpool ends connections that belong to no process.
	unpool() error
	close() error
}

// openStore creates the database for the given kinds of faults.
func openStore(ctx context.Context, r *run) (store, error) {
	kinds := make([]string, len(r.kinds))
	for i, k := range r.kinds {
		kinds[i] = k.name
	}
	const perTask = 4 // KiB, including everything that belongs to it
	room := int(r.opt.duration.Seconds()) * r.opt.rate * perTask >> 10
	if r.opt.store == sqlite {
		f, err := server.NewFile(r.scratch, kinds, room)
		if err != nil {
			return nil, fmt.Errorf("make the directory of the store: %w", err)
		}
		return &sqliteStore{f}, nil
	}
	dir := filepath.Join(r.scratch, "net")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	r.net = proxy.New(dir)
	c, err := server.New(ctx, server.Options{Dir: r.scratch, Entrance: r.net, Schema: r.opt.schema, Faults: kinds, Room: room, Pooler: r.opt.pooler})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), r.net.Close())
	}
	return &postgresStore{c, r.net}, nil
}

// sqliteStore is a file.
type sqliteStore struct{ file *server.File }

func (s *sqliteStore) address(string) (string, error) { return s.direct(), nil }
func (s *sqliteStore) direct() string                 { return "sqlite:" + s.file.Path() }
func (s *sqliteStore) unpool() error                  { return nil }
func (s *sqliteStore) close() error                   { return s.file.Close() }

func (s *sqliteStore) keep(dir string) (string, error) {
	path := filepath.Join(dir, "store.db")
	for _, suffix := range []string{"", "-wal"} { // no process has it open any more
		b, err := os.ReadFile(s.file.Path() + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(path+suffix, b, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	return path, nil
}

func (s *sqliteStore) begin(ctx context.Context, kind string) (server.End, error) {
	return s.file.Begin(ctx, kind)
}

func (s *sqliteStore) sizes(context.Context) map[string]int64 {
	sizes := make(map[string]int64)
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.file.Path() + suffix); err == nil {
			sizes[filepath.Base(s.file.Path())+suffix] = info.Size()
		}
	}
	return sizes
}

// postgresStore is a cluster behind a network.
type postgresStore struct {
	cluster *server.Cluster
	net     *proxy.Proxy
}

func (s *postgresStore) address(slot string) (string, error) {
	front, err := s.net.Front(slot)
	if err != nil {
		return "", err
	}
	return front.Address(server.Role, server.Database), nil
}

func (s *postgresStore) direct() string { return s.cluster.Address() }

func (s *postgresStore) keep(dir string) (string, error) {
	path := filepath.Join(dir, "store.sql")
	return path, s.cluster.Dump(path)
}

func (s *postgresStore) unpool() error { return s.cluster.Unpool() }

func (s *postgresStore) close() error { return errors.Join(s.cluster.Close(), s.net.Close()) }

func (s *postgresStore) begin(ctx context.Context, kind string) (server.End, error) {
	return s.cluster.Begin(ctx, kind)
}

func (s *postgresStore) sizes(ctx context.Context) map[string]int64 {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	sizes, err := s.tables(ctx)
	if err != nil {
		return nil // it is down
	}
	return sizes
}

func (s *postgresStore) tables(ctx context.Context) (sizes map[string]int64, err error) {
	conn, err := pgx.Connect(ctx, s.direct())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	rows, err := conn.Query(ctx, `select schemaname || '.' || relname, pg_total_relation_size(relid) from pg_stat_user_tables`)
	if err != nil {
		return nil, err
	}
	sizes = make(map[string]int64)
	var (
		name string
		size int64
	)
	_, err = pgx.ForEachRow(rows, []any{&name, &size}, func() error {
		sizes[name] = size
		return nil
	})
	return sizes, err
}
