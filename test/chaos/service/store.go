//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// errNoTx is returned for a request that needs a store with transactions.
var errNoTx = errors.New("this store shares no transaction with its caller: leave InTx and EnqueueTx out")

// openStore opens the store at an address.
func openStore(ctx context.Context, address string, migrate bool, log *slog.Logger) (task.Store, error) {
	if address == "" {
		return nil, fmt.Errorf("%s is not set: give it sqlite:PATH, or an address of PostgreSQL", wire.EnvStore)
	}
	if path, ok := sqlitePath(address); ok {
		return sqlitestore.Open(ctx, sqlitestore.Config{Path: path, Logger: log})
	}
	return pgstore.Open(ctx, pgstore.Config{DSN: address, Migrate: migrate, Logger: log})
}

func sqlitePath(address string) (string, bool) { return strings.CutPrefix(address, "sqlite:") }

// openTables opens the service's own tables in the store's database. It returns nil if the store
// has no transactions.
func openTables(address string, connections int) (*sql.DB, error) {
	if _, ok := sqlitePath(address); ok {
		return nil, nil //nolint:nilnil // there are none
	}
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // a pooler may lose prepared statements
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(connections)
	return db, nil
}

// The service's own tables on PostgreSQL. chaos_effects has the last effect of each task that was
// finished in a transaction, chaos_enqueued the tasks that were enqueued in one. Neither has a
// unique key, so something written twice has two rows.
const createTables = `
	create table if not exists chaos_effects (seq integer not null, step integer not null, fence bigint not null);
	create index if not exists chaos_effects_seq on chaos_effects (seq, fence);
	create table if not exists chaos_enqueued (seq integer not null, task text not null)`

// setUp creates the schema, the service's own tables, and the triggers that copy what is pruned. It
// prints what this library can do.
func setUp(s settings, out io.Writer) (err error) {
	for _, can := range []string{wire.CanRecord, wire.CanIterate, wire.CanStartBefore, wire.CanCommandAll, wire.CanSchedule} {
		if _, err := fmt.Fprintln(out, can); err != nil {
			return err
		}
	}
	ctx := context.Background()
	store, err := openStore(ctx, s.store, true, s.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if path, ok := sqlitePath(s.store); ok {
		return keepPrunedOfSQLite(ctx, path)
	}
	db, err := openTables(s.store, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, createTables+";"+keepPrunedOfPostgres)
	return err
}
